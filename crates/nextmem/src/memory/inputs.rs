//! The texts that `encode` gets, each with the place that an error names.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Result, bail};
use nextmem_data::{lines, note_halves, python_json, read_text};
use nextmem_model::{NextMem, TooLong};
use serde_json::Value;

use crate::cli::BadInput;

/// How many texts an error or a note names before it counts the rest.
const NAMED: usize = 3;

/// A text to be encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Input {
    /// Its name in the memory file.
    pub(super) id: String,
    /// The text.
    pub(super) text: String,
    /// Where it stands: `notes.jsonl: line 3`.
    place: String,
}

/// The texts of the command line.
pub(super) fn given(texts: &[String]) -> Vec<Input> {
    let input = |(n, text): (usize, &String)| Input { id: n.to_string(), text: text.clone(), place: format!("text {}", n + 1) };
    texts.iter().enumerate().map(input).collect()
}

/// The texts of a file.
///
/// # Errors
/// [`BadInput`] with the line or element that is no text, or has an id for the second time.
pub(super) fn read(path: &Path) -> Result<Vec<Input>> {
    let name = path.display();
    if !path.exists() {
        bail!(BadInput(format!("{name}: no such file, expected one with a text a line, a JSON array (.json) or JSON lines (.jsonl)")));
    }
    let text = read_text(path)?;
    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut lost = 0;
    let mut json = |text: &str| {
        let (text, halves) = python_json(text);
        lost += halves;
        serde_json::from_str::<Value>(&text)
    };
    let inputs: Vec<Input> = match ending.as_str() {
        "json" => {
            let wanted = "expected a JSON array of strings, or of objects with `text` and `id`";
            let value = json(&text).map_err(|e| BadInput(format!("{name}: {e}; {wanted}")))?;
            let Value::Array(list) = value else { bail!(BadInput(format!("{name}: it is no array; {wanted}"))) };
            let elements = list.into_iter().enumerate();
            elements.map(|(n, value)| input(value, n.to_string(), format!("{name}: element {}", n + 1))).collect::<Result<_, _>>()?
        }
        "jsonl" | "ndjson" => {
            let filled = lines(&text).filter(|(_, line)| !line.trim().is_empty());
            let one = |(number, line): (usize, &str)| {
                let place = format!("{name}: line {number}");
                let value = json(line).map_err(|e| {
                    // serde_json counts lines within the one line.
                    let reason = e.to_string();
                    let reason = reason.split(" at line ").next().unwrap_or_default();
                    BadInput(format!("{place}: column {}: {reason}; expected an object with `text` and `id`, or a text", e.column()))
                })?;
                input(value, number.to_string(), place)
            };
            filled.map(one).collect::<Result<_, _>>()?
        }
        _ => {
            let filled = lines(&text).map(|(number, line)| (number, line.trim())).filter(|(_, line)| !line.is_empty());
            let one = |(n, (number, line)): (usize, (usize, &str))| Input {
                id: n.to_string(),
                text: line.to_owned(),
                place: format!("{name}: line {number}"),
            };
            filled.enumerate().map(one).collect()
        }
    };
    note_halves(path, lost);
    if inputs.is_empty() {
        bail!(BadInput(format!("{name}: holds no texts, expected at least one")));
    }
    let mut first = HashMap::new();
    for input in &inputs {
        if let Some(before) = first.insert(input.id.as_str(), &input.place) {
            bail!(BadInput(format!("{}: got the id {:?} twice, expected different ids; {before} has it too", input.place, input.id)));
        }
    }
    Ok(inputs)
}

/// A text, or an object with one; an id that is a number is taken as its text.
fn input(value: Value, number: String, place: String) -> Result<Input, BadInput> {
    let wrong = |what: &str, got: &Value, expected: &str| BadInput(format!("{place}: {what} is {got}, expected {expected}"));
    let mut record = match value {
        Value::String(text) => return Ok(Input { id: number, text, place }),
        Value::Object(record) => record,
        other => return Err(wrong("it", &other, "an object with `text` and `id`, or a text")),
    };
    let text = match record.remove("text") {
        Some(Value::String(text)) => text,
        Some(other) => return Err(wrong("`text`", &other, "a string")),
        None => return Err(BadInput(format!("{place}: got no `text`, expected an object with `text` and `id`"))),
    };
    let id = match record.remove("id") {
        None | Some(Value::Null) => number,
        Some(Value::String(id)) => id,
        Some(Value::Number(id)) => id.to_string(),
        Some(other) => return Err(wrong("`id`", &other, "a string or a number")),
    };
    Ok(Input { id, text, place })
}

/// What a text has too much of, if the model does not take it.
pub(super) fn too_long(nextmem: &NextMem, text: &str) -> Result<Option<String>> {
    let options = nextmem.options();
    let tokens = nextmem.tokenizer().encode(text)?.len();
    let refused = options.too_long == TooLong::Refuse && tokens > options.max_input_tokens;
    Ok(refused.then(|| format!(": {tokens} tokens, expected at most {}", options.max_input_tokens)))
}

