//! One device's side of the portability test, in a process of its own: a driver that crashes takes only this with it.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use anyhow::{Context, Result};
use burn::module::{ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use burn::train::LearnerModel;
use nextmem_model::{Autoencoder, Decoding, Encoder, token_tensor};
use nextmem_quant::{Nf4Latents, Scales};
use nextmem_training::{
    Batch, LatentOptions, Objective, OptimConfig, Stepper, SubstitutionModel, TokenModel, Trainable, reconstruction_row, substitution_row,
};
use serde::{Deserialize, Serialize};

use super::operations::{OPERATIONS, Sizes};
use super::probe::{Line, Probe, emit, floats, values};
use crate::children;
use crate::device;
use crate::experiment::DeviceConfig;
use crate::panics;
use crate::parts::{Parts, autoencoder};

/// What every device computes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// The weights.
    pub parts: Parts,
    /// The passages as tokens.
    pub rows: Vec<Vec<u32>>,
    /// Id of `[SoD]`.
    pub sod: u32,
    /// Id of `[EoT]`.
    pub eot: u32,
    /// Latents per passage.
    pub latents: usize,
    /// Tokens per block of stage 2.
    pub block: usize,
    /// Rank of LoRA in the operation table.
    pub rank: usize,
    /// The optimizer of the training steps.
    pub optim: OptimConfig,
    /// Training steps.
    pub steps: usize,
    /// Tokens to decode.
    pub new_tokens: usize,
    /// Only rows with one of these in their name; empty: all.
    pub only: Vec<String>,
}

impl Job {
    /// Whether a row is to be computed.
    pub fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| row.contains(part.as_str()))
    }
}

/// The rows of the model.
pub const MODEL: [&str; 7] = [
    "hidden states and logits",
    LATENTS,
    GREEDY,
    "stage 1 loss and gradients",
    "stage 2 loss and gradients",
    "stage 1 training steps",
    "stage 2 training steps",
];

/// The row of top-two margins, which is not compared but explains differing ids.
pub const MARGINS: &str = "margins of the greedy ids";
/// The row of NF4 codes.
pub const CODES: &str = "NF4 codes";
/// The row they are computed from.
pub const LATENTS: &str = "latents";
/// The row of decoded ids.
pub const GREEDY: &str = "greedy ids";
/// What is behind the names of the rows above, with a number, for the second text of a batch and so on.
pub const OF_BATCH: &str = ", text ";

/// Computes everything on one device and writes it to stdout.
pub fn work(job: &Path, config: &DeviceConfig) -> Result<()> {
    children::working(job, || compute(job, config))
}

fn compute(job: &Path, config: &DeviceConfig) -> Result<()> {
    let job: Job = serde_json::from_slice(&std::fs::read(job).with_context(|| job.display().to_string())?)?;
    let device = device::open(config, 0)?;
    emit(&Line::Device { name: device::name(&device), tf32: device::multiplies_in_tf32(&device) })?;
    let model = autoencoder(&job.parts, job.sod, &device)?;
    let sizes = Sizes::of(model.decoder.config(), job.rank);
    for operation in OPERATIONS.iter().filter(|op| job.wants(op.name)) {
        row(operation.name, || {
            let mut probe = Probe::new(operation.name, &device);
            (operation.run)(&mut probe, &sizes);
            probe.lines
        })?;
    }
    let model = Model { job: &job, model, device };
    let compute: [&dyn Fn() -> Vec<Line>; MODEL.len()] = [
        &|| model.forward(),
        &|| model.encode(),
        &|| model.decode(),
        &|| model.gradients(&model.stage1(), 0, "stage 1"),
        &|| model.gradients(&model.stage2(), job.latents, "stage 2"),
        &|| model.train(model.stage1(), 0, "stage 1"),
        &|| model.train(model.stage2(), job.latents, "stage 2"),
    ];
    MODEL.iter().zip(compute).filter(|(name, _)| job.wants(name)).try_for_each(|(name, compute)| row(name, compute))
}

