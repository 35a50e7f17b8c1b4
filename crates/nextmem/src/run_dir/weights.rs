//! The weights of finished stages: what `done.json` says of their files, and whether it is still true.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::{RunDir, read_json};
use crate::cli::BadInput;
use crate::experiment::StageName;
use crate::hashes;

/// Size and SHA-256 of every file in a directory of weights and in those below it, like `decoder/model.safetensors`, written to disk
/// before it returns: the checkpoints are deleted next.
pub fn record(dir: &Path) -> Result<Value> {
    let mut files = Map::new();
    record_below(dir, "", &mut files)?;
    Ok(Value::Object(files))
}

fn record_below(dir: &Path, prefix: &str, files: &mut Map<String, Value>) -> Result<()> {
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(dir).with_context(|| dir.display().to_string())?.map(|e| Ok(e?.path())).collect::<Result<_>>()?;
    entries.sort();
    for path in entries {
        let Some(name) = path.file_name().and_then(|n| n.to_str()).filter(|n| !n.ends_with(".tmp") && !n.starts_with(".tmp")) else {
            continue;
        };
        let name = format!("{prefix}{name}");
        if path.is_dir() {
            record_below(&path, &format!("{name}/"), files)?;
            continue;
        }
        let failed = || path.display().to_string();
        let size = std::fs::File::open(&path).and_then(|file| file.sync_all().and_then(|()| file.metadata())).with_context(failed)?.len();
        files.insert(name, json!({"bytes": size, "sha256": hashes::file(&path)?}));
    }
    nextmem_model::sync_dir(dir).with_context(|| dir.display().to_string())
}

impl RunDir {
    /// [`finished`](Self::finished), its weights checked against what `done.json` says.
    ///
    /// # Errors
    /// [`BadInput`] if a file is missing, has another size or other bytes.
    pub fn usable(&self, stage: StageName, fingerprint: &str) -> Result<Option<PathBuf>> {
        let Some(dir) = self.finished(stage, fingerprint) else { return Ok(None) };
        let done = read_json(&dir.join("done.json")).unwrap_or_default();
        let weights = dir.join(done["weights"].as_str().unwrap_or_default());
        let files = done["files"].as_object().filter(|files| !files.is_empty());
        let wrong = match files {
            None => Some("done.json names no files".to_string()),
            Some(files) => files.iter().find_map(|(name, said)| differs(&weights.join(name), said).map(|why| format!("{name}: {why}"))),
        };
        match wrong {
            None => Ok(Some(dir)),
            Some(why) => bail!(BadInput(format!(
                "{}: not the weights that the stage left: {why}; delete {} and run again: the stage is trained anew",
                weights.display(),
                dir.display()
            ))),
        }
    }

    /// The hashes of the weights that a finished stage with this fingerprint left; nothing if there is none.
    pub fn recorded_weights(&self, stage: StageName, fingerprint: &str) -> Value {
        let done = self.finished(stage, fingerprint).and_then(|dir| read_json(&dir.join("done.json")));
        done.map_or(Value::Null, |done| done["files"].clone())
    }
}

fn differs(path: &Path, said: &Value) -> Option<String> {
    let size = match std::fs::metadata(path) {
        Ok(metadata) => metadata.len(),
        Err(error) => return Some(error.to_string()),
    };
    if said["bytes"].as_u64() != Some(size) {
        return Some(format!("got {size} bytes, expected {}", said["bytes"]));
    }
    match hashes::file(path) {
        Ok(sum) if said["sha256"] == sum => None,
        Ok(sum) => Some(format!("got sha256 {sum}, expected {}", said["sha256"].as_str().unwrap_or("none"))),
        Err(error) => Some(error.to_string()),
    }
}
