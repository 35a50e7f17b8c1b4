//! Questions about a passage, and the queries that look for it.

use super::Wordings;
use super::kinds::{Asks, DEVICE_HINT};
use super::telling::{Draft, Mention, Told};
use crate::draw::Draw;
use crate::facts::Question;

/// A retrieval query and the words of the passage that it paraphrases.
pub struct Query {
    pub text: String,
    pub words: Vec<&'static str>,
}

/// Queries of a passage.
const QUERIES: usize = 2;

/// Frames of queries.
const SEEN_FRAMES: [&str; 3] = ["Which note is about {}?", "Find the text on {}.", "I need the lines about {}."];
const UNSEEN_FRAMES: [&str; 2] = ["Where is something said regarding {}?", "Show me whatever concerns {}."];

/// Words that carry no content, though they have more than three letters.
#[rustfmt::skip]
const FUNCTION_WORDS: [&str; 16] = [
    "with", "that", "from", "into", "over", "about", "after", "before",
    "between", "above", "below", "without", "under", "until", "what", "same",
];

impl Draft {
    /// One question for each value, those for the names of the subjects last.
    pub fn questions(&self, draw: &mut Draw) -> Vec<Question> {
        let mut questions = Vec::with_capacity(self.values.len());
        for told in &self.told {
            let built = told.kind.built.iter().map(|(_, asks)| asks);
            for (number, asks) in std::iter::once(&told.kind.word_asks).chain(built).enumerate() {
                questions.push(self.question(asks, told, told.value + number, draw));
            }
        }
        for (index, subject) in self.subjects.iter().enumerate() {
            let about: Vec<&Told> = self.told.iter().filter(|told| told.subject == index).collect();
            let told = draw.of(&about);
            questions.push(self.question(&told.kind.who, told, subject.value, draw));
        }
        questions
    }

    fn question(&self, asks: &Asks, told: &Told, value: usize, draw: &mut Draw) -> Question {
        let ask = match self.wordings {
            Wordings::Seen => asks[draw.below(2)],
            Wordings::Unseen => asks[2],
        };
        let mut question = String::with_capacity(80);
        self.fill(ask, told, Mention::Full, &mut question);
        Question { question, answer: self.values[value].text.clone() }
    }

    /// Two queries, each of which paraphrases two or three things that the passage says, as far as it has
    /// them, in words that the passage has not.
    pub fn queries(&self, draw: &mut Draw) -> Vec<Query> {
        let said = self.told.iter().map(|told| (told.word.0, told.kind.hint, told.word.1));
        let nouns = self.subjects.iter().filter_map(|subject| Some((subject.noun, DEVICE_HINT, subject.paraphrase?)));
        let all: Vec<_> = said.chain(nouns).collect();
        let text = Content::of(&self.text);
        let mut new: Vec<_> = all.iter().filter(|(_, hint, phrase)| !text.shares_word(hint) && !text.shares_word(phrase)).collect();
        if new.is_empty() {
            // A made-up name that happens to be the one word of the paraphrase; the passage must be found all the same.
            new = all.iter().take(1).collect();
        }
        let frames = match self.wordings {
            Wordings::Seen => &SEEN_FRAMES[..],
            Wordings::Unseen => &UNSEEN_FRAMES,
        };
        let first = draw.below(frames.len());
        let query = |number: usize| {
            draw.shuffle(&mut new);
            let chosen = &new[..new.len().min(2 + draw.below(2))];
            let (before, after) = frames[(first + number) % frames.len()].split_once("{}").unwrap_or_default();
            let mut text = String::with_capacity(160);
            text.push_str(before);
            for (index, (_, hint, phrase)) in chosen.iter().enumerate() {
                text.push_str(match index {
                    0 => "",
                    _ if index + 1 == chosen.len() => " and ",
                    _ => ", ",
                });
                let (start, end) = hint.split_once("{q}").unwrap_or((hint, ""));
                text.extend([start, phrase, end]);
            }
            text.push_str(after);
            Query { text, words: chosen.iter().map(|(word, ..)| *word).collect() }
        };
        (0..QUERIES).map(query).collect()
    }
}

/// The words of a text that have more than three letters, each with the first four of them as a number.
pub struct Content<'a>(Vec<(u32, &'a str)>);

impl<'a> Content<'a> {
    /// The words of a text.
    pub fn of(text: &'a str) -> Self {
        Self(long_words(text).map(|word| (key(word), word)).collect())
    }

    /// Whether another text has one of the words, inflected or not: one begins with the other, or both with
    /// the same five letters.
    pub fn shares_word(&self, other: &str) -> bool {
        let mut content = long_words(other).filter(|word| FUNCTION_WORDS.iter().all(|function| !function.eq_ignore_ascii_case(word)));
        content.any(|word| {
            let key = key(word);
            self.0.iter().any(|(own, seen)| {
                let length = seen.len().min(word.len()).min(5);
                *own == key && seen.as_bytes()[..length].eq_ignore_ascii_case(&word.as_bytes()[..length])
            })
        })
    }
}

fn long_words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| word.len() > 3)
}

fn key(word: &str) -> u32 {
    word.bytes().take(4).fold(0, |key, letter| key << 8 | u32::from(letter.to_ascii_lowercase()))
}