/// Announces a row, computes it, and writes its lines or what went wrong.
fn row(name: &str, compute: impl FnOnce() -> Vec<Line>) -> Result<()> {
    emit(&Line::Start(name.into()))?;
    match panics::quietly(AssertUnwindSafe(compute)) {
        Ok(lines) => lines.iter().try_for_each(emit),
        Err(reason) => emit(&Line::Failed { row: name.into(), reason }),
    }
}

struct Model<'a> {
    job: &'a Job,
    model: Autoencoder,
    device: Device,
}

impl Model<'_> {
    fn forward(&self) -> Vec<Line> {
        let decoder = &self.model.decoder;
        // All passages, cut to one length: faults of kernels may show in batches only.
        let shortest = self.job.rows.iter().map(Vec::len).min().unwrap_or(0);
        let rows: Vec<Vec<u32>> = self.job.rows.iter().map(|row| row[..shortest].to_vec()).collect();
        let (tokens, _) = token_tensor(&rows, self.job.sod, &self.device);
        let states = decoder.hidden_states(self.model.embed(tokens));
        let (first, last) = (&states[1], &states[states.len() - 1]);
        let seq = last.dims()[1];
        let logits = decoder.logits(last.clone().narrow(1, seq - 1, 1));
        let line = |name: &str, tensor: Tensor<3>| floats(name, &tensor.dims(), values(tensor));
        vec![line("hidden states after one layer", first.clone()), line("last hidden states", last.clone()), line("logits", logits)]
    }

    fn encode(&self) -> Vec<Line> {
        let latents = self.latents();
        let [rows, count, hidden] = latents.dims();
        let index = latents.clone().mean_dim(1);
        let all = values(latents);
        let mut codes = Vec::new();
        for memory in all.chunks(count * hidden) {
            let memory: Vec<f32> = memory.iter().map(|v| *v as f32).collect();
            // A row that is no number has no codes; its latents fail anyway.
            if let Ok(nf4) = Nf4Latents::quantize(&memory, count, hidden, Scales::Absmax) {
                codes.extend(nf4.codes().iter().map(|c| i64::from(*c)));
            }
        }
        vec![
            floats(LATENTS, &[rows, count, hidden], all),
            floats("retrieval index", &[rows, hidden], values(index)),
            Line::Ids { row: CODES.into(), values: codes },
        ]
    }

    fn latents(&self) -> Tensor<3> {
        self.model.encode(&self.job.rows, self.job.latents)
    }

    /// All texts in one batch; how clearly each id won comes from one pass over the text that was decoded.
    fn decode(&self) -> Vec<Line> {
        let latents = self.latents();
        let texts = self.model.decode(latents.clone(), true, self.job.new_tokens, &[], &Decoding::Greedy);
        let mut lines = Vec::new();
        for (i, ids) in texts.iter().enumerate() {
            let text: Vec<u32> = std::iter::once(self.job.sod).chain(ids.iter().copied().take(ids.len() - 1)).collect();
            let input = Tensor::cat(vec![latents.clone().narrow(0, i, 1), self.model.embed_ids(&text)], 1);
            let seq = input.dims()[1];
            let hidden = self.model.decoder.hidden(input, &[], None, None).narrow(1, seq - ids.len(), ids.len());
            let logits = self.model.decoder.logits(hidden);
            let vocab = logits.dims()[2];
            let margins = values(logits).chunks(vocab).map(margin).collect();
            let which = if i == 0 { String::new() } else { format!("{OF_BATCH}{}", i + 1) };
            lines.push(floats(format!("{MARGINS}{which}"), &[ids.len()], margins));
            lines.push(Line::Ids { row: format!("{GREEDY}{which}"), values: ids.iter().map(|id| i64::from(*id)).collect() });
        }
        lines
    }

    /// Stage 1 with all parameters.
    fn stage1(&self) -> TokenModel {
        let trainable = Trainable { full: Some(self.model.decoder.clone()), adapter: None, special: None };
        TokenModel::new(trainable, None, self.job.sod)
    }

    /// Stage 2 with what encodes here: an adapter, or all parameters.
    fn stage2(&self) -> SubstitutionModel {
        let trainable = match &self.model.encoder {
            Encoder::Adapter(adapter) => Trainable { full: None, adapter: Some(adapter.clone()), special: None },
            Encoder::Full(full) => Trainable { full: Some((**full).clone()), adapter: None, special: None },
            Encoder::Bare => Trainable { full: Some(self.model.decoder.clone()), adapter: None, special: None },
        };
        let Autoencoder { decoder, special, .. } = self.model.clone();
        SubstitutionModel::new(trainable, decoder, special, self.job.sod, LatentOptions::default())
    }

    fn batch(&self, level: usize) -> Batch {
        let Job { sod, eot, block, .. } = *self.job;
        let row = |x: &Vec<u32>| match level {
            0 => reconstruction_row(x, sod, eot, false),
            _ => substitution_row(x, level, block, sod, eot),
        };
        Batch::new(level, self.job.rows.iter().map(row).collect())
    }

    fn gradients<M: Objective + LearnerModel>(&self, model: &M, level: usize, stage: &str) -> Vec<Line> {
        let model = model.clone().train();
        let loss = model.loss(&self.batch(level));
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        let mut by_name = ByName { grads: &grads, path: Vec::new(), values: BTreeMap::new() };
        model.visit(&mut by_name);
        let mut lines = vec![floats(format!("{stage} loss"), &[1], values(loss.inner()))];
        for (name, (tensors, values)) in by_name.values {
            lines.push(floats(format!("{stage} gradient of {name}"), &[tensors, values.len() / tensors], values));
        }
        lines
    }

    fn train<M>(&self, model: M, level: usize, stage: &str) -> Vec<Line>
    where
        M: LearnerModel + burn::train::TrainStep<Input = Batch, Output = nextmem_training::StepLoss>,
    {
        let steps = self.job.steps;
        let mut stepper = Stepper::new(model, &self.job.optim, steps, 1);
        let losses = (0..steps).map(|_| stepper.step(self.batch(level)).map_or(f64::NAN, f64::from)).collect();
        vec![floats(format!("{stage} losses of {steps} training steps"), &[steps], losses)]
    }
}

