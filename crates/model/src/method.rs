//! What a memory is and what every memory method can do.

mod nextmem;
mod quantized;
mod text;

pub use nextmem::{NextMem, NextMemOptions};
pub use quantized::Quantized;
pub use text::TextMemory;

use nextmem_quant::Nf4Latents;

use crate::error::ModelError;

/// The latents of one passage, on the host: what is stored, quantised and searched.
#[derive(Clone, Debug, PartialEq)]
pub struct Latents {
    /// Row-major `[num_latents, hidden_size]`.
    pub values: Vec<f32>,
    /// Rows.
    pub num_latents: usize,
    /// Columns.
    pub hidden_size: usize,
}

impl Latents {
    /// The index vector: the mean of the latents (official `index`).
    pub fn mean(&self) -> Vec<f32> {
        let mut mean = vec![0.0; self.hidden_size];
        for row in self.values.chunks(self.hidden_size) {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += v / self.num_latents as f32);
        }
        mean
    }
}

/// One stored memory.
#[derive(Clone, Debug, PartialEq)]
pub enum Memory {
    /// Dense latents, kept as bf16 in storage.
    Latents(Latents),
    /// NF4 latents.
    Nf4(Nf4Latents),
    /// The passage itself.
    Text(String),
}

impl Memory {
    /// Bytes it takes to store: bf16 latents, packed NF4 with its scales, or UTF-8.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Latents(latents) => 2 * latents.values.len(),
            Self::Nf4(latents) => latents.size_bytes(),
            Self::Text(text) => text.len(),
        }
    }
}

/// How a question is answered from a latent memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerMode {
    /// From the latents, spliced into the chat prompt.
    Comp,
    /// From the text that the latents decode to.
    DeComp,
}

/// A way to keep passages and to use them. Every verb takes a batch of mixed lengths.
pub trait MemoryMethod {
    /// The row's name in a table.
    fn name(&self) -> String;
    /// How it answers; a method that keeps text has only one way.
    fn answer_modes(&self) -> &'static [AnswerMode];
    /// Passages to memories.
    fn encode(&self, passages: &[&str]) -> Result<Vec<Memory>, ModelError>;
    /// Memories back to text.
    fn reconstruct(&self, memories: &[Memory]) -> Result<Vec<String>, ModelError>;
    /// Answers one question from each memory.
    fn answer(&self, memories: &[Memory], questions: &[&str], mode: AnswerMode) -> Result<Vec<String>, ModelError>;
    /// Vectors whose cosine says how near two texts are.
    fn index(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError>;
}
