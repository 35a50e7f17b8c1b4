//! `analyze` on a tiny run: reports that can be recomputed and agree with the run's own scores, and clear refusals.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{Dir, TINY, edited, root};

const NAMES: [&str; 8] = ["noise", "length", "segments", "storage", "first-error", "controls", "latents", "rate-distortion"];

/// A few steps on the shipped backbone: its words are real, so that scores differ from 0 and from each other.
fn experiment() -> String {
    let backbone = root().join("datasets/nano-backbone");
    let (_, trained) = TINY.split_once("[data.facts]").unwrap();
    let (settings, stages) = trained.split_once("[train.pretrain]").unwrap();
    let (_, stages) = stages.split_once("[train.reconstruction]").unwrap();
    let (stages, _) = stages.split_once("[eval.contextual_qa]").unwrap();
    let settings = edited(settings, "max_new_tokens = 12", "max_new_tokens = 24");
    format!(
        "name = \"tiny\"\nresults = \"results\"\n[backbone]\nmodel = {backbone:?}\n[data.facts]{settings}[train.reconstruction]{stages}"
    )
}

fn tiny() -> Dir {
    let dir = Dir::new();
    dir.write("x.toml", experiment());
    dir.run(&["run", "x.toml"]).good();
    assert!(scored(&dir, "dense", "f1") > 0.0);
    dir
}

fn report(dir: &Dir, name: &str) -> Value {
    serde_json::from_str(&dir.read(&format!("results/tiny/analysis/{name}.json"))).unwrap()
}

/// The mean of a value in one row of a report.
#[track_caller]
fn mean(report: &Value, series: &str, label: &str, value: &str) -> f64 {
    let rows = report["rows"].as_array().unwrap();
    let found = rows.iter().find(|r| r["series"] == series && r["label"] == label);
    let estimate = &found.unwrap_or_else(|| panic!("no {series} {label} in {rows:#?}"))["values"][value];
    let [low, mean, high] = ["low", "value", "high"].map(|end| estimate[end].as_f64().unwrap());
    assert!(low <= mean + 1e-12 && mean <= high + 1e-12, "{estimate}");
    mean
}

/// The value that the run itself reported.
fn scored(dir: &Dir, method: &str, metric: &str) -> f64 {
    let scores: Value = serde_json::from_str(&dir.read("results/tiny/scores.json")).unwrap();
    let wanted = |s: &&Value| s["task"] == "reconstruction" && s["method"] == method && s["metric"] == metric;
    scores.as_array().unwrap().iter().find(wanted).unwrap()["value"].as_f64().unwrap()
}

/// Equal but for the last digit, which reading JSON may change.
#[track_caller]
fn assert_near(a: f64, b: f64) {
    assert!((a - b).abs() < 1e-12, "{a} {b}");
}

#[test]
fn every_analysis_reports_what_its_samples_say() {
    let dir = tiny();
    dir.write("k3.toml", "base = \"x.toml\"\nname = \"k3\"\n[method.nextmem]\nnum_latents = 3\n");
    dir.run(&["run", "k3.toml"]).good();
    let said = dir.run(&["analyze", "results/tiny", "all", "--passages", "3", "--with", "results/k3"]).good();
    for name in NAMES {
        assert!(said.stdout.contains(&format!("{name} of tiny")), "{said:#?}");
        let report = report(&dir, name);
        assert_eq!((&report["analysis"], &report["passages"]), (&name.into(), &3.into()));
        assert!(report["provenance"]["nextmem"].is_string() && report["metrics"]["f1"].is_string(), "{report:#}");
        let samples = dir.read(&format!("results/tiny/analysis/{name}.samples.jsonl"));
        let samples: Vec<Value> = samples.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // The mean of every row that is made of samples is the mean of its samples.
        for row in report["rows"].as_array().unwrap() {
            let own: Vec<&Value> = samples.iter().filter(|s| s["series"] == row["series"] && s["label"] == row["label"]).collect();
            let f1: Vec<f64> = own.iter().filter_map(|s| s["values"]["f1"].as_f64()).collect();
            if let Some(value) = row["values"]["f1"]["value"].as_f64() {
                assert!(f1.len() == row["n"] && (f1.iter().sum::<f64>() / f1.len() as f64 - value).abs() < 1e-12, "{row}");
            }
        }
    }

    // no noise is the plain reconstruction
    let noise = report(&dir, "noise");
    for (series, metric) in [("absolute", "f1"), ("relative", "f1"), ("absolute", "exact_match"), ("absolute", "rouge_l")] {
        assert_near(mean(&noise, series, "0", metric), scored(&dir, "dense", metric));
    }
    assert!(mean(&noise, "absolute", "0.4", "latent_rms") > 0.0);

    // the bytes of the formats are those of the run's memories
    let storage = report(&dir, "storage");
    assert_near(mean(&storage, "latents", "bf16", "bytes"), scored(&dir, "dense", "memory_bytes"));
    assert_near(mean(&storage, "latents", "nf4", "bytes"), scored(&dir, "sparse", "memory_bytes"));
    assert_eq!(mean(&storage, "latents", "f32", "bytes"), 4.0 * 2.0 * 128.0);
    assert_near(mean(&storage, "latents", "nf4", "f1"), scored(&dir, "sparse", "f1"));
    assert_eq!(mean(&storage, "latents", "f32", "latent_error"), 0.0);
    assert_near(mean(&storage, "text", "utf-8", "bytes"), scored(&dir, "text", "memory_bytes"));
    assert_eq!(mean(&storage, "text", "utf-8", "f1"), 1.0);
    assert!(mean(&storage, "text", "gzip", "bytes") > 0.0);

    // the other ways to the same number
    let first = report(&dir, "first-error");
    assert_near(mean(&first, "summary", "passages", "free_f1"), scored(&dir, "dense", "f1"));
    assert!(mean(&first, "teacher-forced", "0", "share") <= 1.0);
    assert_near(mean(&report(&dir, "controls"), "texts", "passages", "f1"), scored(&dir, "dense", "f1"));
    let texts = |file: &str, wanted: &str| -> Vec<Value> {
        let lines = dir.read(file);
        let samples = lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        samples.filter(|s| wanted.is_empty() || s["label"] == wanted).map(|s| s["reconstruction"].clone()).collect()
    };
    let own = texts("results/tiny/samples/reconstruction.facts.dense.jsonl", "");
    assert_eq!(texts("results/tiny/analysis/controls.samples.jsonl", "passages"), own);
    let latents = report(&dir, "latents");
    assert_near(mean(&latents, "trained", "tiny (K = 2)", "f1"), scored(&dir, "dense", "f1"));
    assert_eq!(mean(&latents, "trained", "k3 (K = 3)", "bytes"), 2.0 * 3.0 * 128.0);
    assert_eq!(report(&dir, "rate-distortion")["details"]["series"][1]["num_latents"], 3);

    assert_eq!(report(&dir, "length")["details"]["trained_tokens"], 16);
    let segments = report(&dir, "segments");
    let map = &segments["details"]["maps"]["blocks"];
    assert_eq!(map["relative_l2_shares"].as_array().unwrap().len(), 2);
    let share: f64 = map["relative_l2_shares"][0].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).sum();
    assert!((share - 1.0).abs() < 1e-3, "{map}");
    let diagonality = mean(&segments, "blocks", "passages", "diagonality");
    assert!((-1.0..=1.0).contains(&diagonality));
    mean(&segments, "blocks permuted", "passages", "own_share");
}

