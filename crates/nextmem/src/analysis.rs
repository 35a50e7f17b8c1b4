//! `analyze`: the paper's analyses of a finished run, and those that its readers asked for.
//!
//! Each analysis is a file here. It measures passages under conditions and leaves `RUN/analysis/NAME.json`
//! ([`AnalysisReport`]) with one row per condition, and `NAME.samples.jsonl` with one line per passage and condition, from
//! which the rows are computed. A condition that is measured is kept: a second call goes on, or only prints.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use nextmem_data::Split;
use nextmem_eval::ONE_TRAINING;
use nextmem_eval::analysis::{AnalysisReport, AnalysisRow, Estimate};
use nextmem_eval::metric::text_metric;
use serde_json::{Value, json};

mod config;
mod controls;
mod cramming;
mod first_error;
mod latents;
mod length;
mod noise;
mod rate_distortion;
mod record;
mod segments;
mod storage;
mod subject;

pub use config::AnalysisConfig;
use record::{METRICS, Record};
use subject::Subject;

use crate::cli::BadInput;
use crate::device;
use crate::experiment::{DeviceConfig, TaskConfig};
use crate::parts::finished;
use crate::plan::Plan;
use crate::run_dir::{arguments, provenance, sha256};

/// Raised when the same run no longer gives the same numbers.
const VERSION: u32 = 1;

/// What `nextmem analyze` takes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The run's directory, like results/quickstart; its weights must be there
    run: PathBuf,
    /// noise, length, segments, storage, first-error, controls, cramming, latents, rate-distortion, or all of them
    name: String,
    /// Passages per condition, the first ones of the run's test set [default: 100]
    #[arg(long)]
    passages: Option<usize>,
    /// Another run of the same data, for `latents` and `rate-distortion`; may be given several times
    #[arg(long, value_name = "RUN")]
    with: Vec<PathBuf>,
    #[arg(long, help = format!("Instead of the run's own. {}", device::HELP))]
    device: Option<String>,
    /// Where the report goes; its samples go beside it [default: RUN/analysis/NAME.json]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// One analysis.
struct Analysis {
    name: &'static str,
    /// Whether it looks at the runs of `--with`.
    several_runs: bool,
    run: fn(&Setting, &mut Record) -> Result<Outcome>,
}

/// All of them, in the order in which `all` runs them.
const ANALYSES: [Analysis; 9] = [
    Analysis { name: "noise", several_runs: false, run: noise::run },
    Analysis { name: "length", several_runs: false, run: length::run },
    Analysis { name: "segments", several_runs: false, run: segments::run },
    Analysis { name: "storage", several_runs: false, run: storage::run },
    Analysis { name: "first-error", several_runs: false, run: first_error::run },
    Analysis { name: "controls", several_runs: false, run: controls::run },
    Analysis { name: "cramming", several_runs: false, run: cramming::run },
    Analysis { name: "latents", several_runs: true, run: latents::run },
    Analysis { name: "rate-distortion", several_runs: true, run: rate_distortion::run },
];

/// What an analysis found.
struct Outcome {
    rows: Vec<AnalysisRow>,
    details: Value,
    /// Series with too many rows for a terminal.
    unprinted: &'static [&'static str],
}

/// What is analysed.
struct Setting {
    subject: Subject,
    others: Vec<Subject>,
    config: AnalysisConfig,
    dataset: String,
    passages: Vec<String>,
}

impl Setting {
    /// The run and those of `--with`.
    fn subjects(&self) -> impl Iterator<Item = &Subject> {
        std::iter::once(&self.subject).chain(&self.others)
    }

    /// The run's seed; of the draws too.
    fn seed(&self) -> u64 {
        self.subject.plan.experiment.seed
    }

    /// A name that no other run given has.
    fn label(&self, subject: &Subject) -> String {
        format!("{} (K = {})", subject.name(), subject.num_latents())
    }

    /// Test passages, as many as asked for if there are so many.
    fn test_passages(&self, count: usize) -> Result<Vec<String>> {
        Ok(passages(&self.subject.plan, &self.config, count)?.1)
    }
}

