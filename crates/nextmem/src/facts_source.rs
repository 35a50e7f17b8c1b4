//! Generated memories as an experiment's data: which generator, which seeds, which lengths.

use std::sync::Arc;

use anyhow::{Result, bail};
use burn::data::dataset::Dataset;
use burn::data::dataset::transform::{Mapper, MapperDataset};
use nextmem_data::{
    Fact, FactSet, Facts, MAX_SENTENCES, OpenFact, OpenFactSet, OpenFacts, QaItem, Question, RetrievalItem, SENTENCES, Split, Wordings,
};
use nextmem_training::{Example, RetrievalSet};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::experiment::is_default;

/// Which generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactsKind {
    /// Short passages whose values come from lists: a person, a job, a town, a date.
    #[default]
    Closed,
    /// Passages of several sentences whose values are built and cannot be guessed: names, places, codes, addresses.
    Open,
}

/// The facts generator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactsConfig {
    /// Different passages to train on.
    pub train: usize,
    /// Which generator.
    #[serde(default, skip_serializing_if = "is_default")]
    pub kind: FactsKind,
    /// Seed of the passages that train and validate; absent: the experiment's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Fewest and most sentences of a passage that trains (open facts; absent: 1 to 7).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sentences: Option<[usize; 2]>,
    /// The same of passages that validate and test; absent: those of training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_sentences: Option<[usize; 2]>,
    /// Whether every task runs a second time on passages whose wordings and shapes no training passage has (open facts).
    #[serde(default, skip_serializing_if = "is_default")]
    pub unseen_wordings: bool,
}

/// A generator with its seeds.
#[derive(Clone, Debug)]
pub struct GeneratedFacts {
    config: FactsConfig,
    train_seed: u64,
    test_seed: u64,
}

impl GeneratedFacts {
    /// The generator of a configuration; the seeds are those of training and of the tests.
    ///
    /// # Errors
    /// Lengths that no generator has.
    pub fn new(config: &FactsConfig, train_seed: u64, test_seed: u64) -> Result<Self> {
        let open = config.kind == FactsKind::Open;
        for (key, range) in [("sentences", config.sentences), ("test_sentences", config.test_sentences)] {
            let Some([least, most]) = range else { continue };
            if !open {
                bail!("data.facts.{key}: got [{least}, {most}], but only kind = \"open\" has passages of several lengths; remove it");
            }
            if least == 0 || least > most || most > MAX_SENTENCES {
                bail!("data.facts.{key}: got [{least}, {most}], expected fewest and most sentences, 1 to {MAX_SENTENCES}");
            }
        }
        if config.unseen_wordings && !open {
            bail!("data.facts.unseen_wordings: got true, but only kind = \"open\" keeps wordings apart; remove it");
        }
        Ok(Self { config: config.clone(), train_seed, test_seed })
    }

    /// Whether every task has a second set.
    pub fn has_unseen_wordings(&self) -> bool {
        self.config.unseen_wordings
    }

    /// The seed of the tests, where the passages are those of closed lists.
    pub fn closed_test_seed(&self) -> Option<u64> {
        (self.config.kind == FactsKind::Closed).then_some(self.test_seed)
    }

    fn sentences(&self, split: Split) -> [usize; 2] {
        let trained = self.config.sentences.unwrap_or([*SENTENCES.start(), *SENTENCES.end()]);
        if split == Split::Train { trained } else { self.config.test_sentences.unwrap_or(trained) }
    }

    fn seed(&self, split: Split) -> u64 {
        if split == Split::Test { self.test_seed } else { self.train_seed }
    }

    fn open(&self, split: Split, unseen: bool) -> OpenFacts {
        let ([least, most], wordings) = (self.sentences(split), if unseen { Wordings::Unseen } else { Wordings::Seen });
        OpenFacts::new(self.seed(split), split, wordings, least..=most)
    }

    /// What identifies the passages of a split.
    fn identity(&self, split: Split) -> Value {
        match self.config.kind {
            FactsKind::Closed => json!({"facts": nextmem_data::VERSION, "seed": self.seed(split)}),
            FactsKind::Open => {
                json!({"open_facts": nextmem_data::OPEN_VERSION, "seed": self.seed(split), "sentences": self.sentences(split)})
            }
        }
    }

    /// What identifies the passages that train.
    pub fn training_identity(&self) -> Value {
        let mut identity = self.identity(Split::Train);
        identity["train"] = self.config.train.into();
        identity
    }

