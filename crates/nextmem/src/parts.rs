//! The trained parts of a NextMem on disk, and how they go together: token rows, deltas, stage 1 merged, stage 2 apart.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn::tensor::{Device, Tensor, TensorData};
use nextmem_model::{
    Autoencoder, Decoder, DecoderConfig, Encoder, IndexHead, LatentLayout, LoraAdapter, ModelError, SPECIAL_FILE, SPECIAL_KEY,
    SpecialDelta, TensorFiles, Tokenizer, adapter_notes, has_saved_embeddings, load_adapter, load_adapter_on, load_projection, untied_note,
};
use serde::{Deserialize, Serialize};

use crate::cli::BadInput;
use crate::experiment::{Experiment, Loaded, StageName};
use crate::hub::located;
use crate::plan::Plan;
use crate::run_dir::RunDir;
use crate::stages::WEIGHTS;
use crate::terminal::note_once;

/// Name of the directory in a stage's weights that holds a decoder which was trained along.
pub const DECODER: &str = "decoder";

/// The decoder that was trained along with the encoder in a directory, if one was.
pub fn trained_decoder(weights: &Path) -> Option<PathBuf> {
    Some(weights.join(DECODER)).filter(|decoder| decoder.is_dir())
}

/// Where the trained parts of a run are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Parts {
    /// The backbone's Hugging Face directory.
    pub backbone: PathBuf,
    /// Weights after stage 1: a Hugging Face directory or a PEFT one.
    pub stage1: Option<PathBuf>,
    /// Weights after stage 2, likewise.
    pub stage2: Option<PathBuf>,
    /// Decoders that later stages trained, in their order: a Hugging Face directory takes the place of what was before, a PEFT one
    /// is merged into it.
    #[serde(default)]
    pub readers: Vec<PathBuf>,
    /// The encoder of queries, likewise, with its projection.
    #[serde(default)]
    pub index: Option<PathBuf>,
    /// ICAE's encoder, likewise, with its slots.
    pub icae: Option<PathBuf>,
    /// DyPRAG's hypernetwork.
    pub dyprag: Option<PathBuf>,
}

impl Parts {
    /// What an experiment names rather than trains.
    pub fn given(e: &Experiment) -> Self {
        let weights = e.weights.clone().unwrap_or_default();
        Self::named(e.backbone.model.as_deref(), weights.stage1.as_deref(), weights.stage2.as_deref())
    }

    /// Directories, or names of what has been fetched.
    pub fn named(backbone: Option<&Path>, stage1: Option<&Path>, stage2: Option<&Path>) -> Self {
        let [backbone, stage1, stage2] = [backbone, stage1, stage2].map(|dir| dir.map(located));
        let readers = stage2.as_deref().and_then(trained_decoder).into_iter().collect();
        Self { backbone: backbone.unwrap_or_default(), stage1, stage2, readers, ..Self::default() }
    }

    /// Adds what a stage made.
    pub fn add(&mut self, stage: StageName, weights: PathBuf) {
        match stage {
            StageName::Pretrain => self.backbone = weights,
            StageName::Reconstruction => self.stage1 = Some(weights),
            StageName::Substitution => {
                self.readers.extend(trained_decoder(&weights));
                self.stage2 = Some(weights);
            }
            StageName::Reader => self.readers.push(weights),
            StageName::Index => self.index = Some(weights),
            StageName::Icae => self.icae = Some(weights),
            StageName::Dyprag => self.dyprag = Some(weights),
        }
    }

    /// The directories of NextMem itself in their order.
    pub fn dirs(&self) -> Vec<&Path> {
        std::iter::once(&self.backbone).chain(&self.stage1).chain(&self.stage2).chain(&self.readers).map(PathBuf::as_path).collect()
    }
}

