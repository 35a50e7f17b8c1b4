//! The word lists of the facts generator.
//!
//! A value's class is its index modulo [`CLASSES`], so a column below is a class. Adding or moving a
//! word changes every generated passage: append whole rows, and only together with a new
//! [`super::VERSION`].

/// Number of value classes; every list length is a multiple of it.
pub const CLASSES: usize = 8;

/// Days used of each month, so that every month has all of them.
pub const DAYS: usize = 28;

/// Number of amounts: 40, 50, .. 990.
pub const AMOUNTS: usize = 96;

/// The number that stands at an index of the amounts.
pub const fn amount(index: usize) -> usize {
    40 + 10 * index
}

/// Units of money. Wording rather than values: the class of an amount is that of its number.
pub const UNITS: [&str; 4] = ["euros", "dollars", "pounds", "crowns"];

/// Months, in order.
#[rustfmt::skip]
pub const MONTHS: [&str; 12] = [
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
];

/// First names; the first half takes "she", the second half "he", so that every class holds both.
#[rustfmt::skip]
pub const FIRST_NAMES: [&str; 128] = [
    "Mara", "Anna", "Clara", "Elena", "Ingrid", "Julia", "Karin", "Laura",
    "Maria", "Nina", "Olga", "Petra", "Rosa", "Sara", "Tara", "Vera",
    "Alice", "Bella", "Carmen", "Diana", "Emma", "Fiona", "Greta", "Hanna",
    "Irene", "Jana", "Katya", "Lena", "Mila", "Nadia", "Paula", "Rita",
    "Sonia", "Tessa", "Ursula", "Wanda", "Yara", "Zoe", "Agnes", "Beth",
    "Celia", "Doris", "Edith", "Flora", "Gina", "Helen", "Ida", "Judith",
    "Kate", "Lucy", "Monica", "Nora", "Ophelia", "Polly", "Ruth", "Stella",
    "Tina", "Uma", "Vivian", "Wilma", "Xenia", "Yvonne", "Zara", "Amelia",
    "Adam", "Boris", "Carl", "David", "Erik", "Felix", "Georg", "Hugo",
    "Ivan", "Jonas", "Kurt", "Leo", "Martin", "Nils", "Oscar", "Pavel",
    "Ralf", "Simon", "Tomas", "Viktor", "Anton", "Bruno", "Cyril", "Dario",
    "Emil", "Frank", "Gustav", "Henry", "Igor", "Jakob", "Kasper", "Lars",
    "Marco", "Noah", "Otto", "Peter", "Quentin", "Robert", "Stefan", "Theo",
    "Ulrich", "Vincent", "Walter", "Yusuf", "Zoltan", "Albert", "Bernard", "Conrad",
    "Dennis", "Edgar", "Fabian", "Gilbert", "Harold", "Ismael", "Julian", "Kevin",
    "Leonard", "Matteo", "Nathan", "Owen", "Philip", "Ruben", "Samuel", "Tobias",
];

/// Surnames.
#[rustfmt::skip]
pub const SURNAMES: [&str; 160] = [
    "Lind", "Berg", "Holm", "Novak", "Kovac", "Weber", "Keller", "Braun",
    "Vogel", "Krause", "Hoffman", "Lehmann", "Brandt", "Arden", "Barlow", "Calder",
    "Dalton", "Ellery", "Farrow", "Garner", "Hadley", "Ingram", "Jarvis", "Kendall",
    "Langley", "Mercer", "Norton", "Oakley", "Palmer", "Quill", "Radcliff", "Selby",
    "Thornton", "Underhill", "Vance", "Whitby", "Yardley", "Abbott", "Bishop", "Cassidy",
    "Dempsey", "Everett", "Finley", "Granger", "Harlow", "Irving", "Jordan", "Kirby",
    "Lawson", "Madden", "Nolan", "Osborn", "Perkin", "Quigley", "Ramsey", "Sutton",
    "Talbot", "Upton", "Verner", "Wexler", "Ashby", "Boyle", "Carver", "Doyle",
    "Emery", "Foster", "Glover", "Hobart", "Iverson", "Jensen", "Kramer", "Larkin",
    "Moreau", "Nash", "Olsen", "Pratt", "Rowan", "Stark", "Tate", "Ulman",
    "Vasari", "Walsh", "Yates", "Zeller", "Amsel", "Bauer", "Conti", "Duran",
    "Eklund", "Ferrari", "Gallo", "Haas", "Ibsen", "Jansen", "Kaplan", "Lopez",
    "Marek", "Nagy", "Ortega", "Petrov", "Romano", "Sato", "Tanaka", "Urban",
    "Varga", "Wolff", "Yamada", "Zimmer", "Adler", "Bianchi", "Castro", "Dvorak",
    "Engel", "Fischer", "Greco", "Horvat", "Ivanov", "Jung", "Klein", "Lang",
    "Molnar", "Nowak", "Orlov", "Popov", "Rossi", "Schmidt", "Toth", "Ueda",
    "Vidal", "Wagner", "Young", "Zhang", "Alonso", "Bergman", "Cohen", "Diaz",
    "Ericson", "Fontana", "Gruber", "Hansen", "Imai", "Joshi", "Khan", "Larsen",
    "Mehta", "Nguyen", "Okafor", "Patel", "Rivera", "Santoro", "Torres", "Usman",
    "Villa", "Wright", "Yilmaz", "Zanetti", "Andersen", "Bennett", "Clarke", "Drummond",
];

