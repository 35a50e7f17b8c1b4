//! Files that do not fit: each is refused before anything is loaded or written, and named.
#![allow(clippy::unwrap_used)]

mod support;

use support::{ADAPT, Dir, TINY, Weights, copy, edited, root};

/// Runs an experiment on the tiny backbone after something has been done to it.
fn with_backbone(spoil: impl FnOnce(&Dir), names: &[&str]) {
    let dir = Dir::with_backbone();
    dir.write("x.toml", ADAPT);
    dir.run(&["explain", "x.toml"]).good();
    spoil(&dir);
    dir.run(&["run", "x.toml"]).refused(names);
    assert!(!dir.path("results").exists(), "a refused run left files");
}

fn edit_weights(dir: &Dir, edit: impl FnOnce(&mut Weights)) {
    let path = dir.path("backbone/model.safetensors");
    let mut weights = Weights::read(&path);
    edit(&mut weights);
    weights.write(&path);
}

#[test]
fn a_header_that_is_no_json() {
    let spoil = |dir: &Dir| {
        let mut bytes = std::fs::read(dir.path("backbone/model.safetensors")).unwrap();
        bytes[8] = b'!';
        dir.write("backbone/model.safetensors", bytes);
    };
    with_backbone(spoil, &["model.safetensors", "not a whole safetensors file"]);
}

