//! What an experiment file says about training. Every struct refuses unknown keys.

use burn::optim::AdamWConfig;
use serde::{Deserialize, Serialize};

/// AdamW with warm-up and cosine decay. None of these is published for NextMem; all are our choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimConfig {
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Steps of linear warm-up from 0.
    #[serde(default)]
    pub warmup_steps: usize,
    /// The cosine ends at this fraction of the peak.
    #[serde(default = "defaults::min_lr_ratio")]
    pub min_lr_ratio: f64,
    /// Decoupled weight decay.
    #[serde(default)]
    pub weight_decay: f64,
    /// First moment decay.
    #[serde(default = "defaults::beta_1")]
    pub beta_1: f64,
    /// Second moment decay.
    #[serde(default = "defaults::beta_2")]
    pub beta_2: f64,
    /// Largest global norm of the gradient (0: no clipping).
    #[serde(default = "defaults::clip_norm")]
    pub clip_norm: f64,
    /// Passages in one forward and backward pass.
    pub batch_size: usize,
    /// Passes whose gradients are averaged into one step.
    #[serde(default = "defaults::one")]
    pub accumulation: usize,
}

impl OptimConfig {
    /// A plain AdamW with one row per pass, for checks that no experiment configures.
    pub fn example() -> Self {
        Self {
            learning_rate: 1e-3,
            warmup_steps: 0,
            min_lr_ratio: defaults::min_lr_ratio(),
            weight_decay: 0.0,
            beta_1: defaults::beta_1(),
            beta_2: defaults::beta_2(),
            clip_norm: defaults::clip_norm(),
            batch_size: 1,
            accumulation: defaults::one(),
        }
    }

    pub(crate) fn adamw(&self) -> AdamWConfig {
        // Kept in f64, so that 0.9 is shown as it was typed; burn has f32.
        let [beta_1, beta_2, weight_decay] = [self.beta_1, self.beta_2, self.weight_decay].map(|value| value as f32);
        AdamWConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(1e-8).with_weight_decay(weight_decay)
    }
}

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
    /// The optimizer.
    pub optim: OptimConfig,
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
    /// LoRA and special-token rows; absent: all parameters.
    pub lora: Option<LoraConfig>,
    /// The optimizer.
    pub optim: OptimConfig,
}

/// How the number of latents k moves through stage 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelSchedule {
    /// 1, 2, .. levels (paper).
    #[default]
    Progressive,
    /// All latents from the start (the "w/o PS" ablation).
    AllAtOnce,
    /// levels, .. 2, 1 and then all again for the last level's steps.
    Reversed,
    /// A random level for every step.
    Random,
}

/// Stage 2, progressive latent substitution: `[h_1 .. h_k; x_{>block k}; SoD; x; EoT]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubstitutionConfig {
    /// Levels; also the latents at the last one (paper: 15).
    #[serde(default = "defaults::levels")]
    pub levels: usize,
    /// Tokens of text that each further latent replaces (paper: 16).
    #[serde(default = "defaults::block_tokens")]
    pub block_tokens: usize,
    /// Order of the levels.
    #[serde(default)]
    pub schedule: LevelSchedule,
    /// Optimizer steps at every level but the last.
    pub steps_per_level: usize,
    /// Optimizer steps at the last level.
    pub steps_last_level: usize,
    /// Whether latents are fed back without gradient (official code: true).
    #[serde(default = "defaults::yes")]
    pub detach: bool,
    /// LoRA on the encoder; absent: all its parameters.
    pub lora: Option<LoraConfig>,
    /// The optimizer.
    pub optim: OptimConfig,
}

impl SubstitutionConfig {
    /// Optimizer steps in all.
    pub fn steps(&self) -> usize {
        self.levels.saturating_sub(1) * self.steps_per_level + self.steps_last_level
    }

    /// The number of latents at a step; a pure function, so that a resumed run sees the same levels.
    pub fn level(&self, step: usize, seed: u64) -> usize {
        let before_last = (self.levels.saturating_sub(1)) * self.steps_per_level;
        let progressive = if step >= before_last { self.levels } else { step / self.steps_per_level + 1 };
        match self.schedule {
            LevelSchedule::Progressive => progressive,
            LevelSchedule::AllAtOnce => self.levels,
            LevelSchedule::Reversed if step >= before_last => self.levels,
            LevelSchedule::Reversed => self.levels - progressive + 1,
            LevelSchedule::Random => 1 + (crate::stream::mix(seed, step as u64) % self.levels as u64) as usize,
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
    /// Parts of a batch that are computed at the same time on the CPU; changes rounding, so it does not follow the machine.
    #[serde(default = "defaults::one")]
    pub shards: usize,
}

impl Default for LoopConfig {
    fn default() -> Self {
        Self { log_every: 10, checkpoint_every: 100, validate_every: 0, validation_passages: 32, shards: 1 }
    }
}

mod defaults {
    pub(super) fn min_lr_ratio() -> f64 {
        0.1
    }
    pub(super) fn beta_1() -> f64 {
        0.9
    }
    pub(super) fn beta_2() -> f64 {
        0.98
    }
    pub(super) fn clip_norm() -> f64 {
        1.0
    }
    pub(super) fn one() -> usize {
        1
    }
    /// the paper, stage 1, from published summaries
    pub(super) fn rank() -> usize {
        16
    }
    /// the paper, stage 1, from published summaries
    pub(super) fn alpha() -> f64 {
        32.0
    }
    /// the paper, stage 2, from published summaries
    pub(super) fn levels() -> usize {
        15
    }
    /// the paper, stage 2, from published summaries
    pub(super) fn block_tokens() -> usize {
        16
    }
    /// official code: `next_embedding.detach()`
    pub(super) fn yes() -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(schedule: LevelSchedule) -> SubstitutionConfig {
        SubstitutionConfig {
            levels: 3,
            block_tokens: 4,
            schedule,
            steps_per_level: 2,
            steps_last_level: 3,
            detach: true,
            lora: None,
            optim: OptimConfig {
                learning_rate: 1e-3,
                warmup_steps: 0,
                min_lr_ratio: 0.1,
                weight_decay: 0.0,
                beta_1: 0.9,
                beta_2: 0.98,
                clip_norm: 1.0,
                batch_size: 2,
                accumulation: 1,
            },
        }
    }

    #[test]
    fn levels_of_every_schedule() {
        let levels = |s| (0..7).map(|i| config(s).level(i, 1)).collect::<Vec<_>>();
        assert_eq!(config(LevelSchedule::Progressive).steps(), 7);
        assert_eq!(levels(LevelSchedule::Progressive), [1, 1, 2, 2, 3, 3, 3]);
        assert_eq!(levels(LevelSchedule::AllAtOnce), [3; 7]);
        assert_eq!(levels(LevelSchedule::Reversed), [3, 3, 2, 2, 3, 3, 3]);
        let random: Vec<usize> = (0..300).map(|i| config(LevelSchedule::Random).level(i, 1)).collect();
        assert!((1..=3).all(|k| random.iter().filter(|l| **l == k).count() > 60));
    }
}
