//! The paired bootstrap and the paired permutation test of a mean difference.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::special::{normal_cdf, normal_quantile};
use super::{StatsError, check_pairs, differences, mcnemar_counts};
use crate::interval::{Interval, below, mean, quantile};

/// Up to this many differences that are not 0 every assignment of signs is tried.
const EXACT_SIGNS: usize = 20;
/// Sums that differ by less, relative to the sum of absolute values, are equal: the rest is the order of additions.
const EQUAL: f64 = 1e-12;

/// The mean difference and its 95% intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PairedBootstrap {
    /// mean(a) - mean(b).
    pub difference: f64,
    /// The percentile interval: quantiles 0.025 and 0.975 of the resampled differences.
    pub percentile: Interval,
    /// The bias-corrected and accelerated interval.
    pub bca: Interval,
}

/// 95% bootstrap intervals of mean(a) - mean(b), pairs drawn together; the same seed gives the same interval on every machine.
///
/// Equal differences give that difference as both ends.
///
/// # Errors
/// Without pairs or resamples, or if a value is not finite.
pub fn paired_bootstrap(a: &[f64], b: &[f64], resamples: usize, seed: u64) -> Result<PairedBootstrap, StatsError> {
    const NAME: &str = "paired bootstrap";
    check_pairs(NAME, a, b, 1)?;
    if resamples == 0 {
        return Err(StatsError::NoResamples { statistic: NAME });
    }
    let d = differences(a, b);
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> =
        (0..resamples).map(|_| (0..d.len()).map(|_| d[below(rng.next_u64(), d.len())]).sum::<f64>() / d.len() as f64).collect();
    means.sort_by(f64::total_cmp);
    Ok(PairedBootstrap { difference: mean(&d), percentile: percentile_interval(&means), bca: bca_interval(&d, &means) })
}

/// The 95% percentile interval from sorted resampled means; [0, 0] without any.
pub fn percentile_interval(sorted_means: &[f64]) -> Interval {
    match sorted_means {
        [] => Interval { low: 0.0, high: 0.0 },
        means => Interval { low: quantile(means, 0.025), high: quantile(means, 0.975) },
    }
}

/// The 95% bias-corrected and accelerated interval of the mean of `values` from its sorted resampled means.
///
/// Quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) at z = -+1.96, z0 = Phi^-1(share of resampled means below the mean, half
/// of those equal to it), a = sum u^3 / (6 (sum u^2)^(3/2)) with u = values - mean (Efron and Tibshirani 1993, 14.3).
/// It is the percentile interval where it does not exist: values without spread, or all resampled means on one side.
pub fn bca_interval(values: &[f64], sorted_means: &[f64]) -> Interval {
    let plain = percentile_interval(sorted_means);
    let centre = mean(values);
    let moment = |power: i32| values.iter().map(|v| (v - centre).powi(power)).sum::<f64>();
    let slack = EQUAL * values.iter().map(|v| v.abs()).sum::<f64>() / values.len().max(1) as f64;
    let under = sorted_means.partition_point(|m| *m < centre - slack);
    let up_to = sorted_means.partition_point(|m| *m <= centre + slack);
    let share = 0.5 * (under + up_to) as f64 / sorted_means.len().max(1) as f64;
    let spread = moment(2);
    if spread <= 0.0 || share <= 0.0 || share >= 1.0 {
        return plain;
    }
    let acceleration = moment(3) / (6.0 * spread.powf(1.5));
    let bias = normal_quantile(share);
    let at = |z: f64| {
        let z = bias + z;
        let scale = 1.0 - acceleration * z;
        (scale > 0.0).then(|| quantile(sorted_means, normal_cdf(bias + z / scale)))
    };
    match (at(normal_quantile(0.025)), at(normal_quantile(0.975))) {
        (Some(low), Some(high)) => Interval { low, high },
        _ => plain,
    }
}

/// The mean difference and the p-value of the sign-flip test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Permutation {
    /// mean(a) - mean(b).
    pub difference: f64,
    /// The two-sided p-value.
    pub p: f64,
    /// Whether every assignment of signs was counted.
    pub exact: bool,
}

