//! What a sentence of the open facts is, and which sentences may follow each other.

use super::lexicon::Words;
use super::{OpenSlot, Wordings};

mod device;
mod meeting;
mod person;
mod place;
mod shipment;

/// Wordings of one question: two for training, and one that training does not have.
pub type Asks = [&'static str; 3];

/// One kind of sentence. It states one word of the closed vocabulary and one or two built values.
///
/// Placeholders of wordings: `{S}` the subject at the start of the sentence, `{s}` inside it, `{o}` as an
/// object, `{P}` and `{p}` its possessive (people only); a wording has exactly one of these. `{r}` is the
/// possessive pronoun that refers back to it (people only). `{1}` is the word of the closed vocabulary,
/// `{a1}` and `{A1}` the same with its article; `{2}` and `{3}` are the built values. Questions have
/// `{name}` for the subject, in full.
pub struct Kind {
    /// Wordings that passages for training have.
    pub seen: [&'static str; 5],
    /// Wordings that they do not have.
    pub unseen: [&'static str; 2],
    /// The list of its closed word.
    pub words: Words,
    /// Questions for the closed word.
    pub word_asks: Asks,
    /// The built values, each with the questions that ask for it.
    pub built: &'static [(OpenSlot, Asks)],
    /// Questions that ask for the subject.
    pub who: Asks,
    /// What a query has in place of the closed word; `{q}` is its paraphrase.
    pub hint: &'static str,
}

/// What a passage can be about.
pub struct Sort {
    /// The kinds of sentences about it, a multiple of three.
    pub kinds: &'static [Kind],
    /// How it is called; none for people, who have a first name.
    pub nouns: Nouns,
    /// What its name is made of.
    pub name: OpenSlot,
}

/// How a subject is called.
pub enum Nouns {
    /// She or he; the first name is the short form.
    Person,
    /// Noun of the closed vocabulary, then the code: "the pump AB-1234".
    Told(Words),
    /// Noun, then the code: "the parcel AB-1234".
    Coded(&'static [&'static str]),
    /// Name, then noun: "the Velmor seminar".
    Named(&'static [&'static str]),
    /// Noun, "of", name: "the village of Velford".
    Of(&'static [&'static str]),
}

/// All sorts of subjects.
pub static SORTS: [Sort; 5] = [person::SORT, device::SORT, shipment::SORT, meeting::SORT, place::SORT];

/// What a query says of a device itself.
pub const DEVICE_HINT: &str = "equipment acting as {q}";

/// Questions for the trade of a person who is not the subject.
const TRADE_ASKS: Asks = ["What is the job of {2}?", "What does {2} do for a living?", "What is the trade of {2}?"];

impl Sort {
    /// The most sentences about one subject: while this many are told, two thirds of the kinds are used at
    /// most, so that there is always a next one.
    pub fn most(&self) -> usize {
        self.kinds.len() - self.kinds.len() / 3
    }
}

impl Wordings {
    /// Whether a sentence of kind `index` may stand beside one of kind `other`, each counted within its sort.
    ///
    /// One pair in three is kept from training.
    pub fn allow(self, index: usize, other: usize) -> bool {
        (index + other).is_multiple_of(3) == (self == Self::Unseen)
    }
}

#[cfg(test)]
mod tests;
