//! Tests and intervals for two runs over the same samples.
//!
//! Every p-value is two-sided. Where scipy has the test, value and p-value are scipy's (`tests/golden_stats.rs`), with its
//! choice between exact and asymptotic (`method="auto"`). What is undefined there, a NaN, is a [`StatsError`] here; two
//! equal samples are no error: their difference is 0 with p = 1.
//!
//! ```
//! use nextmem_eval::stats::{holm, paired_permutation, wilcoxon};
//!
//! let (a, b) = ([0.9, 0.7, 0.8, 1.0, 0.6], [0.5, 0.6, 0.6, 0.7, 0.1]);
//! let permutation = paired_permutation(&a, &b, 10_000, 1128)?;
//! assert!((permutation.difference - 0.3).abs() < 1e-12);
//! // All five differences are positive: the smallest two-sided p of five pairs is 2 / 2^5.
//! assert_eq!((permutation.p, permutation.exact), (0.0625, true));
//! assert_eq!(wilcoxon(&a, &b)?.p, 0.0625);
//! assert_eq!(holm(&[0.01, 0.04, 0.03]), [0.03, 0.06, 0.06]);
//! # Ok::<(), nextmem_eval::stats::StatsError>(())
//! ```

mod correlation;
mod paired;
mod resample;
mod special;

use thiserror::Error;

pub use correlation::{kendall, pearson, spearman};
pub use paired::{McNemar, mcnemar, mcnemar_counts, paired_t, paired_t_interval, wilcoxon};
pub use resample::{PairedBootstrap, Permutation, bca_interval, paired_bootstrap, paired_permutation, percentile_interval};

/// Why a statistic does not exist for an input.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum StatsError {
    /// Paired samples of different lengths.
    #[error("{statistic}: got {a} and {b} values, expected pairs - score the same samples on both sides")]
    Lengths {
        /// The statistic asked for.
        statistic: &'static str,
        /// Values of the first sample.
        a: usize,
        /// Values of the second sample.
        b: usize,
    },
    /// Too few pairs.
    #[error("{statistic}: got {got} pairs, expected at least {least} - evaluate more samples")]
    TooFew {
        /// The statistic asked for.
        statistic: &'static str,
        /// Pairs given.
        got: usize,
        /// Pairs needed.
        least: usize,
    },
    /// A value that is no number.
    #[error("{statistic}: got {value} at index {index}, expected finite numbers - check the metric that gave it")]
    NotFinite {
        /// The statistic asked for.
        statistic: &'static str,
        /// Where.
        index: usize,
        /// The value.
        value: f64,
    },
    /// A sample without spread where the statistic divides by the spread.
    #[error("{statistic}: got {what} that are all equal, expected spread - the statistic is undefined, report the means")]
    Constant {
        /// The statistic asked for.
        statistic: &'static str,
        /// What does not vary.
        what: &'static str,
    },
    /// No resamples.
    #[error("{statistic}: got 0 resamples, expected at least 1 - 10000 are usual")]
    NoResamples {
        /// The statistic asked for.
        statistic: &'static str,
    },
    /// A value that is neither 0 nor 1 in a test of proportions.
    #[error("{statistic}: got {value} at index {index}, expected 0 or 1 - use another test for graded scores")]
    NotBinary {
        /// The statistic asked for.
        statistic: &'static str,
        /// Where.
        index: usize,
        /// The value.
        value: f64,
    },
}

/// A test statistic and its two-sided p-value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestResult {
    /// The statistic.
    pub statistic: f64,
    /// The two-sided p-value.
    pub p: f64,
}

/// p-values adjusted for testing several hypotheses at once (Holm 1979), in the order given.
///
/// With p_(1) <= .. <= p_(m): adjusted p_(i) = max over j <= i of min(1, (m - j + 1) p_(j)).
/// Rejecting where the adjusted value is below 0.05 keeps the chance of any false rejection below 5%, whatever the
/// dependence between the tests.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let (mut adjusted, mut highest) = (vec![0.0; p.len()], 0.0f64);
    for (rank, index) in order.into_iter().enumerate() {
        highest = highest.max(((p.len() - rank) as f64 * p[index]).min(1.0));
        adjusted[index] = highest;
    }
    adjusted
}

/// Checks that two samples are pairs of finite numbers, at least `least` of them.
fn check_pairs(statistic: &'static str, a: &[f64], b: &[f64], least: usize) -> Result<(), StatsError> {
    if a.len() != b.len() {
        return Err(StatsError::Lengths { statistic, a: a.len(), b: b.len() });
    }
    if a.len() < least {
        return Err(StatsError::TooFew { statistic, got: a.len(), least });
    }
    match (0..a.len()).find(|i| !a[*i].is_finite() || !b[*i].is_finite()) {
        Some(index) => Err(StatsError::NotFinite { statistic, index, value: if a[index].is_finite() { b[index] } else { a[index] } }),
        None => Ok(()),
    }
}

/// The differences a - b.
fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// Ranks from 1, equal values sharing the mean of their ranks; and the sizes of the groups of equal values.
fn ranks(values: &[f64]) -> (Vec<f64>, Vec<usize>) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut ranks, mut groups) = (vec![0.0; values.len()], Vec::new());
    let mut start = 0;
    // Groups by `==`, so that 0 and -0 are one value; they are neighbours in this order.
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = start as f64 + 0.5 * (group.len() + 1) as f64;
        group.iter().for_each(|index| ranks[*index] = rank);
        groups.push(group.len());
        start += group.len();
    }
    (ranks, groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holm_by_hand() {
        // 4 * 0.005, 3 * 0.011 and 2 * 0.02, then 0.04 raised to what stands before it.
        assert_eq!(holm(&[0.02, 0.005, 0.04, 0.011]), [0.04, 0.02, 0.04, 0.033]);
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert_eq!(holm(&[0.3]), [0.3]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn ranks_share_their_mean() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), (vec![4.0, 1.0, 4.0, 2.0, 4.0], vec![1, 1, 3]));
        assert_eq!(ranks(&[0.0, -0.0]), (vec![1.5, 1.5], vec![2]));
        assert_eq!(ranks(&[]), (vec![], vec![]));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        assert_eq!(check_pairs("x", &[1.0], &[], 0), Err(StatsError::Lengths { statistic: "x", a: 1, b: 0 }));
        assert_eq!(check_pairs("x", &[1.0], &[2.0], 2), Err(StatsError::TooFew { statistic: "x", got: 1, least: 2 }));
        let error = check_pairs("paired t-test", &[1.0, 2.0], &[1.0, f64::INFINITY], 2).map_err(|e| e.to_string());
        assert_eq!(error, Err("paired t-test: got inf at index 1, expected finite numbers - check the metric that gave it".to_string()));
    }
}
