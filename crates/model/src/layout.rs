//! Where latents stand and what they see, beyond the paper's plain sequence.
//!
//! In the paper a latent is one more position of a plain sequence: latent i has to find block i of the text relative to an end
//! that moves with the length. With `text_positions = P` every text starts at position 0, `[SoD]` and what follows it at P, and
//! latent i stands at the centre of block i: `block i + block / 2` in the decoder, P more in the encoder. Block and latent, and
//! latent and copy, are then a constant distance apart (for ICAE: uniform position ids, arXiv 2409.14364).

use std::path::Path;

use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::error::ModelError;
use crate::json::parse_json;
use crate::tensor_files::{TensorFiles, write_atomically, write_safetensors};
use crate::weights::f32_bytes;

/// The choices; the default is the paper's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayoutConfig {
    /// Positions of the text before those of `[SoD]` and the copy; 0: one plain sequence. A longer text runs into them.
    #[serde(default)]
    pub text_positions: usize,
    /// Whether latent i of the encoder sees block i of the text, `[SoD]` and the latents before it, and nothing else.
    #[serde(default)]
    pub block_mask: bool,
    /// Whether a learnt vector that tells its index is added to a latent that is fed back.
    #[serde(default)]
    pub index_vectors: bool,
    /// Tokens that a memory covers whatever its number of latents: each of K stands for a block of these / K
    /// tokens, rounded up. 0: a block has as many tokens for every K. With it one model can be trained for any K.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub covered_tokens: usize,
}

fn is_zero(value: &usize) -> bool {
    *value == 0
}

impl LayoutConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The key, what it got, what is expected.
    pub fn check(&self, block_tokens: usize) -> Result<(), String> {
        match self.text_positions {
            got if got > 0 && got < block_tokens => Err(format!(
                "layout.text_positions: got {got}, expected 0 or room for a text of at least one block ({block_tokens} tokens)"
            )),
            _ => Ok(()),
        }
    }
}

/// A layout with its learnt parts.
#[derive(Clone, Debug, Default)]
pub struct LatentLayout {
    /// The choices.
    pub config: LayoutConfig,
    /// Tokens of text that a latent stands for, where their number does not follow from that of the latents.
    pub block_tokens: usize,
    /// `[latents - 1, hidden]`, added to latents that are fed back.
    pub index_vectors: Option<Tensor<2>>,
}

/// The position of a place: from the row, its left padding and the place.
pub type PositionOf<'a> = Box<dyn Fn(usize, usize, usize) -> usize + 'a>;
/// Whether a query must not look at an earlier place: from the row's left padding, and the places of query and key.
pub type Hides<'a> = Box<dyn Fn(usize, [usize; 2]) -> bool + 'a>;

/// Positions and mask of one forward pass that differ from those of a plain sequence. Places are those of the padded sequence, what
/// a cache holds included.
#[derive(Default)]
pub struct Placement<'a> {
    /// The position of a place.
    pub position: Option<PositionOf<'a>>,
    /// Whether a query must not look at an earlier place.
    pub hides: Option<Hides<'a>>,
}

impl LatentLayout {
    /// Tokens of text that each of a number of latents stands for.
    pub fn block(&self, latents: usize) -> usize {
        match self.config.covered_tokens {
            0 => self.block_tokens,
            covered => covered.div_ceil(latents.max(1)),
        }
    }

    /// The same layout with blocks of a given size, whatever the number of latents; 0 leaves it as it is.
    pub fn with_block(&self, block: usize) -> Self {
        match block {
            0 => self.clone(),
            block_tokens => Self { config: LayoutConfig { covered_tokens: 0, ..self.config }, block_tokens, ..self.clone() },
        }
    }

    /// Whether it is the paper's.
    pub fn is_plain(&self) -> bool {
        self.config == LayoutConfig::default()
    }

