//! BERTScore against the bert-score package on tiny random encoders (scripts/golden/make_bert.py).
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use nextmem_eval::bertscore::{BertScore, BertScoreConfig, BertScoreValue};
use nextmem_model::Device;
use serde_json::{Value, json};

const TOLERANCE: f64 = 1e-5;

fn fixture(name: &str) -> PathBuf {
    Path::new("../model/tests/fixtures/bert").join(name)
}

fn lines() -> Vec<Value> {
    let text = std::fs::read_to_string(fixture("bertscore.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn pairs_of(line: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_string();
    line["pairs"].as_array().unwrap().iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
}

fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    pairs.iter().map(|(p, r)| (p.as_str(), r.as_str())).collect()
}

#[track_caller]
fn assert_close(got: &BertScoreValue, expected: &[Option<f64>; 3], what: &str) {
    for (got, expected) in [got.precision, got.recall, got.f1].into_iter().zip(expected) {
        match expected {
            Some(expected) => assert!((got - expected).abs() < TOLERANCE, "{what}: {got}, expected {expected}"),
            None => assert!(got.is_nan(), "{what}: {got}, expected NaN"),
        }
    }
}

#[test]
fn scores_of_the_package() {
    let lines = lines();
    assert_eq!(lines[0]["scores"], "bert-score 0.3.13");
    let pairs = pairs_of(&lines[1]);
    let (mut cases, mut negative) = (0, 0);
    for case in &lines[2..] {
        let model = case["model"].as_str().unwrap();
        let mut config = BertScoreConfig::new(fixture(model));
        config.layer = Some(case["layer"].as_u64().unwrap() as usize);
        config.idf = case["idf"].as_bool().unwrap();
        config.baseline = case["rescaled"].as_bool().unwrap().then(|| fixture("baseline.tsv"));
        config.batch_size = 5.try_into().unwrap();
        let score = BertScore::open(&config, &Device::flex()).unwrap();
        let pairs = borrowed(&pairs[..case["pairs"].as_u64().unwrap() as usize]);
        let done = RefCell::new(Vec::new());
        let got = score.score(&pairs, &|n| done.borrow_mut().push(n)).unwrap();
        let expected: Vec<[Option<f64>; 3]> = serde_json::from_value(case["scores"].clone()).unwrap();
        assert_eq!((got.values.len(), done.into_inner()), (expected.len(), vec![expected.len()]));
        for ((got, expected), pair) in got.values.iter().zip(&expected).zip(&pairs) {
            assert_close(got, expected, &format!("{}, {pair:?}", score.version()));
        }
        // Only the text of several sentences is longer than the positions.
        assert_eq!(got.truncated > 0, pairs.len() > 1);
        cases += 1;
        negative += got.values.iter().filter(|value| value.f1 < 0.0).count();
    }
    assert!(cases == 26 && negative > 0, "{cases} cases");
}

#[test]
fn batches_and_repeats_change_no_score() {
    let pairs = pairs_of(&lines()[1]);
    // 200 pairs: four batches of the matching. Every batch has the longest texts, so its padding is the same.
    let many: Vec<(&str, &str)> = borrowed(&pairs).into_iter().cycle().take(200).collect();
    let score = BertScore::open(&BertScoreConfig::new(fixture("bert")), &Device::flex()).unwrap();
    let once = score.score(&many[..pairs.len()], &|_| ()).unwrap();
    let done = RefCell::new(Vec::new());
    let repeated = score.score(&many, &|n| done.borrow_mut().push(n)).unwrap();
    assert_eq!(done.into_inner(), [64, 128, 192, 200]);
    assert_eq!(repeated.truncated, once.truncated);
    for (i, got) in repeated.values[..192].iter().enumerate() {
        let expected = &once.values[i % pairs.len()];
        assert!((got.f1 - expected.f1).abs() < TOLERANCE && (got.precision - expected.precision).abs() < TOLERANCE, "pair {i}");
    }
    assert!(score.score(&[], &|_| ()).unwrap().values.is_empty());
}

#[test]
fn layers_come_from_the_name_and_must_exist() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("roberta-large");
    std::fs::create_dir(&dir).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixture("roberta").join(name), dir.join(name)).unwrap();
    }
    let open = |config: &BertScoreConfig| BertScore::open(config, &Device::flex());
    // The layer of roberta-large is 17; this one has two.
    let mut config = BertScoreConfig::new(&dir);
    let error = open(&config).unwrap_err().to_string();
    assert!(error.contains("layer 17") && error.contains("2 layers"), "{error}");
    config.layer = Some(1);
    config.idf = true;
    let score = open(&config).unwrap();
    assert_eq!(score.version(), "1 (F1 as bert-score 0.3.13; roberta-large, layer 1, idf of the references, not rescaled)");
    // A name that the package does not know: the last.
    assert_eq!(open(&BertScoreConfig::new(fixture("roberta"))).unwrap().layer(), 2);
}

#[test]
fn tables_of_another_kind_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = BertScoreConfig::new(fixture("bert"));
    let mut refused = |text: &str| {
        let path = dir.path().join("table.tsv");
        std::fs::write(&path, text).unwrap();
        config.baseline = Some(path);
        BertScore::open(&config, &Device::flex()).unwrap_err().to_string()
    };
    for (text, reason) in [
        ("", "first line"),
        ("P,R,F\n", "first line"),
        ("LAYER,P,R,F\n0,0.1,0.1,0.1\n", "no row for layer 2"),
        ("LAYER,P,R,F\n0,0,0,0\n1,0,0,0\n3,0,0,0\n", "row of layer 2"),
        ("LAYER,P,R,F\n0,0,0,0\n1,0,0,0\n2,0,x,0\n", "row of layer 2"),
        ("LAYER,P,R,F\n0,0,0,0\n1,0,0,0\n2,0,1,0\n", "below 1"),
        ("LAYER,P,R,F\n0,0,0,0\n1,0,0,0\n2,0,0\n", "row of layer 2"),
    ] {
        let error = refused(text);
        assert!(error.contains(reason) && error.contains("table.tsv"), "{error}");
    }
}

/// The tables of the package: one row per layer and the embeddings.
#[test]
#[ignore = "needs NEXTMEM_SHARED"]
fn published_baselines_are_read() {
    let shared = std::env::var_os("NEXTMEM_SHARED").expect("NEXTMEM_SHARED names no directory");
    let mut config = BertScoreConfig::new(fixture("bert"));
    for name in ["bert-base-uncased.tsv", "roberta-large.tsv"] {
        config.baseline = Some(Path::new(&shared).join("data/bertscore/rescale_baseline/en").join(name));
        assert!(BertScore::open(&config, &Device::flex()).unwrap().version().ends_with(", rescaled)"));
    }
}

#[test]
fn a_configuration_is_read_strictly() {
    let read = |value: Value| serde_json::from_value::<BertScoreConfig>(value);
    assert_eq!(read(json!({"encoder": "x"})).unwrap(), BertScoreConfig::new("x"));
    assert!(read(json!({"encoder": "x", "layers": 3})).is_err());
    assert!(read(json!({"encoder": "x", "batch_size": 0})).is_err());
}
