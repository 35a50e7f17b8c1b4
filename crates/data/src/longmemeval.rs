//! LongMemEval: questions about a user's chat history, each with its own history.

use std::path::Path;

use serde_json::{Map, Value};

use crate::DataError;
use crate::prepare::DatasetName;
use crate::record::{array, object, string, strings};
use crate::rows::{each_row, text_of};

/// One question of LongMemEval with the history it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongMemItem {
    /// `question_id`; ends with `_abs` where the history has no answer.
    pub id: String,
    /// One of the six question types.
    pub kind: String,
    /// The question.
    pub question: String,
    /// The answer; numbers as their text.
    pub answer: String,
    /// The sessions, in the order of the file.
    pub sessions: Vec<LongMemSession>,
    /// Ids in `answer_session_ids` that no session of the history has.
    pub lost_sessions: Vec<String>,
}

/// One chat between the user and the assistant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongMemSession {
    /// Its id in `haystack_session_ids`.
    pub id: String,
    /// Whether `answer_session_ids` has it.
    pub gold: bool,
    /// The turns.
    pub turns: Vec<LongMemTurn>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LongMemTurn {
    /// `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
    /// Whether it holds evidence; false where the file does not say.
    pub has_answer: bool,
}

impl LongMemItem {
    /// Whether the history has no answer and the right answer is to say so.
    pub fn abstention(&self) -> bool {
        self.id.ends_with("_abs")
    }

    /// The turns of the gold sessions that hold evidence, in order; blank ones left out.
    pub fn evidence(&self) -> Vec<String> {
        let turns = self.sessions.iter().filter(|session| session.gold).flat_map(|session| &session.turns);
        turns.filter(|turn| turn.has_answer && !turn.content.trim().is_empty()).map(|turn| turn.content.clone()).collect()
    }
}

impl LongMemSession {
    /// What the user said, a turn a line; everything said where the user said nothing.
    pub fn passage(&self) -> String {
        let said = |by: &dyn Fn(&LongMemTurn) -> bool| {
            self.turns
                .iter()
                .filter(|turn| by(turn))
                .map(|turn| turn.content.trim())
                .filter(|t| !t.is_empty())
                .collect::<Vec<_>>()
                .join("\n")
        };
        let user = said(&|turn| turn.role == "user");
        if user.is_empty() { said(&|_| true) } else { user }
    }
}

/// Returns the questions of a LongMemEval file (`longmemeval_s_cleaned.json`, `longmemeval_oracle.json`).
///
/// # Errors
/// [`DataError`], naming the file, and the record, session, turn and field where one is at fault.
///
/// # Reference
/// The layout of the files at huggingface.co/datasets/xiaowu0162/longmemeval-cleaned.
pub fn load_longmemeval(path: impl AsRef<Path>) -> Result<Vec<LongMemItem>, DataError> {
    let mut items = Vec::new();
    each_longmemeval(path.as_ref(), &mut |item| items.push(item))?;
    Ok(items)
}

/// Hands over one question after the other; the histories take half a megabyte each.
pub(crate) fn each_longmemeval(path: &Path, take: &mut dyn FnMut(LongMemItem)) -> Result<usize, DataError> {
    each_row(path, DatasetName::Longmemeval, &mut |_, row| {
        take(item(row)?);
        Ok(())
    })
}

fn item(row: &Map<String, Value>) -> Result<LongMemItem, String> {
    let ids = strings(row, "haystack_session_ids")?;
    let gold = strings(row, "answer_session_ids")?;
    let history = array(row, "haystack_sessions")?;
    let dates = if row.contains_key("haystack_dates") { array(row, "haystack_dates")?.len() } else { ids.len() };
    if ids.len() != history.len() || dates != history.len() {
        return Err(format!(
            "fields `haystack_sessions`, `haystack_session_ids` and `haystack_dates` hold {}, {} and {dates} - expected the same number",
            history.len(),
            ids.len()
        ));
    }
    let lost_sessions = gold.iter().filter(|id| !ids.contains(id)).cloned().collect();
    let session = |(at, (id, value)): (usize, (String, &Value))| -> Result<LongMemSession, String> {
        let turns = value.as_array().ok_or_else(|| format!("session {at}: it is no array - expected an array of turns"))?;
        let turns = turns.iter().enumerate().map(|(n, value)| turn(value).map_err(|reason| format!("session {at}, turn {n}: {reason}")));
        Ok(LongMemSession { gold: gold.contains(&id), id, turns: turns.collect::<Result<_, _>>()? })
    };
    Ok(LongMemItem {
        id: string(row, "question_id")?,
        kind: string(row, "question_type")?,
        question: string(row, "question")?,
        answer: text_of(row, "answer")?,
        sessions: ids.into_iter().zip(history).enumerate().map(session).collect::<Result<_, _>>()?,
        lost_sessions,
    })
}

fn turn(value: &Value) -> Result<LongMemTurn, String> {
    let turn = object(value)?;
    let has_answer = match turn.get("has_answer") {
        None | Some(Value::Null) => false,
        Some(mark) => mark.as_bool().ok_or_else(|| format!("field `has_answer` holds {mark} - expected a boolean"))?,
    };
    Ok(LongMemTurn { role: string(turn, "role")?, content: string(turn, "content")?, has_answer })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"[{"question_id": "q_abs", "question_type": "multi-session", "question": "How many?", "answer": 3,
        "question_date": null, "answer_session_ids": ["s2", "gone"], "haystack_dates": ["d1", "d2"], "haystack_session_ids": ["s1", "s2"],
        "haystack_sessions": [[{"role": "assistant", "content": " Hi. "}],
            [{"role": "user", "content": "I have three.", "has_answer": true}, {"role": "assistant", "content": "Nice.", "has_answer": false},
             {"role": "user", "content": "Yes."}]]}]"#;

    fn load(text: &str) -> Result<Vec<LongMemItem>, DataError> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("longmemeval.json");
        std::fs::write(&path, text).expect("a written file");
        load_longmemeval(&path)
    }

    #[test]
    fn a_small_history() {
        let items = load(SMALL).expect("a loaded file");
        let item = &items[0];
        assert!(item.abstention());
        assert_eq!((item.answer.as_str(), &item.lost_sessions[..]), ("3", &["gone".to_string()][..]));
        assert_eq!(
            item.sessions.iter().map(|s| (s.gold, s.passage())).collect::<Vec<_>>(),
            [(false, "Hi.".into()), (true, "I have three.\nYes.".into())]
        );
        assert_eq!(item.evidence(), ["I have three."]);
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (from, to, named) in [
            (r#""answer": 3"#, r#""answer": [3]"#, "field `answer` holds an array - expected a string or a number"),
            (r#""haystack_session_ids": ["s1", "s2"]"#, r#""haystack_session_ids": ["s1"]"#, "hold 2, 1 and 2"),
            (r#""has_answer": true"#, r#""has_answer": "yes""#, "session 1, turn 0: field `has_answer` holds \"yes\""),
            (r#""role": "assistant", "content": " Hi. ""#, r#""role": "assistant""#, "session 0, turn 0: field `content` is missing"),
            (r#""question_id": "q_abs", "#, "", "field `question_id` is missing"),
        ] {
            assert!(SMALL.contains(from), "no {from}");
            let error = load(&SMALL.replacen(from, to, 1)).expect_err("a failure").to_string();
            assert!(error.starts_with("record 0 of ") && error.contains("longmemeval.json") && error.contains(named), "{error}");
        }
    }
}
