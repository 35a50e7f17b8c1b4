//! What an experiment file may say: one root struct, every table refusing unknown keys.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::analysis::AnalysisConfig;
use crate::facts_source::FactsConfig;
use crate::methods::Controls;
use nextmem_eval::bertscore::BertScoreConfig;
use nextmem_eval::judge::JudgeConfig;
use nextmem_model::{Decoding, TooLong};
use serde::{Deserialize, Serialize};

mod baselines;
mod load;
mod paths;
mod train;

pub use baselines::BaselinesConfig;
pub use load::{Loaded, Origin, flatten};
pub use paths::beside;
pub use train::{StageName, TrainConfig};

/// Everything one run needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Name of the run and of its directory.
    pub name: String,
    /// Seed of everything that has none of its own in `[data.facts]`, `[train]` and `[eval]` (official code: 1128).
    #[serde(default = "defaults::seed")]
    pub seed: u64,
    /// Where run directories go; absent: `results` beside the experiment file.
    #[serde(default = "defaults::results")]
    pub results: PathBuf,
    /// What computes.
    #[serde(default)]
    pub device: DeviceConfig,
    /// The language model.
    pub backbone: BackboneConfig,
    /// What is trained on and tested with.
    #[serde(default)]
    pub data: DataConfig,
    /// Trained parts that are there already, instead of the stages that would train them.
    pub weights: Option<WeightsConfig>,
    /// How passages are kept.
    #[serde(default)]
    pub method: MethodConfig,
    /// NF4; absent: dense latents only.
    pub quant: Option<QuantConfig>,
    /// The stages.
    #[serde(default)]
    pub train: TrainConfig,
    /// What NextMem is compared with.
    #[serde(default, skip_serializing_if = "BaselinesConfig::is_empty")]
    pub baselines: BaselinesConfig,
    /// The tasks.
    #[serde(default)]
    pub eval: EvalConfig,
    /// The sweeps of `nextmem analyze`; absent: the paper's.
    pub analysis: Option<AnalysisConfig>,
    /// Who judges the answers of task 2, by `nextmem judge`; absent: nobody.
    pub judge: Option<JudgeConfig>,
}

impl Experiment {
    /// Seed of first weights and of the order of passages.
    pub fn train_seed(&self) -> u64 {
        self.train.seed.unwrap_or(self.seed)
    }

    /// Seed of generated passages that train and validate.
    pub fn data_seed(&self) -> u64 {
        self.data.facts.as_ref().and_then(|facts| facts.seed).unwrap_or(self.seed)
    }

    /// Seed of generated test items.
    pub fn eval_seed(&self) -> u64 {
        self.eval.seed.unwrap_or(self.seed)
    }
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
    /// The backend of everything after training, where it is another one: weights trained on a GPU are evaluated, and used,
    /// on a machine without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<String>,
}

impl DeviceConfig {
    /// Where weights are used once they are trained.
    pub fn evaluation(&self) -> Self {
        match &self.evaluate {
            Some(backend) => Self { backend: backend.clone(), index: 0, dtype: self.dtype.clone(), evaluate: None },
            None => self.clone(),
        }
    }
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { backend: "flex".into(), index: 0, dtype: defaults::dtype(), evaluate: None }
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
    /// Whether the finished backbone is scaled so that its hidden states are as large as its embeddings: a function of tokens that
    /// stays the same, while latents among embeddings shrink (ours; nothing published does it).
    #[serde(default = "defaults::yes", skip_serializing_if = "is_true")]
    pub balanced: bool,
    /// Where the finished backbone is copied, to be used by other experiments.
    pub export: Option<PathBuf>,
}

/// Trained parts: PEFT directories (stage 1 with its special-token file) or Hugging Face directories.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsConfig {
    /// After stage 1; the official release's `stage_1_checkpoint-*`.
    pub stage1: Option<PathBuf>,
    /// After stage 2; the official release's `stage_2_checkpoint-*`.
    pub stage2: Option<PathBuf>,
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
    /// Official prepared files, `recs_*.json`, of any datasets.
    pub prepared: Option<PreparedConfig>,
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
    /// The file whose paragraphs test; may equal `train`, then a hash of the passage puts a tenth aside for it.
    pub test: PathBuf,
    /// Most words of a passage; longer ones are left out and counted.
    pub max_words: usize,
}

