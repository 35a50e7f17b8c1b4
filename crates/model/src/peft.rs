//! PEFT LoRA directories: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::module::Param;
use burn::tensor::{DType, Device, Tensor};

mod config;

pub use config::PeftConfig;

use crate::config::DecoderConfig;
use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::lora::{LoraAdapter, LoraLayer, LoraPair, TARGETS};
use crate::weights::{TensorFiles, block_of, f32_bytes, write_atomically, write_safetensors};

fn key(layer: usize, target: &str, factor: &str) -> String {
    format!("base_model.model.model.layers.{layer}.{}.{target}.lora_{factor}.weight", block_of(target))
}

/// What PEFT saves beside the factors where the vocabulary was resized, or on request, with the key of the model.
const SAVED_TABLES: [(&str, &str); 2] =
    [("base_model.model.model.embed_tokens.weight", "embed_tokens"), ("base_model.model.lm_head.weight", "lm_head")];

/// The files of an adapter directory.
struct AdapterFiles {
    config: PathBuf,
    peft: config::Resolved,
    weights: PathBuf,
    tensors: TensorFiles,
    /// The file's key of every key without the adapter's name; only the name `default` may be in a file.
    names: BTreeMap<String, String>,
}

impl AdapterFiles {
    fn open(dir: &Path) -> Result<Self, ModelError> {
        let config = dir.join("adapter_config.json");
        let peft = config::Resolved::open(&config)?;
        let weights = dir.join("adapter_model.safetensors");
        if !weights.exists() && dir.join("adapter_model.bin").exists() {
            let reason = "got adapter_model.bin, a pickle; save it again with safe_serialization=True".into();
            return Err(ModelError::Adapter { path: dir.to_owned(), reason });
        }
        let tensors = TensorFiles::open_file(&weights)?;
        let mut names = BTreeMap::new();
        for key in tensors.keys() {
            let bare = match key.strip_suffix(".default.weight") {
                Some(module) if module.ends_with(".lora_A") || module.ends_with(".lora_B") => format!("{module}.weight"),
                _ => key.to_string(),
            };
            if names.insert(bare, key.to_string()).is_some() {
                return Err(ModelError::UnusedWeights { count: 1, first: key.into(), file: weights });
            }
        }
        Ok(Self { config, peft, weights, tensors, names })
    }

    /// The rank and scaling of a module; nothing where PEFT puts no adapter on it.
    fn module(&self, layer: usize, target: &str) -> Result<Option<(usize, f64)>, ModelError> {
        self.peft.module(layer, target).map_err(|reason| ModelError::Adapter { path: self.config.clone(), reason })
    }

    /// Projections of a model of those sizes, each with the keys of its factors.
    fn projections(sizes: &DecoderConfig) -> impl Iterator<Item = (usize, &'static str, [String; 2])> {
        let all = (0..sizes.num_hidden_layers).flat_map(|i| TARGETS.into_iter().map(move |target| (i, target)));
        all.map(|(i, target)| (i, target, ["A", "B"].map(|factor| key(i, target, factor))))
    }
}

/// Reads an adapter that fits a decoder of those sizes; factors in F32, F16 or BF16.
///
/// A factor of a module that the config does not target is left out, as PEFT leaves it out ([`adapter_notes`]).
///
/// # Errors
/// [`ModelError::Adapter`] for a kind of adapter that is not plain LoRA, and for saved embeddings, which only
/// [`load_adapter_on`] can compare; missing halves, foreign keys and wrong shapes as for checkpoints.
pub fn load_adapter(dir: &Path, sizes: &DecoderConfig, device: &Device) -> Result<LoraAdapter, ModelError> {
    let files = AdapterFiles::open(dir)?;
    match SAVED_TABLES.iter().find(|(key, _)| files.names.contains_key(*key)) {
        Some((key, _)) => {
            let reason = format!("`{key}`: saved embeddings can only be read beside the backbone's own; name a backbone that is there");
            Err(ModelError::Adapter { path: files.weights, reason })
        }
        None => factors(&files, dir, sizes, device),
    }
}

