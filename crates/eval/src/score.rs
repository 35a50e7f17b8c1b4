//! Scores from saved samples: no model, no device.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::interval::mean_interval;
use crate::metric::{RANKING_METRICS, RankingMetric, TEXT_METRICS, TextMetric, ranking_metric, text_metric};
use crate::sample::{QaSample, ReconstructionSample, RetrievalSample, Sample, read_samples};
use crate::task::Task;

/// The mean of one metric over one sample file, with its 95% interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The task's name.
    pub task: String,
    /// The dataset's name.
    pub dataset: String,
    /// The method's name in file names: `text`, `dense`, `sparse`, with `-comp` or `-decomp` in task 2.
    pub method: String,
    /// The metric's name.
    pub metric: String,
    /// The metric's version and formula.
    pub version: String,
    /// The mean.
    pub value: f64,
    /// Lower end of the 95% interval.
    pub low: f64,
    /// Upper end of the 95% interval.
    pub high: f64,
    /// Samples.
    pub n: usize,
}

/// The row of guessing, which stands beside rankings: what a random order scores on average.
pub const CHANCE: &str = "chance";

/// The row of an answer without memory, which stands beside texts: that of the next item.
pub const FLOOR: &str = "floor";

/// The mean storage of a memory, in bytes.
pub const MEMORY_BYTES: &str = "memory_bytes";

/// Whether a metric of that name can score a task; the error lists those that can.
pub fn check_metric(task: Task, name: &str) -> Result<(), EvalError> {
    let known: Vec<&str> = match task {
        Task::Reconstruction | Task::ContextualQa => TEXT_METRICS.iter().map(|m| m.name()).collect(),
        Task::Retrieval => RANKING_METRICS.iter().map(|m| m.name()).collect(),
    };
    match known.contains(&name) {
        true => Ok(()),
        false => Err(EvalError::Metric { task: task.name(), got: name.to_string(), known: known.join(", ") }),
    }
}

/// File name of the samples of a task, dataset and method.
pub fn sample_file(task: Task, dataset: &str, method: &str) -> String {
    format!("{}.{dataset}.{method}.jsonl", task.name())
}

/// The task, dataset and method of a sample file, by its name.
///
/// # Errors
/// [`EvalError::Name`] for a name not made by [`sample_file`].
pub fn parse_sample_file(path: &Path) -> Result<(Task, &str, &str), EvalError> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let parts: Vec<&str> = name.split('.').collect();
    let task = Task::ALL.into_iter().find(|task| parts.first() == Some(&task.name()));
    match (task, parts.as_slice()) {
        (Some(task), [_, dataset, method, "jsonl"]) => Ok((task, dataset, method)),
        _ => Err(EvalError::Name { path: path.to_owned() }),
    }
}

/// Scores one sample file with the metrics named.
///
/// # Errors
/// [`EvalError::Unfinished`] for a file without samples, and what [`read_samples`], [`check_metric`] and
/// [`parse_sample_file`] refuse.
pub fn score_file(path: &Path, metrics: &[String]) -> Result<Vec<Score>, EvalError> {
    let (task, dataset, method) = parse_sample_file(path)?;
    let mut scores = Vec::new();
    let mut put = |metric: &str, version: &str, values: &[f64]| {
        let (value, interval) = mean_interval(values);
        scores.push(Score {
            task: task.name().into(),
            dataset: dataset.to_string(),
            method: method.to_string(),
            metric: metric.into(),
            version: version.into(),
            value,
            low: interval.low,
            high: interval.high,
            n: values.len(),
        });
    };
    match task {
        Task::Reconstruction | Task::ContextualQa => {
            let pairs: Vec<(String, String)> = match task {
                Task::Reconstruction => {
                    let samples: Vec<ReconstructionSample> = some(path)?;
                    put(MEMORY_BYTES, "1 (mean bytes in storage)", &samples.iter().map(|s| s.memory_bytes as f64).collect::<Vec<_>>());
                    samples.into_iter().map(|s| (s.reconstruction, s.reference)).collect()
                }
                _ => some::<QaSample>(path)?.into_iter().map(|s| (s.prediction, s.answer)).collect(),
            };
            for name in metrics {
                check_metric(task, name)?;
                if let Some(metric) = text_metric(name) {
                    put(name, metric.version(), &pairs.iter().map(|(p, r)| metric.score(p, r)).collect::<Vec<_>>());
                }
            }
        }
        Task::Retrieval => {
            let samples: Vec<RetrievalSample> = some(path)?;
            for name in metrics {
                check_metric(task, name)?;
                if let Some(metric) = ranking_metric(name) {
                    put(name, metric.version(), &samples.iter().map(|s| metric.score(&s.prediction, &s.hit_list)).collect::<Vec<_>>());
                }
            }
        }
    }
    Ok(scores)
}

