//! The record types of the three tasks, and the official prepared files that hold them.
//!
//! Every record is converted by hand from [`Value`], so that an error names the file, the record and
//! the field; serde's own message names neither the record nor a field of the wrong type.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::DataError;
use crate::rows::{each_value, malformed, text_of};

/// One item of task 2: a question, its answer, and the passages it is answered from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QaItem {
    /// The question.
    pub question: String,
    /// The reference answer.
    pub answer: String,
    /// The passages the memory is made of.
    pub references: Vec<String>,
}

/// One item of task 3: a question and the passages to rank for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrievalItem {
    /// The question.
    pub question: String,
    /// The candidate passages.
    pub references: Vec<String>,
    /// Indices into `references` of the passages that should be found.
    pub hit_list: Vec<usize>,
}

/// Returns the passages of a task 1 file, `["passage", ..]`.
///
/// # Errors
/// [`DataError`], naming the file, and the record where one is at fault.
pub fn load_passages(path: impl AsRef<Path>) -> Result<Vec<String>, DataError> {
    load_records(path.as_ref(), |value| value.as_str().map(str::to_owned).ok_or_else(|| wrong("passage", value, "a string")))
}

/// Returns the items of a task 2 file, `[{question, answer, references}, ..]`.
///
/// An answer that is a number is taken as its text: LoCoMo and LongMemEval hold some.
///
/// # Errors
/// [`DataError`], naming the file, and the record and field where one is at fault.
pub fn load_qa(path: impl AsRef<Path>) -> Result<Vec<QaItem>, DataError> {
    load_records(path.as_ref(), |value| {
        let record = object(value)?;
        Ok(QaItem { question: string(record, "question")?, answer: text_of(record, "answer")?, references: strings(record, "references")? })
    })
}

/// Returns the items of a task 3 file, `[{question, references, hit_list}, ..]`.
///
/// # Errors
/// [`DataError`], naming the file, and the record and field where one is at fault. A `hit_list`
/// entry that is no index into `references` is at fault.
pub fn load_retrieval(path: impl AsRef<Path>) -> Result<Vec<RetrievalItem>, DataError> {
    load_records(path.as_ref(), |value| {
        let record = object(value)?;
        let references = strings(record, "references")?;
        let hit_list = array(record, "hit_list")?
            .iter()
            .map(|hit| {
                let index = hit.as_u64().and_then(|hit| usize::try_from(hit).ok());
                index.filter(|&index| index < references.len()).ok_or_else(|| {
                    let count = references.len();
                    format!("field `hit_list` holds {hit} - expected an index below {count}")
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(RetrievalItem { question: string(record, "question")?, references, hit_list })
    })
}

/// The records of a JSON array, of JSON Lines or of Parquet.
fn load_records<T>(path: &Path, convert: impl Fn(&Value) -> Result<T, String>) -> Result<Vec<T>, DataError> {
    let mut records = Vec::new();
    each_value(path, &mut |value, line| {
        let index = records.len();
        records.push(convert(&value).map_err(|reason| malformed(path, index, line, reason))?);
        Ok(())
    })?;
    match records.is_empty() {
        true => Err(DataError::Empty { path: path.to_path_buf() }),
        false => Ok(records),
    }
}

/// The record as an object, or the reason why it is none.
pub(crate) fn object(value: &Value) -> Result<&Map<String, Value>, String> {
    value.as_object().ok_or_else(|| format!("it is {} - expected an object", kind(value)))
}

/// A field that must be there.
pub(crate) fn field<'a>(record: &'a Map<String, Value>, name: &str) -> Result<&'a Value, String> {
    record.get(name).ok_or_else(|| format!("field `{name}` is missing - expected it in every record"))
}

/// A field that must be a string.
pub(crate) fn string(record: &Map<String, Value>, name: &str) -> Result<String, String> {
    let value = field(record, name)?;
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(name, value, "a string"))
}

/// A field that must be an array.
pub(crate) fn array<'a>(record: &'a Map<String, Value>, name: &str) -> Result<&'a [Value], String> {
    let value = field(record, name)?;
    value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(name, value, "an array"))
}

