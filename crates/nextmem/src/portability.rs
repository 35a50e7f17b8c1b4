//! `portability`: the same weights and inputs on every device, compared row by row with f64 on the CPU.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Distribution, Tensor};
use nextmem_data::Split;
use nextmem_model::{Decoder, LoraAdapter, PeftConfig, Tokenizer, save_adapter, save_decoder};
use nextmem_training::OptimConfig;

use crate::children;
use crate::cli::BadInput;
use crate::device;
use crate::experiment::DeviceConfig;
use crate::parts::Parts;
use crate::plan::Plan;
use crate::progress::Bars;
use crate::run_dir::RunDir;

mod compare;
mod operations;
mod probe;
mod report;
mod worker;

use compare::{Outcome, Yardsticks, judge};
use operations::OPERATIONS;
use probe::Line;
use report::Section;
use worker::{Job, MODEL};

pub use worker::work;

/// Longest passage, in tokens: software devices are slow.
const LONGEST: usize = 48;
/// Optimizer steps whose losses are compared.
const STEPS: usize = 10;
/// Tokens decoded.
const NEW_TOKENS: usize = 12;
/// Rank and scale of the adapter that stands in for an untrained encoder.
const STAND_IN: PeftConfig = PeftConfig { r: 4, lora_alpha: 8.0 };

/// A device that was asked for.
#[derive(Clone, Debug)]
struct Target {
    config: DeviceConfig,
    /// Whether operations may be fused into one kernel, as they usually are.
    fused: bool,
    /// Why there is nothing to measure.
    absent: Option<String>,
}

impl Target {
    fn label(&self) -> String {
        let DeviceConfig { backend, index, dtype, .. } = &self.config;
        let index = if *index == 0 { String::new() } else { format!("[{index}]") };
        let fused = if self.fused { "" } else { ", not fused" };
        format!("{backend}{index} {dtype}{fused}")
    }
}

/// Compares the devices and writes `NAME.md` and `NAME.json` into `out`, anew after every device.
pub fn portability(plan: &Plan, devices: &[String], only: &[String], out: &Path) -> Result<()> {
    if let Some(part) = only.iter().find(|part| !rows().any(|row| row.contains(part.as_str()))) {
        bail!(BadInput(format!("--only: no row has {part:?} in its name; rows are {}", rows().collect::<Vec<_>>().join("; "))));
    }
    let targets = targets(devices)?;
    let scratch = children::folder()?;
    let job = Job { only: only.to_vec(), ..job(plan, scratch.path())? };
    let path = scratch.path().join("job.json");
    std::fs::write(&path, serde_json::to_vec(&job)?).with_context(|| path.display().to_string())?;
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;

    let count = rows().filter(|row| job.wants(row)).count();
    let flex = |dtype: &str| {
        let config = DeviceConfig { dtype: dtype.into(), ..DeviceConfig::default() };
        ask(&path, &Target { config, fused: true, absent: None }, count)
    };
    let truth = flex("f64")?;
    if let Some((row, how)) = &truth.crashed {
        bail!("the reference, f64 on the CPU, ended in \"{row}\": {how}");
    }
    if let Some((row, reason)) = truth.failed.first_key_value() {
        bail!("the reference, f64 on the CPU, failed in \"{row}\": {reason}");
    }
    let shape = (job.latents, plan.backbone.hidden_size);
    let mut known: Vec<(String, Outcome)> = Vec::new();
    let mut of_flex = |dtype: &str| -> Result<Outcome> {
        if !known.iter().any(|(d, _)| d == dtype) {
            known.push((dtype.to_string(), flex(dtype)?));
        }
        known.iter().find(|(d, _)| d == dtype).map(|(_, o)| o.clone()).context("flex")
    };
    let mut sections = Vec::new();
    for target in &targets {
        let mut section = Section { target: target.clone(), device: String::new(), tf32: false, seconds: 0.0, rows: Vec::new() };
        if target.absent.is_none() {
            let dtype = &target.config.dtype;
            let flex = of_flex(dtype)?;
            let outcome = match target.config.backend.as_str() {
                "flex" => flex.clone(),
                _ => ask(&path, target, count)?,
            };
            let tf32 = outcome.tf32 && dtype == "f32";
            let bf16 = if tf32 { Some(of_flex("bf16")?) } else { None };
            section.rows = judge(&Yardsticks { truth: &truth, flex: &flex, bf16: bf16.as_ref(), dtype, shape }, &outcome);
            (section.device, section.tf32, section.seconds) = (outcome.device, tf32, outcome.seconds);
        }
        sections.push(section);
        report::save(plan, &sections, targets.len(), out)?;
    }
    report::conclude(plan, &sections, out)
}

/// The names of everything that is computed.
fn rows() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|op| op.name).chain(MODEL)
}

