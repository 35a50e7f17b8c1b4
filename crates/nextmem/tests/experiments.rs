//! Every shipped experiment can be explained, and explaining writes nothing.
#![allow(clippy::unwrap_used)]

mod support;

use support::{ADAPT, Dir, Outcome, TINY, edited, finish, nextmem, root};

fn explain(path: &str) -> Outcome {
    finish(nextmem(&root(), &["explain", path]))
}

/// What the table says of a key: its cells.
fn row(table: &str, key: &str) -> Vec<String> {
    let cells = |l: &str| l.split(['\u{2502}', '\u{2506}']).map(|c| c.trim().to_string()).filter(|c| !c.is_empty()).collect::<Vec<_>>();
    let found = table.lines().map(cells).find(|cells| cells.first().is_some_and(|c| c == key));
    found.unwrap_or_else(|| panic!("no {key} in\n{table}"))
}

#[test]
fn every_shipped_experiment_explains() {
    let mut seen = 0;
    for folder in ["experiments", "experiments/compression", "experiments/paper"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "toml") {
                let name = path.file_stem().unwrap().to_str().unwrap();
                let said = explain(&format!("{folder}/{name}.toml")).good();
                assert!(said.stdout.contains("parameters") && said.stdout.contains("bytes per memory"), "{}", said.stdout);
                // A run is looked for under the name of its experiment.
                assert!(said.stdout.contains(&format!("files in results/runs/{name}:")), "{}", said.stdout);
                seen += 1;
            }
        }
    }
    assert!(seen >= 12, "got {seen} experiments");
}

#[test]
fn the_paper_scale_is_explained_without_the_model_and_refused_by_run() {
    let said = explain("experiments/paper/nextmem-8b.toml").good().stdout;
    for part in ["16.4 GB", "8,190,735,360 parameters", "34,816 (3.53x smaller)", "FLOP"] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
    if !root().join("Qwen/Qwen3-8B").exists() {
        assert!(said.contains("missing"), "{said}");
        finish(nextmem(&root(), &["run", "experiments/paper/nextmem-8b.toml"])).refused(&["does not exist", "datasets"]);
    }
}

#[test]
fn a_shipped_ablation_shows_where_its_values_come_from() {
    let said = explain("experiments/ablation-wo-ps.toml").good().stdout;
    let origin = |key: &str| row(&said, key).pop().unwrap();
    assert_eq!(origin("train.substitution.schedule"), "set");
    assert_eq!(origin("train.substitution.steps_last_level"), "base");
    assert_eq!(origin("train.substitution.detach"), "default");
}

#[test]
fn an_ablation_keeps_what_it_does_not_set() {
    let dir = Dir::with_backbone();
    dir.write("adapt.toml", ADAPT);
    dir.write("ablation.toml", "base = \"adapt.toml\"\nname = \"ablation\"\n\n[train.reconstruction]\nsteps = 7\n");
    let table = dir.run(&["explain", "ablation.toml"]).good().stdout;
    for (key, value, origin) in
        [("train.reconstruction.steps", "7", "set"), ("data.facts.train", "200", "base"), ("method.nextmem.num_latents", "15", "default")]
    {
        assert_eq!(row(&table, key), [key, value, origin]);
    }
    assert_eq!(row(&table, "stage1")[1], "7", "steps of the stage");
}

#[test]
fn explaining_writes_nothing() {
    let dir = Dir::new();
    dir.write("tiny.toml", TINY);
    dir.run(&["explain", "tiny.toml"]).good();
    assert_eq!(dir.files("").keys().collect::<Vec<_>>(), ["tiny.toml"]);
    assert!(!dir.path("results").exists());
}

#[test]
fn finished_stages_are_shown_as_done() {
    let dir = Dir::new();
    dir.write("tiny.toml", TINY);
    assert_eq!(row(&dir.run(&["explain", "tiny.toml"]).good().stdout, "stage1").pop().unwrap(), "to run");
    dir.run(&["run", "tiny.toml"]).good();
    // Other steps of stage 2 leave the stages before it as they are.
    dir.write("other.toml", edited(TINY, "steps_last_level = 2", "steps_last_level = 3"));
    let table = dir.run(&["explain", "other.toml"]).good().stdout;
    assert_eq!(row(&table, "stage1").pop().unwrap(), "done in results/tiny/stage1");
    assert_eq!(row(&table, "stage2").pop().unwrap(), "to run");
    // So does another name: the stages beside it are found.
    dir.write("named.toml", edited(TINY, "name = \"tiny\"", "name = \"named\""));
    let table = dir.run(&["explain", "named.toml"]).good().stdout;
    assert_eq!(row(&table, "stage2").pop().unwrap(), "done in results/tiny/stage2");
}

#[test]
fn the_tables_of_the_readme_are_those_of_the_quickstart() {
    let read = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (readme, table) = (read("README.md"), read("results/quickstart/table.md"));
    let (_, after) = readme.split_once("## What it prints").unwrap();
    let (printed, _) = after.split_once("## Five-minute tour").unwrap();
    let rows: Vec<&str> = printed.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.iter().any(|row| row.starts_with("| NextMem-Dense |")) && rows.len() > 20, "{rows:#?}");
    for row in rows {
        assert!(table.lines().any(|line| line == row), "not in results/quickstart/table.md: {row}");
    }
    let manifest: serde_json::Value = serde_json::from_str(&read("results/quickstart/manifest.json")).unwrap();
    for said in
        [format!("takes {} seconds", manifest["seconds"]).replace(".0 ", " "), format!("{} MiB of memory", manifest["peak_memory_mib"])]
    {
        assert!(readme.contains(&said), "no {said:?} in README.md");
    }
}
