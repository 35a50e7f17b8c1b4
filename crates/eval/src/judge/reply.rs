//! What a server answered: a chat completion, whole or as a stream of events, or an error that says it is one.

use std::io::BufRead;

use serde_json::Value;

/// Largest completion that is read in one piece.
pub(super) const MAX_BODY: u64 = 1 << 20;
/// Largest stream: every token of it carries an object.
pub(super) const MAX_STREAM: u64 = 1 << 26;

/// One reply of the judge.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reply {
    /// Its words: parts of text, joined.
    pub(super) content: String,
    /// What it thought, where a server says that apart.
    pub(super) reasoning: String,
    /// Why it does not answer.
    pub(super) refusal: String,
    /// Whether it called a tool.
    pub(super) tool_call: bool,
    /// Why it ended, as the server says it.
    pub(super) finish_reason: Option<String>,
    /// Tokens that the server counted.
    pub(super) tokens: u64,
}

/// Why an answer is no reply.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum NoReply {
    /// The server says that it failed, with the status that it names.
    Error(Option<u16>, String),
    /// It is something else: what it is, and what is missing in it.
    Shape(String, &'static str),
    /// It broke off, or gave up.
    Broken(String),
}

impl Reply {
    /// The words that hold the verdict; without content, those of the reasoning.
    ///
    /// # Errors
    /// Why there are none: cut off, filtered, refused, a tool call, empty.
    pub(super) fn words(&self) -> Result<&str, String> {
        let reason = self.finish_reason.as_deref().unwrap_or("");
        let named = |what: &str| Err(format!("{what} (finish_reason {})", if reason.is_empty() { "missing" } else { reason }));
        match reason.to_ascii_lowercase().as_str() {
            // What is cut off may have gone on with "..but not quite".
            "length" | "max_tokens" | "max_output_tokens" | "model_length" => return named(CUT),
            "content_filter" | "safety" | "recitation" | "blocklist" | "prohibited_content" | "refusal" => return named("filtered"),
            _ => {}
        }
        match () {
            () if !self.content.trim().is_empty() => Ok(&self.content),
            () if !self.refusal.trim().is_empty() => Err(format!("refused: {}", self.refusal.trim())),
            () if self.tool_call => named("a tool call and no words"),
            () if !self.reasoning.trim().is_empty() => Ok(&self.reasoning),
            () => named("empty content"),
        }
    }

    /// Whether [`Self::words`] are those of the reasoning.
    pub(super) fn is_reasoning(&self) -> bool {
        self.content.trim().is_empty()
    }

    /// Adds what a choice or a piece of it says.
    fn add(&mut self, message: &Value) {
        let (text, thinking, refusal) = texts(&message["content"]);
        self.content += &text;
        self.reasoning += &thinking;
        self.refusal += &refusal;
        if let Some(refusal) = message["refusal"].as_str() {
            self.refusal += refusal;
        }
        // Servers that moved from one name to the other send both.
        let reasoning = ["reasoning_content", "reasoning"].iter().map(|key| texts(&message[*key])).find(|(t, ..)| !t.is_empty());
        if let Some((text, ..)) = reasoning {
            self.reasoning += &text;
        }
        self.tool_call |= message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty()) || message["function_call"].is_object();
    }

    fn end(&mut self, choice: &Value, value: &Value) {
        if let Some(reason) = choice["finish_reason"].as_str().filter(|reason| !reason.is_empty()) {
            self.finish_reason = Some(reason.to_string());
        }
        self.count(value);
    }

    fn count(&mut self, value: &Value) {
        let of = |key: &str| value["usage"][key].as_u64();
        if let Some(tokens) = of("total_tokens").or_else(|| of("prompt_tokens")?.checked_add(of("completion_tokens")?)) {
            self.tokens = tokens;
        }
    }
}

/// How [`Reply::words`] calls a reply that hit the limit of its length.
pub(super) const CUT: &str = "cut off";

/// Text, thinking and refusal of a message's content: a string, a list of parts, or one part.
fn texts(content: &Value) -> (String, String, String) {
    let (mut text, mut thinking, mut refusal) = (String::new(), String::new(), String::new());
    match content {
        Value::String(words) => text += words,
        Value::Array(parts) => {
            for part in parts {
                let (a, b, c) = texts(part);
                text += &a;
                thinking += &b;
                refusal += &c;
            }
        }
        Value::Object(part) => {
            let of = |key: &str| part.get(key).map(|value| texts(value).0).unwrap_or_default();
            match part.get("type").and_then(Value::as_str).unwrap_or("text") {
                "text" | "output_text" => {
                    text += &match part.get("text") {
                        Some(Value::Object(inner)) => inner.get("value").map(|value| texts(value).0).unwrap_or_default(),
                        _ => of("text"),
                    }
                }
                "refusal" => refusal += &of("refusal"),
                // Thinking, and whatever else is not said.
                _ => thinking += &[of("thinking"), of("text"), of("reasoning")].concat(),
            }
        }
        _ => {}
    }
    (text, thinking, refusal)
}

