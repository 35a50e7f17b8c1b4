//! Real running text, cut into passages.

use std::ops::Range;
use std::path::Path;

use crate::{DataError, Split, lines, read_text};

/// Share of the sentences, in percent from the start, where training text ends.
const TRAIN_END: usize = 90;

/// Share of the sentences, in percent from the start, where validation text ends.
const VALID_END: usize = 95;

/// Words with a full stop that does not end a sentence.
const ABBREVIATIONS: [&str; 11] = ["mr", "mrs", "ms", "dr", "st", "messrs", "etc", "vol", "col", "capt", "rev"];

/// The sentences of a text file, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextCorpus {
    sentences: Vec<String>,
}

impl TextCorpus {
    /// Returns the sentences of a text file ([`read_text`]) with one paragraph a line.
    ///
    /// # Errors
    /// [`DataError`] of [`read_text`], or [`DataError::Empty`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let corpus = Self::from_text(&read_text(path)?);
        if corpus.sentences.is_empty() {
            return Err(DataError::Empty { path: path.to_path_buf() });
        }
        Ok(corpus)
    }

    /// Returns the sentences of a text with one paragraph a line.
    pub fn from_text(text: &str) -> Self {
        let sentences = lines(text).flat_map(|(_, line)| sentences(line)).map(str::to_owned);
        Self { sentences: sentences.collect() }
    }

    /// Returns passages of whole, consecutive sentences with `min_words` to `max_words` words.
    ///
    /// Sentences are packed greedily, across paragraphs too (dialogue is full of tiny ones). A
    /// sentence longer than `max_words` is left out, and a pack that ends below `min_words` is too.
    /// The splits are contiguous regions, the first 90 % / next 5 % / last 5 % of the sentences, so
    /// no sentence of one is in another and neighbouring passages stay on one side.
    pub fn passages(&self, split: Split, min_words: usize, max_words: usize) -> Vec<String> {
        let mut passages = Vec::new();
        let mut pack = Vec::new();
        let mut pack_words = 0;
        for sentence in &self.sentences[self.region(split)] {
            let words = sentence.split_whitespace().count();
            if pack_words + words > max_words {
                flush(&mut pack, pack_words, min_words, &mut passages);
                pack_words = 0;
            }
            if words <= max_words {
                pack.push(sentence.as_str());
                pack_words += words;
            }
        }
        flush(&mut pack, pack_words, min_words, &mut passages);
        passages
    }

    fn region(&self, split: Split) -> Range<usize> {
        let cut = |percent: usize| self.sentences.len() * percent / 100;
        match split {
            Split::Train => 0..cut(TRAIN_END),
            Split::Valid => cut(TRAIN_END)..cut(VALID_END),
            Split::Test => cut(VALID_END)..self.sentences.len(),
        }
    }
}

fn flush(pack: &mut Vec<&str>, words: usize, min_words: usize, passages: &mut Vec<String>) {
    if !pack.is_empty() && words >= min_words {
        passages.push(pack.join(" "));
    }
    pack.clear();
}

/// Returns the sentences of a paragraph, without the white space around them.
///
/// A sentence ends at `.`, `!` or `?`, with any closing quotes or brackets, when white space and
/// then something that can start a sentence follow; not after a known abbreviation or an initial.
pub fn sentences(paragraph: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut rest = paragraph.char_indices().peekable();
    while let Some((at, mark)) = rest.next() {
        if !matches!(mark, '.' | '!' | '?') {
            continue;
        }
        let mut end = at + mark.len_utf8();
        while let Some(&(next, closing)) = rest.peek() {
            if !matches!(closing, '.' | '!' | '?' | '"' | '\'' | ')' | ']') {
                break;
            }
            end = next + closing.len_utf8();
            rest.next();
        }
        let tail = &paragraph[end..];
        let spaced = tail.starts_with(char::is_whitespace);
        let starts = tail.trim_start().trim_start_matches(['"', '\'', '(', '[']);
        let opens = starts.starts_with(|c: char| c.is_uppercase() || c.is_ascii_digit());
        if spaced && opens && !(mark == '.' && abbreviates(&paragraph[start..at])) {
            found.push(paragraph[start..end].trim());
            start = end;
        }
    }
    found.push(paragraph[start..].trim());
    found.retain(|sentence| !sentence.is_empty());
    found
}

/// Whether a full stop after `before` belongs to an abbreviation or an initial.
fn abbreviates(before: &str) -> bool {
    let word = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let initial = word.len() == 1 && word.chars().all(char::is_uppercase) && word != "I";
    initial || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn sentence_boundaries() {
        let text = r#""Is he married?" said Mr. Bennet. "Oh! Single, my dear!" J. Smith, so am I. Yes... no. 3 came"#;
        assert_eq!(
            sentences(text),
            [r#""Is he married?" said Mr. Bennet."#, r#""Oh!"#, r#"Single, my dear!""#, "J. Smith, so am I.", "Yes... no.", "3 came"]
        );
        assert!(sentences("  ").is_empty());
        assert_eq!(sentences("(She left.) He cried \u{e9}t\u{e9}."), ["(She left.)", "He cried \u{e9}t\u{e9}."]);
    }

    fn corpus() -> TextCorpus {
        let lines: Vec<String> = (0..400).map(|i| format!("Line {i} is here. {}End of {i}.", "Word ".repeat(i % 9))).collect();
        TextCorpus::from_text(&lines.join("\n"))
    }

    #[test]
    fn passages_are_bounded_and_disjoint() {
        let corpus = corpus();
        let splits = [Split::Train, Split::Valid, Split::Test];
        let texts = splits.map(|split| corpus.passages(split, 6, 11));
        assert!(texts[0].len() > 10 * texts[1].len() && !texts[1].is_empty() && !texts[2].is_empty());
        let mut seen = HashSet::new();
        for passage in texts.iter().flatten() {
            assert!((6..=11).contains(&passage.split_whitespace().count()), "{passage}");
            assert!(sentences(passage).into_iter().all(|s| seen.insert(s.to_owned())));
        }
        assert_eq!(texts[2], corpus.passages(Split::Test, 6, 11));
    }

    #[test]
    fn long_sentences_are_left_out() {
        let corpus = TextCorpus::from_text("One two. Three four five six seven. Eight nine.");
        let all: Vec<_> = [Split::Train, Split::Valid, Split::Test].into_iter().flat_map(|split| corpus.passages(split, 1, 4)).collect();
        assert_eq!(all, ["One two.", "Eight nine."]);
    }

    #[test]
    fn open_reports_what_is_wrong() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("a.txt");
        assert!(matches!(TextCorpus::open(&path), Err(DataError::Missing { .. })));
        std::fs::write(&path, "\n\n").expect("a written file");
        assert!(matches!(TextCorpus::open(&path), Err(DataError::Empty { .. })));
        std::fs::write(&path, [b'a', b'\n', 0xff]).expect("a written file");
        assert!(matches!(TextCorpus::open(&path), Err(DataError::NotText { line: 2, .. })));
        std::fs::write(&path, "\u{feff}One two.\rThree four.\r\nFive six.").expect("a written file");
        let corpus = TextCorpus::open(&path).expect("a text");
        assert_eq!(corpus.sentences, ["One two.", "Three four.", "Five six."]);
    }
}
