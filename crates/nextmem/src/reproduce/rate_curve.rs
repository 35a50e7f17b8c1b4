//! Reconstruction against what a latent stands for: a figure, a table, and `results/rate.json` for other programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nextmem_eval::sheet::{Cell, Group, Sheet};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cli::BadInput;
use crate::figure::{Lines, Series};
use crate::rate::{self, Rate};
use crate::run_dir::read_json;

/// Experiments that differ in how much a latent stands for: one line of the figure for every method.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Curve {
    /// What they have in common, like `specialists` or `any K`.
    pub setting: String,
    /// The experiments.
    pub experiments: Vec<PathBuf>,
    /// Rows of their tables.
    pub methods: Vec<String>,
    /// Trainings of each, by `run --train-seed`; none: one training with the experiment's own seed.
    #[serde(default)]
    pub seeds: Vec<u64>,
}

/// One line of `rate.json`: a method on a dataset at a rate, in means over trainings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The curve.
    pub setting: String,
    /// The recipe, like `nano`.
    pub scale: String,
    /// The experiment.
    pub experiment: String,
    /// The dataset.
    pub dataset: String,
    /// Tokens of the backbone's tokenizer per latent.
    pub tokens_per_latent: f64,
    /// Information of the generated passages per latent, an upper bound; nothing for texts that nobody has counted.
    pub bits_per_latent: Option<f64>,
    /// The method.
    pub method: String,
    /// The trainings; 0 stands for an experiment's own seed.
    pub seeds: Vec<u64>,
    /// Passages in each.
    pub n: usize,
    /// SQuAD's F1.
    pub f1: f64,
    /// SQuAD's exact match.
    pub exact_match: f64,
    /// Tokens that are right at their place in a free-running copy.
    pub token_accuracy: Option<f64>,
    /// Smallest and largest F1 of the trainings.
    pub f1_of_trainings: [f64; 2],
}

/// One training of an experiment: its seed and the directory of its run.
pub struct Training {
    /// The seed that was asked for; nothing for the experiment's own.
    pub seed: Option<u64>,
    /// Its run.
    pub run: PathBuf,
}

/// The points of one experiment, one per dataset and method.
///
/// # Errors
/// A run without rates or without a score that is needed.
pub fn points(curve: &Curve, scale: &str, experiment: &str, trainings: &[Training]) -> Result<Vec<Point>> {
    let mut points = Vec::new();
    let Some(first) = trainings.first() else { return Ok(points) };
    for rate in rates(&first.run)? {
        for method in &curve.methods {
            let mut sums = [0.0; 3];
            let (mut accuracies, mut range) = (0, [f64::INFINITY, f64::NEG_INFINITY]);
            for training in trainings {
                let scores = read_json(&training.run.join("scores.json")).unwrap_or_default();
                let f1 = score(&scores, &rate.dataset, method, "f1", &training.run)?;
                range = [range[0].min(f1), range[1].max(f1)];
                sums[0] += f1;
                sums[1] += score(&scores, &rate.dataset, method, "exact_match", &training.run)?;
                let of_run = rates(&training.run)?.into_iter().find(|r| r.dataset == rate.dataset);
                if let Some(accuracy) = of_run.and_then(|r| r.token_accuracy.get(method).copied()) {
                    sums[2] += accuracy;
                    accuracies += 1;
                }
            }
            let count = trainings.len() as f64;
            points.push(Point {
                setting: curve.setting.clone(),
                scale: scale.into(),
                experiment: experiment.into(),
                dataset: rate.dataset.clone(),
                tokens_per_latent: rate.tokens / rate.latents as f64,
                bits_per_latent: rate.bits.map(|bits| bits / rate.latents as f64),
                method: method.clone(),
                seeds: trainings.iter().map(|training| training.seed.unwrap_or(0)).collect(),
                n: rate.n,
                f1: sums[0] / count,
                exact_match: sums[1] / count,
                token_accuracy: (accuracies == trainings.len()).then(|| sums[2] / count),
                f1_of_trainings: range,
            });
        }
    }
    Ok(points)
}

