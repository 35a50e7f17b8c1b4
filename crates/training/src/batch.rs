//! Rows of tokens with the positions that are learnt, as the two stages define them.

use std::ops::Range;
use std::sync::Arc;

use nextmem_model::{Message, Tokenizer, TokenizerError};

use crate::config::{PretrainConfig, ReconstructionConfig, SubstitutionConfig};
use crate::error::TrainError;
use crate::stream::{Stream, mix};

/// One sequence for the decoder, and what the encoder reads in stage 2.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The text the encoder turns into latents (stage 2 only; empty otherwise).
    pub source: Vec<u32>,
    /// Tokens of the decoder, after the latents.
    pub tokens: Vec<u32>,
    /// Which of them are learnt; a token is predicted from the one before it.
    pub learnt: Vec<Range<usize>>,
}

impl Row {
    /// A row whose tokens are learnt from one of them to the end.
    pub fn learning_from(source: Vec<u32>, tokens: Vec<u32>, from: usize) -> Self {
        let learnt = std::iter::once(from..tokens.len()).collect();
        Self { source, tokens, learnt }
    }
}

/// Rows that go through the model together, at one level.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Latents in front of every row (0 outside stage 2).
    pub level: usize,
    /// The rows.
    pub rows: Vec<Row>,
}

/// Where a stage's rows come from; a pure function of the step and the place in the stream.
pub trait RowSource: Send + Sync {
    /// Latents in front of the rows of a step.
    fn level(&self, step: usize) -> usize;
    /// The row at a place of the stream, for that level.
    fn row(&self, place: u64, level: usize) -> Result<Row, TrainError>;
}

/// Stage 1: `x [SoD] x [EoT]`, the copy and `[EoT]` are learnt.
pub fn reconstruction_row(x: &[u32], sod: u32, eot: u32, loss_on_source: bool) -> Row {
    let tokens: Vec<u32> = x.iter().copied().chain([sod]).chain(x.iter().copied()).chain([eot]).collect();
    Row::learning_from(Vec::new(), tokens, if loss_on_source { 1 } else { x.len() + 1 })
}

/// Stage 2 at level k: after the latents `x_{> block k}; SoD; x; EoT`.
pub fn substitution_row(x: &[u32], level: usize, block: usize, sod: u32, eot: u32) -> Row {
    let rest = &x[(level * block).min(x.len())..];
    let tokens: Vec<u32> = rest.iter().copied().chain([sod]).chain(x.iter().copied()).chain([eot]).collect();
    Row::learning_from(x.to_vec(), tokens, rest.len() + 1)
}

/// The baselines: `SoD; x; EoT` where the memory of x is all that is known of it.
pub fn memory_row(x: &[u32], sod: u32, eot: u32) -> Row {
    substitution_row(x, 1, x.len(), sod, eot)
}

/// Stage 1 rows over a stream of passages.
pub struct ReconstructionRows {
    /// Passages.
    pub texts: Stream<String>,
    /// The tokenizer of the backbone.
    pub tokenizer: Arc<Tokenizer>,
    /// The stage.
    pub config: ReconstructionConfig,
}

impl RowSource for ReconstructionRows {
    fn level(&self, _step: usize) -> usize {
        0
    }
    fn row(&self, place: u64, _level: usize) -> Result<Row, TrainError> {
        let x = self.tokenizer.encode(&self.texts.get(place)?).map_err(nextmem_model::ModelError::from)?;
        Ok(reconstruction_row(&x, self.tokenizer.sod(), self.tokenizer.end_of_text(), self.config.loss_on_source))
    }
}

/// Stage 2 rows over a stream of passages.
pub struct SubstitutionRows {
    /// Passages.
    pub texts: Stream<String>,
    /// The tokenizer of the backbone.
    pub tokenizer: Arc<Tokenizer>,
    /// The stage.
    pub config: SubstitutionConfig,
    /// Seed of random levels.
    pub seed: u64,
}

impl RowSource for SubstitutionRows {
    fn level(&self, step: usize) -> usize {
        self.config.level(step, self.seed)
    }
    fn row(&self, place: u64, level: usize) -> Result<Row, TrainError> {
        let x = self.tokenizer.encode(&self.texts.get(place)?).map_err(nextmem_model::ModelError::from)?;
        Ok(substitution_row(&x, level, self.config.block_tokens, self.tokenizer.sod(), self.tokenizer.end_of_text()))
    }
}

/// A passage with questions, for pretraining.
#[derive(Clone, Debug)]
pub struct Example {
    /// The passage.
    pub text: String,
    /// Questions with their answers.
    pub questions: Vec<(String, String)>,
}

