//! What an experiment file says about training. Every struct refuses unknown keys.

use nextmem_model::LayoutConfig;
use serde::{Deserialize, Serialize};

mod optim;
mod substitution;

pub use optim::{OptimConfig, Optimizer};
pub use substitution::{AuxiliaryConfig, GateConfig, LatentNoise, LevelSchedule, Progress, Rate, SubstitutionConfig, TrainedDecoder};

/// LoRA instead of training all parameters; the paper has rank 16, alpha 32.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraConfig {
    /// Rank of the factors.
    #[serde(default = "defaults::rank")]
    pub rank: usize,
    /// Numerator of the scaling alpha / rank.
    #[serde(default = "defaults::alpha")]
    pub alpha: f64,
}

/// Language-model pretraining of the backbone itself; only the nano setting needs it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Optimizer steps.
    pub steps: usize,
    /// Weight of plain passages of facts.
    pub facts: f64,
    /// Weight of questions about a passage, in the chat format of the textual-memory prompt.
    pub questions: f64,
    /// Weight of requests to repeat a passage, in the chat format.
    pub repeats: f64,
    /// Weight of plain passages of the real text.
    pub text: f64,
    /// Weight of questions in the Comp format, the passage's tokens in the place of its latents.
    #[serde(default, skip_serializing_if = "is_default")]
    pub comp_questions: f64,
    /// Weight of copies of uniformly random tokens, `x [SoD] x [EoT]` with a length up to `copy_tokens`: they can be learnt by looking
    /// a token up and in no other way, which is what answering from a text takes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub random_copies: f64,
    /// Most tokens of such a copy; lengths grow to it over the first half of the steps, without `copies_first`.
    #[serde(default = "defaults::copy_tokens", skip_serializing_if = "is_copy_tokens")]
    pub copy_tokens: usize,
    /// First steps that only copy, random tokens in half of the rows and the beginnings of passages in the others, all lengths from
    /// the start. Among other rows looking up is learnt late or not at all, since guessing gains a little everywhere else.
    #[serde(default, skip_serializing_if = "is_default")]
    pub copies_first: usize,
    /// The optimizer.
    pub optim: OptimConfig,
}

impl PretrainConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The key, what it got, what is expected.
    pub fn check(&self) -> Result<(), String> {
        let weights = [
            ("facts", self.facts),
            ("questions", self.questions),
            ("repeats", self.repeats),
            ("text", self.text),
            ("comp_questions", self.comp_questions),
            ("random_copies", self.random_copies),
        ];
        if let Some((key, got)) = weights.iter().find(|(_, w)| !w.is_finite() || *w < 0.0) {
            return Err(format!("{key}: got {got}, expected a weight from 0 up"));
        }
        if weights.iter().map(|(_, w)| w).sum::<f64>() <= 0.0 {
            return Err("facts: got 0 like all other weights, expected one above 0".into());
        }
        match self.copies_first {
            got if got > self.steps => Err(format!("copies_first: got {got}, expected at most steps = {}", self.steps)),
            _ => Ok(()),
        }
    }
}

