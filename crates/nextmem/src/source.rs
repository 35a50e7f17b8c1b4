//! The passages and questions that an experiment's `[data]` stands for.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, bail};
use burn::data::dataset::{Dataset, InMemDataset};
use nextmem_data::{DataError, QaItem, RetrievalItem, Split, TextCorpus, load_passages, load_qa, load_retrieval, load_squad};
use nextmem_eval::Task;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use crate::experiment::{Experiment, PreparedConfig, SquadConfig, TaskConfig, TextConfig};
use crate::facts_source::GeneratedFacts;
use crate::hashes;

/// The second set of every task on open facts: wordings and shapes that no training passage has.
pub const UNSEEN_WORDINGS: &str = "facts-unseen-wordings";

/// Retrieval candidates when the experiment names none.
const CANDIDATES: usize = 20;

/// The one kind of data that stages 1 and 2 and the tasks use.
#[derive(Clone, Debug)]
pub enum Source {
    /// Generated memories.
    Facts(GeneratedFacts),
    /// Real text.
    Text(TextConfig),
    /// SQuAD.
    Squad(SquadConfig),
    /// Official prepared files of task 1.
    Prepared(PreparedConfig),
    /// No data of its own: every task names prepared files.
    Nothing,
}

impl Source {
    /// Picks the kind that is set; facts come first when pretraining has several.
    pub fn of(e: &Experiment) -> Result<Self> {
        let data = &e.data;
        match (&data.facts, &data.text, &data.squad, &data.prepared) {
            (Some(facts), _, None, None) => Ok(Self::Facts(GeneratedFacts::new(facts, e.data_seed(), e.eval_seed())?)),
            (None, Some(text), None, None) => Ok(Self::Text(text.clone())),
            (None, None, Some(squad), None) => Ok(Self::Squad(squad.clone())),
            (None, None, None, Some(prepared)) if prepared.train.is_empty() => {
                bail!("data.prepared.train: got no file, expected at least one")
            }
            (None, None, None, Some(prepared)) if !plain(&prepared.name) => {
                bail!("data.prepared.name: got {:?}, expected letters, digits, _ and -", prepared.name)
            }
            (None, None, None, Some(prepared)) => Ok(Self::Prepared(prepared.clone())),
            (None, None, None, None) => Ok(Self::Nothing),
            _ => bail!("[data]: got [data.squad] or [data.prepared] beside another kind, expected one kind"),
        }
    }

    /// Its name in tables and file names.
    pub fn name(&self) -> &str {
        match self {
            Self::Facts(..) => "facts",
            Self::Text(_) => "text",
            Self::Squad(_) => "squad",
            Self::Prepared(prepared) => &prepared.name,
            Self::Nothing => "prepared",
        }
    }

    /// What identifies the data: generator version and size, or file hashes. Missing files are errors.
    pub fn identity(&self) -> Result<Value> {
        Ok(match self {
            Self::Nothing => Value::Null,
            Self::Facts(facts) => facts.training_identity(),
            Self::Text(text) => json!({"text": hashes::file(&text.path)?, "words": [text.min_words, text.max_words]}),
            Self::Squad(squad) => {
                let shared = squad.train == squad.test;
                json!({"train": hashes::file(&squad.train)?, "test": hashes::file(&squad.test)?, "shared": shared, "words": squad.max_words})
            }
            Self::Prepared(config) => {
                let sums = |files: &[PathBuf]| files.iter().map(|path| hashes::file(path)).collect::<Result<Vec<_>, _>>();
                json!({"prepared": sums(&config.train)?, "test": sums(&config.test)?, "words": config.max_words})
            }
        })
    }

    /// The same of what trains: a test file counts only where it decides which passages are left for training.
    pub fn training_identity(&self) -> Result<Value> {
        let mut identity = self.identity()?;
        if let (Self::Squad(_), Some(parts)) = (self, identity.as_object_mut()) {
            parts.remove("test");
        }
        Ok(identity)
    }

    /// The same of the items of a task on one dataset: all that decides which item stands at which place of the list, so that a
    /// larger `limit` goes on with the same list.
    pub fn items_identity(&self, task: Task, config: &TaskConfig) -> Result<Value> {
        let drawn = config.sample_seed;
        if let Some(path) = &config.path {
            return Ok(json!({"file": hashes::file(path)?, "sample_seed": drawn}));
        }
        Ok(match self {
            Self::Facts(facts) => {
                let mut identity = facts.test_identity(config.unseen);
                if task == Task::Retrieval {
                    identity["candidates"] = config.candidates.unwrap_or(CANDIDATES).into();
                }
                identity
            }
            // The stride that spreads questions over all paragraphs depends on how many are asked for.
            Self::Squad(_) if task == Task::ContextualQa => json!({"of": self.identity()?, "limit": config.limit}),
            _ => json!({"of": self.identity()?}),
        })
    }

