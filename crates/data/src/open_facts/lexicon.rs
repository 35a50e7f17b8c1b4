//! The closed vocabulary of the open facts: words that passages share, each with a paraphrase.
//!
//! An entry is the word as a passage has it and the phrase a query has in its place. The two share no
//! content word, and no word is in two lists. A passage is looked for by these words, so they are what
//! the splits have in common; everything else a passage says is built. Changing a list changes passages:
//! only together with a new [`super::VERSION`].

mod things;

pub use things::{DEVICES, FAULTS, FOODS, GOODS, LANDMARKS, MATERIALS, THEMES, WEATHER};

/// Words with their paraphrases.
pub type Words = &'static [(&'static str, &'static str)];

/// Jobs; a paraphrase follows "paid for".
#[rustfmt::skip]
pub static JOBS: Words = &[
    ("welder", "joining metal with heat"), ("baker", "making loaves before dawn"), ("tailor", "sewing suits"),
    ("plumber", "mending water pipes"), ("carpenter", "shaping timber"), ("nurse", "tending the sick"),
    ("teacher", "instructing pupils"), ("lawyer", "pleading in court"), ("farmer", "tilling the soil"),
    ("pilot", "flying aircraft"), ("dentist", "filling teeth"), ("butcher", "cutting meat"),
    ("barber", "trimming hair"), ("florist", "arranging flowers"), ("jeweller", "setting gems"),
    ("librarian", "lending books"), ("mechanic", "repairing engines"), ("painter", "covering walls with colour"),
    ("sailor", "crewing ships at sea"), ("miner", "digging coal underground"), ("optician", "fitting spectacles"),
    ("surgeon", "operating on patients"), ("interpreter", "turning one tongue into another"), ("auditor", "checking ledgers"),
    ("fisher", "catching cod with nets"), ("gardener", "tending lawns"), ("cobbler", "mending shoes"),
    ("potter", "forming bowls from clay"), ("judge", "deciding trials"), ("waiter", "bringing dishes to tables"),
    ("beekeeper", "minding hives"), ("locksmith", "opening doors without keys"),
];

/// Colours; a paraphrase follows "the shade of".
#[rustfmt::skip]
pub static COLOURS: Words = &[
    ("red", "ripe tomatoes"), ("green", "fresh grass"), ("blue", "a clear sky"), ("yellow", "lemons"),
    ("white", "new chalk"), ("black", "raven wings"), ("orange", "carrots"), ("pink", "flamingos"),
    ("purple", "plums"), ("brown", "chestnuts"), ("grey", "ashes"), ("golden", "wheat at harvest"),
    ("silver", "polished coins"), ("turquoise", "tropical lagoons"), ("crimson", "spilt blood"), ("beige", "desert sand"),
    ("violet", "lavender"), ("amber", "old resin"), ("indigo", "denim"), ("scarlet", "poppies"),
    ("ivory", "elephant tusks"), ("maroon", "dark burgundy"), ("mauve", "heather moors"), ("teal", "mallard necks"),
];

/// Animals; a paraphrase stands for the noun and its article.
#[rustfmt::skip]
pub static ANIMALS: Words = &[
    ("rabbit", "a hopper with long ears"), ("fox", "a sly bushy-tailed hunter"), ("tortoise", "a slow armoured reptile"),
    ("parrot", "a bird that repeats speech"), ("goat", "a bearded climber with horns"), ("hedgehog", "a small ball of spines"),
    ("otter", "a playful river swimmer"), ("camel", "a humped desert walker"), ("owl", "a night bird with huge eyes"),
    ("donkey", "a stubborn braying carrier"), ("badger", "a striped burrow digger"), ("beaver", "a gnawing builder of dams"),
    ("swan", "a graceful long-necked bird"), ("lizard", "a scaly sunbather"), ("squirrel", "a nut gatherer"),
    ("frog", "a croaking pond dweller"), ("llama", "a woolly beast of the Andes"), ("peacock", "a bird with a grand fan tail"),
    ("wolf", "a howling pack hunter"), ("hamster", "a rodent with stuffed cheeks"), ("spider", "an eight-legged weaver"),
    ("monkey", "a swinging tree climber"), ("penguin", "a bird that dives but cannot fly"), ("zebra", "a striped savanna grazer"),
];

