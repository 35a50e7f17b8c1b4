//! What the decoder could be made to write: latents optimised directly for each passage, the encoder unused.
//!
//! Series `cramming`: one row per number of latents, an upper bound of what an encoder could write into as many. If it is far
//! above the trained encoder's row (series `encoder`), the encoder is what limits the memory, not the decoder.

use anyhow::Result;
use nextmem_eval::analysis::{AnalysisSample, rows};
use nextmem_model::{Latents, Memory, random_slots};
use nextmem_training::{RefineConfig, refine};
use serde_json::Value;

use super::record::{Record, without_texts};
use super::{Outcome, Setting};

pub fn run(setting: &Setting, record: &mut Record) -> Result<Outcome> {
    let (subject, passages) = (&setting.subject, &setting.passages);
    let sweep = &setting.config.cramming;
    record.begin((1 + sweep.latents.len()) * passages.len());
    let encoder = format!("{} latents", subject.num_latents());
    record.group("encoder", &encoder, Some(subject.num_latents() as f64), passages.len(), |record| {
        let mut samples = record.reconstructions(subject.nextmem()?, subject.memories(passages)?, passages, subject.batch())?;
        let tokens = subject.tokens(passages)?;
        per_latent(&mut samples, &tokens, subject.num_latents());
        Ok(without_texts(samples))
    })?;
    for count in &sweep.latents {
        record.group("cramming", &format!("{count} latents"), Some(*count as f64), passages.len(), |record| {
            let nextmem = subject.nextmem()?;
            let (reader, tokenizer) = (nextmem.autoencoder(), nextmem.tokenizer());
            let tokens = subject.tokens(passages)?;
            let config = RefineConfig { steps: sweep.steps, learning_rate: sweep.learning_rate, nf4: None };
            let mut samples = Vec::with_capacity(passages.len());
            for (chunk, texts) in tokens.chunks(subject.batch()).zip(passages.chunks(subject.batch())) {
                let start = random_slots(&reader.decoder, *count, setting.seed()).unsqueeze::<3>().repeat_dim(0, chunk.len());
                let found = refine(reader, chunk, start, tokenizer.end_of_text(), &config);
                let memories: Vec<Memory> = Latents::on_host(found.latents).into_iter().map(Memory::Latents).collect();
                let mut some = record.reconstructions(nextmem, &memories, texts, subject.batch())?;
                for (sample, (accuracy, exact)) in some.iter_mut().zip(found.token_accuracy.iter().zip(&found.exact_after)) {
                    sample.index += samples.len();
                    sample.values.insert("teacher_forced".into(), *accuracy);
                    if let Some(steps) = exact {
                        sample.values.insert("steps".into(), *steps as f64);
                    }
                }
                samples.extend(some);
            }
            per_latent(&mut samples, &tokens, *count);
            Ok(without_texts(samples))
        })?;
    }
    Ok(Outcome { rows: rows(record.samples()), details: Value::Null, unprinted: &[] })
}

/// Notes the tokens of text that a latent stands for.
fn per_latent(samples: &mut [AnalysisSample], tokens: &[Vec<u32>], latents: usize) {
    for sample in samples {
        let tokens = tokens.get(sample.index).map_or(0, Vec::len);
        sample.values.insert("tokens_per_latent".into(), tokens as f64 / latents as f64);
    }
}
