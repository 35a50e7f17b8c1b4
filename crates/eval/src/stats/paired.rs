//! Tests of paired samples: Student's t, Wilcoxon's signed ranks, McNemar.

use super::special::{half_binomial_cdf, normal_sf, student_quantile, student_two_sided};
use super::{StatsError, TestResult, check_pairs, differences, ranks};
use crate::interval::Interval;

/// Above this many pairs Wilcoxon's p is asymptotic (scipy).
const WILCOXON_EXACT: usize = 50;
/// With ties or zeros it is asymptotic above this many pairs (scipy).
const WILCOXON_EXACT_TIES: usize = 13;

/// Student's t-test of paired samples (`scipy.stats.ttest_rel`).
///
/// t = mean(d) / sqrt(var(d) / n) with d = a - b, variance over n - 1; p from n - 1 degrees of freedom.
/// Equal samples give t = 0, p = 1.
///
/// # Errors
/// [`StatsError::Constant`] if all differences are one number but 0, below 2 pairs, or if a value is not finite.
pub fn paired_t(a: &[f64], b: &[f64]) -> Result<TestResult, StatsError> {
    const NAME: &str = "paired t-test";
    check_pairs(NAME, a, b, 2)?;
    let d = differences(a, b);
    if d.iter().all(|d| *d == 0.0) {
        return Ok(TestResult { statistic: 0.0, p: 1.0 });
    }
    let (n, mean, variance) = moments(&d);
    // What subtracting numbers of this size leaves is rounding, no spread.
    let largest = a.iter().chain(b).fold(0.0f64, |m, v| m.max(v.abs()));
    if variance.sqrt() <= 4.0 * f64::EPSILON * largest {
        return Err(StatsError::Constant { statistic: NAME, what: "differences" });
    }
    let statistic = mean / (variance / n).sqrt();
    Ok(TestResult { statistic, p: student_two_sided(statistic, n - 1.0) })
}

/// The 95% interval of mean(a - b) that belongs to [`paired_t`] (`scipy.stats.ttest_rel(a, b).confidence_interval()`).
///
/// mean(d) +- t sqrt(var(d) / n), t leaving 5% of Student's distribution with n - 1 degrees of freedom outside. Equal
/// differences give that difference as both ends.
///
/// # Errors
/// Below 2 pairs, or if a value is not finite.
pub fn paired_t_interval(a: &[f64], b: &[f64]) -> Result<Interval, StatsError> {
    check_pairs("interval of the paired t-test", a, b, 2)?;
    let d = differences(a, b);
    let (n, mean, variance) = moments(&d);
    let reach = student_quantile(0.05, n - 1.0) * (variance / n).sqrt();
    Ok(Interval { low: mean - reach, high: mean + reach })
}

/// How many values, their mean, and their variance over n - 1.
fn moments(values: &[f64]) -> (f64, f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (n, mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0))
}

/// Wilcoxon's signed-rank test (`scipy.stats.wilcoxon` with its defaults): zeros dropped, no continuity correction.
///
/// The statistic is the smaller of the rank sums of positive and negative differences. As in scipy the p-value is exact
/// up to 50 pairs without ties and zeros and up to 13 pairs with them, else from the normal approximation with tie
/// correction. Equal samples give 0 with p = 1.
///
/// # Errors
/// Without pairs, or if a value is not finite.
pub fn wilcoxon(a: &[f64], b: &[f64]) -> Result<TestResult, StatsError> {
    check_pairs("Wilcoxon signed-rank test", a, b, 1)?;
    let d: Vec<f64> = differences(a, b).into_iter().filter(|d| *d != 0.0).collect();
    let (ranks, groups) = ranks(&d.iter().map(|d| d.abs()).collect::<Vec<_>>());
    // From 0.0, for `sum` over nothing is -0.
    let sum_of = |positive: bool| ranks.iter().zip(&d).filter(|(_, d)| (**d > 0.0) == positive).fold(0.0, |sum, (r, _)| sum + r);
    let (plus, minus): (f64, f64) = (sum_of(true), sum_of(false));
    let statistic = plus.min(minus);
    if d.is_empty() {
        return Ok(TestResult { statistic, p: 1.0 });
    }
    let ties_or_zeros = d.len() < a.len() || groups.len() < d.len();
    let p = match ties_or_zeros {
        false if a.len() <= WILCOXON_EXACT => signed_rank_tail(&ranks, statistic),
        true if a.len() <= WILCOXON_EXACT_TIES => signed_rank_tail(&ranks, statistic),
        _ => {
            let n = d.len() as f64;
            let ties: f64 = groups.iter().map(|g| (*g as f64).powi(3) - *g as f64).sum();
            let deviation = ((n * (n + 1.0) * (2.0 * n + 1.0) - 0.5 * ties) / 24.0).sqrt();
            2.0 * normal_sf((plus - 0.25 * n * (n + 1.0)).abs() / deviation)
        }
    };
    Ok(TestResult { statistic, p: p.min(1.0) })
}

/// 2 P(W <= statistic) when every rank has either sign with probability 1/2, at most 1.
fn signed_rank_tail(ranks: &[f64], statistic: f64) -> f64 {
    // Twice the ranks are whole numbers, with ties too.
    let steps: Vec<usize> = ranks.iter().map(|rank| (2.0 * rank) as usize).collect();
    let mut chance = vec![0.0; steps.iter().sum::<usize>() + 1];
    chance[0] = 1.0;
    let mut reached = 0;
    for step in steps {
        reached += step;
        for sum in (0..=reached).rev() {
            let with = if sum >= step { chance[sum - step] } else { 0.0 };
            chance[sum] = 0.5 * (chance[sum] + with);
        }
    }
    let tail: f64 = chance[..=(2.0 * statistic) as usize].iter().sum();
    (2.0 * tail).min(1.0)
}

