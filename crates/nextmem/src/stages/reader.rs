//! The reader stage: the decoder learns to answer from latents.

use std::sync::Arc;

use anyhow::{Result, bail};
use nextmem_data::QaItem;
use nextmem_eval::metric::text_metric;
use nextmem_model::Tokenizer;
use nextmem_training::{ReaderModel, ReaderRows, ReaderValidation, Score, Stage, Stream, Validate, fit, mix, validate_reader};

use super::Trainer;
use crate::experiment::StageName;
use crate::parts::{Parts, autoencoder, load_backbone};
use crate::source::Source;

impl Trainer<'_> {
    pub(super) fn reader(&self, parts: &Parts) -> Result<()> {
        let e = self.experiment();
        let (Some(config), Source::Facts(facts)) = (&e.train.reader, &self.plan.source) else {
            bail!("no [train.reader], or no [data.facts] for it")
        };
        let tokenizer = Arc::new(Tokenizer::open(&parts.backbone)?);
        let memory = autoencoder(parts, tokenizer.sod(), self.device)?;
        let seed = self.seed(StageName::Reader);
        let trainable = self.encoder(StageName::Reader, &config.lora, &memory.decoder);
        let teacher = match config.teacher > 0.0 {
            true => Some(load_backbone(&parts.backbone, self.device)?),
            false => None,
        };
        let num_latents = e.method.nextmem.num_latents;
        // The paper's layout does not know its blocks.
        let block_tokens = match memory.layout.block(num_latents) {
            0 => e.train.substitution.as_ref().map_or(0, |s| s.block_tokens),
            block => block,
        };
        let model = ReaderModel { trainable, memory, teacher, num_latents, teacher_weight: config.teacher };
        let rows = ReaderRows {
            examples: Stream::new(self.examples()?, mix(e.train_seed(), 100 + StageName::Reader as u64))?,
            tokenizer: tokenizer.clone(),
            num_latents,
            block_tokens,
            config: config.clone(),
            seed,
        };
        let item = |item: QaItem| (item.references.concat(), item.question, item.answer);
        let items = facts.validation_qa(e.train.run.validation_passages).into_iter().map(item).collect();
        let score = |name: &'static str| -> Result<Score> {
            let Some(metric) = text_metric(name) else { bail!("no metric {name}") };
            Ok(Arc::new(move |p: &str, r: &str| metric.score(p, r)))
        };
        let validation = ReaderValidation { items, tokenizer: tokenizer.clone(), score: score("f1")?, exact: score("exact_match")? };
        let validate: Validate<ReaderModel> = Arc::new(move |model, _| validate_reader(model, &validation));
        let stage = Stage { last_level: num_latents, ..self.stage("reader", config.steps, &config.optim, Arc::new(rows), Some(validate)) };
        let trained = fit(model, stage)?;
        self.save(&trained.trainable, &config.lora, &tokenizer)
    }
}
