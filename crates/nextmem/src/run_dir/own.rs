//! Which files in a run directory are the tool's own: they alone may be taken over or deleted.

use std::path::Path;

use anyhow::{Context, Result};

use crate::experiment::StageName;

/// Files at the top of a run.
const FILES: [&str; 11] = [
    "experiment.toml",
    "resolved.toml",
    "manifest.json",
    "scores.json",
    "scored.json",
    "bertscore.json",
    "rate.json",
    "table.md",
    "table.csv",
    "table.tex",
    ".lock",
];

/// Folders of a run that are not stages, each with the endings of the files the tool writes in it.
const FOLDERS: [(&str, &[&str]); 8] = [
    ("samples", &["jsonl"]),
    ("tables", &["csv", "tex", "md"]),
    ("bertscore", &["jsonl"]),
    ("judge", &["json", "jsonl"]),
    ("analysis", &["json", "jsonl"]),
    ("figures", &["svg", "png", "md", "csv", "tex"]),
    ("lm_eval", &["json", "jsonl"]),
    ("tensorboard", &[]),
];

/// Whether a directory holds nothing but the tool's own files: a run that was killed while it was created left it, or nobody did.
pub fn only(root: &Path) -> Result<bool> {
    Ok(foreign(root, "")?.is_none())
}

/// Deletes what killed writers left half-written. Only who holds the lock may: to others it may be a write that goes on.
pub fn sweep(root: &Path) -> Result<()> {
    sweep_below(root, "")
}

fn sweep_below(root: &Path, prefix: &str) -> Result<()> {
    let folder = root.join(prefix);
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        let name = if prefix.is_empty() { file.clone() } else { format!("{prefix}/{file}") };
        if entry.file_type()?.is_dir() {
            if owned_folder(&name) {
                sweep_below(root, &name)?;
            }
        } else if unfinished(&file) {
            std::fs::remove_file(entry.path()).with_context(|| format!("cannot delete {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Whether a file of this name is one that was to be renamed when it was whole.
fn unfinished(file: &str) -> bool {
    file.ends_with(".tmp") || file.starts_with(".tmp-")
}

/// Deletes the tool's own files, and folders that are then empty. The lock stays: it is held.
pub fn delete(root: &Path) -> Result<()> {
    delete_below(root, "")
}

fn delete_below(root: &Path, prefix: &str) -> Result<()> {
    let folder = root.join(prefix);
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let Ok(file) = entry.file_name().into_string() else { continue };
        let name = if prefix.is_empty() { file.clone() } else { format!("{prefix}/{file}") };
        let failed = || format!("cannot delete {}", entry.path().display());
        if entry.file_type()?.is_dir() {
            delete_below(root, &name)?;
            if std::fs::read_dir(entry.path())?.next().is_none() && owned_folder(&name) {
                std::fs::remove_dir(entry.path()).with_context(failed)?;
            }
        } else if owned(&name) && name != ".lock" {
            std::fs::remove_file(entry.path()).with_context(failed)?;
        }
    }
    Ok(())
}

/// The first file that is not the tool's.
fn foreign(root: &Path, prefix: &str) -> Result<Option<String>> {
    let folder = root.join(prefix);
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        let name = if prefix.is_empty() { file } else { format!("{prefix}/{file}") };
        let found = match entry.file_type()?.is_dir() {
            true if owned_folder(&name) => foreign(root, &name)?,
            _ if owned(&name) => None,
            _ => Some(name),
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn stage(name: &str) -> Option<&str> {
    let (first, rest) = name.split_once('/').unwrap_or((name, ""));
    StageName::ALL.iter().any(|stage| stage.dir() == first).then_some(rest)
}

fn owned_folder(name: &str) -> bool {
    let top = name.split('/').next().unwrap_or(name);
    match stage(name) {
        Some(rest) => ["", "weights", "weights/decoder", "checkpoint"].contains(&rest),
        // The judge keeps answers in folders of its own.
        None => top == "hf" || FOLDERS.iter().any(|(folder, _)| *folder == top),
    }
}

/// Whether the tool writes a file of this name, as a path from the run's root.
fn owned(name: &str) -> bool {
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    let unfinished = unfinished(file);
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
    if folder.is_empty() {
        return FILES.contains(&file) || unfinished;
    }
    let top = folder.split('/').next().unwrap_or(folder);
    let weights = || {
        let described = ["json", "jinja", "safetensors", "pt"];
        described.contains(&ending) || unfinished
    };
    match stage(folder) {
        Some("") => ["done.json", "fingerprint", "metrics.jsonl"].contains(&file) || unfinished,
        Some("weights" | "weights/decoder") => weights(),
        Some("checkpoint") => ["bpk", "sha256", "json"].contains(&ending) || unfinished,
        Some(_) => false,
        None if top == "hf" => weights() || ["md", "py", "txt"].contains(&ending),
        None if top == "samples" && ["fingerprint", "identity.json"].contains(&file) => true,
        None if top == "tensorboard" => file.starts_with("events."),
        None => unfinished || FOLDERS.iter().any(|(folder, endings)| *folder == top && endings.contains(&ending)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_own_files_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let own = [
            "resolved.toml",
            "table.md",
            ".lock",
            "samples/reconstruction.facts.dense.jsonl",
            "samples/identity.json",
            "stage1/done.json",
            "stage1/weights/model.safetensors",
            "stage2/checkpoint/model-3.bpk",
            "stage2/checkpoint/.tmp-7-0-model.bpk",
            "analysis/noise.json",
            "judge/cache/ab/cd.json",
        ];
        let foreign = ["thesis.txt", "analysis/notes.md", "stage1/weights/README.md", "stage1/extra/x.json", "mine/table.md"];
        for name in own {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        assert!(only(dir.path()).unwrap());
        for name in foreign {
            std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
            std::fs::write(dir.path().join(name), name).unwrap();
            assert!(!only(dir.path()).unwrap(), "{name}");
        }
        delete(dir.path()).unwrap();
        for name in own {
            assert_eq!(dir.path().join(name).exists(), name == ".lock", "{name}");
        }
        foreign.iter().for_each(|name| assert!(dir.path().join(name).is_file(), "{name}"));
        assert!(!dir.path().join("samples").exists() && !dir.path().join("stage2").exists() && !dir.path().join("judge").exists());
    }
}
