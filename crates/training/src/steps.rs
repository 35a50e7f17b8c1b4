//! Optimizer steps: one at a time, without the files of a stage.

use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::train::{Learner, LearnerModel, TrainStep};

use crate::batch::Batch;
use crate::config::OptimConfig;
use crate::error::TrainError;
use crate::gradients::{clip, gradients};
use crate::objective::StepLoss;
use crate::schedule::WarmupCosine;

/// A model and its optimizer, stepped by hand: what benchmarks and portability tests run, with the arithmetic of `fit`.
pub struct Stepper<M: LearnerModel> {
    learner: Learner<M>,
    optim: OptimConfig,
    shards: usize,
    step: usize,
}

impl<M> Stepper<M>
where
    M: LearnerModel + TrainStep<Input = Batch, Output = StepLoss>,
{
    /// Steps of a schedule that is `total` long, a batch cut into `shards` as `[train.loop]` does it.
    pub fn new(model: M, optim: &OptimConfig, total: usize, shards: usize) -> Self {
        Self { learner: learner(model, optim, total), optim: optim.clone(), shards, step: 0 }
    }

    /// One step; returns the loss before it.
    ///
    /// # Errors
    /// [`TrainError::Diverged`]; the weights are then as they were.
    pub fn step(&mut self, batch: Batch) -> Result<f32, TrainError> {
        self.step += 1;
        advance(&mut self.learner, vec![batch], &self.optim, self.shards, self.step).map(|(loss, _)| loss)
    }
}

/// A model with AdamW and its schedule.
pub(crate) fn learner<M>(model: M, optim: &OptimConfig, total: usize) -> Learner<M>
where
    M: LearnerModel,
{
    let schedule = WarmupCosine::new(optim.learning_rate, optim.warmup_steps, total, optim.min_lr_ratio);
    Learner::new(model.train(), optim.adamw().init(), ModuleLrScheduler::new(schedule))
}

/// Gradients of `passes` averaged, clipped and applied; returns the loss and the gradient's norm before clipping.
pub(crate) fn advance<M>(
    learner: &mut Learner<M>,
    passes: Vec<Batch>,
    optim: &OptimConfig,
    shards: usize,
    step: usize,
) -> Result<(f32, f64), TrainError>
where
    M: LearnerModel + TrainStep<Input = Batch, Output = StepLoss>,
{
    let model = learner.model();
    let (grads, loss) = gradients(&model, passes, shards);
    let (grads, norm) = clip(&model, grads, optim.clip_norm);
    drop(model);
    // Either would reach the weights with the step below.
    if !loss.is_finite() || !norm.is_finite() {
        return Err(TrainError::Diverged { step, loss, norm });
    }
    learner.lr_step();
    learner.optimizer_step(grads);
    Ok((loss, norm))
}
