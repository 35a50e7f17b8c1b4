//! `table`: several runs in one table, from their samples; no column mixes datasets, or items of one dataset.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use nextmem_eval::bertscore::BERTSCORE;
use nextmem_eval::judge::JudgePrompt;
use nextmem_eval::sheet::{Cell, Group, Sheet};
use nextmem_eval::{
    CHANCE, FLOOR, MEMORY_BYTES, ONE_TRAINING, PUBLISHED_ABLATION, QWEN3, Score, Task, check_metric, row_label, row_model, score_file,
    score_without_memory,
};
use serde_json::{Value, json};

use crate::bertscore::bertscores;
use crate::cli::BadInput;
use crate::judge::judge_scores;
use crate::run_dir::{RunDir, read_json, sha256};
use crate::sample_set::{SampleSet, Samples, metrics_of};
use crate::score::{row_order, warn_if_stale};

/// Which runs, and what of them.
#[derive(Debug, Args)]
pub struct Options {
    /// The runs' directories, or the names of runs in results/runs and results
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// Metrics to show; without it the first ones of every task
    #[arg(long = "metric", value_name = "NAME", num_args = 1..)]
    metrics: Vec<String>,
    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Md)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Format {
    /// Markdown, a table per task and dataset
    Md,
    /// One line per run, row and metric
    Csv,
    /// LaTeX, a table per task and dataset
    Tex,
    /// A list of objects, one per run, row and metric
    Json,
}

/// The metrics of a task without `--metric`.
fn usual(task: Task) -> &'static [&'static str] {
    match task {
        Task::Reconstruction => &["f1", "exact_match", "rouge_l"],
        Task::ContextualQa => &["exact_match", "f1"],
        Task::Retrieval => &["hit@5", "mrr@5"],
    }
}

/// What one table is about: its rows were all asked the same.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    task: Task,
    dataset: String,
    n: usize,
    /// Hash of all that was asked.
    items: String,
}

/// One row of one run with its scores.
struct Row {
    run: String,
    backbone: String,
    method: String,
    scores: Vec<Score>,
}

/// The tables of several runs.
///
/// # Errors
/// A run that is not whole, a metric that no task of the runs has.
pub fn table(options: &Options) -> Result<String> {
    let mut tables: Vec<(Asked, Vec<Row>)> = Vec::new();
    for root in &options.runs {
        let root = &found(root);
        let dir = RunDir::open(root)?;
        warn_if_stale(root);
        let run = dir.experiment()?.name;
        let manifest = read_json(&dir.join("manifest.json")).unwrap_or_default();
        let backbone = manifest["backbone"].as_str().unwrap_or("-").to_string();
        let elsewhere: Vec<Score> = bertscores(root).into_iter().chain(judge_scores(root)).collect();
        let mut sets = SampleSet::list_checked(root)?;
        sets.sort_by_key(|(set, _)| row_order(set));
        for (set, samples) in &sets {
            let asked = Asked { task: set.task, dataset: set.dataset.clone(), n: samples.len(), items: items(samples) };
            let of_set = elsewhere.iter().filter(|s| s.task == set.task.name() && s.dataset == set.dataset && s.method == set.method);
            let of_set = of_set.filter(|s| options.metrics.is_empty() || options.metrics.contains(&s.metric)).cloned();
            let metrics = options.metrics_of(set.task);
            let scores: Vec<Score> =
                score_file(&set.path, &metrics)?.into_iter().filter(|s| s.metric != MEMORY_BYTES).chain(of_set).collect();
            if scores.is_empty() {
                continue;
            }
            let at = tables.iter().position(|(known, _)| *known == asked).unwrap_or_else(|| {
                tables.push((asked, Vec::new()));
                tables.len() - 1
            });
            if tables[at].1.is_empty() {
                let guesses = score_without_memory(&set.path, &metrics)?;
                if let Some(guess) = guesses.first() {
                    let row = Row {
                        run: "-".into(),
                        backbone: row_model(&guess.method, &backbone).into(),
                        method: guess.method.clone(),
                        scores: guesses.clone(),
                    };
                    tables[at].1.push(row);
                }
            }
            let backbone = row_model(&set.method, &backbone).to_string();
            tables[at].1.push(Row { run: run.clone(), backbone, method: set.method.clone(), scores });
        }
    }
    options.check(&tables)?;
    tables.sort_by(|(a, _), (b, _)| (a.task, &a.dataset).cmp(&(b.task, &b.dataset)));
    for (_, rows) in &mut tables {
        // What no memory scores stands last.
        let guessed = [CHANCE, FLOOR].contains(&rows[0].method.as_str());
        rows.rotate_left(usize::from(guessed));
    }
    Ok(match options.format {
        Format::Md => markdown(&tables),
        Format::Tex => tables.iter().enumerate().map(|(i, _)| sheet(&tables, i).latex(true)).collect::<Vec<_>>().join("\n"),
        Format::Csv => long(&tables).csv().trim_end().to_string(),
        Format::Json => format!("{:#}", as_json(&tables)),
    })
}

