//! The stages after stage 2 on a tiny model: a reader learns to answer from latents, an index learns to find them.
#![allow(clippy::unwrap_used)]

#[path = "shared/tiny.rs"]
mod tiny;

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use nextmem_model::{Autoencoder, Decoder, Encoder, LatentLayout};
use nextmem_training::{
    Batch, IndexModel, LatentOptions, Level, Objective, ReaderModel, Row, RowSource, Stage, SubstitutionModel, TrainError, fit,
};
use tiny::{EOT, FixedRows, SOD, adapter, decoder, full, lora, optim, stage};

const LATENTS: usize = 2;

fn memory() -> Autoencoder {
    let encoder = Encoder::Full(Box::new(decoder(41)));
    Autoencoder { decoder: decoder(21), encoder, special: None, sod: SOD, layout: LatentLayout::default() }
}

/// Eight passages, each with an answer that the question alone does not tell.
fn question(index: usize) -> Row {
    let source = vec![3 + index as u32, 20 + 2 * index as u32, 40 - index as u32, 11];
    // `head`, the latents, `end question`, the answer and its end.
    let tokens = vec![EOT, 58, 57, 20 + 2 * index as u32, 56];
    let taught = [&source[..], &[58, 57, 20 + 2 * index as u32, 56]].concat();
    Row { source, head: vec![55, SOD], tokens, learnt: std::iter::once(3..5).collect(), taught, ..Row::default() }
}

struct Rows(fn(usize) -> Row);

impl RowSource for Rows {
    fn level(&self, _step: usize) -> Level {
        Level::whole(LATENTS)
    }
    fn row(&self, place: u64, _level: Level) -> Result<Row, TrainError> {
        Ok(self.0(place as usize % 8))
    }
}

fn scalar(loss: Tensor<1>) -> f32 {
    loss.inner().into_scalar()
}

#[test]
fn a_reader_learns_to_answer_from_latents_that_stay() {
    let dir = tempfile::tempdir().unwrap();
    for (name, trainable, teacher) in [("full", full(decoder(21)), None), ("lora", lora(adapter(22), None), Some(decoder(21)))] {
        let weight = if teacher.is_some() { 0.1 } else { 0.0 };
        let model = ReaderModel { trainable, memory: memory(), teacher, num_latents: LATENTS, teacher_weight: weight };
        let batch = Batch::new(LATENTS, (0..8).map(question).collect());
        let before = scalar(model.clone().train().loss(&batch));
        let rows = Stage {
            rows: Arc::new(Rows(question)),
            ..stage(&dir.path().join(name), 250, 50, optim(1e-2, 8), FixedRows::new(vec![vec![1]], None))
        };
        let trained = fit(model, rows).unwrap();
        let after = scalar(trained.train().loss(&batch));
        println!("{name}: {before} to {after}");
        assert!(after < 0.5 * before, "{name}: {before} to {after}");
    }
}

#[test]
fn the_teacher_pulls_the_answer_towards_what_it_says_of_the_text() {
    let model = |teacher_weight: f64| {
        let teacher = Some(decoder(23));
        ReaderModel { trainable: full(decoder(21)), memory: memory(), teacher, num_latents: LATENTS, teacher_weight }.train()
    };
    let batch = Batch::new(LATENTS, vec![question(1), question(4)]);
    let (without, with) = (scalar(model(0.0).loss(&batch)), scalar(model(1.0).loss(&batch)));
    // A divergence is never negative.
    assert!(with > without);
    // Rows that nobody has a text for are learnt as they are.
    let plain = Batch::new(LATENTS, vec![Row { taught: Vec::new(), ..question(1) }]);
    assert_eq!(scalar(model(0.0).loss(&plain)), scalar(model(1.0).loss(&plain)));
}

/// A query that shares no token with its passage, which is the first candidate.
fn query(index: usize) -> Row {
    let passage = |index: usize| question(index).source;
    let candidates = (0..3).map(|step| passage((index + step) % 8)).collect();
    Row {
        source: vec![50, 46 + index as u32 % 4, 12 + index as u32 / 4],
        candidates,
        learnt: std::iter::once(0..1).collect(),
        ..Row::default()
    }
}

#[test]
fn an_index_learns_to_find_passages_that_share_no_word_with_the_query() {
    let dir = tempfile::tempdir().unwrap();
    let memory = memory();
    let width = memory.hidden_size();
    let query_side = SubstitutionModel::new(full(decoder(41)), decoder(41), None, SOD, LatentOptions::default());
    for every_prefix in [true, false] {
        let model = IndexModel {
            query: query_side.clone(),
            projection: Param::from_tensor(Tensor::eye(width, &memory.device())),
            memory: memory.clone(),
            num_latents: LATENTS,
            temperature: 0.1,
            every_prefix,
        };
        let batch = Batch::new(LATENTS, (0..8).map(query).collect());
        let before = scalar(model.clone().train().loss(&batch));
        let rows = Stage {
            rows: Arc::new(Rows(query)),
            ..stage(&dir.path().join(every_prefix.to_string()), 150, 50, optim(5e-3, 8), FixedRows::new(vec![vec![1]], None))
        };
        let trained = fit(model, rows).unwrap();
        let after = scalar(trained.train().loss(&batch));
        println!("every prefix {every_prefix}: {before} to {after}");
        assert!(after < 0.6 * before, "{before} to {after}");
    }
}

#[test]
fn stage_two_answers_from_latents_and_from_texts() {
    let options = LatentOptions { decoder_steps: 1000, ..LatentOptions::default() };
    let mut model = SubstitutionModel::new(full(decoder(31)), decoder(21), None, SOD, options);
    model.trained_decoder = full(decoder(21)).full;
    let model = model.train();
    // From latents both learn; from the text the decoder alone, for there is nothing to encode.
    let from_text = |index: usize| {
        let row = question(index);
        let before = row.head.len() + row.source.len();
        let tokens = [row.head, row.source, row.tokens].concat();
        Row { tokens, learnt: std::iter::once(before + 3..before + 5).collect(), ..Row::default() }
    };
    for (level, row) in [(LATENTS, question as fn(usize) -> Row), (0, from_text)] {
        let batch = Batch::new(level, (0..8).map(row).collect());
        assert!(scalar(model.loss(&batch)).is_finite());
        let learns = |decoder: &Decoder| !GradientsParams::from_grads(model.loss(&batch).backward(), decoder).is_empty();
        assert_eq!(learns(model.trainable.full.as_ref().unwrap()), level > 0);
        assert!(learns(model.trained_decoder.as_ref().unwrap()));
    }
}
