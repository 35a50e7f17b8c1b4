//! HotpotQA, in the layout of the official JSON files and in the hub's.

use std::path::Path;

use serde_json::{Map, Value};

use crate::DataError;
use crate::prepare::DatasetName;
use crate::record::{array, field, kind, string, strings, wrong};
use crate::rows::{each_row, text_of};

/// One question of HotpotQA with the paragraphs around its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotpotItem {
    /// `_id` (`id` in the hub's layout).
    pub id: String,
    /// The question.
    pub question: String,
    /// The answer.
    pub answer: String,
    /// `easy`, `medium` or `hard`.
    pub level: String,
    /// The paragraphs, usually ten.
    pub paragraphs: Vec<HotpotParagraph>,
    /// The supporting facts as (paragraph, sentence), each once, in the order of the file.
    pub facts: Vec<(usize, usize)>,
    /// The supporting facts that are no sentence of the paragraphs, as `TITLE #SENTENCE`: a known fault of the set.
    pub lost_facts: Vec<String>,
}

/// A paragraph of Wikipedia.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotpotParagraph {
    /// The title of the article.
    pub title: String,
    /// The sentences as they are, most with a leading space.
    pub sentences: Vec<String>,
}

impl HotpotItem {
    /// The supporting sentences without the space around them, in the order of the facts; blank ones left out.
    pub fn support(&self) -> Vec<String> {
        let texts = self.facts.iter().map(|(paragraph, sentence)| self.paragraphs[*paragraph].sentences[*sentence].trim());
        texts.filter(|text| !text.is_empty()).map(str::to_owned).collect()
    }
}

/// Returns the questions of a HotpotQA file: official JSON, or JSON Lines or Parquet with the hub's fields.
///
/// # Errors
/// [`DataError`], naming the file, and the record and field where one is at fault.
pub fn load_hotpotqa(path: impl AsRef<Path>) -> Result<Vec<HotpotItem>, DataError> {
    let mut items = Vec::new();
    each_hotpotqa(path.as_ref(), &mut |item| items.push(item))?;
    Ok(items)
}

/// Hands over one question after the other; the training file would take gigabytes at once.
pub(crate) fn each_hotpotqa(path: &Path, take: &mut dyn FnMut(HotpotItem)) -> Result<usize, DataError> {
    each_row(path, DatasetName::Hotpotqa, &mut |_, row| {
        take(item(row)?);
        Ok(())
    })
}

fn item(row: &Map<String, Value>) -> Result<HotpotItem, String> {
    let paragraphs = paragraphs(row)?;
    let mut facts = Vec::new();
    let mut lost_facts = Vec::new();
    for (title, sentence) in supporting_facts(row)? {
        let paragraph = paragraphs.iter().position(|paragraph| paragraph.title == title);
        match paragraph.filter(|at| sentence < paragraphs[*at].sentences.len()) {
            None => lost_facts.push(format!("{title} #{sentence}")),
            Some(paragraph) if facts.contains(&(paragraph, sentence)) => {}
            Some(paragraph) => facts.push((paragraph, sentence)),
        }
    }
    Ok(HotpotItem {
        id: string(row, if row.contains_key("id") { "id" } else { "_id" })?,
        question: string(row, "question")?,
        answer: text_of(row, "answer")?,
        level: string(row, "level")?,
        paragraphs,
        facts,
        lost_facts,
    })
}

/// `[[title, [sentence, ..]], ..]`, or the hub's `{title: [..], sentences: [[..], ..]}`.
fn paragraphs(row: &Map<String, Value>) -> Result<Vec<HotpotParagraph>, String> {
    let inside = |reason| format!("field `context`: {reason}");
    let paragraph = |title: &Value, sentences: &Value| {
        let title = title.as_str().ok_or_else(|| wrong("context", title, "a title as a string"))?.to_owned();
        let sentences = sentences.as_array().ok_or_else(|| wrong("context", sentences, "an array of sentences"))?;
        let sentences =
            sentences.iter().map(|s| s.as_str().map(str::to_owned).ok_or_else(|| wrong("context", s, "only strings as sentences")));
        Ok(HotpotParagraph { title, sentences: sentences.collect::<Result<_, String>>()? })
    };
    match field(row, "context")? {
        Value::Object(context) => {
            let titles = array(context, "title").map_err(inside)?;
            let sentences = array(context, "sentences").map_err(inside)?;
            same_length("context", titles.len(), sentences.len())?;
            titles.iter().zip(sentences).map(|(title, sentences)| paragraph(title, sentences)).collect()
        }
        Value::Array(list) => list
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([title, sentences]) => paragraph(title, sentences),
                _ => Err(wrong("context", pair, "pairs of a title and its sentences")),
            })
            .collect(),
        other => Err(format!("field `context` holds {} - expected an array or an object", kind(other))),
    }
}

