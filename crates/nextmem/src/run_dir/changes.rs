//! What differs between the run that a directory holds and the one that is asked for.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::experiment::{Experiment, flatten};

/// The keys that decide weights or samples and differ, as `key: before -> after`.
///
/// What is computed from samples, what only says where something goes, and what changes no number may differ; so may a `limit`
/// that has become larger: the samples are continued.
pub fn between(before: &Experiment, after: &Experiment) -> Result<Vec<String>> {
    let [before, after] = [before, after].map(|e| flatten(e).map(BTreeMap::from_iter));
    let (before, after): (BTreeMap<String, String>, BTreeMap<String, String>) = (before?, after?);
    let mut keys: Vec<&String> = before.keys().chain(after.keys()).filter(|key| decides(key)).collect();
    keys.sort();
    keys.dedup();
    let differ = keys.into_iter().filter(|key| {
        let values = (before.get(*key), after.get(*key));
        let number = |value: Option<&String>| value.and_then(|v| v.parse::<u64>().ok());
        let continued = key.ends_with(".limit") && number(values.0).zip(number(values.1)).is_some_and(|(old, new)| old <= new);
        values.0 != values.1 && !continued
    });
    let shown = |value: Option<&String>| value.map_or("absent".to_string(), String::clone);
    Ok(differ.map(|key| format!("{key}: {} -> {}", shown(before.get(key)), shown(after.get(key)))).collect())
}

/// Whether a key can change a weight or a sample.
fn decides(key: &str) -> bool {
    let exact = ["name", "results", "device.index", "eval.batch_size", "backbone.nano.export", "baselines.bge.batch_size"];
    let below = ["judge", "analysis", "eval.bertscore"];
    let of = |table: &&str| key.strip_prefix(*table).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    let loops = key.starts_with("train.loop.") && key != "train.loop.shards";
    let metrics = key.starts_with("eval.") && key.ends_with(".metrics");
    !(exact.contains(&key) || below.iter().any(of) || loops || metrics)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: &str = "name = 'a'\n[backbone]\nmodel = 'm'\n[train.loop]\nlog_every = 1\ncheckpoint_every = 2\nvalidate_every = 0\n\
                        validation_passages = 1\n[data.facts]\ntrain = 5\n[eval.reconstruction]\nlimit = 3\nmetrics = ['f1']\n";

    fn after(from: &str, to: &str) -> Vec<String> {
        assert!(TEXT.contains(from));
        let [before, after] = [TEXT.to_string(), TEXT.replacen(from, to, 1)].map(|text| toml::from_str(&text).unwrap());
        between(&before, &after).unwrap()
    }

    #[test]
    fn what_decides_no_sample_may_differ() {
        for (from, to) in [
            ("metrics = ['f1']", "metrics = ['f1', 'bleu']"),
            ("limit = 3", "limit = 4"),
            ("name = 'a'", "name = 'b'\nresults = 'elsewhere'"),
            ("log_every = 1", "log_every = 2"),
            ("[eval.reconstruction]", "[eval]\nbatch_size = 7\n[eval.reconstruction]"),
        ] {
            assert_eq!(after(from, to), Vec::<String>::new(), "{to}");
        }
    }

    #[test]
    fn what_decides_samples_is_named_with_both_values() {
        assert_eq!(after("train = 5", "train = 6"), ["data.facts.train: 5 -> 6"]);
        assert_eq!(after("limit = 3", "limit = 2"), ["eval.reconstruction.limit: 3 -> 2"]);
        assert_eq!(after("[data.facts]", "[quant]\n[data.facts]"), ["quant.scales: absent -> true"]);
        assert_eq!(after("[data.facts]", "[method.nextmem]\nnum_latents = 4\n[data.facts]"), ["method.nextmem.num_latents: 15 -> 4"]);
        assert_eq!(after("log_every = 1", "log_every = 1\nshards = 2"), ["train.loop.shards: 1 -> 2"]);
    }
}
