//! `score`: from samples to scores.json, table.md and the tables of every task; no model.

use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;
use nextmem_eval::{Score, Task, check_metric, markdown, score_file, score_without_memory};
use serde_json::json;

use crate::bertscore::bertscores;
use crate::experiment::TaskConfig;
use crate::judge::judge_scores;
use crate::plan::tasks;
use crate::rate;
use crate::reproduce::tables;
use crate::run_dir::{DirLock, RunDir, read_json};
use crate::sample_set::identity::{Identity, are_of, hashes};
use crate::sample_set::{SampleSet, metrics_of};
use crate::terminal::note_once;

/// Metrics beside those of the experiment.
#[derive(Clone, Debug, Default, Args)]
pub struct Wanted {
    /// Metrics beside those that the experiment names, like meteor or ndcg@5
    #[arg(long = "metric", value_name = "NAME", num_args = 1..)]
    metrics: Vec<String>,
    /// Every metric of every task
    #[arg(long)]
    all: bool,
}

/// What scoring gives to print.
pub struct Scored {
    /// Every table, as in table.md.
    pub tables: String,
    /// The rows of dense, sparse and text at a glance.
    pub summary: String,
}

impl Wanted {
    /// The metrics of a task: the experiment's first, then those wanted in the order of the tables.
    fn of(&self, task: Task, config: &TaskConfig) -> Vec<String> {
        let mut metrics = config.metrics.clone();
        let wanted = metrics_of(task).into_iter().map(|(name, _)| name.to_string()).filter(|m| self.all || self.metrics.contains(m));
        for metric in wanted {
            if !metrics.contains(&metric) {
                metrics.push(metric);
            }
        }
        metrics
    }

    /// Every metric asked for must suit one of the tasks.
    fn check(&self, tasks: &[Task]) -> Result<()> {
        for metric in &self.metrics {
            let refusals = tasks.iter().map(|task| check_metric(*task, metric)).collect::<Result<Vec<_>, _>>();
            if let (Err(refusal), false) = (refusals, tasks.iter().any(|task| check_metric(*task, metric).is_ok())) {
                return Err(refusal.into());
            }
        }
        Ok(())
    }
}

/// What scores.json was computed from: the SHA-256 of every sample file, and the identity of those samples.
const SCORED: &str = "scored.json";

/// Scores the saved samples of a run again, writes scores.json, table.md and tables/, and returns what to print.
///
/// # Errors
/// Samples that are not whole, not those that the evaluation was to make, or not of the same items in every row.
pub fn score(root: &Path, wanted: &Wanted) -> Result<Scored> {
    let dir = RunDir::open(root)?;
    let read_only = not_writable(root);
    let _lock = if read_only.is_none() { Some(DirLock::acquire(root)?) } else { None };
    let e = dir.experiment()?;
    let tasks = tasks(&e);
    wanted.check(&tasks.iter().map(|(task, _)| *task).collect::<Vec<_>>())?;
    let mut sets: Vec<SampleSet> = SampleSet::list_checked(root)?.into_iter().map(|(set, _)| set).collect();
    sets.sort_by_key(row_order);
    let mut scores: Vec<Score> = Vec::new();
    for (task, config) in &tasks {
        let metrics = wanted.of(*task, config);
        let mut datasets: Vec<&SampleSet> = Vec::new();
        for set in sets.iter().filter(|set| set.task == *task) {
            scores.extend(score_file(&set.path, &metrics)?);
            if !datasets.iter().any(|first| first.dataset == set.dataset) {
                datasets.push(set);
            }
        }
        for first in datasets {
            scores.extend(score_without_memory(&first.path, &metrics)?);
        }
    }
    // What needed a model or a judge is not computed again.
    scores.extend(bertscores(root));
    scores.extend(judge_scores(root));
    if scores.is_empty() {
        bail!("{}: no samples yet; run the experiment first", root.display());
    }
    let backbone = read_json(&dir.join("manifest.json"))
        .and_then(|m| m["backbone"].as_str().map(String::from))
        .unwrap_or_else(|| "unknown backbone".into());
    let tables = markdown(&scores, &e.name, &backbone) + &rate::markdown(&rate::read(root));
    let scored = Scored { tables, summary: summary(&e.name, &scores) };
    match read_only {
        // What was run elsewhere, or by somebody else, can still be looked at.
        Some(reason) => eprintln!("note: {}: {reason}; the tables are printed and not written", root.display()),
        None => write(&dir, &e.name, &sets, &scores, &scored.tables)?,
    }
    Ok(scored)
}

fn write(dir: &RunDir, name: &str, sets: &[SampleSet], scores: &[Score], tables: &str) -> Result<()> {
    let identity = Identity::read(dir.root())?.map(|identity| identity.hash);
    write_if_new(dir, "scores.json", &format!("{}\n", serde_json::to_string_pretty(scores)?))?;
    let of = json!({"identity": identity, "samples": hashes(sets)?});
    write_if_new(dir, SCORED, &format!("{}\n", serde_json::to_string_pretty(&of)?))?;
    write_if_new(dir, "table.md", tables)?;
    std::fs::create_dir_all(dir.join("tables")).with_context(|| dir.join("tables").display().to_string())?;
    for task in Task::ALL {
        let of_task: Vec<Score> = scores.iter().filter(|s| s.task == task.name()).cloned().collect();
        if !of_task.is_empty() {
            let sheet = tables::metrics(dir.root(), task, task.name(), &format!("{name}: {}", task.name()), &of_task);
            write_if_new(dir, &format!("tables/{}.csv", task.name()), &sheet.csv())?;
            write_if_new(dir, &format!("tables/{}.tex", task.name()), &sheet.latex(true))?;
        }
    }
    Ok(())
}

