//! What a judge's words mean, and how far two judges agree.

use serde::{Deserialize, Serialize};

/// What the judge said of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Right.
    Correct,
    /// Wrong.
    Incorrect,
    /// A refusal or nonsense, twice; never counted as right.
    Unclear,
}

/// Reads a verdict out of whatever a model writes: case, punctuation, JSON and thinking aloud do not matter; both words or
/// neither is unclear.
pub fn read_verdict(said: &str) -> Verdict {
    let mut text = said.to_uppercase();
    while let Some(start) = text.find("<THINK>") {
        match text[start..].find("</THINK>") {
            Some(end) => text.replace_range(start..start + end + 8, " "),
            // Cut off while thinking.
            None => text.truncate(start),
        }
    }
    let words: Vec<&str> = text.split(|c: char| !c.is_alphabetic()).filter(|w| !w.is_empty()).collect();
    let (mut right, mut wrong) = (false, false);
    for (i, word) in words.iter().enumerate() {
        let negated = i > 0 && words[i - 1] == "NOT";
        match *word {
            "INCORRECT" => wrong = true,
            "CORRECT" if negated => wrong = true,
            "CORRECT" => right = true,
            _ => {}
        }
    }
    match (right, wrong) {
        (true, false) => Verdict::Correct,
        (false, true) => Verdict::Incorrect,
        _ => Verdict::Unclear,
    }
}

/// Cohen's kappa of two judges over the same samples: 1 for the same verdicts, 0 for what chance gives; `None` without samples.
pub fn agreement(a: &[Verdict], b: &[Verdict]) -> Option<f64> {
    let n = a.len().min(b.len());
    if n == 0 {
        return None;
    }
    let share = |of: &[Verdict], v: Verdict| of[..n].iter().filter(|x| **x == v).count() as f64 / n as f64;
    let same = a.iter().zip(b).filter(|(x, y)| x == y).count() as f64 / n as f64;
    let chance: f64 = [Verdict::Correct, Verdict::Incorrect, Verdict::Unclear].iter().map(|v| share(a, *v) * share(b, *v)).sum();
    Some(if chance >= 1.0 { 1.0 } else { (same - chance) / (1.0 - chance) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_as_models_write_them() {
        use Verdict::{Correct, Incorrect, Unclear};
        for (said, expected) in [
            ("CORRECT", Correct),
            (" **Correct.**\n", Correct),
            ("{\"verdict\": \"incorrect\"}", Incorrect),
            ("The answer is not correct.", Incorrect),
            ("<think>It may be incorrect...</think>\nCORRECT", Correct),
            ("<think>CORRECT, I would say, but", Unclear),
            ("CORRECT or INCORRECT", Unclear),
            ("I cannot help with that.", Unclear),
            ("", Unclear),
        ] {
            assert_eq!(read_verdict(said), expected, "{said:?}");
        }
    }

    #[test]
    fn agreement_beyond_chance() {
        use Verdict::{Correct as C, Incorrect as I};
        assert_eq!(agreement(&[C, I, C], &[C, I, C]), Some(1.0));
        // Half agree, chance gives half: nothing beyond it.
        assert_eq!(agreement(&[C, C, I, I], &[C, I, C, I]), Some(0.0));
        assert_eq!(agreement(&[], &[]), None);
    }
}
