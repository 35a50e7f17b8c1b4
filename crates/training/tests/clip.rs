//! Clipping, accumulation and shards, seen from outside: in the weights after a step of `fit`.
//!
//! AdamW divides a gradient by its own size plus epsilon, which would hide its scale. Clipped far below epsilon the step
//! is linear: `lr * gradient / epsilon`.
#![allow(clippy::unwrap_used)]

#[path = "shared/tiny.rs"]
mod tiny;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use nextmem_training::{Batch, Level, Objective, OptimConfig, RowSource, TokenModel, fit, global_norm};
use tiny::{FixedRows, SOD, adapter, decoder, full, lora, metrics, optim, special, stage, values};

/// AdamW's epsilon in `fit`.
const EPSILON: f64 = 1e-8;
/// A maximum norm so far below epsilon that every step is linear in the gradient.
const LINEAR_NORM: f64 = 1e-11;

fn models() -> [TokenModel; 2] {
    [TokenModel::new(full(decoder(1)), None, SOD), TokenModel::new(lora(adapter(2), Some(special(3))), Some(decoder(1)), SOD)]
}

fn rows() -> FixedRows {
    FixedRows::new(vec![vec![3, 4, 5, 6, 7], vec![8, 9], vec![10, 11, 12, 13], vec![14, 15, 16], vec![3, 1, 2, 6, 9, 11]], None)
}

fn linear(learning_rate: f64, batch_size: usize) -> OptimConfig {
    OptimConfig { min_lr_ratio: 1.0, clip_norm: LINEAR_NORM, ..optim(learning_rate, batch_size) }
}

/// Weights after `steps`, and the logged losses and norms.
fn run(model: &TokenModel, steps: usize, optim: OptimConfig, shards: usize) -> (Vec<f64>, Vec<[f64; 2]>) {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = stage(dir.path(), steps, 1, optim, rows());
    stage.run.shards = shards;
    let trained = fit(model.clone(), stage).unwrap();
    let logged = metrics(dir.path()).iter().map(|m| [m["loss"].as_f64().unwrap(), m["grad_norm"].as_f64().unwrap()]).collect();
    (values(&trained).into_iter().map(f64::from).collect(), logged)
}

fn start(model: &TokenModel) -> Vec<f64> {
    values(model).into_iter().map(f64::from).collect()
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// The gradient of the first `count` rows in the order of `values`, and its norm.
fn gradient(model: &TokenModel, count: u64) -> (Vec<f64>, f64) {
    struct Collect<'a>(&'a GradientsParams, Vec<f64>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let grad = self.0.get::<D>(param.id).unwrap();
            self.1.extend(grad.into_data().iter::<f64>());
        }
    }
    let model = model.clone().train();
    let batch = Batch::new(0, (0..count).map(|place| rows().row(place, Level::PLAIN).unwrap()).collect());
    let grads = GradientsParams::from_grads(model.loss(&batch).backward(), &model);
    let mut collect = Collect(&grads, Vec::new());
    model.visit(&mut collect);
    let norm = global_norm(&model, &grads);
    (collect.1, norm)
}

#[test]
fn the_global_norm_after_clipping_is_the_maximum() {
    for model in models() {
        let (grad, before) = gradient(&model, 4);
        assert!((norm(grad.iter().copied()) / before - 1.0).abs() < 1e-5 && before > 1e-2);
        let learning_rate = 1000.0;
        let (after, logged) = run(&model, 1, linear(learning_rate, 4), 1);
        // The log shows the norm before clipping.
        assert!((logged[0][1] / before - 1.0).abs() < 1e-5, "{logged:?}, expected {before}");
        let step: Vec<f64> = after.iter().zip(start(&model)).map(|(a, b)| a - b).collect();
        let expected = learning_rate * LINEAR_NORM / EPSILON;
        let got = norm(step.iter().copied());
        assert!((got / expected - 1.0).abs() < 1e-3, "a step of {got}, expected {expected}");
        // One factor for all tensors: the direction stays that of the gradient.
        let off = norm(step.iter().zip(&grad).map(|(s, g)| s + g / before * expected));
        assert!(off < 1e-3 * expected, "{off} of {expected} in another direction");
    }
}

#[test]
fn a_gradient_below_the_maximum_is_left_alone() {
    for model in models() {
        let with = |clip_norm| run(&model, 3, OptimConfig { clip_norm, ..optim(1e-3, 4) }, 1);
        assert_eq!(with(0.0), with(1e6));
        assert_ne!(with(0.0).0, start(&model));
    }
}

fn assert_close(what: &str, (a, a_log): &(Vec<f64>, Vec<[f64; 2]>), (b, b_log): &(Vec<f64>, Vec<[f64; 2]>)) {
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-6, "{what}: weights differ by {worst}");
    for ([loss, norm], [other_loss, other_norm]) in a_log.iter().zip(b_log) {
        assert!((loss / other_loss - 1.0).abs() < 1e-5 && (norm / other_norm - 1.0).abs() < 1e-5, "{what}: {a_log:?}, {b_log:?}");
    }
}

#[test]
fn accumulated_parts_and_shards_equal_one_batch() {
    for model in models() {
        // Steps of about 1e-3 a weight, so that 1e-6 says something; rows of unlike lengths, so tokens must be counted.
        let whole = run(&model, 3, linear(100.0, 4), 1);
        let moved = whole.0.iter().zip(start(&model)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(moved > 1e-3, "{moved}");
        assert_close("2 x 2 rows", &run(&model, 3, OptimConfig { accumulation: 2, ..linear(100.0, 2) }, 1), &whole);
        assert_close("4 x 1 row", &run(&model, 3, OptimConfig { accumulation: 4, ..linear(100.0, 1) }, 1), &whole);
        assert_close("2 shards", &run(&model, 3, linear(100.0, 4), 2), &whole);
        assert_close("3 shards", &run(&model, 3, linear(100.0, 4), 3), &whole);
    }
}
