//! Where the judge is and how it is asked.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use ureq::http::{HeaderName, HeaderValue, Uri};

use super::{JudgeError, sha256};
use crate::sample::QaSample;

/// How an answer is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JudgePrompt {
    /// The same content as the gold answer, nothing missing, nothing wrong.
    #[default]
    Strict,
    /// Contains the gold answer or means the same.
    Lenient,
}

impl JudgePrompt {
    /// Its name in files: `strict` or `lenient`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Lenient => "lenient",
        }
    }

    /// The template; `{question}`, `{answer}` and `{prediction}` stand for a sample's.
    pub fn template(self) -> &'static str {
        match self {
            Self::Strict => include_str!("strict.txt"),
            Self::Lenient => include_str!("lenient.txt"),
        }
    }

    /// SHA-256 of the template.
    pub fn hash(self) -> String {
        sha256(self.template().as_bytes())
    }

    /// The question to the judge. Text of a sample is put in once, so that braces in it mean nothing.
    pub(super) fn ask(self, sample: &QaSample) -> String {
        let mut out = String::new();
        let mut rest = self.template();
        while let Some(at) = rest.find('{') {
            out.push_str(&rest[..at]);
            let (value, len) = match &rest[at..] {
                r if r.starts_with("{question}") => (&sample.question, 10),
                r if r.starts_with("{answer}") => (&sample.answer, 8),
                _ => (&sample.prediction, 12),
            };
            out.push_str(value);
            rest = &rest[at + len..];
        }
        out + rest
    }
}

/// Where the judge is and how it is asked: `[judge]` of an experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JudgeConfig {
    /// The endpoint up to `/v1`, such as `http://localhost:8000/v1`; a query (`?api-version=..`) stays at the end of the address,
    /// and `${NAME}` stands for an environment variable.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// Strict or lenient.
    #[serde(default)]
    pub prompt: JudgePrompt,
    /// Requests at the same time, at most.
    #[serde(default = "defaults::concurrency")]
    pub concurrency: usize,
    /// Seconds that one request may take.
    #[serde(default = "defaults::timeout_seconds")]
    pub timeout_seconds: u64,
    /// Tries after the first, for time-outs, broken connections, 429 and 5xx.
    #[serde(default = "defaults::retries")]
    pub retries: u32,
    /// Wait before the first of them; doubled each time.
    #[serde(default = "defaults::backoff_milliseconds")]
    pub backoff_milliseconds: u64,
    /// Longest wait before a try, whatever the server asks for.
    #[serde(default = "defaults::max_wait_seconds", skip_serializing_if = "defaults::is_max_wait_seconds")]
    pub max_wait_seconds: u64,
    /// Most tokens of a reply, sent as `max_tokens`; a model that thinks aloud needs more.
    #[serde(default = "defaults::max_tokens")]
    pub max_tokens: usize,
    /// The same, sent as `max_completion_tokens` and in place of `max_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_completion_tokens: Option<usize>,
    /// Temperature of sampling.
    #[serde(default, skip_serializing_if = "defaults::is_zero")]
    pub temperature: f64,
    /// Seed of sampling, for servers that have one.
    #[serde(default = "defaults::seed", skip_serializing_if = "defaults::is_seed")]
    pub seed: i64,
    /// Nucleus sampling; absent: the server's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    /// Parameters that are not sent: `max_tokens`, `temperature`, `seed`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omit: Vec<String>,
    /// Whether replies are asked for as a stream of events, for servers that give no others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stream: bool,
    /// The environment variable that holds the key; a local server may need none.
    #[serde(default = "defaults::api_key_env")]
    pub api_key_env: String,
    /// The header that carries the key: `Authorization` with `Bearer` before it, any other (Azure: `api-key`) the key alone.
    #[serde(default = "defaults::api_key_header", skip_serializing_if = "defaults::is_api_key_header")]
    pub api_key_header: String,
    /// More headers; `${NAME}` in a value stands for an environment variable, which is where secrets belong.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_headers: BTreeMap<String, String>,
    /// More keys of the request's body, such as `chat_template_kwargs`.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra_body: Map<String, Value>,
}

