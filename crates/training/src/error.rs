//! What can go wrong while training.

use std::path::PathBuf;

use thiserror::Error;

/// An error that stops training.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Nothing to train on.
    #[error("the training set is empty - check its path, filters and limits")]
    EmptyDataset,
    /// An item could not be read.
    #[error("training data: {0}")]
    Data(String),
    /// A text could not be turned into tokens.
    #[error(transparent)]
    Model(#[from] nextmem_model::ModelError),
    /// The loss is no longer a number.
    #[error("step {step}: the loss is {loss}, the gradient's norm {norm} - lower learning_rate or clip_norm")]
    Diverged {
        /// The step it happened at.
        step: usize,
        /// The loss.
        loss: f32,
        /// The gradient's norm.
        norm: f64,
    },
    /// Reading or writing the run directory failed.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Saving or loading a checkpoint failed.
    #[error("checkpoint: {reason} - {next}; the last whole checkpoint is kept")]
    Checkpoint {
        /// The reason.
        reason: String,
        /// What to do.
        next: &'static str,
    },
    /// The observer asked to stop; the work is saved.
    #[error("stopped at step {step} of {steps}; run again to go on")]
    Stopped {
        /// The last step that was done.
        step: usize,
        /// Steps in all.
        steps: usize,
    },
}

impl TrainError {
    /// A checkpoint's error with the next step that its reason asks for.
    pub(crate) fn checkpoint(reason: String) -> Self {
        let next = if is_full(&reason) { "free some disk space and run again" } else { "run again to go on from it" };
        Self::Checkpoint { reason, next }
    }
}

/// Whether a reason names an error of the system that means a full disk or quota. Only its number survives in burn's errors.
fn is_full(reason: &str) -> bool {
    use std::io::{Error, ErrorKind};
    let numbers = reason.split("(os error ").skip(1).filter_map(|rest| rest.split(')').next()?.parse().ok());
    let kinds = numbers.map(|number| Error::from_raw_os_error(number).kind());
    kinds.into_iter().any(|kind| matches!(kind, ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_space_is_advised_only_where_it_is_the_reason() {
        let full = TrainError::checkpoint(format!("I/O Error: `{}`", std::io::Error::from(std::io::ErrorKind::NotFound)));
        assert!(!full.to_string().contains("disk space"), "{full}");
        let missing = TrainError::checkpoint("Record error: `No such file or directory (os error 2)`".into());
        assert!(!missing.to_string().contains("disk space") && missing.to_string().contains("run again"), "{missing}");
        #[cfg(target_os = "linux")]
        for number in [28, 122] {
            let full = TrainError::checkpoint(format!("I/O Error: `{}`", std::io::Error::from_raw_os_error(number)));
            assert!(full.to_string().contains("free some disk space"), "{full}");
        }
    }
}
