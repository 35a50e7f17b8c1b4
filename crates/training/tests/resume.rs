//! A stage that was stopped and started again equals one that never stopped, and failures are errors.
#![allow(clippy::unwrap_used)]

#[path = "shared/tiny.rs"]
mod tiny;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use burn::train::{InferenceStep, TrainOutput, TrainStep};
use nextmem_model::{SpecialDelta, load_decoder, save_decoder};
use nextmem_training::{
    Batch, LatentOptions, LoopConfig, OptimConfig, Stage, StepLoss, SubstitutionModel, TokenModel, TrainError, Validate, fit,
};
use serde_json::json;
use tiny::{EOT, FixedRows, SOD, adapter, decoder, full, lora, metrics, optim, special, stage, substitution, values};

const STEPS: usize = 20;
const EVERY: usize = 5;
/// Two batches of two rows.
const ROWS_A_STEP: u64 = 4;

fn texts() -> Vec<Vec<u32>> {
    vec![vec![3, 4, 5, 6, 7], vec![8, 9], vec![10, 11, 12], vec![13, 14, 15, 16], vec![17, 18, 19], vec![20, 21], vec![22, 23, 24, 25]]
}

fn setting<M>(dir: &Path, rows: FixedRows) -> Stage<M> {
    let optim = OptimConfig { warmup_steps: 4, weight_decay: 0.1, accumulation: 2, ..optim(3e-3, 2) };
    let mut stage = stage(dir, STEPS, EVERY, optim, rows);
    let validate: Validate<M> = Arc::new(|_, level| Ok(json!({ "valid_level": level })));
    stage.validate = Some(validate);
    stage.run.validate_every = EVERY;
    stage
}

/// Weights of stage 1 that differ with the seed in all that is trained, as in another process.
fn stage1(seed: u64) -> TokenModel {
    TokenModel::new(lora(adapter(seed), Some(special(seed + 100))), Some(decoder(1)), SOD)
}

/// All parameters, read from a checkpoint as in a real run.
fn stage1_full(seed: u64) -> TokenModel {
    let dir = tempfile::tempdir().unwrap();
    save_decoder(&decoder(seed), dir.path(), EOT, EOT).unwrap();
    let loaded = load_decoder(dir.path(), &Device::flex()).unwrap();
    TokenModel::new(full(loaded), None, SOD)
}

fn stage2(seed: u64) -> SubstitutionModel {
    let special = Some(SpecialDelta { sod: SOD, delta: special(2) });
    SubstitutionModel::new(lora(adapter(seed), None), decoder(1), special, SOD, LatentOptions::default())
}

fn stage1_rows() -> FixedRows {
    FixedRows::new(texts(), None)
}

fn stage2_rows() -> FixedRows {
    FixedRows::new(texts(), Some(substitution(3, 2, 4, 12)))
}

/// Fails while step `step` reads its rows.
fn broken_at(step: u64, rows: FixedRows) -> FixedRows {
    FixedRows { broken_from: Some((step - 1) * ROWS_A_STEP + 1), ..rows }
}

/// Steps of the files of one part of the checkpoints.
fn saved(dir: &Path, part: &str) -> Vec<usize> {
    let entries = std::fs::read_dir(dir.join("checkpoint")).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut steps: Vec<usize> = names.filter_map(|n| n.strip_prefix(part)?.strip_prefix('-')?.strip_suffix(".bpk")?.parse().ok()).collect();
    steps.sort_unstable();
    steps
}

/// Runs a test in a process whose default device is the CPU.
///
/// burn reads optimizer records onto its default device before it moves them, and in a build with CUDA that is CUDA,
/// driver or not; only a new process can be told otherwise without `unsafe`. The binary does the same.
fn on_the_cpu(test: &str, body: impl FnOnce()) {
    if std::env::var_os("BURN_DEVICE").is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([test, "--exact", "--nocapture"]).env("BURN_DEVICE", "flex").output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success() && out.contains("1 passed"), "{out}{err}");
}

