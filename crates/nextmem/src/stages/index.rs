//! The stage that trains the index.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use burn::module::Param;
use burn::tensor::Tensor;
use nextmem_data::Split;
use nextmem_model::{Tokenizer, save_projection};
use nextmem_training::{IndexModel, IndexRows, LatentOptions, Stage, Stream, SubstitutionModel, Validate, fit, mix, validate_index};

use super::{Trainer, WEIGHTS};
use crate::experiment::StageName;
use crate::parts::{Parts, autoencoder, standing_alone};
use crate::source::Source;

/// Candidates of a validation's item.
const VALIDATION_CANDIDATES: usize = 20;

impl Trainer<'_> {
    pub(super) fn index(&self, parts: &Parts) -> Result<()> {
        let e = self.experiment();
        let (Some(config), Source::Facts(facts)) = (&e.train.index, &self.plan.source) else {
            bail!("no [train.index], or no [data.facts] for it")
        };
        let items =
            |split, count, candidates| facts.index_items(split, count, candidates).context("[train.index]: no queries to learn from");
        let tokenizer = Arc::new(Tokenizer::open(&parts.backbone)?);
        let memory = autoencoder(parts, tokenizer.sod(), self.device)?;
        // Queries start as passages are encoded.
        let base = standing_alone(&memory.encoder, &memory.decoder, &memory.special);
        let trainable = self.encoder(StageName::Index, &config.lora, &base);
        let options = LatentOptions { layout: memory.layout.clone(), ..LatentOptions::default() };
        let mut query = SubstitutionModel::new(trainable, base, None, tokenizer.sod(), options);
        query.index_vectors = memory.layout.index_vectors.clone().map(Param::from_tensor);
        let num_latents = e.method.nextmem.num_latents;
        let model = IndexModel {
            query,
            projection: Param::from_tensor(Tensor::eye(memory.hidden_size(), self.device)),
            memory,
            num_latents,
            temperature: config.temperature,
            every_prefix: config.every_prefix,
        };
        let stream =
            Stream::new(items(Split::Train, facts.train_len(), config.candidates)?, mix(e.train_seed(), 100 + StageName::Index as u64))?;
        let rows = IndexRows { items: stream, tokenizer: tokenizer.clone(), num_latents };
        let valid = items(Split::Valid, e.train.run.validation_passages, VALIDATION_CANDIDATES)?;
        let valid = (0..valid.len()).map(|index| valid.get(index)).collect::<Result<Vec<_>, _>>()?;
        let validate: Validate<IndexModel> = {
            let tokenizer = tokenizer.clone();
            Arc::new(move |model, _| validate_index(model, &valid, &tokenizer))
        };
        let stage = Stage { last_level: num_latents, ..self.stage("index", config.steps, &config.optim, Arc::new(rows), Some(validate)) };
        let trained = fit(model, stage)?;
        self.save(&trained.query.trainable, &config.lora, &tokenizer)?;
        let weights = self.dir.join(WEIGHTS);
        trained.query.layout().save(&weights)?;
        Ok(save_projection(trained.projection.val(), &weights)?)
    }
}
