//! Bad input: a clear error and exit code 2 before any work.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Dir, Outcome, TINY, copy, root};

/// Runs the tiny experiment with a text replaced, and checks that nothing was written.
fn with(from: &str, to: &str) -> Outcome {
    assert!(TINY.contains(from), "{from}");
    let dir = Dir::new();
    dir.write("x.toml", TINY.replacen(from, to, 1));
    let outcome = dir.run(&["run", "x.toml"]);
    assert!(!dir.path("results").exists(), "a refused run left files: {outcome:#?}");
    outcome
}

#[test]
fn keys_and_values_of_the_experiment() {
    with("num_latents = 2", "nmu_latents = 2").refused(&["nmu_latents", "line 18"]);
    with("steps = 4", "steps = \"four\"").refused(&["steps", "line", "invalid type"]);
    with("text = 0.0", "text = 0.0\ncopies_first = 5").refused(&["train.pretrain.copies_first: got 5", "at most steps = 4"]);
    with("repeats = 0.2", "repeats = -0.2").refused(&["train.pretrain.repeats: got -0.2", "from 0 up"]);
    with("levels = 2", "levels = 0").refused(&["levels", "positive"]);
    with("checkpoint_every = 2", "checkpoint_every = 3").refused(&["checkpoint_every = 3", "multiple of log_every = 2"]);
    with("name = \"tiny\"", "name = \"../tiny\"").refused(&["name", "plain directory name"]);
    with("learning_rate = 1e-3", "learning_rate = 0.0").refused(&["learning_rate 0"]);
    with("[data.facts]\ntrain = 200", "[data]").refused(&["[data.facts]"]);
    with("head_dim = 8", "head_dim = 7").refused(&["head_dim", "even"]);
}

#[test]
fn unknown_key_of_a_file_with_a_base() {
    let dir = Dir::new();
    dir.write("base.toml", TINY);
    dir.write("x.toml", "base = \"base.toml\"\nname = \"y\"\n[train.substitution]\nblok_tokens = 3\n");
    dir.run(&["run", "x.toml"]).refused(&["blok_tokens", "line 4"]);
    dir.write("x.toml", "base = \"nowhere.toml\"\nname = \"y\"\n");
    dir.run(&["run", "x.toml"]).refused(&["nowhere.toml"]);
}

#[test]
fn devices() {
    with("results = \"results\"", "results = \"results\"\n[device]\nbackend = \"metal\"").refused(&["metal", "expected one of flex"]);
    with("results = \"results\"", "results = \"results\"\n[device]\nbackend = \"flex\"\ndtype = \"int8\"").refused(&["int8", "bf16"]);
}

#[test]
fn metrics_and_tasks() {
    with("metrics = [\"hit@5\", \"mrr@5\"]", "metrics = [\"f1\"]").refused(&["retrieval", "f1", "hit@5"]);
    with("metrics = [\"f1\", \"exact_match\"]", "metrics = [\"f2\"]").refused(&["f2", "rouge_l"]);
    let text = "[data.text]\npath = \"t.txt\"\nmin_words = 1\nmax_words = 9";
    let dir = Dir::new();
    dir.write("t.txt", "One two three. Four five six. Seven eight nine. ".repeat(40));
    dir.write("x.toml", format!("{}\n{text}\n", TINY.replace("[data.facts]\ntrain = 200\n", "")));
    dir.run(&["run", "x.toml"]).refused(&["[train.pretrain]", "[data.facts]"]);
}

#[test]
fn missing_and_malformed_files() {
    let dir = Dir::new();
    dir.run(&["run", "none.toml"]).refused(&["none.toml"]);
    with("[backbone.nano]", "[backbone]\nmodel = \"nowhere\"\n[backbone.nano]").refused(&["backbone"]);
    let dir = Dir::new();
    dir.write("x.toml", TINY.replacen("limit = 3\n", "limit = 3\npath = \"recs.json\"\n", 1));
    dir.run(&["run", "x.toml"]).refused(&["recs.json", "no such file"]);
    dir.write("recs.json", "[\"fine\", 7]");
    dir.run(&["run", "x.toml"]).refused(&["recs.json", "1"]);
    assert!(!dir.path("results").exists());
}