/// Stage 1, autoregressive reconstruction alignment: `x [SoD] x [EoT]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReconstructionConfig {
    /// Optimizer steps.
    pub steps: usize,
    /// Also learn to predict the first x (paper: false).
    #[serde(default)]
    pub loss_on_source: bool,
    /// Share of rows that copy uniformly random tokens instead of a passage (paper: 0). Such a row cannot be guessed, only
    /// copied, and nothing but its copy is learnt.
    #[serde(default, skip_serializing_if = "is_default")]
    pub random_tokens: f64,
    /// Rows are windows of a random length up to this, from a random place of a passage; 0: whole passages (paper). Random
    /// tokens have as many, at most.
    #[serde(default, skip_serializing_if = "is_default")]
    pub window_tokens: usize,
    /// Windows grow to `window_tokens` over these steps, at first slowly: attention is learnt over few keys (0: long ones at once).
    #[serde(default, skip_serializing_if = "is_default")]
    pub window_growth: usize,
    /// Positions of the text before those of `[SoD]` and the copy, as in `[train.substitution.layout]`; 0: a plain sequence.
    #[serde(default, skip_serializing_if = "is_default")]
    pub text_positions: usize,
    /// Share of rows that answer a question about a passage, half of them in the format of task 2 from text, half in that of
    /// Comp with the passage's tokens in the place of the latents (paper: 0); needs data with questions.
    #[serde(default, skip_serializing_if = "is_default")]
    pub questions: f64,
    /// Whether the trained decoder is scaled at the end so that its hidden states, which latents are, are as large as its embeddings:
    /// the same function of tokens (paper: false).
    #[serde(default, skip_serializing_if = "is_default")]
    pub balanced: bool,
    /// LoRA and special-token rows; absent: all parameters.
    pub lora: Option<LoraConfig>,
    /// The optimizer.
    pub optim: OptimConfig,
}

impl ReconstructionConfig {
    /// Where text and copy stand.
    pub fn layout(&self) -> LayoutConfig {
        LayoutConfig { text_positions: self.text_positions, ..LayoutConfig::default() }
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The key, what it got, what is expected.
    pub fn check(&self) -> Result<(), String> {
        let shares = [("random_tokens", self.random_tokens), ("questions", self.questions)];
        if let Some((key, got)) = shares.into_iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(format!("{key}: got {got}, expected a share from 0 to 1"));
        }
        match self.text_positions {
            got if got > 0 && got < self.window_tokens => {
                Err(format!("text_positions: got {got}, expected 0 or at least window_tokens = {}", self.window_tokens))
            }
            _ if self.lora.is_some() && self.balanced => {
                Err("balanced: scales all parameters, but [train.reconstruction.lora] keeps the backbone's; remove one of them".into())
            }
            _ if self.lora.is_some() && self.optim.optimizer == Optimizer::Muon => {
                Err("optim.optimizer: Muon trains whole matrices, but [train.reconstruction.lora] has none; use \"adamw\"".into())
            }
            _ => Ok(()),
        }
    }
}

/// What every stage does beside its steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoopConfig {
    /// Steps between two lines of metrics.jsonl.
    pub log_every: usize,
    /// Steps between two checkpoints; a multiple of `log_every`, so that a resumed log equals an uninterrupted one.
    pub checkpoint_every: usize,
    /// Steps between two free-running validations (0: only at the end).
    pub validate_every: usize,
    /// Passages that each validation reconstructs.
    pub validation_passages: usize,
    /// Random tokens in each row of the yardstick of memory, which every validation copies beside the passages (0: none).
    #[serde(default, skip_serializing_if = "is_default")]
    pub validation_random_tokens: usize,
    /// Whether a stage ends with the weights of its best validation by free-running F1 instead of its last ones.
    #[serde(default, skip_serializing_if = "is_default")]
    pub keep_best: bool,
    /// Parts of a batch that are computed at the same time on the CPU; changes rounding, so it does not follow the machine.
    #[serde(default = "defaults::one")]
    pub shards: usize,
}

impl Default for LoopConfig {
    fn default() -> Self {
        Self {
            log_every: 10,
            checkpoint_every: 100,
            validate_every: 0,
            validation_passages: 32,
            validation_random_tokens: 0,
            keep_best: false,
            shards: 1,
        }
    }
}

/// What is not written out, so that the identity of a stage does not change when a key is added.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_copy_tokens(value: &usize) -> bool {
    *value == defaults::copy_tokens()
}

pub(crate) mod defaults {
    pub(crate) fn copy_tokens() -> usize {
        64
    }
    pub(crate) fn one() -> usize {
        1
    }
    /// the paper, stage 1, from published summaries
    pub(crate) fn rank() -> usize {
        16
    }
    /// the paper, stage 1, from published summaries
    pub(crate) fn alpha() -> f64 {
        32.0
    }
}
