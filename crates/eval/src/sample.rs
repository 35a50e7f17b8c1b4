//! Per-sample results, one JSON object a line, under the official field names.
//!
//! A sample file is checked whenever it is read: line by line, every index at its place, nothing that no evaluation can
//! have written. What passes is what was predicted, once each.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::EvalError;
use crate::task::TOP;

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

/// What the samples of the three tasks have in common.
pub trait Sample: Serialize + DeserializeOwned {
    /// Place in the dataset, and so in the file.
    fn index(&self) -> usize;

    /// What was asked, field by field: equal in every row of a task and dataset, whatever came back.
    fn asked(&self) -> Vec<(&'static str, String)>;

    /// Why no evaluation can have written this sample, if it is so.
    fn fault(&self) -> Option<String> {
        None
    }
}

impl Sample for ReconstructionSample {
    fn index(&self) -> usize {
        self.index
    }

    fn asked(&self) -> Vec<(&'static str, String)> {
        vec![("index", self.index.to_string()), ("reference", self.reference.clone())]
    }
}

impl Sample for QaSample {
    fn index(&self) -> usize {
        self.index
    }

    fn asked(&self) -> Vec<(&'static str, String)> {
        vec![
            ("index", self.index.to_string()),
            ("reference", self.reference.clone()),
            ("question", self.question.clone()),
            ("answer", self.answer.clone()),
        ]
    }
}

impl Sample for RetrievalSample {
    fn index(&self) -> usize {
        self.index
    }

    fn asked(&self) -> Vec<(&'static str, String)> {
        vec![
            ("index", self.index.to_string()),
            ("question", self.question.clone()),
            ("hit_list", format!("{:?}", self.hit_list)),
            ("ref_num", self.ref_num.to_string()),
        ]
    }

    fn fault(&self) -> Option<String> {
        let Self { hit_list, prediction, ref_num, .. } = self;
        let repeated = |list: &[usize]| (1..list.len()).any(|i| list[..i].contains(&list[i]));
        let outside = |list: &[usize]| list.iter().any(|i| i >= ref_num);
        let shown = |list: &[usize]| format!("{list:?}");
        if *ref_num == 0 {
            return Some("got `ref_num` 0, expected at least one passage to search".into());
        }
        if outside(hit_list) || repeated(hit_list) {
            let got = shown(hit_list);
            return Some(format!("got `hit_list` {got}, expected each of the {ref_num} passages (from 0) at most once"));
        }
        let top = TOP.min(*ref_num);
        if prediction.len() != top || outside(prediction) || repeated(prediction) {
            let got = shown(prediction);
            return Some(format!("got `prediction` {got}, expected {top} different ones of the {ref_num} passages (from 0)"));
        }
        None
    }
}

/// The lines of a JSON-lines file, and whether the last one was cut off.
#[derive(Debug)]
pub struct Lines<S> {
    /// What the whole lines hold, each with its number in the file (from 1).
    pub items: Vec<(usize, S)>,
    /// The number of a last line without an end that is not whole JSON: what a kill leaves.
    pub cut: Option<usize>,
}

/// Reads a JSON-lines file: blank lines are skipped, and the last line counts whether or not a newline ends it.
///
/// A file that does not exist has no lines.
///
/// # Errors
/// [`EvalError::Sample`] for a line that does not fit, other than a last one that was cut off.
pub fn read_lines<S: DeserializeOwned>(path: &Path) -> Result<Lines<S>, EvalError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(reason) => return Err(EvalError::Io { path: path.to_owned(), reason }),
    };
    let mut lines = Lines { items: Vec::new(), cut: None };
    let mut rest = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut number = 0;
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n');
        let (line, after) = end.map_or((rest, &[][..]), |end| (&rest[..end], &rest[end + 1..]));
        (rest, number) = (after, number + 1);
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line.trim_ascii()) {
            Ok(item) => lines.items.push((number, item)),
            // Whole JSON that does not fit is no line that was cut off.
            Err(_) if end.is_none() && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err() => lines.cut = Some(number),
            Err(e) => return Err(EvalError::Sample { path: path.to_owned(), line: number, reason: e.to_string() }),
        }
    }
    Ok(lines)
}

