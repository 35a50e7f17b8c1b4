//! What a plan takes, from sizes alone: tokens, floating point operations, memory, bytes to download.

use nextmem_model::DecoderConfig;
use nextmem_training::{Level, Levels, LoraConfig, OptimConfig, SubstitutionConfig};

use crate::experiment::StageName;
use crate::plan::Plan;

/// What one stage takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Positions that go through the model, forward.
    pub tokens: f64,
    /// Floating point operations of the products with weights: 2 per weight and position forward, 2 for the gradient of
    /// the input, 2 for the gradient of the weights where they are trained.
    pub flops: f64,
    /// Weights, gradients, AdamW's moments and what the backward pass keeps, in bytes.
    pub memory: f64,
}

/// Sizes that every estimate needs.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    /// Weights of the layers and of the output projection: those that a position is multiplied with.
    products: f64,
    /// All parameters.
    params: f64,
    /// Bytes of one number.
    width: f64,
    /// Bytes that the backward pass keeps per position, attention scores apart.
    kept: f64,
    /// Bytes of attention scores per pair of positions.
    scores: f64,
}

impl Sizes {
    fn of(config: &DecoderConfig, dtype: &str) -> Self {
        let table = (config.vocab_size * config.hidden_size) as f64;
        let params = config.num_params() as f64;
        let width = if dtype == "f32" { 4.0 } else { 2.0 };
        let layers = config.num_hidden_layers as f64;
        // Norms, q, k, v, attention output and residuals are about ten rows of `hidden`, the SwiGLU four of `intermediate`.
        let kept = layers * (10.0 * config.hidden_size as f64 + 4.0 * config.intermediate_size as f64) * width;
        let scores = layers * config.num_attention_heads as f64 * 2.0 * width;
        let products = if config.tie_word_embeddings { params } else { params - table };
        Self { products, params, width, kept, scores }
    }

    /// Memory of training `trained` parameters beside `copies` of the model, with rows of `seq` positions.
    fn memory(&self, copies: f64, trained: f64, rows: f64, seq: f64) -> f64 {
        copies * self.params * self.width + trained * (self.width + 8.0) + rows * (seq * self.kept + seq * seq * self.scores)
    }
}

/// The passage that every estimate assumes, in tokens: as long as the latents cover, or the paper's 240.
pub fn passage_tokens(plan: &Plan) -> usize {
    plan.experiment.train.substitution.as_ref().map_or(240, |s| s.levels * s.block_tokens)
}

/// The cost of a stage that compresses level by level, with so many passes of the encoder before the one that is learnt from.
fn of_levels(sizes: &Sizes, s: &SubstitutionConfig, seed: u64, text: f64, passes_before: f64) -> Cost {
    // Forward and back to the input with an adapter; the gradient of every weight as well without one.
    let (per, full, copies) = if s.lora.is_some() { (4.0, 0.0, 1.0) } else { (6.0, sizes.params, 2.0) };
    let (mut tokens, mut flops, mut longest) = (0.0, 0.0, 0.0f64);
    // Where a gate may move levels on, as if it never did.
    let levels = Levels::new(&SubstitutionConfig { gate: None, ..s.clone() }, seed);
    for step in 0..s.steps() {
        let Level { latents, window, rows: most, .. } = levels.level(step);
        let (level, text) = (latents as f64, text.min(window as f64));
        let rows = (s.optim.batch_size.min(most) * s.optim.accumulation) as f64;
        // Back to the decoder's weights as well while it is trained along.
        let read = if s.decoder.is_some_and(|decoder| step < decoder.steps) { 6.0 } else { 4.0 };
        let encoder = text + 1.0 + level;
        let rest = (text - level * s.block_tokens as f64).max(0.0);
        let decoder = level + rest + 1.0 + text;
        tokens += rows * ((1.0 + passes_before) * encoder + decoder);
        flops += rows * sizes.products * ((2.0 * passes_before + per) * encoder + read * decoder);
        longest = longest.max(encoder + decoder);
    }
    Cost { tokens, flops, memory: sizes.memory(copies, full, s.optim.batch_size as f64, longest) }
}

