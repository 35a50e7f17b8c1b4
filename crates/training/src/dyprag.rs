//! The DyPRAG baseline: a hypernetwork, trained so that the backbone with the LoRA it writes knows the passage.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use nextmem_model::{
    AdaptedDecoder, Decoder, Hypernetwork, HypernetworkConfig, ModelError, Placement, RowAdapters, SpecialDelta, Tokenizer, TokenizerError,
    closed_book_prompt,
};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Row, RowSource, memory_row};
use crate::config::OptimConfig;
use crate::error::TrainError;
use crate::levels::Level;
use crate::objective::{Objective, embed, learner_steps, next_token_loss, right_padded};
use crate::questions::Example;
use crate::stream::{Stream, mix, unit};

/// DyPRAG's one stage: with the passage's LoRA, `[SoD] -> x; EoT` and `question -> answer`.
///
/// The paper first tunes a LoRA for every document of its training set and lets the hypernetwork learn from those as
/// well as from the loss of the answers. Here only the loss counts, through the frozen backbone into the hypernetwork, so
/// that the budget is one of steps, as for the other rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DypragConfig {
    /// Optimizer steps; the same budget as stage 2 makes a fair row.
    pub steps: usize,
    /// Share of rows that answer a question about the passage instead of writing the passage; above 0 needs questions.
    #[serde(default)]
    pub questions: f64,
    /// Sizes of the hypernetwork.
    #[serde(default)]
    pub hypernetwork: HypernetworkConfig,
    /// The optimizer.
    pub optim: OptimConfig,
}

/// The hypernetwork beside a frozen decoder.
#[derive(Module, Debug)]
pub struct DypragModel {
    /// What is trained.
    pub hypernetwork: Hypernetwork,
    /// The backbone, after stage 1 if there is one: it reads the passage, and with the LoRA it writes it.
    #[module(skip)]
    pub decoder: Decoder,
    /// The special-token rows of stage 1.
    #[module(skip)]
    pub special: Option<SpecialDelta>,
    /// Id of `[SoD]`.
    #[module(skip)]
    pub sod: u32,
}

impl DypragModel {
    /// The LoRA of every row's passage with its gradient. An empty passage is read as `[SoD]`.
    pub fn adapters(&self, batch: &Batch) -> RowAdapters {
        let source = |row: &Row| if row.source.is_empty() { vec![self.sod] } else { row.source.clone() };
        let rows: Vec<Vec<u32>> = batch.rows.iter().map(source).collect();
        // The backbone is frozen: what it makes of a passage carries no gradient.
        let embeddings = self.hypernetwork.config().embedding.of(&self.decoder, &rows);
        self.hypernetwork.adapters(embeddings)
    }
}

impl Objective for DypragModel {
    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let adapted = AdaptedDecoder { decoder: &self.decoder, adapters: Some(self.adapters(batch)) };
        let tokens = right_padded(&batch.rows, self.sod, &self.decoder.device());
        let hidden = adapted.hidden(embed(&self.decoder, &self.special, tokens), &[], &Placement::default(), None);
        next_token_loss(&self.decoder, hidden, batch)
    }
}
learner_steps!(DypragModel);

/// DyPRAG's rows over a stream of passages with their questions, if they have any.
pub struct DypragRows {
    /// Passages with questions.
    pub examples: Stream<Example>,
    /// The tokenizer of the backbone.
    pub tokenizer: Arc<Tokenizer>,
    /// Share of rows that are questions.
    pub questions: f64,
    /// Seed of the choice between the two kinds.
    pub seed: u64,
}

impl DypragRows {
    fn question(&self, x: Vec<u32>, question: &str, answer: &str) -> Result<Row, TokenizerError> {
        let mut tokens = closed_book_prompt(&self.tokenizer, question)?;
        let from = tokens.len();
        tokens.extend(self.tokenizer.encode(answer)?);
        tokens.push(self.tokenizer.im_end());
        Ok(Row::learning_from(x, tokens, from))
    }
}

impl RowSource for DypragRows {
    fn level(&self, _step: usize) -> Level {
        Level::PLAIN
    }
    fn row(&self, place: u64, _level: Level) -> Result<Row, TrainError> {
        let example = self.examples.get(place)?;
        let x = self.tokenizer.encode(&example.text).map_err(ModelError::from)?;
        let draw = mix(self.seed, place);
        let asked = unit(draw) < self.questions;
        let row = match example.questions.get(mix(draw, 1) as usize % example.questions.len().max(1)) {
            Some((question, answer)) if asked => self.question(x, question, answer).map_err(ModelError::from)?,
            _ => memory_row(&x, self.tokenizer.sod(), self.tokenizer.end_of_text()),
        };
        Ok(row)
    }
}