/// Stops at step 13, lets `between` change the directory, goes on from other weights, compares with a run in one piece.
macro_rules! assert_resumes {
    ($model:expr, $rows:expr, $between:expr) => {{
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = values(&fit($model(7), setting(whole.path(), $rows)).unwrap());
        assert_ne!(expected, values(&$model(7)), "nothing was trained");
        let stopped = fit($model(7), setting(parts.path(), broken_at(13, $rows))).unwrap_err();
        assert!(matches!(&stopped, TrainError::Data(reason) if reason.contains("broken on purpose")), "{stopped}");
        $between(parts.path());
        let resumed = values(&fit($model(8), setting(parts.path(), $rows)).unwrap());
        assert!(expected == resumed, "the resumed weights differ");
        assert_eq!(metrics(whole.path()), metrics(parts.path()));
        assert_eq!(metrics(whole.path()).len(), 2 * STEPS / EVERY);
        (whole, parts)
    }};
}

fn two_checkpoints(dir: &Path) {
    for part in ["model", "optim", "scheduler"] {
        assert_eq!(saved(dir, part), [5, 10], "{part}");
    }
}

#[test]
fn interrupted_equals_uninterrupted() {
    on_the_cpu("interrupted_equals_uninterrupted", || {
        assert_resumes!(stage1, stage1_rows(), two_checkpoints);
        assert_resumes!(stage1_full, stage1_rows(), two_checkpoints);
        assert_resumes!(stage2, stage2_rows(), two_checkpoints);
    });
}

#[test]
fn only_the_last_two_checkpoints_stay() {
    on_the_cpu("only_the_last_two_checkpoints_stay", || {
        let (whole, parts) = assert_resumes!(stage1, stage1_rows(), two_checkpoints);
        for dir in [whole.path(), parts.path()] {
            for part in ["model", "optim", "scheduler"] {
                assert_eq!(saved(dir, part), [15, 20], "only the last two checkpoints stay, {part}");
            }
        }
    });
}

#[test]
fn a_damaged_checkpoint_does_no_harm() {
    on_the_cpu("a_damaged_checkpoint_does_no_harm", || {
        let whole = tempfile::tempdir().unwrap();
        let expected = values(&fit(stage1(7), setting(whole.path(), stage1_rows())).unwrap());
        for part in ["model", "optim", "scheduler"] {
            for kept in [0.0, 0.5, 0.99] {
                let dir = tempfile::tempdir().unwrap();
                fit(stage1(7), setting(dir.path(), broken_at(13, stage1_rows()))).unwrap_err();
                let path = dir.path().join(format!("checkpoint/{part}-10.bpk"));
                let bytes = std::fs::read(&path).unwrap();
                // As after a power cut: the name is on the disk, the bytes are not.
                std::fs::write(&path, &bytes[..(bytes.len() as f64 * kept) as usize]).unwrap();
                // An older checkpoint or an error that says so; never a panic or weights read in part.
                match fit(stage1(8), setting(dir.path(), stage1_rows())) {
                    Ok(model) => assert!(values(&model) == expected, "{part}, {kept}: the resumed weights differ"),
                    Err(error) => assert!(matches!(error, TrainError::Checkpoint { .. }), "{part}, {kept}: {error}"),
                }
            }
        }
    });
}

