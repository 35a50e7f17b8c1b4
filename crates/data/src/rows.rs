//! Records of JSON, JSON Lines and Parquet files, one after the other: a file of any size costs the memory of one record.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde::Deserializer;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::note::note_halves;
use crate::prepare::DatasetName;
use crate::python_json::PythonJson;
use crate::record::{kind, object};
use crate::text_file::is_utf16;
use crate::{DataError, Split, read_text};

/// What a loader does with one record; the text of an error is the field, what it holds and what was expected.
pub(crate) type Take<'a> = &'a mut dyn FnMut(usize, &Map<String, Value>) -> Result<(), String>;

/// Hands every record of a file to `take` and returns how many there were.
///
/// The file is a JSON array of objects, one JSON object after another (JSON Lines), or Parquet.
///
/// # Errors
/// [`DataError`]: what is wrong with the file, [`DataError::WrongKind`] if its first record is one of another dataset,
/// or the record and the reason that `take` gave.
pub(crate) fn each_row(path: &Path, set: DatasetName, take: Take<'_>) -> Result<usize, DataError> {
    let mut seen = 0;
    each_value(path, &mut |value, line| {
        let index = seen;
        seen += 1;
        if index == 0 {
            refuse_others(path, set, &value)?;
        }
        object(&value).and_then(|row| take(index, row)).map_err(|reason| malformed(path, index, line, reason))
    })?;
    match seen {
        0 => Err(DataError::Empty { path: path.to_path_buf() }),
        _ => Ok(seen),
    }
}

/// The error about a record that ends on a line, counted from 1; 0 where there are no lines.
pub(crate) fn malformed(path: &Path, index: usize, line: usize, reason: String) -> DataError {
    // Where all records stand on one line, it says nothing.
    let reason = if line > 1 { format!("{reason} (line {line})") } else { reason };
    DataError::Malformed { path: path.to_path_buf(), index, reason }
}

/// Fails if a value, the first of a file, is known to be of another dataset than `set`.
pub(crate) fn refuse_others(path: &Path, set: DatasetName, first: &Value) -> Result<(), DataError> {
    match recognise(first) {
        Some(found) if found != set.title() => {
            Err(DataError::WrongKind { path: path.to_path_buf(), expected: set.title(), got: found.to_string() })
        }
        _ => Ok(()),
    }
}

/// The dataset that a value looks to be a record of: its title, or a description where none of ours reads it.
fn recognise(value: &Value) -> Option<&'static str> {
    let row = match value {
        Value::String(_) => return Some("an official prepared file of task 1, a list of passages"),
        Value::Array(list) => list.first()?.as_object()?,
        _ => value.as_object()?,
    };
    let has = |names: &[&str]| names.iter().all(|name| row.contains_key(*name));
    let articles = row.get("data").and_then(|data| data.get(0)).is_some_and(|article| article.get("paragraphs").is_some());
    let known: [(bool, &str); 9] = [
        (articles, "SQuAD"),
        (has(&["supporting_facts", "context"]), "HotpotQA"),
        (has(&["article", "options"]), "RACE"),
        (has(&["conversation", "qa"]), "LoCoMo"),
        (has(&["haystack_sessions"]), "LongMemEval"),
        (has(&["references", "hit_list"]), "an official prepared file of task 3"),
        (has(&["references", "answer"]), "an official prepared file of task 2"),
        (has(&["context", "question", "answers"]), "SQuAD"),
        (has(&["question", "evidence"]), "questions with evidence only, without the paragraphs around it"),
    ];
    known.into_iter().find_map(|(fits, name)| fits.then_some(name))
}

/// The files that a path stands for: itself, or the parts (`train-00000-of-00002.parquet`) in a folder of the hub layout.
///
/// # Errors
/// [`DataError::Folder`] if a folder has no such parts, or parts of several splits and `split` does not say which.
pub(crate) fn files_of(from: &Path, split: Option<Split>) -> Result<Vec<PathBuf>, DataError> {
    if !from.is_dir() {
        return Ok(vec![from.to_path_buf()]);
    }
    let folder = |reason| DataError::Folder { path: from.to_path_buf(), reason };
    let files = listed(from, &["parquet", "jsonl"])?;
    if files.is_empty() {
        return Err(folder("holds no .parquet and no .jsonl file; name a file, or the folder that holds the parts"));
    }
    let begins = |file: &Path, split| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let words: &[&str] = match split {
            Split::Train => &["train"],
            Split::Valid => &["validation", "dev"],
            Split::Test => &["test"],
        };
        words.iter().any(|word| name.starts_with(word))
    };
    let of = |split| -> Vec<PathBuf> { files.iter().filter(|file| begins(file, split)).cloned().collect() };
    let several = [Split::Train, Split::Valid, Split::Test].into_iter().filter(|split| !of(*split).is_empty()).count();
    match split {
        Some(split) if !of(split).is_empty() => Ok(of(split)),
        Some(_) if several > 0 => Err(folder("holds no part of this split; name another split, or a file")),
        None if several > 1 => Err(folder("holds parts of several splits; say which (train, dev or test), or name a file")),
        _ => Ok(files),
    }
}

