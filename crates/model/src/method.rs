//! What a memory is and what every memory method can do.

mod bge;
mod bm25;
mod dyprag;
mod icae;
mod index_head;
mod latent_reader;
mod mean_pooled;
mod nextmem;
mod quantized;
mod text;

pub use bge::{BGE_ENGLISH_INSTRUCTION, Bge, BgeConfig, Pooling};
pub use bm25::{Bm25, Bm25Config, words};
pub use dyprag::{AdapterMemory, Dyprag, Hypernetwork, HypernetworkConfig, closed_book_prompt};
pub use icae::{Icae, encode_slots, load_slots, random_slots, save_slots};
pub use index_head::{IndexHead, load_projection, save_projection};
pub use mean_pooled::{DocumentEmbedding, MeanPooled, MeanPooledConfig};
pub use nextmem::{NextMem, NextMemOptions, TooLong};
pub use quantized::Quantized;
pub use text::TextMemory;

use burn::tensor::{Device, Tensor, TensorData};
use nextmem_quant::{Nf4Latents, Scales};

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

    /// A batch of latents on the host, one memory each.
    ///
    /// # Shapes
    /// - latents: `[batch, latents, hidden]`
    pub fn on_host(latents: Tensor<3>) -> Vec<Self> {
        let [_, num_latents, hidden_size] = latents.dims();
        let values: Vec<f32> = latents.into_data().iter::<f32>().collect();
        values.chunks(num_latents * hidden_size).map(|v| Self { values: v.to_vec(), num_latents, hidden_size }).collect()
    }

    /// One memory on a device.
    ///
    /// # Shapes
    /// - returns `[1, latents, hidden]`
    pub fn on_device(&self, device: &Device) -> Tensor<3> {
        Tensor::from_data(TensorData::new(self.values.clone(), [1, self.num_latents, self.hidden_size]), device)
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
    /// LoRA factors for the backbone.
    Adapter(AdapterMemory),
}

impl Memory {
    /// Bytes it takes to store: bf16 latents, packed NF4 with its scales, UTF-8, or bf16 LoRA factors.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Latents(latents) => 2 * latents.values.len(),
            Self::Nf4(latents) => latents.size_bytes(),
            Self::Text(text) => text.len(),
            Self::Adapter(adapter) => 2 * adapter.num_values,
        }
    }

    /// Its latents, dequantised where they are in NF4.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a memory without latents.
    pub fn latents(&self) -> Result<Latents, ModelError> {
        match self {
            Self::Latents(l) => Ok(l.clone()),
            Self::Nf4(l) => Ok(Latents { values: l.dequantize(), num_latents: l.latents(), hidden_size: l.hidden() }),
            Self::Text(_) => Err(ModelError::Unsupported("got a text memory, expected latents; use the text method".into())),
            Self::Adapter(_) => {
                Err(ModelError::Unsupported("got a memory of LoRA factors, expected latents; use the dyprag method".into()))
            }
        }
    }

    /// The memory in NF4.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for a memory without dense latents, and latents that bf16 cannot hold.
    pub fn in_nf4(&self, scales: Scales) -> Result<Self, ModelError> {
        match self {
            Self::Latents(l) => Ok(Self::Nf4(Nf4Latents::quantize(&l.values, l.num_latents, l.hidden_size, scales)?)),
            _ => Err(ModelError::Unsupported("only latent memories can be quantised; remove [quant]".into())),
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

/// Which of the three tasks a method can do; the others have no row for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Task 1: its memories turn back into text.
    pub reconstruct: bool,
    /// Task 2: it answers from its memories.
    pub answer: bool,
    /// Task 3: it ranks passages.
    pub index: bool,
}

impl Abilities {
    /// All three tasks.
    pub const ALL: Self = Self { reconstruct: true, answer: true, index: true };
    /// Ranking only.
    pub const INDEX: Self = Self { reconstruct: false, answer: false, index: true };
}

/// A way to keep passages and to use them. Every verb takes a batch of mixed lengths.
pub trait MemoryMethod {
    /// The row's name in a table.
    fn name(&self) -> String;
    /// What it can do; a verb outside of it is [`ModelError::Unsupported`].
    fn abilities(&self) -> Abilities {
        Abilities::ALL
    }
    /// How it answers; a method that keeps text has only one way.
    fn answer_modes(&self) -> &'static [AnswerMode] {
        &[AnswerMode::DeComp]
    }
    /// Passages to memories.
    fn encode(&self, _passages: &[&str]) -> Result<Vec<Memory>, ModelError> {
        Err(unable(&self.name(), "keep passages"))
    }
    /// Memories back to text.
    fn reconstruct(&self, _memories: &[Memory]) -> Result<Vec<String>, ModelError> {
        Err(unable(&self.name(), "reconstruct"))
    }
    /// Answers one question from each memory.
    fn answer(&self, _memories: &[Memory], _questions: &[&str], _mode: AnswerMode) -> Result<Vec<String>, ModelError> {
        Err(unable(&self.name(), "answer"))
    }
    /// Vectors whose cosine says how near two texts are.
    fn index(&self, _texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        Err(unable(&self.name(), "make index vectors"))
    }
    /// The index vector of one of its memories.
    fn vector(&self, memory: &Memory) -> Result<Vec<f32>, ModelError> {
        Ok(memory.latents()?.mean())
    }
    /// Vectors of queries, where they are made in another way than those of passages.
    fn query_vectors(&self, _queries: &[&str]) -> Result<Option<Vec<Vec<f32>>>, ModelError> {
        Ok(None)
    }
    /// The vector of a query.
    fn query_vector(&self, query: &str) -> Result<Vec<f32>, ModelError> {
        let vectors = match self.query_vectors(&[query])? {
            Some(vectors) => vectors,
            None => self.index(&[query])?,
        };
        Ok(vectors.into_iter().next().unwrap_or_default())
    }
    /// How well each passage answers the query, higher is better: the cosine of their index vectors, 0 if either is zero.
    fn rank(&self, query: &str, passages: &[&str]) -> Result<Vec<f64>, ModelError> {
        let query = self.query_vector(query)?;
        let mut scores = Vec::with_capacity(passages.len());
        for batch in passages.chunks(RANKED_AT_ONCE) {
            scores.extend(self.index(batch)?.iter().map(|vector| cosine(&query, vector)));
        }
        Ok(scores)
    }
}

/// Passages that ranking indexes in one forward pass: a long conversation has hundreds.
const RANKED_AT_ONCE: usize = 16;

/// Empty texts as the word that the official code indexes for them.
fn none_for_empty<'a>(texts: &[&'a str]) -> Vec<&'a str> {
    texts.iter().map(|text| if text.trim().is_empty() { "None" } else { *text }).collect()
}

fn unable(name: &str, verb: &str) -> ModelError {
    ModelError::Unsupported(format!("{name} cannot {verb}, expected a method that can; take the task out for it"))
}

/// The cosine of two vectors, 0 if either is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms > 0.0 { dot(a, b) / norms } else { 0.0 }
}
