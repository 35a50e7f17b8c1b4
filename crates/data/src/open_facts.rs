//! The seeded generator of open-vocabulary passages: values that cannot be guessed, one to eight sentences.
//!
//! A passage is about one or two subjects (people, devices, shipments, meetings, places). Names, places,
//! firms, codes, amounts, numbers, times, dates, e-mail addresses and phone numbers are built from
//! syllables, letters and digits. Each such value belongs to one [`Split`] by the hash of its text, so the
//! splits share **no value at all**. What they share, and may be learned, is wording: the sentences, the
//! 18 lists of closed vocabulary (jobs, animals, colours ..), units, and the days, months and years that
//! dates are made of.
//!
//! Seen and unseen wordings share no wording of a sentence, a question or a query. One pair of kinds of
//! sentences in three never stands side by side in a seen passage; every unseen passage of two or more
//! sentences has such a pair, so its shape is unseen as well.
//!
//! A query looks for a passage by its closed vocabulary, in other words: it shares no content word with the
//! passage and quotes none of its values.
//!
//! # Bits
//! [`OpenFact::bits`] is minus log2 of the probability of all draws that decide the text: log2 of the number
//! of choices at every draw (number and kinds of sentences, subjects, values, wordings, pronouns), and where
//! a value is drawn again until it is on the split's side, log2 of the share of that side. The text is a
//! function of the draws, and two series of draws may give the same text, so the mean over passages is an
//! upper bound of the entropy of the text, given the generator. It is a close one: what it does not take off
//! are texts that two series of draws give (a name divided into other syllables, a kind of sentence that is
//! taken from the first subject or by chance), and values that are drawn again as they clash.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::draw::Draw;
use crate::facts::{Question, Split};

mod asking;
mod collections;
mod kinds;
mod lexicon;
mod outline;
mod telling;
mod values;

use outline::Outline;
use telling::Draft;
use values::Counted;

/// Version of the generator; it changes whenever the passage of any index does.
pub const VERSION: u32 = 1;

/// Sentences that passages have by default: single sentences and long passages.
///
/// A sentence has about nine words and 40 bits. A run prints what its own test passages have: bits with
/// `explain`, tokens and characters in its table. Bits of test passages are lower than those of training:
/// an eighth of the values is left to them, not six eighths.
pub const SENTENCES: RangeInclusive<usize> = 1..=7;

/// Most sentences of a passage.
pub const MAX_SENTENCES: usize = 8;

/// Which wordings and which neighbours among the kinds of sentences a passage has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Wordings {
    /// Those of training, and of tests that change the values alone.
    Seen,
    /// Those that no passage for training has.
    Unseen,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenSlot {
    /// First name and surname, each of two or three syllables.
    Person,
    /// One name: of an animal; with its noun, of a meeting.
    Name,
    /// Place.
    Place,
    /// Firm: a name and one of eight common words.
    Firm,
    /// Code of six to seven letters and digits.
    Code,
    /// Sum of money of three to five digits with its unit.
    Amount,
    /// Number of three digits.
    Number,
    /// Time of day.
    Time,
    /// Date with its year.
    Date,
    /// E-mail address in a domain reserved for examples.
    Email,
    /// Phone number of seven digits.
    Phone,
    /// Word of the closed vocabulary; the only values that splits share.
    Word,
}

/// One value of a passage; `text` occurs verbatim in the passage.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OpenValue {
    /// What it is.
    pub slot: OpenSlot,
    /// Its text.
    pub text: String,
}

/// One generated passage and what can be asked about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenFact {
    /// The passage.
    pub text: String,
    /// The unique name of its first subject, a verbatim span: "Tomira Keldan", "KX-4827", "Velmor seminar".
    pub subject: String,
    /// Its values: the subjects' names and everything that is said of them, sentence by sentence.
    pub values: Vec<OpenValue>,
    /// One question for each value; the answer is the value. Those for the names of subjects come last.
    pub questions: Vec<Question>,
    /// Two retrieval queries that paraphrase up to three things the passage says and quote none of its words.
    pub queries: Vec<String>,
    /// Upper bound of the information in the text, in bits; the last digits depend on the platform's log2.
    pub bits: f64,
}

/// The generator: random access to the passages of a seed, split, side of the wordings, and length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFacts {
    seed: u64,
    split: Split,
    wordings: Wordings,
    least: usize,
    most: usize,
}

impl OpenFacts {
    /// Returns the generator of a seed, split, side of the wordings, and range of the number of sentences.
    ///
    /// Training has [`Wordings::Seen`].
    ///
    /// # Panics
    /// if the range is empty or goes beyond 1 to [`MAX_SENTENCES`].
    pub fn new(seed: u64, split: Split, wordings: Wordings, sentences: RangeInclusive<usize>) -> Self {
        let (least, most) = sentences.into_inner();
        assert!(1 <= least && least <= most && most <= MAX_SENTENCES, "got {least} to {most} sentences, expected 1 to {MAX_SENTENCES}");
        Self { seed, split, wordings, least, most }
    }

    /// Returns the passage of an index, a pure function of the generator and the index.
    ///
    /// Any index is valid.
    pub fn get(&self, index: u64) -> OpenFact {
        let draft = self.draft(index);
        let questions = draft.questions(&mut self.draw(b"questions", index));
        let queries = draft.queries(&mut self.draw(b"queries", index)).into_iter().map(|query| query.text).collect();
        let subject = draft.subject().to_owned();
        let Draft { text, values, bits, .. } = draft;
        OpenFact { text, subject, values, questions, queries, bits }
    }

    fn draft(&self, index: u64) -> Draft {
        let (outline, draw) = self.outline(index);
        Draft::new(outline, self.wordings, draw)
    }

    /// The outline of a passage, and the stream that its values come from.
    fn outline(&self, index: u64) -> (Outline, Counted) {
        let mut draw = Counted::new(self.draw(b"passage", index), self.split);
        (Outline::new(self.least, self.most, self.wordings, &mut draw), draw)
    }

    fn draw(&self, purpose: &[u8], index: u64) -> Draw {
        let sides = [self.split as u8, self.wordings as u8, self.least as u8, self.most as u8];
        Draw::seeded(&[b"open facts", &VERSION.to_le_bytes(), &self.seed.to_le_bytes(), &sides, &index.to_le_bytes(), purpose])
    }
}