    /// The encoder's `[x; SoD; h_1 ..]`, or `[x; slots]` where `first` is the place of the first slot.
    ///
    /// `first` is the place in the padded sequence whose output is the first of `count` latents.
    pub fn encoder(&self, first: usize, count: usize) -> Placement<'_> {
        let (block, text) = (self.block(count), self.config.text_positions);
        let mut placement = Placement::default();
        if text > 0 {
            placement.position = Some(Box::new(move |_, pad, place| match place.checked_sub(first) {
                Some(latent) => text + block * latent + block / 2,
                None => place.saturating_sub(pad),
            }));
        }
        if self.config.block_mask {
            placement.hides = Some(Box::new(move |pad, [query, key]| match query.checked_sub(first) {
                Some(latent) => key < first && (key.saturating_sub(pad)) / block != latent,
                None => false,
            }));
        }
        placement
    }

    /// A prompt whose places from `first` on are `count` latents; everything else goes on from the end of the text's positions.
    pub fn decoder(&self, first: usize, count: usize) -> Placement<'_> {
        self.decoder_with_rest(first, count, |_, _| 0)
    }

    /// The same where `rest(row, pad)` tokens of the text itself follow the latents (stage 2 below its last level), so many in a row
    /// with that left padding.
    pub fn decoder_with_rest<'a>(&'a self, first: usize, count: usize, rest: impl Fn(usize, usize) -> usize + 'a) -> Placement<'a> {
        let (block, text) = (self.block(count), self.config.text_positions);
        if text == 0 {
            return Placement::default();
        }
        let position = move |row: usize, pad: usize, place: usize| {
            let place = place.saturating_sub(pad);
            if place < first {
                return text + place;
            }
            let (latent, rest) = (place - first, rest(row, pad));
            match latent.checked_sub(count) {
                None => block * latent + block / 2,
                Some(after) if after < rest => block * count + after,
                Some(after) => text + first + after - rest,
            }
        };
        Placement { position: Some(Box::new(position)), hides: None }
    }

    /// `[h_i; SoD; block i]` for one latent of each row, the block where it stands in the whole copy.
    pub fn single_blocks<'a>(&'a self, latents: &'a [usize]) -> Placement<'a> {
        let (block, text) = (self.block_tokens, self.config.text_positions);
        if text == 0 {
            return Placement::default();
        }
        let position = move |row: usize, _pad: usize, place: usize| match place.checked_sub(1) {
            None => block * latents[row] + block / 2,
            Some(after) => text + block * latents[row] + after,
        };
        Placement { position: Some(Box::new(position)), hides: None }
    }

    /// What a latent is when it is fed back as the input after latent `index`.
    ///
    /// # Shapes
    /// - latent and result: `[batch, 1, hidden]`
    pub fn fed_back(&self, latent: Tensor<3>, index: usize) -> Tensor<3> {
        match &self.index_vectors {
            Some(vectors) if index < vectors.dims()[0] => latent + vectors.clone().narrow(0, index, 1).unsqueeze::<3>(),
            _ => latent,
        }
    }

    /// Writes it beside the encoder's weights; nothing for the paper's.
    ///
    /// # Errors
    /// A disk that cannot be written to.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        if self.is_plain() {
            return Ok(());
        }
        if let Some(vectors) = &self.index_vectors {
            write_safetensors(&dir.join(VECTORS), &[(KEY.to_string(), vectors.dims().to_vec(), f32_bytes(vectors.clone()))])?;
        }
        let saved = Saved { layout: self.config, block_tokens: self.block_tokens };
        let text = serde_json::to_string_pretty(&saved).unwrap_or_default();
        write_atomically(&dir.join(FILE), format!("{text}\n").as_bytes())
    }

    /// Reads what [`save`](Self::save) wrote; the paper's where it wrote nothing.
    ///
    /// # Errors
    /// A file that is damaged, numbers that cannot be meant, vectors that are missing or of another width.
    pub fn load(dir: &Path, hidden_size: usize, device: &Device) -> Result<Self, ModelError> {
        let path = dir.join(FILE);
        if !path.is_file() {
            return Ok(Self::default());
        }
        let bytes = std::fs::read(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        let invalid = |reason: String| ModelError::Config { path: path.clone(), reason };
        let value = parse_json(&bytes).map_err(|e| invalid(e.to_string()))?;
        let saved: Saved = serde_json::from_value(value).map_err(|e| invalid(e.to_string()))?;
        if saved.block_tokens == 0 {
            return Err(invalid("block_tokens: got 0, expected at least 1".into()));
        }
        saved.layout.check(saved.block_tokens).map_err(invalid)?;
        let mut index_vectors = None;
        if saved.layout.index_vectors {
            let (file, path) = (TensorFiles::open_file(&dir.join(VECTORS))?, dir.join(VECTORS));
            let count = file.shape(KEY).and_then(|shape| shape.first().copied()).unwrap_or(0);
            file.check(&path, &[(KEY.to_string(), vec![count, hidden_size])])?;
            index_vectors = Some(Tensor::from_data(file.read(KEY)?, device));
        }
        Ok(Self { config: saved.layout, block_tokens: saved.block_tokens, index_vectors })
    }
}

