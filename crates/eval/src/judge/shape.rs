//! Requests that are sent otherwise than wished, since a server refuses a parameter: renamed, left out, or streamed.

use std::collections::BTreeSet;

use serde_json::Value;

/// The two names of one limit.
const LIMITS: [&str; 2] = ["max_tokens", "max_completion_tokens"];
/// What a judge can do without.
const OPTIONAL: [&str; 3] = ["temperature", "seed", "top_p"];

/// What differs. Each step goes further from the wish and none goes back, so that adapting ends.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// The limit goes by its other name.
    renamed: bool,
    dropped: BTreeSet<&'static str>,
    /// Asked for by the configuration.
    stream: bool,
    /// Turned round since the server refused it.
    turned: bool,
}

impl Shape {
    pub(super) fn new(stream: bool) -> Self {
        Self { stream, ..Self::default() }
    }

    fn streams(&self) -> bool {
        self.stream != self.turned
    }

    /// The body that is sent.
    pub(super) fn applied(&self, wished: &Value) -> Value {
        let mut body = wished.clone();
        if let Some(fields) = body.as_object_mut() {
            if self.renamed {
                let limit = LIMITS.iter().find_map(|name| Some((*name, fields.remove(*name)?)));
                if let Some((name, value)) = limit {
                    fields.insert(other(name).into(), value);
                }
            }
            self.dropped.iter().for_each(|name| drop(fields.remove(*name)));
            if self.streams() {
                fields.insert("stream".into(), true.into());
            }
        }
        body
    }

    /// What decides a reply and was not sent as wished.
    pub(super) fn changes(&self) -> Vec<String> {
        self.dropped.iter().map(|name| format!("{name} not sent")).collect()
    }

    /// Another form of the request, said in words, if the answer refuses a parameter of it.
    pub(super) fn adapt(&mut self, status: u16, body: &str, wished: &Value) -> Option<String> {
        if !matches!(status, 400 | 404 | 405 | 422 | 501) {
            return None;
        }
        if !self.turned && !self.streams() && wants_a_stream(body) {
            self.turned = true;
            return Some("replies are asked for as a stream".into());
        }
        let sent = self.applied(wished);
        let names: Vec<&'static str> =
            LIMITS.into_iter().chain(OPTIONAL).chain(["stream"]).filter(|name| sent[*name] != Value::Null).collect();
        match refused(body, &names)? {
            "stream" => {
                if self.turned {
                    return None;
                }
                self.turned = true;
                Some("replies are not asked for as a stream".into())
            }
            name if LIMITS.contains(&name) && !self.renamed => {
                self.renamed = true;
                Some(format!("{name} is sent as {}", other(name)))
            }
            name => {
                self.dropped.insert(name);
                Some(format!("{name} is not sent"))
            }
        }
    }
}

fn other(limit: &str) -> &'static str {
    if limit == LIMITS[0] { LIMITS[1] } else { LIMITS[0] }
}

/// How servers say that they do not know a parameter, in lower case.
const UNKNOWN: [&str; 24] = [
    "unsupported",
    "not supported",
    "not support",
    "n't support",
    "unknown name",
    "unknown parameter",
    "unknown field",
    "unknown argument",
    "unrecognized",
    "unrecognised",
    "unexpected keyword",
    "unexpected field",
    "unexpected parameter",
    "unexpected property",
    "not permitted",
    "not allowed",
    "extra_forbidden",
    "extra inputs",
    "extra fields",
    "additional properties",
    "cannot find field",
    "deprecated",
    "only the default",
    "not available",
];

