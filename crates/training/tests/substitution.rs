//! What stage 2 can do beyond the paper, on a tiny model: each key does what it says, and a run that was stopped goes on.
#![allow(clippy::unwrap_used)]

#[path = "shared/tiny.rs"]
mod tiny;

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use nextmem_model::{Autoencoder, Decoder, Decoding, Encoder, LatentLayout, LayoutConfig, encode_embeds, token_tensor};
use nextmem_quant::Scales;
use nextmem_training::{
    Batch, GateConfig, LatentNoise, LatentOptions, Objective, OptimConfig, Optimizer, Rates, RefineConfig, Row, Stage, SubstitutionConfig,
    SubstitutionModel, TrainedDecoder, Validate, fit, global_norm, memory_row, refine, substitution_row,
};
use serde_json::json;
use tiny::{EOT, FixedRows, SOD, config, decoder, full, metrics, optim, seeded, stage, substitution, values};

fn texts() -> Vec<Vec<u32>> {
    vec![vec![5, 17, 29, 3, 41, 8], vec![22, 5, 50, 11], vec![44, 13, 7, 29, 19, 55, 2], vec![9, 31]]
}

fn model(options: LatentOptions) -> SubstitutionModel {
    SubstitutionModel::new(full(decoder(5)), decoder(21), None, SOD, options)
}

fn layout() -> LatentLayout {
    let config = LayoutConfig { text_positions: 16, block_mask: true, index_vectors: false, ..LayoutConfig::default() };
    LatentLayout { config, block_tokens: 2, index_vectors: None }
}

/// Blocks of tokens / K for K latents, rounded up.
fn covering(covered_tokens: usize) -> LatentLayout {
    LatentLayout { config: LayoutConfig { covered_tokens, ..layout().config }, block_tokens: 99, index_vectors: None }
}

fn batch(level: usize) -> Batch {
    Batch::new(level, texts().iter().map(|x| substitution_row(x, level, 2, SOD, EOT)).collect())
}

fn scalar(loss: Tensor<1>) -> f32 {
    loss.inner().into_scalar()
}

fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar()
}

#[test]
fn one_forward_gives_the_latents_of_inference_with_every_layout() {
    let plain = LatentLayout { block_tokens: 2, ..LatentLayout::default() };
    for layout in [plain, layout(), covering(6)] {
        let mut model = model(LatentOptions { layout, ..LatentOptions::default() });
        let vectors = decoder(8).embed(token_tensor(&[vec![1, 2, 3]], 0, &decoder(8).device()).0).reshape([3, 32]);
        model.index_vectors = Some(Param::from_tensor(vectors));
        let one = model.clone().train().latents(&batch(4)).inner();
        let rows: Vec<Vec<u32>> = texts().into_iter().map(|x| [x, vec![SOD]].concat()).collect();
        let encoder = model.trainable.full.clone().unwrap();
        let (tokens, pads) = token_tensor(&rows, SOD, &encoder.device());
        let sequential = encode_embeds(&encoder, None, encoder.embed(tokens), &pads, &model.layout(), 4);
        assert!(difference(one, sequential) < 2e-5);
    }
}

#[test]
fn blocks_follow_from_the_number_of_latents_or_from_the_batch() {
    let loss = |layout: LatentLayout, level: usize, block: usize| {
        scalar(model(LatentOptions { layout, ..LatentOptions::default() }).train().loss(&Batch { block, ..batch(level) }))
    };
    // Three latents have 2 tokens of 6 each; one would have all, and of a window of one block has what the batch says.
    assert_eq!(loss(covering(6), 3, 0), loss(layout(), 3, 0));
    assert_eq!(loss(covering(6), 1, 2), loss(layout(), 1, 0));
    assert_ne!(loss(covering(6), 1, 0), loss(layout(), 1, 0));
}

#[test]
fn a_decoder_that_is_trained_along_gets_a_gradient_until_it_is_frozen() {
    let options = LatentOptions { decoder_steps: 3, layout: layout(), ..LatentOptions::default() };
    let plain = model(options.clone());
    let mut along = model(options);
    along.trained_decoder = Some(decoder(21));
    // The same weights give the same loss, whoever holds them.
    assert_eq!(scalar(plain.clone().train().loss(&batch(2))), scalar(along.clone().train().loss(&batch(2))));
    let gradient = |step: usize| {
        let model = along.clone().train();
        let loss = model.loss(&Batch { step, ..batch(2) });
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        global_norm(model.trained_decoder.as_ref().unwrap(), &grads)
    };
    assert!(gradient(2) > 1e-3);
    assert_eq!(gradient(3), 0.0);
}

