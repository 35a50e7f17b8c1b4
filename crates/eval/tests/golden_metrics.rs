//! The text metrics against values of rouge-score, sacrebleu, nltk and SQuAD's formulas (scripts/golden/text_metrics.py).

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use nextmem_eval::metric::{TEXT_METRICS, stem, text_metric, tokenize_13a};
use serde_json::Value;

/// Both sides count in f64; what differs is the order of a few operations.
const TOLERANCE: f64 = 1e-6;

#[track_caller]
fn check_score(name: &str, prediction: &str, reference: &str, expected: &Value) {
    let got = text_metric(name).unwrap().score(prediction, reference);
    let expected = expected.as_f64().unwrap();
    assert!((got - expected).abs() < TOLERANCE, "{name}: {got}, expected {expected}\n  {prediction:?}\n  {reference:?}");
}

/// Tab-separated words and stems under a header; more columns are other modes of the stemmer. Returns their number.
fn check_stems(tsv: &str) -> usize {
    let rows = tsv.lines().skip(1).map(|line| {
        let mut fields = line.split('\t');
        (fields.next().unwrap(), fields.next().unwrap())
    });
    rows.map(|(word, expected)| assert_eq!(stem(word), expected, "{word}")).count()
}

fn lines(jsonl: &str) -> impl Iterator<Item = Value> {
    jsonl.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn pairs_of_the_fixture() {
    let mut lines = lines(include_str!("golden/text_metrics.jsonl"));
    let header = lines.next().unwrap();
    assert_eq!(header["generator"], "scripts/golden/text_metrics.py");
    assert_eq!(header["versions"]["rouge-score"], "0.1.2");
    let mut pairs = 0;
    for line in lines {
        let (prediction, reference) = (line["prediction"].as_str().unwrap(), line["reference"].as_str().unwrap());
        for metric in TEXT_METRICS {
            check_score(metric.name(), prediction, reference, &line[metric.name()]);
        }
        assert_eq!(tokenize_13a(reference).join(" "), line["tokens_13a"].as_str().unwrap());
        pairs += 1;
    }
    assert!(pairs >= 40, "{pairs}");
}

#[test]
fn stems_of_the_fixture() {
    let stems = check_stems(include_str!("golden/porter_stems.tsv"));
    assert!(stems >= 300, "{stems}");
}

/// Values over texts that may not be redistributed, where they are at hand.
#[test]
fn shared_values() {
    let Some(dir) = std::env::var_os("NEXTMEM_SHARED").map(|dir| PathBuf::from(dir).join("data/golden")).filter(|dir| dir.is_dir()) else {
        println!("skipped: NEXTMEM_SHARED names no directory with data/golden/");
        return;
    };
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let mut pairs = 0;
    for line in lines(&read("text_metrics.jsonl")) {
        let (prediction, reference) = (line["hypothesis"].as_str().unwrap(), line["reference"].as_str().unwrap());
        check_score("f1", prediction, reference, &line["squad_f1"]);
        check_score("rouge_1", prediction, reference, &line["rouge_stem"]["rouge1"][2]);
        check_score("rouge_l", prediction, reference, &line["rouge_stem"]["rougeL"][2]);
        let bleu = line["sacrebleu_sentence"]["score"].as_f64().unwrap() / 100.0;
        check_score("bleu", prediction, reference, &bleu.into());
        pairs += 1;
    }
    let mut tokenised = 0;
    for line in lines(&read("sacrebleu_13a.jsonl")) {
        assert_eq!(tokenize_13a(line["text"].as_str().unwrap()).join(" "), line["tok"].as_str().unwrap());
        tokenised += 1;
    }
    let stems = check_stems(&read("porter_stems.tsv"));
    println!("{pairs} pairs, {tokenised} tokenised texts, {stems} stems");
    assert!(pairs > 0 && tokenised > 0 && stems > 0);
}
