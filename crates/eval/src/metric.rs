//! The metrics: two traits and one slice of each. A new metric is a file in `metric/` and a line in its slice.
//!
//! Every metric carries a version, because F1, ROUGE and BLEU differ between packages and a number without its formula
//! cannot be compared. Results keep the version beside the value.

mod bleu;
mod f1;
mod porter;
mod ranking;
mod rouge;

use std::collections::HashMap;
use std::hash::Hash;

pub use bleu::tokenize_13a;
pub use porter::stem;

/// A score of a text against a reference; higher is better.
pub trait TextMetric: Sync {
    /// Its name in experiments, results and tables.
    fn name(&self) -> &'static str;
    /// Its version and formula; the number goes up when a value can change.
    fn version(&self) -> &'static str;
    /// The score, in [0, 1].
    fn score(&self, prediction: &str, reference: &str) -> f64;
}

/// A score of a ranking against the set of relevant indices; higher is better.
pub trait RankingMetric: Sync {
    /// Its name in experiments, results and tables.
    fn name(&self) -> &'static str;
    /// Its version and formula; the number goes up when a value can change.
    fn version(&self) -> &'static str;
    /// The score of one question, best index first; 0 when nothing is relevant.
    fn score(&self, ranked: &[usize], relevant: &[usize]) -> f64;
}

/// Every text metric, in the order of the tables.
pub static TEXT_METRICS: &[&dyn TextMetric] = &[&f1::F1, &f1::ExactMatch, &rouge::Rouge1, &rouge::RougeL, &bleu::Bleu];

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_found_in_order() {
        let text: Vec<&str> = TEXT_METRICS.iter().map(|m| m.name()).collect();
        assert_eq!(text, ["f1", "exact_match", "rouge_1", "rouge_l", "bleu"]);
        let ranking: Vec<&str> = RANKING_METRICS.iter().map(|m| m.name()).collect();
        assert_eq!(ranking, ["hit@5", "recall@5", "mrr@5", "map@5", "dcg@5", "ndcg@5"]);
        assert_eq!(text_metric("bleu").unwrap().name(), "bleu");
        assert_eq!(ranking_metric("map@5").unwrap().name(), "map@5");
        assert!(text_metric("meteor").is_none() && ranking_metric("f1").is_none());
    }

    #[test]
    fn every_version_starts_with_its_number() {
        let versions = TEXT_METRICS.iter().map(|m| m.version()).chain(RANKING_METRICS.iter().map(|m| m.version()));
        versions.for_each(|v| assert!(v.starts_with("1 ("), "{v}"));
    }

    #[test]
    fn text_scores_stay_in_range() {
        let texts = ["", "a", "the cat sat on the mat", "The cat, sat. On the mat!", "3,000.50 - 4", "\u{4f60}\u{597d}"];
        for metric in TEXT_METRICS {
            for (p, r) in texts.iter().flat_map(|p| texts.iter().map(move |r| (p, r))) {
                let score = metric.score(p, r);
                assert!((0.0..=1.0).contains(&score), "{} {p:?} {r:?} {score}", metric.name());
            }
            assert_eq!(metric.score(texts[2], texts[2]), 1.0, "{}", metric.name());
        }
    }

    #[test]
    fn bags_count_repeats() {
        assert_eq!(bag_overlap(["x", "x", "y"], ["x", "y", "y", "z"]), 2);
        assert_eq!(f_measure(0, 0, 0), 0.0);
        assert_eq!(f_measure(1, 2, 2), 0.5);
    }
}
