//! The experiment file as typed: one TOML, every struct refusing unknown keys, one level of `base`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use nextmem_model::Decoding;
use nextmem_training::{LoopConfig, PretrainConfig, ReconstructionConfig, SubstitutionConfig};
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

/// Everything one run needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name of the run and of its directory.
    pub name: String,
    /// Seed of weights, data order and generated data (official code: 1128).
    #[serde(default = "defaults::seed")]
    pub seed: u64,
    /// Where run directories go.
    #[serde(default = "defaults::results")]
    pub results: PathBuf,
    /// What computes.
    #[serde(default)]
    pub device: DeviceConfig,
    /// The language model.
    pub backbone: BackboneConfig,
    /// What is trained on and tested with.
    pub data: DataConfig,
    /// How passages are kept.
    #[serde(default)]
    pub method: MethodConfig,
    /// NF4; absent: dense latents only.
    pub quant: Option<QuantConfig>,
    /// The stages.
    #[serde(default)]
    pub train: TrainConfig,
    /// The tasks.
    #[serde(default)]
    pub eval: EvalConfig,
}

/// Backend, device and float type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceConfig {
    /// `flex` (CPU), `wgpu` or `cuda`.
    pub backend: String,
    /// Which device of that backend.
    #[serde(default)]
    pub index: usize,
    /// `f32`, `bf16` or `f16`.
    #[serde(default = "defaults::dtype")]
    pub dtype: String,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { backend: "flex".into(), index: 0, dtype: defaults::dtype() }
    }
}

/// A Hugging Face directory, or a small model made from nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackboneConfig {
    /// A directory with config.json, safetensors and tokenizer.json.
    pub model: Option<PathBuf>,
    /// Sizes of a new model; its tokenizer is trained on the data, and `[train.pretrain]` trains it.
    pub nano: Option<NanoConfig>,
}

/// Sizes of a nano Qwen3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NanoConfig {
    /// Entries of the byte-level BPE, special tokens included; also the rows of the embedding table.
    pub vocab_size: usize,
    /// As in config.json.
    pub hidden_size: usize,
    /// As in config.json.
    pub intermediate_size: usize,
    /// As in config.json.
    pub num_hidden_layers: usize,
    /// As in config.json.
    pub num_attention_heads: usize,
    /// As in config.json.
    pub num_key_value_heads: usize,
    /// As in config.json.
    pub head_dim: usize,
    /// As in config.json.
    pub tie_word_embeddings: bool,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Passages of each kind that the tokenizer is trained on.
    pub tokenizer_passages: usize,
    /// Where the finished backbone is copied, to be used by other experiments.
    pub export: Option<PathBuf>,
}

/// One of the kinds of text; `facts` and `text` together only for pretraining.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Generated agent memories.
    pub facts: Option<FactsConfig>,
    /// Plain text, cut into passages.
    pub text: Option<TextConfig>,
    /// SQuAD's official JSON.
    pub squad: Option<SquadConfig>,
}

/// The facts generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactsConfig {
    /// Different passages to train on.
    pub train: usize,
}

/// A text file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// The file, UTF-8.
    pub path: PathBuf,
    /// Fewest words of a passage.
    pub min_words: usize,
    /// Most words of a passage.
    pub max_words: usize,
}

/// SQuAD 1.1 or 2.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SquadConfig {
    /// The file whose paragraphs train.
    pub train: PathBuf,
    /// The file whose paragraphs test; may equal `train`, then every tenth article tests.
    pub test: PathBuf,
    /// Most words of a passage; longer ones are left out and counted.
    pub max_words: usize,
}

/// How passages are kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MethodConfig {
    /// NextMem.
    #[serde(default)]
    pub nextmem: NextMemConfig,
}

/// NextMem's own choices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextMemConfig {
    /// Latents per passage (paper: 15).
    #[serde(default = "defaults::num_latents")]
    pub num_latents: usize,
    /// Whether the decoder's prompt ends with `[SoD]` (false: the "w/o ST" ablation).
    #[serde(default = "defaults::yes")]
    pub decode_with_sod: bool,
    /// Longest passage in tokens (official code: 1024).
    #[serde(default = "defaults::max_input_tokens")]
    pub max_input_tokens: usize,
    /// Longest reconstruction or answer in tokens.
    #[serde(default = "defaults::max_new_tokens")]
    pub max_new_tokens: usize,
    /// `"greedy"` or `{ sample = { temperature, top_k, top_p, seed } }`.
    #[serde(default)]
    pub decoding: Decoding,
}

