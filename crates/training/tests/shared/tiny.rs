//! Tiny random models, fixed rows and a stage around them, shared by the tests of training.
#![allow(dead_code)] // no test file uses all of it

use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Tensor};
use nextmem_model::{Decoder, DecoderConfig, LoraAdapter};
use nextmem_training::{
    Level, Levels, LoopConfig, Observer, OptimConfig, Rates, Row, RowSource, Stage, SubstitutionConfig, TrainError, Trainable,
    reconstruction_row, substitution_row,
};
use serde_json::Value;

pub const SOD: u32 = 59;
pub const EOT: u32 = 60;

/// Two layers, grouped heads, and a head width that is not hidden / heads.
pub fn config() -> DecoderConfig {
    DecoderConfig {
        vocab_size: 61,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 12,
        rms_norm_eps: 1e-6,
        rope_theta: 1e4,
        tie_word_embeddings: true,
        max_position_embeddings: 128,
    }
}

/// Draws from the CPU backend's only generator while no other test does.
pub fn seeded<T>(seed: u64, draw: impl FnOnce(&Device) -> T) -> T {
    static DRAWING: Mutex<()> = Mutex::new(());
    let _alone = DRAWING.lock().unwrap_or_else(|e| e.into_inner());
    let device = Device::flex();
    device.seed(seed);
    draw(&device)
}

pub fn decoder(seed: u64) -> Decoder {
    seeded(seed, |device| Decoder::random(config(), 0.2, seed, device))
}

/// An adapter of rank 3 with both factors random: a fresh B is zero and would hide half of the gradients.
pub fn adapter(seed: u64) -> LoraAdapter {
    struct Fill;
    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|t| t.random_like(Distribution::Normal(0.0, 0.1)))
        }
    }
    seeded(seed, |device| LoraAdapter::random(&config(), 3, 6.0, seed, device).map(&mut Fill))
}

/// `special_input_embeddings` that change what `[SoD]` reads as.
pub fn special(seed: u64) -> Tensor<2> {
    seeded(seed, |device| Tensor::random([3, 32], Distribution::Normal(0.0, 0.2), device))
}

pub fn full(decoder: Decoder) -> Trainable {
    Trainable { full: Some(decoder), adapter: None, special: None }
}

pub fn lora(adapter: LoraAdapter, special: Option<Tensor<2>>) -> Trainable {
    Trainable { full: None, adapter: Some(adapter), special: special.map(Param::from_tensor) }
}

/// Fixed texts again and again, for stage 1 (no levels) or stage 2.
#[derive(Clone)]
pub struct FixedRows {
    pub texts: Vec<Vec<u32>>,
    pub levels: Option<(SubstitutionConfig, Arc<Levels>)>,
    /// From this place on, the rows cannot be read.
    pub broken_from: Option<u64>,
}

impl FixedRows {
    pub fn new(texts: Vec<Vec<u32>>, levels: Option<SubstitutionConfig>) -> Self {
        Self { texts, levels: levels.map(|config| (config.clone(), Arc::new(Levels::new(&config, 0)))), broken_from: None }
    }
}

impl RowSource for FixedRows {
    fn level(&self, step: usize) -> Level {
        self.levels.as_ref().map_or(Level::PLAIN, |(_, levels)| levels.level(step))
    }
    fn row(&self, place: u64, level: Level) -> Result<Row, TrainError> {
        if self.broken_from.is_some_and(|from| place >= from) {
            return Err(TrainError::Data(format!("row {place} is broken on purpose")));
        }
        let x = &self.texts[(place % self.texts.len() as u64) as usize];
        Ok(match &self.levels {
            None => reconstruction_row(x, SOD, EOT, false),
            Some((config, _)) => substitution_row(x, level.latents, config.block_tokens, SOD, EOT),
        })
    }
    fn observe(&self, latents: usize, loss: f32) {
        self.levels.iter().for_each(|(_, levels)| levels.observe(latents, loss));
    }
    fn state(&self) -> serde_json::Value {
        self.levels.as_ref().map(|(_, levels)| levels.state()).unwrap_or_default()
    }
    fn restore(&self, state: &serde_json::Value) {
        self.levels.iter().for_each(|(_, levels)| levels.restore(state));
    }
}

struct Quiet;

impl Observer for Quiet {
    fn start(&self, _stage: &str, _done: usize, _total: usize) {}
    fn step(&self, _step: usize, _message: &str) {}
    fn end(&self, _message: &str) {}
}

pub fn optim(learning_rate: f64, batch_size: usize) -> OptimConfig {
    OptimConfig { learning_rate, batch_size, ..OptimConfig::example() }
}

pub fn substitution(levels: usize, block_tokens: usize, steps_per_level: usize, steps_last_level: usize) -> SubstitutionConfig {
    SubstitutionConfig::plain(levels, block_tokens, steps_per_level, steps_last_level, optim(1e-3, 1))
}

/// A stage that logs and saves every `every` steps.
pub fn stage<M>(dir: &Path, steps: usize, every: usize, optim: OptimConfig, rows: FixedRows) -> Stage<M> {
    let run = LoopConfig { log_every: every, checkpoint_every: every, ..LoopConfig::default() };
    let (name, dir) = ("test", dir.to_owned());
    Stage {
        name,
        dir,
        steps,
        optim,
        rates: Rates::default(),
        run,
        rows: Arc::new(rows),
        last_level: 0,
        validate: None,
        observer: Arc::new(Quiet),
    }
}

/// Every trained value, in the order of the module.
pub fn values<M: Module>(model: &M) -> Vec<f32> {
    struct Collect(Vec<f32>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut collect = Collect(Vec::new());
    model.visit(&mut collect);
    collect.0
}

/// The lines of metrics.jsonl without the time they took.
pub fn metrics(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("metrics.jsonl")).unwrap_or_default();
    let line = |line: &str| {
        let mut value: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{line:?}: {e}"));
        value.as_object_mut().map(|fields| fields.remove("seconds"));
        value
    };
    text.lines().map(line).collect()
}