/// Pretraining rows: a mixture of passages, questions in the chat format, requests to repeat, and real text.
pub struct PretrainRows {
    /// Facts with questions.
    pub facts: Stream<Example>,
    /// Real text; absent when its weight is 0.
    pub text: Option<Stream<String>>,
    /// The tokenizer being pretrained with.
    pub tokenizer: Arc<Tokenizer>,
    /// The mixture.
    pub config: PretrainConfig,
    /// Seed of the mixture.
    pub seed: u64,
}

/// The request that teaches copying in the chat format.
pub const REPEAT_REQUEST: &str = "Please repeat the following text.\n";

/// Questions asked about one passage in a pretraining row, as turns of one chat.
const TURNS: usize = 3;

impl PretrainRows {
    /// Appends an answer and its end to a chat; both are learnt.
    fn answer(&self, row: &mut Row, answer: &str) -> Result<(), TokenizerError> {
        let from = row.tokens.len();
        row.tokens.extend(self.tokenizer.encode(answer)?);
        row.tokens.push(self.tokenizer.im_end());
        row.learnt.push(from..row.tokens.len());
        Ok(())
    }

    fn prose(&self, text: &str) -> Result<Row, TokenizerError> {
        let mut tokens = self.tokenizer.encode(text)?;
        tokens.push(self.tokenizer.end_of_text());
        Ok(Row::learning_from(Vec::new(), tokens, 1))
    }

    fn repeat(&self, text: &str) -> Result<Row, TokenizerError> {
        let request = Message::new("user", format!("{REPEAT_REQUEST}{text}"));
        let mut row = Row { source: Vec::new(), tokens: self.tokenizer.chat_ids(&[request], true, false)?, learnt: Vec::new() };
        self.answer(&mut row, text)?;
        Ok(row)
    }

    /// A passage with its first question in the textual-memory prompt, further ones as further turns.
    fn questions(&self, example: &Example, first: usize) -> Result<Row, TokenizerError> {
        let mut row = Row { source: Vec::new(), tokens: Vec::new(), learnt: Vec::new() };
        let count = example.questions.len();
        for turn in 0..TURNS.min(count) {
            let (question, answer) = &example.questions[(first + turn) % count];
            if turn == 0 {
                row.tokens = self.tokenizer.answer_text_prompt(&example.text, question)?;
            } else {
                row.tokens.extend(self.tokenizer.encode("\n")?);
                row.tokens.extend(self.tokenizer.chat_ids(&[Message::new("user", question.as_str())], true, false)?);
            }
            self.answer(&mut row, answer)?;
        }
        Ok(row)
    }
}

impl RowSource for PretrainRows {
    fn level(&self, _step: usize) -> usize {
        0
    }

    /// All rows of a step are of one kind, so that short ones are not padded to the length of chats.
    fn row(&self, place: u64, _level: usize) -> Result<Row, TrainError> {
        let c = &self.config;
        let step = place / c.optim.batch_size as u64;
        let total = c.facts + c.questions + c.repeats + c.text;
        let at = (mix(self.seed, step) >> 11) as f64 / (1u64 << 53) as f64 * total;
        let row = match &self.text {
            Some(text) if at >= c.facts + c.questions + c.repeats => self.prose(&text.get(place)?),
            _ => {
                let example = self.facts.get(place)?;
                if at < c.facts {
                    self.prose(&example.text)
                } else if at < c.facts + c.questions {
                    self.questions(&example, mix(self.seed, place) as usize % example.questions.len().max(1))
                } else {
                    self.repeat(&example.text)
                }
            }
        };
        row.map_err(|e| TrainError::Model(e.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_stages() {
        let tokens = vec![5, 6, 7, 90, 5, 6, 7, 1];
        assert_eq!(reconstruction_row(&[5, 6, 7], 90, 1, false), Row::learning_from(vec![], tokens.clone(), 4));
        assert_eq!(reconstruction_row(&[5, 6, 7], 90, 1, true), Row::learning_from(vec![], tokens, 1));
        let x = vec![5, 6, 7];
        assert_eq!(substitution_row(&x, 1, 2, 90, 1), Row::learning_from(x.clone(), vec![7, 90, 5, 6, 7, 1], 2));
        // past the end of the text only [SoD] stands between latents and copy
        assert_eq!(substitution_row(&x, 4, 2, 90, 1), Row::learning_from(x.clone(), vec![90, 5, 6, 7, 1], 1));
        assert_eq!(memory_row(&x, 90, 1), substitution_row(&x, 4, 2, 90, 1));
        assert_eq!(memory_row(&[], 90, 1), Row::learning_from(vec![], vec![90, 1], 1));
    }
}
