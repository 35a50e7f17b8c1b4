//! ROUGE-1 and ROUGE-L as the F-measure of `rouge-score` 0.1.2 with its stemmer (Lin 2004).

use super::porter::stem;
use super::{TextMetric, bag_overlap, f_measure};

/// F-measure of the two bags of stems. Only `[a-z0-9]` counts, so a text in another script scores 0 even against itself.
pub struct Rouge1;

/// F-measure of the longest common subsequence of stems over the whole text (not the summary-level variant).
pub struct RougeL;

impl TextMetric for Rouge1 {
    fn name(&self) -> &'static str {
        "rouge_1"
    }

    fn version(&self) -> &'static str {
        "1 (rouge-score 0.1.2 F-measure, Porter stems)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        let (prediction, reference) = (stems(prediction), stems(reference));
        f_measure(bag_overlap(&prediction, &reference), prediction.len(), reference.len())
    }
}

impl TextMetric for RougeL {
    fn name(&self) -> &'static str {
        "rouge_l"
    }

    fn version(&self) -> &'static str {
        "1 (rouge-score 0.1.2 F-measure, Porter stems)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        let (prediction, reference) = (stems(prediction), stems(reference));
        f_measure(lcs(&prediction, &reference), prediction.len(), reference.len())
    }
}

/// The tokens of `rouge_score.tokenize`: lower case, split at everything outside `[a-z0-9]`, stemmed from 4 letters on.
fn stems(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|token| !token.is_empty())
        .map(|token| if token.len() > 3 { stem(token) } else { token.to_string() })
        .collect()
}

/// Length of the longest common subsequence, one row of the table at a time.
fn lcs(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_counts_for_l_only() {
        let (p, r) = ("on the mat sat the cat", "the cat sat on the mat");
        assert_eq!(Rouge1.score(p, r), 1.0);
        assert_eq!(RougeL.score(p, r), 0.5);
    }

    #[test]
    fn stems_from_four_letters_on() {
        assert_eq!(stems("The cats' DIES re-running!"), ["the", "cat", "die", "re", "run"]);
        assert_eq!(stems("was gas"), ["was", "gas"]);
        assert_eq!(stems("na\u{ef}ve_x"), ["na", "ve", "x"]);
    }

    #[test]
    fn nothing_to_match_is_zero() {
        assert_eq!(RougeL.score("", ""), 0.0);
        assert_eq!(RougeL.score("x", "!?"), 0.0);
        assert_eq!(lcs(&[], &["x".to_string()]), 0);
    }
}
