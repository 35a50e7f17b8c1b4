//! The statistics against scipy and statsmodels (scripts/golden/make_stats.py).

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use nextmem_eval::stats::{
    StatsError, TestResult, bca_interval, holm, kendall, mcnemar, mcnemar_counts, paired_bootstrap, paired_permutation, paired_t, pearson,
    percentile_interval, spearman, wilcoxon,
};
use nextmem_eval::wilson;
use serde_json::Value;

/// Relative; both sides count in f64, p-values of far tails differ in the last digits of an exponential.
const TOLERANCE: f64 = 1e-9;
/// Of a correlation within this of 1, 1 - r^2 is rounding, and so are the digits of p.
const PERFECT: f64 = 1e-12;

type Test = fn(&[f64], &[f64]) -> Result<TestResult, StatsError>;

fn fixture() -> Value {
    let golden: Value = serde_json::from_str(include_str!("fixtures/stats.json")).unwrap();
    assert_eq!(golden["generator"], "scripts/golden/make_stats.py");
    assert_eq!(golden["versions"]["scipy"], "1.17.1");
    golden
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[track_caller]
fn close(what: &str, got: f64, expected: f64) {
    // 1e-15: a mean of 0 is 0 but for the order of additions.
    assert!(
        (got - expected).abs() <= TOLERANCE * expected.abs() + 1e-15 * f64::from(u8::from(expected == 0.0)),
        "{what}: {got:e}, expected {expected:e}"
    );
}

#[track_caller]
fn check(what: &str, got: TestResult, expected: &Value, correlation: bool) {
    let expected = numbers(expected);
    if correlation && expected[0].abs() > 1.0 - PERFECT && got.p < PERFECT && expected[1] < PERFECT {
        assert!((got.statistic - expected[0]).abs() < PERFECT, "{what}: {got:?}, expected {expected:?}");
        return;
    }
    close(&format!("{what}, statistic"), got.statistic, expected[0]);
    close(&format!("{what}, p"), got.p, expected[1]);
}

#[test]
fn pairs_of_the_fixture() {
    let tests: [(&str, Test); 5] =
        [("ttest_rel", paired_t), ("wilcoxon", wilcoxon), ("pearson", pearson), ("spearman", spearman), ("kendall", kendall)];
    let golden = fixture();
    let (mut checked, mut undefined) = (0, 0);
    for case in golden["pairs"].as_array().unwrap() {
        let (a, b) = (numbers(&case["a"]), numbers(&case["b"]));
        for (name, test) in tests {
            let what = format!("{name} of `{}`", case["name"].as_str().unwrap());
            match (test(&a, &b), &case[name]) {
                (Err(_), Value::Null) => undefined += 1,
                // Undefined there, no difference here.
                (Ok(got), Value::Null) => assert!(a == b && got == TestResult { statistic: 0.0, p: 1.0 }, "{what}: {got:?}"),
                (Ok(got), expected) => {
                    check(&what, got, expected, !["ttest_rel", "wilcoxon"].contains(&name));
                    checked += 1;
                }
                (Err(error), expected) => panic!("{what}: {error}, expected {expected}"),
            }
        }
        if !case["permutation"].is_null() {
            let got = paired_permutation(&a, &b, 1, 0).unwrap();
            assert!(got.exact);
            check("permutation", TestResult { statistic: got.difference, p: got.p }, &case["permutation"], false);
        }
        if !case["mcnemar"].is_null() {
            let (got, expected) = (mcnemar(&a, &b).unwrap(), numbers(&case["mcnemar"]));
            assert_eq!((got.only_a as f64, got.only_b as f64), (expected[0], expected[1]));
            close("mcnemar", got.p, expected[2]);
        }
        // Never a NaN, whatever scipy says.
        let bootstrap = paired_bootstrap(&a, &b, 50, 1).unwrap();
        for interval in [bootstrap.percentile, bootstrap.bca] {
            assert!(interval.low.is_finite() && interval.high.is_finite() && interval.low <= interval.high, "{bootstrap:?}");
        }
    }
    assert!(checked >= 130 && undefined >= 15, "{checked} checked, {undefined} undefined");
}

#[test]
fn bootstrap_intervals_of_the_same_resamples() {
    for case in fixture()["bootstrap"].as_array().unwrap() {
        let (values, means) = (numbers(&case["values"]), numbers(&case["means"]));
        for (name, got) in [("percentile", percentile_interval(&means)), ("bca", bca_interval(&values, &means))] {
            let expected = numbers(&case[name]);
            close(&format!("{name} of `{}`", case["name"]), got.low, expected[0]);
            close(&format!("{name} of `{}`", case["name"]), got.high, expected[1]);
        }
    }
}

#[test]
fn counts_and_corrections() {
    let golden = fixture();
    for row in golden["mcnemar"].as_array().unwrap() {
        let row = numbers(row);
        close(&format!("mcnemar {row:?}"), mcnemar_counts(row[0] as u64, row[1] as u64), row[2]);
    }
    for row in golden["holm"].as_array().unwrap() {
        let (got, expected) = (holm(&numbers(&row[0])), numbers(&row[1]));
        assert_eq!(got.len(), expected.len());
        got.iter().zip(&expected).for_each(|(got, expected)| close("holm", *got, *expected));
    }
    for row in golden["wilson"].as_array().unwrap() {
        let row = numbers(row);
        let got = wilson(row[0], row[1] as usize);
        assert!((got.low - row[2]).abs() < TOLERANCE && (got.high - row[3]).abs() < TOLERANCE, "{row:?}: {got:?}");
    }
}

/// Values made elsewhere.
#[test]
#[ignore = "needs NEXTMEM_SHARED"]
fn shared_values() {
    let shared = PathBuf::from(std::env::var_os("NEXTMEM_SHARED").expect("NEXTMEM_SHARED names no directory"));
    let file = shared.join("data/golden/stats.json");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let golden: Value = serde_json::from_str(&text).unwrap();
    let (a, b) = (numbers(&golden["a"]), numbers(&golden["b"]));
    check("t-test", paired_t(&a, &b).unwrap(), &golden["ttest_rel"], false);
    check("wilcoxon", wilcoxon(&a, &b).unwrap(), &golden["wilcoxon_two_sided"], false);
    check("pearson", pearson(&a, &b).unwrap(), &golden["pearson"], true);
    check("spearman", spearman(&a, &b).unwrap(), &golden["spearman"], true);
    check("kendall", kendall(&a, &b).unwrap(), &golden["kendall"], true);
    let counts = &golden["mcnemar"];
    let p = mcnemar_counts(counts["b01"].as_u64().unwrap(), counts["b10"].as_u64().unwrap());
    close("mcnemar", p, counts["exact_two_sided_p"].as_f64().unwrap());
}
