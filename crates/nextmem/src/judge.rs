//! `judge`: an LLM's verdicts on the answers of a run, and their place among the scores.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use nextmem_eval::judge::{Event, JudgeConfig, JudgePrompt, JudgeReport, READER_VERSION, Verdict, judge_samples};
use nextmem_eval::{Interval, Score, Task, method_label};
use serde_json::json;

use crate::cli::BadInput;
use crate::progress::Bars;
use crate::run_dir::{RunDir, read_json};
use crate::sample_set::identity::{are_of, hashes};
use crate::sample_set::{SampleSet, Samples};
use crate::terminal::note_once;

mod options;

pub use options::Options;

/// Judges every sample file of task 2, writes the verdicts and their scores, and prints a table.
pub fn judge(options: &Options) -> Result<()> {
    let dir = RunDir::open(&options.run).map_err(|e| BadInput(format!("{e:#}")))?;
    let _lock = crate::run_dir::DirLock::acquire(&options.run)?;
    let config = options.config(dir.experiment()?.judge)?;
    config.check().map_err(|e| BadInput(e.to_string()))?;
    let sets: Vec<SampleSet> = SampleSet::list(&options.run)?.into_iter().filter(|s| s.task == Task::ContextualQa).collect();
    if sets.is_empty() {
        bail!(BadInput(format!(
            "{}: no samples of task `contextual_qa`; its experiment needs [eval.contextual_qa]",
            options.run.display()
        )));
    }
    let cache = options.cache.clone().unwrap_or_else(|| dir.join("judge/cache"));
    let prompt = config.prompt.name();
    let mut table = Table::new();
    let columns = ["row", "dataset", "accuracy of all", "accuracy of judged", "unclear", "failed", "n", "asked"];
    table.load_style(UTF8_FULL_CONDENSED).set_header(columns);
    let (mut scores, mut counts, mut without) = (Vec::new(), Vec::new(), Without::default());
    let mut changes = std::collections::BTreeSet::new();
    for set in &sets {
        let Samples::ContextualQa(samples) = set.read()? else { continue };
        let bar = Bars::new(&format!("judge {} {}", set.dataset, set.method));
        bar.begin(0, samples.len());
        let report = judge_samples(&samples, &config, &cache, &|event| match event {
            Event::Done(done) => bar.at(done, ""),
            Event::Note(note) => bar.note(note),
        })
        .with_context(|| format!("the answers of {}", set.path.display()))?;
        bar.finish("done");
        let stem = set.path.file_stem().map_or(String::new(), |s| s.to_string_lossy().into_owned());
        let lines: Vec<String> = report.judged.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        dir.write(&format!("judge/{prompt}.{stem}.jsonl"), format!("{}\n", lines.join("\n")).as_bytes())?;
        without.add(set, &report);
        let (unclear, failed) = (report.count(Verdict::Unclear), report.count(Verdict::Failed));
        // No verdict at all is no accuracy of 0.
        let own = if report.decided() > 0 { of_report(set, &config, &report) } else { Vec::new() };
        let cell = |i: usize| own.get(i).map_or("no verdict".into(), |s| format!("{:.4} [{:.4}, {:.4}]", s.value, s.low, s.high));
        table.add_row([
            method_label(&set.method).to_string(),
            set.dataset.clone(),
            cell(0),
            cell(1),
            unclear.to_string(),
            failed.to_string(),
            report.judged.len().to_string(),
            report.requests.to_string(),
        ]);
        counts.push(json!({
            "method": set.method, "dataset": set.dataset, "correct": report.count(Verdict::Correct),
            "incorrect": report.count(Verdict::Incorrect), "unclear": unclear, "failed": failed, "tokens": report.tokens,
        }));
        changes.extend(report.changes);
        scores.extend(own);
    }
    // A second column says something only where an answer has no verdict.
    if without.answers == 0 {
        scores.retain(|score| !score.metric.ends_with(OF_JUDGED));
    }
    if !scores.is_empty() {
        let summary = json!({
            "model": config.model, "prompt": prompt, "prompt_sha256": config.prompt.hash(), "reader": READER_VERSION,
            "asked": options::asked(&config), "changes": changes,
            "judged_unix_seconds": std::time::UNIX_EPOCH.elapsed().map(|since| since.as_secs()).ok(), "scores": scores, "counts": counts,
            "samples": hashes(&sets)?,
        });
        dir.write(&format!("judge/{prompt}.json"), format!("{summary:#}\n").as_bytes())?;
    }
    println!(
        "{table}\n\n{} judged by {} with the {prompt} prompt; everything is in {}",
        options.run.display(),
        config.model,
        dir.join("judge").display()
    );
    without.told()
}

