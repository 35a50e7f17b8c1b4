//! The retrieval baseline: a bi-encoder such as BGE, one vector per text, near by cosine.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Abilities, MemoryMethod, cosine};
use crate::bert::TextEncoder;
use crate::error::ModelError;
use crate::json::parse_json;

/// What BGE v1.5 for English puts before a question; its passages stand alone (model card of `BAAI/bge-*-en-v1.5`).
pub const BGE_ENGLISH_INSTRUCTION: &str = "Represent this sentence for searching relevant passages: ";

/// How the hidden states of a text become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The state of `[CLS]`, as BGE was trained.
    Cls,
    /// The mean over all tokens.
    Mean,
}

/// Which encoder, and how it is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BgeConfig {
    /// A Hugging Face directory of a BERT or RoBERTa encoder, such as `bge-base-en-v1.5`.
    pub model: PathBuf,
    /// Put before every question, with its last space; nothing by default. For BGE v1.5 in English
    /// [`BGE_ENGLISH_INSTRUCTION`].
    #[serde(default)]
    pub query_instruction: String,
    /// By default as `1_Pooling/config.json` of the directory says, and [`Pooling::Cls`] without it.
    #[serde(default)]
    pub pooling: Option<Pooling>,
    /// Tokens of a text; by default `max_seq_length` of `sentence_bert_config.json`, else all that the encoder takes.
    #[serde(default)]
    pub max_tokens: Option<NonZeroUsize>,
    /// Texts in one forward pass.
    #[serde(default = "default_batch_size")]
    pub batch_size: NonZeroUsize,
}

fn default_batch_size() -> NonZeroUsize {
    const { NonZeroUsize::new(32).expect("not zero") }
}

impl BgeConfig {
    /// A directory with the defaults for everything else.
    pub fn new(model: impl Into<PathBuf>) -> Self {
        let (query_instruction, batch_size) = (String::new(), default_batch_size());
        Self { model: model.into(), query_instruction, pooling: None, max_tokens: None, batch_size }
    }
}

/// A bi-encoder; it ranks and does nothing else.
#[derive(Debug)]
pub struct Bge {
    encoder: TextEncoder,
    query_instruction: String,
    pooling: Pooling,
    batch_size: usize,
    truncated: AtomicUsize,
}

impl Bge {
    /// Opens the encoder.
    ///
    /// # Errors
    /// As [`TextEncoder::open`]; a directory that pools in another way, or has a layer after pooling.
    pub fn open(config: &BgeConfig, device: &Device) -> Result<Self, ModelError> {
        let mut encoder = TextEncoder::open(&config.model, device)?;
        let pooling = match config.pooling {
            Some(pooling) => pooling,
            None => pooling_of(&config.model)?,
        };
        refuse_dense(&config.model)?;
        let published = read_json(&config.model.join("sentence_bert_config.json"))?;
        let published = published.as_ref().and_then(|v| v.get("max_seq_length")).and_then(Value::as_u64).map(|v| v as usize);
        if let Some(limit) = config.max_tokens.map(NonZeroUsize::get).or(published) {
            encoder.limit_tokens(limit);
        }
        Ok(Self {
            encoder,
            query_instruction: config.query_instruction.clone(),
            pooling,
            batch_size: config.batch_size.get(),
            truncated: AtomicUsize::new(0),
        })
    }

    /// How the encoder pools.
    pub fn pooling(&self) -> Pooling {
        self.pooling
    }

    /// Texts so far whose end did not fit into the encoder.
    pub fn truncated(&self) -> usize {
        self.truncated.load(Ordering::Relaxed)
    }
}

impl MemoryMethod for Bge {
    /// `BGE (directory)`, or the directory's name where it is no BGE.
    fn name(&self) -> String {
        let name = self.encoder.name();
        if name.to_lowercase().starts_with("bge") { format!("BGE ({name})") } else { name }
    }

    fn abilities(&self) -> Abilities {
        Abilities::INDEX
    }

