//! The sample files of a run, read back for comparing and exporting: no model, no device.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nextmem_eval::metric::{RANKING_METRICS, TEXT_METRICS, ranking_metric, text_metric};
use nextmem_eval::{EvalError, QaSample, ReconstructionSample, RetrievalSample, Sample, Task, parse_sample_file, read_samples};

use crate::cli::BadInput;
use crate::terminal::note_once;

pub mod identity;

use identity::Identity;

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
    /// How many samples it is to have; unknown for runs that were made before identities were kept.
    pub promised: Option<usize>,
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
    /// If there is no `samples/` or no sample file in it, or not all of those that the evaluation was to make.
    pub fn list(run: &Path) -> Result<Vec<Self>> {
        let dir = run.join("samples");
        let identity = Identity::read(run)?;
        let mut sets = Vec::new();
        for entry in std::fs::read_dir(&dir).map_err(|e| BadInput(format!("{}: {e} - expected the samples of a run", dir.display())))? {
            let path = entry.with_context(|| dir.display().to_string())?.path();
            match Self::of_file(&path) {
                Some(set) => sets.push(set),
                None if is_own(&path) => {}
                None => note_once(format!("{} is no sample file (TASK.DATASET.METHOD.jsonl), left out", path.display())),
            }
        }
        match &identity {
            Some(identity) => keep_promised(run, identity, &mut sets)?,
            None if run.join("resolved.toml").is_file() && !sets.is_empty() => note_once(format!(
                "{}: made before identities of samples were kept; that these samples are of this experiment, and all of them, \
                 cannot be checked",
                run.display()
            )),
            None => {}
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

    /// As [`SampleSet::list`], every file read and checked against itself, its promise, and the others: all rows of a
    /// task and dataset must be of the same items.
    ///
    /// # Errors
    /// The file, and where it differs from which other.
    pub fn list_checked(run: &Path) -> Result<Vec<(Self, Samples)>> {
        let read = |set: Self| set.read().map(|samples| (set, samples));
        let sets = Self::list(run)?.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        for pair in sets.windows(2).filter(|pair| (pair[0].0.task, &pair[0].0.dataset) == (pair[1].0.task, &pair[1].0.dataset)) {
            let [(a, of_a), (b, of_b)] = pair else { continue };
            same_items(&a.path, of_a, &b.path, of_b)?;
        }
        Ok(sets)
    }

    fn of_file(path: &Path) -> Option<Self> {
        let (task, dataset, method) = parse_sample_file(path).ok()?;
        Some(Self { task, dataset: dataset.into(), method: method.into(), path: path.to_owned(), promised: None })
    }

    /// TASK.DATASET.METHOD.jsonl.
    pub fn file_name(&self) -> String {
        nextmem_eval::sample_file(self.task, &self.dataset, &self.method)
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
    /// If it is malformed, holds no sample, or not as many as it was to have.
    pub fn read(&self) -> Result<Samples> {
        let samples = match self.task {
            Task::Reconstruction => Samples::Reconstruction(read_samples(&self.path)?),
            Task::ContextualQa => Samples::ContextualQa(read_samples(&self.path)?),
            Task::Retrieval => Samples::Retrieval(read_samples(&self.path)?),
        };
        let (got, path) = (samples.len(), self.path.clone());
        match self.promised {
            Some(expected) if got < expected => Err(EvalError::Unfinished { path, reason: format!("{got} of {expected} samples") }.into()),
            Some(expected) if got > expected => {
                let reason = format!("got {got} samples, expected {expected} as in {}", identity::FILE);
                Err(BadInput(format!("{}: {reason} - delete the file and run the experiment again", path.display())).into())
            }
            _ if got == 0 => Err(EvalError::Unfinished { path, reason: "got no samples, expected at least one".into() }.into()),
            _ => Ok(samples),
        }
    }
}

/// Files in `samples/` that are this program's and no samples.
fn is_own(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    matches!(name.as_str(), "identity.json" | "fingerprint") || name.ends_with(".tmp")
}

/// Keeps the sample files that the evaluation was to make, which must all be there.
fn keep_promised(run: &Path, identity: &Identity, sets: &mut Vec<SampleSet>) -> Result<()> {
    sets.retain_mut(|set| {
        set.promised = identity.files.get(&set.file_name()).copied();
        if set.promised.is_none() {
            note_once(format!("{} is not of the last evaluation ({}), left out", set.path.display(), identity::FILE));
        }
        set.promised.is_some()
    });
    let missing: Vec<&String> = identity.files.keys().filter(|name| !sets.iter().any(|set| set.file_name() == **name)).collect();
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(EvalError::Unfinished {
            path: run.join("samples"),
            reason: format!("{} of {} sample files are missing, {first} first", missing.len(), identity.files.len()),
        }
        .into()),
    }
}

/// Two files are rows of one table, or pairs of a comparison, only if both were asked the same.
///
/// # Errors
/// The first index and field that differ, or the numbers of samples.
pub fn same_items(path_a: &Path, a: &Samples, path_b: &Path, b: &Samples) -> Result<()> {
    for i in 0..a.len().min(b.len()) {
        if let Some(((field, _), _)) = a.question(i).iter().zip(&b.question(i)).find(|(x, y)| x != y) {
            return Err(BadInput(format!(
                "{}: index {i}: got another `{field}` than {}, expected the same samples in the same order - evaluate both on the same data",
                path_b.display(),
                path_a.display()
            ))
            .into());
        }
    }
    if a.len() != b.len() {
        return Err(BadInput(format!(
            "{}: got {} samples, expected {} as in {} - finish the shorter evaluation, or give both the same `limit`",
            path_b.display(),
            b.len(),
            a.len(),
            path_a.display()
        ))
        .into());
    }
    Ok(())
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
            Samples::Reconstruction(samples) => samples[i].asked(),
            Samples::ContextualQa(samples) => samples[i].asked(),
            Samples::Retrieval(samples) => samples[i].asked(),
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
