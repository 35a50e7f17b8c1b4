//! The Qwen3 decoder: pre-norm, grouped-query attention with q/k norm, SwiGLU, rotary halves.
//!
//! Module fields carry the checkpoint's own names, so a parameter's path is its key; weights have the file's shapes,
//! projections `[out, in]`. No module owns a KV cache or an adapter: both come with the call.

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation};

use crate::config::DecoderConfig;
use crate::kv_cache::KvCache;
use crate::layout::Placement;
use crate::lora::LoraAdapter;
use crate::product::product;
use crate::rope::Rope;
use crate::row_adapters::Updates;
use crate::weight_source::{HostRandom, RandomWeights, WeightSource};

/// Grouped-query self-attention.
#[derive(Module, Debug)]
pub struct Attention {
    pub(crate) q_proj: Param<Tensor<2>>,
    pub(crate) k_proj: Param<Tensor<2>>,
    pub(crate) v_proj: Param<Tensor<2>>,
    pub(crate) o_proj: Param<Tensor<2>>,
    pub(crate) q_norm: Param<Tensor<1>>,
    pub(crate) k_norm: Param<Tensor<1>>,
}

/// `down(silu(gate(x)) * up(x))`.
#[derive(Module, Debug)]
pub struct Mlp {
    pub(crate) gate_proj: Param<Tensor<2>>,
    pub(crate) up_proj: Param<Tensor<2>>,
    pub(crate) down_proj: Param<Tensor<2>>,
}

/// One pre-norm layer.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    pub(crate) input_layernorm: Param<Tensor<1>>,
    pub(crate) self_attn: Attention,
    pub(crate) post_attention_layernorm: Param<Tensor<1>>,
    pub(crate) mlp: Mlp,
}

/// A dense Qwen3.
#[derive(Module, Debug)]
pub struct Decoder {
    pub(crate) embed_tokens: Param<Tensor<2>>,
    pub(crate) layers: Vec<DecoderLayer>,
    pub(crate) norm: Param<Tensor<1>>,
    /// `[vocab, hidden]`; absent when the head is tied to `embed_tokens`.
    pub(crate) lm_head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    config: DecoderConfig,
}

/// Positions and mask of one forward pass, shared by all layers.
struct Layout {
    rope: Rope,
    /// `[batch or 1, 1, seq, keys]`, 0 where a query may look and a large negative number where not.
    bias: Option<Tensor<4>>,
}

impl Decoder {
    /// A model with random weights: normal of the given standard deviation, norms at 1; the same on every device.
    pub fn random(config: DecoderConfig, std: f64, seed: u64, device: &Device) -> Self {
        // The projections that write to the residual stream start smaller, so that its size does not grow with depth.
        let out_std = std / (2.0 * config.num_hidden_layers as f64).sqrt();
        let mut source = RandomWeights { std, out_std, random: HostRandom::new(seed), device: device.clone() };
        let Ok(model) = Self::build(config, &mut source);
        model
    }

    /// Builds the model from a source of weights; the one place that knows a checkpoint's keys and their shapes.
    pub(crate) fn build<S: WeightSource>(config: DecoderConfig, source: &mut S) -> Result<Self, S::Error> {
        let (hidden, inner, dim) = (config.hidden_size, config.intermediate_size, config.head_dim);
        let (q, kv) = (config.num_attention_heads * dim, config.num_key_value_heads * dim);
        let embed_tokens = source.table("model.embed_tokens.weight", [config.vocab_size, hidden])?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for i in 0..config.num_hidden_layers {
            let key = |name: &str| format!("model.layers.{i}.{name}.weight");
            layers.push(DecoderLayer {
                input_layernorm: source.norm(&key("input_layernorm"), hidden)?,
                self_attn: Attention {
                    q_proj: source.projection(&key("self_attn.q_proj"), [q, hidden])?,
                    k_proj: source.projection(&key("self_attn.k_proj"), [kv, hidden])?,
                    v_proj: source.projection(&key("self_attn.v_proj"), [kv, hidden])?,
                    o_proj: source.projection(&key("self_attn.o_proj"), [hidden, q])?,
                    q_norm: source.norm(&key("self_attn.q_norm"), dim)?,
                    k_norm: source.norm(&key("self_attn.k_norm"), dim)?,
                },
                post_attention_layernorm: source.norm(&key("post_attention_layernorm"), hidden)?,
                mlp: Mlp {
                    gate_proj: source.projection(&key("mlp.gate_proj"), [inner, hidden])?,
                    up_proj: source.projection(&key("mlp.up_proj"), [inner, hidden])?,
                    down_proj: source.projection(&key("mlp.down_proj"), [hidden, inner])?,
                },
            });
        }
        let norm = source.norm("model.norm.weight", hidden)?;
        let lm_head = match config.tie_word_embeddings {
            true => None,
            false => Some(source.projection("lm_head.weight", [config.vocab_size, hidden])?),
        };
        Ok(Self { embed_tokens, layers, norm, lm_head, config })
    }

