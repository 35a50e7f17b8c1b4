//! What can go wrong with a tokenizer directory.

use std::path::PathBuf;

use thiserror::Error;

/// A tokenizer that cannot be opened, written, trained or asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// A file cannot be read or written.
    #[error("{path}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{path}: {reason}", path = .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What, got, expected.
        reason: String,
    },
    /// The vocabulary lacks a token the method needs.
    #[error("{path}: no token `{token}` - expected the tokenizer of a Qwen3 checkpoint", path = .path.display())]
    MissingToken {
        /// The file.
        path: PathBuf,
        /// The token looked for.
        token: &'static str,
    },
    /// The text could not be tokenised or the ids not decoded.
    #[error("tokenizer: {reason}")]
    Tokenize {
        /// The library's reason.
        reason: String,
    },
    /// The directory had no chat template.
    #[error("no chat template - expected chat_template.jinja or `chat_template` in tokenizer_config.json beside tokenizer.json")]
    NoTemplate,
    /// The chat template failed.
    #[error("chat template: {reason}")]
    Template {
        /// The engine's reason.
        reason: String,
    },
    /// Too few entries for the bytes and the added tokens.
    #[error("vocabulary: got {got} entries, expected at least {least} (256 bytes, one merge and the added tokens)")]
    VocabTooSmall {
        /// Entries asked for.
        got: usize,
        /// The least that works.
        least: usize,
    },
}
