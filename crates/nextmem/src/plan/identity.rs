//! What decides the numbers of a plan: one value for the samples, and its readable parts.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use super::{FINGERPRINT_VERSION, Plan, tasks};
use crate::experiment::Experiment;
use crate::hashes;
use crate::hub::located;
use crate::run_dir::{RunDir, sha256};
use crate::source::Source;

impl Plan {
    /// Everything that decides a sample: `hash`, and the `parts` it is made from, to be read and compared.
    ///
    /// In it are the content of the backbone, of `[weights]` and of encoders, the stages with the hashes of the weights they left
    /// (once they are trained), the options of the method, NF4, the baselines, the items of every task by the content of their
    /// files, backend and float type, and the version of the code's numbers. Not in it is what decides no sample: metrics, the
    /// number of items (more of them continue the same list), batch sizes, the judge, paths and names.
    pub fn sample_identity(&self) -> Value {
        let run = RunDir::planned(self);
        let stages = self.stages.iter().map(|(name, fingerprint)| {
            json!({"stage": name.dir(), "fingerprint": fingerprint, "weights": run.recorded_weights(*name, fingerprint)})
        });
        let mut parts = self.decides.clone();
        parts.insert("stages".into(), stages.collect());
        let parts = Value::Object(parts);
        json!({"hash": sha256(parts.to_string().as_bytes()), "parts": parts})
    }
}

/// The parts of [`Plan::sample_identity`] that are known before training; nothing of what is not there yet.
pub(super) fn of(e: &Experiment, source: &Source, backbone: &Value, weights: &Value) -> Result<Map<String, Value>> {
    let (nextmem, baselines) = (&e.method.nextmem, &e.baselines);
    let mut bge = Value::Null;
    if let Some(config) = &baselines.bge {
        let files = hashes::weights(&located(&config.model)).context("baselines.bge")?;
        bge = json!({"files": files, "query_instruction": config.query_instruction, "pooling": config.pooling, "max_tokens": config.max_tokens});
    }
    let mut items = Map::new();
    for (task, config) in tasks(e) {
        let mut sets = Map::new();
        for (name, config) in source.datasets(config) {
            sets.insert(name, source.items_identity(task, &config)?);
        }
        items.insert(task.name().into(), Value::Object(sets));
    }
    let device = e.device.evaluation();
    // What the stages of baselines trained is in their fingerprints.
    let parts = json!({
        "version": FINGERPRINT_VERSION,
        "device": [device.backend, device.dtype],
        "backbone": backbone,
        "weights": weights,
        "method": nextmem,
        "quant": e.quant,
        "baselines": {
            "bm25": baselines.bm25, "mean_pooled": baselines.mean_pooled, "bge": bge,
            "icae": baselines.icae.is_some(), "dyprag": baselines.dyprag.is_some(),
        },
        "tasks": items,
    });
    match parts {
        Value::Object(parts) => Ok(parts),
        _ => Ok(Map::new()),
    }
}
