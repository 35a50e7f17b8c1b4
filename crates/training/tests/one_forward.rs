//! Stage 2 in one forward pass equals the sequential loop: k full passes, every fed-back latent detached.
#![allow(clippy::unwrap_used)]

#[path = "shared/tiny.rs"]
mod tiny;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Gradients, Int, Tensor, TensorData, activation};
use nextmem_model::{Decoder, SpecialDelta};
use nextmem_training::{
    Batch, LatentOptions, Objective, Row, SubstitutionModel, TokenModel, global_norm, reconstruction_row, substitution_row,
};
use tiny::{EOT, SOD, adapter, decoder, full, lora, special};

/// Of the loss, and of a gradient to the largest value of its tensor.
const TOLERANCE: f32 = 1e-5;

fn model(with_lora: bool, detach: bool) -> SubstitutionModel {
    let decoder = decoder(21);
    let (trainable, special) = match with_lora {
        true => (lora(adapter(22), None), Some(SpecialDelta { sod: SOD, delta: special(23) })),
        // As stage 2 starts: the encoder is a copy of the decoder, parameter ids included.
        false => (full(decoder.clone()), None),
    };
    SubstitutionModel::new(trainable, decoder, special, SOD, LatentOptions { detach, ..LatentOptions::default() }).train()
}

fn texts() -> [Vec<u32>; 3] {
    [vec![3, 4, 5, 6, 7, 8, 9, 10, 11], vec![12, 13, 14, 15], vec![16, 17, 18, 19, 20, 21, 22]]
}

fn batch(level: usize) -> Batch {
    Batch::new(level, texts().iter().map(|x| substitution_row(x, level, 2, SOD, EOT)).collect())
}

fn embed(decoder: &Decoder, special: &Option<SpecialDelta>, ids: &[u32]) -> Tensor<3> {
    let ids: Vec<i32> = ids.iter().map(|t| *t as i32).collect();
    let count = ids.len();
    let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, count]), &decoder.device());
    let embeds = decoder.embed(tokens.clone());
    special.as_ref().map_or(embeds.clone(), |s| s.add(&tokens, embeds))
}

/// The official loop for one row, without padding: re-read the whole prefix for every latent.
fn sequential(model: &SubstitutionModel, row: &Row, level: usize) -> Tensor<3> {
    let (decoder, adapter, special) = match &model.trainable.full {
        Some(full) => (full, None, &None),
        None => (&model.decoder, model.trainable.adapter.as_ref(), &model.special),
    };
    let mut input = embed(decoder, special, &[row.source.as_slice(), &[SOD]].concat());
    let mut latents = Vec::new();
    for _ in 0..level {
        let hidden = decoder.hidden(input.clone(), &[], adapter, None);
        let latent = hidden.clone().narrow(1, hidden.dims()[1] - 1, 1);
        input = Tensor::cat(vec![input, latent.clone().detach()], 1);
        latents.push(latent);
    }
    Tensor::cat(latents, 1)
}

/// The definition of the loss, row by row: the mean of `-log p` over all learnt tokens of the batch.
fn sequential_loss(model: &SubstitutionModel, batch: &Batch) -> Tensor<1> {
    let mut terms = Vec::new();
    for row in &batch.rows {
        let input = Tensor::cat(vec![sequential(model, row, batch.level), embed(&model.decoder, &model.special, &row.tokens)], 1);
        let logits = model.decoder.logits(model.decoder.hidden(input, &[], None, None));
        let log_probs = activation::log_softmax(logits, 2);
        for i in row.learnt.iter().cloned().flatten() {
            let at = log_probs.clone().narrow(1, batch.level + i - 1, 1).narrow(2, row.tokens[i] as usize, 1);
            terms.push(at.reshape([1]));
        }
    }
    Tensor::cat(terms, 0).mean().neg()
}

fn scalar(loss: &Tensor<1>) -> f32 {
    loss.clone().inner().into_scalar()
}

fn gradients<M: Module>(model: &M, loss: &Tensor<1>) -> GradientsParams {
    GradientsParams::from_grads(loss.backward(), model)
}

/// Compares the gradients of every parameter; all must have one that is not zero.
struct Compare<'a> {
    a: &'a GradientsParams,
    b: &'a GradientsParams,
    worst: f32,
    count: usize,
}

impl ModuleVisitor for Compare<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let (a, b) = (self.a.get::<D>(param.id).expect("no gradient"), self.b.get::<D>(param.id).expect("no gradient"));
        let largest: f32 = b.clone().abs().max().into_scalar();
        let difference: f32 = (a - b).abs().max().into_scalar();
        assert!(largest > 0.0, "the gradient of parameter {} is zero", self.count);
        self.worst = self.worst.max(difference / largest);
        self.count += 1;
    }
}

/// Parameters that have a gradient, or would keep one.
struct Reached<'a> {
    grads: &'a Gradients,
    params: usize,
    reached: usize,
}

