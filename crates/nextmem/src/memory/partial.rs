//! What an encoding has done so far, beside the file that it will write: one that is ended goes on from there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use nextmem_model::{Memory, MemoryFile, MemoryRecord};

use super::Opened;
use super::inputs::Input;
use crate::outputs::ensure_writable;
use crate::run_dir::sha256;
use crate::terminal::note_once;

/// Between two writings, at least.
const EVERY: Duration = Duration::from_secs(10);

/// Each writes everything that is done: the time between two of them is so many times what the last one took.
const SHARE: u32 = 20;

/// A memory file of the first texts, dense; hashes stand for the texts, which the user may not want on a disk.
pub struct Partial {
    path: PathBuf,
    next: Instant,
}

impl Partial {
    /// `OUT.partial`, or `OUT.WAY.partial` for another way to encode, which must not go on from this one's.
    ///
    /// # Errors
    /// [`BadInput`](crate::cli::BadInput) where no such file can be written.
    pub fn of(out: &Path, way: Option<&str>) -> Result<Self> {
        let mut name = OsString::from(out);
        if let Some(way) = way {
            name.push(format!(".{way}"));
        }
        name.push(".partial");
        let path = PathBuf::from(name);
        ensure_writable(&path)?;
        Ok(Self { path, next: Instant::now() + EVERY })
    }

    /// The memories that an earlier encoding of the same texts with the same weights has kept, a whole number of batches.
    pub fn read(&self, opened: &Opened, inputs: &[Input], batch: usize) -> Vec<Memory> {
        if !self.path.exists() {
            return Vec::new();
        }
        let latents = opened.nextmem.options().num_latents;
        let same = |file: &MemoryFile| {
            file.fingerprint == opened.fingerprint
                && file.records.len() <= inputs.len()
                && file.records.iter().zip(inputs).all(|(kept, input)| *kept == record(input))
                && file.memories.iter().all(|memory| matches!(memory, Memory::Latents(l) if l.num_latents == latents))
        };
        match MemoryFile::open(&self.path) {
            Ok(mut file) if same(&file) => {
                file.memories.truncate(file.memories.len() / batch * batch);
                note_once(format!("{}: the first {} texts were encoded before; going on", self.path.display(), file.memories.len()));
                file.memories
            }
            _ => {
                note_once(format!("{}: of other texts or of another model; starting anew", self.path.display()));
                Vec::new()
            }
        }
    }

    /// Keeps the memories of the first inputs, if the last time is long enough ago.
    pub fn keep(&mut self, opened: &Opened, inputs: &[Input], done: &mut Vec<Memory>) -> Result<()> {
        let started = Instant::now();
        if started < self.next || done.len() == inputs.len() {
            return Ok(());
        }
        let records = inputs.iter().take(done.len()).map(record).collect();
        let file = opened.file(records, std::mem::take(done));
        file.save(&self.path)?;
        *done = file.memories;
        self.next = Instant::now() + EVERY.max(SHARE * started.elapsed());
        Ok(())
    }

    /// Removes what is no longer needed.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// What stands for a text.
fn record(input: &Input) -> MemoryRecord {
    MemoryRecord { id: sha256(format!("{}\n{}", input.id, input.text).as_bytes()), text: None }
}
