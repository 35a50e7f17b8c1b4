//! The paper's tables 1 to 3 from the samples of finished runs.

use std::path::Path;

use anyhow::{Result, bail};
use nextmem_eval::sheet::{Cell, Group, Sheet};
use nextmem_eval::{CHANCE, MEMORY_BYTES, ONE_TRAINING, PUBLISHED, Score, Task, row_label, score_file, score_without_memory};

use crate::bertscore::bertscores;
use crate::cli::BadInput;
use crate::run_dir::{RunDir, read_json};
use crate::sample_set::SampleSet;

pub(super) const OURS: &str = "ours";
const PAPER: &str = "published, on the paper's own data, each with its model";

/// Our dataset names as the paper spells them.
const NAMES: [(&str, &str); 5] =
    [("hotpotqa", "HotpotQA"), ("race", "RACE"), ("squad", "SQuAD"), ("locomo", "LoCoMo"), ("longmemeval", "LongMemEval")];

/// Table 1: F1 per dataset beside the published rows, then every metric.
pub fn reconstruction(run: &Path) -> Result<Vec<Sheet>> {
    let scores = scores(run, Task::Reconstruction, &["f1", "exact_match", "rouge_1", "rouge_l", "meteor", "bleu"])?;
    let title = "Table 1, factual reconstruction";
    let scores: Vec<Score> = scores.into_iter().chain(bertscores(run)).collect();
    Ok(vec![
        beside_published(run, "table1", &format!("{title}: token F1"), Task::Reconstruction, &scores, &[("f1", "f1")]),
        metrics(run, Task::Reconstruction, "table1-metrics", &format!("{title}: every metric"), &scores),
    ])
}

/// Table 2: the judge's accuracy where a judge was asked, else exact match and F1 against the gold answer.
pub fn contextual_qa(run: &Path) -> Result<Vec<Sheet>> {
    let mut scores = scores(run, Task::ContextualQa, &["exact_match", "f1"])?;
    scores.extend(judged(run));
    let title = "Table 2, contextual generation";
    let judge = scores.iter().find(|s| s.metric.starts_with("judge")).map(|s| s.metric.clone());
    let ours = judge.as_deref().unwrap_or("exact_match");
    let ours_named = if judge.is_some() { "our judge's accuracy" } else { "exact match" };
    let title_of_first = format!("{title}: ours {ours_named}, the paper's judge accuracy");
    let mut first = beside_published(run, "table2", &title_of_first, Task::ContextualQa, &scores, &[(ours, "judge accuracy")]);
    first.notes.push(match judge {
        Some(judge) => format!("Ours: {judge}, with our prompt; the paper's judge and prompt are not published."),
        None => "Ours: exact match with the gold answer (no judge was asked); the paper's numbers are an LLM judge's.".into(),
    });
    Ok(vec![first, metrics(run, Task::ContextualQa, "table2-metrics", &format!("{title}: every metric"), &scores)])
}

/// Table 3: Hit@5 and MRR@5 per dataset beside the published rows, then every metric.
pub fn retrieval(run: &Path) -> Result<Vec<Sheet>> {
    let scores = scores(run, Task::Retrieval, &["hit@5", "recall@5", "mrr@5", "map@5", "dcg@5", "ndcg@5"])?;
    let title = "Table 3, dense passage retrieval";
    let shown = [("hit@5", "hit@5"), ("mrr@5", "mrr@5")];
    Ok(vec![
        beside_published(run, "table3", title, Task::Retrieval, &scores, &shown),
        metrics(run, Task::Retrieval, "table3-metrics", &format!("{title}: every metric"), &scores),
    ])
}

