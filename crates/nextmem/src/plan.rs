//! An experiment with every default filled and every rule checked: what `explain` prints is what `run` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nextmem_data::DataError;
use nextmem_eval::{Task, check_metric};
use nextmem_model::{DecoderConfig, Tokenizer, check_decoder};
use serde_json::{Map, Value, json};

use crate::device;
use crate::experiment::{Experiment, Loaded, NanoConfig, Origin, StageName, TaskConfig};
use crate::hashes;
use crate::hub::{advice, located};
use crate::parts::{adapter_fits, trained_decoder};
use crate::run_dir::RunDir;
use crate::source::Source;

mod identity;
mod limits;
mod numbers;

pub use numbers::{check_lora, check_optim};

/// Raised when the same settings no longer give the same numbers.
const FINGERPRINT_VERSION: u32 = 2;

/// Everything decided; nothing after this reads the experiment file again.
#[derive(Debug)]
pub struct Plan {
    /// The values.
    pub experiment: Experiment,
    /// The file as typed.
    pub text: String,
    /// Where typed keys came from.
    pub origins: BTreeMap<String, Origin>,
    /// The run directory.
    pub dir: PathBuf,
    /// What trains and tests.
    pub source: Source,
    /// The stages in order, each with the hash of all that its numbers depend on.
    pub stages: Vec<(StageName, String)>,
    /// Sizes of the backbone; for a nano backbone without the vocabulary, which the tokenizer decides.
    pub backbone: DecoderConfig,
    /// What identifies the data.
    pub data_identity: Value,
    /// What decides samples, beside the trained stages; empty where something is missing.
    decides: Map<String, Value>,
    /// What is accepted and may not be meant.
    pub notes: Vec<String>,
    /// What this machine lacks, each with its next step; only an outline has any.
    pub missing: Vec<String>,
}

impl Plan {
    /// Fills defaults and checks every rule that needs no weights.
    ///
    /// # Errors
    /// What, got, expected, next step; the first rule that is broken.
    pub fn resolve(loaded: Loaded) -> Result<Self> {
        let plan = Self::outline(loaded)?;
        match plan.missing.first() {
            Some(first) => bail!("{first}"),
            None => Ok(plan),
        }
    }

    /// The same for a machine that may not have the model, the data or the backend yet: those are listed in `missing`.
    pub fn outline(loaded: Loaded) -> Result<Self> {
        let mut missing = Vec::new();
        let Loaded { experiment, text, origins } = loaded;
        let e = &experiment;
        if e.name.is_empty() || Path::new(&e.name).file_name().is_none_or(|n| n != e.name.as_str()) {
            bail!("name: got {:?}, expected a plain directory name", e.name);
        }
        // A backend that another build has is missing here, like a model; a name that none has is an error.
        let elsewhere = device::elsewhere(&e.device.evaluation()).context("device.evaluate, or device.backend where that is not set")?;
        let training_elsewhere = device::elsewhere(&e.device)?;
        let source = Source::of(e)?;
        let data_identity = absent(source.identity().context("[data]"), &mut missing)?.unwrap_or_default();
        let names = stage_names(e)?;
        if matches!(source, Source::Nothing) && !names.is_empty() {
            bail!("[data]: got nothing, expected one of [data.facts], [data.text], [data.squad], [data.prepared]");
        }
        numbers::check_numbers(e)?;
        let (backbone, backbone_identity) = backbone(e, &mut missing)?;
        if names.contains(&StageName::Pretrain) && (e.backbone.nano.is_none() || e.data.facts.is_none()) {
            bail!("[train.pretrain]: needs [backbone.nano] and [data.facts]; to adapt an existing model use the other stages");
        }
        for (task, config) in tasks(e) {
            missing.extend(source.check_task(task, config)?);
            for metric in &config.metrics {
                check_metric(task, metric)?;
            }
            if config.limit == 0 {
                bail!("eval.{}.limit: got 0, expected at least 1", task.name());
            }
        }
        if let Some(bge) = e.baselines.bge.as_ref().filter(|bge| !located(&bge.model).is_dir()) {
            let next = "fetch a BERT encoder (`nextmem fetch BAAI/bge-base-en-v1.5`) and name it or its directory";
            missing.push(format!("baselines.bge.model: {}: not on this machine; {next}", bge.model.display()));
        }
        if missing.is_empty() {
            limits::check_texts(e, &source)?;
        }
        let complete = missing.is_empty();
        missing.extend(elsewhere);
        limits::check(e, &backbone)?;
        let notes = limits::notes(e, &names);

        // Pretraining, stage 1 and stage 2 build on one another; baselines build on what stage 2 builds on.
        let weights = weights_identity(e, &names, &backbone)?;
        let decides = if complete { identity::of(e, &source, &backbone_identity, &weights)? } else { Map::new() };
        let training = if complete { source.training_identity()? } else { Value::Null };
        let mut before = match weights {
            Value::Null => backbone_identity,
            given => json!([backbone_identity, given]),
        };
        let mut before_stage2 = before.clone();
        let mut stages = Vec::new();
        for name in names {
            let config = match name {
                // Where the backbone is copied to decides nothing about it.
                StageName::Pretrain => {
                    let nano = e.backbone.nano.clone().map(|nano| NanoConfig { export: None, ..nano });
                    json!([e.train.pretrain, nano, text_identity(e)?])
                }
                StageName::Reconstruction => json!(e.train.reconstruction),
                StageName::Substitution => json!(e.train.substitution),
                StageName::Index => json!([e.train.index, e.method.nextmem.num_latents]),
                StageName::Reader => json!([e.train.reader, e.method.nextmem.num_latents]),
                StageName::Icae => match &e.baselines.icae {
                    Some(icae) if icae.as_stage2 || e.train.substitution.as_ref().is_some_and(|s| s.layout != Default::default()) => {
                        json!([icae, icae.stage(e.train.substitution.as_ref())])
                    }
                    icae => json!(icae),
                },
                StageName::Dyprag => json!(e.baselines.dyprag),
            };
            let before_this = if name.is_baseline() { &before_stage2 } else { &before };
            let all = json!({
                "version": FINGERPRINT_VERSION, "stage": name.dir(), "config": config, "seed": e.train_seed(), "data": training,
                "shards": e.train.run.shards, "device": [e.device.backend, e.device.dtype], "before": before_this,
            });
            let fingerprint = crate::run_dir::sha256(all.to_string().as_bytes());
            match name {
                StageName::Pretrain | StageName::Reconstruction => (before, before_stage2) = (json!(fingerprint), json!(fingerprint)),
                StageName::Substitution | StageName::Reader => before = json!(fingerprint),
                StageName::Index | StageName::Icae | StageName::Dyprag => {}
            }
            stages.push((name, fingerprint));
        }
        let dir = e.results.join(&e.name);
        let mut plan = Self { text, origins, dir, source, stages, backbone, data_identity, decides, notes, missing, experiment };
        if let Some(how) = training_elsewhere.filter(|_| plan.trains()) {
            plan.missing.push(how);
        }
        Ok(plan)
    }

