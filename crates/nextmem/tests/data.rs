//! `nextmem data prepare`, and experiments on the files it writes.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use support::{ADAPT, Dir, edited, root};

/// The shipped SQuAD-shaped file.
fn example() -> String {
    root().join("datasets/example_squad.json").to_str().unwrap().to_string()
}

fn hotpot(n: usize, level: &str) -> String {
    format!(
        r#"{{"_id": "{n}", "question": "Q{n}?", "answer": "A{n}", "level": "{level}", "type": "bridge",
            "supporting_facts": [["One", 0], ["One", 9]], "context": [["One", ["Fact {n}."]], ["Two", ["Noise {n}."]]]}}"#
    )
}

#[test]
fn prepared_files_with_a_manifest() {
    let dir = Dir::new();
    let args = ["data", "prepare", "squad", "--from", &example(), "--out", "prepared", "--qa-stride", "2"];
    let outcome = dir.run(&args).good();
    let files: BTreeMap<String, Vec<u8>> = dir.files("prepared");
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, [".gitignore", "recs_squad_test.json", "squad.manifest.json", "stm_squad_test.json"]);
    let passages: Vec<String> = serde_json::from_slice(&files["recs_squad_test.json"]).unwrap();
    let questions: Vec<Value> = serde_json::from_slice(&files["stm_squad_test.json"]).unwrap();
    assert_eq!((passages.len(), questions.len()), (3, 6));
    assert_eq!(questions[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["answer", "question", "references"]);

    let manifest: Value = serde_json::from_slice(&files["squad.manifest.json"]).unwrap();
    assert_eq!(manifest["outputs"][1]["records"], 6);
    assert_eq!(manifest["inputs"][0]["file"], "example_squad.json");
    let sums = std::fs::read_to_string(root().join("datasets/SHA256SUMS")).unwrap();
    assert!(sums.contains(manifest["inputs"][0]["sha256"].as_str().unwrap()));
    assert_eq!(manifest["options"]["seed"], 1128);
    assert_eq!((&manifest["dropped"][0]["count"], &manifest["dropped"][0]["task"]), (&5.into(), &"task 2".into()));
    for text in ["SQuAD: 1 articles, 3 different contexts, 11 questions", "stm_squad_test.json", "5 x task 2: not every 2nd (stride)"] {
        assert!(outcome.stdout.contains(text), "no {text:?} in {}", outcome.stdout);
    }
    // The same files in, the same files out.
    dir.run(&args).good();
    assert_eq!(dir.files("prepared"), files);
}

#[test]
fn what_is_left_out_is_said() {
    let dir = Dir::new();
    let levels = ["easy", "easy", "hard", "medium", "hard", "easy"];
    let records: Vec<String> = levels.iter().enumerate().map(|(n, level)| hotpot(n, level)).collect();
    dir.write("hotpot.json", format!("[{}]", records.join(",")));
    let outcome = dir.run(&["data", "prepare", "hotpotqa", "--from", "hotpot.json", "--out", "a"]).good();
    for text in ["6 x all tasks: supporting fact that is no sentence", "3 x tasks 1 and 2: level is not easy", "5 x task 3: not every 28th"]
    {
        assert!(outcome.stdout.contains(text), "no {text:?} in {}", outcome.stdout);
    }
    let any = ["data", "prepare", "hotpotqa", "--from", "hotpot.json", "--out", "b", "--level", "any", "--qa-stride", "1", "--limit", "4"];
    dir.run(&any).good();
    let qa: Vec<Value> = serde_json::from_str(&dir.read("b/stm_hotpot_test.json")).unwrap();
    assert_eq!(qa.len(), 4);
    let seed = [&any[..], &["--seed", "3"]].concat();
    let first = dir.read("b/stm_hotpot_test.json");
    dir.run(&seed).good();
    assert_ne!(dir.read("b/stm_hotpot_test.json"), first);
}