/// Best minus second best, relative to the largest absolute value.
fn margin(logits: &[f64]) -> f64 {
    let mut best = [f64::NEG_INFINITY; 2];
    let mut largest = 0.0f64;
    for v in logits {
        largest = largest.max(v.abs());
        if *v > best[0] {
            best = [*v, best[0]];
        } else if *v > best[1] {
            best[1] = *v;
        }
    }
    (best[0] - best[1]) / largest.max(1e-30)
}

/// Gradients of all layers under the name of their parameter, with the number of tensors.
struct ByName<'a> {
    grads: &'a GradientsParams,
    path: Vec<String>,
    values: BTreeMap<String, (usize, Vec<f64>)>,
}

impl ModuleVisitor for ByName<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }
    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.get::<D>(param.id) else { return };
        let names: Vec<&str> = self.path.iter().map(String::as_str).filter(|n| n.parse::<usize>().is_err()).collect();
        let name = match names[..] {
            [.., target, factor @ ("lora_a" | "lora_b")] => format!("{target}.{factor}"),
            [.., last] => last.to_string(),
            [] => String::new(),
        };
        let entry = self.values.entry(name).or_default();
        entry.0 += 1;
        entry.1.extend(values(grad));
    }
}

/// Ids that a worker may be given where there is no tokenizer.
pub fn synthetic_rows(vocab: usize) -> Vec<Vec<u32>> {
    // Two lengths, ids spread over the vocabulary but for its last two, which are special.
    [23usize, 31].map(|len| (0..len).map(|i| ((i * 7919 + len * 31) % (vocab - 2)) as u32).collect()).to_vec()
}
