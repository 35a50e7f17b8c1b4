//! `portability`: the same weights and inputs on every device, compared row by row with f64 on the CPU.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Distribution, Tensor};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use nextmem_data::Split;
use nextmem_model::{Decoder, LoraAdapter, PeftConfig, Tokenizer, save_adapter, save_decoder};
use nextmem_training::OptimConfig;
use serde_json::{Value, json};

use crate::cli::BadInput;
use crate::device;
use crate::experiment::DeviceConfig;
use crate::parts::Parts;
use crate::plan::Plan;
use crate::progress::Bars;
use crate::run_dir::{RunDir, arguments, provenance};

mod compare;
mod operations;
mod probe;
mod worker;

use compare::{Outcome, Row, judge};
use operations::OPERATIONS;
use probe::Line;
use worker::{Job, MODEL_ROWS};

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
    /// Why there is nothing to measure.
    absent: Option<String>,
}

impl Target {
    fn label(&self) -> String {
        let DeviceConfig { backend, index, dtype } = &self.config;
        if *index == 0 { format!("{backend} {dtype}") } else { format!("{backend}[{index}] {dtype}") }
    }
}

/// Compares the devices and writes `NAME.md` and `NAME.json` into `out`.
pub fn portability(plan: &Plan, devices: &[String], out: &Path) -> Result<()> {
    let targets = targets(devices)?;
    let scratch = tempfile::tempdir().context("a temporary directory for the weights")?;
    let job = job(plan, scratch.path())?;
    let path = scratch.path().join("job.json");
    std::fs::write(&path, serde_json::to_vec(&job)?).with_context(|| path.display().to_string())?;

    let flex = |dtype: &str| DeviceConfig { backend: "flex".into(), index: 0, dtype: dtype.into() };
    let truth = ask(&path, &flex("f64"))?;
    if let Some((row, how)) = &truth.crashed {
        bail!("the reference, f64 on the CPU, ended in \"{row}\": {how}");
    }
    if let Some((row, reason)) = truth.failed.first_key_value() {
        bail!("the reference, f64 on the CPU, failed in \"{row}\": {reason}");
    }
    let shape = (job.latents, plan.backbone.hidden_size);
    let mut yardsticks: Vec<(String, Outcome)> = Vec::new();
    let mut sections = Vec::new();
    for target in &targets {
        if target.absent.is_some() {
            sections.push(Section { target: target.clone(), device: String::new(), seconds: 0.0, rows: Vec::new() });
            continue;
        }
        let dtype = &target.config.dtype;
        if !yardsticks.iter().any(|(d, _)| d == dtype) {
            yardsticks.push((dtype.clone(), ask(&path, &flex(dtype))?));
        }
        let flex = yardsticks.iter().find(|(d, _)| d == dtype).map(|(_, o)| o).context("flex")?;
        let outcome = match target.config.backend.as_str() {
            "flex" => flex.clone(),
            _ => ask(&path, &target.config)?,
        };
        let rows = judge(&truth, flex, &outcome, dtype, shape);
        sections.push(Section { target: target.clone(), device: outcome.device, seconds: outcome.seconds, rows });
    }
    report(plan, &sections, out)
}