/// The samples of a file in their order, each at its place; a file that does not exist has none.
///
/// # Errors
/// [`EvalError::Sample`] names the line that is not a sample, is there twice or stands at another's place, or that no
/// evaluation can have written; [`EvalError::Unfinished`] a last line that was cut off.
pub fn read_samples<S: Sample>(path: &Path) -> Result<Vec<S>, EvalError> {
    let lines = read_lines(path)?;
    match lines.cut {
        Some(line) => Err(EvalError::Unfinished {
            path: path.to_owned(),
            reason: format!("line {line} is cut off, as a killed run leaves it, after {} whole samples", lines.items.len()),
        }),
        None => in_order(path, lines.items),
    }
}

/// Refuses samples that are not those of places 0, 1, 2 and so on.
fn in_order<S: Sample>(path: &Path, items: Vec<(usize, S)>) -> Result<Vec<S>, EvalError> {
    let mut samples: Vec<S> = Vec::with_capacity(items.len());
    for (line, sample) in items {
        let (got, place) = (sample.index(), samples.len());
        let reason = match got.cmp(&place) {
            std::cmp::Ordering::Less => Some(format!("index {got} is there for the second time, expected {place}")),
            std::cmp::Ordering::Greater => Some(format!("got index {got}, expected {place}: samples are missing or in another order")),
            std::cmp::Ordering::Equal => sample.fault(),
        };
        if let Some(reason) = reason {
            return Err(EvalError::Sample { path: path.to_owned(), line, reason });
        }
        samples.push(sample);
    }
    Ok(samples)
}

/// What was in a sample file when its evaluation began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resumed {
    /// Samples that were kept.
    pub kept: usize,
    /// Samples that were dropped, because they are of other items than those of the dataset or of more than it has.
    pub dropped: usize,
}

/// Continues a sample file after those of its samples that belong to the dataset.
///
/// Nothing is written before there is something to write: a finished file may be read-only.
pub(crate) struct SampleWriter {
    file: Option<std::fs::File>,
    path: PathBuf,
}

impl SampleWriter {
    /// Opens a file for the samples of `items`, whose answers are still empty. Samples of other items are dropped with all
    /// others, those beyond the last item alone: nothing is kept that is not asked.
    pub(crate) fn open<S: Sample>(path: &Path, items: &[S]) -> Result<(Self, Resumed), EvalError> {
        let io = |reason| EvalError::Io { path: path.to_owned(), reason };
        let mut done: Vec<S> = in_order(path, read_lines(path)?.items)?;
        let found = done.len();
        done.truncate(items.len());
        if done.iter().zip(items).any(|(done, item)| done.asked() != item.asked()) {
            done.clear();
        }
        // What a kill left half-written is cut, so that appending starts on a fresh line.
        let text = lines_of(&done).map_err(io)?;
        if std::fs::read(path).unwrap_or_default() != text {
            nextmem_model::write_atomically(path, &text)?;
        }
        let resumed = Resumed { kept: done.len(), dropped: found - done.len() };
        Ok((Self { file: None, path: path.to_owned() }, resumed))
    }

    pub(crate) fn append<S: Serialize>(&mut self, samples: &[S]) -> Result<(), EvalError> {
        self.write(samples).map_err(|reason| EvalError::Io { path: self.path.clone(), reason })
    }

    fn write<S: Serialize>(&mut self, samples: &[S]) -> std::io::Result<()> {
        let lines = lines_of(samples)?;
        let mut file = match self.file.take() {
            Some(file) => file,
            None => std::fs::OpenOptions::new().create(true).append(true).open(&self.path)?,
        };
        file.write_all(&lines)?;
        self.file = Some(file);
        Ok(())
    }
}

