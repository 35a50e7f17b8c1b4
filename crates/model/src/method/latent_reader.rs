//! Decoding latents and answering from them: what NextMem and ICAE have in common.

use burn::tensor::Tensor;

use super::{AnswerMode, Memory, NextMemOptions, TooLong, text::answer_from_text};
use crate::autoencoder::{Autoencoder, check_lengths, pad_embeds};
use crate::error::ModelError;
use crate::tokenizer::Tokenizer;

/// The frozen decoder with its tokenizer; the encoder inside belongs to the method.
#[derive(Debug)]
pub(super) struct LatentReader {
    pub(super) autoencoder: Autoencoder,
    pub(super) tokenizer: Tokenizer,
    pub(super) options: NextMemOptions,
    /// Who answers from decoded text (DeComp); absent: the decoder itself.
    pub(super) backbone: Option<Autoencoder>,
}

impl LatentReader {
    /// Passages as token rows that fit the model.
    pub(super) fn rows(&self, passages: &[&str]) -> Result<Vec<Vec<u32>>, ModelError> {
        let mut rows = passages.iter().map(|p| self.tokenizer.encode(p)).collect::<Result<Vec<_>, _>>()?;
        if self.options.too_long == TooLong::Cut {
            rows.iter_mut().for_each(|row| row.truncate(self.options.max_input_tokens));
        }
        check_lengths(&rows, self.options.max_input_tokens)?;
        Ok(rows)
    }

    /// One memory on the device.
    ///
    /// # Shapes
    /// - returns `[1, latents, hidden]`
    fn tensor(&self, memory: &Memory) -> Result<Tensor<3>, ModelError> {
        let (latents, hidden) = (memory.latents()?, self.autoencoder.hidden_size());
        if latents.hidden_size != hidden {
            return Err(ModelError::Unsupported(format!(
                "got latents of width {}, expected {hidden}; they were made by another model",
                latents.hidden_size
            )));
        }
        Ok(latents.on_device(&self.autoencoder.device()))
    }

    /// The answer prompt with the latents spliced in (official code: `tok[:2] + SoD + latents + <|endoftext|> + tok[2:]`).
    ///
    /// Also returns where the latents begin, which the question does not change, and how many they are.
    fn comp_prompt(&self, memory: &Memory, question: &str) -> Result<(Tensor<3>, [usize; 2]), ModelError> {
        let (mut head, tail) = self.tokenizer.answer_latents_prompt(question)?;
        head.push(self.tokenizer.sod());
        let mut after = vec![self.tokenizer.end_of_text()];
        after.extend(tail);
        let latents = self.tensor(memory)?;
        let places = [head.len(), latents.dims()[1]];
        Ok((Tensor::cat(vec![self.autoencoder.embed_ids(&head), latents, self.autoencoder.embed_ids(&after)], 1), places))
    }

    /// `[latents; SoD]` continued to the end of the text.
    pub(super) fn reconstruct(&self, memories: &[Memory]) -> Result<Vec<String>, ModelError> {
        if memories.is_empty() {
            return Ok(Vec::new());
        }
        let rows = memories.iter().map(|m| self.tensor(m)).collect::<Result<Vec<_>, _>>()?;
        one_size(rows.iter().map(|row| row.dims()[1]))?;
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

    /// Comp: from the latents; DeComp: from what they decode to.
    pub(super) fn answer(&self, memories: &[Memory], questions: &[&str], mode: AnswerMode) -> Result<Vec<String>, ModelError> {
        if memories.is_empty() {
            return Ok(Vec::new());
        }
        let (model, options) = (&self.autoencoder, &self.options);
        match mode {
            AnswerMode::DeComp => {
                let texts = self.reconstruct(memories)?;
                let model = self.backbone.as_ref().unwrap_or(model);
                answer_from_text(model, &self.tokenizer, &texts, questions, options.max_new_tokens, &options.decoding)
            }
            AnswerMode::Comp => {
                let rows = memories.iter().zip(questions).map(|(m, q)| self.comp_prompt(m, q)).collect::<Result<Vec<_>, _>>()?;
                let (rows, places): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
                let [first, count] = places[0];
                if !model.layout.is_plain() {
                    one_size(places.iter().map(|[_, count]| *count))?;
                }
                let (prompt, pads) = pad_embeds(rows);
                let placement = model.layout.decoder(first, count);
                let ids = model.generate(prompt, &pads, &placement, options.max_new_tokens, &self.tokenizer.end_ids(), &options.decoding);
                ids.iter().map(|ids| Ok(after_last_answer(&self.tokenizer.decode(ids)?))).collect()
            }
        }
    }
}

/// Refuses memories of several sizes in one batch.
fn one_size(counts: impl Iterator<Item = usize>) -> Result<(), ModelError> {
    let counts: Vec<usize> = counts.collect();
    match counts.iter().find(|count| **count != counts[0]) {
        Some(odd) => {
            let expected = counts[0];
            Err(ModelError::Unsupported(format!("got memories of {odd} and {expected} latents in one batch, expected one size")))
        }
        None => Ok(()),
    }
}

/// The text after the last "Answer:"; where nothing follows it, what stands before it (official `inference`); or all of it.
pub(super) fn after_last_answer(text: &str) -> String {
    match text.rsplit_once("Answer:") {
        Some((before, after)) if after.trim().is_empty() => before.trim().to_string(),
        Some((_, after)) => after.trim().to_string(),
        None => text.trim().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::after_last_answer;

    #[test]
    fn an_answer_is_cut_as_the_official_code_cuts_it() {
        let cases =
            [("Oslo", "Oslo"), ("Answer: Oslo", "Oslo"), ("x Answer: y Answer: z ", "z"), ("Oslo Answer: ", "Oslo"), ("Answer:", "")];
        for (text, expected) in cases {
            assert_eq!(after_last_answer(text), expected, "{text:?}");
        }
    }
}
