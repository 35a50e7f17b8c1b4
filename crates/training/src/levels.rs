//! The level of every step of stage 2: its latents, and how much of a text it takes.

use std::collections::VecDeque;
use std::sync::Mutex;

use serde_json::{Value, json};

use crate::config::{LevelSchedule, Progress, SubstitutionConfig};
use crate::stream::{mix, unit};

/// What the rows of a step are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// Latents in front of every row.
    pub latents: usize,
    /// Most tokens of a text; of a longer one a window is taken.
    pub window: usize,
    /// Tokens of the text that the latents stand for; what follows them stays text.
    pub covered: usize,
    /// Tokens that each latent stands for, where that is not the layout's own to say (0).
    pub block: usize,
    /// Most rows of a pass; short ones are cheap, so that lower levels may have more.
    pub rows: usize,
    /// Whether the rows ask questions: from the text where there are no latents, else from those of whole texts.
    pub asks: bool,
}

impl Level {
    /// Rows without latents, of whole texts.
    pub const PLAIN: Self = Self { latents: 0, window: usize::MAX, covered: 0, block: 0, rows: usize::MAX, asks: false };

    /// Whole texts behind a number of latents, nothing left as text.
    pub fn whole(latents: usize) -> Self {
        Self { latents, window: usize::MAX, covered: usize::MAX, ..Self::PLAIN }
    }
}

/// The levels of a stage. Without a gate a level is a pure function of its step; with one it also depends on the losses before it,
/// which a checkpoint holds.
pub struct Levels {
    config: SubstitutionConfig,
    ladder: Vec<usize>,
    seed: u64,
    gate: Mutex<Gate>,
}

/// Where a gated progress is.
#[derive(Default)]
struct Gate {
    /// The rung of the ladder.
    rung: usize,
    /// Steps at it.
    steps: usize,
    /// The newest losses at it.
    losses: VecDeque<f32>,
}

impl Levels {
    /// The levels of a configuration.
    pub fn new(config: &SubstitutionConfig, seed: u64) -> Self {
        Self { config: config.clone(), ladder: config.ladder(), seed, gate: Mutex::default() }
    }

    /// The level of a step; with a gate every step before it must have been observed.
    pub fn level(&self, step: usize) -> Level {
        let draw = mix(mix(self.seed, 0x1e7e1), step as u64);
        let (newest, last) = (self.rung(step), self.ladder.len() - 1);
        if let Some(latents) = self.asked(step, newest == last, draw) {
            let rows = self.config.rows_by_level.as_ref().map_or(usize::MAX, |rows| rows[last]);
            return Level { rows, asks: true, ..Level::whole(latents) };
        }
        let replayed = newest > 0 && unit(draw) < self.config.replay;
        let rung = if replayed { (mix(draw, 1) % newest as u64) as usize } else { newest };
        let latents = self.ladder[rung];
        let covered = latents.saturating_mul(self.config.block_tokens);
        let rows = self.config.rows_by_level.as_ref().map_or(usize::MAX, |rows| rows[rung]);
        let windows = self.config.progress == Progress::Length && rung < last;
        let level = Level { latents, window: if windows { covered } else { usize::MAX }, covered, block: 0, rows, asks: false };
        match (self.config.any_k_from, self.config.layout.covered_tokens) {
            (None, _) => level,
            (Some(from), 0) => Level { latents: drawn(from, latents, mix(draw, 2)), covered: usize::MAX, ..level },
            (Some(from), whole) => {
                let all = drawn(from, self.config.levels, mix(draw, 2));
                let block = whole.div_ceil(all);
                match windows {
                    true => Level { window: latents * block, covered: latents * block, block, ..level },
                    false => Level { latents: all, covered: usize::MAX, block, ..level },
                }
            }
        }
    }

    /// The latents from which a step answers questions, none for the text itself; nothing where it does not ask.
    fn asked(&self, step: usize, last: bool, draw: u64) -> Option<usize> {
        if unit(mix(draw, 3)) >= self.config.questions {
            return None;
        }
        let from_latents = self.config.any_k_from.map_or(self.config.levels, |from| drawn(from, self.config.levels, mix(draw, 5)));
        // Nothing is learnt from the text but by the decoder.
        match (last, self.config.decoder.is_some_and(|decoder| step < decoder.steps)) {
            (true, true) if mix(draw, 4).is_multiple_of(2) => Some(from_latents),
            (true, false) => Some(from_latents),
            (_, true) => Some(0),
            (false, false) => None,
        }
    }

    /// The latents of the newest level at a step, replays and drawn numbers apart.
    pub fn newest(&self, step: usize) -> usize {
        self.ladder[self.rung(step)]
    }