pub(crate) fn strings(record: &Map<String, Value>, name: &str) -> Result<Vec<String>, String> {
    array(record, name)?
        .iter()
        .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| wrong(name, value, "only strings in it")))
        .collect()
}

pub(crate) fn wrong(name: &str, value: &Value, expected: &str) -> String {
    format!("field `{name}` holds {} - expected {expected}", kind(value))
}

pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        // `NaN`, which Python writes, is read as null.
        Value::Null => "null or NaN",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type TestResult = Result<(), Box<dyn std::error::Error>>;

    /// Writes `text` to a file and loads it.
    fn load<T>(text: &str, loader: impl Fn(&Path) -> Result<Vec<T>, DataError>) -> Result<Vec<T>, DataError> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("records.json");
        std::fs::write(&path, text).expect("a written file");
        loader(&path)
    }

    /// The error text of a load that must fail.
    fn failure<T: std::fmt::Debug>(text: &str, loader: impl Fn(&Path) -> Result<Vec<T>, DataError>) -> String {
        load(text, loader).expect_err("a failure").to_string()
    }

    #[test]
    fn official_shapes_load() -> TestResult {
        assert_eq!(load(r#"["a b", "c"]"#, |p| load_passages(p))?, ["a b", "c"]);
        let qa = load(
            r#"[{"question":"q","answer":"a","references":["r","s"]},
                {"question":"q","answer":2022,"references":[],"extra":1}]"#,
            |p| load_qa(p),
        )?;
        assert_eq!(qa[0].references, ["r", "s"]);
        assert_eq!(qa[1].answer, "2022");
        let items = load(r#"[{"question":"q","references":["r","s"],"hit_list":[1]}]"#, |p| load_retrieval(p))?;
        assert_eq!(items[0].hit_list, [1]);
        Ok(())
    }

    #[test]
    fn records_survive_a_round_trip() -> TestResult {
        let items = vec![RetrievalItem { question: "q".into(), references: vec!["r".into()], hit_list: vec![0] }];
        let text = serde_json::to_string(&items)?;
        assert_eq!(load(&text, |p| load_retrieval(p))?, items);
        Ok(())
    }

    #[test]
    fn a_malformed_record_is_named() {
        let error = failure(r#"["a", 3]"#, |p| load_passages(p));
        assert!(error.starts_with("record 1 of "), "{error}");
        assert!(error.contains("records.json"), "{error}");
        assert!(error.ends_with("field `passage` holds a number - expected a string"));

        let text = r#"[{"question":"q","answer":["a"],"references":[]}]"#;
        let error = failure(text, |p| load_qa(p));
        assert!(error.ends_with("field `answer` holds an array - expected a string or a number"), "{error}");

        let text = r#"[{"question":"q","answer":"a"}]"#;
        assert!(failure(text, |p| load_qa(p)).contains("field `references` is missing"));
        assert!(failure("[7]", |p| load_qa(p)).contains("it is a number"));

        for hit in ["1", "-1", "0.5", "\"0\""] {
            let text = format!(r#"[{{"question":"q","references":["r"],"hit_list":[{hit}]}}]"#);
            let error = failure(&text, |p| load_retrieval(p));
            assert!(error.contains("`hit_list`") && error.contains("below 1"), "{error}");
        }
    }

    #[test]
    fn files_that_hold_nothing_are_refused() {
        assert!(matches!(load("[]", |p| load_qa(p)), Err(DataError::Empty { .. })));
        assert!(failure("{}", |p| load_qa(p)).contains("record 0 of ") && failure("{", |p| load_qa(p)).contains("not the expected JSON"));
        let error = load_qa("no/such/file.json").expect_err("a failure");
        assert!(error.to_string().contains("does not exist; check the path"));
    }
}
