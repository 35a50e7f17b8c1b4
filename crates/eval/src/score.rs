//! Scores from saved samples: no model, no device.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::interval::mean_interval;
use crate::metric::{RANKING_METRICS, TEXT_METRICS, ranking_metric, text_metric};
use crate::sample::{QaSample, ReconstructionSample, RetrievalSample, read_samples};
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

/// Scores one sample file with the metrics named; a file name not made by [`sample_file`] is an error.
pub fn score_file(path: &Path, metrics: &[String]) -> Result<Vec<Score>, EvalError> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let parts: Vec<&str> = name.split('.').collect();
    let named = |task: &&Task| parts.first() == Some(&task.name());
    let (Some(task), [_, dataset, method, "jsonl"]) = (Task::ALL.iter().find(named), parts.as_slice()) else {
        return Err(EvalError::Sample {
            path: path.to_owned(),
            line: 0,
            reason: "expected a name like reconstruction.facts.dense.jsonl".into(),
        });
    };
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
                    let samples: Vec<ReconstructionSample> = read_samples(path)?;
                    put(MEMORY_BYTES, "1 (mean bytes in storage)", &samples.iter().map(|s| s.memory_bytes as f64).collect::<Vec<_>>());
                    samples.into_iter().map(|s| (s.reconstruction, s.reference)).collect()
                }
                _ => read_samples::<QaSample>(path)?.into_iter().map(|s| (s.prediction, s.answer)).collect(),
            };
            for name in metrics {
                check_metric(*task, name)?;
                if let Some(metric) = text_metric(name) {
                    put(name, metric.version(), &pairs.iter().map(|(p, r)| metric.score(p, r)).collect::<Vec<_>>());
                }
            }
        }
        Task::Retrieval => {
            let samples: Vec<RetrievalSample> = read_samples(path)?;
            for name in metrics {
                check_metric(*task, name)?;
                if let Some(metric) = ranking_metric(name) {
                    put(name, metric.version(), &samples.iter().map(|s| metric.score(&s.prediction, &s.hit_list)).collect::<Vec<_>>());
                }
            }
        }
    }
    Ok(scores)
}
