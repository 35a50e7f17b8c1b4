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