/// [`load_adapter`] on a decoder; embeddings that were saved with the adapter must be the decoder's.
///
/// # Errors
/// As [`load_adapter`]; [`ModelError::Adapter`] for embeddings that PEFT would put in the place of the decoder's.
pub fn load_adapter_on(dir: &Path, base: &Decoder, device: &Device) -> Result<LoraAdapter, ModelError> {
    let files = AdapterFiles::open(dir)?;
    let adapter = factors(&files, dir, base.config(), device)?;
    for (key, module) in SAVED_TABLES.iter().filter(|(key, _)| files.names.contains_key(*key)) {
        let head = base.lm_head.as_ref().filter(|_| *module == "lm_head");
        let own = head.unwrap_or(&base.embed_tokens).val();
        let (dtype, [rows, width]) = (own.dtype(), own.dims());
        let got = files.tensors.shape(key).unwrap_or_default().to_vec();
        if got != [rows, width] {
            return Err(ModelError::WeightShape { key: key.to_string(), file: files.weights, got, expected: vec![rows, width] });
        }
        let saved = files.tensors.read_f32(key)?;
        let own: Vec<f32> = own.into_data().iter().collect();
        // A table that was not trained is the decoder's own, up to the half type that one of them is kept in.
        let kept = [files.tensors.float_dtype(key)?, dtype];
        let same = |(a, b): (&f32, &f32)| rounded(*a, kept) == rounded(*b, kept);
        let changed = saved.chunks(width).zip(own.chunks(width)).filter(|(a, b)| !a.iter().zip(*b).all(same)).count();
        if changed > 0 {
            let reason = format!(
                "`{key}` differs from the backbone's `{module}` in {changed} of {rows} rows, and PEFT loads it in its place; this reader \
                 does not: name the backbone that the adapter was trained on, or merge it in Python first"
            );
            return Err(ModelError::Adapter { path: files.weights, reason });
        }
    }
    Ok(adapter)
}

/// A value as it is in the narrowest of the types.
fn rounded(value: f32, types: [DType; 2]) -> f32 {
    types.into_iter().fold(value, |value, dtype| match dtype {
        DType::BF16 => half::bf16::from_f32(value).to_f32(),
        DType::F16 => half::f16::from_f32(value).to_f32(),
        _ => value,
    })
}

/// What PEFT warns of, or passes over in silence, where it loads an adapter all the same.
///
/// # Errors
/// As [`load_adapter`].
pub fn adapter_notes(dir: &Path, sizes: &DecoderConfig) -> Result<Vec<String>, ModelError> {
    let files = AdapterFiles::open(dir)?;
    let (mut without, mut beside) = (Vec::new(), Vec::new());
    for (index, target, keys) in AdapterFiles::projections(sizes) {
        match (files.module(index, target)?.is_some(), keys.iter().any(|key| files.names.contains_key(key))) {
            (true, false) => without.push(keys[0].clone()),
            (false, true) => beside.push(keys[0].clone()),
            _ => {}
        }
    }
    let mut notes = Vec::new();
    if let Some(first) = without.first() {
        notes.push(format!(
            "{}: {} modules that adapter_config.json targets have no factors, the first is `{first}`; they stay as they are",
            dir.display(),
            without.len()
        ));
    }
    if let Some(first) = beside.first() {
        notes.push(format!(
            "{}: factors of {} modules that adapter_config.json does not target are left out, as PEFT does; the first is `{first}`",
            dir.display(),
            beside.len()
        ));
    }
    let idle = files.peft.patterns_without_module(sizes.num_hidden_layers).into_iter();
    notes.extend(idle.map(|(key, pattern)| format!("{}: `{key}`: {pattern:?} matches no targeted module", dir.display())));
    Ok(notes)
}

