//! What an experiment can do beyond the paper, as a whole run: every key on, its rows, its files, another training seed.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{Dir, TINY, edited};

/// The tiny experiment on open facts with every key of stage 2 on, a reader, an index, ICAE alike, and all extra rows.
fn experiment() -> String {
    let mut text = edited(
        TINY,
        "[data.facts]\ntrain = 200\n",
        "[data.facts]\nkind = \"open\"\ntrain = 200\nsentences = [1, 2]\nunseen_wordings = true\n",
    );
    text = edited(&text, "max_new_tokens = 12\n", "max_new_tokens = 12\nmax_input_tokens = 256\nrefine_steps = 2\n");
    text = edited(&text, "tokenizer_passages = 200\n", "tokenizer_passages = 200\nbalanced = false\n");
    text = edited(&text, "text = 0.0\n", "text = 0.0\ncomp_questions = 0.2\nrandom_copies = 0.2\ncopy_tokens = 8\ncopies_first = 2\n");
    text = edited(&text, "validate_every = 0\n", "validate_every = 2\nvalidation_random_tokens = 6\nkeep_best = true\n");
    text = edited(
        &text,
        "[train.reconstruction]\nsteps = 4\n",
        "[train.reconstruction]\nsteps = 4\nrandom_tokens = 0.3\nwindow_tokens = 30\nwindow_growth = 2\ntext_positions = 256\nquestions = 0.3\nbalanced = true\n",
    );
    text = edited(
        &text,
        "levels = 2\nblock_tokens = 8\nsteps_per_level = 2\nsteps_last_level = 2\n",
        r#"levels = 2
block_tokens = 8
steps_per_level = 2
steps_last_level = 2
progress = "length"
latents_by_level = [1, 2]
rows_by_level = [4, 3]
replay = 0.3
rate = "last_level"
gate = { loss = 0.1, window = 2 }
noise = { nf4 = "absmax" }
auxiliary = { weight = 0.5 }
replaced_tokens = 0.15
random_tokens = 0.2
questions = 0.4
any_k_from = 1
decoder = { steps = 3, rate = 0.5 }
layout = { text_positions = 256, block_mask = true, index_vectors = true, covered_tokens = 16 }
"#,
    );
    text.replace("learning_rate = 1e-3\n", "learning_rate = 1e-3\noptimizer = \"muon\"\n")
        + r#"
[train.reader]
steps = 2
substitution = 0.5

[train.reader.optim]
learning_rate = 1e-3
batch_size = 2

[train.index]
steps = 2
candidates = 5

[train.index.optim]
learning_rate = 1e-3
batch_size = 2

[baselines.icae]
steps = 4
slots = 2
as_stage2 = true

[baselines.icae.optim]
learning_rate = 1e-3
batch_size = 4
"#
}

