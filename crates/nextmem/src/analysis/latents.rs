//! Number of latents against quality.
//!
//! Series `trained`: one row per run, x is its number of latents. Series of a run's name: that run decoded from its first
//! latents alone. It never saw that in training, so these rows say where in the sequence the text is kept, not what a model
//! trained with fewer latents can do.

use anyhow::Result;
use nextmem_eval::analysis::rows;
use nextmem_model::{Latents, Memory};
use serde_json::Value;

use super::record::{Record, without_texts};
use super::subject::latents;
use super::{Outcome, Setting};

pub fn run(setting: &Setting, record: &mut Record) -> Result<Outcome> {
    let passages = &setting.passages;
    record.begin(setting.subjects().count() * (1 + setting.config.latents.keep.len()) * passages.len());
    for subject in setting.subjects() {
        let all = subject.num_latents();
        let mut kept: Vec<usize> = setting.config.latents.keep.iter().map(|share| ((share * all as f64).round() as usize).max(1)).collect();
        kept.dedup();
        kept.retain(|keep| *keep < all);
        let name = setting.label(subject);
        let conditions = kept.into_iter().map(|keep| (name.as_str(), keep.to_string(), keep));
        for (series, label, keep) in [("trained", name.clone(), all)].into_iter().chain(conditions) {
            record.group(series, &label, Some(keep as f64), passages.len(), |record| {
                let first = |memory: &Memory| Ok(Memory::Latents(truncated(latents(memory)?, keep)));
                let memories = subject.memories(passages)?.iter().map(first).collect::<Result<Vec<_>>>()?;
                let mut samples = record.reconstructions(subject.nextmem()?, &memories, passages, subject.batch())?;
                samples.iter_mut().zip(&memories).for_each(|(sample, memory)| {
                    sample.values.insert("bytes".into(), memory.size_bytes() as f64);
                });
                Ok(without_texts(samples))
            })?;
        }
    }
    Ok(Outcome { rows: rows(record.samples()), details: Value::Null, unprinted: &[] })
}

fn truncated(latents: &Latents, keep: usize) -> Latents {
    let values = latents.values[..keep * latents.hidden_size].to_vec();
    Latents { values, num_latents: keep, hidden_size: latents.hidden_size }
}
