//! The ICAE baseline: an encoder and slots, trained to be read by the decoder that NextMem's stage 2 trains for.

use serde::{Deserialize, Serialize};

use crate::config::{LevelSchedule, LoraConfig, OptimConfig, SubstitutionConfig, is_default};

/// ICAE's one stage: `[x; slots] -> memory`, `[memory; SoD] -> x; EoT`.
///
/// The paper's decoder is the untouched backbone, which reads the memory with a learnt AE token. Here it is the backbone
/// after stage 1 wherever the experiment trains or names one, as for NextMem's stage 2; without a stage 1 it is the
/// backbone. The paper also continues text from the memory and tunes on instructions; both are left out, as NextMem has
/// neither.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IcaeConfig {
    /// Optimizer steps; the same budget as stage 2 makes a fair row.
    pub steps: usize,
    /// Latents per passage: as many as NextMem has.
    pub slots: usize,
    /// Whether everything else is as `[train.substitution]` has it: levels, gate, noise, layout, a decoder that is trained along.
    /// Otherwise all slots are there from the first step, in front of a frozen decoder.
    #[serde(default, skip_serializing_if = "is_default")]
    pub as_stage2: bool,
    /// LoRA on the encoder (the paper); absent: all its parameters, as stage 2 has it.
    pub lora: Option<LoraConfig>,
    /// The optimizer.
    pub optim: OptimConfig,
}

impl IcaeConfig {
    /// The stage as one of substitution, whose latents come from slots.
    pub fn stage(&self, stage2: Option<&SubstitutionConfig>) -> SubstitutionConfig {
        let (lora, optim) = (self.lora.clone(), self.optim.clone());
        match stage2 {
            Some(stage2) if self.as_stage2 => {
                let steps_last_level = self.steps.saturating_sub(stage2.steps_before_last()).max(1);
                SubstitutionConfig { levels: self.slots, steps_last_level, lora, optim, ..stage2.clone() }
            }
            // A block without an end: no text is left beside the slots.
            _ => SubstitutionConfig {
                schedule: LevelSchedule::AllAtOnce,
                layout: stage2.map(|stage2| stage2.layout).unwrap_or_default(),
                latents_by_level: Some(vec![self.slots]),
                rows_by_level: None,
                lora,
                ..SubstitutionConfig::plain(self.slots, usize::MAX, 1, self.steps, optim)
            },
        }
    }
}
