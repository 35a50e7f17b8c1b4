//! `judge` on a run's answers, with a server that says what it is told to.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use support::Dir;

/// Answers every request as `answer` says of it: a status line, more headers, and a body.
fn serve(answer: impl Fn(usize, &str) -> (String, String, String) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let (mut bytes, mut buffer) = (Vec::new(), [0u8; 4096]);
            let text = loop {
                let read = stream.read(&mut buffer).unwrap_or(0);
                bytes.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&bytes).into_owned();
                if read == 0 || text.contains("CORRECT or INCORRECT.") && text.trim_end().ends_with('}') {
                    break text;
                }
            };
            let (status, headers, body) = answer(number, &text);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len());
        }
    });
    url
}

fn ok(body: Value) -> (String, String, String) {
    ("200 OK".into(), String::new(), body.to_string())
}

fn says(words: &str) -> (String, String, String) {
    ok(json!({"choices": [{"message": {"content": words}}]}))
}

/// Says CORRECT to every answer that is Oslo.
fn server() -> String {
    serve(|_, text| says(if text.contains("Candidate answer: Oslo") { "CORRECT" } else { "INCORRECT" }))
}

/// A run whose answers are replaced: one by the text, one by the latents.
fn run() -> Dir {
    let dir = Dir::with_backbone();
    dir.write("qa.json", r#"[{"question": "Where?", "answer": "Oslo", "references": ["Ann lives in Oslo."]}]"#);
    dir.write("x.toml", experiment("x"));
    dir.run(&["run", "x.toml"]).good();
    answers(&dir, &[("text", &["Oslo"]), ("dense-comp", &["Rome"])]);
    dir
}

fn experiment(name: &str) -> String {
    format!(
        "name = \"{name}\"\nresults = \"results\"\n[backbone]\nmodel = \"backbone\"\n[method.nextmem]\nnum_latents = 2\nmax_new_tokens = 4\n\
         [eval.contextual_qa]\nlimit = 1\nsets = {{ squad = \"qa.json\" }}\nmetrics = [\"f1\"]\n"
    )
}

/// Puts answers of these methods in place of all samples of the run, and of what it knows of them.
fn answers(dir: &Dir, rows: &[(&str, &[&str])]) {
    std::fs::remove_dir_all(dir.path("results/x/samples")).unwrap();
    for (method, predictions) in rows {
        let line = |(index, prediction): (usize, &&str)| {
            let sample = json!({"index": index, "reference": "Ann lives in Oslo.", "question": format!("Where {index}?"), "answer": "Oslo",
                                "prediction": prediction, "ref_word_num": 4});
            format!("{sample}\n")
        };
        let lines: String = predictions.iter().enumerate().map(line).collect();
        dir.write(&format!("results/x/samples/contextual_qa.squad.{method}.jsonl"), lines);
    }
}

#[test]
fn verdicts_become_scores() {
    let (dir, url) = (run(), server());
    let judge = ["judge", "results/x", "--base-url", &url, "--model", "judge-1", "--retries", "0"];
    let said = dir.run(&judge).good().stdout;
    assert!(said.contains("1.0000 [") && said.contains("judged by judge-1 with the strict prompt"), "{said}");
    let summary = serde_json::from_str::<Value>(&dir.read("results/x/judge/strict.json")).unwrap();
    assert_eq!(summary["prompt_sha256"].as_str().unwrap().len(), 64);
    let scores = summary["scores"].as_array().unwrap();
    let of = |method: &str| scores.iter().find(|s| s["method"] == method).unwrap()["value"].as_f64().unwrap();
    assert_eq!((of("text"), of("dense-comp")), (1.0, 0.0));
    assert!(dir.read("results/x/judge/strict.contextual_qa.squad.text.jsonl").contains("\"verdict\":\"correct\""));
    // They are a column of the run's own table from now on.
    assert!(dir.run(&["score", "results/x"]).good().stdout.contains("judge_strict"));
    // A rerun needs no server.
    dir.run(&["judge", "results/x", "--base-url", &url, "--model", "judge-1", "--retries", "0"]).good();
}

#[test]
fn a_judge_that_is_not_there() {
    let dir = run();
    dir.run(&["judge", "results/x"]).refused(&["no judge", "--base-url", "f1 and exact_match"]);
    dir.run(&["judge", "results/x", "--base-url", "http://x/v1", "--model", "m", "--prompt", "kind"])
        .refused(&["kind", "strict or lenient"]);
    let outcome = dir.run(&["judge", "results/x", "--base-url", "http://127.0.0.1:1/v1", "--model", "m", "--retries", "0"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("no answer after 1 tries") && !dir.path("results/x/judge/strict.json").exists(), "{outcome:?}");
}

const TEXT: &str = "results/x/judge/strict.contextual_qa.squad.text.jsonl";

#[test]
fn an_answer_without_a_verdict_is_not_a_wrong_one() {
    let dir = run();
    let judge = |url: &str, more: &[&str]| {
        let args = [&["judge", "results/x", "--base-url", url, "--model", "j", "--retries", "0"], more].concat();
        dir.run(&args)
    };
    // No verdict at all: no score, a loud end, and what to do.
    for content in [Value::Null, "".into()] {
        let message = json!({"content": content, "reasoning_content": "Let me think"});
        let url = serve(move |_, _| ok(json!({"choices": [{"finish_reason": "length", "message": message}]})));
        let outcome = judge(&url, &[]);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        for name in ["error: no answer of", "finish_reason length", "max_tokens (256)"] {
            assert!(outcome.stderr.contains(name), "no {name:?} in {outcome:?}");
        }
        assert!(outcome.stdout.contains("no verdict") && !outcome.stdout.contains("0.0000"), "{outcome:?}");
        assert!(!dir.path("results/x/judge/strict.json").exists());
        let line: Value = serde_json::from_str(dir.read(TEXT).trim()).unwrap();
        assert_eq!(line["verdict"], "unclear");
        assert!(line["why"].as_str().unwrap().contains("finish_reason length"));
    }
    // One row has none: the other has its score.
    let url = serve(|_, text| says(if text.contains("Candidate answer: Oslo") { "CORRECT" } else { "I cannot say." }));
    let outcome = judge(&url, &[]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("asked twice") && outcome.stderr.contains("\"I cannot say.\""), "{outcome:?}");
    let summary: Value = serde_json::from_str(&dir.read("results/x/judge/strict.json")).unwrap();
    let scores: Vec<&str> = summary["scores"].as_array().unwrap().iter().map(|s| s["method"].as_str().unwrap()).collect();
    assert!(scores.iter().all(|method| *method == "text"), "{scores:?}");
    // An answer without one beside answers with one: both accuracies, and a warning.
    std::fs::remove_dir_all(dir.path("results/x/judge")).unwrap();
    answers(&dir, &[("text", &["Oslo", "Rome", "Bergen"])]);
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let url = serve(move |number, text| {
        counted.store(number + 1, Ordering::SeqCst);
        match text {
            text if text.contains("Candidate answer: Oslo") => says("CORRECT"),
            text if text.contains("Candidate answer: Rome") => says("The answer isn't correct."),
            _ => says(if number < 4 { "Neither." } else { "INCORRECT" }),
        }
    });
    let outcome = judge(&url, &[]).good();
    assert!(outcome.stdout.contains("0.3333 [") && outcome.stdout.contains("0.5000 ["), "{outcome:?}");
    assert!(outcome.stderr.contains("warning: 1 of 3 answers have no verdict"), "{outcome:?}");
    let summary: Value = serde_json::from_str(&dir.read("results/x/judge/strict.json")).unwrap();
    let of = |metric: &str| summary["scores"].as_array().unwrap().iter().find(|s| s["metric"] == metric).unwrap().clone();
    assert_eq!((&of("judge_strict")["n"], &of("judge_strict_of_judged")["n"]), (&json!(3), &json!(2)));
    assert_eq!(summary["counts"][0]["unclear"], 1);
    // Only that one is asked for again, and then the warning is gone.
    assert_eq!(asked.load(Ordering::SeqCst), 4);
    let outcome = judge(&url, &[]).good();
    assert_eq!(asked.load(Ordering::SeqCst), 5);
    assert!(!outcome.stderr.contains("warning") && !dir.read("results/x/judge/strict.json").contains("of_judged"), "{outcome:?}");
}

#[test]
fn waits_failures_and_parameters_on_the_command_line() {
    let dir = run();
    answers(&dir, &[("text", &["Oslo"])]);
    let judge = |url: &str, more: &[&str]| {
        let args = [&["judge", "results/x", "--base-url", url, "--model", "j"], more].concat();
        dir.run(&args)
    };
    let url = serve(|number, _| match number {
        0 => ("429 Too Many Requests".into(), "Retry-After: 99999\r\n".into(), "slow".into()),
        _ => says("CORRECT"),
    });
    let outcome = judge(&url, &["--max-wait", "1"]).good();
    assert!(outcome.stderr.contains("HTTP 429: slow; try 2 of 6 in 1.0 s (it asks for 99999 s)"), "{outcome:?}");
    // Everything that a request may carry.
    let url = serve(|_, text| {
        let all = [
            "POST /v1/chat/completions?api-version=1 ",
            "x-team: a b",
            "\"max_completion_tokens\": 64",
            "\"top_p\": 0.5",
            "\"temperature\": 0.25",
            "\"seed\": -7",
            "\"stream\": true",
            "\"enable_thinking\": false",
        ];
        let lost: Vec<&str> = all.into_iter().filter(|part| !text.contains(part) && !text.to_lowercase().contains(part)).collect();
        match lost.is_empty() && !text.contains("\"max_tokens\"") {
            true => {
                let piece = |text: &str, end: Value| json!({"choices": [{"delta": {"content": text}, "finish_reason": end}]});
                let events = format!("data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", piece("COR", Value::Null), piece("RECT", "stop".into()));
                ("200 OK".into(), "Content-Type: text/event-stream\r\n".into(), events)
            }
            false => ("418 Teapot".into(), String::new(), format!("{lost:?}")),
        }
    });
    let flags = "--max-completion-tokens 64 --top-p 0.5 --temperature 0.25 --seed -7 --stream --timeout 9";
    let mut flags: Vec<&str> = flags.split(' ').collect();
    flags.extend(["--extra-body", "{\"chat_template_kwargs\": {\"enable_thinking\": false}}", "--header", "X-Team: a b"]);
    judge(&format!("{url}/?api-version=1"), &flags).good();
    let summary: Value = serde_json::from_str(&dir.read("results/x/judge/strict.json")).unwrap();
    assert_eq!(summary["asked"]["extra_body"]["chat_template_kwargs"]["enable_thinking"], false);
    assert!(summary["scores"][0]["version"].as_str().unwrap().contains("temperature 0.25"));
    for (flags, name) in [
        (&["--extra-body", "[1]"][..], "--extra-body"),
        (&["--extra-body", "{\"messages\": []}"], "messages"),
        (&["--header", "secret"], "--header"),
        (&["--temperature", "-1"], "temperature"),
        (&["--omit", "model"], "omit"),
        (&["--max-tokens", "0"], "positive"),
    ] {
        judge(&url, flags).refused(&[name]);
    }
    judge("localhost:1", &[]).refused(&["http://"]);
    // The same keys in the experiment, and they come back from resolved.toml.
    let table = format!(
        "[judge]\nbase_url = \"{url}?api-version=1\"\nmodel = \"j\"\nmax_completion_tokens = 64\ntop_p = 0.5\ntemperature = 0.25\nseed = -7\nstream = true\n\
         extra_headers = {{ X-Team = \"a b\" }}\n[judge.extra_body.chat_template_kwargs]\nenable_thinking = false\n"
    );
    dir.write("y.toml", experiment("y") + &table);
    dir.run(&["run", "y.toml"]).good();
    dir.run(&["judge", "results/y"]).good();
    // One that goes away in the middle is a failure that is said, not a wrong answer.
    answers(&dir, &[("text", &["Oslo", "Oslo", "Oslo"])]);
    let url = serve(|_, text| match text.contains("Question: Where 1?") {
        true => ("500 Oh".into(), String::new(), "crashed".into()),
        false => says("CORRECT"),
    });
    let outcome = judge(&url, &["--retries", "0", "--concurrency", "1"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("1 of 3 answers got no reply") && outcome.stderr.contains("HTTP 500: crashed"), "{outcome:?}");
    assert!(outcome.stdout.contains("0.6667 [") && outcome.stdout.contains("1.0000 ["), "{outcome:?}");
}

#[test]
fn a_key_is_shown_and_kept_nowhere() {
    let dir = run();
    let key = "sk-SECRET-abcdefghijklmnop-0123456789";
    let body = format!("{} Bearer {key}", "x".repeat(165));
    for (status, body) in [("401 No", body.clone()), ("500 Oh", body), ("401 No", "wrong key: sk-SECRET-abc...456789***".into())] {
        let url = serve(move |_, _| (status.into(), String::new(), body.clone()));
        let mut command = dir.command(&["judge", "results/x", "--base-url", &url, "--model", "j", "--retries", "0"]);
        command.env("OPENAI_API_KEY", key);
        let outcome = support::finish(command);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains("[key]") && !outcome.stderr.contains("sk-SECRET"), "{outcome:?}");
    }
    // A short key does not eat the judge's words.
    let url = serve(|_, _| says("The e in key x is fine.\nCORRECT"));
    let mut command = dir.command(&["judge", "results/x", "--base-url", &url, "--model", "j"]);
    command.env("OPENAI_API_KEY", "e");
    support::finish(command).good();
    assert!(dir.read(TEXT).contains("The e in key x is fine."), "{}", dir.read(TEXT));
    for (name, bytes) in dir.files("results") {
        assert!(!String::from_utf8_lossy(&bytes).contains("sk-SECRET"), "{name}");
    }
}

#[test]
fn two_judges_do_not_mix() {
    let dir = run();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let url = serve(move |number, _| {
        counted.store(number + 1, Ordering::SeqCst);
        std::thread::sleep(std::time::Duration::from_secs(2));
        says("CORRECT")
    });
    let args = ["judge", "results/x", "--base-url", &url, "--model", "j"];
    let mut first = dir.command(&args).spawn().unwrap();
    while asked.load(Ordering::SeqCst) == 0 {
        assert!(first.try_wait().unwrap().is_none(), "it ended without asking");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    dir.run(&args).refused(&["another process", &first.id().to_string()]);
    assert!(first.wait().unwrap().success());
    dir.run(&args).good();
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}