/// Pastimes; a paraphrase follows "a pastime of".
#[rustfmt::skip]
pub static HOBBIES: Words = &[
    ("knitting", "making cloth with needles"), ("archery", "shooting arrows"), ("chess", "moving kings over a board"),
    ("pottery", "forming bowls from clay"), ("sailing", "crossing water under canvas"), ("cooking", "preparing meals"),
    ("fencing", "duelling with foils"), ("origami", "folding paper"), ("yoga", "stretching with slow breath"),
    ("astronomy", "watching stars"), ("falconry", "hunting with trained birds"), ("boxing", "punching in a ring"),
    ("karaoke", "singing to recorded tunes"), ("gardening", "growing flowers"), ("juggling", "throwing balls up by turns"),
    ("photography", "taking pictures"), ("surfing", "riding waves"), ("skiing", "gliding down snowy slopes"),
    ("diving", "exploring under water"), ("embroidery", "decorating cloth with thread"), ("genealogy", "tracing ancestors"),
    ("calligraphy", "drawing fine letters"), ("climbing", "scaling cliffs"), ("cycling", "pedalling down roads"),
];

/// Languages; a paraphrase is the capital in which it is spoken.
#[rustfmt::skip]
pub static LANGUAGES: Words = &[
    ("French", "Paris"), ("German", "Berlin"), ("Spanish", "Madrid"), ("Italian", "Rome"), ("Polish", "Warsaw"), ("Greek", "Athens"),
    ("Turkish", "Ankara"), ("Dutch", "Amsterdam"), ("Swedish", "Stockholm"), ("Finnish", "Helsinki"), ("Danish", "Copenhagen"),
    ("Hungarian", "Budapest"), ("Russian", "Moscow"), ("Japanese", "Tokyo"), ("Korean", "Seoul"), ("Czech", "Prague"),
    ("Norwegian", "Oslo"), ("Portuguese", "Lisbon"), ("Welsh", "Cardiff"), ("Irish", "Dublin"), ("Arabic", "Cairo"),
    ("Hebrew", "Jerusalem"), ("Bulgarian", "Sofia"), ("Romanian", "Bucharest"),
];

/// Rooms, as they follow "in the"; a paraphrase stands for the noun and its article.
#[rustfmt::skip]
pub static ROOMS: Words = &[
    ("kitchen", "the spot for cooking"), ("cellar", "the space below ground"), ("attic", "the space under the roof"),
    ("garage", "the spot for parked cars"), ("chapel", "a small prayer hall"), ("library", "a hall full of books"),
    ("greenhouse", "glass walls for plants"), ("bathroom", "the spot for washing"), ("bedroom", "the spot for sleeping"),
    ("stable", "the quarters of horses"), ("laundry", "the corner for dirty clothes"), ("nursery", "the quarters of babies"),
    ("pantry", "a store of groceries"), ("canteen", "the hall for staff lunches"), ("gym", "the hall for exercise"),
    ("lobby", "the entrance hall"), ("office", "the quarters of clerks"), ("laboratory", "the spot for experiments"),
    ("barn", "a shelter for hay"), ("boathouse", "a shelter for rowing craft"), ("theatre", "a stage with rows of chairs"),
    ("studio", "the quarters of an artist"), ("sauna", "a hot steam cabin"), ("hangar", "a shelter for aeroplanes"),
];

