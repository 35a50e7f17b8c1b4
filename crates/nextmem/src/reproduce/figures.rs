//! The analyses as figures, each beside the table of its numbers.

use std::path::Path;

use anyhow::{Context, Result};
use nextmem_eval::ONE_TRAINING;
use nextmem_eval::analysis::{AnalysisReport, AnalysisRow};
use nextmem_eval::sheet::{Cell, Group, Sheet};
use serde_json::Value;

use super::What;
use crate::figure::{Lines, Map, Series};

/// Which analysis a figure shows.
pub fn analysis(what: What) -> &'static str {
    match what {
        What::FigNoise => "noise",
        What::FigLength => "length",
        What::FigSegments => "segments",
        What::FigLatents => "latents",
        What::FigBytes => "rate-distortion",
        What::FigErrors => "first-error",
        What::Storage => "storage",
        _ => "controls",
    }
}

/// Its sentence.
fn title(report: &AnalysisReport) -> String {
    let what = match report.analysis.as_str() {
        "noise" => "Reconstruction under Gaussian noise on the latents",
        "length" => "Reconstruction against the length of the text",
        "segments" => "Which latents move when one segment is replaced",
        "latents" => "Reconstruction against the number of latents",
        "rate-distortion" => "Bytes per memory against reconstruction",
        "first-error" => "Right tokens by position, teacher-forced and free-running",
        "storage" => "Storage formats against reconstruction",
        "controls" => "Controls: texts that cannot be guessed, memories of nothing",
        other => other,
    };
    let run = report.runs.first().and_then(|r| r["name"].as_str()).unwrap_or("?");
    format!("{what} ({run}, n = {})", report.passages)
}

/// Draws what can be drawn; the others are tables only.
pub fn draw(what: What, report: &AnalysisReport, out: &Path, name: &str) -> Result<()> {
    let lines = Lines { title: title(report), y: "token F1".into(), score: true, ..Lines::default() };
    let trained = report.details["trained_tokens"].as_f64();
    match what {
        What::FigNoise => Lines {
            x: "standard deviation of the noise (relative: in units of the memory's RMS)".into(),
            // The paper, robustness: Qwen3-8B.
            marks: vec![(0.8, "paper: harmless".into()), (1.6, "paper: collapse".into())],
            series: series(report, "f1", |_| true),
            ..lines
        }
        .save(out, name),
        What::FigLength => Lines {
            x: "tokens of the text".into(),
            marks: trained.map(|t| (t, "trained up to here".into())).into_iter().collect(),
            series: series(report, "f1", |_| true),
            ..lines
        }
        .save(out, name),
        What::FigLatents => Lines {
            x: "latents kept".into(),
            series: series(report, "f1", |_| true).into_iter().map(|s| Series { scattered: s.name == "trained", ..s }).collect(),
            ..lines
        }
        .save(out, name),
        What::FigErrors => Lines {
            x: "position of the token".into(),
            y: "share of passages".into(),
            series: series(report, "share", |s| s != "summary" && s != "first error"),
            ..lines
        }
        .save(out, name),
        What::FigBytes => {
            let labelled = |mut s: Series| {
                s.labels = rows(report, &s.name).map(|r| r.label.clone()).collect();
                Series { scattered: true, ..s }
            };
            let series = series(report, "f1", |_| true).into_iter().map(labelled).collect();
            Lines { x: "bytes per memory".into(), log_x: true, score: false, series, ..lines }.save(out, name)
        }
        What::FigSegments => {
            let maps = &report.details["maps"]["blocks"]["relative_l2_shares"];
            let rows: Vec<Vec<f64>> = serde_json::from_value(maps.clone()).context("details.maps.blocks.relative_l2_shares")?;
            Map {
                title: title(report),
                x: "latent".into(),
                y: format!("replaced segment, {} tokens each", report.details["block_tokens"]),
                scale: "share of the segment's change that is in this latent".into(),
                rows,
            }
            .save(out, name)
        }
        _ => Ok(()),
    }
}

fn rows<'a>(report: &'a AnalysisReport, series: &'a str) -> impl Iterator<Item = &'a AnalysisRow> {
    report.rows.iter().filter(move |row| row.series == series)
}

/// One line per series of a report that has that value; x is the condition, or bytes or tokens where the condition is no number.
fn series(report: &AnalysisReport, value: &str, wanted: impl Fn(&str) -> bool) -> Vec<Series> {
    let mut found: Vec<Series> = Vec::new();
    for row in &report.rows {
        let x = row.x.or_else(|| ["tokens", "bytes"].iter().find_map(|name| row.values.get(*name)).map(|e| e.value));
        let (Some(x), Some(y)) = (x, row.values.get(value)) else { continue };
        if !wanted(&row.series) {
            continue;
        }
        if !found.iter().any(|s| s.name == row.series) {
            found.push(Series { name: row.series.clone(), ..Series::default() });
        }
        if let Some(series) = found.iter_mut().find(|s| s.name == row.series) {
            series.points.push((x, y.value));
            series.intervals.push((y.low, y.high));
        }
    }
    found
}

/// Every row of a report with every value, a group per series.
pub fn sheet(report: &AnalysisReport, name: &str) -> Sheet {
    let mut values: Vec<&String> = Vec::new();
    for key in report.rows.iter().flat_map(|row| row.values.keys()) {
        if !values.contains(&key) {
            values.push(key);
        }
    }
    // What is measured first, then what it costs.
    values.sort_by_key(|v| !["f1", "exact_match", "share"].contains(&v.as_str()));
    let mut groups: Vec<Group> = Vec::new();
    for row in &report.rows {
        if groups.last().is_none_or(|g| g.name != row.series) {
            groups.push(Group { name: row.series.clone(), rows: Vec::new() });
        }
        let mut cells = vec![Cell::Text(row.label.clone()), Cell::plain(row.n as f64, 0)];
        cells.extend(values.iter().map(|v| {
            row.values.get(*v).map_or(Cell::Missing, |e| {
                let digits = if e.value.abs() >= 10.0 { 1 } else { 4 };
                let interval = (e.low != e.high).then_some((e.low, e.high));
                Cell::Number { value: e.value, interval, digits }
            })
        }));
        if let Some(group) = groups.last_mut() {
            group.rows.push(cells);
        }
    }
    let runs: Vec<String> = report.runs.iter().map(describe).collect();
    Sheet {
        name: name.into(),
        title: title(report),
        columns: ["condition", "n"].into_iter().map(String::from).chain(values.into_iter().cloned()).collect(),
        groups,
        notes: vec![format!(
            "Runs: {}; {} passages of {}; means with 95% intervals. {ONE_TRAINING} `nextmem analyze RUN {}` explains every column.",
            runs.join(", "),
            report.passages,
            report.dataset,
            report.analysis
        )],
    }
}

fn describe(run: &Value) -> String {
    let text = |key: &str| run[key].as_str().unwrap_or("?").to_string();
    format!("{} ({}, {} latents)", text("name"), text("backbone"), run["num_latents"])
}