/// The answers that have no verdict, over all sample files.
#[derive(Default)]
struct Without {
    answers: usize,
    failed: usize,
    of: usize,
    /// Rows in which no answer has one, and why.
    rows: Vec<String>,
}

impl Without {
    fn add(&mut self, set: &SampleSet, report: &JudgeReport) {
        let (n, decided) = (report.judged.len(), report.decided());
        self.of += n;
        self.answers += n - decided;
        self.failed += report.count(Verdict::Failed);
        if decided == n {
            return;
        }
        let reasons: Vec<String> = report.reasons().iter().take(3).map(|(count, why)| format!("{count} {why}")).collect();
        let row = format!("{} on {}", method_label(&set.method), set.dataset);
        let example = report.judged.iter().find(|j| !j.verdict.decided() && !j.said.trim().is_empty());
        let example = example.map_or(String::new(), |j| format!("; the judge's words: {:?}", j.said.chars().take(120).collect::<String>()));
        eprintln!("warning: {row}: {} of {n} answers have no verdict: {}{example}", n - decided, reasons.join(", "));
        if decided == 0 {
            self.rows.push(format!("{row} ({})", reasons.join(", ")));
        }
    }

    /// Says what is missing in the numbers; an error if a row has none, or if asking again may help.
    fn told(&self) -> Result<()> {
        if self.answers == 0 {
            return Ok(());
        }
        let again =
            "`accuracy of all` counts them as not correct, `accuracy of judged` leaves them out; run again: only they are asked for";
        if !self.rows.is_empty() {
            return Err(anyhow!(
                "no answer of {} has a verdict, so there is no score of it; change what [judge] asks (max_tokens, model, prompt) and run again",
                self.rows.join("; ")
            ));
        }
        if self.failed > 0 {
            return Err(anyhow!("{} of {} answers got no reply of the judge; {again}", self.failed, self.of));
        }
        eprintln!("warning: {} of {} answers have no verdict; {again}", self.answers, self.of);
        Ok(())
    }
}

/// What the name of the score without unclear answers ends with.
const OF_JUDGED: &str = "_of_judged";

/// The accuracy over all answers, then over those that have a verdict.
fn of_report(set: &SampleSet, config: &JudgeConfig, report: &JudgeReport) -> Vec<Score> {
    let sent = |name: &str| !report.changes.contains(&format!("{name} not sent")) && !config.omit.iter().any(|omitted| omitted == name);
    let temperature = if sent("temperature") { config.temperature.to_string() } else { "of the server".into() };
    let version = format!(
        "LLM judge {}, {} prompt {}, temperature {temperature}, reader {READER_VERSION}",
        config.model,
        config.prompt.name(),
        &config.prompt.hash()[..12]
    );
    let score = |suffix: &str, (value, interval): (f64, Interval), n: usize| Score {
        task: set.task.name().into(),
        dataset: set.dataset.clone(),
        method: set.method.clone(),
        metric: format!("judge_{}{suffix}", config.prompt.name()),
        version: version.clone(),
        value,
        low: interval.low,
        high: interval.high,
        n,
    };
    let of_judged = report.judged_accuracy().map(|accuracy| score(OF_JUDGED, accuracy, report.decided()));
    std::iter::once(score("", report.accuracy(), report.judged.len())).chain(of_judged).collect()
}

/// The scores that judges left in a run: `judge_strict`, `judge_lenient`; none of other samples than the run holds.
pub fn judge_scores(run: &Path) -> Vec<Score> {
    let mut scores = Vec::new();
    for prompt in [JudgePrompt::Strict, JudgePrompt::Lenient] {
        let path = run.join(format!("judge/{}.json", prompt.name()));
        let Some(results) = read_json(&path) else { continue };
        match are_of(run, &results) {
            true => scores.extend(serde_json::from_value::<Vec<Score>>(results["scores"].clone()).unwrap_or_default()),
            false => note_once(format!(
                "{}: is not of the samples that the run holds, left out; judge them again (what was asked before is not asked again)",
                path.display()
            )),
        }
    }
    scores
}
