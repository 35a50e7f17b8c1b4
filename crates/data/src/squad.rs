//! SQuAD 1.1 and 2.0, in the layout of the official JSON files.

use std::collections::HashSet;
use std::path::Path;

use serde_json::{Map, Value};

use crate::DataError;
use crate::prepare::DatasetName;
use crate::record::{QaItem, array, kind, object, string};
use crate::rows::{each_row, text_in, text_of};

/// What a SQuAD file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Squad {
    /// The contexts, each once, in the order of the file.
    pub passages: Vec<String>,
    /// The answerable questions in the order of the file; the answer is the first annotator's, so that F1 and exact match are
    /// lower than SQuAD's own, which take the best of all annotators.
    pub qa: Vec<QaItem>,
    /// Number of articles.
    pub articles: usize,
    /// Number of questions left out because they are marked impossible (2.0 only).
    pub dropped_impossible: usize,
    /// Number of questions left out because they have no answer, without being marked.
    pub dropped_unanswered: usize,
    /// Number of paragraphs without a list of questions.
    pub without_questions: usize,
}

/// Returns the passages and the answerable questions of a SQuAD 1.1 or 2.0 file.
///
/// # Errors
/// [`DataError`], naming the file, and the article, paragraph, question and field where one is at
/// fault.
///
/// # Reference
/// The layout `{version, data: [{title, paragraphs: [{context, qas: [{id, question, answers,
/// is_impossible?}]}]}]}` of the files at rajpurkar.github.io/SQuAD-explorer, and the rows `{id, title, context, question,
/// answers: {text: [..], answer_start: [..]}}` of the hub.
pub fn load_squad(path: impl AsRef<Path>) -> Result<Squad, DataError> {
    load_squad_files(&[path.as_ref()])
}

/// The same over the parts of one set.
pub(crate) fn load_squad_files(paths: &[impl AsRef<Path>]) -> Result<Squad, DataError> {
    let mut squad = Squad::default();
    let (mut seen, mut titles) = (HashSet::new(), HashSet::new());
    for path in paths {
        let mut at = 0;
        let read = each_row(path.as_ref(), DatasetName::Squad, &mut |row, root| {
            at = row;
            if root.contains_key("context") {
                if titles.insert(text_of(root, "title").unwrap_or_default()) {
                    squad.articles += 1;
                }
                return squad.add_row(root, &mut seen);
            }
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
    }
    match (squad.passages.is_empty(), paths.first()) {
        (true, Some(path)) => Err(DataError::Empty { path: path.as_ref().to_path_buf() }),
        _ => Ok(squad),
    }
}

impl Squad {
    /// A row of the hub: a question with its context.
    fn add_row(&mut self, row: &Map<String, Value>, seen: &mut HashSet<String>) -> Result<(), String> {
        let context = string(row, "context")?;
        self.add_question(row, &context)?;
        self.add_context(context, seen);
        Ok(())
    }

    fn add_context(&mut self, context: String, seen: &mut HashSet<String>) {
        if seen.insert(context.clone()) {
            self.passages.push(context);
        }
    }

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
        match paragraph.get("qas") {
            None | Some(Value::Null) => self.without_questions += 1,
            Some(_) => {
                for (number, question) in array(paragraph, "qas")?.iter().enumerate() {
                    let added = object(question).and_then(|question| self.add_question(question, &context));
                    added.map_err(|reason| format!("question {number}: {reason}"))?;
                }
            }
        }
        self.add_context(context, seen);
        Ok(())
    }

    fn add_question(&mut self, question: &Map<String, Value>, context: &str) -> Result<(), String> {
        if impossible(question)? {
            self.dropped_impossible += 1;
        } else if let Some(answer) = first_answer(question)? {
            self.qa.push(QaItem { question: string(question, "question")?, answer, references: vec![context.to_owned()] });
        } else {
            self.dropped_unanswered += 1;
        }
        Ok(())
    }
}

/// Whether a question is marked impossible; Python's `str(False)` counts as what it says.
fn impossible(question: &Map<String, Value>) -> Result<bool, String> {
    match question.get("is_impossible") {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(mark)) => Ok(*mark),
        Some(Value::String(mark)) if mark.eq_ignore_ascii_case("true") => Ok(true),
        Some(Value::String(mark)) if mark.eq_ignore_ascii_case("false") => Ok(false),
        Some(mark) => Err(format!("field `is_impossible` holds {mark} - expected a boolean")),
    }
}

