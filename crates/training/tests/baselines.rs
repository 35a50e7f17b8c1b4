//! The trained baselines on a tiny model: ICAE and DyPRAG learn four texts by heart; a LoRA per row is the LoRA merged.
#![allow(clippy::unwrap_used)]

#[path = "shared/tiny.rs"]
mod tiny;

use std::sync::Arc;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};
use burn::train::{InferenceStep, LearnerModel, TrainStep};
use nextmem_model::{
    AdaptedDecoder, Autoencoder, Decoder, Decoding, DocumentEmbedding, Encoder, Hypernetwork, HypernetworkConfig, LatentLayout,
    LoraAdapter, Placement, encode_slots, generate, random_slots, token_tensor,
};
use nextmem_training::{
    Batch, DypragModel, LatentOptions, Level, LoopConfig, Objective, Row, RowSource, Stage, StepLoss, SubstitutionModel, TokenModel,
    TrainError, Trainable, fit, memory_row,
};
use tiny::{EOT, FixedRows, SOD, config, full, lora, optim, seeded, stage};

/// Longer than any copy, so that an `[EoT]` that does not come shows.
const LIMIT: usize = 9;

const SLOTS: usize = 2;

fn texts() -> Vec<Vec<u32>> {
    vec![vec![5, 17, 29, 3, 41, 8], vec![22, 5, 50, 11, 36, 2], vec![44, 13, 7, 29, 19, 55], vec![9, 31, 22, 48, 5, 26]]
}

/// The four texts again and again, behind memories of `level` latents.
struct MemoryRows {
    level: usize,
    /// From this place on, the rows cannot be read.
    broken_from: u64,
}

impl RowSource for MemoryRows {
    fn level(&self, _step: usize) -> Level {
        Level::whole(self.level)
    }
    fn row(&self, place: u64, _level: Level) -> Result<Row, TrainError> {
        if place >= self.broken_from {
            return Err(TrainError::Data("broken on purpose".into()));
        }
        Ok(memory_row(&texts()[place as usize % 4], SOD, EOT))
    }
}

fn memory_stage<M>(dir: &std::path::Path, steps: usize, level: usize, rate: f64) -> Stage<M> {
    Stage {
        rows: Arc::new(MemoryRows { level, broken_from: u64::MAX }),
        ..stage(dir, steps, 50, optim(rate, 4), FixedRows::new(texts(), None))
    }
}

/// A decoder that has learnt to copy the four texts from themselves, as after stage 1.
fn after_stage1(dir: &std::path::Path) -> Decoder {
    let base = seeded(31, |device| Decoder::random(config(), 0.1, 31, device));
    let model = TokenModel::new(full(base), None, SOD);
    fit(model, stage(dir, 300, 50, optim(5e-3, 4), FixedRows::new(texts(), None))).unwrap().trainable.full.unwrap()
}

fn batch(level: usize) -> Batch {
    Batch::new(level, texts().iter().map(|x| memory_row(x, SOD, EOT)).collect())
}

fn icae(trainable: Trainable, slots: Tensor<2>, decoder: &Decoder) -> SubstitutionModel {
    let model = SubstitutionModel::new(trainable, decoder.clone(), None, SOD, LatentOptions::default());
    SubstitutionModel { slots: Some(Param::from_tensor(slots)), ..model }
}

fn scalar(loss: Tensor<1>) -> f32 {
    loss.inner().into_scalar()
}

#[test]
fn icae_learns_four_texts_through_two_slots() {
    let dir = tempfile::tempdir().unwrap();
    let decoder = after_stage1(&dir.path().join("stage1"));
    let slots = random_slots(&decoder, SLOTS, 7);
    let adapter = seeded(32, |device| LoraAdapter::random(&config(), 8, 16.0, 32, device));
    for (name, trainable) in [("lora", lora(adapter, None)), ("full", full(decoder.clone()))] {
        let model = icae(trainable, slots.clone(), &decoder);
        let before = scalar(model.loss(&batch(SLOTS)));
        let trained = fit(model, memory_stage(&dir.path().join(name), 400, SLOTS, 5e-3)).unwrap();
        println!("{name}: {before} to {}", scalar(trained.loss(&batch(SLOTS))));

        // The trained parts as the method has them: one forward pass for all texts, then the same decoder.
        let slots = trained.slots.unwrap().val();
        let encoder = match trained.trainable.full {
            Some(full) => Encoder::Full(Box::new(full)),
            None => Encoder::Adapter(trained.trainable.adapter.unwrap()),
        };
        let reader = Autoencoder { decoder: decoder.clone(), encoder, special: None, sod: SOD, layout: LatentLayout::default() };
        let (model, adapter) = reader.encoder();
        let (tokens, pads) = token_tensor(&texts(), SOD, &reader.device());
        let latents = encode_slots(model, adapter, model.embed(tokens), &pads, &LatentLayout::default(), slots);
        assert_eq!(reader.decode(latents, true, LIMIT, &[EOT], &Decoding::Greedy), texts(), "{name}");
    }
}

