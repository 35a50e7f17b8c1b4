//! Gaussian noise on the dense latents: how much of it a reconstruction survives.
//!
//! `h' = h + sigma e`, e ~ N(0, 1) in every number, the same e at every sigma (paper, robustness: harmless up to 0.8,
//! collapse from 1.6). Series `absolute`: sigma is x. Series `relative`: sigma is x times the memory's RMS, which
//! `latent_rms` says, so that models whose latents have another size can be compared.

use anyhow::Result;
use nextmem_eval::analysis::{Draw, rms, rows};
use nextmem_model::{Latents, Memory};
use serde_json::Value;

use super::record::{Record, without_texts};
use super::subject::latents;
use super::{Outcome, Setting};

pub fn run(setting: &Setting, record: &mut Record) -> Result<Outcome> {
    let config = &setting.config.noise;
    let passages = &setting.passages;
    let series: &[&str] = if config.relative { &["absolute", "relative"] } else { &["absolute"] };
    record.begin(series.len() * config.sigmas.len() * passages.len());
    for series in series {
        for sigma in &config.sigmas {
            record.group(series, &sigma.to_string(), Some(*sigma), passages.len(), |record| {
                let subject = &setting.subject;
                let dense = subject.memories(passages)?;
                let sizes: Vec<f64> = dense.iter().map(|m| Ok(rms(&latents(m)?.values))).collect::<Result<_>>()?;
                let noisy = |(index, memory): (usize, &Memory)| {
                    let unit = if *series == "relative" { sizes[index] } else { 1.0 };
                    Ok(Memory::Latents(with_noise(latents(memory)?, sigma * unit, setting.seed(), index as u64)))
                };
                let memories = dense.iter().enumerate().map(noisy).collect::<Result<Vec<_>>>()?;
                let mut samples = record.reconstructions(subject.nextmem()?, &memories, passages, subject.batch())?;
                samples.iter_mut().zip(&sizes).for_each(|(sample, rms)| {
                    sample.values.insert("latent_rms".into(), *rms);
                });
                Ok(without_texts(samples))
            })?;
        }
    }
    Ok(Outcome { rows: rows(record.samples()), details: Value::Null, unprinted: &[] })
}

fn with_noise(latents: &Latents, sigma: f64, seed: u64, passage: u64) -> Latents {
    let mut draw = Draw::new(seed, passage);
    let values = latents.values.iter().map(|v| (f64::from(*v) + sigma * draw.normal()) as f32).collect();
    Latents { values, ..latents.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_scales_with_sigma_and_is_none_at_zero() {
        let latents = Latents { values: vec![1.0; 4000], num_latents: 4, hidden_size: 1000 };
        assert_eq!(with_noise(&latents, 0.0, 1, 2), latents);
        let moved = |sigma: f64| -> Vec<f32> { with_noise(&latents, sigma, 1, 2).values.iter().map(|v| v - 1.0).collect() };
        assert!((rms(&moved(0.5)) - 0.5).abs() < 0.03);
        assert!(moved(0.5).iter().zip(moved(1.0)).all(|(half, whole)| (2.0 * half - whole).abs() < 1e-5));
    }
}
