//! From the official files of a dataset to the records of the three tasks.
//!
//! # Which set serves which task
//! | set | task 1, reconstruction | task 2, contextual generation | task 3, retrieval |
//! |---|---|---|---|
//! | SQuAD | contexts | answerable questions, stride 8 | - |
//! | HotpotQA | supporting sentences | supporting sentences, stride 4 | sentences of all paragraphs, stride 28 |
//! | RACE | passages | - | - |
//! | LoCoMo | evidence of categories 1 and 5 | evidence of categories 1 and 5 | turns of the conversation, category 1 |
//! | LongMemEval | turns with the answer | turns with the answer | sessions of the history |
//!
//! The official code states the strides, the limit of 128 words, `"None"` for an empty reference and the seed; summaries
//! of the paper state easy HotpotQA, its supporting sentences, answerable SQuAD, the LoCoMo categories and LongMemEval's
//! cleaned S file. **Everything else is our decision**, and where the published numbers say something about it, it follows them:
//! - *Order*: filters, then the stride, then the word limit, then `limit` (official: stride and word limit at run time).
//! - *HotpotQA, task 3*: candidates are single sentences. Among ten paragraphs with two right ones, chance alone has
//!   Hit@5 = 1 - C(8,5)/C(10,5) = .78; the published .72 of the best latent method lies below it. The level filter does
//!   not apply: 265 items are every 28th of the 7,405 questions of the development set, all of which are hard.
//! - *LoCoMo*: a turn is `SPEAKER: TEXT` without its picture's caption: so, and only so, 209 questions of categories 1 and 5 with
//!   an answer stay below 128 words, as published (210 here, where evidence strings of several ids are split). Task 3 has
//!   category 1 only: the 446 adversarial ones cannot be among the 281 published. Task 1 keeps those that have no answer: it
//!   needs none. [`Evidence::AsWritten`] gives both published numbers, 209 and 281: evidence strings are taken as they stand, and
//!   questions without one that is the id of a turn are left out. [`Evidence::Split`], the default, repairs the strings.
//! - *LongMemEval*: a session is what its user said; `hit_list` is `answer_session_ids`. Abstention questions are in task 3, as in
//!   the 500 published items, although there is nothing to find for them and the authors of the set leave them out
//!   ([`PrepareOptions::abstention`]). An oracle file holds gold sessions only and so serves tasks 1 and 2.
//! - *Held-out shares*: 446 and 692, the published numbers of HotpotQA and SQuAD, are what a tenth of the **training** files
//!   leaves ([`PrepareOptions::holdout`]): 1,797 of 17,972 easy questions, every 4th, less the long ones. Which tenth is not
//!   known. The other nine tenths have then most likely trained the authors' checkpoint.
//! - *SQuAD*: the answer is the first annotator's; SQuAD's own scores take the best of all annotators.
//! - *Task 1* of the three evidence sets has one passage for each different set of references: sentences joined by a space,
//!   turns by a line break.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;

use crate::note::halves_read;
use crate::{DataError, QaItem, RetrievalItem, Split};

mod select;
mod sets;

/// The datasets of the paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DatasetName {
    /// SQuAD 1.1 or 2.0.
    Squad,
    /// HotpotQA.
    Hotpotqa,
    /// RACE.
    Race,
    /// LoCoMo.
    Locomo,
    /// LongMemEval.
    Longmemeval,
}

impl DatasetName {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Squad, Self::Hotpotqa, Self::Race, Self::Locomo, Self::Longmemeval];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Squad => "squad",
            Self::Hotpotqa => "hotpotqa",
            Self::Race => "race",
            Self::Locomo => "locomo",
            Self::Longmemeval => "longmemeval",
        }
    }

    /// Its name as its authors write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Squad => "SQuAD",
            Self::Hotpotqa => "HotpotQA",
            Self::Race => "RACE",
            Self::Locomo => "LoCoMo",
            Self::Longmemeval => "LongMemEval",
        }
    }

    /// The names of the official prepared files of tasks 1, 2 and 3, as far as the set serves the task.
    pub fn prepared_files(self) -> [Option<&'static str>; 3] {
        match self {
            Self::Squad => [Some("recs_squad_test.json"), Some("stm_squad_test.json"), None],
            Self::Hotpotqa => [Some("recs_hotpot_test.json"), Some("stm_hotpot_test.json"), Some("hotpotqa_ltm_test.json")],
            Self::Race => [Some("recs_race_test.json"), None, None],
            Self::Locomo => [Some("recs_locomo_test.json"), Some("stm_locomo_test.json"), Some("locomo_ltm_test.json")],
            Self::Longmemeval => {
                [Some("recs_longmemeval_test.json"), Some("stm_longmemeval_test.json"), Some("longmemeval_s_ltm_test.json")]
            }
        }
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DatasetName {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|set| set.name() == name).ok_or_else(|| DataError::UnknownDataset { name: name.into(), known: known() })
    }
}

