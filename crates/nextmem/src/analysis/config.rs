//! What the analyses sweep over: `[analysis]` of an experiment. No value here changes a weight.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::cli::BadInput;

/// Every analysis' sweep. All values are ours unless a source is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnalysisConfig {
    /// Passages per condition, the first ones of the test set.
    pub passages: usize,
    /// Which of the reconstruction task's sets the passages come from; absent: its first.
    pub dataset: Option<String>,
    /// `noise`.
    pub noise: NoiseConfig,
    /// `length`.
    pub length: LengthConfig,
    /// `segments`.
    pub segments: SegmentsConfig,
    /// `latents`.
    pub latents: LatentsConfig,
    /// `first-error`.
    pub first_error: FirstErrorConfig,
    /// `cramming`.
    pub cramming: CrammingConfig,
}

/// Latents optimised directly.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrammingConfig {
    /// Numbers of latents.
    pub latents: Vec<usize>,
    /// Most gradient steps.
    pub steps: usize,
    /// Rate of Adam as a share of the latents' root mean square.
    pub learning_rate: f64,
}

impl Default for CrammingConfig {
    fn default() -> Self {
        Self { latents: vec![20, 10, 5, 3, 1], steps: 300, learning_rate: 0.05 }
    }
}

/// Gaussian noise on the latents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseConfig {
    /// Standard deviations, absolute as in the paper (harmless up to 0.8 and destructive from 1.6 on Qwen3-8B).
    pub sigmas: Vec<f64>,
    /// Sweep the same numbers as multiples of each memory's RMS too, which models of other widths and scales can share.
    pub relative: bool,
}

/// Texts longer than those trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LengthConfig {
    /// Borders of the bins in multiples of the trained length, `levels x block_tokens`; each bin includes its lower one.
    pub edges: Vec<f64>,
}

/// Latents against segments of the text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SegmentsConfig {
    /// Tokens of a segment; absent: stage 2's `block_tokens`, the text that one latent was trained to replace.
    pub block_tokens: Option<usize>,
}

/// Number of latents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatentsConfig {
    /// Shares of its latents that each run is also decoded from, the first ones; it was not trained for that.
    pub keep: Vec<f64>,
}

/// The first wrong token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FirstErrorConfig {
    /// Most bins that positions are put in; texts with fewer tokens have one bin per token.
    pub bins: usize,
}

impl Default for AnalysisConfig {
    fn default() -> Self {
        Self {
            passages: 100,
            dataset: None,
            noise: NoiseConfig::default(),
            length: LengthConfig::default(),
            segments: SegmentsConfig::default(),
            latents: LatentsConfig::default(),
            first_error: FirstErrorConfig::default(),
            cramming: CrammingConfig::default(),
        }
    }
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self { sigmas: vec![0.0, 0.1, 0.2, 0.4, 0.8, 1.2, 1.6, 2.4, 3.2], relative: true }
    }
}

impl Default for LengthConfig {
    fn default() -> Self {
        Self { edges: vec![0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0] }
    }
}

impl Default for LatentsConfig {
    fn default() -> Self {
        Self { keep: vec![0.25, 0.5, 0.75, 0.9] }
    }
}

impl Default for FirstErrorConfig {
    fn default() -> Self {
        Self { bins: 40 }
    }
}

impl AnalysisConfig {
    /// Refuses sweeps without a meaning.
    pub fn check(&self) -> Result<()> {
        let fault = if self.passages == 0 {
            Some("passages: got 0, expected at least 1".to_string())
        } else if self.noise.sigmas.is_empty() || self.noise.sigmas.iter().any(|s| !s.is_finite() || *s < 0.0) {
            Some(format!("noise.sigmas: got {:?}, expected numbers of at least 0", self.noise.sigmas))
        } else if self.length.edges.len() < 2 || self.length.edges[0] < 0.0 || !self.length.edges.is_sorted_by(|a, b| a < b) {
            Some(format!("length.edges: got {:?}, expected at least two rising numbers from 0 on", self.length.edges))
        } else if self.segments.block_tokens == Some(0) {
            Some("segments.block_tokens: got 0, expected at least 1".into())
        } else if self.latents.keep.iter().any(|k| !(*k > 0.0 && *k < 1.0)) {
            Some(format!("latents.keep: got {:?}, expected shares between 0 and 1", self.latents.keep))
        } else if self.first_error.bins == 0 {
            Some("first_error.bins: got 0, expected at least 1".into())
        } else {
            None
        };
        match fault {
            Some(fault) => bail!(BadInput(format!("analysis.{fault}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_read_from_toml_and_the_rest_is_default() {
        let config: AnalysisConfig = toml::from_str("passages = 7\n[noise]\nsigmas = [0, 0.5]\n").unwrap();
        assert_eq!((config.passages, config.noise.sigmas.as_slice()), (7, [0.0, 0.5].as_slice()));
        assert_eq!(config.length, LengthConfig::default());
        assert!(config.check().is_ok() && AnalysisConfig::default().check().is_ok());
        assert!(toml::from_str::<AnalysisConfig>("[noise]\nsigma = [1]\n").is_err());
    }

    #[test]
    fn sweeps_without_a_meaning_are_named() {
        for (text, key) in [
            ("passages = 0", "passages"),
            ("noise.sigmas = [-1.0]", "noise.sigmas"),
            ("noise.sigmas = []", "noise.sigmas"),
            ("length.edges = [1.0, 1.0]", "length.edges"),
            ("length.edges = [1.0]", "length.edges"),
            ("segments.block_tokens = 0", "block_tokens"),
            ("latents.keep = [1.0]", "latents.keep"),
            ("first_error.bins = 0", "first_error.bins"),
        ] {
            let error = toml::from_str::<AnalysisConfig>(text).unwrap().check().unwrap_err().to_string();
            assert!(error.contains(key) && error.contains("expected"), "{error}");
        }
    }
}
