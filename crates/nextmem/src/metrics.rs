//! `nextmem metrics`: every text metric of a file of pairs, to be held against the Python packages.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Args;
use nextmem_eval::bertscore::{BERTSCORE, BertScore, BertScoreConfig};
use nextmem_eval::metric::{CorpusBleu, Meteor, TEXT_METRICS, TextMetric, WordNet};
use nextmem_model::write_atomically;
use serde_json::Value;

use crate::cli::BadInput;
use crate::hub::located;
use crate::outputs::ensure_writable;
use crate::progress::Bars;

/// The columns without `--all`, the first of [`TEXT_METRICS`].
const COLUMNS: usize = 7;
/// Pairs that a thread takes at once.
const CHUNK: usize = 16;
/// Bytes of two texts, multiplied, from which ROUGE-L takes many seconds: it compares every word with every other, 64 at once.
const LONG: u64 = 1 << 42;

/// What is scored, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// A file of lines like {"prediction": "..", "reference": ".."}, other keys allowed; - is standard input
    pairs: PathBuf,
    /// METEOR with synonyms from this WordNet 3.x `dict` directory (index.*, data.*, *.exc); without it equal words and stems
    #[arg(long)]
    wordnet: Option<PathBuf>,
    /// Also rouge_2, chrf and number, date and name fidelity
    #[arg(long)]
    all: bool,
    /// Also BERTScore with the encoder in this Hugging Face directory, or of this fetched name (BERT or RoBERTa), on the CPU
    #[arg(long)]
    bertscore: Option<PathBuf>,
    /// Write the lines to this file instead of standard output
    #[arg(long)]
    out: Option<PathBuf>,
}

/// A text and what it should be.
struct Pair {
    prediction: String,
    reference: String,
}

/// Writes one JSON object a pair, in the order of the pairs, and the means on stderr.
///
/// # Errors
/// [`BadInput`] for a file that is no list of pairs, before anything is written.
pub fn metrics(options: &Options) -> Result<()> {
    options.out.iter().try_for_each(|out| ensure_writable(out))?;
    let begun = Instant::now();
    let pairs = read_pairs(&options.pairs)?;
    warn_of_long(&pairs);
    let meteor = match &options.wordnet {
        Some(dir) => Meteor::with_wordnet(WordNet::open(dir).map_err(|e| BadInput(e.to_string()))?),
        None => Meteor::EXACT_AND_STEM,
    };
    let columns = if options.all { TEXT_METRICS.len() } else { COLUMNS };
    let metrics: Vec<&dyn TextMetric> =
        TEXT_METRICS[..columns].iter().map(|metric| if metric.name() == meteor.name() { &meteor } else { *metric }).collect();
    let scores = score(&pairs, &metrics, begun);
    let encoded = options.bertscore.as_deref().map(|dir| bertscore(dir, &pairs)).transpose()?;
    let mut lines = String::new();
    for (i, row) in scores.rows.iter().enumerate() {
        let extra = encoded.iter().map(|(_, values)| format!("\"{BERTSCORE}\":{}", Value::from(values[i])));
        let cells =
            metrics.iter().zip(&row.values).map(|(metric, value)| format!("\"{}\":{}", metric.name(), Value::from(*value))).chain(extra);
        let _ = writeln!(lines, "{{{}}}", cells.collect::<Vec<_>>().join(","));
    }
    match &options.out {
        Some(path) => write_atomically(path, lines.as_bytes())?,
        None => write_stdout(&lines)?,
    }
    eprint!("{}", summary(&metrics, &scores));
    if let Some((version, values)) = &encoded {
        eprintln!("{}", line(BERTSCORE, values, version));
    }
    Ok(())
}

/// F1 of BERTScore for every pair, with the version of the metric.
fn bertscore(dir: &Path, pairs: &[Pair]) -> Result<(String, Vec<f64>)> {
    let encoder = BertScore::open(&BertScoreConfig::new(located(dir)), &crate::device::host()).map_err(|e| BadInput(e.to_string()))?;
    let texts: Vec<(&str, &str)> = pairs.iter().map(|p| (p.prediction.as_str(), p.reference.as_str())).collect();
    let found = encoder.score(&texts, &|_| {})?;
    if found.truncated > 0 {
        eprintln!("{BERTSCORE}: {} texts were longer than the encoder reads and were cut, as the reference does", found.truncated);
    }
    Ok((encoder.version(), found.values.iter().map(|v| v.f1).collect()))
}

