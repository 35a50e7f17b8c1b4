//! Generation from input embeddings: greedy by default, or sampling with a seed.

use burn::tensor::{Int, Tensor, TensorData};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::kv_cache::KvCache;
use crate::layout::Placement;
use crate::row_adapters::AdaptedDecoder;

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Decoding {
    /// The most likely token (deviation D1: the official code samples, because it does not pass `do_sample=False`).
    #[default]
    Greedy,
    /// Draw from the truncated distribution; Qwen3's generation_config has 0.6, 20, 0.95.
    Sample {
        /// Divides the logits; above 0.
        temperature: f64,
        /// Keep the k most likely tokens (0: all).
        top_k: usize,
        /// Keep the smallest set of tokens whose probability reaches this.
        top_p: f64,
        /// Seed of the generator; the same seed gives the same text.
        seed: u64,
    },
}

/// Continues `prompt` until an end token or `max_new_tokens`, and returns the new tokens of every row without the end.
///
/// Rows that have ended leave the batch, so that they cost nothing. A [`Decoder`](crate::Decoder) continues as it is, an
/// [`AdaptedDecoder`] each row with its own adapter.
///
/// # Shapes
/// - prompt: `[batch, seq, hidden]`, left-padded by `pads` (empty: no padding); `placement` must not depend on the row, as rows
///   leave
#[allow(clippy::too_many_arguments)]
pub fn generate<'a>(
    decoder: impl Into<AdaptedDecoder<'a>>,
    embed: impl Fn(Tensor<2, Int>) -> Tensor<3>,
    prompt: Tensor<3>,
    pads: &[usize],
    placement: &Placement<'_>,
    max_new_tokens: usize,
    end_ids: &[u32],
    decoding: &Decoding,
) -> Vec<Vec<u32>> {
    let mut decoder = decoder.into();
    let [batch, seq, _] = prompt.dims();
    let device = prompt.device();
    let mut sampler = Sampler::new(decoding);
    let mut texts = vec![Vec::new(); batch];
    let mut active: Vec<usize> = (0..batch).collect();
    let mut cache = KvCache::default();
    let mut hidden = decoder.hidden(prompt, pads, placement, Some(&mut cache)).narrow(1, seq - 1, 1);
    for step in 0..max_new_tokens {
        let next = sampler.choose(decoder.decoder.logits(hidden.clone()));
        let kept: Vec<usize> = (0..active.len()).filter(|row| !end_ids.contains(&next[*row])).collect();
        for row in &kept {
            texts[active[*row]].push(next[*row]);
        }
        if kept.is_empty() || step + 1 == max_new_tokens {
            break;
        }
        if kept.len() < active.len() {
            let indices: Vec<i32> = kept.iter().map(|r| *r as i32).collect();
            let indices = Tensor::from_data(TensorData::new(indices, [kept.len()]), &device);
            cache.select(&indices, &kept);
            decoder.select(&indices);
            active = kept.iter().map(|r| active[*r]).collect();
        }
        let tokens: Vec<i32> = kept.iter().map(|r| next[*r] as i32).collect();
        let tokens = Tensor::<2, Int>::from_data(TensorData::new(tokens, [kept.len(), 1]), &device);
        hidden = decoder.hidden(embed(tokens), &[], placement, Some(&mut cache));
    }
    texts
}

struct Sampler {
    decoding: Decoding,
    rng: ChaCha8Rng,
}

impl Sampler {
    fn new(decoding: &Decoding) -> Self {
        let seed = match decoding {
            Decoding::Greedy => 0,
            Decoding::Sample { seed, .. } => *seed,
        };
        Self { decoding: *decoding, rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// One token per row from logits `[batch, 1, vocab]`.
    fn choose(&mut self, logits: Tensor<3>) -> Vec<u32> {
        let [batch, _, vocab] = logits.dims();
        match self.decoding {
            Decoding::Greedy => logits.argmax(2).into_data().iter::<i64>().map(|id| id as u32).collect(),
            Decoding::Sample { temperature, top_k, top_p, .. } => {
                let values: Vec<f32> = logits.into_data().iter::<f32>().collect();
                (0..batch).map(|row| sample(&values[row * vocab..(row + 1) * vocab], temperature, top_k, top_p, &mut self.rng)).collect()
            }
        }
    }
}

/// Temperature, then top-k, then top-p, as transformers orders them.
fn sample(logits: &[f32], temperature: f64, top_k: usize, top_p: f64, rng: &mut impl Rng) -> u32 {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
    if top_k > 0 {
        order.truncate(top_k);
    }
    let scaled = |i: usize| (f64::from(logits[i]) - f64::from(logits[order[0]])) / temperature;
    let mut weights: Vec<f64> = order.iter().map(|i| scaled(*i).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut kept = 0.0;
    // The token that crosses top_p stays in.
    let count = weights
        .iter()
        .take_while(|w| {
            let before = kept;
            kept += **w / total;
            before < top_p
        })
        .count()
        .max(1);
    weights.truncate(count);
    let mut draw = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (index, weight) in weights.iter().enumerate() {
        draw -= weight;
        if draw <= 0.0 {
            return order[index] as u32;
        }
    }
    order[count - 1] as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncation_leaves_only_likely_tokens() {
        let logits = [0.0, 5.0, 4.9, -3.0];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut seen = [0; 4];
        for _ in 0..200 {
            seen[sample(&logits, 1.0, 2, 1.0, &mut rng) as usize] += 1;
        }
        assert!(seen[1] > 60 && seen[2] > 60 && seen[0] == 0 && seen[3] == 0, "{seen:?}");
        for _ in 0..50 {
            assert_eq!(sample(&logits, 1.0, 0, 0.3, &mut rng), 1);
            assert_eq!(sample(&logits, 0.001, 0, 1.0, &mut rng), 1);
        }
    }
}
