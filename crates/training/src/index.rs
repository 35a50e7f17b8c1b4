//! Index training, after stage 2: a query encoder of its own and a projection, so that what is asked finds what is remembered.
//!
//! The memories stay as they are: nothing here changes how a passage is encoded or decoded.

use std::sync::Arc;

use burn::data::dataset::Dataset;
use burn::module::{Module, Param};
use burn::tensor::{Int, Tensor, TensorData, activation};
use nextmem_data::RetrievalItem;
use nextmem_model::{Autoencoder, ModelError, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::batch::{Batch, Row, RowSource};
use crate::config::{LoraConfig, OptimConfig};
use crate::error::TrainError;
use crate::levels::Level;
use crate::objective::{Objective, learner_steps};
use crate::stream::Stream;
use crate::substitution::SubstitutionModel;

/// The stage; the paper compares means of latents that nothing was trained for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IndexConfig {
    /// Optimizer steps.
    pub steps: usize,
    /// Temperature of the softmax over all passages of a step (GIRCSE has 0.02).
    #[serde(default = "defaults::temperature")]
    pub temperature: f64,
    /// Passages per query, one of them right, the others hard to tell from it; those of the other queries count as well.
    #[serde(default = "defaults::candidates")]
    pub candidates: usize,
    /// Whether the means of the first 1, 2, .. latents are compared as well, so that more latents are never worse (GIRCSE).
    #[serde(default = "defaults::yes")]
    pub every_prefix: bool,
    /// LoRA on the encoder for queries; absent: all its parameters.
    pub lora: Option<LoraConfig>,
    /// The optimizer; a batch is one of queries.
    pub optim: OptimConfig,
}

impl IndexConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The key, what it got, what is expected.
    pub fn check(&self) -> Result<(), String> {
        if !(self.temperature > 0.0 && self.temperature.is_finite()) {
            return Err(format!("temperature: got {}, expected above 0", self.temperature));
        }
        match self.candidates {
            5..=500 => Ok(()),
            got => Err(format!("candidates: got {got}, expected 5 to 500")),
        }
    }
}

mod defaults {
    pub(super) fn temperature() -> f64 {
        0.05
    }
    pub(super) fn candidates() -> usize {
        6
    }
    pub(super) fn yes() -> bool {
        true
    }
}

/// The query side and the projection, trained in front of memories that are not.
#[derive(Module, Debug)]
pub struct IndexModel {
    /// Encodes queries.
    pub query: SubstitutionModel,
    /// `[hidden, hidden]`, applied to means of latents on both sides.
    pub projection: Param<Tensor<2>>,
    /// Encodes passages.
    #[module(skip)]
    pub memory: Autoencoder,
    /// Latents of a memory.
    #[module(skip)]
    pub num_latents: usize,
    /// The softmax's temperature.
    #[module(skip)]
    pub temperature: f64,
    /// Whether every prefix of the latents is compared.
    #[module(skip)]
    pub every_prefix: bool,
}

impl IndexModel {
    /// Unit vectors of the means of the first latents, of every number of them or of all.
    ///
    /// # Shapes
    /// - latents: `[batch, latents, hidden]`; returns `[prefixes, batch, hidden]`
    fn vectors(&self, latents: Tensor<3>) -> Tensor<3> {
        let [_, count, _] = latents.dims();
        let first = if self.every_prefix { 1 } else { count };
        // Row k of the product is the mean of the first k latents.
        let share = |k: usize| (0..count).map(move |i| if i < k { 1.0 / k as f32 } else { 0.0 });
        let shares: Vec<f32> = (first..=count).flat_map(share).collect();
        let shares = Tensor::<3>::from_data(TensorData::new(shares, [1, count + 1 - first, count]), &latents.device());
        let means = shares.matmul(latents).swap_dims(0, 1);
        let projected = means.matmul(self.projection.val().transpose().unsqueeze::<3>());
        let norm = (projected.clone().square().sum_dim(2) + 1e-12).sqrt();
        projected / norm
    }

