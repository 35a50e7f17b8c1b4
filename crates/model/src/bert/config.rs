//! The `config.json` of a BERT or RoBERTa encoder.

use std::path::Path;

use serde_json::Value;

use crate::error::ModelError;
use crate::json::parse_json;

/// Kinds of encoder; they differ in where positions start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Bert,
    Roberta,
    XlmRoberta,
}

impl Family {
    const ALL: [Self; 3] = [Self::Bert, Self::Roberta, Self::XlmRoberta];

    /// Its `model_type`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bert => "bert",
            Self::Roberta => "roberta",
            Self::XlmRoberta => "xlm-roberta",
        }
    }
}

/// What stands between the two products of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// With the error function.
    Gelu,
    /// With the hyperbolic tangent.
    GeluTanh,
    Relu,
}

/// Sizes and constants, named as in `config.json`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct EncoderConfig {
    pub(super) family: Family,
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) type_vocab_size: usize,
    pub(super) layer_norm_eps: f64,
    pub(super) activation: Activation,
    pub(super) pad_token_id: usize,
}

impl EncoderConfig {
    pub(super) fn open(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("config.json");
        let bytes = std::fs::read(&path).map_err(|source| ModelError::read(&path, source))?;
        let value = parse_json(&bytes);
        value.and_then(|value| Self::from_json(&value)).map_err(|reason| ModelError::Config { path, reason })
    }

    /// Reads the keys and refuses, with the reason, what this encoder does not compute.
    fn from_json(value: &Value) -> Result<Self, String> {
        let model_type = value.get("model_type").and_then(Value::as_str).unwrap_or("(none)");
        let Some(family) = Family::ALL.into_iter().find(|family| family.name() == model_type) else {
            return Err(format!("got `model_type` {model_type:?}, expected \"bert\", \"roberta\" or \"xlm-roberta\"; use such an encoder"));
        };
        let position = value.get("position_embedding_type").and_then(Value::as_str).unwrap_or("absolute");
        if position != "absolute" {
            return Err(format!(
                "got `position_embedding_type` {position:?}, expected \"absolute\"; use an encoder with learned positions"
            ));
        }
        if value.get("is_decoder").and_then(Value::as_bool) == Some(true) {
            return Err("got `is_decoder` true, expected an encoder, whose tokens see each other both ways".into());
        }
        if value.get("quantization_config").is_some_and(|v| !v.is_null()) {
            return Err("a quantised checkpoint (`quantization_config`), expected float weights; use the original of the same model".into());
        }
        // Absent in the oldest files: the defaults of BertConfig.
        let act = value.get("hidden_act").and_then(Value::as_str).unwrap_or("gelu");
        let activation = match act {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" => Activation::GeluTanh,
            "relu" => Activation::Relu,
            other => return Err(format!("got `hidden_act` {other:?}, expected \"gelu\", \"gelu_new\" or \"relu\"")),
        };
        let size = |key: &str| {
            let got = value.get(key).unwrap_or(&Value::Null);
            let size = got.as_u64().and_then(|v| usize::try_from(v).ok()).filter(|v| *v > 0);
            size.ok_or_else(|| format!("key `{key}`: got {got}, expected a positive integer"))
        };
        let pad = value.get("pad_token_id").and_then(Value::as_u64).map(|v| v as usize);
        let config = Self {
            family,
            vocab_size: size("vocab_size")?,
            hidden_size: size("hidden_size")?,
            num_hidden_layers: size("num_hidden_layers")?,
            num_attention_heads: size("num_attention_heads")?,
            intermediate_size: size("intermediate_size")?,
            max_position_embeddings: size("max_position_embeddings")?,
            type_vocab_size: size("type_vocab_size")?,
            layer_norm_eps: value.get("layer_norm_eps").and_then(Value::as_f64).unwrap_or(1e-12),
            activation,
            pad_token_id: pad.unwrap_or(if family == Family::Bert { 0 } else { 1 }),
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        let (hidden, heads) = (self.hidden_size, self.num_attention_heads);
        if !hidden.is_multiple_of(heads) {
            return Err(format!("got `hidden_size` {hidden} over {heads} attention heads, expected a multiple"));
        }
        if self.pad_token_id >= self.vocab_size {
            return Err(format!("got `pad_token_id` {}, expected less than `vocab_size` {}", self.pad_token_id, self.vocab_size));
        }
        // Two special tokens and at least one of the text.
        if self.max_position_embeddings < self.first_position() + 3 {
            let (got, least) = (self.max_position_embeddings, self.first_position() + 3);
            return Err(format!("got `max_position_embeddings` {got}, expected at least {least}"));
        }
        Ok(())
    }

    fn first_position(&self) -> usize {
        match self.family {
            Family::Bert => 0,
            Family::Roberta | Family::XlmRoberta => self.pad_token_id + 1,
        }
    }

    /// Tokens that have a position.
    pub(super) fn positions(&self) -> usize {
        self.max_position_embeddings - self.first_position()
    }

    /// Positions of a row: counted from 0, or in RoBERTa from `pad_token_id + 1` over tokens that are not the padding's.
    ///
    /// # Reference
    /// transformers, `RobertaEmbeddings.create_position_ids_from_input_ids`.
    pub(super) fn position_ids<'a>(&'a self, row: &'a [u32]) -> impl Iterator<Item = i32> + 'a {
        let (first, pad) = (self.first_position(), self.pad_token_id);
        let mut next = first;
        row.iter().map(move |id| {
            let position = if first > 0 && *id as usize == pad { pad } else { next };
            next += usize::from(position == next);
            position as i32
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tiny(model_type: &str) -> Value {
        json!({"model_type": model_type, "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "max_position_embeddings": 6, "type_vocab_size": 1})
    }

    #[test]
    fn positions_start_where_the_family_says() {
        let bert = EncoderConfig::from_json(&tiny("bert")).unwrap();
        assert_eq!((bert.positions(), bert.pad_token_id, bert.layer_norm_eps), (6, 0, 1e-12));
        assert_eq!(bert.position_ids(&[2, 0, 5]).collect::<Vec<_>>(), [0, 1, 2]);
        let roberta = EncoderConfig::from_json(&tiny("roberta")).unwrap();
        assert_eq!((roberta.positions(), roberta.pad_token_id), (4, 1));
        // The padding token in a text keeps the padding's position.
        assert_eq!(roberta.position_ids(&[0, 1, 5, 2]).collect::<Vec<_>>(), [2, 1, 3, 4]);
    }

    #[test]
    fn what_is_not_computed_is_refused() {
        let cases = [
            ("model_type", json!("distilbert"), "distilbert"),
            ("hidden_act", json!("silu"), "silu"),
            ("position_embedding_type", json!("relative_key"), "relative_key"),
            ("is_decoder", json!(true), "is_decoder"),
            ("quantization_config", json!({}), "quantised"),
            ("num_attention_heads", json!(3), "3 attention heads"),
            ("hidden_size", json!(0), "hidden_size"),
            ("pad_token_id", json!(9), "pad_token_id"),
            ("max_position_embeddings", json!(2), "at least 3"),
        ];
        for (key, bad, expected) in cases {
            let mut value = tiny("bert");
            value[key] = bad;
            let reason = EncoderConfig::from_json(&value).unwrap_err();
            assert!(reason.contains(expected), "{reason}");
        }
    }
}