/// The scores of a task's sample files, in the order of the paper's rows.
fn scores(run: &Path, task: Task, metrics: &[&str]) -> Result<Vec<Score>> {
    let sets = SampleSet::list_checked(run)?.into_iter().map(|(set, _)| set);
    let mut sets: Vec<SampleSet> = sets.filter(|s| s.task == task).collect();
    sets.sort_by_key(|s| (rank(&s.method), s.method.clone(), s.dataset.clone()));
    let metrics: Vec<String> = metrics.iter().map(|m| m.to_string()).collect();
    let mut scores = Vec::new();
    for set in &sets {
        scores.extend(score_file(&set.path, &metrics)?);
    }
    for dataset in unique(sets.iter().map(|s| s.dataset.as_str())) {
        if let Some(set) = sets.iter().find(|s| s.dataset == dataset) {
            scores.extend(score_without_memory(&set.path, &metrics)?);
        }
    }
    match scores.is_empty() {
        true => {
            bail!(BadInput(format!("{}: no samples of task `{}`; its experiment needs [eval.{}]", run.display(), task.name(), task.name())))
        }
        false => Ok(scores),
    }
}

/// The weakest first, as in the paper; what keeps the text last.
fn rank(method: &str) -> usize {
    let order = ["dyprag", "mean-pooled", "bm25", "icae", "dense", "sparse", "bge", "text"];
    order.iter().position(|m| method.starts_with(m)).unwrap_or(order.len())
}

/// The judge's scores, if a judge was asked.
fn judged(run: &Path) -> Vec<Score> {
    crate::judge::judge_scores(run)
}

/// A dataset's name as the paper spells it.
pub(super) fn spelled(dataset: &str) -> String {
    NAMES.iter().find(|(ours, _)| *ours == dataset).map_or(dataset.to_string(), |(_, paper)| paper.to_string())
}

fn cell(score: &Score) -> Cell {
    if score.method == CHANCE { Cell::plain(score.value, 4) } else { Cell::score(score.value, score.low, score.high) }
}

/// Rows against datasets: ours, then the paper's.
fn beside_published(run: &Path, name: &str, title: &str, task: Task, scores: &[Score], shown: &[(&str, &str)]) -> Sheet {
    let mut datasets: Vec<String> = Vec::new();
    let published: Vec<_> = PUBLISHED.iter().filter(|p| p.task == task).collect();
    let of_paper = published.iter().flat_map(|p| p.values.iter().map(|(d, _)| d.to_string()));
    for dataset in scores.iter().map(|s| spelled(&s.dataset)).chain(of_paper) {
        if !datasets.contains(&dataset) {
            datasets.push(dataset);
        }
    }
    let mut columns = vec!["row".to_string()];
    for (own, theirs) in shown {
        columns.extend(datasets.iter().map(|d| {
            let name = if shown.len() > 1 { format!("{d} {theirs}") } else { d.clone() };
            let of_paper = published.iter().any(|p| p.metric == *theirs && p.values.iter().any(|(name, _)| name == d));
            // Whose number is of what, where the column holds two kinds.
            let metric = |whose: &str, metric: &str| if own == theirs { String::new() } else { format!("{whose}: {metric}") };
            let n = scores.iter().find(|s| spelled(&s.dataset) == *d && s.metric == *own).map(|s| format!("n = {}", s.n));
            let ours = n.map(|n| match (own == theirs, of_paper) {
                (true, true) => format!("ours: {n}"),
                (true, false) => n,
                (false, _) => format!("{}, {n}", metric("ours", own)),
            });
            let paper = of_paper.then(|| metric("paper", theirs));
            let parts: Vec<String> = ours.into_iter().chain(paper).filter(|part| !part.is_empty()).collect();
            if parts.is_empty() { name } else { format!("{name} ({})", parts.join("; ")) }
        }));
    }
    let mut ours: Vec<Vec<Cell>> = Vec::new();
    for method in unique(scores.iter().map(|s| s.method.as_str())) {
        let cells = shown.iter().flat_map(|(metric, _)| {
            datasets.iter().map(move |d| {
                let found = scores.iter().find(|s| s.method == method && s.metric == *metric && spelled(&s.dataset) == *d);
                found.map_or(Cell::Missing, cell)
            })
        });
        ours.push(std::iter::once(Cell::Text(row_label(task, method).to_string())).chain(cells).collect());
    }
    let mut paper: Vec<Vec<Cell>> = Vec::new();
    for label in unique(published.iter().map(|p| p.label)) {
        let cells = shown.iter().flat_map(|(_, metric)| {
            let row = published.iter().find(|p| p.label == label && p.metric == *metric);
            datasets.iter().map(move |d| {
                row.and_then(|r| r.values.iter().find(|(name, _)| name == d)).map_or(Cell::Missing, |(_, v)| Cell::plain(*v, 4))
            })
        });
        let model = published.iter().find(|p| p.label == label).map_or("", |p| p.backbone);
        paper.push(std::iter::once(Cell::Text(format!("{label} (paper; {model})"))).chain(cells).collect());
    }
    Sheet {
        name: name.into(),
        title: title.into(),
        columns,
        groups: vec![Group { name: OURS.into(), rows: ours }, Group { name: PAPER.into(), rows: paper }],
        notes: vec![note(run)],
    }
}

