//! Runs the stages that are not done yet.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use nextmem_data::Split;
use nextmem_eval::metric::{TextMetric, text_metric};
use nextmem_model::{
    Decoder, LatentLayout, LoraAdapter, PeftConfig, Tokenizer, random_slots, save_adapter, save_decoder, save_special_embeddings,
};
use nextmem_training::{
    Example, Levels, LoraConfig, Observer, Rate, Rates, ReconstructionRows, RowSource, Score, Stage, Stream, SubstitutionConfig,
    SubstitutionModel, SubstitutionRows, TokenModel, TokenTexts, Trainable, Validate, Validation, fit, mix, validate_reconstruction,
    validate_substitution,
};
use serde_json::{Value, json};

use crate::experiment::{Experiment, StageName};
use crate::interrupt::{self, Noted};
use crate::parts::{DECODER, Parts, after_stage1, load_backbone};
use crate::plan::Plan;
use crate::progress::Bars;
use crate::run_dir::{RunDir, provenance, read_json, record_weights, unix_seconds};

mod baselines;
mod index;
mod pretrain;
mod reader;

/// Trains what is not finished and returns where everything is, with one manifest entry per stage.
pub fn train(plan: &Plan, run: &RunDir, device: &Device) -> Result<(Parts, Vec<Value>)> {
    let e = &plan.experiment;
    let mut parts = Parts::given(e);
    let mut entries = Vec::new();
    let mut begun = false;
    plan.notes.iter().for_each(|note| eprintln!("note: {note}"));
    for (name, fingerprint) in &plan.stages {
        let dir = run.join(name.dir());
        let found = run.usable(*name, fingerprint)?;
        let (reused, done) = match found {
            Some(found) => {
                eprintln!("stage `{}`: already done in {}", name.dir(), found.display());
                (true, found)
            }
            None => {
                if !begun {
                    run.begin(plan, &entries)?;
                    begun = true;
                }
                train_stage(plan, run, device, (*name, fingerprint), &parts)
                    .with_context(|| format!("stage `{}` of {}", name.dir(), run.root().display()))?;
                (false, dir.clone())
            }
        };
        if done == dir {
            // The finished weights replace the checkpoints; a kill may have come between the two.
            let _ = std::fs::remove_dir_all(dir.join("checkpoint"));
        }
        let left = read_json(&done.join("done.json"));
        entries.push(json!({"stage": name.dir(), "fingerprint": fingerprint, "reused": reused, "dir": done, "done": left}));
        parts.add(*name, done.join(WEIGHTS));
    }
    if let (Some(nano), true) = (&e.backbone.nano, plan.stages.iter().any(|(n, _)| *n == StageName::Pretrain))
        && let Some(export) = &nano.export
    {
        copy_dir(&parts.backbone, export)?;
        eprintln!("backbone copied to {}", export.display());
    }
    Ok((parts, entries))
}

/// Trains one stage in its directory and notes what it left.
fn train_stage(plan: &Plan, run: &RunDir, device: &Device, (name, fingerprint): (StageName, &str), parts: &Parts) -> Result<()> {
    let (started, since) = (Instant::now(), unix_seconds());
    let dir = run.join(name.dir());
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    discard_other_attempt(&dir, fingerprint)?;
    device.seed(mix(plan.experiment.train_seed(), name as u64));
    let trainer = Trainer { plan, dir: dir.clone(), device };
    let noted = Noted::begin();
    match name {
        StageName::Pretrain => trainer.pretrain(),
        StageName::Reconstruction => trainer.reconstruction(parts),
        StageName::Substitution => trainer.substitution(parts),
        StageName::Reader => trainer.reader(parts),
        StageName::Index => trainer.index(parts),
        StageName::Icae => trainer.icae(parts),
        StageName::Dyprag => trainer.dyprag(parts),
    }?;
    drop(noted);
    let done = json!({
        "fingerprint": fingerprint,
        "weights": WEIGHTS,
        "files": record_weights(&dir.join(WEIGHTS))?,
        "seconds": started.elapsed().as_secs_f64().round(),
        "started_unix_seconds": since,
        "ended_unix_seconds": unix_seconds(),
        "made_by": provenance(),
    });
    run.write(&format!("{}/done.json", name.dir()), format!("{done:#}\n").as_bytes())
}

/// Name of the directory in a stage that holds its result.
pub const WEIGHTS: &str = "weights";

/// Nothing of another configuration, or of another text that the tokenizer was trained on, must be continued.
fn discard_other_attempt(dir: &Path, fingerprint: &str) -> Result<()> {
    let marker = dir.join("fingerprint");
    if std::fs::read_to_string(&marker).ok().as_deref() == Some(fingerprint) {
        return Ok(());
    }
    let failed = |path: &Path| format!("cannot delete {}", path.display());
    for name in ["checkpoint", WEIGHTS] {
        let path = dir.join(name);
        if path.exists() {
            std::fs::remove_dir_all(&path).with_context(|| failed(&path))?;
        }
    }
    for name in ["metrics.jsonl", "done.json"] {
        let path = dir.join(name);
        if path.exists() {
            std::fs::remove_file(&path).with_context(|| failed(&path))?;
        }
    }
    Ok(nextmem_model::write_atomically(&marker, fingerprint.as_bytes())?)
}

