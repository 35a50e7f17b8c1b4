//! Correlations and their p-values.

use super::special::{incomplete_beta, normal_sf};
use super::{StatsError, TestResult, check_pairs, ranks};

/// Up to this many pairs without ties Kendall's p is exact (scipy).
const KENDALL_EXACT: usize = 33;

/// Pearson's r (`scipy.stats.pearsonr`), p from r's exact distribution for normal values; p = 1 for two pairs.
///
/// # Errors
/// [`StatsError::Constant`] if one sample does not vary, below 2 pairs, or if a value is not finite.
pub fn pearson(a: &[f64], b: &[f64]) -> Result<TestResult, StatsError> {
    const NAME: &str = "Pearson correlation";
    check_pairs(NAME, a, b, 2)?;
    let r = linear(NAME, a, b)?;
    Ok(match a.len() {
        2 => TestResult { statistic: r.round(), p: 1.0 },
        n => TestResult { statistic: r, p: tail(r, n) },
    })
}

/// Spearman's rho (`scipy.stats.spearmanr`): Pearson's r of the ranks, p from Student's t with n - 2 degrees of freedom.
///
/// # Errors
/// [`StatsError::Constant`] if one sample does not vary, below 3 pairs, or if a value is not finite.
pub fn spearman(a: &[f64], b: &[f64]) -> Result<TestResult, StatsError> {
    const NAME: &str = "Spearman correlation";
    check_pairs(NAME, a, b, 3)?;
    let r = linear(NAME, &ranks(a).0, &ranks(b).0)?;
    Ok(TestResult { statistic: r, p: tail(r, a.len()) })
}

/// Kendall's tau-b (`scipy.stats.kendalltau`).
///
/// (concordant - discordant) / sqrt((pairs - ties in a) (pairs - ties in b)). As in scipy the p-value is exact without
/// ties up to 33 pairs (and beyond if at most one pair is out of order), else from the normal approximation.
///
/// # Errors
/// [`StatsError::Constant`] if one sample does not vary, below 2 pairs, or if a value is not finite.
pub fn kendall(a: &[f64], b: &[f64]) -> Result<TestResult, StatsError> {
    const NAME: &str = "Kendall correlation";
    check_pairs(NAME, a, b, 2)?;
    let n = a.len() as f64;
    let (a, groups_a) = ranks(a);
    let (b, groups_b) = ranks(b);
    if groups_a.len() == 1 || groups_b.len() == 1 {
        return Err(StatsError::Constant { statistic: NAME, what: "values" });
    }
    let mut order: Vec<usize> = (0..a.len()).collect();
    order.sort_by(|i, j| a[*i].total_cmp(&a[*j]).then(b[*i].total_cmp(&b[*j])));
    let joint = order.chunk_by(|i, j| a[*i] == a[*j] && b[*i] == b[*j]).map(<[usize]>::len).collect::<Vec<_>>();
    // Within equal a's the b's ascend, so that only pairs that really disagree are out of order.
    let discordant = inversions(&mut order.iter().map(|i| b[*i]).collect::<Vec<_>>()) as f64;

    // Sums over groups of equal values, of t (t - 1) / 2, t (t - 1) (t - 2) and t (t - 1) (2t + 5).
    let over = |groups: &[usize], f: fn(f64) -> f64| groups.iter().map(|t| f(*t as f64)).sum::<f64>();
    let pairs = |groups: &[usize]| over(groups, |t| 0.5 * t * (t - 1.0));
    let total = 0.5 * n * (n - 1.0);
    let (ties_a, ties_b) = (pairs(&groups_a), pairs(&groups_b));
    let score = total - ties_a - ties_b + pairs(&joint) - 2.0 * discordant;
    let tau = (score / (total - ties_a).sqrt() / (total - ties_b).sqrt()).clamp(-1.0, 1.0);

    let rarer = discordant.min(total - discordant);
    let p = if ties_a == 0.0 && ties_b == 0.0 && (a.len() <= KENDALL_EXACT || rarer <= 1.0) {
        inversion_tail(a.len(), rarer as usize)
    } else {
        let cubes = over(&groups_a, |t| t * (t - 1.0) * (t - 2.0)) * over(&groups_b, |t| t * (t - 1.0) * (t - 2.0));
        let fives = over(&groups_a, |t| t * (t - 1.0) * (2.0 * t + 5.0)) + over(&groups_b, |t| t * (t - 1.0) * (2.0 * t + 5.0));
        let m = n * (n - 1.0);
        let variance = (m * (2.0 * n + 5.0) - fives) / 18.0 + 2.0 * ties_a * ties_b / m + cubes / (9.0 * m * (n - 2.0));
        2.0 * normal_sf(score.abs() / variance.sqrt())
    };
    Ok(TestResult { statistic: tau, p: p.min(1.0) })
}

