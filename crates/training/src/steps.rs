//! Optimizer steps: one at a time, without the files of a stage.

use burn::module::ParamGroup;
use burn::optim::MuonConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::train::{Learner, LearnerModel, TrainStep};

use crate::batch::Batch;
use crate::config::{OptimConfig, Optimizer, TrainedDecoder};
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
        Self { learner: learner(model, optim, total, Rates::default()), optim: optim.clone(), shards, step: 0 }
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

/// The learning rate over the steps of a stage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// The peak is kept until this step; the cosine follows.
    pub hold: usize,
    /// A decoder that is trained along, with a rate of its own that falls to 0.
    pub trained_decoder: Option<TrainedDecoder>,
}

/// A model with its optimizer and its schedule.
pub(crate) fn learner<M>(model: M, optim: &OptimConfig, total: usize, rates: Rates) -> Learner<M>
where
    M: LearnerModel,
{
    let schedule = |peak: f64| WarmupCosine::new(peak, optim.warmup_steps, total, optim.min_lr_ratio).holding(rates.hold);
    let mut optimizer = optim.adamw().init();
    let mut scheduler = ModuleLrScheduler::new(schedule(optim.learning_rate));
    let muon = optim.optimizer == Optimizer::Muon;
    if muon {
        optimizer = optimizer.with_group(matrices(), MuonConfig::new().with_weight_decay(optim.muon_decay()).build(), None);
        scheduler = scheduler.with_group(matrices(), schedule(optim.muon_rate()));
    }
    if let Some(decoder) = rates.trained_decoder {
        let schedule = |peak: f64| WarmupCosine::new(peak * decoder.rate, optim.warmup_steps.min(decoder.steps), decoder.steps, 0.0);
        scheduler = scheduler.with_group(ParamGroup::from_predicate(TRAINED_DECODER), schedule(optim.learning_rate));
        if muon {
            let both = ParamGroup::from_regexes(vec![TRAINED_DECODER, MATRICES]);
            scheduler = both.into_iter().fold(scheduler, |scheduler, group| scheduler.with_group(group, schedule(optim.muon_rate())));
        }
    }
    Learner::new(model.train(), optimizer, scheduler)
}

/// The field of a model that holds the decoder that is trained along.
const TRAINED_DECODER: &str = "trained_decoder";
/// The two-dimensional weights of the layers, as their paths end; LoRA factors are not among them.
const MATRICES: &str = "layers\\.\\d+\\..*_proj$";

fn matrices() -> ParamGroup {
    // The pattern is a constant of ours; without it nothing would be Muon's, which a test would see.
    ParamGroup::from_regex(MATRICES).unwrap_or_else(|_| ParamGroup::from_paths(Vec::<String>::new()))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::batch::reconstruction_row;
    use crate::objective::{TokenModel, Trainable};
    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::{Device, Tensor};
    use nextmem_model::{Decoder, DecoderConfig};

    /// The largest change of a parameter between two models, by whether its path ends as Muon's do.
    struct Changes(Vec<String>, Vec<(bool, Vec<f32>)>);

    impl ModuleVisitor for Changes {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.0.push(name.into());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let matrix = self.0.last().is_some_and(|name| name.ends_with("_proj"));
            self.1.push((matrix, param.val().into_data().iter::<f32>().collect()));
        }
    }

    fn values(model: &TokenModel) -> Vec<(bool, Vec<f32>)> {
        let mut changes = Changes(Vec::new(), Vec::new());
        model.visit(&mut changes);
        changes.1
    }

    #[test]
    fn muon_trains_the_matrices_of_the_layers_and_adamw_the_rest() {
        let config = DecoderConfig {
            vocab_size: 64,
            hidden_size: 16,
            intermediate_size: 24,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            head_dim: 8,
            rms_norm_eps: 1e-6,
            rope_theta: 1e4,
            tie_word_embeddings: true,
            max_position_embeddings: 64,
        };
        let decoder = Decoder::random(config, 0.1, 3, &Device::flex());
        let model = TokenModel::new(Trainable { full: Some(decoder), adapter: None, special: None }, None, 60);
        // AdamW alone does next to nothing at its rate, Muon a step of its own.
        let optim =
            OptimConfig { optimizer: Optimizer::Muon, learning_rate: 1e-9, muon_learning_rate: Some(0.02), ..OptimConfig::example() };
        let mut stepper = Stepper::new(model.clone(), &optim, 10, 1);
        stepper.step(Batch::new(0, vec![reconstruction_row(&[5, 6, 7, 8], 60, 61, false)])).unwrap();
        let (before, after) = (values(&model), values(&stepper.learner.model()));
        for ((matrix, before), (_, after)) in before.iter().zip(&after) {
            let moved = before.iter().zip(after).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert_eq!(moved > 1e-4, *matrix, "{moved}");
        }
        assert_eq!(before.iter().filter(|(matrix, _)| *matrix).count(), 14);
    }
}
