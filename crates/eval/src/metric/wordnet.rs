//! Synonyms from the files of Princeton's WordNet 3.x (`index.*`, `data.*`, `*.exc`), as NLTK's reader finds them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::EvalError;

/// File suffix, mark in the index and endings that inflection puts in place of others.
struct Kind {
    suffix: &'static str,
    mark: &'static str,
    endings: &'static [(&'static str, &'static str)],
}

/// NLTK's `MORPHOLOGICAL_SUBSTITUTIONS`; adjective satellites are in the adjectives' files.
const KINDS: [Kind; 4] = [
    Kind {
        suffix: "noun",
        mark: "n",
        endings: &[
            ("s", ""),
            ("ses", "s"),
            ("ves", "f"),
            ("xes", "x"),
            ("zes", "z"),
            ("ches", "ch"),
            ("shes", "sh"),
            ("men", "man"),
            ("ies", "y"),
        ],
    },
    Kind {
        suffix: "verb",
        mark: "v",
        endings: &[("s", ""), ("ies", "y"), ("es", "e"), ("es", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")],
    },
    Kind { suffix: "adj", mark: "a", endings: &[("er", ""), ("est", ""), ("er", "e"), ("est", "e")] },
    Kind { suffix: "adv", mark: "r", endings: &[] },
];

/// The words of a part of speech, the synsets they are in, and irregular forms.
#[derive(Debug, Default)]
struct Part {
    index: HashMap<String, Vec<usize>>,
    exceptions: HashMap<String, Vec<String>>,
    /// Words by offset in the data file.
    synsets: HashMap<usize, Vec<String>>,
}

/// A WordNet read into memory (about 60 MB for version 3.0).
#[derive(Debug)]
pub struct WordNet {
    parts: [Part; 4],
    version: String,
}

impl WordNet {
    /// Reads `index.`, `data.` and `.exc` of noun, verb, adj and adv from a WordNet `dict` directory.
    ///
    /// # Errors
    /// [`EvalError::Io`] for a file that cannot be read; [`EvalError::WordNet`] with file and line for one that is no
    /// WordNet file, and for an index that points nowhere (files of different versions, or with other line ends).
    pub fn open(dir: &Path) -> Result<WordNet, EvalError> {
        let mut parts: [Part; 4] = Default::default();
        let mut version = None;
        for (kind, part) in KINDS.iter().zip(&mut parts) {
            let file = File::read(dir.join(format!("data.{}", kind.suffix)))?;
            part.synsets = file.synsets()?;
            version = version.or_else(|| file.version());
            part.index = File::read(dir.join(format!("index.{}", kind.suffix)))?.index(kind, &part.synsets)?;
            part.exceptions = File::read(dir.join(format!("{}.exc", kind.suffix)))?.exceptions();
        }
        Ok(WordNet { parts, version: version.unwrap_or_else(|| "of unknown version".into()) })
    }

    /// The version in the licence at the head of the files, like `3.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The single words in every synset of a lower-case word or of its base forms, of any part of speech.
    ///
    /// With repeats, in the spelling of the data files ("Paris"); words of several parts ("ice_cream") are left out.
    ///
    /// # Reference
    /// nltk 3.10.4 `WordNetCorpusReader.synsets`, the loop of `_enum_wordnetsyn_match`.
    pub fn synonyms<'a>(&'a self, word: &'a str) -> impl Iterator<Item = &'a str> {
        let of_part = move |(part, kind): (&'a Part, &'a Kind)| {
            base_forms(word, part, kind).into_iter().flat_map(move |form| part.index[&form].iter().flat_map(|at| &part.synsets[at]))
        };
        self.parts.iter().zip(&KINDS).flat_map(of_part).map(String::as_str).filter(|word| !word.contains('_'))
    }
}

/// The word and what it may be a form of, as far as the index knows them. An irregular form follows no rule.
fn base_forms(word: &str, part: &Part, kind: &Kind) -> Vec<String> {
    let mut forms = vec![word.to_string()];
    match part.exceptions.get(word) {
        Some(bases) => forms.extend(bases.iter().cloned()),
        None => forms.extend(kind.endings.iter().filter_map(|(end, base)| Some(word.strip_suffix(end)?.to_string() + base))),
    }
    forms.retain(|form| part.index.contains_key(form));
    forms
}

/// A file and its text.
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn read(path: PathBuf) -> Result<Self, EvalError> {
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(File { path, text }),
            Err(reason) => Err(EvalError::Io { path, reason }),
        }
    }

    /// Lines with their number from 1 and their offset in bytes; the licence is indented.
    fn lines(&self) -> impl Iterator<Item = (usize, usize, &str)> {
        let mut offset = 0;
        let all = self.text.split_inclusive('\n').enumerate().map(move |(i, line)| {
            offset += line.len();
            (i + 1, offset - line.len(), line.trim_end())
        });
        all.filter(|(_, _, line)| !line.is_empty() && !line.starts_with(' '))
    }

    fn bad(&self, line: usize, expected: &str) -> EvalError {
        EvalError::WordNet { path: self.path.clone(), line, expected: expected.to_string() }
    }

    /// `WordNet 3.0 Copyright` in the licence.
    fn version(&self) -> Option<String> {
        let licence = self.text.lines().take_while(|line| line.starts_with(' '));
        let between = |line: &str| Some(line.split_once("WordNet ")?.1.split_once(" Copyright")?.0.to_string());
        licence.filter_map(between).find(|version| version.starts_with(|c: char| c.is_ascii_digit()))
    }

    /// `offset file type count(hex) (word id)* ...`; an adjective's word may end with `(a)`, `(p)` or `(ip)`.
    fn synsets(&self) -> Result<HashMap<usize, Vec<String>>, EvalError> {
        let words = |line: &str| -> Option<(usize, Vec<String>)> {
            let mut fields = line.split_whitespace();
            let offset = fields.next()?.parse().ok()?;
            let count = usize::from_str_radix(fields.nth(2)?, 16).ok()?;
            let mut words = Vec::new();
            for _ in 0..count {
                let word = fields.next()?;
                fields.next()?;
                let marked = word.strip_suffix(')').and_then(|inner| inner.rsplit_once('('));
                words.push(marked.map_or(word, |(word, _)| word).to_string());
            }
            Some((offset, words))
        };
        let mut synsets = HashMap::new();
        for (number, offset, line) in self.lines() {
            match words(line) {
                Some((at, words)) if at == offset => synsets.insert(at, words),
                Some((at, _)) => return Err(self.bad(number, &format!("offset {offset}, where the line starts, got {at}"))),
                None => return Err(self.bad(number, "`offset file type count` and `count` words with ids")),
            };
        }
        Ok(synsets)
    }

    /// `lemma pos synsets pointers symbol* senses tagged offset*`
    fn index(&self, kind: &Kind, synsets: &HashMap<usize, Vec<String>>) -> Result<HashMap<String, Vec<usize>>, EvalError> {
        let entry = |line: &str| -> Option<(String, Vec<usize>)> {
            let mut fields = line.split_whitespace();
            let (lemma, mark) = (fields.next()?, fields.next()?);
            let count: usize = fields.next()?.parse().ok().filter(|count| *count > 0)?;
            let pointers: usize = fields.next()?.parse().ok()?;
            let senses: usize = fields.nth(pointers)?.parse().ok()?;
            let offsets: Vec<usize> = fields.skip(1).take(count).map_while(|field| field.parse().ok()).collect();
            (mark == kind.mark && senses == count && offsets.len() == count).then(|| (lemma.to_string(), offsets))
        };
        let mut index = HashMap::new();
        for (number, _, line) in self.lines() {
            let Some((lemma, offsets)) = entry(line) else {
                return Err(self.bad(number, "`lemma part-of-speech synsets pointers ... senses tagged offsets`"));
            };
            if let Some(offset) = offsets.iter().find(|offset| !synsets.contains_key(offset)) {
                return Err(self.bad(number, &format!("a synset of data.{} at offset {offset}", kind.suffix)));
            }
            index.insert(lemma, offsets);
        }
        Ok(index)
    }

    /// `form base*`
    fn exceptions(&self) -> HashMap<String, Vec<String>> {
        let entry = |line: &str| {
            let mut fields = line.split_whitespace().map(String::from);
            Some((fields.next()?, fields.collect()))
        };
        self.lines().filter_map(|(_, _, line)| entry(line)).collect()
    }
}
