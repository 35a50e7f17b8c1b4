//! `nextmem export --format lm-eval`: the results of a run in the files of EleutherAI's lm-evaluation-harness.
//!
//! ```text
//! RUN/lm_eval/RUN__METHOD/results_DATE.json
//! RUN/lm_eval/RUN__METHOD/samples_nextmem_recon_DATASET_DATE.jsonl
//! ```
//!
//! What the harness calls a model is a method here, so each has its folder, as the harness makes one per model. The keys
//! are those of its `EvalResults` and `SampleResult` (lm_eval/result_schema.py, 0.4.13), hashes are made as in its
//! `evaluator.py`. Values are computed from the samples. The date is the run's, so that a second export writes the same
//! files. scripts/golden/check_lm_eval.py holds the files against the Python package.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nextmem_eval::{MEMORY_BYTES, Task};
use serde_json::{Map, Value, json};

use crate::cli::BadInput;
use crate::run_dir::{RunDir, read_json, sha256};
use crate::sample_set::{SampleSet, Samples, metrics_of};

/// Version of every task: the number goes up when what is asked changes. Metrics carry versions of their own in `configs`.
const TASK_VERSION: u32 = 1;
/// The name of the only filter: none.
const FILTER: &str = "none";

/// A metric with its values, one a sample.
struct Column {
    metric: &'static str,
    version: &'static str,
    higher_is_better: bool,
    values: Vec<f64>,
}

/// Everything about one task of one method.
struct TaskResult {
    name: String,
    dataset: String,
    columns: Vec<Column>,
    rows: Vec<Value>,
    hash: String,
}

/// Writes the files of a run below `out` and returns their paths. `date`: Unix seconds, instead of what the manifest says.
pub fn export(run: &Path, out: &Path, date: Option<u64>) -> Result<Vec<PathBuf>> {
    let dir = RunDir::open(run).map_err(|e| BadInput(e.to_string()))?;
    let manifest = read_json(&dir.join("manifest.json"))
        .ok_or_else(|| BadInput(format!("{}: no whole manifest.json, expected that of a run - run the experiment again", run.display())))?;
    let date = match date {
        Some(date) => date,
        None => date_of(&manifest, run)?,
    };
    let path = dir.join("resolved.toml");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let experiment: toml::Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let experiment = serde_json::to_value(experiment)?;

    let mut methods: BTreeMap<String, Vec<SampleSet>> = BTreeMap::new();
    for (set, _) in SampleSet::list_checked(run)? {
        methods.entry(set.method_and_mode().0.to_string()).or_default().push(set);
    }
    let run_name = manifest["name"].as_str().unwrap_or("run");
    let mut written = Vec::new();
    for (method, sets) in methods {
        let tasks = sets.iter().map(task_result).collect::<Result<Vec<_>>>()?;
        let model = format!("{run_name}/{method}");
        let folder = out.join(model.replace('/', "__"));
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let mut write = |name: String, text: String| -> Result<()> {
            let path = folder.join(name);
            nextmem_model::write_atomically(&path, text.as_bytes())?;
            written.push(path);
            Ok(())
        };
        let results = results(&model, &tasks, &manifest, &experiment, date);
        write(format!("results_{}.json", file_date(date)), format!("{results:#}\n"))?;
        for task in &tasks {
            let lines: String = task.rows.iter().map(|row| format!("{row}\n")).collect();
            write(format!("samples_{}_{}.jsonl", task.name, file_date(date)), lines)?;
        }
    }
    Ok(written)
}

/// When the run ended; for runs without a time, when their commit was made.
fn date_of(manifest: &Value, run: &Path) -> Result<u64> {
    if let Some(date) = manifest["ended_unix_seconds"].as_u64() {
        return Ok(date);
    }
    // Only a hash: what starts with a dash would be an option of git.
    let commit = manifest["commit"].as_str().filter(|commit| commit.bytes().all(|b| b.is_ascii_hexdigit()));
    let of_commit = commit.and_then(|commit| {
        let output = Command::new("git").args(["show", "-s", "--format=%ct", commit, "--"]).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok().filter(|_| output.status.success())
    });
    of_commit.ok_or_else(|| {
        let reason = "no `ended_unix_seconds` and no commit of this repository in it, expected the time of the run";
        BadInput(format!("{}: {reason} - give --date", run.join("manifest.json").display())).into()
    })
}

