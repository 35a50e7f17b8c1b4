//! The metrics against values of rouge-score, sacrebleu, nltk, pytrec_eval, scikit-learn and SQuAD's formulas
//! (scripts/golden/make_metrics.py and text_metrics.py).

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use nextmem_eval::EvalError;
use nextmem_eval::metric::{Meteor, RANKING_METRICS, TextMetric, WordNet, corpus_bleu, stem, text_metric, tokenize_13a};
use serde_json::Value;

/// Both sides count in f64; what differs is the order of a few operations.
const TOLERANCE: f64 = 1e-6;
/// The metrics that a package computes.
const REFERENCED: [&str; 9] = ["f1", "exact_match", "rouge_1", "rouge_l", "bleu", "bleu_nltk", "meteor", "rouge_2", "chrf"];

#[track_caller]
fn close(what: &str, got: f64, expected: &Value) {
    let expected = expected.as_f64().unwrap();
    assert!((got - expected).abs() < TOLERANCE, "{what}: {got}, expected {expected}");
}

#[track_caller]
fn check_score(metric: &dyn TextMetric, prediction: &str, reference: &str, expected: &Value) {
    close(&format!("{} of {prediction:?} against {reference:?}", metric.name()), metric.score(prediction, reference), expected);
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

fn texts<'a>(line: &'a Value, prediction: &str) -> (&'a str, &'a str) {
    (line[prediction].as_str().unwrap(), line["reference"].as_str().unwrap())
}

fn wordnet_fixture() -> PathBuf {
    PathBuf::from("tests/fixtures/wordnet")
}

#[test]
fn pairs_of_the_fixture() {
    let mut rows = lines(include_str!("fixtures/metrics.jsonl"));
    let header = rows.next().unwrap();
    assert_eq!(header["generator"], "scripts/golden/make_metrics.py");
    let versions = [("rouge-score", "0.1.2"), ("sacrebleu", "2.6.0"), ("nltk", "3.10.4")];
    versions.iter().for_each(|(package, version)| assert_eq!(header["versions"][package], *version));
    let with_synonyms = Meteor::with_wordnet(WordNet::open(&wordnet_fixture()).unwrap());
    assert!(with_synonyms.version().contains("WordNet 0.1 synonyms"), "{}", with_synonyms.version());
    let rows: Vec<Value> = rows.collect();
    let (mut synonyms, mut differ) = (0, 0);
    for row in &rows {
        let (prediction, reference) = texts(row, "prediction");
        for name in REFERENCED {
            check_score(text_metric(name).unwrap(), prediction, reference, &row[name]);
        }
        if row["kind"] == "synonyms" {
            check_score(&with_synonyms, prediction, reference, &row["meteor_wordnet"]);
            synonyms += 1;
            differ += usize::from(row["meteor_wordnet"] != row["meteor"]);
        }
    }
    let pairs: Vec<_> = rows.iter().filter(|row| row["kind"] != "synonyms").map(|row| texts(row, "prediction")).collect();
    assert_eq!(header["corpus_pairs"], pairs.len());
    close("corpus BLEU", corpus_bleu(pairs.iter().copied()), &header["corpus_bleu"]);
    assert!(pairs.len() >= 130 && synonyms >= 15 && differ >= 10, "{} {synonyms} {differ}", pairs.len());
}

#[test]
fn tokens_of_the_fixture() {
    let rows = lines(include_str!("golden/text_metrics.jsonl")).skip(1);
    let count = rows.map(|row| assert_eq!(tokenize_13a(row["reference"].as_str().unwrap()).join(" "), row["tokens_13a"])).count();
    assert!(count >= 40, "{count}");
}

#[test]
fn stems_of_the_fixture() {
    let stems = check_stems(include_str!("golden/porter_stems.tsv"));
    assert!(stems >= 300, "{stems}");
}

#[test]
fn rankings_of_the_fixture() {
    let mut rows = lines(include_str!("fixtures/rankings.jsonl"));
    let header = rows.next().unwrap();
    assert_eq!(header["versions"]["pytrec_eval-terrier"], "0.5.11");
    assert_eq!(header["versions"]["scikit-learn"], "1.9.1");
    let indices = |value: &Value| value.as_array().unwrap().iter().map(|i| i.as_u64().unwrap() as usize).collect::<Vec<_>>();
    let mut count = 0;
    for row in rows {
        let (ranked, relevant) = (indices(&row["ranked"]), indices(&row["relevant"]));
        for metric in RANKING_METRICS {
            let got = metric.score(&ranked, &relevant);
            close(&format!("{} of {ranked:?} against {relevant:?}", metric.name()), got, &row[metric.name()]);
            if metric.name() == "ndcg@5" {
                close("trec_eval's ndcg_cut_5", got, &row["trec_ndcg"]);
            }
        }
        count += 1;
    }
    assert!(count >= 80, "{count}");
}

