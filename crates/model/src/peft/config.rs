//! `adapter_config.json`: which adapters this reader computes, and the rank and scaling of every module.

use std::path::Path;

use fancy_regex::Regex;
use serde_json::{Map, Value, json};

use crate::error::ModelError;
use crate::lora::{LoraAdapter, TARGETS};
use crate::weights::block_of;

/// Rank and scaling that an adapter is saved with.
#[derive(Clone, Debug, PartialEq)]
pub struct PeftConfig {
    /// Rank of the factors.
    pub r: usize,
    /// Numerator of the scaling `lora_alpha / r`.
    pub lora_alpha: f64,
}

/// Keys that change what an adapter computes: one that sets any of them must not be read as plain LoRA.
const REFUSED: [&str; 16] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "fan_in_fan_out",
    "lora_bias",
    "layer_replication",
    "modules_to_save",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "arrow_config",
    "megatron_config",
    "kasa_config",
    "monteclora_config",
    "velora_config",
    "runtime_config.ephemeral_gpu_offload",
];

/// Initialisations that leave the base model as it is; the others (PiSSA, OLoRA, ..) subtract something from it.
const PLAIN_INIT: [&str; 4] = ["gaussian", "eva", "orthogonal", "lora_ga"];

/// What a config says of every module, as PEFT resolves it.
pub(super) struct Resolved {
    r: usize,
    alpha: f64,
    rslora: bool,
    ranks: Vec<(Regex, f64)>,
    alphas: Vec<(Regex, f64)>,
}

impl Resolved {
    /// Reads a config.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] naming the key that this reader does not compute, or that is malformed.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let text = std::fs::read_to_string(path).map_err(|e| ModelError::read(path, e))?;
        let parse = || -> Result<Self, String> { Self::of(&serde_json::from_str(&text).map_err(|e| format!("not valid JSON: {e}"))?) };
        parse().map_err(|reason| ModelError::Adapter { path: path.to_owned(), reason })
    }

    fn of(value: &Value) -> Result<Self, String> {
        let kind = value.get("peft_type").and_then(Value::as_str).unwrap_or("(none)");
        if kind != "LORA" {
            return Err(format!("got `peft_type` {kind:?}, expected \"LORA\""));
        }
        for key in REFUSED {
            let found = key.split('.').try_fold(value, |v, part| v.get(part));
            let set = match found {
                None | Some(Value::Null | Value::Bool(false)) => false,
                Some(Value::Object(map)) => !map.is_empty(),
                Some(Value::Array(list)) => !list.is_empty(),
                Some(_) => true,
            };
            if set {
                return Err(format!("`{key}` is set, which this reader does not support; merge the adapter in Python first"));
            }
        }
        if let Some(init) = value.get("init_lora_weights").and_then(Value::as_str).filter(|init| !PLAIN_INIT.contains(init)) {
            return Err(format!(
                "`init_lora_weights` is {init:?}, which changes the base model; save it as plain LoRA or merge it in Python first"
            ));
        }
        let r = value.get("r").and_then(Value::as_u64).filter(|r| *r > 0).ok_or("key `r`: expected a positive integer")?;
        let alpha = value.get("lora_alpha").and_then(Value::as_f64).ok_or("key `lora_alpha`: expected a number")?;
        let ranks = pattern(value, "rank_pattern")?;
        if let Some((regex, odd)) = ranks.iter().find(|(_, r)| *r < 1.0 || r.fract() != 0.0) {
            return Err(format!("key `rank_pattern`: got {odd} for {regex}, expected positive integers"));
        }
        Ok(Self {
            r: r as usize,
            alpha,
            rslora: value.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
            ranks,
            alphas: pattern(value, "alpha_pattern")?,
        })
    }

    /// Rank and scaling of a projection; the first pattern that matches its path decides.
    ///
    /// # Errors
    /// A pattern that takes too many steps to match.
    pub(super) fn module(&self, layer: usize, target: &str) -> Result<(usize, f64), String> {
        let path = module_path(layer, target);
        let first = |patterns: &[(Regex, f64)]| -> Result<Option<f64>, String> {
            for (regex, value) in patterns {
                if regex.is_match(&path).map_err(|e| format!("pattern {regex}: {e}, at {path}; write a simpler one"))? {
                    return Ok(Some(*value));
                }
            }
            Ok(None)
        };
        let rank = first(&self.ranks)?.map_or(self.r, |r| r as usize);
        let alpha = first(&self.alphas)?.unwrap_or(self.alpha);
        Ok((rank, if self.rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 }))
    }
}

