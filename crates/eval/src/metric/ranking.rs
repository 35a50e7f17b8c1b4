//! Ranking metrics at a cut-off of 5, binary gain.
//!
//! The paper names Hit, Recall, MRR, MAP, DCG and NDCG at 5 without formulas; these are the textbook ones. Below, `rel_i` is 1
//! if rank `i` (from 1) holds a relevant index, `R` the number of relevant indices. An index repeated in the ranking counts
//! at its first rank only, one repeated among the relevant counts once.
//!
//! Equal to trec_eval's `success_5`, `recall_5`, `recip_rank` over the first 5 and `ndcg_cut_5`, to scikit-learn's `dcg_score` and
//! `ndcg_score` with `k=5`, and to trec_eval's `map_cut_5` where R is at most 5: that one divides by R always.

use std::collections::BTreeSet;

use super::RankingMetric;

/// The cut-off (paper: top 5).
const CUTOFF: usize = 5;

/// 1 if any of the first 5 is relevant, else 0.
pub struct Hit;

/// (sum_{i<=5} rel_i) / R
pub struct Recall;

/// 1 / (rank of the first relevant index), 0 if it is not among the first 5.
pub struct Mrr;

/// (sum_{i<=5} rel_i * precision_i) / min(5, R), precision_i the share of relevant indices among the first `i`.
///
/// Divided by min(5, R), not R, so that a perfect top 5 scores 1.
pub struct Map;

/// sum_{i<=5} rel_i / log2(i + 1)
///
/// May exceed 1: it reaches 2.95 with five relevant indices. (LongMemEval leaves rank 2 undiscounted; this does not.)
pub struct Dcg;

/// DCG / sum_{i<=min(5, R)} 1 / log2(i + 1)
pub struct Ndcg;

impl RankingMetric for Hit {
    fn name(&self) -> &'static str {
        "hit@5"
    }

    fn version(&self) -> &'static str {
        "1 (any relevant in top 5)"
    }

    fn score(&self, ranked: &[usize], relevant: &[usize]) -> f64 {
        f64::from(!hit_ranks(ranked, relevant).0.is_empty())
    }

    fn chance(&self, candidates: usize, relevant: usize) -> f64 {
        first_hits(candidates, relevant).iter().sum()
    }
}

impl RankingMetric for Recall {
    fn name(&self) -> &'static str {
        "recall@5"
    }

    fn version(&self) -> &'static str {
        "1 (relevant in top 5 / relevant)"
    }

    fn score(&self, ranked: &[usize], relevant: &[usize]) -> f64 {
        let (ranks, relevant) = hit_ranks(ranked, relevant);
        ratio(ranks.len() as f64, relevant as f64)
    }

    fn chance(&self, candidates: usize, relevant: usize) -> f64 {
        // Every relevant index is as often among the first 5 as any other.
        ratio(CUTOFF.min(candidates) as f64 * f64::from(relevant > 0), candidates as f64)
    }
}

impl RankingMetric for Mrr {
    fn name(&self) -> &'static str {
        "mrr@5"
    }

    fn version(&self) -> &'static str {
        "1 (1 / rank of the first relevant in top 5)"
    }

    fn score(&self, ranked: &[usize], relevant: &[usize]) -> f64 {
        hit_ranks(ranked, relevant).0.first().map_or(0.0, |rank| 1.0 / *rank as f64)
    }

    fn chance(&self, candidates: usize, relevant: usize) -> f64 {
        first_hits(candidates, relevant).iter().zip(1..).map(|(p, rank)| p / f64::from(rank)).sum()
    }
}

impl RankingMetric for Map {
    fn name(&self) -> &'static str {
        "map@5"
    }

    fn version(&self) -> &'static str {
        "1 (precisions at relevant ranks / min(5, relevant))"
    }

    fn score(&self, ranked: &[usize], relevant: &[usize]) -> f64 {
        let (ranks, relevant) = hit_ranks(ranked, relevant);
        let precisions = ranks.iter().zip(1..).fold(0.0, |sum, (rank, found)| sum + f64::from(found) / *rank as f64);
        ratio(precisions, relevant.min(CUTOFF) as f64)
    }

    fn chance(&self, candidates: usize, relevant: usize) -> f64 {
        let (n, r) = (candidates as f64, relevant as f64);
        // Before a relevant index at rank i there are i - 1 of the other n - 1, r - 1 of them relevant.
        let others = ratio(r - 1.0, n - 1.0).max(0.0);
        let precisions: f64 = (1..=CUTOFF.min(candidates)).map(|i| (1.0 + (i - 1) as f64 * others) / i as f64).sum();
        ratio(precisions * ratio(r, n), relevant.min(CUTOFF) as f64)
    }
}

impl RankingMetric for Dcg {
    fn name(&self) -> &'static str {
        "dcg@5"
    }

    fn version(&self) -> &'static str {
        "1 (binary gain, 1 / log2(rank + 1); may exceed 1)"
    }

    fn score(&self, ranked: &[usize], relevant: &[usize]) -> f64 {
        discounted(hit_ranks(ranked, relevant).0)
    }

    fn chance(&self, candidates: usize, relevant: usize) -> f64 {
        discounted(1..=CUTOFF.min(candidates)) * ratio(relevant as f64, candidates as f64)
    }
}

