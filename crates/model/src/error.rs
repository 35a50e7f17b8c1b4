//! What can go wrong with files that users give to the model.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// An error caused by a file, a flag or a size that does not fit.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A file is not there.
    #[error("{path}: no such file - expected {expected}", path = .path.display())]
    Missing {
        /// The path looked for.
        path: PathBuf,
        /// What it should have held.
        expected: &'static str,
    },
    /// Reading or writing failed.
    #[error("{path}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason; whoever prints the error adds it, as the source of any other.
        source: std::io::Error,
    },
    /// `config.json` describes something else than a dense Qwen3.
    #[error("{path}: {reason}", path = .path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What, got, expected.
        reason: String,
    },
    /// A safetensors file cannot be read.
    #[error("{path}: not a whole safetensors file ({reason}) - download or write it again", path = .path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The parser's reason.
        reason: String,
    },
    /// Keys the model needs that no file has.
    #[error("{dir}: {count} weights are missing, the first is `{first}` - the checkpoint is incomplete or of another architecture", dir = .dir.display())]
    MissingWeights {
        /// How many.
        count: usize,
        /// The first missing key.
        first: String,
        /// The checkpoint directory.
        dir: PathBuf,
    },
    /// A model without a head, which writes no text.
    #[error(
        "{dir}: no `lm_head.weight`, and config.json does not tie the head to the embedding - this is a checkpoint of a model that only \
         encodes (transformers would give it a random head); take one that generates text",
        dir = .dir.display()
    )]
    NoHead {
        /// The checkpoint directory.
        dir: PathBuf,
    },
    /// Keys in a file that the model has no place for.
    #[error("{file}: {count} keys have no place in this model, the first is `{first}` - the file is of another architecture", file = .file.display())]
    UnusedWeights {
        /// How many.
        count: usize,
        /// The first unused key.
        first: String,
        /// The file that holds it.
        file: PathBuf,
    },
    /// A tensor of another shape.
    #[error("{file}: `{key}` got shape {got:?}, expected {expected:?} - the file does not fit this config.json", file = .file.display())]
    WeightShape {
        /// The tensor's key.
        key: String,
        /// Its file.
        file: PathBuf,
        /// The shape found.
        got: Vec<usize>,
        /// The shape the model has.
        expected: Vec<usize>,
    },
    /// A tensor of a type that weights do not have.
    #[error("{file}: `{key}` got dtype {got}, expected F32, F16, BF16 or F64", file = .file.display())]
    WeightDtype {
        /// The tensor's key.
        key: String,
        /// Its file.
        file: PathBuf,
        /// The dtype found.
        got: String,
    },
    /// A PEFT adapter that does not fit.
    #[error("{path}: {reason}", path = .path.display())]
    Adapter {
        /// The adapter's file.
        path: PathBuf,
        /// What, got, expected.
        reason: String,
    },
    /// A file that holds no memories, or memories of other weights.
    #[error("{path}: {reason}", path = .path.display())]
    MemoryFile {
        /// The file.
        path: PathBuf,
        /// What, got, expected.
        reason: String,
    },
    /// The tokenizer or its template.
    #[error(transparent)]
    Tokenizer(#[from] crate::tokenizer::TokenizerError),
    /// The special-token file.
    #[error(transparent)]
    SpecialTokens(#[from] crate::special::SpecialTokensError),
    /// A quantised memory that does not fit.
    #[error(transparent)]
    Quant(#[from] nextmem_quant::QuantError),
    /// A text too long for the model.
    #[error("text {index}: got {got} tokens, expected at most {limit} - split it into shorter passages")]
    TooLong {
        /// Which text of the batch.
        index: usize,
        /// Its tokens.
        got: usize,
        /// The limit in force.
        limit: usize,
    },
    /// A request a method or memory cannot serve.
    #[error("{0}")]
    Unsupported(String),
}

impl ModelError {
    /// Names the file in an I/O error, and tells a missing file apart.
    pub fn read(path: &Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::NotFound {
            Self::Missing { path: path.to_owned(), expected: "a file of a Hugging Face checkpoint; check the path" }
        } else {
            Self::Io { path: path.to_owned(), source }
        }
    }
}
