//! Verdicts on disk: one file for each thing that was asked, written beside and renamed, so that processes do not disturb
//! each other and a kill leaves whole files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::JudgeError;

pub(super) struct Cache {
    dir: PathBuf,
    written: AtomicUsize,
}

impl Cache {
    pub(super) fn open(dir: &Path) -> Result<Self, JudgeError> {
        std::fs::create_dir_all(dir).map_err(|source| JudgeError::Io { path: dir.to_owned(), source })?;
        Ok(Self { dir: dir.to_owned(), written: AtomicUsize::new(0) })
    }

    /// What was said; a file that is not whole JSON counts as not there.
    pub(super) fn get(&self, key: &str) -> Option<String> {
        serde_json::from_slice(&std::fs::read(self.dir.join(format!("{key}.json"))).ok()?).ok()
    }

    pub(super) fn put(&self, key: &str, said: &str) -> Result<(), JudgeError> {
        let path = self.dir.join(format!("{key}.json"));
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let partial = self.dir.join(format!("{key}.{}.{number}.tmp", std::process::id()));
        std::fs::write(&partial, serde_json::Value::from(said).to_string())
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|source| JudgeError::Io { path, source })
    }
}
