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
    use crate::metric::RANKING_METRICS;

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
