//! The NextMem autoencoder: text to latents and back, with one set of weights.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::generate::{Decoding, generate};
use crate::kv_cache::KvCache;
use crate::layout::{LatentLayout, Placement};
use crate::lora::LoraAdapter;

/// What encodes: the decoder itself with an adapter, another set of weights, or the bare decoder.
#[derive(Clone, Debug)]
pub enum Encoder {
    /// The stage-2 LoRA on top of the decoder's weights (the paper).
    Adapter(LoraAdapter),
    /// All parameters trained in stage 2.
    Full(Box<Decoder>),
    /// No stage 2 at all (the "w/o PT" ablation).
    Bare,
}

/// The learned rows added to the special tokens' embeddings (`special_tokens_DTOKENS.pt`).
#[derive(Clone, Debug)]
pub struct SpecialDelta {
    /// Id of `[SoD]`; the next id is `<|end_of_memory|>`.
    pub sod: u32,
    /// `[rows, hidden]`; rows after the second are unused.
    pub delta: Tensor<2>,
}

impl SpecialDelta {
    /// Adds the rows to the embeddings of `tokens`.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`; embeds and result: `[batch, seq, hidden]`
    pub fn add(&self, tokens: &Tensor<2, Int>, embeds: Tensor<3>) -> Tensor<3> {
        let mut embeds = embeds;
        for row in 0..2usize {
            let id = self.sod as i64 + row as i64;
            let here = tokens.clone().equal_elem(id).float().unsqueeze_dim::<3>(2).cast(embeds.dtype());
            embeds = embeds + here * self.delta.clone().narrow(0, row, 1).unsqueeze::<3>();
        }
        embeds
    }
}

/// Encoder and decoder around one backbone.
#[derive(Clone, Debug)]
pub struct Autoencoder {
    /// The backbone after stage 1 (its LoRA merged).
    pub decoder: Decoder,
    /// The backbone after stage 2.
    pub encoder: Encoder,
    /// Added to the special tokens' embeddings, unless the table itself was trained.
    pub special: Option<SpecialDelta>,
    /// Id of `[SoD]`.
    pub sod: u32,
    /// Where latents stand and what they see.
    pub layout: LatentLayout,
}

impl Autoencoder {
    /// The device of its weights.
    pub fn device(&self) -> Device {
        self.decoder.device()
    }

    /// Width of a latent.
    pub fn hidden_size(&self) -> usize {
        self.decoder.config().hidden_size
    }

    /// Input embeddings of the decoder, special rows included.
    ///
    /// # Shapes
    /// - tokens: `[batch, seq]`; returns `[batch, seq, hidden]`
    pub fn embed(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let embeds = self.decoder.embed(tokens.clone());
        match &self.special {
            Some(special) => special.add(&tokens, embeds),
            None => embeds,
        }
    }

    /// Embeddings of one row of tokens.
    ///
    /// # Shapes
    /// - returns `[1, tokens, hidden]`
    pub fn embed_ids(&self, ids: &[u32]) -> Tensor<3> {
        self.embed(token_tensor(&[ids.to_vec()], 0, &self.device()).0)
    }

    /// Encodes a batch of token rows of any lengths into `num_latents` latents each.
    ///
    /// `h_{i+1} = Encoder([e(x); e(SoD); h_1 .. h_i])_last`, the hidden state after the final norm: one prefill and
    /// num_latents - 1 single-position steps on the KV cache.
    ///
    /// # Shapes
    /// - returns `[batch, num_latents, hidden]`
    ///
    /// # Reference
    /// official `NextMemQwen.py::batch_encode`. Deviation D3: KV cache instead of re-encoding the prefix.
    pub fn encode(&self, rows: &[Vec<u32>], num_latents: usize) -> Tensor<3> {
        let rows: Vec<Vec<u32>> = rows.iter().map(|r| r.iter().copied().chain([self.sod]).collect()).collect();
        let (tokens, pads) = token_tensor(&rows, self.sod, &self.device());
        let (model, adapter) = self.encoder();
        encode_embeds(model, adapter, self.encoder_embeds(tokens), &pads, &self.layout, num_latents)
    }

    /// Input embeddings of the encoder: with all parameters trained it has its own table, special rows included.
    pub(crate) fn encoder_embeds(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        match &self.encoder {
            Encoder::Full(encoder) => encoder.embed(tokens),
            Encoder::Adapter(_) | Encoder::Bare => self.embed(tokens),
        }
    }

    /// The weights and the adapter that encode.
    pub fn encoder(&self) -> (&Decoder, Option<&LoraAdapter>) {
        match &self.encoder {
            Encoder::Adapter(adapter) => (&self.decoder, Some(adapter)),
            Encoder::Full(encoder) => (encoder, None),
            Encoder::Bare => (&self.decoder, None),
        }
    }