#[test]
fn noise_moves_the_loss_and_the_gradient_passes_it() {
    let loss = |noise: LatentNoise| scalar(model(LatentOptions { noise, ..LatentOptions::default() }).train().loss(&batch(3)));
    let plain = loss(LatentNoise::None);
    for noise in [LatentNoise::Uniform(0.2), LatentNoise::Nf4(Scales::Absmax), LatentNoise::Nf4(Scales::None)] {
        assert_ne!(loss(noise), plain, "{noise:?}");
        // The same row always has the same noise.
        assert_eq!(loss(noise), loss(noise));
    }
    let model = model(LatentOptions { noise: LatentNoise::Nf4(Scales::Absmax), ..LatentOptions::default() }).train();
    let grads = GradientsParams::from_grads(model.loss(&batch(3)).backward(), &model);
    assert!(global_norm(model.trainable.full.as_ref().unwrap(), &grads) > 1e-3);
}

#[test]
fn an_auxiliary_decoder_learns_from_single_latents() {
    for layout in [LatentLayout { block_tokens: 2, ..LatentLayout::default() }, layout()] {
        let mut model = model(LatentOptions { auxiliary_weight: 0.5, layout, ..LatentOptions::default() });
        let rows = batch(2).rows.into_iter().map(|row| Row { block: Some((1, 2..row.source.len().min(4))), ..row });
        let rows: Vec<Row> = rows.filter(|row| row.source.len() > 2).collect();
        let batch = Batch::new(2, rows);
        let without = scalar(model.clone().train().loss(&batch));
        model.auxiliary = Some(decoder(33));
        let model = model.train();
        let loss = model.loss(&batch);
        assert!(scalar(loss.clone()) > without);
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        assert!(global_norm(model.auxiliary.as_ref().unwrap(), &grads) > 1e-3);
    }
}

#[test]
fn replaced_tokens_are_shown_and_not_learnt() {
    let mut row = memory_row(&[5, 6, 7, 8], SOD, EOT);
    row.shown = vec![(2, 40)];
    let model = model(LatentOptions::default()).train();
    let loss = |row: &Row| scalar(model.loss(&Batch::new(2, vec![row.clone()])));
    let plain = memory_row(&[5, 6, 7, 8], SOD, EOT);
    assert_ne!(loss(&row), loss(&plain));
    // Targets stay: the same learnt tokens.
    assert_eq!((&row.tokens, &row.learnt), (&plain.tokens, &plain.learnt));
}

fn gated() -> SubstitutionConfig {
    let gate = Some(GateConfig { loss: 3.9, window: 2 });
    SubstitutionConfig { gate, decoder: Some(TrainedDecoder { steps: 12, rate: 0.5 }), ..substitution(3, 2, 6, 12) }
}

fn muon() -> OptimConfig {
    OptimConfig { optimizer: Optimizer::Muon, warmup_steps: 2, weight_decay: 0.01, ..optim(2e-3, 3) }
}

fn long_stage(dir: &std::path::Path, broken_from: Option<u64>) -> Stage<SubstitutionModel> {
    let rows = FixedRows { broken_from, ..FixedRows::new(texts(), Some(gated())) };
    let mut stage = stage(dir, 24, 4, muon(), rows);
    stage.rates = Rates { hold: 12, trained_decoder: gated().decoder };
    stage.last_level = 3;
    stage.run.keep_best = true;
    stage.run.validate_every = 4;
    let validate: Validate<SubstitutionModel> = Arc::new(|_, level| Ok(json!({"valid_f1": level as f64})));
    stage.validate = Some(validate);
    stage
}

fn long_model() -> SubstitutionModel {
    let mut model = model(LatentOptions { decoder_steps: 12, layout: layout(), ..LatentOptions::default() });
    model.trained_decoder = Some(decoder(21));
    model
}

