//! DyPRAG (Tan et al. 2025, arXiv 2503.23895): a hypernetwork writes a LoRA for every passage.
//!
//! The frozen backbone reads the passage once; the last hidden state of its last token, the document's embedding, goes
//! through a small network that answers with LoRA factors for the feed-forward projections of every layer. The memory is
//! that LoRA: the passage's text and hidden states are gone when the backbone, with the LoRA added, is asked.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{Device, Distribution, Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use super::{Abilities, AnswerMode, Memory, MemoryMethod, NextMemOptions, latent_reader::after_last_answer, none_for_empty};
use crate::autoencoder::{Autoencoder, check_lengths, token_tensor};
use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::generate::generate;
use crate::layout::Placement;
use crate::method::DocumentEmbedding;
use crate::product::product;
use crate::row_adapters::{AdaptedDecoder, RowAdapters, RowFactors};
use crate::tensor_files::{TensorFiles, write_safetensors};
use crate::tokenizer::{Tokenizer, TokenizerError};
use crate::weight_source::HostRandom;
use crate::weights::f32_bytes;

/// The projections that get factors: those of the feed-forward network, as in the paper.
const ADAPTED: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];

/// Sizes of the hypernetwork; the defaults are the paper's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HypernetworkConfig {
    /// Rank of the factors (paper: 2).
    #[serde(default = "defaults::rank")]
    pub rank: usize,
    /// Numerator of the scaling alpha / rank (paper: 32).
    #[serde(default = "defaults::alpha")]
    pub alpha: f64,
    /// Width between the document's embedding and the factors (paper: p = 32).
    #[serde(default = "defaults::bottleneck")]
    pub bottleneck: usize,
    /// What stands for the document (paper: its last token).
    #[serde(default)]
    pub embedding: DocumentEmbedding,
}

mod defaults {
    pub(super) fn rank() -> usize {
        2
    }
    pub(super) fn alpha() -> f64 {
        32.0
    }
    pub(super) fn bottleneck() -> usize {
        32
    }
}

impl Default for HypernetworkConfig {
    fn default() -> Self {
        Self { rank: defaults::rank(), alpha: defaults::alpha(), bottleneck: defaults::bottleneck(), embedding: Default::default() }
    }
}

impl HypernetworkConfig {
    /// Parameters of the hypernetwork for a backbone.
    pub fn num_params(&self, backbone: &DecoderConfig) -> usize {
        shapes(self, backbone).iter().map(|(_, [rows, columns])| rows * columns).sum()
    }

    /// Numbers in the LoRA of one passage.
    pub fn num_values(&self, backbone: &DecoderConfig) -> usize {
        let per_layer: usize = ADAPTED.iter().filter_map(|t| backbone.projection(t)).map(|[i, o]| self.rank * (i + o)).sum();
        backbone.num_hidden_layers * per_layer
    }
}

/// What turns the state of the network into the factors of one kind of projection, for any layer.
#[derive(Module, Debug)]
struct Head {
    /// `[rank * in, bottleneck]`
    a: Param<Tensor<2>>,
    /// `[rank, in]`, the A of every document before its own part is added.
    a_bias: Param<Tensor<2>>,
    /// `[out * rank, bottleneck]`, zero at first, so that training starts from the backbone itself.
    b: Param<Tensor<2>>,
}

/// `z_l = relu(W d + e_l)`, `A_l = A_0 + W_A z_l`, `B_l = W_B z_l` with d the document's embedding at unit size, e_l the
/// layer's own row, and W_A, W_B, A_0 of each kind of projection.
///
/// Ours, where the paper says less: d is divided by its root mean square, the layers share W_A and W_B, A_0 is there, and
/// no target LoRAs are trained first (the paper also regresses on those of single documents).
#[derive(Module, Debug)]
pub struct Hypernetwork {
    /// `[bottleneck, hidden]`
    down: Param<Tensor<2>>,
    /// `[layers, bottleneck]`
    layers: Param<Tensor<2>>,
    gate_proj: Head,
    up_proj: Head,
    down_proj: Head,
    #[module(skip)]
    config: HypernetworkConfig,
}