    /// The datasets that a task runs on, each with a configuration of its own.
    pub fn datasets(&self, config: &TaskConfig) -> Vec<(String, TaskConfig)> {
        if config.sets.is_empty() {
            let mut all = vec![(self.name().into(), config.clone())];
            if matches!(self, Self::Facts(facts) if facts.has_unseen_wordings()) && config.path.is_none() {
                all.push((UNSEEN_WORDINGS.into(), TaskConfig { unseen: true, ..config.clone() }));
            }
            return all;
        }
        let one = |path: &PathBuf| TaskConfig { path: Some(path.clone()), sets: BTreeMap::new(), ..config.clone() };
        config.sets.iter().map(|(name, path)| (name.clone(), one(path))).collect()
    }

    /// Refuses a task that this data has nothing for; returns the prepared files that are not there.
    pub fn check_task(&self, task: Task, config: &TaskConfig) -> Result<Vec<String>> {
        let name = task.name();
        if config.sample_seed.is_some() && config.path.is_none() && config.sets.is_empty() {
            bail!("eval.{name}.sample_seed: draws from prepared files, but there is neither `path` nor `sets`; remove it or name a file");
        }
        if !config.sets.is_empty() && config.path.is_some() {
            bail!("eval.{name}: got both `path` and `sets`, expected one of them");
        }
        if let Some(odd) = config.sets.keys().find(|set| !plain(set)) {
            bail!("eval.{name}.sets: got the name {odd:?}, expected letters, digits, _ and -");
        }
        let serves = match self {
            Self::Facts(..) => true,
            Self::Text(_) | Self::Prepared(_) => task == Task::Reconstruction,
            Self::Squad(_) => task != Task::Retrieval,
            Self::Nothing => false,
        };
        if !serves && config.path.is_none() && config.sets.is_empty() {
            bail!(
                "eval.{name}: {} has no items for this task; remove the section or name an official prepared file as `path`",
                self.name()
            );
        }
        let files = config.path.iter().map(|p| ("path".into(), p)).chain(config.sets.iter().map(|(set, p)| (format!("sets.{set}"), p)));
        let absent = files.filter(|(_, path)| !path.is_file());
        Ok(absent
            .map(|(key, path)| format!("eval.{name}.{key}: {}: no such file; `nextmem data prepare` writes it", path.display()))
            .collect())
    }

    /// Passages to train on.
    pub fn training(&self) -> Result<Arc<dyn Dataset<String>>> {
        Ok(match self {
            Self::Facts(facts) => facts.training(),
            Self::Text(_) | Self::Squad(_) | Self::Prepared(_) | Self::Nothing => Arc::new(InMemDataset::new(self.passages(Split::Train)?)),
        })
    }

    /// The first passages of the validation or test split.
    pub fn held_out(&self, split: Split, count: usize) -> Result<Vec<String>> {
        Ok(match self {
            Self::Facts(facts) => facts.passages(split, false, count),
            Self::Text(_) | Self::Squad(_) | Self::Prepared(_) | Self::Nothing => {
                nextmem_data::select(self.passages(split)?, 1, Some(count))
            }
        })
    }

    fn passages(&self, split: Split) -> Result<Vec<String>> {
        Ok(match self {
            Self::Facts(_) | Self::Nothing => Vec::new(),
            Self::Text(config) => TextCorpus::open(&config.path)?.passages(split, config.min_words, config.max_words),
            Self::Squad(config) => {
                let passages = load_squad(if split == Split::Train { &config.train } else { &config.test })?.passages;
                squad_split(passages, config, split, |p| p)
            }
            Self::Prepared(config) => prepared_split(config, split)?,
        })
    }

    /// Task 2 items.
    pub fn qa(&self, config: &TaskConfig) -> Result<Vec<QaItem>> {
        if let Some(path) = &config.path {
            return Ok(chosen(load_qa(path)?, config));
        }
        Ok(match self {
            Self::Facts(facts) => facts.qa(config.unseen, config.limit),
            Self::Squad(squad) => {
                let items = squad_split(load_squad(&squad.test)?.qa, squad, Split::Test, |item| item.references.first().map_or("", |r| r));
                // Questions come in runs over one paragraph; a stride spreads the limit over all of them.
                let stride = (items.len() / config.limit.max(1)).max(1);
                nextmem_data::select(items, stride, Some(config.limit))
            }
            Self::Text(_) | Self::Prepared(_) | Self::Nothing => Vec::new(),
        })
    }

    /// Task 1 passages.
    pub fn reconstruction(&self, config: &TaskConfig) -> Result<Vec<String>> {
        match (&config.path, self) {
            (Some(path), _) => Ok(chosen(load_passages(path)?, config)),
            (None, Self::Facts(facts)) => Ok(facts.passages(Split::Test, config.unseen, config.limit)),
            (None, _) => self.held_out(Split::Test, config.limit),
        }
    }

    /// Task 3 items.
    pub fn retrieval(&self, config: &TaskConfig) -> Result<Vec<RetrievalItem>> {
        match (&config.path, self) {
            (Some(path), _) => Ok(chosen(load_retrieval(path)?, config)),
            (None, Self::Facts(facts)) => facts.retrieval(config.unseen, config.limit, config.candidates.unwrap_or(CANDIDATES)),
            (None, _) => Ok(Vec::new()),
        }
    }
}

