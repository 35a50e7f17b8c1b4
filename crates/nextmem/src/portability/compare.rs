//! Verdicts: how far a device may be from f64 on the CPU, and how far it is.
//!
//! The yardstick of a row is flex in the device's own float type: what that loses against f64 is what rounding does to
//! this row, whoever computes it. A device may lose [`AMPLE`] times as much, because it sums in another order, and at
//! least [`FLOOR`] roundings, because GPUs may be that far off in exp, division and square roots.
//!
//! NVIDIA GPUs multiply f32 in TF32, whose factors have 3 bits more than bf16's: rows with products that do not agree in
//! f32 are held against flex in bf16, an eighth of it, and are said to be in TF32. Rows without products get no such grace.

use std::collections::BTreeMap;

use nextmem_quant::{Nf4Latents, Scales};
use serde::Serialize;

use super::operations::OPERATIONS;
use super::probe::Line;
use super::worker::{CODES, GREEDY, LATENTS, MARGINS};

/// How many times flex's own error.
const AMPLE: f64 = 20.0;
/// Roundings that are always allowed: WGSL grants exp 3 + 2 |x| units in the last place.
const FLOOR: f64 = 32.0;
/// How much finer TF32 is than bf16.
const TF32_TO_BF16: f64 = 8.0;

/// What a worker has said.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The device's own name.
    pub device: String,
    /// Whether it multiplies f32 in TF32.
    pub tf32: bool,
    /// Rows in order with their shapes.
    pub order: Vec<(String, String)>,
    /// Numbers by row.
    pub floats: BTreeMap<String, Vec<f64>>,
    /// Ids by row.
    pub ids: BTreeMap<String, Vec<i64>>,
    /// Rows that panicked.
    pub failed: BTreeMap<String, String>,
    /// Where and how the process ended before its time.
    pub crashed: Option<(String, String)>,
    /// Seconds from start to end.
    pub seconds: f64,
}

impl Outcome {
    /// Takes in one line.
    pub fn hear(&mut self, line: Line) {
        match line {
            Line::Device { name, tf32 } => (self.device, self.tf32) = (name, tf32),
            Line::Start(_) => {}
            Line::Floats { row, shape, values } => {
                self.order.push((row.clone(), shape));
                self.floats.insert(row, values.into_iter().map(|v| v.unwrap_or(f64::NAN)).collect());
            }
            Line::Ids { row, values } => {
                self.order.push((row.clone(), format!("[{}]", values.len())));
                self.ids.insert(row, values);
            }
            Line::Failed { row, reason } => {
                self.order.push((row.clone(), "-".into()));
                self.failed.insert(row, reason);
            }
        }
    }
}

/// The verdict on a row that agrees.
const OK: &str = "ok";
/// The verdict on a row that agrees but for products in TF32.
const OK_IN_TF32: &str = "ok in TF32";

/// One row of a device's table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was computed.
    pub row: String,
    /// Its shape.
    pub shape: String,
    /// Largest difference from f64 over the largest value; for ids the share that differs. Absent: not computed.
    pub error: Option<f64>,
    /// flex in the same float type.
    pub flex_error: Option<f64>,
    /// Largest error that passes.
    pub tolerance: f64,
    /// Where the tolerance comes from.
    pub because: String,
    /// `ok`, or what is wrong.
    pub verdict: String,
}

impl Row {
    /// Whether the device agrees.
    pub fn ok(&self) -> bool {
        self.verdict.starts_with(OK)
    }

    /// Whether it agrees as closely as TF32 can, but not as f32 would.
    pub fn in_tf32(&self) -> bool {
        self.verdict == OK_IN_TF32
    }
}

/// Half a unit in the last place of a float type.
pub fn rounding(dtype: &str) -> f64 {
    match dtype {
        "bf16" => f64::powi(2.0, -9),
        "f16" | "tf32" => f64::powi(2.0, -12),
        "f64" => f64::powi(2.0, -54),
        _ => f64::powi(2.0, -25),
    }
}

/// Largest difference over the largest expected value; a missing or excess value is infinitely wrong.
fn relative(got: &[f64], expected: &[f64]) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let difference = got.iter().zip(expected).fold(0.0f64, |m, (a, b)| match (a - b).abs() {
        d if d.is_nan() => f64::INFINITY,
        d => m.max(d),
    });
    difference / largest.max(1e-30)
}

/// Share of ids that differ.
fn differing(got: &[i64], expected: &[i64]) -> f64 {
    let wrong = expected.iter().zip(got).filter(|(a, b)| a != b).count() + expected.len().abs_diff(got.len());
    wrong as f64 / expected.len().max(1) as f64
}

/// What rows are held against.
pub struct Yardsticks<'a> {
    /// flex in f64.
    pub truth: &'a Outcome,
    /// flex in the device's float type.
    pub flex: &'a Outcome,
    /// flex in bf16, where the device multiplies in TF32.
    pub bf16: Option<&'a Outcome>,
    /// The device's float type.
    pub dtype: &'a str,
    /// Latents of a memory and numbers of a latent.
    pub shape: (usize, usize),
}

