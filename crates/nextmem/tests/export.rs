//! `export --format lm-eval` on a hand-made run.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::Dir;

/// SHA-256 of "abc" (FIPS 180-2, B.1).
const SHA256_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn run_of_two_methods(manifest: &Value) -> Dir {
    let dir = Dir::new();
    dir.write("r/resolved.toml", "name = \"r\"\nseed = 7\n[eval]\nbatch_size = 3\n");
    dir.write("r/manifest.json", manifest.to_string());
    let line = |index: usize, text: &str| {
        format!(
            "{}\n",
            json!({ "index": index, "reference": "abc", "reconstruction": text, "word_num": 1, "memory_bytes": 10 * (index + 1) })
        )
    };
    dir.write("r/samples/reconstruction.facts.dense.jsonl", line(0, "abc") + &line(1, "x \"y\"\n"));
    let qa = json!({ "index": 0, "reference": "r", "question": "q", "answer": "a b", "prediction": "b", "ref_word_num": 1 });
    dir.write("r/samples/contextual_qa.facts.dense-comp.jsonl", format!("{qa}\n"));
    let ranked = json!({ "index": 0, "question": "q", "hit_list": [3, 1], "prediction": [3, 2], "ref_num": 4 });
    dir.write("r/samples/retrieval.facts.text.jsonl", format!("{ranked}\n"));
    dir
}

fn manifest() -> Value {
    json!({
        "name": "r", "ended_unix_seconds": 951_782_400, "commit": "0123", "backbone": "nano", "seconds": 5.0, "nextmem": "0.1.0",
        "device": { "backend": "flex", "index": 0, "dtype": "f32" },
    })
}

#[test]
fn results_and_samples() {
    let dir = run_of_two_methods(&manifest());
    let outcome = dir.run(&["export", "r", "--format", "lm-eval"]).good();
    let dense = "r/lm_eval/r__dense";
    let expected = [
        format!("{dense}/results_2000-02-29T00-00-00.json"),
        format!("{dense}/samples_nextmem_recon_facts_2000-02-29T00-00-00.jsonl"),
        format!("{dense}/samples_nextmem_qa_comp_facts_2000-02-29T00-00-00.jsonl"),
        "r/lm_eval/r__text/results_2000-02-29T00-00-00.json".to_string(),
        "r/lm_eval/r__text/samples_nextmem_retrieval_facts_2000-02-29T00-00-00.jsonl".to_string(),
    ];
    assert_eq!(outcome.stdout.lines().collect::<Vec<_>>(), expected);

    let results: Value = serde_json::from_str(&dir.read(&expected[0])).unwrap();
    let task = &results["results"]["nextmem_recon_facts"];
    assert_eq!((&task["exact_match,none"], &task["alias"]), (&json!(0.5), &json!("nextmem_recon_facts")));
    assert!((task["exact_match_stderr,none"].as_f64().unwrap() - 0.5).abs() < 1e-15);
    assert_eq!(task["memory_bytes,none"], json!(15.0));
    assert_eq!(results["results"]["nextmem_qa_comp_facts"]["f1_stderr,none"], "N/A");
    assert_eq!(results["higher_is_better"]["nextmem_recon_facts"]["f1"], true);
    assert_eq!(results["higher_is_better"]["nextmem_recon_facts"]["memory_bytes"], false);
    assert_eq!(results["n-samples"]["nextmem_recon_facts"], json!({ "original": 2, "effective": 2 }));
    assert_eq!((&results["versions"]["nextmem_recon_facts"], &results["n-shot"]["nextmem_recon_facts"]), (&json!(1), &json!(0)));
    assert_eq!((&results["git_hash"], &results["date"]), (&json!("0123"), &json!(951_782_400.0)));
    assert_eq!((&results["config"]["device"], &results["config"]["random_seed"]), (&json!("flex:0"), &json!(7)));
    assert_eq!(results["config"]["batch_size"], "3");

    let rows = dir.read(&expected[1]);
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    let row = &rows[1];
    assert_eq!((&row["doc_id"], &row["target"], &row["exact_match"]), (&json!(1), &json!("abc"), &json!(0.0)));
    assert_eq!((&row["resps"], &row["filtered_resps"]), (&json!([["x \"y\"\n"]]), &json!(["x \"y\"\n"])));
    assert_eq!(row["arguments"]["gen_args_0"]["arg_0"], "abc");
    assert_eq!((&row["prompt_hash"], &row["target_hash"]), (&json!(SHA256_ABC), &json!(SHA256_ABC)));
    assert_ne!(rows[0]["doc_hash"], row["doc_hash"]);
    let ranked: Value = serde_json::from_str(&dir.read(&expected[4])).unwrap();
    assert_eq!((&ranked["target"], &ranked["filtered_resps"]), (&json!("[3, 1]"), &json!(["[3, 2]"])));
    assert_eq!((&ranked["mrr@5"], &ranked["recall@5"]), (&json!(1.0), &json!(0.5)));
}

#[test]
fn a_second_export_writes_the_same() {
    let dir = run_of_two_methods(&manifest());
    dir.run(&["export", "r", "--format", "lm-eval"]).good();
    let first = dir.files("r/lm_eval");
    assert_eq!(first.len(), 5);
    dir.run(&["export", "r", "--format", "lm-eval"]).good();
    assert_eq!(first, dir.files("r/lm_eval"));
}

#[test]
fn a_run_without_a_time_needs_one() {
    let mut manifest = manifest();
    manifest.as_object_mut().unwrap().remove("ended_unix_seconds");
    let dir = run_of_two_methods(&manifest);
    dir.run(&["export", "r", "--format", "lm-eval"]).refused(&["manifest.json", "ended_unix_seconds", "--date"]);
    assert!(!dir.path("r/lm_eval").exists());
    let outcome = dir.run(&["export", "r", "--format", "lm-eval", "--date", "0"]).good();
    assert!(outcome.stdout.contains("results_1970-01-01T00-00-00.json"), "{}", outcome.stdout);
}

#[test]
fn bad_input() {
    let dir = run_of_two_methods(&manifest());
    dir.run(&["export", "r", "--format", "csv"]).refused(&["csv", "lm-eval"]);
    dir.write("r/manifest.json", "{");
    dir.run(&["export", "r", "--format", "lm-eval"]).refused(&["manifest.json"]);
    dir.write("no/samples/x", "");
    dir.run(&["export", "no", "--format", "lm-eval"]).refused(&["resolved.toml"]);
}
