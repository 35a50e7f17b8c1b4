//! Stage 2, progressive latent substitution: the paper's keys, and what it is silent about.

use nextmem_model::LayoutConfig;
use nextmem_quant::Scales;
use serde::{Deserialize, Serialize};

use crate::levels::Levels;

use super::{LoraConfig, OptimConfig, Optimizer, is_default};

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

/// What a level below the last shows of a text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The whole text: its first k blocks as latents, the rest as tokens (paper).
    #[default]
    Prefix,
    /// A window of k blocks from a random place of the text, all of it as k latents.
    Length,
}

/// The learning rate over the levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rate {
    /// One warm-up and one cosine over the whole stage.
    #[default]
    Whole,
    /// The peak at every level but the last; the cosine belongs to the last one.
    LastLevel,
}

/// When a level moves on before its steps are used up; the steps that it saves go to the last level.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateConfig {
    /// The mean training loss of the last `window` steps must be at most this.
    pub loss: f64,
    /// Steps in the mean.
    #[serde(default = "defaults::window")]
    pub window: usize,
}

/// What happens to latents between encoder and decoder while training. Gradients pass as if nothing had happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LatentNoise {
    /// Nothing (paper).
    #[default]
    None,
    /// Uniform noise up to this share of the root mean square of each memory.
    Uniform(f64),
    /// The round trip through NF4, with scales (`"absmax"`) or without (`"none"`).
    Nf4(Scales),
}

/// A throw-away decoder that rebuilds a random block of the text from that block's latent alone (SIM-CoT).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuxiliaryConfig {
    /// Weight of its loss.
    pub weight: f64,
}

/// The decoder is trained along with the encoder at first (the paper freezes it).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedDecoder {
    /// Steps until it is frozen, at most those of the stage.
    pub steps: usize,
    /// Its learning rate as a share of the encoder's; it falls to 0 over its steps by a cosine.
    #[serde(default = "defaults::whole")]
    pub rate: f64,
}

/// Stage 2: `[h_1 .. h_k; x_{>block k}; SoD; x; EoT]`.
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
    /// What a level below the last shows of a text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub progress: Progress,
    /// The latents of each level instead of 1, 2, .. levels: rising, the last one `levels`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latents_by_level: Option<Vec<usize>>,
    /// The rows of a pass at each level, at most the optimizer's `batch_size`; absent: as many everywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_by_level: Option<Vec<usize>>,
    /// Moves a level on by its loss; absent: by steps alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<GateConfig>,
    /// Share of steps that are spent at a random lower level again, in a progressive schedule.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replay: f64,
    /// The learning rate over the levels.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rate: Rate,
    /// The fewest latents of a step, which draws their number from there to its level's with no text left: one model for any number.
    /// With `layout.covered_tokens` the size of the blocks follows from what is drawn, and a level below the last, of windows of a
    /// few blocks, draws that size alone. Absent: nothing is drawn.
    #[serde(default, skip_serializing_if = "is_default")]
    pub any_k_from: Option<usize>,
    /// What happens to latents on their way to the decoder.
    #[serde(default, skip_serializing_if = "is_default")]
    pub noise: LatentNoise,
    /// A throw-away decoder on single latents; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auxiliary: Option<AuxiliaryConfig>,
    /// Share of the decoder's previous tokens of the copy that are replaced by random ones, so that it reads the latents rather
    /// than its own text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub replaced_tokens: f64,
    /// Share of rows that hold uniformly random tokens instead of a passage.
    #[serde(default, skip_serializing_if = "is_default")]
    pub random_tokens: f64,
    /// Share of steps that answer questions about whole passages: from the text, as stage 1 does, while the decoder is trained
    /// along, and at the last level half of them, then all, from the latents. A decoder that only copies forgets how to answer.
    #[serde(default, skip_serializing_if = "is_default")]
    pub questions: f64,
    /// The decoder is trained along at first; absent: frozen (paper).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<TrainedDecoder>,
    /// Positions, mask and index of latents; the default is the paper's plain sequence. ICAE takes the same.
    #[serde(default, skip_serializing_if = "is_default")]
    pub layout: LayoutConfig,
    /// LoRA on the encoder; absent: all its parameters.
    pub lora: Option<LoraConfig>,
    /// The optimizer.
    pub optim: OptimConfig,
}

impl SubstitutionConfig {
    /// The paper's stage with these levels and nothing beyond it.
    pub fn plain(levels: usize, block_tokens: usize, steps_per_level: usize, steps_last_level: usize, optim: OptimConfig) -> Self {
        Self {
            levels,
            block_tokens,
            schedule: LevelSchedule::Progressive,
            steps_per_level,
            steps_last_level,
            detach: true,
            progress: Progress::Prefix,
            latents_by_level: None,
            rows_by_level: None,
            gate: None,
            replay: 0.0,
            rate: Rate::Whole,
            any_k_from: None,
            noise: LatentNoise::None,
            auxiliary: None,
            replaced_tokens: 0.0,
            random_tokens: 0.0,
            questions: 0.0,
            decoder: None,
            layout: LayoutConfig::default(),
            lora: None,
            optim,
        }
    }

    /// The latents of every level.
    pub fn ladder(&self) -> Vec<usize> {
        self.latents_by_level.clone().unwrap_or_else(|| (1..=self.levels).collect())
    }

