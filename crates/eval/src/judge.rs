//! An LLM judge of answers, behind any endpoint that speaks OpenAI's chat completions.
//!
//! The paper's judge and prompt are not published, so both prompts are ours (`judge/strict.txt`, `judge/lenient.txt`); their hash is
//! part of every result. Verdicts are kept on disk by what was asked, so that a rerun asks nothing. Peers report that the prompt
//! alone moves accuracy by more than ten points: report which one was used, and the judge-free metrics beside it.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;

mod cache;
mod client;
mod verdict;

use cache::Cache;
use client::Client;
pub use verdict::{Verdict, agreement, read_verdict};

use crate::interval::{Interval, wilson};
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
            Self::Strict => include_str!("judge/strict.txt"),
            Self::Lenient => include_str!("judge/lenient.txt"),
        }
    }

    /// SHA-256 of the template.
    pub fn hash(self) -> String {
        sha256(self.template().as_bytes())
    }

    /// The question to the judge. Text of a sample is put in once, so that braces in it mean nothing.
    fn ask(self, sample: &QaSample) -> String {
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
    /// The endpoint up to `/v1`, such as `http://localhost:8000/v1`.
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
    /// Most tokens of a verdict; a model that thinks aloud needs more.
    #[serde(default = "defaults::max_tokens")]
    pub max_tokens: usize,
    /// The environment variable that holds the key; a local server may need none.
    #[serde(default = "defaults::api_key_env")]
    pub api_key_env: String,
}

/// One judged answer: a line of `judge/PROMPT.STEM.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Place in the sample file.
    pub index: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// The judge's words.
    pub said: String,
}

/// All answers of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeReport {
    /// One per sample, in their order.
    pub judged: Vec<Judged>,
    /// Requests that were sent; the others came from disk.
    pub requests: usize,
    /// Tokens that the server counted.
    pub tokens: u64,
}

impl JudgeReport {
    /// Share of correct answers with Wilson's 95% interval; an unclear one is not correct.
    pub fn accuracy(&self) -> (f64, Interval) {
        let correct = self.count(Verdict::Correct);
        (correct as f64 / self.judged.len().max(1) as f64, wilson(correct as f64, self.judged.len()))
    }

    /// Answers with that verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.judged.iter().filter(|j| j.verdict == verdict).count()
    }
}

/// Why judging stopped; what was judged until then is kept.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JudgeError {
    /// A setting that cannot work.
    #[error("judge: {0}")]
    Config(String),
    /// The server refused, and would refuse again.
    #[error("judge at {url}: got HTTP {status} ({body}), expected 200; {advice}")]
    Refused {
        /// The endpoint.
        url: String,
        /// The status.
        status: u16,
        /// The beginning of its answer, without the key.
        body: String,
        /// What to do.
        advice: &'static str,
    },
    /// No answer after every try.
    #[error("judge at {url}: no answer after {tries} tries ({reason}); check the server and run again, what is judged is kept")]
    Unreachable {
        /// The endpoint.
        url: String,
        /// Tries.
        tries: u32,
        /// The last reason.
        reason: String,
    },
    /// The cache cannot be written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

const SEED: u64 = 1128;
const REMINDER: &str = "Reply with exactly one word: CORRECT or INCORRECT.";

/// Judges every sample, several at a time; the verdicts are kept in `cache` by what was asked.
///
/// # Errors
/// [`JudgeError`]; the first one that no retry helps against stops the rest.
pub fn judge_samples(
    samples: &[QaSample],
    config: &JudgeConfig,
    cache: &Path,
    progress: &(dyn Fn(usize) + Sync),
) -> Result<JudgeReport, JudgeError> {
    if config.concurrency == 0 || config.max_tokens == 0 || config.timeout_seconds == 0 {
        return Err(JudgeError::Config("concurrency, max_tokens and timeout_seconds must be positive".into()));
    }
    if !config.base_url.starts_with("http://") && !config.base_url.starts_with("https://") {
        return Err(JudgeError::Config(format!("base_url: got {:?}, expected http:// or https://", config.base_url)));
    }
    let judge =
        Judge { client: Client::new(config), cache: Cache::open(cache)?, config, requests: AtomicUsize::new(0), tokens: Mutex::new(0) };
    let (next, done, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let verdicts: Vec<Mutex<Option<Judged>>> = samples.iter().map(|_| Mutex::new(None)).collect();
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..config.concurrency.min(samples.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= samples.len() || stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match judge.one(&samples[index]) {
                        Ok(judged) => {
                            *lock(&verdicts[index]) = Some(judged);
                            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
                        }
                        Err(error) => {
                            stop.store(true, Ordering::Relaxed);
                            lock(&failure).get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    if let Some(error) = lock(&failure).take() {
        return Err(error);
    }
    let judged = verdicts.iter().filter_map(|v| lock(v).take()).collect();
    let tokens = *lock(&judge.tokens);
    Ok(JudgeReport { judged, requests: judge.requests.load(Ordering::Relaxed), tokens })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

struct Judge<'a> {
    client: Client,
    cache: Cache,
    config: &'a JudgeConfig,
    requests: AtomicUsize,
    tokens: Mutex<u64>,
}

impl Judge<'_> {
    fn one(&self, sample: &QaSample) -> Result<Judged, JudgeError> {
        let mut messages = vec![json!({"role": "user", "content": self.config.prompt.ask(sample)})];
        let mut said = self.said(&messages)?;
        let mut verdict = read_verdict(&said);
        if verdict == Verdict::Unclear {
            messages.push(json!({"role": "assistant", "content": said}));
            messages.push(json!({"role": "user", "content": REMINDER}));
            said = self.said(&messages)?;
            verdict = read_verdict(&said);
        }
        Ok(Judged { index: sample.index, verdict, said })
    }

    /// The judge's words, from disk if they were asked for before.
    fn said(&self, messages: &[Value]) -> Result<String, JudgeError> {
        let body = json!({
            "model": self.config.model, "messages": messages, "temperature": 0, "seed": SEED, "max_tokens": self.config.max_tokens,
        });
        let key = sha256(format!("{}\n{}\n{body}", self.config.base_url, self.config.prompt.hash()).as_bytes());
        if let Some(said) = self.cache.get(&key) {
            return Ok(said);
        }
        let (said, tokens) = self.client.complete(&body)?;
        self.requests.fetch_add(1, Ordering::Relaxed);
        *lock(&self.tokens) += tokens;
        self.cache.put(&key, &said)?;
        Ok(said)
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
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
    pub(super) fn max_tokens() -> usize {
        256
    }
    pub(super) fn api_key_env() -> String {
        "OPENAI_API_KEY".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_sample_is_put_in_once() {
        let sample = QaSample {
            index: 0,
            reference: String::new(),
            question: "Who is {prediction}?".into(),
            answer: "{question}".into(),
            prediction: "Ann".into(),
            ref_word_num: 0,
        };
        let asked = JudgePrompt::Strict.ask(&sample);
        assert!(asked.contains("Question: Who is {prediction}?\nGold answer: {question}\nCandidate answer: Ann\n"), "{asked}");
        assert_ne!(JudgePrompt::Strict.hash(), JudgePrompt::Lenient.hash());
    }
}
