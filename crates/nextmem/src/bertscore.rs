//! BERTScore of a run's reconstructions: an encoder has to read them, so it is computed with the predictions and kept beside them.

use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::Device;
use nextmem_eval::bertscore::{BERTSCORE, BertScore, BertScoreConfig};
use nextmem_eval::{Score, Task, mean_interval};
use serde_json::json;

use crate::hub::located;
use crate::progress::Bars;
use crate::run_dir::{RunDir, read_json};
use crate::sample_set::identity::{are_of, hashes};
use crate::sample_set::{SampleSet, Samples};
use crate::terminal::note_once;

/// Scores every sample file of task 1 that has no scores of this encoder yet, and writes `bertscore.json`.
pub fn score_run(dir: &RunDir, config: &BertScoreConfig, device: &Device) -> Result<()> {
    let sets: Vec<SampleSet> = SampleSet::list(dir.root())?.into_iter().filter(|s| s.task == Task::Reconstruction).collect();
    if sets.is_empty() {
        return Ok(());
    }
    let config = BertScoreConfig { encoder: located(&config.encoder), ..config.clone() };
    let metric = BertScore::open(&config, device).context("eval.bertscore")?;
    std::fs::create_dir_all(dir.join("bertscore")).with_context(|| dir.join("bertscore").display().to_string())?;
    let mut scores = Vec::new();
    for set in &sets {
        let Samples::Reconstruction(samples) = set.read()? else { continue };
        let pairs: Vec<(&str, &str)> = samples.iter().map(|s| (s.reconstruction.as_str(), s.reference.as_str())).collect();
        let bar = Bars::new(&format!("bertscore {} {}", set.dataset, set.method));
        bar.begin(0, pairs.len());
        let found = metric.score(&pairs, &|done| bar.at(done, "")).with_context(|| set.path.display().to_string())?;
        bar.finish("done");
        if found.truncated > 0 {
            eprintln!("bertscore: {} texts were longer than the encoder reads and were cut, as the reference does", found.truncated);
        }
        let lines: Vec<String> = found
            .values
            .iter()
            .zip(&samples)
            .map(|(v, s)| json!({"index": s.index, "precision": v.precision, "recall": v.recall, "f1": v.f1}).to_string())
            .collect();
        let stem = set.path.file_stem().map_or(String::new(), |s| s.to_string_lossy().into_owned());
        dir.write(&format!("bertscore/{stem}.jsonl"), format!("{}\n", lines.join("\n")).as_bytes())?;
        let values: Vec<f64> = found.values.iter().map(|v| v.f1).collect();
        let (value, interval) = mean_interval(&values);
        scores.push(Score {
            task: set.task.name().into(),
            dataset: set.dataset.clone(),
            method: set.method.clone(),
            metric: BERTSCORE.into(),
            version: metric.version(),
            value,
            low: interval.low,
            high: interval.high,
            n: values.len(),
        });
    }
    let results = json!({"samples": hashes(&sets)?, "scores": scores});
    dir.write("bertscore.json", format!("{}\n", serde_json::to_string_pretty(&results)?).as_bytes())
}

/// The scores that are kept in a run; none if no encoder was given, or if they are of other samples than the run holds.
pub fn bertscores(run: &Path) -> Vec<Score> {
    let path = run.join("bertscore.json");
    let Some(results) = read_json(&path) else { return Vec::new() };
    if !are_of(run, &results) {
        note_once(format!("{}: is not of the samples that the run holds, left out; run the experiment again", path.display()));
        return Vec::new();
    }
    serde_json::from_value(results["scores"].clone()).unwrap_or_default()
}
