//! The grammar by which a judge's words are read. It is closed: what it does not know is unclear, so that no rejection, hedge or
//! aside is ever taken for "correct".
//!
//! 1. What stands up to the last closing mark of thinking (`</think>` and its kin) is dropped; thinking that is not closed is unclear.
//! 2. The rest is lines and JSON objects; fences of code, rules and blank lines are none. The last of them decides.
//! 3. An object decides by its keys (`verdict`, `label`, .. with a verdict or a boolean, `correct` with a boolean), which must agree.
//! 4. A line decides if it is a verdict as a whole: `[LABEL] WORD` or `[SUBJECT is] WORD`, where WORD is `correct`, `incorrect`, or either
//!    with `not` or adverbs of degree before it; case, bold, quotes and a full stop do not matter. A last sentence `CORRECT.` or
//!    `INCORRECT` decides too if the line before it has neither verdict nor negation.
//! 5. A line that goes on a sentence of the line before it decides nothing, nor does a verdict that an earlier line contradicts.
//!
//! `not correct` and `not entirely correct` are incorrect, `partially correct` is so under the strict prompt and unclear under the
//! lenient one; `not incorrect`, `probably correct` and both words are unclear.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{JudgePrompt, Verdict};

mod line;

use line::{Shape, closed, last_sentence, turns_the_next, whole};

/// Version of the grammar: part of what a score is called.
pub const READER_VERSION: u32 = 2;

/// What a line or an object says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Correct,
    Incorrect,
    /// Correct in part.
    Partial,
}

/// Reads a verdict out of whatever a model writes, as an answer to the strict prompt.
pub fn read_verdict(said: &str) -> Verdict {
    read_for(JudgePrompt::Strict, said)
}

/// Reads a verdict as an answer to that prompt.
pub(super) fn read_for(prompt: JudgePrompt, said: &str) -> Verdict {
    match reading(said) {
        Some(Reading::Correct) => Verdict::Correct,
        Some(Reading::Incorrect) => Verdict::Incorrect,
        Some(Reading::Partial) if prompt == JudgePrompt::Strict => Verdict::Incorrect,
        _ => Verdict::Unclear,
    }
}

fn reading(said: &str) -> Option<Reading> {
    let units = units(without_end_marks(after_thinking(said)?));
    let (last, earlier) = units.split_last()?;
    let decided = match last {
        Unit::Object(reading) => (*reading)?,
        Unit::Line(text, after_blank) => {
            let (reading, shape) = whole(text).or_else(|| last_sentence(text))?;
            match earlier.last() {
                Some(Unit::Line(previous, _)) if turns_the_next(previous) => return None,
                Some(Unit::Line(previous, _)) if shape == Shape::Bare && !closed(previous, *after_blank) => return None,
                _ => reading,
            }
        }
    };
    let contradicted = earlier.iter().any(|unit| {
        let before = match unit {
            Unit::Object(reading) => *reading,
            Unit::Line(text, _) => whole(text).map(|(reading, _)| reading),
        };
        before.is_some_and(|before| (before == Reading::Correct) != (decided == Reading::Correct))
    });
    (!contradicted).then_some(decided)
}

/// What a reply consists of.
enum Unit<'a> {
    /// A JSON object, with what it says.
    Object(Option<Reading>),
    /// A line without space around it, and whether a blank line or a fence stands before it.
    Line(&'a str, bool),
}

/// Lines that begin like an object and are none, after which no further one is tried.
const MAX_BROKEN: usize = 1000;

