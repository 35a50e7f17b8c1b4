//! BERT and RoBERTa encoders: what BERTScore compares tokens with and what a bi-encoder pools.
//!
//! Post-norm layers, learned absolute positions, token types, attention over a padded batch. Always computed in f32,
//! whatever the device's float type: a metric must not depend on it.

use std::path::{Path, PathBuf};

use burn::module::Param;
use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation, module};

use crate::error::ModelError;
use crate::product::product;
use crate::weight_source::WeightSource;

mod config;
mod tokens;
mod weights;

use config::{Activation, EncoderConfig};
use tokens::TextTokenizer;

pub use tokens::EncodedText;

/// Whether the `config.json` of a directory is that of an encoder that [`TextEncoder`] computes.
///
/// # Errors
/// [`ModelError::Config`] with the reason.
pub fn check_encoder(dir: &Path) -> Result<(), ModelError> {
    EncoderConfig::open(dir).map(drop)
}

/// Added to the scores of padding: far below any score, yet finite.
const HIDDEN: f32 = -6.0e4;

/// `x W^T + b`.
#[derive(Debug)]
struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
}

/// Gain and offset of a layer norm.
#[derive(Debug)]
struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

#[derive(Debug)]
struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

#[derive(Debug)]
struct Network {
    word: Param<Tensor<2>>,
    position: Param<Tensor<2>>,
    token_type: Param<Tensor<2>>,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

/// A BERT, RoBERTa or XLM-RoBERTa encoder with its tokenizer.
#[derive(Debug)]
pub struct TextEncoder {
    config: EncoderConfig,
    network: Network,
    tokenizer: TextTokenizer,
    dir: PathBuf,
    device: Device,
}

impl TextEncoder {
    /// Opens a Hugging Face directory: `config.json`, `model.safetensors` (or shards) and `tokenizer.json`.
    ///
    /// A BERT may have `vocab.txt` for `tokenizer.json`. The pooler and the heads of other tasks are ignored by name.
    ///
    /// # Errors
    /// Another `model_type`, a setting that is not computed here, a missing or truncated file, a key that is missing,
    /// unused or of another shape, weights only as a pickle, a tokenizer with more tokens than the model has rows.
    pub fn open(dir: &Path, device: &Device) -> Result<Self, ModelError> {
        let config = EncoderConfig::open(dir)?;
        let tokenizer = TextTokenizer::open(dir, &config)?;
        let network = weights::load(dir, &config, device)?;
        Ok(Self { config, network, tokenizer, dir: dir.to_owned(), device: device.clone() })
    }

    /// The model's name: its directory's, or the repository's when the directory is a snapshot of the hub's cache.
    pub fn name(&self) -> String {
        let part = |path: Option<&Path>| path.and_then(Path::file_name).map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        let dir = std::fs::canonicalize(&self.dir).unwrap_or_else(|_| self.dir.clone());
        match dir.parent().filter(|parent| parent.ends_with("snapshots")).map(|snapshots| part(snapshots.parent())) {
            Some(repository) => repository.rsplit("--").next().unwrap_or_default().to_string(),
            None => part(Some(&self.dir)),
        }
    }

    /// `model_type` of its config.json.
    pub fn model_type(&self) -> &'static str {
        self.config.family.name()
    }

    /// Layers; hidden states are numbered 0 (embeddings) to this.
    pub fn num_layers(&self) -> usize {
        self.config.num_hidden_layers
    }