    /// Vectors of passages, of length 1; the instruction stands only before questions ([`rank`](MemoryMethod::rank)).
    fn index(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ModelError> {
        let encoded = texts.iter().map(|text| self.encoder.tokenize(text)).collect::<Result<Vec<_>, _>>()?;
        self.truncated.fetch_add(encoded.iter().filter(|text| text.truncated).count(), Ordering::Relaxed);
        let rows: Vec<&[u32]> = encoded.iter().map(|text| text.ids.as_slice()).collect();
        let mut vectors = vec![Vec::new(); rows.len()];
        self.encoder.in_batches(&rows, self.encoder.num_layers(), self.batch_size, |batch, states| {
            let [_, longest, hidden] = states.dims();
            let pooled = match self.pooling {
                Pooling::Cls => states.narrow(1, 0, 1),
                Pooling::Mean => {
                    let share = |row: &usize| {
                        let tokens = rows[*row].len();
                        (0..longest).map(move |at| if at < tokens { 1.0 / tokens as f32 } else { 0.0 })
                    };
                    let shares = TensorData::new(batch.iter().flat_map(share).collect::<Vec<f32>>(), [batch.len(), longest, 1]);
                    let shares = Tensor::<3>::from_data(shares, (&states.device(), DType::F32));
                    (states * shares).sum_dim(1)
                }
            };
            let values: Vec<f32> = pooled.into_data().iter::<f32>().collect();
            for (row, vector) in batch.iter().zip(values.chunks(hidden)) {
                vectors[*row] = unit(vector);
            }
        });
        Ok(vectors)
    }

    fn rank(&self, query: &str, passages: &[&str]) -> Result<Vec<f64>, ModelError> {
        let query = self.index(&[&format!("{}{query}", self.query_instruction)])?.remove(0);
        Ok(self.index(passages)?.iter().map(|vector| cosine(&query, vector)).collect())
    }
}

/// The vector over its length; zeros stay zeros.
fn unit(vector: &[f32]) -> Vec<f32> {
    let length = vector.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let length = if length > 0.0 { length } else { 1.0 };
    vector.iter().map(|v| (f64::from(*v) / length) as f32).collect()
}

/// What sentence-transformers wrote: `pooling_mode`, or in older versions one boolean per mode.
fn pooling_of(dir: &Path) -> Result<Pooling, ModelError> {
    let path = dir.join("1_Pooling/config.json");
    let Some(value) = read_json(&path)? else { return Ok(Pooling::Cls) };
    let modes: Vec<String> = match value.get("pooling_mode") {
        Some(Value::Array(modes)) => modes.iter().map(|mode| mode.as_str().unwrap_or("?").to_string()).collect(),
        Some(mode) => vec![mode.as_str().unwrap_or("?").to_string()],
        None => {
            let set = value.as_object().into_iter().flatten().filter(|(_, on)| on.as_bool() == Some(true));
            set.filter_map(|(key, _)| key.strip_prefix("pooling_mode_").map(str::to_string)).collect()
        }
    };
    match modes.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["cls" | "cls_token"] => Ok(Pooling::Cls),
        ["mean" | "mean_tokens"] => Ok(Pooling::Mean),
        _ => Err(ModelError::Config { path, reason: format!("got pooling {modes:?}, expected cls or mean; use an encoder that pools so") }),
    }
}

/// A layer after pooling would be missing from every vector.
fn refuse_dense(dir: &Path) -> Result<(), ModelError> {
    let path = dir.join("modules.json");
    let modules = read_json(&path)?.unwrap_or_default();
    let mut kinds = modules.as_array().into_iter().flatten().filter_map(|module| module.get("type")?.as_str());
    match kinds.find(|kind| !["Transformer", "Pooling", "Normalize"].iter().any(|known| kind.ends_with(known))) {
        Some(kind) => {
            let reason = format!("got module {kind:?}, expected Transformer, Pooling and Normalize; use an encoder of these alone");
            Err(ModelError::Config { path, reason })
        }
        None => Ok(()),
    }
}

fn read_json(path: &Path) -> Result<Option<Value>, ModelError> {
    match std::fs::read(path) {
        Ok(bytes) => parse_json(&bytes).map(Some).map_err(|reason| ModelError::Config { path: path.to_owned(), reason }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ModelError::Io { path: path.to_owned(), source }),
    }
}
