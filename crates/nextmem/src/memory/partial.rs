//! What an encoding has done so far, beside the file that it will write: one that is ended goes on from there.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use nextmem_model::{Memory, MemoryFile, MemoryRecord};

use super::Opened;
use super::inputs::Input;
use crate::terminal::note_once;

/// Between two writings: each writes everything that is done.
const EVERY: Duration = Duration::from_secs(10);

/// A memory file of the first texts, dense and with the texts.
pub struct Partial {
    path: PathBuf,
    written: Instant,
}

impl Partial {
    /// `OUT.partial`.
    pub fn of(out: &Path) -> Self {
        let mut name = OsString::from(out);
        name.push(".partial");
        Self { path: name.into(), written: Instant::now() }
    }

    /// The memories that an earlier encoding of the same texts with the same weights has kept, a whole number of batches.
    pub fn read(&self, opened: &Opened, inputs: &[Input], batch: usize) -> Vec<Memory> {
        if !self.path.exists() {
            return Vec::new();
        }
        let latents = opened.nextmem.options().num_latents;
        let same = |file: &MemoryFile| {
            let texts = inputs.iter().map(|input| (&input.id, Some(&input.text)));
            file.fingerprint == opened.fingerprint
                && file.records.len() <= inputs.len()
                && file.records.iter().map(|record| (&record.id, record.text.as_ref())).zip(texts).all(|(a, b)| a == b)
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
    pub fn keep(&mut self, opened: &Opened, inputs: &[Input], done: &[Memory]) -> Result<()> {
        if self.written.elapsed() < EVERY || done.len() == inputs.len() {
            return Ok(());
        }
        let record = |input: &Input| MemoryRecord { id: input.id.clone(), text: Some(input.text.clone()) };
        opened.file(inputs.iter().take(done.len()).map(record).collect(), done.to_vec()).save(&self.path)?;
        self.written = Instant::now();
        Ok(())
    }

    /// Removes what is no longer needed.
    pub fn remove(&self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