impl Yardsticks<'_> {
    /// The largest error of a row of numbers in the device's float type, or in TF32, and why.
    fn of(&self, name: &str, tf32: bool) -> (f64, String) {
        let (from, dtype, share, label) = match self.bf16.filter(|_| tf32) {
            Some(bf16) => (bf16, "tf32", AMPLE / TF32_TO_BF16, format!("{AMPLE:.0}/{TF32_TO_BF16:.0} x flex in bf16")),
            None => (self.flex, self.dtype, AMPLE, format!("{AMPLE:.0} x flex")),
        };
        let floor = FLOOR * rounding(dtype);
        let pair = from.floats.get(name).zip(self.truth.floats.get(name));
        match pair.map(|(got, expected)| share * relative(got, expected)).filter(|t| t.is_finite()) {
            Some(error) if error > floor => (error, label),
            _ => (floor, format!("{FLOOR:.0} roundings of {dtype}")),
        }
    }

    /// The largest error of any row, and why.
    fn tolerance(&self, name: &str, device: &Outcome, tf32: bool) -> (f64, String) {
        if name == CODES {
            return codes_tolerance(self.truth, self.of(LATENTS, tf32).0, self.shape);
        }
        if let Some(which) = name.strip_prefix(GREEDY) {
            return greedy_tolerance(self.truth, device, which, self.of("logits", tf32).0);
        }
        match self.truth.ids.contains_key(name) {
            true => (0.0, "ids are equal or not".to_string()),
            false => self.of(name, tf32),
        }
    }
}

/// Whether a row has products in it: the table's matmuls, and everything that the model computes.
fn has_products(row: &str) -> bool {
    row.starts_with("matmul") || !OPERATIONS.iter().any(|op| row.starts_with(op.name))
}

/// Every row of the reference, judged for one device.
pub fn judge(yardsticks: &Yardsticks, device: &Outcome) -> Vec<Row> {
    let Yardsticks { truth, flex, .. } = *yardsticks;
    let mut rows = Vec::new();
    for (name, dims) in truth.order.iter().filter(|(name, _)| !name.starts_with(MARGINS)) {
        let (error, flex_error) = match (truth.floats.get(name), truth.ids.get(name)) {
            (Some(expected), _) => {
                let of = |o: &Outcome| o.floats.get(name).map(|got| relative(got, expected));
                (of(device), of(flex))
            }
            (_, Some(expected)) => {
                let of = |o: &Outcome| o.ids.get(name).map(|got| differing(got, expected));
                (of(device), of(flex))
            }
            _ => (None, None),
        };
        let (mut tolerance, mut because) = yardsticks.tolerance(name, device, false);
        let mut fine = OK;
        if error.is_some_and(|error| error > tolerance) && yardsticks.bf16.is_some() && has_products(name) {
            (tolerance, because) = yardsticks.tolerance(name, device, true);
            fine = OK_IN_TF32;
        }
        let verdict = match (error, &device.crashed) {
            (Some(error), _) if error <= tolerance => fine.into(),
            (Some(_), _) => "DIFFERS".into(),
            // bf16 on a device without it, for example: nothing to compare.
            (None, None) if name.contains(": ") => OK.into(),
            (None, None) => device.failed.values().next().map_or("MISSING".into(), |reason| format!("FAILED: {reason}")),
            (None, Some((at, how))) => format!("NOT REACHED: {how} in \"{at}\""),
        };
        rows.push(Row { row: name.clone(), shape: dims.clone(), error, flex_error, tolerance, because, verdict });
    }
    for (name, reason) in &device.failed {
        if !rows.iter().any(|r| r.row == *name) {
            let verdict = format!("FAILED: {reason}");
            rows.push(Row {
                row: name.clone(),
                shape: "-".into(),
                error: None,
                flex_error: None,
                tolerance: 0.0,
                because: "-".into(),
                verdict,
            });
        }
    }
    rows
}

/// Codes may differ where the latents' tolerance reaches across the middle between two code values.
fn codes_tolerance(truth: &Outcome, tolerance: f64, (latents, hidden): (usize, usize)) -> (f64, String) {
    let because = "codes that the tolerance of the latents can turn".to_string();
    let Some(values) = truth.floats.get(LATENTS) else { return (0.0, because) };
    let largest = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let codes = |shift: f64| -> Vec<u8> {
        let moved: Vec<f32> = values.iter().map(|v| (v + shift * largest) as f32).collect();
        let memories = moved.chunks(latents * hidden).filter_map(|m| Nf4Latents::quantize(m, latents, hidden, Scales::Absmax).ok());
        memories.flat_map(|nf4| nf4.codes()).collect()
    };
    let (low, high) = (codes(-tolerance), codes(tolerance));
    let turned = low.iter().zip(&high).filter(|(a, b)| a != b).count();
    (turned as f64 / low.len().max(1) as f64, because)
}

