//! Bytes against quality for every number of latents and every storage format, over the runs given.
//!
//! One series per run, one label per format; x and `bytes` are the bytes of a memory. Series `text` is the lossless floor.

use anyhow::Result;
use nextmem_eval::analysis::rows;
use serde_json::json;

use super::record::Record;
use super::storage::{FORMATS, floor, formats};
use super::{Outcome, Setting};

pub fn run(setting: &Setting, record: &mut Record) -> Result<Outcome> {
    record.begin((FORMATS.len() * setting.subjects().count() + 2) * setting.passages.len());
    let mut series = Vec::new();
    for subject in setting.subjects() {
        let name = setting.label(subject);
        formats(setting, subject, record, &name, |format| format.into())?;
        series.push(json!({"series": name, "run": subject.name(), "num_latents": subject.num_latents()}));
    }
    floor(setting, record)?;
    Ok(Outcome { rows: rows(record.samples()), details: json!({"series": series}), unprinted: &[] })
}