/// A reader that stops early, like `head`, is no error.
fn write_stdout(lines: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(lines.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context("standard output"),
        _ => Ok(()),
    }
}

fn read_pairs(path: &Path) -> Result<Vec<Pair>> {
    let from_stdin = path.as_os_str() == "-";
    let name = if from_stdin { "standard input".to_string() } else { path.display().to_string() };
    let mut bytes = Vec::new();
    let read = if from_stdin { std::io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes) } else { std::fs::read(path) };
    let bytes = read.map_err(|e| BadInput(format!("{name}: {e}")))?;
    let text = nextmem_data::decode_text(&name, bytes).map_err(|e| BadInput(e.to_string()))?;
    let bars = Bars::new("reading");
    bars.begin(0, text.lines().count());
    let mut halves = 0;
    let pair = |(number, line): (usize, &str)| {
        if number % 4096 == 0 {
            bars.at(number, "");
        }
        let (line, lost) = nextmem_data::python_json(line.trim());
        halves += lost;
        read_pair(&line).map_err(|reason| BadInput(format!("{name}: line {number}: {reason}")).into())
    };
    let pairs: Vec<Pair> = nextmem_data::lines(&text).filter(|(_, line)| !line.trim().is_empty()).map(pair).collect::<Result<_>>()?;
    if pairs.is_empty() {
        return Err(BadInput(format!("{name}: no pairs - expected lines like {{\"prediction\": \"..\", \"reference\": \"..\"}}")).into());
    }
    nextmem_data::note_halves(&name, halves);
    Ok(pairs)
}

fn read_pair(line: &str) -> Result<Pair, String> {
    let mut value: Value = serde_json::from_str(line).map_err(|e| {
        // serde_json counts lines within the one line.
        let reason = e.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        format!("column {}: no JSON: {reason} - expected one object a line", e.column())
    })?;
    let Some(object) = value.as_object_mut() else {
        return Err(format!("{} - expected a JSON object with `prediction` and `reference`", kind(&value)));
    };
    let mut text = |key: &str| match object.remove(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(format!("`{key}` is {} - expected a string", kind(&other))),
        None => Err(format!("no `{key}` - expected a JSON object with `prediction` and `reference`")),
    };
    Ok(Pair { prediction: text("prediction")?, reference: text("reference")? })
}

fn kind(value: &Value) -> &'static str {
    match value {
        // `NaN`, which Python writes, is read as null.
        Value::Null => "null or NaN",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The values of one pair, and of which metrics it has anything to compare.
#[derive(Clone, Default)]
struct Row {
    values: Vec<f64>,
    applies: Vec<bool>,
}

/// The scores of all pairs and of the corpus.
struct Scores {
    rows: Vec<Row>,
    corpus: CorpusBleu,
}

/// One row a pair; all cores take chunks of pairs until none is left. `begun`: when the command did.
fn score(pairs: &[Pair], metrics: &[&dyn TextMetric], begun: Instant) -> Scores {
    let bars = Bars::new("metrics");
    bars.begin(0, pairs.len());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let all = Mutex::new(Scores { rows: vec![Row::default(); pairs.len()], corpus: CorpusBleu::default() });
    let work = || {
        let mut corpus = CorpusBleu::default();
        loop {
            let start = next.fetch_add(CHUNK, Ordering::Relaxed);
            let Some(chunk) = pairs.get(start..(start + CHUNK).min(pairs.len())).filter(|chunk| !chunk.is_empty()) else { break };
            let row = |pair: &Pair| {
                corpus.add(&pair.prediction, &pair.reference);
                let texts = (pair.prediction.as_str(), pair.reference.as_str());
                Row {
                    values: metrics.iter().map(|m| m.score(texts.0, texts.1)).collect(),
                    applies: metrics.iter().map(|m| m.applies(texts.0, texts.1)).collect(),
                }
            };
            let scored: Vec<Row> = chunk.iter().map(row).collect();
            all.lock().unwrap_or_else(PoisonError::into_inner).rows[start..start + chunk.len()].clone_from_slice(&scored);
            bars.at(done.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len(), "");
        }
        all.lock().unwrap_or_else(PoisonError::into_inner).corpus.merge(&corpus);
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(pairs.len().div_ceil(CHUNK));
    std::thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(work)));
        work();
    });
    bars.finish(&format!("{} pairs in {:.1} s, reading included", pairs.len(), begun.elapsed().as_secs_f64()));
    all.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// A word before minutes of silence.