fn lines_of<S: Serialize>(samples: &[S]) -> std::io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for sample in samples {
        serde_json::to_writer(&mut lines, sample)?;
        lines.push(b'\n');
    }
    Ok(lines)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample(index: usize) -> RetrievalSample {
        RetrievalSample { index, question: format!("q{index}"), hit_list: vec![1], prediction: vec![0, 2, 1], ref_num: 3 }
    }

    fn text(samples: &[RetrievalSample]) -> String {
        String::from_utf8(lines_of(samples).unwrap()).unwrap()
    }

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<RetrievalSample>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        std::fs::write(&path, text).unwrap();
        read_samples(&path).map_err(|e| e.to_string().strip_prefix(&path.display().to_string()).unwrap().to_string())
    }

    #[test]
    fn a_half_written_line_is_redone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        let items = [sample(0), sample(1)];
        let (mut writer, resumed) = SampleWriter::open(&path, &items).unwrap();
        assert_eq!(resumed, Resumed::default());
        writer.append(&items).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        // Cut in the line, in the middle of a character, and before the newline alone.
        for (left, kept) in [(&whole.as_bytes()[..whole.len() - 9], 1), (&[whole.as_bytes(), b"{\"question\":\"\xc3"].concat(), 2)] {
            std::fs::write(&path, left).unwrap();
            let (mut writer, resumed) = SampleWriter::open(&path, &items).unwrap();
            assert_eq!(resumed, Resumed { kept, dropped: 0 });
            writer.append(&items[kept..]).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
        }
        std::fs::write(&path, whole.trim_end()).unwrap();
        assert_eq!(SampleWriter::open(&path, &items).unwrap().1, Resumed { kept: 2, dropped: 0 });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), whole);
    }

    #[test]
    fn a_dataset_that_grows_is_continued_and_another_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        let of = |count| (0..count).map(sample).collect::<Vec<_>>();
        let open = |items: &[RetrievalSample]| SampleWriter::open(&path, items).unwrap().1;
        SampleWriter::open(&path, &of(3)).unwrap().0.append(&of(3)).unwrap();
        assert_eq!(open(&of(5)), Resumed { kept: 3, dropped: 0 });
        assert_eq!(open(&of(2)), Resumed { kept: 2, dropped: 1 });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text(&of(2)));
        let mut other = of(2);
        other[1].question = "another".into();
        assert_eq!(open(&other), Resumed { kept: 0, dropped: 2 });
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
    }

    #[test]
    fn every_end_of_a_line_counts() {
        let all = [sample(0), sample(1), sample(2)];
        let lines = text(&all);
        for same in [
            lines.clone(),
            lines.trim_end().to_string(),
            lines.replace('\n', "\r\n"),
            format!("\u{feff}\n{}\n \n", lines.replace('\n', "\n\n")),
        ] {
            assert_eq!(read(&same).unwrap(), all, "{same:?}");
        }
        assert_eq!(read("").unwrap(), []);
        let cut = read(&lines[..lines.len() - 5]).unwrap_err();
        assert!(cut.starts_with(": line 3 is cut off") && cut.contains("after 2 whole samples") && cut.contains("nextmem run"), "{cut}");
        // An end that is whole JSON, or a cut line with another below it, is not what a kill leaves.
        assert!(read(format!("{lines}7")).unwrap_err().starts_with(": line 4: "));
        assert!(read(format!("{}\n{lines}", &lines[..20])).unwrap_err().starts_with(": line 1: "));
    }

    #[test]
    fn every_index_stands_at_its_place() {
        let refused = |order: &[usize], expected: &str| {
            let error = read(text(&order.iter().map(|i| sample(*i)).collect::<Vec<_>>())).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        };
        refused(&[0, 1, 0, 1], ": line 3: index 0 is there for the second time, expected 2");
        refused(&[0, 0], ": line 2: index 0 is there for the second time");
        refused(&[2, 1, 0], ": line 1: got index 2, expected 0");
        refused(&[0, 1, 3], ": line 3: got index 3, expected 2");
        // The writer continues none of them either.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        std::fs::write(&path, text(&[sample(0), sample(0)])).unwrap();
        assert!(SampleWriter::open(&path, &[sample(0)]).is_err());
    }

    #[test]
    fn rankings_that_cannot_be() {
        let fault = |hit_list: &[usize], prediction: &[usize], ref_num: usize| {
            let (hit_list, prediction) = (hit_list.to_vec(), prediction.to_vec());
            read(text(&[RetrievalSample { hit_list, prediction, ref_num, ..sample(0) }])).err().unwrap_or_default()
        };
        assert_eq!(fault(&[1, 0], &[2, 1, 0], 3), "");
        assert_eq!(fault(&[9], &[9, 1, 0, 2, 5], 20), "");
        assert!(fault(&[1], &[], 0).contains("line 1: got `ref_num` 0"));
        for hits in [&[3][..], &[1, 1]] {
            assert!(fault(hits, &[2, 1, 0], 3).contains("`hit_list`"), "{hits:?}");
        }
        for ranked in [&[0, 0, 0, 0, 0][..], &[0, 1, 2], &[0, 1, 2, 3, 20], &[0, 1, 2, 3, 4, 5]] {
            assert!(fault(&[1], ranked, 20).contains("expected 5 different ones of the 20 passages"), "{ranked:?}");
        }
    }

    #[test]
    fn a_malformed_line_is_named() {
        let error = read("{\"index\": 0}\n").unwrap_err();
        assert!(error.contains("line 1") && error.contains("question"), "{error}");
    }
}