/// `[[title, sent_id], ..]`, or the hub's `{title: [..], sent_id: [..]}`.
fn supporting_facts(row: &Map<String, Value>) -> Result<Vec<(String, usize)>, String> {
    let number = |value: &Value| {
        // A negative index names no sentence, just like one past the end.
        value.as_i64().map(|n| usize::try_from(n).unwrap_or(usize::MAX)).ok_or_else(|| wrong("supporting_facts", value, "whole numbers"))
    };
    match field(row, "supporting_facts")? {
        Value::Object(facts) => {
            let inside = |reason| format!("field `supporting_facts`: {reason}");
            let (titles, numbers) = (strings(facts, "title").map_err(inside)?, array(facts, "sent_id").map_err(inside)?);
            same_length("supporting_facts", titles.len(), numbers.len())?;
            titles.into_iter().zip(numbers).map(|(title, n)| Ok((title, number(n)?))).collect()
        }
        Value::Array(list) => list
            .iter()
            .map(|pair| match pair.as_array().map(Vec::as_slice) {
                Some([Value::String(title), n]) => Ok((title.clone(), number(n)?)),
                _ => Err(wrong("supporting_facts", pair, "pairs of a title and a sentence number")),
            })
            .collect(),
        other => Err(format!("field `supporting_facts` holds {} - expected an array or an object", kind(other))),
    }
}

fn same_length(name: &str, left: usize, right: usize) -> Result<(), String> {
    match left == right {
        true => Ok(()),
        false => Err(format!("field `{name}` holds lists of {left} and {right} - expected the same length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OFFICIAL: &str = r#"[{"_id": "a1", "question": "Q?", "answer": "A", "type": "bridge", "level": "easy",
        "supporting_facts": [["Two", 1], ["One", 0], ["One", 0], ["One", 9], ["Gone", 0]],
        "context": [["One", ["First.", " Second."]], ["Two", ["Third.", " Fourth. "]]]}]"#;
    const HUB: &str = r#"{"id": "a1", "question": "Q?", "answer": "A", "type": "bridge", "level": "easy",
        "supporting_facts": {"title": ["Two", "One", "One", "One", "Gone"], "sent_id": [1, 0, 0, 9, 0]},
        "context": {"title": ["One", "Two"], "sentences": [["First.", " Second."], ["Third.", " Fourth. "]]}}"#;

    fn load(text: &str) -> Result<Vec<HotpotItem>, DataError> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("hotpot.json");
        std::fs::write(&path, text).expect("a written file");
        load_hotpotqa(&path)
    }

    #[test]
    fn both_layouts_are_the_same_item() {
        let official = load(OFFICIAL).expect("a loaded file");
        assert_eq!(official, load(HUB).expect("a loaded file"));
        assert_eq!(official[0].facts, [(1, 1), (0, 0)]);
        assert_eq!(official[0].support(), ["Fourth.", "First."]);
        assert_eq!(official[0].lost_facts, ["One #9", "Gone #0"]);
        // JSON Lines: one object after the other.
        assert_eq!(load(&format!("{}\n{}\n", HUB.replace('\n', " "), HUB)).expect("a loaded file").len(), 2);
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (from, to, named) in [
            (r#""level": "easy""#, r#""level": 3"#, "field `level` holds a number - expected a string"),
            (r#"["Two", 1]"#, r#"["Two", "1"]"#, "field `supporting_facts` holds a string - expected whole numbers"),
            (r#"["Two", 1]"#, r#"["Two"]"#, "field `supporting_facts` holds an array - expected pairs"),
            (r#""Third.""#, "3", "field `context` holds a number - expected only strings"),
            (r#""question": "Q?","#, "", "field `question` is missing"),
        ] {
            let text = format!("[{},{}", &OFFICIAL[1..OFFICIAL.len() - 1], &OFFICIAL.replacen(from, to, 1)[1..]);
            let error = load(&text).expect_err("a failure").to_string();
            assert!(error.starts_with("record 1 of ") && error.contains("hotpot.json") && error.contains(named), "{error}");
        }
        let uneven = HUB.replacen("\"title\": [\"One\", \"Two\"]", "\"title\": [\"One\"]", 1);
        assert!(load(&uneven).expect_err("a failure").to_string().contains("`context` holds lists of 1 and 2"));
    }
}
