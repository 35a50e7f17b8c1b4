//! Gradients of a step: computed on several threads, averaged, clipped.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::train::TrainStep;

use crate::batch::{Batch, Row};
use crate::objective::StepLoss;

/// The mean loss over every learnt token of `batches` and its gradient.
///
/// Each batch is cut into `shards` runs of rows, computed at the same time on a thread each: a small model leaves most
/// of a CPU idle. The sum is taken in a fixed order, so the number of cores does not change the result.
pub(crate) fn gradients<M>(model: &M, batches: Vec<Batch>, shards: usize) -> (GradientsParams, f32)
where
    M: Module + TrainStep<Input = Batch, Output = StepLoss> + 'static,
{
    let learnt = |rows: &[Row]| rows.iter().flat_map(|r| &r.learnt).map(|r| r.len()).sum::<usize>();
    let total = batches.iter().map(|b| learnt(&b.rows)).sum::<usize>().max(1) as f64;
    let (mut sum, mut loss) = (None, 0.0);
    for batch in batches {
        let size = batch.rows.len().div_ceil(shards.max(1)).max(1);
        let part = |rows: &[Row]| Batch { rows: rows.to_vec(), level: batch.level, block: batch.block, step: batch.step };
        let parts: Vec<Batch> = batch.rows.chunks(size).map(part).collect();
        let weights: Vec<f64> = parts.iter().map(|p| learnt(&p.rows) as f64 / total).collect();
        let outputs = match parts.len() {
            1 => parts.into_iter().map(|part| model.step(part)).collect(),
            _ => on_threads(model, parts),
        };
        for (output, weight) in outputs.into_iter().zip(weights) {
            loss += output.item.loss.into_data().iter::<f64>().sum::<f64>() * weight;
            sum = Some(add(model, sum, output.grads, weight));
        }
    }
    (sum.unwrap_or_default(), loss as f32)
}

fn on_threads<M>(model: &M, parts: Vec<Batch>) -> Vec<burn::train::TrainOutput<StepLoss>>
where
    M: Module + TrainStep<Input = Batch, Output = StepLoss> + 'static,
{
    let Some(device) = model.devices().into_iter().next() else {
        return parts.into_iter().map(|part| model.step(part)).collect();
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| {
                // A fork has an autodiff graph of its own; parameters keep their ids.
                let fork = model.clone().fork(&device);
                scope.spawn(move || fork.step(part))
            })
            .collect();
        // A panic in a step is a bug of ours: let it show as one.
        threads.into_iter().map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// `sum + weight * grads`
fn add<M: Module>(model: &M, sum: Option<GradientsParams>, grads: GradientsParams, weight: f64) -> GradientsParams {
    let mut add = Add { sum: sum.unwrap_or_default(), grads, weight };
    model.visit(&mut add);
    add.sum
}

/// Scales gradients so that their global norm is at most `max_norm` (0: any), and returns the norm before.
///
/// burn clips each tensor on its own.
pub(crate) fn clip<M: Module>(model: &M, grads: GradientsParams, max_norm: f64) -> (GradientsParams, f64) {
    let norm = global_norm(model, &grads);
    match max_norm > 0.0 && norm > max_norm {
        true => (add(model, None, grads, max_norm / norm), norm),
        false => (grads, norm),
    }
}

/// The L2 norm of all gradients together.
pub fn global_norm<M: Module>(model: &M, grads: &GradientsParams) -> f64 {
    let mut squares = Squares { grads, sums: Vec::new() };
    model.visit(&mut squares);
    if squares.sums.is_empty() {
        return 0.0;
    }
    Tensor::cat(squares.sums, 0).sum().into_data().iter::<f64>().sum::<f64>().sqrt()
}

struct Squares<'a> {
    grads: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.sums.push(grad.square().sum());
        }
    }
}

struct Add {
    sum: GradientsParams,
    grads: GradientsParams,
    weight: f64,
}

impl ModuleVisitor for Add {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(grad) = self.grads.remove::<D>(param.id) else { return };
        let grad = if self.weight == 1.0 { grad } else { grad * self.weight };
        let sum = match self.sum.remove::<D>(param.id) {
            Some(sum) => sum + grad,
            None => grad,
        };
        self.sum.register(param.id, sum);
    }
}