/// What a finished run resolved to, and where its weights are; those of baselines are not asked for.
///
/// # Errors
/// [`BadInput`] where `root` is no run or lacks the weights of a stage.
pub fn finished(root: &Path) -> Result<(Plan, Parts)> {
    let dir = RunDir::open(root).map_err(|e| BadInput(format!("{e:#}")))?;
    let experiment = dir.experiment()?;
    let plan = Plan::resolve(Loaded { experiment, text: String::new(), origins: Default::default() })
        .map_err(|e| BadInput(format!("{}: {e:#}", root.display())))?;
    let mut parts = Parts::given(&plan.experiment);
    for (name, fingerprint) in plan.stages.iter().filter(|(name, _)| !name.is_baseline()) {
        let Some(stage) = dir.usable(*name, fingerprint)? else {
            bail!(BadInput(format!(
                "{}: no weights of stage `{}`; run its experiment first (`nextmem run`; its text is in {})",
                root.display(),
                name.dir(),
                dir.join("experiment.toml").display()
            )));
        };
        parts.add(*name, stage.join(WEIGHTS));
    }
    Ok((plan, parts))
}

/// Reads the trained parts into an autoencoder.
pub fn assemble(parts: &Parts, device: &Device) -> Result<(Autoencoder, Tokenizer)> {
    let tokenizer = Tokenizer::open(&parts.backbone)?;
    let autoencoder = autoencoder(parts, tokenizer.sod(), device)?;
    Ok((autoencoder, tokenizer))
}

/// Reads the trained parts of a model whose `[SoD]` is known.
pub fn autoencoder(parts: &Parts, sod: u32, device: &Device) -> Result<Autoencoder> {
    let (decoder, special) = after_stage1(parts, sod, device)?;
    let encoder = match &parts.stage2 {
        None => Encoder::Bare,
        Some(dir) => encoder(dir, &decoder, device)?,
    };
    // Without a stage 2 texts stand where stage 1 has learnt to copy them.
    let layout = match parts.stage2.as_ref().or(parts.stage1.as_ref()) {
        None => LatentLayout::default(),
        Some(dir) => LatentLayout::load(dir, decoder.config().hidden_size, device)?,
    };
    if parts.readers.is_empty() {
        return Ok(Autoencoder { decoder, encoder, special, sod, layout });
    }
    // What encodes stays on stage 1, whatever later stages make of the decoder.
    let encoder = Encoder::Full(Box::new(standing_alone(&encoder, &decoder, &special)));
    let decoder = parts.readers.iter().try_fold(decoder, |decoder, dir| -> Result<Decoder> {
        Ok(match dir.join("adapter_config.json").exists() {
            true => adapter_on(dir, &decoder, device)?.merge(decoder),
            false => whole(dir, device)?,
        })
    })?;
    Ok(Autoencoder { decoder, encoder, special, sod, layout })
}

/// What encodes as weights of its own: an adapter merged, the special-token rows in the table.
pub fn standing_alone(encoder: &Encoder, decoder: &Decoder, special: &Option<SpecialDelta>) -> Decoder {
    let merged = match encoder {
        Encoder::Full(encoder) => return encoder.as_ref().clone(),
        Encoder::Adapter(adapter) => adapter.merge(decoder.clone()),
        Encoder::Bare => decoder.clone(),
    };
    match special {
        Some(special) => special.fold(merged),
        None => merged,
    }
}

/// The trained index of a memory, if there is one.
pub fn index_head(parts: &Parts, memory: &Autoencoder) -> Result<Option<IndexHead>> {
    let (Some(dir), device) = (&parts.index, &memory.device()) else { return Ok(None) };
    // An adapter stands on what encodes passages.
    let base = standing_alone(&memory.encoder, &memory.decoder, &memory.special);
    let query = encoder(dir, &base, device)?;
    let query = Encoder::Full(Box::new(standing_alone(&query, &base, &None)));
    let (layout, projection) =
        (LatentLayout::load(dir, memory.hidden_size(), device)?, load_projection(dir, memory.hidden_size(), device)?);
    Ok(Some(IndexHead { query, layout, projection }))
}

/// An encoder beside a decoder: a PEFT directory, or a Hugging Face one.
pub fn encoder(dir: &Path, decoder: &Decoder, device: &Device) -> Result<Encoder> {
    Ok(match dir.join("adapter_config.json").exists() {
        true => Encoder::Adapter(adapter_on(dir, decoder, device)?),
        false => Encoder::Full(Box::new(whole(dir, device)?)),
    })
}

/// A whole model; what is odd about it is told.
fn whole(dir: &Path, device: &Device) -> Result<Decoder, ModelError> {
    let decoder = nextmem_model::load_decoder(dir, device)?;
    untied_note(dir, decoder.config()).into_iter().for_each(note_once);
    Ok(decoder)
}