/// Which HotpotQA questions serve tasks 1 and 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Those marked `easy`; the development sets have none.
    #[default]
    Easy,
    /// All.
    Any,
}

/// How LoCoMo's evidence strings are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// Strings that hold several ids (`D8:6; D9:17`) are split.
    #[default]
    Split,
    /// A string is one id or none; questions without an id of a turn are left out (the published numbers of items).
    AsWritten,
}

/// A share of the training questions that is kept for testing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Holdout {
    /// The share, above 0 and below 1, drawn by [`PrepareOptions::seed`].
    pub share: f64,
    /// Whether the others are prepared instead, to train on.
    pub rest: bool,
}

/// What may be chosen about a preparation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrepareOptions {
    /// Seed of the samples that `limit` and `holdout` take (official: 1128).
    pub seed: u64,
    /// HotpotQA questions of tasks 1 and 2.
    pub level: Level,
    /// The split to take where `from` holds several; none: RACE takes its test split, a folder of any other set must hold one only.
    pub split: Option<Split>,
    /// Task 2 takes every n-th question; none: the official stride of the set.
    pub qa_stride: Option<usize>,
    /// Task 3 takes every n-th question; none: the official stride of the set.
    pub retrieval_stride: Option<usize>,
    /// Task 2 skips references of this many words or more, separated by white space (official: 128).
    pub max_words: usize,
    /// Whether task 3 keeps LongMemEval's abstention questions (published: 500 items, so they are in).
    pub abstention: bool,
    /// LoCoMo's evidence strings.
    pub evidence: Evidence,
    /// A share of SQuAD's passages or of HotpotQA's questions that is kept for testing; none: all.
    pub holdout: Option<Holdout>,
    /// At most this many records a task, a sample in the order of the set; none: all.
    pub limit: Option<usize>,
}

impl Default for PrepareOptions {
    fn default() -> Self {
        Self {
            seed: 1128,
            level: Level::Easy,
            split: None,
            qa_stride: None,
            retrieval_stride: None,
            max_words: 128,
            abstention: true,
            evidence: Evidence::Split,
            holdout: None,
            limit: None,
        }
    }
}

impl PrepareOptions {
    /// Whether what is prepared is to be trained on: the rest beside a held-out share, or the training split by name.
    pub fn training(&self) -> bool {
        self.holdout.map_or(self.split == Some(Split::Train), |holdout| holdout.rest)
    }

    /// Refuses a share that cannot be held out.
    fn check(&self, set: DatasetName) -> Result<(), DataError> {
        let Some(Holdout { share, .. }) = self.holdout else { return Ok(()) };
        let reason = match set {
            DatasetName::Squad | DatasetName::Hotpotqa if share > 0.0 && share < 1.0 => return Ok(()),
            DatasetName::Squad | DatasetName::Hotpotqa => "expected one above 0 and below 1, like 0.1",
            DatasetName::Race => "expected none: it has a test split of its own; leave the share out",
            _ => "expected none: the whole set is for testing; leave the share out",
        };
        Err(DataError::Holdout { set: set.title(), share, reason })
    }

    /// The stride of task 2 (official: SQuAD 8, HotpotQA 4).
    pub fn qa_stride(&self, set: DatasetName) -> usize {
        let official = match set {
            DatasetName::Squad => 8,
            DatasetName::Hotpotqa => 4,
            _ => 1,
        };
        self.qa_stride.unwrap_or(official).max(1)
    }

    /// The stride of task 3 (official: HotpotQA 28).
    pub fn retrieval_stride(&self, set: DatasetName) -> usize {
        self.retrieval_stride.unwrap_or(if set == DatasetName::Hotpotqa { 28 } else { 1 }).max(1)
    }
}

/// Records of the same fate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    /// The tasks it is about: `task 2`, `all tasks`.
    pub task: &'static str,
    /// What happened and why.
    pub reason: String,
    /// To how many.
    pub count: usize,
    /// The first of them.
    pub example: String,
}

