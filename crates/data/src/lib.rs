//! What the project reads and generates as text: records, public datasets, and made-up facts.
//!
//! Nothing here knows about tensors. Three sources give the same record types: the official prepared
//! files ([`load_passages`], [`load_qa`], [`load_retrieval`]), SQuAD ([`load_squad`]), and the seeded
//! generators of agent-memory passages: short ones of known words ([`Facts`]), and ones whose values cannot be
//! guessed ([`OpenFacts`]). Real running text comes from [`TextCorpus`].
//!
//! ```
//! use nextmem_data::{Facts, Split};
//!
//! let fact = Facts::new(7, Split::Test).get(3);
//! assert_eq!(fact, Facts::new(7, Split::Test).get(3));
//! assert!(fact.questions.iter().all(|q| fact.text.contains(&q.answer)));
//! ```

use std::path::{Path, PathBuf};

use thiserror::Error;

mod dataset;
mod draw;
mod facts;
mod hotpotqa;
mod locomo;
mod longmemeval;
mod note;
mod open_facts;
pub mod prepare;
mod python_json;
mod race;
mod record;
mod rows;
mod squad;
mod text;
mod text_file;

pub use dataset::{FactSet, OpenFactSet, seeded_sample, select, sha256_file};
pub use facts::{Fact, Facts, Question, Slot, Split, VERSION, Value};
pub use facts::{passages, qa_items, retrieval_items};
pub use hotpotqa::{HotpotItem, HotpotParagraph, load_hotpotqa};
pub use locomo::{LocomoConversation, LocomoQuestion, LocomoTurn, load_locomo};
pub use longmemeval::{LongMemItem, LongMemSession, LongMemTurn, load_longmemeval};
pub use note::{note_halves, on_note};
pub use open_facts::{MAX_SENTENCES, OpenFact, OpenFacts, OpenSlot, OpenValue, SENTENCES, VERSION as OPEN_VERSION, Wordings};
pub use prepare::{Count, DatasetName, Evidence, Holdout, Level, PrepareOptions, Prepared, PreparedFile, prepare};
pub use python_json::python_json;
pub use race::{Race, load_race};
pub use record::{QaItem, RetrievalItem, load_passages, load_qa, load_retrieval};
pub use squad::{Squad, load_squad};
pub use text::{TextCorpus, sentences};
pub use text_file::{decode_text, lines, read_text};

/// Everything that can go wrong between a path and a record.
#[derive(Debug, Error)]
pub enum DataError {
    /// The file does not exist.
    #[error("dataset file {} does not exist; {hint}", path.display())]
    Missing {
        /// The path that was asked for.
        path: PathBuf,
        /// What to do about it.
        hint: &'static str,
    },
    /// The file exists but could not be read.
    #[error("cannot read {} - check the path and its permissions", path.display())]
    Io {
        /// The path that was asked for.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The file is no text, or in an encoding that is not read.
    #[error("{}: line {line}: {reason}", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What it holds, what was expected, and the next step.
        reason: String,
    },
    /// The file is not JSON, or its outermost value is of another kind.
    #[error("{} is not the expected JSON - fetch or prepare the file again", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's error, with line and column.
        source: serde_json::Error,
    },
    /// One record of the file is not as expected.
    #[error("record {index} of {} is malformed - {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Index of the record, counted from 0 (of the article, in SQuAD).
        index: usize,
        /// The field, what it holds and what was expected.
        reason: String,
    },
    /// The file is well-formed and holds nothing.
    #[error("{} holds no records - got 0, expected at least 1; check that it is the prepared file", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The file is one of another dataset.
    #[error("{} is not {expected} - it looks like {got}; check the name of the set and the path", path.display())]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// The dataset, or kind of file, that was asked for.
        expected: &'static str,
        /// What it looks like.
        got: String,
    },
    /// The folder or archive does not hold what was expected.
    #[error("{} {reason}", path.display())]
    Folder {
        /// The folder or archive.
        path: PathBuf,
        /// What it holds, what was expected, and the next step.
        reason: &'static str,
    },
    /// A compressed archive cannot be read to its end.
    #[error("{} is not a whole tar.gz archive - fetch the file again", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What the reader found.
        source: std::io::Error,
    },
    /// The file is not whole Parquet, or uses a compression that is not read (lzo, or lz4 as old Hadoop wrote it).
    #[error("cannot read {} as Parquet - fetch it again, or rewrite it with zstd or snappy", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What the reader found.
        source: parquet::errors::ParquetError,
    },
    /// Every record was left out.
    #[error("{} leaves no record for any task - most often {reason}; change the options or take another file", path.display())]
    NothingLeft {
        /// What was prepared.
        path: PathBuf,
        /// Why most of it was left out.
        reason: String,
    },
    /// There is no dataset of that name.
    #[error("got the dataset `{name}`, expected one of {known}")]
    UnknownDataset {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A share was asked to be held out of a set that has no training file, or that is no share.
    #[error("{set}: got the share {share} to hold out - {reason}")]
    Holdout {
        /// The set.
        set: &'static str,
        /// The share that was asked for.
        share: f64,
        /// What was expected, and the next step.
        reason: &'static str,
    },
    /// Retrieval items were asked for with a number of candidates that cannot be made.
    #[error("retrieval needs distinct people - got {got} candidates, expected {min} to {max}; change `candidates`")]
    Candidates {
        /// The number asked for.
        got: usize,
        /// The fewest that leave room for gold passages and distractors.
        min: usize,
        /// The most that surely have distinct people.
        max: usize,
    },
}

/// Advice that goes with every missing file.
const MISSING_HINT: &str = "check the path, or see datasets/README.md for how to get the file";

impl DataError {
    fn io(path: &Path, source: std::io::Error) -> Self {
        let path = path.to_path_buf();
        if source.kind() == std::io::ErrorKind::NotFound {
            return Self::Missing { path, hint: MISSING_HINT };
        }
        Self::Io { path, source }
    }
}
