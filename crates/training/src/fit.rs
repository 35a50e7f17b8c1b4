//! The only place that runs burn-train: a learning strategy that counts steps, not epochs.
//!
//! burn-train checkpoints at the end of an epoch; a stage here is one long epoch that can be left and entered at every
//! checkpoint, because levels, data order and random choices are pure functions of the step.

use std::collections::HashSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use burn::train::{
    InferenceStep, Learner, LearnerModel, SupervisedLearningStrategy, SupervisedTraining, SupervisedTrainingEventProcessor, TrainLoader,
    TrainStep, TrainingComponents, TrainingStrategy, ValidLoader,
};
use serde_json::{Value, json};

use crate::batch::{Batch, RowSource};
use crate::checkpoint::{AtomicCheckpointer, Best, KeepTwo, PARTS, read_state, read_sums, save_state, save_sums, sweep, whole};
use crate::config::{LoopConfig, OptimConfig};
use crate::error::TrainError;
use crate::loader::StepLoader;
use crate::objective::StepLoss;
use crate::renderer::Silent;
use crate::steps::{Rates, advance, learner};

/// Told about every step; the binary draws a progress bar from it.
pub trait Observer: Send + Sync {
    /// A stage starts, or goes on after `done` steps.
    fn start(&self, stage: &str, done: usize, total: usize);
    /// A step is done.
    fn step(&self, step: usize, message: &str);
    /// The stage has ended.
    fn end(&self, message: &str);
    /// Asked after every step: whether to save a checkpoint and stop.
    fn stop(&self) -> bool {
        false
    }
}

/// Scores the model by free-running reconstruction; the numbers go to metrics.jsonl as they are.
pub type Validate<M> = Arc<dyn Fn(&M, usize) -> Result<Value, TrainError> + Send + Sync>;

/// What a validation is judged by.
const SCORE: &str = "valid_f1";

/// One stage of training.
pub struct Stage<M> {
    /// Its name in logs: `pretrain`, `reconstruction` or `substitution`.
    pub name: &'static str,
    /// Where metrics.jsonl and checkpoints go.
    pub dir: PathBuf,
    /// Steps in all.
    pub steps: usize,
    /// The optimizer.
    pub optim: OptimConfig,
    /// Its rates over the steps.
    pub rates: Rates,
    /// Logging, checkpoints, validation.
    pub run: LoopConfig,
    /// The rows.
    pub rows: Arc<dyn RowSource>,
    /// Latents at the level that is tested; validations of lower ones are not compared with it.
    pub last_level: usize,
    /// Scores a model off the autodiff graph at a level.
    pub validate: Option<Validate<M>>,
    /// Draws progress.
    pub observer: Arc<dyn Observer>,
}

