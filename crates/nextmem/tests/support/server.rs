//! A web server of our own on the loopback address that breaks off, stalls, refuses, redirects and lies.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Answer {
    /// As asked, ranges included.
    Right,
    /// As asked, but the connection ends after so many bytes of the body.
    Cut(usize),
    /// As asked, but nothing comes after so many bytes of the body.
    Stall(usize),
    /// The whole file, whatever range was asked for.
    Whole,
    /// The file again and again, without a length, until the client goes away.
    Endless,
    /// Another range than was asked for.
    WrongRange,
    /// A status without the file, with more header lines.
    Status(&'static str, String),
}

impl Answer {
    pub fn status(status: &'static str, headers: &str) -> Self {
        Self::Status(status, headers.into())
    }
}

/// A file with its tag; its requests are answered in order, the last answer for ever.
#[derive(Clone, Debug)]
pub struct Page {
    pub body: Vec<u8>,
    pub tag: String,
    pub answers: VecDeque<Answer>,
}

impl Page {
    pub fn new(body: impl Into<Vec<u8>>, answers: &[Answer]) -> Self {
        Self { body: body.into(), tag: "\"a\"".into(), answers: answers.iter().cloned().collect() }
    }
}

/// Requests are logged with the names of their headers in lower case.
pub struct Server {
    pub url: String,
    requests: Arc<Mutex<Vec<String>>>,
    pages: Arc<Mutex<BTreeMap<String, Page>>>,
}

impl Server {
    /// One file under `/mirror/`, whatever it is called there.
    pub fn new(body: &[u8], tag: &str, answers: &[Answer]) -> Self {
        let server = Self::with([("".into(), Page { tag: tag.into(), ..Page::new(body, answers) })]);
        Self { url: format!("{}/mirror/", server.url), ..server }
    }

    /// Files by their paths, without what follows `?`; the one with an empty path is at every other.
    pub fn with(pages: impl IntoIterator<Item = (String, Page)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self { url, requests: Arc::default(), pages: Arc::new(Mutex::new(pages.into_iter().collect())) };
        let (log, pages) = (server.requests.clone(), server.pages.clone());
        // It lives as long as the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                // A client that goes away is part of the tests.
                let _ = serve(stream.unwrap(), &pages, &log);
            }
        });
        server
    }

    /// Nobody at a port.
    pub fn absent(port: u16) -> Self {
        Self { url: format!("http://127.0.0.1:{port}"), requests: Arc::default(), pages: Arc::default() }
    }

    /// Puts a page in place of another.
    pub fn set(&self, path: &str, page: Page) {
        self.pages.lock().unwrap().insert(path.into(), page);
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// Those for paths that end so.
    pub fn requests_of(&self, ending: &str) -> Vec<String> {
        self.requests().into_iter().filter(|r| path_of(r).ends_with(ending)).collect()
    }

    /// The `Range` of each request, empty where there was none.
    pub fn ranges(&self) -> Vec<String> {
        self.requests().iter().map(|request| header(request, "range").unwrap_or_default()).collect()
    }
}

/// A header of a request.
pub fn header(request: &str, name: &str) -> Option<String> {
    request.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")).map(str::to_string))
}

/// The path of a request, without what follows `?`.
fn path_of(request: &str) -> &str {
    request.split([' ', '?']).nth(1).unwrap_or_default()
}

fn serve(mut stream: TcpStream, pages: &Mutex<BTreeMap<String, Page>>, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while reader.read_line(&mut request)? > 2 {}
    let request = request.lines().map(|line| line.split_once(':').map_or(line.into(), |(k, v)| format!("{}:{v}", k.to_lowercase())));
    let request = request.collect::<Vec<String>>().join("\n");
    log.lock().unwrap().push(request.clone());
    let page = {
        let mut pages = pages.lock().unwrap();
        let path = if pages.contains_key(path_of(&request)) { path_of(&request) } else { "" };
        pages.get_mut(path).map(|page| {
            let answer = if page.answers.len() > 1 { page.answers.pop_front() } else { page.answers.front().cloned() };
            (page.body.clone(), page.tag.clone(), answer.unwrap())
        })
    };
    let Some((body, tag, answer)) = page else {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    };
    if let Answer::Status(status, headers) = &answer {
        return write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n{headers}\r\nno");
    }
    if let Answer::Endless = answer {
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")?;
        loop {
            stream.write_all(&body)?;
        }
    }
    let asked = header(&request, "range").map(|r| r["bytes=".len()..].split('-').next().unwrap().parse::<usize>().unwrap());
    let holds = header(&request, "if-range").is_none_or(|seen| seen == tag);
    let start = asked.filter(|_| holds && !matches!(answer, Answer::Whole)).unwrap_or(0);
    if start > 0 && start >= body.len() {
        return write!(
            stream,
            "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */{}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            body.len()
        );
    }
    let named = if matches!(answer, Answer::WrongRange) { start + 1 } else { start };
    let status = match start {
        0 => "200 OK\r\n".to_string(),
        _ => format!("206 Partial Content\r\nContent-Range: bytes {named}-{}/{}\r\n", body.len() - 1, body.len()),
    };
    write!(stream, "HTTP/1.1 {status}Content-Length: {}\r\nETag: {tag}\r\nConnection: close\r\n\r\n", body.len() - start)?;
    if request.starts_with("HEAD ") {
        return Ok(());
    }
    let end = match answer {
        Answer::Cut(bytes) | Answer::Stall(bytes) => body.len().min(start + bytes),
        _ => body.len(),
    };
    stream.write_all(&body[start..end])?;
    stream.flush()?;
    if matches!(answer, Answer::Stall(_)) {
        // Until the client gives up and closes.
        let _ = stream.read(&mut [0u8; 1]);
    }
    Ok(())
}

/// A checksum in hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The loopback address is reached directly.
pub fn without_proxies(command: &mut Command) {
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
}
