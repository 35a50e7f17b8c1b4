//! The samples of one analysis on disk: kept condition by condition, so that an interrupted one goes on where it stopped.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nextmem_eval::analysis::{AnalysisReport, AnalysisSample};
use nextmem_eval::metric::text_metric;
use nextmem_eval::read_lines;
use nextmem_model::{Memory, MemoryMethod};

use crate::progress::Bars;
use crate::run_dir::read_json;

/// What every reconstruction is scored with.
pub const METRICS: [&str; 3] = ["f1", "exact_match", "rouge_l"];

/// The samples so far and where they are written.
pub struct Record {
    report: PathBuf,
    partial: PathBuf,
    samples: Vec<AnalysisSample>,
    /// The samples as written. Numbers are always those read back from here, so that a resumed analysis has the same.
    lines: Vec<String>,
    bar: Bars,
    done: Cell<usize>,
}

impl Record {
    /// The record of a report with this fingerprint: finished, begun or empty. Samples of other settings are left out.
    pub fn open(report: &Path, name: &str, fingerprint: &str) -> Result<Self> {
        let dir = report.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        // Another configuration has another name, and so never continues this one's samples.
        let partial = report.with_extension(format!("{}.partial.jsonl", &fingerprint[..12.min(fingerprint.len())]));
        let finished = read_json(report).is_some_and(|r| r["fingerprint"] == fingerprint);
        let from = if finished { samples_file(report) } else { partial.clone() };
        // A condition is written as a whole, so that a line that was cut off belongs to one that is measured again.
        let (numbers, samples): (Vec<usize>, Vec<AnalysisSample>) = read_lines(&from)?.items.into_iter().unzip();
        let text = String::from_utf8_lossy(&std::fs::read(&from).unwrap_or_default()).into_owned();
        let written: Vec<&str> = text.lines().collect();
        let lines = numbers.iter().filter_map(|number| Some(written.get(number - 1)?.to_string())).collect();
        let record = Self { report: report.to_owned(), partial, samples, lines, bar: Bars::new(name), done: Cell::new(0) };
        record.discard_other_attempts(dir)?;
        Ok(record)
    }

    fn discard_other_attempts(&self, dir: &Path) -> Result<()> {
        let stem = format!("{}.", self.report.file_stem().unwrap_or_default().to_string_lossy());
        for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path != self.partial && name.starts_with(&stem) && name.ends_with(".partial.jsonl") {
                std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Starts the bar.
    pub fn begin(&self, total: usize) {
        self.bar.begin(0, total);
    }

    /// Moves the bar.
    pub fn advance(&self, passages: usize) {
        self.done.set(self.done.get() + passages);
        self.bar.at(self.done.get(), "");
    }

    /// Measures one condition, unless its samples are there; `passages` is how many it has.
    pub fn group(
        &mut self,
        series: &str,
        label: &str,
        x: Option<f64>,
        passages: usize,
        measure: impl FnOnce(&Self) -> Result<Vec<AnalysisSample>>,
    ) -> Result<()> {
        if self.samples.iter().any(|s| s.series == series && s.label == label) {
            self.advance(passages);
            return Ok(());
        }
        let before = self.done.get();
        let mut samples = measure(self).with_context(|| format!("{series} {label}"))?;
        for sample in &mut samples {
            sample.series = series.into();
            sample.label = label.into();
            sample.x = sample.x.or(x);
            // JSON has no infinity; what could not be measured is left out.
            sample.values.retain(|_, value| value.is_finite());
        }
        for sample in &samples {
            let line = serde_json::to_string(sample)?;
            self.samples.push(serde_json::from_str(&line)?);
            self.lines.push(line);
        }
        self.write(&self.partial)?;
        self.advance((before + passages).saturating_sub(self.done.get()));
        Ok(())
    }

    /// Every sample.
    pub fn samples(&self) -> &[AnalysisSample] {
        &self.samples
    }

    /// Encodes nothing: memories back into text, scored against what they should say.
    pub fn reconstructions(
        &self,
        method: &dyn MemoryMethod,
        memories: &[Memory],
        references: &[String],
        batch: usize,
    ) -> Result<Vec<AnalysisSample>> {
        let mut samples = Vec::with_capacity(memories.len());
        for (memories, references) in memories.chunks(batch).zip(references.chunks(batch)) {
            for (text, reference) in method.reconstruct(memories)?.into_iter().zip(references) {
                samples.push(AnalysisSample {
                    index: samples.len(),
                    values: scores(&text, reference),
                    reference: Some(reference.clone()),
                    reconstruction: Some(text),
                    ..AnalysisSample::default()
                });
            }
            self.advance(memories.len());
        }
        Ok(samples)
    }

    /// Writes the samples, then the report: a report whose fingerprint fits has all its samples.
    pub fn finish(self, report: &AnalysisReport) -> Result<()> {
        self.write(&samples_file(&self.report))?;
        nextmem_model::write_atomically(&self.report, format!("{}\n", serde_json::to_string_pretty(report)?).as_bytes())?;
        let _ = std::fs::remove_file(&self.partial);
        self.bar.finish("done");
        Ok(())
    }

    fn write(&self, path: &Path) -> Result<()> {
        let text: String = self.lines.iter().map(|line| format!("{line}\n")).collect();
        Ok(nextmem_model::write_atomically(path, text.as_bytes())?)
    }
}

/// NAME.samples.jsonl beside NAME.json.
pub fn samples_file(report: &Path) -> PathBuf {
    report.with_extension("samples.jsonl")
}

/// Every metric of [`METRICS`].
pub fn scores(prediction: &str, reference: &str) -> BTreeMap<String, f64> {
    let found = METRICS.iter().filter_map(|name| Some((*name, text_metric(name)?)));
    found.map(|(name, metric)| (name.to_string(), metric.score(prediction, reference))).collect()
}

/// Samples without their texts, where only the numbers are worth keeping.
pub fn without_texts(samples: Vec<AnalysisSample>) -> Vec<AnalysisSample> {
    samples.into_iter().map(|s| AnalysisSample { reference: None, reconstruction: None, ..s }).collect()
}
