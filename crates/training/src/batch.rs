//! Rows of tokens with the positions that are learnt, as the two stages define them.

use std::ops::Range;
use std::sync::Arc;

use nextmem_model::Tokenizer;
use serde_json::Value;

use crate::config::{ReconstructionConfig, SubstitutionConfig};
use crate::error::TrainError;
use crate::levels::{Level, Levels};
use crate::questions::{Example, comp_question, text_question};
use crate::stream::{Stream, mix, unit};

/// One sequence for the decoder, and what the encoder reads in stage 2.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The text the encoder turns into latents (stage 2 only; empty otherwise).
    pub source: Vec<u32>,
    /// Tokens of the decoder that stand before the latents (answers from latents only).
    pub head: Vec<u32>,
    /// Tokens of the decoder, after the latents.
    pub tokens: Vec<u32>,
    /// How many of them, from the first, are tokens of the text itself that no latent stands for.
    pub rest: usize,
    /// Which of them are learnt; a token is predicted from the one before it.
    pub learnt: Vec<Range<usize>>,
    /// What the decoder is shown in the place of some of them; the targets stay.
    pub shown: Vec<(usize, u32)>,
    /// The same answer after the text itself, for a teacher that reads it (the reader stage only).
    pub taught: Vec<u32>,
    /// Passages to tell apart, the right one first (index training only).
    pub candidates: Vec<Vec<u32>>,
    /// A latent, and the block of the source that an auxiliary decoder rebuilds from it.
    pub block: Option<(usize, Range<usize>)>,
    /// Its place in the stream: the seed of what is random about it.
    pub place: u64,
}

impl Row {
    /// A row whose tokens are learnt from one of them to the end.
    pub fn learning_from(source: Vec<u32>, tokens: Vec<u32>, from: usize) -> Self {
        let learnt = std::iter::once(from..tokens.len()).collect();
        Self { source, tokens, learnt, ..Self::default() }
    }

    /// The tokens as the decoder is shown them.
    pub(crate) fn inputs(&self) -> Vec<u32> {
        let mut inputs = self.tokens.clone();
        for (index, token) in &self.shown {
            inputs[*index] = *token;
        }
        inputs
    }
}

/// Rows that go through the model together, at one level.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Latents in front of every row (0 outside stage 2).
    pub level: usize,
    /// The rows.
    pub rows: Vec<Row>,
    /// Tokens that each latent stands for, where that is not the layout's own to say (0).
    pub block: usize,
    /// The step it belongs to, from 0.
    pub step: usize,
}

impl Batch {
    /// Rows of one level, as of the first step.
    pub fn new(level: usize, rows: Vec<Row>) -> Self {
        Self { level, rows, ..Self::default() }
    }

    /// Tokens before the latents, the same number in every row.
    pub(crate) fn head(&self) -> usize {
        self.rows.first().map_or(0, |row| row.head.len())
    }
}

/// Where a stage's rows come from: a pure function of the place in the stream and the level, which is one of the step and of what
/// was observed before it.
pub trait RowSource: Send + Sync {
    /// Latents in front of the rows of a step, and how much of a text they take.
    fn level(&self, step: usize) -> Level;
    /// The row at a place of the stream, for that level.
    fn row(&self, place: u64, level: Level) -> Result<Row, TrainError>;
    /// The latents that a validation after a step is to have.
    fn tested(&self, step: usize) -> usize {
        self.level(step).latents
    }
    /// Told the loss of every step.
    fn observe(&self, _latents: usize, _loss: f32) {}
    /// What a checkpoint has to keep of it.
    fn state(&self) -> Value {
        Value::Null
    }
    /// Goes on from what a checkpoint kept.
    fn restore(&self, _state: &Value) {}
}

/// Stage 1: `x [SoD] x [EoT]`, the copy and `[EoT]` are learnt.
pub fn reconstruction_row(x: &[u32], sod: u32, eot: u32, loss_on_source: bool) -> Row {
    let tokens: Vec<u32> = x.iter().copied().chain([sod]).chain(x.iter().copied()).chain([eot]).collect();
    let row = Row::learning_from(Vec::new(), tokens, if loss_on_source { 1 } else { x.len() + 1 });
    Row { rest: x.len(), ..row }
}

