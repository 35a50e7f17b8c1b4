//! The ICAE baseline: an encoder and slots, trained to be read by the decoder that NextMem's stage 2 trains for.

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use nextmem_model::{Decoder, LoraAdapter, ModelError, SpecialDelta, Tokenizer, encode_slots, token_tensor};
use serde::{Deserialize, Serialize};

use crate::batch::{Batch, Row, RowSource, memory_row};
use crate::config::{LoraConfig, OptimConfig};
use crate::error::TrainError;
use crate::objective::{Objective, Trainable, embed, learner_steps, loss_after_latents};
use crate::stream::Stream;

/// ICAE's one stage: `[x; slots] -> memory`, `[memory; SoD] -> x; EoT`.
///
/// The paper's decoder is the untouched backbone, which reads the memory with a learnt AE token. Here it is the backbone
/// after stage 1 wherever the experiment trains or names one, as for NextMem's stage 2; without a stage 1 it is the
/// backbone. The paper also continues text from the memory and tunes on instructions; both are left out, as NextMem has
/// neither.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IcaeConfig {
    /// Optimizer steps; the same budget as stage 2 makes a fair row.
    pub steps: usize,
    /// Latents per passage: as many as NextMem has.
    pub slots: usize,
    /// LoRA on the encoder (the paper); absent: all its parameters, as stage 2 has it.
    pub lora: Option<LoraConfig>,
    /// The optimizer.
    pub optim: OptimConfig,
}

/// The encoder with its slots in front of a frozen decoder.
#[derive(Module, Debug)]
pub struct IcaeModel {
    /// The encoder: all its parameters, or an adapter on `decoder`.
    pub trainable: Trainable,
    /// `[slots, hidden]`
    pub slots: Param<Tensor<2>>,
    /// The decoder, frozen: gradients flow through it into the memory.
    #[module(skip)]
    pub decoder: Decoder,
    /// The special-token rows of stage 1.
    #[module(skip)]
    pub special: Option<SpecialDelta>,
    /// Id of `[SoD]`.
    #[module(skip)]
    pub sod: u32,
}

impl IcaeModel {
    fn encoder(&self) -> (&Decoder, Option<&LoraAdapter>) {
        match &self.trainable.full {
            Some(full) => (full, None),
            None => (&self.decoder, self.trainable.adapter.as_ref()),
        }
    }

    /// The memories of a batch with their gradient, from one forward pass.
    ///
    /// # Shapes
    /// - returns `[batch, slots, hidden]`
    pub fn latents(&self, batch: &Batch) -> Tensor<3> {
        let (decoder, adapter) = self.encoder();
        let rows: Vec<Vec<u32>> = batch.rows.iter().map(|row| row.source.clone()).collect();
        let (tokens, pads) = token_tensor(&rows, self.sod, &decoder.device());
        // Passages have no special tokens, so that the rows of stage 1 are not needed here.
        let embeds = match tokens.dims() {
            [batch, 0] => Tensor::zeros([batch, 0, decoder.config().hidden_size], &decoder.device()),
            _ => embed(decoder, &None, tokens),
        };
        encode_slots(decoder, adapter, embeds, &pads, self.slots.val())
    }
}

impl Objective for IcaeModel {
    fn loss(&self, batch: &Batch) -> Tensor<1> {
        loss_after_latents(&self.decoder, &self.special, self.sod, batch, self.latents(batch))
    }
}
learner_steps!(IcaeModel);

/// ICAE's rows over a stream of passages: stage 2's at a level where no text is left.
pub struct IcaeRows {
    /// Passages.
    pub texts: Stream<String>,
    /// The tokenizer of the backbone.
    pub tokenizer: Arc<Tokenizer>,
    /// Slots in front of every row.
    pub slots: usize,
}

impl RowSource for IcaeRows {
    fn level(&self, _step: usize) -> usize {
        self.slots
    }
    fn row(&self, place: u64, _level: usize) -> Result<Row, TrainError> {
        let x = self.tokenizer.encode(&self.texts.get(place)?).map_err(ModelError::from)?;
        Ok(memory_row(&x, self.tokenizer.sod(), self.tokenizer.end_of_text()))
    }
}
