//! JSON as Python's `json` writes it, which is more than JSON: `NaN`, `Infinity` and `-Infinity` for numbers, and half an emoji
//! as a lone `\ud83d`.
//!
//! The former become `null` here, the latter `\ufffd` (U+FFFD), and serde_json reads the rest.

use std::borrow::Cow;
use std::io::Read;

/// The longest thing that has to be seen at once: the two halves of a surrogate pair.
const AHEAD: usize = 12;

/// Bytes read at once.
const BLOCK: usize = 1 << 16;

/// What Python writes for numbers that JSON does not have.
const NO_NUMBERS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];

/// A reader of Python's JSON, to be read as JSON.
pub(crate) struct PythonJson<R> {
    inner: R,
    input: Vec<u8>,
    at: usize,
    ended: bool,
    output: Vec<u8>,
    given: usize,
    in_string: bool,
    halves: usize,
    lines: usize,
}

impl<R: Read> PythonJson<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, input: Vec::new(), at: 0, ended: false, output: Vec::new(), given: 0, in_string: false, halves: 0, lines: 0 }
    }

    /// Lone surrogates replaced so far.
    pub(crate) fn halves(&self) -> usize {
        self.halves
    }

    /// The line, counted from 1, that the last byte handed out stands on.
    pub(crate) fn line(&self) -> usize {
        self.lines + 1
    }

    /// Reads and converts the next block; false at the end.
    fn fill(&mut self) -> std::io::Result<bool> {
        self.output.clear();
        self.given = 0;
        self.input.drain(..self.at);
        self.at = 0;
        if !self.ended {
            let read = self.inner.by_ref().take(BLOCK as u64).read_to_end(&mut self.input)?;
            self.ended = read < BLOCK;
        }
        let end = if self.ended { self.input.len() } else { self.input.len().saturating_sub(AHEAD) };
        while self.at < end {
            self.step(end);
        }
        Ok(!self.ended || !self.output.is_empty())
    }

    fn step(&mut self, end: usize) {
        let rest = &self.input[self.at..];
        let taken = match rest[0] {
            b'\\' if self.in_string => match (unit(rest), unit(rest.get(6..).unwrap_or_default())) {
                (Some(0xd800..0xdc00), Some(0xdc00..0xe000)) => 12,
                (Some(0xd800..0xe000), _) => {
                    self.halves += 1;
                    self.output.extend_from_slice(b"\\ufffd");
                    self.at += 6;
                    return;
                }
                _ => rest.len().min(2),
            },
            b'"' => {
                self.in_string = !self.in_string;
                1
            }
            _ => match NO_NUMBERS.iter().find(|word| !self.in_string && rest.starts_with(word)) {
                Some(word) => {
                    self.output.extend_from_slice(b"null");
                    self.at += word.len();
                    return;
                }
                None => 1 + rest[1..end.saturating_sub(self.at).max(1)].iter().take_while(|byte| !self.special(**byte)).count(),
            },
        };
        self.output.extend_from_slice(&self.input[self.at..self.at + taken]);
        self.at += taken;
    }

    /// Whether something may begin here that is not copied as it is.
    fn special(&self, byte: u8) -> bool {
        matches!(byte, b'"' | b'\\') || (!self.in_string && matches!(byte, b'N' | b'I' | b'-'))
    }
}

/// The number in `\uXXXX`.
fn unit(text: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(text.strip_prefix(b"\\u")?.get(..4)?).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

impl<R: Read> Read for PythonJson<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while self.given == self.output.len() {
            if !self.fill()? {
                return Ok(0);
            }
        }
        let given = (&self.output[self.given..]).read(buffer)?;
        self.lines += buffer[..given].iter().filter(|byte| **byte == b'\n').count();
        self.given += given;
        Ok(given)
    }
}

/// Returns a text of Python's JSON as JSON, and how many lone surrogates in it became `\ufffd`.
pub fn python_json(text: &str) -> (Cow<'_, str>, usize) {
    // Nearly every text is JSON as it is.
    if !["NaN", "Infinity", "\\ud", "\\uD"].iter().any(|odd| text.contains(odd)) {
        return (Cow::Borrowed(text), 0);
    }
    let mut reader = PythonJson::new(text.as_bytes());
    let mut converted = String::with_capacity(text.len());
    match reader.read_to_string(&mut converted) {
        Ok(_) => (Cow::Owned(converted), reader.halves()),
        // Reading from memory does not fail, and whole characters stay whole.
        Err(_) => (Cow::Borrowed(text), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_becomes_json() {
        for (python, json, halves) in [
            (r#"{"a": NaN, "b": [Infinity, -Infinity, -1.5]}"#, r#"{"a": null, "b": [null, null, -1.5]}"#, 0),
            (r#"["NaN", "say \"NaN\"", "\\", NaN]"#, r#"["NaN", "say \"NaN\"", "\\", null]"#, 0),
            (
                r#"["\ud83c\udf1e", "\ud83c", "\udf1e x", "\ud83c\ud83c\udf1e"]"#,
                r#"["\ud83c\udf1e", "\ufffd", "\ufffd x", "\ufffd\ud83c\udf1e"]"#,
                3,
            ),
            (r#"["\\ud83c", "\uD83C\n"]"#, r#"["\\ud83c", "\ufffd\n"]"#, 1),
            // Not ours to judge: the parser says what is wrong.
            (r#"["\ud8"#, r#"["\ud8"#, 0),
            (r#"["\ud83c"#, r#"["\ufffd"#, 1),
            ("\"\\u12\u{e9}4\", NaN", "\"\\u12\u{e9}4\", null", 0),
        ] {
            assert_eq!(python_json(python), (Cow::Borrowed(json), halves), "{python}");
        }
        assert!(matches!(python_json("[1]").0, Cow::Borrowed(_)));
    }

    /// One byte at a time, as a slow pipe gives them.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let few = buffer.len().min(1);
            self.0.read(&mut buffer[..few])
        }
    }

    #[test]
    fn blocks_end_anywhere() {
        let part = r#"{"t": "\ud83c\udf1e \ud83c", "n": NaN, "i": -Infinity}"#;
        let fixed = r#"{"t": "\ud83c\udf1e \ufffd", "n": null, "i": null}"#;
        for padding in 0..part.len() {
            let space = " ".repeat(BLOCK - padding);
            let whole = format!("{space}{part}\n");
            let mut reader = PythonJson::new(whole.as_bytes());
            let mut text = String::new();
            reader.read_to_string(&mut text).expect("text");
            assert_eq!(text.trim(), fixed, "{padding}");
            assert_eq!((reader.halves(), reader.line()), (1, 2));
        }
        let mut text = String::new();
        PythonJson::new(Slow(part.as_bytes())).read_to_string(&mut text).expect("text");
        assert_eq!(text, fixed);
    }
}
