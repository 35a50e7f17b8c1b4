//! BM25 over words: the index that needs no model.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{Abilities, MemoryMethod};
use crate::error::ModelError;

/// The constants of Okapi BM25; the defaults are rank_bm25's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bm25Config {
    /// How soon more of the same word stops to count.
    #[serde(default = "defaults::k1")]
    pub k1: f64,
    /// How much a long passage is held against it, 0 to 1.
    #[serde(default = "defaults::b")]
    pub b: f64,
    /// A word in more than half of the passages weighs this share of the mean idf, where its own would be negative.
    #[serde(default = "defaults::epsilon")]
    pub epsilon: f64,
}

mod defaults {
    pub(super) fn k1() -> f64 {
        1.5
    }
    pub(super) fn b() -> f64 {
        0.75
    }
    pub(super) fn epsilon() -> f64 {
        0.25
    }
}

impl Default for Bm25Config {
    fn default() -> Self {
        Self { k1: defaults::k1(), b: defaults::b(), epsilon: defaults::epsilon() }
    }
}

/// Okapi BM25, each ranking over the passages that it is given.
#[derive(Clone, Debug, Default)]
pub struct Bm25 {
    config: Bm25Config,
}

impl Bm25 {
    /// BM25 with these constants.
    pub fn new(config: Bm25Config) -> Self {
        Self { config }
    }

    /// The score of every passage.
    ///
    /// `sum over the query's words w of idf(w) f (k1 + 1) / (f + k1 (1 - b + b length / mean length))`, f the count of w in
    /// the passage; a word that the query repeats counts again. `idf(w) = ln(N - n + 0.5) - ln(n + 0.5)` for n of N
    /// passages with w, the form of Robertson and Sparck Jones; where it is negative, `epsilon` times the mean idf.
    ///
    /// # Reference
    /// `BM25Okapi` of rank_bm25 0.2.2, with [`words`] as the tokenizer.
    pub fn scores(&self, query: &str, passages: &[&str]) -> Vec<f64> {
        let Bm25Config { k1, b, epsilon } = self.config;
        let counts: Vec<HashMap<String, f64>> = passages.iter().map(|passage| counted(passage)).collect();
        let lengths: Vec<f64> = counts.iter().map(|c| c.values().sum()).collect();
        let mean_length = lengths.iter().sum::<f64>() / passages.len().max(1) as f64;
        let mut containing: HashMap<&str, f64> = HashMap::new();
        counts.iter().flat_map(HashMap::keys).for_each(|word| *containing.entry(word).or_default() += 1.0);

        let total = passages.len() as f64;
        let raw = |n: f64| (total - n + 0.5).ln() - (n + 0.5).ln();
        // Grouped by n and in order: the same sum whatever order the map has.
        let mut groups: Vec<f64> = containing.values().copied().collect();
        groups.sort_by(f64::total_cmp);
        let floor = epsilon * groups.iter().map(|n| raw(*n)).sum::<f64>() / groups.len().max(1) as f64;
        let idf = |word: &str| match containing.get(word).map(|n| raw(*n)) {
            Some(idf) if idf < 0.0 => floor,
            Some(idf) => idf,
            None => 0.0,
        };
        let wanted: Vec<(String, f64)> = words(query).map(|word| (idf(&word), word)).map(|(idf, word)| (word, idf)).collect();
        let score = |(count, length): (&HashMap<String, f64>, &f64)| {
            let longer = k1 * (1.0 - b + b * length / mean_length);
            let of = |(word, idf): &(String, f64)| count.get(word).map_or(0.0, |f| idf * f * (k1 + 1.0) / (f + longer));
            wanted.iter().map(of).sum()
        };
        counts.iter().zip(&lengths).map(score).collect()
    }
}

/// Lower-cased runs of letters and digits.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    let lower = text.to_lowercase();
    let words: Vec<String> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(String::from).collect();
    words.into_iter()
}

fn counted(text: &str) -> HashMap<String, f64> {
    let mut counts = HashMap::new();
    words(text).for_each(|word| *counts.entry(word).or_default() += 1.0);
    counts
}

impl MemoryMethod for Bm25 {
    fn name(&self) -> String {
        "BM25".into()
    }

    fn abilities(&self) -> Abilities {
        Abilities::INDEX
    }

    fn rank(&self, query: &str, passages: &[&str]) -> Result<Vec<f64>, ModelError> {
        Ok(self.scores(query, passages))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn scores_of_rank_bm25() {
        let text = include_str!("../../tests/fixtures/bm25.json");
        let golden: Value = serde_json::from_str(text).unwrap();
        let mut compared = 0;
        for case in golden["cases"].as_array().unwrap() {
            let config = serde_json::from_value(case["config"].clone()).unwrap();
            let passages: Vec<&str> = case["passages"].as_array().unwrap().iter().map(|p| p.as_str().unwrap()).collect();
            let scores = Bm25::new(config).scores(case["query"].as_str().unwrap(), &passages);
            let expected: Vec<f64> = case["scores"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
            assert_eq!(scores.len(), expected.len());
            for (ours, theirs) in scores.iter().zip(&expected) {
                assert!((ours - theirs).abs() < 1e-9, "{case}: {scores:?}");
                compared += 1;
            }
        }
        assert!(compared > 30, "got {compared} scores");
    }

    #[test]
    fn words_are_lower_cased_runs_of_letters_and_digits() {
        assert_eq!(words("Mila's 2nd_room, in Porto!").collect::<Vec<_>>(), ["mila", "s", "2nd", "room", "in", "porto"]);
    }

    #[test]
    fn nothing_to_rank() {
        assert!(Bm25::default().scores("word", &[]).is_empty());
        assert_eq!(Bm25::default().scores("", &["a b", ""]), [0.0, 0.0]);
        // Passages without words have no mean length, by which a score would be no number.
        assert_eq!(Bm25::default().scores("word", &["", "..."]), [0.0, 0.0]);
    }
}
