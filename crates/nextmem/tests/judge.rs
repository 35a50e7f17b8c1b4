//! `judge` on a run's answers, with a server that says what it is told to.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;
use support::Dir;

/// Says CORRECT to every answer that is Oslo.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
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
            let verdict = if text.contains("Candidate answer: Oslo") { "CORRECT" } else { "INCORRECT" };
            let body = format!("{{\"choices\": [{{\"message\": {{\"content\": \"{verdict}\"}}}}]}}");
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        }
    });
    url
}

fn run() -> Dir {
    let dir = Dir::with_backbone();
    dir.write("qa.json", r#"[{"question": "Where?", "answer": "Oslo", "references": ["Ann lives in Oslo."]}]"#);
    dir.write(
        "x.toml",
        "name = \"x\"\nresults = \"results\"\n[backbone]\nmodel = \"backbone\"\n[method.nextmem]\nnum_latents = 2\nmax_new_tokens = 4\n[eval.contextual_qa]\nlimit = 1\n\
         sets = { squad = \"qa.json\" }\nmetrics = [\"f1\"]\n",
    );
    dir.run(&["run", "x.toml"]).good();
    let answer = |prediction: &str| {
        format!(
            "{{\"index\":0,\"reference\":\"Ann lives in Oslo.\",\"question\":\"Where?\",\"answer\":\"Oslo\",\"prediction\":\"{prediction}\",\"ref_word_num\":1}}\n"
        )
    };
    dir.write("results/x/samples/contextual_qa.squad.text.jsonl", answer("Oslo"));
    dir.write("results/x/samples/contextual_qa.squad.dense-comp.jsonl", answer("Rome"));
    dir
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
