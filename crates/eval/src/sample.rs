//! Per-sample results, one JSON object a line, under the official field names.

use std::io::Write;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::EvalError;

/// Task 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReconstructionSample {
    /// Place in the dataset.
    pub index: usize,
    /// The passage.
    pub reference: String,
    /// What came back.
    pub reconstruction: String,
    /// Whitespace words of the passage.
    pub word_num: usize,
    /// Bytes the memory takes in storage (not in the official files).
    #[serde(default)]
    pub memory_bytes: usize,
}

/// Task 2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QaSample {
    /// Place in the dataset.
    pub index: usize,
    /// The passage.
    pub reference: String,
    /// The question.
    pub question: String,
    /// The gold answer.
    pub answer: String,
    /// The model's answer.
    pub prediction: String,
    /// Whitespace words of the passage.
    pub ref_word_num: usize,
}

/// Task 3.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalSample {
    /// Place in the dataset.
    pub index: usize,
    /// The question.
    pub question: String,
    /// Indices of the passages that answer it.
    pub hit_list: Vec<usize>,
    /// The five nearest passages, nearest first.
    pub prediction: Vec<usize>,
    /// Passages searched.
    pub ref_num: usize,
}

/// Reads the whole lines of a sample file; a line cut off by a kill is dropped, anything else malformed is an error.
///
/// A file that does not exist has no samples.
pub fn read_samples<S: DeserializeOwned>(path: &Path) -> Result<Vec<S>, EvalError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(EvalError::Io { path: path.to_owned(), source }),
    };
    let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
    whole
        .lines()
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_str(line).map_err(|e| EvalError::Sample { path: path.to_owned(), line: i + 1, reason: e.to_string() })
        })
        .collect()
}

/// Continues a sample file after its whole lines.
pub(crate) struct SampleWriter {
    file: std::fs::File,
    path: std::path::PathBuf,
}

impl SampleWriter {
    pub(crate) fn open<S: DeserializeOwned + Serialize>(path: &Path) -> Result<(Self, Vec<S>), EvalError> {
        let io = |source| EvalError::Io { path: path.to_owned(), source };
        let done: Vec<S> = read_samples(path)?;
        // Cut what a killed run left half-written, so that appending starts on a fresh line.
        let text = std::fs::read(path).unwrap_or_default();
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path).map_err(io)?;
        file.set_len(whole as u64).map_err(io)?;
        Ok((Self { file, path: path.to_owned() }, done))
    }

    pub(crate) fn append<S: Serialize>(&mut self, samples: &[S]) -> Result<(), EvalError> {
        let mut lines = Vec::new();
        for sample in samples {
            serde_json::to_writer(&mut lines, sample).map_err(|e| EvalError::Io { path: self.path.clone(), source: e.into() })?;
            lines.push(b'\n');
        }
        self.file.write_all(&lines).map_err(|source| EvalError::Io { path: self.path.clone(), source })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample(index: usize) -> RetrievalSample {
        RetrievalSample { index, question: "q".into(), hit_list: vec![1], prediction: vec![0, 1], ref_num: 3 }
    }

    #[test]
    fn a_half_written_line_is_redone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        let (mut writer, done) = SampleWriter::open::<RetrievalSample>(&path).unwrap();
        assert!(done.is_empty());
        writer.append(&[sample(0), sample(1)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();
        let (mut writer, done) = SampleWriter::open::<RetrievalSample>(&path).unwrap();
        assert_eq!(done, [sample(0)]);
        writer.append(&[sample(1)]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        std::fs::write(&path, "{\"index\": 0}\n").unwrap();
        let error = read_samples::<RetrievalSample>(&path).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("question"), "{error}");
    }
}
