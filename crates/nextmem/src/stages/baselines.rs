//! The stages of the trained baselines.

use std::sync::Arc;

use anyhow::{Result, bail};
use burn::data::dataset::Dataset;
use burn::data::dataset::transform::{Mapper, MapperDataset};
use burn::module::Param;
use nextmem_model::{Hypernetwork, Tokenizer, random_slots, save_slots};
use nextmem_training::{DypragModel, DypragRows, Example, IcaeModel, IcaeRows, Stream, Validate, fit, mix, validate_dyprag, validate_icae};

use super::{Trainer, WEIGHTS};
use crate::experiment::StageName;
use crate::parts::{Parts, after_stage1};
use crate::source::examples;

impl Trainer<'_> {
    pub(super) fn icae(&self, parts: &Parts) -> Result<()> {
        let Some(config) = &self.experiment().baselines.icae else { bail!("no [baselines.icae]") };
        let tokenizer = Arc::new(Tokenizer::open(&parts.backbone)?);
        let (decoder, special) = after_stage1(parts, tokenizer.sod(), self.device)?;
        let trainable = self.encoder(StageName::Icae, &config.lora, &decoder, parts)?;
        // Not the adapter's numbers again.
        let slots = random_slots(&decoder, config.slots, mix(self.seed(StageName::Icae), 1));
        let model = IcaeModel { trainable, slots: Param::from_tensor(slots), decoder, special, sod: tokenizer.sod() };
        let rows = IcaeRows { texts: self.texts(StageName::Icae)?, tokenizer: tokenizer.clone(), slots: config.slots };
        let validation = self.validation(&tokenizer)?;
        let validate: Validate<IcaeModel> = Arc::new(move |model, _| validate_icae(model, &validation));
        let trained = fit(model, self.stage("icae", config.steps, &config.optim, Arc::new(rows), Some(validate)))?;
        self.save(&trained.trainable, &config.lora, &tokenizer)?;
        Ok(save_slots(trained.slots.val(), &self.dir.join(WEIGHTS))?)
    }

    pub(super) fn dyprag(&self, parts: &Parts) -> Result<()> {
        let Some(config) = &self.experiment().baselines.dyprag else { bail!("no [baselines.dyprag]") };
        let tokenizer = Arc::new(Tokenizer::open(&parts.backbone)?);
        let (decoder, special) = after_stage1(parts, tokenizer.sod(), self.device)?;
        let seed = self.seed(StageName::Dyprag);
        let hypernetwork = Hypernetwork::random(config.hypernetwork.clone(), decoder.config(), seed, self.device);
        let model = DypragModel { hypernetwork, decoder, special, sod: tokenizer.sod() };
        let rows = DypragRows {
            examples: Stream::new(self.examples()?, mix(self.experiment().seed, 100 + StageName::Dyprag as u64))?,
            tokenizer: tokenizer.clone(),
            questions: config.questions,
            seed,
        };
        let validation = self.validation(&tokenizer)?;
        let validate: Validate<DypragModel> = Arc::new(move |model, _| validate_dyprag(model, &validation));
        let trained = fit(model, self.stage("dyprag", config.steps, &config.optim, Arc::new(rows), Some(validate)))?;
        Ok(trained.hypernetwork.save(&self.dir.join(WEIGHTS))?)
    }

    /// The training passages, with questions where the data has them.
    fn examples(&self) -> Result<Arc<dyn Dataset<Example>>> {
        let e = self.experiment();
        Ok(match &e.data.facts {
            Some(facts) => examples(facts, e.seed),
            None => Arc::new(MapperDataset::new(self.plan.source.training()?, WithoutQuestions)),
        })
    }
}

struct WithoutQuestions;

impl Mapper<String, Example> for WithoutQuestions {
    fn map(&self, text: &String) -> Example {
        Example { text: text.clone(), questions: Vec::new() }
    }
}