    /// The sizes this model was built with.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// The device its weights are on.
    pub fn device(&self) -> Device {
        self.embed_tokens.val().device()
    }

    /// Gives rows of `embed_tokens` the values of others, as `(to, from)`: the first values of tokens that were added.
    ///
    /// # Panics
    /// If a row is beyond the table (caller bug).
    pub fn with_rows_of(mut self, rows: &[(u32, u32)]) -> Self {
        self.embed_tokens = self.embed_tokens.map(|table| {
            rows.iter().fold(table, |table, (to, from)| {
                let (to, from) = (*to as usize, *from as usize);
                let (width, row) = (table.dims()[1], table.clone().narrow(0, from, 1));
                table.slice_assign([to..to + 1, 0..width], row)
            })
        });
        self
    }

    /// Looks tokens up in `embed_tokens`.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`; returns `[batch, seq, hidden]`
    pub fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        burn::tensor::module::embedding(self.embed_tokens.val(), tokens)
    }

    /// Last hidden states after the final norm.
    ///
    /// `pads` is the left padding of each row (empty: none). A padded row gives the same numbers as the row alone: its
    /// positions start after the padding and nothing looks at it. With a `cache`, `embeds` continue what it holds, and
    /// the padding is that of the first pass.
    ///
    /// # Shapes
    /// - embeds: `[batch, seq, hidden]`; returns `[batch, seq, hidden]`
    ///
    /// # Panics
    /// If `pads` is neither empty nor one per row (caller bug).
    pub fn hidden(&self, embeds: Tensor<3>, pads: &[usize], adapter: Option<&LoraAdapter>, cache: Option<&mut KvCache>) -> Tensor<3> {
        self.hidden_at(embeds, pads, &Placement::default(), adapter, cache)
    }

    /// The same with positions and a mask of its own.
    ///
    /// # Shapes
    /// - embeds: `[batch, seq, hidden]`; returns `[batch, seq, hidden]`
    pub fn hidden_at(
        &self,
        embeds: Tensor<3>,
        pads: &[usize],
        placement: &Placement<'_>,
        adapter: Option<&LoraAdapter>,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        self.run(embeds, pads, placement, Updates::from(adapter), cache, |_| {})
    }

    /// Every layer's input and the final hidden states: transformers' `hidden_states`, num_hidden_layers + 1 tensors.
    pub fn hidden_states(&self, embeds: Tensor<3>) -> Vec<Tensor<3>> {
        let mut states = Vec::with_capacity(self.layers.len() + 1);
        let last = self.run(embeds, &[], &Placement::default(), Updates::None, None, |x| states.push(x.clone()));
        states.push(last);
        states
    }

    /// Scores of every token of the vocabulary.
    ///
    /// # Shapes
    /// - hidden: `[batch, seq, hidden]`; returns `[batch, seq, vocab]`
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        match &self.lm_head {
            Some(head) => product(hidden, head.val()),
            None => product(hidden, self.embed_tokens.val()),
        }
    }

    /// [`hidden`](Self::hidden) with any updates; `before_layer` sees the input of every layer.
    pub(crate) fn run(
        &self,
        embeds: Tensor<3>,
        pads: &[usize],
        placement: &Placement<'_>,
        updates: Updates<'_>,
        mut cache: Option<&mut KvCache>,
        mut before_layer: impl FnMut(&Tensor<3>),
    ) -> Tensor<3> {
        let [batch, seq, _] = embeds.dims();
        assert!(pads.is_empty() || pads.len() == batch, "got {} pads for a batch of {batch}", pads.len());
        let past = cache.as_ref().map_or(0, |c| c.len());
        if let Some(cache) = cache.as_deref_mut() {
            cache.advance(pads, seq);
        }
        let pads: Vec<usize> = cache.as_ref().map_or(pads, |c| c.pads()).to_vec();
        let layout = self.layout(&pads, placement, past, &embeds);
        let mut x = embeds;
        for (index, layer) in self.layers.iter().enumerate() {
            before_layer(&x);
            let project = |x, weight, target| updates.project(x, weight, index, target);
            let normed = rms_norm(x.clone(), &layer.input_layernorm, self.config.rms_norm_eps);
            x = x + self.attend(&layer.self_attn, normed, &layout, updates, index, cache.as_deref_mut());
            let normed = rms_norm(x.clone(), &layer.post_attention_layernorm, self.config.rms_norm_eps);
            let gate = project(normed.clone(), &layer.mlp.gate_proj, "gate_proj");
            let up = project(normed, &layer.mlp.up_proj, "up_proj");
            x = x + project(activation::silu(gate) * up, &layer.mlp.down_proj, "down_proj");
        }
        rms_norm(x, &self.norm, self.config.rms_norm_eps)
    }

    fn layout(&self, pads: &[usize], placement: &Placement<'_>, past: usize, embeds: &Tensor<3>) -> Layout {
        let (device, [batch, seq, _]) = (embeds.device(), embeds.dims());
        let padded = pads.iter().any(|p| *p > 0);
        // One row of positions and masks stands for all where they are the same.
        let rows: Vec<usize> = match (padded, placement.position.is_some()) {
            (true, _) => pads.to_vec(),
            (false, true) => vec![0; batch],
            (false, false) => vec![0],
        };
        let position = |(row, pad): (usize, &usize)| -> Vec<usize> {
            let of = |place: usize| placement.position.as_ref().map_or(place.saturating_sub(*pad), |position| position(row, *pad, place));
            (past..past + seq).map(of).collect()
        };
        let mut positions: Vec<Vec<usize>> = rows.iter().enumerate().map(position).collect();
        if positions.windows(2).all(|rows| rows[0] == rows[1]) {
            positions.truncate(1);
        }
        let rope = Rope::new(&positions, self.config.head_dim, self.config.rope_theta, embeds.dtype(), &device);
        // A single query after unpadded keys sees all of them.
        let bias = (padded || seq > 1 || placement.hides.is_some()).then(|| {
            let keys = past + seq;
            let rows = if padded { rows.as_slice() } else { &[0] };
            let mut bias = Vec::with_capacity(rows.len() * seq * keys);
            for pad in rows {
                let hidden = |query, key| placement.hides.as_ref().is_some_and(|hides| hides(*pad, [query, key]));
                for query in past..keys {
                    // A padding query looks at itself, so that its softmax stays finite; nobody reads the result.
                    let seen = |key| key == query || (key < query && key >= *pad && !hidden(query, key));
                    bias.extend((0..keys).map(|key| if seen(key) { 0.0 } else { HIDDEN }));
                }
            }
            Tensor::<4>::from_data(TensorData::new(bias, [rows.len(), 1, seq, keys]), &device).cast(embeds.dtype())
        });
        Layout { rope, bias }
    }

    fn attend(
        &self,
        attn: &Attention,
        x: Tensor<3>,
        layout: &Layout,
        updates: Updates<'_>,
        layer: usize,
        cache: Option<&mut KvCache>,
    ) -> Tensor<3> {
        let config = &self.config;
        let [batch, seq, _] = x.dims();
        let (heads, kv_heads, head_dim) = (config.num_attention_heads, config.num_key_value_heads, config.head_dim);

        let project = |x, weight, target| updates.project(x, weight, layer, target);

        // 1. Project, split into heads, norm each head
        let q = project(x.clone(), &attn.q_proj, "q_proj").reshape([batch, seq, heads, head_dim]);
        let k = project(x.clone(), &attn.k_proj, "k_proj").reshape([batch, seq, kv_heads, head_dim]);
        let v = project(x, &attn.v_proj, "v_proj").reshape([batch, seq, kv_heads, head_dim]);
        let q = rms_norm(q, &attn.q_norm, config.rms_norm_eps).swap_dims(1, 2);
        let k = rms_norm(k, &attn.k_norm, config.rms_norm_eps).swap_dims(1, 2);
        let v = v.swap_dims(1, 2);

        // 2. Rotate, append to the cache
        let (q, k) = (layout.rope.apply(q), layout.rope.apply(k));
        let (k, v) = match cache {
            Some(cache) => cache.append(layer, k, v),
            None => (k, v),
        };

        // 3. Attend. The queries that share a key-value head are stacked along the sequence, so keys are never copied.
        let (groups, keys) = (heads / kv_heads, k.dims()[2]);
        let q = (q * (head_dim as f64).powf(-0.5)).reshape([batch, kv_heads, groups * seq, head_dim]);
        let scores = q.matmul(k.swap_dims(2, 3));
        let scores = match &layout.bias {
            Some(bias) => (scores.reshape([batch, heads, seq, keys]) + bias.clone()).reshape([batch, kv_heads, groups * seq, keys]),
            None => scores,
        };
        let context = activation::softmax(scores, 3).matmul(v);

        // 4. [batch, heads, seq, head_dim] -> [batch, seq, heads * head_dim], project
        let context = context.reshape([batch, heads, seq, head_dim]).swap_dims(1, 2).reshape([batch, seq, heads * head_dim]);
        project(context, &attn.o_proj, "o_proj")
    }
}

