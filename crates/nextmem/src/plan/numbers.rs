//! Which numbers of an experiment make sense.

use anyhow::{Result, anyhow, bail};
use nextmem_training::{LoraConfig, OptimConfig};

use crate::experiment::Experiment;
use crate::facts_source::FactsKind;

/// Refuses an optimizer that cannot learn.
pub fn check_optim(table: &str, steps: usize, o: &OptimConfig) -> Result<()> {
    let positive = o.learning_rate > 0.0 && o.learning_rate <= 1.0;
    if !positive || o.batch_size == 0 || o.accumulation == 0 || steps == 0 {
        bail!(
            "{table}: got steps {steps}, learning_rate {}, batch_size {}, accumulation {}; expected all positive, the rate at most 1",
            o.learning_rate,
            o.batch_size,
            o.accumulation
        );
    }
    Ok(())
}

/// Refuses a LoRA without rank.
pub fn check_lora(table: &str, lora: &Option<LoraConfig>) -> Result<()> {
    match lora {
        Some(lora) if lora.rank == 0 => bail!("{table}.rank: got 0, expected at least 1; remove the table to train all parameters"),
        _ => Ok(()),
    }
}

/// Refuses questions where there are none.
fn check_questions(e: &Experiment, stage: &str, share: f64) -> Result<()> {
    if share > 0.0 && e.data.facts.is_none() {
        bail!("train.{stage}.questions: got {share}, but only [data.facts] has questions to train on; set 0");
    }
    Ok(())
}

/// Refuses numbers of an experiment that cannot be meant.
pub fn check_numbers(e: &Experiment) -> Result<()> {
    let run = &e.train.run;
    if run.log_every == 0 || run.checkpoint_every == 0 || !run.checkpoint_every.is_multiple_of(run.log_every) {
        bail!("train.loop: got checkpoint_every = {}, expected a positive multiple of log_every = {}", run.checkpoint_every, run.log_every);
    }
    if let Some(s) = &e.train.pretrain {
        check_optim("train.pretrain", s.steps, &s.optim)?;
        s.check().map_err(|reason| anyhow!("train.pretrain.{reason}"))?;
        if s.text > 0.0 && e.data.text.is_none() {
            bail!("train.pretrain.text: got {}, but there is no [data.text]; add it or set 0", s.text);
        }
    }
    if let Some(s) = &e.train.reconstruction {
        check_optim("train.reconstruction", s.steps, &s.optim)?;
        check_lora("train.reconstruction.lora", &s.lora)?;
        s.check().map_err(|reason| anyhow!("train.reconstruction.{reason}"))?;
        check_questions(e, "reconstruction", s.questions)?;
    }
    if let Some(s) = &e.train.substitution {
        s.check().map_err(|reason| anyhow!("train.substitution.{reason}"))?;
        check_questions(e, "substitution", s.questions)?;
        if s.decoder.is_some() && e.train.reconstruction.as_ref().is_some_and(|stage1| stage1.lora.is_some()) {
            bail!("train.substitution.decoder: trains all parameters of what stage 1 left, got [train.reconstruction.lora]; remove one");
        }
        check_optim("train.substitution", s.steps(), &s.optim)?;
        check_lora("train.substitution.lora", &s.lora)?;
    }
    if let Some(s) = &e.train.reader {
        check_optim("train.reader", s.steps, &s.optim)?;
        check_lora("train.reader.lora", &s.lora)?;
        s.check().map_err(|reason| anyhow!("train.reader.{reason}"))?;
        if e.data.facts.is_none() {
            bail!("[train.reader]: learns from questions, which only [data.facts] has; remove it");
        }
        if s.substitution > 0.0 && e.train.substitution.is_none() {
            bail!("train.reader.substitution: got {}, but the blocks are those of [train.substitution], which is missing", s.substitution);
        }
    }
    if let Some(s) = &e.train.index {
        check_optim("train.index", s.steps, &s.optim)?;
        check_lora("train.index.lora", &s.lora)?;
        s.check().map_err(|reason| anyhow!("train.index.{reason}"))?;
        if e.data.facts.as_ref().is_none_or(|facts| facts.kind != FactsKind::Open) {
            bail!("[train.index]: learns from queries with hard negatives, which only [data.facts] of kind \"open\" has; remove it");
        }
    }
    e.baselines.check(&e.data, e.train.substitution.as_ref())?;
    let method = &e.method.nextmem;
    if method.num_latents == 0 || method.max_new_tokens == 0 || method.max_input_tokens == 0 || e.eval.batch_size == 0 {
        bail!("num_latents, max_new_tokens, max_input_tokens and eval.batch_size must all be positive");
    }
    if let nextmem_model::Decoding::Sample { temperature, top_p, .. } = method.decoding
        && !(temperature > 0.0 && top_p > 0.0 && top_p <= 1.0)
    {
        bail!("method.nextmem.decoding: got temperature {temperature}, top_p {top_p}; expected above 0, and top_p at most 1");
    }
    Ok(())
}