/// What was asked for, or all that this build has; a named device that is not there is an error before any work.
fn targets(devices: &[String]) -> Result<Vec<Target>> {
    let named = !devices.is_empty();
    let names: Vec<String> = if named { devices.to_vec() } else { device::built().iter().map(|n| n.to_string()).collect() };
    names
        .iter()
        .map(|name| {
            let (backend, dtype) = name.split_once(':').unwrap_or((name, "f32"));
            let (backend, index) = backend.split_once('@').unwrap_or((backend, "0"));
            let Ok(index) = index.parse() else {
                bail!(BadInput(format!("--devices: got {name:?}, expected backend[@index][:dtype], like cuda@1:bf16")))
            };
            let config = DeviceConfig { backend: backend.into(), index, dtype: dtype.into() };
            match device::find(&config) {
                Ok(_) => Ok(Target { config, absent: None }),
                Err(reason) if named => bail!(BadInput(format!("--devices: {reason:#}"))),
                Err(reason) => Ok(Target { config, absent: Some(format!("{reason:#}")) }),
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

/// Runs a worker and listens to it.
fn ask(job: &Path, config: &DeviceConfig) -> Result<Outcome> {
    let started = Instant::now();
    let program = std::env::current_exe().context("this program's own path")?;
    let index = config.index.to_string();
    let mut child = Command::new(program)
        .arg("portability-worker")
        .args([job.as_os_str(), config.backend.as_ref(), index.as_ref(), config.dtype.as_ref()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting a worker process")?;
    // Drivers chatter; the last thing they say may explain a crash.
    let stderr = child.stderr.take().context("a worker's stderr")?;
    let chatter = std::thread::spawn(move || BufReader::new(stderr).lines().map_while(Result::ok).last().unwrap_or_default());
    let bar = Bars::new(&format!("{} {}", config.backend, config.dtype));
    bar.begin(0, OPERATIONS.len() + MODEL_ROWS);
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
    let status = child.wait().context("a worker process")?;
    let last_words = chatter.join().unwrap_or_default();
    bar.finish("done");
    outcome.seconds = started.elapsed().as_secs_f64();
    if !status.success() {
        let words = if last_words.is_empty() { String::new() } else { format!(" ({last_words})") };
        outcome.crashed = Some((at, format!("the process ended with {status}{words}")));
    }
    Ok(outcome)
}

/// One device's results.
struct Section {
    target: Target,
    device: String,
    seconds: f64,
    rows: Vec<Row>,
}

impl Section {
    fn failed(&self) -> Vec<&Row> {
        self.rows.iter().filter(|r| !r.ok()).collect()
    }

    fn summary(&self) -> String {
        match (&self.target.absent, self.failed()[..].first()) {
            (Some(reason), _) => format!("not measured: {reason}"),
            (None, None) => format!("all {} rows agree", self.rows.len()),
            (None, Some(first)) => {
                format!("{} of {} rows do not agree, the first: {} ({})", self.failed().len(), self.rows.len(), first.row, first.verdict)
            }
        }
    }
}

/// Markdown and JSON into files, a summary to the terminal, and an error if a device disagrees.
fn report(plan: &Plan, sections: &[Section], out: &Path) -> Result<()> {
    let name = &plan.experiment.name;
    let mut text = format!(
        "# Portability of {name}\n\nBackbone: {}. Every row is compared with flex in f64; error = largest difference over the largest \
         value, for ids the share that differs.\nA device may be 20 times as far off as flex is in the same float type, and always 32 \
         roundings of that type.\n\nCommand: `nextmem {}`\n\n| device | name | seconds | result |\n|---|---|---|---|\n",
        plan.backbone_label(),
        arguments(),
    );
    let mut shown = Table::new();
    shown.load_style(UTF8_FULL_CONDENSED).set_header(["device", "name", "result"]);
    for s in sections {
        let seconds = if s.target.absent.is_some() { "-".into() } else { format!("{:.0}", s.seconds) };
        text.push_str(&format!("| {} | {} | {seconds} | {} |\n", s.target.label(), s.device, s.summary()));
        shown.add_row([s.target.label(), s.device.clone(), s.summary()]);
    }
    let used: Vec<String> = OPERATIONS.iter().map(|op| format!("{} ({})", op.name, op.used)).collect();
    text.push_str(&format!("\nOperations and where they are used: {}.\n", used.join("; ")));
    for s in sections.iter().filter(|s| s.target.absent.is_none()) {
        text.push_str(&format!(
            "\n## {}: {}\n\n| row | shape | error | flex | tolerance | because | verdict |\n|---|---|---|---|---|---|---|\n",
            s.target.label(),
            s.device
        ));
        for r in &s.rows {
            let number = |n: Option<f64>| n.map_or("-".to_string(), |n| format!("{n:.1e}"));
            let Row { row, shape, tolerance, because, verdict, .. } = r;
            text.push_str(&format!(
                "| {row} | {shape} | {} | {} | {tolerance:.1e} | {because} | {verdict} |\n",
                number(r.error),
                number(r.flex_error)
            ));
        }
    }
    let devices: Vec<Value> = sections
        .iter()
        .map(
            |s| json!({"device": s.target.config, "name": s.device, "not_measured": s.target.absent, "seconds": s.seconds, "rows": s.rows}),
        )
        .collect();
    let all = json!({"experiment": name, "backbone": plan.backbone_label(), "provenance": provenance(), "devices": devices});
    std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
    nextmem_model::write_atomically(&out.join(format!("{name}.md")), text.as_bytes())?;
    nextmem_model::write_atomically(&out.join(format!("{name}.json")), format!("{all:#}\n").as_bytes())?;
    println!("{shown}\n\neverything is in {}", out.join(format!("{name}.md")).display());
    let wrong: Vec<String> = sections.iter().filter(|s| !s.failed().is_empty()).map(|s| s.target.label()).collect();
    if !wrong.is_empty() {
        bail!("{} computes something else than the CPU; the table names the rows", wrong.join(", "));
    }
    Ok(())
}
