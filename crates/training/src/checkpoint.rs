//! Checkpoints that are whole or absent.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use burn::lr_scheduler::LrSchedulerRecord;
use burn::optim::OptimizerRecord;
use burn::store::ModuleRecord;
use burn::train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError, CheckpointingAction, CheckpointingStrategy};
use burn::train::metric::store::EventStoreClient;

/// The three files of a checkpoint; it is whole when all of them are there.
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

impl<R: Checkpoint> Checkpointer<R> for AtomicCheckpointer {
    fn save(&self, step: usize, record: R) -> Result<(), CheckpointerError> {
        let partial = self.dir.join(format!("partial-{}.bpk", self.part));
        // A leftover of a killed run is in the way of the writer.
        let _ = std::fs::remove_file(&partial);
        record.save(partial.clone())?;
        // On disk before it gets its name, or a power cut could leave a named file without its data.
        std::fs::File::open(&partial).and_then(|f| f.sync_all()).map_err(CheckpointerError::IOError)?;
        std::fs::rename(&partial, file(&self.dir, self.part, step)).map_err(CheckpointerError::IOError)
    }

    fn delete(&self, step: usize) -> Result<(), CheckpointerError> {
        match std::fs::remove_file(file(&self.dir, self.part, step)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(CheckpointerError::IOError(e)),
            _ => Ok(()),
        }
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
        .filter(|step| readable(dir, *step))
        .collect();
    steps.sort_unstable();
    steps
}

/// Whether burn accepts all three files; it checks headers and sizes and leaves the values on disk.
fn readable(dir: &Path, step: usize) -> bool {
    let [model, optim, scheduler] = PARTS.map(|part| file(dir, part, step));
    <ModuleRecord as Checkpoint>::load(model).is_ok()
        && <OptimizerRecord as Checkpoint>::load(optim).is_ok()
        && <LrSchedulerRecord as Checkpoint>::load(scheduler).is_ok()
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
