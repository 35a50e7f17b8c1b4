//! `export`: the files of lm-eval of a hand-made run, those of transformers, peft and TensorBoard of a trained one.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{ADAPT, Dir, Weights};

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
    let ranked = json!({ "index": 0, "question": "q", "hit_list": [3, 1], "prediction": [3, 2, 0, 4, 5], "ref_num": 9 });
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
    assert_eq!((&ranked["target"], &ranked["filtered_resps"]), (&json!("[3, 1]"), &json!(["[3, 2, 0, 4, 5]"])));
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

#[test]
fn a_trained_run_for_transformers_and_tensorboard() {
    let dir = Dir::with_backbone();
    let lora = "[train.reconstruction.lora]\nrank = 2\nalpha = 4\n";
    let substitution = "[train.substitution]\nlevels = 2\nblock_tokens = 8\nsteps_per_level = 1\nsteps_last_level = 1\n\n\
                        [train.substitution.optim]\nlearning_rate = 1e-3\nbatch_size = 4\n\n[train.substitution.lora]\nrank = 2\nalpha = 4\n";
    let method = "[method.nextmem]\nnum_latents = 2\nmax_new_tokens = 12\n";
    let every = "[train.loop]\nlog_every = 1\ncheckpoint_every = 1\nvalidate_every = 0\nvalidation_passages = 4\n";
    dir.write("adapt.toml", format!("{ADAPT}\n{lora}\n{substitution}\n{method}\n{every}"));
    dir.run(&["run", "adapt.toml"]).good();

    let curves = dir.run(&["export", "results/adapt", "--format", "tensorboard", "--out", "events"]).good().stdout;
    assert_eq!(curves.lines().count(), 2, "{curves}");
    for line in curves.lines() {
        let bytes = std::fs::read(dir.path(line)).unwrap();
        assert!(bytes.windows(13).any(|part| part == b"brain.Event:2") && bytes.windows(4).any(|part| part == b"loss"), "{line}");
    }

    let hf = dir.run(&["export", "results/adapt", "--format", "hf"]).good().stdout;
    assert_eq!(hf.lines().collect::<Vec<_>>(), ["results/adapt/hf/decoder", "results/adapt/hf/encoder"]);
    dir.run(&["verify", "results/adapt/hf/decoder"]).good();
    dir.run(&["verify", "results/adapt/hf/encoder", "--backbone", "results/adapt/hf/decoder"]).good();
    // The same latents: merging rounds in f32, the file keeps bf16.
    let text = "Ann lives in Oslo.";
    dir.run(&["encode", "results/adapt", text, "--out", "a.safetensors"]).good();
    let whole =
        ["encode", "results/adapt/hf/decoder", "--stage2", "results/adapt/hf/encoder", "--latents", "2", text, "--out", "b.safetensors"];
    dir.run(&whole).good();
    let latents = |name: &str| -> Vec<f32> {
        let file = Weights::read(&dir.path(name));
        let [from, to] = [0, 1].map(|i| file.header["latents"]["data_offsets"][i].as_u64().unwrap() as usize);
        file.data[from..to].as_chunks().0.iter().map(|b| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16)).collect()
    };
    let (a, b) = (latents("a.safetensors"), latents("b.safetensors"));
    let scale = a.iter().fold(0f32, |most, x| most.max(x.abs()));
    assert!(a.len() == 2 * 16 && scale > 0.0 && a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= scale / 128.0), "{a:?}\n{b:?}");
    // They belong to the weights that made them.
    dir.run(&["decode", "results/adapt/hf/decoder", "a.safetensors"]).refused(&["a.safetensors", "memories of adapt", "those of decoder"]);
    dir.run(&["export", "results/adapt", "--format", "hf"]).refused(&["not empty"]);
    dir.run(&["export", "results/nowhere", "--format", "hf"]).refused(&["nowhere"]);
    dir.run(&["export", "backbone", "--format", "tensorboard"]).refused(&["backbone"]);
}
