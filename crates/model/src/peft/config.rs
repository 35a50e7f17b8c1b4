//! `adapter_config.json`: which adapters this reader computes, and the rank and scaling of every module.

use std::path::Path;

use fancy_regex::Regex;
use serde_json::{Map, Value, json};

use crate::error::ModelError;
use crate::json::json_text;
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

/// Which modules PEFT adapts: `target_modules` without `exclude_modules`, in the layers of `layers_to_transform`.
struct Targets {
    modules: Names,
    excluded: Option<Names>,
    layers: Option<Vec<u64>>,
}

/// Modules as a config names them.
enum Names {
    /// By the end of their path.
    List(Vec<String>),
    /// By an expression that matches the whole path.
    Pattern(Regex),
}

impl Names {
    fn of(value: &Value, key: &str) -> Result<Option<Self>, String> {
        let bad = |got: &Value| format!("key `{key}`: got {got}, expected names of modules or a regular expression");
        match value.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if key == "target_modules" && text.eq_ignore_ascii_case("all-linear") => {
                Ok(Some(Self::List(TARGETS.map(str::to_string).to_vec())))
            }
            Some(Value::String(text)) => Regex::new(&format!("^(?:{text})$"))
                .map(|regex| Some(Self::Pattern(regex)))
                .map_err(|e| format!("key `{key}`: {text:?} is no regular expression: {e}")),
            Some(got @ Value::Array(list)) => {
                let names: Option<Vec<String>> = list.iter().map(|name| name.as_str().map(str::to_owned)).collect();
                names.map(|names| Some(Self::List(names))).ok_or_else(|| bad(got))
            }
            Some(got) => Err(bad(got)),
        }
    }

    fn has(&self, path: &str) -> Result<bool, String> {
        match self {
            Self::List(names) => Ok(names
                .iter()
                .any(|name| path.strip_suffix(name.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('.')))),
            Self::Pattern(regex) => regex.is_match(path).map_err(|e| format!("{regex}: {e}, at {path}; write a simpler one")),
        }
    }
}

impl Targets {
    fn of(value: &Value) -> Result<Self, String> {
        // What PEFT adapts in a Qwen3 where nothing is named.
        let usual = || Names::List(vec!["q_proj".into(), "v_proj".into()]);
        let layers = match value.get("layers_to_transform") {
            None | Some(Value::Null) => None,
            Some(Value::Array(list)) if list.is_empty() => None,
            Some(got) => {
                let one = got.as_u64().map(|layer| vec![layer]);
                let some = || -> Option<Vec<u64>> { got.as_array()?.iter().map(Value::as_u64).collect() };
                Some(one.or_else(some).ok_or_else(|| format!("key `layers_to_transform`: got {got}, expected numbers of layers"))?)
            }
        };
        let pattern = match value.get("layers_pattern") {
            Some(Value::Array(list)) => list.is_empty() || list.iter().any(|name| name == "layers"),
            Some(Value::String(name)) => name.is_empty() || name == "layers",
            _ => true,
        };
        if layers.is_some() && !pattern {
            return Err(format!("key `layers_pattern`: got {}, expected \"layers\", the name in a Qwen3", value["layers_pattern"]));
        }
        let modules = Names::of(value, "target_modules")?.unwrap_or_else(usual);
        Ok(Self { modules, excluded: Names::of(value, "exclude_modules")?, layers })
    }

    fn has(&self, layer: usize, path: &str) -> Result<bool, String> {
        if self.excluded.as_ref().map_or(Ok(false), |names| names.has(path))? {
            return Ok(false);
        }
        // An expression names its layers itself.
        let in_layers = match (&self.modules, &self.layers) {
            (Names::List(_), Some(layers)) => layers.contains(&(layer as u64)),
            _ => true,
        };
        Ok(in_layers && self.modules.has(path)?)
    }
}

/// The patterns of a config with their values, in the order of the file.
type Patterns = Vec<(String, Regex, f64)>;

/// What a config says of every module, as PEFT resolves it.
pub(super) struct Resolved {
    r: usize,
    alpha: f64,
    rslora: bool,
    targets: Targets,
    ranks: Patterns,
    alphas: Patterns,
}

