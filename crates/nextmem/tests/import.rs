//! Checkpoints in the official release's layout become a run: the same adapters give the same words.
#![allow(clippy::unwrap_used)]

mod support;

use support::{ADAPT, Dir, Weights, copy, edited, root};

/// A run with LoRA in both stages, and its adapters laid out as the official release lays them out.
fn release() -> Dir {
    let dir = Dir::with_backbone();
    let lora = "lora = { rank = 2, alpha = 4.0 }";
    let stage2 = format!(
        "\n[train.substitution]\n{lora}\nsteps_per_level = 1\nsteps_last_level = 1\n\
         [train.substitution.optim]\nlearning_rate = 1e-3\nbatch_size = 4\n"
    );
    dir.write("adapt.toml", edited(ADAPT, "[train.reconstruction]\n", &format!("[train.reconstruction]\n{lora}\n")) + &stage2);
    dir.run(&["run", "adapt.toml"]).good();
    let trained = dir.path("results/adapt");
    for (stage, kept) in [("stage1", "stage_1_checkpoint-3092"), ("stage2", "stage_2_checkpoint-15")] {
        copy(&trained.join(stage).join("weights"), &dir.path("release").join(kept));
    }
    // An older step beside it is not the one that counts.
    copy(&root().join("crates/model/tests/fixtures/oracle/untied/stage2"), &dir.path("release/stage_2_checkpoint-9"));
    dir
}

#[test]
fn an_imported_release_is_a_run() {
    let dir = release();
    let import = ["import", "release", "--backbone", "backbone", "--name", "official", "--latents", "15"];
    let said = dir.run(&import).good();
    assert!(said.stdout.contains("stage_1_checkpoint-3092") && said.stdout.contains("stage_2_checkpoint-15"), "{said:?}");
    dir.run(&import).refused(&["results/runs/official exists", "--name"]);

    // The same latents as the run that the adapters come from; the weights are the same, wherever they lie.
    let latents = |run: &str, file: &str| {
        dir.run(&["encode", run, "Ann lives in Oslo.", "--out", file]).good();
        Weights::read(&dir.path(file)).data
    };
    assert_eq!(latents("results/runs/official", "a.safetensors"), latents("results/adapt", "b.safetensors"));
    assert_ne!(latents("backbone", "c.safetensors"), latents("results/adapt", "b.safetensors"));
    let words = |run: &str, file: &str| dir.run(&["decode", run, file]).good().stdout;
    assert_eq!(words("results/runs/official", "b.safetensors"), words("results/adapt", "a.safetensors"));
    dir.run(&["decode", "results/runs/official", "c.safetensors"]).refused(&["memories of backbone", "official"]);

    // Evaluated on official prepared files, without any data to train on.
    dir.write("recs.json", r#"["Ann lives in Oslo.", "Bob is a cook."]"#);
    dir.write(
        "eval.toml",
        "base = \"results/runs/official/experiment.toml\"\nname = \"scored\"\n[method.nextmem]\nmax_new_tokens = 8\n\
         [eval.reconstruction]\nlimit = 2\nsets = { squad = \"recs.json\" }\nmetrics = [\"f1\"]\n",
    );
    dir.run(&["run", "eval.toml"]).good();
    let samples = dir.read("results/runs/scored/samples/reconstruction.squad.sparse.jsonl");
    assert_eq!(samples.lines().count(), 2);
}

#[test]
fn a_release_that_does_not_fit_leaves_nothing() {
    let dir = release();
    let import = |extra: &[&str]| dir.run(&[&["import", "release", "--backbone", "backbone"], extra].concat());
    dir.run(&["import", "nowhere", "--backbone", "backbone"]).refused(&["nowhere"]);
    dir.run(&["import", "results", "--backbone", "backbone"]).refused(&["no stage_1_checkpoint-*"]);
    dir.run(&["import", "release", "--backbone", "nowhere"]).refused(&["nowhere", "no such directory"]);
    import(&["--latents", "0"]).refused(&["num_latents"]);
    copy(&root().join("crates/model/tests/fixtures/oracle/untied/stage2"), &dir.path("release/stage_2_checkpoint-20"));
    import(&[]).refused(&["weights.stage2", "adapter_model.safetensors", "got shape"]);
    std::fs::remove_dir_all(dir.path("release/stage_2_checkpoint-20")).unwrap();
    std::fs::remove_file(dir.path("release/stage_1_checkpoint-3092/special_tokens.safetensors")).unwrap();
    import(&[]).refused(&["special_tokens_DTOKENS.pt"]);
    assert!(!dir.path("results/runs/official").exists());
}
