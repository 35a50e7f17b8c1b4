//! Validation: free-running, where the model writes the copy itself, and teacher-forced; of passages and of random tokens.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use serde_json::{Value, json};

use nextmem_model::{
    AdaptedDecoder, Autoencoder, Decoding, Encoder, LatentLayout, ModelError, Placement, Tokenizer, generate, pad_embeds, token_tensor,
};

use crate::batch::{Batch, Row, random_tokens};
use crate::config::{Progress, SubstitutionConfig};
use crate::dyprag::DypragModel;
use crate::error::TrainError;
use crate::objective::TokenModel;
use crate::substitution::SubstitutionModel;

/// Scores a prediction against its reference; the caller's metric, so that training knows none.
pub type Score = Arc<dyn Fn(&str, &str) -> f64 + Send + Sync>;

/// The passages of a validation and how they are scored.
#[derive(Clone)]
pub struct Validation {
    /// Held-out passages.
    pub passages: Vec<String>,
    /// Tokens of each row of random tokens, of which there are as many as passages (0: none).
    pub random_tokens: usize,
    /// The backbone's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// Name and function of each text metric.
    pub scores: Vec<(&'static str, Score)>,
}

/// What a model wrote for rows of tokens, and what it says where the true tokens stand before each.
struct Written {
    free: Vec<Vec<u32>>,
    forced: Vec<Vec<u32>>,
}

/// Share of places of `truth` that hold its token in what was written; what is missing is wrong.
pub fn token_accuracy(truth: &[Vec<u32>], written: &[Vec<u32>]) -> f64 {
    let total: usize = truth.iter().map(Vec::len).sum();
    let right: usize = truth.iter().zip(written).map(|(x, y)| x.iter().zip(y).filter(|(a, b)| a == b).count()).sum();
    right as f64 / total.max(1) as f64
}

impl Validation {
    /// Rows of random tokens, always the same: nothing about them can be guessed, so that copying them takes memory.
    fn yardstick(&self) -> Vec<Vec<u32>> {
        let count = if self.random_tokens == 0 { 0 } else { self.passages.len() };
        (0..count as u64).map(|row| random_tokens(&self.tokenizer, self.random_tokens, 0x7a4d + row)).collect()
    }

    fn sources(&self) -> Result<Vec<Vec<u32>>, TrainError> {
        self.passages.iter().map(|p| Ok(self.tokenizer.encode(p).map_err(ModelError::from)?)).collect()
    }

