//! A server of OpenAI's kind on the loopback address that says what it is told to, and samples to judge.
#![allow(dead_code)] // each test file uses its own part of this

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use nextmem_eval::QaSample;
use nextmem_eval::judge::{JudgeConfig, JudgeError, JudgeReport, judge_samples};

type Answer = dyn Fn(usize, &str) -> Vec<u8> + Send + Sync;

/// A server that answers request number n with body b as `answer(n, b)` says: a whole HTTP response.
pub struct Server {
    pub url: String,
    pub requests: Arc<AtomicUsize>,
    pub most_at_once: Arc<AtomicUsize>,
    pub seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(answer: impl Fn(usize, &str) -> String + Send + Sync + 'static) -> Self {
        Self::start_bytes(move |number, body| answer(number, body).into_bytes())
    }

    pub fn start_bytes(answer: impl Fn(usize, &str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let (requests, at_once, most_at_once) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer: Arc<Answer> = Arc::new(answer);
        let server = Self { url, requests: requests.clone(), most_at_once: most_at_once.clone(), seen: seen.clone() };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (requests, at_once, most, seen, answer) =
                    (requests.clone(), at_once.clone(), most_at_once.clone(), seen.clone(), answer.clone());
                std::thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    let Some(request) = read_request(&mut stream) else { return };
                    most.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let number = requests.fetch_add(1, Ordering::SeqCst);
                    let body = request.split_once("\r\n\r\n").unwrap().1.to_string();
                    seen.lock().unwrap().push(request);
                    let response = answer(number, &body);
                    at_once.fetch_sub(1, Ordering::SeqCst);
                    let _ = stream.write_all(&response);
                });
            }
        });
        server
    }

    pub fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn config(&self) -> JudgeConfig {
        JudgeConfig {
            concurrency: 3,
            timeout_seconds: 5,
            retries: 2,
            backoff_milliseconds: 1,
            max_tokens: 16,
            api_key_env: "NEXTMEM_TEST_NO_KEY".into(),
            ..JudgeConfig::new(&self.url, "judge")
        }
    }
}

pub fn read_request(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0u8; 4096]);
    loop {
        let read = stream.read(&mut buffer).ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok()).unwrap_or(0);
            if body.len() >= length {
                return Some(text);
            }
        }
    }
}

pub fn http(status: &str, headers: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
}

/// HTTP 200 with bytes.
pub fn http_bytes(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

pub fn says(words: &str) -> String {
    let body = serde_json::json!({"choices": [{"message": {"role": "assistant", "content": words}}], "usage": {"total_tokens": 7}});
    http("200 OK", "", &body.to_string())
}

pub fn samples(n: usize) -> Vec<QaSample> {
    let one = |index| QaSample {
        index,
        reference: "r".into(),
        question: format!("question {index}?"),
        answer: "Oslo".into(),
        prediction: if index % 2 == 0 { "Oslo".into() } else { "Rome".into() },
        ref_word_num: 1,
    };
    (0..n).map(one).collect()
}

pub fn judge(n: usize, config: &JudgeConfig, cache: &Path) -> Result<JudgeReport, JudgeError> {
    judge_samples(&samples(n), config, cache, &|_| {})
}