/// McNemar's test and what it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct McNemar {
    /// Pairs where only the first is 1.
    pub only_a: u64,
    /// Pairs where only the second is 1.
    pub only_b: u64,
    /// The exact two-sided p-value.
    pub p: f64,
}

/// McNemar's exact test of two samples of zeros and ones.
///
/// # Errors
/// [`StatsError::NotBinary`], or samples of different lengths.
pub fn mcnemar(a: &[f64], b: &[f64]) -> Result<McNemar, StatsError> {
    const NAME: &str = "McNemar's test";
    check_pairs(NAME, a, b, 0)?;
    let binary = |v: f64| v == 0.0 || v == 1.0;
    if let Some(index) = (0..a.len()).find(|i| !binary(a[*i]) || !binary(b[*i])) {
        return Err(StatsError::NotBinary { statistic: NAME, index, value: if binary(a[index]) { b[index] } else { a[index] } });
    }
    let count = |first: f64| a.iter().zip(b).filter(|(a, b)| **a == first && **b == 1.0 - first).count() as u64;
    let (only_a, only_b) = (count(1.0), count(0.0));
    Ok(McNemar { only_a, only_b, p: mcnemar_counts(only_a, only_b) })
}

/// The exact two-sided p-value of McNemar's test from the two counts of pairs that differ; 1 when none does.
///
/// min(1, 2 P(X <= min(only_a, only_b))), X binomial with only_a + only_b trials of probability 1/2.
pub fn mcnemar_counts(only_a: u64, only_b: u64) -> f64 {
    (2.0 * half_binomial_cdf(only_a.min(only_b), only_a + only_b)).min(1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn equal_samples_show_no_difference() {
        let a = [0.5, 0.25, 1.0];
        assert_eq!(paired_t(&a, &a).unwrap(), TestResult { statistic: 0.0, p: 1.0 });
        assert_eq!(wilcoxon(&a, &a).unwrap(), TestResult { statistic: 0.0, p: 1.0 });
        assert_eq!(mcnemar(&[1.0, 0.0], &[1.0, 0.0]).unwrap(), McNemar { only_a: 0, only_b: 0, p: 1.0 });
        assert_eq!(mcnemar(&[], &[]).unwrap().p, 1.0);
    }

    #[test]
    fn the_interval_of_t_ends_where_p_is_five_percent() {
        let (a, b) = ([0.9, 0.7, 0.8], [0.5, 0.6, 0.6]);
        let interval = paired_t_interval(&a, &b).unwrap();
        // Differences 0.4, 0.1, 0.2: mean 7/30, standard error 0.0881917; t of 2 degrees is 4.3026527 (any table).
        let expected = (7.0 / 30.0 - 4.302_652_73 * 0.088_191_71, 7.0 / 30.0 + 4.302_652_73 * 0.088_191_71);
        assert!((interval.low - expected.0).abs() < 1e-8 && (interval.high - expected.1).abs() < 1e-8, "{interval:?}");
        // The test of the same differences moved so that 0 is at an end.
        let moved = b.map(|value| value + interval.low);
        assert!((paired_t(&a, &moved).unwrap().p - 0.05).abs() < 1e-12);
        let same = paired_t_interval(&[1.0, 2.0], &[0.5, 1.5]).unwrap();
        assert_eq!(same, Interval { low: 0.5, high: 0.5 });
        assert!(paired_t_interval(&[1.0], &[2.0]).is_err());
    }

    #[test]
    fn a_constant_difference_has_no_t() {
        for (a, b) in [([1.0, 2.0, 3.0], [0.0, 1.0, 2.0]), ([0.3, 0.5, 0.9], [0.2, 0.4, 0.8])] {
            let error = paired_t(&a, &b).unwrap_err();
            assert_eq!(error, StatsError::Constant { statistic: "paired t-test", what: "differences" });
        }
        // Ranks do not need spread.
        assert_eq!(wilcoxon(&[1.0, 2.0, 3.0], &[0.0, 1.0, 2.0]).unwrap(), TestResult { statistic: 0.0, p: 0.25 });
    }

    #[test]
    fn too_few_pairs() {
        assert!(paired_t(&[1.0], &[2.0]).is_err() && wilcoxon(&[], &[]).is_err());
        assert_eq!(wilcoxon(&[1.0], &[2.0]).unwrap(), TestResult { statistic: 0.0, p: 1.0 });
    }

    #[test]
    fn signed_ranks_by_hand() {
        // Ranks 1, 2, 3: sums 0, 1, 2, 3 (twice), 4, 5, 6 of 8.
        assert_eq!(signed_rank_tail(&[1.0, 2.0, 3.0], 1.0), 0.5);
        // Ranks 1.5, 1.5, 3: sums 0, 1.5 (twice), 3 (twice), 4.5 (twice), 6.
        assert_eq!(signed_rank_tail(&[1.5, 1.5, 3.0], 1.5), 0.75);
    }

    #[test]
    fn mcnemar_by_hand() {
        let result = mcnemar(&[1.0, 1.0, 1.0, 0.0, 1.0], &[0.0, 0.0, 0.0, 0.0, 1.0]).unwrap();
        assert_eq!((result.only_a, result.only_b), (3, 0));
        assert!((result.p - 0.25).abs() < 1e-15);
        let error = mcnemar(&[1.0, 0.0], &[1.0, 0.5]).unwrap_err();
        assert_eq!(error, StatsError::NotBinary { statistic: "McNemar's test", index: 1, value: 0.5 });
    }
}