    /// What identifies the items of a test.
    pub fn test_identity(&self, unseen: bool) -> Value {
        let mut identity = self.identity(Split::Test);
        if unseen {
            identity["wordings"] = "unseen".into();
        }
        identity
    }

    /// Passages to train on.
    pub fn training(&self) -> Arc<dyn Dataset<String>> {
        match self.config.kind {
            FactsKind::Closed => Arc::new(MapperDataset::new(self.closed_set(), Texts)),
            FactsKind::Open => Arc::new(MapperDataset::new(self.open_set(), Texts)),
        }
    }

    /// The same with their questions.
    pub fn examples(&self) -> Arc<dyn Dataset<Example>> {
        match self.config.kind {
            FactsKind::Closed => Arc::new(MapperDataset::new(self.closed_set(), Examples)),
            FactsKind::Open => Arc::new(MapperDataset::new(self.open_set(), Examples)),
        }
    }

    fn closed_set(&self) -> FactSet {
        FactSet { facts: Facts::new(self.train_seed, Split::Train), len: self.config.train }
    }

    fn open_set(&self) -> OpenFactSet {
        OpenFactSet { facts: self.open(Split::Train, false), len: self.config.train }
    }

    /// The first passages of a split.
    pub fn passages(&self, split: Split, unseen: bool, count: usize) -> Vec<String> {
        match self.config.kind {
            FactsKind::Closed => nextmem_data::passages(self.seed(split), split, count),
            FactsKind::Open => self.open(split, unseen).passages(count),
        }
    }

    /// Task 2.
    pub fn qa(&self, unseen: bool, count: usize) -> Vec<QaItem> {
        match self.config.kind {
            FactsKind::Closed => nextmem_data::qa_items(self.test_seed, Split::Test, count),
            FactsKind::Open => self.open(Split::Test, unseen).qa_items(count),
        }
    }

    /// Items of retrieval that train or validate an index; closed lists have none.
    pub fn index_items(&self, split: Split, count: usize, candidates: usize) -> Option<Arc<dyn Dataset<RetrievalItem>>> {
        let facts = (self.config.kind == FactsKind::Open).then(|| self.open(split, false))?;
        Some(Arc::new(RetrievalSet { item: move |index| facts.retrieval_item(index, candidates), len: count }))
    }

    /// How many passages there are to train on.
    pub fn train_len(&self) -> usize {
        self.config.train
    }

    /// Questions about the passages of validation.
    pub fn validation_qa(&self, count: usize) -> Vec<QaItem> {
        match self.config.kind {
            FactsKind::Closed => nextmem_data::qa_items(self.train_seed, Split::Valid, count),
            FactsKind::Open => self.open(Split::Valid, false).qa_items(count),
        }
    }

    /// Task 3.
    pub fn retrieval(&self, unseen: bool, count: usize, candidates: usize) -> Result<Vec<RetrievalItem>> {
        Ok(match self.config.kind {
            FactsKind::Closed => nextmem_data::retrieval_items(self.test_seed, Split::Test, count, candidates)?,
            FactsKind::Open => self.open(Split::Test, unseen).retrieval_items(count, candidates)?,
        })
    }

    /// Mean information of the first test passages in bits, an upper bound; closed lists do not count theirs.
    pub fn bits(&self, unseen: bool, count: usize) -> Option<f64> {
        let facts = (self.config.kind == FactsKind::Open).then(|| self.open(Split::Test, unseen))?;
        Some((0..count as u64).map(|index| facts.get(index).bits).sum::<f64>() / count.max(1) as f64)
    }
}

struct Texts;
struct Examples;

impl Mapper<Fact, String> for Texts {
    fn map(&self, fact: &Fact) -> String {
        fact.text.clone()
    }
}

impl Mapper<OpenFact, String> for Texts {
    fn map(&self, fact: &OpenFact) -> String {
        fact.text.clone()
    }
}

fn example(text: &str, questions: &[Question]) -> Example {
    Example { text: text.to_owned(), questions: questions.iter().map(|q| (q.question.clone(), q.answer.clone())).collect() }
}

impl Mapper<Fact, Example> for Examples {
    fn map(&self, fact: &Fact) -> Example {
        example(&fact.text, &fact.questions)
    }
}

impl Mapper<OpenFact, Example> for Examples {
    fn map(&self, fact: &OpenFact) -> Example {
        example(&fact.text, &fact.questions)
    }
}
