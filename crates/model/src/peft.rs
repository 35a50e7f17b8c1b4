//! PEFT LoRA directories: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::Path;

use burn::module::Param;
use burn::tensor::{Device, Tensor};

mod config;

pub use config::PeftConfig;

use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::lora::{LoraAdapter, LoraLayer, LoraPair, TARGETS};
use crate::weights::{TensorFiles, block_of, f32_bytes, write_atomically, write_safetensors};

fn key(layer: usize, target: &str, factor: &str) -> String {
    format!("base_model.model.model.layers.{layer}.{}.{target}.lora_{factor}.weight", block_of(target))
}

/// Reads an adapter that fits a decoder of those sizes; factors in F32, F16 or BF16.
///
/// # Errors
/// [`ModelError::Adapter`] for a kind of adapter that is not plain LoRA; missing halves, foreign keys and wrong shapes
/// as for checkpoints.
pub fn load_adapter(dir: &Path, sizes: &DecoderConfig, device: &Device) -> Result<LoraAdapter, ModelError> {
    let config = dir.join("adapter_config.json");
    let peft = config::Resolved::open(&config)?;
    let path = dir.join("adapter_model.safetensors");
    if !path.exists() && dir.join("adapter_model.bin").exists() {
        let reason = "got adapter_model.bin, a pickle; save it again with safe_serialization=True".into();
        return Err(ModelError::Adapter { path: dir.to_owned(), reason });
    }
    let files = TensorFiles::open_file(&path)?;
    let mut used = 0;
    let mut layers = Vec::with_capacity(sizes.num_hidden_layers);
    for index in 0..sizes.num_hidden_layers {
        let mut layer = LoraLayer::default();
        for target in TARGETS {
            let (a, b) = (key(index, target, "A"), key(index, target, "B"));
            let (Some(slot), Some([input, output])) = (layer.slot(target), sizes.projection(target)) else { continue };
            if files.shape(&a).is_none() && files.shape(&b).is_none() {
                continue;
            }
            let read = |key: &str, expected: [usize; 2]| -> Result<Param<Tensor<2>>, ModelError> {
                match files.shape(key) {
                    None => Err(ModelError::MissingWeights { count: 1, first: key.into(), dir: dir.to_owned() }),
                    Some(got) if got != expected => {
                        Err(ModelError::WeightShape { key: key.into(), file: path.clone(), got: got.to_vec(), expected: expected.to_vec() })
                    }
                    Some(_) => Ok(Param::from_tensor(Tensor::<2>::from_data(files.read(key)?, device))),
                }
            };
            let (rank, scaling) = peft.module(index, target).map_err(|reason| ModelError::Adapter { path: config.clone(), reason })?;
            *slot = Some(LoraPair { lora_a: read(&a, [rank, input])?, lora_b: read(&b, [output, rank])?, scaling });
            used += 2;
        }
        layers.push(layer);
    }
    let foreign = |k: &&str| (0..sizes.num_hidden_layers).all(|i| TARGETS.iter().all(|t| *k != key(i, t, "A") && *k != key(i, t, "B")));
    let count = files.keys().count() - used;
    match files.keys().find(foreign) {
        Some(first) => Err(ModelError::UnusedWeights { count, first: first.into(), file: path }),
        None if used == 0 => Err(ModelError::Adapter { path, reason: "holds no LoRA factors".into() }),
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