/// The texts that nothing is wrong with. The others are left out and told if they may be `skipped`, and refused if not.
///
/// # Errors
/// [`BadInput`] that names the first texts with what is wrong, or says that no text is left.
pub(super) fn usable(
    inputs: Vec<Input>,
    what: &str,
    flag: &str,
    skip: bool,
    wrong: impl Fn(&Input) -> Result<Option<String>>,
) -> Result<Vec<Input>> {
    let (mut kept, mut named, mut odd) = (Vec::with_capacity(inputs.len()), Vec::new(), 0);
    for input in inputs {
        let Some(how) = wrong(&input)? else {
            kept.push(input);
            continue;
        };
        odd += 1;
        if odd <= NAMED {
            named.push(format!("{} (id {:?}) {what}{how}", input.place, input.id));
        }
    }
    if odd == 0 {
        return Ok(kept);
    }
    let more = if odd > NAMED { format!("; and {} more", odd - NAMED) } else { String::new() };
    let named = format!("{}{more}", named.join("; "));
    if !skip {
        bail!(BadInput(format!("{named}; nothing was encoded. Change it, or leave such texts out with {flag}")));
    }
    if kept.is_empty() {
        bail!(BadInput(format!("{named}; no text is left to encode")));
    }
    eprintln!("note: left out {odd} of {} texts: {named}", odd + kept.len());
    Ok(kept)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn load(name: &str, bytes: &[u8]) -> Result<Vec<(String, String)>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Ok(read(&path)?.into_iter().map(|input| (input.id, input.text)).collect())
    }

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(id, text)| (id.to_string(), text.to_string())).collect()
    }

    #[test]
    fn texts_as_people_write_them() {
        let two = pairs(&[("0", "Ann lives in Oslo."), ("1", "Bob naps.")]);
        for text in ["Ann lives in Oslo.\n\nBob naps.", "\u{feff}Ann lives in Oslo.\r\n Bob naps. \r\n", "Ann lives in Oslo.\rBob naps.\r"]
        {
            assert_eq!(load("a.txt", text.as_bytes()).unwrap(), two);
        }
        let array = "\u{feff}[\"Ann lives in Oslo.\", {\"text\": \"Bob naps.\", \"x\": NaN}]";
        assert_eq!(load("a.JSON", array.as_bytes()).unwrap(), two);
        let utf16: Vec<u8> = array.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(load("a.json", &utf16).unwrap(), two);
        let lines = "\u{feff}{\"id\": 7, \"text\": \"a \\ud83d\"}\r\n\r\n{\"text\": \"b\"}\n\"c\"\n{\"id\": null, \"text\": \"d\", \"id2\": Infinity}";
        assert_eq!(load("a.jsonl", lines.as_bytes()).unwrap(), pairs(&[("7", "a \u{fffd}"), ("3", "b"), ("4", "c"), ("5", "d")]));
    }

    #[test]
    fn the_place_at_fault_is_named() {
        for (name, text, named) in [
            ("a.jsonl", "{\"text\": \"a\"}\n\n{\"text\": 3}", "a.jsonl: line 3: `text` is 3, expected a string"),
            ("a.jsonl", "{\"text\": \"a\"}\n{\"id\": 3}", "a.jsonl: line 2: got no `text`"),
            ("a.jsonl", "{\"text\": \"a\"}\n{\"id\": ", "a.jsonl: line 2: column 7: EOF while parsing a value; expected an object"),
            ("a.jsonl", "{\"text\": NaN}", "a.jsonl: line 1: `text` is null, expected a string"),
            ("a.jsonl", "[1]", "a.jsonl: line 1: it is [1], expected an object"),
            (
                "a.jsonl",
                "{\"id\": 2, \"text\": \"a\"}\n{\"text\": \"b\"}",
                "a.jsonl: line 2: got the id \"2\" twice, expected different ids;",
            ),
            ("a.json", "[\"a\", 4]", "a.json: element 2: it is 4, expected an object"),
            ("a.json", "{\"text\": \"a\"}", "a.json: it is no array; expected a JSON array"),
            ("a.json", "[", "a.json: EOF while parsing a list at line 1 column 1; expected a JSON array"),
            ("a.txt", " \n\r\n", "a.txt: holds no texts"),
        ] {
            let error = load(name, text.as_bytes()).unwrap_err();
            assert!(error.is::<BadInput>() && error.to_string().contains(named), "{error}");
        }
        let error = load("a.txt", b"one\ntwo\nca\xe9f").unwrap_err().to_string();
        assert!(error.contains("a.txt: line 3: got the byte 0xE9"), "{error}");
    }

    #[test]
    fn odd_texts_are_refused_or_left_out() {
        let texts = || given(&["", "a", "", "", ""].map(String::from));
        let wrong = |input: &Input| Ok(input.text.is_empty().then(String::new));
        let error = usable(texts(), "is empty", "--skip-empty", false, wrong).unwrap_err().to_string();
        let named = "text 1 (id \"0\") is empty; text 3 (id \"2\") is empty; text 4 (id \"3\") is empty; and 1 more; nothing was encoded";
        assert!(error.starts_with(named) && error.ends_with("--skip-empty"), "{error}");
        let kept = usable(texts(), "is empty", "--skip-empty", true, wrong).unwrap();
        assert_eq!(kept.iter().map(|input| input.id.as_str()).collect::<Vec<_>>(), ["1"]);
        let none = usable(given(&[String::new()]), "is empty", "--skip-empty", true, wrong).unwrap_err().to_string();
        assert!(none.ends_with("no text is left to encode"), "{none}");
    }
}
