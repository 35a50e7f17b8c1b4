//! The metrics: two traits and one slice of each. A new metric is a file in `metric/` and a line in its slice.
//!
//! Every metric carries a version, because F1, ROUGE and BLEU differ between packages and a number without its formula
//! cannot be compared. Results keep the version beside the value.

mod bleu;
mod chrf;
mod f1;
mod fidelity;
mod meteor;
mod porter;
mod ranking;
mod rouge;
mod wordnet;

use std::collections::HashMap;
use std::hash::Hash;

pub use bleu::{CorpusBleu, corpus_bleu, tokenize_13a};
pub use meteor::Meteor;
pub use porter::stem;
pub use wordnet::WordNet;

/// A score of a text against a reference; higher is better.
pub trait TextMetric: Sync {
    /// Its name in experiments, results and tables.
    fn name(&self) -> &'static str;
    /// Its version, reference implementation and options; the number goes up when a value can change.
    fn version(&self) -> &str;
    /// The score, in [0, 1]; never NaN.
    fn score(&self, prediction: &str, reference: &str) -> f64;
    /// Whether the pair has anything to compare; where it has not, the score is a convention.
    ///
    /// Always, but for number, date and name fidelity: a text without a date says nothing about how dates are kept.
    fn applies(&self, _prediction: &str, _reference: &str) -> bool {
        true
    }
}

/// A score of a ranking against the set of relevant indices; higher is better.
pub trait RankingMetric: Sync {
    /// Its name in experiments, results and tables.
    fn name(&self) -> &'static str;
    /// Its version and formula; the number goes up when a value can change.
    fn version(&self) -> &'static str;
    /// The score of one question, best index first; 0 when nothing is relevant.
    fn score(&self, ranked: &[usize], relevant: &[usize]) -> f64;
    /// Its mean over all orders of `candidates` indices of which `relevant` are relevant: what guessing scores.
    fn chance(&self, candidates: usize, relevant: usize) -> f64;
}

/// Every text metric, in the order of the tables. METEOR is the one without synonyms ([`Meteor::with_wordnet`] has them).
pub static TEXT_METRICS: &[&dyn TextMetric] = &[
    &f1::F1,
    &f1::ExactMatch,
    &rouge::Rouge1,
    &rouge::RougeL,
    &bleu::Bleu,
    &bleu::BleuNltk,
    &Meteor::EXACT_AND_STEM,
    &rouge::Rouge2,
    &chrf::Chrf,
    &fidelity::NumberF1,
    &fidelity::DateF1,
    &fidelity::NameF1,
];

/// Every ranking metric, in the paper's order.
pub static RANKING_METRICS: &[&dyn RankingMetric] =
    &[&ranking::Hit, &ranking::Recall, &ranking::Mrr, &ranking::Map, &ranking::Dcg, &ranking::Ndcg];

/// The text metric of that name.
pub fn text_metric(name: &str) -> Option<&'static dyn TextMetric> {
    TEXT_METRICS.iter().copied().find(|metric| metric.name() == name)
}

/// The ranking metric of that name.
pub fn ranking_metric(name: &str) -> Option<&'static dyn RankingMetric> {
    RANKING_METRICS.iter().copied().find(|metric| metric.name() == name)
}

/// Both texts with a number for every token, equal for equal tokens: cheap to compare, hash and copy.
fn numbered<T: Hash + Eq>(a: &[T], b: &[T]) -> (Vec<u32>, Vec<u32>) {
    let mut numbers: HashMap<&T, u32> = HashMap::new();
    let mut all = a.iter().chain(b).map(|token| {
        let next = numbers.len() as u32;
        *numbers.entry(token).or_insert(next)
    });
    let left = all.by_ref().take(a.len()).collect();
    (left, all.collect())
}

/// 2pr / (p + r) from a count of matches; 0 when nothing matches.
fn f_measure(matches: usize, predicted: usize, expected: usize) -> f64 {
    if matches == 0 {
        return 0.0;
    }
    let (precision, recall) = (matches as f64 / predicted as f64, matches as f64 / expected as f64);
    2.0 * precision * recall / (precision + recall)
}

