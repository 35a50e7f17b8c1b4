//! The sample files of a run, read back for comparing and exporting: no model, no device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nextmem_eval::metric::{RANKING_METRICS, TEXT_METRICS, ranking_metric, text_metric};
use nextmem_eval::{QaSample, ReconstructionSample, RetrievalSample, Task, read_samples};

use crate::cli::BadInput;

/// One sample file of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleSet {
    /// The task.
    pub task: Task,
    /// The dataset's name.
    pub dataset: String,
    /// The method's name, in task 2 with its mode: `dense-comp`.
    pub method: String,
    /// The file.
    pub path: PathBuf,
}

/// The samples of one file.
pub enum Samples {
    /// Task 1.
    Reconstruction(Vec<ReconstructionSample>),
    /// Task 2.
    ContextualQa(Vec<QaSample>),
    /// Task 3.
    Retrieval(Vec<RetrievalSample>),
}

impl SampleSet {
    /// The sample files in `samples/` of a directory, tasks in the paper's order, then by name; files named otherwise are
    /// named on stderr and left out.
    ///
    /// # Errors
    /// If there is no `samples/` or no sample file in it.
    pub fn list(run: &Path) -> Result<Vec<Self>> {
        let dir = run.join("samples");
        let mut sets = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(|e| BadInput(format!("{}: {e} - expected the samples of a run", dir.display())))? {
            let path = entry.with_context(|| dir.display().to_string())?.path();
            match Self::of_file(&path) {
                Some(set) => sets.push(set),
                None => eprintln!("note: {} is no sample file (TASK.DATASET.METHOD.jsonl), left out", path.display()),
            }
        }
        if sets.is_empty() {
            return Err(BadInput(format!(
                "{}: got no sample files, expected some like reconstruction.facts.dense.jsonl - run the experiment first",
                dir.display()
            ))
            .into());
        }
        sets.sort_by(|a, b| (a.task, &a.dataset, &a.method).cmp(&(b.task, &b.dataset, &b.method)));
        Ok(sets)
    }

    fn of_file(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let [task, dataset, method, "jsonl"] = name.split('.').collect::<Vec<_>>()[..] else { return None };
        let task = Task::ALL.into_iter().find(|t| t.name() == task)?;
        Some(Self { task, dataset: dataset.into(), method: method.into(), path: path.to_owned() })
    }

    /// The method without the mode of task 2, and that mode, or "".
    pub fn method_and_mode(&self) -> (&str, &str) {
        match self.method.rsplit_once('-') {
            Some((method, mode @ ("comp" | "decomp"))) if self.task == Task::ContextualQa => (method, mode),
            _ => (&self.method, ""),
        }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// If it is malformed or holds no sample.
    pub fn read(&self) -> Result<Samples> {
        let samples = match self.task {
            Task::Reconstruction => Samples::Reconstruction(read_samples(&self.path)?),
            Task::ContextualQa => Samples::ContextualQa(read_samples(&self.path)?),
            Task::Retrieval => Samples::Retrieval(read_samples(&self.path)?),
        };
        match samples.len() {
            0 => Err(BadInput(format!("{}: got no samples, expected at least one - finish the run", self.path.display())).into()),
            _ => Ok(samples),
        }
    }
}

impl Samples {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Samples::Reconstruction(samples) => samples.len(),
            Samples::ContextualQa(samples) => samples.len(),
            Samples::Retrieval(samples) => samples.len(),
        }
    }

    /// What was asked in one sample, field by field: equal in two runs over the same data, whatever came back.
    pub fn question(&self, i: usize) -> Vec<(&'static str, String)> {
        match self {
            Samples::Reconstruction(s) => vec![("index", s[i].index.to_string()), ("reference", s[i].reference.clone())],
            Samples::ContextualQa(s) => vec![
                ("index", s[i].index.to_string()),
                ("reference", s[i].reference.clone()),
                ("question", s[i].question.clone()),
                ("answer", s[i].answer.clone()),
            ],
            Samples::Retrieval(s) => vec![
                ("index", s[i].index.to_string()),
                ("question", s[i].question.clone()),
                ("hit_list", format!("{:?}", s[i].hit_list)),
                ("ref_num", s[i].ref_num.to_string()),
            ],
        }
    }

    /// The values of a metric, one a sample; none if the metric does not suit the task.
    pub fn values(&self, metric: &str) -> Option<Vec<f64>> {
        Some(match self {
            Samples::Reconstruction(samples) => {
                let metric = text_metric(metric)?;
                samples.iter().map(|s| metric.score(&s.reconstruction, &s.reference)).collect()
            }
            Samples::ContextualQa(samples) => {
                let metric = text_metric(metric)?;
                samples.iter().map(|s| metric.score(&s.prediction, &s.answer)).collect()
            }
            Samples::Retrieval(samples) => {
                let metric = ranking_metric(metric)?;
                samples.iter().map(|s| metric.score(&s.prediction, &s.hit_list)).collect()
            }
        })
    }
}

/// The metrics of a task, each with its version.
pub fn metrics_of(task: Task) -> Vec<(&'static str, &'static str)> {
    match task {
        Task::Reconstruction | Task::ContextualQa => TEXT_METRICS.iter().map(|m| (m.name(), m.version())).collect(),
        Task::Retrieval => RANKING_METRICS.iter().map(|m| (m.name(), m.version())).collect(),
    }
}
