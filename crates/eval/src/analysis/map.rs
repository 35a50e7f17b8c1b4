//! Which latents change when a segment of the text does.

/// How far each latent moved: relative L2 `||h' - h|| / ||h||` and cosine distance `1 - cos(h, h')`.
///
/// # Shapes
/// - before, after: row-major `[latents, hidden]`; returns two vectors of `latents`
pub fn latent_distances(before: &[f32], after: &[f32], hidden: usize) -> (Vec<f64>, Vec<f64>) {
    let pairs = before.chunks(hidden.max(1)).zip(after.chunks(hidden.max(1)));
    pairs
        .map(|(b, a)| {
            let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
            let norms = (dot(b, b) * dot(a, a)).sqrt();
            let cosine = if norms > 0.0 { dot(b, a) / norms } else { f64::from(b == a) };
            (super::relative_error(b, a), (1.0 - cosine).max(0.0))
        })
        .unzip()
}

/// How far each latent moves when each segment is replaced: `[segments, latents]`.
///
/// Rows may belong to any segments: `segments[r]` is the number of row r's.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentMap {
    /// The segment that each row replaced, from 0; also the latent that the training put in its place.
    pub segments: Vec<usize>,
    /// Rows divided by their sum: how the change is spread over the latents. A row without change stays zero.
    pub shares: Vec<Vec<f64>>,
}

impl LatentMap {
    /// Normalises the rows of distances.
    pub fn new(segments: Vec<usize>, distances: &[Vec<f64>]) -> Self {
        let share = |row: &Vec<f64>| {
            let sum: f64 = row.iter().sum();
            row.iter().map(|d| if sum > 0.0 { d / sum } else { 0.0 }).collect()
        };
        Self { segments, shares: distances.iter().map(share).collect() }
    }

    /// The same map with the latents in another order: the control that has no diagonal.
    pub fn permuted(&self, order: &[usize]) -> Self {
        let shares = self.shares.iter().map(|row| order.iter().map(|k| row[*k]).collect()).collect();
        Self { segments: self.segments.clone(), shares }
    }

    /// The correlation of segment number s and latent number k, each pair weighted by its share `w_{s,k}`:
    ///
    /// cov_w(s, k) / sqrt(var_w(s) var_w(k))
    ///
    /// 1: all change lies on a straight line from the first segment and latent to the last. 0: where a latent stands says
    /// nothing about the segment. `None` for fewer than two segments or no change at all.
    pub fn diagonality(&self) -> Option<f64> {
        let weighted: Vec<(f64, f64, f64)> = (self.segments.iter().zip(&self.shares))
            .flat_map(|(s, row)| row.iter().enumerate().map(move |(k, w)| (*s as f64, k as f64, *w)))
            .collect();
        let total: f64 = weighted.iter().map(|(_, _, w)| w).sum();
        let mean = |f: &dyn Fn(f64, f64) -> f64| weighted.iter().map(|(s, k, w)| w * f(*s, *k)).sum::<f64>() / total;
        let (s, k) = (mean(&|s, _| s), mean(&|_, k| k));
        let (var_s, var_k) = (mean(&|x, _| (x - s).powi(2)), mean(&|_, y| (y - k).powi(2)));
        let correlation = mean(&|x, y| (x - s) * (y - k)) / (var_s * var_k).sqrt();
        correlation.is_finite().then_some(correlation)
    }

    /// The mean share of the change that falls on the segment's own latent; 1 / latents when it is spread evenly.
    pub fn own_share(&self) -> Option<f64> {
        mean(self.segments.iter().zip(&self.shares).map(|(s, row)| row.get(*s).copied().unwrap_or(0.0)))
    }

    /// How many of the rows change no latent more than the segment's own or a direct neighbour of it, as a share.
    pub fn peak_near_own(&self) -> Option<f64> {
        mean(self.segments.iter().zip(&self.shares).map(|(s, row)| f64::from(peak(row).is_some_and(|k| k.abs_diff(*s) <= 1))))
    }
}

/// Index of the largest value, the first on ties; `None` without a positive one.
fn peak(row: &[f64]) -> Option<usize> {
    let best = row.iter().copied().fold(0.0, f64::max);
    row.iter().position(|v| best > 0.0 && *v == best)
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let values: Vec<f64> = values.collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn distances_of_each_latent() {
        let before = [1.0, 0.0, 0.0, 2.0, 0.0, 0.0];
        let after = [0.0, 1.0, 0.0, 4.0, 0.0, 0.0];
        let (l2, cosine) = latent_distances(&before, &after, 2);
        assert_eq!(l2, [2f64.sqrt(), 1.0, 0.0]);
        assert_eq!(cosine, [1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_diagonal_is_one_an_antidiagonal_minus_one_an_even_spread_zero() {
        let map = |rows: &[[f64; 3]]| LatentMap::new((0..rows.len()).collect(), &rows.iter().map(|r| r.to_vec()).collect::<Vec<_>>());
        let diagonal = map(&[[2.0, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 1.0]]);
        assert!((diagonal.diagonality().unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(diagonal.own_share(), Some(1.0));
        assert_eq!(diagonal.peak_near_own(), Some(1.0));
        let reversed = diagonal.permuted(&[2, 1, 0]);
        assert!((reversed.diagonality().unwrap() + 1.0).abs() < 1e-12);
        assert!((reversed.own_share().unwrap() - 1.0 / 3.0).abs() < 1e-12);
        let even = map(&[[1.0; 3]; 3]);
        assert!(even.diagonality().unwrap().abs() < 1e-12);
        assert!((even.own_share().unwrap() - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_to_correlate_is_none() {
        assert_eq!(LatentMap::new(vec![1], &[vec![0.0, 1.0]]).diagonality(), None);
        assert_eq!(LatentMap::new(vec![0, 1], &[vec![0.0; 2], vec![0.0; 2]]).diagonality(), None);
        assert_eq!(LatentMap::new(Vec::new(), &[]).own_share(), None);
        assert_eq!(LatentMap::new(vec![0], &[vec![0.0; 2]]).peak_near_own(), Some(0.0));
    }
}
