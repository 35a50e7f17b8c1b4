//! Losses over rows of tokens, as modules that burn-train's learner can train.

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use burn::train::ItemLazy;

use nextmem_model::{Decoder, LatentLayout, LoraAdapter, SpecialDelta, token_tensor, widened};

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
    /// Where the text and its copy stand.
    #[module(skip)]
    pub layout: LatentLayout,
}

impl TokenModel {
    /// A model of plain sequences.
    pub fn new(trainable: Trainable, frozen: Option<Decoder>, sod: u32) -> Self {
        Self { trainable, frozen, sod, layout: LatentLayout::default() }
    }

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
        let placement = self.layout.decoder_with_rest(0, 0, |row, _| batch.rows[row].rest);
        let hidden = decoder.hidden_at(embeds, &[], &placement, adapter, None);
        next_token_loss(decoder, hidden, batch)
    }
}

/// The loss of rows that a decoder reads around their latents.
pub(crate) fn loss_after_latents(
    decoder: &Decoder,
    special: &Option<SpecialDelta>,
    sod: u32,
    layout: &LatentLayout,
    batch: &Batch,
    latents: Tensor<3>,
) -> Tensor<1> {
    let hidden = hidden_after_latents((decoder, None), special, sod, layout, batch, latents);
    next_token_loss(decoder, hidden, batch)
}

/// The hidden states of `[head; latents; tokens]`; all rows have heads of one length.
///
/// # Shapes
/// - latents: `[batch, level, hidden]`; returns `[batch, head + level + longest row, hidden]`
pub(crate) fn hidden_after_latents(
    (decoder, adapter): (&Decoder, Option<&LoraAdapter>),
    special: &Option<SpecialDelta>,
    sod: u32,
    layout: &LatentLayout,
    batch: &Batch,
    latents: Tensor<3>,
) -> Tensor<3> {
    let (device, head) = (latents.device(), batch.head());
    let count = latents.dims()[1];
    let mut parts = vec![latents, embed(decoder, special, right_padded(&batch.rows, sod, &device))];
    if head > 0 {
        let rows: Vec<Vec<u32>> = batch.rows.iter().map(|row| row.head.clone()).collect();
        parts.insert(0, embed(decoder, special, token_tensor(&rows, sod, &device).0));
    }
    let placement = layout.decoder_with_rest(head, count, |row, _| batch.rows[row].rest);
    decoder.hidden_at(Tensor::cat(parts, 1), &[], &placement, adapter, None)
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
        ids.extend(row.inputs().iter().map(|t| *t as i32).chain(std::iter::repeat_n(pad as i32, longest - row.tokens.len())));
    }
    Tensor::from_data(TensorData::new(ids, [rows.len(), longest]), device)
}

/// Cross entropy over the positions that count; logits of the others are never made.
pub(crate) fn next_token_loss(decoder: &Decoder, hidden: Tensor<3>, batch: &Batch) -> Tensor<1> {
    let (log_probabilities, targets) = learnt_log_probabilities(decoder, hidden, batch);
    log_probabilities.gather(1, targets).mean().neg()
}

/// Log probabilities of all tokens at the positions that count, and the tokens that stand there.
///
/// # Shapes
/// - returns `[positions, vocab]` and `[positions, 1]`
pub(crate) fn learnt_log_probabilities(decoder: &Decoder, hidden: Tensor<3>, batch: &Batch) -> (Tensor<2>, Tensor<2, Int>) {
    let [rows, seq, width] = hidden.dims();
    let before = batch.head() + batch.level;
    let (mut positions, mut targets) = (Vec::new(), Vec::new());
    for (index, row) in batch.rows.iter().enumerate() {
        for i in row.learnt.iter().cloned().flatten() {
            // Token i stands at `before + i` and is predicted one position earlier.
            positions.push((index * seq + before + i - 1) as i32);
            targets.push(row.tokens[i] as i32);
        }
    }
    let device = hidden.device();
    let count = positions.len();
    let positions = Tensor::<1, Int>::from_data(TensorData::new(positions, [count]), &device);
    let targets = Tensor::<2, Int>::from_data(TensorData::new(targets, [count, 1]), &device);
    let picked = hidden.reshape([rows * seq, width]).select(0, positions).unsqueeze::<3>();
    let logits = decoder.logits(picked).squeeze_dim::<2>(0);
    (activation::log_softmax(widened(logits), 1), targets)
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
