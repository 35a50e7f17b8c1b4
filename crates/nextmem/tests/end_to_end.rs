//! A whole tiny run: tables, files, reuse, resume after kills, and the memories of the result.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use support::{Dir, TINY};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn a_run_trains_evaluates_and_is_reused() {
    let dir = Dir::new();
    dir.write("x.toml", TINY);
    let said = dir.run(&["run", "x.toml"]).good();
    for row in ["text memory (oracle)", "NextMem-Dense Comp", "NextMem-Dense DeComp", "NextMem-Sparse (NF4)", "(paper)", "bf16 latents"] {
        assert!(said.stdout.contains(row), "no {row:?} in {said:#?}");
    }
    let sample = json(dir.read("results/tiny/samples/reconstruction.facts.dense.jsonl").lines().next().unwrap());
    for field in ["index", "reference", "reconstruction", "word_num"] {
        assert!(!sample[field].is_null(), "{sample}");
    }
    let sample = json(dir.read("results/tiny/samples/contextual_qa.facts.sparse-comp.jsonl").lines().next().unwrap());
    for field in ["index", "reference", "question", "answer", "prediction", "ref_word_num"] {
        assert!(!sample[field].is_null(), "{sample}");
    }
    let sample = json(dir.read("results/tiny/samples/retrieval.facts.text.jsonl").lines().next().unwrap());
    for field in ["index", "question", "hit_list", "prediction", "ref_num"] {
        assert!(!sample[field].is_null(), "{sample}");
    }
    let scores = dir.read("results/tiny/scores.json");
    let text_f1 = json(&scores)
        .as_array()
        .unwrap()
        .iter()
        .find(|s| s["method"] == "text" && s["task"] == "reconstruction" && s["metric"] == "f1")
        .cloned();
    assert_eq!(text_f1.unwrap()["value"], 1.0);
    let manifest = json(&dir.read("results/tiny/manifest.json"));
    assert_eq!(manifest["stages"].as_array().unwrap().len(), 3);

    // again: nothing to train, the same scores; scoring alone: the same file
    let again = dir.run(&["run", "x.toml"]).good();
    assert_eq!(again.stderr.matches("already done").count(), 3, "{again:#?}");
    assert_eq!(dir.read("results/tiny/scores.json"), scores);
    std::fs::remove_file(dir.path("results/tiny/scores.json")).unwrap();
    dir.run(&["score", "results/tiny"]).good();
    assert_eq!(dir.read("results/tiny/scores.json"), scores);
    assert!(dir.run(&["table", "results/tiny"]).good().stdout.contains("| tiny | tiny ("));

    // another run with other values in the same directory is refused, or replaces it
    dir.write("x.toml", TINY.replace("levels = 2", "levels = 1"));
    dir.run(&["run", "x.toml"]).refused(&["holds another run", "--force"]);
    dir.run(&["run", "x.toml", "--force"]).good();

    // an ablation of the evaluation trains nothing
    dir.write("wo.toml", "base = \"x.toml\"\nname = \"wo\"\n[method.nextmem]\ndecode_with_sod = false\n");
    let reused = dir.run(&["run", "wo.toml"]).good();
    assert_eq!(reused.stderr.matches("already done in results/tiny").count(), 3, "{reused:#?}");

    // the result at hand
    for extra in [&[][..], &["--nf4"]] {
        dir.run(&[&["encode", "results/tiny", "Ann lives in Oslo.", "Bob is a cook.", "--out", "m.safetensors"], extra].concat()).good();
        assert_eq!(dir.run(&["decode", "results/tiny", "m.safetensors"]).good().stdout.lines().count(), 2);
        dir.run(&["ask", "results/tiny", "m.safetensors", "Where does Ann live?"]).good();
        dir.run(&["ask", "results/tiny", "m.safetensors", "Where does Ann live?", "--comp"]).good();
        assert!(dir.run(&["search", "results/tiny", "m.safetensors", "cook"]).good().stdout.contains("cosine"));
    }
    // a damaged sample file is named, not scored
    dir.write("results/tiny/samples/reconstruction.facts.dense.jsonl", "{\"index\": 0}\n");
    dir.run(&["score", "results/tiny"]).refused(&["reconstruction.facts.dense.jsonl", "line 1"]);
}

#[test]
fn lora_accumulation_and_random_levels() {
    let dir = Dir::new();
    let toml = TINY
        .replace("[train.reconstruction]\nsteps = 4", "[train.reconstruction]\nsteps = 4\nlora = { rank = 2, alpha = 4.0 }")
        .replace("levels = 2", "levels = 2\nschedule = \"random\"\nlora = { rank = 2, alpha = 4.0 }")
        .replace("[train.substitution.optim]\n", "[train.substitution.optim]\naccumulation = 2\n");
    dir.write("x.toml", toml);
    dir.run(&["run", "x.toml"]).good();
    for file in
        ["stage1/weights/adapter_config.json", "stage1/weights/special_tokens.safetensors", "stage2/weights/adapter_model.safetensors"]
    {
        assert!(dir.path("results/tiny").join(file).is_file(), "{file}");
    }
    dir.run(&["encode", "results/tiny", "Ann lives in Oslo.", "--out", "m.safetensors"]).good();
}

/// The log without the one field that a clock decides.
fn log(dir: &Dir, stage: &str) -> Vec<Value> {
    let text = dir.read(&format!("results/tiny/{stage}/metrics.jsonl"));
    let strip = |line: &str| {
        let mut value = json(line);
        value.as_object_mut().unwrap().remove("seconds");
        value
    };
    text.lines().map(strip).collect()
}

#[test]
fn a_run_killed_again_and_again_ends_with_the_same_numbers() {
    let toml = TINY.replace("steps_last_level = 2", "steps_last_level = 40").replace("validate_every = 0", "validate_every = 8");
    let (whole, killed) = (Dir::new(), Dir::new());
    whole.write("x.toml", &toml);
    killed.write("x.toml", &toml);
    whole.run(&["run", "x.toml"]).good();

    let lines = |path: &std::path::Path| std::fs::read_to_string(path).map_or(0, |t| t.lines().count());
    let metrics = killed.path("results/tiny/stage2/metrics.jsonl");
    let mut kills = 0;
    for at in [1, 6, 12] {
        let mut child = killed.command(&["run", "x.toml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while lines(&metrics) < at && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
        // what a kill in the middle of a write may leave
        let checkpoint = killed.path("results/tiny/stage2/checkpoint");
        if checkpoint.is_dir() {
            std::fs::write(checkpoint.join("partial-model.bpk"), b"half").unwrap();
            std::fs::write(checkpoint.join("model-999.bpk"), b"one part of three").unwrap();
        }
    }
    assert!(kills >= 1, "every child ended before it was killed");
    killed.run(&["run", "x.toml"]).good();
    for stage in ["pretrain", "stage1", "stage2"] {
        let weights = format!("results/tiny/{stage}/weights/model.safetensors");
        assert_eq!(std::fs::read(whole.path(&weights)).unwrap(), std::fs::read(killed.path(&weights)).unwrap(), "{stage}");
        assert_eq!(log(&whole, stage), log(&killed, stage), "{stage}");
    }
    for file in ["reconstruction.facts.dense.jsonl", "contextual_qa.facts.sparse-decomp.jsonl", "retrieval.facts.dense.jsonl"] {
        let name = format!("results/tiny/samples/{file}");
        assert_eq!(whole.read(&name), killed.read(&name));
    }
}
