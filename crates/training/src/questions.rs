//! Rows that answer a question about a passage: from its text, and in the Comp format, where latents stand for it.

use nextmem_model::{Tokenizer, TokenizerError};

use crate::batch::Row;

/// A passage with questions, as training reads it.
#[derive(Clone, Debug)]
pub struct Example {
    /// The passage.
    pub text: String,
    /// Questions with their answers.
    pub questions: Vec<(String, String)>,
}

/// Appends an answer and its end to a prompt; both are learnt.
pub(crate) fn append_answer(tokenizer: &Tokenizer, row: &mut Row, answer: &str) -> Result<(), TokenizerError> {
    let from = row.tokens.len();
    row.tokens.extend(tokenizer.encode(answer)?);
    row.tokens.push(tokenizer.im_end());
    row.learnt.push(from..row.tokens.len());
    Ok(())
}

/// The textual-memory prompt and its answer.
pub(crate) fn text_question(tokenizer: &Tokenizer, text: &str, question: &str, answer: &str) -> Result<Row, TokenizerError> {
    let mut row = Row { tokens: tokenizer.answer_text_prompt(text, question)?, ..Row::default() };
    append_answer(tokenizer, &mut row, answer)?;
    Ok(row)
}

/// The Comp prompt around latents of the passage, and its answer: `head [SoD]`, the latents, `<|endoftext|> tail answer`.
pub(crate) fn comp_question(tokenizer: &Tokenizer, text: &str, question: &str, answer: &str) -> Result<Row, TokenizerError> {
    let (mut head, tail) = tokenizer.answer_latents_prompt(question)?;
    head.push(tokenizer.sod());
    let tokens = std::iter::once(tokenizer.end_of_text()).chain(tail).collect();
    let mut row = Row { source: tokenizer.encode(text)?, head, tokens, ..Row::default() };
    append_answer(tokenizer, &mut row, answer)?;
    Ok(row)
}

impl Row {
    /// The same row whose latents stand for the first `covered` tokens only: the rest of the passage follows them as text.
    pub(crate) fn with_rest(self, covered: usize) -> Self {
        let rest = self.source[covered.min(self.source.len())..].to_vec();
        let count = rest.len();
        let learnt = self.learnt.into_iter().map(|range| range.start + count..range.end + count).collect();
        Self { tokens: [rest, self.tokens].concat(), rest: count, learnt, ..self }
    }

    /// The same row with the passage's tokens in the place of its latents.
    pub(crate) fn with_its_text(self) -> Self {
        let before = self.head.len() + self.source.len();
        let tokens = [self.head, self.source, self.tokens].concat();
        let learnt = self.learnt.into_iter().map(|range| range.start + before..range.end + before).collect();
        Self { tokens, learnt, source: Vec::new(), head: Vec::new(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_passage_follows_its_latents() {
        let row = Row { source: vec![5, 6, 7], head: vec![9], ..Row::learning_from(Vec::new(), vec![1, 8, 4], 2) };
        let (head, source) = (row.head.clone(), row.source.clone());
        let rest = row.clone().with_rest(2);
        assert_eq!(rest, Row { head, source, rest: 1, ..Row::learning_from(Vec::new(), vec![7, 1, 8, 4], 3) });
        assert_eq!(row.clone().with_rest(9), row);
        assert_eq!(row.with_rest(0).tokens, [5, 6, 7, 1, 8, 4]);
    }
}
