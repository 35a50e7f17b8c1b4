//! The seeded generator of agent-memory passages: made-up people, their jobs, towns, plans, trips.
//!
//! Passages are short (12 to 30 words) and dense in values that cannot be guessed. The splits share
//! every single value but **no pair of values**: a value has a class, its index in its list modulo 8;
//! a training passage uses values of pairwise distinct classes, a test passage values of one even
//! class, a validation passage values of one odd class. A model that reconstructs test passages
//! therefore binds values it has never seen together.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::draw::Draw;

mod collections;
mod shapes;
mod templates;
mod vocabulary;

pub use collections::{passages, qa_items, retrieval_items};
use shapes::{SHAPES, Sentence};
use vocabulary as words;

/// Version of the generator; it changes whenever the passage of any index does.
pub const VERSION: u32 = 1;

/// Most words of a passage.
const MAX_WORDS: usize = 30;

/// Which side of the train, validation and test division a record is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For training.
    Train,
    /// For choosing between runs.
    Valid,
    /// For the reported numbers.
    Test,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        })
    }
}

/// What a value says about the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// First name.
    First,
    /// Surname.
    Last,
    /// Job, without its article.
    Job,
    /// Home town.
    Town,
    /// Town travelled to; the same list as the home town.
    Destination,
    /// Day and month, one value.
    Date,
    /// Sum of money with its unit; the value is the number, the unit is wording.
    Amount,
    /// Plan, as it follows "to".
    Plan,
    /// Thing, with its article.
    Object,
}

/// One value of a passage; `text` occurs verbatim in the passage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Value {
    /// What it says about the person.
    pub slot: Slot,
    /// Its text.
    pub text: String,
}

/// A question about one passage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The question; it names the person unless it asks for the person.
    pub question: String,
    /// The answer, a verbatim span of the passage.
    pub answer: String,
}

/// One generated passage and what can be asked about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// The passage.
    pub text: String,
    /// Full name of its one person.
    pub person: String,
    /// Its values, first name and surname first.
    pub values: Vec<Value>,
    /// One question for each value but the names, then one that asks for the person.
    pub questions: Vec<Question>,
    /// One or two retrieval queries, each with the full name and at least one more value.
    pub queries: Vec<String>,
}

/// The generator: random access to the passages of one seed and split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    seed: u64,
    split: Split,
}

impl Facts {
    /// Returns the generator of a seed and split.
    pub fn new(seed: u64, split: Split) -> Self {
        Self { seed, split }
    }

    /// Returns the passage of an index, a pure function of seed, split and index.
    ///
    /// Any index is valid. One call takes a few microseconds.
    pub fn get(&self, index: u64) -> Fact {
        let mut draw = Draw::new(self.seed, self.split, b"passage", index);
        let mut classes = draw.classes(self.split).into_iter();
        let mut class = || classes.next().unwrap_or_default();

        let first = draw.index(words::FIRST_NAMES.len(), class());
        let last = draw.index(words::SURNAMES.len(), class());
        let mut cast = Cast {
            she: first < words::FIRST_NAMES.len() / 2,
            values: vec![value(Slot::First, words::FIRST_NAMES[first].to_owned()), value(Slot::Last, words::SURNAMES[last].to_owned())],
        };

        let mut shape = draw.of(SHAPES).to_vec();
        draw.shuffle(&mut shape);
        for (slot, _) in shape.iter().flat_map(|sentence| sentence.questions) {
            let class = class();
            // A trip to one's own home town is the one clash that a class does not rule out.
            let new = loop {
                let new = draw.value(*slot, class);
                if cast.values.iter().all(|old| old.text != new.text) {
                    break new;
                }
            };
            cast.values.push(new);
        }
        cast.tell(&shape, &mut draw)
    }
}

/// The person and values of a passage, filled into templates.
struct Cast {
    she: bool,
    values: Vec<Value>,
}

impl Cast {
    fn tell(self, shape: &[&Sentence], draw: &mut Draw) -> Fact {
        let person = format!("{} {}", self.text(Slot::First), self.text(Slot::Last));
        // Every shape has wordings well below the bound, so this ends after a few draws.
        let text = loop {
            let text = self.wording(shape, &person, draw);
            if text.split(' ').count() <= MAX_WORDS {
                break text;
            }
        };
        let mut questions = Vec::with_capacity(self.values.len());
        for (slot, asked) in shape.iter().flat_map(|sentence| sentence.questions) {
            questions.push(Question { question: self.filled(draw.of(asked), &person), answer: self.text(*slot).to_owned() });
        }
        let told = draw.of(shape);
        questions.push(Question { question: self.filled(draw.of(told.who), &person), answer: person.clone() });

        let mut asked = shape.to_vec();
        draw.shuffle(&mut asked);
        let queries = asked[..1 + draw.below(2)].iter().map(|sentence| self.filled(draw.of(sentence.queries), &person)).collect();
        Fact { text, person, values: self.values, questions, queries }
    }

