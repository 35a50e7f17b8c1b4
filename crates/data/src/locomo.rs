//! LoCoMo: ten long conversations between two people, with questions about them.

use std::collections::HashMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::DataError;
use crate::prepare::DatasetName;
use crate::record::{array, field, kind, object, string, strings};
use crate::rows::{each_row, text_of};

/// The category of the adversarial questions, which most often have no `answer`.
pub const ADVERSARIAL: u8 = 5;

/// One conversation of LoCoMo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocomoConversation {
    /// `sample_id`.
    pub id: String,
    /// The turns of all sessions, in their order.
    pub turns: Vec<LocomoTurn>,
    /// The questions, in the order of the file.
    pub questions: Vec<LocomoQuestion>,
    /// Number of sessions with turns.
    pub sessions: usize,
    /// Number of sessions that have a date and no turn.
    pub empty_sessions: usize,
}

/// What one of the two says at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocomoTurn {
    /// `dia_id`, like `D1:3`.
    pub id: String,
    /// Session, counted from 1.
    pub session: usize,
    /// Who speaks.
    pub speaker: String,
    /// What is said.
    pub text: String,
}

impl LocomoTurn {
    /// `SPEAKER: TEXT`, a turn as a passage of its own.
    pub fn passage(&self) -> String {
        format!("{}: {}", self.speaker, self.text)
    }
}

/// A question about a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocomoQuestion {
    /// The question.
    pub question: String,
    /// The answer; numbers as their text. `adversarial_answer` is no answer.
    pub answer: Option<String>,
    /// 1 multi-hop, 2 temporal, 3 open-domain, 4 single-hop, 5 adversarial.
    pub category: u8,
    /// Indices into the turns, each once, in the order of the file.
    pub evidence: Vec<usize>,
    /// Evidence ids that no turn has, after strings that hold several ids have been split.
    pub lost_evidence: Vec<String>,
    /// The evidence without any repair: turns whose id is an evidence string as it stands.
    pub written_evidence: Vec<usize>,
    /// Evidence strings that are no id of a turn as they stand.
    pub unread_evidence: Vec<String>,
}

/// Returns the conversations of `locomo10.json`.
///
/// # Errors
/// [`DataError`], naming the file, and the conversation, session or question and field where one is at fault.
///
/// # Reference
/// The layout of github.com/snap-research/LoCoMo `data/locomo10.json`. An evidence string may hold several ids
/// (`D8:6; D9:17`, `D9:1 D4:4 D4:6`); they are split at white space, `;` and `,`.
pub fn load_locomo(path: impl AsRef<Path>) -> Result<Vec<LocomoConversation>, DataError> {
    let mut conversations = Vec::new();
    each_row(path.as_ref(), DatasetName::Locomo, &mut |_, row| {
        conversations.push(conversation(row)?);
        Ok(())
    })?;
    Ok(conversations)
}

fn conversation(row: &Map<String, Value>) -> Result<LocomoConversation, String> {
    let talk = field(row, "conversation").and_then(object).map_err(|reason| format!("field `conversation`: {reason}"))?;
    let mut sessions: Vec<(usize, &str)> = talk.keys().filter_map(|key| Some((session_number(key)?, key.as_str()))).collect();
    sessions.sort_unstable();
    let dated = talk.keys().filter_map(|key| session_number(key.strip_suffix("_date_time")?));
    let has_turns = |number: &usize| sessions.iter().any(|(other, key)| other == number && !is_blank(talk, key));
    let empty_sessions = dated.filter(|number| !has_turns(number)).count();
    let mut turns = Vec::new();
    let mut filled = 0;
    for (number, key) in sessions {
        let list = array(talk, key)?;
        filled += usize::from(!list.is_empty());
        for (at, value) in list.iter().enumerate() {
            turns.push(turn(value, number).map_err(|reason| format!("{key}, turn {at}: {reason}"))?);
        }
    }
    let ids: HashMap<&str, usize> = turns.iter().enumerate().map(|(at, turn)| (turn.id.as_str(), at)).collect();
    if ids.len() != turns.len() {
        return Err(format!(
            "field `conversation` holds {} turns with {} different `dia_id` - expected all different",
            turns.len(),
            ids.len()
        ));
    }
    let questions = array(row, "qa")?.iter().enumerate();
    let questions = questions.map(|(at, value)| question(value, &ids).map_err(|reason| format!("question {at}: {reason}")));
    let questions = questions.collect::<Result<_, _>>()?;
    Ok(LocomoConversation { id: string(row, "sample_id")?, questions, sessions: filled, empty_sessions, turns })
}

/// The N of `session_N`.
fn session_number(key: &str) -> Option<usize> {
    key.strip_prefix("session_")?.parse().ok()
}

fn is_blank(talk: &Map<String, Value>, key: &str) -> bool {
    talk.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty)
}

fn turn(value: &Value, session: usize) -> Result<LocomoTurn, String> {
    let turn = object(value)?;
    Ok(LocomoTurn { id: string(turn, "dia_id")?, session, speaker: string(turn, "speaker")?, text: string(turn, "text")? })
}

