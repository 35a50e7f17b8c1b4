//! What a judge may come to, and how far two judges agree.

use serde::{Deserialize, Serialize};

/// What the judge said of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Right.
    Correct,
    /// Wrong.
    Incorrect,
    /// The judge answered without a verdict: cut off, empty, refused, or words that are none. Never counted as right or wrong.
    Unclear,
    /// The request got no answer after every try, or was not sent because too many before it got none.
    Failed,
}

impl Verdict {
    /// Whether it says anything of the answer.
    pub fn decided(self) -> bool {
        matches!(self, Self::Correct | Self::Incorrect)
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
    let all = [Verdict::Correct, Verdict::Incorrect, Verdict::Unclear, Verdict::Failed];
    let chance: f64 = all.iter().map(|v| share(a, *v) * share(b, *v)).sum();
    Some(if chance >= 1.0 { 1.0 } else { (same - chance) / (1.0 - chance) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_beyond_chance() {
        use Verdict::{Correct as C, Incorrect as I};
        assert_eq!(agreement(&[C, I, C], &[C, I, C]), Some(1.0));
        // Half agree, chance gives half: nothing beyond it.
        assert_eq!(agreement(&[C, C, I, I], &[C, I, C, I]), Some(0.0));
        assert_eq!(agreement(&[], &[]), None);
    }
}