fn warn_of_long(pairs: &[Pair]) {
    let long = |pair: &&Pair| pair.prediction.len() as u64 * pair.reference.len() as u64 > LONG;
    let mut of_length = pairs.iter().filter(long).map(|pair| (pair.prediction.len() >> 20, pair.reference.len() >> 20));
    if let Some((prediction, reference)) = of_length.next() {
        eprintln!(
            "metrics: {} pairs of texts of many megabytes, the first {prediction} MiB against {reference} MiB; rouge_l compares all their words \
             and may take minutes for each",
            1 + of_length.count()
        );
    }
}

/// A line of the summary.
fn line(name: &str, values: &[f64], version: &str) -> String {
    let mean = match values.len() {
        0 => "-".to_string(),
        n => format!("{:.4}", values.iter().sum::<f64>() / n as f64),
    };
    format!("{name:<12} {mean:>8} {:>7}  {version}", values.len())
}

/// Means, one metric a line; where a metric does not apply to every pair, the mean over those it applies to.
fn summary(metrics: &[&dyn TextMetric], scores: &Scores) -> String {
    let mut out = format!("{:<12} {:>8} {:>7}  version\n", "metric", "mean", "pairs");
    for (column, metric) in metrics.iter().enumerate() {
        let values: Vec<f64> = scores.rows.iter().filter(|row| row.applies[column]).map(|row| row.values[column]).collect();
        let _ = writeln!(out, "{}", line(metric.name(), &values, metric.version()));
    }
    let (corpus, pairs) = (scores.corpus.score(), scores.rows.len());
    let _ = writeln!(out, "{:<12} {corpus:>8.4} {pairs:>7}  1 (sacrebleu 2.6.0 corpus BLEU, 13a, exp, /100)", "corpus bleu");
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(dir: &Path, text: &str) -> Options {
        let pairs = dir.join("pairs.jsonl");
        std::fs::write(&pairs, text).unwrap();
        Options { pairs, wordnet: None, all: false, bertscore: None, out: Some(dir.join("scores.jsonl")) }
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        let options = options(dir.path(), text);
        let error = metrics(&options).unwrap_err();
        assert!(error.is::<BadInput>());
        let path = options.pairs.display().to_string();
        assert_eq!(error.to_string().strip_prefix(&path).unwrap(), expected);
        assert!(!options.out.unwrap().exists());
    }

    #[test]
    fn columns_come_in_order_one_line_a_pair() {
        let dir = tempfile::tempdir().unwrap();
        let text = "\u{feff}{\"id\": 7, \"prediction\": \"the cat sat\", \"reference\": \"the cat sat\"}\r\n{\"reference\":\"x\",\"prediction\":\"\"}\n\n";
        let mut options = options(dir.path(), text);
        metrics(&options).unwrap();
        let written = || std::fs::read_to_string(dir.path().join("scores.jsonl")).unwrap();
        let lines = written();
        let [first, second] = lines.lines().collect::<Vec<_>>()[..] else { panic!("{lines}") };
        let start = "{\"f1\":1.0,\"exact_match\":1.0,\"rouge_1\":1.0,\"rouge_l\":1.0,\"bleu\":1.0,\"bleu_nltk\":0.562341325190349";
        assert!(first.starts_with(start) && first.ends_with(",\"meteor\":0.9814814814814815}"), "{first}");
        assert_eq!(
            second,
            "{\"f1\":0.0,\"exact_match\":0.0,\"rouge_1\":0.0,\"rouge_l\":0.0,\"bleu\":0.0,\"bleu_nltk\":0.0,\"meteor\":0.0}"
        );
        options.all = true;
        metrics(&options).unwrap();
        let value: Value = serde_json::from_str(written().lines().next().unwrap()).unwrap();
        assert_eq!(value.as_object().unwrap().len(), TEXT_METRICS.len());
        assert_eq!(value["number_f1"], 1.0);
    }

    #[test]
    fn more_pairs_than_a_thread_takes_stay_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..100).map(|i| format!("{{\"prediction\":\"{}\",\"reference\":\"w\"}}\n", "w ".repeat(i + 1))).collect();
        metrics(&options(dir.path(), &text)).unwrap();
        let lines = std::fs::read_to_string(dir.path().join("scores.jsonl")).unwrap();
        let f1: Vec<f64> = lines.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()["f1"].as_f64().unwrap()).collect();
        assert_eq!(f1.len(), 100);
        assert!(f1.windows(2).all(|pair| pair[0] > pair[1]), "{f1:?}");
    }

    #[test]
    fn bad_pairs_name_file_and_line() {
        let good = "{\"prediction\":\"a\",\"reference\":\"b\"}\n";
        let wanted = "expected a JSON object with `prediction` and `reference`";
        refused("", ": no pairs - expected lines like {\"prediction\": \"..\", \"reference\": \"..\"}");
        refused(" \n\n", ": no pairs - expected lines like {\"prediction\": \"..\", \"reference\": \"..\"}");
        refused(&format!("{good}\n[1]"), &format!(": line 3: a list - {wanted}"));
        refused(&format!("{good}[1]\n"), &format!(": line 2: a list - {wanted}"));
        refused(&format!("{good}{{\"prediction\":\"a\"}}\n"), &format!(": line 2: no `reference` - {wanted}"));
        refused("{\"prediction\":null,\"reference\":\"b\"}", ": line 1: `prediction` is null or NaN - expected a string");
        refused("{\"prediction\":\"a\",\"reference\":3}", ": line 1: `reference` is a number - expected a string");
        refused(
            &format!("{good}{{\"prediction\"\n"),
            ": line 2: column 13: no JSON: EOF while parsing an object - expected one object a line",
        );
        refused("{\"prediction\":\"a\",\"reference\":NaN}", ": line 1: `reference` is null or NaN - expected a string");
    }

    #[test]
    fn pairs_as_python_and_editors_write_them() {
        let dir = tempfile::tempdir().unwrap();
        let read = |bytes: &[u8]| {
            let path = dir.path().join("pairs.jsonl");
            std::fs::write(&path, bytes).unwrap();
            read_pairs(&path)
                .map(|pairs| pairs.into_iter().map(|pair| format!("{}|{}", pair.prediction, pair.reference)).collect::<Vec<_>>())
        };
        let text = "{\"prediction\": \"a \\ud83d\", \"reference\": \"b\", \"score\": NaN}\r\n\r\n{\"prediction\": \"NaN\", \"reference\": \"d\", \"x\": -Infinity}";
        let pairs = ["a \u{fffd}|b", "NaN|d"];
        assert_eq!(read(text.as_bytes()).unwrap(), pairs);
        let marked: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(read(&marked).unwrap(), pairs);
        let error = read(b"{\"prediction\": \"a\", \"reference\": \"b\"}\n{\"prediction\": \"caf\xe9\"}").unwrap_err();
        assert!(error.to_string().contains("pairs.jsonl: line 2: got the byte 0xE9"), "{error}");
    }

    #[test]
    fn a_missing_file_and_a_folder_that_is_no_wordnet_are_bad_input() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = options(dir.path(), "{\"prediction\":\"a\",\"reference\":\"b\"}");
        options.wordnet = Some(dir.path().to_owned());
        let error = metrics(&options).unwrap_err();
        assert!(error.is::<BadInput>() && error.to_string().contains("data.noun: "), "{error}");
        options.pairs = dir.path().join("none.jsonl");
        let error = metrics(&options).unwrap_err();
        assert!(error.is::<BadInput>() && error.to_string().contains("none.jsonl: "), "{error}");
    }

    #[test]
    fn bertscore_is_a_column_when_an_encoder_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let pairs = "{\"prediction\": \"The ferry leaves.\", \"reference\": \"The ferry leaves.\"}\n\
                     {\"prediction\": \"a\", \"reference\": \"The ferry leaves.\"}\n";
        let encoder = Some(PathBuf::from("../model/tests/fixtures/bert/bert"));
        metrics(&Options { bertscore: encoder, ..options(dir.path(), pairs) }).unwrap();
        let text = std::fs::read_to_string(dir.path().join("scores.jsonl")).unwrap();
        let scores: Vec<f64> = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()[BERTSCORE].as_f64().unwrap()).collect();
        assert!((scores[0] - 1.0).abs() < 1e-5 && scores[1] < 0.999, "{scores:?}");
        assert_eq!(line(BERTSCORE, &[0.25, 0.75], "1"), format!("{BERTSCORE:<12}   0.5000       2  1"));
        let nowhere = Options { bertscore: Some("nowhere".into()), ..options(dir.path(), pairs) };
        assert!(metrics(&nowhere).unwrap_err().to_string().contains("nowhere"));
    }
}
