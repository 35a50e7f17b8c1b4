//! The built values of the open facts, the rule that keeps them on one side of the split, and the bits they take.

use crate::draw::Draw;
use crate::facts::Split;

use super::OpenSlot;

/// Syllables of all names; none ends in "s", so that "'s" can follow every name.
#[rustfmt::skip]
pub const SYLLABLES: [&str; 100] = [
    "ba", "be", "bo", "bra", "bri", "cla", "dal", "den", "dor", "dra", "du", "el", "fa", "fen", "fi", "flo", "ga", "gar", "gel", "gli",
    "gor", "gra", "ha", "hel", "hol", "hu", "il", "ja", "jen", "jor", "ju", "ka", "kel", "ki", "kor", "kra", "la", "len", "li", "lo",
    "lu", "ma", "mel", "mi", "mo", "mul", "na", "ne", "nor", "nu", "ol", "or", "pa", "pel", "pi", "pla", "por", "qua", "ra", "ren",
    "ri", "ro", "rul", "sa", "sel", "ska", "sol", "sta", "su", "ta", "tel", "ti", "tor", "tra", "tu", "ul", "um", "va", "vel", "vi",
    "vor", "vu", "wa", "wen", "wi", "wor", "xa", "xi", "ya", "yel", "yo", "za", "zel", "zi", "zo", "zu", "che", "sho", "tha", "phi",
];

/// Ends of place names.
#[rustfmt::skip]
const PLACE_ENDS: [&str; 24] = [
    "ton", "ford", "by", "ville", "mouth", "stead", "haven", "bury", "wick", "field", "burg", "port",
    "dale", "holm", "gate", "bridge", "wood", "well", "ham", "beck", "cliff", "moor", "thorpe", "ness",
];

const FIRM_ENDS: [&str; 8] = ["Freight", "Works", "Stores", "Trading", "Brothers", "Partners", "Group", "Holding"];
const UNITS: [&str; 6] = ["euros", "dollars", "pounds", "crowns", "francs", "rupees"];
/// Reserved by RFC 2606, so that no address is anybody's.
const DOMAINS: [&str; 2] = ["example", "test"];
/// Letters of codes; I and O read as digits.
const LETTERS: [&str; 24] =
    ["A", "B", "C", "D", "E", "F", "G", "H", "J", "K", "L", "M", "N", "P", "Q", "R", "S", "T", "U", "V", "W", "X", "Y", "Z"];
/// Codes, with L for a letter and D for a digit.
const CODES: [&str; 6] = ["LL-DDDD", "LDD-DLD", "DDL-LDD", "LLDDDL", "DDDD-LL", "LDLD-DD"];

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
/// Days used of each month, so that every month has all of them.
const DAYS: usize = 28;
const FIRST_YEAR: usize = 1950;
const YEARS: usize = 130;

/// Parts into which the texts of values are hashed: six are for training, one for each other split.
const PARTS: u32 = 8;

