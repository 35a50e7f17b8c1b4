//! `compare` on hand-made runs: a directory with samples/ is all it needs.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::Dir;

/// A sample file of task 1 that holds references "word 0", "word 1" .. and what came back.
fn reconstruction(dir: &Dir, file: &str, outputs: &[&str]) {
    let lines: Vec<Value> = outputs
        .iter()
        .enumerate()
        .map(|(i, text)| json!({ "index": i, "reference": format!("word {i}"), "reconstruction": text, "word_num": 2, "memory_bytes": 8 }))
        .collect();
    write(dir, file, &lines);
}

fn write(dir: &Dir, file: &str, lines: &[Value]) {
    dir.write(file, lines.iter().map(|line| format!("{line}\n")).collect::<String>());
}

fn compare(dir: &Dir, args: &[&str]) -> Value {
    let output = dir.run(&[&["compare"], args, &["--format", "json"]].concat()).good();
    serde_json::from_str(&output.stdout).unwrap()
}

/// Run `a` returns six passages, run `b` none of them.
fn six_against_none() -> Dir {
    let dir = Dir::new();
    let whole: Vec<String> = (0..6).map(|i| format!("word {i}")).collect();
    reconstruction(&dir, "a/samples/reconstruction.facts.dense.jsonl", &whole.iter().map(String::as_str).collect::<Vec<_>>());
    reconstruction(&dir, "b/samples/reconstruction.facts.dense.jsonl", &["other"; 6]);
    dir
}

#[test]
fn a_difference_in_every_sample() {
    let dir = six_against_none();
    let got = compare(&dir, &["a", "b", "--metric", "exact_match", "f1", "--resamples", "500"]);
    let comparison = &got["comparisons"][0];
    assert_eq!((&comparison["task"], &comparison["dataset"], &comparison["n"]), (&json!("reconstruction"), &json!("facts"), &json!(6)));
    let [f1, exact] = comparison["metrics"].as_array().unwrap().as_slice() else { panic!("{got:#}") };
    // In the order of the registry, not of the flags.
    assert_eq!((&f1["metric"], &exact["metric"]), (&json!("f1"), &json!("exact_match")));
    assert_eq!((&exact["mean_a"], &exact["mean_b"], &exact["difference"]), (&json!(1.0), &json!(0.0), &json!(1.0)));
    assert_eq!(exact["percentile"], json!([1.0, 1.0]));
    assert_eq!((&exact["mcnemar"]["only_a"], &exact["mcnemar"]["only_b"]), (&json!(6), &json!(0)));
    // All six signs of 2^6 agree, in two ways; two metrics double the adjusted value.
    let p = |value: &Value| value.as_f64().unwrap();
    for value in [&exact["mcnemar"]["p"], &exact["permutation_p"], &exact["wilcoxon_p"]] {
        assert!((p(value) - 0.03125).abs() < 1e-12, "{exact:#}");
    }
    assert!((p(&exact["holm_p"]) - 0.0625).abs() < 1e-12, "{exact:#}");
    assert_eq!((&exact["verdict"], &exact["permutation_exact"]), (&json!("no difference shown"), &json!(true)));
    assert!(exact["version"].as_str().unwrap().contains("exact match"), "{exact:#}");

    let alone = compare(&dir, &["b", "a", "--metric", "exact_match"]);
    let alone = &alone["comparisons"][0]["metrics"][0];
    assert_eq!((&alone["holm_p"], &alone["verdict"]), (&alone["permutation_p"], &json!("B better")));
}