/// A time as in the harness's file names (UTC): 2026-05-09T01-40-24.
fn file_date(unix_seconds: u64) -> String {
    let (days, seconds) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Civil date from days (Hinnant, "chrono-compatible low-level date algorithms"): years start in March, so that the
    // leap day ends one; eras are 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}-{:02}-{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `nextmem_recon_facts`, `nextmem_qa_comp_facts`, `nextmem_retrieval_facts`.
fn task_name(set: &SampleSet) -> String {
    let kind = match set.task {
        Task::Reconstruction => "recon",
        Task::ContextualQa => "qa",
        Task::Retrieval => "retrieval",
    };
    let parts = ["nextmem", kind, set.method_and_mode().1, &set.dataset];
    let name = parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("_");
    // As the harness's `sanitize_task_name`.
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

fn task_result(set: &SampleSet) -> Result<TaskResult> {
    let samples = set.read()?;
    let mut columns: Vec<Column> = metrics_of(set.task)
        .into_iter()
        .filter_map(|(metric, version)| Some(Column { metric, version, higher_is_better: true, values: samples.values(metric)? }))
        .collect();
    if let Samples::Reconstruction(samples) = &samples {
        let values = samples.iter().map(|s| s.memory_bytes as f64).collect();
        columns.push(Column { metric: MEMORY_BYTES, version: "1 (mean bytes in storage)", higher_is_better: false, values });
    }
    let mut hashes = String::new();
    let rows = (0..samples.len())
        .map(|i| {
            let (doc, target, prompt, response) = parts(&samples, i);
            let hash = |text: &str| sha256(text.as_bytes());
            let (doc_hash, prompt_hash, target_hash) = (hash(&format!("{doc:#}")), hash(&prompt), hash(&target));
            hashes += &[doc_hash.as_str(), &prompt_hash, &target_hash].concat();
            let mut row = json!({
                "doc_id": doc["index"],
                "doc": doc,
                "target": target,
                "arguments": { "gen_args_0": { "arg_0": prompt } },
                "resps": [[response]],
                "filtered_resps": [response],
                "filter": FILTER,
                "metrics": columns.iter().map(|c| c.metric).collect::<Vec<_>>(),
                "doc_hash": doc_hash,
                "prompt_hash": prompt_hash,
                "target_hash": target_hash,
            });
            columns.iter().for_each(|c| row[c.metric] = c.values[i].into());
            row
        })
        .collect();
    Ok(TaskResult { name: task_name(set), dataset: set.dataset.clone(), columns, rows, hash: sha256(hashes.as_bytes()) })
}

/// A sample's document, target, prompt and response. The prompt is what the method was given: the passage, in task 2 with the
/// question below it; in task 3 the question, the passages searched not being in the sample file.
fn parts(samples: &Samples, i: usize) -> (Value, String, String, String) {
    match samples {
        Samples::Reconstruction(samples) => {
            let s = &samples[i];
            let doc = json!({ "index": s.index, "reference": s.reference, "word_num": s.word_num });
            (doc, s.reference.clone(), s.reference.clone(), s.reconstruction.clone())
        }
        Samples::ContextualQa(samples) => {
            let s = &samples[i];
            let doc = json!({
                "index": s.index, "reference": s.reference, "question": s.question, "answer": s.answer, "ref_word_num": s.ref_word_num,
            });
            (doc, s.answer.clone(), format!("{}\n\n{}", s.reference, s.question), s.prediction.clone())
        }
        Samples::Retrieval(samples) => {
            let s = &samples[i];
            let doc = json!({ "index": s.index, "question": s.question, "hit_list": s.hit_list, "ref_num": s.ref_num });
            (doc, format!("{:?}", s.hit_list), s.question.clone(), format!("{:?}", s.prediction))
        }
    }
}

/// The harness's mean and standard error of the mean, "N/A" for a single sample.
fn mean_and_stderr(values: &[f64]) -> (f64, Value) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    let stderr = if values.len() < 2 { "N/A".into() } else { ((squares / (n - 1.0)).sqrt() / n.sqrt()).into() };
    (mean, stderr)
}

fn results(model: &str, tasks: &[TaskResult], manifest: &Value, experiment: &Value, date: u64) -> Value {
    let each = |f: &dyn Fn(&TaskResult) -> Value| Value::Object(tasks.iter().map(|t| (t.name.clone(), f(t))).collect::<Map<_, _>>());
    let device = &manifest["device"];
    json!({
        "results": each(&|task| {
            let mut out = json!({ "name": task.name, "alias": task.name, "sample_len": task.rows.len() });
            for column in &task.columns {
                let (mean, stderr) = mean_and_stderr(&column.values);
                out[format!("{},{FILTER}", column.metric)] = mean.into();
                out[format!("{}_stderr,{FILTER}", column.metric)] = stderr;
            }
            out
        }),
        "group_subtasks": each(&|_| json!([])),
        "configs": each(&|task| json!({
            "task": task.name,
            "dataset_name": task.dataset,
            "output_type": "generate_until",
            "num_fewshot": 0,
            "repeats": 1,
            "metric_list": task.columns.iter().map(|c| json!({
                "metric": c.metric,
                "aggregation": "mean",
                "higher_is_better": c.higher_is_better,
                "version": c.version,
            })).collect::<Vec<_>>(),
            "metadata": { "version": TASK_VERSION },
        })),
        "versions": each(&|_| TASK_VERSION.into()),
        "n-shot": each(&|_| 0.into()),
        "higher_is_better": each(&|task| task.columns.iter().map(|c| (c.metric.to_string(), c.higher_is_better.into())).collect::<Map<_, _>>().into()),
        "n-samples": each(&|task| json!({ "original": task.rows.len(), "effective": task.rows.len() })),
        "config": {
            "model": "nextmem",
            "model_args": { "model": model, "backbone": manifest["backbone"] },
            "model_dtype": device["dtype"],
            "batch_size": experiment["eval"]["batch_size"].to_string(),
            "batch_sizes": [],
            "device": format!("{}:{}", device["backend"].as_str().unwrap_or("unknown"), device["index"].as_u64().unwrap_or(0)),
            "use_cache": null,
            "limit": null,
            // Standard errors are those of the mean; nothing is resampled.
            "bootstrap_iters": 0,
            "gen_kwargs": null,
            "random_seed": experiment["seed"],
            "experiment": experiment,
        },
        "git_hash": manifest["commit"],
        "date": date as f64,
        "nextmem_version": manifest["nextmem"],
        "task_hashes": each(&|task| task.hash.clone().into()),
        "model_source": "nextmem",
        "model_name": model,
        "model_name_sanitized": model.replace('/', "__"),
        "total_evaluation_time_seconds": manifest["seconds"].to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_known_seconds() {
        assert_eq!(file_date(0), "1970-01-01T00-00-00");
        assert_eq!(file_date(951_782_399), "2000-02-28T23-59-59");
        assert_eq!(file_date(951_782_400), "2000-02-29T00-00-00");
        assert_eq!(file_date(1_709_251_199), "2024-02-29T23-59-59");
        assert_eq!(file_date(1_735_689_599), "2024-12-31T23-59-59");
        assert_eq!(file_date(4_107_542_400), "2100-03-01T00-00-00");
    }

    #[test]
    fn standard_errors_of_few_values() {
        assert_eq!(mean_and_stderr(&[0.5]), (0.5, "N/A".into()));
        // Deviations -+0.5: sqrt((0.25 + 0.25) / 1) / sqrt(2) = 0.5.
        let (mean, stderr) = mean_and_stderr(&[0.0, 1.0]);
        assert!(mean == 0.5 && stderr.as_f64().is_some_and(|s| (s - 0.5).abs() < 1e-15), "{stderr}");
    }

    #[test]
    fn task_names_hold_letters_digits_and_underscores() {
        let set = |task, dataset: &str, method: &str| SampleSet {
            task,
            dataset: dataset.into(),
            method: method.into(),
            path: PathBuf::new(),
            promised: None,
        };
        assert_eq!(task_name(&set(Task::Reconstruction, "facts", "dense")), "nextmem_recon_facts");
        assert_eq!(task_name(&set(Task::ContextualQa, "squad-v1", "dense-decomp")), "nextmem_qa_decomp_squad_v1");
        assert_eq!(task_name(&set(Task::ContextualQa, "facts", "text")), "nextmem_qa_facts");
        assert_eq!(task_name(&set(Task::Retrieval, "facts", "sparse-no-scales")), "nextmem_retrieval_facts");
    }
}