fn rates(run: &Path) -> Result<Vec<Rate>> {
    let rates = rate::read(run);
    if rates.is_empty() {
        let next = "run its experiment again: a finished run only measures its passages";
        return Err(BadInput(format!("{}: has no {}; {next}", run.display(), rate::FILE)).into());
    }
    Ok(rates)
}

fn score(scores: &Value, dataset: &str, method: &str, metric: &str, run: &Path) -> Result<f64> {
    let wanted = [("task", "reconstruction"), ("dataset", dataset), ("method", method), ("metric", metric)];
    let all = scores.as_array().map(Vec::as_slice).unwrap_or_default();
    let found = all.iter().find(|row| wanted.iter().all(|(key, value)| row[key] == *value)).and_then(|row| row["value"].as_f64());
    found.ok_or_else(|| {
        let what = format!("{}: has no {metric} of {method} on {dataset}", run.display());
        BadInput(format!("{what}; name the metric in [eval.reconstruction] and the method as its table does")).into()
    })
}

/// Puts the points of a scale into the file of all scales, in the place of those it had.
///
/// # Errors
/// A file that is there and holds something else.
pub fn keep(path: &Path, scale: &str, points: &[Point]) -> Result<()> {
    let mut all: Vec<Point> = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| BadInput(format!("{}: {e}; expected a list of points", path.display())))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    all.retain(|point| point.scale != scale);
    all.extend_from_slice(points);
    Ok(nextmem_model::write_atomically(path, format!("{}\n", serde_json::to_string_pretty(&all)?).as_bytes())?)
}

/// The points as a table, a group for every setting and dataset.
pub fn sheet(points: &[Point], name: &str) -> Sheet {
    let mut groups: Vec<Group> = Vec::new();
    for point in points {
        let title = format!("{}, {}", point.setting, point.dataset);
        if groups.last().is_none_or(|group| group.name != title) {
            groups.push(Group { name: title, rows: Vec::new() });
        }
        let number = |value: Option<f64>, digits| value.map_or(Cell::Missing, |value| Cell::plain(value, digits));
        let [low, high] = point.f1_of_trainings;
        let cells = vec![
            Cell::Text(point.experiment.clone()),
            Cell::Text(point.method.clone()),
            Cell::plain(point.tokens_per_latent, 2),
            number(point.bits_per_latent, 1),
            Cell::plain(point.seeds.len() as f64, 0),
            Cell::plain(point.n as f64, 0),
            Cell::Number { value: point.f1, interval: (low != high).then_some((low, high)), digits: 4 },
            Cell::plain(point.exact_match, 4),
            number(point.token_accuracy, 4),
        ];
        if let Some(group) = groups.last_mut() {
            group.rows.push(cells);
        }
    }
    let columns =
        ["experiment", "method", "tokens a latent", "bits a latent", "trainings", "passages", "f1", "exact_match", "token_accuracy"];
    Sheet {
        name: name.into(),
        title: "Reconstruction against what a latent stands for".into(),
        columns: columns.map(String::from).into(),
        groups,
        notes: vec![
            "Means over trainings; brackets: the lowest and the highest training, which is no interval. Bits are an upper bound, from the \
             generator's choices. Token accuracy counts tokens that are right at their place in a free-running copy: one token too many makes all \
             after it wrong."
                .into(),
        ],
    }
}

/// F1 against tokens a latent, in the lines that [`lines`] makes.
///
/// # Errors
/// A figure that cannot be written.
pub fn draw(points: &[Point], out: &Path, name: &str) -> Result<()> {
    let title = "Reconstruction against tokens a latent; bands: lowest to highest training".into();
    Lines { title, x: "tokens a latent".into(), y: "token F1".into(), score: true, series: lines(points), ..Lines::default() }
        .save(out, name)
}