    /// Turns latents back into token ids, without the end token.
    ///
    /// The prompt is `[h_1 .. h_L; e(SoD)]`; `with_sod = false` leaves `[SoD]` out (the "w/o ST" ablation).
    ///
    /// # Shapes
    /// - latents: `[batch, latents, hidden]`
    pub fn decode(&self, latents: Tensor<3>, with_sod: bool, max_new_tokens: usize, end_ids: &[u32], decoding: &Decoding) -> Vec<Vec<u32>> {
        let [batch, count, _] = latents.dims();
        let prompt = match with_sod {
            true => Tensor::cat(vec![latents, self.embed_ids(&[self.sod]).repeat_dim(0, batch)], 1),
            false => latents,
        };
        self.generate(prompt, &[], &self.layout.decoder(0, count), max_new_tokens, end_ids, decoding)
    }

    /// The likeliest token at every position of known texts, each predicted from the latents and the true tokens before it.
    ///
    /// The input is `[h_1 .. h_L; e(SoD); e(x)]`: what stage 2 trains at its last level, without the error of a token that
    /// was generated wrongly before. Row i has one prediction more than `rows[i]`: what follows its end.
    ///
    /// # Shapes
    /// - latents: `[batch, latents, hidden]`, one memory per row of tokens
    pub fn teacher_forced(&self, latents: Tensor<3>, with_sod: bool, rows: &[Vec<u32>]) -> Vec<Vec<u32>> {
        let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
        // Padding on the right: nothing that is read stands after it.
        let padded: Vec<Vec<u32>> = rows
            .iter()
            .map(|row| {
                let before = with_sod.then_some(self.sod);
                before.into_iter().chain(row.iter().copied()).chain(std::iter::repeat_n(self.sod, longest - row.len())).collect()
            })
            .collect();
        let embeds = match longest + usize::from(with_sod) {
            0 => latents.clone(),
            _ => Tensor::cat(vec![latents.clone(), self.embed(token_tensor(&padded, self.sod, &self.device()).0)], 1),
        };
        let count = latents.dims()[1];
        let first = count + usize::from(with_sod) - 1;
        let hidden = self.decoder.hidden_at(embeds, &[], &self.layout.decoder(0, count), None, None);
        // One row at a time: the logits of a batch of long texts over a large vocabulary are gigabytes.
        let predict = |(i, row): (usize, &Vec<u32>)| {
            let logits = self.decoder.logits(hidden.clone().narrow(0, i, 1).narrow(1, first, row.len() + 1));
            logits.argmax(2).into_data().iter::<i64>().map(|id| id as u32).collect()
        };
        rows.iter().enumerate().map(predict).collect()
    }

    /// Continues input embeddings with the decoder.
    pub fn generate(
        &self,
        prompt: Tensor<3>,
        pads: &[usize],
        placement: &Placement<'_>,
        max_new_tokens: usize,
        end_ids: &[u32],
        decoding: &Decoding,
    ) -> Vec<Vec<u32>> {
        generate(&self.decoder, |t| self.embed(t), prompt, pads, placement, max_new_tokens, end_ids, decoding)
    }
}

/// Encodes left-padded input embeddings; see [`Autoencoder::encode`].
///
/// # Shapes
/// - embeds: `[batch, seq, hidden]`, ending with `[SoD]`; returns `[batch, num_latents, hidden]`
pub fn encode_embeds(
    model: &Decoder,
    adapter: Option<&LoraAdapter>,
    embeds: Tensor<3>,
    pads: &[usize],
    layout: &LatentLayout,
    num_latents: usize,
) -> Tensor<3> {
    let [batch, seq, hidden] = embeds.dims();
    if num_latents == 0 {
        return Tensor::zeros([batch, 0, hidden], &embeds.device());
    }
    let placement = layout.encoder(seq - 1, num_latents);
    let mut cache = KvCache::default();
    let mut latents = vec![model.hidden_at(embeds, pads, &placement, adapter, Some(&mut cache)).narrow(1, seq - 1, 1)];
    for i in 1..num_latents {
        let fed_back = layout.fed_back(latents[i - 1].clone(), i - 1);
        latents.push(model.hidden_at(fed_back, &[], &placement, adapter, Some(&mut cache)));
    }
    Tensor::cat(latents, 1)
}

/// Left-pads token rows into one tensor and returns the padding of each row.
///
/// # Shapes
/// - returns `[batch, longest row]`
pub fn token_tensor(rows: &[Vec<u32>], pad: u32, device: &Device) -> (Tensor<2, Int>, Vec<usize>) {
    let longest = rows.iter().map(Vec::len).max().unwrap_or(0);
    let pads: Vec<usize> = rows.iter().map(|r| longest - r.len()).collect();
    let mut ids = Vec::with_capacity(rows.len() * longest);
    for (row, pad_len) in rows.iter().zip(&pads) {
        ids.extend(std::iter::repeat_n(pad as i32, *pad_len).chain(row.iter().map(|t| *t as i32)));
    }
    (Tensor::from_data(TensorData::new(ids, [rows.len(), longest]), device), pads)
}