    fn wording(&self, shape: &[&Sentence], person: &str, draw: &mut Draw) -> String {
        let mut text = String::with_capacity(200);
        for (number, sentence) in shape.iter().enumerate() {
            // The full name once, then mostly the pronoun, as people write notes.
            let (start, inside) = match (number, draw.below(3)) {
                (0, _) => (person, person),
                (_, 0) => (self.text(Slot::First), self.text(Slot::First)),
                _ if self.she => ("She", "she"),
                _ => ("He", "he"),
            };
            if number > 0 {
                text.push(' ');
            }
            self.fill(draw.of(sentence.texts), person, [start, inside], &mut text);
        }
        text
    }

    fn text(&self, slot: Slot) -> &str {
        let found = self.values.iter().find(|value| value.slot == slot);
        found.map_or("", |value| value.text.as_str())
    }

    fn filled(&self, template: &str, person: &str) -> String {
        let mut text = String::with_capacity(64);
        self.fill(template, person, [person, person], &mut text);
        text
    }

    fn fill(&self, template: &str, person: &str, subject: [&str; 2], out: &mut String) {
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(before);
            rest = after;
            match name {
                "S" => out.push_str(subject[0]),
                "s" => out.push_str(subject[1]),
                "name" => out.push_str(person),
                "job" => out.push_str(self.text(Slot::Job)),
                "a_job" => out.push_str(&with_article(self.text(Slot::Job))),
                "town" => out.push_str(self.text(Slot::Town)),
                "destination" => out.push_str(self.text(Slot::Destination)),
                "date" => out.push_str(self.text(Slot::Date)),
                "amount" => out.push_str(self.text(Slot::Amount)),
                "plan" => out.push_str(self.text(Slot::Plan)),
                "object" => out.push_str(self.text(Slot::Object)),
                // Left visible, so that the tests see a misspelt placeholder.
                other => out.push_str(&format!("{{{other}}}")),
            }
        }
        out.push_str(rest);
    }
}

impl Draw {
    fn new(seed: u64, split: Split, purpose: &[u8], index: u64) -> Self {
        Self::seeded(&[&VERSION.to_le_bytes(), &seed.to_le_bytes(), &[split as u8], &index.to_le_bytes(), purpose])
    }

    /// The classes of a passage's values, in the order they are used up.
    fn classes(&mut self, split: Split) -> [usize; words::CLASSES] {
        let mut classes = std::array::from_fn(|class| class);
        match split {
            Split::Train => self.shuffle(&mut classes),
            Split::Valid => classes = [1 + 2 * self.below(words::CLASSES / 2); words::CLASSES],
            Split::Test => classes = [2 * self.below(words::CLASSES / 2); words::CLASSES],
        }
        classes
    }

    /// An index of a class into a list of `length` values.
    fn index(&mut self, length: usize, class: usize) -> usize {
        class + words::CLASSES * self.below(length / words::CLASSES)
    }

    fn word(&mut self, list: &[&str], class: usize) -> String {
        list[self.index(list.len(), class)].to_owned()
    }

    fn value(&mut self, slot: Slot, class: usize) -> Value {
        let text = match slot {
            Slot::First => self.word(&words::FIRST_NAMES, class),
            Slot::Last => self.word(&words::SURNAMES, class),
            Slot::Job => self.word(&words::JOBS, class),
            Slot::Town | Slot::Destination => self.word(&words::TOWNS, class),
            Slot::Plan => self.word(&words::PLANS, class),
            Slot::Object => self.word(&words::OBJECTS, class),
            Slot::Date => {
                let index = self.index(words::MONTHS.len() * words::DAYS, class);
                let (month, day) = (index / words::DAYS, index % words::DAYS + 1);
                format!("{day} {}", words::MONTHS[month])
            }
            Slot::Amount => {
                let number = words::amount(self.index(words::AMOUNTS, class));
                format!("{number} {}", self.of(&words::UNITS))
            }
        };
        value(slot, text)
    }
}

fn with_article(job: &str) -> String {
    let vowel = job.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {job}", if vowel { "an" } else { "a" })
}

fn value(slot: Slot, text: String) -> Value {
    Value { slot, text }
}
