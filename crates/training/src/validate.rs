//! Free-running validation: the model writes the copy itself, with no teacher.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use serde_json::{Value, json};

use nextmem_model::{AdaptedDecoder, Autoencoder, Decoding, Encoder, ModelError, SpecialDelta, Tokenizer, generate, pad_embeds};

use crate::batch::{Batch, Row};
use crate::dyprag::DypragModel;
use crate::error::TrainError;
use crate::icae::IcaeModel;
use crate::objective::{SubstitutionModel, TokenModel};

/// Scores a prediction against its reference; the caller's metric, so that training knows none.
pub type Score = Arc<dyn Fn(&str, &str) -> f64 + Send + Sync>;

/// The passages of a validation and how they are scored.
#[derive(Clone)]
pub struct Validation {
    /// Held-out passages.
    pub passages: Vec<String>,
    /// The backbone's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Name and function of each text metric.
    pub scores: Vec<(&'static str, Score)>,
}

impl Validation {
    fn report(&self, sources: &[Vec<u32>], outputs: &[Vec<u32>]) -> Result<Value, TrainError> {
        let mut report = json!({});
        let mut texts = Vec::with_capacity(outputs.len());
        for ids in outputs {
            texts.push(self.tokenizer.decode(ids).map_err(ModelError::from)?);
        }
        let n = texts.len().max(1) as f64;
        for (name, score) in &self.scores {
            let total: f64 = texts.iter().zip(&self.passages).map(|(p, r)| score(p, r)).sum();
            report[format!("valid_{name}")] = (total / n).into();
        }
        // Tokens before the first difference, as a share of the passage: 1 is a perfect copy.
        let right: f64 = sources
            .iter()
            .zip(outputs)
            .map(|(x, y)| {
                let same = x.iter().zip(y).take_while(|(a, b)| a == b).count();
                if same == x.len() && y.len() > same { (same as f64) / (y.len() as f64) } else { same as f64 / x.len().max(1) as f64 }
            })
            .sum();
        report["valid_first_error"] = (right / n).into();
        Ok(report)
    }

    fn sources(&self) -> Result<Vec<Vec<u32>>, TrainError> {
        self.passages.iter().map(|p| Ok(self.tokenizer.encode(p).map_err(ModelError::from)?)).collect()
    }

    /// Greedy continuation of embedding rows; a copy is never longer than twice its source.
    fn generate<'a>(
        &self,
        decoder: impl Into<AdaptedDecoder<'a>>,
        model: &Autoencoder,
        prompts: Vec<Tensor<3>>,
        sources: &[Vec<u32>],
    ) -> Vec<Vec<u32>> {
        let limit = 2 * sources.iter().map(Vec::len).max().unwrap_or(0) + 4;
        let (prompt, pads) = pad_embeds(prompts);
        generate(decoder, |t| model.embed(t), prompt, &pads, limit, &self.tokenizer.end_ids(), &Decoding::Greedy)
    }

    /// Scores what a decoder writes after the latents of each passage, the tokens of `rest` and `[SoD]`.
    fn after_latents(&self, reader: &Autoencoder, sources: &[Vec<u32>], latents: Tensor<3>, rest: usize) -> Result<Value, TrainError> {
        let prompt = |(i, x): (usize, &Vec<u32>)| {
            let text = reader.embed_ids(&[&x[rest.min(x.len())..], &[reader.sod]].concat());
            Tensor::cat(vec![latents.clone().narrow(0, i, 1), text], 1)
        };
        let prompts = sources.iter().enumerate().map(prompt).collect();
        let outputs = self.generate(&reader.decoder, reader, prompts, sources);
        self.report(sources, &outputs)
    }
}

fn autoencoder(decoder: nextmem_model::Decoder, special: Option<SpecialDelta>, sod: u32) -> Autoencoder {
    Autoencoder { decoder, encoder: Encoder::Bare, special, sod }
}

/// Stage 1: the model reads `x [SoD]` and writes the copy.
pub fn validate_reconstruction(model: &TokenModel, validation: &Validation) -> Result<Value, TrainError> {
    let (decoder, adapter) = model.decoder();
    // Merged for the moment: generation has no adapter argument.
    let decoder = adapter.map_or_else(|| decoder.clone(), |a| a.merge(decoder.clone()));
    let reader = autoencoder(decoder, model.special(), model.sod);
    let sources = validation.sources()?;
    let prompts = sources.iter().map(|x| reader.embed_ids(&[x.as_slice(), &[model.sod]].concat())).collect();
    let outputs = validation.generate(&reader.decoder, &reader, prompts, &sources);
    validation.report(&sources, &outputs)
}

/// Stage 2 at a level: the decoder gets `[h_1 .. h_k; x_{> block k}; SoD]` and writes the text.
pub fn validate_substitution(model: &SubstitutionModel, level: usize, block: usize, validation: &Validation) -> Result<Value, TrainError> {
    let model = model.valid();
    let sources = validation.sources()?;
    let latents = model.latents(&Batch { level, rows: read_only(&sources) });
    let reader = autoencoder(model.decoder.clone(), model.special.clone(), model.sod);
    validation.after_latents(&reader, &sources, latents, level * block)
}

/// ICAE: the decoder gets `[slots' states; SoD]` and writes the text.
pub fn validate_icae(model: &IcaeModel, validation: &Validation) -> Result<Value, TrainError> {
    let model = model.valid();
    let sources = validation.sources()?;
    let latents = model.latents(&Batch { level: 0, rows: read_only(&sources) });
    let reader = autoencoder(model.decoder.clone(), model.special.clone(), model.sod);
    validation.after_latents(&reader, &sources, latents, usize::MAX)
}

/// DyPRAG: the decoder with the passage's LoRA gets `[SoD]` and writes the text.
pub fn validate_dyprag(model: &DypragModel, validation: &Validation) -> Result<Value, TrainError> {
    let model = model.valid();
    let sources = validation.sources()?;
    let adapters = model.adapters(&Batch { level: 0, rows: read_only(&sources) });
    let reader = autoencoder(model.decoder.clone(), model.special.clone(), model.sod);
    let adapted = AdaptedDecoder { decoder: &model.decoder, adapters: Some(adapters) };
    let prompts = sources.iter().map(|_| reader.embed_ids(&[model.sod])).collect();
    let outputs = validation.generate(adapted, &reader, prompts, &sources);
    validation.report(&sources, &outputs)
}

/// Rows that are encoded and nothing else.
fn read_only(sources: &[Vec<u32>]) -> Vec<Row> {
    sources.iter().map(|x| Row { source: x.clone(), tokens: Vec::new(), learnt: Vec::new() }).collect()
}