impl JudgeConfig {
    /// A judge with every default.
    pub fn new(base_url: &str, model: &str) -> Self {
        Self {
            base_url: base_url.into(),
            model: model.into(),
            prompt: JudgePrompt::default(),
            concurrency: defaults::concurrency(),
            timeout_seconds: defaults::timeout_seconds(),
            retries: defaults::retries(),
            backoff_milliseconds: defaults::backoff_milliseconds(),
            max_wait_seconds: defaults::max_wait_seconds(),
            max_tokens: defaults::max_tokens(),
            max_completion_tokens: None,
            temperature: 0.0,
            seed: defaults::seed(),
            top_p: None,
            omit: Vec::new(),
            stream: false,
            api_key_env: defaults::api_key_env(),
            api_key_header: defaults::api_key_header(),
            extra_headers: BTreeMap::new(),
            extra_body: Map::new(),
        }
    }

    /// Refuses what cannot work, before anything is asked.
    ///
    /// # Errors
    /// [`JudgeError::Config`].
    pub fn check(&self) -> Result<(), JudgeError> {
        let bad = |what: String| Err(JudgeError::Config(what));
        let tokens = self.max_completion_tokens.unwrap_or(self.max_tokens);
        if self.concurrency == 0 || tokens == 0 || self.timeout_seconds == 0 {
            return bad("concurrency, max_tokens, max_completion_tokens and timeout_seconds must be positive".into());
        }
        if self.concurrency > MOST_AT_ONCE {
            return bad(format!("concurrency: got {}, expected at most {MOST_AT_ONCE}", self.concurrency));
        }
        if !self.temperature.is_finite() || self.temperature < 0.0 {
            return bad(format!("temperature: got {}, expected a number from 0 on", self.temperature));
        }
        if let Some(p) = self.top_p.filter(|p| !(*p > 0.0 && *p <= 1.0)) {
            return bad(format!("top_p: got {p}, expected a number above 0 and at most 1"));
        }
        if self.model.trim().is_empty() {
            return bad("model: got an empty name, expected the model's name at the endpoint".into());
        }
        if let Some(name) = self.omit.iter().find(|name| !OMITTED.contains(&name.as_str())) {
            return bad(format!("omit: got {name:?}, expected some of {}", OMITTED.join(", ")));
        }
        for key in self.extra_body.keys() {
            if OWN_KEYS.contains(&key.as_str()) {
                return bad(format!("extra_body: got `{key}`, which is a key of [judge] itself; set it there"));
            }
            if ["messages", "n"].contains(&key.as_str()) {
                return bad(format!("extra_body: got `{key}`, expected keys that leave one question and one reply"));
            }
        }
        self.endpoint()?;
        self.headers().map(|_| ())
    }

