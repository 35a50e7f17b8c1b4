//! NextMem itself: latents from the autoencoder.

use burn::tensor::{Tensor, TensorData};

use super::{AnswerMode, Latents, Memory, MemoryMethod, text::answer_from_text};
use crate::autoencoder::{Autoencoder, check_lengths, pad_embeds};
use crate::error::ModelError;
use crate::generate::Decoding;
use crate::tokenizer::Tokenizer;

/// Choices that do not change the weights.
#[derive(Clone, Debug)]
pub struct NextMemOptions {
    /// Latents per passage (paper: 15).
    pub num_latents: usize,
    /// Whether the decoder's prompt ends with `[SoD]`; without it: the "w/o ST" ablation.
    pub decode_with_sod: bool,
    /// Longest passage in tokens (official code: 1024).
    pub max_input_tokens: usize,
    /// Longest reconstruction or answer in tokens.
    pub max_new_tokens: usize,
    /// Greedy or sampled.
    pub decoding: Decoding,
}

/// The autoencoder with its tokenizer.
#[derive(Debug)]
pub struct NextMem {
    autoencoder: Autoencoder,
    tokenizer: Tokenizer,
    options: NextMemOptions,
}

impl NextMem {
    /// Puts the parts together.
    pub fn new(autoencoder: Autoencoder, tokenizer: Tokenizer, options: NextMemOptions) -> Self {
        Self { autoencoder, tokenizer, options }
    }

    /// The autoencoder.
    pub fn autoencoder(&self) -> &Autoencoder {
        &self.autoencoder
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The choices in force.
    pub fn options(&self) -> &NextMemOptions {
        &self.options
    }

    fn latents(&self, passages: &[&str]) -> Result<Vec<Latents>, ModelError> {
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        let rows = passages.iter().map(|p| self.tokenizer.encode(p)).collect::<Result<Vec<_>, _>>()?;
        check_lengths(&rows, self.options.max_input_tokens)?;
        let latents = self.autoencoder.encode(&rows, self.options.num_latents);
        let [_, num_latents, hidden_size] = latents.dims();
        let values: Vec<f32> = latents.into_data().iter::<f32>().collect();
        Ok(values.chunks(num_latents * hidden_size).map(|v| Latents { values: v.to_vec(), num_latents, hidden_size }).collect())
    }

    /// One memory on the device.
    ///
    /// # Shapes
    /// - returns `[1, latents, hidden]`
    fn tensor(&self, memory: &Memory) -> Result<Tensor<3>, ModelError> {
        let hidden = self.autoencoder.hidden_size();
        let (values, rows, columns) = match memory {
            Memory::Latents(l) => (l.values.clone(), l.num_latents, l.hidden_size),
            Memory::Nf4(l) => (l.dequantize(), l.latents(), l.hidden()),
            Memory::Text(_) => return Err(ModelError::Unsupported("got a text memory, expected latents; use the text method".into())),
        };
        if columns != hidden {
            return Err(ModelError::Unsupported(format!(
                "got latents of width {columns}, expected {hidden}; they were made by another model"
            )));
        }
        Ok(Tensor::from_data(TensorData::new(values, [1, rows, columns]), &self.autoencoder.device()))
    }

    /// The answer prompt with the latents spliced in (official code: `tok[:2] + SoD + latents + <|endoftext|> + tok[2:]`).
    fn comp_prompt(&self, memory: &Memory, question: &str) -> Result<Tensor<3>, ModelError> {
        let (mut head, tail) = self.tokenizer.answer_latents_prompt(question)?;
        head.push(self.tokenizer.sod());
        let mut after = vec![self.tokenizer.end_of_text()];
        after.extend(tail);
        Ok(Tensor::cat(vec![self.autoencoder.embed_ids(&head), self.tensor(memory)?, self.autoencoder.embed_ids(&after)], 1))
    }
}

impl MemoryMethod for NextMem {
    fn name(&self) -> String {
        "NextMem-Dense".into()
    }

    fn answer_modes(&self) -> &'static [AnswerMode] {
        &[AnswerMode::Comp, AnswerMode::DeComp]
    }

    fn encode(&self, passages: &[&str]) -> Result<Vec<Memory>, ModelError> {
        Ok(self.latents(passages)?.into_iter().map(Memory::Latents).collect())
    }

    fn reconstruct(&self, memories: &[Memory]) -> Result<Vec<String>, ModelError> {
        if memories.is_empty() {
            return Ok(Vec::new());
        }
        let rows = memories.iter().map(|m| self.tensor(m)).collect::<Result<Vec<_>, _>>()?;
        if let Some(odd) = rows.iter().find(|r| r.dims() != rows[0].dims()) {
            let (got, expected) = (odd.dims()[1], rows[0].dims()[1]);
            return Err(ModelError::Unsupported(format!("got memories of {got} and {expected} latents in one batch, expected one size")));
        }
        let options = &self.options;
        let ids = self.autoencoder.decode(
            Tensor::cat(rows, 0),
            options.decode_with_sod,
            options.max_new_tokens,
            &self.tokenizer.end_ids(),
            &options.decoding,
        );
        ids.iter().map(|ids| Ok(self.tokenizer.decode(ids)?)).collect()
    }

    fn answer(&self, memories: &[Memory], questions: &[&str], mode: AnswerMode) -> Result<Vec<String>, ModelError> {
        if memories.is_empty() {
            return Ok(Vec::new());
        }
        match mode {
            AnswerMode::DeComp => {
                let texts = self.reconstruct(memories)?;
                answer_from_text(&self.autoencoder, &self.tokenizer, &texts, questions, self.options.max_new_tokens, &self.options.decoding)
            }
            AnswerMode::Comp => {
                let rows = memories.iter().zip(questions).map(|(m, q)| self.comp_prompt(m, q)).collect::<Result<Vec<_>, _>>()?;
                let (prompt, pads) = pad_embeds(rows);
                let ids = self.autoencoder.generate(
                    prompt,
                    &pads,
                    self.options.max_new_tokens,
                    &self.tokenizer.end_ids(),
                    &self.options.decoding,
                );
                ids.iter().map(|ids| Ok(after_last_answer(&self.tokenizer.decode(ids)?))).collect()
            }
        }
    }

    fn index(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let texts: Vec<&str> = texts.iter().map(|t| if t.trim().is_empty() { "None" } else { *t }).collect();
        Ok(self.latents(&texts)?.iter().map(Latents::mean).collect())
    }
}

/// The text after the last "Answer:" (official `inference`), or all of it.
pub(super) fn after_last_answer(text: &str) -> String {
    text.rsplit("Answer:").next().unwrap_or(text).trim().to_string()
}
