//! One file over HTTP: resumed where it broke off, retried, checked, and in place only when it is whole.
//!
//! What has arrived stands in `NAME.part`, and `NAME.part.json` says what it is a part of, so that neither another address nor
//! a file that has changed on the server is ever glued to it.

use std::io::{ErrorKind, Read};
use std::path::Path;
use std::time::Duration;

use nextmem_data::sha256_file;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{HeaderMap, Response, StatusCode, header};
use ureq::{Agent, Body};

mod checksum;
mod error;
mod part;
mod shown;

pub use checksum::Checksum;
pub use error::DownloadError;
use part::Part;
pub use shown::{Network, with_bar};

/// The first wait after a failure; each further one in a row is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// How a file is fetched and what it must be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its checksum, where it is known.
    pub checksum: Option<Checksum>,
    /// Its size in bytes, where it is known.
    pub size: Option<u64>,
    /// A bearer token; sent to the host of the address only, not to where that redirects, and never printed.
    pub token: Option<String>,
    /// Failures in a row, with no byte between them, before giving up.
    pub retries: u32,
    /// Longest time to wait for a connection, an answer or the next byte.
    pub stall: Duration,
    /// Longest wait between two attempts, whatever the server asks for.
    pub longest_wait: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { checksum: None, size: None, token: None, retries: 5, stall: Duration::from_secs(30), longest_wait: Duration::from_secs(120) }
    }
}

/// What is told while it runs.
#[derive(Debug)]
pub enum Progress<'a> {
    /// So many bytes are there, of so many where the server says it.
    Bytes(u64, Option<u64>),
    /// Something that costs time: a new attempt, a start from zero.
    Note(&'a str),
}

/// A file that is in place.
#[derive(Clone, Debug)]
pub struct Downloaded {
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
    /// Whether it was there before and nothing was downloaded.
    pub kept: bool,
}