/// A bar that passes on the wish to stop.
struct Watched(Bars);

impl Observer for Watched {
    fn start(&self, stage: &str, done: usize, total: usize) {
        self.0.start(stage, done, total);
    }
    fn step(&self, step: usize, message: &str) {
        self.0.step(step, message);
    }
    fn end(&self, message: &str) {
        self.0.end(message);
    }
    fn stop(&self) -> bool {
        interrupt::wanted().is_some()
    }
}

struct Trainer<'a> {
    plan: &'a Plan,
    dir: PathBuf,
    device: &'a Device,
}

impl Trainer<'_> {
    fn experiment(&self) -> &Experiment {
        &self.plan.experiment
    }

    fn seed(&self, stage: StageName) -> u64 {
        mix(self.experiment().train_seed(), stage as u64)
    }

    fn stage<M>(
        &self,
        name: &'static str,
        steps: usize,
        optim: &nextmem_training::OptimConfig,
        rows: Arc<dyn RowSource>,
        validate: Option<Validate<M>>,
    ) -> Stage<M> {
        Stage {
            name,
            dir: self.dir.clone(),
            steps,
            optim: optim.clone(),
            rates: Rates::default(),
            run: self.experiment().train.run.clone(),
            rows,
            last_level: 0,
            validate,
            observer: Arc::new(Watched(Bars::new(&self.title(name)))),
        }
    }

    /// The name of a stage in its bar: its directory, what it trains, and which of how many stages it is.
    fn title(&self, name: &str) -> String {
        let dir = self.dir.file_name().unwrap_or_default().to_string_lossy();
        let at = self.plan.stages.iter().position(|(stage, _)| stage.dir() == dir).map_or(0, |at| at + 1);
        let what = if dir == name { String::new() } else { format!(" {name}") };
        format!("{dir}{what} ({at} of {})", self.plan.stages.len())
    }

    /// The training passages of a stage as tokens, some of them random ones.
    fn texts(&self, stage: StageName, tokenizer: &Arc<Tokenizer>, random_tokens: f64) -> Result<TokenTexts> {
        let seed = mix(self.experiment().train_seed(), 100 + stage as u64);
        Ok(TokenTexts { texts: Stream::new(self.plan.source.training()?, seed)?, tokenizer: tokenizer.clone(), random_tokens, seed })
    }

    /// The passages with questions of a stage that asks some.
    fn questions(&self, share: f64, stage: StageName) -> Result<Option<Stream<Example>>> {
        if share == 0.0 {
            return Ok(None);
        }
        Ok(Some(Stream::new(self.examples()?, mix(self.seed(stage), 1))?))
    }

    fn validation(&self, tokenizer: &Arc<Tokenizer>) -> Result<Validation> {
        let run = &self.experiment().train.run;
        let passages = self.plan.source.held_out(Split::Valid, run.validation_passages)?;
        let scores = [("f1", text_metric("f1")), ("exact_match", text_metric("exact_match"))];
        let score = |m: &'static dyn TextMetric| -> Score { Arc::new(move |p: &str, r: &str| m.score(p, r)) };
        let scores = scores.into_iter().filter_map(|(name, metric)| Some((name, score(metric?)))).collect();
        Ok(Validation { passages, random_tokens: run.validation_random_tokens, tokenizer: tokenizer.clone(), scores })
    }

    fn reconstruction(&self, parts: &Parts) -> Result<()> {
        let Some(config) = &self.experiment().train.reconstruction else { bail!("no [train.reconstruction]") };
        let tokenizer = Arc::new(Tokenizer::open(&parts.backbone)?);
        let base = load_backbone(&parts.backbone, self.device)?;
        let sod = tokenizer.sod();
        let layout = LatentLayout { config: config.layout(), block_tokens: 1, index_vectors: None };
        let model = match &config.lora {
            None => TokenModel { trainable: Trainable { full: Some(base), adapter: None, special: None }, frozen: None, sod, layout },
            Some(lora) => {
                let special = Tensor::zeros([3, base.config().hidden_size], self.device);
                let adapter = LoraAdapter::random(base.config(), lora.rank, lora.alpha, self.seed(StageName::Reconstruction), self.device);
                let trainable = Trainable { full: None, adapter: Some(adapter), special: Some(Param::from_tensor(special)) };
                TokenModel { trainable, frozen: Some(base), sod, layout }
            }
        };
        let questions = self.questions(config.questions, StageName::Reconstruction)?;
        let texts = self.texts(StageName::Reconstruction, &tokenizer, config.random_tokens)?;
        let rows = ReconstructionRows { texts, questions, config: config.clone() };
        let validation = self.validation(&tokenizer)?;
        let validate: Validate<TokenModel> = Arc::new(move |model, _| validate_reconstruction(model, &validation));
        let mut trained = fit(model, self.stage("reconstruction", config.steps, &config.optim, Arc::new(rows), Some(validate)))?;
        if config.balanced {
            trained.trainable.full = trained.trainable.full.map(Decoder::balanced);
        }
        self.save(&trained.trainable, &config.lora, &tokenizer)?;
        Ok(trained.layout.save(&self.dir.join(WEIGHTS))?)
    }

    fn substitution(&self, parts: &Parts) -> Result<()> {
        let Some(config) = &self.experiment().train.substitution else { bail!("no [train.substitution]") };
        let tokenizer = Arc::new(Tokenizer::open(&parts.backbone)?);
        let (decoder, special) = after_stage1(parts, tokenizer.sod(), self.device)?;
        let trainable = self.encoder(StageName::Substitution, &config.lora, &decoder);
        let mut model = SubstitutionModel::new(trainable, decoder, special, tokenizer.sod(), config.into());
        if config.layout.index_vectors && config.levels > 1 {
            let vectors = random_slots(&model.decoder, config.levels - 1, mix(self.seed(StageName::Substitution), 1));
            model.index_vectors = Some(Param::from_tensor(vectors));
        }
        self.substitute(StageName::Substitution, config, model, &tokenizer).map(drop)
    }

    /// Trains latents of any kind by stage 2's rows and saves encoder, decoder and layout.
    fn substitute(
        &self,
        stage: StageName,
        config: &SubstitutionConfig,
        mut model: SubstitutionModel,
        tokenizer: &Arc<Tokenizer>,
    ) -> Result<SubstitutionModel> {
        if config.decoder.is_some() {
            model.trained_decoder = Some(apart(&model.decoder));
        }
        if config.auxiliary.is_some() {
            model.auxiliary = Some(apart(&model.decoder));
        }
        let texts = self.texts(stage, tokenizer, config.random_tokens)?;
        // The same levels for every method that is trained alike.
        let levels = Levels::new(config, self.experiment().train_seed());
        let rows = SubstitutionRows { texts, questions: self.questions(config.questions, stage)?, config: config.clone(), levels };
        let validation = self.validation(tokenizer)?;
        let validate: Validate<SubstitutionModel> = {
            let config = config.clone();
            Arc::new(move |model, level| validate_substitution(model, level, &config, &validation))
        };
        let hold = if config.rate == Rate::LastLevel { config.steps_before_last() } else { 0 };
        let stage = Stage {
            rates: Rates { hold, trained_decoder: config.decoder },
            last_level: if config.any_k_from.is_some() { 0 } else { config.levels },
            ..self.stage(
                if stage == StageName::Substitution { "substitution" } else { stage.dir() },
                config.steps(),
                &config.optim,
                Arc::new(rows),
                Some(validate),
            )
        };
        let trained = fit(model, stage)?;
        let weights = self.dir.join(WEIGHTS);
        self.save(&trained.trainable, &config.lora, tokenizer)?;
        trained.layout().save(&weights)?;
        if let Some(decoder) = &trained.trained_decoder {
            let dir = weights.join(DECODER);
            save_decoder(decoder, &dir, tokenizer.im_end(), tokenizer.end_of_text())?;
            tokenizer.save(&dir)?;
        }
        Ok(trained)
    }

    /// A fresh encoder beside a decoder: a copy of its weights, or an adapter on them.
    fn encoder(&self, stage: StageName, lora: &Option<LoraConfig>, decoder: &Decoder) -> Trainable {
        let (full, adapter) = match lora {
            None => (Some(apart(decoder)), None),
            Some(lora) => (None, Some(LoraAdapter::random(decoder.config(), lora.rank, lora.alpha, self.seed(stage), self.device))),
        };
        Trainable { full, adapter, special: None }
    }

    /// Writes a Hugging Face directory, or a PEFT one with the special-token rows.
    fn save(&self, trained: &Trainable, lora: &Option<LoraConfig>, tokenizer: &Tokenizer) -> Result<()> {
        let weights = self.dir.join(WEIGHTS);
        if let Some(decoder) = &trained.full {
            save_decoder(decoder, &weights, tokenizer.im_end(), tokenizer.end_of_text())?;
            tokenizer.save(&weights)?;
        }
        if let (Some(adapter), Some(lora)) = (&trained.adapter, lora) {
            save_adapter(adapter, &PeftConfig { r: lora.rank, lora_alpha: lora.alpha }, &weights)?;
        }
        if let Some(special) = &trained.special {
            save_special_embeddings(special.val(), &weights)?;
        }
        Ok(())
    }
}

/// A copy that is trained beside what it was copied from: every parameter has an id of its own.
fn apart(decoder: &Decoder) -> Decoder {
    struct Apart;
    impl ModuleMapper for Apart {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            Param::from_tensor(param.val())
        }
    }
    decoder.clone().map(&mut Apart)
}

/// Copies the files of a directory.
pub fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    for entry in std::fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let bytes = std::fs::read(entry.path())?;
        nextmem_model::write_atomically(&to.join(entry.file_name()), &bytes)?;
    }
    Ok(())
}
