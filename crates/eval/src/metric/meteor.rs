//! METEOR (Lavie and Agarwal 2007) as NLTK computes it.

use std::collections::{HashMap, HashSet};

use super::porter::stem;
use super::{TextMetric, WordNet};
use crate::normalize::is_space;

/// Weight of precision in the mean: P R / (alpha P + (1 - alpha) R).
const ALPHA: f64 = 0.9;
/// Exponent of the fragmentation.
const BETA: i32 = 3;
/// Largest penalty.
const GAMMA: f64 = 0.5;

/// P R / (0.9 P + 0.1 R) times 1 - 0.5 (chunks / m)^3, P = m / predicted words, R = m / expected words, m the matches.
///
/// Words stand between spaces, keep their punctuation and are compared in lower case. Matched are first equal words, then
/// words with equal Porter stems, then (with a WordNet) a stem that is a synonym of the other; every stage goes through the
/// prediction from its end and takes the last free word of the reference. A chunk is a run of matches that are neighbours in
/// both texts. One chunk is the least, so a text of n words scores 1 - 0.5 / n^3 against itself; no match scores 0.
///
/// # Reference
/// nltk 3.10.4 `single_meteor_score(reference.split(), prediction.split())`, without a WordNet with one that knows no word.
pub struct Meteor {
    synonyms: Option<(WordNet, String)>,
}

/// Words with their places in the text.
type Words = Vec<(usize, String)>;

impl Meteor {
    /// METEOR with equal words and equal stems; needs no files.
    pub const EXACT_AND_STEM: Meteor = Meteor { synonyms: None };

    /// METEOR with all three stages; the version names the WordNet.
    ///
    /// The third stage looks up stems, as NLTK does, so that only words that are their own stem find synonyms.
    pub fn with_wordnet(wordnet: WordNet) -> Meteor {
        let version = format!(
            "1 (nltk 3.10.4 METEOR, exact + Porter stem + WordNet {} synonyms, words between spaces, alpha 0.9, beta 3, gamma 0.5)",
            wordnet.version()
        );
        Meteor { synonyms: Some((wordnet, version)) }
    }
}

impl TextMetric for Meteor {
    fn name(&self) -> &'static str {
        "meteor"
    }

    fn version(&self) -> &str {
        match &self.synonyms {
            None => "1 (nltk 3.10.4 METEOR, exact + Porter stem, words between spaces, alpha 0.9, beta 3, gamma 0.5)",
            Some((_, version)) => version,
        }
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        let (mut prediction, mut reference) = (words(prediction), words(reference));
        let (predicted, expected) = (prediction.len() as f64, reference.len() as f64);
        let mut matches = Vec::new();
        take(&mut prediction, &mut reference, &mut matches, |free, word| free.last(word));
        for (_, word) in prediction.iter_mut().chain(&mut reference) {
            *word = stem(word);
        }
        take(&mut prediction, &mut reference, &mut matches, |free, word| free.last(word));
        if let Some((wordnet, _)) = &self.synonyms {
            take(&mut prediction, &mut reference, &mut matches, |free, word| {
                wordnet.synonyms(word).chain([word]).filter_map(|synonym| free.last(synonym)).max()
            });
        }
        if matches.is_empty() {
            return 0.0;
        }
        matches.sort_unstable();
        let count = matches.len() as f64;
        let (precision, recall) = (count / predicted, count / expected);
        let mean = precision * recall / (ALPHA * precision + (1.0 - ALPHA) * recall);
        let breaks = matches.windows(2).filter(|pair| (pair[0].0 + 1, pair[0].1 + 1) != pair[1]).count();
        let penalty = GAMMA * ((breaks + 1) as f64 / count).powi(BETA);
        // 0.9 + 0.1 need not be 1 in floats.
        ((1.0 - penalty) * mean).min(1.0)
    }
}

fn words(text: &str) -> Words {
    text.split(is_space).filter(|word| !word.is_empty()).map(str::to_lowercase).enumerate().collect()
}

/// The words of a reference that no match has taken, each with its places in rising order.
struct Free<'a>(HashMap<&'a str, Vec<usize>>);

impl Free<'_> {
    fn last(&self, word: &str) -> Option<usize> {
        self.0.get(word)?.last().copied()
    }
}

/// Moves what matches out of both texts, as (place in the prediction, place in the reference).
///
/// `find` names the place in the reference that a word of the prediction takes; it must be the last of its word.
fn take(prediction: &mut Words, reference: &mut Words, matches: &mut Vec<(usize, usize)>, find: impl Fn(&Free, &str) -> Option<usize>) {
    let mut free = Free(HashMap::new());
    let word_at: HashMap<usize, &str> = reference.iter().map(|(place, word)| (*place, word.as_str())).collect();
    reference.iter().for_each(|(place, word)| free.0.entry(word).or_default().push(*place));
    let (mut left, mut right) = (HashSet::new(), HashSet::new());
    for (place, word) in prediction.iter().rev() {
        if let Some(found) = find(&free, word) {
            word_at.get(&found).and_then(|word| free.0.get_mut(word)).map(Vec::pop);
            left.insert(*place);
            right.insert(found);
            matches.push((*place, found));
        }
    }
    prediction.retain(|(place, _)| !left.contains(place));
    reference.retain(|(place, _)| !right.contains(place));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prediction: &str, reference: &str, expected: f64) {
        let got = Meteor::EXACT_AND_STEM.score(prediction, reference);
        assert!((got - expected).abs() < 1e-12, "{prediction:?} {reference:?}: {got}, expected {expected}");
    }

    #[test]
    fn by_hand() {
        check("one two three", "one two three", 1.0 - 0.5 / 27.0);
        // Two of three words in two chunks: P = R = 2/3.
        check("x b a", "a b c", 2.0 / 3.0 * 0.5);
        // P = 1/2, R = 1: 0.5 / (0.45 + 0.1), one match, one chunk.
        check("cat dog", "cat", 0.5 / 0.55 * 0.5);
        check("Cats", "cat", 0.5);
        check("cat.", "cat", 0.0);
    }

    #[test]
    fn the_last_free_word_is_taken() {
        // "a" goes to the second "a" of the reference: one chunk with "b".
        check("a b", "a c a b", (2.0 / 2.0 * 0.5) / (0.9 + 0.1 * 0.5) * (1.0 - 0.5 / 8.0));
    }

    #[test]
    fn nothing_to_match_is_zero() {
        for (p, r) in [("", ""), ("x", ""), ("", "x"), ("x", "y"), (" ", "\n")] {
            check(p, r, 0.0);
        }
    }
}