/// What can be scored without any memory on the items of a sample file: in task 3 by a random order ([`CHANCE`], exact, so
/// without an interval), in tasks 1 and 2 by the text that the next item expects ([`FLOOR`]; none where all expect the same).
///
/// # Errors
/// As [`score_file`].
pub fn score_without_memory(path: &Path, metrics: &[String]) -> Result<Vec<Score>, EvalError> {
    let (task, dataset, _) = parse_sample_file(path)?;
    let score = |method: &str, metric: &str, version: &str, value: f64, [low, high]: [f64; 2], n: usize| Score {
        task: task.name().into(),
        dataset: dataset.into(),
        method: method.into(),
        metric: metric.into(),
        version: version.into(),
        value,
        low,
        high,
        n,
    };
    metrics.iter().try_for_each(|name| check_metric(task, name))?;
    let expected: Vec<String> = match task {
        Task::Reconstruction => some::<ReconstructionSample>(path)?.into_iter().map(|s| s.reference).collect(),
        Task::ContextualQa => some::<QaSample>(path)?.into_iter().map(|s| s.answer).collect(),
        Task::Retrieval => {
            let samples: Vec<RetrievalSample> = some(path)?;
            let chance = |metric: &'static dyn RankingMetric| {
                let sum: f64 = samples.iter().map(|s| metric.chance(s.ref_num, s.hit_list.len())).sum();
                let mean = sum / samples.len() as f64;
                score(CHANCE, metric.name(), metric.version(), mean, [mean, mean], samples.len())
            };
            return Ok(metrics.iter().filter_map(|name| ranking_metric(name)).map(chance).collect());
        }
    };
    let n = expected.len();
    let next = |i: usize| (1..n).map(|step| &expected[(i + step) % n]).find(|text| **text != expected[i]);
    let Some(others) = (0..n).map(next).collect::<Option<Vec<_>>>() else { return Ok(Vec::new()) };
    let floor = |metric: &'static dyn TextMetric| {
        let values: Vec<f64> = others.iter().zip(&expected).map(|(other, own)| metric.score(other, own)).collect();
        let (value, interval) = mean_interval(&values);
        score(FLOOR, metric.name(), metric.version(), value, [interval.low, interval.high], n)
    };
    Ok(metrics.iter().filter_map(|name| text_metric(name)).map(floor).collect())
}

/// The samples of a file, at least one.
fn some<S: Sample>(path: &Path) -> Result<Vec<S>, EvalError> {
    let samples = read_samples(path)?;
    match samples.is_empty() {
        true => Err(EvalError::Unfinished { path: path.to_owned(), reason: "no samples in it".into() }),
        false => Ok(samples),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn file(name: &str, lines: &[serde_json::Value]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        (dir, path)
    }

    fn values(scores: &[Score]) -> Vec<(&str, &str, f64, usize)> {
        scores.iter().map(|s| (s.method.as_str(), s.metric.as_str(), s.value, s.n)).collect()
    }

    #[test]
    fn what_no_memory_scores() {
        let passage =
            |index: usize, text: &str| serde_json::json!({"index": index, "reference": text, "reconstruction": "", "word_num": 2});
        let (_dir, path) = file("reconstruction.x.dense.jsonl", &[passage(0, "red cat"), passage(1, "red dog"), passage(2, "red dog")]);
        let metrics = ["f1".to_string(), "exact_match".to_string()];
        // The second passage is compared with the first: the third is the same.
        assert_eq!(values(&score_without_memory(&path, &metrics).unwrap()), [(FLOOR, "f1", 0.5, 3), (FLOOR, "exact_match", 0.0, 3)]);
        let (_dir, path) = file("reconstruction.x.dense.jsonl", &[passage(0, "red cat")]);
        assert_eq!(score_without_memory(&path, &metrics).unwrap(), []);
        let ranked = |index: usize, gold: &[usize]| serde_json::json!({"index": index, "question": "", "hit_list": gold, "prediction": [0, 1, 2, 3, 4], "ref_num": 20});
        let (_dir, path) = file("retrieval.x.dense.jsonl", &[ranked(0, &[7]), ranked(1, &[7, 9])]);
        let chance = score_without_memory(&path, &["hit@5".to_string()]).unwrap();
        let expected = (0.25 + 1.0 - 210.0 / 380.0) / 2.0;
        assert!((chance[0].value - expected).abs() < 1e-12 && chance[0].low == chance[0].high && chance[0].method == CHANCE, "{chance:?}");
        assert!(score_without_memory(&path, &["f1".to_string()]).is_err());
    }

    #[test]
    fn a_file_without_samples_is_no_row() {
        let (_dir, path) = file("retrieval.x.dense.jsonl", &[]);
        for error in [score_file(&path, &[]).unwrap_err(), score_without_memory(&path, &[]).unwrap_err()] {
            assert!(error.to_string().contains("no samples in it"), "{error}");
        }
        let (_dir, path) = file("notes.jsonl", &[]);
        assert!(score_file(&path, &[]).unwrap_err().to_string().contains("TASK.DATASET.METHOD"));
    }
}