/// Prepared files of task 1, as `nextmem data prepare` writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedConfig {
    /// Its name in tables and file names.
    pub name: String,
    /// The files that train; a hash of the passage puts a tenth of them aside for validation.
    pub train: Vec<PathBuf>,
    /// The files that test, none of whose passages trains; without any another tenth of `train` does.
    #[serde(default)]
    pub test: Vec<PathBuf>,
    /// Most words of a passage; longer ones are left out.
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
    /// A longer passage is refused (`"refuse"`), or cut (`"cut"`, official code).
    #[serde(default, skip_serializing_if = "is_default")]
    pub too_long: TooLong,
    /// Who answers from decoded text (DeComp): `"backbone"`, untouched, or `"decoder"`, as it was trained.
    #[serde(default)]
    pub decomp_reader: DecompReader,
    /// Most gradient steps of write-time refinement (0: none); above 0 the tables have a row "+ refine" beside NextMem's own,
    /// which is not the paper's method.
    #[serde(default, skip_serializing_if = "is_default")]
    pub refine_steps: usize,
    /// Longest reconstruction or answer in tokens.
    #[serde(default = "defaults::max_new_tokens")]
    pub max_new_tokens: usize,
    /// `"greedy"` or `{ sample = { temperature, top_k, top_p, seed } }`.
    #[serde(default)]
    pub decoding: Decoding,
}

/// Who answers from decoded text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecompReader {
    /// The untouched backbone, as it answers from the textual memory.
    #[default]
    Backbone,
    /// The decoder after all stages.
    Decoder,
}

impl Default for NextMemConfig {
    fn default() -> Self {
        Self {
            num_latents: defaults::num_latents(),
            decode_with_sod: true,
            max_input_tokens: defaults::max_input_tokens(),
            too_long: TooLong::Refuse,
            decomp_reader: DecompReader::Backbone,
            refine_steps: 0,
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

/// The tasks; an absent one is not run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalConfig {
    /// Seed of generated test items; absent: the experiment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// `"all"`: rows that remember nothing or all of a passage, beside the others.
    #[serde(default, skip_serializing_if = "is_default")]
    pub controls: Controls,
    /// Passages encoded, decoded or answered at once.
    #[serde(default = "defaults::eval_batch")]
    pub batch_size: usize,
    /// BERTScore of task 1 with this encoder; absent: none.
    pub bertscore: Option<BertScoreConfig>,
    /// Task 1.
    pub reconstruction: Option<TaskConfig>,
    /// Task 2.
    pub contextual_qa: Option<TaskConfig>,
    /// Task 3.
    pub retrieval: Option<TaskConfig>,
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            seed: None,
            controls: Controls::None,
            batch_size: defaults::eval_batch(),
            bertscore: None,
            reconstruction: None,
            contextual_qa: None,
            retrieval: None,
        }
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
    /// Several prepared files instead, each under its dataset's name in the tables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, PathBuf>,
    /// Takes a sample of a prepared file with this seed instead of its first items; a larger `limit` goes on with the same sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_seed: Option<u64>,
    /// Passages searched per question (retrieval on facts).
    pub candidates: Option<usize>,
    /// Whether the items are those of unseen wordings: the second set of `[data.facts] unseen_wordings`.
    #[serde(skip)]
    pub unseen: bool,
    /// Metric names.
    pub metrics: Vec<String>,
}

/// What is not written out, so that a run's resolved.toml does not change when a key is added.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn is_true(value: &bool) -> bool {
    *value
}

mod defaults {
    use std::path::PathBuf;
    /// official code
    pub(super) fn seed() -> u64 {
        1128
    }
    pub(super) fn results() -> PathBuf {
        "results".into()
    }
    pub(super) fn dtype() -> String {
        "f32".into()
    }
    /// the paper
    pub(super) fn num_latents() -> usize {
        15
    }
    pub(super) fn yes() -> bool {
        true
    }
    /// official code
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
