//! Rows of tokens with the positions that are learnt, as the two stages define them.

use std::sync::Arc;

use nextmem_model::{Message, Tokenizer};

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
    /// The first token that is predicted.
    pub loss_from: usize,
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

/// Stage 1: `x [SoD] x [EoT]`, the copy and `[EoT]` are learnt (paper.md section 1).
pub fn reconstruction_row(x: &[u32], sod: u32, eot: u32, loss_on_source: bool) -> Row {
    let tokens: Vec<u32> = x.iter().copied().chain([sod]).chain(x.iter().copied()).chain([eot]).collect();
    Row { source: Vec::new(), tokens, loss_from: if loss_on_source { 1 } else { x.len() + 1 } }
}

/// Stage 2 at level k: after the latents `x_{> block k}; SoD; x; EoT`.
pub fn substitution_row(x: &[u32], level: usize, block: usize, sod: u32, eot: u32) -> Row {
    let rest = &x[(level * block).min(x.len())..];
    let tokens: Vec<u32> = rest.iter().copied().chain([sod]).chain(x.iter().copied()).chain([eot]).collect();
    Row { source: x.to_vec(), tokens, loss_from: rest.len() + 1 }
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

impl PretrainRows {
    fn chat(&self, prompt: Vec<u32>, answer: &str) -> Result<Row, TrainError> {
        let mut tokens = prompt;
        tokens.extend(self.tokenizer.encode(answer).map_err(nextmem_model::ModelError::from)?);
        tokens.push(self.tokenizer.im_end());
        Ok(Row { source: Vec::new(), tokens, loss_from: 1 })
    }
}

impl RowSource for PretrainRows {
    fn level(&self, _step: usize) -> usize {
        0
    }

    fn row(&self, place: u64, _level: usize) -> Result<Row, TrainError> {
        let c = &self.config;
        let draw = mix(self.seed, place);
        let total = c.facts + c.questions + c.repeats + c.text;
        let at = (draw >> 11) as f64 / (1u64 << 53) as f64 * total;
        let tokenizer = &self.tokenizer;
        let wrap = |e: nextmem_model::TokenizerError| TrainError::Model(e.into());
        let plain = |text: &str| -> Result<Row, TrainError> {
            let mut tokens = tokenizer.encode(text).map_err(wrap)?;
            tokens.push(tokenizer.end_of_text());
            Ok(Row { source: Vec::new(), tokens, loss_from: 1 })
        };
        if let Some(text) = self.text.as_ref().filter(|_| at >= c.facts + c.questions + c.repeats) {
            return plain(&text.get(place)?);
        }
        let example = self.facts.get(place)?;
        if at < c.facts {
            return plain(&example.text);
        }
        if at < c.facts + c.questions && !example.questions.is_empty() {
            let (question, answer) = &example.questions[(draw % example.questions.len() as u64) as usize];
            return self.chat(tokenizer.answer_text_prompt(&example.text, question).map_err(wrap)?, answer);
        }
        let request = Message::new("user", format!("{REPEAT_REQUEST}{}", example.text));
        let prompt = tokenizer.chat_ids(&[request], true, false).map_err(wrap)?;
        self.chat(prompt, &example.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_both_stages() {
        let row = reconstruction_row(&[5, 6, 7], 90, 1, false);
        assert_eq!((row.tokens.as_slice(), row.loss_from), ([5, 6, 7, 90, 5, 6, 7, 1].as_slice(), 4));
        assert_eq!(reconstruction_row(&[5], 90, 1, true).loss_from, 1);
        let row = substitution_row(&[5, 6, 7], 1, 2, 90, 1);
        assert_eq!((row.tokens.as_slice(), row.loss_from), ([7, 90, 5, 6, 7, 1].as_slice(), 2));
        // past the end of the text only [SoD] stands between latents and copy
        let row = substitution_row(&[5, 6, 7], 4, 2, 90, 1);
        assert_eq!((row.tokens.as_slice(), row.loss_from), ([90, 5, 6, 7, 1].as_slice(), 1));
    }
}
