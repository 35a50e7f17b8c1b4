//! The judge against a server of our own: what it says, when it fails, and that nothing is asked twice.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::Duration;

use nextmem_eval::judge::{JudgeConfig, JudgePrompt, Verdict};
use support::{Server, http, judge, says};

fn grade(body: &str) -> String {
    says(if body.contains("Candidate answer: Oslo") { "CORRECT" } else { "INCORRECT" })
}

#[test]
fn verdicts_in_order_and_nothing_asked_twice() {
    let server = Server::start(|_, body| {
        std::thread::sleep(Duration::from_millis(20));
        grade(body)
    });
    let cache = tempfile::tempdir().unwrap();
    let report = judge(12, &server.config(), cache.path()).unwrap();
    let expected: Vec<(usize, Verdict)> = (0..12).map(|i| (i, if i % 2 == 0 { Verdict::Correct } else { Verdict::Incorrect })).collect();
    assert_eq!(report.judged.iter().map(|j| (j.index, j.verdict)).collect::<Vec<_>>(), expected);
    assert_eq!((report.requests, report.tokens, server.count()), (12, 84, 12));
    assert_eq!(report.accuracy().0, 0.5);
    let most = server.most_at_once.load(Ordering::SeqCst);
    assert!((2..=3).contains(&most), "{most} at once");
    let asked = server.seen.lock().unwrap()[0].clone();
    assert!(asked.contains("\"temperature\": 0") && asked.contains("POST /v1/chat/completions"), "{asked}");

    let again = judge(12, &server.config(), cache.path()).unwrap();
    assert_eq!((again.requests, server.count()), (0, 12));
    assert_eq!(again.judged, report.judged);
    // Another prompt is another question.
    let lenient = JudgeConfig { prompt: JudgePrompt::Lenient, ..server.config() };
    assert_eq!(judge(2, &lenient, cache.path()).unwrap().requests, 2);
}

#[test]
fn refusals_and_nonsense_are_unclear_after_a_reminder() {
    let server = Server::start(|_, body| match body.contains("exactly one word") {
        true if body.contains("question 0?") => says("Incorrect"),
        _ => says("I cannot judge that."),
    });
    let cache = tempfile::tempdir().unwrap();
    let report = judge(2, &server.config(), cache.path()).unwrap();
    assert_eq!(report.judged.iter().map(|j| j.verdict).collect::<Vec<_>>(), [Verdict::Incorrect, Verdict::Unclear]);
    assert_eq!((report.count(Verdict::Unclear), report.accuracy().0, server.count()), (1, 0.0, 4));
}

#[test]
fn what_may_pass_is_tried_again() {
    let broken = [
        http("429 Too Many Requests", "Retry-After: 0\r\n", "slow down"),
        http("503 Service Unavailable", "", "busy"),
        http("200 OK", "", "{not json"),
        http("200 OK", "", "{\"choices\": []}"),
        // Closed in the middle of the body.
        "HTTP/1.1 200 OK\r\nContent-Length: 500\r\nConnection: close\r\n\r\n{\"choices\"".to_string(),
        String::new(),
    ];
    for response in broken {
        let first = response.clone();
        let server = Server::start(move |number, body| if number == 0 { first.clone() } else { grade(body) });
        let cache = tempfile::tempdir().unwrap();
        let report = judge(1, &server.config(), cache.path()).unwrap();
        assert_eq!((report.judged[0].verdict, server.count()), (Verdict::Correct, 2), "{response:?}");
    }
    let server = Server::start(|number, body| {
        if number == 0 {
            std::thread::sleep(Duration::from_secs(3));
        }
        grade(body)
    });
    let cache = tempfile::tempdir().unwrap();
    let hasty = JudgeConfig { timeout_seconds: 1, ..server.config() };
    assert_eq!(judge(1, &hasty, cache.path()).unwrap().judged[0].verdict, Verdict::Correct);
}

#[test]
fn what_will_not_pass_stops_at_once() {
    for (status, says) in
        [("401 Unauthorized", "api_key_env"), ("404 Not Found", "base_url"), ("400 Bad Request", "max_tokens"), ("302 Found", "302")]
    {
        let server = Server::start(move |_, _| http(status, "Location: /elsewhere\r\n", "no"));
        let cache = tempfile::tempdir().unwrap();
        let one = JudgeConfig { concurrency: 1, ..server.config() };
        let error = judge(50, &one, cache.path()).unwrap_err().to_string();
        assert!(error.contains(&status[..3]) && error.contains(says), "{error}");
        assert_eq!(server.count(), 1, "{status}");
    }
    // Nobody listens: one error after the tries, not one for every sample.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = Server::start(|_, _| String::new());
    let gone = JudgeConfig { base_url: format!("http://user:secret@127.0.0.1:{port}/v1"), ..server.config() };
    let cache = tempfile::tempdir().unwrap();
    let error = judge(50, &gone, cache.path()).unwrap_err().to_string();
    assert!(error.contains("after 3 tries") && !error.contains("secret"), "{error}");
    let wrong = JudgeConfig { base_url: "localhost:8000".into(), ..server.config() };
    assert!(judge(1, &wrong, cache.path()).unwrap_err().to_string().contains("expected http://"));
    // A huge answer is not read to its end.
    let huge = Server::start(|_, _| http("200 OK", "", &"x".repeat(3 << 20)));
    assert!(judge(1, &huge.config(), cache.path()).unwrap_err().to_string().contains("after 3 tries"));
}

#[test]
fn a_stopped_judge_goes_on_where_it_was() {
    let server = Server::start(|number, body| if number == 4 { http("401 Unauthorized", "", "expired") } else { grade(body) });
    let cache = tempfile::tempdir().unwrap();
    let one = JudgeConfig { concurrency: 1, ..server.config() };
    assert!(judge(10, &one, cache.path()).is_err());
    assert_eq!(server.count(), 5);
    // A half-written verdict is asked again, the others are not.
    let kept = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    std::fs::write(&kept, "\"COR").unwrap();
    assert_eq!(judge(10, &one, cache.path()).unwrap().requests, 7);
    assert_eq!(server.count(), 12);
}

#[test]
fn the_key_is_in_the_request_and_nowhere_else() {
    // A variable that every machine has and that is long enough to be told apart.
    let key = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let echoed = key.clone();
    let server = Server::start(move |number, _| match number {
        0 => says(&format!("The key is {echoed}.\nCORRECT")),
        _ => http("401 Unauthorized", "", &format!("wrong key {echoed}")),
    });
    let cache = tempfile::tempdir().unwrap();
    let config = JudgeConfig { api_key_env: "CARGO_MANIFEST_DIR".into(), concurrency: 1, ..server.config() };
    let error = judge(2, &config, cache.path()).unwrap_err().to_string();
    assert!(server.seen.lock().unwrap()[0].contains(&format!("Bearer {key}")));
    assert!(error.contains("[key]") && !error.contains(&key), "{error}");
    for entry in std::fs::read_dir(cache.path()).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(!text.contains(&key), "{text}");
    }
}