    /// Scores what a model writes for the passages and for random tokens.
    ///
    /// `judged` is how many of a text's first tokens are judged: those that latents stand for.
    fn report(&self, sources: &[Vec<u32>], judged: usize, write: impl Fn(&[Vec<u32>]) -> Written) -> Result<Value, TrainError> {
        let mut report = json!({});
        let begin = |rows: &[Vec<u32>]| -> Vec<Vec<u32>> { rows.iter().map(|row| row[..row.len().min(judged)].to_vec()).collect() };
        let written = write(sources);
        let (truth, free) = (begin(sources), begin(&written.free));
        let mut texts = Vec::with_capacity(free.len());
        for (x, y) in truth.iter().zip(&free) {
            let text = |ids: &[u32]| self.tokenizer.decode(ids).map_err(ModelError::from);
            texts.push((text(x)?, text(y)?));
        }
        let n = texts.len().max(1) as f64;
        for (name, score) in &self.scores {
            let total: f64 = texts.iter().map(|(truth, text)| score(text, truth)).sum();
            report[format!("valid_{name}")] = (total / n).into();
        }
        // Tokens before the first difference, as a share of the passage: 1 is a perfect copy.
        let before: f64 = truth
            .iter()
            .zip(&free)
            .map(|(x, y)| {
                let same = x.iter().zip(y).take_while(|(a, b)| a == b).count();
                if same == x.len() && y.len() > same { (same as f64) / (y.len() as f64) } else { same as f64 / x.len().max(1) as f64 }
            })
            .sum();
        report["valid_first_error"] = (before / n).into();
        report["valid_token_accuracy"] = token_accuracy(&truth, &free).into();
        if !written.forced.is_empty() {
            report["valid_teacher_forced"] = token_accuracy(&truth, &written.forced).into();
        }
        let yardstick = self.yardstick();
        if !yardstick.is_empty() {
            report["valid_random_tokens"] = token_accuracy(&begin(&yardstick), &write(&yardstick).free).into();
        }
        Ok(report)
    }
}

fn limit(sources: &[Vec<u32>]) -> usize {
    // What goes on beyond that is wrong as it is.
    sources.iter().map(Vec::len).max().unwrap_or(0) + 16
}

/// What a decoder writes after the latents of each text, the tokens of it that they do not stand for, and `[SoD]`.
fn after_latents(reader: &Autoencoder, sources: &[Vec<u32>], latents: Option<Tensor<3>>, covered: usize, end_ids: &[u32]) -> Written {
    let count = latents.as_ref().map_or(0, |latents| latents.dims()[1]);
    let rests: Vec<usize> = sources.iter().map(|x| x.len().saturating_sub(covered)).collect();
    let longest = rests.iter().copied().max().unwrap_or(0);
    let prompt = |(i, x): (usize, &Vec<u32>)| {
        let text = reader.embed_ids(&[&x[x.len() - rests[i]..], &[reader.sod]].concat());
        let latents = latents.iter().map(|latents| latents.clone().narrow(0, i, 1));
        Tensor::cat(latents.chain([text]).collect(), 1)
    };
    let (prompts, pads) = pad_embeds(sources.iter().enumerate().map(prompt).collect());
    let placement = reader.layout.decoder_with_rest(0, count, |_, pad| longest - pad);
    let free = reader.generate(prompts.clone(), &pads, &placement, limit(sources), end_ids, &Decoding::Greedy);

    let first = prompts.dims()[1] - 1;
    let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
    let padded = sources.iter().map(|x| x.iter().copied().chain(std::iter::repeat_n(reader.sod, longest - x.len())).collect());
    let copy = reader.embed(token_tensor(&padded.collect::<Vec<_>>(), reader.sod, &reader.device()).0);
    let hidden = reader.decoder.hidden_at(Tensor::cat(vec![prompts, copy], 1), &pads, &placement, None, None);
    let predict = |(i, x): (usize, &Vec<u32>)| -> Vec<u32> {
        let logits = reader.decoder.logits(hidden.clone().narrow(0, i, 1).narrow(1, first, x.len().max(1)));
        logits.argmax(2).into_data().iter::<i64>().map(|id| id as u32).collect()
    };
    Written { free, forced: sources.iter().enumerate().map(predict).collect() }
}

/// Stage 1: the model reads `x [SoD]` and writes the copy.
pub fn validate_reconstruction(model: &TokenModel, validation: &Validation) -> Result<Value, TrainError> {
    let (decoder, adapter) = model.decoder();
    // Merged for the moment: generation has no adapter argument.
    let decoder = adapter.map_or_else(|| decoder.clone(), |a| a.merge(decoder.clone()));
    let (special, layout) = (model.special(), model.layout.clone());
    let reader = Autoencoder { decoder, encoder: Encoder::Bare, special, sod: model.sod, layout };
    let end_ids = validation.tokenizer.end_ids();
    let write = |sources: &[Vec<u32>]| after_latents(&reader, sources, None, 0, &end_ids);
    validation.report(&validation.sources()?, usize::MAX, write)
}

/// Stage 2 and ICAE at a level: the decoder gets `[h_1 .. h_k; x_{> block k}; SoD]` and writes the text.
///
/// Below the last level only what the latents stand for is judged: with `Progress::Length` texts are cut to it, with
/// `Progress::Prefix` the rest is there to be read.
pub fn validate_substitution(
    model: &SubstitutionModel,
    level: usize,
    config: &SubstitutionConfig,
    validation: &Validation,
) -> Result<Value, TrainError> {
    let model = model.valid();
    // One model for any number of latents is judged by all of them.
    let level = if config.any_k_from.is_some() { config.levels } else { level };
    let (last, covered) = (config.levels, level.saturating_mul(config.block_tokens));
    let (layout, special) = (model.layout(), model.special.clone());
    let reader = Autoencoder { decoder: model.reader().clone(), encoder: Encoder::Bare, special, sod: model.sod, layout };
    let end_ids = validation.tokenizer.end_ids();
    let cut = config.progress == Progress::Length && level < last;
    let write = |sources: &[Vec<u32>]| {
        let read = |x: &Vec<u32>| Row { source: x.clone(), ..Row::default() };
        let latents = model.latents(&Batch::new(level, sources.iter().map(read).collect()));
        after_latents(&reader, sources, Some(latents), if level < last { covered } else { usize::MAX }, &end_ids)
    };
    let sources = validation.sources()?.into_iter().map(|x| if cut { x[..x.len().min(covered)].to_vec() } else { x });
    let mut validation = validation.clone();
    if cut {
        validation.random_tokens = validation.random_tokens.min(covered);
    }
    validation.report(&sources.collect::<Vec<_>>(), if level < last { covered } else { usize::MAX }, write)
}

/// DyPRAG: the decoder with the passage's LoRA gets `[SoD]` and writes the text.
pub fn validate_dyprag(model: &DypragModel, validation: &Validation) -> Result<Value, TrainError> {
    let model = model.valid();
    let (special, layout) = (model.special.clone(), LatentLayout::default());
    let reader = Autoencoder { decoder: model.decoder.clone(), encoder: Encoder::Bare, special, sod: model.sod, layout };
    let write = |sources: &[Vec<u32>]| {
        let rows = sources.iter().map(|x| Row { source: x.clone(), ..Row::default() }).collect();
        let adapters = model.adapters(&Batch::new(0, rows));
        let adapted = AdaptedDecoder { decoder: &model.decoder, adapters: Some(adapters) };
        let prompts = Tensor::cat(sources.iter().map(|_| reader.embed_ids(&[model.sod])).collect(), 0);
        let ends = validation.tokenizer.end_ids();
        let embed = |tokens| reader.embed(tokens);
        let free = generate(adapted, embed, prompts, &[], &Placement::default(), limit(sources), &ends, &Decoding::Greedy);
        Written { forced: Vec::new(), free }
    };
    validation.report(&validation.sources()?, usize::MAX, write)
}
