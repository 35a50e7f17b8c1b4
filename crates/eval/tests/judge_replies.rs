//! Replies and refusals of servers as they are, each against a server of our own: none of them becomes a verdict that it is not.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::Write;
use std::sync::Mutex;

use nextmem_eval::judge::{Event, JudgeConfig, JudgePrompt, Verdict, judge_samples};
use serde_json::{Value, json};
use support::{Server, http, http_bytes, judge, samples, says};

fn message(message: Value, finish: &str) -> String {
    http("200 OK", "", &json!({"choices": [{"index": 0, "finish_reason": finish, "message": message}]}).to_string())
}

fn body_of(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[test]
fn words_in_every_place() {
    use Verdict::{Correct, Incorrect};
    for (response, verdict) in [
        (message(json!({"content": [{"type": "text", "text": "CORRECT"}]}), "stop"), Correct),
        (
            message(
                json!({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Is it correct?"}]}, {"type": "text", "text": "INCORRECT"}]}),
                "stop",
            ),
            Incorrect,
        ),
        (message(json!({"content": null, "reasoning_content": "Both say Oslo. CORRECT"}), "stop"), Correct),
        (says("{\"correct\": false}"), Incorrect),
        (says("The candidate's answer isn't correct."), Incorrect),
        (says("The answer is not entirely correct."), Incorrect),
        (says("Partially correct"), Incorrect),
        (says("Saying Rome would be incorrect.\n</think>\n\nCORRECT"), Correct),
        (format!("HTTP/1.0 200 OK\r\n\r\n{}", json!({"choices": [{"message": {"content": "CORRECT"}}]})), Correct),
        (http("201 Created", "", &json!({"choices": [{"message": {"content": "CORRECT"}}]}).to_string()), Correct),
    ] {
        let said = response.clone();
        let server = Server::start(move |_, _| said.clone());
        let cache = tempfile::tempdir().unwrap();
        let report = judge(1, &server.config(), cache.path()).unwrap();
        assert_eq!((report.judged[0].verdict, server.count()), (verdict, 1), "{response}");
        // The words are kept and read anew.
        assert_eq!(judge(1, &server.config(), cache.path()).unwrap().judged, report.judged);
        assert_eq!(server.count(), 1, "{response}");
    }
}

#[test]
fn what_is_no_verdict_is_named_and_asked_again() {
    let reasoning = "Let me think about whether";
    for (response, why, asked) in [
        (message(json!({"content": "", "reasoning_content": reasoning}), "length"), "finish_reason length): raise max_tokens (16)", 1),
        (message(json!({"content": null, "reasoning_content": reasoning}), "length"), "finish_reason length): raise max_tokens (16)", 1),
        (message(json!({"content": "CORRECT"}), "length"), "finish_reason length", 1),
        (message(json!({"content": ""}), "stop"), "empty content (finish_reason stop)", 1),
        (message(json!({"content": null, "refusal": "I will not"}), "stop"), "refused: I will not", 1),
        (message(json!({"content": null, "tool_calls": [{}]}), "tool_calls"), "tool call", 1),
        (
            message(json!({"content": null, "reasoning_content": "It is correct, isn't it"}), "stop"),
            "no verdict at the end of the reasoning",
            1,
        ),
        (says("Neither."), "no verdict in the words, asked twice", 2),
        (says("CORRECT or INCORRECT"), "asked twice", 2),
        (http("400 Bad Request", "", r#"{"error": {"code": "content_filter", "message": "filtered"}}"#), "content_filter", 1),
        (http("413 Payload Too Large", "", "too large"), "HTTP 413", 1),
    ] {
        let said = response.clone();
        let server = Server::start(move |_, _| said.clone());
        let cache = tempfile::tempdir().unwrap();
        let report = judge(1, &server.config(), cache.path()).unwrap();
        assert_eq!((report.judged[0].verdict, server.count()), (Verdict::Unclear, asked), "{response}");
        assert!(report.judged[0].why.as_ref().unwrap().contains(why), "{:?}", report.judged[0]);
        assert_eq!((report.decided(), report.judged_accuracy(), report.count(Verdict::Incorrect)), (0, None, 0));
        assert_eq!(report.reasons()[0].0, 1);
        // Nothing of it is kept.
        assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 0, "{response}");
        judge(1, &server.config(), cache.path()).unwrap();
        assert_eq!(server.count(), 2 * asked, "{response}");
    }
}

#[test]
fn unclear_is_neither_right_nor_wrong() {
    let server = Server::start(|_, body| match body {
        body if body.contains("question 0?") => says("CORRECT"),
        body if body.contains("question 1?") => says("INCORRECT"),
        body if body.contains("question 2?") => message(json!({"content": null}), "length"),
        _ => says("CORRECT"),
    });
    let cache = tempfile::tempdir().unwrap();
    let report = judge(4, &server.config(), cache.path()).unwrap();
    assert_eq!(report.accuracy().0, 0.5);
    assert!((report.judged_accuracy().unwrap().0 - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!((report.count(Verdict::Unclear), report.count(Verdict::Failed), report.requests), (1, 0, 4));
    // Only the unclear one is asked for again.
    assert_eq!(judge(4, &server.config(), cache.path()).unwrap().requests, 1);
    // The same words mean less to the lenient prompt.
    let partly = Server::start(|_, _| says("Partially correct"));
    let lenient = JudgeConfig { prompt: JudgePrompt::Lenient, ..partly.config() };
    assert_eq!(judge(1, &lenient, cache.path()).unwrap().judged[0].verdict, Verdict::Unclear);
}

#[test]
fn a_judge_without_verdicts_is_not_asked_for_ever() {
    let server = Server::start(|_, _| message(json!({"content": null}), "length"));
    let cache = tempfile::tempdir().unwrap();
    let report = judge(500, &server.config(), cache.path()).unwrap();
    assert_eq!((report.judged.len(), report.decided()), (500, 0));
    assert!((20..=30).contains(&server.count()), "{}", server.count());
    assert!(report.judged[499].why.as_ref().unwrap().contains("not asked"));
}

#[test]
fn one_answer_that_fails_does_not_stop_the_rest() {
    let server = Server::start(|_, body| match body.contains("question 3?") {
        true => http("500 Internal Server Error", "", "crashed"),
        false => says("CORRECT"),
    });
    let cache = tempfile::tempdir().unwrap();
    let one = JudgeConfig { concurrency: 1, ..server.config() };
    let report = judge(6, &one, cache.path()).unwrap();
    assert_eq!((report.count(Verdict::Failed), report.count(Verdict::Correct)), (1, 5));
    let why = report.judged[3].why.as_ref().unwrap();
    assert!(why.contains("after 3 tries") && why.contains("HTTP 500: crashed"), "{why}");
    // One that is gone in the middle stops it.
    let server = Server::start(|number, _| if number < 2 { says("CORRECT") } else { String::new() });
    let one = JudgeConfig { concurrency: 1, ..server.config() };
    assert!(judge(50, &one, cache.path()).unwrap_err().to_string().contains("after 3 tries"));
    assert_eq!(server.count(), 2 + 3 * 3);
}

#[test]
fn streams_and_encodings() {
    let piece = |text: &str, finish: Value| {
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": finish}]}))
    };
    let events = format!("{}{}data: [DONE]\n\n", piece("\u{2705} COR", Value::Null), piece("RECT", "stop".into()));
    let whole = json!({"choices": [{"message": {"content": "CORRECT"}}]}).to_string();
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    // Every byte in a chunk of its own, so that characters are split.
    let chunked: Vec<u8> = events.bytes().flat_map(|b| [b"1\r\n".as_slice(), &[b], b"\r\n"].concat()).chain(*b"0\r\n\r\n").collect();
    let chunked = [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".to_vec(),
        chunked,
    ]
    .concat();
    for response in [
        http("200 OK", "X-Kind: events\r\n", &events).into_bytes(),
        chunked,
        http_bytes("Content-Encoding: gzip\r\n", &gzip(&whole)),
        http_bytes("", &gzip(&whole)),
        http_bytes("Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n", &gzip(&events)),
        http_bytes("Content-Type: text/event-stream\r\n", whole.as_bytes()),
        http_bytes("", format!("\u{feff}{whole}").as_bytes()),
    ] {
        let said = response.clone();
        let server = Server::start_bytes(move |_, _| said.clone());
        let cache = tempfile::tempdir().unwrap();
        let report = judge(1, &server.config(), cache.path()).unwrap();
        assert_eq!((report.judged[0].verdict, server.count()), (Verdict::Correct, 1), "{}", String::from_utf8_lossy(&response));
    }
    for (response, why) in [
        (http_bytes("Content-Encoding: br\r\n", b"x"), "encoded as br"),
        (http_bytes("Content-Type: text/event-stream\r\n", piece("CORRECT", Value::Null).as_bytes()), "the stream broke off"),
        (http_bytes("", br#"data: {"error": {"message": "overloaded"}}"#), "overloaded"),
        (http_bytes("", br#"{"error": {"message": "no such engine", "code": 503}}"#), "no such engine"),
    ] {
        let said = response.clone();
        let server = Server::start_bytes(move |_, _| said.clone());
        let cache = tempfile::tempdir().unwrap();
        let error = judge(1, &server.config(), cache.path()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("after 3 tries"), "{error}");
    }
    // An error that no retry helps against, inside HTTP 200.
    let server = Server::start(|_, _| http("200 OK", "", r#"{"error": {"message": "bad key", "code": 401}}"#));
    let error = judge(1, &server.config(), tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("401") && error.contains("bad key") && server.count() == 1, "{error}");
    // One that only streams is asked for a stream; so is one where `stream = true`.
    let server = Server::start(move |_, body| match body.contains("\"stream\": true") {
        true => http("200 OK", "", &events),
        false => {
            http("400 Bad Request", "", "This model only support stream mode, please enable the stream parameter to access the model.")
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let one = JudgeConfig { concurrency: 1, ..server.config() };
    assert_eq!((judge(3, &one, cache.path()).unwrap().decided(), server.count()), (3, 4));
    let streamed = JudgeConfig { stream: true, ..one };
    assert_eq!((judge(4, &streamed, cache.path()).unwrap().requests, server.count()), (1, 5));
}

#[test]
fn parameters_that_a_server_refuses() {
    let server = Server::start(|_, body| {
        let body: Value = serde_json::from_str(body).unwrap();
        let refuse = |message: &str, param: &str| {
            let error = json!({"error": {"message": message, "param": param, "code": "unsupported_parameter"}});
            http("400 Bad Request", "", &error.to_string())
        };
        if !body["max_tokens"].is_null() {
            return refuse(
                "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
                "max_tokens",
            );
        }
        if body["temperature"].as_f64().is_some_and(|t| t != 1.0) {
            return refuse(
                "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported.",
                "temperature",
            );
        }
        says("CORRECT")
    });
    let cache = tempfile::tempdir().unwrap();
    let notes = Mutex::new(Vec::new());
    let note = |event: Event<'_>| {
        if let Event::Note(text) = event {
            notes.lock().unwrap().push(text.to_string());
        }
    };
    let one = JudgeConfig { concurrency: 1, ..server.config() };
    let report = judge_samples(&samples(4), &one, cache.path(), &note).unwrap();
    // Twice refused, then remembered.
    assert_eq!((report.decided(), report.requests, server.count()), (4, 4, 6));
    assert_eq!(report.changes, ["temperature not sent"]);
    let notes = notes.lock().unwrap().join("\n");
    assert!(notes.contains("max_tokens is sent as max_completion_tokens") && notes.contains("temperature is not sent"), "{notes}");
    let last = body_of(server.seen.lock().unwrap().last().unwrap());
    assert_eq!((&last["max_completion_tokens"], &last["temperature"], &last["seed"]), (&json!(16), &Value::Null, &json!(1128)));
    // What was sent otherwise is known from disk, too.
    let again = judge(4, &one, cache.path()).unwrap();
    assert_eq!((again.requests, again.changes), (0, report.changes));
    // Several at a time agree on it.
    let wide = JudgeConfig { concurrency: 8, ..server.config() };
    let cache = tempfile::tempdir().unwrap();
    assert_eq!(judge(16, &wide, cache.path()).unwrap().decided(), 16);
    // A value that is refused is the user's to change.
    let server = Server::start(|_, _| http("400 Bad Request", "", "max_tokens is too large: 16. This model allows at most 4."));
    let error = judge(4, &server.config(), cache.path()).unwrap_err().to_string();
    assert!(error.contains("too large: 16"), "{error}");
}

#[test]
fn what_is_asked_is_what_is_configured() {
    let server = Server::start(|_, _| says("CORRECT"));
    let cache = tempfile::tempdir().unwrap();
    let asked = |config: &JudgeConfig, requests: usize| {
        assert_eq!(judge(1, config, cache.path()).unwrap().requests, requests, "{config:?}");
        server.seen.lock().unwrap().last().unwrap().clone()
    };
    let plain = server.config();
    asked(&plain, 1);
    asked(&plain, 0);
    // Every key that decides a verdict is another question.
    let with = |edit: &dyn Fn(&mut JudgeConfig)| {
        let mut config = plain.clone();
        edit(&mut config);
        config
    };
    let body = body_of(&asked(&with(&|c| c.max_completion_tokens = Some(99)), 1));
    assert_eq!((&body["max_completion_tokens"], &body["max_tokens"]), (&json!(99), &Value::Null));
    assert_eq!(body_of(&asked(&with(&|c| c.temperature = 0.7), 1))["temperature"], 0.7);
    assert_eq!(body_of(&asked(&with(&|c| c.seed = -3), 1))["seed"], -3);
    assert_eq!(body_of(&asked(&with(&|c| c.top_p = Some(0.9)), 1))["top_p"], 0.9);
    assert_eq!(body_of(&asked(&with(&|c| c.omit = vec!["seed".into(), "temperature".into()]), 1))["seed"], Value::Null);
    let thinking = json!({"enable_thinking": false});
    assert_eq!(
        body_of(&asked(&with(&|c| drop(c.extra_body.insert("chat_template_kwargs".into(), thinking.clone()))), 1))["chat_template_kwargs"],
        thinking
    );
    assert!(asked(&with(&|c| drop(c.extra_headers.insert("X-Team".into(), "a".into()))), 1).to_lowercase().contains("x-team: a\r\n"));
    // What does not decide is not.
    asked(&with(&|c| (c.concurrency, c.retries, c.timeout_seconds, c.max_wait_seconds) = (1, 0, 9, 1)), 0);
    let azure = asked(&with(&|c| c.base_url = format!("{}/deployments/d/?api-version=2024-10-21", plain.base_url)), 1);
    assert!(azure.starts_with("POST /v1/deployments/d/chat/completions?api-version=2024-10-21 HTTP"), "{azure}");
    let whole = asked(&with(&|c| c.base_url += "/chat/completions"), 1);
    assert!(whole.starts_with("POST /v1/chat/completions HTTP"), "{whole}");
    // A variable that every machine has.
    let name = "CARGO_PKG_NAME";
    let keyed = asked(&with(&|c| (c.api_key_env, c.api_key_header, c.seed) = (name.into(), "api-key".into(), 1)), 1).to_lowercase();
    assert!(keyed.contains("api-key: nextmem-eval\r\n") && !keyed.contains("authorization"), "{keyed}");
    let expanded = asked(&with(&|c| drop(c.extra_headers.insert("X-Key".into(), format!("a ${{{name}}}")))), 1).to_lowercase();
    assert!(expanded.contains("x-key: a nextmem-eval\r\n"), "{expanded}");
    // Numbers that no clock can count to.
    asked(&with(&|c| (c.retries, c.timeout_seconds, c.max_wait_seconds, c.seed) = (u32::MAX, u64::MAX, u64::MAX, 2)), 1);
    let in_url = asked(&with(&|c| c.base_url += &format!("?key=${{{name}}}")), 1);
    assert!(in_url.starts_with("POST /v1/chat/completions?key=nextmem-eval HTTP"), "{in_url}");
    for (edit, why) in [
        ((&|c: &mut JudgeConfig| c.temperature = f64::NAN) as &dyn Fn(&mut JudgeConfig), "temperature"),
        (&|c| c.temperature = -1.0, "temperature"),
        (&|c| c.top_p = Some(0.0), "top_p"),
        (&|c| c.max_completion_tokens = Some(0), "positive"),
        (&|c| c.concurrency = usize::MAX, "concurrency"),
        (&|c| c.omit = vec!["model".into()], "omit"),
        (&|c| drop(c.extra_body.insert("temperature".into(), json!(1))), "`temperature`"),
        (&|c| drop(c.extra_body.insert("n".into(), json!(3))), "`n`"),
        (&|c| drop(c.extra_headers.insert("a b".into(), "x".into())), "name of a header"),
        (&|c| drop(c.extra_headers.insert("x".into(), "a\nb".into())), "line break"),
        (&|c| drop(c.extra_headers.insert("x".into(), "${NEXTMEM_TEST_NO_KEY}".into())), "NEXTMEM_TEST_NO_KEY"),
        (&|c| c.base_url = "http://".into(), "base_url"),
        (&|c| c.base_url = "http://h/v1#x".into(), "base_url"),
        (&|c| c.model = " ".into(), "model"),
    ] {
        let error = with(edit).check().unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn waits_are_told_and_capped() {
    let server = Server::start(|number, _| match number {
        0 => http("429 Too Many Requests", "Retry-After: 99999\r\n", "slow down"),
        _ => says("CORRECT"),
    });
    let cache = tempfile::tempdir().unwrap();
    let notes = Mutex::new(Vec::new());
    let note = |event: Event<'_>| {
        if let Event::Note(text) = event {
            notes.lock().unwrap().push(text.to_string());
        }
    };
    let patient = JudgeConfig { max_wait_seconds: 1, ..server.config() };
    let report = judge_samples(&samples(1), &patient, cache.path(), &note).unwrap();
    assert_eq!(report.decided(), 1);
    let notes = notes.into_inner().unwrap();
    let [note] = &notes[..] else { panic!("{notes:?}") };
    assert!(note.contains("HTTP 429: slow down; try 2 of 3 in 1.0 s (it asks for 99999 s)"), "{note}");
    // A quota that is used up does not come back.
    let server =
        Server::start(|_, _| http("429 Too Many Requests", "", r#"{"error": {"code": "insufficient_quota", "message": "exceeded"}}"#));
    let error = judge(9, &JudgeConfig { concurrency: 1, ..server.config() }, cache.path()).unwrap_err().to_string();
    assert!(error.contains("quota is used up") && server.count() == 1, "{error}");
}

#[test]
fn no_part_of_a_key_is_shown_or_kept() {
    let key = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    // Across the place where the body is cut, in part, and masked by the server itself.
    let (cut, part) = (format!("{} Bearer {key}", "x".repeat(165)), &key[..key.len() - 3]);
    for (status, body) in [("401 Unauthorized", cut.clone()), ("401 Unauthorized", format!("key {part}*** is wrong")), ("500 Oh", cut)] {
        let server = Server::start(move |_, _| http(status, "", &body));
        let config = JudgeConfig { api_key_env: "CARGO_MANIFEST_DIR".into(), ..server.config() };
        let error = judge(1, &config, tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
        let windows = key.as_bytes().windows(8).map(|w| String::from_utf8_lossy(w).into_owned());
        let shown: Vec<String> = windows.filter(|w| error.contains(w)).collect();
        assert!(error.contains("[key]") && shown.is_empty(), "{shown:?} in {error}");
    }
    // Terminals are not obeyed.
    let server = Server::start(|_, _| http("401 Unauthorized", "", "\u{1b}[2Jno"));
    let error = judge(1, &server.config(), tempfile::tempdir().unwrap().path()).unwrap_err().to_string();
    assert!(error.contains("\\u{1b}[2Jno"), "{error}");
}

#[test]
fn replies_kept_by_an_earlier_version() {
    let server = Server::start(|_, _| says("CORRECT"));
    let cache = tempfile::tempdir().unwrap();
    judge(1, &server.config(), cache.path()).unwrap();
    let file = std::fs::read_dir(cache.path()).unwrap().next().unwrap().unwrap().path();
    // Then a file was the words alone, and was taken for "correct".
    for (words, verdict, requests) in [
        ("\"CORRECT\"", Verdict::Correct, 0),
        ("\"The answer isn't correct.\"", Verdict::Incorrect, 0),
        ("\"It would be correct.\"", Verdict::Correct, 1),
    ] {
        std::fs::write(&file, words).unwrap();
        let report = judge(1, &server.config(), cache.path()).unwrap();
        assert_eq!((report.judged[0].verdict, report.requests), (verdict, requests), "{words}");
    }
    // No temporary file is left.
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 1);
}