/// Jobs, without their article.
#[rustfmt::skip]
pub const JOBS: [&str; 64] = [
    "baker", "tailor", "plumber", "nurse", "teacher", "farmer", "pilot", "dentist",
    "lawyer", "painter", "gardener", "carpenter", "librarian", "engineer", "waiter", "judge",
    "potter", "weaver", "butcher", "florist", "barber", "jeweller", "printer", "surgeon",
    "chemist", "translator", "accountant", "architect", "actor", "author", "cashier", "chef",
    "electrician", "editor", "fisherman", "glazier", "grocer", "hairdresser", "historian", "journalist",
    "locksmith", "mechanic", "miner", "musician", "optician", "pharmacist", "photographer", "physicist",
    "postman", "programmer", "roofer", "sailor", "sculptor", "secretary", "shepherd", "singer",
    "soldier", "statistician", "tanner", "typist", "umpire", "vet", "welder", "zoologist",
];

/// Towns, used as homes and as destinations.
#[rustfmt::skip]
pub const TOWNS: [&str; 96] = [
    "Oslo", "Lisbon", "Vienna", "Prague", "Dublin", "Athens", "Berlin", "Madrid",
    "Zurich", "Geneva", "Warsaw", "Bergen", "Porto", "Seville", "Turin", "Naples",
    "Genoa", "Verona", "Lyon", "Nice", "Bordeaux", "Ghent", "Bruges", "Antwerp",
    "Utrecht", "Leiden", "Delft", "Aarhus", "Odense", "Malmo", "Uppsala", "Tampere",
    "Turku", "Riga", "Vilnius", "Tallinn", "Kaunas", "Gdansk", "Krakow", "Poznan",
    "Brno", "Graz", "Linz", "Salzburg", "Innsbruck", "Basel", "Lugano", "Munich",
    "Bremen", "Hamburg", "Leipzig", "Dresden", "Bonn", "Cologne", "Kiel", "Rostock",
    "Mainz", "Ulm", "Split", "Zagreb", "Dubrovnik", "Belgrade", "Sarajevo", "Skopje",
    "Tirana", "Corfu", "Patras", "Izmir", "Ankara", "Bursa", "Cairo", "Tunis",
    "Rabat", "Dakar", "Nairobi", "Lagos", "Accra", "Durban", "Lima", "Quito",
    "Bogota", "Havana", "Boston", "Chicago", "Denver", "Seattle", "Toronto", "Quebec",
    "Kyoto", "Osaka", "Nagoya", "Busan", "Hanoi", "Perth", "Sydney", "Darwin",
];