/// Leaves a file alone that already says this.
fn write_if_new(dir: &RunDir, name: &str, text: &str) -> Result<()> {
    match std::fs::read(dir.join(name)) {
        Ok(bytes) if bytes == text.as_bytes() => Ok(()),
        _ => dir.write(name, text.as_bytes()),
    }
}

/// The system's reason if nothing may be written to a directory: a read-only file system, or somebody else's files.
pub fn not_writable(dir: &Path) -> Option<std::io::Error> {
    use std::io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem};
    let probe = dir.join(format!("probe-{}.tmp", std::process::id()));
    match std::fs::File::create(&probe) {
        Ok(_) => {
            // What is left of it says nothing and is overwritten by the next.
            let _ = std::fs::remove_file(&probe);
            None
        }
        Err(reason) => matches!(reason.kind(), PermissionDenied | ReadOnlyFilesystem).then_some(reason),
    }
}

/// Text first, then dense, then quantised, then the baselines.
pub fn row_order(set: &SampleSet) -> (usize, String, String) {
    let order = ["text", "dense", "sparse", "icae", "dyprag", "mean-pooled", "bm25", "bge"];
    let rank = order.iter().position(|m| set.method.starts_with(m)).unwrap_or(order.len());
    (rank, set.method.clone(), set.dataset.clone())
}

/// A column of the summary: a task with the ends of a row's name and the metrics that may stand there, the best first.
const SUMMARY: [(Task, &[&str], &[&str]); 3] = [
    (Task::Reconstruction, &[""], &["f1"]),
    (Task::ContextualQa, &["-decomp", ""], &["exact_match", "f1"]),
    (Task::Retrieval, &[""], &["hit@5", "mrr@5"]),
];

/// The rows that a run is made for, one number a task, in lines that fit a terminal.
fn summary(name: &str, scores: &[Score]) -> String {
    let mut columns: Vec<[String; 6]> = Vec::new();
    for (task, ends, metrics) in SUMMARY {
        let of_task: Vec<&Score> = scores.iter().filter(|s| s.task == task.name()).collect();
        let Some(metric) = metrics.iter().find(|m| of_task.iter().any(|s| s.metric == **m)) else { continue };
        let of_metric: Vec<&&Score> = of_task.iter().filter(|s| s.metric == *metric).collect();
        let first = of_metric[0];
        let cell = |names: &[&str]| {
            let named =
                |s: &&&&Score| s.dataset == first.dataset && names.iter().any(|n| ends.iter().any(|end| s.method == format!("{n}{end}")));
            of_metric.iter().find(named).map_or("-".to_string(), |s| format!("{:.4}", s.value))
        };
        columns.push([
            task.name().to_string(),
            format!("{}, n = {}", first.dataset, first.n),
            metric.to_string(),
            cell(&["dense"]),
            cell(&["sparse", "sparse-no-scales"]),
            cell(&["text"]),
        ]);
    }
    let heads = [name, "", "", "dense", "sparse", "text"];
    let line = |row: usize| {
        let cells = columns.iter().map(|column| {
            let width = column.iter().map(|cell| cell.len()).max().unwrap_or(0) + 3;
            format!("{:>width$}", column[row])
        });
        let head = heads.iter().map(|head| head.len()).max().unwrap_or(0);
        format!("{:<head$}{}", heads[row], cells.collect::<String>()).trim_end().to_string()
    };
    (0..heads.len()).map(line).collect::<Vec<_>>().join("\n")
}

/// A word on stderr where scores.json and table.md of a run are not of the samples that it holds.
pub fn warn_if_stale(run: &Path) {
    let path = run.join("scores.json");
    // Scores without it were written before it was kept.
    if path.is_file() && read_json(&run.join(SCORED)).is_some_and(|kept| !are_of(run, &kept)) {
        note_once(format!("{}: is of other samples than the run holds; `nextmem score {}` renews it", path.display(), run.display()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(task: Task, method: &str, metric: &str, value: f64, n: usize) -> Score {
        let (task, dataset, version) = (task.name().to_string(), "facts".to_string(), "1".to_string());
        Score { task, dataset, method: method.into(), metric: metric.into(), version, value, low: value, high: value, n }
    }

    #[test]
    fn the_summary_fits_a_terminal() {
        let scores = [
            score(Task::Reconstruction, "text", "f1", 1.0, 400),
            score(Task::Reconstruction, "dense", "f1", 0.97, 400),
            score(Task::Reconstruction, "sparse-no-scales", "f1", 0.95, 400),
            score(Task::ContextualQa, "text", "exact_match", 0.94, 400),
            score(Task::ContextualQa, "dense-comp", "exact_match", 0.14, 400),
            score(Task::ContextualQa, "dense-decomp", "exact_match", 0.58, 400),
            score(Task::Retrieval, "dense", "hit@5", 0.82, 200),
        ];
        let text = summary("tiny", &scores);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "tiny     reconstruction    contextual_qa        retrieval",
                "         facts, n = 400   facts, n = 400   facts, n = 200",
                "                     f1      exact_match            hit@5",
                "dense            0.9700           0.5800           0.8200",
                "sparse           0.9500                -                -",
                "text             1.0000           0.9400                -",
            ],
            "{text}"
        );
    }
}