#[test]
fn dyprag_learns_four_texts_through_a_lora_each() {
    let dir = tempfile::tempdir().unwrap();
    let decoder = after_stage1(&dir.path().join("stage1"));
    let network = HypernetworkConfig { rank: 4, alpha: 8.0, bottleneck: 16, embedding: DocumentEmbedding::LastToken };
    let hypernetwork = Hypernetwork::random(network, &config(), 9, &decoder.device());
    let model = DypragModel { hypernetwork, decoder: decoder.clone(), special: None, sod: SOD };
    let before = scalar(model.loss(&batch(0)));
    let trained = fit(model, memory_stage(&dir.path().join("dyprag"), 500, 0, 1e-2)).unwrap();
    let after = scalar(trained.loss(&batch(0)));
    println!("dyprag: {before} to {after}");
    assert!(after < 0.1 * before, "{before} to {after}");

    let reader = Autoencoder { decoder: decoder.clone(), encoder: Encoder::Bare, special: None, sod: SOD, layout: LatentLayout::default() };
    let adapted = AdaptedDecoder { decoder: &decoder, adapters: Some(trained.adapters(&batch(0))) };
    let prompt = reader.embed_ids(&[SOD]).repeat_dim(0, 4);
    let ids = generate(adapted, |t| reader.embed(t), prompt, &[], &Placement::default(), LIMIT, &[EOT], &Decoding::Greedy);
    assert_eq!(ids, texts());
}

/// A hypernetwork whose B is not zero, so that every LoRA does something.
fn awake(device: &Device) -> Hypernetwork {
    struct Fill;
    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|t| t.random_like(Distribution::Normal(0.0, 0.2)))
        }
    }
    let network = HypernetworkConfig { rank: 3, alpha: 6.0, bottleneck: 8, embedding: DocumentEmbedding::Mean };
    Hypernetwork::random(network, &config(), 9, device).map(&mut Fill)
}

#[test]
fn a_lora_per_row_equals_each_merged_alone() {
    let decoder = tiny::decoder(21);
    let network = seeded(41, awake);
    // Passages and prompts of different lengths.
    let passages = [vec![3, 4, 5, 6, 7, 8], vec![12, 13], vec![16, 17, 18, 19]];
    let prompts = [vec![21, 22, 23], vec![24], vec![25, 26, 27, 28, 29]];
    let adapters = network.adapters(DocumentEmbedding::Mean.of(&decoder, &passages));
    let (tokens, pads) = token_tensor(&prompts, SOD, &decoder.device());
    let plain = decoder.hidden(decoder.embed(tokens.clone()), &pads, None, None);
    let adapted = AdaptedDecoder { decoder: &decoder, adapters: Some(adapters.clone()) };
    let together = adapted.hidden(decoder.embed(tokens.clone()), &pads, &Placement::default(), None);
    let continued =
        generate(adapted, |t| decoder.embed(t), decoder.embed(tokens), &pads, &Placement::default(), 12, &[EOT], &Decoding::Greedy);
    let mut lengths = Vec::new();
    for (i, prompt) in prompts.iter().enumerate() {
        let merged = adapters.row(i).merge(decoder.clone());
        let embeds = merged.embed(token_tensor(std::slice::from_ref(prompt), SOD, &decoder.device()).0);
        let alone = merged.hidden(embeds.clone(), &[], None, None);
        let of_row = |t: &Tensor<3>| t.clone().narrow(0, i, 1).narrow(1, pads[i], prompt.len());
        let difference: f32 = (of_row(&together) - alone).abs().max().into_scalar();
        assert!(difference < 1e-5, "row {i}: {difference}");
        let moved: f32 = (of_row(&together) - of_row(&plain)).abs().max().into_scalar();
        assert!(moved > 1e-2, "row {i}: the LoRA must do something, moved {moved}");
        let free = generate(&merged, |t| merged.embed(t), embeds, &[], &Placement::default(), 12, &[EOT], &Decoding::Greedy);
        assert_eq!(continued[i], free[0], "row {i}");
        lengths.push(free[0].len());
    }
    println!("lengths of the continuations: {lengths:?}");
}

