//! Checkpoints that are whole or absent.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::EventStoreClient;
use nextmem_data::sha256_file;
use nextmem_model::{sync_dir, write_atomically};

/// The three files of a checkpoint; it is whole when all of them are there, each with its checksum beside it.
pub(crate) const PARTS: [&str; 3] = ["model", "optim", "scheduler"];

/// Writes beside the target, then renames: a file of the final name is always whole.
pub(crate) struct AtomicCheckpointer {
    dir: PathBuf,
    part: &'static str,
}

impl AtomicCheckpointer {
    pub(crate) fn new(dir: &Path, part: &'static str) -> Self {
        Self { dir: dir.to_owned(), part }
    }
}

fn file(dir: &Path, part: &str, step: usize) -> PathBuf {
    dir.join(format!("{part}-{step}.bpk"))
}

/// Where the SHA-256 of a part is kept.
fn sum_file(dir: &Path, part: &str, step: usize) -> PathBuf {
    dir.join(format!("{part}-{step}.sha256"))
}

/// Where the loss and the norms since the last logged line are kept, of a stage that was stopped between two.
fn sums_file(dir: &Path, step: usize) -> PathBuf {
    dir.join(format!("sums-{step}.json"))
}

impl<R: Checkpoint> Checkpointer<R> for AtomicCheckpointer {
    fn save(&self, step: usize, record: R) -> Result<(), CheckpointerError> {
        // A name that no other process or thread has.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let partial = self.dir.join(format!(".tmp-{}-{count}-{}.bpk", std::process::id(), self.part));
        let written = || -> Result<(), CheckpointerError> {
            let (io, other) = (CheckpointerError::IOError, |e: String| CheckpointerError::Unknown(e));
            // A leftover of a killed run with the same number is in the way of the writer.
            let _ = std::fs::remove_file(&partial);
            record.save(partial.clone())?;
            // On disk before it gets its name, or a power cut could leave a named file without its data.
            std::fs::File::open(&partial).and_then(|f| f.sync_all()).map_err(io)?;
            let sum = sha256_file(&partial).map_err(|e| other(e.to_string()))?;
            write_atomically(&sum_file(&self.dir, self.part, step), format!("{sum}\n").as_bytes()).map_err(|e| other(e.to_string()))?;
            std::fs::rename(&partial, file(&self.dir, self.part, step)).map_err(io)?;
            sync_dir(&self.dir).map_err(io)
        };
        written().inspect_err(|_| {
            let _ = std::fs::remove_file(&partial);
        })
    }

    fn delete(&self, step: usize) -> Result<(), CheckpointerError> {
        for path in [file(&self.dir, self.part, step), sum_file(&self.dir, self.part, step)] {
            match std::fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(CheckpointerError::IOError(e)),
                _ => {}
            }
        }
        Ok(())
    }

    fn restore(&self, step: usize) -> Result<R, CheckpointerError> {
        R::load(file(&self.dir, self.part, step))
    }
}

/// The steps of the whole checkpoints, in order. One that was damaged on disk is not whole.
pub(crate) fn whole(dir: &Path) -> Vec<usize> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut steps: Vec<usize> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.strip_prefix("model-")?.strip_suffix(".bpk")?.parse().ok())
        .filter(|step| undamaged(dir, *step) && readable(dir, *step))
        .collect();
    steps.sort_unstable();
    steps
}

