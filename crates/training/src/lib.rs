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
mod index;
mod levels;
mod loader;
mod objective;
mod pretrain;
mod questions;
mod reader;
mod refine;
mod renderer;
mod schedule;
mod steps;
mod stream;
mod substitution;
mod validate;

pub use batch::{
    Batch, ReconstructionRows, Row, RowSource, SubstitutionRows, TokenTexts, memory_row, random_tokens, reconstruction_row,
    substitution_row,
};
pub use config::{
    AuxiliaryConfig, GateConfig, LatentNoise, LevelSchedule, LoopConfig, LoraConfig, OptimConfig, Optimizer, PretrainConfig, Progress,
    Rate, ReconstructionConfig, SubstitutionConfig, TrainedDecoder,
};
pub use dyprag::{DypragConfig, DypragModel, DypragRows};
pub use error::TrainError;
pub use fit::{Observer, Stage, Validate, fit};
pub use gradients::global_norm;
pub use icae::IcaeConfig;
pub use index::{IndexConfig, IndexModel, IndexRows, RetrievalSet, validate_index};
pub use levels::{Level, Levels};
pub use objective::{Objective, StepLoss, TokenModel, Trainable};
pub use pretrain::{PretrainRows, REPEAT_REQUEST};
pub use questions::Example;
pub use reader::{ReaderConfig, ReaderModel, ReaderRows, ReaderValidation, validate_reader};
pub use refine::{RefineConfig, Refined, refine};
pub use steps::{Rates, Stepper};
pub use stream::{Stream, mix};
pub use substitution::{LatentOptions, SubstitutionModel};
pub use validate::{Score, Validation, token_accuracy, validate_dyprag, validate_reconstruction, validate_substitution};