/// A line for every setting, dataset and method. Memories in NF4 stand in the table alone where the same setting has others, on which
/// they would lie.
fn lines(points: &[Point]) -> Vec<Series> {
    let mut series: Vec<Series> = Vec::new();
    let nf4 = |point: &Point| point.method.contains("sparse");
    let alike = |a: &Point, b: &Point| a.setting == b.setting && a.dataset == b.dataset;
    let drawn: Vec<&Point> = points.iter().filter(|point| !nf4(point) || !points.iter().any(|p| alike(p, point) && !nf4(p))).collect();
    for point in &drawn {
        let title = match drawn.iter().any(|p| alike(p, point) && p.method != point.method) {
            true => format!("{} {}, {}", point.setting, point.method, point.dataset),
            false => format!("{}, {}", point.setting, point.dataset),
        };
        let at = match series.iter().position(|s| s.name == title) {
            Some(at) => at,
            None => {
                series.push(Series { name: title, ..Series::default() });
                series.len() - 1
            }
        };
        series[at].points.push((point.tokens_per_latent, point.f1));
        series[at].intervals.push((point.f1_of_trainings[0], point.f1_of_trainings[1]));
    }
    for line in &mut series {
        let mut both: Vec<_> = line.points.iter().copied().zip(line.intervals.iter().copied()).collect();
        both.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
        (line.points, line.intervals) = both.into_iter().unzip();
    }
    series
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn run(dir: &Path, f1: f64) -> PathBuf {
        let rates = serde_json::json!([{"dataset": "facts", "n": 2, "latents": 10, "hidden_size": 8, "tokens": 80.0, "characters": 200.0,
            "beyond": null, "bits": 150.0, "token_accuracy": {"dense": f1 / 2.0}}]);
        let row = |metric: &str, value: f64| serde_json::json!({"task": "reconstruction", "dataset": "facts", "method": "dense", "metric": metric, "value": value});
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("rate.json"), rates.to_string()).unwrap();
        std::fs::write(dir.join("scores.json"), serde_json::json!([row("f1", f1), row("exact_match", 0.5)]).to_string()).unwrap();
        dir.to_owned()
    }

    #[test]
    fn trainings_are_averaged_and_a_scale_replaces_its_own_points() {
        let dir = tempfile::tempdir().unwrap();
        let curve = Curve { setting: "specialists".into(), experiments: Vec::new(), methods: vec!["dense".into()], seeds: vec![1, 2] };
        let trainings =
            [(1, 0.8), (2, 0.6)].map(|(seed, f1)| Training { seed: Some(seed), run: run(&dir.path().join(seed.to_string()), f1) });
        let found = points(&curve, "nano", "nextmem-8", &trainings).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].tokens_per_latent, found[0].bits_per_latent, found[0].exact_match), (8.0, Some(15.0), 0.5));
        assert!((found[0].f1 - 0.7).abs() < 1e-12 && (found[0].token_accuracy.unwrap() - 0.35).abs() < 1e-12);
        assert_eq!(found[0].f1_of_trainings, [0.6, 0.8]);

        let file = dir.path().join("rate.json");
        let other = Point { scale: "mini".into(), ..found[0].clone() };
        keep(&file, "mini", std::slice::from_ref(&other)).unwrap();
        keep(&file, "nano", &[other.clone(), other.clone()].map(|p| Point { scale: "nano".into(), ..p })).unwrap();
        keep(&file, "nano", &found).unwrap();
        let all: Vec<Point> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(all, [other, found[0].clone()]);
        assert!(
            sheet(&found, "fig-rate").markdown().contains("| nextmem-8 | dense | 8.00 | 15.0 | 2 | 2 | 0.7000"),
            "{}",
            sheet(&found, "fig-rate").markdown()
        );

        let of = |method: &str| Point { method: method.into(), ..found[0].clone() };
        let names = |points: &[Point]| lines(points).into_iter().map(|line| line.name).collect::<Vec<_>>();
        assert_eq!(names(&[of("dense"), of("sparse")]), ["specialists, facts"]);
        assert_eq!(names(&[of("sparse")]), ["specialists, facts"]);
        assert_eq!(names(&[of("dense"), of("icae"), of("icae-sparse")]), ["specialists dense, facts", "specialists icae, facts"]);

        let unknown = Curve { methods: vec!["icae".into()], ..curve };
        let error = points(&unknown, "nano", "nextmem-8", &trainings).unwrap_err().to_string();
        assert!(error.contains("has no f1 of icae on facts"), "{error}");
        std::fs::write(&file, "{}").unwrap();
        assert!(keep(&file, "nano", &found).unwrap_err().to_string().contains("expected a list of points"));
    }
}