/// Whether embeddings were saved with an adapter; false where its file cannot be read.
pub fn has_saved_embeddings(dir: &Path) -> bool {
    let files = TensorFiles::open_file(&dir.join("adapter_model.safetensors"));
    files.is_ok_and(|files| SAVED_TABLES.iter().any(|(key, _)| files.shape(key).is_some()))
}

/// Refuses an adapter_config.json that [`load_adapter`] would refuse, before the weights are there.
///
/// # Errors
/// [`ModelError::Adapter`] with the key.
pub fn check_adapter_config(path: &Path) -> Result<(), ModelError> {
    config::Resolved::open(path).map(drop)
}

fn factors(files: &AdapterFiles, dir: &Path, sizes: &DecoderConfig, device: &Device) -> Result<LoraAdapter, ModelError> {
    let mut layers: Vec<LoraLayer> = (0..sizes.num_hidden_layers).map(|_| LoraLayer::default()).collect();
    let mut known: BTreeSet<String> = SAVED_TABLES.iter().map(|(key, _)| key.to_string()).collect();
    let mut used = 0;
    for (index, target, [a, b]) in AdapterFiles::projections(sizes) {
        let (Some(slot), Some([input, output])) = (layers[index].slot(target), sizes.projection(target)) else { continue };
        let there = [&a, &b].map(|key| files.names.contains_key(key));
        known.extend([a.clone(), b.clone()]);
        let Some((rank, scaling)) = files.module(index, target)?.filter(|_| there != [false, false]) else { continue };
        let read = |key: &str, expected: [usize; 2]| -> Result<Param<Tensor<2>>, ModelError> {
            let Some(name) = files.names.get(key) else {
                return Err(ModelError::MissingWeights { count: 1, first: key.into(), dir: dir.to_owned() });
            };
            match files.tensors.shape(name) {
                Some(got) if got != expected => {
                    let (got, expected) = (got.to_vec(), expected.to_vec());
                    Err(ModelError::WeightShape { key: name.clone(), file: files.weights.clone(), got, expected })
                }
                _ => Ok(Param::from_tensor(Tensor::<2>::from_data(files.tensors.read(name)?, device))),
            }
        };
        *slot = Some(LoraPair { lora_a: read(&a, [rank, input])?, lora_b: read(&b, [output, rank])?, scaling });
        used += 1;
    }
    let foreign: Vec<&String> = files.names.iter().filter(|(bare, _)| !known.contains(*bare)).map(|(_, key)| key).collect();
    match foreign.first() {
        Some(first) => Err(ModelError::UnusedWeights { count: foreign.len(), first: first.to_string(), file: files.weights.clone() }),
        None if used == 0 => {
            Err(ModelError::Adapter { path: files.weights.clone(), reason: "holds no LoRA factors of a module that is targeted".into() })
        }
        None => Ok(LoraAdapter { layers }),
    }
}

/// Every factor with its PEFT key: A `[rank, in]`, B `[out, rank]`.
pub fn peft_factors(adapter: &LoraAdapter) -> Vec<(String, &Param<Tensor<2>>)> {
    let mut factors = Vec::new();
    for (index, layer) in adapter.layers.iter().enumerate() {
        for target in TARGETS {
            if let Some(pair) = layer.get(target) {
                factors.push((key(index, target, "A"), &pair.lora_a));
                factors.push((key(index, target, "B"), &pair.lora_b));
            }
        }
    }
    factors
}

/// Writes an adapter as PEFT would, in f32.
pub fn save_adapter(adapter: &LoraAdapter, peft: &PeftConfig, dir: &Path) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(|source| ModelError::Io { path: dir.to_owned(), source })?;
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = peft_factors(adapter)
        .into_iter()
        .map(|(key, factor)| {
            let tensor = factor.val();
            (key, tensor.dims().to_vec(), f32_bytes(tensor))
        })
        .collect();
    let config = config::written(adapter, peft);
    write_atomically(&dir.join("adapter_config.json"), format!("{config:#}\n").as_bytes())?;
    write_safetensors(&dir.join("adapter_model.safetensors"), &tensors)
}