/// Stage 2 at level k: after the latents `x_{> block k}; SoD; x; EoT`.
pub fn substitution_row(x: &[u32], level: usize, block: usize, sod: u32, eot: u32) -> Row {
    covered_row(x, level.saturating_mul(block), sod, eot)
}

/// The baselines: `SoD; x; EoT` where the memory of x is all that is known of it.
pub fn memory_row(x: &[u32], sod: u32, eot: u32) -> Row {
    covered_row(x, x.len(), sod, eot)
}

/// After latents that stand for the first `covered` tokens: the rest, `SoD; x; EoT`.
fn covered_row(x: &[u32], covered: usize, sod: u32, eot: u32) -> Row {
    let rest = &x[covered.min(x.len())..];
    let tokens: Vec<u32> = rest.iter().copied().chain([sod]).chain(x.iter().copied()).chain([eot]).collect();
    Row { rest: rest.len(), ..Row::learning_from(x.to_vec(), tokens, rest.len() + 1) }
}

/// Passages and random tokens as tokens, whole or as windows.
pub struct TokenTexts {
    /// Passages.
    pub texts: Stream<String>,
    /// The tokenizer of the backbone.
    pub tokenizer: Arc<Tokenizer>,
    /// Share of uniformly random tokens in the place of a passage.
    pub random_tokens: f64,
    /// Seed of what is random.
    pub seed: u64,
}

impl TokenTexts {
    /// The tokens at a place, a window of at most `window`; also whether they are random. A window of random tokens has any length
    /// up to `longest`.
    fn get(&self, place: u64, window: usize, longest: usize) -> Result<(Vec<u32>, bool), TrainError> {
        let draw = mix(self.seed, place);
        if unit(mix(draw, 1)) < self.random_tokens {
            let count = 1 + (mix(draw, 2) % longest.max(1) as u64) as usize;
            return Ok((random_tokens(&self.tokenizer, count, mix(draw, 3)), true));
        }
        let mut x = self.tokenizer.encode(&self.texts.get(place)?).map_err(nextmem_model::ModelError::from)?;
        if x.len() > window {
            let first = (mix(draw, 4) % (x.len() - window + 1) as u64) as usize;
            x = x[first..first + window].to_vec();
        }
        Ok((x, false))
    }
}

/// Uniformly random tokens, the added ones apart: what can be remembered and not guessed.
pub fn random_tokens(tokenizer: &Tokenizer, count: usize, seed: u64) -> Vec<u32> {
    let plain = u64::from(tokenizer.plain_tokens());
    (0..count as u64).map(|i| (mix(seed, i) % plain) as u32).collect()
}

/// Stage 1 rows over a stream of passages.
pub struct ReconstructionRows {
    /// Passages, and questions about them where the stage asks some.
    pub texts: TokenTexts,
    /// Passages with questions; absent where their share is 0.
    pub questions: Option<Stream<Example>>,
    /// The stage.
    pub config: ReconstructionConfig,
}

impl RowSource for ReconstructionRows {
    fn level(&self, _step: usize) -> Level {
        Level::PLAIN
    }
    fn row(&self, place: u64, _level: Level) -> Result<Row, TrainError> {
        let (c, tokenizer) = (&self.config, &self.texts.tokenizer);
        let draw = mix(mix(self.texts.seed, 0x57a9e1), place);
        if let (true, Some(questions)) = (unit(mix(draw, 1)) < c.questions, &self.questions) {
            return question_row(tokenizer, &questions.get(place)?, false, draw);
        }
        let (window, longest) = match c.window_tokens {
            0 => (usize::MAX, RANDOM_TOKENS),
            most => {
                let step = place / (c.optim.batch_size * c.optim.accumulation) as u64;
                let most = grown(most, step as usize, c.window_growth);
                (1 + (mix(draw, 4) % most as u64) as usize, most)
            }
        };
        let (x, random) = self.texts.get(place, window, longest)?;
        Ok(reconstruction_row(&x, tokenizer.sod(), tokenizer.end_of_text(), c.loss_on_source && !random))
    }
}

/// A question about a passage, to be answered from its latents; or from its text, half of them in the format of task 2 and half in
/// that of Comp.
fn question_row(tokenizer: &Tokenizer, example: &Example, from_latents: bool, draw: u64) -> Result<Row, TrainError> {
    let Some((question, answer)) = example.questions.get(mix(draw, 2) as usize % example.questions.len().max(1)) else {
        return Err(TrainError::Data(format!("no question about {:?}", example.text)));
    };
    let row = match (from_latents, mix(draw, 3) % 2) {
        (true, _) => comp_question(tokenizer, &example.text, question, answer),
        (false, 0) => text_question(tokenizer, &example.text, question, answer),
        (false, _) => comp_question(tokenizer, &example.text, question, answer).map(Row::with_its_text),
    };
    Ok(row.map_err(nextmem_model::ModelError::from)?)
}

