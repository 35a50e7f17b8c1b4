//! A finished run, ready to be measured.

use std::cell::OnceCell;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use nextmem_model::{Latents, Memory, MemoryMethod, NextMem, check_lengths};
use serde_json::{Value, json};

use super::record::Record;
use crate::experiment::StageName;
use crate::parts::{Parts, assemble};
use crate::plan::Plan;
use crate::run;

/// Tokens of text per latent in the paper.
const PAPER_BLOCK_TOKENS: usize = 16;

/// A run with weights. They are read when something has to be computed, not before.
pub struct Subject {
    /// What it resolved to.
    pub plan: Plan,
    parts: Parts,
    device: Device,
    loaded: OnceCell<NextMem>,
    memories: OnceCell<Vec<Memory>>,
}

impl Subject {
    /// Puts a finished run on a device.
    pub fn new(plan: Plan, parts: Parts, device: Device) -> Self {
        Self { plan, parts, device, loaded: OnceCell::new(), memories: OnceCell::new() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.plan.experiment.name
    }

    /// Latents per passage.
    pub fn num_latents(&self) -> usize {
        self.plan.experiment.method.nextmem.num_latents
    }

    /// Passages encoded or decoded at once.
    pub fn batch(&self) -> usize {
        self.plan.experiment.eval.batch_size
    }

    /// All that its numbers depend on beside the passages.
    pub fn identity(&self) -> Value {
        let mut parts = self.plan.sample_identity()["parts"].take();
        if let Some(parts) = parts.as_object_mut() {
            // An analysis has passages of its own and no rows beside NextMem's.
            for other in ["tasks", "baselines", "quant"] {
                parts.remove(other);
            }
        }
        json!({"name": self.plan.experiment.name, "parts": parts, "batch": self.batch()})
    }

    /// How reports call it.
    pub fn describe(&self) -> Value {
        json!({"name": self.name(), "backbone": self.plan.backbone_label(), "num_latents": self.num_latents()})
    }

    /// The trained model.
    pub fn nextmem(&self) -> Result<&NextMem> {
        if let Some(loaded) = self.loaded.get() {
            return Ok(loaded);
        }
        let (autoencoder, tokenizer) = assemble(&self.parts, &self.device).with_context(|| format!("weights of {}", self.name()))?;
        let nextmem = NextMem::new(autoencoder, tokenizer, run::options(&self.plan.experiment));
        Ok(self.loaded.get_or_init(|| nextmem))
    }

    /// The dense memories of the analysis' passages, encoded once for all analyses.
    pub fn memories(&self, passages: &[String]) -> Result<&[Memory]> {
        if let Some(memories) = self.memories.get() {
            return Ok(memories);
        }
        let memories = encode(self.nextmem()?, passages, self.batch())?;
        Ok(self.memories.get_or_init(|| memories))
    }

    /// Latents of rows of tokens, row-major `[latents, hidden]` each.
    pub fn encode_ids(&self, rows: &[Vec<u32>], record: &Record) -> Result<Vec<Vec<f32>>> {
        let nextmem = self.nextmem()?;
        check_lengths(rows, nextmem.options().max_input_tokens)?;
        let mut all = Vec::with_capacity(rows.len());
        for chunk in rows.chunks(self.batch()) {
            let latents = nextmem.autoencoder().encode(chunk, self.num_latents());
            let [_, num_latents, hidden] = latents.dims();
            let values: Vec<f32> = latents.into_data().iter::<f32>().collect();
            all.extend(values.chunks(num_latents * hidden).map(<[f32]>::to_vec));
            record.advance(chunk.len());
        }
        Ok(all)
    }

    /// The ids of texts.
    pub fn tokens(&self, texts: &[String]) -> Result<Vec<Vec<u32>>> {
        let tokenizer = self.nextmem()?.tokenizer();
        texts.iter().map(|text| Ok(tokenizer.encode(text)?)).collect()
    }

    /// Tokens of text that one latent was trained to replace, and at how many levels: (`block_tokens`, `levels`).
    ///
    /// Weights that were trained elsewhere are taken for the paper's: blocks of 16 tokens, one level per latent.
    pub fn trained_blocks(&self) -> Option<(usize, usize)> {
        let e = &self.plan.experiment;
        match &e.train.substitution {
            Some(stage) if self.plan.stages.iter().any(|(name, _)| *name == StageName::Substitution) => {
                Some((stage.block_tokens, stage.levels))
            }
            _ => e.weights.as_ref()?.stage2.as_ref().map(|_| (PAPER_BLOCK_TOKENS, self.num_latents())),
        }
    }
}

/// Encodes texts batch by batch.
pub fn encode(method: &dyn MemoryMethod, texts: &[String], batch: usize) -> Result<Vec<Memory>> {
    let mut memories = Vec::with_capacity(texts.len());
    for chunk in texts.chunks(batch) {
        memories.extend(method.encode(&chunk.iter().map(String::as_str).collect::<Vec<_>>())?);
    }
    Ok(memories)
}

/// The latents of a dense memory.
pub fn latents(memory: &Memory) -> Result<&Latents> {
    match memory {
        Memory::Latents(latents) => Ok(latents),
        Memory::Nf4(_) | Memory::Text(_) | Memory::Adapter(_) => {
            bail!("got a memory that is not dense; this analysis changes dense latents")
        }
    }
}