/// Plans, as they follow "to".
#[rustfmt::skip]
pub const PLANS: [&str; 96] = [
    "repair the barn", "learn to swim", "visit the museum", "paint the kitchen", "plant a hedge", "write a novel", "open a bakery", "climb a volcano",
    "clean the chimney", "build a greenhouse", "adopt a puppy", "study Latin", "record a song", "fix the fence", "host a dinner", "cook a goose",
    "mend the nets", "dig a well", "tune the organ", "join a choir", "read the report", "call the landlord", "meet the mayor", "renew a passport",
    "move to the coast", "start a podcast", "teach a class", "bake a wedding cake", "sell the farm", "rent a cottage", "hire a clerk", "publish a guide",
    "run a marathon", "cross the desert", "sail to the islands", "ride to the lake", "walk the old wall", "tour the vineyard", "fly over the glacier", "camp in the forest",
    "sort the archive", "count the stock", "check the boiler", "replace the windows", "polish the floor", "wash the van", "trim the roses", "feed the geese",
    "draw a portrait", "print the posters", "translate a play", "review a film", "edit the magazine", "direct an opera", "design a bridge", "sketch the harbour",
    "enter a contest", "win a medal", "train the team", "coach the juniors", "buy a lottery ticket", "order new glasses", "return the tools", "borrow a trailer",
    "grow some beans", "pick the cherries", "press the olives", "brew some beer", "smoke the ham", "freeze the berries", "harvest the corn", "prune the vines",
    "rewire the house", "insulate the attic", "tile the bathroom", "empty the cellar", "varnish the deck", "sand the stairs", "lay the carpet tiles", "hang the pictures",
    "apply for a grant", "sign the contract", "settle the claim", "file the taxes", "close the account", "vote in the council", "attend the hearing", "witness the will",
    "celebrate the jubilee", "organise a concert", "invite the cousins", "pack the picnic", "attend a funeral", "rehearse the speech", "bless the chapel", "launch the ferry",
];

/// Objects, with their article.
#[rustfmt::skip]
pub const OBJECTS: [&str; 96] = [
    "a silver watch", "a wooden ladder", "a red bicycle", "a leather bag", "a brass lamp", "a green umbrella", "a glass vase", "a black piano",
    "a gold ring", "a blue teapot", "a paper map", "a woollen coat", "a stone statue", "a copper kettle", "a velvet chair", "a small telescope",
    "an iron stove", "a wicker basket", "a white tent", "a marble table", "a cotton scarf", "a tin whistle", "a steel knife", "a striped hammock",
    "a folding bed", "a straw hat", "a silk dress", "a rusty anchor", "a big mirror", "a yellow canoe", "a pocket radio", "a heavy trunk",
    "a clay bowl", "a crystal bottle", "a feather pillow", "a round drum", "a grey donkey", "a brown horse", "a spotted goat", "a white parrot",
    "an old violin", "a carved mask", "a painted fan", "a rare stamp", "a linen shirt", "a pink lantern", "a purple carpet", "an orange kayak",
    "a bronze bell", "a plastic globe", "a wooden spoon", "a cheap guitar", "a fur cap", "a long rope", "a sharp axe", "a new blender",
    "an used tractor", "a large freezer", "a tall clock", "a broken camera", "a toy train", "a chess set", "a pair of skis", "a box of candles",
    "a sack of rice", "a jar of honey", "a crate of apples", "a barrel of oil", "a roll of wire", "a bundle of letters", "a bag of coins", "a tray of eggs",
    "a set of keys", "a book of poems", "a deck of cards", "a bottle of ink", "a stack of bricks", "a bunch of tulips", "a tin of paint", "a loaf of bread",
    "a pearl necklace", "a diamond brooch", "an ivory comb", "a lace curtain", "a rubber boat", "a bamboo flute", "a wooden sledge", "a porcelain doll",
    "a rocking chair", "a sewing machine", "a fishing rod", "a garden bench", "a writing desk", "a walking stick", "a racing bike", "a sleeping bag",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_is_whole_classes_of_distinct_ascii_phrases() {
        let lists: [&[&str]; 6] = [&FIRST_NAMES, &SURNAMES, &JOBS, &TOWNS, &PLANS, &OBJECTS];
        for list in lists {
            assert_eq!(list.len() % CLASSES, 0);
        }
        assert_eq!(MONTHS.len() * DAYS % CLASSES, 0);
        assert_eq!(AMOUNTS % CLASSES, 0);

        // No value is another one or a part of it, so a value read in a passage is that value.
        let all: Vec<String> = lists.concat().iter().map(|value| format!(" {} ", value.to_lowercase())).collect();
        for (index, value) in all.iter().enumerate() {
            assert!(value.is_ascii(), "{value}");
            for (other_index, other) in all.iter().enumerate() {
                assert!(index == other_index || !other.contains(value.as_str()), "{value} in {other}");
            }
        }
    }
}
