//! The untrained index: the mean of the backbone's last hidden states.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{Abilities, MemoryMethod, none_for_empty};
use crate::autoencoder::{check_lengths, token_tensor};
use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::tokenizer::Tokenizer;

/// How the last hidden states of a passage become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentEmbedding {
    /// The state of the last token (DyPRAG, section 3.2).
    #[default]
    LastToken,
    /// The mean over all tokens.
    Mean,
}

impl DocumentEmbedding {
    /// One vector per row of left-padded token rows, from a decoder that only reads.
    ///
    /// # Shapes
    /// - returns `[batch, hidden]`
    ///
    /// # Panics
    /// If a row is empty (caller bug).
    pub fn of(self, decoder: &Decoder, rows: &[Vec<u32>]) -> Tensor<2> {
        assert!(rows.iter().all(|row| !row.is_empty()), "an empty row has no hidden states");
        let (tokens, pads) = token_tensor(rows, 0, &decoder.device());
        let hidden = decoder.hidden(decoder.embed(tokens), &pads, None, None);
        let [batch, seq, width] = hidden.dims();
        let pooled = match self {
            Self::LastToken => hidden.narrow(1, seq - 1, 1),
            Self::Mean => {
                let share = |pad: &usize| {
                    let (pad, share) = (*pad, 1.0 / (seq - pad) as f32);
                    (0..seq).map(move |at| if at < pad { 0.0 } else { share })
                };
                let shares: Vec<f32> = pads.iter().flat_map(share).collect();
                let shares = Tensor::<3>::from_data(TensorData::new(shares, [batch, seq, 1]), &hidden.device()).cast(hidden.dtype());
                (hidden * shares).sum_dim(1)
            }
        };
        pooled.reshape([batch, width])
    }
}

/// `[baselines.mean_pooled]`: nothing to choose.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanPooledConfig {}

/// The bare backbone as a bi-encoder; it ranks and does nothing else.
#[derive(Debug)]
pub struct MeanPooled {
    backbone: Decoder,
    tokenizer: Tokenizer,
    max_input_tokens: usize,
}

impl MeanPooled {
    /// Puts the parts together.
    pub fn new(backbone: Decoder, tokenizer: Tokenizer, max_input_tokens: usize) -> Self {
        Self { backbone, tokenizer, max_input_tokens }
    }
}

impl MemoryMethod for MeanPooled {
    fn name(&self) -> String {
        "mean-pooled hidden states".into()
    }

    fn abilities(&self) -> Abilities {
        Abilities::INDEX
    }

    fn index(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        let rows = none_for_empty(texts).iter().map(|text| self.tokenizer.encode(text)).collect::<Result<Vec<_>, _>>()?;
        check_lengths(&rows, self.max_input_tokens)?;
        let pooled = DocumentEmbedding::Mean.of(&self.backbone, &rows);
        let [_, hidden] = pooled.dims();
        let values: Vec<f32> = pooled.into_data().iter::<f32>().collect();
        Ok(values.chunks(hidden).map(<[f32]>::to_vec).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;
    use burn::tensor::Device;

    #[test]
    fn padding_has_no_share() {
        let decoder = Decoder::random(tiny(true), 0.3, 4, &Device::flex());
        let rows = vec![vec![3, 4, 5, 6, 7], vec![9], vec![8, 7, 1]];
        for how in [DocumentEmbedding::Mean, DocumentEmbedding::LastToken] {
            let together = how.of(&decoder, &rows);
            for (i, row) in rows.iter().enumerate() {
                let tokens = token_tensor(std::slice::from_ref(row), 0, &Device::flex()).0;
                let states = decoder.hidden(decoder.embed(tokens), &[], None, None);
                let alone = match how {
                    DocumentEmbedding::Mean => states.mean_dim(1),
                    DocumentEmbedding::LastToken => states.narrow(1, row.len() - 1, 1),
                };
                let difference: f32 = (together.clone().narrow(0, i, 1) - alone.reshape([1, 32])).abs().max().into_scalar();
                assert!(difference < 2e-5, "{how:?}, row {i}: {difference}");
            }
        }
    }
}
