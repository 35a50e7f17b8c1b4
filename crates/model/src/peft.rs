//! PEFT LoRA directories: `adapter_config.json` and `adapter_model.safetensors`.

use std::path::Path;

use burn::module::Param;
use burn::tensor::{Device, Tensor};
use serde_json::{Value, json};

use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::lora::{LoraAdapter, LoraLayer, LoraPair, TARGETS};
use crate::weights::{TensorFiles, block_of, f32_bytes, write_atomically, write_safetensors};

/// What `adapter_config.json` says, as far as it changes numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct PeftConfig {
    /// Rank of the factors.
    pub r: usize,
    /// Numerator of the scaling `lora_alpha / r`.
    pub lora_alpha: f64,
}

impl PeftConfig {
    fn open(path: &Path) -> Result<(Self, f64), ModelError> {
        let bad = |reason: String| ModelError::Adapter { path: path.to_owned(), reason };
        let text = std::fs::read_to_string(path).map_err(|e| ModelError::read(path, e))?;
        let value: Value = serde_json::from_str(&text).map_err(|e| bad(format!("not valid JSON: {e}")))?;
        let kind = value.get("peft_type").and_then(Value::as_str).unwrap_or("(none)");
        if kind != "LORA" {
            return Err(bad(format!("got `peft_type` {kind:?}, expected \"LORA\"")));
        }
        // Each of these changes the computation; an adapter that needs one must not be loaded as if it did not.
        for key in [
            "use_dora",
            "use_qalora",
            "fan_in_fan_out",
            "lora_bias",
            "rank_pattern",
            "alpha_pattern",
            "layer_replication",
            "modules_to_save",
        ] {
            let set = match value.get(key) {
                None | Some(Value::Null | Value::Bool(false)) => false,
                Some(Value::Object(map)) => !map.is_empty(),
                Some(Value::Array(list)) => !list.is_empty(),
                Some(_) => true,
            };
            if set {
                return Err(bad(format!("`{key}` is set, which this reader does not support; merge the adapter in Python first")));
            }
        }
        let r =
            value.get("r").and_then(Value::as_u64).filter(|r| *r > 0).ok_or_else(|| bad("key `r`: expected a positive integer".into()))?;
        let alpha = value.get("lora_alpha").and_then(Value::as_f64).ok_or_else(|| bad("key `lora_alpha`: expected a number".into()))?;
        let rslora = value.get("use_rslora").and_then(Value::as_bool).unwrap_or(false);
        let scaling = if rslora { alpha / (r as f64).sqrt() } else { alpha / r as f64 };
        Ok((Self { r: r as usize, lora_alpha: alpha }, scaling))
    }
}

fn key(layer: usize, target: &str, factor: &str) -> String {
    format!("base_model.model.model.layers.{layer}.{}.{target}.lora_{factor}.weight", block_of(target))
}

/// Reads an adapter that fits a decoder of `config`.
///
/// # Errors
/// [`ModelError::Adapter`] for a kind of adapter that is not plain LoRA; missing halves, foreign keys and wrong shapes
/// as for checkpoints.
pub fn load_adapter(dir: &Path, config: &DecoderConfig, device: &Device) -> Result<LoraAdapter, ModelError> {
    let (peft, scaling) = PeftConfig::open(&dir.join("adapter_config.json"))?;
    let path = dir.join("adapter_model.safetensors");
    let files = TensorFiles::open_file(&path)?;
    let mut used = 0;
    let mut layers = Vec::with_capacity(config.num_hidden_layers);
    for index in 0..config.num_hidden_layers {
        let mut layer = LoraLayer::default();
        for target in TARGETS {
            let (a, b) = (key(index, target, "A"), key(index, target, "B"));
            let (Some(slot), Some([input, output])) = (layer.slot(target), config.projection(target)) else { continue };
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
            *slot = Some(LoraPair { lora_a: read(&a, [peft.r, input])?, lora_b: read(&b, [output, peft.r])?, scaling });
            used += 2;
        }
        layers.push(layer);
    }
    let foreign = |k: &&str| (0..config.num_hidden_layers).all(|i| TARGETS.iter().all(|t| *k != key(i, t, "A") && *k != key(i, t, "B")));
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
    let config = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": null, "bias": "none",
        "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true, "lora_alpha": peft.lora_alpha,
        "lora_dropout": 0.0, "modules_to_save": null, "r": peft.r, "target_modules": TARGETS, "use_rslora": false,
    });
    write_atomically(&dir.join("adapter_config.json"), format!("{config:#}\n").as_bytes())?;
    write_safetensors(&dir.join("adapter_model.safetensors"), &tensors)
}