/// The report of an analysis of a run: the one that is kept with it if it is of as many passages and runs, else measured now.
///
/// # Errors
/// A run that has neither the report nor weights.
pub fn report(run: &Path, name: &str, passages: usize, with: &[PathBuf]) -> Result<AnalysisReport> {
    let path = run.join("analysis").join(format!("{name}.json"));
    let kept = || std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<AnalysisReport>(&bytes).ok());
    if let Some(report) = kept().filter(|r| r.passages == passages && r.runs.len() == 1 + with.len()) {
        return Ok(report);
    }
    let options =
        Options { run: run.to_owned(), name: name.into(), passages: Some(passages), with: with.to_vec(), device: None, out: None };
    analyze(&options)?;
    kept().with_context(|| format!("{}: is not whole", path.display()))
}

/// Runs one analysis or all, writes the reports and prints their tables.
pub fn analyze(options: &Options) -> Result<()> {
    let wanted = chosen(&options.name)?;
    if options.out.is_some() && wanted.len() > 1 {
        bail!(BadInput("--out names one file, got it with `all`; leave it out, or name one analysis".into()));
    }
    if let Some(out) = &options.out {
        crate::outputs::ensure_file_or_folder(out)?;
    }
    let (plan, parts) = finished(&options.run)?;
    let _lock = crate::run_dir::DirLock::acquire(&options.run)?;
    let mut config = plan.experiment.analysis.clone().unwrap_or_default();
    config.passages = options.passages.unwrap_or(config.passages);
    config.check()?;

    let others = options.with.iter().map(|root| finished(root)).collect::<Result<Vec<_>>>()?;
    for (other, _) in &others {
        if other.data_identity != plan.data_identity {
            bail!(BadInput(format!("--with {}: it was trained on other data than {}", other.experiment.name, plan.experiment.name)));
        }
        if other.experiment.name == plan.experiment.name {
            bail!(BadInput(format!("--with {}: it is the run itself; name another one", other.experiment.name)));
        }
    }
    let evaluation = plan.experiment.device.evaluation();
    let chosen_device = DeviceConfig { backend: options.device.clone().unwrap_or_else(|| evaluation.backend.clone()), ..evaluation };
    device::check(&chosen_device).map_err(|e| BadInput(format!("{e:#}")))?;
    let (dataset, passages) = passages(&plan, &config, config.passages)?;
    if passages.is_empty() {
        bail!(BadInput(format!("{dataset}: no passages to analyse; check the run's [data]")));
    }
    let device = device::open(&chosen_device, plan.experiment.seed)?;
    let setting = Setting {
        subject: Subject::new(plan, parts, device.clone()),
        others: others.into_iter().map(|(plan, parts)| Subject::new(plan, parts, device.clone())).collect(),
        config,
        dataset,
        passages,
    };
    for analysis in wanted {
        let path = options.out.clone().unwrap_or_else(|| options.run.join("analysis").join(format!("{}.json", analysis.name)));
        perform(analysis, &setting, &chosen_device, &path)?;
    }
    Ok(())
}

fn chosen(name: &str) -> Result<Vec<&'static Analysis>> {
    let found: Vec<&Analysis> = ANALYSES.iter().filter(|a| name == "all" || a.name == name).collect();
    if found.is_empty() {
        let known: Vec<&str> = ANALYSES.iter().map(|a| a.name).collect();
        bail!(BadInput(format!("analysis: got {name:?}, expected one of {}, all", known.join(", "))));
    }
    Ok(found)
}

/// The passages of the reconstruction task, or of the test split when the run has no such task.
fn passages(plan: &Plan, config: &AnalysisConfig, count: usize) -> Result<(String, Vec<String>)> {
    let Some(task) = &plan.experiment.eval.reconstruction else {
        return Ok((plan.source.name().into(), plan.source.held_out(Split::Test, count)?));
    };
    let sets = plan.source.datasets(task);
    let known: Vec<String> = sets.iter().map(|(name, _)| name.clone()).collect();
    let Some((name, task)) = sets.into_iter().find(|(name, _)| config.dataset.as_ref().is_none_or(|wanted| wanted == name)) else {
        let wanted = config.dataset.clone().unwrap_or_default();
        bail!(BadInput(format!("analysis.dataset: got {wanted:?}, expected one of {}", known.join(", "))));
    };
    Ok((name, plan.source.reconstruction(&TaskConfig { limit: count, ..task })?))
}

