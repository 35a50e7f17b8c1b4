//! The losses, as modules that burn-train's learner can train.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use burn::train::ItemLazy;

use nextmem_model::{Decoder, LoraAdapter, SpecialDelta, encode_embeds, token_tensor, widened};

use crate::batch::{Batch, Row};

/// What the optimizer changes and a checkpoint holds: all parameters, or an adapter and the special-token rows.
#[derive(Module, Debug)]
pub struct Trainable {
    /// All parameters of a decoder.
    pub full: Option<Decoder>,
    /// LoRA on a frozen decoder.
    pub adapter: Option<LoraAdapter>,
    /// `special_input_embeddings`, `[3, hidden]`; trained with the stage-1 LoRA.
    pub special: Option<Param<Tensor<2>>>,
}

/// The mean loss of a step.
#[derive(Clone, Debug)]
pub struct StepLoss {
    /// One number, off the autodiff graph.
    pub loss: Tensor<1>,
}

impl ItemLazy for StepLoss {
    fn sync(self) -> Result<Self, burn::tensor::ExecutionError> {
        Ok(self)
    }
}

/// A loss over a batch.
pub trait Objective: Module {
    /// The mean next-token loss over the positions that count.
    ///
    /// # Shapes
    /// - returns `[1]`
    fn loss(&self, batch: &Batch) -> Tensor<1>;
}

/// Pretraining and stage 1: next-token loss of plain token rows.
#[derive(Module, Debug)]
pub struct TokenModel {
    /// What is trained.
    pub trainable: Trainable,
    /// The base under the adapter, off the autodiff graph.
    #[module(skip)]
    pub frozen: Option<Decoder>,
    /// Id of `[SoD]`.
    #[module(skip)]
    pub sod: u32,
}

/// Stage 2: reconstruction from k latents and the rest of the text, gradients into the encoder only.
#[derive(Module, Debug)]
pub struct SubstitutionModel {
    /// The encoder: all its parameters, or an adapter on `decoder`.
    pub trainable: Trainable,
    /// The backbone after stage 1, frozen: gradients flow through it into the latents.
    #[module(skip)]
    pub decoder: Decoder,
    /// The special-token rows of stage 1.
    #[module(skip)]
    pub special: Option<SpecialDelta>,
    /// Id of `[SoD]`.
    #[module(skip)]
    pub sod: u32,
    /// Whether latents are fed back without gradient.
    #[module(skip)]
    pub detach: bool,
}

impl TokenModel {
    /// The decoder and the adapter that this model runs.
    ///
    /// # Panics
    /// If it has neither all parameters nor a frozen base (caller bug).
    pub fn decoder(&self) -> (&Decoder, Option<&LoraAdapter>) {
        match (&self.trainable.full, &self.frozen) {
            (Some(full), _) => (full, None),
            (None, Some(frozen)) => (frozen, self.trainable.adapter.as_ref()),
            (None, None) => unreachable!("a token model has weights"),
        }
    }

    /// The rows added to the special tokens' embeddings.
    pub fn special(&self) -> Option<SpecialDelta> {
        self.trainable.special.as_ref().map(|delta| SpecialDelta { sod: self.sod, delta: delta.val() })
    }
}

impl Objective for TokenModel {
    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let (decoder, adapter) = self.decoder();
        let tokens = right_padded(&batch.rows, self.sod, &decoder.device());
        let embeds = embed(decoder, &self.special(), tokens);
        let hidden = decoder.hidden(embeds, &[], adapter, None);
        next_token_loss(decoder, hidden, batch)
    }
}

impl SubstitutionModel {
    fn encoder(&self) -> (&Decoder, Option<&LoraAdapter>) {
        match &self.trainable.full {
            Some(full) => (full, None),
            None => (&self.decoder, self.trainable.adapter.as_ref()),
        }
    }

    /// The latents of a batch with their gradient.
    ///
    /// Fed-back latents are detached and attention is causal, so all of them come from one forward pass over
    /// `[x; SoD; sg(h_1) .. sg(h_{k-1})]`: the same values and gradients as k passes.
    ///
    /// # Shapes
    /// - returns `[batch, level, hidden]`
    pub fn latents(&self, batch: &Batch) -> Tensor<3> {
        let (embeds, pads) = self.source(batch);
        if !self.detach {
            let (decoder, adapter) = self.encoder();
            return encode_embeds(decoder, adapter, embeds, &pads, batch.level);
        }
        let plain = self.valid();
        let (decoder, adapter) = plain.encoder();
        let fed_back = encode_embeds(decoder, adapter, embeds.clone().inner(), &pads, batch.level - 1);
        self.one_forward(embeds, &pads, Tensor::from_inner(fed_back))
    }

    /// The latents that follow given ones: h_{i+1} from `[x; SoD; fed_back_1 .. fed_back_i]`.
    ///
    /// # Shapes
    /// - fed_back: `[batch, level - 1, hidden]`; returns `[batch, level, hidden]`
    pub fn latents_after(&self, batch: &Batch, fed_back: Tensor<3>) -> Tensor<3> {
        let (embeds, pads) = self.source(batch);
        self.one_forward(embeds, &pads, fed_back)
    }

