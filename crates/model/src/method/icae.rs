//! ICAE (Ge et al., ICLR 2024, arXiv 2307.06945): all latents from one forward pass over learnt slots.
//!
//! The encoder, a copy of the backbone or a LoRA on it, reads `[x ; slot_1 .. slot_K]`; its last hidden states at the
//! slots are the memory, and the frozen backbone reads `[memory ; AE]` and writes x. Here the frozen backbone is the one
//! NextMem decodes with, after stage 1, and `[SoD]`, which stage 1 taught it, is the paper's AE token: the two methods
//! differ in how they encode and in nothing else.

use std::path::Path;

use burn::tensor::{Device, Distribution, Tensor};

use super::{AnswerMode, Latents, Memory, MemoryMethod, NextMemOptions, latent_reader::LatentReader, none_for_empty};
use crate::autoencoder::{Autoencoder, token_tensor};
use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::layout::LatentLayout;
use crate::lora::LoraAdapter;
use crate::tensor_files::{TensorFiles, write_safetensors};
use crate::tokenizer::Tokenizer;
use crate::weight_source::HostRandom;
use crate::weights::f32_bytes;

/// The decoder of NextMem with an encoder of its own and its slots.
#[derive(Debug)]
pub struct Icae {
    reader: LatentReader,
    slots: Tensor<2>,
}

impl Icae {
    /// Puts the parts together: `autoencoder.encoder` is ICAE's, `slots` are `[slots, hidden]`; of the options
    /// `num_latents` is not used.
    pub fn new(autoencoder: Autoencoder, slots: Tensor<2>, tokenizer: Tokenizer, options: NextMemOptions) -> Self {
        Self { reader: LatentReader { autoencoder, tokenizer, options, backbone: None }, slots }
    }

    /// The same with another model that answers from decoded text.
    pub fn answering_with(mut self, backbone: Autoencoder) -> Self {
        self.reader.backbone = Some(backbone);
        self
    }

    fn latents(&self, passages: &[&str]) -> Result<Vec<Latents>, ModelError> {
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        let model = &self.reader.autoencoder;
        let (tokens, pads) = token_tensor(&self.reader.rows(passages)?, model.sod, &model.device());
        let embeds = match tokens.dims() {
            [batch, 0] => Tensor::zeros([batch, 0, model.hidden_size()], &model.device()),
            _ => model.encoder_embeds(tokens),
        };
        let (decoder, adapter) = model.encoder();
        Ok(Latents::on_host(encode_slots(decoder, adapter, embeds, &pads, &model.layout, self.slots.clone())))
    }
}

impl MemoryMethod for Icae {
    fn name(&self) -> String {
        "ICAE".into()
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
        Ok(self.latents(&none_for_empty(texts))?.iter().map(Latents::mean).collect())
    }
}

/// The last hidden states at the slots behind left-padded input embeddings: one forward pass.
///
/// # Shapes
/// - embeds: `[batch, seq, hidden]`, seq may be 0; slots: `[slots, hidden]`; returns `[batch, slots, hidden]`
pub fn encode_slots(
    model: &Decoder,
    adapter: Option<&LoraAdapter>,
    embeds: Tensor<3>,
    pads: &[usize],
    layout: &LatentLayout,
    slots: Tensor<2>,
) -> Tensor<3> {
    let ([batch, seq, _], [count, _]) = (embeds.dims(), slots.dims());
    let slots = slots.unsqueeze::<3>().repeat_dim(0, batch);
    let input = if seq == 0 { slots } else { Tensor::cat(vec![embeds, slots], 1) };
    model.hidden_at(input, pads, &layout.encoder(seq, count), adapter, None).narrow(1, seq, count)
}

/// First values of slots: normal, as large as the embeddings that they stand among (ours).
///
/// # Shapes
/// - returns `[count, hidden]`
pub fn random_slots(decoder: &Decoder, count: usize, seed: u64) -> Tensor<2> {
    let std = decoder.embed_tokens.val().square().mean().into_data().iter::<f64>().sum::<f64>().sqrt();
    let shape = [count, decoder.config().hidden_size];
    HostRandom::new(seed).tensor(shape, Distribution::Normal(0.0, std), &decoder.device())
}

/// File of the slots beside the encoder's weights, and its only key.
const FILE: &str = "slots.safetensors";
const KEY: &str = "slots";

/// Writes slots into the directory of their encoder.
pub fn save_slots(slots: Tensor<2>, dir: &Path) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(|source| ModelError::Io { path: dir.to_owned(), source })?;
    let shape = slots.dims().to_vec();
    write_safetensors(&dir.join(FILE), &[(KEY.to_string(), shape, f32_bytes(slots))])
}

/// Reads what [`save_slots`] wrote, for a model of that width.
///
/// # Errors
/// A file that is missing or damaged, slots of another number or width, other keys.
pub fn load_slots(dir: &Path, shape: [usize; 2], device: &Device) -> Result<Tensor<2>, ModelError> {
    let file = dir.join(FILE);
    let files = TensorFiles::open_file(&file)?;
    files.check(&file, &[(KEY.to_string(), shape.to_vec())])?;
    Ok(Tensor::from_data(files.read(KEY)?, device))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;

    #[test]
    fn a_batch_of_mixed_lengths_equals_one_by_one() {
        let device = Device::flex();
        let decoder = Decoder::random(tiny(true), 0.3, 4, &device);
        let slots = random_slots(&decoder, 3, 5);
        let encode = |rows: &[Vec<u32>]| {
            let (tokens, pads) = token_tensor(rows, 0, &device);
            encode_slots(&decoder, None, decoder.embed(tokens), &pads, &LatentLayout::default(), slots.clone())
        };
        let rows = vec![vec![3, 4, 5, 6, 7], vec![9], vec![8, 7, 1]];
        let together = encode(&rows);
        assert_eq!(together.dims(), [3, 3, 32]);
        for (i, row) in rows.iter().enumerate() {
            let alone = encode(std::slice::from_ref(row));
            let difference: f32 = (together.clone().narrow(0, i, 1) - alone).abs().max().into_scalar();
            assert!(difference < 2e-5, "row {i}: {difference}");
        }
        // A row without tokens beside others is the same as one alone.
        let (tokens, pads) = token_tensor(&[vec![3, 4], vec![]], 0, &device);
        let beside = encode_slots(&decoder, None, decoder.embed(tokens), &pads, &LatentLayout::default(), slots.clone()).narrow(0, 1, 1);
        let alone = encode_slots(&decoder, None, Tensor::zeros([1, 0, 32], &device), &[0], &LatentLayout::default(), slots);
        let difference: f32 = (beside - alone).abs().max().into_scalar();
        assert!(difference < 2e-5, "{difference}");
    }

    #[test]
    fn slots_come_back_from_their_file() {
        let (device, dir) = (Device::flex(), tempfile::tempdir().unwrap());
        let slots = random_slots(&Decoder::random(tiny(true), 0.3, 4, &device), 3, 5);
        save_slots(slots.clone(), dir.path()).unwrap();
        let read = load_slots(dir.path(), [3, 32], &device).unwrap();
        assert_eq!(read.into_data(), slots.into_data());
        let error = load_slots(dir.path(), [4, 32], &device).unwrap_err().to_string();
        assert!(error.contains("slots.safetensors") && error.contains("[4, 32]"), "{error}");
    }
}