impl Default for NextMemConfig {
    fn default() -> Self {
        Self {
            num_latents: defaults::num_latents(),
            decode_with_sod: true,
            max_input_tokens: defaults::max_input_tokens(),
            max_new_tokens: defaults::max_new_tokens(),
            decoding: Decoding::Greedy,
        }
    }
}

/// NF4 quantisation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuantConfig {
    /// Per-dimension scales (false: the "w/o SQ" ablation).
    #[serde(default = "defaults::yes")]
    pub scales: bool,
}

/// The stages and their order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    /// Which stages run; absent: all that have a table.
    pub stages: Option<Vec<StageName>>,
    /// Logging, checkpoints, validation of every stage.
    #[serde(default, rename = "loop")]
    pub run: LoopConfig,
    /// Language-model pretraining of a nano backbone.
    pub pretrain: Option<PretrainConfig>,
    /// Stage 1.
    pub reconstruction: Option<ReconstructionConfig>,
    /// Stage 2.
    pub substitution: Option<SubstitutionConfig>,
}

/// A stage of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageName {
    /// The backbone itself.
    Pretrain,
    /// Stage 1.
    Reconstruction,
    /// Stage 2.
    Substitution,
}

impl StageName {
    /// Its directory in a run.
    pub fn dir(self) -> &'static str {
        match self {
            Self::Pretrain => "pretrain",
            Self::Reconstruction => "stage1",
            Self::Substitution => "stage2",
        }
    }
}

/// The tasks; an absent one is not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Passages encoded, decoded or answered at once.
    #[serde(default = "defaults::eval_batch")]
    pub batch_size: usize,
    /// Task 1.
    pub reconstruction: Option<TaskConfig>,
    /// Task 2.
    pub contextual_qa: Option<TaskConfig>,
    /// Task 3.
    pub retrieval: Option<TaskConfig>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self { batch_size: defaults::eval_batch(), reconstruction: None, contextual_qa: None, retrieval: None }
    }
}

/// One task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskConfig {
    /// Most items.
    pub limit: usize,
    /// An official prepared file (`recs_*`, `stm_*`, `*_ltm_*`); absent: the test split of the data.
    pub path: Option<PathBuf>,
    /// Passages searched per question (retrieval on facts).
    pub candidates: Option<usize>,
    /// Metric names.
    pub metrics: Vec<String>,
}

mod defaults {
    use std::path::PathBuf;
    /// paper.md section 2: "Seed 1128" [code]
    pub(super) fn seed() -> u64 {
        1128
    }
    pub(super) fn results() -> PathBuf {
        "results".into()
    }
    pub(super) fn dtype() -> String {
        "f32".into()
    }
    /// paper.md section 1: L = 15
    pub(super) fn num_latents() -> usize {
        15
    }
    pub(super) fn yes() -> bool {
        true
    }
    /// ecosystem.md B.3: "ids(text, max 1024)" [code]
    pub(super) fn max_input_tokens() -> usize {
        1024
    }
    pub(super) fn max_new_tokens() -> usize {
        512
    }
    pub(super) fn eval_batch() -> usize {
        16
    }
}

/// Where a key's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The experiment file.
    Set,
    /// Its `base`.
    Base,
    /// The documented default.
    Default,
}

/// A parsed experiment with the origin of every key.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The values.
    pub experiment: Experiment,
    /// The file as typed.
    pub text: String,
    /// Dotted key to origin, of the keys that were typed somewhere.
    pub origins: BTreeMap<String, Origin>,
}