#[test]
fn every_key_of_the_compression_experiments_trains_and_scores() {
    let dir = Dir::new();
    dir.write("x.toml", edited(&experiment(), "[eval]\n", "[eval]\ncontrols = \"all\"\n"));
    let words = dir.run(&["explain", "x.toml"]).good().stdout;
    for part in [
        "Muon trains",
        "windows of as many blocks",
        "trained along for 3 steps",
        "bits, ",
        "centre of its block",
        "through NF4",
        "as large as its embeddings",
        "40% of steps answer",
        "from 1 on: one model",
        "blocks of 16 / K tokens",
        "the rest stays text",
    ] {
        assert!(words.contains(part), "no {part:?} in {words}");
    }
    let said = dir.run(&["run", "x.toml", "--train-seed", "7"]).good();
    for row in [
        "NextMem-Dense + refine",
        "ICAE Comp",
        "control: no memory",
        "control: the passage's tokens",
        "control: another passage's memory",
        "facts-unseen-wordings",
        "## What a latent stands for",
    ] {
        assert!(said.stdout.contains(row), "no {row:?} in {}", said.stdout);
    }
    let run = "results/tiny-seed7";
    for file in
        ["stage1/weights/latent_layout.json", "stage2/weights/decoder/model.safetensors", "stage2/weights/index_vectors.safetensors"]
    {
        assert!(dir.path(&format!("{run}/{file}")).is_file(), "no {file}");
    }
    let size = |name: &str| {
        let values = tensor(&dir, &format!("{run}/stage1/weights/model.safetensors"), name);
        (values.iter().map(|value| value * value).sum::<f32>() / values.len() as f32).sqrt()
    };
    let (norm, embeddings) = (size("model.norm.weight"), size("model.embed_tokens.weight"));
    assert!((norm / embeddings - 1.0).abs() < 1e-3, "not balanced: {norm} and {embeddings}");
    let curve = dir.read(&format!("{run}/stage2/metrics.jsonl"));
    let validated: Vec<Value> = curve.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let validated = validated.iter().find(|line| !line["valid_f1"].is_null()).unwrap();
    for key in ["valid_random_tokens", "valid_token_accuracy", "valid_teacher_forced"] {
        assert!(validated[key].is_f64(), "no {key} in {validated}");
    }
    let rates: Value = serde_json::from_str(&dir.read(&format!("{run}/rate.json"))).unwrap();
    assert!(rates[0]["bits"].as_f64().unwrap() > 30.0 && rates[1]["dataset"] == "facts-unseen-wordings", "{rates}");

    // The result is one that every verb opens; a refined memory says whether it is exact.
    let out =
        dir.run(&["encode", run, "The parcel 37A-P38 has a wool wrapping.", "--out", "m.safetensors", "--refine", "2", "--nf4"]).good();
    assert!(out.stdout.contains("exact copy") && out.stderr.contains("memories decode to their text exactly"), "{out:#?}");
    for verb in [
        vec!["decode", run, "m.safetensors"],
        vec!["ask", run, "m.safetensors", "What?", "--comp"],
        vec!["search", run, "m.safetensors", "wool"],
    ] {
        dir.run(&verb).good();
    }
    let crammed = dir.run(&["analyze", run, "cramming", "--passages", "2"]).good().stdout;
    assert!(crammed.contains("teacher_forced") && crammed.contains("tokens_per_latent"), "{crammed}");

    // The decoder that was trained along is one of the weights: without it nothing is read by another one.
    let (decoder, away) = (dir.path(&format!("{run}/stage2/weights/decoder")), dir.path("away"));
    std::fs::rename(&decoder, &away).unwrap();
    dir.run(&["decode", run, "m.safetensors"]).refused(&["decoder/", "not the weights that the stage left"]);
    std::fs::rename(&away, &decoder).unwrap();

    // Another training seed shares data and test items, and trains anew.
    dir.run(&["run", "x.toml", "--train-seed", "8"]).good();
    let of = |seed: u64, field: &str| -> Vec<Value> {
        let samples = dir.read(&format!("results/tiny-seed{seed}/samples/reconstruction.facts.dense.jsonl"));
        samples.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()[field].clone()).collect()
    };
    assert_eq!(of(7, "reference"), of(8, "reference"));
    assert_ne!(dir.read(&format!("{run}/stage1/metrics.jsonl")), dir.read("results/tiny-seed8/stage1/metrics.jsonl"));
}