/// The cost of a stage of a plan.
pub fn stage(plan: &Plan, name: StageName) -> Option<Cost> {
    let e = &plan.experiment;
    let sizes = Sizes::of(&plan.backbone, &e.device.dtype);
    let text = passage_tokens(plan) as f64;
    let rows = |o: &OptimConfig| (o.batch_size * o.accumulation) as f64;
    // Forward and back to the input with an adapter; the gradient of every weight as well without one.
    let trained = |lora: &Option<LoraConfig>| match lora {
        Some(_) => (4.0, 0.0, 1.0),
        None => (6.0, sizes.params, 1.0),
    };
    match name {
        StageName::Pretrain => e.train.pretrain.as_ref().map(|s| {
            let tokens = s.steps as f64 * rows(&s.optim) * text;
            let memory = sizes.memory(1.0, sizes.params, s.optim.batch_size as f64, text);
            Cost { tokens, flops: 6.0 * sizes.products * tokens, memory }
        }),
        StageName::Reconstruction => e.train.reconstruction.as_ref().map(|s| {
            let seq = 2.0 * text + 2.0;
            let tokens = s.steps as f64 * rows(&s.optim) * seq;
            let (per, full, copies) = trained(&s.lora);
            Cost { tokens, flops: per * sizes.products * tokens, memory: sizes.memory(copies, full, s.optim.batch_size as f64, seq) }
        }),
        StageName::Substitution => e.train.substitution.as_ref().map(|s| {
            // The latents are fed back without gradient first: one more forward pass of the encoder.
            of_levels(&sizes, s, e.train_seed(), text, 1.0)
        }),
        StageName::Reader => e.train.reader.as_ref().map(|s| {
            // Encoder and teacher run forward only; a question is short beside the passage.
            let (per, full, copies) = trained(&s.lora);
            let (latents, total) = (e.method.nextmem.num_latents as f64, s.steps as f64 * rows(&s.optim));
            let (encoder, decoder) = (text + 1.0 + latents, latents + 1.0 + text);
            Cost {
                tokens: total * (encoder + decoder + text),
                flops: total * sizes.products * (2.0 * encoder + per * decoder + 2.0 * text),
                memory: sizes.memory(copies + 2.0, full, s.optim.batch_size as f64, encoder + decoder),
            }
        }),
        StageName::Index => e.train.index.as_ref().map(|s| {
            // Every passage is encoded without gradient, and the query, which is short beside them, with it.
            let (per, full, copies) = trained(&s.lora);
            let (latents, total) = (e.method.nextmem.num_latents as f64, s.steps as f64 * rows(&s.optim));
            let (passages, query) = (s.candidates as f64 * (text + 1.0 + latents), text / 4.0 + 1.0 + latents);
            Cost {
                tokens: total * (passages + query),
                flops: total * sizes.products * (2.0 * passages + (2.0 + per) * query),
                memory: sizes.memory(copies + 1.0, full, s.optim.batch_size as f64, query),
            }
        }),
        StageName::Icae => e.baselines.icae.as_ref().map(|s| {
            // Slots are read in one pass.
            of_levels(&sizes, &s.stage(e.train.substitution.as_ref()), e.train_seed(), text, 0.0)
        }),
        StageName::Dyprag => e.baselines.dyprag.as_ref().map(|s| {
            // The passage is read without gradient; the hypernetwork itself is small beside the backbone.
            let (total, decoder) = (s.steps as f64 * rows(&s.optim), text + 1.0);
            let network = s.hypernetwork.num_params(&plan.backbone) as f64;
            Cost {
                tokens: total * (text + decoder),
                flops: total * sizes.products * (2.0 * text + 4.0 * decoder),
                memory: sizes.memory(1.0, network, s.optim.batch_size as f64, decoder),
            }
        }),
    }
}

/// Operations of encoding and decoding one passage with a KV cache.
pub fn per_memory(plan: &Plan) -> (f64, f64) {
    let sizes = Sizes::of(&plan.backbone, &plan.experiment.device.dtype);
    let (text, latents) = (passage_tokens(plan) as f64, plan.experiment.method.nextmem.num_latents as f64);
    (2.0 * sizes.products * (text + latents), 2.0 * sizes.products * (latents + 1.0 + text))
}

/// Bytes of the published bf16 checkpoint.
pub fn checkpoint_bytes(config: &DecoderConfig) -> f64 {
    2.0 * config.num_params() as f64
}

/// A number with its decimal prefix: 1.6e10 bytes as 16.0 GB.
pub fn scaled(number: f64, unit: &str) -> String {
    let prefixes = ["", "k", "M", "G", "T", "P", "E", "Z"];
    let mut rest = number;
    let mut prefix = 0;
    while rest >= 1000.0 && prefix + 1 < prefixes.len() {
        rest /= 1000.0;
        prefix += 1;
    }
    format!("{rest:.1} {}{unit}", prefixes[prefix])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_numbers() {
        assert_eq!(scaled(16_381_470_720.0, "B"), "16.4 GB");
        assert_eq!(scaled(12.0, "FLOP"), "12.0 FLOP");
        assert_eq!(scaled(2.5e21, "FLOP"), "2.5 ZFLOP");
    }

    #[test]
    fn a_qwen3_8b_takes_what_is_known_of_it() {
        let config = DecoderConfig::published("Qwen/Qwen3-8B").expect("a known size");
        let sizes = Sizes::of(&config, "bf16");
        // 8.19 B parameters, 0.62 B of them in the table that is only looked up.
        assert_eq!((sizes.params / 1e7).round(), 819.0);
        assert_eq!((sizes.products / 1e7).round(), 757.0);
        assert_eq!(sizes.memory(1.0, 0.0, 0.0, 0.0), checkpoint_bytes(&config));
    }

    #[test]
    fn levels_are_counted_with_the_rows_and_windows_that_they_have() {
        let config = "levels = 4\nblock_tokens = 10\nprogress = \"length\"\nlatents_by_level = [1, 4]\nrows_by_level = [8, 2]\n\
                      steps_per_level = 3\nsteps_last_level = 5\n[optim]\nlearning_rate = 1e-3\nbatch_size = 8\n";
        let stage: SubstitutionConfig = toml::from_str(config).expect("a stage 2");
        let sizes = Sizes::of(&DecoderConfig::published("Qwen/Qwen3-8B").expect("a known size"), "bf16");
        let [once, twice] = [0.0, 1.0].map(|before| of_levels(&sizes, &stage, 1, 40.0, before));
        // Text, [SoD] and latents through the encoder; latents, [SoD] and copy through the decoder.
        let (encoder, decoder) = (3.0 * 8.0 * 12.0 + 5.0 * 2.0 * 45.0, 3.0 * 8.0 * 12.0 + 5.0 * 2.0 * 45.0);
        assert_eq!((once.tokens, twice.tokens), (encoder + decoder, 2.0 * encoder + decoder));
        assert_eq!(twice.flops - once.flops, 2.0 * sizes.products * encoder);
        assert_eq!(once.memory, twice.memory);
    }
}