/// What the file says.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    layout: LayoutConfig,
    block_tokens: usize,
}

/// Files beside the encoder's weights.
const FILE: &str = "latent_layout.json";
const VECTORS: &str = "index_vectors.safetensors";
const KEY: &str = "index_vectors";

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn layout(config: LayoutConfig) -> LatentLayout {
        LatentLayout { config, block_tokens: 8, index_vectors: None }
    }

    #[test]
    fn block_and_latent_and_copy_are_a_constant_distance_apart() {
        let layout = layout(LayoutConfig { text_positions: 128, ..LayoutConfig::default() });
        // A text of 20 tokens behind 3 of padding: SoD at place 23 makes latent 0, latents follow.
        let encoder = layout.encoder(23, 2).position.unwrap();
        assert_eq!([3, 22, 23, 24].map(|place| encoder(0, 3, place)), [0, 19, 132, 140]);
        let decoder = layout.decoder(0, 3).position.unwrap();
        // Latents, SoD, copy.
        assert_eq!([0, 1, 2, 3, 4, 27].map(|place| decoder(0, 0, place)), [4, 12, 20, 128, 129, 152]);
        // Two tokens of a prompt before two latents, one after.
        let prompt = layout.decoder(2, 2).position.unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|place| prompt(0, 0, place)), [128, 129, 4, 12, 130]);
        // One latent, two tokens of the rest, SoD, copy.
        let rest = layout.decoder_with_rest(0, 1, |_, _| 2).position.unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|place| rest(0, 0, place)), [4, 8, 9, 128, 129]);
        // Of 24 tokens each of two latents stands for 12, each of three for the 8 of before.
        let any = LatentLayout { config: LayoutConfig { covered_tokens: 24, ..layout.config }, block_tokens: 99, index_vectors: None };
        let [two, three] = [2, 3].map(|count| any.decoder(0, count).position.unwrap());
        assert_eq!(([0, 1].map(|place| two(0, 0, place)), [0, 1, 2].map(|place| three(0, 0, place))), ([6, 18], [4, 12, 20]));
        assert_eq!((any.with_block(5).block(2), any.with_block(0).block(2)), (5, 12));
        assert!(LatentLayout::default().encoder(5, 1).position.is_none() && LatentLayout::default().decoder(0, 3).position.is_none());
    }

    #[test]
    fn a_masked_latent_sees_its_block_and_the_latents_before_it() {
        let layout = layout(LayoutConfig { block_mask: true, ..LayoutConfig::default() });
        let hides = layout.encoder(22, 2).hides.unwrap();
        // Padding 2, text at 2..22, SoD at 22; latent 1 is made at place 23 from tokens 8..16.
        let seen: Vec<usize> = (2..24).filter(|key| !hides(2, [23, *key])).collect();
        assert_eq!(seen, (10..18).chain([22, 23]).collect::<Vec<_>>());
        assert!((2..10).all(|key| !hides(2, [12, key])));
    }

    #[test]
    fn a_layout_comes_back_from_its_files() {
        let dir = tempfile::tempdir().unwrap();
        let device = Device::flex();
        LatentLayout::default().save(dir.path()).unwrap();
        assert!(LatentLayout::load(dir.path(), 2, &device).unwrap().is_plain());
        let config = LayoutConfig { text_positions: 64, block_mask: true, index_vectors: true, covered_tokens: 40 };
        let vectors = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
        LatentLayout { config, block_tokens: 4, index_vectors: Some(vectors.clone()) }.save(dir.path()).unwrap();
        let read = LatentLayout::load(dir.path(), 2, &device).unwrap();
        assert_eq!((read.config, read.block_tokens), (config, 4));
        assert_eq!(read.index_vectors.unwrap().into_data(), vectors.into_data());
        assert!(layout(config).config.check(65).is_err() && layout(config).config.check(8).is_ok());
        assert!(LatentLayout::load(dir.path(), 3, &device).unwrap_err().to_string().contains(VECTORS));
        for damaged in ["{", "{\"layout\": {\"block_mask\": true}, \"block_tokens\": 0}"] {
            std::fs::write(dir.path().join(FILE), damaged).unwrap();
            assert!(LatentLayout::load(dir.path(), 2, &device).unwrap_err().to_string().contains(FILE));
        }
    }
}