/// How many items two bags share, each counted as often as in the bag that has fewer of it.
fn bag_overlap<T: Hash + Eq>(a: impl IntoIterator<Item = T>, b: impl IntoIterator<Item = T>) -> usize {
    let mut left: HashMap<T, usize> = HashMap::new();
    for item in a {
        *left.entry(item).or_default() += 1;
    }
    let mut shared = 0;
    for item in b {
        if let Some(count) = left.get_mut(&item).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    shared
}

/// How many n-grams two texts share, counted like [`bag_overlap`]; an item times n fits 128 bits, n at most 6.
fn ngram_overlap(a: &[u32], b: &[u32], n: usize) -> usize {
    // Sorted keys are several times faster than hashed windows.
    let bits = (128 / n).min(32);
    let keys = |text: &[u32]| {
        let mut keys: Vec<u128> = text.windows(n).map(|items| items.iter().fold(0, |key, item| key << bits | u128::from(*item))).collect();
        keys.sort_unstable();
        keys
    };
    let (left, right) = (keys(a), keys(b));
    let mut right = right.iter().peekable();
    let shared = left.iter().filter(|key| {
        while right.next_if(|other| other < key).is_some() {}
        right.next_if_eq(key).is_some()
    });
    shared.count()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_found_in_order() {
        let text: Vec<&str> = TEXT_METRICS.iter().map(|m| m.name()).collect();
        assert_eq!(text[..7], ["f1", "exact_match", "rouge_1", "rouge_l", "bleu", "bleu_nltk", "meteor"]);
        assert_eq!(text[7..], ["rouge_2", "chrf", "number_f1", "date_f1", "name_f1"]);
        let ranking: Vec<&str> = RANKING_METRICS.iter().map(|m| m.name()).collect();
        assert_eq!(ranking, ["hit@5", "recall@5", "mrr@5", "map@5", "dcg@5", "ndcg@5"]);
        assert_eq!(text_metric("bleu").unwrap().name(), "bleu");
        assert_eq!(ranking_metric("map@5").unwrap().name(), "map@5");
        assert!(text_metric("bertscore").is_none() && ranking_metric("f1").is_none());
    }

    #[test]
    fn every_version_is_a_number_and_what_it_stands_for() {
        let versions = TEXT_METRICS.iter().map(|m| m.version()).chain(RANKING_METRICS.iter().map(|m| m.version()));
        for version in versions {
            let (number, rest) = version.split_once(" (").unwrap();
            assert!(number.parse::<u32>().unwrap() >= 1 && rest.ends_with(')') && rest.len() > 10, "{version}");
        }
        let of = |name: &str| text_metric(name).unwrap().version();
        let references = [("rouge_2", "rouge-score 0.1.2"), ("bleu", "sacrebleu"), ("bleu_nltk", "nltk 3.10.4"), ("meteor", "nltk 3.10.4")];
        references.iter().for_each(|(name, package)| assert!(of(name).contains(package), "{}", of(name)));
    }

    #[test]
    fn text_scores_stay_in_range() {
        let same = "the cat sat on the mat in 1874";
        let texts = ["", " ", "a", same, "The cat, sat. On the mat!", "3,000.50 - 4", "\u{4f60}\u{597d}", "\u{301}", "\u{0}\n"];
        for metric in TEXT_METRICS {
            for (p, r) in texts.iter().flat_map(|p| texts.iter().map(move |r| (p, r))) {
                let score = metric.score(p, r);
                assert!((0.0..=1.0).contains(&score), "{} {p:?} {r:?} {score}", metric.name());
                assert!(score.is_sign_positive(), "{} {p:?} {r:?} {score}", metric.name());
            }
            // METEOR's penalty of one chunk remains.
            let perfect = if metric.name() == "meteor" { 1.0 - 0.5 / 512.0 } else { 1.0 };
            assert_eq!(metric.score(same, same), perfect, "{}", metric.name());
        }
    }

    #[test]
    fn bags_count_repeats() {
        assert_eq!(bag_overlap(["x", "x", "y"], ["x", "y", "y", "z"]), 2);
        assert_eq!(f_measure(0, 0, 0), 0.0);
        assert_eq!(f_measure(1, 2, 2), 0.5);
    }

    #[test]
    fn sorted_ngrams_count_like_bags() {
        let text = |step: u32, len: u32, top: u32| (0..len).map(|i| i * i * step % 7 % 3 + top).collect::<Vec<u32>>();
        let tops = [0, 0x10_fffc];
        for (n, top) in (1..=6).flat_map(|n| tops.map(|top| (n, top))) {
            for (a, b) in
                [(text(1, 40, top), text(2, 33, top)), (text(3, 9, top), text(5, 60, top)), (vec![], text(1, 5, top)), (vec![9], vec![9])]
            {
                assert_eq!(ngram_overlap(&a, &b, n), bag_overlap(a.windows(n), b.windows(n)), "{n} {a:?} {b:?}");
            }
        }
        let far = [u32::MAX, 0, u32::MAX, u32::MAX, 0];
        assert_eq!(ngram_overlap(&far, &far, 4), 2);
    }

    #[test]
    fn equal_tokens_get_equal_numbers() {
        assert_eq!(numbered(&["x", "y", "x"], &["z", "y"]), (vec![0, 1, 0], vec![2, 1]));
        assert_eq!(numbered::<&str>(&[], &[]), (vec![], vec![]));
    }
}