/// The split whose passages may have a value of this text; case does not matter.
///
/// FNV-1a with a final mixing step, of which the highest three bits count.
pub fn side(text: &str) -> Split {
    let fnv = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01b3));
    match (fnv ^ (fnv >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> (64 - PARTS.trailing_zeros()) {
        0 => Split::Valid,
        1 => Split::Test,
        _ => Split::Train,
    }
}

/// The share of all texts that is on a split's side.
pub fn share(split: Split) -> f64 {
    match split {
        Split::Train => f64::from(PARTS - 2) / f64::from(PARTS),
        Split::Valid | Split::Test => 1.0 / f64::from(PARTS),
    }
}

/// Draws that count the bits of every choice.
pub struct Counted {
    draw: Draw,
    split: Split,
    /// The bits so far: minus log2 of the probability of all choices made.
    pub bits: f64,
}

impl Counted {
    /// Starts to count on a stream.
    pub fn new(draw: Draw, split: Split) -> Self {
        Self { draw, split, bits: 0.0 }
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.bits += (bound as f64).log2();
        self.draw.below(bound)
    }

    /// One of the items.
    pub fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    /// Draws again until the result is `right`; only the last draw counts.
    pub fn until<T>(&mut self, mut make: impl FnMut(&mut Self) -> T, right: impl Fn(&T) -> bool) -> T {
        let before = self.bits;
        loop {
            self.bits = before;
            let made = make(self);
            if right(&made) {
                return made;
            }
        }
    }

    /// Adds a text on the side of the split: as many bits as its draws take, less those that name the side.
    fn own(&mut self, out: &mut String, make: impl Fn(&mut Self, &mut String)) {
        let (before, start) = (self.bits, out.len());
        loop {
            make(self, out);
            if side(&out[start..]) == self.split {
                break;
            }
            self.bits = before;
            out.truncate(start);
        }
        self.bits += share(self.split).log2();
    }

    fn syllables(&mut self, out: &mut String, least: usize) {
        for _ in 0..least + self.below(2) {
            out.push_str(self.of(&SYLLABLES));
        }
    }

    /// Adds a capitalised word of two or three syllables.
    fn name(&mut self, out: &mut String) {
        let start = out.len();
        self.own(out, |draw, out| draw.syllables(out, 2));
        capitalise(out, start);
    }

    /// Adds digits.
    fn digits(&mut self, out: &mut String, count: usize) {
        for _ in 0..count {
            out.push(char::from(b'0' + self.below(10) as u8));
        }
    }

    /// The text of a value.
    pub fn value(&mut self, slot: OpenSlot) -> String {
        let mut text = String::with_capacity(24);
        let out = &mut text;
        match slot {
            OpenSlot::Person => {
                self.name(out);
                out.push(' ');
                self.name(out);
            }
            OpenSlot::Name | OpenSlot::Word => self.name(out),
            OpenSlot::Place => {
                self.own(out, |draw, out| {
                    draw.syllables(out, 1);
                    out.push_str(draw.of(&PLACE_ENDS));
                });
                capitalise(out, 0);
            }
            OpenSlot::Firm => {
                self.name(out);
                out.push(' ');
                out.push_str(self.of(&FIRM_ENDS));
            }
            OpenSlot::Code => self.own(out, Self::code),
            OpenSlot::Amount => {
                self.own(out, |draw, out| {
                    let least = draw.of(&[100, 1000, 10_000]);
                    number(out, least + draw.below(9 * least));
                });
                out.push(' ');
                out.push_str(self.of(&UNITS));
            }
            OpenSlot::Number => self.own(out, |draw, out| number(out, 100 + draw.below(900))),
            OpenSlot::Time => self.own(out, |draw, out| {
                let minutes = draw.below(24 * 60);
                out.push_str(&format!("{:02}:{:02}", minutes / 60, minutes % 60));
            }),
            OpenSlot::Date => self.own(out, |draw, out| {
                let days = draw.below(DAYS * MONTHS.len() * YEARS);
                let (month, year) = (MONTHS[days / DAYS % MONTHS.len()], FIRST_YEAR + days / DAYS / MONTHS.len());
                number(out, days % DAYS + 1);
                out.push(' ');
                out.push_str(month);
                out.push(' ');
                number(out, year);
            }),
            OpenSlot::Email => {
                self.own(out, |draw, out| {
                    draw.syllables(out, 2);
                    draw.digits(out, 2);
                });
                out.push('@');
                self.own(out, |draw, out| draw.syllables(out, 2));
                out.push('.');
                out.push_str(self.of(&DOMAINS));
            }
            OpenSlot::Phone => self.own(out, |draw, out| {
                draw.digits(out, 3);
                out.push('-');
                draw.digits(out, 4);
            }),
        }
        text
    }

    fn code(&mut self, out: &mut String) {
        for sign in self.of(&CODES).chars() {
            match sign {
                'L' => out.push_str(self.of(&LETTERS)),
                'D' => self.digits(out, 1),
                other => out.push(other),
            }
        }
    }
}

/// Adds a number.
fn number(out: &mut String, number: usize) {
    out.push_str(&number.to_string());
}

/// Brings the letter that begins at `start`, which is ASCII, into upper case.
pub fn capitalise(out: &mut str, start: usize) {
    if let Some(first) = out.get_mut(start..start + 1) {
        first.make_ascii_uppercase();
    }
}

/// Adds a noun with its article.
pub fn push_with_article(out: &mut String, noun: &str) {
    out.push_str(if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an " } else { "a " });
    out.push_str(noun);
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn counted(split: Split) -> Counted {
        Counted::new(Draw::seeded(&[b"values"]), split)
    }

    #[test]
    fn the_bits_of_values_add_up() {
        let quarter = 0.75_f64.log2();
        let mut draw = counted(Split::Train);
        draw.value(OpenSlot::Number);
        assert!((draw.bits - (900_f64.log2() + quarter)).abs() < 1e-9, "{}", draw.bits);
        draw.bits = 0.0;
        draw.value(OpenSlot::Phone);
        assert!((draw.bits - (7.0 * 10_f64.log2() + quarter)).abs() < 1e-9, "{}", draw.bits);
        draw.bits = 0.0;
        let mut name = String::new();
        draw.name(&mut name);
        let letters = 100_f64.log2();
        let (two, three) = (1.0 + 2.0 * letters + quarter, 1.0 + 3.0 * letters + quarter);
        assert!((draw.bits - two).abs() < 1e-9 || (draw.bits - three).abs() < 1e-9, "{name} {}", draw.bits);

        // The same number takes three bits less where one in eight may be drawn.
        let mut draw = counted(Split::Test);
        draw.value(OpenSlot::Number);
        assert!((draw.bits - (900_f64.log2() - 3.0)).abs() < 1e-9, "{}", draw.bits);
    }

    #[test]
    fn the_sides_have_their_shares() {
        let mut counts = [0; 3];
        for number in 0..80_000 {
            counts[side(&format!("{number}")) as usize] += 1;
        }
        let [train, valid, test] = counts;
        assert!((59_000..61_000).contains(&train) && (9_500..10_500).contains(&valid) && (9_500..10_500).contains(&test), "{counts:?}");
        assert_eq!(side("Tomira"), side("tomira"));
    }

    #[test]
    fn syllables_are_distinct_and_take_a_possessive() {
        assert_eq!(SYLLABLES.iter().collect::<HashSet<_>>().len(), SYLLABLES.len());
        assert!(SYLLABLES.iter().all(|syllable| (2..=3).contains(&syllable.len()) && !syllable.ends_with('s')));
    }
}
