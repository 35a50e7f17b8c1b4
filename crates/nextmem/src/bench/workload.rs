//! What a benchmark runs: one description for our program and for its PyTorch peer (scripts/peer/bench.py).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use burn::tensor::{Device, Distribution};
use nextmem_model::{DecoderConfig, LoraAdapter, PeftConfig, save_adapter, write_random_checkpoint};
use serde::{Deserialize, Serialize};

use crate::cli::BadInput;

/// The paper's adapter.
const ADAPTER: PeftConfig = PeftConfig { r: 16, lora_alpha: 32.0 };

/// Everything both sides need.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Workload {
    /// A Hugging Face directory.
    pub model: PathBuf,
    /// A PEFT directory: the encoder of stage 2.
    pub adapter: PathBuf,
    /// `cpu` or `cuda`, for the peer.
    pub device: String,
    /// Our backend.
    pub backend: String,
    /// `f32` or `bf16`.
    pub dtype: String,
    /// Threads of the CPU.
    pub threads: usize,
    /// Latents per passage.
    pub latents: usize,
    /// Tokens per block of stage 2.
    pub block: usize,
    /// Id of `[SoD]`.
    pub sod: u32,
    /// Id of `[EoT]`.
    pub eot: u32,
    /// Untimed runs before.
    pub warmup: usize,
    /// Timed runs.
    pub repeats: usize,
    /// What to time.
    pub items: Vec<Item>,
}

/// One thing to time.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Item {
    /// Reading the checkpoint.
    Load { name: String },
    /// Rows of tokens into latents.
    Encode { name: String, rows: Vec<Vec<u32>> },
    /// Latents into exactly so many tokens.
    Decode { name: String, rows: usize, new_tokens: usize, latents_file: PathBuf },
    /// A training step of stage 2.
    Stage2 { name: String, level: usize, rows: Vec<Vec<u32>> },
}

impl Item {
    /// Its name in tables.
    pub fn name(&self) -> &str {
        match self {
            Self::Load { name } | Self::Encode { name, .. } | Self::Decode { name, .. } | Self::Stage2 { name, .. } => name,
        }
    }
}

/// The sizes of a Qwen3 by the end of its name.
pub fn size(name: &str) -> Result<DecoderConfig> {
    let unknown = || BadInput(format!("--size: got {name:?}, expected 0.6b, 1.7b, 4b, 8b, 14b or 32b; or name a checkpoint with --model"));
    Ok(DecoderConfig::published(&format!("Qwen/Qwen3-{name}")).ok_or_else(unknown)?)
}

/// How large the items are.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Rows of the batched items.
    pub batch: usize,
    /// Tokens of the longest passage.
    pub tokens: usize,
    /// Tokens to decode.
    pub new_tokens: usize,
    /// Latents per passage.
    pub latents: usize,
}

/// The items: one passage, a batch of mixed lengths, decoding alone and in a batch, a training step at the top level.
pub fn items(extent: Extent, hidden: usize, vocab: usize, dir: &Path) -> Result<Vec<Item>> {
    let Extent { batch, tokens, new_tokens, latents } = extent;
    let row = |len: usize, seed: usize| -> Vec<u32> { (0..len).map(|i| ((i * 7919 + seed * 104_729 + 13) % (vocab - 2)) as u32).collect() };
    let mixed: Vec<Vec<u32>> = (0..batch).map(|i| row(tokens - i * tokens * 3 / 4 / batch.max(1), i)).collect();
    let mut items = vec![
        Item::Load { name: "load".into() },
        Item::Encode { name: format!("encode 1 x {tokens} tokens"), rows: vec![row(tokens, 0)] },
        Item::Encode {
            name: format!("encode {batch} of mixed lengths, {} tokens", mixed.iter().map(Vec::len).sum::<usize>()),
            rows: mixed.clone(),
        },
    ];
    for rows in [1, batch] {
        let file = dir.join(format!("latents-{rows}.f32"));
        // As large as a final norm of gain 1 leaves them.
        let values = (0..rows * latents * hidden).flat_map(|i| (((i * 2_654_435_761) % 2001) as f32 / 1000.0 - 1.0).to_le_bytes());
        std::fs::write(&file, values.collect::<Vec<u8>>()).with_context(|| file.display().to_string())?;
        items.push(Item::Decode { name: format!("decode {rows} x {new_tokens} tokens"), rows, new_tokens, latents_file: file });
    }
    items.push(Item::Stage2 { name: format!("stage 2 step, level {latents}, {batch} rows"), level: latents, rows: mixed });
    Ok(items)
}

/// Random weights of a size in `dir`, unless they are there.
pub fn checkpoint(config: &DecoderConfig, dtype: &str, dir: &Path, device: &Device) -> Result<()> {
    if dir.join("config.json").exists() {
        return Ok(());
    }
    eprintln!("writing random weights to {}", dir.display());
    Ok(write_random_checkpoint(config, dtype != "f32", 1128, dir, device)?)
}

/// A stage-2 adapter in `dir` that is not zero.
pub fn adapter(config: &DecoderConfig, dir: &Path, device: &Device) -> Result<()> {
    struct Disturb;
    impl ModuleMapper for Disturb {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|t| t.random_like(Distribution::Normal(0.0, 0.02)))
        }
    }
    device.seed(1128);
    let adapter = LoraAdapter::random(config, ADAPTER.r, ADAPTER.lora_alpha, 1128, device).map(&mut Disturb);
    Ok(save_adapter(&adapter, &ADAPTER, dir)?)
}