fn units(text: &str) -> Vec<Unit<'_>> {
    let (mut units, mut rest, mut after_blank, mut broken) = (Vec::new(), text, false, 0);
    while !rest.is_empty() {
        let start = rest.trim_start_matches(is_space);
        after_blank |= rest[..rest.len() - start.len()].matches('\n').count() > 0;
        if start.is_empty() {
            break;
        }
        if start.starts_with('{') && broken < MAX_BROKEN {
            let mut objects = serde_json::Deserializer::from_str(start).into_iter::<Pairs>();
            if let Some(Ok(pairs)) = objects.next() {
                units.push(Unit::Object(of_object(&pairs)));
                rest = &start[objects.byte_offset()..];
                after_blank = false;
                continue;
            }
            broken += 1;
        }
        let end = start.find(['\n', '\r']).unwrap_or(start.len());
        let line = start[..end].trim_end_matches(is_space);
        rest = start[end..].strip_prefix("\r\n").or(start[end..].strip_prefix(['\n', '\r'])).unwrap_or("");
        let fence = line.starts_with("```") && line[3..].chars().all(|c| c.is_ascii_alphanumeric());
        // A fence of code and a rule across the page say nothing.
        if fence || line.chars().all(|c| "-*_=~`".contains(c)) {
            after_blank = true;
        } else {
            units.push(Unit::Line(line, after_blank));
            after_blank = false;
        }
    }
    units
}

/// Space, and what editors and tokenizers leave that cannot be seen.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}')
}

/// Marks that begin thinking and marks that end it, in lower case.
const OPENING: [&str; 6] = ["<think", "<thought", "<reasoning", "[think]", "\u{25c1}think\u{25b7}", "<|channel|>"];
const CLOSING: [&str; 7] =
    ["</think>", "</thinking>", "</thought>", "</reasoning>", "[/think]", "\u{25c1}/think\u{25b7}", "<|channel|>final<|message|>"];

/// What stands after the last closing mark; `None` if thinking begins there and is not closed.
fn after_thinking(said: &str) -> Option<&str> {
    // ASCII letters alone change, so that places stay.
    let lower = said.to_ascii_lowercase();
    let start = CLOSING.iter().filter_map(|mark| Some(lower.rfind(mark)? + mark.len())).max().unwrap_or(0);
    let open = OPENING.iter().any(|mark| lower[start..].contains(mark));
    (!open).then(|| &said[start..])
}

/// Without the marks that a server left at the end: `<|im_end|>`, `</s>`.
fn without_end_marks(mut text: &str) -> &str {
    loop {
        text = text.trim_end_matches(is_space);
        let start = if text.ends_with("|>") { text.rfind("<|") } else { text.strip_suffix("</s>").map(str::len) };
        match start {
            Some(start) => text = &text[..start],
            None => return text,
        }
    }
}

/// The keys of an object in their order, repeated ones too.
struct Pairs(Vec<(String, Value)>);

impl<'de> serde::Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

const VERDICT_KEYS: [&str; 12] = [
    "verdict",
    "finalverdict",
    "label",
    "judgment",
    "judgement",
    "decision",
    "grade",
    "result",
    "evaluation",
    "assessment",
    "correctness",
    "classification",
];

/// What an object says; nothing if a key that should decide cannot be read or two disagree.
fn of_object(pairs: &Pairs) -> Option<Reading> {
    let mut found: Option<Reading> = None;
    for (key, value) in &pairs.0 {
        let key: String = key.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).collect::<String>().to_lowercase();
        let truth = |right: bool| if right { Reading::Correct } else { Reading::Incorrect };
        let says = match key.as_str() {
            "correct" | "iscorrect" => match value {
                Value::Bool(right) => truth(*right),
                Value::String(word) => match word.trim().to_lowercase().as_str() {
                    "true" | "yes" => Reading::Correct,
                    "false" | "no" => Reading::Incorrect,
                    _ => return None,
                },
                _ => return None,
            },
            "incorrect" | "isincorrect" => match value {
                Value::Bool(true) => Reading::Incorrect,
                Value::Bool(false) => continue,
                _ => return None,
            },
            key if VERDICT_KEYS.contains(&key) => match value {
                Value::Bool(right) => truth(*right),
                Value::String(words) => whole(words.trim())?.0,
                _ => return None,
            },
            _ => continue,
        };
        match found {
            None => found = Some(says),
            Some(before) if before == says => {}
            Some(_) => return None,
        }
    }
    found
}

#[cfg(test)]
mod tests;
