//! The oracle baseline: the memory is the passage itself.

use super::{AnswerMode, Memory, MemoryMethod};
use crate::autoencoder::{Autoencoder, token_tensor};
use crate::error::ModelError;
use crate::generate::Decoding;
use crate::layout::Placement;
use crate::tokenizer::Tokenizer;

/// Width of the hashed bag of tokens that indexes a text.
const INDEX_SIZE: usize = 4096;

/// Keeps text; the backbone is needed only to answer questions.
#[derive(Debug)]
pub struct TextMemory {
    backbone: Autoencoder,
    tokenizer: Tokenizer,
    max_new_tokens: usize,
    decoding: Decoding,
}

impl TextMemory {
    /// Puts the parts together; `backbone.encoder` is not used.
    pub fn new(backbone: Autoencoder, tokenizer: Tokenizer, max_new_tokens: usize, decoding: Decoding) -> Self {
        Self { backbone, tokenizer, max_new_tokens, decoding }
    }
}

impl MemoryMethod for TextMemory {
    fn name(&self) -> String {
        "text (oracle)".into()
    }

    fn answer_modes(&self) -> &'static [AnswerMode] {
        &[AnswerMode::DeComp]
    }

    fn encode(&self, passages: &[&str]) -> Result<Vec<Memory>, ModelError> {
        Ok(passages.iter().map(|p| Memory::Text(p.to_string())).collect())
    }

    fn reconstruct(&self, memories: &[Memory]) -> Result<Vec<String>, ModelError> {
        texts(memories)
    }

    fn answer(&self, memories: &[Memory], questions: &[&str], _mode: AnswerMode) -> Result<Vec<String>, ModelError> {
        answer_from_text(&self.backbone, &self.tokenizer, &texts(memories)?, questions, self.max_new_tokens, &self.decoding)
    }

    /// Counts of tokens, hashed: the passage's own words as the index.
    fn index(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        texts
            .iter()
            .map(|text| {
                let mut bag = vec![0.0; INDEX_SIZE];
                self.tokenizer.encode(text)?.iter().for_each(|id| bag[*id as usize % INDEX_SIZE] += 1.0);
                Ok(bag)
            })
            .collect()
    }
}

fn texts(memories: &[Memory]) -> Result<Vec<String>, ModelError> {
    memories
        .iter()
        .map(|memory| match memory {
            Memory::Text(text) => Ok(text.clone()),
            Memory::Latents(_) | Memory::Nf4(_) | Memory::Adapter(_) => {
                Err(ModelError::Unsupported("got latents or LoRA factors, expected a text memory; use the method that made them".into()))
            }
        })
        .collect()
}

/// Answers from passages with the textual-memory prompt (official `textual_mem`); also the second half of DeComp.
///
/// A prompt has to leave `max_new_tokens` of the model's positions for the answer: a passage that is too long for that is cut at
/// its end (the official code cuts the prompt at 1,024 tokens). A reconstruction without an end can be several times as long in
/// tokens as what was generated.
pub(super) fn answer_from_text(
    backbone: &Autoencoder,
    tokenizer: &Tokenizer,
    passages: &[String],
    questions: &[&str],
    max_new_tokens: usize,
    decoding: &Decoding,
) -> Result<Vec<String>, ModelError> {
    if passages.is_empty() {
        return Ok(Vec::new());
    }
    let room = backbone.decoder.config().max_position_embeddings.saturating_sub(max_new_tokens);
    let prompt = |(passage, question): (&String, &&str)| fitting_prompt(tokenizer, passage, question, room);
    let rows = passages.iter().zip(questions).map(prompt).collect::<Result<Vec<_>, _>>()?;
    let (tokens, pads) = token_tensor(&rows, tokenizer.end_of_text(), &backbone.device());
    let ids = backbone.generate(backbone.embed(tokens), &pads, &Placement::default(), max_new_tokens, &tokenizer.end_ids(), decoding);
    // As it is written: the official textual memory cuts nothing.
    ids.iter().map(|ids| Ok(tokenizer.decode(ids)?.trim().to_string())).collect()
}

/// The prompt, its passage cut until no more than `room` tokens are left or the passage is empty.
fn fitting_prompt(tokenizer: &Tokenizer, passage: &str, question: &str, room: usize) -> Result<Vec<u32>, ModelError> {
    let mut row = tokenizer.answer_text_prompt(passage, question)?;
    let mut ids = Vec::new();
    while row.len() > room {
        if ids.is_empty() {
            ids = tokenizer.encode(passage)?;
        }
        // A character that is cut in two becomes other tokens: more than once around is rare, and each time gets shorter.
        let keep = ids.len().saturating_sub(row.len() - room);
        ids.truncate(keep);
        row = tokenizer.answer_text_prompt(&tokenizer.decode(&ids)?, question)?;
        if keep == 0 {
            break;
        }
    }
    Ok(row)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_that_does_not_fit_is_cut_at_its_end() {
        let tokenizer = Tokenizer::train_nano(vec!["Ann has a boat in Oslo. Where is it?".to_string()], 384).unwrap();
        let whole = tokenizer.answer_text_prompt("Ann has a boat.", "Where?").unwrap();
        assert_eq!(fitting_prompt(&tokenizer, "Ann has a boat.", "Where?", whole.len()).unwrap(), whole);
        // Bytes that are no text come back as three tokens each.
        let long = "\u{fffd}Ann".repeat(500);
        let cut = fitting_prompt(&tokenizer, &long, "Where?", 200).unwrap();
        assert!((150..=200).contains(&cut.len()), "{}", cut.len());
        let empty = tokenizer.answer_text_prompt("", "Where?").unwrap();
        assert_eq!(fitting_prompt(&tokenizer, &long, "Where?", 3).unwrap(), empty);
    }
}