    /// The address that is posted to.
    pub(super) fn endpoint(&self) -> Result<String, JudgeError> {
        let bad = |why: &str| JudgeError::Config(format!("base_url: got {:?}, {why}", super::mask::shown_url(&self.base_url)));
        let (url, _) = expanded(self.base_url.trim()).map_err(|why| bad(&why))?;
        let url = url.as_str();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(bad("expected http:// or https://"));
        }
        if url.contains('#') {
            return Err(bad("expected no `#`"));
        }
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let path = path.trim_end_matches('/');
        let path = if path.ends_with("/chat/completions") { path.to_string() } else { format!("{path}/chat/completions") };
        let whole = match query {
            Some(query) if !query.is_empty() => format!("{path}?{query}"),
            _ => path,
        };
        match whole.parse::<Uri>() {
            Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(whole),
            _ => Err(bad("expected an address like http://localhost:8000/v1")),
        }
    }

    /// The body of a request, as it is wished for.
    pub(super) fn body(&self, messages: &[Value]) -> Value {
        let mut body = json!({"model": self.model, "messages": messages});
        let mut set = |key: &str, value: Value| {
            if !self.omit.iter().any(|name| name == key) {
                body[key] = value;
            }
        };
        // 0 and not 0.0: some servers know temperatures by their text.
        set("temperature", if self.temperature.fract() == 0.0 { json!(self.temperature as i64) } else { json!(self.temperature) });
        set("seed", json!(self.seed));
        match self.max_completion_tokens {
            Some(tokens) => set("max_completion_tokens", json!(tokens)),
            None => set("max_tokens", json!(self.max_tokens)),
        }
        if let Some(p) = self.top_p {
            set("top_p", json!(p));
        }
        self.extra_body.iter().for_each(|(key, value)| set(key, value.clone()));
        body
    }

    /// What an answer is kept under: everything that decides a verdict. Secrets of headers are in the environment and so not in it.
    pub(super) fn key(&self, body: &Value) -> String {
        let mut asked = format!("{}\n{}\n{body}", self.base_url, self.prompt.hash());
        if !self.extra_headers.is_empty() {
            asked = format!("{asked}\n{}", json!(self.extra_headers));
        }
        sha256(asked.as_bytes())
    }

    /// The key, if its variable holds one.
    pub(super) fn api_key(&self) -> Option<String> {
        std::env::var(&self.api_key_env).ok().map(|key| key.trim().to_string()).filter(|key| !key.is_empty())
    }

    /// Every header with its value; values that hold a secret are marked.
    pub(super) fn headers(&self) -> Result<Vec<(HeaderName, HeaderValue, Option<String>)>, JudgeError> {
        let mut headers = Vec::new();
        let name_of = |key: &str, name: &str| {
            name.parse::<HeaderName>().map_err(|_| JudgeError::Config(format!("{key}: got {name:?}, expected the name of a header")))
        };
        let value_of = |key: String, value: &str| {
            HeaderValue::from_str(value)
                .map_err(|_| JudgeError::Config(format!("{key}: its value has characters that no header can carry, such as a line break")))
        };
        for (given, value) in &self.extra_headers {
            let name = name_of("extra_headers", given)?;
            if ["content-length", "content-type", "transfer-encoding", "host"].contains(&name.as_str()) {
                return Err(JudgeError::Config(format!("extra_headers: got `{given}`, which the request sets itself")));
            }
            let (value, secret) = expanded(value).map_err(|why| JudgeError::Config(format!("extra_headers: `{given}`: {why}")))?;
            let secret = secret || super::mask::names_a_secret(name.as_str());
            headers.push((name, value_of(format!("extra_headers: `{given}`"), &value)?, secret.then_some(value)));
        }
        let name = name_of("api_key_header", &self.api_key_header)?;
        if let Some(key) = self.api_key().filter(|_| headers.iter().all(|(other, ..)| *other != name)) {
            let value = if name == "authorization" { format!("Bearer {key}") } else { key.clone() };
            headers.push((name, value_of(format!("the key in {}", self.api_key_env), &value)?, Some(key)));
        }
        Ok(headers)
    }
}

/// Most requests at the same time: each has a thread.
const MOST_AT_ONCE: usize = 512;
/// Keys of the body that have a key of their own.
const OWN_KEYS: [&str; 7] = ["model", "stream", "temperature", "seed", "top_p", "max_tokens", "max_completion_tokens"];
/// What `omit` may name.
const OMITTED: [&str; 4] = ["max_tokens", "max_completion_tokens", "temperature", "seed"];

/// A value with its `${NAME}`s replaced, and whether it had any.
fn expanded(value: &str) -> Result<(String, bool), String> {
    let (mut out, mut rest, mut any) = (String::new(), value, false);
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, end)) = after.split_once('}') else { break };
        let found = std::env::var(name).map_err(|_| format!("the environment variable {name} is not set"))?;
        out.push_str(before);
        out.push_str(found.trim());
        (rest, any) = (end, true);
    }
    Ok((out + rest, any))
}

mod defaults {
    pub(super) fn concurrency() -> usize {
        4
    }
    pub(super) fn timeout_seconds() -> u64 {
        60
    }
    pub(super) fn retries() -> u32 {
        5
    }
    pub(super) fn backoff_milliseconds() -> u64 {
        500
    }
    pub(super) fn max_wait_seconds() -> u64 {
        60
    }
    pub(super) fn is_max_wait_seconds(value: &u64) -> bool {
        *value == max_wait_seconds()
    }
    pub(super) fn max_tokens() -> usize {
        256
    }
    pub(super) fn is_zero(value: &f64) -> bool {
        *value == 0.0
    }
    pub(super) fn seed() -> i64 {
        1128
    }
    pub(super) fn is_seed(value: &i64) -> bool {
        *value == seed()
    }
    pub(super) fn api_key_env() -> String {
        "OPENAI_API_KEY".into()
    }
    pub(super) fn api_key_header() -> String {
        "Authorization".into()
    }
    pub(super) fn is_api_key_header(value: &str) -> bool {
        value == api_key_header()
    }
}
