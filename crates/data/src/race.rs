//! RACE: the official folder, the official archive as it is, and the hub's layout.

use std::collections::HashSet;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::{Map, Value};

use crate::note::note_halves;
use crate::prepare::DatasetName;
use crate::record::{array, object, string};
use crate::rows::{each_row, files_of, listed};
use crate::{DataError, Split, decode_text, python_json};

/// Most bytes of one article in an archive; the longest of the official ones is far below.
const MAX_ARTICLE_BYTES: u64 = 16 << 20;

/// What a RACE folder, archive or file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Race {
    /// The passages, each once: high school before middle school and then by number in the official layout, in the
    /// order of the rows in the hub's.
    pub passages: Vec<String>,
    /// Number of records: articles in the official layout, questions in the hub's.
    pub records: usize,
    /// Number of questions.
    pub questions: usize,
    /// Number of records whose passage had been seen before.
    pub repeated: usize,
    /// Number of records with a blank passage, left out.
    pub blank: usize,
    /// What was read.
    pub files: Vec<PathBuf>,
}

/// Returns the passages of one split of RACE.
///
/// `from` is the official folder `RACE` (`RACE/{train,dev,test}/{middle,high}/N.txt`), one of the folders in it, the
/// official `RACE.tar.gz`, a `.jsonl` or `.parquet` file with one question a row (or one article a row), or a folder of
/// such files. `split` chooses where `from` holds several; a single file is read whole.
///
/// # Errors
/// [`DataError`], naming the file (of an archive, the article in it), and the record and field where one is at fault.
pub fn load_race(from: impl AsRef<Path>, split: Split) -> Result<Race, DataError> {
    let from = from.as_ref();
    let mut collected = Collected::default();
    let articles = if from.is_dir() { articles_below(&root(from, split))? } else { Vec::new() };
    if !articles.is_empty() {
        for path in &articles {
            collected.file(path)?;
        }
        collected.race.files = articles;
    } else if is_gzip(from)? {
        collected.archive(from, split)?;
        collected.race.files = vec![from.to_path_buf()];
    } else {
        let files = files_of(from, Some(split))?;
        for path in &files {
            collected.file(path)?;
        }
        collected.race.files = files;
    }
    match collected.race.records {
        0 => Err(DataError::Empty { path: from.to_path_buf() }),
        _ => Ok(collected.race),
    }
}

#[derive(Default)]
struct Collected {
    race: Race,
    seen: HashSet<String>,
}

impl Collected {
    fn file(&mut self, path: &Path) -> Result<(), DataError> {
        each_row(path, DatasetName::Race, &mut |_, row| self.row(row)).map(|_| ())
    }

    /// The articles of a split, in the order in which the folder would give them.
    fn archive(&mut self, path: &Path, split: Split) -> Result<(), DataError> {
        let bad = |source| DataError::Archive { path: path.to_path_buf(), source };
        let file = std::fs::File::open(path).map_err(|source| DataError::io(path, source))?;
        let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
        let mut articles = Vec::new();
        for entry in archive.entries().map_err(bad)? {
            let entry = entry.map_err(bad)?;
            let name = entry.path().map_err(bad)?.into_owned();
            let within = name.components().any(|part| part.as_os_str() == folder(split));
            if !entry.header().entry_type().is_file() || !within || !is_article(&name) {
                continue;
            }
            let mut text = Vec::new();
            entry.take(MAX_ARTICLE_BYTES).read_to_end(&mut text).map_err(bad)?;
            articles.push((name, text));
        }
        if articles.is_empty() {
            let reason = "holds no RACE/SPLIT/{middle,high}/N.txt of this split; expected the official RACE.tar.gz";
            return Err(DataError::Folder { path: path.to_path_buf(), reason });
        }
        articles.sort_by_key(|(name, _)| order(name));
        for (name, text) in articles {
            let inside = path.join(name);
            let text = decode_text(&inside, text)?;
            let (text, lost) = python_json(&text);
            note_halves(&inside, lost);
            let value: Value = serde_json::from_str(&text).map_err(|source| DataError::Json { path: inside.clone(), source })?;
            let row = object(&value).and_then(|row| self.row(row));
            row.map_err(|reason| DataError::Malformed { path: inside, index: 0, reason })?;
        }
        Ok(())
    }

    fn row(&mut self, row: &Map<String, Value>) -> Result<(), String> {
        let article = string(row, "article")?;
        self.race.records += 1;
        self.race.questions += questions(row)?;
        if article.trim().is_empty() {
            self.race.blank += 1;
        } else if self.seen.insert(article.clone()) {
            self.race.passages.push(article);
        } else {
            self.race.repeated += 1;
        }
        Ok(())
    }
}

/// How many questions a record has: several in the official layout, one in the hub's.
fn questions(row: &Map<String, Value>) -> Result<usize, String> {
    if !row.contains_key("questions") {
        string(row, "question")?;
        string(row, "answer")?;
        array(row, "options")?;
        return Ok(1);
    }
    let (questions, options, answers) = (array(row, "questions")?.len(), array(row, "options")?.len(), array(row, "answers")?.len());
    match questions == options && questions == answers {
        true => Ok(questions),
        false => {
            Err(format!("fields `questions`, `options` and `answers` hold {questions}, {options} and {answers} - expected the same number"))
        }
    }
}

/// The name of a split in the official layout.
fn folder(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Valid => "dev",
        Split::Test => "test",
    }
}

/// The folder of the split, if `from` is the folder of all or the one around it.
fn root(from: &Path, split: Split) -> PathBuf {
    let candidates = [from.join(folder(split)), from.join("RACE").join(folder(split))];
    candidates.into_iter().find(|path| path.is_dir()).unwrap_or_else(|| from.to_path_buf())
}