/// The directory of a run, or of the run of this name.
fn found(run: &Path) -> PathBuf {
    match (run.join("resolved.toml").is_file(), run.parent(), run.file_name().and_then(|name| name.to_str())) {
        (false, Some(parent), Some(name)) => {
            let results = if parent.as_os_str().is_empty() { Path::new("results") } else { parent };
            let located = RunDir::locate(results, name);
            if located.is_dir() { located } else { run.to_owned() }
        }
        _ => run.to_owned(),
    }
}

impl Options {
    fn metrics_of(&self, task: Task) -> Vec<String> {
        match self.metrics.is_empty() {
            true => usual(task).iter().map(|m| m.to_string()).collect(),
            false => metrics_of(task).into_iter().map(|(m, _)| m.to_string()).filter(|m| self.metrics.contains(m)).collect(),
        }
    }

    /// Every metric named must be one, and have a value in some row.
    fn check(&self, tables: &[(Asked, Vec<Row>)]) -> Result<()> {
        let elsewhere = |metric: &str| {
            metric == BERTSCORE || [JudgePrompt::Strict, JudgePrompt::Lenient].iter().any(|p| metric == format!("judge_{}", p.name()))
        };
        for metric in &self.metrics {
            let shown = tables.iter().flat_map(|(_, rows)| rows).flat_map(|row| &row.scores).any(|s| s.metric == *metric);
            if shown {
                continue;
            }
            if elsewhere(metric) {
                return Err(
                    BadInput(format!("{metric}: none of the runs has it; it is computed by `nextmem run` or `nextmem judge`")).into()
                );
            }
            let tasks = Task::ALL.into_iter();
            let refused = tasks.map(|task| check_metric(task, metric)).collect::<Result<Vec<_>, _>>().err();
            match refused {
                Some(refusal) if !Task::ALL.into_iter().any(|task| check_metric(task, metric).is_ok()) => return Err(refusal.into()),
                _ => return Err(BadInput(format!("{metric}: none of the runs has a task with this metric")).into()),
            }
        }
        Ok(())
    }
}

/// A hash of all that a sample file asks.
fn items(samples: &Samples) -> String {
    let asked: Vec<_> = (0..samples.len()).map(|i| samples.question(i)).collect();
    sha256(json!(asked).to_string().as_bytes())[..8].to_string()
}

/// The heading of a table; the items are named where another table has the same dataset.
fn title(tables: &[(Asked, Vec<Row>)], asked: &Asked) -> String {
    let same = tables.iter().filter(|(other, _)| (other.task, &other.dataset) == (asked.task, &asked.dataset)).count();
    let items = if same > 1 { format!(", items {}", asked.items) } else { String::new() };
    format!("{}, {} (n = {}{items})", asked.task.name(), asked.dataset, asked.n)
}

