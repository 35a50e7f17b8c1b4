//! A dense Qwen3 `config.json`, read and written with Hugging Face's own names.

use std::path::Path;

use serde_json::{Value, json};

use crate::error::ModelError;
use crate::json::parse_json;

/// Sizes and constants of a dense Qwen3 decoder, named as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub struct DecoderConfig {
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the SwiGLU.
    pub intermediate_size: usize,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head; not always `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Added to the mean square in every RMS norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Whether the logits reuse `embed_tokens`.
    pub tie_word_embeddings: bool,
    /// Longest sequence the model was made for.
    pub max_position_embeddings: usize,
}

impl DecoderConfig {
    /// The sizes of a dense Qwen3 by its name on the Hugging Face hub, case ignored: what can be planned before it is downloaded.
    ///
    /// # Reference
    /// `config.json` of `Qwen/Qwen3-{0.6B,1.7B,4B,8B,14B,32B}`.
    pub fn published(id: &str) -> Option<Self> {
        let name = id.to_lowercase();
        let (hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, tie_word_embeddings) =
            match name.strip_prefix("qwen/qwen3-")? {
                "0.6b" => (1024, 3072, 28, 16, true),
                "1.7b" => (2048, 6144, 28, 16, true),
                "4b" => (2560, 9728, 36, 32, true),
                "8b" => (4096, 12288, 36, 32, false),
                "14b" => (5120, 17408, 40, 40, false),
                "32b" => (5120, 25600, 64, 64, false),
                _ => return None,
            };
        Some(Self {
            vocab_size: 151_936,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads: 8,
            head_dim: 128,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            tie_word_embeddings,
            max_position_embeddings: 40_960,
        })
    }

    /// Reads `config.json` of a checkpoint directory.
    ///
    /// # Errors
    /// [`ModelError::Missing`] without the file, [`ModelError::Config`] for anything but a dense Qwen3.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("config.json");
        let bytes = std::fs::read(&path).map_err(|source| ModelError::read(&path, source))?;
        parse_json(&bytes).and_then(|value| Self::from_json(&value)).map_err(|reason| ModelError::Config { path, reason })
    }

    /// Reads the keys of a dense Qwen3 and refuses, with the reason, what this decoder does not compute.
    pub fn from_json(value: &Value) -> Result<Self, String> {
        let model_type = value.get("model_type").and_then(Value::as_str).unwrap_or("(none)");
        if model_type != "qwen3" {
            return Err(format!("got `model_type` {model_type:?}, expected \"qwen3\" (dense); use a Qwen3 checkpoint"));
        }
        if value.get("quantization_config").is_some_and(|v| !v.is_null()) {
            return Err("a quantised repository (`quantization_config`); use the bf16 checkpoint of the same model".into());
        }
        if value.get("attention_bias").and_then(Value::as_bool) == Some(true) {
            return Err("got `attention_bias` = true, expected false; no dense Qwen3 sets it".into());
        }
        if let Some(act) = value.get("hidden_act").and_then(Value::as_str).filter(|a| *a != "silu") {
            return Err(format!("got `hidden_act` {act:?}, expected \"silu\""));
        }
        // Newer files keep theta in `rope_parameters`, older ones beside `rope_scaling`, which wins where both are there.
        let ropes = || ["rope_scaling", "rope_parameters"].iter().filter_map(|k| value.get(*k).filter(|v| !v.is_null()));
        for rope in ropes() {
            let kind = rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str).unwrap_or("default");
            if kind != "default" {
                return Err(format!("got rope type {kind:?}, expected \"default\"; scaled rotary positions are not supported"));
            }
        }
        let theta = ropes().find_map(|r| r.get("rope_theta")).or_else(|| value.get("rope_theta"));
        let number = |key: &str, got: Option<&Value>, default: f64| match got {
            None => Ok(default),
            Some(got) => got.as_f64().ok_or_else(|| format!("key `{key}`: got {got}, expected a number")),
        };
        let size = |key: &str| {
            value
                .get(key)
                .and_then(Value::as_u64)
                .map(|v| v as usize)
                .filter(|v| *v > 0)
                .ok_or_else(|| format!("key `{key}`: got {}, expected a positive integer", value.get(key).unwrap_or(&Value::Null)))
        };
        let (hidden_size, num_attention_heads) = (size("hidden_size")?, size("num_attention_heads")?);
        let num_hidden_layers = size("num_hidden_layers")?;
        sees_everything(value, num_hidden_layers)?;
        let config = Self {
            vocab_size: size("vocab_size")?,
            hidden_size,
            intermediate_size: size("intermediate_size")?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads: match value.get("num_key_value_heads") {
                Some(Value::Null) => num_attention_heads,
                _ => size("num_key_value_heads")?,
            },
            head_dim: match value.get("head_dim") {
                None => DEFAULT_HEAD_DIM,
                Some(Value::Null) => hidden_size / num_attention_heads,
                Some(_) => size("head_dim")?,
            },
            rms_norm_eps: number("rms_norm_eps", value.get("rms_norm_eps"), DEFAULT_RMS_NORM_EPS)?,
            rope_theta: number("rope_theta", theta, DEFAULT_ROPE_THETA)?,
            tie_word_embeddings: value.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(false),
            max_position_embeddings: size("max_position_embeddings")?,
        };
        config.check()?;
        Ok(config)
    }

    /// Reports the first pair of sizes that cannot go together.
    pub fn check(&self) -> Result<(), String> {
        // Far above any model, and far below what would overflow or fill the memory before a weight is read.
        let sizes = [
            ("vocab_size", self.vocab_size, 1 << 24),
            ("hidden_size", self.hidden_size, 1 << 20),
            ("intermediate_size", self.intermediate_size, 1 << 22),
            ("num_hidden_layers", self.num_hidden_layers, 1 << 12),
            ("num_attention_heads", self.num_attention_heads, 1 << 12),
            ("num_key_value_heads", self.num_key_value_heads, 1 << 12),
            ("head_dim", self.head_dim, 1 << 14),
            ("max_position_embeddings", self.max_position_embeddings, 1 << 32),
        ];
        if let Some((key, got, most)) = sizes.into_iter().find(|(_, got, most)| got > most) {
            return Err(format!("key `{key}`: got {got}, expected at most {most}"));
        }
        if self.num_key_value_heads == 0 || !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(format!(
                "got {} attention heads over {} key-value heads, expected a multiple",
                self.num_attention_heads, self.num_key_value_heads
            ));
        }
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(format!("got `head_dim` {}, expected an even number (rotary halves)", self.head_dim));
        }
        Ok(())
    }

    /// Returns the `config.json` that transformers reads back as the same model.
    pub fn to_json(&self, eos_token_id: u32, pad_token_id: u32, dtype: &str) -> Value {
        json!({
            "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size, "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers, "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads, "head_dim": self.head_dim, "hidden_act": "silu",
            "rms_norm_eps": self.rms_norm_eps, "rope_theta": self.rope_theta, "rope_scaling": null,
            "attention_bias": false, "tie_word_embeddings": self.tie_word_embeddings,
            "max_position_embeddings": self.max_position_embeddings, "torch_dtype": dtype,
            "eos_token_id": eos_token_id, "pad_token_id": pad_token_id,
        })
    }

    /// Number of parameters, the tied head counted once.
    pub fn num_params(&self) -> usize {
        let (h, d) = (self.hidden_size, self.head_dim);
        let attention = 2 * h * d * (self.num_attention_heads + self.num_key_value_heads) + 2 * d;
        let layer = attention + 3 * h * self.intermediate_size + 2 * h;
        let tables = if self.tie_word_embeddings { 1 } else { 2 };
        tables * self.vocab_size * h + self.num_hidden_layers * layer + h
    }

    /// Input and output widths of a projection that a LoRA adapter may target.
    pub fn projection(&self, name: &str) -> Option<[usize; 2]> {
        let (q, kv) = (self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim);
        Some(match name {
            "q_proj" => [self.hidden_size, q],
            "k_proj" | "v_proj" => [self.hidden_size, kv],
            "o_proj" => [q, self.hidden_size],
            "gate_proj" | "up_proj" => [self.hidden_size, self.intermediate_size],
            "down_proj" => [self.intermediate_size, self.hidden_size],
            _ => return None,
        })
    }
}

/// Of a config.json without the key, as in transformers' `Qwen3Config`.
const DEFAULT_HEAD_DIM: usize = 128;
const DEFAULT_RMS_NORM_EPS: f64 = 1e-6;
const DEFAULT_ROPE_THETA: f64 = 1e4;

/// Refuses layers that attend to a window only: those that `layer_types` names, else those from `max_window_layers` on.
fn sees_everything(value: &Value, layers: usize) -> Result<(), String> {
    if let Some(types) = value.get("layer_types").and_then(Value::as_array) {
        return match types.iter().find(|kind| *kind != "full_attention") {
            Some(kind) => Err(format!("key `layer_types`: got {kind}, expected \"full_attention\"; no dense Qwen3 has another")),
            None => Ok(()),
        };
    }
    let slides = value.get("use_sliding_window").and_then(Value::as_bool) == Some(true);
    let first = value.get("max_window_layers").and_then(Value::as_u64).unwrap_or(28);
    if slides && value.get("sliding_window").is_none_or(|v| !v.is_null()) && first < layers as u64 {
        return Err("got `use_sliding_window` = true, expected false; no dense Qwen3 sets it".into());
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// Two layers, grouped heads, and a head width that is not hidden / heads.
    pub(crate) fn tiny(tied: bool) -> DecoderConfig {
        DecoderConfig {
            vocab_size: 61,
            hidden_size: 32,
            intermediate_size: 48,
            num_hidden_layers: 2,
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 12,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            tie_word_embeddings: tied,
            max_position_embeddings: 256,
        }
    }

    #[test]
    fn json_round_trip() {
        let config = tiny(true);
        assert_eq!(DecoderConfig::from_json(&config.to_json(1, 0, "float32")).unwrap(), config);
    }

    #[test]
    fn published_sizes_add_up() {
        // model.safetensors.index.json of Qwen/Qwen3-8B: total_size 16381470720 in bf16.
        assert_eq!(DecoderConfig::published("Qwen/Qwen3-8B").unwrap().num_params() * 2, 16_381_470_720);
        assert_eq!(DecoderConfig::published("Qwen/Qwen3-9B"), None);
    }

    #[test]
    fn other_architectures_are_refused_with_the_reason() {
        let mut json = tiny(false).to_json(1, 0, "float32");
        json["model_type"] = "llama".into();
        assert!(DecoderConfig::from_json(&json).unwrap_err().contains("llama"));
        let mut json = tiny(false).to_json(1, 0, "float32");
        json["rope_scaling"] = json!({"rope_type": "yarn", "factor": 4.0});
        assert!(DecoderConfig::from_json(&json).unwrap_err().contains("yarn"));
        json["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 1e4});
        assert!(DecoderConfig::from_json(&json).unwrap_err().contains("yarn"), "as in transformers, rope_scaling wins");
        json["rope_scaling"] = json!({"rope_type": "default", "rope_theta": 5e5});
        assert_eq!(DecoderConfig::from_json(&json).unwrap().rope_theta, 5e5);
    }

    #[test]
    fn keys_that_may_be_absent_or_null() {
        let edited = |key: &str, new: Option<Value>| {
            let mut json = tiny(false).to_json(1, 0, "float32");
            match new {
                Some(new) => drop(json.as_object_mut().unwrap().insert(key.into(), new)),
                None => drop(json.as_object_mut().unwrap().remove(key)),
            }
            json
        };
        let of = |key, new| DecoderConfig::from_json(&edited(key, new));
        assert_eq!(of("head_dim", None).unwrap().head_dim, 128, "as in transformers");
        assert_eq!(of("head_dim", Some(Value::Null)).unwrap().head_dim, 8);
        assert_eq!(of("num_key_value_heads", Some(Value::Null)).unwrap().num_key_value_heads, 4);
        assert!(of("num_key_value_heads", None).unwrap_err().contains("num_key_value_heads"));
        assert_eq!(of("rms_norm_eps", None).unwrap().rms_norm_eps, 1e-6, "as in transformers");
        assert_eq!(of("rope_theta", None).unwrap().rope_theta, 1e4, "as in transformers");
        assert!(of("rope_theta", Some("1e6".into())).unwrap_err().contains("rope_theta"));
        // A window that no layer has changes nothing.
        let mut json = edited("use_sliding_window", Some(true.into()));
        json["max_window_layers"] = 2.into();
        assert_eq!(DecoderConfig::from_json(&json).unwrap(), tiny(false));
        json["max_window_layers"] = 1.into();
        assert!(DecoderConfig::from_json(&json).unwrap_err().contains("use_sliding_window"));
        json["layer_types"] = json!(["full_attention", "full_attention"]);
        assert_eq!(DecoderConfig::from_json(&json).unwrap(), tiny(false));
        json["layer_types"][1] = "sliding_attention".into();
        assert!(DecoderConfig::from_json(&json).unwrap_err().contains("sliding_attention"));
    }
}