#[test]
fn a_gated_stage_with_muon_and_a_trained_decoder_resumes_bit_for_bit() {
    if std::env::var_os("BURN_DEVICE").is_none() {
        // As in resume.rs: optimizer records are read onto burn's default device.
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        let test = "a_gated_stage_with_muon_and_a_trained_decoder_resumes_bit_for_bit";
        let output = command.args([test, "--exact", "--nocapture"]).env("BURN_DEVICE", "flex").output().unwrap();
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text).into_owned());
        assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
        return;
    }
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let expected = values(&fit(long_model(), long_stage(whole.path(), None)).unwrap());
    assert_ne!(expected, values(&long_model()), "nothing was trained");
    fit(long_model(), long_stage(parts.path(), Some(3 * 17))).unwrap_err();
    let resumed = values(&fit(long_model(), long_stage(parts.path(), None)).unwrap());
    assert!(expected == resumed, "the resumed weights differ");
    assert_eq!(metrics(whole.path()), metrics(parts.path()));
    let levels: Vec<u64> =
        metrics(whole.path()).iter().filter(|line| !line["loss"].is_null()).filter_map(|l| l["level"].as_u64()).collect();
    assert!(levels.first() < levels.last() && levels.last() == Some(&3), "{levels:?}");
}

#[test]
fn the_decoder_stays_as_it_is_once_it_is_frozen() {
    let dir = tempfile::tempdir().unwrap();
    let at = |steps: usize| {
        let mut stage = long_stage(&dir.path().join(steps.to_string()), None);
        stage.steps = steps;
        stage.run.keep_best = false;
        let trained = fit(long_model(), stage).unwrap();
        (values(trained.trained_decoder.as_ref().unwrap()), values(trained.trainable.full.as_ref().unwrap()))
    };
    let ((decoder_12, encoder_12), (decoder_20, encoder_20)) = (at(12), at(20));
    assert!(decoder_12 != values(&decoder(21)) && encoder_12 != encoder_20);
    assert!(decoder_12 == decoder_20);
}

#[test]
fn the_weights_of_the_best_validation_are_the_result() {
    let dir = tempfile::tempdir().unwrap();
    let score = |step: usize| 1.0 - (step as f64 - 8.0).abs() / 100.0;
    let run = |name: &str, steps: usize, keep_best: bool| {
        let rows = FixedRows::new(texts(), Some(substitution(2, 3, 2, 14)));
        let mut stage = stage(&dir.path().join(name), steps, 4, optim(1e-2, 2), rows);
        // A schedule that does not depend on the length.
        stage.optim.min_lr_ratio = 1.0;
        stage.run.validate_every = 4;
        stage.run.keep_best = keep_best;
        stage.last_level = 2;
        let calls = std::sync::atomic::AtomicUsize::new(0);
        stage.validate = Some(Arc::new(move |_: &SubstitutionModel, _| {
            let call = 1 + calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Ok(json!({"valid_f1": score(4 * call)}))
        }));
        values(&fit(model(LatentOptions::default()), stage).unwrap())
    };
    let (eight, best, last) = (run("eight", 8, false), run("best", 16, true), run("last", 16, false));
    assert!(best == eight && last != eight);
}

#[test]
fn refined_latents_write_their_texts_exactly() {
    let decoder = seeded(31, |device| Decoder::random(config(), 0.3, 31, device));
    let reader = Autoencoder { decoder, encoder: Encoder::Bare, special: None, sod: SOD, layout: layout() };
    let rows: Vec<Vec<u32>> = texts().iter().map(|x| x[..x.len().min(4)].to_vec()).collect();
    let start = reader.encode(&rows, 4);
    let written = |latents: Tensor<3>| reader.decode(latents, true, 9, &[EOT], &Decoding::Greedy);
    assert_ne!(written(start.clone()), rows);
    let config = RefineConfig { steps: 400, learning_rate: 0.1, nf4: None };
    let found = refine(&reader, &rows, start.clone(), EOT, &config);
    for (row, exact) in found.exact_after.iter().enumerate() {
        if exact.is_some() {
            assert_eq!(written(found.latents.clone().narrow(0, row, 1))[0], rows[row]);
            assert_eq!(found.token_accuracy[row], 1.0);
        }
    }
    assert!(found.exact_after.iter().flatten().count() >= 3, "{:?}", found.exact_after);
    // No step: what came is what stays, and its accuracy is told.
    let none = refine(&reader, &rows, start.clone(), EOT, &RefineConfig { steps: 0, ..config });
    assert_eq!(difference(none.latents, start), 0.0);
    assert!(none.token_accuracy.iter().all(|share| (0.0..=1.0).contains(share)));
}
