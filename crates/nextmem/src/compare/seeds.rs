//! `nextmem compare --seeds`: two experiments, each trained several times. One training says what its weights do; only several
//! say what a method does.

use anyhow::{Context, Result};
use comfy_table::{Table, presets::ASCII_MARKDOWN};
use nextmem_eval::Interval;
use nextmem_eval::stats::{holm, paired_permutation, paired_t, paired_t_interval};
use serde_json::{Value, json};

use super::{Format, LEVEL, Options, check_metrics, heading, is_run, measured, p_value, pairs, sides, verdict};
use crate::cli::BadInput;
use crate::sample_set::{SampleSet, Samples, metrics_of, same_items};

/// One metric of one task and dataset over all trainings.
struct Row {
    metric: &'static str,
    /// Mean of A and of B in every training.
    trainings: Vec<[f64; 2]>,
    difference: f64,
    interval: Interval,
    /// p over trainings and over items, each adjusted for the metrics of its table.
    p: [f64; 2],
}

struct Comparison {
    /// Task, dataset and the two methods.
    title: String,
    n: usize,
    rows: Vec<Row>,
}

/// Compares the trainings of both experiments, and returns what to print.
pub(super) fn compare(options: &Options) -> Result<String> {
    let seeds = &options.seeds;
    if seeds.len() < 2 {
        let advice = "expected at least two trainings of each; without --seeds two runs are compared item by item";
        return Err(BadInput(format!("--seeds: got {}, {advice}", seeds.len())).into());
    }
    if let Some(twice) = seeds.iter().enumerate().find_map(|(at, seed)| seeds[..at].contains(seed).then_some(seed)) {
        return Err(BadInput(format!("--seeds: got {twice} twice, expected trainings that differ - name each once")).into());
    }
    let mut found: Vec<Vec<(SampleSet, SampleSet)>> = Vec::new();
    for seed in seeds {
        let (a, b) = sides(&of_seed(&options.a, *seed), &of_seed(&options.b, *seed))?;
        found.push(pairs(&a, &SampleSet::list(&a.root)?, &b, &SampleSet::list(&b.root)?));
    }
    check_metrics(&options.metrics, &found[0])?;
    let mut comparisons = Vec::new();
    for (a, b) in &found[0] {
        let title = heading(a, b);
        let trainings = found.iter().zip(seeds).map(|(pairs, seed)| {
            let of_seed = pairs.iter().find(|(a, b)| heading(a, b) == title);
            of_seed.ok_or_else(|| BadInput(format!("seed {seed} has no {title}, which seed {} has - evaluate both alike", seeds[0])))
        });
        let comparison = comparison(title.clone(), &trainings.collect::<Result<Vec<_>, _>>()?, options)?;
        if !comparison.rows.is_empty() {
            comparisons.push(comparison);
        }
    }
    if comparisons.is_empty() {
        let what = format!("{} and {} share no task, dataset and method", options.a, options.b);
        return Err(BadInput(format!("{what} - name methods as EXPERIMENT:METHOD to compare two of them")).into());
    }
    Ok(match options.format {
        Format::Table => table(&comparisons, options),
        Format::Json => format!("{:#}", as_json(&comparisons, options)),
    })
}

/// The run that `--train-seed` made of an experiment, with the method behind it.
fn of_seed(text: &str, seed: u64) -> String {
    let run = |root: &str| format!("{root}-seed{seed}");
    match text.rsplit_once(':') {
        Some((root, method)) if !is_run(&run(text)) => format!("{}:{method}", run(root)),
        _ => run(text),
    }
}

fn comparison(title: String, trainings: &[&(SampleSet, SampleSet)], options: &Options) -> Result<Comparison> {
    let mut read: Vec<[Samples; 2]> = Vec::new();
    let first = &trainings[0].0;
    for (a, b) in trainings {
        let both = [a.read()?, b.read()?];
        let reference = read.first().map_or(&both[0], |pair| &pair[0]);
        same_items(&first.path, reference, &a.path, &both[0])?;
        same_items(&first.path, reference, &b.path, &both[1])?;
        read.push(both);
    }
    let mut rows = Vec::new();
    for (metric, _) in metrics_of(first.task).into_iter().filter(|(metric, _)| measured(options, metric)) {
        let values = |side: usize| read.iter().map(|pair| pair[side].values(metric)).collect::<Option<Vec<_>>>();
        let (Some(a), Some(b)) = (values(0), values(1)) else { continue };
        rows.push(Row::of(metric, &a, &b, options).with_context(|| format!("{metric} of {title}"))?);
    }
    for which in 0..2 {
        let adjusted = holm(&rows.iter().map(|row| row.p[which]).collect::<Vec<_>>());
        rows.iter_mut().zip(adjusted).for_each(|(row, adjusted)| row.p[which] = adjusted);
    }
    Ok(Comparison { title, n: read[0][0].len(), rows })
}

