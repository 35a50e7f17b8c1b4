//! The stages of the trained baselines.

use std::sync::Arc;

use anyhow::{Result, bail};
use burn::data::dataset::Dataset;
use burn::data::dataset::transform::{Mapper, MapperDataset};
use burn::module::Param;
use nextmem_model::{Hypernetwork, Tokenizer, random_slots, save_slots};
use nextmem_training::{DypragModel, DypragRows, Example, LatentOptions, Stream, SubstitutionModel, Validate, fit, mix, validate_dyprag};

use super::{Trainer, WEIGHTS};
use crate::experiment::StageName;
use crate::parts::{Parts, after_stage1};
use crate::source::Source;

impl Trainer<'_> {
    pub(super) fn icae(&self, parts: &Parts) -> Result<()> {
        let e = self.experiment();
        let Some(config) = &e.baselines.icae else { bail!("no [baselines.icae]") };
        let stage2 = e.train.substitution.as_ref();
        let stage = config.stage(stage2);
        let tokenizer = Arc::new(Tokenizer::open(&parts.backbone)?);
        let (decoder, special) = after_stage1(parts, tokenizer.sod(), self.device)?;
        let trainable = self.encoder(StageName::Icae, &config.lora, &decoder);
        // Not the adapter's numbers again.
        let slots = random_slots(&decoder, config.slots, mix(self.seed(StageName::Icae), 1));
        let mut options = LatentOptions::from(&stage);
        options.layout.block_tokens = stage2.map_or(1, |stage2| stage2.block_tokens);
        options.layout.config.index_vectors = false;
        let mut model = SubstitutionModel::new(trainable, decoder, special, tokenizer.sod(), options);
        model.slots = Some(Param::from_tensor(slots));
        let trained = self.substitute(StageName::Icae, &stage, model, &tokenizer)?;
        match &trained.slots {
            Some(slots) => Ok(save_slots(slots.val(), &self.dir.join(WEIGHTS))?),
            None => Ok(()),
        }
    }

    pub(super) fn dyprag(&self, parts: &Parts) -> Result<()> {
        let Some(config) = &self.experiment().baselines.dyprag else { bail!("no [baselines.dyprag]") };
        let tokenizer = Arc::new(Tokenizer::open(&parts.backbone)?);
        let (decoder, special) = after_stage1(parts, tokenizer.sod(), self.device)?;
        let seed = self.seed(StageName::Dyprag);
        let hypernetwork = Hypernetwork::random(config.hypernetwork.clone(), decoder.config(), seed, self.device);
        let model = DypragModel { hypernetwork, decoder, special, sod: tokenizer.sod() };
        let rows = DypragRows {
            examples: Stream::new(self.examples()?, mix(self.experiment().train_seed(), 100 + StageName::Dyprag as u64))?,
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
    pub(super) fn examples(&self) -> Result<Arc<dyn Dataset<Example>>> {
        Ok(match &self.plan.source {
            Source::Facts(facts) => facts.examples(),
            _ => Arc::new(MapperDataset::new(self.plan.source.training()?, WithoutQuestions)),
        })
    }
}

struct WithoutQuestions;

impl Mapper<String, Example> for WithoutQuestions {
    fn map(&self, text: &String) -> Example {
        Example { text: text.clone(), questions: Vec::new() }
    }
}