    /// The rung of a step, replays apart.
    fn rung(&self, step: usize) -> usize {
        let last = self.ladder.len() - 1;
        if self.config.gate.is_some() {
            return self.gate.lock().unwrap_or_else(|e| e.into_inner()).rung;
        }
        let before_last = self.config.steps_before_last();
        let progressive = if step >= before_last { last } else { step / self.config.steps_per_level };
        match self.config.schedule {
            LevelSchedule::Progressive => progressive,
            LevelSchedule::AllAtOnce => last,
            LevelSchedule::Reversed if step >= before_last => last,
            LevelSchedule::Reversed => last - progressive,
            LevelSchedule::Random => (mix(self.seed, step as u64) % self.ladder.len() as u64) as usize,
        }
    }

    /// Takes note of a step and its loss.
    pub fn observe(&self, latents: usize, loss: f32) {
        let Some(config) = self.config.gate else { return };
        let mut gate = self.gate.lock().unwrap_or_else(|e| e.into_inner());
        let last = self.ladder.len() - 1;
        if gate.rung == last {
            return;
        }
        gate.steps += 1;
        // A replayed level says nothing about the newest one; a drawn number of latents does.
        if latents == self.ladder[gate.rung] || self.config.any_k_from.is_some() {
            gate.losses.push_back(loss);
        }
        while gate.losses.len() > config.window {
            gate.losses.pop_front();
        }
        let mean = gate.losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / gate.losses.len().max(1) as f64;
        let learnt = gate.losses.len() == config.window && mean <= config.loss;
        if learnt || gate.steps >= self.config.steps_per_level {
            *gate = Gate { rung: gate.rung + 1, ..Gate::default() };
        }
    }

    /// What a checkpoint keeps, bit for bit; null without a gate.
    pub fn state(&self) -> Value {
        if self.config.gate.is_none() {
            return Value::Null;
        }
        let gate = self.gate.lock().unwrap_or_else(|e| e.into_inner());
        json!({"rung": gate.rung, "steps": gate.steps, "losses": gate.losses.iter().map(|loss| loss.to_bits()).collect::<Vec<_>>()})
    }

    /// Goes on from what [`state`](Self::state) kept; anything else starts at the first level.
    pub fn restore(&self, state: &Value) {
        let number = |key: &str| state[key].as_u64().unwrap_or(0) as usize;
        let losses = state["losses"].as_array().into_iter().flatten();
        let losses = losses.filter_map(|bits| Some(f32::from_bits(u32::try_from(bits.as_u64()?).ok()?))).collect();
        let gate = Gate { rung: number("rung").min(self.ladder.len() - 1), steps: number("steps"), losses };
        *self.gate.lock().unwrap_or_else(|e| e.into_inner()) = gate;
    }
}

