//! What can go wrong while evaluating.

use std::path::PathBuf;

use thiserror::Error;

/// An error of a task, a metric or a sample file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvalError {
    /// The model refused an input.
    #[error(transparent)]
    Model(#[from] nextmem_model::ModelError),
    /// A metric that does not exist or does not suit the task.
    #[error("task `{task}`: got metric `{got}`, expected one of {known}")]
    Metric {
        /// The task.
        task: &'static str,
        /// The metric asked for.
        got: String,
        /// Those that suit it.
        known: String,
    },
    /// A line of a sample file that is not a sample, or not the one that belongs there.
    #[error("{path}: line {line}: {reason} - delete the file and run the experiment again", path = .path.display())]
    Sample {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A sample file that a killed evaluation left, or that holds nothing.
    #[error("{path}: {reason} - run the experiment again (`nextmem run`); it goes on where it stopped", path = .path.display())]
    Unfinished {
        /// The file.
        path: PathBuf,
        /// What is missing.
        reason: String,
    },
    /// A sample file whose name says neither task nor method.
    #[error("{path}: expected a name like reconstruction.facts.dense.jsonl (TASK.DATASET.METHOD.jsonl)", path = .path.display())]
    Name {
        /// The file.
        path: PathBuf,
    },
    /// A line of a file that is no WordNet file.
    #[error("{path}: line {line}: expected {expected} - give the `dict` directory of WordNet 3.x as it was published", path = .path.display())]
    WordNet {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What stands there in a WordNet.
        expected: String,
    },
    /// Reading or writing failed.
    ///
    /// The reason is part of the message and so not a `source` as well: a printed chain of errors would say it twice.
    #[error("{path}: {reason}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
}

impl EvalError {
    /// Whether a file or a setting that was given is at fault, not the machine or the model.
    pub fn is_of_input(&self) -> bool {
        matches!(self, Self::Metric { .. } | Self::Sample { .. } | Self::Unfinished { .. } | Self::Name { .. } | Self::WordNet { .. })
    }
}