/// Pearson's r of two samples of at least two values.
fn linear(statistic: &'static str, a: &[f64], b: &[f64]) -> Result<f64, StatsError> {
    let constant = StatsError::Constant { statistic, what: "values" };
    let unit = |values: &[f64]| {
        if values.iter().all(|v| *v == values[0]) {
            return None;
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let centred: Vec<f64> = values.iter().map(|v| v - mean).collect();
        // Scaled first, so that no square overflows or vanishes.
        let largest = centred.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let norm = largest * centred.iter().map(|v| (v / largest).powi(2)).sum::<f64>().sqrt();
        (norm > 0.0 && norm.is_finite()).then(|| centred.iter().map(|v| v / norm).collect::<Vec<_>>())
    };
    let (Some(a), Some(b)) = (unit(a), unit(b)) else { return Err(constant) };
    Ok(a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0))
}

/// P(|R| >= |r|) of uncorrelated normal values, n > 2: I_{1 - r^2}((n - 2) / 2, 1/2).
///
/// It is Student's t with t = r sqrt((n - 2) / (1 - r^2)) and also the beta distribution that scipy uses for Pearson.
fn tail(r: f64, n: usize) -> f64 {
    incomplete_beta(0.5 * (n as f64 - 2.0), 0.5, (1.0 - r) * (1.0 + r), r * r)
}

/// How many pairs stand in the wrong order; sorts (Knight 1966).
fn inversions(values: &mut [f64]) -> u64 {
    if values.len() < 2 {
        return 0;
    }
    let middle = values.len() / 2;
    let count = inversions(&mut values[..middle]) + inversions(&mut values[middle..]);
    let (left, right) = values.split_at(middle);
    let (mut merged, mut i, mut crossed) = (Vec::with_capacity(values.len()), 0, 0);
    for value in right {
        let from = i;
        i += left[i..].iter().take_while(|l| *l <= value).count();
        merged.extend_from_slice(&left[from..i]);
        merged.push(*value);
        crossed += (left.len() - i) as u64;
    }
    merged.extend_from_slice(&left[i..]);
    values.copy_from_slice(&merged);
    count + crossed
}

/// 2 P(inversions <= c) over all orders of n values, at most 1.
fn inversion_tail(n: usize, c: usize) -> f64 {
    // chance[k]: of k inversions among the first j values. The j-th adds 0 .. j-1 of them, each as likely.
    let mut chance = vec![0.0; c + 1];
    chance[0] = 1.0;
    for j in 2..=n {
        let before = chance.clone();
        let mut window = 0.0;
        for k in 0..=c {
            // Summed anew where something leaves the window: subtracting would round.
            window = if k < j { window + before[k] } else { before[k + 1 - j..=k].iter().sum() };
            chance[k] = window / j as f64;
        }
    }
    (2.0 * chance.iter().sum::<f64>()).min(1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn constant_values_correlate_with_nothing() {
        let (a, b) = ([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]);
        for statistic in [pearson, spearman, kendall] {
            for result in [statistic(&a, &b), statistic(&b, &a)] {
                assert!(matches!(result, Err(StatsError::Constant { .. })), "{result:?}");
            }
            assert!(statistic(&[], &[]).is_err() && statistic(&[1.0], &[2.0]).is_err());
        }
    }

    #[test]
    fn perfect_order() {
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 4.0, 9.0, 16.0]);
        assert_eq!(kendall(&a, &b).unwrap(), TestResult { statistic: 1.0, p: 2.0 / 24.0 });
        let rho = spearman(&a, &b).unwrap();
        assert!((rho.statistic - 1.0).abs() < 1e-15 && (0.0..1e-6).contains(&rho.p), "{rho:?}");
        assert_eq!(pearson(&[1.0, 2.0], &[5.0, 3.0]).unwrap(), TestResult { statistic: -1.0, p: 1.0 });
        assert_eq!(kendall(&[1.0, 2.0], &[5.0, 3.0]).unwrap(), TestResult { statistic: -1.0, p: 1.0 });
    }

    #[test]
    fn extreme_values_do_not_overflow() {
        let r = pearson(&[-5e210, 5e210, 3e200, -3e200], &[1e-300, 4e-300, 2e-300, 2e-300]).unwrap();
        assert!(r.statistic > 0.9 && r.p.is_finite(), "{r:?}");
    }

    #[test]
    fn inversions_are_counted_as_by_hand() {
        let mut values = [3.0, 1.0, 2.0, 2.0, 0.0];
        assert_eq!(inversions(&mut values), 4 + 1 + 1 + 1);
        assert_eq!(values, [0.0, 1.0, 2.0, 2.0, 3.0]);
        // Of 3! orders one has 0 inversions and two have 1.
        assert!((inversion_tail(3, 0) - 2.0 / 6.0).abs() < 1e-15);
        assert_eq!(inversion_tail(3, 1), 1.0);
    }
}