/// Key and shape of every parameter.
fn shapes(config: &HypernetworkConfig, backbone: &DecoderConfig) -> Vec<(String, [usize; 2])> {
    let (width, rank) = (config.bottleneck, config.rank);
    let mut all = vec![("down".into(), [width, backbone.hidden_size]), ("layers".into(), [backbone.num_hidden_layers, width])];
    for target in ADAPTED {
        let [input, output] = backbone.projection(target).unwrap_or_default();
        all.push((format!("{target}.a"), [rank * input, width]));
        all.push((format!("{target}.a_bias"), [rank, input]));
        all.push((format!("{target}.b"), [output * rank, width]));
    }
    all
}

/// The file of a trained hypernetwork.
const FILE: &str = "hypernetwork.safetensors";

impl Hypernetwork {
    /// Fresh parameters for a backbone; whatever the document, the LoRA it writes changes nothing yet.
    pub fn random(config: HypernetworkConfig, backbone: &DecoderConfig, seed: u64, device: &Device) -> Self {
        let mut random = HostRandom::new(seed);
        let Ok(network) = Self::build(config, backbone, |key, shape| {
            let [_, input] = shape;
            let bound = match key.rsplit('.').next() {
                Some("b") => return Ok::<_, std::convert::Infallible>(Tensor::zeros(shape, device)),
                // Together with the bias as large as PEFT's first A.
                Some("a") => {
                    let columns = backbone.projection(key.trim_end_matches(".a")).map_or(1, |[input, _]| input);
                    1.0 / ((input * columns) as f64).sqrt()
                }
                Some("layers") => 1.0,
                _ => 1.0 / (input as f64).sqrt(),
            };
            Ok(random.tensor(shape, Distribution::Uniform(-bound, bound), device))
        });
        network
    }

    fn build<E>(
        config: HypernetworkConfig,
        backbone: &DecoderConfig,
        mut tensor: impl FnMut(&str, [usize; 2]) -> Result<Tensor<2>, E>,
    ) -> Result<Self, E> {
        let mut params = Vec::new();
        for (key, shape) in shapes(&config, backbone) {
            params.push(Param::from_tensor(tensor(&key, shape)?));
        }
        let mut params = params.into_iter();
        // In the order of `shapes`, which has one for every field.
        let mut next = || params.next().unwrap_or_else(|| unreachable!("as many shapes as fields"));
        let (down, layers) = (next(), next());
        let [gate_proj, up_proj, down_proj] = ADAPTED.map(|_| Head { a: next(), a_bias: next(), b: next() });
        Ok(Self { down, layers, gate_proj, up_proj, down_proj, config })
    }

    /// Its sizes.
    pub fn config(&self) -> &HypernetworkConfig {
        &self.config
    }

    /// Writes the LoRA of every document of a batch.
    ///
    /// # Shapes
    /// - embeddings: `[batch, hidden]`
    pub fn adapters(&self, embeddings: Tensor<2>) -> RowAdapters {
        let (layers, rank) = (self.layers.dims()[0], self.config.rank);
        let [batch, _] = embeddings.dims();
        let size = embeddings.clone().square().mean_dim(1).sqrt() + 1e-6;
        let state = product((embeddings / size).unsqueeze_dim::<3>(1), self.down.val()) + self.layers.val().unsqueeze::<3>();
        let state = activation::relu(state);
        let written = ADAPTED.into_iter().zip([&self.gate_proj, &self.up_proj, &self.down_proj]).map(|(target, head)| {
            let [_, input] = head.a_bias.dims();
            let bias = head.a_bias.val().unsqueeze::<4>();
            let a = product(state.clone(), head.a.val()).reshape([batch, layers, rank, input]) + bias;
            let b = product(state.clone(), head.b.val());
            let output = b.dims()[2] / rank;
            (target, a, b.reshape([batch, layers, output, rank]))
        });
        let written: Vec<_> = written.collect();
        let of = |all: &Tensor<4>, layer| all.clone().narrow(1, layer, 1).squeeze_dim::<3>(1);
        let layer = |layer| written.iter().map(|(target, a, b)| (*target, RowFactors { a: of(a, layer), b: of(b, layer) })).collect();
        RowAdapters::new((0..layers).map(layer).collect(), self.config.alpha / rank as f64)
    }