impl ModuleVisitor for Reached<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let weight = param.val();
        self.params += 1;
        self.reached += usize::from(weight.grad(self.grads).is_some());
    }
}

fn reached<M: Module>(module: &M, grads: &Gradients) -> (usize, usize) {
    let mut reached = Reached { grads, params: 0, reached: 0 };
    module.visit(&mut reached);
    (reached.reached, reached.params)
}

#[test]
fn one_forward_equals_the_sequential_loop() {
    for with_lora in [true, false] {
        let model = model(with_lora, true);
        for level in [1, 3, 6] {
            let batch = batch(level);
            let what = format!("lora {with_lora}, level {level}");
            let latents = model.latents(&batch).inner();
            for (i, row) in batch.rows.iter().enumerate() {
                let alone = sequential(&model, row, level).inner();
                let (largest, difference): (f32, f32) =
                    (alone.clone().abs().max().into_scalar(), (latents.clone().narrow(0, i, 1) - alone).abs().max().into_scalar());
                assert!(difference < TOLERANCE * largest, "{what}, row {i}: latents differ by {difference} of {largest}");
            }
            let (one, many) = (model.loss(&batch), sequential_loss(&model, &batch));
            let (a, b) = (scalar(&one), scalar(&many));
            assert!((a - b).abs() < TOLERANCE * b, "{what}: losses {a} and {b}");
            let (a, b) = (gradients(&model, &one), gradients(&model, &many));
            let mut compare = Compare { a: &a, b: &b, worst: 0.0, count: 0 };
            model.visit(&mut compare);
            assert!(compare.worst < TOLERANCE, "{what}: gradients differ by {} of the largest", compare.worst);
            assert_eq!(compare.count, if with_lora { 2 * 7 * 2 } else { 2 * 11 + 2 });
        }
    }
}

#[test]
fn gradients_reach_the_encoder_and_stop_at_the_decoder() {
    for with_lora in [true, false] {
        for detach in [true, false] {
            let (model, batch) = (model(with_lora, detach), batch(3));
            let grads = model.loss(&batch).backward();
            let (in_encoder, params) = reached(&model.trainable, &grads);
            assert_eq!(in_encoder, params, "lora {with_lora}");
            assert_eq!(reached(&model.decoder, &grads).0, 0, "lora {with_lora}");
            // What the optimizer sees is the encoder and nothing else.
            assert_eq!(model.num_params(), model.trainable.num_params());
            assert_eq!(GradientsParams::from_grads(grads, &model).len(), params);
        }
    }
}

#[test]
fn without_detach_the_loss_is_the_same_and_the_gradient_is_not() {
    for with_lora in [true, false] {
        for level in [1, 4] {
            let batch = batch(level);
            let (detached, attached) = (model(with_lora, true), model(with_lora, false));
            let (a, b) = (detached.loss(&batch), attached.loss(&batch));
            assert!((scalar(&a) - scalar(&b)).abs() < TOLERANCE * scalar(&a));
            let norms = [global_norm(&detached, &gradients(&detached, &a)), global_norm(&attached, &gradients(&attached, &b))];
            let apart = (norms[0] - norms[1]).abs() / norms[0];
            // A single latent is never fed back.
            assert!(if level == 1 { apart < 1e-5 } else { apart > 1e-3 }, "level {level}: {norms:?}");
        }
    }
}

/// Rows alone have no padding.
fn assert_mean_over_tokens(model: &impl Objective, whole: &Batch) {
    let alone: Vec<(f32, f32)> = whole
        .rows
        .iter()
        .map(|row| {
            let single = Batch::new(whole.level, vec![row.clone()]);
            (scalar(&model.loss(&single)), row.learnt.iter().map(|r| r.len()).sum::<usize>() as f32)
        })
        .collect();
    let tokens: f32 = alone.iter().map(|(_, n)| n).sum();
    let (mean, got) = (alone.iter().map(|(loss, n)| loss * n).sum::<f32>() / tokens, scalar(&model.loss(whole)));
    assert!((mean - got).abs() < TOLERANCE * mean, "level {}: {got}, expected {mean}", whole.level);
    assert!((alone[0].0 - got).abs() > 1e-3, "rows must differ for this to say anything");
}

#[test]
fn the_loss_of_a_batch_is_the_mean_over_its_tokens() {
    for with_lora in [true, false] {
        for detach in [true, false] {
            for level in [1, 3, 6] {
                assert_mean_over_tokens(&model(with_lora, detach).valid(), &batch(level));
            }
        }
    }
    let rows = texts().iter().map(|x| reconstruction_row(x, SOD, EOT, false)).collect();
    let stage1 = TokenModel::new(lora(adapter(22), Some(special(23))), Some(decoder(21)), SOD);
    assert_mean_over_tokens(&stage1, &Batch::new(0, rows));
}