#[test]
fn files_that_are_no_wordnet_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |name: &str, change: &dyn Fn(String) -> String| {
        for entry in std::fs::read_dir(wordnet_fixture()).unwrap().map(|e| e.unwrap()) {
            std::fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
        }
        let path = dir.path().join(name);
        std::fs::write(&path, change(std::fs::read_to_string(&path).unwrap())).unwrap();
        let error = WordNet::open(dir.path()).unwrap_err();
        assert!(matches!(error, EvalError::WordNet { .. }), "{error:?}");
        error.to_string().strip_prefix(&path.display().to_string()).unwrap().to_string()
    };
    let next = " - give the `dict` directory of WordNet 3.x as it was published";
    let windows = copy("data.noun", &|text| text.replace('\n', "\r\n"));
    assert_eq!(windows, format!(": line 2: expected offset 67, where the line starts, got 66{next}"));
    let cut = copy("data.verb", &|text| text[..text.len() - 70].to_string());
    assert!(cut.contains("words with ids") || cut.contains("a synset of data.verb"), "{cut}");
    let short = copy("index.adv", &|text| text + "word r 2 0 2 0 00000065\n");
    assert!(short.contains("expected `lemma part-of-speech synsets pointers"), "{short}");
    let nowhere = copy("index.adj", &|text| text + "word a 1 0 1 0 00000001\n");
    assert!(nowhere.contains("expected a synset of data.adj at offset 1 - give"), "{nowhere}");
    std::fs::remove_file(dir.path().join("verb.exc")).unwrap();
    assert!(matches!(WordNet::open(dir.path()).unwrap_err(), EvalError::WordNet { .. } | EvalError::Io { .. }));
}

/// Values over texts that may not be redistributed.
#[test]
#[ignore = "needs NEXTMEM_SHARED"]
fn shared_values() {
    let dir = PathBuf::from(std::env::var_os("NEXTMEM_SHARED").expect("NEXTMEM_SHARED names no directory")).join("data/golden");
    assert!(dir.is_dir(), "{}: no such directory", dir.display());
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let rows: Vec<Value> = lines(&read("text_metrics.jsonl")).collect();
    for row in &rows {
        let (prediction, reference) = texts(row, "hypothesis");
        let check = |name: &str, expected: &Value| check_score(text_metric(name).unwrap(), prediction, reference, expected);
        let percent = |value: &Value| Value::from(value.as_f64().unwrap() / 100.0);
        check("f1", &row["squad_f1"]);
        check("rouge_1", &row["rouge_stem"]["rouge1"][2]);
        check("rouge_2", &row["rouge_stem"]["rouge2"][2]);
        check("rouge_l", &row["rouge_stem"]["rougeL"][2]);
        check("bleu", &percent(&row["sacrebleu_sentence"]["score"]));
        check("chrf", &percent(&row["sacrebleu_chrf"]));
        // Pairs with an empty text have no values of nltk.
        let empty = prediction.is_empty() || reference.is_empty();
        assert_eq!(row.get("nltk_bleu_ws").is_none(), empty);
        let of_nltk = |value: &Value| if empty { Value::from(0.0) } else { value.clone() };
        check("bleu_nltk", &of_nltk(&row["nltk_bleu_ws"]["method1"]));
        check("meteor", &of_nltk(&row["nltk_meteor_ws_exact_stem"]));
    }
    let corpus: Value = serde_json::from_str(&read("corpus_bleu.json")).unwrap();
    // Without the pair that has no reference.
    let pairs: Vec<_> = rows.iter().map(|row| texts(row, "hypothesis")).filter(|(_, reference)| !reference.is_empty()).collect();
    assert_eq!(corpus["n"], pairs.len());
    close("corpus BLEU", corpus_bleu(pairs), &Value::from(corpus["corpus_bleu"].as_f64().unwrap() / 100.0));
    let tokenised = lines(&read("sacrebleu_13a.jsonl"))
        .map(|row| assert_eq!(tokenize_13a(row["text"].as_str().unwrap()).join(" "), row["tok"].as_str().unwrap()))
        .count();
    let stems = check_stems(&read("porter_stems.tsv"));
    println!("{} pairs, {tokenised} tokenised texts, {stems} stems", rows.len());
    assert!(rows.len() >= 59 && tokenised > 0 && stems > 0);
}
