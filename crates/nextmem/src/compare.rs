//! `nextmem compare`: are two runs, or two methods of a run, different on the same samples?

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use nextmem_eval::stats::{McNemar, PairedBootstrap, Permutation, holm, mcnemar, paired_bootstrap, paired_permutation, wilcoxon};
use nextmem_eval::{ONE_TRAINING, check_metric};
use serde_json::{Value, json};

use crate::cli::BadInput;
use crate::sample_set::{SampleSet, metrics_of, same_items};

mod seeds;

/// A difference is called one when the adjusted p-value is below this.
const LEVEL: f64 = 0.05;

/// What to compare, and how.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// The first run's directory, like results/quickstart; RUN:METHOD for one of its methods, like results/quickstart:dense
    a: String,
    /// The second run, or RUN:METHOD if the first is one
    b: String,
    /// Several trainings of each: A and B name experiments, whose runs of `run --train-seed N` are A-seedN and B-seedN
    #[arg(long, value_name = "N", num_args = 1.., value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Metrics to compare; without it every metric of a task
    #[arg(long = "metric", value_name = "NAME", num_args = 1..)]
    metrics: Vec<String>,
    /// Resamples of the bootstrap and of the permutation test
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    resamples: u32,
    /// Seed of both
    #[arg(long, default_value_t = 1128)]
    seed: u64,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// Markdown tables
    Table,
    /// One JSON object
    Json,
}

/// A run, or one method of it.
struct Side {
    label: String,
    root: PathBuf,
    method: Option<String>,
}

/// One metric over one pair of files.
struct Row {
    metric: &'static str,
    version: &'static str,
    mean_a: f64,
    mean_b: f64,
    bootstrap: PairedBootstrap,
    permutation: Permutation,
    wilcoxon: f64,
    mcnemar: Option<McNemar>,
    adjusted: f64,
}

/// Two files over the same samples.
struct Comparison {
    a: SampleSet,
    b: SampleSet,
    n: usize,
    rows: Vec<Row>,
}

/// Compares, and returns what to print.
pub fn compare(options: &Options) -> Result<String> {
    if !options.seeds.is_empty() {
        return seeds::compare(options);
    }
    let (a, b) = sides(&options.a, &options.b)?;
    let (sets_a, sets_b) = (SampleSet::list(&a.root)?, SampleSet::list(&b.root)?);
    let pairs = pairs(&a, &sets_a, &b, &sets_b);
    if pairs.is_empty() {
        let held = |sets: &[SampleSet]| sets.iter().map(name).collect::<Vec<_>>().join(", ");
        return Err(BadInput(format!(
            "{} and {} share no task, dataset and method: {} against {} - name methods as RUN:METHOD to compare two of them",
            a.label,
            b.label,
            held(&sets_a),
            held(&sets_b)
        ))
        .into());
    }
    if a.method.is_none() {
        for (side, sets, other) in [(&a, &sets_a, &sets_b), (&b, &sets_b, &sets_a)] {
            for set in sets.iter().filter(|set| !other.iter().any(|o| name(o) == name(set))) {
                eprintln!("note: {} is only in {}, left out", name(set), side.label);
            }
        }
    }
    check_metrics(&options.metrics, &pairs)?;
    let mut comparisons = Vec::new();
    for (set_a, set_b) in pairs {
        let comparison = comparison(set_a, set_b, options)?;
        if !comparison.rows.is_empty() {
            comparisons.push(comparison);
        }
    }
    Ok(match options.format {
        Format::Table => table(&a, &b, &comparisons, options),
        Format::Json => format!("{:#}", as_json(&a, &b, &comparisons, options)),
    })
}

/// Both sides: two runs, or two methods of runs.
fn sides(a: &str, b: &str) -> Result<(Side, Side)> {
    let sides = (Side::parse(a)?, Side::parse(b)?);
    if sides.0.method.is_some() != sides.1.method.is_some() {
        let expected = "expected RUN:METHOD twice or RUN twice - `RUN_A:dense RUN_B:sparse`";
        return Err(BadInput(format!("got a method for one of {a} and {b}, {expected}")).into());
    }
    Ok(sides)
}