/// Trains `model` to the end of the stage, from its newest whole checkpoint if there is one, and returns it off the
/// autodiff graph.
///
/// # Errors
/// [`TrainError::Diverged`] when the loss is no number, [`TrainError::Stopped`] when the observer asked for it; data, disk and
/// checkpoint errors. What was logged and saved before stays.
pub fn fit<M>(model: M, stage: Stage<M>) -> Result<M, TrainError>
where
    M: LearnerModel + TrainStep<Input = Batch, Output = StepLoss> + InferenceStep<Input = Batch, Output = StepLoss>,
{
    let checkpoints = stage.dir.join("checkpoint");
    std::fs::create_dir_all(&checkpoints).map_err(|source| TrainError::Io { path: checkpoints.clone(), source })?;
    let log = stage.dir.join("metrics.jsonl");
    let mut saved = whole(&checkpoints);
    // The newest one whose log has no holes; with holes in all of them the newest is still better than starting again.
    if let Some(intact) = saved.iter().rposition(|step| logged(&log, *step, &stage)) {
        saved.truncate(intact + 1);
    }
    sweep(&checkpoints, &saved);
    let resumed = saved.last().copied();
    let start = resumed.unwrap_or(0);
    truncate_log(&log, start)?;
    let best = Best::at(&checkpoints);
    best.forget_after(start);
    stage.rows.restore(&read_state(&checkpoints, start));

    let keep_best = stage.run.keep_best && stage.validate.is_some();
    let learner = learner(model, &stage.optim, stage.steps, stage.rates);
    let loader = StepLoader::new(stage.rows.clone(), stage.optim.batch_size, stage.optim.accumulation, start, stage.steps);
    let failure = Arc::new(Mutex::new(None));
    let dir = stage.dir.clone();
    let strategy = StepStrategy { stage: Arc::new(stage), start, failure: failure.clone() };
    let [model_part, optim_part, schedule_part] = PARTS.map(|part| AtomicCheckpointer::new(&checkpoints, part));
    let mut training = SupervisedTraining::new(&dir, loader.clone(), loader)
        .with_custom_checkpointers(model_part, optim_part, schedule_part)
        .with_checkpointing_strategy(KeepTwo { saved: saved.into() })
        .with_application_logger(None)
        .renderer(Box::new(Silent))
        .with_training_strategy(TrainingStrategy::Custom(Arc::new(strategy)));
    if let Some(step) = resumed {
        training = training.checkpoint(step);
    }
    let result = training.launch(learner);
    if let Some(error) = failure.lock().unwrap_or_else(|e| e.into_inner()).take() {
        return Err(error);
    }
    if let Some(error) = result.error {
        return Err(TrainError::checkpoint(error.to_string()));
    }
    match best.load().filter(|_| keep_best) {
        Some(record) => Ok(result.model.load_record(record.map_err(|e| TrainError::checkpoint(e.to_string()))?)),
        None => Ok(result.model),
    }
}

/// Whether a log has every line up to a step that an uninterrupted run writes.
fn logged<M>(path: &Path, until: usize, stage: &Stage<M>) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    let lines = bytes.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let there: HashSet<(u64, bool)> = lines.filter_map(|line| Some((line["step"].as_u64()?, !line["loss"].is_null()))).collect();
    let has = |step: usize, loss: bool| there.contains(&(step as u64, loss));
    let every = |n: usize, loss: bool| n == 0 || (1..=until / n).all(|i| has(i * n, loss));
    let last = until < stage.steps || has(until, true);
    every(stage.run.log_every, true) && last && (stage.validate.is_none() || every(stage.run.validate_every, false))
}

/// Drops what a killed run logged after its last checkpoint, so that the resumed log equals an uninterrupted one.
fn truncate_log(path: &Path, steps: usize) -> Result<(), TrainError> {
    let io = |source| TrainError::Io { path: path.to_owned(), source };
    // What a damaged disk left of a line is no line.
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(io(e)),
    };
    let kept: String = text
        .lines()
        .filter(|line| serde_json::from_str::<Value>(line).ok().and_then(|v| v["step"].as_u64()).is_some_and(|s| s <= steps as u64))
        .flat_map(|line| [line, "\n"])
        .collect();
    nextmem_model::write_atomically(path, kept.as_bytes())?;
    Ok(())
}

struct StepStrategy<M> {
    stage: Arc<Stage<M>>,
    start: usize,
    failure: Arc<Mutex<Option<TrainError>>>,
}

impl<M> SupervisedLearningStrategy<M> for StepStrategy<M>
where
    M: LearnerModel + TrainStep<Input = Batch, Output = StepLoss> + InferenceStep<Input = Batch, Output = StepLoss>,
{
    fn fit(
        &self,
        mut components: TrainingComponents<M>,
        mut learner: Learner<M>,
        train: TrainLoader<M>,
        _valid: ValidLoader<M>,
        _starting_epoch: usize,
    ) -> (M, SupervisedTrainingEventProcessor<M>) {
        self.stage.observer.start(self.stage.name, self.start, self.stage.steps);
        let outcome = self.steps(&mut components, &mut learner, &train);
        match outcome {
            Ok(message) => self.stage.observer.end(&message),
            Err(error) => {
                self.stage.observer.end("stopped");
                *self.failure.lock().unwrap_or_else(|e| e.into_inner()) = Some(error);
            }
        }
        (learner.model(), components.event_processor)
    }
}

