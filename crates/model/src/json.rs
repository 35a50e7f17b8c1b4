//! JSON as Python's tools write and read it: `NaN`, `Infinity`, half of a surrogate pair, a byte-order mark.

use std::borrow::Cow;

use nextmem_data::python_json;
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
    Ok(python_json(text).0)
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
        assert!(matches!(json_text(b"{\"a\": \"\\u00e9\"}").unwrap(), Cow::Borrowed(_)));
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
