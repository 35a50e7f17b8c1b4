//! `judge`: an LLM's verdicts on the answers of a run, and their place among the scores.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use nextmem_eval::judge::{JudgeConfig, JudgePrompt, JudgeReport, Verdict, judge_samples};
use nextmem_eval::{Score, Task, method_label};
use serde_json::json;

use crate::cli::BadInput;
use crate::progress::Bars;
use crate::run_dir::{RunDir, read_json};
use crate::sample_set::identity::{are_of, hashes, note};
use crate::sample_set::{SampleSet, Samples};

/// What is judged and by whom; flags go before the run's `[judge]`.
#[derive(Debug, Args)]
pub struct Options {
    /// The run's directory, like results/quickstart
    run: PathBuf,
    /// An endpoint of OpenAI's kind up to /v1, like http://localhost:8000/v1
    #[arg(long)]
    base_url: Option<String>,
    /// The judge's name there
    #[arg(long)]
    model: Option<String>,
    /// The prompt: strict or lenient
    #[arg(long)]
    prompt: Option<String>,
    /// Requests at the same time, at most
    #[arg(long)]
    concurrency: Option<usize>,
    /// Tries after the first, for time-outs, 429 and 5xx
    #[arg(long)]
    retries: Option<u32>,
    /// The environment variable that holds the key
    #[arg(long)]
    api_key_env: Option<String>,
    /// Where verdicts are kept, so that a rerun asks nothing [default: RUN/judge/cache]
    #[arg(long)]
    cache: Option<PathBuf>,
}

impl Options {
    fn config(&self, own: Option<JudgeConfig>) -> Result<JudgeConfig> {
        let mut config = match (own, &self.base_url, &self.model) {
            (Some(config), ..) => config,
            (None, Some(url), Some(model)) => serde_json::from_value(json!({"base_url": url, "model": model}))?,
            _ => bail!(BadInput(
                "no judge: expected --base-url and --model, or [judge] in the experiment; without one, f1 and exact_match against the gold \
                 answer are what the tables show"
                    .into()
            )),
        };
        let text = |own: &mut String, flag: &Option<String>| flag.iter().for_each(|value| own.clone_from(value));
        text(&mut config.base_url, &self.base_url);
        text(&mut config.model, &self.model);
        text(&mut config.api_key_env, &self.api_key_env);
        config.concurrency = self.concurrency.unwrap_or(config.concurrency);
        config.retries = self.retries.unwrap_or(config.retries);
        config.prompt = match self.prompt.as_deref() {
            None => config.prompt,
            Some("strict") => JudgePrompt::Strict,
            Some("lenient") => JudgePrompt::Lenient,
            Some(other) => bail!(BadInput(format!("--prompt: got {other:?}, expected strict or lenient"))),
        };
        Ok(config)
    }
}

/// Judges every sample file of task 2, writes the verdicts and their scores, and prints a table.
pub fn judge(options: &Options) -> Result<()> {
    let dir = RunDir::open(&options.run).map_err(|e| BadInput(format!("{e:#}")))?;
    let _lock = crate::run_dir::DirLock::acquire(&options.run)?;
    let config = options.config(dir.experiment()?.judge)?;
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
    table.load_style(UTF8_FULL_CONDENSED).set_header(["row", "dataset", "accuracy", "unclear", "n", "asked"]);
    let (mut scores, mut counts) = (Vec::new(), Vec::new());
    for set in &sets {
        let Samples::ContextualQa(samples) = set.read()? else { continue };
        let bar = Bars::new(&format!("judge {} {}", set.dataset, set.method));
        bar.begin(0, samples.len());
        let report = judge_samples(&samples, &config, &cache, &|done| bar.at(done, ""))
            .with_context(|| format!("the answers of {}", set.path.display()))?;
        bar.finish("done");
        let stem = set.path.file_stem().map_or(String::new(), |s| s.to_string_lossy().into_owned());
        let lines: Vec<String> = report.judged.iter().map(serde_json::to_string).collect::<Result<_, _>>()?;
        dir.write(&format!("judge/{prompt}.{stem}.jsonl"), format!("{}\n", lines.join("\n")).as_bytes())?;
        let score = score(set, &config, &report);
        table.add_row([
            method_label(&set.method).to_string(),
            set.dataset.clone(),
            format!("{:.4} [{:.4}, {:.4}]", score.value, score.low, score.high),
            report.count(Verdict::Unclear).to_string(),
            score.n.to_string(),
            report.requests.to_string(),
        ]);
        counts.push(
            json!({"method": set.method, "dataset": set.dataset, "unclear": report.count(Verdict::Unclear), "tokens": report.tokens}),
        );
        scores.push(score);
    }
    let summary = json!({
        "model": config.model, "prompt": prompt, "prompt_sha256": config.prompt.hash(), "temperature": 0,
        "judged_unix_seconds": std::time::UNIX_EPOCH.elapsed().map(|since| since.as_secs()).ok(), "scores": scores, "counts": counts,
        "samples": hashes(&sets)?,
    });
    dir.write(&format!("judge/{prompt}.json"), format!("{summary:#}\n").as_bytes())?;
    println!(
        "{table}\n\n{} judged by {} with the {prompt} prompt; everything is in {}",
        options.run.display(),
        config.model,
        dir.join("judge").display()
    );
    Ok(())
}

fn score(set: &SampleSet, config: &JudgeConfig, report: &JudgeReport) -> Score {
    let (value, interval) = report.accuracy();
    Score {
        task: set.task.name().into(),
        dataset: set.dataset.clone(),
        method: set.method.clone(),
        metric: format!("judge_{}", config.prompt.name()),
        version: format!("LLM judge {}, {} prompt {}, temperature 0", config.model, config.prompt.name(), &config.prompt.hash()[..12]),
        value,
        low: interval.low,
        high: interval.high,
        n: report.judged.len(),
    }
}

/// The scores that judges left in a run: `judge_strict`, `judge_lenient`; none of other samples than the run holds.
pub fn judge_scores(run: &Path) -> Vec<Score> {
    let mut scores = Vec::new();
    for prompt in [JudgePrompt::Strict, JudgePrompt::Lenient] {
        let path = run.join(format!("judge/{}.json", prompt.name()));
        let Some(results) = read_json(&path) else { continue };
        match are_of(run, &results) {
            true => scores.extend(serde_json::from_value::<Vec<Score>>(results["scores"].clone()).unwrap_or_default()),
            false => note(format!(
                "{}: is not of the samples that the run holds, left out; judge them again (what was asked before is not asked again)",
                path.display()
            )),
        }
    }
    scores
}
