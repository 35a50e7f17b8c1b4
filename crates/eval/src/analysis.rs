//! What an analysis of a trained memory leaves behind, and the arithmetic under it; nothing here needs a model.
//!
//! An analysis measures passages under conditions (a noise level, a length, a storage format). Every measurement is one
//! line of `NAME.samples.jsonl` ([`AnalysisSample`]); [`rows`] turns them into the means and intervals of `NAME.json`
//! ([`AnalysisReport`]), so that every number can be recomputed from the samples alone.

mod map;
mod storage;

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use map::{LatentMap, latent_distances};
pub use storage::{bf16_round, gzip_bytes, int8_round_trip};

use crate::{bootstrap_mean, mean_interval};

/// Values that are no shares: 0 and 1 among them are not counts of failures and successes, so Wilson's interval says nothing.
const MAGNITUDES: [&str; 8] =
    ["bytes", "tokens", "latent_rms", "latent_error", "exact_prefix", "first_error", "diagonality", "diagonality_cosine"];
/// Resamples and seed of the bootstrap, as in [`mean_interval`].
const BOOTSTRAP: (usize, u64) = (1000, 1128);

/// One passage under one condition: a line of `NAME.samples.jsonl`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct AnalysisSample {
    /// The line of the figure it belongs to.
    pub series: String,
    /// The condition.
    pub label: String,
    /// The condition as a number, where it is one: a place on the horizontal axis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<f64>,
    /// Place of the passage in its list.
    pub index: usize,
    /// What was measured, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub values: BTreeMap<String, f64>,
    /// What was measured once per latent or per token, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vectors: BTreeMap<String, Vec<f64>>,
    /// The text that should have come back, where it is worth reading.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The text that came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconstruction: Option<String>,
}

/// A mean with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The mean.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

impl Estimate {
    /// The mean of the values of that name: for shares Wilson's interval when all are 0 or 1, else the bootstrap's.
    pub fn of(name: &str, values: &[f64]) -> Self {
        let (value, mut interval) = mean_interval(values);
        if MAGNITUDES.contains(&name) {
            interval = bootstrap_mean(values, BOOTSTRAP.0, BOOTSTRAP.1);
        }
        Self { value, low: interval.low, high: interval.high }
    }
}

/// All passages under one condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalysisRow {
    /// As in the samples.
    pub series: String,
    /// As in the samples.
    pub label: String,
    /// As in the samples.
    pub x: Option<f64>,
    /// Passages.
    pub n: usize,
    /// The mean of every value; one that not all passages have (a first error) is over those that have it.
    pub values: BTreeMap<String, Estimate>,
}

/// `NAME.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnalysisReport {
    /// Name of the analysis.
    pub analysis: String,
    /// Raised when the same run no longer gives the same numbers.
    pub version: u32,
    /// Hash of all that the numbers depend on: weights, passages, configuration, versions.
    pub fingerprint: String,
    /// The runs analysed, the first one first: `name`, `backbone`, `num_latents`.
    pub runs: Vec<Value>,
    /// Where the passages come from.
    pub dataset: String,
    /// Passages.
    pub passages: usize,
    /// Seed of everything drawn.
    pub seed: u64,
    /// The sweep.
    pub config: Value,
    /// Version and formula of every value whose name is that of a metric.
    pub metrics: BTreeMap<String, String>,
    /// Means with intervals.
    pub rows: Vec<AnalysisRow>,
    /// What is no row: the trained length, the matrices of the latent map.
    pub details: Value,
    /// Program, commit, cores, device.
    pub provenance: Value,
}

/// One row per series and label, in the order in which they first appear.
pub fn rows(samples: &[AnalysisSample]) -> Vec<AnalysisRow> {
    let mut groups: Vec<Vec<&AnalysisSample>> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for sample in samples {
        let place = *places.entry((&sample.series, &sample.label)).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[place].push(sample);
    }
    let row = |group: Vec<&AnalysisSample>| {
        let mut values: BTreeMap<&String, Vec<f64>> = BTreeMap::new();
        for (name, value) in group.iter().flat_map(|sample| &sample.values) {
            values.entry(name).or_default().push(*value);
        }
        AnalysisRow {
            series: group[0].series.clone(),
            label: group[0].label.clone(),
            x: group[0].x,
            n: group.len(),
            values: values.into_iter().map(|(name, values)| (name.clone(), Estimate::of(name, &values))).collect(),
        }
    };
    groups.into_iter().map(row).collect()
}

/// Tokens before the first difference; a sequence that ends early differs where it ends.
pub fn exact_prefix(predicted: &[u32], reference: &[u32]) -> usize {
    predicted.iter().zip(reference).take_while(|(p, r)| p == r).count()
}

