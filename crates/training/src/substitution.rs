//! Stage 2, and ICAE, which differs in how it makes latents: an encoder in front of a decoder that writes the text again.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use nextmem_model::{Decoder, LatentLayout, LoraAdapter, SpecialDelta, encode_embeds, encode_slots, token_tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::batch::{Batch, Row};
use crate::config::{LatentNoise, SubstitutionConfig};
use crate::objective::{
    Objective, Trainable, embed, hidden_after_latents, learner_steps, loss_after_latents, next_token_loss, right_padded,
};
use crate::refine::through_nf4;
use crate::stream::mix;

/// What of a [`SubstitutionConfig`] the losses depend on; the default is the paper's.
#[derive(Clone, Debug)]
pub struct LatentOptions {
    /// Whether latents are fed back without gradient.
    pub detach: bool,
    /// What happens to latents on their way to the decoder.
    pub noise: LatentNoise,
    /// Weight of the auxiliary decoder's loss.
    pub auxiliary_weight: f64,
    /// Steps in which a decoder that is trained along is not frozen yet.
    pub decoder_steps: usize,
    /// Where latents stand; its index vectors are the model's.
    pub layout: LatentLayout,
}

impl Default for LatentOptions {
    fn default() -> Self {
        Self { detach: true, noise: LatentNoise::None, auxiliary_weight: 0.0, decoder_steps: 0, layout: LatentLayout::default() }
    }
}

impl From<&SubstitutionConfig> for LatentOptions {
    fn from(c: &SubstitutionConfig) -> Self {
        Self {
            detach: c.detach,
            noise: c.noise,
            auxiliary_weight: c.auxiliary.map_or(0.0, |auxiliary| auxiliary.weight),
            decoder_steps: c.decoder.map_or(0, |decoder| decoder.steps),
            layout: LatentLayout { config: c.layout, block_tokens: c.block_tokens, index_vectors: None },
        }
    }
}

/// Reconstruction from latents and what is left of the text, gradients into the encoder.
#[derive(Module, Debug)]
pub struct SubstitutionModel {
    /// The encoder: all its parameters, or an adapter on `decoder`.
    pub trainable: Trainable,
    /// ICAE's slots `[slots, hidden]`; NextMem's recurrence without.
    pub slots: Option<Param<Tensor<2>>>,
    /// `[latents - 1, hidden]`, added to latents that are fed back.
    pub index_vectors: Option<Param<Tensor<2>>>,
    /// The decoder where it is trained along; it takes the place of `decoder`.
    pub trained_decoder: Option<Decoder>,
    /// The throw-away decoder on single latents.
    pub auxiliary: Option<Decoder>,
    /// The backbone after stage 1, frozen: gradients flow through it into the latents.
    #[module(skip)]
    pub decoder: Decoder,
    /// The special-token rows of stage 1.
    #[module(skip)]
    pub special: Option<SpecialDelta>,
    /// Id of `[SoD]`.
    #[module(skip)]
    pub sod: u32,
    /// The rest of the configuration.
    #[module(skip)]
    pub options: LatentOptions,
}

impl SubstitutionModel {
    /// The paper's: an encoder by recurrence in front of a frozen decoder.
    pub fn new(trainable: Trainable, decoder: Decoder, special: Option<SpecialDelta>, sod: u32, options: LatentOptions) -> Self {
        Self { trainable, slots: None, index_vectors: None, trained_decoder: None, auxiliary: None, decoder, special, sod, options }
    }

    fn encoder(&self) -> (&Decoder, Option<&LoraAdapter>) {
        match &self.trainable.full {
            Some(full) => (full, None),
            None => (&self.decoder, self.trainable.adapter.as_ref()),
        }
    }

    /// The decoder that reads the latents.
    pub fn reader(&self) -> &Decoder {
        self.trained_decoder.as_ref().unwrap_or(&self.decoder)
    }

    /// The layout with its learnt vectors.
    pub fn layout(&self) -> LatentLayout {
        LatentLayout { index_vectors: self.index_vectors.as_ref().map(|vectors| vectors.val()), ..self.options.layout.clone() }
    }

