//! `plot`: the training curves of a run as figures.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cli::BadInput;
use crate::experiment::StageName;
use crate::figure::{Lines, Series};
use crate::run_dir::RunDir;

/// Writes `STAGE-loss` and, where the stage validated, `STAGE-valid`, each as SVG and PNG.
///
/// # Errors
/// A directory that is no run, a run without curves, a line that is no JSON.
pub fn plot(run: &Path, out: Option<&Path>) -> Result<()> {
    let dir = RunDir::open(run).map_err(|e| BadInput(format!("{e:#}")))?;
    let out = out.map_or_else(|| dir.join("figures"), Path::to_owned);
    let name = dir.experiment()?.name;
    let mut drawn = Vec::new();
    for stage in StageName::ALL.map(StageName::dir) {
        let path = dir.join(stage).join("metrics.jsonl");
        if !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let lines: Vec<Value> =
            text.lines().map(serde_json::from_str).collect::<Result<_, _>>().with_context(|| path.display().to_string())?;
        for (kind, y, keys) in
            [("loss", "loss per token", &["loss"][..]), ("valid", "score, free-running", &["valid_f1", "valid_exact_match"])]
        {
            let series: Vec<Series> = keys.iter().map(|key| curve(&lines, key)).filter(|s| !s.points.is_empty()).collect();
            if series.is_empty() {
                continue;
            }
            let figure = Lines {
                title: format!("{name}, {stage}: {kind}"),
                x: "optimizer steps".into(),
                y: y.into(),
                score: kind == "valid",
                marks: if kind == "loss" { levels(&lines) } else { Vec::new() },
                series,
                ..Lines::default()
            };
            let file = format!("{stage}-{kind}");
            figure.save(&out, &file)?;
            drawn.push(out.join(format!("{file}.png")));
        }
    }
    if drawn.is_empty() {
        bail!(BadInput(format!("{}: no stage with a metrics.jsonl; nothing was trained in it", run.display())));
    }
    drawn.iter().for_each(|path| println!("{}", path.display()));
    Ok(())
}

fn curve(lines: &[Value], key: &str) -> Series {
    let points = lines.iter().filter_map(|l| Some((l["step"].as_f64()?, l[key].as_f64()?))).collect();
    Series { name: key.trim_start_matches("valid_").into(), points, ..Series::default() }
}

/// Where the last level of stage 2 begins.
fn levels(lines: &[Value]) -> Vec<(f64, String)> {
    let level = |l: &Value| l["level"].as_f64().filter(|level| *level > 1.0);
    let last = lines.iter().filter_map(level).fold(0.0, f64::max);
    let first = lines.iter().find(|l| level(l) == Some(last));
    first.and_then(|l| Some((l["step"].as_f64()?, format!("level {last}")))).into_iter().collect()
}