/// The longest window of a step: a cubic growth from a few tokens.
pub(crate) fn grown(most: usize, step: usize, growth: usize) -> usize {
    const FIRST: usize = 8;
    if step >= growth || most <= FIRST {
        return most;
    }
    FIRST + ((most - FIRST) as f64 * (step as f64 / growth as f64).powi(3)) as usize
}

/// Most random tokens of a row where no window is set.
const RANDOM_TOKENS: usize = 128;

/// Stage 2 rows over a stream of passages.
pub struct SubstitutionRows {
    /// Passages.
    pub texts: TokenTexts,
    /// Passages with questions; absent where their share is 0.
    pub questions: Option<Stream<Example>>,
    /// The stage.
    pub config: SubstitutionConfig,
    /// Its levels.
    pub levels: Levels,
}

impl RowSource for SubstitutionRows {
    fn level(&self, step: usize) -> Level {
        self.levels.level(step)
    }
    fn row(&self, place: u64, level: Level) -> Result<Row, TrainError> {
        let (c, tokenizer) = (&self.config, &self.texts.tokenizer);
        let draw = mix(mix(self.texts.seed, 0x57a9e2), place);
        if let (true, Some(questions)) = (level.asks, &self.questions) {
            return question_row(tokenizer, &questions.get(place)?, level.latents > 0, draw);
        }
        let longest = level.window.min(c.levels * c.block_tokens);
        let (x, _) = self.texts.get(place, level.window, longest)?;
        let mut row = covered_row(&x, level.covered, tokenizer.sod(), tokenizer.end_of_text());
        // The copy's own tokens before the one that is learnt; [SoD] stays.
        for index in row.rest + 1..row.tokens.len().saturating_sub(1) {
            let at = mix(draw, index as u64);
            if unit(at) < c.replaced_tokens {
                row.shown.push((index, (mix(at, 1) % u64::from(tokenizer.plain_tokens())) as u32));
            }
        }
        if c.auxiliary.is_some() && !x.is_empty() {
            let block = if level.block > 0 { level.block } else { c.block_tokens };
            let blocks = level.latents.min(x.len().div_ceil(block));
            let latent = (mix(draw, 0xb10c) % blocks.max(1) as u64) as usize;
            row.block = Some((latent, latent * block..x.len().min((latent + 1) * block)));
        }
        Ok(row)
    }
    fn tested(&self, step: usize) -> usize {
        self.levels.newest(step)
    }
    fn observe(&self, latents: usize, loss: f32) {
        self.levels.observe(latents, loss);
    }
    fn state(&self) -> Value {
        self.levels.state()
    }
    fn restore(&self, state: &Value) {
        self.levels.restore(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_stages() {
        let tokens = vec![5, 6, 7, 90, 5, 6, 7, 1];
        let of_text = |rest: usize, row: Row| Row { rest, ..row };
        assert_eq!(reconstruction_row(&[5, 6, 7], 90, 1, false), of_text(3, Row::learning_from(vec![], tokens.clone(), 4)));
        assert_eq!(reconstruction_row(&[5, 6, 7], 90, 1, true), of_text(3, Row::learning_from(vec![], tokens, 1)));
        let x = vec![5, 6, 7];
        assert_eq!(substitution_row(&x, 1, 2, 90, 1), of_text(1, Row::learning_from(x.clone(), vec![7, 90, 5, 6, 7, 1], 2)));
        // past the end of the text only [SoD] stands between latents and copy
        assert_eq!(substitution_row(&x, 4, 2, 90, 1), Row::learning_from(x.clone(), vec![90, 5, 6, 7, 1], 1));
        assert_eq!(memory_row(&x, 90, 1), substitution_row(&x, 4, 2, 90, 1));
        assert_eq!([0, 50, 100, 200].map(|step| grown(128, step, 100)), [8, 23, 128, 128]);
        assert_eq!(memory_row(&[], 90, 1), Row::learning_from(vec![], vec![90, 1], 1));
    }
}
