//! One chat completion over HTTP, tried again where that may help. The key appears in nothing but the request.

use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, HeaderName, HeaderValue, Response, Uri, header};
use ureq::{Agent, Body};

use super::mask::{Secrets, secrets_of_url, shown_url};
use super::reply::{self, MAX_BODY, MAX_STREAM, NoReply, Reply};
use super::shape::Shape;
use super::{Event, JudgeConfig, JudgeError, lock, wait};

/// Characters of a server's words that are shown.
const SHOWN: usize = 200;
/// A year, in seconds: a clock cannot add any number.
const LONGEST_TIMEOUT: u64 = 365 * 86400;
/// A wait from here on is told.
const TOLD: Duration = Duration::from_secs(1);

pub(super) struct Client<'a> {
    agent: Agent,
    url: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    secrets: Secrets,
    retries: u32,
    backoff: Duration,
    longest_wait: Duration,
    /// How requests differ from what was wished for, since the server refused that.
    shape: Mutex<Shape>,
    tell: &'a (dyn Fn(Event<'_>) + Sync),
    /// Set when nothing more is to be asked.
    pub(super) stop: AtomicBool,
}

/// Why there is no reply.
pub(super) enum Failure {
    /// No other question would be answered either.
    All(JudgeError),
    /// This one was not answered, after every try.
    One(JudgeError),
    /// The server will not answer this question.
    Row(String),
}

/// What one try came to.
enum Try {
    Said(Reply),
    Again { reason: String, wait: Option<Duration> },
    Never { status: u16, body: String },
}

impl<'a> Client<'a> {
    pub(super) fn new(config: &JudgeConfig, tell: &'a (dyn Fn(Event<'_>) + Sync)) -> Result<Self, JudgeError> {
        let url = config.endpoint()?;
        let headers = config.headers()?;
        let secrets = headers.iter().filter_map(|(.., secret)| secret.clone()).chain(secrets_of_url(&url));
        let mut agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(config.timeout_seconds.min(LONGEST_TIMEOUT))))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("nextmem/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            // A proxy knows another machine by that address.
            agent = agent.proxy(None);
        }
        Ok(Self {
            agent: agent.build().into(),
            secrets: Secrets::new(secrets),
            headers: headers.into_iter().map(|(name, value, _)| (name, value)).collect(),
            url,
            retries: config.retries,
            backoff: Duration::from_millis(config.backoff_milliseconds),
            longest_wait: Duration::from_secs(config.max_wait_seconds),
            shape: Mutex::new(Shape::new(config.stream)),
            tell,
            stop: AtomicBool::new(false),
        })
    }

    /// A reply, and what was sent otherwise than wished.
    pub(super) fn complete(&self, wished: &Value) -> Result<(Reply, Vec<String>), Failure> {
        let mut tries = 0;
        loop {
            let shape = lock(&self.shape).clone();
            let (reason, wait) = match self.send(&shape.applied(wished)) {
                Try::Said(reply) => return Ok((reply, shape.changes())),
                Try::Never { status, body } => match self.adapt(&shape, status, &body, wished) {
                    true => continue,
                    false => return Err(self.refused(status, &body)),
                },
                Try::Again { reason, wait } => (self.start(&reason), wait),
            };
            tries += 1;
            if tries > self.retries || self.stop.load(Ordering::Relaxed) {
                return Err(Failure::One(JudgeError::Unreachable { url: self.shown_url(), tries, reason }));
            }
            self.pause(tries, &reason, wait);
        }
    }

    /// Text of a reply, fit for a file.
    pub(super) fn hide(&self, text: &str) -> String {
        self.secrets.hide(text)
    }

    /// The beginning of what a server said, fit for a line.
    pub(super) fn start(&self, text: &str) -> String {
        // Masked before it is cut: a key across the cut would not be known.
        let shown = self.secrets.shown(text);
        match shown.char_indices().nth(SHOWN) {
            Some((at, _)) => format!("{}..", &shown[..at]),
            None => shown,
        }
    }

    fn shown_url(&self) -> String {
        self.secrets.shown(&shown_url(&self.url))
    }

    /// Waits before the next try.
    fn pause(&self, tries: u32, reason: &str, asked: Option<Duration>) {
        // A little apart for each thread, so that they do not come back together.
        let thread = format!("{:?}", std::thread::current().id());
        let jitter = thread.bytes().fold(0u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b))) % 100;
        let own = self.backoff.saturating_mul(2u32.pow((tries - 1).min(10))) + self.backoff * jitter as u32 / 100;
        let wait = asked.unwrap_or(own).min(self.longest_wait);
        if wait >= TOLD {
            let asks = match asked {
                Some(asked) if asked > wait => format!(" (it asks for {:.0} s)", asked.as_secs_f64()),
                _ => String::new(),
            };
            let next = format!("try {} of {} in {:.1} s", tries + 1, self.retries.saturating_add(1), wait.as_secs_f64());
            (self.tell)(Event::Note(&format!("judge at {}: {reason}; {next}{asks}", self.shown_url())));
        }
        let mut left = wait;
        while !left.is_zero() && !self.stop.load(Ordering::Relaxed) {
            let step = left.min(Duration::from_millis(100));
            std::thread::sleep(step);
            left -= step;
        }
    }

    /// Whether the request can be sent in another form, since the server refuses a parameter of it.
    fn adapt(&self, sent: &Shape, status: u16, body: &str, wished: &Value) -> bool {
        let mut shape = lock(&self.shape);
        // Another thread was told the same before.
        if *shape != *sent {
            return true;
        }
        let change = shape.adapt(status, body, wished);
        if let Some(change) = &change {
            (self.tell)(Event::Note(&format!(
                "judge at {}: {change} from now on, since it answers {}",
                self.shown_url(),
                self.start(body)
            )));
        }
        change.is_some()
    }

    fn refused(&self, status: u16, body: &str) -> Failure {
        let error: Value = serde_json::from_str(body).unwrap_or_default();
        let error = if error["error"].is_object() { &error["error"] } else { &error };
        let is =
            |codes: &[&str]| ["code", "type", "innererror"].iter().any(|key| codes.contains(&error[*key].as_str().unwrap_or_default()));
        // What is wrong with this question, not with all of them.
        let of_row =
            ["content_filter", "content_policy_violation", "context_length_exceeded", "string_above_max_length", "data_inspection_failed"];
        if status == 413 || is(&of_row) {
            return Failure::Row(format!("refused by the server with HTTP {status}: {}", self.start(body)));
        }
        let advice = match status {
            401 | 403 => "check the key in the variable that api_key_env names, and api_key_header",
            402 | 429 => "the account's credit or quota is used up; what is judged is kept",
            404 => "check base_url (it ends before /chat/completions; a query like ?api-version=.. may follow) and model",
            300..=399 => "it points elsewhere: check base_url",
            _ => "check base_url, model, max_tokens and the other parameters of [judge] (omit leaves one out)",
        };
        Failure::All(JudgeError::Refused { url: self.shown_url(), status, body: self.start(body), advice })
    }

    fn send(&self, body: &Value) -> Try {
        let again = |reason: String| Try::Again { reason, wait: None };
        let mut request = self.agent.post(&self.url);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut response = match request.send_json(body) {
            Ok(response) => response,
            Err(error) => return again(error.to_string()),
        };
        let (status, asked) = (response.status().as_u16(), wait::asked(response.headers(), response.status().as_u16()));
        let target = response.headers().get(header::LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()).into_owned());
        if (200..300).contains(&status) {
            return match answer(&mut response) {
                Ok(reply) => Try::Said(reply),
                Err(NoReply::Shape(got, expected)) => again(format!("got {:?}, {expected}", self.start(&got))),
                Err(NoReply::Broken(reason)) => again(reason),
                Err(NoReply::Error(code, text)) => failed(code.unwrap_or(500), text, asked, "an error inside HTTP 200"),
            };
        }
        let text = match decoded(&mut response).and_then(|mut reader| whole(&mut reader, true)) {
            Ok(text) => text,
            Err(error) => format!("its body cannot be read: {error}"),
        };
        match target.filter(|_| (300..400).contains(&status)) {
            Some(target) => Try::Never { status, body: format!("it points to {}", shown_url(&target)) },
            None => failed(status, text, asked, "HTTP"),
        }
    }
}

