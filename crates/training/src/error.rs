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
    #[error("checkpoint: {0} - free some disk space and run again; the last whole checkpoint is kept")]
    Checkpoint(String),
}