    /// How near every query is to every passage of the step.
    ///
    /// # Shapes
    /// - returns `[prefixes, queries, passages]`
    fn nearness(&self, batch: &Batch) -> Tensor<3> {
        let passages: Vec<Vec<u32>> = batch.rows.iter().flat_map(|row| row.candidates.clone()).collect();
        let memories = Tensor::from_inner(self.memory.encode(&passages, self.num_latents));
        let queries = self.vectors(self.query.latents(batch));
        queries.matmul(self.vectors(memories).swap_dims(1, 2))
    }
}

impl Objective for IndexModel {
    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let logits = self.nearness(batch) / self.temperature;
        let [prefixes, queries, _] = logits.dims();
        // The right passage is the first of each query's own.
        let mut right = Vec::with_capacity(queries);
        let mut place = 0;
        for row in &batch.rows {
            right.push(place as i32);
            place += row.candidates.len();
        }
        let right = Tensor::<1, Int>::from_data(TensorData::new(right, [queries]), &logits.device());
        let right = right.reshape([1, queries, 1]).repeat_dim(0, prefixes);
        activation::log_softmax(logits, 2).gather(2, right).mean().neg()
    }
}
learner_steps!(IndexModel);

/// Queries with their passages, the right one first.
pub struct IndexRows {
    /// Items of retrieval.
    pub items: Stream<RetrievalItem>,
    /// The tokenizer of the backbone.
    pub tokenizer: Arc<Tokenizer>,
    /// Latents of a query, as many as of a memory.
    pub num_latents: usize,
}

impl RowSource for IndexRows {
    fn level(&self, _step: usize) -> Level {
        Level::whole(self.num_latents)
    }
    fn row(&self, place: u64, _level: Level) -> Result<Row, TrainError> {
        let item = self.items.get(place)?;
        let encode = |text: &String| self.tokenizer.encode(text).map_err(ModelError::from);
        let mut candidates = item.references.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        if let Some(right) = item.hit_list.first().filter(|right| **right < candidates.len()) {
            candidates.swap(0, *right);
        }
        // One learnt token, so that every row weighs the same.
        let learnt = std::iter::once(0..1).collect();
        Ok(Row { source: encode(&item.question)?, candidates, learnt, ..Row::default() })
    }
}

/// Hit@1 and Hit@5 on held-out items.
pub fn validate_index(model: &IndexModel, items: &[RetrievalItem], tokenizer: &Tokenizer) -> Result<Value, TrainError> {
    let model = model.valid();
    let mut hits = [0usize; 2];
    for item in items {
        let encode = |text: &String| tokenizer.encode(text).map_err(ModelError::from);
        let candidates = item.references.iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let row = Row { source: encode(&item.question)?, candidates, ..Row::default() };
        let near = model.nearness(&Batch::new(model.num_latents, vec![row]));
        let prefixes = near.dims()[0];
        let scores: Vec<f32> = near.narrow(0, prefixes - 1, 1).into_data().iter::<f32>().collect();
        let best = item.hit_list.iter().filter_map(|right| scores.get(*right)).copied().fold(f32::MIN, f32::max);
        let above = scores.iter().filter(|score| **score > best).count();
        hits[0] += usize::from(above == 0);
        hits[1] += usize::from(above < 5);
    }
    let [first, five] = hits.map(|hits| hits as f64 / items.len().max(1) as f64);
    Ok(json!({"valid_hit@1": first, "valid_hit@5": five, "valid_f1": first}))
}

/// Items as a dataset, each made when it is asked for.
pub struct RetrievalSet<F> {
    /// Makes the item of an index.
    pub item: F,
    /// How many items.
    pub len: usize,
}

impl<F> Dataset<RetrievalItem> for RetrievalSet<F>
where
    F: Fn(u64) -> RetrievalItem + Send + Sync,
{
    fn get(&self, index: usize) -> Result<RetrievalItem, burn::data::dataset::DatasetError> {
        Ok((self.item)(index as u64))
    }
    fn len(&self) -> usize {
        self.len
    }
}