    /// The loss of a batch whose latents are given.
    pub fn loss_of(&self, batch: &Batch, latents: Tensor<3>) -> Tensor<1> {
        loss_after_latents(&self.decoder, &self.special, self.sod, batch, latents)
    }

    /// Embeddings of `[x; SoD]`, left-padded.
    fn source(&self, batch: &Batch) -> (Tensor<3>, Vec<usize>) {
        let (decoder, _) = self.encoder();
        let rows: Vec<Vec<u32>> = batch.rows.iter().map(|r| r.source.iter().copied().chain([self.sod]).collect()).collect();
        let (tokens, pads) = token_tensor(&rows, self.sod, &decoder.device());
        // With all parameters trained the encoder has its own table, special rows included.
        let special = if self.trainable.full.is_some() { &None } else { &self.special };
        (embed(decoder, special, tokens), pads)
    }

    fn one_forward(&self, embeds: Tensor<3>, pads: &[usize], fed_back: Tensor<3>) -> Tensor<3> {
        let (decoder, adapter) = self.encoder();
        let count = fed_back.dims()[1] + 1;
        let input = Tensor::cat(vec![embeds, fed_back], 1);
        let seq = input.dims()[1];
        decoder.hidden(input, pads, adapter, None).narrow(1, seq - count, count)
    }
}

impl Objective for SubstitutionModel {
    fn loss(&self, batch: &Batch) -> Tensor<1> {
        self.loss_of(batch, self.latents(batch))
    }
}

/// The loss of rows that a frozen decoder reads after their latents.
pub(crate) fn loss_after_latents(
    decoder: &Decoder,
    special: &Option<SpecialDelta>,
    sod: u32,
    batch: &Batch,
    latents: Tensor<3>,
) -> Tensor<1> {
    let tokens = right_padded(&batch.rows, sod, &latents.device());
    let embeds = Tensor::cat(vec![latents, embed(decoder, special, tokens)], 1);
    let hidden = decoder.hidden(embeds, &[], None, None);
    next_token_loss(decoder, hidden, batch)
}

pub(crate) fn embed(decoder: &Decoder, special: &Option<SpecialDelta>, tokens: Tensor<2, Int>) -> Tensor<3> {
    let embeds = decoder.embed(tokens.clone());
    match special {
        Some(special) => special.add(&tokens, embeds),
        None => embeds,
    }
}

/// Rows padded on the right: causal attention never looks at the padding, so no mask is needed.
pub(crate) fn right_padded(rows: &[Row], pad: u32, device: &Device) -> Tensor<2, Int> {
    let longest = rows.iter().map(|r| r.tokens.len()).max().unwrap_or(0);
    let mut ids = Vec::with_capacity(rows.len() * longest);
    for row in rows {
        ids.extend(row.tokens.iter().map(|t| *t as i32).chain(std::iter::repeat_n(pad as i32, longest - row.tokens.len())));
    }
    Tensor::from_data(TensorData::new(ids, [rows.len(), longest]), device)
}

/// Cross entropy over the positions that count; logits of the others are never made.
pub(crate) fn next_token_loss(decoder: &Decoder, hidden: Tensor<3>, batch: &Batch) -> Tensor<1> {
    let [rows, seq, width] = hidden.dims();
    let (mut positions, mut targets) = (Vec::new(), Vec::new());
    for (index, row) in batch.rows.iter().enumerate() {
        for i in row.learnt.iter().cloned().flatten() {
            // Token i stands at batch.level + i and is predicted one position earlier.
            positions.push((index * seq + batch.level + i - 1) as i32);
            targets.push(row.tokens[i] as i32);
        }
    }
    let device = hidden.device();
    let count = positions.len();
    let positions = Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), &device);
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [count, 1]), &device);
    let picked = hidden.reshape([rows * seq, width]).select(0, positions).unsqueeze::<3>();
    let logits = decoder.logits(picked).squeeze_dim::<2>(0);
    activation::log_softmax(widened(logits), 1).gather(1, targets).mean().neg()
}

/// Makes an [`Objective`] something that burn-train's learner steps.
macro_rules! learner_steps {
    ($model:ty) => {
        impl burn::train::TrainStep for $model {
            type Input = $crate::batch::Batch;
            type Output = $crate::objective::StepLoss;
            fn step(&self, batch: Self::Input) -> burn::train::TrainOutput<Self::Output> {
                let loss = $crate::objective::Objective::loss(self, &batch);
                let grads = loss.backward();
                burn::train::TrainOutput::new(self, grads, $crate::objective::StepLoss { loss: loss.inner() })
            }
        }
        impl burn::train::InferenceStep for $model {
            type Input = $crate::batch::Batch;
            type Output = $crate::objective::StepLoss;
            fn step(&self, batch: Self::Input) -> Self::Output {
                $crate::objective::StepLoss { loss: $crate::objective::Objective::loss(self, &batch) }
            }
        }
    };
}
pub(crate) use learner_steps;
learner_steps!(TokenModel);
learner_steps!(SubstitutionModel);
