//! Text files as editors and other programs write them: with a byte order mark or without, UTF-8 or UTF-16, any line ends.
//!
//! This is the one reader for everything that people hand over as text; it does what Python does with `utf-8-sig` and universal
//! line ends.

use std::path::Path;

use crate::DataError;
use crate::note::note_halves;

/// The byte order mark of UTF-8.
const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";

/// How many bytes are looked at to tell UTF-16 without a mark from UTF-8.
const LOOKED_AT: usize = 4096;

/// Returns the text of a file without its byte order mark: UTF-8, or UTF-16 that begins with its mark.
///
/// # Errors
/// [`DataError::Missing`], [`DataError::Io`], or [`DataError::NotText`] with the line that is no text.
pub fn read_text(path: impl AsRef<Path>) -> Result<String, DataError> {
    let path = path.as_ref();
    decode_text(path, std::fs::read(path).map_err(|source| DataError::io(path, source))?)
}

/// Returns bytes as text, as [`read_text`] does; `name` stands for where they come from in errors.
///
/// # Errors
/// [`DataError::NotText`] with the line that is no text.
pub fn decode_text(name: impl AsRef<Path>, mut bytes: Vec<u8>) -> Result<String, DataError> {
    let path = name.as_ref();
    let not = |line, reason: String| DataError::NotText { path: path.to_path_buf(), line, reason };
    match &bytes[..] {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => return Err(not(1, "got UTF-32, expected UTF-8; save it as UTF-8".into())),
        [0xff, 0xfe, rest @ ..] => return utf16(path, rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16(path, rest, u16::from_be_bytes),
        [0x1f, 0x8b, ..] => return Err(not(1, "got a gzip archive, expected text; unpack it first".into())),
        start if looks_like_utf16(start) => {
            return Err(not(1, "got UTF-16 without a byte order mark, as far as its zeros tell; save it as UTF-8".into()));
        }
        start if start.starts_with(UTF8_MARK) => drop(bytes.drain(..UTF8_MARK.len())),
        _ => {}
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..at];
        let line = lines(&String::from_utf8_lossy(before)).count() + usize::from(before.is_empty() || before.ends_with(b"\n"));
        let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        let byte = error.as_bytes()[at];
        not(line, format!("got the byte 0x{byte:02X} as byte {column} of the line, expected UTF-8; save it as UTF-8 (from Latin-1: `iconv -f LATIN1 -t UTF-8`)"))
    })
}

/// The lines of a text with their numbers, counted from 1, ended by `\n`, `\r\n` or `\r`; the last one needs no end.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = text;
    let next = std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        rest = tail.strip_prefix("\r\n").or_else(|| tail.strip_prefix(['\n', '\r'])).unwrap_or(tail);
        Some(line)
    });
    next.enumerate().map(|(index, line)| (index + 1, line))
}

/// Whether a file begins as UTF-16 or with the mark of UTF-8, so that it is no JSON before it has been decoded.
pub(crate) fn is_utf16(start: &[u8]) -> bool {
    start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) || looks_like_utf16(start)
}

/// English in UTF-16 is zeros at every other byte; text in UTF-8 has hardly any.
fn looks_like_utf16(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    let zeros = |parity: usize| start.iter().skip(parity).step_by(2).filter(|byte| **byte == 0).count();
    start.len() >= 4 && zeros(0).max(zeros(1)) * 2 > start.len() / 2
}

fn utf16(path: &Path, bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, DataError> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut lost = 0;
    let units = pairs.iter().map(|pair| unit(*pair));
    let text: String = char::decode_utf16(units)
        .map(|decoded| {
            decoded.unwrap_or_else(|_| {
                lost += 1;
                char::REPLACEMENT_CHARACTER
            })
        })
        .collect();
    if !odd.is_empty() {
        let reason = "got UTF-16 with half a character at the end, expected whole ones; copy the file again".into();
        return Err(DataError::NotText { path: path.to_path_buf(), line: lines(&text).count(), reason });
    }
    note_halves(path, lost);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(bytes: &[u8]) -> Result<String, DataError> {
        decode_text("notes.txt", bytes.to_vec())
    }

    fn refused(bytes: &[u8]) -> String {
        decoded(bytes).expect_err("a failure").to_string()
    }

    #[test]
    fn marks_and_encodings() {
        let text = "Zo\u{eb} \u{1f31e}\nnext";
        let units: Vec<u16> = text.encode_utf16().collect();
        let little: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
        let big: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [&[0xff, 0xfe], &little[..]].concat(),
            [&[0xfe, 0xff], &big[..]].concat(),
        ] {
            assert_eq!(decoded(&bytes).expect("text"), text);
        }
        // One mark is a mark; another one is text.
        assert_eq!(decoded("\u{feff}\u{feff}a".as_bytes()).expect("text"), "\u{feff}a");
        assert_eq!(decoded(b"").expect("text"), "");
        assert_eq!(decoded(b"before\0after").expect("text"), "before\0after");
        assert_eq!(decoded(&[0xff, 0xfe, 0x3c, 0xd8, b'a', 0]).expect("text"), "\u{fffd}a");
    }

    #[test]
    fn what_is_no_text_is_named_with_its_line() {
        assert!(refused(b"one\r\ntwo\nca\xe9f").starts_with("notes.txt: line 3: got the byte 0xE9 as byte 3 of the line, expected UTF-8"));
        assert!(refused(b"\xe9").starts_with("notes.txt: line 1: got the byte 0xE9 as byte 1"));
        assert!(refused(b"one\n\xe9").contains("line 2: got the byte 0xE9 as byte 1"));
        let unmarked: Vec<u8> = "Mila lives in Porto.".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(refused(&unmarked).contains("UTF-16 without a byte order mark"));
        assert!(refused(&[0xff, 0xfe, b'a', 0, b'b']).contains("half a character"));
        assert!(refused(&[0xff, 0xfe, 0, 0, b'a', 0, 0, 0]).contains("UTF-32"));
        assert!(refused(&[0x1f, 0x8b, 8, 0]).contains("gzip"));
    }

    #[test]
    fn lines_of_every_system() {
        let numbered: Vec<_> = lines("a\nb\r\nc\rd\n\ne").collect();
        assert_eq!(numbered, [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, ""), (6, "e")]);
        assert_eq!(lines("a\n").collect::<Vec<_>>(), [(1, "a")]);
        assert_eq!(lines("").count(), 0);
        assert_eq!(lines("\r\n\r\n").count(), 2);
    }
}
