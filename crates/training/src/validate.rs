//! Free-running validation: the model writes the copy itself, with no teacher.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use serde_json::{Value, json};

use nextmem_model::{Autoencoder, Decoding, Encoder, ModelError, SpecialDelta, Tokenizer, generate, pad_embeds};

use crate::batch::{Batch, Row};
use crate::error::TrainError;
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
    fn generate(&self, model: &Autoencoder, prompts: Vec<Tensor<3>>, sources: &[Vec<u32>]) -> Vec<Vec<u32>> {
        let limit = 2 * sources.iter().map(Vec::len).max().unwrap_or(0) + 4;
        let (prompt, pads) = pad_embeds(prompts);
        generate(&model.decoder, |t| model.embed(t), prompt, &pads, limit, &self.tokenizer.end_ids(), &Decoding::Greedy)
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
    let outputs = validation.generate(&reader, prompts, &sources);
    validation.report(&sources, &outputs)
}

/// Stage 2 at a level: the decoder gets `[h_1 .. h_k; x_{> block k}; SoD]` and writes the text.
pub fn validate_substitution(model: &SubstitutionModel, level: usize, block: usize, validation: &Validation) -> Result<Value, TrainError> {
    let model = model.valid();
    let sources = validation.sources()?;
    let rows = sources.iter().map(|x| Row { source: x.clone(), tokens: Vec::new(), learnt: Vec::new() }).collect();
    let latents = model.latents(&Batch { level, rows });
    let reader = autoencoder(model.decoder.clone(), model.special.clone(), model.sod);
    let prompts = sources
        .iter()
        .enumerate()
        .map(|(i, x)| {
            let rest = &x[(level * block).min(x.len())..];
            Tensor::cat(vec![latents.clone().narrow(0, i, 1), reader.embed_ids(&[rest, &[model.sod]].concat())], 1)
        })
        .collect();
    let outputs = validation.generate(&reader, prompts, &sources);
    validation.report(&sources, &outputs)
}