impl Resolved {
    /// Reads a config.
    ///
    /// # Errors
    /// [`ModelError::Adapter`] naming the key that this reader does not compute, or that is malformed.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|e| ModelError::read(path, e))?;
        let parse = || Self::of(&json_text(&bytes)?);
        parse().map_err(|reason| ModelError::Adapter { path: path.to_owned(), reason })
    }

    fn of(text: &str) -> Result<Self, String> {
        let bad = |e: serde_json::Error| format!("not valid JSON: {e}");
        let value: &Value = &serde_json::from_str(text).map_err(bad)?;
        // The same once more with its keys in their order, which decides among patterns.
        let ordered: minijinja::Value = serde_json::from_str(text).map_err(bad)?;
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
        let absent = |key: &str| value.get(key).is_none();
        let r = value.get("r").and_then(Value::as_u64).filter(|r| *r > 0);
        let alpha = value.get("lora_alpha").and_then(Value::as_f64);
        let ranks = pattern(value, &ordered, "rank_pattern")?;
        if let Some((regex, _, odd)) = ranks.iter().find(|(_, _, r)| *r < 1.0 || r.fract() != 0.0) {
            return Err(format!("key `rank_pattern`: got {odd} for {regex:?}, expected positive integers"));
        }
        Ok(Self {
            r: r.or(absent("r").then_some(DEFAULT_R)).ok_or("key `r`: expected a positive integer")? as usize,
            alpha: alpha.or(absent("lora_alpha").then_some(DEFAULT_ALPHA)).ok_or("key `lora_alpha`: expected a number")?,
            rslora: value.get("use_rslora").and_then(Value::as_bool).unwrap_or(false),
            targets: Targets::of(value)?,
            ranks,
            alphas: pattern(value, &ordered, "alpha_pattern")?,
        })
    }

    /// Rank and scaling of a projection, or nothing where it is no target; of several patterns that match its path the first
    /// in the file decides.
    ///
    /// # Errors
    /// A pattern that takes too many steps to match.
    pub(super) fn module(&self, layer: usize, target: &str) -> Result<Option<(usize, f64)>, String> {
        let path = module_path(layer, target);
        if !self.targets.has(layer, &path)? {
            return Ok(None);
        }
        let first = |patterns: &Patterns| -> Result<Option<f64>, String> {
            for (_, regex, value) in patterns {
                if regex.is_match(&path).map_err(|e| format!("pattern {regex}: {e}, at {path}; write a simpler one"))? {
                    return Ok(Some(*value));
                }
            }
            Ok(None)
        };
        let rank = first(&self.ranks)?.map_or(self.r, |r| r as usize);
        let alpha = first(&self.alphas)?.unwrap_or(self.alpha);
        Ok(Some((rank, if self.rslora { alpha / (rank as f64).sqrt() } else { alpha / rank as f64 })))
    }

    /// The patterns that match no targeted projection of a model of so many layers, with their keys.
    pub(super) fn patterns_without_module(&self, layers: usize) -> Vec<(&'static str, &str)> {
        let paths: Vec<String> = (0..layers)
            .flat_map(|layer| TARGETS.map(|target| (layer, module_path(layer, target))))
            .filter(|(layer, path)| self.targets.has(*layer, path) == Ok(true))
            .map(|(_, path)| path)
            .collect();
        let all = [("rank_pattern", &self.ranks), ("alpha_pattern", &self.alphas)];
        let all = all.into_iter().flat_map(|(key, patterns)| patterns.iter().map(move |(text, regex, _)| (key, text, regex)));
        let idle = all.filter(|(_, _, regex)| !paths.iter().any(|path| regex.is_match(path).unwrap_or(true)));
        idle.map(|(key, text, _)| (key, text.as_str())).collect()
    }
}

/// What PEFT's `LoraConfig` has where a file says nothing.
const DEFAULT_R: u64 = 8;
const DEFAULT_ALPHA: f64 = 8.0;

fn module_path(layer: usize, target: &str) -> String {
    format!("model.layers.{layer}.{}.{target}", block_of(target))
}