    /// Writes the parameters into a directory.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        std::fs::create_dir_all(dir).map_err(|source| ModelError::Io { path: dir.to_owned(), source })?;
        let mut tensors = Vec::new();
        let mut put = |key: String, param: &Param<Tensor<2>>| tensors.push((key, param.dims().to_vec(), f32_bytes(param.val())));
        put("down".into(), &self.down);
        put("layers".into(), &self.layers);
        for (target, head) in ADAPTED.iter().zip([&self.gate_proj, &self.up_proj, &self.down_proj]) {
            put(format!("{target}.a"), &head.a);
            put(format!("{target}.a_bias"), &head.a_bias);
            put(format!("{target}.b"), &head.b);
        }
        write_safetensors(&dir.join(FILE), &tensors)
    }

    /// Reads what [`save`](Self::save) wrote.
    ///
    /// # Errors
    /// A file that is missing, damaged, or of other sizes.
    pub fn load(config: HypernetworkConfig, backbone: &DecoderConfig, dir: &Path, device: &Device) -> Result<Self, ModelError> {
        let file = dir.join(FILE);
        let files = TensorFiles::open_file(&file)?;
        files.check(&file, &shapes(&config, backbone).into_iter().map(|(key, shape)| (key, shape.to_vec())).collect::<Vec<_>>())?;
        Self::build(config, backbone, |key, _| Ok(Tensor::from_data(files.read(key)?, device)))
    }
}

/// What DyPRAG keeps of a passage.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterMemory {
    /// The document's embedding, from which the LoRA is written again whenever it is needed.
    pub embedding: Vec<f32>,
    /// Numbers in that LoRA: what the method stores, and what counts as its size.
    pub num_values: usize,
}

/// The frozen backbone with its hypernetwork.
///
/// A memory counts as the bf16 bytes of its LoRA, because the LoRA is what a parametric memory is; the embedding that is
/// kept here instead would be smaller, but useless without the hypernetwork.
#[derive(Debug)]
pub struct Dyprag {
    backbone: Autoencoder,
    hypernetwork: Hypernetwork,
    tokenizer: Tokenizer,
    options: NextMemOptions,
}

impl Dyprag {
    /// Puts the parts together; `backbone.encoder` and `num_latents` are not used.
    pub fn new(backbone: Autoencoder, hypernetwork: Hypernetwork, tokenizer: Tokenizer, options: NextMemOptions) -> Self {
        Self { backbone, hypernetwork, tokenizer, options }
    }

    /// Continues a prompt for each memory, with its LoRA added to the backbone.
    fn ask(&self, memories: &[Memory], prompts: &[Vec<u32>]) -> Result<Vec<String>, ModelError> {
        let (model, options) = (&self.backbone, &self.options);
        let mut embeddings: Vec<f32> = Vec::with_capacity(memories.len() * model.hidden_size());
        for memory in memories {
            match memory {
                Memory::Adapter(memory) if memory.embedding.len() == model.hidden_size() => embeddings.extend(&memory.embedding),
                _ => {
                    let expected = "got a memory of another method or model, expected one that this hypernetwork wrote";
                    return Err(ModelError::Unsupported(format!("{expected}; encode the passage again")));
                }
            }
        }
        let embeddings = TensorData::new(embeddings, [memories.len(), model.hidden_size()]);
        let adapters = self.hypernetwork.adapters(Tensor::from_data(embeddings, &model.device()));
        let (tokens, pads) = token_tensor(prompts, self.tokenizer.end_of_text(), &model.device());
        let ids = generate(
            AdaptedDecoder { decoder: &model.decoder, adapters: Some(adapters) },
            |tokens| model.embed(tokens),
            model.embed(tokens),
            &pads,
            &Placement::default(),
            options.max_new_tokens,
            &self.tokenizer.end_ids(),
            &options.decoding,
        );
        ids.iter().map(|ids| Ok(self.tokenizer.decode(ids)?)).collect()
    }
}

impl MemoryMethod for Dyprag {
    fn name(&self) -> String {
        "DyPRAG".into()
    }