    /// Optimizer steps in all.
    pub fn steps(&self) -> usize {
        self.steps_before_last() + self.steps_last_level
    }

    /// Optimizer steps below the last level, at most.
    pub fn steps_before_last(&self) -> usize {
        self.ladder().len().saturating_sub(1) * self.steps_per_level
    }

    /// Passages in all; where a gate moves levels on, as many as without it.
    pub fn passages(&self, seed: u64) -> usize {
        let levels = Levels::new(&Self { gate: None, ..self.clone() }, seed);
        let rows = (0..self.steps()).map(|step| levels.level(step).rows.min(self.optim.batch_size));
        rows.sum::<usize>() * self.optim.accumulation
    }

    /// Tokens of text that the blocks of all latents cover.
    pub fn covered_tokens(&self) -> usize {
        match self.layout.covered_tokens {
            0 => self.levels * self.block_tokens,
            covered => covered,
        }
    }

    fn check_any_k(&self) -> Result<(), String> {
        let (covered, levels, block) = (self.layout.covered_tokens, self.levels, self.block_tokens);
        match self.any_k_from {
            Some(from) if !(1..=levels).contains(&from) => Err(format!("any_k_from: got {from}, expected 1 to levels = {levels}")),
            Some(_) if self.layout.block_mask && covered == 0 => {
                Err("layout.block_mask: fewer latents would not see the whole text; set layout.covered_tokens with any_k_from".into())
            }
            None if covered > 0 => {
                Err(format!("layout.covered_tokens: got {covered}, but nothing draws a number of latents; set any_k_from"))
            }
            Some(_) if covered > 0 && covered.div_ceil(levels) != block => Err(format!(
                "layout.covered_tokens: got {covered}, which is {} tokens for each of {levels} latents; expected block_tokens = {block}",
                covered.div_ceil(levels)
            )),
            _ => Ok(()),
        }
    }

    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The key, what it got, what is expected.
    pub fn check(&self) -> Result<(), String> {
        let ladder = self.ladder();
        if self.levels == 0 || self.block_tokens == 0 || self.steps_per_level == 0 || self.steps_last_level == 0 {
            return Err("levels, block_tokens, steps_per_level and steps_last_level must all be positive".into());
        }
        if ladder.first() == Some(&0) || ladder.windows(2).any(|w| w[0] >= w[1]) || ladder.last() != Some(&self.levels) {
            return Err(format!("latents_by_level: got {ladder:?}, expected rising numbers from at least 1 to levels = {}", self.levels));
        }
        if let Some(rows) =
            self.rows_by_level.as_ref().filter(|r| r.len() != ladder.len() || r.iter().any(|n| *n == 0 || *n > self.optim.batch_size))
        {
            let (levels, most) = (ladder.len(), self.optim.batch_size);
            return Err(format!("rows_by_level: got {rows:?}, expected {levels} numbers from 1 to optim.batch_size = {most}"));
        }
        let shares = [
            ("replay", self.replay),
            ("replaced_tokens", self.replaced_tokens),
            ("random_tokens", self.random_tokens),
            ("questions", self.questions),
        ];
        if let Some((key, got)) = shares.into_iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
            return Err(format!("{key}: got {got}, expected a share from 0 to below 1"));
        }
        if self.replay > 0.0 && self.schedule != LevelSchedule::Progressive {
            let (got, schedule) = (self.replay, self.schedule);
            return Err(format!(
                "replay: got {got}, but only a progressive schedule has levels to return to, got schedule {schedule:?}; set replay = 0.0"
            ));
        }
        if let Some(gate) = self.gate.filter(|gate| gate.loss.is_nan() || gate.loss <= 0.0 || gate.window == 0) {
            return Err(format!("gate: got loss {}, window {}; expected both positive", gate.loss, gate.window));
        }
        if self.gate.is_some() && self.schedule != LevelSchedule::Progressive {
            return Err(format!("gate: moves a progressive schedule on, got schedule {:?}; remove one of them", self.schedule));
        }
        if let Some(aux) = self.auxiliary.filter(|aux| !aux.weight.is_finite() || aux.weight <= 0.0) {
            return Err(format!("auxiliary.weight: got {}, expected above 0", aux.weight));
        }
        if let LatentNoise::Uniform(share) = self.noise
            && !(share > 0.0 && share.is_finite())
        {
            return Err(format!("noise.uniform: got {share}, expected above 0"));
        }
        if let Some(decoder) = self.decoder {
            if decoder.steps == 0 || decoder.steps > self.steps() || !(decoder.rate > 0.0 && decoder.rate <= 10.0) {
                let (steps, rate) = (decoder.steps, decoder.rate);
                return Err(format!("decoder: got steps {steps}, rate {rate}; expected 1 to {} steps, a rate above 0", self.steps()));
            }
            if self.lora.is_some() {
                return Err("decoder: is trained along with all parameters of the encoder only; remove [train.substitution.lora]".into());
            }
        }
        if self.lora.is_some() && self.optim.optimizer == Optimizer::Muon {
            return Err("optim.optimizer: Muon trains whole matrices, but [train.substitution.lora] has none; use \"adamw\"".into());
        }
        self.check_any_k()?;
        self.layout.check(self.block_tokens)
    }
}

mod defaults {
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
    pub(super) fn window() -> usize {
        20
    }
    pub(super) fn whole() -> f64 {
        1.0
    }
}