/// The articles in a folder and in `middle` and `high` of it, in order.
fn articles_below(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut articles = listed(dir, &["txt"])?;
    for level in ["high", "middle"].map(|level| dir.join(level)).iter().filter(|level| level.is_dir()) {
        articles.extend(listed(level, &["txt"])?);
    }
    articles.sort_by_key(|path| order(path));
    Ok(articles)
}

fn is_article(path: &Path) -> bool {
    path.extension().is_some_and(|end| end == "txt") && path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.'))
}

/// The level, then the number: `high/2.txt` comes before `high/10.txt`.
fn order(path: &Path) -> (String, u64, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let level = text(path.parent().and_then(Path::file_name));
    let number = text(path.file_stem()).parse().unwrap_or(u64::MAX);
    (level, number, text(path.file_name()))
}

fn is_gzip(path: &Path) -> Result<bool, DataError> {
    let mut start = [0u8; 2];
    if path.is_dir() {
        return Ok(false);
    }
    let mut file = std::fs::File::open(path).map_err(|source| DataError::io(path, source))?;
    Ok(file.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARTICLES: [(&str, &str); 5] = [
        ("test/high/10.txt", "Ten."),
        ("test/high/2.txt", "Two."),
        ("test/middle/1.txt", "One."),
        ("test/middle/7.txt", "Two."),
        ("train/high/1.txt", "Train."),
    ];

    fn record(article: &str) -> String {
        format!(
            r#"{{"article": "{article}", "questions": ["a _", "b"], "options": [["w", "x", "y", "z"], ["w", "x", "y", "z"]], "answers": ["A", "B"], "id": "high1.txt"}}"#
        )
    }

    fn folder_of_all() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for (name, article) in ARTICLES {
            let path = dir.path().join("RACE").join(name);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            std::fs::write(path, record(article)).expect("a written file");
        }
        dir
    }

    #[test]
    fn the_folder_and_the_archive_give_the_same() {
        let dir = folder_of_all();
        let expected = ["Two.", "Ten.", "One."];
        for from in [dir.path().to_path_buf(), dir.path().join("RACE")] {
            let race = load_race(from, Split::Test).expect("a loaded folder");
            assert_eq!(race.passages, expected);
            assert_eq!((race.records, race.questions, race.repeated, race.files.len()), (4, 8, 1, 4));
        }
        assert_eq!(load_race(dir.path().join("RACE/test/middle"), Split::Train).expect("a loaded folder").passages, ["One.", "Two."]);

        let path = dir.path().join("RACE.tar.gz");
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut archive = tar::Builder::new(gzip);
        archive.append_dir_all("RACE", dir.path().join("RACE")).expect("an archive");
        let bytes = archive.into_inner().and_then(|gzip| gzip.finish()).expect("an archive");
        std::fs::write(&path, &bytes).expect("a written file");
        let race = load_race(&path, Split::Test).expect("a loaded archive");
        assert_eq!((&race.passages[..], race.records), (&expected.map(String::from)[..], 4));
        assert_eq!(load_race(&path, Split::Train).expect("a loaded archive").passages, ["Train."]);
        assert!(load_race(&path, Split::Valid).expect_err("a failure").to_string().contains("holds no RACE/SPLIT"));

        std::fs::write(&path, &bytes[..bytes.len() / 2]).expect("a written file");
        assert!(matches!(load_race(&path, Split::Test), Err(DataError::Archive { .. })));
    }

    #[test]
    fn the_hub_layout_has_a_question_a_row() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let row = |article: &str| {
            format!(
                r#"{{"example_id": "high1.txt", "article": "{article}", "answer": "A", "question": "q", "options": ["w", "x", "y", "z"]}}"#
            )
        };
        let rows = [row("One."), row("One."), row("Two."), row(" ")].join("\n");
        std::fs::write(dir.path().join("test-00000-of-00001.jsonl"), &rows).expect("a written file");
        std::fs::write(dir.path().join("train-00000-of-00001.jsonl"), row("Train.")).expect("a written file");
        let race = load_race(dir.path(), Split::Test).expect("a loaded folder");
        assert_eq!(race.passages, ["One.", "Two."]);
        assert_eq!((race.records, race.questions, race.repeated, race.blank, race.files.len()), (4, 4, 1, 1, 1));
        assert_eq!(load_race(dir.path().join("train-00000-of-00001.jsonl"), Split::Test).expect("a loaded file").passages, ["Train."]);
        assert!(load_race(dir.path(), Split::Valid).expect_err("a failure").to_string().contains("no part of this split"));
    }

    #[test]
    fn a_malformed_article_is_named() {
        let dir = folder_of_all();
        let path = dir.path().join("RACE/test/high/10.txt");
        std::fs::write(&path, record("Ten.").replace(r#"["A", "B"]"#, r#"["A"]"#)).expect("a written file");
        let error = load_race(dir.path(), Split::Test).expect_err("a failure").to_string();
        assert!(error.contains("10.txt") && error.contains("hold 2, 2 and 1 - expected the same number"), "{error}");
        std::fs::write(&path, "{").expect("a written file");
        let error = load_race(dir.path(), Split::Test).expect_err("a failure");
        assert!(matches!(&error, DataError::Json { path, .. } if path.ends_with("10.txt")), "{error}");
        let empty = tempfile::tempdir().expect("a temporary folder");
        assert!(matches!(load_race(empty.path(), Split::Test), Err(DataError::Folder { .. })));
    }
}