/// sqrt(mean(v^2)); 0 without values.
pub fn rms(values: &[f32]) -> f64 {
    let sum: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
    (sum / values.len().max(1) as f64).sqrt()
}

/// ||after - before|| / ||before||; 0 when nothing changed, also from zero.
pub fn relative_error(before: &[f32], after: &[f32]) -> f64 {
    let change: f64 = before.iter().zip(after).map(|(b, a)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
    let size: f64 = before.iter().map(|b| f64::from(*b).powi(2)).sum();
    if change == 0.0 { 0.0 } else { (change / size).sqrt() }
}

/// Random draws that are the same on every machine and with every release of `rand`: the arithmetic is spelled out.
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// The draws of one stream (a passage, say) of a seed.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Self(rng)
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A draw of N(0, 1), by Box and Muller (1958).
    pub fn normal(&mut self) -> f64 {
        // In (0, 1], so that the logarithm is finite.
        let mut unit = || ((self.0.next_u64() >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-2.0 * unit().ln()).sqrt() * (std::f64::consts::TAU * unit()).cos()
    }

    /// Permutes in place.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(label: &str, index: usize, values: &[(&str, f64)]) -> AnalysisSample {
        let values = values.iter().map(|(name, value)| (name.to_string(), *value)).collect();
        AnalysisSample { series: "s".into(), label: label.into(), index, values, ..Default::default() }
    }

    #[test]
    fn rows_are_means_in_the_order_of_the_samples() {
        let samples = [
            sample("b", 0, &[("f1", 0.5), ("first_error", 3.0)]),
            sample("a", 0, &[("f1", 1.0)]),
            sample("b", 1, &[("f1", 1.0)]),
            sample("a", 1, &[("f1", 0.0)]),
        ];
        let rows = rows(&samples);
        assert_eq!(rows.iter().map(|r| (r.label.as_str(), r.n)).collect::<Vec<_>>(), [("b", 2), ("a", 2)]);
        assert_eq!(rows[0].values["f1"].value, 0.75);
        assert_eq!(rows[0].values["first_error"], Estimate { value: 3.0, low: 3.0, high: 3.0 });
        let wilson = crate::wilson(1.0, 2);
        assert_eq!(rows[1].values["f1"], Estimate { value: 0.5, low: wilson.low, high: wilson.high });
    }

    #[test]
    fn a_magnitude_of_zero_is_not_an_impossible_event() {
        assert_eq!(Estimate::of("latent_error", &[0.0; 9]), Estimate { value: 0.0, low: 0.0, high: 0.0 });
        assert!(Estimate::of("f1", &[0.0; 9]).high > 0.2);
    }

    #[test]
    fn samples_survive_json_and_omit_what_is_empty() -> Result<(), serde_json::Error> {
        let sample = sample("a", 4, &[("f1", 0.25)]);
        let line = serde_json::to_string(&sample)?;
        assert_eq!(line, r#"{"series":"s","label":"a","index":4,"values":{"f1":0.25}}"#);
        assert_eq!(serde_json::from_str::<AnalysisSample>(&line)?, sample);
        Ok(())
    }

    #[test]
    fn prefixes_end_at_the_first_difference() {
        assert_eq!(exact_prefix(&[1, 2, 3], &[1, 2, 4]), 2);
        assert_eq!(exact_prefix(&[1, 2], &[1, 2, 4]), 2);
        assert_eq!(exact_prefix(&[], &[1]), 0);
    }

    #[test]
    fn sizes_and_errors() {
        assert_eq!(rms(&[3.0, -3.0]), 3.0);
        assert_eq!(rms(&[]), 0.0);
        assert_eq!(relative_error(&[3.0, 4.0], &[3.0, 9.0]), 1.0);
        assert_eq!(relative_error(&[0.0], &[0.0]), 0.0);
        assert_eq!(relative_error(&[0.0], &[1.0]), f64::INFINITY);
    }

    #[test]
    fn draws_are_seeded_and_normal() {
        let draws = |seed, stream| {
            let mut draw = Draw::new(seed, stream);
            (0..20_000).map(|_| draw.normal()).collect::<Vec<_>>()
        };
        let values = draws(1, 0);
        assert_eq!(values, draws(1, 0));
        assert!(values[0] != draws(1, 1)[0] && values[0] != draws(2, 0)[0]);
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64;
        // Five standard errors: 5 / sqrt(20000), 5 sqrt(2 / 20000).
        assert!(mean.abs() < 0.036 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
        let beyond = values.iter().filter(|v| v.abs() > 1.959_964).count() as f64 / values.len() as f64;
        assert!((beyond - 0.05).abs() < 0.008, "{beyond}");
    }

    #[test]
    fn shuffling_keeps_the_items() {
        let mut items: Vec<usize> = (0..50).collect();
        Draw::new(3, 0).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