/// After the first near tie that fell the other way, texts have nothing to do with each other.
fn greedy_tolerance(truth: &Outcome, device: &Outcome, which: &str, tolerance: f64) -> (f64, String) {
    let (name, margins) = (format!("{GREEDY}{which}"), format!("{MARGINS}{which}"));
    let (Some(expected), Some(got), Some(margins)) = (truth.ids.get(&name), device.ids.get(&name), truth.floats.get(&margins)) else {
        return (0.0, "ids are equal or not".into());
    };
    match expected.iter().zip(got).position(|(a, b)| a != b) {
        Some(at) if margins.get(at).is_some_and(|m| *m <= 2.0 * tolerance) => {
            (1.0, format!("near tie at token {at}: the best two logits differ by {:.0e}", margins[at]))
        }
        _ => (0.0, "ids are equal or not".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: Vec<Line>) -> Outcome {
        let mut outcome = Outcome::default();
        lines.into_iter().for_each(|l| outcome.hear(l));
        outcome
    }

    fn line(row: &str, values: &[f64]) -> Line {
        super::super::probe::floats(row, &[values.len()], values.to_vec())
    }

    fn verdict(device: Outcome) -> Vec<(String, bool)> {
        let truth = outcome(vec![line("a", &[1.0, 2.0]), line("b", &[1.0, 4.0])]);
        let flex = outcome(vec![line("a", &[1.0, 2.0]), line("b", &[1.0, 4.001])]);
        judge(&yardsticks(&truth, &flex, None), &device).into_iter().map(|r| (r.verdict.clone(), r.ok())).collect()
    }

    fn yardsticks<'a>(truth: &'a Outcome, flex: &'a Outcome, bf16: Option<&'a Outcome>) -> Yardsticks<'a> {
        Yardsticks { truth, flex, bf16, dtype: "f32", shape: (1, 1) }
    }

    #[test]
    fn rounding_passes_and_faults_do_not() {
        // a: exact on flex, so the floor of about 1e-6; b: flex is off by 2.5e-4, so 5e-3 passes.
        let good = verdict(outcome(vec![line("a", &[1.0, 2.000001]), line("b", &[1.0, 4.01])]));
        assert_eq!(good, [("ok".to_string(), true), ("ok".to_string(), true)]);
        let bad = verdict(outcome(vec![line("a", &[1.0, 2.00001]), line("b", &[1.0, f64::NAN])]));
        assert_eq!(bad, [("DIFFERS".to_string(), false), ("DIFFERS".to_string(), false)]);
    }

    #[test]
    fn what_was_not_computed_is_no_agreement() {
        assert_eq!(verdict(outcome(vec![line("a", &[1.0, 2.0])]))[1], ("MISSING".to_string(), false));
        let mut crashed = outcome(vec![line("a", &[1.0, 2.0])]);
        crashed.crashed = Some(("b".into(), "signal 11".into()));
        assert_eq!(verdict(crashed)[1], ("NOT REACHED: signal 11 in \"b\"".to_string(), false));
        let failed = outcome(vec![line("a", &[1.0, 2.0]), Line::Failed { row: "b".into(), reason: "no".into() }]);
        assert_eq!(verdict(failed)[1], ("FAILED: no".to_string(), false));
    }

    #[test]
    fn tf32_is_allowed_where_products_are_and_named() {
        let rows = |a: f64, b: f64| outcome(vec![line("matmul, projection", &[1.0, a]), line("softmax", &[1.0, b])]);
        let (truth, bf16) = (rows(2.0, 2.0), rows(2.01, 2.01));
        let judged = |device: Outcome| judge(&yardsticks(&truth, &truth, Some(&bf16)), &device);
        let good = judged(rows(2.0005, 2.0));
        assert!(good[0].ok() && good[0].in_tf32() && good[1].ok() && !good[1].in_tf32(), "{good:?}");
        // Twice the bf16 error is no rounding of TF32, and a softmax multiplies nothing.
        assert!(!judged(rows(2.03, 2.0))[0].ok());
        assert!(!judged(rows(2.0, 2.0005))[1].ok());
        // On a device without TF32 neither is fine.
        assert!(!judge(&yardsticks(&truth, &truth, None), &rows(2.0005, 2.0))[0].ok());
    }

    #[test]
    fn ids_may_differ_after_a_near_tie_only() {
        let ids = |values: &[i64]| Line::Ids { row: GREEDY.into(), values: values.to_vec() };
        let truth = outcome(vec![line("logits", &[1.0]), line(MARGINS, &[0.3, 1e-9, 0.2]), ids(&[4, 5, 6])]);
        let judged = |got: &[i64]| judge(&yardsticks(&truth, &truth, None), &outcome(vec![line("logits", &[1.0]), ids(got)]))[1].ok();
        assert!(judged(&[4, 5, 6]));
        assert!(judged(&[4, 9, 9]));
        assert!(!judged(&[9, 5, 6]));
    }
}