fn perform(analysis: &Analysis, setting: &Setting, device: &DeviceConfig, path: &Path) -> Result<()> {
    let subjects: Vec<&Subject> = setting.subjects().take(if analysis.several_runs { usize::MAX } else { 1 }).collect();
    let key = analysis.name.replace('-', "_");
    let sweep = json!(setting.config).get(&key).cloned().unwrap_or(Value::Null);
    let metrics: BTreeMap<String, String> =
        METRICS.iter().filter_map(|name| Some((name.to_string(), text_metric(name)?.version().to_string()))).collect();
    let identity = json!({
        "version": VERSION, "analysis": analysis.name, "sweep": sweep, "metrics": metrics, "seed": setting.seed(),
        "passages": setting.passages, "runs": subjects.iter().map(|s| s.identity()).collect::<Vec<_>>(),
        "device": [&device.backend, &device.dtype],
    });
    let fingerprint = sha256(identity.to_string().as_bytes());
    let mut record = Record::open(path, analysis.name, &fingerprint)?;
    let outcome = (analysis.run)(setting, &mut record)?;
    let mut origin = provenance();
    if let Some(origin) = origin.as_object_mut() {
        origin.insert("device".into(), json!(device));
        origin.insert("command".into(), arguments().into());
    }
    let report = AnalysisReport {
        analysis: analysis.name.into(),
        version: VERSION,
        fingerprint,
        runs: subjects.iter().map(|s| s.describe()).collect(),
        dataset: setting.dataset.clone(),
        passages: setting.passages.len(),
        seed: setting.seed(),
        config: sweep,
        metrics,
        rows: outcome.rows,
        details: outcome.details,
        provenance: origin,
    };
    record.finish(&report)?;
    println!("{}", table(&report, outcome.unprinted));
    println!("{ONE_TRAINING}");
    println!("{}\n", path.display());
    Ok(())
}

/// The rows as a person reads them: one column per value, means with their 95% intervals.
fn table(report: &AnalysisReport, unprinted: &[&str]) -> String {
    let shown: Vec<&AnalysisRow> = report.rows.iter().filter(|row| !unprinted.contains(&row.series.as_str())).collect();
    let mut columns: Vec<&String> = shown.iter().flat_map(|row| row.values.keys()).collect();
    columns.sort_by_key(|name| (METRICS.iter().position(|m| m == name).unwrap_or(METRICS.len()), name.as_str()));
    columns.dedup();
    let mut table = Table::new();
    let runs: Vec<&str> = report.runs.iter().filter_map(|run| run["name"].as_str()).collect();
    let title = format!("{} of {}: {} passages of {}", report.analysis, runs.join(", "), report.passages, report.dataset);
    table.load_style(UTF8_FULL_CONDENSED);
    if let [row] = shown[..] {
        // One row is read from top to bottom.
        table.set_header(["value", "mean"]);
        columns.iter().for_each(|name| {
            table.add_row([name.to_string(), cell(&row.values[*name])]);
        });
        return format!("{title}\n{table}");
    }
    let names = ["series", report.analysis.as_str(), "n"].into_iter().chain(columns.iter().map(|c| c.as_str()));
    table.set_header(names.collect::<Vec<_>>());
    for row in shown {
        let cells = columns.iter().map(|name| row.values.get(*name).map_or(String::new(), cell));
        table.add_row([row.series.clone(), row.label.clone(), row.n.to_string()].into_iter().chain(cells).collect::<Vec<_>>());
    }
    format!("{title}\n{table}")
}

fn cell(estimate: &Estimate) -> String {
    let Estimate { value, low, high } = estimate;
    match low == high {
        true => format!("{value:.4}").trim_end_matches('0').trim_end_matches('.').to_string(),
        false if value.abs() >= 10.0 => format!("{value:.1} [{low:.1}, {high:.1}]"),
        false => format!("{value:.4} [{low:.4}, {high:.4}]"),
    }
}
