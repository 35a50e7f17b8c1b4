//! What an experiment compares NextMem with.

use anyhow::{Result, bail};
use nextmem_model::{BgeConfig, Bm25Config, MeanPooledConfig};
use nextmem_training::{DypragConfig, IcaeConfig, SubstitutionConfig};
use serde::{Deserialize, Serialize};

use super::{DataConfig, StageName};
use crate::plan::{check_lora, check_optim};

/// The rows beside NextMem's; each is there if its table is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselinesConfig {
    /// Words: ranks.
    pub bm25: Option<Bm25Config>,
    /// The bare backbone's hidden states: ranks.
    pub mean_pooled: Option<MeanPooledConfig>,
    /// A bi-encoder of its own: ranks.
    pub bge: Option<BgeConfig>,
    /// Slots and one forward pass; stage `icae` trains it.
    pub icae: Option<IcaeConfig>,
    /// A hypernetwork that writes LoRA factors; stage `dyprag` trains it.
    pub dyprag: Option<DypragConfig>,
}

impl BaselinesConfig {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses numbers that cannot be meant.
    ///
    /// # Errors
    /// What, got, expected.
    pub fn check(&self, data: &DataConfig, stage2: Option<&SubstitutionConfig>) -> Result<()> {
        if let Some(bm25) = &self.bm25 {
            let sane = bm25.k1 >= 0.0 && (0.0..=1.0).contains(&bm25.b) && bm25.epsilon >= 0.0;
            if !sane || ![bm25.k1, bm25.epsilon].iter().all(|v| v.is_finite()) {
                let (k1, b, epsilon) = (bm25.k1, bm25.b, bm25.epsilon);
                bail!("baselines.bm25: got k1 {k1}, b {b}, epsilon {epsilon}; expected none negative, b at most 1");
            }
        }
        if let Some(icae) = &self.icae {
            check_optim("baselines.icae", icae.steps, &icae.optim)?;
            check_lora("baselines.icae.lora", &icae.lora)?;
            if icae.slots == 0 {
                bail!("baselines.icae.slots: got 0, expected at least 1; as many as method.nextmem.num_latents make a fair row");
            }
            match stage2 {
                Some(stage2) if icae.as_stage2 && (stage2.levels != icae.slots || stage2.steps_before_last() >= icae.steps) => bail!(
                    "baselines.icae.as_stage2: got slots {}, steps {}; expected train.substitution.levels = {} slots and more than the {} \
                     steps below its last level",
                    icae.slots,
                    icae.steps,
                    stage2.levels,
                    stage2.steps_before_last()
                ),
                None if icae.as_stage2 => bail!("baselines.icae.as_stage2: got true, but there is no [train.substitution]; remove it"),
                _ => {}
            }
        }
        if let Some(dyprag) = &self.dyprag {
            check_optim("baselines.dyprag", dyprag.steps, &dyprag.optim)?;
            let network = &dyprag.hypernetwork;
            if network.rank == 0 || network.bottleneck == 0 || !network.alpha.is_finite() || network.alpha <= 0.0 {
                let (rank, alpha, bottleneck) = (network.rank, network.alpha, network.bottleneck);
                bail!("baselines.dyprag.hypernetwork: got rank {rank}, alpha {alpha}, bottleneck {bottleneck}; expected all positive");
            }
            if !(0.0..=1.0).contains(&dyprag.questions) {
                bail!("baselines.dyprag.questions: got {}, expected a share from 0 to 1", dyprag.questions);
            }
            if dyprag.questions > 0.0 && data.facts.is_none() {
                bail!("baselines.dyprag.questions: got {}, but only [data.facts] has questions to train on; set 0", dyprag.questions);
            }
        }
        Ok(())
    }

    /// Whether a stage belongs to one of them and its table is there.
    pub fn trains(&self, stage: StageName) -> bool {
        match stage {
            StageName::Icae => self.icae.is_some(),
            StageName::Dyprag => self.dyprag.is_some(),
            StageName::Pretrain | StageName::Reconstruction | StageName::Substitution | StageName::Reader | StageName::Index => false,
        }
    }
}
