//! Rows of the backbone's own pretraining: passages, questions, requests to repeat, real text.

use std::sync::Arc;

use nextmem_model::{Message, ModelError, Tokenizer, TokenizerError};

use crate::batch::{Row, RowSource, grown, random_tokens, reconstruction_row};
use crate::config::PretrainConfig;
use crate::error::TrainError;
use crate::levels::Level;
use crate::questions::{Example, append_answer, comp_question};
use crate::stream::{Stream, mix, unit};

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
    fn prose(&self, text: &str) -> Result<Row, TokenizerError> {
        let mut tokens = self.tokenizer.encode(text)?;
        tokens.push(self.tokenizer.end_of_text());
        Ok(Row::learning_from(Vec::new(), tokens, 1))
    }

    fn repeat(&self, text: &str) -> Result<Row, TokenizerError> {
        let request = Message::new("user", format!("{REPEAT_REQUEST}{text}"));
        let mut row = Row { tokens: self.tokenizer.chat_ids(&[request], true, false)?, ..Row::default() };
        append_answer(&self.tokenizer, &mut row, text)?;
        Ok(row)
    }

    /// A passage with its first question in the textual-memory prompt, further ones as further turns.
    fn questions(&self, example: &Example, first: usize) -> Result<Row, TokenizerError> {
        let mut row = Row::default();
        let count = example.questions.len();
        for turn in 0..TURNS.min(count) {
            let (question, answer) = &example.questions[(first + turn) % count];
            if turn == 0 {
                row.tokens = self.tokenizer.answer_text_prompt(&example.text, question)?;
            } else {
                row.tokens.extend(self.tokenizer.encode("\n")?);
                row.tokens.extend(self.tokenizer.chat_ids(&[Message::new("user", question.as_str())], true, false)?);
            }
            append_answer(&self.tokenizer, &mut row, answer)?;
        }
        Ok(row)
    }
}

impl RowSource for PretrainRows {
    fn level(&self, _step: usize) -> Level {
        Level::PLAIN
    }

    /// All rows of a step are of one kind, so that short ones are not padded to the length of chats.
    fn row(&self, place: u64, _level: Level) -> Result<Row, TrainError> {
        let c = &self.config;
        let step = place / c.optim.batch_size as u64;
        let total = c.facts + c.questions + c.repeats + c.text + c.comp_questions + c.random_copies;
        let at = unit(mix(self.seed, step)) * total;
        let step = step as usize;
        if step < c.copies_first || at >= total - c.random_copies {
            let draw = mix(mix(self.seed, 0xc0b1), place);
            let most = if c.copies_first > 0 { c.copy_tokens } else { grown(c.copy_tokens, step, c.steps / 2) };
            let length = 1 + (draw % most.max(1) as u64) as usize;
            let passage = step < c.copies_first && place % 2 == 1;
            let x = match passage {
                true => self.tokenizer.encode(&self.facts.get(place)?.text).map_err(ModelError::from)?,
                false => random_tokens(&self.tokenizer, length, mix(draw, 1)),
            };
            return Ok(reconstruction_row(&x[..x.len().min(length)], self.tokenizer.sod(), self.tokenizer.end_of_text(), passage));
        }
        let row = match &self.text {
            _ if at >= total - c.random_copies - c.comp_questions => {
                let example = self.facts.get(place)?;
                match example.questions.get(mix(self.seed, place) as usize % example.questions.len().max(1)) {
                    Some((question, answer)) => comp_question(&self.tokenizer, &example.text, question, answer).map(Row::with_its_text),
                    None => self.prose(&example.text),
                }
            }
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