/// Puts the file at `url` into `dest`; a whole file that is there already is kept.
///
/// # Errors
/// [`DownloadError`]. After a broken connection, a full disk or an interruption the part stays and the next call goes on with it.
pub fn download(url: &str, dest: &Path, options: &Options, progress: &mut dyn FnMut(Progress<'_>)) -> Result<Downloaded, DownloadError> {
    if dest.exists() {
        return keep(dest, options);
    }
    let mut part = Part::open(url, dest)?;
    let arrived = whole(url, &mut part, options, progress);
    // What is of no use to a later call does not stay.
    if arrived.is_err() && part.length == 0 {
        part.discard();
    }
    let (bytes, sha256) = arrived?;
    part.into_place()?;
    Ok(Downloaded { bytes, sha256, kept: false })
}

/// Fetches and checks the part, and empties one that is not the file; returns its size and SHA-256.
fn whole(url: &str, part: &mut Part, options: &Options, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(u64, String), DownloadError> {
    let resumed = part.length > 0;
    fetch(url, part, options, progress)?;
    let mut checked = part.check(options);
    // A part from an earlier run is the first suspect: once more from the start.
    if resumed && matches!(checked, Err(DownloadError::Checksum { .. })) {
        progress(Progress::Note("the resumed file has another checksum; starting over"));
        part.clear()?;
        fetch(url, part, options, progress)?;
        checked = part.check(options);
    }
    if checked.is_err() {
        part.clear()?;
    }
    checked
}

/// What a hub says of a file in the headers of its address: its checksum and its size, where it gives them.
///
/// # Errors
/// [`DownloadError`]; there is one attempt.
pub fn described(url: &str, options: &Options) -> Result<(Option<Checksum>, Option<u64>), DownloadError> {
    let mut request = agent(url, options.stall).head(url).config().max_redirects(0).build();
    if let Some(token) = &options.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = request.call().map_err(|error| DownloadError::Request { url: url.into(), why: error.to_string() })?;
    let (headers, status) = (response.headers(), response.status());
    if status.is_client_error() || status.is_server_error() {
        return Err(refused(url, status, options));
    }
    // A large file is elsewhere: what is said of that is in `X-Linked-*`, the rest is about the redirect.
    let tag = [header::HeaderName::from_static("x-linked-etag"), header::ETAG].into_iter().find_map(|name| text(headers, name));
    let linked = number(headers, header::HeaderName::from_static("x-linked-size"));
    let size = linked.or_else(|| number(headers, header::CONTENT_LENGTH).filter(|_| status.is_success()));
    Ok((tag.and_then(|tag| Checksum::parse(tag.trim_start_matches("W/").trim_matches('"'))), size))
}

/// The first bytes of a file, fewer where it ends; for what is decided before the rest comes.
///
/// # Errors
/// [`DownloadError`]; there is one attempt.
pub fn first_bytes(url: &str, count: u64, options: &Options) -> Result<Vec<u8>, DownloadError> {
    let failed = |why: String| DownloadError::Request { url: url.into(), why };
    let mut request = agent(url, options.stall).get(url).header(header::RANGE, format!("bytes=0-{}", count.saturating_sub(1)));
    if let Some(token) = &options.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = request.call().map_err(|error| failed(error.to_string()))?;
    let status = response.status();
    if status != StatusCode::OK && status != StatusCode::PARTIAL_CONTENT {
        return Err(refused(url, status, options));
    }
    // A server that sends the whole file is cut off.
    let mut bytes = Vec::new();
    response.into_body().into_reader().take(count).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    Ok(bytes)
}

/// The file that is there, if it is the one that is wanted.
fn keep(dest: &Path, options: &Options) -> Result<Downloaded, DownloadError> {
    let disk = |source| DownloadError::Disk { path: dest.to_owned(), done: 0, source };
    let bytes = std::fs::metadata(dest).map_err(disk)?.len();
    let sha256 = sha256_file(dest).map_err(|e| disk(std::io::Error::other(e)))?;
    let got = options.checksum.as_ref().map(|wanted| wanted.same_kind_of(dest, &sha256)).transpose().map_err(disk)?;
    let right = got == options.checksum && options.size.is_none_or(|wanted| wanted == bytes);
    match right {
        true => Ok(Downloaded { bytes, sha256, kept: true }),
        false => Err(DownloadError::Other { path: dest.to_owned(), sha256, bytes }),
    }
}

/// A client that never waits longer than `stall` and sends a token to the host of the address alone.
fn agent(url: &str, stall: Duration) -> Agent {
    Agent::new_with_config(
        Agent::config_builder()
            .http_status_as_error(false)
            // A file behind https must not come from where anyone could change it.
            .https_only(url.starts_with("https://"))
            .redirect_auth_headers(RedirectAuthHeaders::SameHost)
            .user_agent(concat!("nextmem/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_resolve(Some(stall))
            .timeout_connect(Some(stall))
            .timeout_recv_response(Some(stall))
            .timeout_per_read(Some(stall))
            .build(),
    )
}

/// Attempts until the part is whole.
fn fetch(url: &str, part: &mut Part, options: &Options, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), DownloadError> {
    let agent = agent(url, options.stall);
    let (mut failures, mut most) = (0, part.length);
    loop {
        let (why, asked) = match attempt(&agent, url, part, options, progress) {
            Ok(()) => return Ok(()),
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Again(why, asked)) => (why, asked),
        };
        // A server that cannot resume makes progress only beyond what had been there before.
        failures = if part.length > most { 1 } else { failures + 1 };
        most = most.max(part.length);
        if failures > options.retries {
            return Err(DownloadError::GaveUp { url: url.into(), attempts: failures, why, done: part.length });
        }
        let wait = asked.unwrap_or(FIRST_WAIT * 2u32.saturating_pow(failures - 1).min(1 << 10)).min(options.longest_wait);
        progress(Progress::Note(&format!("{why}; going on in {:.1} s", wait.as_secs_f64())));
        std::thread::sleep(wait);
    }
}

/// Why an attempt ended without the whole file.
enum Failure {
    /// Worth another attempt, after the time that the server asked for.
    Again(String, Option<Duration>),
    /// Not worth one.
    Final(DownloadError),
}

impl From<DownloadError> for Failure {
    fn from(error: DownloadError) -> Self {
        Self::Final(error)
    }
}

fn attempt(agent: &Agent, url: &str, part: &mut Part, options: &Options, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), Failure> {
    if part.length > 0 && part.about.total == Some(part.length) {
        return Ok(());
    }
    let mut request = agent.get(url);
    if part.length > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", part.length));
        if let Some(validator) = &part.about.validator {
            request = request.header(header::IF_RANGE, validator);
        }
    }
    if let Some(token) = &options.token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let response = request.call().map_err(|error| of_call(url, error, part.length))?;
    let total = accept(url, &response, part, options, progress)?;
    if let (Some(wanted), Some(got)) = (options.size, total)
        && wanted != got
    {
        return Err(DownloadError::Size { url: url.into(), wanted, got }.into());
    }
    part.describe(response.headers(), total)?;
    copy(response, part, total, options, progress)
}

/// What the answer is good for: prepares the part for its body and returns the size of the whole file where it is known.
fn accept(
    url: &str,
    response: &Response<Body>,
    part: &mut Part,
    options: &Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Option<u64>, Failure> {
    let (headers, status) = (response.headers(), response.status());
    match status {
        StatusCode::OK => {
            if part.length > 0 {
                progress(Progress::Note("the server sends the file from its start (it cannot resume, or the file has changed)"));
                part.clear()?;
            }
            Ok(number(headers, header::CONTENT_LENGTH))
        }
        StatusCode::PARTIAL_CONTENT => match content_range(headers) {
            Some((Some(start), total)) if start == part.length && (part.about.total.is_none() || part.about.total == total) => Ok(total),
            _ => {
                part.clear()?;
                Err(Failure::Again("the server answered with another range than was asked for; starting over".into(), None))
            }
        },
        StatusCode::RANGE_NOT_SATISFIABLE => {
            part.clear()?;
            Err(Failure::Again("the server has less than the part that is here; starting over".into(), None))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => Err(Failure::Again(format!("HTTP {status}"), retry_after(headers))),
        _ if status.is_server_error() => Err(Failure::Again(format!("HTTP {status}"), retry_after(headers))),
        _ => Err(refused(url, status, options).into()),
    }
}

/// A status that another attempt does not change.
fn refused(url: &str, status: StatusCode, options: &Options) -> DownloadError {
    let (url, code) = (url.into(), status.as_u16());
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => DownloadError::Denied { url, status: code, token: options.token.is_some() },
        StatusCode::NOT_FOUND | StatusCode::GONE => DownloadError::NotFound { url, status: code },
        _ => DownloadError::Status { url, status: code },
    }
}

/// Appends the body to the part.
fn copy(
    response: Response<Body>,
    part: &mut Part,
    total: Option<u64>,
    options: &Options,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), Failure> {
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0u8; 1 << 16];
    progress(Progress::Bytes(part.length, total));
    loop {
        let read = match body.read(&mut buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::Again(format!("the connection broke off ({error})"), None)),
        };
        if read == 0 {
            break;
        }
        part.append(&buffer[..read])?;
        // Not to fill the disk with what cannot be the file.
        if let Some(wanted) = options.size.filter(|wanted| part.length > *wanted) {
            let (url, got) = (part.about.url.clone(), part.length);
            part.clear()?;
            return Err(DownloadError::Size { url, wanted, got }.into());
        }
        progress(Progress::Bytes(part.length, total));
    }
    match total {
        Some(total) if part.length < total => {
            Err(Failure::Again(format!("the connection ended after {} of {total} bytes", part.length), None))
        }
        _ => Ok(()),
    }
}

/// An error before there was an answer.
fn of_call(url: &str, error: ureq::Error, done: u64) -> Failure {
    use ureq::Error as E;
    match error {
        // With nothing there yet the address or the network is wrong; later it is a network that went away.
        E::HostNotFound if done == 0 => Failure::Final(DownloadError::NoHost { url: url.into() }),
        E::Io(_) | E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) => Failure::Again(error.to_string(), None),
        other => Failure::Final(DownloadError::Request { url: url.into(), why: other.to_string() }),
    }
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn number(headers: &HeaderMap, name: header::HeaderName) -> Option<u64> {
    text(headers, name)?.trim().parse().ok()
}

/// The first byte and the size of the whole in `bytes 5-9/10`; `*` stands for what is not known.
fn content_range(headers: &HeaderMap) -> Option<(Option<u64>, Option<u64>)> {
    let (range, total) = text(headers, header::CONTENT_RANGE)?.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-').and_then(|(start, _)| start.parse().ok()), total.parse().ok()))
}

/// `Retry-After` in seconds; its other form, a date, leaves the wait to the back-off.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    number(headers, header::RETRY_AFTER).map(Duration::from_secs)
}
