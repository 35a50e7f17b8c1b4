//! NF4 around any method that keeps latents.

use nextmem_quant::Scales;

use super::{Abilities, AnswerMode, Memory, MemoryMethod, none_for_empty};
use crate::error::ModelError;

/// Quantises what the inner method encodes; everything else works on the quantised memory.
#[derive(Debug)]
pub struct Quantized<M> {
    inner: M,
    scales: Scales,
}

impl<M: MemoryMethod> Quantized<M> {
    /// Wraps a method.
    pub fn new(inner: M, scales: Scales) -> Self {
        Self { inner, scales }
    }

    /// The method inside.
    pub fn inner(&self) -> &M {
        &self.inner
    }
}

impl<M: MemoryMethod> MemoryMethod for Quantized<M> {
    fn name(&self) -> String {
        match self.scales {
            Scales::Absmax => format!("{} (NF4)", self.inner.name()),
            Scales::None => format!("{} (NF4 without scales)", self.inner.name()),
        }
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn answer_modes(&self) -> &'static [AnswerMode] {
        self.inner.answer_modes()
    }

    fn encode(&self, passages: &[&str]) -> Result<Vec<Memory>, ModelError> {
        self.inner.encode(passages)?.iter().map(|memory| memory.in_nf4(self.scales)).collect()
    }

    fn reconstruct(&self, memories: &[Memory]) -> Result<Vec<String>, ModelError> {
        self.inner.reconstruct(memories)
    }

    fn answer(&self, memories: &[Memory], questions: &[&str], mode: AnswerMode) -> Result<Vec<String>, ModelError> {
        self.inner.answer(memories, questions, mode)
    }

    fn index(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        self.encode(&none_for_empty(texts))?.iter().map(|memory| self.inner.vector(memory)).collect()
    }

    fn vector(&self, memory: &Memory) -> Result<Vec<f32>, ModelError> {
        self.inner.vector(memory)
    }

    fn query_vectors(&self, queries: &[&str]) -> Result<Option<Vec<Vec<f32>>>, ModelError> {
        self.inner.query_vectors(queries)
    }
}
