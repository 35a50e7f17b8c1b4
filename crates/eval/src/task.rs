//! The paper's three tasks. Predicting appends to a sample file and goes on where a killed run stopped; scoring reads it.

use std::path::Path;

use nextmem_data::{QaItem, RetrievalItem};
use nextmem_model::{AnswerMode, MemoryMethod};

use crate::EvalError;
use crate::sample::{QaSample, ReconstructionSample, RetrievalSample, SampleWriter};

/// One of the paper's tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// Task 1, factual reconstruction.
    Reconstruction,
    /// Task 2, contextual generation.
    ContextualQa,
    /// Task 3, dense passage retrieval.
    Retrieval,
}

impl Task {
    /// All of them in the paper's order.
    pub const ALL: [Task; 3] = [Task::Reconstruction, Task::ContextualQa, Task::Retrieval];

    /// Its name in files and experiments.
    pub fn name(self) -> &'static str {
        match self {
            Task::Reconstruction => "reconstruction",
            Task::ContextualQa => "contextual_qa",
            Task::Retrieval => "retrieval",
        }
    }
}

/// How many passages the top of a ranking keeps (paper: top 5).
pub const TOP: usize = 5;

/// Told after every batch how many samples are done.
pub type Progress<'a> = &'a dyn Fn(usize);

/// Task 1: encode every passage, turn it back into text.
pub fn predict_reconstruction(
    method: &dyn MemoryMethod,
    passages: &[String],
    batch_size: usize,
    path: &Path,
    progress: Progress<'_>,
) -> Result<(), EvalError> {
    let (mut writer, done) = SampleWriter::open::<ReconstructionSample>(path)?;
    for (batch, chunk) in chunks(passages, done.len(), batch_size) {
        let texts: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let memories = method.encode(&texts)?;
        let outputs = method.reconstruct(&memories)?;
        let samples: Vec<ReconstructionSample> = chunk
            .iter()
            .zip(outputs)
            .zip(&memories)
            .enumerate()
            .map(|(i, ((reference, reconstruction), memory))| ReconstructionSample {
                index: batch + i,
                word_num: words(reference),
                reference: reference.clone(),
                reconstruction,
                memory_bytes: memory.size_bytes(),
            })
            .collect();
        writer.append(&samples)?;
        progress(batch + chunk.len());
    }
    Ok(())
}

/// Task 2: answer a question from the memory of its passage.
pub fn predict_qa(
    method: &dyn MemoryMethod,
    mode: AnswerMode,
    items: &[QaItem],
    batch_size: usize,
    path: &Path,
    progress: Progress<'_>,
) -> Result<(), EvalError> {
    let (mut writer, done) = SampleWriter::open::<QaSample>(path)?;
    for (batch, chunk) in chunks(items, done.len(), batch_size) {
        let references: Vec<String> = chunk.iter().map(|item| reference_text(&item.references)).collect();
        let texts: Vec<&str> = references.iter().map(String::as_str).collect();
        let questions: Vec<&str> = chunk.iter().map(|item| item.question.as_str()).collect();
        let answers = method.answer(&method.encode(&texts)?, &questions, mode)?;
        let samples: Vec<QaSample> = chunk
            .iter()
            .zip(references)
            .zip(answers)
            .enumerate()
            .map(|(i, ((item, reference), prediction))| QaSample {
                index: batch + i,
                ref_word_num: words(&reference),
                reference,
                question: item.question.clone(),
                answer: item.answer.clone(),
                prediction,
            })
            .collect();
        writer.append(&samples)?;
        progress(batch + chunk.len());
    }
    Ok(())
}

/// Task 3: rank the passages of every item by how well the method says they answer its question.
pub fn predict_retrieval(method: &dyn MemoryMethod, items: &[RetrievalItem], path: &Path, progress: Progress<'_>) -> Result<(), EvalError> {
    let (mut writer, done) = SampleWriter::open::<RetrievalSample>(path)?;
    for (index, item) in items.iter().enumerate().skip(done.len()) {
        let passages: Vec<&str> = item.references.iter().map(String::as_str).collect();
        let sample = RetrievalSample {
            index,
            question: item.question.clone(),
            hit_list: item.hit_list.clone(),
            prediction: highest(&method.rank(&item.question, &passages)?, TOP),
            ref_num: item.references.len(),
        };
        writer.append(&[sample])?;
        progress(index + 1);
    }
    Ok(())
}

/// Indices of the highest scores, the lower index first on ties.
pub fn highest(scores: &[f64], top: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    order.truncate(top);
    order
}

/// The text behind an item: its references, one a line; "None" when there are none (official preparation).
fn reference_text(references: &[String]) -> String {
    let text = references.join("\n");
    if text.trim().is_empty() { "None".into() } else { text }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Chunks of what is left after `done`, each with the index of its first item.
fn chunks<T>(items: &[T], done: usize, size: usize) -> impl Iterator<Item = (usize, &[T])> {
    let left = items.get(done..).unwrap_or_default();
    left.chunks(size.max(1)).enumerate().map(move |(i, chunk)| (done + i * size.max(1), chunk))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nextmem_model::{Abilities, ModelError};

    /// Ranks by a word that it finds.
    struct Finder;

    impl MemoryMethod for Finder {
        fn name(&self) -> String {
            "finder".into()
        }
        fn abilities(&self) -> Abilities {
            Abilities::INDEX
        }
        fn rank(&self, query: &str, passages: &[&str]) -> Result<Vec<f64>, ModelError> {
            Ok(passages.iter().map(|p| p.matches(query).count() as f64).collect())
        }
    }

    #[test]
    fn a_method_ranks_in_its_own_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("retrieval.facts.finder.jsonl");
        let references = ["none", "cat cat", "cat", "none", "cat cat cat", "cat"].map(String::from).to_vec();
        let item = RetrievalItem { question: "cat".into(), references, hit_list: vec![4] };
        predict_retrieval(&Finder, &[item], &path, &|_| ()).unwrap();
        let samples: Vec<RetrievalSample> = crate::read_samples(&path).unwrap();
        assert_eq!(samples[0].prediction, [4, 1, 2, 5, 0]);
        assert!(predict_reconstruction(&Finder, &["cat".into()], 1, &dir.path().join("x.jsonl"), &|_| ()).is_err());
    }

    #[test]
    fn the_lower_index_wins_a_tie() {
        assert_eq!(highest(&[0.5, 2.0, 2.0, -1.0], 3), [1, 2, 0]);
        assert_eq!(highest(&[], 3), [0usize; 0]);
    }

    #[test]
    fn chunks_go_on_where_a_run_stopped() {
        let items = [0, 1, 2, 3, 4, 5, 6];
        let left: Vec<(usize, Vec<i32>)> = chunks(&items, 3, 2).map(|(i, c)| (i, c.to_vec())).collect();
        assert_eq!(left, [(3, vec![3, 4]), (5, vec![5, 6])]);
        assert_eq!(chunks(&items, 9, 2).count(), 0);
    }
}