#[test]
fn a_header_longer_than_the_file() {
    let spoil = |dir: &Dir| {
        let mut bytes = std::fs::read(dir.path("backbone/model.safetensors")).unwrap();
        bytes[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        dir.write("backbone/model.safetensors", bytes);
    };
    with_backbone(spoil, &["model.safetensors", "not a whole safetensors file"]);
}

#[test]
fn a_missing_tensor() {
    with_backbone(|dir| edit_weights(dir, |w| drop(w.remove_last())), &["1 weights are missing", "model."]);
}

#[test]
fn a_tensor_without_a_place() {
    with_backbone(|dir| edit_weights(dir, |w| w.add("model.layers.9.bias")), &["no place", "model.layers.9.bias"]);
}

#[test]
fn another_architecture() {
    let spoil = |dir: &Dir| dir.write("backbone/config.json", edited(&dir.read("backbone/config.json"), "\"qwen3\"", "\"llama\""));
    with_backbone(spoil, &["config.json", "\"llama\"", "expected \"qwen3\""]);
}

#[test]
fn a_backbone_without_a_tokenizer() {
    with_backbone(|dir| std::fs::remove_file(dir.path("backbone/tokenizer.json")).unwrap(), &["tokenizer.json"]);
}

#[test]
fn data_that_is_not_there() {
    let text = "[data.text]\npath = \"none.txt\"\nmin_words = 1\nmax_words = 9";
    with_backbone(|dir| dir.write("x.toml", edited(ADAPT, "[data.facts]\ntrain = 200", text)), &["none.txt", "does not exist"]);
}

#[test]
fn official_prepared_files_with_a_bad_record() {
    for (task, record, field) in [
        ("contextual_qa", r#"[{"question": "q", "answer": ["a"], "references": []}]"#, "answer"),
        ("retrieval", r#"[{"question": "q", "references": ["r"], "hit_list": [1]}]"#, "hit_list"),
    ] {
        let metric = if task == "retrieval" { "mrr@5" } else { "f1" };
        let spoil = |dir: &Dir| {
            dir.write("items.json", record);
            dir.write("x.toml", format!("{ADAPT}\n[eval.{task}]\nlimit = 3\npath = \"items.json\"\nmetrics = [\"{metric}\"]\n"));
        };
        with_backbone(spoil, &["record 0", "items.json", field]);
    }
}

#[test]
fn values_of_the_wrong_type_name_their_line() {
    let dir = Dir::new();
    dir.write("x.toml", edited(TINY, "train = 200", "train = \"many\""));
    dir.run(&["run", "x.toml"]).refused(&["x.toml", "line 16", "train", "expected usize"]);
    dir.write("x.toml", edited(TINY, "train = 200", "train = -200"));
    dir.run(&["run", "x.toml"]).refused(&["x.toml", "line 16", "train", "expected usize"]);
    // The value is merged with those of the base, so the file is all that is known.
    dir.write("base.toml", TINY);
    dir.write("x.toml", "base = \"base.toml\"\nname = \"x\"\n[data.facts]\ntrain = \"many\"\n");
    dir.run(&["run", "x.toml"]).refused(&["x.toml", "expected usize"]);
    assert!(!dir.path("results").exists());
}

#[test]
fn an_adapter_of_another_size() {
    let dir = Dir::with_backbone();
    let oracle = root().join("crates/model/tests/fixtures/oracle");
    for stage in ["stage1", "stage2"] {
        let adapter = oracle.join("untied").join(stage);
        let args = ["encode", "backbone", "text", &format!("--{stage}"), adapter.to_str().unwrap()];
        dir.run(&args).refused(&["adapter_model.safetensors", "got shape", "expected"]);
    }
    assert!(!dir.path("memory.safetensors").exists());
}

#[test]
fn a_tokenizer_with_more_entries_than_the_model() {
    let dir = Dir::with_backbone();
    copy(&root().join("crates/model/tests/fixtures/oracle/tied/base"), &dir.path("base"));
    std::fs::copy(dir.path("backbone/tokenizer.json"), dir.path("base/tokenizer.json")).unwrap();
    // 384 entries, 144 rows: ids would be out of the table.
    dir.run(&["encode", "base", "text"]).refused(&["384", "144"]);
}

#[test]
fn memories_that_are_none_or_another_models() {
    let dir = Dir::with_backbone();
    dir.run(&["decode", "backbone", "backbone/model.safetensors"]).refused(&["backbone/model.safetensors", "`version`"]);
    dir.run(&["encode", "backbone", "Ann lives in Oslo.", "--latents", "2", "--out", "m.safetensors"]).good();
    let nano = root().join("datasets/nano-backbone");
    for verb in [&["decode"][..], &["ask"], &["search"]] {
        let question = if verb == ["decode"] { &[][..] } else { &["Where?"] };
        let args = [verb, &[nano.to_str().unwrap(), "m.safetensors"], question].concat();
        dir.run(&args).refused(&["memories of backbone", "nano-backbone", "the model that made them"]);
    }
    let mut memory = Weights::read(&dir.path("m.safetensors"));
    memory.rename("latents", "vectors");
    memory.write(&dir.path("m.safetensors"));
    dir.run(&["decode", "backbone", "m.safetensors"]).refused(&["m.safetensors", "`latents` got", "expected BF16 [1, 2, 16]"]);
}

#[test]
fn texts_from_files_with_their_ids() {
    let dir = Dir::with_backbone();
    let encode = |file: &str| dir.run(&["encode", "backbone", "--from", file, "--latents", "2", "--keep-text", "--out", "m.safetensors"]);
    dir.write("lines.txt", "Ann lives in Oslo.\n\n  Bob is a cook.  \n");
    assert!(encode("lines.txt").good().stdout.contains("2 bf16 memories in m.safetensors"));
    let bytes = std::fs::read(dir.path("m.safetensors")).unwrap();
    let records = br#"[{"id":"0","text":"Ann lives in Oslo."},{"id":"1","text":"Bob is a cook."}]"#;
    assert!(bytes.windows(records.len()).any(|window| window == records), "the records of the file");
    dir.write("array.json", r#"["Ann lives in Oslo."]"#);
    encode("array.json").good();
    dir.write("objects.jsonl", "{\"id\": \"ann\", \"text\": \"Ann lives in Oslo.\"}\n");
    encode("objects.jsonl").good();
    assert!(dir.run(&["search", "backbone", "m.safetensors", "Ann", "--latents", "2"]).good().stdout.contains("ann"));
    for (name, text, says) in [
        ("none.txt", " \n", "holds no texts"),
        ("bad.json", "{}", "array of strings"),
        ("bad.jsonl", "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": 3}\n", "line 2"),
        ("twice.jsonl", "{\"id\": \"a\", \"text\": \"x\"}\n{\"id\": \"a\", \"text\": \"y\"}\n", "twice"),
    ] {
        dir.write(name, text);
        encode(name).refused(&[name, says]);
    }
}

#[test]
fn a_folder_that_is_no_run_is_kept_even_with_force() {
    let dir = Dir::new();
    dir.write("results/tiny/notes.txt", "mine");
    dir.write("x.toml", TINY);
    dir.run(&["run", "x.toml", "--force"]).refused(&["results/tiny", "no run of nextmem"]);
    assert_eq!(dir.read("results/tiny/notes.txt"), "mine");
}