/// Deletes what does not belong to one of these checkpoints: halves of killed writes, damaged ones.
pub(crate) fn sweep(dir: &Path, keep: &[usize]) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let step = name.to_str().and_then(|n| n.rsplit_once('-')?.1.split('.').next()?.parse::<usize>().ok());
        let hidden = name.to_str().is_none_or(|n| n.starts_with('.'));
        // Kept apart from the checkpoints.
        if name.to_str().is_some_and(|n| n.starts_with(Best::PART)) {
            continue;
        }
        if hidden || step.is_none_or(|step| !keep.contains(&step)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether the bytes of all three files are those that were written.
fn undamaged(dir: &Path, step: usize) -> bool {
    PARTS.iter().all(|part| sound(dir, part, step))
}

/// Whether the bytes of a part are those that were written.
fn sound(dir: &Path, part: &str, step: usize) -> bool {
    let said = std::fs::read_to_string(sum_file(dir, part, step)).ok();
    said.is_some() && said.as_deref().map(str::trim) == sha256_file(file(dir, part, step)).ok().as_deref()
}

/// Whether burn accepts all three files; it checks headers and sizes and leaves the values on disk.
fn readable(dir: &Path, step: usize) -> bool {
    let [model, optim, scheduler] = PARTS.map(|part| file(dir, part, step));
    <ModuleRecord as Checkpoint>::load(model).is_ok()
        && <OptimizerRecord as Checkpoint>::load(optim).is_ok()
        && <LrSchedulerRecord as Checkpoint>::load(scheduler).is_ok()
}

/// Keeps the sums since the last logged line, bit for bit.
pub(crate) fn save_sums(dir: &Path, step: usize, sums: [f64; 2]) -> Result<(), nextmem_model::ModelError> {
    let bits = serde_json::json!(sums.map(f64::to_bits));
    write_atomically(&sums_file(dir, step), format!("{bits}\n").as_bytes())
}

/// The sums kept with a checkpoint; zeros where it was made at a logged line.
pub(crate) fn read_sums(dir: &Path, step: usize) -> [f64; 2] {
    let kept = std::fs::read(sums_file(dir, step)).ok();
    kept.and_then(|bytes| serde_json::from_slice::<[u64; 2]>(&bytes).ok()).map_or([0.0; 2], |bits| bits.map(f64::from_bits))
}

/// Where the state of a stage's rows is kept.
fn state_file(dir: &Path, step: usize) -> PathBuf {
    dir.join(format!("rows-{step}.json"))
}

/// Keeps what the rows of a stage remember of the steps before.
pub(crate) fn save_state(dir: &Path, step: usize, state: &serde_json::Value) -> Result<(), nextmem_model::ModelError> {
    match state {
        serde_json::Value::Null => Ok(()),
        state => write_atomically(&state_file(dir, step), format!("{state}\n").as_bytes()),
    }
}

/// What [`save_state`] kept; null where there is none.
pub(crate) fn read_state(dir: &Path, step: usize) -> serde_json::Value {
    std::fs::read(state_file(dir, step)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// The weights of the best validation so far, with its step and score.
pub(crate) struct Best<'a> {
    dir: &'a Path,
}

impl<'a> Best<'a> {
    const PART: &'static str = "best";

    pub(crate) fn at(dir: &'a Path) -> Self {
        Self { dir }
    }

    fn weights(&self) -> AtomicCheckpointer {
        AtomicCheckpointer::new(self.dir, Self::PART)
    }

    fn note(&self) -> PathBuf {
        self.dir.join("best.json")
    }

    /// Step and score of what is kept; nothing where it is not whole.
    pub(crate) fn found(&self) -> Option<(usize, f64)> {
        let note: serde_json::Value = serde_json::from_slice(&std::fs::read(self.note()).ok()?).ok()?;
        let (step, score) = (note["step"].as_u64()? as usize, note["score"].as_f64()?);
        file(self.dir, Self::PART, step).is_file().then_some((step, score))
    }

    /// Keeps the weights in the place of those before.
    pub(crate) fn keep(&self, step: usize, score: f64, record: ModuleRecord) -> Result<(), CheckpointerError> {
        let before = self.found();
        self.weights().save(step, record)?;
        let note = serde_json::json!({"step": step, "score": score});
        write_atomically(&self.note(), format!("{note}\n").as_bytes()).map_err(|e| CheckpointerError::Unknown(e.to_string()))?;
        // Only now that the note names the new one.
        match before.filter(|(old, _)| *old != step) {
            Some((old, _)) => <AtomicCheckpointer as Checkpointer<ModuleRecord>>::delete(&self.weights(), old),
            None => Ok(()),
        }
    }

    /// The weights that are kept.
    pub(crate) fn load(&self) -> Option<Result<ModuleRecord, CheckpointerError>> {
        self.found().map(|(step, _)| self.weights().restore(step))
    }

    /// Forgets what was kept after a step that training goes back to, and what was damaged on disk.
    pub(crate) fn forget_after(&self, step: usize) {
        if self.found().is_some_and(|(kept, _)| kept > step || !sound(self.dir, Self::PART, kept)) {
            let _ = std::fs::remove_file(self.note());
        }
        let kept = self.found().map(|(kept, _)| kept);
        let names = |kept: usize| [file(self.dir, Self::PART, kept), sum_file(self.dir, Self::PART, kept), self.note()];
        for entry in std::fs::read_dir(self.dir).into_iter().flatten().flatten() {
            let mine = entry.file_name().to_str().is_some_and(|name| name.starts_with(Self::PART));
            if mine && kept.is_none_or(|kept| !names(kept).contains(&entry.path())) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

/// Saves whenever asked and keeps the last two: one may be in the middle of being written.
pub(crate) struct KeepTwo {
    pub(crate) saved: VecDeque<usize>,
}

impl CheckpointingStrategy for KeepTwo {
    fn checkpointing(&mut self, step: usize, _store: &EventStoreClient) -> Vec<CheckpointingAction> {
        self.saved.push_back(step);
        let mut actions = vec![CheckpointingAction::Save];
        while self.saved.len() > 2 {
            actions.extend(self.saved.pop_front().map(CheckpointingAction::Delete));
        }
        actions
    }
}
