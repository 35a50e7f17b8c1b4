//! NextMem itself: latents from the autoencoder.

use serde::{Deserialize, Serialize};

use super::{AnswerMode, IndexHead, Latents, Memory, MemoryMethod, latent_reader::LatentReader, none_for_empty};
use crate::autoencoder::Autoencoder;
use crate::error::ModelError;
use crate::generate::Decoding;
use crate::tokenizer::Tokenizer;

/// What happens to a passage that is longer than `max_input_tokens`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TooLong {
    /// An error: nothing is lost silently.
    #[default]
    Refuse,
    /// Only its beginning is kept (official code).
    Cut,
}

/// Choices that do not change the weights.
#[derive(Clone, Debug)]
pub struct NextMemOptions {
    /// Latents per passage (paper: 15).
    pub num_latents: usize,
    /// Whether the decoder's prompt ends with `[SoD]`; without it: the "w/o ST" ablation.
    pub decode_with_sod: bool,
    /// Longest passage in tokens (official code: 1024).
    pub max_input_tokens: usize,
    /// What happens to a longer one.
    pub too_long: TooLong,
    /// Longest reconstruction or answer in tokens.
    pub max_new_tokens: usize,
    /// Greedy or sampled.
    pub decoding: Decoding,
}

/// The autoencoder with its tokenizer.
#[derive(Debug)]
pub struct NextMem {
    reader: LatentReader,
    index: Option<IndexHead>,
}

impl NextMem {
    /// Puts the parts together.
    pub fn new(autoencoder: Autoencoder, tokenizer: Tokenizer, options: NextMemOptions) -> Self {
        Self { reader: LatentReader { autoencoder, tokenizer, options, backbone: None }, index: None }
    }

    /// The same with another model that answers from decoded text: the untouched backbone, as the paper's textual memory does.
    pub fn answering_with(mut self, backbone: Autoencoder) -> Self {
        self.reader.backbone = Some(backbone);
        self
    }

    /// The same with a trained index.
    pub fn indexed_by(mut self, index: Option<IndexHead>) -> Self {
        self.index = index;
        self
    }

    /// The autoencoder.
    pub fn autoencoder(&self) -> &Autoencoder {
        &self.reader.autoencoder
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.reader.tokenizer
    }

    /// The choices in force.
    pub fn options(&self) -> &NextMemOptions {
        &self.reader.options
    }

    fn latents(&self, passages: &[&str]) -> Result<Vec<Latents>, ModelError> {
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.reader.rows(passages)?;
        Ok(Latents::on_host(self.reader.autoencoder.encode(&rows, self.reader.options.num_latents)))
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
        self.reader.reconstruct(memories)
    }

    fn answer(&self, memories: &[Memory], questions: &[&str], mode: AnswerMode) -> Result<Vec<String>, ModelError> {
        self.reader.answer(memories, questions, mode)
    }

    fn index(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let latents = self.latents(&none_for_empty(texts))?;
        latents.into_iter().map(|latents| self.vector(&Memory::Latents(latents))).collect()
    }

    fn vector(&self, memory: &Memory) -> Result<Vec<f32>, ModelError> {
        let latents = memory.latents()?;
        Ok(self.index.as_ref().map_or_else(|| latents.mean(), |index| index.vector(&latents)))
    }

    fn query_vectors(&self, queries: &[&str]) -> Result<Option<Vec<Vec<f32>>>, ModelError> {
        let Some(index) = &self.index else { return Ok(None) };
        let rows = self.reader.rows(&none_for_empty(queries))?;
        let model = Autoencoder { encoder: index.query.clone(), layout: index.layout.clone(), ..self.reader.autoencoder.clone() };
        let latents = Latents::on_host(model.encode(&rows, self.reader.options.num_latents));
        Ok(Some(latents.iter().map(|latents| index.vector(latents)).collect()))
    }
}