impl<M> StepStrategy<M>
where
    M: LearnerModel + TrainStep<Input = Batch, Output = StepLoss> + InferenceStep<Input = Batch, Output = StepLoss>,
{
    fn steps(
        &self,
        components: &mut TrainingComponents<M>,
        learner: &mut Learner<M>,
        train: &TrainLoader<M>,
    ) -> Result<String, TrainError> {
        let stage = &*self.stage;
        let path = stage.dir.join("metrics.jsonl");
        let io = |source| TrainError::Io { path: path.clone(), source };
        let mut log = std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(io)?;
        let mut batches = train.iter();
        let checkpoints = stage.dir.join("checkpoint");
        let [mut sum, mut norms] = read_sums(&checkpoints, self.start);
        let mut message = String::new();
        let mut since = Instant::now();
        for step in self.start + 1..=stage.steps {
            // 1. Gradients, averaged over the accumulated passes, and a step
            let mut passes = Vec::with_capacity(stage.optim.accumulation);
            for _ in 0..stage.optim.accumulation {
                let batch = batches.next().ok_or(TrainError::EmptyDataset)?;
                passes.push(batch.map_err(|e| TrainError::Data(e.to_string()))?);
            }
            let level = passes[0].level;
            let (loss, norm) = advance(learner, passes, &stage.optim, stage.run.shards, step)?;
            let tested = stage.rows.tested(step - 1);
            stage.rows.observe(level, loss);
            sum += f64::from(loss);
            norms += norm;

            // 2. Log, validate, checkpoint
            if step % stage.run.log_every == 0 || step == stage.steps {
                let n = ((step - 1) % stage.run.log_every + 1) as f64;
                let line = json!({
                    "step": step, "level": level, "loss": sum / n, "grad_norm": norms / n,
                    "learning_rate": learner.lr_current().base(), "seconds": since.elapsed().as_secs_f64(),
                });
                writeln!(log, "{line}").map_err(io)?;
                message = format!("loss {:.4}", sum / n);
                (sum, norms, since) = (0.0, 0.0, Instant::now());
            }
            let last = step == stage.steps;
            if let Some(validate) = &stage.validate
                && (last || (stage.run.validate_every > 0 && step % stage.run.validate_every == 0))
            {
                let model = learner.model().valid();
                // A step that returned to a lower level says nothing about the newest one.
                let level = tested;
                let mut scores = validate(&model, level)?;
                if let (true, Some(score)) = (stage.run.keep_best, scores[SCORE].as_f64()) {
                    let best = Best::at(&checkpoints);
                    // Only what is tested counts: not the texts of a lower level, of which a part is shown.
                    let counts = level >= stage.last_level && best.found().is_none_or(|(_, before)| score > before);
                    if counts {
                        best.keep(step, score, model.into_record()).map_err(|e| TrainError::checkpoint(e.to_string()))?;
                        scores["best"] = true.into();
                    }
                }
                scores["step"] = step.into();
                scores["level"] = level.into();
                writeln!(log, "{scores}").map_err(io)?;
                since = Instant::now();
            }
            let parts = [(level > 0).then(|| format!("level {level}")), Some(message.clone()).filter(|m| !m.is_empty())];
            let shown = parts.into_iter().flatten().collect::<Vec<_>>().join(", ");
            stage.observer.step(step, &shown);
            let stop = !last && stage.observer.stop();
            if step % stage.run.checkpoint_every == 0 || last || stop {
                // A checkpoint on disk must not be ahead of its log.
                log.sync_data().map_err(io)?;
                save_state(&checkpoints, step, &stage.rows.state())?;
                if stop {
                    save_sums(&checkpoints, step, [sum, norms])?;
                }
                if let Some(checkpointer) = &mut components.checkpointer {
                    checkpointer.checkpoint(learner, step, &components.event_store);
                }
            }
            if stop {
                return Err(TrainError::Stopped { step, steps: stage.steps });
            }
            if components.interrupter.should_stop() {
                break;
            }
        }
        Ok(if self.start >= stage.steps { "nothing left to do".into() } else { message })
    }
}