#[test]
fn tables_say_it_in_words() {
    let dir = six_against_none();
    let table = dir.run(&["compare", "a", "b", "--metric", "exact_match"]).good().stdout;
    for part in
        ["# A = a, B = b", "## reconstruction, facts, dense (n = 6)", "A better", "+1.0000", "0.0312", "seed 1128", "10000 resamples"]
    {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
    // Without names every metric of the task; a second run of the command prints the same.
    let all = dir.run(&["compare", "a", "b"]).good().stdout;
    assert!(all.contains("rouge_l") && all.contains("bleu") && !all.contains("hit@5"), "{all}");
    assert_eq!(all, dir.run(&["compare", "a", "b"]).good().stdout);
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let dir = six_against_none();
    let got = compare(&dir, &["a", "a"]);
    for metric in got["comparisons"][0]["metrics"].as_array().unwrap() {
        let expected = (json!(0.0), json!(1.0), json!(1.0), json!(1.0), json!([0.0, 0.0]), json!("no difference shown"));
        let keys = ["difference", "permutation_p", "wilcoxon_p", "holm_p", "percentile", "verdict"].map(|key| metric[key].clone());
        assert_eq!(keys, [expected.0, expected.1, expected.2, expected.3, expected.4, expected.5], "{metric:#}");
    }
}

#[test]
fn methods_of_one_run() {
    let dir = Dir::new();
    for method in ["dense", "sparse", "sparse-no-scales"] {
        reconstruction(&dir, &format!("a/samples/reconstruction.facts.{method}.jsonl"), &["word 0", "word 1", method]);
    }
    for method in ["text", "dense-comp", "dense-decomp", "sparse-comp", "sparse-decomp"] {
        let line = json!({
            "index": 0, "reference": "r", "question": "q", "answer": "yes", "prediction": if method == "dense-comp" { "no" } else { "yes" },
            "ref_word_num": 1,
        });
        write(&dir, &format!("a/samples/contextual_qa.facts.{method}.jsonl"), &[line]);
    }
    for (method, ranked) in [("dense", [7, 3, 1, 2, 5]), ("sparse", [0, 1, 2, 4, 5])] {
        let line = json!({ "index": 0, "question": "q", "hit_list": [3], "prediction": ranked, "ref_num": 9 });
        write(&dir, &format!("a/samples/retrieval.facts.{method}.jsonl"), &[line]);
    }
    let found = |a: &str, b: &str, metrics: &[&str]| -> Vec<String> {
        let got = compare(&dir, &[&[a, b, "--metric"], metrics].concat());
        let of = |c: &Value| {
            let metric = &c["metrics"][0];
            let text = |key: &str| c[key].as_str().unwrap().to_string();
            format!("{} {} {} {}", text("task"), text("method_a"), text("method_b"), metric["difference"])
        };
        got["comparisons"].as_array().unwrap().iter().map(of).collect()
    };
    assert_eq!(
        found("a:dense", "a:sparse", &["exact_match", "mrr@5"]),
        [
            "reconstruction dense sparse 0.0",
            "contextual_qa dense-comp sparse-comp -1.0",
            "contextual_qa dense-decomp sparse-decomp 0.0",
            "retrieval dense sparse 0.5",
        ]
    );
    // Text has one mode and is compared with both; there is no retrieval by it, and no reconstruction.
    assert_eq!(found("a:text", "a:dense", &["exact_match"]), ["contextual_qa text dense-comp 1.0", "contextual_qa text dense-decomp 0.0"]);
    assert_eq!(found("a:dense-comp", "a:dense-decomp", &["exact_match"]), ["contextual_qa dense-comp dense-decomp -1.0"]);
    assert_eq!(found("a:sparse", "a:sparse-no-scales", &["exact_match"]), ["reconstruction sparse sparse-no-scales 0.0"]);
    dir.run(&["compare", "a:dense", "a"]).refused(&["RUN:METHOD twice"]);
    dir.run(&["compare", "a:dense", "a:icae"]).refused(&["share no task", "reconstruction.facts.dense"]);
}

#[test]
fn other_questions_are_no_pairs() {
    let dir = six_against_none();
    let file = "b/samples/reconstruction.facts.dense.jsonl";
    let text = dir.read(file);
    dir.write(file, text.replace("word 4", "word four"));
    dir.run(&["compare", "a", "b"]).refused(&[file, "index 4", "another `reference` than a/samples/"]);
    dir.write(file, text.lines().take(5).map(|line| format!("{line}\n")).collect::<String>());
    dir.run(&["compare", "a", "b"]).refused(&[file, "got 5 samples, expected 6"]);
    dir.write(file, "");
    dir.run(&["compare", "a", "b"]).refused(&[file, "got no samples"]);
    dir.write(file, text.replacen("\"index\":2", "\"index\":\"two\"", 1));
    dir.run(&["compare", "a", "b"]).refused(&[file, "line 3", "invalid type"]);

    let item = |question: &str| json!({ "index": 0, "reference": "r", "question": question, "answer": "yes", "prediction": "yes", "ref_word_num": 1 });
    write(&dir, "c/samples/contextual_qa.facts.text.jsonl", &[item("who?")]);
    write(&dir, "d/samples/contextual_qa.facts.text.jsonl", &[item("when?")]);
    dir.run(&["compare", "c", "d"]).refused(&["d/samples/contextual_qa.facts.text.jsonl", "index 0", "`question`"]);
}

#[test]
fn what_is_only_in_one_run_is_said() {
    let dir = six_against_none();
    reconstruction(&dir, "a/samples/reconstruction.facts.icae.jsonl", &["word 0"]);
    dir.write("a/samples/notes.txt", "x");
    let outcome = dir.run(&["compare", "a", "b", "--metric", "f1"]).good();
    assert!(
        outcome.stderr.contains("reconstruction.facts.icae is only in a") && outcome.stderr.contains("notes.txt"),
        "{}",
        outcome.stderr
    );
    assert!(!outcome.stdout.contains("icae"), "{}", outcome.stdout);
}

#[test]
fn bad_input() {
    let dir = six_against_none();
    dir.run(&["compare", "a", "nowhere"]).refused(&["nowhere", "no samples/", "RUN:METHOD"]);
    dir.run(&["compare", "a", "b", "--metric", "f2"]).refused(&["f2", "expected one of f1"]);
    dir.run(&["compare", "a", "b", "--metric", "hit@5"]).refused(&["hit@5", "reconstruction"]);
    dir.run(&["compare", "a", "b", "--resamples", "0"]).refused(&["--resamples", "0"]);
    dir.write("e/samples/x.txt", "");
    dir.run(&["compare", "e", "b"]).refused(&["e/samples", "no sample files"]);
}

/// Three trainings of `a` and of `b` on ten passages: `a` returns eight, nine and ten of them, `b` none, one and two.
fn three_trainings() -> Dir {
    let dir = Dir::new();
    for seed in 1..=3 {
        for (run, right) in [("a", 7 + seed), ("b", seed - 1)] {
            let texts: Vec<String> = (0..10).map(|i| if i < right { format!("word {i}") } else { "other".into() }).collect();
            let file = format!("{run}-seed{seed}/samples/reconstruction.facts.dense.jsonl");
            reconstruction(&dir, &file, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
    dir
}

#[test]
fn trainings_are_compared_by_their_seeds() {
    let dir = three_trainings();
    let got = compare(&dir, &["a:dense", "b:dense", "--seeds", "1", "2", "--metric", "exact_match"]);
    // Two equal differences: Student's t does not exist, and nothing is claimed.
    let row = &got["comparisons"][0]["metrics"][0];
    assert_eq!((&row["trainings_holm_p"], &row["verdict"]), (&json!(1.0), &json!("no difference shown")), "{got:#}");

    let texts: Vec<String> = (0..10).map(|i| format!("word {i}")).collect();
    let all: Vec<&str> = texts.iter().map(String::as_str).collect();
    reconstruction(&dir, "a-seed1/samples/reconstruction.facts.dense.jsonl", &all);
    let got = compare(&dir, &["a", "b", "--seeds", "1,2,3", "--metric", "exact_match"]);
    let (comparison, row) = (&got["comparisons"][0], &got["comparisons"][0]["metrics"][0]);
    assert_eq!((&comparison["what"], &comparison["n"]), (&json!("reconstruction, facts, dense"), &json!(10)));
    assert_eq!(row["trainings"], json!([{"a": 1.0, "b": 0.0}, {"a": 0.9, "b": 0.1}, {"a": 1.0, "b": 0.2}]));
    // Differences 1, 0.8, 0.8: t = 13 with two degrees of freedom.
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(
        (number(&row["difference"]) - 13.0 / 15.0).abs() < 1e-12 && (number(&row["trainings_holm_p"]) - 0.005_865_1).abs() < 1e-6,
        "{row:#}"
    );
    assert!(number(&row["items_holm_p"]) < 0.01 && row["verdict"] == json!("A better"), "{row:#}");
    let table = dir.run(&["compare", "a", "b", "--seeds", "1", "2", "3", "--metric", "exact_match"]).good().stdout;
    for part in ["seeds 1, 2, 3", "1.0000 0.9000 1.0000", "3 trainings of each, n = 10", "A better", "Student's t"] {
        assert!(table.contains(part), "no {part:?} in\n{table}");
    }
}

#[test]
fn trainings_that_cannot_be_compared() {
    let dir = three_trainings();
    dir.run(&["compare", "a", "b", "--seeds", "1"]).refused(&["--seeds", "at least two trainings"]);
    dir.run(&["compare", "a", "b", "--seeds", "1", "4"]).refused(&["a-seed4", "no samples/"]);
    dir.run(&["compare", "a:dense", "b:dense", "--seeds", "1", "4"]).refused(&["a-seed4:dense", "no samples/"]);
    // One training twice is not two.
    dir.run(&["compare", "a", "b", "--seeds", "1,2,1"]).refused(&["--seeds: got 1 twice", "name each once"]);
    dir.run(&["compare", "a:dense", "b", "--seeds", "1", "2"]).refused(&["RUN:METHOD twice"]);
    let file = "b-seed3/samples/reconstruction.facts.dense.jsonl";
    dir.write(file, dir.read(file).replace("\"word 4\"", "\"word four\""));
    dir.run(&["compare", "a", "b", "--seeds", "1", "3"]).refused(&[file, "index 4", "`reference`"]);
    reconstruction(&dir, "a-seed1/samples/reconstruction.facts.icae.jsonl", &["word 0"]);
    dir.run(&["compare", "a:icae", "b:dense", "--seeds", "1", "2"])
        .refused(&["seed 2 has no reconstruction, facts, icae (A) and dense (B)"]);
}
