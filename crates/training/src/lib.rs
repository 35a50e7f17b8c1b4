//! burn-train learners for the backbone's pretraining, stage 1 (reconstruction alignment) and stage 2 (progressive
//! latent substitution).

mod batch;
mod checkpoint;
mod config;
mod error;
mod fit;
mod gradients;
mod loader;
mod objective;
mod renderer;
mod schedule;
mod steps;
mod stream;
mod validate;

pub use batch::{
    Batch, Example, PretrainRows, REPEAT_REQUEST, ReconstructionRows, Row, RowSource, SubstitutionRows, reconstruction_row,
    substitution_row,
};
pub use config::{LevelSchedule, LoopConfig, LoraConfig, OptimConfig, PretrainConfig, ReconstructionConfig, SubstitutionConfig};
pub use error::TrainError;
pub use fit::{Observer, Stage, Validate, fit};
pub use gradients::global_norm;
pub use objective::{Objective, StepLoss, SubstitutionModel, TokenModel, Trainable};
pub use steps::Stepper;
pub use stream::{Stream, mix};
pub use validate::{Score, Validation, validate_reconstruction, validate_substitution};