#[test]
fn rows_that_end_early_leave_the_others_their_adapters() {
    let decoder = tiny::decoder(21);
    let network = seeded(41, awake);
    let passages = [vec![3, 4, 5, 6], vec![12, 13], vec![16, 17, 18]];
    let adapters = network.adapters(DocumentEmbedding::Mean.of(&decoder, &passages));
    let adapted = AdaptedDecoder { decoder: &decoder, adapters: Some(adapters) };
    let (tokens, _) = token_tensor(&[vec![SOD], vec![SOD], vec![SOD]], SOD, &decoder.device());
    let run = |ends: &[u32]| {
        generate(
            adapted.clone(),
            |t| decoder.embed(t),
            decoder.embed(tokens.clone()),
            &[],
            &Placement::default(),
            12,
            ends,
            &Decoding::Greedy,
        )
    };
    let free = run(&[]);
    // An end that comes early in one text and late or never in the others.
    let end = free[0][1];
    let expected: Vec<Vec<u32>> = free.iter().map(|row| row.iter().copied().take_while(|t| *t != end).collect()).collect();
    assert!(expected.iter().any(|row| row.len() > 4), "{free:?}");
    assert_eq!(run(&[end]), expected);
}

#[test]
fn only_the_baselines_own_parameters_are_trained() {
    let decoder = tiny::decoder(21);
    let icae = icae(lora(tiny::adapter(22), None), random_slots(&decoder, SLOTS, 7), &decoder);
    let dyprag = DypragModel { hypernetwork: seeded(41, awake), decoder: decoder.clone(), special: None, sod: SOD };
    assert_eq!(icae.num_params(), tiny::adapter(22).num_params() + SLOTS * config().hidden_size);
    assert_eq!(dyprag.num_params(), dyprag.hypernetwork.num_params());
}

/// Trains to the end at once and, with the rows broken for a while, from a checkpoint; both must end with the same values.
fn resumes<M>(model: M, level: usize)
where
    M: LearnerModel + TrainStep<Input = Batch, Output = StepLoss> + InferenceStep<Input = Batch, Output = StepLoss>,
{
    let dir = tempfile::tempdir().unwrap();
    let (whole, stopped) = (dir.path().join("whole"), dir.path().join("stopped"));
    // Batches of four rows, a checkpoint after ten of twenty steps.
    let run = LoopConfig { log_every: 5, checkpoint_every: 10, ..LoopConfig::default() };
    let twenty = |dir: &std::path::Path| Stage { run: run.clone(), ..memory_stage(dir, 20, level, 5e-3) };
    let expected = tiny::values(&fit(model.clone(), twenty(&whole)).unwrap());
    let broken = Stage { rows: Arc::new(MemoryRows { level, broken_from: 4 * 14 }), ..twenty(&stopped) };
    assert!(fit(model.clone(), broken).is_err());
    assert!(stopped.join("checkpoint/model-10.bpk").is_file());
    assert_eq!(tiny::values(&fit(model, twenty(&stopped)).unwrap()), expected);
    assert_eq!(tiny::metrics(&stopped), tiny::metrics(&whole));
}

#[test]
fn baselines_go_on_from_their_checkpoints() {
    let decoder = tiny::decoder(21);
    let (trainable, slots) = (full(decoder.clone()), Param::from_tensor(random_slots(&decoder, SLOTS, 7)));
    resumes(
        SubstitutionModel { slots: Some(slots), ..SubstitutionModel::new(trainable, decoder.clone(), None, SOD, LatentOptions::default()) },
        SLOTS,
    );
    resumes(DypragModel { hypernetwork: seeded(41, awake), decoder, special: None, sod: SOD }, 0);
}
