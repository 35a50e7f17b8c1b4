//! `verify` names everything that is wrong with a checkpoint, and nothing is wrong with a whole one.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Dir, Weights, copy, root};

#[test]
fn a_whole_checkpoint_and_a_damaged_one() {
    let dir = Dir::with_backbone();
    let said = dir.run(&["verify", "backbone", "--sha256"]).good().stdout;
    for part in ["whole", "F32", "1 layers", "tied head", "tokenizer: 384 entries", "model.safetensors"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    // A real sum: the same as of the file's bytes computed by another program.
    let config = std::process::Command::new("sha256sum").arg(dir.path("backbone/config.json")).output().unwrap().stdout;
    let sum = String::from_utf8(config).unwrap();
    assert!(said.contains(sum.split_whitespace().next().unwrap()), "{sum} in\n{said}");

    let path = dir.path("backbone/model.safetensors");
    let mut weights = Weights::read(&path);
    weights.rename("model.norm.weight", "model.final.weight");
    weights.write(&path);
    std::fs::remove_file(dir.path("backbone/tokenizer.json")).unwrap();
    let outcome = dir.run(&["verify", "backbone"]);
    for part in ["`model.norm.weight`", "`model.final.weight`", "tokenizer.json"] {
        assert!(outcome.stdout.contains(part), "{part} in\n{outcome:?}");
    }
    outcome.refused(&["3 problems"]);

    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 5]).unwrap();
    let outcome = dir.run(&["verify", "backbone"]);
    assert!(outcome.stdout.contains("not a whole safetensors file"), "{outcome:?}");
    dir.run(&["verify", "nowhere"]).refused(&["nowhere", "no such directory"]);
}

#[test]
fn shards_and_adapters() {
    let dir = Dir::new();
    let oracle = root().join("crates/model/tests/fixtures/oracle/untied");
    copy(&oracle.join("base"), &dir.path("base"));
    // No tokenizer is in it: that is the only thing that is wrong.
    dir.run(&["verify", "base"]).refused(&["1 problems"]);
    std::fs::remove_file(dir.path("base/model-00002-of-00004.safetensors")).unwrap();
    let outcome = dir.run(&["verify", "base"]);
    assert!(outcome.stdout.contains("model-00002-of-00004.safetensors: no such file"), "{outcome:?}");

    copy(&oracle.join("base"), &dir.path("base"));
    copy(&oracle.join("stage1"), &dir.path("adapter"));
    let said = dir.run(&["verify", "adapter", "--backbone", "base"]).good().stdout;
    assert!(said.contains("fits base, special tokens: yes"), "{said}");
    let tied = root().join("crates/model/tests/fixtures/oracle/tied/base");
    dir.run(&["verify", "adapter", "--backbone", tied.to_str().unwrap()]).refused(&["1 problems"]);
}

#[test]
fn what_transformers_warns_of_is_told() {
    let dir = Dir::with_backbone();
    let (config, weights) = (dir.path("backbone/config.json"), dir.path("backbone/model.safetensors"));
    let json = |path: &std::path::Path| -> serde_json::Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    // A copy of the table as a head is nothing; another one is used, and `verify` and `encode` say so.
    let mut file = Weights::read(&weights);
    let table = file.header["model.embed_tokens.weight"].clone();
    let [from, to] = [0, 1].map(|i| table["data_offsets"][i].as_u64().unwrap() as usize);
    let at = file.data.len();
    file.data.extend_from_within(from..to);
    file.header.insert("lm_head.weight".into(), table);
    file.header["lm_head.weight"]["data_offsets"] = serde_json::json!([at, at + to - from]);
    file.write(&weights);
    let said = dir.run(&["verify", "backbone"]).good().stdout;
    assert!(said.contains("tied head") && !said.contains("note:"), "{said}");
    file.scale_first("lm_head.weight", 1.5);
    file.write(&weights);
    let said = dir.run(&["verify", "backbone"]).good().stdout;
    assert!(said.contains("untied head") && said.contains("note:") && said.contains("tie_word_embeddings"), "{said}");
    let encode = ["encode", "--latents", "2", "--out", "m.safetensors", "backbone", "Mila Kovac lives in Porto."];
    let told = dir.run(&encode).good().stderr;
    assert_eq!(told.matches("tie_word_embeddings").count(), 1, "{told}");
    // Without any head it is no model that writes.
    let mut value = json(&config);
    value["tie_word_embeddings"] = false.into();
    std::fs::write(&config, value.to_string()).unwrap();
    file.rename("lm_head.weight", "model.x");
    file.write(&weights);
    let outcome = dir.run(&["verify", "backbone"]);
    assert!(outcome.stdout.contains("no `lm_head.weight`"), "{outcome:?}");
    outcome.refused(&["problems"]);
}

#[test]
fn a_template_is_tried() {
    let dir = Dir::with_backbone();
    let template = dir.path("backbone/chat_template.jinja");
    let whole = std::fs::read_to_string(&template).unwrap();
    let marked = whole.replace("{%- if message.tool_calls %}", "{%- generation %}{%- endgeneration %}{%- if message.tool_calls %}");
    assert_ne!(marked, whole);
    std::fs::write(&template, marked).unwrap();
    dir.run(&["verify", "backbone"]).good();
    std::fs::write(&template, "{{ raise_exception('only for tools') }}").unwrap();
    let outcome = dir.run(&["verify", "backbone"]);
    assert!(outcome.stdout.contains("only for tools"), "{outcome:?}");
    outcome.refused(&["1 problems"]);
    // A run that asks questions notices before it trains; one that asks none does not mind.
    dir.write("adapt.toml", support::ADAPT);
    dir.run(&["explain", "adapt.toml"]).good();
    dir.write("asks.toml", format!("{}\n[eval.contextual_qa]\nlimit = 3\nmetrics = [\"f1\"]\n", support::ADAPT));
    dir.run(&["run", "asks.toml"]).refused(&["backbone.model", "only for tools"]);
    assert!(!dir.path("results").exists());
    std::fs::remove_file(&template).unwrap();
    let config = dir.path("backbone/tokenizer_config.json");
    let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    value.as_object_mut().unwrap().remove("chat_template");
    std::fs::write(&config, value.to_string()).unwrap();
    assert!(dir.run(&["verify", "backbone"]).good().stdout.contains("no chat template"));
}

#[test]
fn files_that_cannot_be_read_are_named_once() {
    let dir = Dir::with_backbone();
    let why = |outcome: &support::Outcome| outcome.stderr.lines().last().unwrap().to_string();
    let missing = dir.run(&["decode", "backbone", "nothere.safetensors"]);
    assert!(why(&missing).contains("nothere.safetensors: no such memory file"), "{missing:?}");
    // A directory where a file should be: the reason of the system, once.
    std::fs::remove_file(dir.path("backbone/config.json")).unwrap();
    std::fs::create_dir(dir.path("backbone/config.json")).unwrap();
    let outcome = dir.run(&["encode", "--latents", "2", "--out", "m.safetensors", "backbone", "Mila"]);
    assert_eq!(why(&outcome).matches("directory (os error").count(), 1, "{outcome:?}");
    assert!(why(&outcome).contains("backbone/config.json: "), "{outcome:?}");
    // An adapter that is not computed is found without its backbone.
    copy(&root().join("crates/model/tests/fixtures/peft/dora"), &dir.path("dora"));
    let outcome = dir.run(&["verify", "dora"]);
    assert!(outcome.stdout.contains("use_dora"), "{outcome:?}");
    outcome.refused(&["1 problems"]);
}