fn question(value: &Value, ids: &HashMap<&str, usize>) -> Result<LocomoQuestion, String> {
    let row = object(value)?;
    let category = field(row, "category")?;
    let category =
        category.as_u64().and_then(|n| u8::try_from(n).ok()).filter(|n| (1..=ADVERSARIAL).contains(n)).ok_or_else(|| match category {
            Value::Number(number) => format!("field `category` holds {number} - expected 1 to 5"),
            other => format!("field `category` holds {} - expected 1 to 5", kind(other)),
        })?;
    let (mut evidence, mut lost_evidence) = (Vec::new(), Vec::new());
    let (mut written_evidence, mut unread_evidence) = (Vec::new(), Vec::new());
    for text in strings(row, "evidence")? {
        match ids.get(text.as_str()) {
            None => unread_evidence.push(text.clone()),
            Some(at) if written_evidence.contains(at) => {}
            Some(at) => written_evidence.push(*at),
        }
        for id in text.split(|c: char| c.is_whitespace() || c == ';' || c == ',').filter(|id| !id.is_empty()) {
            match ids.get(id) {
                None => lost_evidence.push(id.to_owned()),
                Some(at) if evidence.contains(at) => {}
                Some(at) => evidence.push(*at),
            }
        }
    }
    let answer = match row.get("answer") {
        None | Some(Value::Null) if category == ADVERSARIAL => None,
        _ => Some(text_of(row, "answer")?),
    };
    Ok(LocomoQuestion { question: string(row, "question")?, answer, category, evidence, lost_evidence, written_evidence, unread_evidence })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"[{"sample_id": "conv-1", "conversation": {"speaker_a": "Ann", "speaker_b": "Bob",
        "session_2": [{"speaker": "Bob", "dia_id": "D2:1", "text": "I moved.", "img_url": ["x"]}],
        "session_1": [{"speaker": "Ann", "dia_id": "D1:1", "text": "Hi!"}, {"speaker": "Bob", "dia_id": "D1:2", "text": "Hello."}],
        "session_1_date_time": "1:00 pm on 1 May, 2023", "session_2_date_time": "d", "session_3_date_time": "d",
        "session_10": [{"speaker": "Ann", "dia_id": "D10:1", "text": "Bye."}], "session_4": [], "session_4_date_time": "d"},
        "qa": [{"question": "q1", "answer": 2022, "evidence": ["D1:2; D2:1", "D1:2", "D:9 D10:1"], "category": 1},
               {"question": "q2", "adversarial_answer": "x", "evidence": ["D1:1"], "category": 5},
               {"question": "q3", "answer": "No", "evidence": [], "category": 5}]}]"#;

    fn load(text: &str) -> Result<Vec<LocomoConversation>, DataError> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("locomo.json");
        std::fs::write(&path, text).expect("a written file");
        load_locomo(&path)
    }

    #[test]
    fn sessions_in_order_and_dirty_evidence() {
        let all = load(SMALL).expect("a loaded file");
        let ids: Vec<&str> = all[0].turns.iter().map(|turn| turn.id.as_str()).collect();
        assert_eq!(ids, ["D1:1", "D1:2", "D2:1", "D10:1"]);
        assert_eq!((all[0].sessions, all[0].empty_sessions), (3, 2));
        let [first, second, third] = &all[0].questions[..] else { panic!("three questions") };
        assert_eq!((&first.evidence[..], &first.lost_evidence[..]), (&[1, 2, 3][..], &["D:9".to_string()][..]));
        assert_eq!((&first.written_evidence[..], first.unread_evidence.len()), (&[1][..], 2));
        assert_eq!(first.answer.as_deref(), Some("2022"));
        assert_eq!((second.answer.as_deref(), third.answer.as_deref()), (None, Some("No")));
        assert_eq!(all[0].turns[1].passage(), "Bob: Hello.");
    }

    #[test]
    fn the_field_at_fault_is_named() {
        for (from, to, named) in [
            (r#""answer": 2022, "#, "", "question 0: field `answer` is missing"),
            (r#""text": "I moved.""#, r#""text": 1"#, "session_2, turn 0: field `text` holds a number"),
            (r#""D1:1"]"#, r#"1]"#, "question 1: field `evidence` holds a number"),
            (r#""category": 1"#, r#""category": 7"#, "field `category` holds 7 - expected 1 to 5"),
            (r#""dia_id": "D2:1""#, r#""dia_id": "D1:1""#, "4 turns with 3 different `dia_id`"),
            (r#""session_2": [{"#, r#""session_2": 3, "x": [{"#, "field `session_2` holds a number"),
            (r#""sample_id": "conv-1", "#, "", "field `sample_id` is missing"),
        ] {
            assert!(SMALL.contains(from), "no {from}");
            let error = load(&SMALL.replacen(from, to, 1)).expect_err("a failure").to_string();
            assert!(error.starts_with("record 0 of ") && error.contains("locomo.json") && error.contains(named), "{error}");
        }
    }
}
