//! chrF (Popovic 2015): overlap of character n-grams.

use super::{TextMetric, ngram_overlap};
use crate::normalize::is_space;

/// Longest n-gram.
const MAX_ORDER: usize = 6;
/// beta^2: recall counts four times as much as precision.
const BETA_SQUARED: f64 = 4.0;

/// 5pr / (4p + r), p and r the mean precision and recall of the character n-grams of order 1 to 6, spaces left out.
///
/// An order counts only where both texts have n-grams of it. Case and punctuation count.
///
/// # Reference
/// sacrebleu 2.6.0 `sentence_chrf(prediction, [reference])`, divided by 100 (`case:mixed|eff:yes|nc:6|nw:0|space:no`).
pub struct Chrf;

impl TextMetric for Chrf {
    fn name(&self) -> &'static str {
        "chrf"
    }

    fn version(&self) -> &str {
        "1 (sacrebleu 2.6.0 sentence chrF2, 6 characters, no words, no spaces, effective order, /100)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        let (prediction, reference) = (characters(prediction), characters(reference));
        let orders = MAX_ORDER.min(prediction.len()).min(reference.len());
        let (mut precision, mut recall) = (0.0, 0.0);
        for n in 1..=orders {
            let matched = ngram_overlap(&prediction, &reference, n) as f64;
            precision += matched / prediction.windows(n).len() as f64;
            recall += matched / reference.windows(n).len() as f64;
        }
        if precision + recall == 0.0 {
            return 0.0;
        }
        let (precision, recall) = (precision / orders as f64, recall / orders as f64);
        (1.0 + BETA_SQUARED) * precision * recall / (BETA_SQUARED * precision + recall)
    }
}

fn characters(text: &str) -> Vec<u32> {
    text.chars().filter(|c| !is_space(*c)).map(u32::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        // "abc" in "abd": 2/3, 1/2 and 0/1 of both.
        let mean = (2.0 / 3.0 + 0.5) / 3.0;
        assert!((Chrf.score("abc", "abd") - mean).abs() < 1e-12);
        // One order only: p = 1, r = 1/2.
        assert!((Chrf.score("a", "a b") - 2.5 / 4.5).abs() < 1e-12);
        assert_eq!(Chrf.score("a b\u{a0}c", "abc"), 1.0);
        assert_eq!(Chrf.score("", ""), 0.0);
        assert_eq!(Chrf.score("x", "y"), 0.0);
    }
}