/// Task, dataset and methods of a pair, as a heading.
fn heading(a: &SampleSet, b: &SampleSet) -> String {
    let methods = if a.method == b.method { a.method.clone() } else { format!("{} (A) and {} (B)", a.method, b.method) };
    format!("{}, {}, {methods}", a.task.name(), a.dataset)
}

/// What is said of a difference A - B.
fn verdict(shown: bool, difference: f64) -> &'static str {
    match (shown, difference > 0.0) {
        (false, _) => "no difference shown",
        (true, true) => "A better",
        (true, false) => "B better",
    }
}

fn is_run(root: &str) -> bool {
    Path::new(root).join("samples").is_dir()
}

/// Whether a metric was asked for.
fn measured(options: &Options, metric: &str) -> bool {
    options.metrics.is_empty() || options.metrics.iter().any(|m| m == metric)
}

impl Side {
    /// A directory with samples/, or one followed by `:METHOD`.
    fn parse(text: &str) -> Result<Self> {
        if is_run(text) {
            return Ok(Self { label: text.into(), root: text.into(), method: None });
        }
        match text.rsplit_once(':') {
            Some((root, method)) if is_run(root) => {
                Ok(Self { label: text.into(), root: root.into(), method: Some(method.to_string()) })
            }
            _ => Err(BadInput(format!(
                "{text}: no samples/ in it; expected the directory of a run, like results/quickstart, or RUN:METHOD, like results/quickstart:dense"
            ))
            .into()),
        }
    }

    /// The mode of task 2 in which a file belongs to this side ("" without one), if it does.
    fn mode<'a>(&self, set: &'a SampleSet) -> Option<&'a str> {
        let Some(method) = &self.method else { return Some("") };
        let (base, mode) = set.method_and_mode();
        match () {
            () if set.method == *method => Some(""),
            () if base == method => Some(mode),
            () => None,
        }
    }
}

/// Task, dataset and method, as in file names.
fn name(set: &SampleSet) -> String {
    format!("{}.{}.{}", set.task.name(), set.dataset, set.method)
}

/// Files of one task and dataset: of the same method, or of the two methods named. Comp is compared with comp and decomp with
/// decomp; a method without modes, like text, is compared with both.
fn pairs(a: &Side, sets_a: &[SampleSet], b: &Side, sets_b: &[SampleSet]) -> Vec<(SampleSet, SampleSet)> {
    let mut pairs = Vec::new();
    for set_a in sets_a {
        for set_b in sets_b.iter().filter(|s| s.task == set_a.task && s.dataset == set_a.dataset) {
            let (Some(mode_a), Some(mode_b)) = (a.mode(set_a), b.mode(set_b)) else { continue };
            let methods = a.method.is_some() || set_a.method == set_b.method;
            if methods && (mode_a == mode_b || mode_a.is_empty() || mode_b.is_empty()) {
                pairs.push((set_a.clone(), set_b.clone()));
            }
        }
    }
    pairs
}

/// Every metric asked for must suit one of the tasks.
fn check_metrics(metrics: &[String], pairs: &[(SampleSet, SampleSet)]) -> Result<()> {
    for metric in metrics {
        let mut refusals = pairs.iter().map(|(set, _)| check_metric(set.task, metric)).collect::<Vec<_>>();
        if refusals.iter().all(Result::is_err) {
            refusals.remove(0)?;
        }
    }
    Ok(())
}

fn comparison(a: SampleSet, b: SampleSet, options: &Options) -> Result<Comparison> {
    let (samples_a, samples_b) = (a.read()?, b.read()?);
    same_items(&a.path, &samples_a, &b.path, &samples_b)?;
    let (resamples, seed) = (options.resamples as usize, options.seed);
    let mut rows = Vec::new();
    for (metric, version) in metrics_of(a.task) {
        if !measured(options, metric) {
            continue;
        }
        let (Some(x), Some(y)) = (samples_a.values(metric), samples_b.values(metric)) else { continue };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let context = || format!("{metric} of {} and {}", a.path.display(), b.path.display());
        rows.push(Row {
            metric,
            version,
            mean_a: mean(&x),
            mean_b: mean(&y),
            bootstrap: paired_bootstrap(&x, &y, resamples, seed).with_context(context)?,
            permutation: paired_permutation(&x, &y, resamples, seed).with_context(context)?,
            wilcoxon: wilcoxon(&x, &y).with_context(context)?.p,
            // Refused where a value is neither 0 nor 1.
            mcnemar: mcnemar(&x, &y).ok(),
            adjusted: 1.0,
        });
    }
    let adjusted = holm(&rows.iter().map(|row| row.permutation.p).collect::<Vec<_>>());
    rows.iter_mut().zip(adjusted).for_each(|(row, adjusted)| row.adjusted = adjusted);
    Ok(Comparison { a, b, n: samples_a.len(), rows })
}