    /// Whether a stage is left to be trained.
    pub fn trains(&self) -> bool {
        let run = RunDir::planned(self);
        self.stages.iter().any(|(name, fingerprint)| run.recorded_weights(*name, fingerprint).is_null())
    }

    /// The name of our backbone in tables.
    pub fn backbone_label(&self) -> String {
        let params = self.backbone.num_params() as f64;
        let size = if params >= 1e9 { format!("{:.1}B", params / 1e9) } else { format!("{:.2}M", params / 1e6) };
        match &self.experiment.backbone.model {
            Some(path) => format!("{} ({size})", path.file_name().unwrap_or(path.as_os_str()).to_string_lossy()),
            None => format!("{} ({size})", self.experiment.name),
        }
    }

    /// Bytes of one memory: bf16 latents and NF4 with scales.
    pub fn memory_bytes(&self) -> (usize, usize) {
        let (latents, hidden) = (self.experiment.method.nextmem.num_latents, self.backbone.hidden_size);
        (2 * latents * hidden, (latents * hidden).div_ceil(2) + hidden)
    }
}

/// The tasks that are on.
pub fn tasks(e: &Experiment) -> Vec<(Task, &TaskConfig)> {
    let all =
        [(Task::Reconstruction, &e.eval.reconstruction), (Task::ContextualQa, &e.eval.contextual_qa), (Task::Retrieval, &e.eval.retrieval)];
    all.into_iter().filter_map(|(task, config)| config.as_ref().map(|c| (task, c))).collect()
}

fn stage_names(e: &Experiment) -> Result<Vec<StageName>> {
    let has = |name: StageName| match name {
        StageName::Pretrain => e.train.pretrain.is_some(),
        StageName::Reconstruction => e.train.reconstruction.is_some(),
        StageName::Substitution => e.train.substitution.is_some(),
        StageName::Reader => e.train.reader.is_some(),
        StageName::Index => e.train.index.is_some(),
        StageName::Icae | StageName::Dyprag => e.baselines.trains(name),
    };
    let all = StageName::ALL;
    let Some(listed) = &e.train.stages else { return Ok(all.into_iter().filter(|n| has(*n)).collect()) };
    if let Some(name) = listed.iter().find(|n| !has(**n)) {
        bail!("train.stages: lists {name:?}, which has no table; add it or take it out");
    }
    Ok(all.into_iter().filter(|n| listed.contains(n)).collect())
}