impl Experiment {
    /// Reads an experiment and, if it names one, its base.
    pub fn load(path: &Path) -> Result<Loaded> {
        let text = read(path)?;
        let mut table: Table = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let mut origins = BTreeMap::new();
        let base = table.remove("base");
        if let Some(base) = base {
            let Value::String(name) = base else { bail!("{}: key `base`: expected the file name of another experiment", path.display()) };
            let base_path = path.parent().unwrap_or(Path::new(".")).join(&name);
            let mut merged: Table = toml::from_str(&read(&base_path)?).with_context(|| base_path.display().to_string())?;
            if merged.contains_key("base") {
                bail!("{}: `base` names {name}, which has a `base` itself; only one level is allowed", path.display());
            }
            note(&mut origins, "", &merged, Origin::Base);
            note(&mut origins, "", &table, Origin::Set);
            merge(&mut merged, table);
            let experiment = Value::Table(merged).try_into().map_err(|e: toml::de::Error| locate(path, &text, e.message()))?;
            return Ok(Loaded { experiment, text, origins });
        }
        note(&mut origins, "", &table, Origin::Set);
        // From the text, not the table, so that an error shows its line.
        let experiment = toml::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Loaded { experiment, text, origins })
    }
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|e| anyhow!("{}: {e}; give the path of an experiment, like experiments/quickstart.toml", path.display()))
}

/// An error of merged values, with the line of the key it names where the file has it.
fn locate(path: &Path, text: &str, message: &str) -> anyhow::Error {
    let key = message.split('`').nth(1).unwrap_or_default();
    let line = text.lines().position(|l| !key.is_empty() && l.trim_start().starts_with(key));
    match line {
        Some(line) => anyhow!("{}: line {}: {message}", path.display(), line + 1),
        None => anyhow!("{}: {message}", path.display()),
    }
}

fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(table)) => merge(inner, table),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn note(origins: &mut BTreeMap<String, Origin>, prefix: &str, table: &Table, origin: Origin) {
    for (key, value) in table {
        let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => note(origins, &dotted, inner, origin),
            _ => {
                origins.insert(dotted, origin);
            }
        }
    }
}

/// Every key of a resolved experiment with its value, dotted and in order.
pub fn flatten(experiment: &Experiment) -> Result<Vec<(String, String)>> {
    fn walk(out: &mut Vec<(String, String)>, prefix: &str, table: &Table) {
        for (key, value) in table {
            let dotted = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
            match value {
                Value::Table(inner) => walk(out, &dotted, inner),
                value => out.push((dotted, value.to_string())),
            }
        }
    }
    let mut out = Vec::new();
    walk(&mut out, "", &Table::try_from(experiment)?);
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const BASE: &str = "name = 'a'\n[backbone]\nmodel = 'm'\n[data.facts]\ntrain = 5\n[method.nextmem]\nnum_latents = 4\n";

    fn load(text: &str) -> Result<Loaded> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("base.toml"), BASE).unwrap();
        std::fs::write(dir.path().join("x.toml"), text).unwrap();
        Experiment::load(&dir.path().join("x.toml"))
    }

    #[test]
    fn base_values_are_kept_unless_set() {
        let loaded = load("base = 'base.toml'\nname = 'b'\n[method.nextmem]\ndecode_with_sod = false\n").unwrap();
        assert_eq!(loaded.experiment.name, "b");
        assert_eq!(loaded.experiment.method.nextmem.num_latents, 4);
        assert!(!loaded.experiment.method.nextmem.decode_with_sod);
        assert_eq!(loaded.origins["method.nextmem.num_latents"], Origin::Base);
        assert_eq!(loaded.origins["name"], Origin::Set);
        assert_eq!(loaded.experiment.seed, 1128);
    }

    #[test]
    fn unknown_keys_name_their_line() {
        let error = format!("{:#}", load(&format!("{BASE}nmu_latents = 3\n")).unwrap_err());
        assert!(error.contains("nmu_latents") && error.contains("line 8"), "{error}");
        let error = format!("{:#}", load("base = 'base.toml'\nname = 'b'\nsede = 3\n").unwrap_err());
        assert!(error.contains("sede") && error.contains("line 3"), "{error}");
    }

    #[test]
    fn chains_of_bases_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.toml"), "base = 'b.toml'\n").unwrap();
        std::fs::write(dir.path().join("b.toml"), "base = 'c.toml'\n").unwrap();
        let error = format!("{:#}", Experiment::load(&dir.path().join("a.toml")).unwrap_err());
        assert!(error.contains("one level"), "{error}");
    }
}