impl Row {
    /// `a` and `b` hold the values of every item, training by training.
    fn of(metric: &'static str, a: &[Vec<f64>], b: &[Vec<f64>], options: &Options) -> Result<Self> {
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let means = |side: &[Vec<f64>]| side.iter().map(|values| mean(values)).collect::<Vec<_>>();
        let of_items = |side: &[Vec<f64>]| {
            (0..side[0].len()).map(|item| mean(&side.iter().map(|values| values[item]).collect::<Vec<_>>())).collect::<Vec<_>>()
        };
        let (x, y) = (means(a), means(b));
        let over_items = paired_permutation(&of_items(a), &of_items(b), options.resamples as usize, options.seed)?;
        Ok(Self {
            metric,
            trainings: x.iter().zip(&y).map(|(x, y)| [*x, *y]).collect(),
            difference: over_items.difference,
            interval: paired_t_interval(&x, &y)?,
            // The same difference in every training leaves nothing to test it by: no difference is claimed.
            p: [paired_t(&x, &y).map_or(1.0, |t| t.p), over_items.p],
        })
    }

    fn verdict(&self) -> &'static str {
        verdict(self.p.iter().all(|p| *p < LEVEL), self.difference)
    }
}

fn table(comparisons: &[Comparison], options: &Options) -> String {
    let seeds = options.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut out = format!("# A = {}, B = {}, trainings with seeds {seeds}\n", options.a, options.b);
    for c in comparisons {
        out += &format!("\n## {} ({} trainings of each, n = {})\n\n", c.title, options.seeds.len(), c.n);
        let mut table = Table::new();
        let columns = ["metric", "A by training", "B by training", "A - B", "95% interval", "p trainings", "p items", "verdict"];
        table.load_style(ASCII_MARKDOWN).set_header(columns);
        for row in &c.rows {
            let side = |at: usize| row.trainings.iter().map(|means| format!("{:.4}", means[at])).collect::<Vec<_>>().join(" ");
            table.add_row([
                row.metric.to_string(),
                side(0),
                side(1),
                format!("{:+.4}", row.difference),
                format!("[{:+.4}, {:+.4}]", row.interval.low, row.interval.high),
                p_value(row.p[0]),
                p_value(row.p[1]),
                row.verdict().to_string(),
            ]);
        }
        out += &format!("{table}\n");
    }
    out + &format!(
        "\n95% interval and p trainings: Student's t of the differences between trainings of one seed, over {} trainings of each. p items: sign \
         flips of the differences of the items, each the mean over trainings ({} resamples, seed {}). Both p are adjusted for the metrics of their table \
         (Holm); a side is called better where both are below {LEVEL}.",
        options.seeds.len(),
        options.resamples,
        options.seed
    )
}

fn as_json(comparisons: &[Comparison], options: &Options) -> Value {
    let row = |row: &Row| {
        json!({
            "metric": row.metric,
            "trainings": row.trainings.iter().map(|[a, b]| json!({"a": a, "b": b})).collect::<Vec<_>>(),
            "difference": row.difference,
            "interval": [row.interval.low, row.interval.high],
            "trainings_holm_p": row.p[0],
            "items_holm_p": row.p[1],
            "verdict": row.verdict(),
        })
    };
    let comparison = |c: &Comparison| json!({"what": c.title, "n": c.n, "metrics": c.rows.iter().map(row).collect::<Vec<_>>()});
    json!({
        "a": options.a,
        "b": options.b,
        "seeds": options.seeds,
        "resamples": options.resamples,
        "seed": options.seed,
        "level": LEVEL,
        "comparisons": comparisons.iter().map(comparison).collect::<Vec<_>>(),
    })
}
