//! `export --format hf`: a run as directories that transformers and peft load.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nextmem_model::{Encoder, PeftConfig, save_adapter, save_decoder};

use crate::cli::BadInput;
use crate::device;
use crate::parts::{assemble, finished};
use crate::terminal::note_once;

/// Writes `decoder/` (stage 1 merged, special-token rows in the table, tokenizer with `[SoD]`) and what encodes: `encoder/`, a PEFT
/// adapter on that decoder or a whole model. Returns the directories.
///
/// # Errors
/// A run without weights, or an output directory that is not empty.
pub fn export(run: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    let (plan, parts) = finished(run)?;
    if std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
        bail!(BadInput(format!("{}: is not empty, expected a new directory; choose another --out", out.display())));
    }
    let device = device::open(&plan.experiment.device.evaluation(), plan.experiment.seed)?;
    let (model, tokenizer) = assemble(&parts, &device)?;
    let (decoder, encoder) = (out.join("decoder"), out.join("encoder"));
    let folded = match &model.special {
        Some(special) => special.fold(model.decoder.clone()),
        None => model.decoder.clone(),
    };
    save_decoder(&folded, &decoder, tokenizer.im_end(), tokenizer.end_of_text())?;
    tokenizer.save(&decoder)?;
    if !model.layout.is_plain() {
        model.layout.save(&decoder)?;
        note_once(format!(
            "{}: latents, texts and copies of this run have positions of their own; give transformers position_ids as latent_layout.json \
             says, or it reads them as one plain sequence",
            decoder.display()
        ));
    }
    match &model.encoder {
        Encoder::Adapter(adapter) => {
            let lora = plan.experiment.train.substitution.as_ref().and_then(|s| s.lora.clone());
            let (r, lora_alpha) = lora.map_or((16, 32.0), |l| (l.rank, l.alpha));
            save_adapter(adapter, &PeftConfig { r, lora_alpha }, &encoder)?;
        }
        Encoder::Full(whole) => {
            save_decoder(whole, &encoder, tokenizer.im_end(), tokenizer.end_of_text())?;
            tokenizer.save(&encoder)?;
        }
        Encoder::Bare => return Ok(vec![decoder]),
    }
    Ok(vec![decoder, encoder])
}
