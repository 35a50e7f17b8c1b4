//! Quality against storage: one memory in several formats, and the floor that the text itself sets.
//!
//! `bytes` is what a memory takes, `latent_error` is `||h' - h|| / ||h||` over all its numbers. The text rows are lossless:
//! they score what the text scores against itself.

use anyhow::Result;
use nextmem_eval::analysis::{AnalysisSample, bf16_round, gzip_bytes, int8_round_trip, relative_error, rows};
use nextmem_model::{Latents, Memory};
use nextmem_quant::{Nf4Latents, Scales};
use serde_json::Value;

use super::record::{Record, scores, without_texts};
use super::subject::{Subject, latents};
use super::{Outcome, Setting};

/// The formats of latents, largest first.
pub const FORMATS: [&str; 5] = ["f32", "bf16", "int8", "nf4", "nf4-no-scales"];

pub fn run(setting: &Setting, record: &mut Record) -> Result<Outcome> {
    record.begin((FORMATS.len() + 2) * setting.passages.len());
    formats(setting, &setting.subject, record, "latents", |format| format.into())?;
    floor(setting, record)?;
    Ok(Outcome { rows: rows(record.samples()), details: Value::Null, unprinted: &[] })
}

/// Measures a run in every format, under labels of the caller's.
pub fn formats(setting: &Setting, subject: &Subject, record: &mut Record, series: &str, label: impl Fn(&str) -> String) -> Result<()> {
    let passages = &setting.passages;
    for format in FORMATS {
        record.group(series, &label(format), None, passages.len(), |record| {
            let dense = subject.memories(passages)?;
            let stored = dense.iter().map(|memory| store(latents(memory)?, format)).collect::<Result<Vec<_>>>()?;
            let memories: Vec<Memory> = stored.iter().map(|(memory, _)| memory.clone()).collect();
            let mut samples = record.reconstructions(subject.nextmem()?, &memories, passages, subject.batch())?;
            for (sample, ((memory, bytes), dense)) in samples.iter_mut().zip(stored.iter().zip(dense)) {
                sample.values.insert("bytes".into(), *bytes as f64);
                let values = match memory {
                    Memory::Nf4(packed) => packed.dequantize(),
                    memory => latents(memory)?.values.clone(),
                };
                sample.values.insert("latent_error".into(), relative_error(&latents(dense)?.values, &values));
                sample.x = Some(*bytes as f64);
            }
            Ok(without_texts(samples))
        })?;
    }
    Ok(())
}

/// UTF-8 and gzip.
pub fn floor(setting: &Setting, record: &mut Record) -> Result<()> {
    for label in ["utf-8", "gzip"] {
        record.group("text", label, None, setting.passages.len(), |_| {
            let sample = |(index, text): (usize, &String)| {
                let mut values = scores(text, text);
                let bytes = if label == "gzip" { gzip_bytes(text) } else { text.len() };
                values.insert("bytes".into(), bytes as f64);
                AnalysisSample { index, values, ..AnalysisSample::default() }
            };
            Ok(setting.passages.iter().enumerate().map(sample).collect())
        })?;
    }
    Ok(())
}

/// A memory in a format, and its bytes.
fn store(latents: &Latents, format: &str) -> Result<(Memory, usize)> {
    let dense = |values: Vec<f32>| Memory::Latents(Latents { values, ..latents.clone() });
    let nf4 = |scales| {
        Ok::<_, anyhow::Error>(Memory::Nf4(Nf4Latents::quantize(&latents.values, latents.num_latents, latents.hidden_size, scales)?))
    };
    let memory = match format {
        "f32" => return Ok((dense(latents.values.clone()), 4 * latents.values.len())),
        "int8" => {
            let (values, bytes) = int8_round_trip(&latents.values, latents.hidden_size);
            return Ok((dense(values), bytes));
        }
        "bf16" => dense(latents.values.iter().map(|v| bf16_round(*v)).collect()),
        "nf4" => nf4(Scales::Absmax)?,
        _ => nf4(Scales::None)?,
    };
    let bytes = memory.size_bytes();
    Ok((memory, bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn bytes_fall_and_errors_rise_from_format_to_format() {
        let values: Vec<f32> = (0..15 * 64).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
        let dense = Latents { values, num_latents: 15, hidden_size: 64 };
        let stored: Vec<(usize, f64)> = FORMATS
            .iter()
            .map(|format| {
                let (memory, bytes) = store(&dense, format).unwrap();
                let back = match &memory {
                    Memory::Nf4(packed) => packed.dequantize(),
                    memory => latents(memory).unwrap().values.clone(),
                };
                (bytes, relative_error(&dense.values, &back))
            })
            .collect();
        assert_eq!(stored.iter().map(|s| s.0).collect::<Vec<_>>(), [3840, 1920, 1088, 544, 480]);
        assert_eq!(stored[0].1, 0.0);
        assert!(stored.is_sorted_by(|a, b| a.1 < b.1), "{stored:?}");
    }
}