    /// Width of a hidden state.
    pub fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }

    /// Tokens that a text may have, the two special ones included: the smaller of `model_max_length` and the positions.
    pub fn max_tokens(&self) -> usize {
        self.tokenizer.limit
    }

    /// Lowers [`max_tokens`](Self::max_tokens); more than there is room for is ignored, and so is less than 3.
    pub fn limit_tokens(&mut self, limit: usize) {
        self.tokenizer.limit = self.tokenizer.limit.min(limit.max(3));
    }

    /// The ids of `[CLS]` and `[SEP]` (`<s>` and `</s>`), which stand around every text.
    pub fn special_ids(&self) -> [u32; 2] {
        self.tokenizer.special
    }

    /// The ids of a text between `[CLS]` and `[SEP]`, cut at the end where it is too long.
    ///
    /// # Errors
    /// A tokenizer that fails, such as one without an unknown token.
    pub fn tokenize(&self, text: &str) -> Result<EncodedText, ModelError> {
        self.tokenizer.encode(text)
    }

    /// Hidden states after `layer` layers, 0 being the embeddings: transformers' `hidden_states[layer]`.
    ///
    /// Rows may differ in length; where a row is shorter than the longest, the result is meaningless there.
    ///
    /// # Shapes
    /// - rows: one list of ids per text; returns `[rows, longest row, hidden_size]`
    ///
    /// # Panics
    /// Without rows, with an empty row or one over [`max_tokens`](Self::max_tokens), or for a layer beyond the last.
    pub fn hidden_states(&self, rows: &[&[u32]], layer: usize) -> Tensor<3> {
        assert!(layer <= self.num_layers(), "layer {layer} of {}", self.num_layers());
        let longest = rows.iter().map(|row| row.len()).max().unwrap_or_default();
        assert!(rows.iter().all(|row| !row.is_empty()) && longest > 0, "no tokens");
        assert!(longest <= self.config.positions(), "{longest} tokens for {} positions", self.config.positions());
        let (mut ids, mut positions, mut bias) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let padding = longest - row.len();
            ids.extend(row.iter().map(|id| *id as i32).chain(std::iter::repeat_n(self.config.pad_token_id as i32, padding)));
            positions.extend(self.config.position_ids(row).chain(std::iter::repeat_n(0, padding)));
            bias.extend((0..longest).map(|at| if at < row.len() { 0.0 } else { HIDDEN }));
        }
        let ints = |values: Vec<i32>| Tensor::<2, Int>::from_data(TensorData::new(values, [rows.len(), longest]), &self.device);
        let padded = rows.iter().any(|row| row.len() < longest);
        let bias = padded.then(|| Tensor::<4>::from_data(TensorData::new(bias, [rows.len(), 1, 1, longest]), (&self.device, DType::F32)));

        let network = &self.network;
        // Every token is of type 0: a text alone is a first sentence.
        let token_type = network.token_type.val().narrow(0, 0, 1).unsqueeze::<3>();
        let x = module::embedding(network.word.val(), ints(ids)) + token_type + module::embedding(network.position.val(), ints(positions));
        let mut x = self.norm(x, &network.norm);
        for layer in &network.layers[..layer] {
            let attended = self.attend(layer, x.clone(), bias.as_ref());
            x = self.norm(linear(attended, &layer.attention_output) + x, &layer.attention_norm);
            let inner = match self.config.activation {
                Activation::Gelu => activation::gelu(linear(x.clone(), &layer.intermediate)),
                Activation::GeluTanh => activation::gelu_approximate(linear(x.clone(), &layer.intermediate)),
                Activation::Relu => activation::relu(linear(x.clone(), &layer.intermediate)),
            };
            x = self.norm(linear(inner, &layer.output) + x, &layer.output_norm);
        }
        x
    }

    /// [`hidden_states`](Self::hidden_states) of each row on the host, row-major `[tokens, hidden_size]`.
    pub fn token_vectors(&self, rows: &[&[u32]], layer: usize, batch_size: usize) -> Vec<Vec<f32>> {
        let mut vectors = vec![Vec::new(); rows.len()];
        self.in_batches(rows, layer, batch_size, |batch, states| {
            let [_, longest, hidden] = states.dims();
            let values: Vec<f32> = states.into_data().iter::<f32>().collect();
            for (row, values) in batch.iter().zip(values.chunks(longest * hidden)) {
                vectors[*row] = values[..rows[*row].len() * hidden].to_vec();
            }
        });
        vectors
    }

    /// Runs rows of similar length together and gives `take` the indices of a batch and its hidden states.
    pub(crate) fn in_batches(&self, rows: &[&[u32]], layer: usize, batch_size: usize, mut take: impl FnMut(&[usize], Tensor<3>)) {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|row| rows[*row].len());
        for batch in order.chunks(batch_size.max(1)) {
            let padded: Vec<&[u32]> = batch.iter().map(|row| rows[*row]).collect();
            take(batch, self.hidden_states(&padded, layer));
        }
    }

    fn attend(&self, layer: &Layer, x: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let [batch, seq, hidden] = x.dims();
        let (heads, head_dim) = (self.config.num_attention_heads, hidden / self.config.num_attention_heads);
        let split = |x: Tensor<3>| x.reshape([batch, seq, heads, head_dim]).swap_dims(1, 2);
        let query = split(linear(x.clone(), &layer.query)) * (head_dim as f64).powf(-0.5);
        let key = split(linear(x.clone(), &layer.key));
        let value = split(linear(x, &layer.value));
        let scores = query.matmul(key.swap_dims(2, 3));
        let scores = match bias {
            Some(bias) => scores + bias.clone(),
            None => scores,
        };
        activation::softmax(scores, 3).matmul(value).swap_dims(1, 2).reshape([batch, seq, hidden])
    }

    /// `weight * (x - mean) / sqrt(variance + eps) + bias` over the last dimension.
    fn norm(&self, x: Tensor<3>, norm: &LayerNorm) -> Tensor<3> {
        let centred = x.clone() - x.mean_dim(2);
        let scale = (centred.clone().square().mean_dim(2) + self.config.layer_norm_eps).sqrt().recip();
        centred * scale * norm.weight.val().unsqueeze() + norm.bias.val().unsqueeze()
    }
}

