//! Paths lead from the file that names them, from wherever the program runs.
#![allow(clippy::unwrap_used)]

mod support;

use support::{ADAPT, Dir, TINY, copy, edited, finish, nextmem};

/// A project with a folder of models, one of experiments, and one that is somewhere else.
fn project() -> Dir {
    let dir = Dir::with_backbone();
    std::fs::create_dir_all(dir.path("models")).unwrap();
    std::fs::rename(dir.path("backbone"), dir.path("models/own")).unwrap();
    std::fs::create_dir_all(dir.path("elsewhere")).unwrap();
    let adapt = edited(ADAPT, "model = \"backbone\"", "model = \"../models/own\"");
    dir.write("experiments/adapt.toml", edited(&adapt, "results = \"results\"", "results = \"../results/runs\""));
    dir
}

#[test]
fn an_experiment_runs_the_same_from_anywhere() {
    let dir = project();
    finish(nextmem(&dir.path("elsewhere"), &["run", "../experiments/adapt.toml"])).good();
    assert!(dir.path("results/runs/adapt/scores.json").is_file());
    assert!(!dir.path("elsewhere/results").exists() && !dir.path("elsewhere/runs").exists());
    // From the project's root it is the same run.
    let said = dir.run(&["run", "experiments/adapt.toml"]).good();
    assert_eq!(said.stderr.matches("already done in results/runs/adapt/stage1").count(), 1, "{said:#?}");

    // A base of a base; without `results` of its own it goes where the first one says.
    dir.write("mine/deep/one.toml", "base = \"../../experiments/adapt.toml\"\nname = \"one\"\n[eval.reconstruction]\nlimit = 2\n");
    dir.write("mine/two.toml", "base = \"deep/one.toml\"\nname = \"two\"\n[method.nextmem]\ndecode_with_sod = false\n");
    let said = finish(nextmem(&dir.path("mine"), &["run", "two.toml"])).good();
    assert!(said.stderr.contains("already done in"), "{said:#?}");
    assert!(dir.path("results/runs/two/scores.json").is_file());
    // Or where the command line says, from the current directory.
    finish(nextmem(&dir.path("mine"), &["run", "two.toml", "--results", "there"])).good();
    assert!(dir.path("mine/there/two/scores.json").is_file());
}

#[test]
fn a_resolved_experiment_can_be_moved_and_is_a_base() {
    let dir = project();
    dir.run(&["run", "experiments/adapt.toml"]).good();
    let resolved = dir.read("results/runs/adapt/resolved.toml");
    assert!(resolved.contains("model = \"../../../models/own\"") && resolved.contains("results = \"..\""), "{resolved}");
    let moved = Dir::new();
    for folder in ["models", "results"] {
        copy(&dir.path(folder), &moved.path(&format!("project/{folder}")));
    }
    std::fs::remove_dir_all(dir.path("models")).unwrap();
    let run = "project/results/runs/adapt";
    moved.run(&["encode", run, "Ann lives in Oslo.", "--out", "m.safetensors"]).good();
    moved.run(&["score", run]).good();
    moved.write("x.toml", format!("base = \"{run}/resolved.toml\"\nname = \"again\"\n"));
    let said = moved.run(&["run", "x.toml"]).good();
    assert!(said.stderr.contains(&format!("already done in {run}/stage1")), "{said:#?}");
    assert!(moved.path("project/results/runs/again/scores.json").is_file());
}

#[test]
fn a_path_that_leads_nowhere_says_from_where() {
    let dir = project();
    dir.write("mine/x.toml", edited(ADAPT, "model = \"backbone\"", "model = \"models/own\""));
    dir.run(&["explain", "mine/x.toml"]).refused(&["mine/models/own", "lead from its own folder"]);
    finish(nextmem(&dir.path("elsewhere"), &["explain", "../mine/x.toml"])).refused(&["models/own", "lead from its own folder"]);
    dir.write("mine/y.toml", edited(ADAPT, "model = \"backbone\"", "model = \"own\""));
    dir.run(&["explain", "mine/y.toml"]).refused(&["mine/own", "lead from its own folder"]);
}

#[test]
fn published_results_are_beside_the_runs_of_this_machine() {
    let dir = project();
    dir.run(&["run", "experiments/adapt.toml"]).good();
    // Published without its weights: they are found in the run, and the other way round nothing is trained twice.
    copy(&dir.path("results/runs/adapt"), &dir.path("results/adapt"));
    std::fs::remove_dir_all(dir.path("results/adapt/stage1/weights")).unwrap();
    let moved = edited(&dir.read("results/adapt/resolved.toml"), "../../../models", "../../models");
    dir.write("results/adapt/resolved.toml", moved);
    dir.run(&["encode", "results/adapt", "Ann lives in Oslo.", "--out", "m.safetensors"]).good();
    std::fs::remove_dir_all(dir.path("results/runs/adapt")).unwrap();
    dir.run(&["encode", "results/adapt", "Ann lives in Oslo.", "--out", "m.safetensors"]).refused(&["no weights of stage `stage1`"]);
}

#[test]
fn where_a_backbone_is_copied_to_trains_nothing_again() {
    let dir = Dir::new();
    let (pretrain, _) = TINY.split_once("[train.reconstruction]").unwrap();
    let exported = |to: &str| edited(pretrain, "tokenizer_passages = 200", &format!("tokenizer_passages = 200\nexport = \"{to}\""));
    dir.write("x.toml", exported("one"));
    dir.run(&["run", "x.toml"]).good();
    dir.write("x.toml", exported("two"));
    let said = dir.run(&["run", "x.toml"]).good();
    assert!(said.stderr.contains("already done"), "{said:#?}");
    assert_eq!(dir.files("one"), dir.files("two"));
}