#[test]
fn what_is_no_whole_checkpoint_is_not_taken_for_one() {
    on_the_cpu("what_is_no_whole_checkpoint_is_not_taken_for_one", || {
        let spoil = |dir: &Path| {
            let dir = dir.join("checkpoint");
            for part in ["model", "optim"] {
                std::fs::copy(dir.join(format!("{part}-5.bpk")), dir.join(format!("{part}-12.bpk"))).unwrap();
            }
            std::fs::copy(dir.join("scheduler-5.bpk"), dir.join("scheduler-11.bpk")).unwrap();
            std::fs::write(dir.join("model-15.bpk"), "half a file").unwrap();
            for name in ["partial-model.bpk", "partial-optim.bpk", "partial-scheduler.bpk", "model-99.bpk.tmp", "model-x.bpk", "notes"] {
                std::fs::write(dir.join(name), "half a file").unwrap();
            }
            let log = dir.with_file_name("metrics.jsonl");
            let mut text = std::fs::read_to_string(&log).unwrap();
            text.push_str("{\"step\": 11, \"loss\": 1.0}\n{\"step\": 12, \"lo");
            std::fs::write(log, text).unwrap();
        };
        assert_resumes!(stage1, stage1_rows(), spoil);

        // No whole checkpoint at all: from the start, as if the directory were empty.
        let (fresh, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let expected = values(&fit(stage1(7), setting(fresh.path(), stage1_rows())).unwrap());
        fit(stage1(7), setting(parts.path(), broken_at(13, stage1_rows()))).unwrap_err();
        for (part, step) in [("optim", 10), ("scheduler", 5)] {
            std::fs::remove_file(parts.path().join(format!("checkpoint/{part}-{step}.bpk"))).unwrap();
        }
        assert!(expected == values(&fit(stage1(7), setting(parts.path(), stage1_rows())).unwrap()));
        assert_eq!(metrics(fresh.path()), metrics(parts.path()));
    });
}

#[test]
fn a_stage_that_has_ended_is_read_back() {
    on_the_cpu("a_stage_that_has_ended_is_read_back", || {
        let dir = tempfile::tempdir().unwrap();
        let first = values(&fit(stage1(7), setting(dir.path(), stage1_rows())).unwrap());
        let log = std::fs::read(dir.path().join("metrics.jsonl")).unwrap();
        let again = values(&fit(stage1(8), setting(dir.path(), broken_at(1, stage1_rows()))).unwrap());
        assert!(first == again);
        assert_eq!(log, std::fs::read(dir.path().join("metrics.jsonl")).unwrap());
    });
}

#[test]
fn a_loss_that_is_no_number_stops_the_stage() {
    struct Spoil;
    impl ModuleMapper for Spoil {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|t| t * f32::NAN)
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let error = fit(stage1_full(7).map(&mut Spoil), setting(dir.path(), stage1_rows())).unwrap_err();
    assert!(matches!(error, TrainError::Diverged { step: 1, loss, .. } if loss.is_nan()), "{error}");
    assert!(saved(dir.path(), "model").is_empty());

    // A learning rate that throws the weights out of range
    for huge in [1e20, 1e37] {
        let dir = tempfile::tempdir().unwrap();
        let stage = stage(dir.path(), STEPS, EVERY, optim(huge, 2), stage1_rows());
        let error = fit(stage1_full(7), stage).unwrap_err();
        assert!(matches!(error, TrainError::Diverged { step: 2.., .. }), "{error}");
    }
}

/// `sqrt(p)` at 0: the loss is finite, its gradient is not.
#[derive(Module, Debug)]
struct Cliff {
    p: Param<Tensor<1>>,
}

impl TrainStep for Cliff {
    type Input = Batch;
    type Output = StepLoss;
    fn step(&self, _batch: Batch) -> TrainOutput<StepLoss> {
        let loss = self.p.val().sqrt();
        let grads = loss.backward();
        TrainOutput::new(self, grads, StepLoss { loss: loss.inner() })
    }
}

impl InferenceStep for Cliff {
    type Input = Batch;
    type Output = StepLoss;
    fn step(&self, _batch: Batch) -> StepLoss {
        StepLoss { loss: self.p.val().sqrt() }
    }
}

#[test]
fn a_gradient_that_is_no_number_never_reaches_a_checkpoint() {
    for clip_norm in [0.0, 1.0] {
        let dir = tempfile::tempdir().unwrap();
        let model = Cliff { p: Param::from_tensor(Tensor::zeros([1], &Device::flex())) };
        let mut stage = stage(dir.path(), 3, 1, OptimConfig { clip_norm, ..optim(1e-3, 2) }, stage1_rows());
        stage.run = LoopConfig { validate_every: 0, ..stage.run };
        let error = fit(model, stage).unwrap_err();
        assert!(matches!(error, TrainError::Diverged { step: 1, .. }), "{error}");
        assert!(saved(dir.path(), "model").is_empty(), "a checkpoint holds weights that are no numbers");
    }
}