    /// The layout with the blocks of a batch: all passes over it have the same, however many latents each of them makes.
    fn layout_of(&self, batch: &Batch) -> LatentLayout {
        let layout = self.layout();
        layout.with_block(if batch.block > 0 { batch.block } else { layout.block(batch.level) })
    }

    /// The latents of a batch with their gradient.
    ///
    /// Fed-back latents are detached and attention is causal, so all of them come from one forward pass over
    /// `[x; SoD; sg(h_1) .. sg(h_{k-1})]`: the same values and gradients as k passes.
    ///
    /// # Shapes
    /// - returns `[batch, level, hidden]`; level 0, which reads the text itself, has none
    pub fn latents(&self, batch: &Batch) -> Tensor<3> {
        let ((decoder, adapter), layout) = (self.encoder(), self.layout_of(batch));
        if batch.level == 0 {
            return Tensor::zeros([batch.rows.len(), 0, decoder.config().hidden_size], &decoder.device());
        }
        if let Some(slots) = &self.slots {
            let (embeds, pads) = self.source(batch, false);
            return encode_slots(decoder, adapter, embeds, &pads, &layout, slots.val().narrow(0, 0, batch.level));
        }
        let (embeds, pads) = self.source(batch, true);
        if !self.options.detach {
            return encode_embeds(decoder, adapter, embeds, &pads, &layout, batch.level);
        }
        let plain = self.valid();
        let (decoder, adapter) = plain.encoder();
        let fed_back = encode_embeds(decoder, adapter, embeds.clone().inner(), &pads, &plain.layout_of(batch), batch.level - 1);
        self.one_forward(&layout, embeds, &pads, Tensor::from_inner(fed_back))
    }

    /// The latents that follow given ones: h_{i+1} from `[x; SoD; fed_back_1 .. fed_back_i]`.
    ///
    /// # Shapes
    /// - fed_back: `[batch, level - 1, hidden]`; returns `[batch, level, hidden]`
    pub fn latents_after(&self, batch: &Batch, fed_back: Tensor<3>) -> Tensor<3> {
        let (embeds, pads) = self.source(batch, true);
        self.one_forward(&self.layout_of(batch), embeds, &pads, fed_back)
    }

    /// The loss of a batch whose latents are given.
    pub fn loss_of(&self, batch: &Batch, latents: Tensor<3>) -> Tensor<1> {
        let layout = self.layout_of(batch);
        match &self.trained_decoder {
            // A copy that takes no gradient: what it would cost is saved as well.
            Some(decoder) if batch.step >= self.options.decoder_steps => {
                loss_after_latents(&decoder.clone().no_grad(), &self.special, self.sod, &layout, batch, latents)
            }
            _ => loss_after_latents(self.reader(), &self.special, self.sod, &layout, batch, latents),
        }
    }

    /// Embeddings of `[x; SoD]`, or of x alone, left-padded.
    fn source(&self, batch: &Batch, with_sod: bool) -> (Tensor<3>, Vec<usize>) {
        let (decoder, _) = self.encoder();
        let row = |row: &Row| row.source.iter().copied().chain(with_sod.then_some(self.sod)).collect();
        let rows: Vec<Vec<u32>> = batch.rows.iter().map(row).collect();
        let (tokens, pads) = token_tensor(&rows, self.sod, &decoder.device());
        if let [batch, 0] = tokens.dims() {
            return (Tensor::zeros([batch, 0, decoder.config().hidden_size], &decoder.device()), pads);
        }
        // With all parameters trained the encoder has its own table, special rows included.
        let special = if self.trainable.full.is_some() { &None } else { &self.special };
        (embed(decoder, special, tokens), pads)
    }

