//! What decides a number enters its identity: other content under the same name is never taken for what it was.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{ADAPT, Dir, TINY, Weights, copy, edited};

/// Evaluates prepared passages and questions with parts that are there: nothing is trained.
const GIVEN: &str = r#"name = "given"
results = "results"
[backbone]
model = "backbone"
[weights]
stage1 = "s1"
[method.nextmem]
num_latents = 2
max_new_tokens = 6
[eval.reconstruction]
limit = 10
sets = { mine = "passages.json" }
metrics = ["f1"]
[eval.contextual_qa]
limit = 10
sets = { mine = "qa.json" }
metrics = ["f1"]
"#;

/// A backbone, a stage 1 that was trained elsewhere, passages and questions.
fn given() -> Dir {
    let dir = Dir::with_backbone();
    dir.write("adapt.toml", ADAPT);
    dir.run(&["run", "adapt.toml"]).good();
    copy(&dir.path("results/adapt/stage1/weights"), &dir.path("s1"));
    std::fs::remove_dir_all(dir.path("results")).unwrap();
    dir.write("x.toml", GIVEN);
    dir.write("passages.json", r#"["Ann lives in Oslo.", "Ben keeps a kite."]"#);
    dir.write("qa.json", r#"[{"question": "Where?", "answer": "Oslo", "references": ["Ann lives in Oslo."]}]"#);
    dir
}

fn samples(dir: &Dir, run: &str) -> Vec<(String, Vec<u8>)> {
    dir.files(&format!("{run}/samples")).into_iter().filter(|(name, _)| name.ends_with(".jsonl")).collect()
}

/// Runs again, and from nothing; both must give the same samples.
fn as_from_nothing(dir: &Dir, run: &str) -> Vec<(String, Vec<u8>)> {
    dir.run(&["run", "x.toml"]).good();
    let again = samples(dir, run);
    std::fs::rename(dir.path(run), dir.path("kept")).unwrap();
    dir.run(&["run", "x.toml"]).good();
    assert!(again == samples(dir, run), "the samples are not those of a run from nothing");
    std::fs::remove_dir_all(dir.path("kept")).unwrap();
    assert!(again.len() > 1, "{}", again.len());
    again
}

#[test]
fn evaluation_files_weights_and_backbone_that_change_under_the_same_name() {
    let dir = given();
    let first = as_from_nothing(&dir, "results/given");
    // Nothing changed: nothing is computed, and the manifest keeps its times.
    let manifest = dir.read("results/given/manifest.json");
    dir.run(&["run", "x.toml"]).good();
    assert_eq!(dir.read("results/given/manifest.json"), manifest);

    dir.write("passages.json", r#"["Dora plays chess.", "Emil paints boats.", "Fay grows figs."]"#);
    let second = as_from_nothing(&dir, "results/given");
    let text =
        |all: &[(String, Vec<u8>)]| String::from_utf8(all.iter().find(|(n, _)| n.contains("reconstruction.mine.text")).unwrap().1.clone());
    assert!(text(&second).unwrap().contains("Fay grows figs.") && !text(&second).unwrap().contains("Oslo"));
    assert_ne!(first, second);
    dir.write("qa.json", r#"[{"question": "What?", "answer": "chess", "references": ["Dora plays chess."]}]"#);
    let third = as_from_nothing(&dir, "results/given");
    assert_ne!(second, third);

    // Another stage 1, another backbone, another chat template in the same place.
    let reweigh = |file: &str| {
        let mut weights = Weights::read(&dir.path(file));
        let keys: Vec<String> = weights.header.keys().filter(|k| k.contains("proj") || k.contains("embed")).cloned().collect();
        keys.iter().for_each(|key| weights.scale_first(key, 900.0));
        weights.write(&dir.path(file));
    };
    reweigh("s1/model.safetensors");
    let fourth = as_from_nothing(&dir, "results/given");
    assert_ne!(third, fourth);
    reweigh("backbone/model.safetensors");
    let fifth = as_from_nothing(&dir, "results/given");
    let identity = |dir: &Dir| serde_json::from_str::<Value>(&dir.read("results/given/samples/identity.json")).unwrap()["hash"].clone();
    let before = identity(&dir);
    let template = dir.read("backbone/chat_template.jinja");
    dir.write("backbone/chat_template.jinja", format!("{template}\n"));
    as_from_nothing(&dir, "results/given");
    assert_ne!(identity(&dir), before);
    drop(fifth);
}

#[test]
fn a_shard_that_changes_behind_the_same_index_trains_anew() {
    let dir = Dir::with_backbone();
    // The backbone in one shard with an index that names nothing but keys.
    let weights = Weights::read(&dir.path("backbone/model.safetensors"));
    let map: serde_json::Map<String, Value> =
        weights.header.keys().filter(|k| *k != "__metadata__").map(|k| (k.clone(), "model-00001-of-00001.safetensors".into())).collect();
    std::fs::rename(dir.path("backbone/model.safetensors"), dir.path("backbone/model-00001-of-00001.safetensors")).unwrap();
    dir.write("backbone/model.safetensors.index.json", serde_json::json!({"metadata": {}, "weight_map": map}).to_string());
    dir.write("x.toml", ADAPT);
    dir.run(&["run", "x.toml"]).good();
    assert!(dir.run(&["run", "x.toml"]).good().stderr.contains("already done"));
    let first = dir.files("results/adapt/stage1/weights");

    let shard = dir.path("backbone/model-00001-of-00001.safetensors");
    let mut other = Weights::read(&shard);
    other.scale_first("model.embed_tokens.weight", 7.0);
    other.write(&shard);
    let said = dir.run(&["run", "x.toml"]).good();
    assert!(!said.stderr.contains("already done"), "{said:#?}");
    assert_ne!(first, dir.files("results/adapt/stage1/weights"));
    as_from_nothing(&dir, "results/adapt");
}

#[test]
fn metrics_and_more_items_are_added_to_a_finished_run() {
    let dir = Dir::new();
    dir.write("x.toml", TINY);
    dir.run(&["run", "x.toml"]).good();
    let file = "results/tiny/samples/reconstruction.facts.dense.jsonl";
    let (before, manifest) = (dir.read(file), dir.read("results/tiny/manifest.json"));
    let scored = |metric: &str| {
        let scores: Value = serde_json::from_str(&dir.read("results/tiny/scores.json")).unwrap();
        scores.to_string().contains(&format!("\"{metric}\""))
    };
    assert!(!scored("meteor"));

    dir.write("x.toml", edited(TINY, "\"rouge_l\"", "\"rouge_l\", \"meteor\""));
    let said = dir.run(&["run", "x.toml"]).good();
    assert_eq!(said.stderr.matches("already done").count(), 3, "{said:#?}");
    assert!(scored("meteor"));
    assert_eq!((dir.read(file), dir.read("results/tiny/manifest.json")), (before.clone(), manifest));

    // Five items continue the three; the stages and the three samples stay.
    let more = edited(TINY, "[eval.reconstruction]\nlimit = 3", "[eval.reconstruction]\nlimit = 5");
    dir.write("x.toml", &more);
    let said = dir.run(&["run", "x.toml"]).good();
    assert_eq!(said.stderr.matches("already done").count(), 3, "{said:#?}");
    assert!(dir.read(file).starts_with(&before));
    assert_eq!(dir.read(file).lines().count(), 5);
    std::fs::rename(dir.path("results/tiny/samples"), dir.path("continued")).unwrap();
    dir.run(&["run", "x.toml"]).good();
    assert!(dir.files("continued") == dir.files("results/tiny/samples"), "continued samples differ from those made at once");

    // Fewer items, other weights or other options are another run; what differs is named.
    dir.write("x.toml", TINY);
    dir.run(&["run", "x.toml"]).refused(&["eval.reconstruction.limit: 5 -> 3", "another `name`", "reuses the stages"]);
    dir.write("x.toml", edited(&more, "num_latents = 2", "num_latents = 1"));
    dir.run(&["run", "x.toml"]).refused(&["method.nextmem.num_latents: 2 -> 1"]);
}

#[test]
fn force_deletes_the_files_of_the_run_and_no_others() {
    let dir = Dir::new();
    dir.write("x.toml", TINY);
    dir.run(&["run", "x.toml"]).good();
    dir.write("results/tiny/thesis.txt", "mine");
    dir.write("results/tiny/analysis/notes.md", "mine");
    dir.write("x.toml", edited(TINY, "levels = 2", "levels = 1"));
    dir.run(&["run", "x.toml"]).refused(&["holds another run", "train.substitution.levels: 2 -> 1", "--force"]);
    let stage2 = dir.files("results/tiny/stage2/weights");
    dir.run(&["run", "x.toml", "--force"]).good();
    assert_eq!(dir.read("results/tiny/thesis.txt"), "mine");
    assert_eq!(dir.read("results/tiny/analysis/notes.md"), "mine");
    assert_ne!(stage2, dir.files("results/tiny/stage2/weights"));
}

#[test]
fn lengths_that_the_backbone_has_no_positions_for_are_refused_before_training() {
    let dir = Dir::new();
    let says = |from: &str, to: &str, names: &[&str]| {
        dir.write("x.toml", edited(TINY, from, to));
        dir.run(&["run", "x.toml"]).refused(names);
        assert!(!dir.path("results").exists());
    };
    says("max_new_tokens = 12", "max_new_tokens = 5000", &["max_new_tokens: got 5000", "512 positions"]);
    says("max_new_tokens = 12", "max_new_tokens = 300", &["max_new_tokens: got 300", "DeComp", "set at most 224"]);
    says("num_latents = 2", "num_latents = 600", &["num_latents: got 600", "512 positions"]);
    says("num_latents = 2", "num_latents = 2\nmax_input_tokens = 511", &["max_input_tokens: got 511", "set at most 509"]);
    // What is accepted and may not be meant is said.
    dir.write("x.toml", edited(TINY, "num_latents = 2", "num_latents = 1"));
    let said = dir.run(&["explain", "x.toml"]).good().stdout;
    assert!(said.contains("num_latents is 1") && said.contains("levels is 2"), "{said}");
}
