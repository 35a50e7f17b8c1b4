//! The baselines of an experiment: their keys, their stages beside stage 2, their rows.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{Dir, Outcome, TINY, edited, finish, nextmem, root};

const BASELINES: &str = r#"
[baselines.bm25]
[baselines.mean_pooled]

[baselines.icae]
steps = 2
slots = 2

[baselines.icae.optim]
learning_rate = 1e-3
batch_size = 4

[baselines.dyprag]
steps = 2
questions = 0.5
hypernetwork = { bottleneck = 4 }

[baselines.dyprag.optim]
learning_rate = 1e-3
batch_size = 4
"#;

/// The tiny experiment with a name and its baselines, in which a text is replaced.
fn with(from: &str, to: &str) -> String {
    edited(&format!("{TINY}{BASELINES}"), from, to)
}

/// Sample files of a task, by the name of their row.
fn rows(dir: &Dir, run: &str, task: &str) -> Vec<String> {
    let files = dir.files(&format!("results/{run}/samples"));
    let row = |name: &String| name.strip_prefix(task)?.strip_prefix(".facts.")?.strip_suffix(".jsonl").map(String::from);
    let mut rows: Vec<String> = files.keys().filter_map(row).collect();
    rows.sort();
    rows
}

/// What `explain` says of a stage.
fn state(dir: &Dir, experiment: &str, stage: &str) -> String {
    let table = dir.run(&["explain", experiment]).good().stdout;
    let cells = |l: &str| l.split(['\u{2502}', '\u{2506}']).map(|c| c.trim().to_string()).filter(|c| !c.is_empty()).collect::<Vec<_>>();
    let found = table.lines().map(cells).find(|cells| cells.first().is_some_and(|c| c == stage));
    found.and_then(|mut cells| cells.pop()).unwrap_or_else(|| panic!("no {stage} in\n{table}"))
}

#[test]
fn baselines_train_beside_stage_2_and_do_only_what_they_can() {
    let dir = Dir::new();
    dir.write("plain.toml", TINY);
    dir.run(&["run", "plain.toml"]).good();
    dir.write("x.toml", with("name = \"tiny\"", "name = \"compared\""));

    // 1. Baselines leave the stages of NextMem what they were
    for stage in ["pretrain", "stage1", "stage2"] {
        assert_eq!(state(&dir, "x.toml", stage), format!("done in results/tiny/{stage}"));
    }
    assert_eq!(state(&dir, "x.toml", "icae"), "to run");
    let said = dir.run(&["run", "x.toml"]).good();
    assert_eq!(said.stderr.matches("already done in results/tiny").count(), 3, "{said:#?}");
    for row in ["| ICAE |", "| ICAE (NF4) |", "| ICAE Comp |", "| DyPRAG |", "| BM25 |", "| mean-pooled hidden states |", "ICAE (paper)"] {
        assert!(said.stdout.contains(row), "no {row:?} in {said:#?}");
    }
    for file in ["icae/weights/slots.safetensors", "icae/weights/model.safetensors", "dyprag/weights/hypernetwork.safetensors"] {
        assert!(dir.path("results/compared").join(file).is_file(), "{file}");
    }

    // 2. A method is asked only what it can do
    assert_eq!(rows(&dir, "compared", "reconstruction"), ["dense", "dyprag", "icae", "icae-sparse", "sparse", "text"]);
    let answers = ["dense-comp", "dense-decomp", "dyprag", "icae-comp", "icae-decomp", "icae-sparse-comp", "icae-sparse-decomp"];
    assert_eq!(rows(&dir, "compared", "contextual_qa")[..7], answers);
    let ranked = ["bm25", "dense", "icae", "icae-sparse", "mean-pooled", "sparse", "text"];
    assert_eq!(rows(&dir, "compared", "retrieval"), ranked);
    // Words are found among the candidates whatever the model has learnt.
    let scores: Value = serde_json::from_str(&dir.read("results/compared/scores.json")).unwrap();
    let of = |task: &str, method: &str, metric: &str| {
        let mut all = scores.as_array().unwrap().iter();
        all.find(|s| s["task"] == task && s["method"] == method && s["metric"] == metric).unwrap()["value"].as_f64().unwrap()
    };
    assert!(of("retrieval", "bm25", "hit@5") > 0.9);
    // Two slots of 16 in bf16; factors of rank 2 for three projections of 16 and 32 in one layer.
    assert_eq!(of("reconstruction", "icae", "memory_bytes"), 64.0);
    assert_eq!(of("reconstruction", "dyprag", "memory_bytes"), 576.0);

    // 3. Again: nothing is trained; another stage 2 leaves the baselines as they are; other slots train ICAE alone
    let again = dir.run(&["run", "x.toml"]).good();
    assert_eq!(again.stderr.matches("already done").count(), 5, "{again:#?}");
    dir.write("other.toml", with("steps_last_level = 2", "steps_last_level = 3").replace("name = \"tiny\"", "name = \"other\""));
    assert_eq!(state(&dir, "other.toml", "stage2"), "to run");
    assert_eq!(state(&dir, "other.toml", "icae"), "done in results/compared/icae");
    dir.write("slots.toml", with("slots = 2", "slots = 3").replace("name = \"tiny\"", "name = \"slots\""));
    assert_eq!(state(&dir, "slots.toml", "icae"), "to run");
    assert_eq!(state(&dir, "slots.toml", "dyprag"), "done in results/compared/dyprag");

    // 4. The memories of a run with baselines are NextMem's
    dir.run(&["encode", "results/compared", "Ann lives in Oslo.", "--out", "m.safetensors"]).good();
}