/// The metrics of a table in their order.
fn columns(rows: &[Row]) -> Vec<&str> {
    let mut columns: Vec<&str> = Vec::new();
    for score in rows.iter().flat_map(|row| &row.scores) {
        if !columns.contains(&score.metric.as_str()) {
            columns.push(&score.metric);
        }
    }
    columns
}

fn cell(score: &Score) -> Cell {
    if score.method == CHANCE { Cell::plain(score.value, 4) } else { Cell::score(score.value, score.low, score.high) }
}

fn sheet(tables: &[(Asked, Vec<Row>)], at: usize) -> Sheet {
    let (asked, rows) = &tables[at];
    let metrics = columns(rows);
    let cells = |row: &Row| {
        let text = [row.run.clone(), row.backbone.clone(), row_label(asked.task, &row.method).to_string()].map(Cell::Text);
        let scores = metrics.iter().map(|m| row.scores.iter().find(|s| s.metric == *m).map_or(Cell::Missing, cell));
        text.into_iter().chain(scores).collect::<Vec<_>>()
    };
    let others = tables.iter().any(|(other, _)| other != asked && (other.task, &other.dataset) == (asked.task, &asked.dataset));
    let mut notes = vec![ONE_TRAINING.to_string()];
    if others {
        notes.push("Another table has other items under the same name of the dataset: their rows cannot be compared.".into());
    }
    Sheet {
        name: format!("runs-{}-{}", asked.task.name(), asked.dataset),
        title: title(tables, asked),
        columns: ["run", "backbone", "row"].into_iter().chain(metrics.iter().copied()).map(String::from).collect(),
        groups: vec![Group { name: String::new(), rows: rows.iter().map(cells).collect() }],
        notes,
    }
}

fn markdown(tables: &[(Asked, Vec<Row>)]) -> String {
    let mut out = (0..tables.len()).map(|at| sheet(tables, at).markdown()).collect::<Vec<_>>().join("\n");
    if tables.iter().any(|(asked, _)| asked.task == Task::Reconstruction && asked.dataset == "race") {
        out += &format!("\nPublished ablation ({QWEN3}, RACE, reconstruction F1):\n\n| row | f1 |\n|---|---|\n");
        PUBLISHED_ABLATION.iter().for_each(|(label, [f1, ..])| out += &format!("| {label} (paper) | {f1:.4} |\n"));
    }
    out
}

/// Every score with all that it is a score of.
fn all(tables: &[(Asked, Vec<Row>)]) -> impl Iterator<Item = (&Asked, &Row, &Score)> {
    tables.iter().flat_map(|(asked, rows)| rows.iter().flat_map(move |row| row.scores.iter().map(move |score| (asked, row, score))))
}

fn long(tables: &[(Asked, Vec<Row>)]) -> Sheet {
    let line = |(asked, row, score): (&Asked, &Row, &Score)| {
        let texts = [row.run.as_str(), &row.backbone, asked.task.name(), &asked.dataset, &asked.items, &row.method, &score.metric];
        let numbers = [Cell::plain(score.n as f64, 0), Cell::score(score.value, score.low, score.high)];
        texts.map(|text| Cell::Text(text.to_string())).into_iter().chain(numbers).collect::<Vec<Cell>>()
    };
    let columns = ["run", "backbone", "task", "dataset", "items", "row", "metric", "n", "value"];
    let rows = all(tables).map(line).collect();
    Sheet { columns: columns.map(String::from).to_vec(), groups: vec![Group { name: String::new(), rows }], ..Sheet::default() }
}

fn as_json(tables: &[(Asked, Vec<Row>)]) -> Value {
    let object = |(asked, row, score): (&Asked, &Row, &Score)| {
        json!({
            "run": row.run, "backbone": row.backbone, "task": asked.task.name(), "dataset": asked.dataset, "items": asked.items,
            "row": row.method, "metric": score.metric, "version": score.version, "n": score.n, "value": score.value, "low": score.low,
            "high": score.high,
        })
    };
    json!({"scope": ONE_TRAINING, "scores": all(tables).map(object).collect::<Vec<_>>()})
}
