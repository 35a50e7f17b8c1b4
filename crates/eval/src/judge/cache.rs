//! Replies that held a verdict, on disk: one file for each thing that was asked, written beside under a name of its own, flushed and
//! renamed, so that processes do not disturb each other and a kill leaves whole files.
//!
//! Kept are the judge's words, not what was made of them: they are read anew each time.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::JudgeError;

/// Numbers temporary names within this process.
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

pub(super) struct Cache {
    dir: PathBuf,
}

/// The words of a reply.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    pub(super) said: String,
    /// Whether they were the reasoning of a reply without content.
    pub(super) from_reasoning: bool,
    /// What was sent otherwise than wished, because the server refused it.
    pub(super) changes: Vec<String>,
}

impl Cache {
    pub(super) fn open(dir: &Path) -> Result<Self, JudgeError> {
        std::fs::create_dir_all(dir).map_err(|reason| JudgeError::Io { path: dir.to_owned(), reason })?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// What was said; a file that is not whole JSON counts as not there. Files of earlier versions hold the words alone.
    pub(super) fn get(&self, key: &str) -> Option<Kept> {
        let value: Value = serde_json::from_slice(&std::fs::read(self.dir.join(format!("{key}.json"))).ok()?).ok()?;
        let said = value.as_str().or(value["said"].as_str())?.to_string();
        let changes = value["changes"].as_array().into_iter().flatten().filter_map(|c| Some(c.as_str()?.to_string())).collect();
        Some(Kept { said, from_reasoning: value["from"] == "reasoning", changes })
    }

    pub(super) fn put(&self, key: &str, kept: &Kept) -> Result<(), JudgeError> {
        let mut value = json!({"said": kept.said});
        if kept.from_reasoning {
            value["from"] = "reasoning".into();
        }
        if !kept.changes.is_empty() {
            value["changes"] = json!(kept.changes);
        }
        let path = self.dir.join(format!("{key}.json"));
        self.write(&path, &value.to_string()).map_err(|reason| JudgeError::Io { path, reason })
    }

    fn write(&self, path: &Path, text: &str) -> std::io::Result<()> {
        loop {
            // Two machines on one file system may have the same process ID: the name must be new, or another is tried.
            let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
            let nanoseconds = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos());
            let partial = self.dir.join(format!(".{}.{nanoseconds}.{number}.tmp", std::process::id()));
            let mut file = match OpenOptions::new().write(true).create_new(true).open(&partial) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                opened => opened?,
            };
            let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&partial, path));
            if written.is_err() {
                let _ = std::fs::remove_file(&partial);
            }
            // The name is safe after a power cut, too; not every system opens a directory.
            if let Ok(dir) = File::open(&self.dir) {
                let _ = dir.sync_all();
            }
            return written;
        }
    }
}