/// Whether a failure is worth another try.
fn failed(status: u16, text: String, wait: Option<Duration>, kind: &str) -> Try {
    // A quota that is used up does not come back in seconds; a limit of the rate does, and some servers call it a quota, too.
    let used_up = status == 429 && wait.is_none() && text.contains("insufficient_quota");
    match status {
        408 | 409 | 425 | 429 | 500..=599 if !used_up => {
            let named = if kind == "HTTP" { format!("HTTP {status}") } else { kind.to_string() };
            Try::Again { reason: format!("{named}: {text}"), wait }
        }
        _ => Try::Never { status, body: text },
    }
}

fn answer(response: &mut Response<Body>) -> Result<Reply, NoReply> {
    let broken = |error: std::io::Error| NoReply::Broken(error.to_string());
    let events = text_of(response.headers(), header::CONTENT_TYPE).is_some_and(|kind| kind.contains("event-stream"));
    let mut reader = decoded(response).map_err(broken)?;
    if reply::begins_a_stream(reader.fill_buf().map_err(broken)?) || events && !reader.fill_buf().map_err(broken)?.starts_with(b"{") {
        return reply::stream(&mut reader);
    }
    reply::completion(&whole(&mut reader, false).map_err(broken)?)
}

/// The body with its encoding undone. None is asked for, but some servers and proxies compress nevertheless.
fn decoded(response: &mut Response<Body>) -> std::io::Result<Box<dyn BufRead + '_>> {
    let encoding = text_of(response.headers(), header::CONTENT_ENCODING).unwrap_or_default();
    let mut reader = BufReader::new(response.body_mut().with_config().limit(MAX_STREAM).reader());
    let gzip = reader.fill_buf()?.starts_with(&[0x1f, 0x8b]);
    Ok(match encoding.as_str() {
        "" | "identity" | "gzip" | "x-gzip" if !gzip => Box::new(reader),
        "" | "identity" | "gzip" | "x-gzip" => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(reader).take(MAX_STREAM))),
        "deflate" => Box::new(BufReader::new(flate2::bufread::ZlibDecoder::new(reader).take(MAX_STREAM))),
        other => return Err(std::io::Error::other(format!("its body is encoded as {other}, expected plain or gzip"))),
    })
}

/// A body that is no stream; with `cut`, as much of it as is read at all.
fn whole(reader: &mut dyn BufRead, cut: bool) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    reader.take(MAX_BODY + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BODY && !cut {
        return Err(std::io::Error::other(format!("its body is over {MAX_BODY} bytes")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn text_of(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.trim().to_ascii_lowercase())
}

fn is_loopback(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}