/// A number from one to another, both included.
fn drawn(from: usize, to: usize, draw: u64) -> usize {
    from.min(to) + (draw % (to + 1 - from.min(to)) as u64) as usize
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::{GateConfig, OptimConfig, TrainedDecoder};

    fn config() -> SubstitutionConfig {
        SubstitutionConfig::plain(3, 4, 2, 3, OptimConfig::example())
    }

    fn latents(config: &SubstitutionConfig, steps: usize) -> Vec<usize> {
        let levels = Levels::new(config, 1);
        (0..steps).map(|step| levels.level(step).latents).collect()
    }

    #[test]
    fn levels_of_every_schedule() {
        let of = |schedule| latents(&SubstitutionConfig { schedule, ..config() }, 7);
        assert_eq!(config().steps(), 7);
        assert_eq!(of(LevelSchedule::Progressive), [1, 1, 2, 2, 3, 3, 3]);
        assert_eq!(of(LevelSchedule::AllAtOnce), [3; 7]);
        assert_eq!(of(LevelSchedule::Reversed), [3, 3, 2, 2, 3, 3, 3]);
        let random = latents(&SubstitutionConfig { schedule: LevelSchedule::Random, ..config() }, 300);
        assert!((1..=3).all(|k| random.iter().filter(|l| **l == k).count() > 60));
    }

    #[test]
    fn windows_ladders_and_any_number_of_latents() {
        let length = SubstitutionConfig {
            progress: Progress::Length,
            latents_by_level: Some(vec![1, 3]),
            rows_by_level: Some(vec![9, 2]),
            ..config()
        };
        assert_eq!(length.steps(), 5);
        // 2 steps of 9 rows and 3 of 2, none above the optimizer's batch.
        let optim = OptimConfig { batch_size: 9, ..OptimConfig::example() };
        assert_eq!(SubstitutionConfig { optim, ..length.clone() }.passages(1), 24);
        let levels = Levels::new(&length, 1);
        assert_eq!(levels.level(0), Level { latents: 1, window: 4, covered: 4, rows: 9, ..Level::PLAIN });
        assert_eq!(levels.level(2), Level { latents: 3, covered: 12, rows: 2, ..Level::PLAIN });
        assert_eq!(Levels::new(&config(), 1).level(0), Level { latents: 1, covered: 4, ..Level::PLAIN });
        let any = SubstitutionConfig { any_k_from: Some(1), schedule: LevelSchedule::AllAtOnce, ..config() };
        let drawn = latents(&any, 300);
        assert!((1..=3).all(|k| drawn.iter().filter(|l| **l == k).count() > 60));
        assert!((0..9).all(|step| Levels::new(&any, 1).level(step).covered == usize::MAX));
        // 10 tokens in 2 or 3 latents: blocks of 5 or 4, first learnt in windows of one block.
        let blocks = SubstitutionConfig {
            any_k_from: Some(2),
            layout: nextmem_model::LayoutConfig { covered_tokens: 10, ..Default::default() },
            optim: OptimConfig { batch_size: 9, ..OptimConfig::example() },
            ..length
        };
        blocks.check().unwrap();
        let levels = Levels::new(&blocks, 1);
        for step in 0..5 {
            let level = levels.level(step);
            assert!([4, 5].contains(&level.block), "{level:?}");
            let (latents, window) = if step < 2 { (1, level.block) } else { (10usize.div_ceil(level.block), usize::MAX) };
            assert_eq!((level.latents, level.window), (latents, window), "step {step}");
        }
    }

    #[test]
    fn replay_returns_to_lower_levels() {
        let replay = SubstitutionConfig { replay: 0.5, steps_last_level: 400, ..config() };
        let last = latents(&replay, 404)[4..].to_vec();
        let levels = Levels::new(&replay, 1);
        assert!((4..404).all(|step| levels.newest(step) == 3));
        let share = last.iter().filter(|l| **l < 3).count();
        assert!((140..260).contains(&share), "{share}");
        assert!(last.contains(&1) && last.contains(&2));
    }

    #[test]
    fn questions_are_asked_of_texts_while_the_decoder_learns_and_of_latents_at_the_last_level() {
        let decoder = Some(TrainedDecoder { steps: 300, rate: 1.0 });
        let config = SubstitutionConfig { questions: 0.4, steps_per_level: 100, steps_last_level: 200, decoder, ..config() };
        let asked = |config: &SubstitutionConfig, steps: std::ops::Range<usize>| {
            let levels = Levels::new(config, 1);
            let asked = steps.map(|step| levels.level(step)).filter(|level| level.asks);
            asked
                .map(|level| level.latents)
                .fold([0, 0], |[text, latents], n| if n == 0 { [text + 1, latents] } else { [text, latents + n / 3] })
        };
        let ([below, none], [text, latents], [no_text, all]) = (asked(&config, 0..200), asked(&config, 200..300), asked(&config, 300..400));
        assert!((60..100).contains(&below) && none == 0, "{below} {none}");
        assert!((10..35).contains(&text) && (10..35).contains(&latents), "{text} {latents}");
        assert!(no_text == 0 && (25..55).contains(&all), "{no_text} {all}");
        let frozen = SubstitutionConfig { decoder: None, ..config.clone() };
        assert_eq!((asked(&frozen, 0..200), asked(&frozen, 200..400)[0]), ([0, 0], 0));
        assert_eq!(asked(&SubstitutionConfig { questions: 0.0, ..config }, 0..400), [0, 0]);
    }

    #[test]
    fn a_gate_moves_on_by_loss_or_by_steps_and_resumes() {
        let gated = SubstitutionConfig { gate: Some(GateConfig { loss: 0.5, window: 2 }), steps_per_level: 4, ..config() };
        let run = |levels: &Levels, losses: &[f32]| -> Vec<usize> {
            losses
                .iter()
                .enumerate()
                .map(|(step, loss)| {
                    let latents = levels.level(step).latents;
                    levels.observe(latents, *loss);
                    latents
                })
                .collect()
        };
        let losses = [0.9, 0.4, 0.5, 0.9, 0.9, 0.9, 0.9, 0.1, 0.1];
        let whole = run(&Levels::new(&gated, 1), &losses);
        // Learnt after three steps; the second level's four steps are used up.
        assert_eq!(whole, [1, 1, 1, 2, 2, 2, 2, 3, 3]);
        for cut in 0..losses.len() {
            let (first, second) = (Levels::new(&gated, 1), Levels::new(&gated, 1));
            run(&first, &losses[..cut]);
            second.restore(&first.state());
            assert_eq!(run(&second, &losses[cut..]), whole[cut..], "after {cut} steps");
        }
    }
}
