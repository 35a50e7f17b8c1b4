//! An LLM judge of answers, behind any endpoint that speaks OpenAI's chat completions.
//!
//! The paper's judge and prompt are not published, so both prompts are ours (`judge/strict.txt`, `judge/lenient.txt`); their hash is
//! part of every result. Peers report that the prompt alone moves accuracy by more than ten points: report which one was used, and
//! the judge-free metrics beside it.
//!
//! A reply is read by a closed grammar (`judge/grammar.rs`): what it does not know, what is cut off, empty or refused is unclear, and
//! unclear is neither right nor wrong. Replies that held a verdict are kept on disk by what was asked, in the judge's own words, so
//! that a rerun asks only for the others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use thiserror::Error;

mod cache;
mod client;
mod config;
mod grammar;
mod mask;
mod reply;
mod shape;
mod verdict;
mod wait;

use cache::{Cache, Kept};
use client::{Client, Failure};
pub use config::{JudgeConfig, JudgePrompt};
use grammar::read_for;
pub use grammar::{READER_VERSION, read_verdict};
pub use verdict::{Verdict, agreement};

use crate::interval::{Interval, wilson};
use crate::sample::QaSample;

/// One judged answer: a line of `judge/PROMPT.STEM.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// Place in the sample file.
    pub index: usize,
    /// The verdict.
    pub verdict: Verdict,
    /// The judge's words.
    pub said: String,
    /// Why there is no verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether the words are the reasoning of a reply without content.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_reasoning: bool,
}

/// All answers of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeReport {
    /// One per sample, in their order.
    pub judged: Vec<Judged>,
    /// Requests that were answered; the other verdicts came from disk.
    pub requests: usize,
    /// Tokens that the server counted.
    pub tokens: u64,
    /// What was sent otherwise than the configuration says, because the server refused it: `temperature not sent`.
    pub changes: Vec<String>,
}

impl JudgeReport {
    /// Share of correct answers of all, with Wilson's 95% interval; one without a verdict is not correct.
    pub fn accuracy(&self) -> (f64, Interval) {
        let correct = self.count(Verdict::Correct);
        (correct as f64 / self.judged.len().max(1) as f64, wilson(correct as f64, self.judged.len()))
    }

    /// Share of correct answers of those that have a verdict, with Wilson's 95% interval; nothing without any.
    pub fn judged_accuracy(&self) -> Option<(f64, Interval)> {
        let (correct, decided) = (self.count(Verdict::Correct), self.decided());
        (decided > 0).then(|| (correct as f64 / decided as f64, wilson(correct as f64, decided)))
    }

    /// Answers with that verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.judged.iter().filter(|j| j.verdict == verdict).count()
    }

    /// Answers that have a verdict.
    pub fn decided(&self) -> usize {
        self.judged.iter().filter(|j| j.verdict.decided()).count()
    }

    /// Why answers have no verdict, the most frequent reason first, each with its number.
    pub fn reasons(&self) -> Vec<(usize, &str)> {
        let mut reasons: Vec<(usize, &str)> = Vec::new();
        for why in self.judged.iter().filter_map(|j| j.why.as_deref()) {
            match reasons.iter_mut().find(|(_, known)| *known == why) {
                Some((count, _)) => *count += 1,
                None => reasons.push((1, why)),
            }
        }
        reasons.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        reasons
    }
}

/// What is told while it runs.
#[derive(Debug)]
pub enum Event<'a> {
    /// So many answers are judged.
    Done(usize),
    /// Something that costs time or changes what is asked.
    Note(&'a str),
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
    #[error("{path}: {reason}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
}

const REMINDER: &str = "Reply with exactly one word: CORRECT or INCORRECT.";
/// Replies without one verdict among them after which nothing more is asked: the others would be like them.
const HOPELESS: usize = 20;
/// Questions in a row that get no answer after which the server counts as gone.
const GONE: usize = 3;