    /// No ranking: the paper has none, and the embedding is the backbone's own, not a part of the memory.
    fn abilities(&self) -> Abilities {
        Abilities { index: false, ..Abilities::ALL }
    }

    fn answer_modes(&self) -> &'static [AnswerMode] {
        &[AnswerMode::Comp]
    }

    fn encode(&self, passages: &[&str]) -> Result<Vec<Memory>, ModelError> {
        if passages.is_empty() {
            return Ok(Vec::new());
        }
        let rows = none_for_empty(passages).iter().map(|p| self.tokenizer.encode(p)).collect::<Result<Vec<_>, _>>()?;
        check_lengths(&rows, self.options.max_input_tokens)?;
        let decoder = &self.backbone.decoder;
        let (config, num_values) = (self.hypernetwork.config(), self.hypernetwork.config().num_values(decoder.config()));
        let values: Vec<f32> = config.embedding.of(decoder, &rows).into_data().iter::<f32>().collect();
        let memory = |embedding: &[f32]| Memory::Adapter(AdapterMemory { embedding: embedding.to_vec(), num_values });
        Ok(values.chunks(self.backbone.hidden_size()).map(memory).collect())
    }

    fn reconstruct(&self, memories: &[Memory]) -> Result<Vec<String>, ModelError> {
        if memories.is_empty() {
            return Ok(Vec::new());
        }
        self.ask(memories, &vec![vec![self.tokenizer.sod()]; memories.len()])
    }

    fn answer(&self, memories: &[Memory], questions: &[&str], _mode: AnswerMode) -> Result<Vec<String>, ModelError> {
        if memories.is_empty() {
            return Ok(Vec::new());
        }
        let prompts = questions.iter().map(|q| closed_book_prompt(&self.tokenizer, q)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.ask(memories, &prompts)?.iter().map(|text| after_last_answer(text)).collect())
    }
}

/// A question without the passage: the prompt of "Comp" with nothing spliced in.
///
/// # Errors
/// As [`Tokenizer::answer_latents_prompt`].
pub fn closed_book_prompt(tokenizer: &Tokenizer, question: &str) -> Result<Vec<u32>, TokenizerError> {
    let (head, tail) = tokenizer.answer_latents_prompt(question)?;
    Ok([head, tail].concat())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;
    use crate::decoder::Decoder;

    fn config() -> HypernetworkConfig {
        HypernetworkConfig { rank: 3, bottleneck: 5, ..HypernetworkConfig::default() }
    }

    #[test]
    fn a_fresh_network_changes_nothing() {
        let device = Device::flex();
        let decoder = Decoder::random(tiny(true), 0.3, 4, &device);
        let network = Hypernetwork::random(config(), decoder.config(), 6, &device);
        let rows = vec![vec![3, 4, 5], vec![9]];
        let adapters = network.adapters(DocumentEmbedding::Mean.of(&decoder, &rows));
        assert_eq!(adapters.num_values(), config().num_values(decoder.config()));
        let x = decoder.embed(token_tensor(&[vec![7, 8], vec![5, 6]], 0, &device).0);
        let plain = decoder.hidden(x.clone(), &[], None, None);
        let adapted = AdaptedDecoder { decoder: &decoder, adapters: Some(adapters) }.hidden(x, &[], &Placement::default(), None);
        let difference: f32 = (adapted - plain).abs().max().into_scalar();
        assert_eq!(difference, 0.0);
    }

    #[test]
    fn parameters_come_back_from_their_file() {
        let (device, dir) = (Device::flex(), tempfile::tempdir().unwrap());
        let network = Hypernetwork::random(config(), &tiny(true), 6, &device);
        assert_eq!(network.num_params(), config().num_params(&tiny(true)));
        network.save(dir.path()).unwrap();
        let read = Hypernetwork::load(config(), &tiny(true), dir.path(), &device).unwrap();
        assert_eq!(read.up_proj.a.val().into_data(), network.up_proj.a.val().into_data());
        let other = HypernetworkConfig { rank: 2, ..config() };
        let error = Hypernetwork::load(other, &tiny(true), dir.path(), &device).unwrap_err().to_string();
        assert!(error.contains("hypernetwork.safetensors") && error.contains("expected"), "{error}");
    }
}