#[test]
fn checkpoints_of_the_backbone() {
    let dir = Dir::new();
    let (head, tail) = (TINY.find("[backbone.nano]").unwrap(), TINY.find("[data.facts]").unwrap());
    let toml = format!("{}[backbone]\nmodel = \"hf\"\n{}", &TINY[..head], &TINY[tail..]);
    let (from, to) = (toml.find("[train.pretrain]").unwrap(), toml.find("[train.reconstruction]").unwrap());
    dir.write("x.toml", format!("{}{}", &toml[..from], &toml[to..]));
    dir.run(&["run", "x.toml"]).refused(&["hf", "no such directory"]);
    copy(&root().join("datasets/nano-backbone"), &dir.path("hf"));
    dir.run(&["explain", "x.toml"]).good();
    let whole = std::fs::read(dir.path("hf/model.safetensors")).unwrap();
    dir.write("hf/model.safetensors", &whole[..whole.len() - 5]);
    dir.run(&["run", "x.toml"]).refused(&["model.safetensors", "not a whole safetensors file", "download"]);
    dir.write("hf/model.safetensors", b"{}");
    dir.run(&["run", "x.toml"]).refused(&["not a whole safetensors file"]);
    dir.write("hf/model.safetensors", &whole);
    let config = dir.read("hf/config.json");
    dir.write("hf/config.json", config.replace("\"hidden_size\": 128", "\"hidden_size\": 64"));
    dir.run(&["run", "x.toml"]).refused(&["got shape", "expected"]);
    dir.write("hf/config.json", "{");
    dir.run(&["run", "x.toml"]).refused(&["config.json", "not valid JSON"]);
    assert!(!dir.path("results").exists());
}

#[test]
fn run_directories() {
    let dir = Dir::new();
    dir.write("results/tiny/notes.txt", "mine");
    dir.write("x.toml", TINY);
    dir.run(&["run", "x.toml"]).refused(&["results/tiny", "no run of nextmem"]);
    assert_eq!(dir.read("results/tiny/notes.txt"), "mine");
    dir.run(&["score", "results/tiny"]).refused(&["resolved.toml"]);
    dir.run(&["table", "nowhere"]).refused(&["nowhere"]);
}

#[test]
fn memories() {
    let dir = Dir::new();
    dir.write("m.safetensors", b"not a memory");
    let model = root().join("datasets/nano-backbone");
    let model = model.to_str().unwrap();
    dir.run(&["decode", model, "m.safetensors"]).refused(&["m.safetensors", "not a whole safetensors file"]);
    dir.run(&["decode", model, "none.safetensors"]).refused(&["none.safetensors"]);
    dir.run(&["encode", "nowhere", "text"]).refused(&["nowhere", "no such directory"]);
    dir.run(&["encode", model, "text", "--device", "metal"]).refused(&["metal"]);
    let adapter = root().join("crates/model/tests/fixtures/oracle/tied/stage2");
    dir.run(&["encode", model, "text", "--stage2", adapter.to_str().unwrap()]).refused(&["adapter_model.safetensors"]);
}

#[test]
fn texts_that_are_too_long_to_be_encoded_are_found_before_anything_is_trained() {
    let dir = Dir::new();
    let base = root().join("experiments/quickstart.toml");
    dir.write("x.toml", format!("base = {base:?}\nname = \"x\"\nresults = \"results\"\n[method.nextmem]\nmax_input_tokens = 12\n"));
    dir.run(&["run", "x.toml"]).refused(&["eval.reconstruction: text ", "expected at most method.nextmem.max_input_tokens = 12"]);
    assert!(!dir.path("results").exists());
}