/// Which of the parameters that were sent an answer refuses altogether. One whose value alone is refused, such as a limit that is
/// too high, is not left out: that would be another question than was asked.
fn refused(body: &str, sent: &[&'static str]) -> Option<&'static str> {
    let text = body.to_lowercase();
    if !UNKNOWN.iter().any(|words| text.contains(words)) {
        return None;
    }
    let value: Value = serde_json::from_str(body).unwrap_or_default();
    let named = [&value["error"]["param"], &value["param"]].into_iter().find_map(Value::as_str);
    if let Some(named) = named.and_then(|named| sent.iter().find(|name| **name == named)) {
        return Some(*named);
    }
    // The first one named: a message goes on with what to use instead.
    sent.iter().filter_map(|name| Some((word_at(&text, name)?, *name))).min().map(|(_, name)| name)
}

/// Where a name stands as a word of its own.
fn word_at(text: &str, name: &str) -> Option<usize> {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
    let mut at = text.match_indices(name).map(|(at, _)| at);
    at.find(|at| !joins(text[..*at].chars().next_back()) && !joins(text[at + name.len()..].chars().next()))
}

/// Whether an answer says that only streams are given.
fn wants_a_stream(body: &str) -> bool {
    let text: String = body.to_lowercase().chars().filter(|c| !matches!(c, '"' | '\'' | '`' | '\\')).collect();
    let said = [
        "only support stream",
        "only supports stream",
        "only stream",
        "stream must be",
        "stream=true",
        "stream: true",
        "stream to true",
        "enable the stream",
        "enable stream",
        "requires stream",
        "streaming is required",
        "stream is required",
        "must be streamed",
        "streaming only",
        "without streaming is not supported",
        "non-streaming is not supported",
        "non-streaming requests are not supported",
    ];
    said.iter().any(|words| text.contains(words)) && !text.contains("stream must be false")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wished() -> Value {
        json!({"model": "m", "temperature": 0, "seed": 1, "max_tokens": 9})
    }

    #[test]
    fn what_servers_refuse() {
        let openai = |message: &str, param: Value| {
            json!({"error": {"message": message, "param": param, "code": "unsupported_parameter"}}).to_string()
        };
        for (body, name) in [
            (
                openai(
                    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                    "max_tokens".into(),
                ),
                Some("max_tokens"),
            ),
            (
                openai("'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.", Value::Null),
                Some("max_tokens"),
            ),
            (
                openai("'temperature' does not support 0 with this model. Only the default (1) value is supported.", Value::Null),
                Some("temperature"),
            ),
            (
                r#"{"detail":[{"type":"extra_forbidden","loc":["body","seed"],"msg":"Extra inputs are not permitted"}]}"#.into(),
                Some("seed"),
            ),
            (r#"Invalid JSON payload received. Unknown name "seed": Cannot find field."#.into(), Some("seed")),
            ("property 'seed' is unsupported".into(), Some("seed")),
            // Values, other things, and names that only look alike.
            ("max_tokens is too large: 9. This model supports at most 4 completion tokens".into(), None),
            ("Unsupported parameter: 'seeds'".into(), None),
            ("Unsupported parameter: 'logprobs'".into(), None),
            ("the model `m` does not exist".into(), None),
            (String::new(), None),
        ] {
            assert_eq!(refused(&body, &["max_tokens", "temperature", "seed"]), name, "{body}");
        }
        assert!(wants_a_stream("This model only support stream mode, please enable the stream parameter to access the model."));
        assert!(wants_a_stream(r#"{"error": "\"stream\" must be true"}"#));
        assert!(!wants_a_stream("parameter.enable_thinking must be set to false for non-streaming calls"));
    }

    #[test]
    fn adapting_ends() {
        let mut shape = Shape::new(false);
        let refuse = |name: &str| format!("unsupported parameter {name}");
        assert!(shape.adapt(400, &refuse("max_tokens"), &wished()).is_some());
        assert_eq!(shape.applied(&wished()), json!({"model": "m", "temperature": 0, "seed": 1, "max_completion_tokens": 9}));
        assert_eq!(shape.changes(), Vec::<String>::new());
        assert!(shape.adapt(400, &refuse("temperature"), &wished()).is_some());
        assert!(shape.adapt(422, &refuse("seed"), &wished()).is_some());
        assert!(shape.adapt(400, &refuse("max_completion_tokens"), &wished()).is_some());
        assert_eq!(shape.applied(&wished()), json!({"model": "m"}));
        assert_eq!(shape.changes(), ["max_completion_tokens not sent", "seed not sent", "temperature not sent"]);
        // Nothing is left to leave out.
        for name in ["max_tokens", "max_completion_tokens", "temperature", "seed", "stream"] {
            assert_eq!(shape.adapt(400, &refuse(name), &wished()), None, "{name}");
        }
        assert!(shape.adapt(400, "only supports streaming", &wished()).is_some());
        assert_eq!(shape.applied(&wished()), json!({"model": "m", "stream": true}));
        assert_eq!(shape.adapt(400, "stream is not supported", &wished()), None);
        assert_eq!(shape.adapt(401, &refuse("temperature"), &wished()), None);
        // One that the configuration wants is given up, too.
        let mut shape = Shape::new(true);
        assert_eq!(shape.applied(&wished())["stream"], true);
        assert!(shape.adapt(400, "stream is not supported", &wished()).is_some());
        assert_eq!(shape.applied(&wished()), wished());
    }
}
