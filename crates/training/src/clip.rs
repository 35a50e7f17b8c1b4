//! Global-norm gradient clipping (burn clips each tensor on its own).

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Divides every gradient by `accumulation` and scales them so that their global norm is at most `max_norm` (0: any).
///
/// Returns the gradients and their norm before clipping.
pub(crate) fn clip_global_norm<M: Module>(model: &M, grads: GradientsParams, accumulation: usize, max_norm: f64) -> (GradientsParams, f64) {
    let norm = global_norm(model, &grads) / accumulation as f64;
    let mut factor = 1.0 / accumulation as f64;
    if max_norm > 0.0 && norm > max_norm {
        factor *= max_norm / norm;
    }
    if factor == 1.0 {
        return (grads, norm);
    }
    let mut scale = Scale { grads, scaled: GradientsParams::new(), factor };
    model.visit(&mut scale);
    (scale.scaled, norm)
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

struct Scale {
    grads: GradientsParams,
    scaled: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.scaled.register(param.id, grad * self.factor);
        }
    }
}
