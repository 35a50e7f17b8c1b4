//! Token F1 and exact match of SQuAD v1.1 (`evaluate-v1.1.py`).

use super::{TextMetric, bag_overlap, f_measure};
use crate::normalize::squad_words;

/// F1 of the two bags of normalised words.
///
/// Two texts without a word ("the" against "a") score 0, as in v1.1; v2.0 and Metis say 1.
pub struct F1;

/// Whether the normalised texts are equal. Unlike [`F1`], two texts without a word match.
pub struct ExactMatch;

impl TextMetric for F1 {
    fn name(&self) -> &'static str {
        "f1"
    }

    fn version(&self) -> &str {
        "2 (SQuAD evaluate-v1.1.py, bag-of-words F1)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        let (prediction, reference) = (squad_words(prediction), squad_words(reference));
        f_measure(bag_overlap(&prediction, &reference), prediction.len(), reference.len())
    }
}

impl TextMetric for ExactMatch {
    fn name(&self) -> &'static str {
        "exact_match"
    }

    fn version(&self) -> &str {
        "2 (SQuAD evaluate-v1.1.py, exact match)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        f64::from(squad_words(prediction) == squad_words(reference))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_articles_do_not_count_repeats_do() {
        assert_eq!(F1.score("sat the cat", "A cat sat."), 1.0);
        assert_eq!(ExactMatch.score("sat the cat", "A cat sat."), 0.0);
        assert_eq!(ExactMatch.score("The cat sat", "A cat sat."), 1.0);
        // 1 match of 2 predicted, 1 expected
        assert!((F1.score("cat cat", "cat") - 2.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn no_words_on_either_side() {
        assert_eq!(F1.score("the", "a"), 0.0);
        assert_eq!(ExactMatch.score("the", "a"), 1.0);
        assert_eq!(F1.score("", "cat"), 0.0);
        assert_eq!(ExactMatch.score("", "cat"), 0.0);
    }
}
