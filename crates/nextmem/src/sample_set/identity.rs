//! What the samples of a run were made from: `samples/identity.json`.
//!
//! It names everything that decides a sample ([`Plan::sample_identity`]) and the files that the evaluation is to make, each
//! with its number of samples. Samples of another identity are never continued, mixed or reported; a file that is
//! shorter than promised is unfinished and not scored.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use nextmem_data::sha256_file;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::SampleSet;
use crate::cli::BadInput;
use crate::plan::Plan;
use crate::run_dir::RunDir;

/// The file.
pub const FILE: &str = "samples/identity.json";

/// What is removed with samples of another identity: all that was computed from them.
const DERIVED: [&str; 8] = ["samples", "bertscore", "tables", "scores.json", "scored.json", "table.md", "bertscore.json", "rate.json"];

/// What the samples of a run are made from, and which there are to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// SHA-256 of `parts` ([`Plan::sample_identity`]).
    pub hash: String,
    /// Everything that decides a sample.
    pub parts: Value,
    /// The sample files, each with the number of its samples; empty before the evaluation begins.
    #[serde(default)]
    pub files: BTreeMap<String, usize>,
}

impl Identity {
    /// The identity of a plan's samples.
    pub fn of(plan: &Plan) -> Self {
        let identity = plan.sample_identity();
        let hash = identity["hash"].as_str().unwrap_or_default().to_string();
        Self { hash, parts: identity["parts"].clone(), files: BTreeMap::new() }
    }

    /// The identity of the samples that a run holds; none for runs that were made before identities were kept.
    ///
    /// # Errors
    /// A file that is not whole.
    pub fn read(run: &Path) -> Result<Option<Self>> {
        let path = run.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).context(path.display().to_string()),
        };
        let identity: Self = serde_json::from_slice(&bytes).map_err(|e| {
            BadInput(format!("{}: {e} - delete {} and run the experiment again", path.display(), run.join("samples").display()))
        })?;
        Ok(Some(identity))
    }

    /// Makes the samples of a run those of the plan: kept if they are of the same identity, removed with all that was computed
    /// from them if they are of another, with a line that names what changed.
    pub fn claim(plan: &Plan, dir: &RunDir) -> Result<Self> {
        let new = Self::of(plan);
        let old = Self::read(dir.root());
        if let Ok(Some(old)) = &old
            && old.hash == new.hash
        {
            return Ok(old.clone());
        }
        if holds_samples(dir.root()) {
            let why = match &old {
                Ok(Some(old)) => differences(&old.parts, &new.parts),
                Ok(None) => "they were made before identities were kept, so that nobody knows what from".into(),
                Err(_) => format!("their {FILE} is damaged"),
            };
            eprintln!("samples in {}: removed and made anew: {why}", dir.root().display());
        }
        for name in DERIVED {
            remove(&dir.join(name))?;
        }
        remove_verdicts(dir.root())?;
        let samples = dir.join("samples");
        std::fs::create_dir_all(&samples).with_context(|| samples.display().to_string())?;
        new.write(dir)?;
        Ok(new)
    }

    /// Notes the sample files that are to be made, before any is.
    pub fn promise(mut self, dir: &RunDir, files: BTreeMap<String, usize>) -> Result<Self> {
        if self.files != files {
            self.files = files;
            self.write(dir)?;
        }
        Ok(self)
    }

    fn write(&self, dir: &RunDir) -> Result<()> {
        dir.write(FILE, format!("{}\n", serde_json::to_string_pretty(self)?).as_bytes())
    }
}

fn holds_samples(run: &Path) -> bool {
    let entries = std::fs::read_dir(run.join("samples")).into_iter().flatten().flatten();
    entries.filter(|entry| SampleSet::of_file(&entry.path()).is_some()).any(|entry| entry.metadata().is_ok_and(|m| m.len() > 0))
}

fn remove(path: &Path) -> Result<()> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).with_context(|| path.display().to_string()),
        _ => Ok(()),
    }
}

/// A judge's verdicts go with the answers; what it said about each question and answer is kept in judge/cache.
fn remove_verdicts(run: &Path) -> Result<()> {
    let folder = run.join("judge");
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.with_context(|| folder.display().to_string())?.path();
        if path.is_file() {
            remove(&path)?;
        }
    }
    Ok(())
}

/// The first places in which two identities differ, in words.
fn differences(old: &Value, new: &Value) -> String {
    let mut found = Vec::new();
    compare("", old, new, &mut found);
    let more = found.len().saturating_sub(3);
    found.truncate(3);
    let tail = if more > 0 { format!(", and {more} more") } else { String::new() };
    format!("{}{tail}", found.join(", "))
}

fn compare(place: &str, old: &Value, new: &Value, found: &mut Vec<String>) {
    match (old, new) {
        _ if old == new => {}
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                compare(&place, a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let name = a["stage"].as_str().map_or(i.to_string(), String::from);
                compare(&format!("{place}.{name}"), a, b, found);
            }
        }
        _ => found.push(format!("{place} changed ({} before, {} now)", shown(old), shown(new))),
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "nothing".to_string(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(12) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text,
    }
}

/// SHA-256 of sample files, by name: what results keep, so that they are never taken for those of other samples.
pub fn hashes(sets: &[SampleSet]) -> Result<BTreeMap<String, String>> {
    sets.iter().map(|set| Ok((set.file_name(), sha256_file(&set.path)?))).collect()
}

/// Whether results are of the samples that a run holds now, by the [`hashes`] that they keep under `samples`.
pub fn are_of(run: &Path, results: &Value) -> bool {
    let same = |(name, hash): (&String, &Value)| sha256_file(run.join("samples").join(name)).is_ok_and(|now| *hash == now);
    results["samples"].as_object().is_some_and(|kept| !kept.is_empty() && kept.iter().all(same))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_changed_is_named() {
        let old = json!({"seed": 1, "data": {"test": "abcdefghijklmnop", "words": 5}, "options": {"latents": 2}});
        let same = differences(&old, &old);
        assert_eq!(same, "");
        let stages = |weights: &str| json!({"stages": [{"stage": "stage1", "weights": weights}]});
        assert_eq!(differences(&stages("a"), &stages("b")), "stages.stage1.weights changed (a before, b now)");
        let mut new = old.clone();
        new["data"]["test"] = json!("zyxwvutsrqponmlk");
        assert_eq!(differences(&old, &new), "data.test changed (abcdefghijkl.. before, zyxwvutsrqpo.. now)");
        let other = json!({"seed": 2, "data": null, "options": {"latents": 3, "sod": true}});
        let all = differences(&old, &other);
        assert!(
            all.contains("data changed") && all.contains("options.latents changed (2 before, 3 now)") && all.contains("and 1 more"),
            "{all}"
        );
    }
}