/// The first annotator's answer, where there is one: `[{text}, ..]`, the hub's `{text: [..]}`, or plain texts; numbers as their text.
fn first_answer(question: &Map<String, Value>) -> Result<Option<String>, String> {
    let list = match question.get("answers") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(columns)) => array(columns, "text").map_err(|reason| format!("field `answers`: {reason}"))?,
        Some(_) => array(question, "answers")?,
    };
    let text = match list.first() {
        None => return Ok(None),
        Some(Value::Object(answer)) => text_of(answer, "text")?,
        Some(answer) => {
            text_in(answer).ok_or_else(|| format!("field `answers` holds {} - expected objects with a `text`", kind(answer)))?
        }
    };
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
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
    fn questions_without_an_answer_are_counted() {
        for nothing in ["[]", "null", r#"{"text": [], "answer_start": []}"#, r#"[{"text": " "}]"#] {
            let squad = load(&SMALL.replace(r#"[{"text": "Bob", "answer_start": 0}]"#, nothing)).expect("a loaded file");
            assert_eq!((squad.qa.len(), squad.dropped_impossible, squad.dropped_unanswered), (1, 1, 1), "{nothing}");
        }
        for (answer, text) in
            [(r#"[{"text": 1969}]"#, "1969"), (r#"{"text": ["Bob", "B."]}"#, "Bob"), ("[1969]", "1969"), (r#"["Bob"]"#, "Bob")]
        {
            let squad = load(&SMALL.replace(r#"[{"text": "Bob", "answer_start": 0}]"#, answer)).expect("a loaded file");
            assert_eq!(squad.qa[1].answer, text);
        }
        let squad = load(&SMALL.replace(r#", "qas": []"#, "").replace("\"is_impossible\": true", "\"is_impossible\": \"True\""))
            .expect("a loaded file");
        assert_eq!((squad.passages.len(), squad.without_questions, squad.dropped_impossible), (2, 1, 1));
    }

    #[test]
    fn rows_of_the_hub() {
        let row = |id: usize, title: &str, context: &str, answers: &str| {
            format!(r#"{{"id": "{id}", "title": "{title}", "context": "{context}", "question": "q{id}", "answers": {answers}}}"#)
        };
        let rows = [
            row(1, "One", "Ann lives in Oslo.", r#"{"text": ["Oslo", "in Oslo"], "answer_start": [13, 10]}"#),
            row(2, "One", "Ann lives in Oslo.", r#"{"text": [], "answer_start": []}"#),
            row(3, "Two", "Bob naps.", r#"{"text": ["Bob"], "answer_start": [0]}"#),
        ];
        let squad = load(&rows.join("\n")).expect("a loaded file");
        assert_eq!(squad.passages, ["Ann lives in Oslo.", "Bob naps."]);
        assert_eq!((squad.articles, squad.qa.len(), squad.dropped_unanswered), (2, 2, 1));
        assert_eq!((squad.qa[0].answer.as_str(), &squad.qa[1].references[..]), ("Oslo", &["Bob naps.".to_string()][..]));
        let error = load(&format!("{}\n{}", rows[0], row(2, "One", "c", "{}"))).expect_err("a failure").to_string();
        assert!(error.starts_with("record 1 of ") && error.contains("(line 2)"), "{error}");
    }

    #[test]
    fn the_fault_is_located() {
        for (answers, named) in [
            (r#"[[3]]"#, "field `answers` holds an array - expected objects with a `text`"),
            (r#"[{"text": NaN}]"#, "field `text` holds null or NaN - expected a string or a number"),
            (r#""Bob""#, "field `answers` holds a string - expected an array"),
            (r#"{"texts": []}"#, "field `answers`: field `text` is missing"),
        ] {
            let broken = SMALL.replace(r#"[{"text": "Bob", "answer_start": 0}]"#, answers);
            let error = load(&broken).expect_err("a failure").to_string();
            assert!(error.starts_with("record 1 of ") && error.contains(&format!("paragraph 0: question 0: {named}")), "{error}");
        }

        let error = load(r#"{"version": "1.1"}"#).expect_err("a failure");
        assert!(error.to_string().contains("field `data` is missing"));
        let error = load(r#"{"data": []}"#).expect_err("a failure");
        assert!(matches!(error, DataError::Empty { .. }));
    }
}