/// The entries of a pattern key; PEFT matches `(.*\.)?(PATTERN)$` from the start of a module's path.
fn pattern(value: &Value, ordered: &minijinja::Value, key: &str) -> Result<Patterns, String> {
    let entries = match value.get(key) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(map)) => map,
        Some(other) => return Err(format!("key `{key}`: got {other}, expected an object")),
    };
    let ordered = ordered.get_attr(key).and_then(|map| map.try_iter()).map_err(|e| e.to_string())?;
    let keys = ordered.filter_map(|name| name.as_str().map(str::to_owned));
    keys.map(|module| {
        let number = entries.get(&module).unwrap_or(&Value::Null);
        let number = number.as_f64().ok_or_else(|| format!("key `{key}`: got {number} for {module:?}, expected a number"))?;
        let regex =
            Regex::new(&format!(r"^(.*\.)?({module})$")).map_err(|e| format!("key `{key}`: {module:?} is no regular expression: {e}"))?;
        Ok((module, regex, number))
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
        let of = |config: &Value| Resolved::of(&config.to_string()).unwrap();
        let resolved = of(&config);
        let module = |layer, target| resolved.module(layer, target).unwrap().unwrap();
        assert_eq!(module(0, "q_proj"), (2, 8.0));
        assert_eq!(module(1, "down_proj"), (6, 8.0 / 6.0));
        assert_eq!(module(0, "down_proj"), (4, 2.0));
        assert_eq!(module(0, "k_proj"), (8, 1.0));
        assert_eq!(module(1, "k_proj"), (4, 2.0));
        assert_eq!(module(0, "o_proj").0, 3);
        let mut root = config.clone();
        root["use_rslora"] = true.into();
        assert_eq!(of(&root).module(1, "v_proj").unwrap(), Some((4, 4.0)));
    }

    #[test]
    fn the_first_pattern_of_the_file_decides() {
        // Scalings that PEFT 0.21.2 has for these files.
        let scaling = |patterns: &str| {
            let text = format!(r#"{{"peft_type": "LORA", "r": 4, "alpha_pattern": {patterns}, "target_modules": ["q_proj"]}}"#);
            [0, 1].map(|layer| Resolved::of(&text).unwrap().module(layer, "q_proj").unwrap().unwrap().1)
        };
        assert_eq!(scaling(r#"{"q_proj": 16, "layers.1.self_attn.q_proj": 64}"#), [4.0, 4.0]);
        assert_eq!(scaling(r#"{"layers.1.self_attn.q_proj": 64, "q_proj": 16}"#), [4.0, 16.0]);
        // A key that comes twice keeps its first place and has its last value.
        assert_eq!(scaling(r#"{"q_proj": 1, ".*_proj": 16, "q_proj": 64}"#), [16.0, 16.0]);
        // Nothing said: PEFT's default of 8 over the rank.
        assert_eq!(scaling("{}"), [2.0, 2.0]);
    }

    #[test]
    fn targets_decide_as_in_peft() {
        let targeted = |more: Value| {
            let mut config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8});
            config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let resolved = Resolved::of(&config.to_string()).unwrap();
            let all = (0..2).flat_map(|layer| TARGETS.map(|target| (layer, target)));
            let has = |(layer, target): &(usize, &str)| resolved.module(*layer, target).unwrap().is_some();
            all.filter(has).map(|(layer, target)| format!("{layer}{}", &target[..1])).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(targeted(json!({})), "0q 0v 1q 1v");
        assert_eq!(targeted(json!({"target_modules": ["mlp.up_proj", "proj", "model.layers.0.self_attn.k_proj"]})), "0k 0u 1u");
        assert_eq!(targeted(json!({"target_modules": "q_proj"})), "");
        assert_eq!(targeted(json!({"target_modules": ".*layers\\.1.*(q|k)_proj"})), "1q 1k");
        assert_eq!(
            targeted(json!({"target_modules": "all-linear", "exclude_modules": ["mlp.up_proj", "q_proj"]})),
            "0k 0v 0o 0g 0d 1k 1v 1o 1g 1d"
        );
        assert_eq!(targeted(json!({"exclude_modules": ".*q_proj"})), "0v 1v");
        assert_eq!(targeted(json!({"layers_to_transform": [1, 7]})), "1q 1v");
        assert_eq!(targeted(json!({"layers_to_transform": 0, "layers_pattern": "layers"})), "0q 0v");
        assert_eq!(targeted(json!({"layers_to_transform": []})), "0q 0v 1q 1v");
        let text = r#"{"peft_type": "LORA", "r": 4, "alpha_pattern": {"^q_proj": 2, "k_proj": 3, "q_proj": 4}, "rank_pattern": {"x": 1}}"#;
        assert_eq!(
            Resolved::of(text).unwrap().patterns_without_module(2),
            [("rank_pattern", "x"), ("alpha_pattern", "^q_proj"), ("alpha_pattern", "k_proj")]
        );
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
            ("target_modules", json!([1])),
            ("target_modules", json!("(")),
            ("exclude_modules", json!(3)),
            ("layers_to_transform", json!("one")),
            ("r", Value::Null),
            ("lora_alpha", Value::Null),
        ] {
            let mut config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8});
            config[key] = value;
            assert!(Resolved::of(&config.to_string()).err().unwrap().contains(key), "{key}");
        }
    }
}