fn module_path(layer: usize, target: &str) -> String {
    format!("model.layers.{layer}.{}.{target}", block_of(target))
}

/// The entries of a pattern key; PEFT matches `(.*\.)?(PATTERN)$` from the start of a module's path.
fn pattern(value: &Value, key: &str) -> Result<Vec<(Regex, f64)>, String> {
    let entries = match value.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(format!("key `{key}`: got {other}, expected an object")),
    };
    entries
        .iter()
        .map(|(module, number)| {
            let number = number.as_f64().ok_or_else(|| format!("key `{key}`: got {number} for {module:?}, expected a number"))?;
            let regex = Regex::new(&format!(r"^(.*\.)?({module})$"))
                .map_err(|e| format!("key `{key}`: {module:?} is no regular expression: {e}"))?;
            Ok((regex, number))
        })
        .collect()
}

/// The `adapter_config.json` of an adapter; modules whose rank or scaling differs from the first one's get a pattern.
pub(super) fn written(adapter: &LoraAdapter, peft: &PeftConfig) -> Value {
    let (mut ranks, mut alphas, mut targets) = (Map::new(), Map::new(), Vec::new());
    for (index, layer) in adapter.layers.iter().enumerate() {
        for target in TARGETS {
            let Some(pair) = layer.get(target) else { continue };
            if !targets.contains(&target) {
                targets.push(target);
            }
            let rank = pair.lora_a.dims()[0];
            let alpha = pair.scaling * rank as f64;
            // Dots are literal in a path, not in a pattern.
            let path = module_path(index, target).replace('.', r"\.");
            if rank != peft.r {
                ranks.insert(path.clone(), json!(rank));
            }
            if (alpha - peft.lora_alpha).abs() > 1e-9 * peft.lora_alpha.abs() {
                alphas.insert(path, json!(alpha));
            }
        }
    }
    json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": null, "bias": "none",
        "fan_in_fan_out": false, "inference_mode": true, "init_lora_weights": true, "lora_alpha": peft.lora_alpha,
        "lora_dropout": 0.0, "modules_to_save": null, "r": peft.r, "target_modules": targets, "use_rslora": false,
        "rank_pattern": ranks, "alpha_pattern": alphas,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn patterns_decide_as_in_peft() {
        let config = json!({
            "peft_type": "LORA", "r": 4, "lora_alpha": 8, "unknown": 1, "target_modules": ".*_proj", "task_type": null,
            "rank_pattern": {"q_proj": 2, "layers.1.mlp.down_proj": 6, "^model.layers.0.*k_proj": 8, "(?!x)layers\\.0\\.self_attn\\.o_proj": 3},
            "alpha_pattern": {"q_proj": 16},
        });
        let resolved = Resolved::of(&config).unwrap();
        assert_eq!(resolved.module(0, "q_proj").unwrap(), (2, 8.0));
        assert_eq!(resolved.module(1, "down_proj").unwrap(), (6, 8.0 / 6.0));
        assert_eq!(resolved.module(0, "down_proj").unwrap(), (4, 2.0));
        assert_eq!(resolved.module(0, "k_proj").unwrap(), (8, 1.0));
        assert_eq!(resolved.module(1, "k_proj").unwrap(), (4, 2.0));
        assert_eq!(resolved.module(0, "o_proj").unwrap().0, 3);
        let mut root = config.clone();
        root["use_rslora"] = true.into();
        assert_eq!(Resolved::of(&root).unwrap().module(1, "v_proj").unwrap(), (4, 4.0));
    }

    #[test]
    fn malformed_patterns_are_named() {
        for (key, value) in [
            ("rank_pattern", json!({"q_proj": 0})),
            ("rank_pattern", json!({"q_proj": 1.5})),
            ("alpha_pattern", json!({"q_proj": "x"})),
            ("rank_pattern", json!({"(": 2})),
            ("alpha_pattern", json!([1])),
            ("init_lora_weights", json!("pissa_niter_4")),
            ("trainable_token_indices", json!([1])),
        ] {
            let mut config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8});
            config[key] = value;
            assert!(Resolved::of(&config).err().unwrap().contains(key), "{key}");
        }
    }
}