fn linear(x: Tensor<3>, linear: &Linear) -> Tensor<3> {
    product(x, linear.weight.val()) + linear.bias.val().unsqueeze()
}

impl Network {
    /// Builds the network from a source of weights; the one place that knows an encoder's keys, without their prefix.
    fn build<S: WeightSource>(config: &EncoderConfig, source: &mut S) -> Result<Self, S::Error> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let word = source.table("embeddings.word_embeddings.weight", [config.vocab_size, hidden])?;
        let position = source.table("embeddings.position_embeddings.weight", [config.max_position_embeddings, hidden])?;
        let token_type = source.table("embeddings.token_type_embeddings.weight", [config.type_vocab_size, hidden])?;
        let norm = norm_of(source, "embeddings.LayerNorm", hidden)?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for i in 0..config.num_hidden_layers {
            let key = |name: &str| format!("encoder.layer.{i}.{name}");
            layers.push(Layer {
                query: linear_of(source, &key("attention.self.query"), [hidden, hidden])?,
                key: linear_of(source, &key("attention.self.key"), [hidden, hidden])?,
                value: linear_of(source, &key("attention.self.value"), [hidden, hidden])?,
                attention_output: linear_of(source, &key("attention.output.dense"), [hidden, hidden])?,
                attention_norm: norm_of(source, &key("attention.output.LayerNorm"), hidden)?,
                intermediate: linear_of(source, &key("intermediate.dense"), [inner, hidden])?,
                output: linear_of(source, &key("output.dense"), [hidden, inner])?,
                output_norm: norm_of(source, &key("output.LayerNorm"), hidden)?,
            });
        }
        Ok(Self { word, position, token_type, norm, layers })
    }
}

fn linear_of<S: WeightSource>(source: &mut S, key: &str, shape: [usize; 2]) -> Result<Linear, S::Error> {
    let weight = source.projection(&format!("{key}.weight"), shape)?;
    Ok(Linear { weight, bias: source.norm(&format!("{key}.bias"), shape[0])? })
}

fn norm_of<S: WeightSource>(source: &mut S, key: &str, len: usize) -> Result<LayerNorm, S::Error> {
    let weight = source.norm(&format!("{key}.weight"), len)?;
    Ok(LayerNorm { weight, bias: source.norm(&format!("{key}.bias"), len)? })
}
