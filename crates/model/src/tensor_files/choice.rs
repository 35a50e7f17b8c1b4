//! Which files of a directory hold the weights, chosen as transformers chooses them.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::ModelError;
use crate::json::parse_json;

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// What holds the weights of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightFiles {
    /// One file of this name.
    Single(String),
    /// The shards that the index of this name lists.
    Sharded(String),
}

/// The choice among the names of a directory: what `transformers_weights` of its config.json names, else
/// model.safetensors, else the index, which is not looked at beside a model.safetensors.
///
/// # Errors
/// The reason where there is neither: what is there instead.
///
/// # Reference
/// transformers 5.23, `_get_resolved_checkpoint_files`.
pub fn choose_weights(config: Option<&Value>, has: impl Fn(&str) -> bool) -> Result<WeightFiles, String> {
    if let Some(named) = config.and_then(|c| c.get("transformers_weights")).filter(|v| !v.is_null()) {
        let name = named.as_str().unwrap_or_default();
        return match Path::new(name).file_name().is_some_and(|last| last == name) {
            true if name.ends_with(".safetensors.index.json") => Ok(WeightFiles::Sharded(name.into())),
            true if name.ends_with(".safetensors") => Ok(WeightFiles::Single(name.into())),
            _ => Err(format!("key `transformers_weights` of config.json: got {named}, expected a .safetensors file beside it")),
        };
    }
    if has(SINGLE) {
        return Ok(WeightFiles::Single(SINGLE.into()));
    }
    if has(INDEX) {
        return Ok(WeightFiles::Sharded(INDEX.into()));
    }
    match ["pytorch_model.bin", "pytorch_model.bin.index.json"].into_iter().find(|name| has(name)) {
        Some(pickle) => Err(format!(
            "got {pickle}, pickled weights, expected {SINGLE} or {INDEX}; write them with transformers: \
             `AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(DIR)`"
        )),
        None => Err(format!("no {SINGLE} and no {INDEX}")),
    }
}

/// The weight files of a directory in the order in which they are read.
///
/// # Errors
/// None at all, an index that is malformed or names a file elsewhere.
pub fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, ModelError> {
    // A config.json that cannot be read is an error of whoever reads it.
    let config = std::fs::read(dir.join("config.json")).ok().and_then(|bytes| parse_json(&bytes).ok());
    let has = |name: &str| dir.join(name).is_file();
    let chosen = match choose_weights(config.as_ref(), has) {
        Ok(chosen) => chosen,
        // A link to nothing is a file that cannot be opened, and a directory without weights lacks this one.
        Err(reason) if reason.starts_with("no ") => WeightFiles::Single(SINGLE.into()),
        Err(reason) => return Err(ModelError::Config { path: dir.to_owned(), reason }),
    };
    match chosen {
        WeightFiles::Single(name) => Ok(vec![dir.join(name)]),
        WeightFiles::Sharded(name) => {
            let index = dir.join(name);
            let bytes = std::fs::read(&index).map_err(|e| ModelError::read(&index, e))?;
            let names = shards(&bytes).map_err(|reason| ModelError::Safetensors { path: index, reason })?;
            Ok(names.into_iter().map(|name| dir.join(name)).collect())
        }
    }
}

/// The files that an index lists, each once, in the order of their names.
///
/// # Errors
/// The reason where it is no index, or names what is no plain file name: a path in it would read elsewhere.
pub fn shards(index: &[u8]) -> Result<Vec<String>, String> {
    let value = parse_json(index)?;
    let map = value.get("weight_map").and_then(Value::as_object).ok_or("no `weight_map`")?;
    let mut names = Vec::new();
    for (key, shard) in map {
        let name = shard.as_str().ok_or_else(|| format!("`{key}`: got {shard}, expected the name of a file"))?;
        if Path::new(name).file_name().is_none_or(|last| last != name) {
            return Err(format!("shard name {name:?} is not a plain file name"));
        }
        names.push(name.to_string());
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}