/// The records of one set, and what became of the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The set.
    pub set: DatasetName,
    /// The files that were read.
    pub inputs: Vec<PathBuf>,
    /// Task 1; none if the set does not serve it or nothing was left.
    pub passages: Option<Vec<String>>,
    /// Task 2, likewise.
    pub qa: Option<Vec<QaItem>>,
    /// Task 3, likewise.
    pub retrieval: Option<Vec<RetrievalItem>>,
    /// What the files held: `("questions", 10570)`.
    pub read: Vec<(&'static str, usize)>,
    /// What was left out.
    pub dropped: Vec<Count>,
    /// What was kept but changed.
    pub changed: Vec<Count>,
    /// Whether it is to be trained on: its files are then named `train`.
    pub training: bool,
}

/// One official prepared file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedFile {
    /// Its task, 1 to 3.
    pub task: usize,
    /// Its name, like `recs_squad_test.json`, or `recs_squad_train.json` for what is to be trained on.
    pub name: String,
    /// How many records it has.
    pub records: usize,
    /// Its text, a record a line.
    pub text: String,
}

/// Turns the official files of a dataset into the records of the tasks it serves.
///
/// `from` is a file, for RACE also its folder or archive ([`crate::load_race`]), or a folder of Parquet parts in the layout of
/// the hub. The [module](self) says what is done, and which of it is our decision.
///
/// # Errors
/// [`DataError`] of the loader, or [`DataError::NothingLeft`] if no task has a record.
pub fn prepare(set: DatasetName, from: impl AsRef<Path>, options: &PrepareOptions) -> Result<Prepared, DataError> {
    let from = from.as_ref();
    options.check(set)?;
    let halves = halves_read();
    let mut prepared = match set {
        DatasetName::Squad => sets::squad(from, options),
        DatasetName::Hotpotqa => sets::hotpotqa(from, options),
        DatasetName::Race => sets::race(from, options),
        DatasetName::Locomo => sets::locomo(from, options),
        DatasetName::Longmemeval => sets::longmemeval(from, options),
    }?;
    prepared.training = options.training();
    if let (more, Some(example)) = (halves_read() - halves, prepared.inputs.first())
        && more > 0
    {
        let example = example.file_name().unwrap_or_default().to_string_lossy().into_owned();
        prepared.changed.push(Count { task: "all tasks", reason: "lone surrogate, read as U+FFFD".into(), count: more, example });
    }
    if prepared.passages.is_none() && prepared.qa.is_none() && prepared.retrieval.is_none() {
        let most = prepared.dropped.iter().max_by_key(|dropped| dropped.count);
        let reason = most.map_or_else(|| "it holds nothing".into(), |most| format!("{} x {} ({})", most.count, most.reason, most.task));
        return Err(DataError::NothingLeft { path: from.to_path_buf(), reason });
    }
    Ok(prepared)
}

impl Prepared {
    /// The names of the files of tasks 1, 2 and 3, as far as the set serves the task.
    pub fn file_names(&self) -> [Option<String>; 3] {
        let name = |name: &str| if self.training { name.replace("_test", "_train") } else { name.to_owned() };
        self.set.prepared_files().map(|official| official.map(name))
    }

    /// The official prepared files with their contents, in the order of the tasks.
    ///
    /// # Errors
    /// [`DataError::Json`] if a record cannot be written as JSON, which no record of ours is.
    pub fn files(&self) -> Result<Vec<PreparedFile>, DataError> {
        let [passages, qa, retrieval] = self.file_names();
        let files = [
            file(1, passages, self.passages.as_deref())?,
            file(2, qa, self.qa.as_deref())?,
            file(3, retrieval, self.retrieval.as_deref())?,
        ];
        Ok(files.into_iter().flatten().collect())
    }
}

fn file<T: Serialize>(task: usize, name: Option<String>, records: Option<&[T]>) -> Result<Option<PreparedFile>, DataError> {
    let (Some(name), Some(records)) = (name, records) else { return Ok(None) };
    let lines: Result<Vec<String>, _> = records.iter().map(serde_json::to_string).collect();
    let lines = lines.map_err(|source| DataError::Json { path: name.clone().into(), source })?;
    Ok(Some(PreparedFile { task, name, records: records.len(), text: format!("[\n{}\n]\n", lines.join(",\n")) }))
}

#[cfg(test)]
mod tests;