/// Judges every sample, several at a time; replies with a verdict are kept in `cache` by what was asked.
///
/// An answer that gets no verdict is unclear, one whose request gets no answer is failed; both are asked for again by the next call.
///
/// # Errors
/// [`JudgeError`]: what would meet every other question, too, stops the rest.
pub fn judge_samples(
    samples: &[QaSample],
    config: &JudgeConfig,
    cache: &Path,
    tell: &(dyn Fn(Event<'_>) + Sync),
) -> Result<JudgeReport, JudgeError> {
    config.check()?;
    let judge = Judge { client: Client::new(config, tell)?, cache: Cache::open(cache)?, config, counts: Counts::default() };
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let verdicts: Vec<Mutex<Option<Judged>>> = samples.iter().map(|_| Mutex::new(None)).collect();
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..config.concurrency.min(samples.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= samples.len() || judge.client.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match judge.judged(&samples[index]) {
                        Ok(judged) => {
                            *lock(&verdicts[index]) = Some(judged);
                            tell(Event::Done(done.fetch_add(1, Ordering::Relaxed) + 1));
                        }
                        Err(error) => {
                            judge.client.stop.store(true, Ordering::Relaxed);
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
    let judged = verdicts.iter().zip(samples).map(|(verdict, sample)| lock(verdict).take().unwrap_or_else(|| not_asked(sample))).collect();
    let counts = judge.counts;
    Ok(JudgeReport {
        judged,
        requests: counts.requests.into_inner(),
        tokens: *lock(&counts.tokens),
        changes: lock(&counts.changes).iter().cloned().collect(),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|e| e.into_inner())
}

fn not_asked(sample: &QaSample) -> Judged {
    let why = format!("not asked: none of the first {HOPELESS} replies held a verdict");
    Judged { index: sample.index, verdict: Verdict::Failed, said: String::new(), why: Some(why), from_reasoning: false }
}

/// What all threads count together.
#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    tokens: Mutex<u64>,
    changes: Mutex<BTreeSet<String>>,
    decided: AtomicUsize,
    undecided: AtomicUsize,
    failed_in_a_row: AtomicUsize,
}

struct Judge<'a> {
    client: Client<'a>,
    cache: Cache,
    config: &'a JudgeConfig,
    counts: Counts,
}

impl Judge<'_> {
    /// One answer with its verdict or the reason why it has none.
    fn judged(&self, sample: &QaSample) -> Result<Judged, JudgeError> {
        let one = |verdict, kept: Kept, why: Option<String>| Judged {
            index: sample.index,
            verdict,
            said: kept.said,
            why,
            from_reasoning: kept.from_reasoning,
        };
        match self.verdict(sample) {
            Ok((verdict, kept)) => {
                self.counts.decided.fetch_add(1, Ordering::Relaxed);
                lock(&self.counts.changes).extend(kept.changes.iter().cloned());
                Ok(one(verdict, kept, None))
            }
            Err(Stopped::Unclear(kept, why)) => {
                let undecided = self.counts.undecided.fetch_add(1, Ordering::Relaxed) + 1;
                if undecided >= HOPELESS && self.counts.decided.load(Ordering::Relaxed) == 0 {
                    self.client.stop.store(true, Ordering::Relaxed);
                }
                Ok(one(Verdict::Unclear, kept, Some(why)))
            }
            Err(Stopped::Failed(error)) => {
                let in_a_row = self.counts.failed_in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
                if in_a_row >= GONE || self.counts.requests.load(Ordering::Relaxed) == 0 {
                    return Err(error);
                }
                Ok(one(Verdict::Failed, Kept::default(), Some(error.to_string())))
            }
            Err(Stopped::All(error)) => Err(error),
        }
    }

    /// A verdict with the words that hold it, from disk or from the judge, who is reminded once of what a verdict is.
    fn verdict(&self, sample: &QaSample) -> Result<(Verdict, Kept), Stopped> {
        let question = vec![json!({"role": "user", "content": self.config.prompt.ask(sample)})];
        if let Some(found) = self.kept(&question) {
            return Ok(found);
        }
        let first = self.ask(&question)?;
        let verdict = read_for(self.config.prompt, &first.said);
        if verdict.decided() {
            self.keep(&question, &first)?;
            return Ok((verdict, first));
        }
        if first.from_reasoning {
            return Err(Stopped::Unclear(first, "no content, and no verdict at the end of the reasoning".into()));
        }
        let reminded = with_reminder(&question, &first.said);
        let second = self.ask(&reminded)?;
        let verdict = read_for(self.config.prompt, &second.said);
        if !verdict.decided() {
            return Err(Stopped::Unclear(second, "no verdict in the words, asked twice".into()));
        }
        // Only together do they hold a verdict.
        self.keep(&reminded, &second)?;
        self.keep(&question, &first)?;
        Ok((verdict, second))
    }

    fn kept(&self, question: &[Value]) -> Option<(Verdict, Kept)> {
        let read = |kept: Kept| Some((read_for(self.config.prompt, &kept.said), kept)).filter(|(verdict, _)| verdict.decided());
        let first = self.cache.get(&self.key(question))?;
        let reminded = with_reminder(question, &first.said);
        read(first).or_else(|| read(self.cache.get(&self.key(&reminded))?))
    }

    fn keep(&self, messages: &[Value], kept: &Kept) -> Result<(), Stopped> {
        self.cache.put(&self.key(messages), kept).map_err(Stopped::All)
    }

    fn key(&self, messages: &[Value]) -> String {
        self.config.key(&self.config.body(messages))
    }

    /// The words of the judge, whatever they are.
    fn ask(&self, messages: &[Value]) -> Result<Kept, Stopped> {
        let (reply, changes) = self.client.complete(&self.config.body(messages)).map_err(|failure| match failure {
            Failure::All(error) => Stopped::All(error),
            Failure::One(error) => Stopped::Failed(error),
            Failure::Row(why) => {
                self.counts.failed_in_a_row.store(0, Ordering::Relaxed);
                Stopped::Unclear(Kept::default(), why)
            }
        })?;
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        self.counts.failed_in_a_row.store(0, Ordering::Relaxed);
        *lock(&self.counts.tokens) += reply.tokens;
        let kept = |words: &str, from_reasoning| Kept { said: self.client.hide(words), from_reasoning, changes };
        match reply.words() {
            Ok(words) => Ok(kept(words, reply.is_reasoning())),
            Err(why) => {
                let limit = match self.config.max_completion_tokens {
                    Some(limit) => format!("max_completion_tokens ({limit})"),
                    None => format!("max_tokens ({})", self.config.max_tokens),
                };
                let why = if why.starts_with(reply::CUT) { format!("{why}: raise {limit}") } else { self.client.start(&why) };
                Err(Stopped::Unclear(kept(&reply.content, false), why))
            }
        }
    }
}

/// Why an answer gets no verdict.
enum Stopped {
    /// The judge's words, which are none, and the reason.
    Unclear(Kept, String),
    /// No answer after every try.
    Failed(JudgeError),
    /// No other answer would get one.
    All(JudgeError),
}

fn with_reminder(question: &[Value], said: &str) -> Vec<Value> {
    let more = [json!({"role": "assistant", "content": said}), json!({"role": "user", "content": REMINDER})];
    question.iter().cloned().chain(more).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
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