#[test]
fn what_cannot_be_meant_is_refused_before_anything_is_trained() {
    let dir = Dir::new();
    let text = experiment();
    for (from, to, parts) in [
        ("latents_by_level = [1, 2]", "latents_by_level = [2, 1]", ["train.substitution.latents_by_level", "rising"]),
        ("rows_by_level = [4, 3]", "rows_by_level = [4, 9]", ["train.substitution.rows_by_level", "batch_size"]),
        ("replay = 0.3", "replay = 1.0", ["train.substitution.replay", "share"]),
        ("replay = 0.3", "replay = 0.3\nschedule = \"all_at_once\"", ["train.substitution.replay", "progressive"]),
        ("questions = 0.4", "questions = -1", ["train.substitution.questions", "share"]),
        ("any_k_from = 1", "any_k_from = 3", ["train.substitution.any_k_from", "levels = 2"]),
        ("any_k_from = 1\n", "", ["layout.covered_tokens", "any_k_from"]),
        ("covered_tokens = 16", "covered_tokens = 0", ["layout.block_mask", "covered_tokens"]),
        ("covered_tokens = 16", "covered_tokens = 20", ["layout.covered_tokens", "block_tokens = 8"]),
        ("substitution = 0.5", "substitution = 1.5", ["train.reader.substitution", "share"]),
        ("decoder = { steps = 3, rate = 0.5 }", "decoder = { steps = 30 }", ["train.substitution.decoder", "steps"]),
        ("balanced = true", "balanced = true\nlora = { rank = 2 }", ["train.reconstruction.balanced", "lora"]),
        ("window_tokens = 30", "window_tokens = 300", ["train.reconstruction.text_positions", "300"]),
        ("max_input_tokens = 256", "max_input_tokens = 300", ["method.nextmem.max_input_tokens", "256 positions"]),
        ("sentences = [1, 2]", "sentences = [2, 9]", ["data.facts.sentences", "1 to 8"]),
        ("kind = \"open\"\n", "", ["data.facts.sentences", "kind"]),
        ("candidates = 5\n\n[train.index.optim]", "candidates = 4\n\n[train.index.optim]", ["train.index.candidates", "5 to 500"]),
    ] {
        dir.write("x.toml", edited(&text, from, to));
        dir.run(&["run", "x.toml"]).refused(&parts);
        assert!(!dir.path("results").exists(), "{from}");
    }
}

/// A tensor of a safetensors file, of bf16 or f32.
fn tensor(dir: &Dir, file: &str, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(dir.path(file)).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let entries: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let [from, to] = [0, 1].map(|i| entries[name]["data_offsets"][i].as_u64().unwrap() as usize + 8 + header);
    match entries[name]["dtype"].as_str() {
        Some("BF16") => bytes[from..to].chunks(2).map(|b| f32::from_bits(u32::from(u16::from_le_bytes([b[0], b[1]])) << 16)).collect(),
        Some("F32") => bytes[from..to].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect(),
        other => panic!("{name} of {file}: {other:?}"),
    }
}

#[test]
fn a_reader_changes_no_memory_whatever_encodes() {
    let dir = Dir::new();
    let reader = "\n[train.reader]\nsteps = 2\n\n[train.reader.optim]\nlearning_rate = 1e-2\nbatch_size = 2\n";
    for (name, lora) in [("all", ""), ("lora", "lora = { rank = 2 }\n")] {
        let text = TINY.replace("steps_last_level = 2\n", &format!("steps_last_level = 2\n{lora}"));
        // Special-token rows of their own, which only an adapter of stage 1 has.
        let text = edited(&text, "[train.reconstruction]\nsteps = 4\n", &format!("[train.reconstruction]\nsteps = 4\n{lora}"));
        dir.write("plain.toml", text.replace("name = \"tiny\"", &format!("name = \"{name}\"")));
        dir.write("read.toml", text.replace("name = \"tiny\"", &format!("name = \"{name}-read\"")) + reader);
        for (experiment, run, out) in
            [("plain.toml", name.to_string(), "plain.safetensors"), ("read.toml", format!("{name}-read"), "read.safetensors")]
        {
            dir.run(&["run", experiment]).good();
            dir.run(&["encode", &format!("results/{run}"), "Ann lives in Oslo.", "--out", out]).good();
        }
        // An adapter that was merged rounds otherwise; another decoder would give other numbers altogether.
        let (plain, read) = (tensor(&dir, "plain.safetensors", "latents"), tensor(&dir, "read.safetensors", "latents"));
        let largest = plain.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let moved = plain.iter().zip(&read).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(plain.len() == 32 && moved <= 0.01 * largest, "{name}: {moved} of {largest}");
        assert!(dir.path(&format!("results/{name}-read/reader/weights/model.safetensors")).is_file());
    }
}