impl RankingMetric for Ndcg {
    fn name(&self) -> &'static str {
        "ndcg@5"
    }

    fn version(&self) -> &'static str {
        "1 (dcg@5 / its best over min(5, relevant) ranks)"
    }

    fn score(&self, ranked: &[usize], relevant: &[usize]) -> f64 {
        let (ranks, relevant) = hit_ranks(ranked, relevant);
        ratio(discounted(ranks), discounted(1..=relevant.min(CUTOFF)))
    }

    fn chance(&self, candidates: usize, relevant: usize) -> f64 {
        ratio(Dcg.chance(candidates, relevant), discounted(1..=relevant.min(CUTOFF)))
    }
}

/// The probability of every rank of the top 5 to hold the first relevant index of a random order.
fn first_hits(candidates: usize, relevant: usize) -> Vec<f64> {
    let mut none_before = 1.0;
    let rank = |left: usize| {
        let here = none_before * ratio(relevant.min(left) as f64, left as f64);
        none_before -= here;
        here
    };
    (0..CUTOFF.min(candidates)).map(|before| candidates - before).map(rank).collect()
}

/// The ranks of the top 5 that hold a relevant index for the first time, and how many indices are relevant.
fn hit_ranks(ranked: &[usize], relevant: &[usize]) -> (Vec<usize>, usize) {
    let mut left: BTreeSet<usize> = relevant.iter().copied().collect();
    let num_relevant = left.len();
    let ranks = (1..=CUTOFF).zip(ranked).filter(|(_, index)| left.remove(index)).map(|(rank, _)| rank).collect();
    (ranks, num_relevant)
}

fn discounted(ranks: impl IntoIterator<Item = usize>) -> f64 {
    // Not `sum`: over nothing it is -0, which a results file would show.
    ranks.into_iter().fold(0.0, |sum, rank| sum + 1.0 / (rank as f64 + 1.0).log2())
}

/// The quotient, 0 when nothing is relevant.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::RANKING_METRICS;

    /// Every order of `0..n`.
    fn orders(n: usize) -> Vec<Vec<usize>> {
        (0..n).fold(vec![Vec::new()], |all, next| {
            let with =
                |order: Vec<usize>| (0..=order.len()).map(move |at| [&order[..at], &[next], &order[at..]].concat()).collect::<Vec<_>>();
            all.into_iter().flat_map(with).collect()
        })
    }

    #[test]
    fn chance_is_the_mean_over_all_orders() {
        for (candidates, relevant) in [(1, 1), (3, 1), (4, 2), (5, 5), (6, 1), (7, 2), (7, 6), (7, 0)] {
            let gold: Vec<usize> = (0..relevant).collect();
            let orders = orders(candidates);
            for metric in RANKING_METRICS {
                let sum: f64 = orders.iter().map(|order| metric.score(&order[..CUTOFF.min(candidates)], &gold)).sum();
                let (mean, chance) = (sum / orders.len() as f64, metric.chance(candidates, relevant));
                assert!((mean - chance).abs() < 1e-12, "{} {candidates} {relevant}: {chance}, expected {mean}", metric.name());
            }
        }
        // One of 20: 5 / 20; two of 20: 1 - (15 * 14) / (20 * 19).
        assert!((Hit.chance(20, 1) - 0.25).abs() < 1e-12);
        assert!((Hit.chance(20, 2) - (1.0 - 210.0 / 380.0)).abs() < 1e-12);
        assert_eq!(RANKING_METRICS.iter().map(|m| m.chance(0, 0)).sum::<f64>(), 0.0);
    }

    /// hit, recall, mrr, map, dcg, ndcg
    #[track_caller]
    fn check(ranked: &[usize], relevant: &[usize], expected: [f64; 6]) {
        for (metric, expected) in RANKING_METRICS.iter().zip(expected) {
            let got = metric.score(ranked, relevant);
            assert!((got - expected).abs() < 1e-12, "{}: {got}, expected {expected}", metric.name());
        }
    }

    #[test]
    fn by_hand() {
        // Relevant at ranks 2 and 4 of three relevant; 1/log2(3) + 1/log2(5) over 1 + 1/log2(3) + 1/2.
        let (two, four) = (1.0 / 3f64.log2(), 1.0 / 5f64.log2());
        let dcg = two + four;
        check(&[9, 1, 8, 2, 7], &[1, 2, 3], [1.0, 2.0 / 3.0, 0.5, (0.5 + 0.5) / 3.0, dcg, dcg / (1.5 + two)]);
    }

    #[test]
    fn a_perfect_top_five_of_seven() {
        let best: f64 = (2..=6).map(|i| 1.0 / f64::from(i).log2()).sum();
        check(&[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5, 6, 7], [1.0, 5.0 / 7.0, 1.0, 1.0, best, 1.0]);
    }

    #[test]
    fn rank_six_is_too_late_and_a_short_ranking_is_fine() {
        check(&[0, 1, 2, 3, 4, 5], &[5], [0.0; 6]);
        check(&[5], &[5], [1.0; 6]);
        check(&[], &[5], [0.0; 6]);
        check(&[0, 1], &[], [0.0; 6]);
    }

    #[test]
    fn repeats_count_once() {
        check(&[3, 3, 3], &[3, 3], [1.0; 6]);
    }
}
