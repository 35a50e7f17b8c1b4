//! 95% intervals of a mean.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// The 97.5% quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;
/// Resamples of [`mean_interval`]; our choice, Efron and Tibshirani (1993) call 1000 a rough minimum for percentile intervals.
const RESAMPLES: usize = 1000;
/// Seed of [`mean_interval`]: the official code's.
const SEED: u64 = 1128;

/// An interval around a mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The 95% Wilson score interval of a proportion; [0, 1] when `n` is 0.
///
/// (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
pub fn wilson(successes: f64, n: usize) -> Interval {
    if n == 0 {
        return Interval { low: 0.0, high: 1.0 };
    }
    let n = n as f64;
    let p = (successes / n).clamp(0.0, 1.0);
    let centre = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + Z * Z / n;
    Interval { low: ((centre - half) / scale).max(0.0), high: ((centre + half) / scale).min(1.0) }
}

/// The 95% percentile-bootstrap interval of the mean; the same seed gives the same interval on every machine.
///
/// One value says nothing about spread: its interval is that value. No values give [0, 0], no resamples the mean itself.
pub fn bootstrap_mean(values: &[f64], resamples: usize, seed: u64) -> Interval {
    if values.len() < 2 || resamples == 0 {
        let mean = mean(values);
        return Interval { low: mean, high: mean };
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> = (0..resamples)
        .map(|_| {
            let sum: f64 = (0..values.len()).map(|_| values[below(rng.next_u64(), values.len())]).sum();
            sum / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    Interval { low: quantile(&means, 0.025), high: quantile(&means, 0.975) }
}

/// The mean and its 95% interval: Wilson when every value is 0 or 1, else bootstrap. No values give 0 in [0, 1].
pub fn mean_interval(values: &[f64]) -> (f64, Interval) {
    let interval = match values.iter().all(|v| *v == 0.0 || *v == 1.0) {
        true => wilson(values.iter().sum(), values.len()),
        false => bootstrap_mean(values, RESAMPLES, SEED),
    };
    (mean(values), interval)
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / values.len() as f64 }
}

/// Maps 64 random bits to an index below `n`. Spelled out, so that a new release of `rand` cannot move published intervals.
pub(crate) fn below(bits: u64, n: usize) -> usize {
    ((u128::from(bits) * n as u128) >> 64) as usize
}

/// A quantile by linear interpolation (numpy's default). `sorted` is not empty.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let at = q * (sorted.len() - 1) as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: Interval, low: f64, high: f64) {
        assert!((got.low - low).abs() < 1e-9 && (got.high - high).abs() < 1e-9, "{got:?}");
    }

    #[test]
    fn wilson_by_its_formula() {
        close(wilson(8.0, 10), 0.490_162_471_5, 0.943_317_848_5);
        close(wilson(0.0, 10), 0.0, 0.277_532_799_9);
        close(wilson(10.0, 10), 0.722_467_200_1, 1.0);
        close(wilson(0.0, 0), 0.0, 1.0);
    }

    #[test]
    fn bootstrap_is_deterministic_and_near_the_normal_interval() {
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 40) / 39.0).collect();
        let interval = bootstrap_mean(&values, 1000, 1);
        assert_eq!(interval, bootstrap_mean(&values, 1000, 1));
        assert_ne!(interval, bootstrap_mean(&values, 1000, 2));
        // Standard deviation of the values 0.296, so half the interval is 1.96 * 0.296 / 20 = 0.029.
        assert!((interval.low - 0.471).abs() < 0.005 && (interval.high - 0.529).abs() < 0.005, "{interval:?}");
    }

    #[test]
    fn few_values_do_not_panic() {
        assert_eq!(mean_interval(&[]), (0.0, Interval { low: 0.0, high: 1.0 }));
        assert_eq!(mean_interval(&[0.4]), (0.4, Interval { low: 0.4, high: 0.4 }));
        assert_eq!(bootstrap_mean(&[], 1000, 0), Interval { low: 0.0, high: 0.0 });
        assert_eq!(bootstrap_mean(&[1.0, 2.0], 0, 0), Interval { low: 1.5, high: 1.5 });
        let (mean, interval) = mean_interval(&[1.0]);
        assert!(mean == 1.0 && (interval.low - 0.206_549_314).abs() < 1e-9 && interval.high <= 1.0, "{interval:?}");
    }

    #[test]
    fn binary_values_take_wilson_others_bootstrap() {
        assert_eq!(mean_interval(&[1.0, 0.0, 1.0]).1, wilson(2.0, 3));
        let values = [1.0, 0.0, 0.5];
        assert_eq!(mean_interval(&values).1, bootstrap_mean(&values, RESAMPLES, SEED));
    }

    #[test]
    fn an_index_is_always_below_n() {
        assert_eq!(below(u64::MAX, 7), 6);
        assert_eq!(below(0, 7), 0);
    }
}