#[test]
fn an_interrupted_analysis_goes_on_and_another_setting_starts_anew() {
    let dir = tiny();
    let files = || (dir.read("results/tiny/analysis/noise.samples.jsonl"), report(&dir, "noise")["rows"].clone());
    dir.run(&["analyze", "results/tiny", "noise", "--passages", "3"]).good();
    let whole = files();
    // again: nothing is measured, the same report
    dir.run(&["analyze", "results/tiny", "noise", "--passages", "3"]).good();
    assert_eq!(files(), whole);
    // killed after two conditions; a marker shows that they are not measured again
    let fingerprint = report(&dir, "noise")["fingerprint"].as_str().unwrap().to_string();
    let begun: String = whole.0.lines().take(6).map(|l| edited(l, "\"latent_rms\":", "\"kept\":1.0,\"latent_rms\":") + "\n").collect();
    std::fs::remove_file(dir.path("results/tiny/analysis/noise.json")).unwrap();
    std::fs::remove_file(dir.path("results/tiny/analysis/noise.samples.jsonl")).unwrap();
    dir.write(&format!("results/tiny/analysis/noise.{}.partial.jsonl", &fingerprint[..12]), &begun);
    dir.run(&["analyze", "results/tiny", "noise", "--passages", "3"]).good();
    assert_eq!(files().0.replace("\"kept\":1.0,", ""), whole.0);
    assert_eq!(files().0.matches("kept").count(), 6);
    // fewer passages: other samples, in a file of their own if asked
    dir.run(&["analyze", "results/tiny", "noise", "--passages", "2", "--out", "other/noise.json"]).good();
    assert_eq!(dir.read("other/noise.samples.jsonl").lines().count(), 2 * 9 * 2);
    let left: Vec<String> = dir.files("results/tiny/analysis").into_keys().collect();
    assert_eq!(left, ["noise.json", "noise.samples.jsonl"]);
}

#[test]
fn refusals() {
    let dir = tiny();
    let analyze = |more: &[&str]| dir.run(&[&["analyze"], more].concat());
    analyze(&["results/tiny", "nose"]).refused(&["nose", "noise", "segments", "rate-distortion", "all"]);
    analyze(&["nowhere", "noise"]).refused(&["nowhere", "resolved.toml"]);
    analyze(&["results/tiny", "noise", "--passages", "0"]).refused(&["passages", "at least 1"]);
    analyze(&["results/tiny", "noise", "--device", "metal"]).refused(&["metal", "flex"]);
    analyze(&["results/tiny", "all", "--out", "x.json"]).refused(&["--out", "all"]);
    analyze(&["results/tiny", "latents", "--with", "results/tiny"]).refused(&["--with tiny", "itself"]);
    dir.write("other.toml", edited(&experiment(), "name = \"tiny\"", "name = \"other\"\nseed = 5"));
    dir.run(&["run", "other.toml"]).good();
    analyze(&["results/tiny", "latents", "--with", "results/other"]).refused(&["--with other", "other data"]);
    std::fs::remove_dir_all(dir.path("results/tiny/stage2/weights")).unwrap();
    analyze(&["results/tiny", "noise"]).refused(&["stage2", "nextmem run", "results/tiny/experiment.toml"]);
    assert!(!dir.path("results/tiny/analysis").exists());
}