    fn one_forward(&self, layout: &LatentLayout, embeds: Tensor<3>, pads: &[usize], fed_back: Tensor<3>) -> Tensor<3> {
        let (decoder, adapter) = self.encoder();
        let (first, fed) = (embeds.dims()[1] - 1, fed_back.dims()[1]);
        let fed_back = match &layout.index_vectors {
            Some(vectors) if fed > 0 => fed_back + vectors.clone().narrow(0, 0, fed).unsqueeze::<3>(),
            _ => fed_back,
        };
        let input = Tensor::cat(vec![embeds, fed_back], 1);
        decoder.hidden_at(input, pads, &layout.encoder(first, fed + 1), adapter, None).narrow(1, first, fed + 1)
    }

    /// Latents as the decoder gets them in training; their gradient is that of the latents as they are.
    fn noisy(&self, latents: Tensor<3>, batch: &Batch) -> Tensor<3> {
        let [rows, count, hidden] = latents.dims();
        let values = || latents.clone().inner().into_data().iter::<f32>().collect::<Vec<f32>>();
        let difference: Vec<f32> = match self.options.noise {
            _ if count == 0 => return latents,
            LatentNoise::None => return latents,
            LatentNoise::Uniform(share) => {
                let memories = values();
                let seeded = memories.chunks(count * hidden).zip(&batch.rows);
                let noise = |(memory, row): (&[f32], &Row)| -> Vec<f32> {
                    let size = memory.iter().map(|v| v * v).sum::<f32>() / memory.len() as f32;
                    let mut random = ChaCha8Rng::seed_from_u64(mix(0x9015e, row.place));
                    memory.iter().map(|_| size.sqrt() * share as f32 * random.random_range(-1.0..=1.0f32)).collect()
                };
                seeded.flat_map(noise).collect()
            }
            LatentNoise::Nf4(scales) => return through_nf4(latents, scales, [count, hidden]),
        };
        let difference = Tensor::<3>::from_data(TensorData::new(difference, [rows, count, hidden]), &latents.clone().inner().device());
        latents + Tensor::from_inner(difference)
    }

    /// The loss of the blocks that the auxiliary decoder rebuilds, each from its latent alone.
    fn auxiliary_loss(&self, decoder: &Decoder, batch: &Batch, latents: &Tensor<3>) -> Option<Tensor<1>> {
        let mut picked = Vec::new();
        let mut rows = Vec::new();
        for (index, row) in batch.rows.iter().enumerate() {
            let Some((latent, block)) = &row.block else { continue };
            picked.push(latents.clone().narrow(0, index, 1).narrow(1, *latent, 1));
            let tokens = std::iter::once(self.sod).chain(row.source[block.clone()].iter().copied()).collect();
            rows.push((*latent, Row::learning_from(Vec::new(), tokens, 1)));
        }
        if rows.is_empty() {
            return None;
        }
        let (places, rows): (Vec<usize>, Vec<Row>) = rows.into_iter().unzip();
        let (batch, latents) = (Batch { level: 1, rows, step: batch.step, block: batch.block }, Tensor::cat(picked, 0));
        let layout = &self.layout_of(&batch);
        if layout.config.text_positions == 0 {
            let hidden = hidden_after_latents((decoder, None), &self.special, self.sod, layout, &batch, latents);
            return Some(next_token_loss(decoder, hidden, &batch));
        }
        // The block stands where it does in the whole copy.
        let tokens = embed(decoder, &self.special, right_padded(&batch.rows, self.sod, &latents.device()));
        let placement = layout.single_blocks(&places);
        let hidden = decoder.hidden_at(Tensor::cat(vec![latents, tokens], 1), &[], &placement, None, None);
        Some(next_token_loss(decoder, hidden, &batch))
    }
}

impl Objective for SubstitutionModel {
    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let latents = self.latents(batch);
        let auxiliary = self.auxiliary.as_ref().and_then(|decoder| self.auxiliary_loss(decoder, batch, &latents));
        let loss = self.loss_of(batch, self.noisy(latents, batch));
        match auxiliary {
            Some(auxiliary) => loss + auxiliary * self.options.auxiliary_weight,
            None => loss,
        }
    }
}
learner_steps!(SubstitutionModel);
