//! burn-train learners for the backbone's pretraining, stage 1 (reconstruction alignment) and stage 2 (progressive
//! latent substitution), and for the trained baselines ICAE and DyPRAG.

mod batch;
mod checkpoint;
mod config;
mod dyprag;
mod error;
mod fit;
mod gradients;
mod icae;
mod loader;
mod objective;
mod renderer;
mod schedule;
mod steps;
mod stream;
mod validate;

pub use batch::{
    Batch, Example, PretrainRows, REPEAT_REQUEST, ReconstructionRows, Row, RowSource, SubstitutionRows, memory_row, reconstruction_row,
    substitution_row,
};
pub use config::{LevelSchedule, LoopConfig, LoraConfig, OptimConfig, PretrainConfig, ReconstructionConfig, SubstitutionConfig};
pub use dyprag::{DypragConfig, DypragModel, DypragRows};
pub use error::TrainError;
pub use fit::{Observer, Stage, Validate, fit};
pub use gradients::global_norm;
pub use icae::{IcaeConfig, IcaeModel, IcaeRows};
pub use objective::{Objective, StepLoss, SubstitutionModel, TokenModel, Trainable};
pub use steps::Stepper;
pub use stream::{Stream, mix};
pub use validate::{Score, Validation, validate_dyprag, validate_icae, validate_reconstruction, validate_substitution};
