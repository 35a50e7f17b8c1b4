//! `export --format tensorboard`: training curves as TensorBoard event files.
//!
//! A file is a row of records, each `length u64, masked crc32c of it u32, data, masked crc32c of data u32` (TFRecord); the data
//! is a protocol buffer `Event { wall_time = 1, step = 2, file_version = 3, summary = 5 { value = 1 { tag = 1, simple_value = 2 } } }`
//! (tensorflow/core/util/event.proto, framework/summary.proto).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cli::BadInput;
use crate::experiment::StageName;
use crate::run_dir::{RunDir, read_json};

/// Fields of metrics.jsonl that are no curve.
const NO_CURVE: [&str; 2] = ["step", "seconds"];

/// The curves of a run: its stages that were trained in it, with their files.
pub fn curves(run: &Path) -> Vec<(&'static str, PathBuf)> {
    let stages = StageName::ALL.map(|stage| (stage.dir(), run.join(stage.dir()).join("metrics.jsonl")));
    stages.into_iter().filter(|(_, curve)| curve.is_file()).collect()
}

/// Writes one event file per stage that has a curve and returns their paths; the same run gives the same bytes.
///
/// # Errors
/// A directory that is no run, a run without curves, a line that is no JSON object with a `step`.
pub fn export(run: &Path, out: &Path) -> Result<Vec<PathBuf>> {
    let dir = RunDir::open(run).map_err(|e| BadInput(format!("{e:#}")))?;
    let manifest = read_json(&dir.join("manifest.json")).unwrap_or_default();
    let ended = manifest["ended_unix_seconds"].as_u64().unwrap_or(0);
    let mut written = Vec::new();
    for (stage, curve) in curves(run) {
        let text = std::fs::read_to_string(&curve).with_context(|| curve.display().to_string())?;
        let bytes = events(&text, ended as f64).with_context(|| curve.display().to_string())?;
        let target = out.join(stage);
        std::fs::create_dir_all(&target).with_context(|| target.display().to_string())?;
        let path = target.join(format!("events.out.tfevents.{ended:010}.nextmem"));
        nextmem_model::write_atomically(&path, &bytes)?;
        written.push(path);
    }
    match written.is_empty() {
        true => bail!(BadInput(format!("{}: no stage with a metrics.jsonl; nothing was trained in it", run.display()))),
        false => Ok(written),
    }
}

/// A whole event file of a curve; wall times count the seconds of the lines from `start`.
fn events(curve: &str, start: f64) -> Result<Vec<u8>> {
    let mut version = Vec::new();
    double(&mut version, 1, start);
    bytes(&mut version, 3, b"brain.Event:2");
    let mut file = record(&version);
    let mut elapsed = 0.0;
    for (number, line) in curve.lines().enumerate() {
        let value: Value = serde_json::from_str(line).with_context(|| format!("line {}", number + 1))?;
        let (Some(fields), Some(step)) = (value.as_object(), value["step"].as_u64()) else {
            bail!("line {}: got {line:?}, expected an object with a `step`", number + 1)
        };
        elapsed += value["seconds"].as_f64().unwrap_or(0.0);
        let mut summary = Vec::new();
        for (tag, number) in fields.iter().filter(|(tag, _)| !NO_CURVE.contains(&tag.as_str())) {
            if let Some(number) = number.as_f64() {
                let mut scalar = Vec::new();
                bytes(&mut scalar, 1, tag.as_bytes());
                key(&mut scalar, 2, 5);
                scalar.extend((number as f32).to_le_bytes());
                bytes(&mut summary, 1, &scalar);
            }
        }
        let mut event = Vec::new();
        double(&mut event, 1, start + elapsed);
        key(&mut event, 2, 0);
        varint(&mut event, step);
        bytes(&mut event, 5, &summary);
        file.extend(record(&event));
    }
    Ok(file)
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let masked = |bytes: &[u8]| {
        let crc = crc32c(bytes);
        (crc.rotate_right(15).wrapping_add(0xa282_ead8)).to_le_bytes()
    };
    [&length[..], &masked(&length), data, &masked(data)].concat()
}

/// CRC-32C (Castagnoli), RFC 3720 appendix B.4.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |c, _| (c >> 1) ^ (0x82f6_3b78 & (c & 1).wrapping_neg())))
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, field: u64, wire: u64) {
    varint(out, field << 3 | wire);
}

fn double(out: &mut Vec<u8>, field: u64, value: f64) {
    key(out, field, 1);
    out.extend(value.to_le_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u64, value: &[u8]) {
    key(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn checksums_of_the_standard() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
    }

    #[test]
    fn an_event_file_byte_by_byte() {
        let file = events("{\"step\": 300, \"seconds\": 2.0, \"loss\": 0.5}\n", 7.0).unwrap();
        let length = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().unwrap()) as usize;
        let first = length(0);
        assert_eq!(&file[12 + first - 13..12 + first], b"brain.Event:2");
        let at = 16 + first;
        let event = &file[at + 12..at + 12 + length(at)];
        let mut expected = vec![0x09];
        expected.extend(9.0f64.to_le_bytes());
        expected.extend([0x10, 0xac, 0x02, 0x2a, 13, 0x0a, 11, 0x0a, 4]);
        expected.extend(b"loss");
        expected.push(0x15);
        expected.extend(0.5f32.to_le_bytes());
        assert_eq!(event, expected);
        assert_eq!(file.len(), at + 16 + length(at));
        assert!(events("{}\n", 0.0).is_err() && events("x\n", 0.0).is_err());
    }
}
