//! The stages of training and their order.

use nextmem_training::{IndexConfig, LoopConfig, PretrainConfig, ReaderConfig, ReconstructionConfig, SubstitutionConfig};
use serde::{Deserialize, Serialize};

/// The stages and their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Seed of first weights and of the order of passages; absent: the experiment's. Runs that differ in it alone share their test
    /// items and can be paired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Which stages run, those of baselines included; absent: all that have a table.
    pub stages: Option<Vec<StageName>>,
    /// Logging, checkpoints, validation of every stage.
    #[serde(default, rename = "loop")]
    pub run: LoopConfig,
    /// Language-model pretraining of a nano backbone.
    pub pretrain: Option<PretrainConfig>,
    /// Stage 1.
    pub reconstruction: Option<ReconstructionConfig>,
    /// Stage 2.
    pub substitution: Option<SubstitutionConfig>,
    /// The decoder learns to answer from latents, after stage 2 (not in the paper).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<ReaderConfig>,
    /// Queries learn to find memories, after stage 2 (not in the paper).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<IndexConfig>,
}

/// A stage of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageName {
    /// The backbone itself.
    Pretrain,
    /// Stage 1.
    Reconstruction,
    /// Stage 2.
    Substitution,
    /// The reader of latents, after stage 2.
    Reader,
    /// The index, after stage 2.
    Index,
    /// The baseline ICAE; like DyPRAG it stands on stage 1, beside stage 2.
    Icae,
    /// The baseline DyPRAG.
    Dyprag,
}

impl StageName {
    /// All of them, in the order in which they run.
    pub const ALL: [Self; 7] =
        [Self::Pretrain, Self::Reconstruction, Self::Substitution, Self::Reader, Self::Index, Self::Icae, Self::Dyprag];

    /// Whether it trains a baseline, on which nothing of NextMem depends.
    pub fn is_baseline(self) -> bool {
        matches!(self, Self::Icae | Self::Dyprag)
    }

    /// Its directory in a run.
    pub fn dir(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Reconstruction => "stage1",
            Self::Substitution => "stage2",
            Self::Reader => "reader",
            Self::Index => "index",
            Self::Icae => "icae",
            Self::Dyprag => "dyprag",
        }
    }
}