/// The paired permutation test: how often the mean difference is at least as large when every pair swaps at random.
///
/// Exact over all sign assignments with up to 20 differences that are not 0, and for any number of differences of one size,
/// where it is McNemar's exact test. Else `resamples` seeded random assignments, `b` of them as large: p = (b + 1) / (m + 1)
/// (Phipson and Smyth 2010), which is never 0.
///
/// # Errors
/// Without pairs or resamples, or if a value is not finite.
pub fn paired_permutation(a: &[f64], b: &[f64], resamples: usize, seed: u64) -> Result<Permutation, StatsError> {
    const NAME: &str = "paired permutation test";
    check_pairs(NAME, a, b, 1)?;
    if resamples == 0 {
        return Err(StatsError::NoResamples { statistic: NAME });
    }
    let d = differences(a, b);
    let difference = mean(&d);
    // A swap of equal values changes nothing.
    let d: Vec<f64> = d.into_iter().filter(|d| *d != 0.0).collect();
    let size: f64 = d.iter().map(|d| d.abs()).sum();
    let least = d.iter().sum::<f64>().abs() - EQUAL * size;
    if d.windows(2).all(|pair| pair[0].abs() == pair[1].abs()) {
        let positive = d.iter().filter(|d| **d > 0.0).count();
        return Ok(Permutation { difference, p: mcnemar_counts(positive as u64, (d.len() - positive) as u64), exact: true });
    }
    if d.len() <= EXACT_SIGNS {
        // The mirrored assignment is as large: the first sign may stay.
        let extreme = count_extreme(&d[1..], d[0], least);
        return Ok(Permutation { difference, p: extreme as f64 / (1u64 << (d.len() - 1)) as f64, exact: true });
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let extreme = (0..resamples).filter(|_| random_signs(&mut rng, &d).abs() >= least).count();
    Ok(Permutation { difference, p: (extreme + 1) as f64 / (resamples + 1) as f64, exact: false })
}

/// How many assignments of signs to `left` bring `sum` to at least `least` in absolute value.
fn count_extreme(left: &[f64], sum: f64, least: f64) -> u64 {
    match left {
        [] => u64::from(sum.abs() >= least),
        [first, rest @ ..] => count_extreme(rest, sum + first, least) + count_extreme(rest, sum - first, least),
    }
}

/// The sum under random signs, one bit each.
fn random_signs(rng: &mut ChaCha8Rng, values: &[f64]) -> f64 {
    let mut sum = 0.0;
    for part in values.chunks(64) {
        let mut bits = rng.next_u64();
        for value in part {
            sum += if bits & 1 == 1 { *value } else { -*value };
            bits >>= 1;
        }
    }
    sum
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Values in [0, 1) without a generator.
    fn values(n: usize, step: f64) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * step).fract()).collect()
    }

    #[test]
    fn the_bootstrap_is_seeded_and_near_the_normal_interval() {
        let (a, b) = (values(500, 0.618_033_988), values(500, 0.414_213_562));
        let result = paired_bootstrap(&a, &b, 2000, 3).unwrap();
        assert_eq!(result, paired_bootstrap(&a, &b, 2000, 3).unwrap());
        assert_ne!(result, paired_bootstrap(&a, &b, 2000, 4).unwrap());
        let d = differences(&a, &b);
        let deviation = (d.iter().map(|v| (v - mean(&d)).powi(2)).sum::<f64>() / 499.0 / 500.0).sqrt();
        for interval in [result.percentile, result.bca] {
            assert!((interval.low - (result.difference - 1.96 * deviation)).abs() < 0.2 * deviation, "{result:?}");
            assert!((interval.high - (result.difference + 1.96 * deviation)).abs() < 0.2 * deviation, "{result:?}");
        }
    }

    #[test]
    fn without_spread_the_interval_is_a_point() {
        let point = Interval { low: 1.0, high: 1.0 };
        let result = paired_bootstrap(&[2.0, 3.0], &[1.0, 2.0], 100, 0).unwrap();
        assert_eq!(result, PairedBootstrap { difference: 1.0, percentile: point, bca: point });
        assert_eq!(paired_bootstrap(&[2.0], &[1.0], 1, 0).unwrap().bca, point);
        assert!(paired_bootstrap(&[], &[], 100, 0).is_err());
        assert_eq!(paired_bootstrap(&[1.0], &[1.0], 0, 0), Err(StatsError::NoResamples { statistic: "paired bootstrap" }));
        assert_eq!(bca_interval(&[], &[]), Interval { low: 0.0, high: 0.0 });
    }

    #[test]
    fn skewed_values_move_the_bca_interval() {
        let a: Vec<f64> = values(40, 0.618_033_988).iter().map(|v| v.powi(6)).collect();
        let result = paired_bootstrap(&a, &[0.0; 40], 4000, 1).unwrap();
        assert!(result.bca.low > result.percentile.low && result.bca.high > result.percentile.high, "{result:?}");
    }

    #[test]
    fn permutation_by_hand() {
        // Of the sums +-1 +-2 +-4 those of at least 5 in absolute value: 7, 5 and their mirrors.
        let result = paired_permutation(&[1.0, 2.0, 0.0, 3.0], &[2.0, 0.0, -4.0, 3.0], 10, 0).unwrap();
        assert_eq!(result, Permutation { difference: 1.25, p: 0.5, exact: true });
        let equal = paired_permutation(&[0.5, 0.5], &[0.5, 0.5], 10, 0).unwrap();
        assert_eq!(equal, Permutation { difference: 0.0, p: 1.0, exact: true });
        // Sums that only rounding tells apart count as equal: 0.1 + 0.2 against 0.3.
        let tied = paired_permutation(&[0.1, 0.2, -0.3], &[0.0; 3], 10, 0).unwrap();
        assert_eq!(tied.p, 1.0);
    }

    #[test]
    fn binary_differences_are_mcnemar_at_any_size() {
        let a: Vec<f64> = (0..300).map(|i| f64::from(u8::from(i % 3 == 0))).collect();
        let b: Vec<f64> = (0..300).map(|i| f64::from(u8::from(i % 4 == 0))).collect();
        let result = paired_permutation(&a, &b, 1, 0).unwrap();
        assert!(result.exact);
        assert_eq!(result.p, super::super::mcnemar(&a, &b).unwrap().p);
    }

    #[test]
    fn random_signs_come_near_the_exact_value_and_never_give_zero() {
        let (a, b) = (values(20, 0.618_033_988), vec![0.4; 20]);
        let exact = paired_permutation(&a, &b, 1, 0).unwrap();
        assert!(exact.exact && exact.p > 0.05);
        let d = differences(&a, &b);
        let least = d.iter().sum::<f64>().abs() - 1e-12;
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let share = (0..20_000).filter(|_| random_signs(&mut rng, &d).abs() >= least).count() as f64 / 20_000.0;
        assert!((share - exact.p).abs() < 0.015, "{share} {}", exact.p);

        let large: Vec<f64> = (1..=100).map(f64::from).collect();
        let result = paired_permutation(&large, &[0.0; 100], 999, 1).unwrap();
        assert_eq!((result.p, result.exact), (0.001, false));
        assert_eq!(result, paired_permutation(&large, &[0.0; 100], 999, 1).unwrap());
    }
}