/// Sizes and identity of the backbone; a checkpoint's names, shapes and tokenizer are checked without reading weights.
fn backbone(e: &Experiment, missing: &mut Vec<String>) -> Result<(DecoderConfig, Value)> {
    match (&e.backbone.model, &e.backbone.nano) {
        (Some(model), None) => {
            let dir = &located(model);
            if !dir.is_dir() {
                let Some(config) = DecoderConfig::published(&model.to_string_lossy()) else {
                    bail!(
                        "backbone.model: {}: no such directory (paths in an experiment lead from its own folder); expected a Hugging Face \
                         checkpoint{}",
                        model.display(),
                        advice(model)
                    );
                };
                missing.push(format!(
                    "backbone.model: {}: not on this machine; get it with `nextmem fetch {}` ({})",
                    model.display(),
                    model.display(),
                    crate::cost::scaled(crate::cost::checkpoint_bytes(&config), "B")
                ));
                return Ok((config, json!(model)));
            }
            let config = check_decoder(dir, &device::host()).context("backbone.model")?;
            let tokenizer = Tokenizer::open(dir).context("backbone.model")?;
            // Before anything is trained for it, what asks questions must know that it can.
            if e.eval.contextual_qa.is_some() || e.train.pretrain.is_some() || e.baselines.dyprag.is_some() {
                tokenizer.check_prompts().context("backbone.model: questions are asked with its chat template")?;
            }
            if tokenizer.vocab_size() > config.vocab_size {
                bail!(
                    "backbone.model: the tokenizer has {} entries, config.json's vocab_size is {}",
                    tokenizer.vocab_size(),
                    config.vocab_size
                );
            }
            Ok((config, hashes::weights(dir)?))
        }
        (None, Some(nano)) => {
            if e.train.pretrain.is_none() {
                bail!("[backbone.nano]: needs [train.pretrain]; a random backbone can do nothing");
            }
            let config = DecoderConfig {
                vocab_size: nano.vocab_size,
                hidden_size: nano.hidden_size,
                intermediate_size: nano.intermediate_size,
                num_hidden_layers: nano.num_hidden_layers,
                num_attention_heads: nano.num_attention_heads,
                num_key_value_heads: nano.num_key_value_heads,
                head_dim: nano.head_dim,
                rms_norm_eps: 1e-6,
                rope_theta: 10_000.0,
                tie_word_embeddings: nano.tie_word_embeddings,
                max_position_embeddings: nano.max_position_embeddings,
            };
            if let Err(reason) = config.check() {
                bail!("[backbone.nano]: {reason}");
            }
            Ok((config, json!("nano")))
        }
        _ => bail!("[backbone]: expected either `model` (a directory) or [backbone.nano] (sizes of a new one)"),
    }
}

/// What identifies the parts of `[weights]`; their names and shapes are checked without reading values.
fn weights_identity(e: &Experiment, names: &[StageName], backbone: &DecoderConfig) -> Result<Value> {
    let Some(weights) = &e.weights else { return Ok(Value::Null) };
    let mut identity = Vec::new();
    let mut base = e.backbone.model.as_deref().map(located).filter(|dir| dir.is_dir());
    for (key, dir, trained) in
        [("stage1", &weights.stage1, StageName::Reconstruction), ("stage2", &weights.stage2, StageName::Substitution)]
    {
        let Some(dir) = &dir.as_deref().map(located) else { continue };
        if names.contains(&trained) {
            bail!("weights.{key}: got a directory, but [train] has the stage that makes it; remove one of them");
        }
        if !dir.is_dir() {
            bail!("weights.{key}: {}: no such directory; expected a PEFT or a Hugging Face directory{}", dir.display(), advice(dir));
        }
        let fits = match dir.join("adapter_config.json").exists() {
            true => adapter_fits(dir, base.as_deref(), backbone, &device::host()),
            false => check_decoder(dir, &device::host()).map(drop).map_err(Into::into),
        };
        // Stage 2 stands on what stage 1 is, where that is a whole model.
        if !dir.join("adapter_config.json").exists() {
            base = Some(dir.clone());
        }
        fits.with_context(|| format!("weights.{key}"))?;
        identity.push(json!({key: hashes::weights(dir)?}));
        if let Some(decoder) = trained_decoder(dir).filter(|_| key == "stage2") {
            identity.push(json!({"stage2/decoder": hashes::weights(&decoder)?}));
        }
    }
    if identity.is_empty() {
        bail!("[weights]: got nothing, expected stage1 or stage2");
    }
    Ok(json!(identity))
}

/// Nothing instead of a data file that is not there yet, which is noted; any other error stays one.
fn absent<T>(result: Result<T>, missing: &mut Vec<String>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.chain().any(|e| matches!(e.downcast_ref(), Some(DataError::Missing { .. }))) => {
            missing.push(format!("{error:#}"));
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The real text that pretraining reads beside the facts.
fn text_identity(e: &Experiment) -> Result<Value> {
    match &e.data.text {
        Some(text) => Ok(json!({"text": hashes::file(&text.path)?, "words": [text.min_words, text.max_words]})),
        None => Ok(Value::Null),
    }
}