/// What was asked for, or all that this build has; a named device that is not there is an error before any work.
fn targets(devices: &[String]) -> Result<Vec<Target>> {
    let named = !devices.is_empty();
    let names: Vec<String> = if named { devices.to_vec() } else { device::built().iter().map(|n| n.to_string()).collect() };
    names
        .iter()
        .map(|name| {
            let (device, fused) = name.strip_suffix("+unfused").map_or((name.as_str(), true), |device| (device, false));
            let (backend, dtype) = device.split_once(':').unwrap_or((device, "f32"));
            let (backend, index) = backend.split_once('@').unwrap_or((backend, "0"));
            let Ok(index) = index.parse() else {
                bail!(BadInput(format!("--devices: got {name:?}, expected backend[@index][:dtype][+unfused], like cuda@1:bf16")))
            };
            let config = DeviceConfig { backend: backend.into(), index, dtype: dtype.into(), evaluate: None };
            match device::find(&config) {
                Ok(_) => Ok(Target { config, fused, absent: None }),
                Err(reason) if named => bail!(BadInput(format!("--devices: {reason:#}"))),
                Err(reason) => Ok(Target { config, fused, absent: Some(format!("{reason:#}")) }),
            }
        })
        .collect()
}

/// Weights and inputs: what the experiment has trained, else its backbone, else random weights of its sizes.
fn job(plan: &Plan, scratch: &Path) -> Result<Job> {
    let e = &plan.experiment;
    let mut parts = Parts::named(e.backbone.model.as_deref(), None, None);
    let run = RunDir::planned(plan);
    for (name, fingerprint) in &plan.stages {
        let Some(weights) = run.finished(*name, fingerprint).map(|d| d.join("weights")) else { break };
        parts.add(*name, weights);
    }
    let host = device::host();
    host.seed(e.seed);
    let tokenizer = Tokenizer::open(&parts.backbone).ok();
    let (sod, eot) = match &tokenizer {
        Some(t) => (t.sod(), t.end_of_text()),
        None => (plan.backbone.vocab_size as u32 - 2, 0),
    };
    if parts.backbone.as_os_str().is_empty() {
        parts.backbone = scratch.join("backbone");
        save_decoder(&Decoder::random(plan.backbone.clone(), 0.1, e.seed, &host), &parts.backbone, eot, eot)?;
    }
    if parts.stage2.is_none() {
        let dir = scratch.join("adapter");
        let adapter = LoraAdapter::random(&plan.backbone, STAND_IN.r, STAND_IN.lora_alpha, e.seed, &host).map(&mut Disturb);
        save_adapter(&adapter, &STAND_IN, &dir)?;
        parts.stage2 = Some(dir);
    }
    let rows = match &tokenizer {
        Some(tokenizer) => {
            let texts = plan.source.held_out(Split::Test, 2)?;
            let ids = texts.iter().map(|t| tokenizer.encode(t)).collect::<Result<Vec<_>, _>>()?;
            ids.into_iter().map(|ids| ids.into_iter().take(LONGEST).collect()).collect()
        }
        None => worker::synthetic_rows(plan.backbone.vocab_size),
    };
    let substitution = e.train.substitution.as_ref();
    let lora = substitution.and_then(|s| s.lora.as_ref());
    let optim = substitution.map_or_else(OptimConfig::example, |s| s.optim.clone());
    Ok(Job {
        parts: Parts { backbone: absolute(&parts.backbone)?, stage1: parts.stage1.as_deref().map(absolute).transpose()?, ..parts },
        rows,
        sod,
        eot,
        latents: e.method.nextmem.num_latents,
        block: substitution.map_or(16, |s| s.block_tokens),
        rank: lora.map_or(16, |l| l.rank),
        // No warm-up, or ten steps would hardly move.
        optim: OptimConfig { warmup_steps: 0, ..optim },
        steps: STEPS,
        new_tokens: NEW_TOKENS,
        only: Vec::new(),
    })
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}

/// Fills the zero factors of a fresh adapter, so that it does something.
struct Disturb;

impl ModuleMapper for Disturb {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|t| t.random_like(Distribution::Normal(0.0, 0.02)))
    }
}

/// Runs a worker and listens to it; `count` rows are expected.
fn ask(job: &Path, target: &Target, count: usize) -> Result<Outcome> {
    let started = Instant::now();
    let config = &target.config;
    let index = config.index.to_string();
    let mut command = children::this_program()?;
    command.arg("portability-worker").args([job.as_os_str(), config.backend.as_ref(), index.as_ref(), config.dtype.as_ref()]);
    if !target.fused {
        // burn then runs every operation by itself.
        command.env("BURN_FUSION_MAX_EXPLORATIONS", "0");
    }
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("starting a worker process")?;
    // Drivers chatter; the last thing they say may explain a crash.
    let stderr = child.stderr.take().context("a worker's stderr")?;
    let chatter = std::thread::spawn(move || {
        let mut last = String::new();
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if line.contains("compiling kernels") || line.starts_with("note:") {
                eprintln!("{line}");
            }
            last = line;
        }
        last
    });
    let bar = Bars::new(&target.label());
    bar.begin(0, count);
    let (mut outcome, mut at, mut done) = (Outcome::default(), String::from("opening the device"), 0);
    let stdout = BufReader::new(child.stdout.take().context("a worker's stdout")?);
    for line in stdout.lines() {
        let Ok(line) = serde_json::from_str::<Line>(&line?) else { continue };
        if let Line::Start(row) = &line {
            at.clone_from(row);
            bar.at(done, row);
            done += 1;
        }
        outcome.hear(line);
    }
    let status = children::wait(child)?;
    let last_words = chatter.join().unwrap_or_default();
    bar.finish("done");
    outcome.seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        let words = if last_words.is_empty() { String::new() } else { format!(" ({last_words})") };
        outcome.crashed = Some((at, format!("the process ended with {status}{words}")));
    }
    Ok(outcome)
}