/// The first items of a prepared file, or of a shuffle of it: a larger limit goes on with the same list.
fn chosen<T>(mut items: Vec<T>, config: &TaskConfig) -> Vec<T> {
    if let Some(seed) = config.sample_seed {
        items.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    }
    items.truncate(config.limit);
    items
}

/// Keeps short passages; when one file both trains and tests, a hash of the passage puts a tenth on each held-out side.
fn squad_split<T>(items: Vec<T>, config: &SquadConfig, split: Split, passage: impl Fn(&T) -> &str) -> Vec<T> {
    let shared = config.train == config.test;
    // By the passage itself, so that its questions follow it.
    let kept = |text: &str| text.split_whitespace().count() <= config.max_words && (!shared || side(text) == split);
    items.into_iter().filter(|item| kept(passage(item))).collect()
}

/// The passages of one side, each once and on that side only. A hash of the passage puts a tenth of the training files
/// aside for validation and, where there are no test files, another tenth for testing.
fn prepared_split(config: &PreparedConfig, split: Split) -> Result<Vec<String>> {
    let shared = config.test.is_empty();
    let load = |files: &[PathBuf]| -> Result<Vec<String>> {
        let lists = files.iter().map(load_passages).collect::<Result<Vec<_>, _>>()?;
        Ok(lists.concat())
    };
    let (files, mut seen) = match split {
        Split::Test if !shared => (&config.test, HashSet::new()),
        // What tests must neither train nor choose between runs.
        _ => (&config.train, load(&config.test)?.into_iter().collect()),
    };
    let here = |text: &str| match side(text) {
        _ if split == Split::Test && !shared => true,
        Split::Test if !shared => split == Split::Train,
        side => side == split,
    };
    let short = |text: &str| text.split_whitespace().count() <= config.max_words;
    let passages: Vec<String> = load(files)?.into_iter().filter(|text| short(text) && here(text) && seen.insert(text.clone())).collect();
    if passages.is_empty() {
        bail!("[data.prepared]: no passage of at most {} words on the {split} side of {} files", config.max_words, files.len());
    }
    Ok(passages)
}

/// Whether a name may be part of file names.
fn plain(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
}

/// Which side a passage is on where one file has to serve all.
fn side(text: &str) -> Split {
    match text.bytes().fold(0u64, |h, b| nextmem_training::mix(h, u64::from(b))) % 10 {
        0 => Split::Test,
        1 => Split::Valid,
        _ => Split::Train,
    }
}

/// Whether an error is one of a data file, for the exit code.
pub fn is_data_error(error: &anyhow::Error) -> bool {
    error.chain().any(|e| e.is::<DataError>())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_limit_goes_on_with_the_same_sample() {
        let config = |limit: usize, seed: Option<u64>| -> TaskConfig {
            let seed = seed.map_or(String::new(), |seed| format!("sample_seed = {seed}\n"));
            toml::from_str(&format!("limit = {limit}\nmetrics = []\n{seed}")).unwrap()
        };
        let items: Vec<usize> = (0..1000).collect();
        let drawn = |limit, seed| chosen(items.clone(), &config(limit, seed));
        assert_eq!(drawn(3, None), [0, 1, 2]);
        assert_eq!(drawn(50, Some(1)), drawn(70, Some(1))[..50]);
        assert_ne!(drawn(50, Some(1)), drawn(50, Some(2)));
        // From all of the file, each item once.
        let mut all = drawn(5000, Some(1));
        assert!(drawn(50, Some(1)).iter().filter(|i| **i >= 500).count() > 10);
        all.sort_unstable();
        assert_eq!(all, items);
    }

    #[test]
    fn a_test_file_changes_the_items_and_not_what_trains() {
        let dir = tempfile::tempdir().unwrap();
        let [train, test, other] = ["train.json", "test.json", "other.json"].map(|name| {
            std::fs::write(dir.path().join(name), name).unwrap();
            dir.path().join(name)
        });
        let squad = |test: &PathBuf| Source::Squad(SquadConfig { train: train.clone(), test: test.clone(), max_words: 9 });
        let task: TaskConfig = toml::from_str("limit = 3\nmetrics = []\n").unwrap();
        let items = |source: &Source| source.items_identity(Task::Reconstruction, &task).unwrap();
        assert_eq!(squad(&test).training_identity().unwrap(), squad(&other).training_identity().unwrap());
        assert_ne!(items(&squad(&test)), items(&squad(&other)));
        // The same bytes under the same name are not the same split where one file has to serve both sides.
        std::fs::copy(&train, &other).unwrap();
        assert_ne!(squad(&train).training_identity().unwrap(), squad(&other).training_identity().unwrap());
        // The same path with other bytes.
        let before = items(&squad(&test));
        std::fs::write(&test, "grown").unwrap();
        assert_ne!(items(&squad(&test)), before);
    }
}