/// Rows against metrics, a group per dataset.
pub fn metrics(run: &Path, task: Task, name: &str, title: &str, scores: &[Score]) -> Sheet {
    let names: Vec<&str> = unique(scores.iter().map(|s| s.metric.as_str()).filter(|m| *m != MEMORY_BYTES));
    let bytes = scores.iter().any(|s| s.metric == MEMORY_BYTES);
    let mut columns: Vec<String> = std::iter::once("row").chain(names.iter().copied()).map(String::from).collect();
    columns.extend(bytes.then(|| "bytes".to_string()));
    let mut groups = Vec::new();
    for dataset in unique(scores.iter().map(|s| s.dataset.as_str())) {
        let of_set: Vec<&Score> = scores.iter().filter(|s| s.dataset == dataset).collect();
        let rows = unique(of_set.iter().map(|s| s.method.as_str())).into_iter().map(|method| {
            let find = |metric: &str| of_set.iter().find(|s| s.method == method && s.metric == metric);
            let mut row = vec![Cell::Text(row_label(task, method).to_string())];
            row.extend(names.iter().map(|m| find(m).map_or(Cell::Missing, |s| cell(s))));
            row.extend(bytes.then(|| find(MEMORY_BYTES).map_or(Cell::Missing, |s| Cell::plain(s.value, 0))));
            row
        });
        groups.push(Group { name: format!("{dataset} (n = {})", of_set[0].n), rows: rows.collect() });
    }
    let versions: Vec<String> =
        names.iter().filter_map(|m| scores.iter().find(|s| s.metric == *m).map(|s| format!("{m}: {}", s.version))).collect();
    Sheet { name: name.into(), title: title.into(), columns, groups, notes: vec![note(run), format!("Metrics: {}.", versions.join("; "))] }
}

/// Which run, which backbone, what the brackets are.
pub(super) fn note(run: &Path) -> String {
    ours(
        run,
        &run.display().to_string(),
        &format!("means with 95% intervals (Wilson for 0/1 metrics, bootstrap otherwise). {ONE_TRAINING}"),
    )
}

/// What our rows are, on the backbone of a run, what their brackets are, and how little they say about the paper's.
pub(super) fn ours(run: &Path, what: &str, brackets: &str) -> String {
    let manifest = RunDir::open(run).ok().and_then(|dir| read_json(&dir.join("manifest.json"))).unwrap_or_default();
    format!(
        "Ours: {what} on {}; {brackets} The paper's rows are of other data and of the models that they name: their numbers cannot be compared \
         with ours, nor the order of rows whose models differ.",
        manifest["backbone"].as_str().unwrap_or("an unknown backbone")
    )
}

fn unique<'a>(items: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    items.for_each(|item| {
        if !seen.contains(&item) {
            seen.push(item)
        }
    });
    seen
}
