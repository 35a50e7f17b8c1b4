//! Stage 2 in one forward pass equals the sequential loop: k full passes, every fed-back latent detached.
#![allow(clippy::unwrap_used)]

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Distribution, Tensor};
use nextmem_model::{Decoder, DecoderConfig, LoraAdapter, token_tensor};
use nextmem_training::{Batch, Objective, SubstitutionModel, Trainable, global_norm, substitution_row};

const SOD: u32 = 59;

fn config() -> DecoderConfig {
    DecoderConfig {
        vocab_size: 61,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 12,
        rms_norm_eps: 1e-6,
        rope_theta: 1e4,
        tie_word_embeddings: true,
        max_position_embeddings: 128,
    }
}

fn model(lora: bool, detach: bool) -> SubstitutionModel {
    let device = Device::flex();
    device.seed(21);
    let decoder = Decoder::random(config(), 0.2, &device);
    let trainable = match lora {
        true => {
            let adapter = LoraAdapter::random(&config(), 3, 6.0, &device);
            Trainable { full: None, adapter: Some(randomised(adapter)), special: None }
        }
        false => Trainable { full: Some(Decoder::random(config(), 0.2, &device)), adapter: None, special: None },
    };
    SubstitutionModel { trainable, decoder, special: None, sod: SOD, detach }.train()
}

/// B starts at zero, which would hide half of the gradients.
fn randomised(adapter: LoraAdapter) -> LoraAdapter {
    struct Fill;
    impl burn::module::ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|t| t.random_like(Distribution::Normal(0.0, 0.1)))
        }
    }
    adapter.map(&mut Fill)
}

fn batch(level: usize) -> Batch {
    let texts: [&[u32]; 3] = [&[3, 4, 5, 6, 7, 8, 9, 10, 11], &[12, 13, 14, 15], &[16, 17, 18, 19, 20, 21, 22]];
    Batch { level, rows: texts.iter().map(|x| substitution_row(x, level, 2, SOD, 1)).collect() }
}

/// The official loop: re-read the whole prefix for every latent.
fn sequential(model: &SubstitutionModel, batch: &Batch) -> Tensor<3> {
    let (decoder, adapter) = match &model.trainable.full {
        Some(full) => (full, None),
        None => (&model.decoder, model.trainable.adapter.as_ref()),
    };
    let rows: Vec<Vec<u32>> = batch.rows.iter().map(|r| [r.source.as_slice(), &[SOD]].concat()).collect();
    let (tokens, pads) = token_tensor(&rows, SOD, &decoder.device());
    let mut input = decoder.embed(tokens);
    let mut latents = Vec::new();
    for _ in 0..batch.level {
        let hidden = decoder.hidden(input.clone(), &pads, adapter, None);
        let last = hidden.dims()[1] - 1;
        let latent = hidden.narrow(1, last, 1);
        input = Tensor::cat(vec![input, latent.clone().detach()], 1);
        latents.push(latent);
    }
    Tensor::cat(latents, 1)
}

/// Every gradient, largest difference over largest value.
struct Compare<'a> {
    a: &'a GradientsParams,
    b: &'a GradientsParams,
    worst: f32,
    count: usize,
}

impl ModuleVisitor for Compare<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        match (self.a.get::<D>(param.id), self.b.get::<D>(param.id)) {
            (Some(a), Some(b)) => {
                let largest: f32 = b.clone().abs().max().into_scalar();
                let difference: f32 = (a - b).abs().max().into_scalar();
                self.worst = self.worst.max(difference / largest.max(1e-6));
                self.count += 1;
            }
            (None, None) => {}
            _ => panic!("only one of the two has a gradient"),
        }
    }
}

fn gradients(model: &SubstitutionModel, loss: &Tensor<1>) -> GradientsParams {
    GradientsParams::from_grads(loss.backward(), model)
}

fn scalar(loss: &Tensor<1>) -> f32 {
    loss.clone().inner().into_scalar()
}

#[test]
fn one_forward_equals_the_sequential_loop() {
    for lora in [true, false] {
        for level in [1, 3, 6] {
            let (model, batch) = (model(lora, true), batch(level));
            let one = model.loss(&batch);
            let many = model.loss_of(&batch, sequential(&model, &batch));
            let (a, b) = (scalar(&one), scalar(&many));
            assert!((a - b).abs() / b < 1e-5, "lora {lora}, level {level}: losses {a} and {b}");
            let (a, b) = (gradients(&model, &one), gradients(&model, &many));
            let mut compare = Compare { a: &a, b: &b, worst: 0.0, count: 0 };
            model.visit(&mut compare);
            assert!(compare.worst < 1e-4, "lora {lora}, level {level}: gradients differ by {}", compare.worst);
            // the frozen decoder is no part of the module: whatever got a gradient belongs to the encoder
            assert_eq!(a.len(), compare.count);
            assert!(compare.count >= 20 && global_norm(&model, &a) > 0.0);
        }
    }
}

#[test]
fn without_detach_the_loss_is_the_same_and_the_gradient_is_not() {
    let batch = batch(4);
    let (detached, attached) = (model(true, true), model(true, false));
    let (a, b) = (detached.loss(&batch), attached.loss(&batch));
    assert!((scalar(&a) - scalar(&b)).abs() < 1e-5);
    let norms = [global_norm(&detached, &gradients(&detached, &a)), global_norm(&attached, &gradients(&attached, &b))];
    assert!((norms[0] - norms[1]).abs() / norms[0] > 1e-3, "{norms:?}");
}

#[test]
fn the_loss_of_a_batch_is_the_mean_over_its_tokens() {
    let (model, whole) = (model(true, true).valid(), batch(3));
    let alone: Vec<(f32, f32)> = whole
        .rows
        .iter()
        .map(|row| {
            let single = Batch { level: 3, rows: vec![row.clone()] };
            (scalar(&model.loss(&single)), row.learnt.iter().map(|r| r.len()).sum::<usize>() as f32)
        })
        .collect();
    let tokens: f32 = alone.iter().map(|(_, n)| n).sum();
    let mean = alone.iter().map(|(loss, n)| loss * n).sum::<f32>() / tokens;
    assert!((mean - scalar(&model.loss(&whole))).abs() < 1e-5);
}