/// Left-pads embedding rows `[1, seq, hidden]` into one batch.
pub fn pad_embeds(rows: Vec<Tensor<3>>) -> (Tensor<3>, Vec<usize>) {
    let longest = rows.iter().map(|r| r.dims()[1]).max().unwrap_or(0);
    let pads: Vec<usize> = rows.iter().map(|r| longest - r.dims()[1]).collect();
    let padded = rows
        .into_iter()
        .zip(&pads)
        .map(|(row, pad)| {
            let [_, _, hidden] = row.dims();
            match pad {
                0 => row,
                _ => Tensor::cat(vec![Tensor::<3>::zeros([1, *pad, hidden], &row.device()).cast(row.dtype()), row], 1),
            }
        })
        .collect();
    (Tensor::cat(padded, 0), pads)
}

/// Refuses token rows that do not fit the model's positions.
pub fn check_lengths(rows: &[Vec<u32>], limit: usize) -> Result<(), ModelError> {
    match rows.iter().enumerate().find(|(_, r)| r.len() > limit) {
        Some((index, row)) => Err(ModelError::TooLong { index, got: row.len(), limit }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;
    use crate::layout::LayoutConfig;
    use crate::weight_source::HostRandom;
    use burn::tensor::Distribution;

    fn model() -> Autoencoder {
        let device = Device::flex();
        let decoder = Decoder::random(tiny(true), 0.3, 11, &device);
        let adapter = LoraAdapter::random(decoder.config(), 2, 4.0, 11, &device);
        Autoencoder { decoder, encoder: Encoder::Adapter(adapter), special: None, sod: 59, layout: LatentLayout::default() }
    }

    #[test]
    fn a_batch_of_mixed_lengths_equals_one_by_one() {
        let model = model();
        let rows: Vec<Vec<u32>> = vec![vec![3, 4, 5, 6, 7], vec![9], vec![], vec![8, 7, 1]];
        let together = model.encode(&rows, 6);
        let texts = model.decode(together.clone(), true, 5, &[], &Decoding::Greedy);
        for (i, row) in rows.iter().enumerate() {
            let alone = model.encode(std::slice::from_ref(row), 6);
            let difference: f32 = (together.clone().narrow(0, i, 1) - alone.clone()).abs().max().into_scalar();
            assert!(difference < 2e-5, "row {i}: {difference}");
            assert_eq!(texts[i], model.decode(alone, true, 5, &[], &Decoding::Greedy)[0]);
        }
    }

    #[test]
    fn a_layout_of_blocks_holds_for_every_length_and_for_every_way_to_run_it() {
        let config = LayoutConfig { text_positions: 16, block_mask: true, index_vectors: true, ..LayoutConfig::default() };
        let vectors = HostRandom::new(3).tensor([4, 32], Distribution::Normal(0.0, 0.3), &Device::flex());
        let plain = model();
        let model = Autoencoder { layout: LatentLayout { config, block_tokens: 2, index_vectors: Some(vectors) }, ..model() };
        let rows: Vec<Vec<u32>> = vec![vec![3, 4, 5, 6, 7], vec![9], vec![8, 7, 1]];
        let together = model.encode(&rows, 4);
        let differs: f32 = (together.clone() - plain.encode(&rows, 4)).abs().max().into_scalar();
        assert!(differs > 1e-2);
        for (i, row) in rows.iter().enumerate() {
            let alone = model.encode(std::slice::from_ref(row), 4);
            let difference: f32 = (together.clone().narrow(0, i, 1) - alone.clone()).abs().max().into_scalar();
            assert!(difference < 2e-5, "row {i}: {difference}");
            let free = model.decode(alone.clone(), true, 6, &[], &Decoding::Greedy);
            assert_eq!(model.teacher_forced(alone, true, &[free[0][..5].to_vec()]), free);
        }
    }

    #[test]
    fn teacher_forcing_on_its_own_text_predicts_that_text() {
        let model = model();
        let latents = model.encode(&[vec![3, 4, 5, 6], vec![9, 2]], 3);
        for with_sod in [true, false] {
            let free = model.decode(latents.clone(), with_sod, 9, &[], &Decoding::Greedy);
            // Texts of two lengths, so that one is padded; the last token is the prediction after the text.
            let texts = vec![free[0][..8].to_vec(), free[1][..5].to_vec()];
            let predicted = model.teacher_forced(latents.clone(), with_sod, &texts);
            assert_eq!(predicted, [free[0].clone(), free[1][..6].to_vec()]);
        }
        let first: Vec<u32> = model.decode(latents.clone(), false, 1, &[], &Decoding::Greedy).concat();
        assert_eq!(model.teacher_forced(latents, false, &[vec![], vec![]]).concat(), first);
    }

    #[test]
    fn rows_that_end_early_do_not_disturb_the_others() {
        let model = model();
        let latents = model.encode(&[vec![3, 4, 5], vec![9, 2], vec![1]], 3);
        let free = model.decode(latents.clone(), true, 12, &[], &Decoding::Greedy);
        let end = free[0][4];
        let cut = model.decode(latents, true, 12, &[end], &Decoding::Greedy);
        for (free, cut) in free.iter().zip(&cut) {
            let expected: Vec<u32> = free.iter().copied().take_while(|t| *t != end).collect();
            assert_eq!(*cut, expected);
        }
    }
}