#[test]
fn a_share_is_held_out_and_the_rest_is_to_train_on() {
    let dir = Dir::new();
    let records: Vec<String> = (0..40).map(|n| hotpot(n, "easy")).collect();
    dir.write("hotpot.json", format!("\u{feff}[{}]", records.join(",\r\n")));
    let args = ["data", "prepare", "hotpotqa", "--from", "hotpot.json", "--out", "a", "--qa-stride", "1", "--holdout", "0.1"];
    let outcome = dir.run(&args).good();
    assert!(outcome.stderr.contains("note: the authors' checkpoint has most likely been trained on"), "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("36 x tasks 1 and 2: question not among the held-out, a share of 0.1 by seed 1128"),
        "{}",
        outcome.stdout
    );
    dir.run(&[&args[..], &["--rest"]].concat()).good();
    let asked = |name: &str| -> Vec<String> {
        let items: Vec<Value> = serde_json::from_str(&dir.read(&format!("a/{name}"))).unwrap();
        items.iter().map(|item| item["question"].to_string()).collect()
    };
    let (test, train) = (asked("stm_hotpot_test.json"), asked("stm_hotpot_train.json"));
    assert_eq!((test.len(), train.len()), (4, 36));
    assert!(test.iter().all(|question| !train.contains(question)));
    let manifest: Value = serde_json::from_str(&dir.read("a/hotpotqa.manifest.json")).unwrap();
    assert_eq!(manifest["options"]["holdout"], serde_json::json!({"share": 0.1, "rest": true}));
    dir.run(&["data", "prepare", "race", "--from", "hotpot.json", "--holdout", "0.1"]).refused(&["RACE", "0.1", "leave the share out"]);
    let alone = dir.run(&["data", "prepare", "hotpotqa", "--from", "hotpot.json", "--rest"]);
    assert!(alone.code == Some(2) && alone.stderr.contains("--holdout"), "{alone:#?}");
}

#[test]
fn input_that_does_not_fit_is_refused() {
    let dir = Dir::new();
    dir.run(&["data", "prepare", "hotpotqa", "--from", &example()]).refused(&["example_squad.json", "is not HotpotQA", "looks like SQuAD"]);
    dir.run(&["data", "prepare", "squad", "--from", "none.json"]).refused(&["none.json", "does not exist"]);
    dir.write("hotpot.json", format!("[{},{}]", hotpot(0, "easy"), hotpot(1, "easy").replace("\"A1\"", "[1]")));
    dir.run(&["data", "prepare", "hotpotqa", "--from", "hotpot.json"])
        .refused(&["record 1 of hotpot.json", "field `answer` holds an array"]);
    let outcome = dir.run(&["data", "prepare", "hotpot", "--from", "hotpot.json"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("squad, hotpotqa, race, locomo, longmemeval"), "{outcome:#?}");
    assert!(!dir.path("datasets").exists(), "a refused preparation left files");
}

#[test]
fn experiments_train_and_test_on_prepared_files() {
    let dir = Dir::with_backbone();
    let passages: Vec<String> = (0..60).map(|n| format!("Ann moved to house {n} in May.")).collect();
    dir.write("recs_a.json", serde_json::to_string(&passages).unwrap());
    // As an editor of another system saves it.
    dir.write("recs_b.json", "\u{feff}[\"Bob has two cats.\",\r\n\"Ann moved to house 3 in May.\"]\r\n");
    let data =
        |lines: &str| edited(ADAPT, "[data.facts]\ntrain = 200", &format!("[data.prepared]\nname = \"mix\"\nmax_words = 20\n{lines}"));
    let tested = || -> Vec<String> {
        let lines = dir.read("results/adapt/samples/reconstruction.mix.dense.jsonl");
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["reference"].as_str().unwrap().to_string()).collect()
    };
    dir.write("x.toml", data("train = [\"recs_a.json\"]"));
    dir.run(&["run", "x.toml"]).good();
    assert!(tested().len() == 3 && tested().iter().all(|text| passages.contains(text)), "{:?}", tested());

    std::fs::remove_dir_all(dir.path("results")).unwrap();
    dir.write("x.toml", data("train = [\"recs_a.json\"]\ntest = [\"recs_b.json\"]"));
    dir.run(&["run", "x.toml"]).good();
    assert_eq!(tested(), ["Bob has two cats.", "Ann moved to house 3 in May."]);

    for (lines, names) in [
        ("train = []", "data.prepared.train"),
        ("train = [\"none.json\"]", "none.json"),
        ("train = [\"recs_a.json\"]\n[data.text]\npath = \"x\"\nmin_words = 1\nmax_words = 2", "beside another kind"),
    ] {
        dir.write("x.toml", data(lines));
        dir.run(&["run", "x.toml"]).refused(&[names]);
    }
}
