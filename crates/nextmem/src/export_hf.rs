//! `export --format hf`: a run as directories that transformers and peft load.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use nextmem_model::{Encoder, PeftConfig, save_adapter, save_decoder};

use crate::cli::BadInput;
use crate::device;
use crate::parts::{assemble, finished};

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
    let device = device::open(&plan.experiment.device, plan.experiment.seed)?;
    let (model, tokenizer) = assemble(&parts, &device)?;
    let (decoder, encoder) = (out.join("decoder"), out.join("encoder"));
    let folded = match &model.special {
        Some(special) => special.fold(model.decoder.clone()),
        None => model.decoder.clone(),
    };
    save_decoder(&folded, &decoder, tokenizer.im_end(), tokenizer.end_of_text())?;
    tokenizer.save(&decoder)?;
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