/// The files with one of these endings that stand directly in a folder, by name.
pub(crate) fn listed(dir: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|source| DataError::io(dir, source))? {
        let path = entry.map_err(|source| DataError::io(dir, source))?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let ending = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        if path.is_file() && !hidden && endings.contains(&ending) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// What is done with a value and the line it ends on, counted from 1 (0 where there are none).
pub(crate) type TakeValue<'a> = &'a mut dyn FnMut(Value, usize) -> Result<(), DataError>;

/// Hands over every element of a JSON array, every value of JSON Lines, or every row of a Parquet file.
pub(crate) fn each_value(path: &Path, take: TakeValue<'_>) -> Result<(), DataError> {
    let io = |source| DataError::io(path, source);
    let mut file = File::open(path).map_err(io)?;
    // As far as the first thing that is no white space, and a bit more.
    let mut head = Vec::new();
    while head.trim_ascii().is_empty() && file.by_ref().take(64).read_to_end(&mut head).map_err(io)? > 0 {}
    file.by_ref().take(64).read_to_end(&mut head).map_err(io)?;
    let head = &head[..];
    if is_utf16(head) {
        // Rare: decoded at once.
        let text = read_text(path)?;
        return each_in_text(path, text.as_bytes(), &mut Cursor::new(text.as_bytes()), take);
    }
    if head.starts_with(b"PAR1") {
        return parquet_rows(path, take);
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    file.seek(SeekFrom::Start((head.len() - text.len()) as u64)).map_err(io)?;
    each_in_text(path, text, &mut file, take)
}

/// The values of a text that begins with `head`.
fn each_in_text(path: &Path, head: &[u8], text: &mut dyn Read, take: TakeValue<'_>) -> Result<(), DataError> {
    let not = |got: &str| DataError::WrongKind { path: path.to_path_buf(), expected: "a JSON or Parquet file", got: got.into() };
    let reader = Shared(RefCell::new(PythonJson::new(text)));
    let read = match head.trim_ascii_start() {
        [] => Err(DataError::Empty { path: path.to_path_buf() }),
        [b'[', ..] => array(path, &reader, take),
        [0x1f, 0x8b, ..] => Err(not("a gzip archive")),
        [b'<', ..] => Err(not("a web page; the download was answered with an error page")),
        start if start.starts_with(b"version https://git-lfs") => Err(not("a Git LFS pointer; fetch the file that it stands for")),
        _ => lines(path, &reader, take),
    };
    note_halves(path, reader.0.borrow().halves());
    read
}

/// A reader whose line can be asked for while it is read.
struct Shared<R>(RefCell<PythonJson<R>>);

impl<R: Read> Shared<R> {
    fn line(&self) -> usize {
        self.0.borrow().line()
    }
}

impl<R: Read> Read for &Shared<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// One value after the other; a file that is one object has one.
fn lines(path: &Path, reader: &Shared<impl Read>, take: TakeValue<'_>) -> Result<(), DataError> {
    for value in serde_json::Deserializer::from_reader(reader).into_iter::<Value>() {
        take(value.map_err(|source| json(path, source))?, reader.line())?;
    }
    Ok(())
}

/// The elements of an array, without holding all of them.
fn array(path: &Path, reader: &Shared<impl Read>, take: TakeValue<'_>) -> Result<(), DataError> {
    struct Elements<'a, 'b> {
        take: TakeValue<'a>,
        line: &'b dyn Fn() -> usize,
        failed: &'b mut Option<DataError>,
    }
    impl<'de> Visitor<'de> for Elements<'_, '_> {
        type Value = ();
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array of records")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
            while let Some(value) = elements.next_element::<Value>()? {
                if let Err(error) = (self.take)(value, (self.line)()) {
                    *self.failed = Some(error);
                    return Err(A::Error::custom("stopped"));
                }
            }
            Ok(())
        }
    }
    let mut failed = None;
    let mut deserializer = serde_json::Deserializer::from_reader(reader);
    let read =
        deserializer.deserialize_seq(Elements { take, line: &|| reader.line(), failed: &mut failed }).and_then(|()| deserializer.end());
    match failed {
        Some(error) => Err(error),
        None => read.map_err(|source| json(path, source)),
    }
}

pub(crate) fn json(path: &Path, source: serde_json::Error) -> DataError {
    match source.io_error_kind() {
        Some(_) => DataError::io(path, source.into()),
        None => DataError::Json { path: path.to_path_buf(), source },
    }
}

fn parquet_rows(path: &Path, take: TakeValue<'_>) -> Result<(), DataError> {
    let bad = |source| DataError::Parquet { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(|source| DataError::io(path, source))?;
    let reader = SerializedFileReader::new(file).map_err(bad)?;
    for row in reader.get_row_iter(None).map_err(bad)? {
        take(of_row(&row.map_err(bad)?), 0)?;
    }
    Ok(())
}

fn of_row(row: &Row) -> Value {
    Value::Object(row.get_column_iter().map(|(name, field)| (name.clone(), of_field(field))).collect())
}

/// A field as JSON; kinds that no dataset of ours has become their text.
fn of_field(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => Value::from(*value),
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        Field::Float(value) => Value::from(*value),
        Field::Double(value) => Value::from(*value),
        Field::Str(text) => Value::from(text.as_str()),
        Field::Group(row) => of_row(row),
        Field::ListInternal(list) => list.elements().iter().map(of_field).collect(),
        other => Value::from(other.to_string()),
    }
}

/// A field that holds text, or a number whose text is meant: some sets hold counts and years as numbers.
pub(crate) fn text_of(record: &Map<String, Value>, name: &str) -> Result<String, String> {
    let value = crate::record::field(record, name)?;
    text_in(value).ok_or_else(|| format!("field `{name}` holds {} - expected a string or a number", kind(value)))
}

/// A text, or the text of a number.
pub(crate) fn text_in(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