impl Row {
    fn verdict(&self) -> &'static str {
        verdict(self.adjusted < LEVEL, self.bootstrap.difference)
    }
}

fn table(a: &Side, b: &Side, comparisons: &[Comparison], options: &Options) -> String {
    let mut out = format!("# A = {}, B = {}\n", a.label, b.label);
    for c in comparisons {
        out += &format!("\n## {} (n = {})\n\n", heading(&c.a, &c.b), c.n);
        let mut table = Table::new();
        table.load_style(ASCII_MARKDOWN).set_header([
            "metric",
            "A",
            "B",
            "A - B",
            "95% interval",
            "permutation p",
            "Wilcoxon p",
            "McNemar p",
            "Holm p",
            "verdict",
        ]);
        for row in &c.rows {
            // Not BCa: where few samples differ, its ends jump, and it may leave out a 0 that the tests do not.
            let interval = row.bootstrap.percentile;
            table.add_row([
                row.metric.to_string(),
                format!("{:.4}", row.mean_a),
                format!("{:.4}", row.mean_b),
                format!("{:+.4}", row.bootstrap.difference),
                format!("[{:+.4}, {:+.4}]", interval.low, interval.high),
                p_value(row.permutation.p),
                p_value(row.wilcoxon),
                row.mcnemar.map_or("-".into(), |m| p_value(m.p)),
                p_value(row.adjusted),
                row.verdict().to_string(),
            ]);
        }
        out += &format!("{table}\n");
    }
    out + &format!(
        "\n95% interval of A - B: paired bootstrap (percentile, {} resamples, seed {}). Permutation p: sign flips of the paired differences \
         (exact for up to 20 that are not 0 and for metrics of 0 and 1, else as many random ones). McNemar p: exact, for metrics of 0 and 1. Holm p: the permutation p \
         adjusted for the metrics of its table; below {LEVEL} a side is called better.\n{ONE_TRAINING} \"A better\" means that these weights of A \
         do better on such items, not that A's method does.",
        options.resamples, options.seed
    )
}

fn p_value(p: f64) -> String {
    if p < 0.00005 { "<0.0001".into() } else { format!("{p:.4}") }
}

fn as_json(a: &Side, b: &Side, comparisons: &[Comparison], options: &Options) -> Value {
    let row = |row: &Row| {
        json!({
            "metric": row.metric,
            "version": row.version,
            "mean_a": row.mean_a,
            "mean_b": row.mean_b,
            "difference": row.bootstrap.difference,
            "bca": [row.bootstrap.bca.low, row.bootstrap.bca.high],
            "percentile": [row.bootstrap.percentile.low, row.bootstrap.percentile.high],
            "permutation_p": row.permutation.p,
            "permutation_exact": row.permutation.exact,
            "wilcoxon_p": row.wilcoxon,
            "mcnemar": row.mcnemar.map(|m| json!({ "only_a": m.only_a, "only_b": m.only_b, "p": m.p })),
            "holm_p": row.adjusted,
            "verdict": row.verdict(),
        })
    };
    let comparison = |c: &Comparison| {
        json!({
            "task": c.a.task.name(),
            "dataset": c.a.dataset,
            "method_a": c.a.method,
            "method_b": c.b.method,
            "n": c.n,
            "metrics": c.rows.iter().map(row).collect::<Vec<_>>(),
        })
    };
    json!({
        "a": a.label,
        "b": b.label,
        "resamples": options.resamples,
        "seed": options.seed,
        "level": LEVEL,
        "scope": ONE_TRAINING,
        "comparisons": comparisons.iter().map(comparison).collect::<Vec<_>>(),
    })
}
