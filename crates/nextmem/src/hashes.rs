//! SHA-256 of the files that decide numbers; those of large files are remembered between processes.
//!
//! A plan hashes everything it reads, and a backbone can have 16 GB. The hash of a large file is therefore kept in the user's cache
//! directory under its path, size, inode and times, and taken from there as long as none of them has changed.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nextmem_data::{DataError, sha256_file};
use serde_json::{Map, Value, json};

use crate::run_dir::{read_json, sha256};

/// Smaller files are hashed every time: it takes less than a moment.
const LARGE: u64 = 64 << 20;
/// From here on the user is told what takes so long.
const ANNOUNCED: u64 = 1 << 30;
/// A file that was written a moment ago may be written again without a visible change of its times.
const SETTLED: Duration = Duration::from_secs(10);

/// The SHA-256 of a file in hex.
///
/// # Errors
/// [`DataError::Missing`] for a file that is not there, and the system's reason for one that cannot be read.
pub fn file(path: &Path) -> Result<String, DataError> {
    match cache() {
        Some(cache) => remembered(path, LARGE, &cache),
        None => sha256_file(path),
    }
}

/// What a directory of weights holds that decides numbers: file name to SHA-256.
///
/// Every safetensors file and every `.pt`, what describes them, and what the tokenizer reads; where the directory lies does not
/// matter.
///
/// # Errors
/// If the directory or a file in it cannot be read.
pub fn weights(dir: &Path) -> Result<Value, DataError> {
    let mut names = Vec::new();
    for prefix in ["", "1_Pooling/", "additional_chat_templates/"] {
        let Ok(entries) = std::fs::read_dir(dir.join(prefix)) else { continue };
        let decides = |name: &String| match prefix {
            "" => decides(name),
            _ => name == "config.json" || name.ends_with(".jinja"),
        };
        let found = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).filter(decides);
        names.extend(found.map(|name| format!("{prefix}{name}")));
    }
    names.sort();
    let size = |name: &String| std::fs::metadata(dir.join(name)).map_or(0, |m| m.len());
    let total: u64 = names.iter().map(size).sum();
    if total >= ANNOUNCED && names.iter().any(|name| unknown(&dir.join(name))) {
        eprintln!("hashing {:.1} GB in {}, once as long as it does not change", total as f64 / 1e9, dir.display());
    }
    let mut sums = Map::new();
    for name in names {
        let path = dir.join(&name);
        if path.is_file() {
            sums.insert(name, file(&path)?.into());
        }
    }
    Ok(Value::Object(sums))
}

/// Whether a file of this name is read by a model, an adapter, a tokenizer or an encoder.
fn decides(name: &str) -> bool {
    let described = [
        "config.json",
        "adapter_config.json",
        "generation_config.json",
        "latent_layout.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
        "chat_template.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.txt",
        "modules.json",
        "sentence_bert_config.json",
        "model.safetensors.index.json",
    ];
    described.contains(&name) || name.ends_with(".safetensors") || name.ends_with(".pt")
}

/// Where hashes are kept.
fn cache() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|path| path.is_absolute()).map(|home| home.join(".cache"));
    set.or_else(home).map(|dir| dir.join("nextmem/sha256"))
}

fn unknown(path: &Path) -> bool {
    let known = || known(path, &std::fs::metadata(path).ok()?, &cache()?);
    std::fs::metadata(path).is_ok_and(|m| m.len() >= LARGE) && known().is_none()
}

fn remembered(path: &Path, large: u64, cache: &Path) -> Result<String, DataError> {
    let before = match std::fs::metadata(path) {
        Ok(metadata) if metadata.len() >= large => metadata,
        _ => return sha256_file(path),
    };
    if let Some(sum) = known(path, &before, cache) {
        return Ok(sum);
    }
    let sum = sha256_file(path)?;
    let after = std::fs::metadata(path).ok();
    let settled = before.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok()).is_some_and(|age| age >= SETTLED);
    if settled && after.is_some_and(|after| marks(&after) == marks(&before)) {
        let entry = json!({"path": key(path), "marks": marks(&before), "sha256": sum});
        // Only a cache: without it the file is hashed again.
        let _ = std::fs::create_dir_all(cache);
        let _ = nextmem_model::write_atomically(&place(path, cache), format!("{entry}\n").as_bytes());
    }
    Ok(sum)
}

fn known(path: &Path, metadata: &Metadata, cache: &Path) -> Option<String> {
    let entry = read_json(&place(path, cache))?;
    let same = entry["path"] == key(path) && entry["marks"] == marks(metadata);
    entry["sha256"].as_str().filter(|_| same).map(String::from)
}

fn key(path: &Path) -> String {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).to_string_lossy().into_owned()
}

fn place(path: &Path, cache: &Path) -> PathBuf {
    cache.join(format!("{}.json", sha256(key(path).as_bytes())))
}

/// What changes when a file does. The time of change (`ctime`) cannot be set, so that a copy with the old time is noticed too.
fn marks(metadata: &Metadata) -> Value {
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    let modified = modified.map(|at| at.as_nanos().to_string());
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        json!([metadata.len(), modified, metadata.dev(), metadata.ino(), metadata.ctime(), metadata.ctime_nsec()])
    }
    #[cfg(not(unix))]
    json!([metadata.len(), modified])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Sets a time of change to long ago, as of a file that has been there for a while.
    fn settle(path: &Path) {
        let old = SystemTime::now() - Duration::from_secs(3600);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn a_hash_is_remembered_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (path, cache) = (dir.path().join("model.safetensors"), dir.path().join("cache"));
        std::fs::write(&path, "one").unwrap();
        settle(&path);
        let one = remembered(&path, 1, &cache).unwrap();
        assert_eq!(one, sha256(b"one"));
        assert_eq!(known(&path, &std::fs::metadata(&path).unwrap(), &cache), Some(one));
        // The same size and the same time of modification: the time of change tells.
        std::thread::sleep(Duration::from_millis(20));
        std::fs::write(&path, "two").unwrap();
        settle(&path);
        assert_eq!(remembered(&path, 1, &cache).unwrap(), sha256(b"two"));
        // Another file in its place.
        std::fs::write(dir.path().join("other"), "six").unwrap();
        std::fs::rename(dir.path().join("other"), &path).unwrap();
        assert_eq!(remembered(&path, 1, &cache).unwrap(), sha256(b"six"));
    }

    #[test]
    fn what_is_small_or_was_just_written_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let (path, cache) = (dir.path().join("x"), dir.path().join("cache"));
        std::fs::write(&path, "just written").unwrap();
        remembered(&path, 1, &cache).unwrap();
        settle(&path);
        remembered(&path, LARGE, &cache).unwrap();
        assert!(!cache.exists());
    }

    #[test]
    fn every_shard_counts_and_other_files_do_not() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        for name in ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
        {
            write(name, name);
        }
        let before = weights(dir.path()).unwrap();
        assert_eq!(before.as_object().unwrap().len(), 4);
        write("README.md", "words");
        assert_eq!(weights(dir.path()).unwrap(), before);
        write("model-00002-of-00002.safetensors", "other weights");
        assert_ne!(weights(dir.path()).unwrap(), before);
        write("model-00002-of-00002.safetensors", "model-00002-of-00002.safetensors");
        write("chat_template.jinja", "{{ messages }}");
        assert_ne!(weights(dir.path()).unwrap(), before);
    }
}