/// Things; a paraphrase stands for the noun and its article.
#[rustfmt::skip]
pub static OBJECTS: Words = &[
    ("umbrella", "a shield from wet skies"), ("ladder", "a climbing aid with rungs"), ("telescope", "a viewer of distant stars"),
    ("kettle", "a boiler for hot drinks"), ("mirror", "a glass that reflects faces"), ("clock", "a teller of hours"),
    ("violin", "a fiddle with a bow"), ("carpet", "a soft floor covering"), ("lantern", "a portable light"),
    ("tent", "a cloth shelter for hikers"), ("hammer", "a driver of nails"), ("necklace", "a chain of jewels"),
    ("compass", "a pointer to north"), ("pillow", "a soft rest for heads"), ("piano", "a grand keyboard"),
    ("sofa", "a long padded seat"), ("candle", "a stick of burning wax"), ("backpack", "a bag worn on shoulders"),
    ("scarf", "a warm strip for the neck"), ("whistle", "a shrill signal pipe"), ("basket", "a woven carrier"),
    ("globe", "a round model of Earth"), ("anchor", "a heavy hook for boats"), ("razor", "a blade for beards"),
];

/// Parts of the body; a paraphrase stands for the noun and its article.
#[rustfmt::skip]
pub static BODY: Words = &[
    ("knee", "the middle joint of a leg"), ("elbow", "the middle joint of an arm"), ("ankle", "the joint above a foot"),
    ("wrist", "the joint before a hand"), ("shoulder", "the top of an arm"), ("thumb", "the shortest finger"),
    ("nose", "the organ of smell"), ("ear", "the organ of hearing"), ("eye", "the organ of sight"),
    ("tongue", "the organ of taste"), ("heel", "the rear of a foot"), ("hip", "the joint beside the pelvis"),
    ("jaw", "the bone of chewing"), ("neck", "the stalk of the head"), ("spine", "the column of vertebrae"),
    ("toe", "a foot digit"), ("rib", "a chest bone"), ("palm", "the inside of a hand"),
    ("calf", "the lower leg muscle"), ("thigh", "the upper leg"), ("chin", "the tip of a face"),
    ("forehead", "the brow"), ("belly", "the digestive region"), ("scalp", "skin under hair"),
];

/// Ties between people; a paraphrase stands for the noun and its article.
#[rustfmt::skip]
pub static TIES: Words = &[
    ("aunt", "the female sibling of a parent"), ("uncle", "the male sibling of a parent"), ("cousin", "a parent's sibling's child"),
    ("nephew", "a sibling's male child"), ("niece", "a sibling's female child"), ("grandmother", "the oldest lady of a family"),
    ("grandfather", "the oldest man of a family"), ("brother", "a male sibling"), ("sister", "a female sibling"),
    ("son", "a male child"), ("daughter", "a female child"), ("mother", "a female parent"),
    ("father", "a male parent"), ("twin", "a person born on the same day"), ("stepmother", "the later wife of a parent"),
    ("stepfather", "the later husband of a parent"), ("neighbour", "the person next door"), ("colleague", "a person at the same firm"),
    ("landlord", "a collector of rent"), ("tutor", "a private instructor"), ("rival", "a fierce opponent"),
    ("classmate", "a person from the same school year"), ("flatmate", "a person under the same roof"), ("godfather", "a sponsor at baptism"),
];

/// Vehicles, as they follow "the" and "by"; a paraphrase stands for the noun and its article.
#[rustfmt::skip]
pub static VEHICLES: Words = &[
    ("train", "carriages on rails"), ("bus", "a public road coach"), ("ferry", "a boat for short crossings"),
    ("tram", "a city railcar"), ("lorry", "a heavy goods truck"), ("sledge", "a runner over snow"),
    ("canoe", "a slim paddle boat"), ("balloon", "a wicker basket under hot air"), ("taxi", "a hired cab"),
    ("bicycle", "a two-wheeler with pedals"), ("scooter", "a small motor two-wheeler"), ("helicopter", "an aircraft with rotors"),
    ("tractor", "a farm machine"), ("submarine", "a vessel below the waves"), ("yacht", "a luxury sailing vessel"),
    ("airship", "a cigar of gas in the sky"), ("rickshaw", "a pulled passenger cart"), ("gondola", "a Venetian boat"),
    ("monorail", "a beam railway"), ("barge", "a flat canal vessel"), ("minivan", "a family motor"),
    ("hovercraft", "a glider on an air cushion"), ("ambulance", "a hospital van"), ("limousine", "a stretched luxury saloon"),
];
