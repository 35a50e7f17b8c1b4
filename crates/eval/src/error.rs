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
    /// A line of a sample file that is no sample.
    #[error("{path}: line {line}: {reason} - delete the file and run again", path = .path.display())]
    Sample {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
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
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}
