//! One chat completion over HTTP, tried again where that may help. The key appears in nothing but the request.

use std::time::Duration;

use serde_json::Value;
use ureq::Agent;

use super::{JudgeConfig, JudgeError};

/// Largest answer that is read.
const MAX_BODY: u64 = 1 << 20;
/// Longest wait that a server can ask for.
const MAX_WAIT: Duration = Duration::from_secs(60);

pub(super) struct Client {
    agent: Agent,
    url: String,
    key: Option<String>,
    retries: u32,
    backoff: Duration,
}

/// What one try came to.
enum Try {
    Said(String, u64),
    Again { reason: String, wait: Option<Duration> },
    Never { status: u16, body: String },
}

impl Client {
    pub(super) fn new(config: &JudgeConfig) -> Self {
        let agent: Agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(config.timeout_seconds)))
            .http_status_as_error(false)
            .max_redirects(0)
            .build()
            .into();
        Self {
            agent,
            url: format!("{}/chat/completions", config.base_url.trim_end_matches('/')),
            key: std::env::var(&config.api_key_env).ok().filter(|key| !key.is_empty()),
            retries: config.retries,
            backoff: Duration::from_millis(config.backoff_milliseconds),
        }
    }

    /// The words of the first choice and the tokens that the server counted.
    pub(super) fn complete(&self, body: &Value) -> Result<(String, u64), JudgeError> {
        let mut last = String::new();
        for attempt in 0..=self.retries {
            match self.send(body) {
                Try::Said(said, tokens) => return Ok((said, tokens)),
                Try::Never { status, body } => {
                    let advice = match status {
                        401 | 403 => "check the key in the variable that api_key_env names",
                        404 => "check base_url (it ends before /chat/completions) and model",
                        _ => "check base_url, model and max_tokens",
                    };
                    return Err(JudgeError::Refused { url: self.shown(&self.url), status, body, advice });
                }
                Try::Again { reason, wait } => {
                    last = reason;
                    if attempt < self.retries {
                        // A little apart for each thread, so that they do not come back together.
                        let jitter = format!("{:?}", std::thread::current().id())
                            .bytes()
                            .fold(0u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)))
                            % 100;
                        let own = self.backoff * 2u32.pow(attempt.min(10)) + self.backoff * jitter as u32 / 100;
                        std::thread::sleep(wait.unwrap_or(own).min(MAX_WAIT));
                    }
                }
            }
        }
        Err(JudgeError::Unreachable { url: self.shown(&self.url), tries: self.retries + 1, reason: last })
    }

    fn send(&self, body: &Value) -> Try {
        let again = |reason: String| Try::Again { reason: self.shown(&reason), wait: None };
        let mut request = self.agent.post(&self.url);
        if let Some(key) = &self.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let mut response = match request.send_json(body) {
            Ok(response) => response,
            Err(error) => return again(error.to_string()),
        };
        let status = response.status().as_u16();
        let wait = response.headers().get("retry-after").and_then(|v| v.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
        let text = match response.body_mut().with_config().limit(MAX_BODY).lossy_utf8(true).read_to_string() {
            Ok(text) => text,
            Err(error) => return again(error.to_string()),
        };
        let start = || self.shown(&text.chars().take(200).collect::<String>().replace('\n', " "));
        match status {
            200 => match said(&text) {
                Some((said, tokens)) => Try::Said(self.shown(&said), tokens),
                None => again(format!("got {:?}, expected a chat completion", start())),
            },
            408 | 409 | 425 | 429 | 500..=599 => Try::Again { reason: format!("HTTP {status}: {}", start()), wait },
            _ => Try::Never { status, body: start() },
        }
    }

    /// Without the key, should a server repeat it, and without credentials in the address.
    fn shown(&self, text: &str) -> String {
        let text = match &self.key {
            Some(key) => text.replace(key.as_str(), "[key]"),
            None => text.to_string(),
        };
        match (text.find("://"), text.find('@')) {
            (Some(start), Some(at)) if start < at && !text[start + 3..at].contains(['/', ' ']) => {
                format!("{}{}", &text[..start + 3], &text[at + 1..])
            }
            _ => text,
        }
    }
}

/// Content of the first choice; a refusal is what was said, too.
fn said(text: &str) -> Option<(String, u64)> {
    let value: Value = serde_json::from_str(text).ok()?;
    let message = value.get("choices")?.get(0)?.get("message")?;
    let words = ["content", "refusal"].iter().find_map(|key| message.get(*key)?.as_str())?;
    Some((words.to_string(), value["usage"]["total_tokens"].as_u64().unwrap_or(0)))
}
