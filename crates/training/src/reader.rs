//! The reader stage, after stage 2: the decoder learns to answer from latents, and to decode them as before.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use nextmem_model::{Autoencoder, Decoder, Decoding, Encoder, ModelError, Tokenizer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::batch::{Batch, Row, RowSource, memory_row};
use crate::config::{LoraConfig, OptimConfig};
use crate::error::TrainError;
use crate::levels::Level;
use crate::objective::{
    Objective, Trainable, embed, hidden_after_latents, learner_steps, learnt_log_probabilities, next_token_loss, right_padded,
};
use crate::questions::{Example, comp_question, text_question};
use crate::stream::{Stream, mix, unit};
use crate::validate::Score;

/// The stage; the paper answers with the decoder as stage 2 leaves it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderConfig {
    /// Optimizer steps.
    pub steps: usize,
    /// Share of steps that answer questions; the others reconstruct, so that decoding is kept.
    #[serde(default = "defaults::questions")]
    pub questions: f64,
    /// Share of the steps with questions at which only the first latents stand for their blocks, any number of them from none, and
    /// the rest of the passage stays text: progressive substitution for answers.
    #[serde(default, skip_serializing_if = "crate::config::is_default")]
    pub substitution: f64,
    /// Weight of the divergence from the untouched backbone that reads the text, beside the loss of the answer (0: none).
    #[serde(default = "defaults::teacher")]
    pub teacher: f64,
    /// LoRA on the decoder; absent: all its parameters.
    pub lora: Option<LoraConfig>,
    /// The optimizer.
    pub optim: OptimConfig,
}

impl ReaderConfig {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// The key, what it got, what is expected.
    pub fn check(&self) -> Result<(), String> {
        let Self { questions, substitution, teacher, .. } = self;
        if !(*questions > 0.0 && *questions <= 1.0) {
            return Err(format!("questions: got {questions}, expected a share above 0, at most 1"));
        }
        if !(0.0..1.0).contains(substitution) {
            return Err(format!("substitution: got {substitution}, expected a share from 0 to below 1"));
        }
        match teacher {
            teacher if *teacher >= 0.0 && teacher.is_finite() => Ok(()),
            teacher => Err(format!("teacher: got {teacher}, expected 0 or more")),
        }
    }
}

mod defaults {
    pub(super) fn questions() -> f64 {
        0.5
    }
    pub(super) fn teacher() -> f64 {
        1.0
    }
}

/// The decoder that is trained, in front of it a memory that is not.
#[derive(Module, Debug)]
pub struct ReaderModel {
    /// All parameters of the decoder, or an adapter on it.
    pub trainable: Trainable,
    /// Encoder, layout, and the decoder as it was.
    #[module(skip)]
    pub memory: Autoencoder,
    /// The untouched backbone, which reads the text; absent: nobody is followed.
    #[module(skip)]
    pub teacher: Option<Decoder>,
    /// Latents of every passage.
    #[module(skip)]
    pub num_latents: usize,
    /// Weight of the divergence from the teacher.
    #[module(skip)]
    pub teacher_weight: f64,
}

impl ReaderModel {
    /// The decoder as it is trained now, its adapter merged.
    pub fn reader(&self) -> Decoder {
        match (&self.trainable.full, &self.trainable.adapter) {
            (Some(full), _) => full.clone(),
            (None, Some(adapter)) => adapter.merge(self.memory.decoder.clone()),
            (None, None) => self.memory.decoder.clone(),
        }
    }

    /// Log probabilities of the teacher at the answer's tokens.
    ///
    /// # Shapes
    /// - returns `[positions, vocab]`
    fn taught(&self, teacher: &Decoder, batch: &Batch) -> Tensor<2> {
        let row = |row: &Row| {
            let from = row.taught.len() - row.learnt.iter().map(|range| range.len()).sum::<usize>();
            Row::learning_from(Vec::new(), row.taught.clone(), from)
        };
        let batch = Batch::new(0, batch.rows.iter().map(row).collect());
        let tokens = right_padded(&batch.rows, self.memory.sod, &teacher.device());
        let hidden = teacher.hidden(embed(teacher, &None, tokens), &[], None, None);
        learnt_log_probabilities(teacher, hidden, &batch).0
    }
}

impl Objective for ReaderModel {
    fn loss(&self, batch: &Batch) -> Tensor<1> {
        let rows: Vec<Vec<u32>> = batch.rows.iter().map(|row| row.source.clone()).collect();
        let memory = Autoencoder { layout: self.memory.layout.with_block(batch.block), ..self.memory.clone() };
        let latents = match batch.level {
            0 => Tensor::zeros([rows.len(), 0, memory.hidden_size()], &memory.device()),
            count => memory.encode(&rows, count),
        };
        let latents = Tensor::from_inner(latents);
        let (decoder, adapter) = match &self.trainable.full {
            Some(full) => (full, None),
            None => (&memory.decoder, self.trainable.adapter.as_ref()),
        };
        let Autoencoder { special, sod, layout, .. } = &memory;
        let hidden = hidden_after_latents((decoder, adapter), special, *sod, layout, batch, latents);
        let Some(teacher) = self.teacher.as_ref().filter(|_| batch.rows.iter().all(|row| !row.taught.is_empty())) else {
            return next_token_loss(decoder, hidden, batch);
        };
        let (own, targets) = learnt_log_probabilities(decoder, hidden, batch);
        let taught = Tensor::from_inner(self.taught(teacher, batch));
        let divergence = (taught.clone().exp() * (taught - own.clone())).sum_dim(1).mean();
        own.gather(1, targets).mean().neg() + divergence * self.teacher_weight
    }
}
learner_steps!(ReaderModel);