/// A whole completion.
pub(super) fn completion(text: &str) -> Result<Reply, NoReply> {
    let text = text.trim_start_matches('\u{feff}');
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        return Err(NoReply::Shape(text.into(), "expected a chat completion"));
    };
    if let Some(error) = error_of(&value) {
        return Err(error);
    }
    let choice = match value["choices"].as_array() {
        None => return Err(NoReply::Shape(text.into(), "expected a chat completion with `choices`")),
        Some(choices) => first(choices).ok_or_else(|| NoReply::Broken("got a chat completion whose `choices` is empty".into()))?,
    };
    if let Some(error) = error_of(choice) {
        return Err(error);
    }
    if !choice["message"].is_object() {
        return Err(NoReply::Shape(text.into(), "expected a `message` in its first choice"));
    }
    let mut reply = Reply::default();
    reply.add(&choice["message"]);
    reply.end(choice, &value);
    failed(&reply)?;
    Ok(reply)
}

/// A choice that ended because the server gave up.
fn failed(reply: &Reply) -> Result<(), NoReply> {
    match reply.finish_reason.as_deref() {
        Some(reason @ ("error" | "abort")) => Err(NoReply::Broken(format!("got finish_reason {reason}"))),
        _ => Ok(()),
    }
}

fn first(choices: &[Value]) -> Option<&Value> {
    choices.iter().find(|choice| choice["index"] == 0).or(choices.first())
}

/// What an answer says of its own failure.
fn error_of(value: &Value) -> Option<NoReply> {
    let error = value.get("error").filter(|error| !error.is_null() && **error != Value::Bool(false))?;
    let status = ["code", "status"].iter().find_map(|key| {
        let code = &error[*key];
        code.as_u64().or_else(|| code.as_str()?.parse().ok()).and_then(|code| u16::try_from(code).ok())
    });
    Some(NoReply::Error(status.filter(|code| (400..600).contains(code)), error.to_string()))
}

/// Whether a body is a stream of events, by how it begins.
pub(super) fn begins_a_stream(start: &[u8]) -> bool {
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start).trim_ascii_start();
    [b"data:".as_slice(), b"event:", b"id:", b"retry:", b": ", b":\n"].iter().any(|field| start.starts_with(field))
}

/// A completion in pieces: server-sent events whose data are chunks, up to `[DONE]` or a finish reason.
pub(super) fn stream(reader: &mut dyn BufRead) -> Result<Reply, NoReply> {
    let (mut reply, mut data, mut any) = (Reply::default(), String::new(), false);
    let mut line = Vec::new();
    let mut done = false;
    while !done {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).map_err(|error| NoReply::Broken(format!("the stream broke off: {error}")))?;
        // Bytes of one line only, so that a character is never split between two reads.
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_start_matches('\u{feff}').trim_end_matches(['\n', '\r']);
        let mut whole = false;
        if let Some(field) = text.strip_prefix("data:") {
            let first = data.is_empty();
            if !first {
                data.push('\n');
            }
            data += field.strip_prefix(' ').unwrap_or(field);
            // Some servers leave out the empty line between events: a line that is whole is an event.
            whole = first && (data.trim() == "[DONE]" || serde_json::from_str::<Value>(&data).is_ok_and(|value| value.is_object()));
        }
        if whole || text.is_empty() || read == 0 {
            let event = std::mem::take(&mut data);
            match event.trim() {
                "" => {}
                "[DONE]" => done = true,
                event => {
                    any = true;
                    piece(&mut reply, event)?;
                }
            }
        }
        if read == 0 {
            break;
        }
    }
    failed(&reply)?;
    match (any, done || reply.finish_reason.is_some()) {
        (false, _) => Err(NoReply::Broken("got a stream without a piece of a chat completion".into())),
        (true, false) => Err(NoReply::Broken("the stream broke off before a finish_reason or [DONE]".into())),
        (true, true) => Ok(reply),
    }
}

fn piece(reply: &mut Reply, event: &str) -> Result<(), NoReply> {
    let value: Value =
        serde_json::from_str(event).map_err(|_| NoReply::Shape(event.into(), "expected a piece of a chat completion in the stream"))?;
    if let Some(error) = error_of(&value) {
        return Err(error);
    }
    reply.count(&value);
    for choice in value["choices"].as_array().into_iter().flatten() {
        // A second choice is not part of the first one's words.
        if choice["index"].as_u64().unwrap_or(0) != 0 {
            continue;
        }
        if let Some(error) = error_of(choice) {
            return Err(error);
        }
        let message = if choice["delta"].is_object() { &choice["delta"] } else { &choice["message"] };
        reply.add(message);
        reply.end(choice, &value);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
