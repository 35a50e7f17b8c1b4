//! The optimizer of a stage.

use burn::optim::AdamWConfig;
use burn::optim::decay::WeightDecayConfig;
use serde::{Deserialize, Serialize};

use super::is_default;

/// What turns gradients into steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// AdamW for every parameter.
    #[default]
    AdamW,
    /// Muon for the matrices of the layers, AdamW for tables, norms, special rows and LoRA factors.
    Muon,
}

/// What Muon's authors use for the matrices of a small model.
const MUON_LEARNING_RATE: f64 = 0.02;

/// AdamW with warm-up and cosine decay. None of these is published for NextMem; all are our choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimConfig {
    /// What turns gradients into steps.
    #[serde(default, skip_serializing_if = "is_default")]
    pub optimizer: Optimizer,
    /// Peak learning rate; with Muon that of AdamW, which then trains what Muon does not.
    pub learning_rate: f64,
    /// Peak learning rate of Muon's matrices (0.02 is its authors'); it follows the same schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muon_learning_rate: Option<f64>,
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
            optimizer: Optimizer::AdamW,
            learning_rate: 1e-3,
            muon_learning_rate: None,
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

    /// Muon's decay, which is off at 0.
    pub(crate) fn muon_decay(&self) -> Option<WeightDecayConfig> {
        (self.weight_decay > 0.0).then(|| WeightDecayConfig::new(self.weight_decay as f32))
    }

    /// Peak learning rate of the matrices that Muon trains.
    pub(crate) fn muon_rate(&self) -> f64 {
        self.muon_learning_rate.unwrap_or(MUON_LEARNING_RATE)
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
}