/// Questions and copies behind latents, all rows of a step of one kind.
pub struct ReaderRows {
    /// Passages with questions.
    pub examples: Stream<Example>,
    /// The tokenizer of the backbone.
    pub tokenizer: Arc<Tokenizer>,
    /// Latents of a whole passage.
    pub num_latents: usize,
    /// Tokens of text that a latent stands for.
    pub block_tokens: usize,
    /// The stage.
    pub config: ReaderConfig,
    /// Seed of what is random.
    pub seed: u64,
}

impl RowSource for ReaderRows {
    fn level(&self, step: usize) -> Level {
        let draw = mix(self.seed, step as u64);
        let asks = unit(draw) < self.config.questions;
        if asks && unit(mix(draw, 1)) < self.config.substitution {
            let latents = (mix(draw, 2) % self.num_latents as u64) as usize;
            return Level { latents, covered: latents * self.block_tokens, block: self.block_tokens, asks, ..Level::PLAIN };
        }
        Level { asks, ..Level::whole(self.num_latents) }
    }
    fn row(&self, place: u64, level: Level) -> Result<Row, TrainError> {
        let example = self.examples.get(place)?;
        let tokenizer = &self.tokenizer;
        let row = match example.questions.get(mix(mix(self.seed, 1), place) as usize % example.questions.len().max(1)) {
            Some((question, answer)) if level.asks => comp_question(tokenizer, &example.text, question, answer).and_then(|row| {
                let taught = text_question(tokenizer, &example.text, question, answer)?.tokens;
                Ok(Row { taught, ..row.with_rest(level.covered) })
            }),
            _ => tokenizer.encode(&example.text).map(|x| memory_row(&x, tokenizer.sod(), tokenizer.end_of_text())),
        };
        row.map_err(|e| TrainError::Model(e.into()))
    }
    fn tested(&self, _step: usize) -> usize {
        self.num_latents
    }
}

/// Held-out questions, each with its passage and its answer.
#[derive(Clone)]
pub struct ReaderValidation {
    /// Passage, question, answer.
    pub items: Vec<(String, String, String)>,
    /// The backbone's tokenizer.
    pub tokenizer: Arc<Tokenizer>,
    /// The metric of both: answers and copies.
    pub score: Score,
    /// Exact match.
    pub exact: Score,
}

/// Answers from latents and copies of the same passages; `valid_f1` is the mean of both, so that neither is lost for the other.
pub fn validate_reader(model: &ReaderModel, validation: &ReaderValidation) -> Result<Value, TrainError> {
    let model = model.valid();
    let reader = Autoencoder { decoder: model.reader(), encoder: Encoder::Bare, ..model.memory.clone() };
    let tokenizer = &validation.tokenizer;
    let encode = |text: &String| tokenizer.encode(text).map_err(ModelError::from);
    let sources = validation.items.iter().map(|(text, ..)| encode(text)).collect::<Result<Vec<_>, _>>()?;
    let latents = model.memory.encode(&sources, model.num_latents);
    let longest = sources.iter().map(Vec::len).max().unwrap_or(0);
    let end_ids = tokenizer.end_ids();
    let copies = reader.decode(latents.clone(), true, 2 * longest + 4, &end_ids, &Decoding::Greedy);
    let mut sums = [0.0; 3];
    for (index, (text, question, answer)) in validation.items.iter().enumerate() {
        let row = comp_question(tokenizer, text, question, answer).map_err(ModelError::from)?;
        let after: Vec<u32> = row.tokens[..row.learnt.first().map_or(0, |range| range.start)].to_vec();
        let prompt = Tensor::cat(vec![reader.embed_ids(&row.head), latents.clone().narrow(0, index, 1), reader.embed_ids(&after)], 1);
        let placement = reader.layout.decoder(row.head.len(), model.num_latents);
        let ids = reader.generate(prompt, &[], &placement, encode(answer)?.len() + 8, &end_ids, &Decoding::Greedy).concat();
        let said = tokenizer.decode(&ids).map_err(ModelError::from)?;
        let copy = tokenizer.decode(&copies[index]).map_err(ModelError::from)?;
        let scores = [(validation.score)(&said, answer), (validation.exact)(&said, answer), (validation.score)(&copy, text)];
        sums.iter_mut().zip(scores).for_each(|(sum, score)| *sum += score);
    }
    let [answers, exact, copies] = sums.map(|sum| sum / validation.items.len().max(1) as f64);
    Ok(json!({
        "valid_f1": 0.5 * (answers + copies), "valid_answer_f1": answers, "valid_answer_exact_match": exact, "valid_copy_f1": copies,
    }))
}
