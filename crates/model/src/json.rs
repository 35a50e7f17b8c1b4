//! JSON as Python's tools write and read it: `NaN`, `Infinity`, half of a surrogate pair, a byte-order mark.

use std::borrow::Cow;

use serde_json::Value;

/// Parses a file of JSON. What is no number (`NaN`, `Infinity`) becomes null, half of a surrogate pair U+FFFD, and a
/// byte-order mark of UTF-8 is skipped.
///
/// # Errors
/// The place of what is no JSON; the encoding of a text that is not UTF-8.
pub fn parse_json(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_str(&json_text(bytes)?).map_err(|e| format!("not valid JSON: {e}"))
}

/// The same as a text for a parser of its own; a file that JSON's own rules accept comes back as it is.
///
/// # Errors
/// The encoding of a text that is not UTF-8.
pub(crate) fn json_text(bytes: &[u8]) -> Result<Cow<'_, str>, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let encoding = match bytes {
        // The first character of JSON is one of ASCII, which in UTF-16 and UTF-32 has a zero beside it.
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, ..] | [_, 0, ..] => Some("UTF-16 or UTF-32"),
        _ => None,
    };
    if let Some(encoding) = encoding {
        return Err(format!("a text in {encoding}, expected UTF-8; save it again as UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 ({e}); save it again as UTF-8"))?;
    match ["NaN", "Infinity", "\\u"].iter().any(|odd| text.contains(odd)) {
        true => Ok(plain(text)),
        false => Ok(Cow::Borrowed(text)),
    }
}

/// Replaces what Python accepts and JSON does not.
fn plain(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut from, mut at, mut quoted) = (0, 0, false);
    let bytes = text.as_bytes();
    let mut replace = |range: std::ops::Range<usize>, by: &str| {
        out.push_str(&text[from..range.start]);
        out.push_str(by);
        from = range.end;
    };
    while at < bytes.len() {
        let rest = &text.as_bytes()[at..];
        at += match (quoted, bytes[at]) {
            (_, b'"') => {
                quoted = !quoted;
                1
            }
            (true, b'\\') => match (surrogate(rest), surrogate(rest.get(6..).unwrap_or_default())) {
                (Some(true), Some(false)) => 12,
                (Some(_), _) => {
                    replace(at..at + 6, "\\ufffd");
                    6
                }
                (None, _) => 2,
            },
            (true, _) => 1,
            (false, _) => {
                let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word.as_bytes()));
                if let Some(word) = word {
                    replace(at..at + word.len(), "null");
                }
                word.map_or(1, str::len)
            }
        };
    }
    if from == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[from..]);
    Cow::Owned(out)
}

/// Whether an escape begins here that is the first (true) or the second (false) half of a surrogate pair.
fn surrogate(rest: &[u8]) -> Option<bool> {
    let digits = rest.strip_prefix(b"\\u")?.get(..4).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
    match u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()? {
        0xd800..=0xdbff => Some(true),
        0xdc00..=0xdfff => Some(false),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_python_writes_is_read() {
        let text = r#"{"a": NaN, "b": [Infinity, -Infinity, -1], "c": "NaN \" Infinity", "d": "\ud83d\ude00 \ud83d x \ude00\\u"}"#;
        let expected = json!({"a": null, "b": [null, null, -1], "c": "NaN \" Infinity", "d": "\u{1f600} \u{fffd} x \u{fffd}\\u"});
        assert_eq!(parse_json(text.as_bytes()).unwrap(), expected);
        assert_eq!(parse_json(&[b"\xef\xbb\xbf".as_slice(), text.as_bytes()].concat()).unwrap(), expected);
        // Nothing is replaced, nothing is copied.
        assert!(matches!(json_text(b"{\"NaN\": \"\\u00e9\"}").unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_no_json_is_named() {
        let wide: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(parse_json(&wide).unwrap_err().contains("UTF-16"));
        assert!(parse_json(&wide[2..]).unwrap_err().contains("UTF-16"));
        assert!(parse_json(b"{\"a\": \"\xff\"}").unwrap_err().contains("not UTF-8"));
        for bad in ["", "{", "NaNa", "{\"a\": nan}", "\"\\ud83", "[NaN", "-"] {
            assert!(parse_json(bad.as_bytes()).unwrap_err().contains("not valid JSON"), "{bad}");
        }
    }
}