/// Added to the scores of keys that a query must not see: far below any score, yet finite in every float type.
const HIDDEN: f32 = -6.0e4;

/// `y = w * x / sqrt(mean(x^2) + eps)` over the last dimension, the statistics in f32 as in transformers.
fn rms_norm<const D: usize>(x: Tensor<D>, weight: &Param<Tensor<1>>, eps: f64) -> Tensor<D> {
    let dtype = x.dtype();
    let x = widened(x);
    let scale = (x.clone().square().mean_dim(D - 1) + eps).sqrt().recip();
    (x * scale).cast(dtype) * weight.val().unsqueeze()
}

/// Half types as f32, others as they are: what sums many terms is computed in at least f32.
pub fn widened<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(DType::F32),
        _ => x,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;
    use burn::tensor::Distribution;

    fn model(tied: bool) -> Decoder {
        Decoder::random(tiny(tied), 0.2, 3, &Device::flex())
    }

    fn embeds(batch: usize, seq: usize) -> Tensor<3> {
        Tensor::random([batch, seq, 32], Distribution::Normal(0.0, 1.0), &Device::flex())
    }

    fn close<const D: usize>(a: Tensor<D>, b: Tensor<D>) {
        let difference: f32 = (a - b).abs().max().into_scalar();
        assert!(difference < 2e-5, "largest difference {difference}");
    }

    #[test]
    fn cache_on_equals_cache_off() {
        let (model, x) = (model(true), embeds(2, 9));
        let whole = model.hidden(x.clone(), &[], None, None);
        let mut cache = KvCache::default();
        let mut parts = vec![model.hidden(x.clone().narrow(1, 0, 5), &[], None, Some(&mut cache))];
        for i in 5..9 {
            parts.push(model.hidden(x.clone().narrow(1, i, 1), &[], None, Some(&mut cache)));
        }
        close(whole, Tensor::cat(parts, 1));
        assert_eq!(cache.len(), 9);
    }

    #[test]
    fn a_padded_row_equals_the_row_alone() {
        let model = model(false);
        let (long, short) = (embeds(1, 8), embeds(1, 5));
        let padded = Tensor::cat(vec![Tensor::zeros([1, 3, 32], &Device::flex()), short.clone()], 1);
        let batch = Tensor::cat(vec![long.clone(), padded], 0);
        let mut cache = KvCache::default();
        let both = model.hidden(batch.narrow(1, 0, 7), &[0, 3], None, Some(&mut cache));
        let next = Tensor::cat(vec![long.clone().narrow(1, 7, 1), short.clone().narrow(1, 4, 1)], 0);
        let last = model.hidden(next, &[], None, Some(&mut cache));
        let alone = model.hidden(short, &[], None, None);
        close(both.narrow(0, 1, 1).narrow(1, 3, 4), alone.clone().narrow(1, 0, 4));
        close(last.clone().narrow(0, 1, 1), alone.narrow(1, 4, 1));
        close(last.narrow(0, 0, 1), model.hidden(long, &[], None, None).narrow(1, 7, 1));
    }

    #[test]
    fn rows_take_the_values_of_others() {
        let model = model(true);
        let row = |m: &Decoder, i| m.embed(Tensor::<2, Int>::from_data([[i]], &Device::flex()));
        let source = row(&model, 7);
        close(row(&model.with_rows_of(&[(60, 7)]), 60), source);
    }

    #[test]
    fn parameter_count_matches_the_config() {
        assert_eq!(model(true).num_params(), tiny(true).num_params());
        assert_eq!(model(false).num_params(), tiny(false).num_params());
    }
}
