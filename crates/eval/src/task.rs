//! The paper's three tasks. Predicting appends to a sample file and goes on where a killed run stopped; scoring reads it.

use std::path::Path;

use nextmem_data::{QaItem, RetrievalItem};
use nextmem_model::{AnswerMode, MemoryMethod};

use crate::EvalError;
use crate::sample::{QaSample, ReconstructionSample, Resumed, RetrievalSample, SampleWriter};

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
) -> Result<Resumed, EvalError> {
    let sample = |(index, passage): (usize, &String)| ReconstructionSample {
        index,
        word_num: words(passage),
        reference: passage.clone(),
        reconstruction: String::new(),
        memory_bytes: 0,
    };
    let items: Vec<ReconstructionSample> = passages.iter().enumerate().map(sample).collect();
    let (mut writer, resumed) = SampleWriter::open(path, &items)?;
    progress(resumed.kept);
    for chunk in items[resumed.kept..].chunks(batch_size.max(1)) {
        let mut samples = chunk.to_vec();
        let texts: Vec<&str> = chunk.iter().map(|item| item.reference.as_str()).collect();
        let memories = method.encode(&texts)?;
        for ((sample, output), memory) in samples.iter_mut().zip(method.reconstruct(&memories)?).zip(&memories) {
            (sample.reconstruction, sample.memory_bytes) = (output, memory.size_bytes());
        }
        writer.append(&samples)?;
        progress(chunk.last().map_or(0, |item| item.index + 1));
    }
    Ok(resumed)
}

/// Task 2: answer a question from the memory of its passage.
pub fn predict_qa(
    method: &dyn MemoryMethod,
    mode: AnswerMode,
    items: &[QaItem],
    batch_size: usize,
    path: &Path,
    progress: Progress<'_>,
) -> Result<Resumed, EvalError> {
    let sample = |(index, item): (usize, &QaItem)| {
        let reference = reference_text(&item.references);
        let (question, answer) = (item.question.clone(), item.answer.clone());
        QaSample { index, ref_word_num: words(&reference), reference, question, answer, prediction: String::new() }
    };
    let items: Vec<QaSample> = items.iter().enumerate().map(sample).collect();
    let (mut writer, resumed) = SampleWriter::open(path, &items)?;
    progress(resumed.kept);
    for chunk in items[resumed.kept..].chunks(batch_size.max(1)) {
        let mut samples = chunk.to_vec();
        let texts: Vec<&str> = chunk.iter().map(|item| item.reference.as_str()).collect();
        let questions: Vec<&str> = chunk.iter().map(|item| item.question.as_str()).collect();
        let answers = method.answer(&method.encode(&texts)?, &questions, mode)?;
        for (sample, answer) in samples.iter_mut().zip(answers) {
            sample.prediction = answer;
        }
        writer.append(&samples)?;
        progress(chunk.last().map_or(0, |item| item.index + 1));
    }
    Ok(resumed)
}

/// Task 3: rank the passages of every item by how well the method says they answer its question.
pub fn predict_retrieval(
    method: &dyn MemoryMethod,
    items: &[RetrievalItem],
    path: &Path,
    progress: Progress<'_>,
) -> Result<Resumed, EvalError> {
    let sample = |(index, item): (usize, &RetrievalItem)| RetrievalSample {
        index,
        question: item.question.clone(),
        hit_list: item.hit_list.clone(),
        prediction: Vec::new(),
        ref_num: item.references.len(),
    };
    let asked: Vec<RetrievalSample> = items.iter().enumerate().map(sample).collect();
    let (mut writer, resumed) = SampleWriter::open(path, &asked)?;
    progress(resumed.kept);
    for (item, mut sample) in items.iter().zip(asked).skip(resumed.kept) {
        let passages: Vec<&str> = item.references.iter().map(String::as_str).collect();
        sample.prediction = highest(&method.rank(&item.question, &passages)?, TOP);
        writer.append(&[&sample])?;
        progress(sample.index + 1);
    }
    Ok(resumed)
}

/// Indices of the highest scores, the lower index first on ties.
pub fn highest(scores: &[f64], top: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    order.truncate(top);
    order
}

/// The text behind an item: its references, one a line; "None" when there are none (official preparation).
pub fn reference_text(references: &[String]) -> String {
    let text = references.join("\n");
    if text.trim().is_empty() { "None".into() } else { text }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
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
        predict_retrieval(&Finder, std::slice::from_ref(&item), &path, &|_| ()).unwrap();
        let samples: Vec<RetrievalSample> = crate::read_samples(&path).unwrap();
        assert_eq!(samples[0].prediction, [4, 1, 2, 5, 0]);
        // What is there is kept, with nothing asked again and nothing written.
        let reported = std::cell::RefCell::new(Vec::new());
        let again = predict_retrieval(&Finder, std::slice::from_ref(&item), &path, &|done| reported.borrow_mut().push(done)).unwrap();
        assert_eq!((again, reported.into_inner()), (Resumed { kept: 1, dropped: 0 }, vec![1]));
        assert!(predict_reconstruction(&Finder, &["cat".into()], 1, &dir.path().join("x.jsonl"), &|_| ()).is_err());
    }

    #[test]
    fn the_lower_index_wins_a_tie() {
        assert_eq!(highest(&[0.5, 2.0, 2.0, -1.0], 3), [1, 2, 0]);
        assert_eq!(highest(&[], 3), [0usize; 0]);
    }
}