#[test]
fn encoders_with_lora_and_stages_by_name() {
    let dir = Dir::new();
    let lora = with("slots = 2", "slots = 2\nlora = { rank = 2, alpha = 4.0 }");
    dir.write("x.toml", edited(&lora, "[train.loop]", "[train]\nstages = [\"pretrain\", \"reconstruction\", \"icae\"]\n[train.loop]"));
    dir.run(&["run", "x.toml"]).good();
    assert!(dir.path("results/tiny/icae/weights/adapter_model.safetensors").is_file());
    assert!(!dir.path("results/tiny/dyprag").exists() && !dir.path("results/tiny/stage2").exists());
    // DyPRAG was not trained, so that it has no row.
    assert_eq!(rows(&dir, "tiny", "reconstruction"), ["dense", "icae", "icae-sparse", "sparse", "text"]);
}

#[test]
fn keys_and_values() {
    let refused = |from: &str, to: &str, names: &[&str]| {
        let dir = Dir::new();
        dir.write("x.toml", with(from, to));
        dir.run(&["run", "x.toml"]).refused(names);
        assert!(!dir.path("results").exists());
    };
    refused("[baselines.bm25]", "[baselines.bm52]", &["bm52", "line", "mean_pooled"]);
    refused("[baselines.bm25]", "[baselines.bm25]\nk = 1.2", &["`k`", "line"]);
    refused("[baselines.bm25]", "[baselines.bm25]\nb = 1.5", &["baselines.bm25", "b 1.5", "at most 1"]);
    refused("[baselines.bm25]", "[baselines.bge]\nmodel = \"nowhere\"", &["baselines.bge.model", "nowhere", "fetch"]);
    refused("[baselines.mean_pooled]", "[baselines.mean_pooled]\nlayer = 3", &["layer", "line"]);
    refused("slots = 2", "slots = 0", &["baselines.icae.slots", "num_latents"]);
    refused("slots = 2", "", &["slots"]);
    refused("slots = 2", "slots = 2\nlora = { rank = 0 }", &["baselines.icae.lora.rank"]);
    refused("steps = 2\nslots", "steps = 0\nslots", &["baselines.icae", "steps 0"]);
    refused("questions = 0.5", "questions = 1.5", &["baselines.dyprag.questions", "1.5"]);
    refused("bottleneck = 4", "bottleneck = 0", &["hypernetwork", "bottleneck 0"]);
    refused("bottleneck = 4", "embedding = \"first\"", &["first", "last_token"]);
    refused("[train.loop]", "[train]\nstages = [\"pretrain\", \"dypragg\"]\n[train.loop]", &["dypragg", "dyprag"]);
}

#[test]
fn the_comparison_at_nano_scale_has_the_budget_of_stage_2() {
    let said: Outcome = finish(nextmem(&root(), &["explain", "experiments/nano-paper.toml"])).good();
    let steps = |stage: &str| {
        let cells = |l: &str| l.split(['\u{2502}', '\u{2506}']).map(|c| c.trim().to_string()).filter(|c| !c.is_empty()).collect::<Vec<_>>();
        let found = said.stdout.lines().map(cells).find(|cells| cells.first().is_some_and(|c| c == stage));
        found.unwrap_or_else(|| panic!("no {stage} in {}", said.stdout))[1..3].to_vec()
    };
    // Steps and passages.
    assert_eq!(steps("icae"), steps("stage2"));
    assert_eq!(steps("dyprag"), steps("stage2"));
}
