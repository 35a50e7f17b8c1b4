//! SQuAD 1.1 and 2.0, in the layout of the official JSON files.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use crate::DataError;
use crate::prepare::DatasetName;
use crate::record::{QaItem, array, object, string};
use crate::rows::each_row;

/// What a SQuAD file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Squad {
    /// The contexts, each once, in the order of the file.
    pub passages: Vec<String>,
    /// The answerable questions in the order of the file; the answer is the first annotator's.
    pub qa: Vec<QaItem>,
    /// Number of articles.
    pub articles: usize,
    /// Number of questions left out because they are marked impossible (2.0 only).
    pub dropped_impossible: usize,
}

/// Returns the passages and the answerable questions of a SQuAD 1.1 or 2.0 file.
///
/// # Errors
/// [`DataError`], naming the file, and the article, paragraph, question and field where one is at
/// fault.
///
/// # Reference
/// The layout `{version, data: [{title, paragraphs: [{context, qas: [{id, question, answers,
/// is_impossible?}]}]}]}` of the files at rajpurkar.github.io/SQuAD-explorer.
pub fn load_squad(path: impl AsRef<Path>) -> Result<Squad, DataError> {
    let path = path.as_ref();
    let mut squad = Squad::default();
    let mut seen = HashSet::new();
    let mut at = 0;
    let read = each_row(path, DatasetName::Squad, &mut |_, root| {
        for (index, article) in array(root, "data")?.iter().enumerate() {
            at = index;
            squad.add_article(article, &mut seen)?;
        }
        Ok(())
    });
    read.map_err(|error| match error {
        DataError::Malformed { path, reason, .. } => DataError::Malformed { path, index: at, reason },
        other => other,
    })?;
    if squad.passages.is_empty() {
        return Err(DataError::Empty { path: path.to_path_buf() });
    }
    Ok(squad)
}

impl Squad {
    fn add_article(&mut self, article: &Value, seen: &mut HashSet<String>) -> Result<(), String> {
        self.articles += 1;
        let paragraphs = object(article).and_then(|article| array(article, "paragraphs"))?;
        for (number, paragraph) in paragraphs.iter().enumerate() {
            self.add_paragraph(paragraph, seen).map_err(|reason| format!("paragraph {number}: {reason}"))?;
        }
        Ok(())
    }

    fn add_paragraph(&mut self, value: &Value, seen: &mut HashSet<String>) -> Result<(), String> {
        let paragraph = object(value)?;
        let context = string(paragraph, "context")?;
        for (number, question) in array(paragraph, "qas")?.iter().enumerate() {
            match answerable(question, &context) {
                Ok(Some(item)) => self.qa.push(item),
                Ok(None) => self.dropped_impossible += 1,
                Err(reason) => return Err(format!("question {number}: {reason}")),
            }
        }
        if seen.insert(context.clone()) {
            self.passages.push(context);
        }
        Ok(())
    }
}

/// The question as an item, or nothing when it is marked impossible.
fn answerable(value: &Value, context: &str) -> Result<Option<QaItem>, String> {
    let question = object(value)?;
    if let Some(mark) = question.get("is_impossible") {
        match mark.as_bool() {
            Some(true) => return Ok(None),
            Some(false) => {}
            None => {
                return Err(format!("field `is_impossible` holds {mark} - expected a boolean"));
            }
        }
    }
    let first = array(question, "answers")?.first().ok_or("field `answers` is empty - expected one, or `is_impossible`")?;
    Ok(Some(QaItem {
        question: string(question, "question")?,
        answer: object(first).and_then(|answer| string(answer, "text"))?,
        references: vec![context.to_owned()],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"version": "v2.0", "data": [
        {"title": "One", "paragraphs": [
            {"context": "Ann has a cat.", "qas": [
                {"id": "1", "question": "Who has a cat?", "is_impossible": false,
                 "answers": [{"text": "Ann", "answer_start": 0}, {"text": "Ann has", "answer_start": 0}]},
                {"id": "2", "question": "Who has a dog?", "is_impossible": true, "answers": [],
                 "plausible_answers": [{"text": "Ann", "answer_start": 0}]}]}]},
        {"title": "Two", "paragraphs": [
            {"context": "Bob naps.", "qas": [
                {"id": "3", "question": "Who naps?", "answers": [{"text": "Bob", "answer_start": 0}]}]},
            {"context": "Ann has a cat.", "qas": []}]}]}"#;

    fn load(text: &str) -> Result<Squad, DataError> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("squad.json");
        std::fs::write(&path, text).expect("a written file");
        load_squad(&path)
    }

    #[test]
    fn a_small_file_of_both_versions() {
        let squad = load(SMALL).expect("a loaded file");
        assert_eq!(squad.passages, ["Ann has a cat.", "Bob naps."]);
        assert_eq!((squad.articles, squad.dropped_impossible), (2, 1));
        let answers: Vec<_> = squad.qa.iter().map(|item| item.answer.as_str()).collect();
        assert_eq!(answers, ["Ann", "Bob"]);
        assert_eq!(squad.qa[1].references, ["Bob naps."]);
    }

    #[test]
    fn the_fault_is_located() {
        let broken = SMALL.replace(r#"[{"text": "Bob", "answer_start": 0}]"#, "[]");
        let error = load(&broken).expect_err("a failure").to_string();
        assert!(error.starts_with("record 1 of "), "{error}");
        assert!(error.contains("paragraph 0: question 0: field `answers` is empty"), "{error}");

        let error = load(r#"{"version": "1.1"}"#).expect_err("a failure");
        assert!(error.to_string().contains("field `data` is missing"));
        let error = load(r#"{"data": []}"#).expect_err("a failure");
        assert!(matches!(error, DataError::Empty { .. }));
    }
}