/// An adapter on a decoder; what is odd about it is told.
fn adapter_on(dir: &Path, decoder: &Decoder, device: &Device) -> Result<LoraAdapter, ModelError> {
    let adapter = load_adapter_on(dir, decoder, device)?;
    adapter_notes(dir, decoder.config())?.into_iter().for_each(note_once);
    Ok(adapter)
}

/// Whether an adapter can be loaded on a model of those sizes; embeddings that were saved with it are compared with those of
/// `base`, if that is there.
///
/// # Errors
/// As [`load_adapter_on`].
pub fn adapter_fits(dir: &Path, base: Option<&Path>, sizes: &DecoderConfig, device: &Device) -> Result<()> {
    match base.filter(|_| has_saved_embeddings(dir)) {
        Some(base) => load_adapter_on(dir, &load_backbone(base, device)?, device)?,
        None => load_adapter(dir, sizes, device)?,
    };
    Ok(())
}

/// The decoder after stage 1, its adapter merged, and the special-token rows.
pub fn after_stage1(parts: &Parts, sod: u32, device: &Device) -> Result<(Decoder, Option<SpecialDelta>)> {
    match &parts.stage1 {
        None => Ok((load_backbone(&parts.backbone, device)?, None)),
        Some(dir) if dir.join("adapter_config.json").exists() => {
            let base = load_backbone(&parts.backbone, device)?;
            let adapter = adapter_on(dir, &base, device)?;
            let special = read_special(dir, base.config().hidden_size, device)?.map(|delta| SpecialDelta { sod, delta });
            Ok((adapter.merge(base), special))
        }
        Some(dir) => Ok((whole(dir, device)?, None)),
    }
}

/// Reads a backbone; rows of special tokens that its tokenizer does not have yet start as the official code starts them.
pub fn load_backbone(dir: &Path, device: &Device) -> Result<Decoder> {
    let decoder = whole(dir, device)?;
    if !dir.join("tokenizer.json").exists() {
        return Ok(decoder);
    }
    let tokenizer = Tokenizer::open(dir)?;
    let rows = decoder.config().vocab_size;
    if tokenizer.vocab_size() > rows {
        bail!(BadInput(format!(
            "{}: the tokenizer has {} entries, config.json's vocab_size is {rows}",
            dir.display(),
            tokenizer.vocab_size()
        )));
    }
    Ok(decoder.with_rows_of(tokenizer.first_rows()))
}

/// `special_tokens.safetensors` (ours) or `special_tokens_DTOKENS.pt` (official) of a stage-1 directory.
pub fn read_special(dir: &Path, hidden: usize, device: &Device) -> Result<Option<Tensor<2>>> {
    let ours = dir.join(SPECIAL_FILE);
    let official = dir.join("special_tokens_DTOKENS.pt");
    let (values, rows, width) = if ours.exists() {
        let files = TensorFiles::open_file(&ours)?;
        let shape = files.shape(SPECIAL_KEY).unwrap_or_default().to_vec();
        let [rows, width] = shape[..] else { bail!("{}: `{}` got shape {shape:?}, expected two dimensions", ours.display(), SPECIAL_KEY) };
        (files.read_f32(SPECIAL_KEY)?, rows, width)
    } else if official.exists() {
        nextmem_model::read_special_embeddings(&official)?
    } else {
        return Ok(None);
    };
    if width != hidden || rows < 2 {
        bail!("{}: got special rows {rows} x {width}, expected at least 2 x {hidden}", dir.display());
    }
    Ok(Some(Tensor::from_data(TensorData::new(values, [rows, width]), device)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_was_trained_along_belongs_to_a_directory_that_is_named_too() {
        let dir = tempfile::tempdir().unwrap();
        let stage2 = dir.path().join("stage2/weights");
        std::fs::create_dir_all(&stage2).unwrap();
        assert!(Parts::named(None, None, Some(&stage2)).readers.is_empty());
        std::fs::create_dir(stage2.join(DECODER)).unwrap();
        let mut trained = Parts::default();
        trained.add(StageName::Substitution, stage2.clone());
        assert_eq!(trained.readers, [stage2.join(DECODER)]);
        assert_eq!(Parts::named(None, None, Some(&stage2)).readers, trained.readers);
    }
}
