//! The paper's table 4: one row per ablation, each a mean over its trainings.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nextmem_eval::bertscore::BERTSCORE_UNAVAILABLE;
use nextmem_eval::sheet::{Cell, Group, Sheet};
use nextmem_eval::{PUBLISHED_ABLATION, QWEN3, Score, Task, score_file};
use serde::Deserialize;

use super::rate_curve::Training;
use super::tables::{self, OURS, ours, spelled};
use crate::bertscore::bertscores;
use crate::cli::BadInput;
use crate::sample_set::{SampleSet, Samples, same_items};

const COLUMNS: [&str; 4] = ["f1", "rouge_l", "meteor", "bertscore"];

/// A row of table 4.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ablation {
    /// Its name, the paper's where the paper has the row.
    pub label: String,
    /// Its experiment.
    pub experiment: PathBuf,
    /// The method whose samples count: dense, or sparse-no-scales for the ablation of the scales.
    pub method: String,
    /// Its trainings, by `run --train-seed`; none: one training with the experiment's own seed.
    #[serde(default)]
    pub seeds: Vec<u64>,
}

/// The rows, each with its trainings, all on the same items of one dataset: RACE as in the paper where the runs have it,
/// else their first.
///
/// # Errors
/// A run without the samples of its row, or with other items than the first.
pub fn sheet(rows: &[(&Ablation, Vec<Training>)]) -> Result<Sheet> {
    let mut own = Vec::new();
    let mut first: Option<(PathBuf, Samples, String)> = None;
    for (ablation, trainings) in rows {
        let mut scored = Vec::new();
        for Training { run, .. } in trainings {
            let set = sample_set(ablation, run, first.as_ref().map(|(_, _, dataset)| dataset.as_str()))?;
            let samples = set.read()?;
            if let Some((path, others, _)) = &first {
                same_items(path, others, &set.path, &samples)?;
            }
            let metrics: Vec<String> = COLUMNS[..3].iter().map(|metric| metric.to_string()).collect();
            let mut scores = score_file(&set.path, &metrics)?;
            scores.extend(bertscores(run).into_iter().filter(|s| s.method == ablation.method && s.dataset == set.dataset));
            scored.push(scores);
            first.get_or_insert_with(|| (set.path.clone(), samples, set.dataset.clone()));
        }
        own.push(std::iter::once(Cell::Text(ablation.label.clone())).chain(COLUMNS.iter().map(|metric| cell(&scored, metric))).collect());
    }
    let published = PUBLISHED_ABLATION
        .iter()
        .map(|(label, values)| std::iter::once(Cell::Text(label.to_string())).chain(values.iter().map(|v| Cell::plain(*v, 4))).collect());
    let asked = first.map_or(String::new(), |(_, samples, dataset)| format!("{} (n = {})", spelled(&dataset), samples.len()));
    Ok(Sheet {
        name: "table4".into(),
        title: format!("Table 4, ablations: reconstruction of {asked}"),
        columns: std::iter::once("row").chain(COLUMNS).map(String::from).collect(),
        groups: vec![
            Group { name: OURS.into(), rows: own },
            Group { name: format!("published: {QWEN3} on RACE"), rows: published.collect() },
        ],
        notes: notes(rows),
    })
}

/// The samples of a row in one of its runs.
fn sample_set(ablation: &Ablation, run: &Path, wanted: Option<&str>) -> Result<SampleSet> {
    let Ablation { label, method, .. } = ablation;
    let of_method: Vec<SampleSet> =
        SampleSet::list(run)?.into_iter().filter(|s| s.task == Task::Reconstruction && s.method == *method).collect();
    let at = match wanted {
        Some(dataset) => of_method.iter().position(|s| s.dataset == dataset),
        None => of_method.iter().position(|s| s.dataset == "race").or((!of_method.is_empty()).then_some(0)),
    };
    let Some(set) = at.and_then(|at| of_method.into_iter().nth(at)) else {
        let of = wanted.map_or(String::new(), |dataset| format!(" on {dataset}"));
        bail!(BadInput(format!("{}: no samples of `{method}`{of}, expected them for the row {label:?}", run.display())));
    };
    Ok(set)
}

/// A metric of one training with its interval, or the mean of several with the lowest and the highest.
fn cell(trainings: &[Vec<Score>], metric: &str) -> Cell {
    let of = |scores: &Vec<Score>| scores.iter().find(|s| s.metric == metric).map(|s| (s.value, s.low, s.high));
    let Some(found) = trainings.iter().map(of).collect::<Option<Vec<_>>>() else { return Cell::Missing };
    match found[..] {
        [] => Cell::Missing,
        [(value, low, high)] => Cell::score(value, low, high),
        _ => {
            let values = || found.iter().map(|(value, ..)| *value);
            let mean = values().sum::<f64>() / found.len() as f64;
            Cell::score(mean, values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max))
        }
    }
}

/// What the rows and their brackets are; all rows have the same seeds.
fn notes(rows: &[(&Ablation, Vec<Training>)]) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some((ablation, trainings)) = rows.first()
        && let Some(Training { run, .. }) = trainings.first()
    {
        notes.push(if trainings.len() == 1 {
            tables::note(run)
        } else {
            let name = ablation.experiment.file_stem().unwrap_or_default().to_string_lossy();
            let what = format!("{name} and its ablations, trainings {:?} of each,", ablation.seeds);
            let brackets = "means over trainings, in brackets the lowest and the highest training, which is no interval; `nextmem compare \
                            --seeds` has the tests.";
            ours(run, &what, brackets)
        });
    }
    if rows.iter().flat_map(|(_, trainings)| trainings).any(|training| bertscores(&training.run).is_empty()) {
        notes.push(BERTSCORE_UNAVAILABLE.into());
    }
    notes.push(format!("Published: {QWEN3}, RACE, BERTScore not rescaled."));
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(value: f64) -> Vec<Score> {
        let [task, dataset, method, metric, version] = ["reconstruction", "facts", "dense", "f1", "1"].map(String::from);
        vec![Score { task, dataset, method, metric, version, value, low: value - 0.125, high: value + 0.125, n: 8 }]
    }

    #[test]
    fn one_training_has_its_interval_and_several_their_range() {
        assert_eq!(cell(&[scores(0.5)], "f1"), Cell::score(0.5, 0.375, 0.625));
        assert_eq!(cell(&[scores(0.25), scores(0.75)], "f1"), Cell::score(0.5, 0.25, 0.75));
        assert_eq!(cell(&[scores(0.25), Vec::new()], "f1"), Cell::Missing);
        assert_eq!(cell(&[], "f1"), Cell::Missing);
    }
}
