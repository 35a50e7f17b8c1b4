//! Our side of the benchmark, in a process of its own so that its memory is its own.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor, TensorData};
use nextmem_model::{Autoencoder, Decoding, Encoder, LatentLayout, load_adapter, load_decoder};
use nextmem_training::{Batch, LatentOptions, OptimConfig, Stepper, SubstitutionModel, Trainable, substitution_row};
use serde_json::{Value, json};

use super::workload::{Item, Workload};
use crate::children;
use crate::device;
use crate::experiment::DeviceConfig;
use crate::run_dir::peak_memory_bytes;

/// Times every item and writes the answer in the peer's format.
pub fn work(workload: &Path, out: &Path) -> Result<()> {
    children::working(workload, || measure(workload, out))
}

fn measure(workload: &Path, out: &Path) -> Result<()> {
    let work: Workload = serde_json::from_slice(&std::fs::read(workload).with_context(|| workload.display().to_string())?)?;
    let config = DeviceConfig { backend: work.backend.clone(), dtype: work.dtype.clone(), ..DeviceConfig::default() };
    let device = device::open(&config, 0)?;
    let before = peak_memory_bytes().unwrap_or(0);
    let started = Instant::now();
    let decoder = load_decoder(&work.model, &device)?;
    device.sync().map_err(|e| anyhow::anyhow!("{e:?}"))?;
    let seconds = started.elapsed().as_secs_f64();
    let peak = peak_memory_bytes().map(|peak| peak.saturating_sub(before));
    let load = json!({"seconds": [seconds], "peak_bytes": peak, "weights_bytes": decoder.config().num_params() * if work.dtype == "f32" { 4 } else { 2 }});
    let adapter = load_adapter(&work.adapter, decoder.config(), &device)?;
    let model = Autoencoder { decoder, encoder: Encoder::Adapter(adapter), special: None, sod: work.sod, layout: LatentLayout::default() };
    let bench = Bench { work: &work, model, device };
    let mut results = Vec::new();
    for item in &work.items {
        reset_peak();
        eprintln!("ours: {}", item.name());
        let mut result = match item {
            Item::Load { .. } => load.clone(),
            Item::Encode { rows, .. } => bench.encode(rows)?,
            Item::Decode { rows, new_tokens, latents_file, .. } => bench.decode(*rows, *new_tokens, latents_file)?,
            Item::Stage2 { level, rows, .. } => bench.stage2(*level, rows)?,
        };
        result["name"] = json!(item.name());
        result["algorithm"] = json!("nextmem");
        if result.get("peak_bytes").is_none() {
            result["peak_bytes"] = json!(device::memory_bytes(&bench.device).or_else(peak_memory_bytes));
        }
        results.push(result);
    }
    let all = json!({"device": device::name(&bench.device), "items": results});
    std::fs::write(out, serde_json::to_vec(&all)?).with_context(|| out.display().to_string())
}

/// Forgets the highest memory so far, where the system can (Linux).
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

struct Bench<'a> {
    work: &'a Workload,
    model: Autoencoder,
    device: Device,
}

impl Bench<'_> {
    /// Seconds of every repeat, and the last result.
    fn time<T>(&self, mut run: impl FnMut() -> Result<T>) -> Result<(Vec<f64>, T)> {
        let mut last = None;
        for _ in 0..self.work.warmup {
            last = Some(run()?);
        }
        let mut seconds = Vec::new();
        for _ in 0..self.work.repeats.max(1) {
            let started = Instant::now();
            last = Some(run()?);
            self.device.sync().map_err(|e| anyhow::anyhow!("{e:?}"))?;
            seconds.push(started.elapsed().as_secs_f64());
        }
        Ok((seconds, last.context("at least one repeat")?))
    }

    fn encode(&self, rows: &[Vec<u32>]) -> Result<Value> {
        let (seconds, latents) = self.time(|| {
            let latents = self.model.encode(rows, self.work.latents);
            Ok(latents.into_data())
        })?;
        let values: Vec<f32> = latents.iter::<f32>().collect();
        let hidden = self.model.hidden_size();
        let first: Vec<&[f32]> = values[..self.work.latents * hidden].chunks(hidden).map(|l| &l[..hidden.min(8)]).collect();
        let norm = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        Ok(json!({"seconds": seconds, "check": {"latents": first, "norm": norm}}))
    }

    fn decode(&self, rows: usize, new_tokens: usize, file: &Path) -> Result<Value> {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let shape = [rows, self.work.latents, self.model.hidden_size()];
        let latents = Tensor::<3>::from_data(TensorData::new(values, shape), &self.device);
        let (seconds, ids) = self.time(|| Ok(self.model.decode(latents.clone(), true, new_tokens, &[], &Decoding::Greedy)))?;
        Ok(json!({"seconds": seconds, "check": {"ids": ids}}))
    }

    fn stage2(&self, level: usize, rows: &[Vec<u32>]) -> Result<Value> {
        let Encoder::Adapter(adapter) = &self.model.encoder else { anyhow::bail!("stage 2 needs an adapter") };
        let trainable = Trainable { full: None, adapter: Some(adapter.clone()), special: None };
        let model = SubstitutionModel::new(trainable, self.model.decoder.clone(), None, self.work.sod, LatentOptions::default());
        // The peer's optimizer: AdamW with a constant rate.
        let optim = OptimConfig { learning_rate: 1e-4, min_lr_ratio: 1.0, clip_norm: 0.0, ..OptimConfig::example() };
        // On the CPU as in our experiments: a thread for every part of the batch.
        let shards = if self.work.backend == "flex" { self.work.threads.min(rows.len()) } else { 1 };
        let mut stepper = Stepper::new(model, &optim, usize::MAX, shards);
        let rows = rows.iter().map(|x| substitution_row(x, level, self.work.block, self.work.sod, self.work.eot)).collect();
        let batch = Batch::new(level, rows);
        let mut first = None;
        let (seconds, _) = self.time(|| {
            let loss = stepper.step(batch.clone())?;
            first.get_or_insert(loss);
            Ok(())
        })?;
        Ok(json!({"seconds": seconds, "check": {"loss": first}}))
    }
}
