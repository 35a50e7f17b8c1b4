//! Memories as one safetensors file that Python reads too.
//!
//! | tensor | type | shape | when |
//! |---|---|---|---|
//! | `latents` | BF16 | `[n, num_latents, hidden_size]` | dense |
//! | `codes` | U8 | `[n, ceil(num_latents * hidden_size / 2)]`, two codes a byte, the first in the low half | NF4 |
//! | `scales` | F8_E4M3 | `[n, hidden_size]`, the largest value of each dimension | NF4 with scales |
//! | `records` | U8 | UTF-8 of a JSON array of n objects `{"id", "text"?}` | always |
//!
//! The header has `format` = `nextmem-memories`, `version` = `1`, `model` (a label for people), `fingerprint` (of the weights
//! that made them: latents mean something to those weights only), `num_latents`, `hidden_size`, `quantization` (`none` or
//! `nf4`) and `created` (Unix seconds). `scripts/interop/memories.py` reads it with safetensors and torch.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use half::bf16;
use nextmem_quant::Nf4Latents;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::ModelError;
use crate::method::{Latents, Memory};
use crate::tensor_files::{TensorFiles, write_atomically};

const FORMAT: &str = "nextmem-memories";
const VERSION: &str = "1";

/// What is kept of a passage beside its latents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryRecord {
    /// A name that is unique in its file.
    pub id: String,
    /// The passage itself, if it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The content of a memory file.
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryFile {
    /// A label of the model, for people.
    pub model: String,
    /// [`fingerprint`] of the weights that made the memories.
    pub fingerprint: String,
    /// When, in Unix seconds.
    pub created: u64,
    /// One per memory.
    pub records: Vec<MemoryRecord>,
    /// All dense or all NF4, of one size.
    pub memories: Vec<Memory>,
}

impl MemoryFile {
    /// Writes the file as a whole.
    ///
    /// # Errors
    /// [`ModelError::Unsupported`] for text memories, mixed kinds or sizes, latents that are no numbers in bf16, or a number of
    /// records that is not that of the memories.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let n = self.memories.len();
        if n == 0 || self.records.len() != n {
            return Err(ModelError::Unsupported(format!(
                "got {n} memories and {} records, expected as many, at least one",
                self.records.len()
            )));
        }
        let (mut values, mut codes, mut scales, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for memory in &self.memories {
            match memory {
                Memory::Latents(l) => {
                    if let Some(value) = l.values.iter().find(|v| !bf16::from_f32(**v).is_finite()) {
                        let reason =
                            format!("got latents with the value {value}, expected finite ones; the weights that made them diverged");
                        return Err(ModelError::Unsupported(reason));
                    }
                    sizes.push((l.num_latents, l.hidden_size, "none"));
                    values.extend(l.values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes()));
                }
                Memory::Nf4(l) => {
                    sizes.push((l.latents(), l.hidden(), "nf4"));
                    codes.extend_from_slice(l.packed_codes());
                    scales.extend_from_slice(l.scale_bits());
                }
                _ => return Err(ModelError::Unsupported("got a memory without latents, expected latents or NF4".into())),
            }
        }
        let (num_latents, hidden_size, quantization) = sizes[0];
        if sizes.iter().any(|s| *s != sizes[0]) || (!scales.is_empty() && scales.len() != n * hidden_size) {
            return Err(ModelError::Unsupported("got memories of several kinds or sizes, expected one; write a file for each".into()));
        }
        let bad = |e: safetensors::SafeTensorError| ModelError::Safetensors { path: path.to_owned(), reason: e.to_string() };
        let records = serde_json::to_vec(&self.records).map_err(|e| ModelError::Io { path: path.to_owned(), source: e.into() })?;
        let mut views = vec![("records", TensorView::new(Dtype::U8, vec![records.len()], &records).map_err(bad)?)];
        if quantization == "nf4" {
            views.push(("codes", TensorView::new(Dtype::U8, vec![n, codes.len() / n], &codes).map_err(bad)?));
        } else {
            views.push(("latents", TensorView::new(Dtype::BF16, vec![n, num_latents, hidden_size], &values).map_err(bad)?));
        }
        if !scales.is_empty() {
            views.push(("scales", TensorView::new(Dtype::F8_E4M3, vec![n, hidden_size], &scales).map_err(bad)?));
        }
        let header: HashMap<String, String> = [
            ("format", FORMAT.to_string()),
            ("version", VERSION.to_string()),
            ("model", self.model.clone()),
            ("fingerprint", self.fingerprint.clone()),
            ("num_latents", num_latents.to_string()),
            ("hidden_size", hidden_size.to_string()),
            ("quantization", quantization.to_string()),
            ("created", self.created.to_string()),
        ]
        .map(|(k, v)| (k.to_string(), v))
        .into();
        write_atomically(path, &safetensors::serialize(views, Some(header)).map_err(bad)?)
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`ModelError::MemoryFile`] for another format or version, or tensors that do not go together.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let files = TensorFiles::open_file(path).map_err(|error| match error {
            ModelError::Missing { path, .. } => ModelError::Missing { path, expected: "a memory file, which `nextmem encode` writes" },
            other => other,
        })?;
        Self::read(&files).map_err(|reason| match reason {
            Fault::Model(error) => error,
            Fault::Reason(reason) => ModelError::MemoryFile { path: path.to_owned(), reason },
        })
    }

    fn read(files: &TensorFiles) -> Result<Self, Fault> {
        let header = |key: &str| files.header().get(key).cloned().ok_or_else(|| format!("no `{key}` in the header"));
        let (format, version) = (header("format")?, header("version")?);
        if (format.as_str(), version.as_str()) != (FORMAT, VERSION) {
            return Err(format!("got format {format:?} version {version:?}, expected {FORMAT:?} version {VERSION:?}").into());
        }
        let number = |key: &str| -> Result<u64, Fault> {
            let text = header(key)?;
            text.parse().map_err(|_| format!("`{key}` is {text:?}, expected a number").into())
        };
        let size = |key: &str| -> Result<usize, Fault> {
            match usize::try_from(number(key)?) {
                Ok(size) if size > 0 && size < 1 << 32 => Ok(size),
                _ => Err(format!("`{key}`: expected a positive number below 2^32").into()),
            }
        };
        let (num_latents, hidden_size) = (size("num_latents")?, size("hidden_size")?);
        let each = num_latents.checked_mul(hidden_size).ok_or("`num_latents` times `hidden_size` is too large".to_string())?;
        if files.dtype("records").as_deref() != Some("U8") {
            return Err("no `records` in U8".to_string().into());
        }
        let records: Vec<MemoryRecord> =
            serde_json::from_slice(&files.read_bytes("records")?).map_err(|e| format!("`records` is not the expected JSON: {e}"))?;
        let n = records.len();
        if n == 0 {
            return Err("it holds no memories".to_string().into());
        }
        let expect = |key: &str, dtype: &str, shape: &[usize]| -> Result<Vec<u8>, Fault> {
            let got = (files.dtype(key).unwrap_or_default(), files.shape(key).unwrap_or_default().to_vec());
            match got.0 == dtype && got.1 == shape {
                true => Ok(files.read_bytes(key)?),
                false => Err(format!("`{key}` got {} {:?}, expected {dtype} {shape:?}", got.0, got.1).into()),
            }
        };
        let memories = match header("quantization")?.as_str() {
            "none" => {
                let bytes = expect("latents", "BF16", &[n, num_latents, hidden_size])?;
                let values: Vec<f32> = bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect();
                if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                    let (id, value) = (&records[at / each].id, values[at]);
                    return Err(format!("`latents` of {id:?} has {value} at {}, expected numbers - the file is damaged", at % each).into());
                }
                values.chunks(each).map(|v| Memory::Latents(Latents { values: v.to_vec(), num_latents, hidden_size })).collect()
            }
            "nf4" => {
                let codes = expect("codes", "U8", &[n, each.div_ceil(2)])?;
                let scales = match files.shape("scales") {
                    Some(_) => expect("scales", "F8_E4M3", &[n, hidden_size])?,
                    None => Vec::new(),
                };
                let scales = |i: usize| scales.get(i * hidden_size..(i + 1) * hidden_size).unwrap_or_default().to_vec();
                let one = |(i, codes): (usize, &[u8])| {
                    Nf4Latents::from_parts(num_latents, hidden_size, codes.to_vec(), scales(i)).map(Memory::Nf4)
                };
                codes.chunks(each.div_ceil(2)).enumerate().map(one).collect::<Result<_, _>>().map_err(|e| e.to_string())?
            }
            other => return Err(format!("`quantization` is {other:?}, expected \"none\" or \"nf4\"").into()),
        };
        Ok(Self { model: header("model")?, fingerprint: header("fingerprint")?, created: number("created")?, records, memories })
    }

    /// Refuses memories that other weights made.
    ///
    /// # Errors
    /// [`ModelError::MemoryFile`] with both labels.
    pub fn check(&self, path: &Path, model: &str, fingerprint: &str) -> Result<(), ModelError> {
        if self.fingerprint == fingerprint {
            return Ok(());
        }
        let short = |f: &str| f.chars().take(12).collect::<String>();
        let reason = format!(
            "got memories of {} (weights {}), expected those of {model} (weights {}); open them with the model that made them",
            self.model,
            short(&self.fingerprint),
            short(fingerprint)
        );
        Err(ModelError::MemoryFile { path: path.to_owned(), reason })
    }
}

/// Why a file cannot be read.
enum Fault {
    Model(ModelError),
    Reason(String),
}

impl From<ModelError> for Fault {
    fn from(error: ModelError) -> Self {
        Self::Model(error)
    }
}

impl From<String> for Fault {
    fn from(reason: String) -> Self {
        Self::Reason(reason)
    }
}

/// Files up to this size are hashed whole, larger ones by evenly spaced samples: 16 GB would take longer to hash than to load.
const WHOLE: u64 = 64 << 20;
const SAMPLES: u64 = 256;
const SAMPLE_BYTES: usize = 64 << 10;

/// Identifies the weights in some directories: SHA-256 over every safetensors, `.pt`, `config.json`, `adapter_config.json`,
/// `latent_layout.json` and `tokenizer.json` in them, in the order of their names. Where the directories lie does not matter.
///
/// # Errors
/// A directory or file that cannot be read.
pub fn fingerprint(dirs: &[&Path]) -> Result<String, ModelError> {
    let mut hasher = Sha256::new();
    for (number, dir) in dirs.iter().enumerate() {
        let io = |source| ModelError::read(dir, source);
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir).map_err(io)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.retain(|path| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            ["config.json", "adapter_config.json", "latent_layout.json", "tokenizer.json"].contains(&name)
                || name.ends_with(".safetensors")
                || name.ends_with(".pt")
        });
        files.sort();
        for path in files {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            hasher.update(format!("{number}/{name}\n"));
            hash_file(&path, &mut hasher).map_err(|source| ModelError::read(&path, source))?;
        }
    }
    Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect())
}

fn hash_file(path: &Path, hasher: &mut Sha256) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    hasher.update(size.to_le_bytes());
    let mut buffer = vec![0u8; SAMPLE_BYTES];
    if size <= WHOLE {
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                read => hasher.update(&buffer[..read]),
            }
        }
    }
    for sample in 0..SAMPLES {
        // From the first byte, the header, to the last.
        file.seek(SeekFrom::Start((size - SAMPLE_BYTES as u64) / (SAMPLES - 1) * sample))?;
        file.read_exact(&mut buffer)?;
        hasher.update(&buffer);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nextmem_quant::Scales;

    fn latents(seed: u32) -> Latents {
        // Values that bf16 holds exactly.
        let values = (0..15).map(|i| ((i * 7 + seed) % 13) as f32 / 8.0 - 0.5).collect();
        Latents { values, num_latents: 3, hidden_size: 5 }
    }

    fn file(memories: Vec<Memory>) -> MemoryFile {
        let records =
            (0..memories.len()).map(|i| MemoryRecord { id: format!("m{i}"), text: (i == 0).then(|| "a caf\u{e9}".into()) }).collect();
        MemoryFile { model: "tiny".into(), fingerprint: "ab".into(), created: 7, records, memories }
    }

    #[test]
    fn every_kind_is_read_back_as_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.safetensors");
        let nf4 = |seed, scales| Memory::Nf4(Nf4Latents::quantize(&latents(seed).values, 3, 5, scales).unwrap());
        for memories in [
            vec![Memory::Latents(latents(1)), Memory::Latents(latents(2))],
            vec![nf4(1, Scales::Absmax), nf4(2, Scales::Absmax)],
            vec![nf4(1, Scales::None)],
        ] {
            let written = file(memories);
            written.save(&path).unwrap();
            assert_eq!(MemoryFile::open(&path).unwrap(), written);
        }
    }

    #[test]
    fn memories_of_other_weights_and_other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.safetensors");
        let written = file(vec![Memory::Latents(latents(1))]);
        written.save(&path).unwrap();
        assert!(written.check(&path, "tiny", "ab").is_ok());
        let error = written.check(&path, "big", "cd").unwrap_err().to_string();
        assert!(error.contains("of tiny (weights ab)") && error.contains("of big (weights cd)"), "{error}");
        assert!(file(vec![Memory::Text("x".into())]).save(&path).is_err());
        let other = Latents { values: vec![0.0; 10], num_latents: 2, hidden_size: 5 };
        assert!(file(vec![Memory::Latents(latents(1)), Memory::Latents(other)]).save(&path).is_err());
        // A plain safetensors file is no memory file.
        crate::tensor_files::write_safetensors(&path, &[("latents".into(), vec![1], vec![0; 4])]).unwrap();
        let error = MemoryFile::open(&path).unwrap_err().to_string();
        assert!(error.contains("m.safetensors") && error.contains("version"), "{error}");
    }

    #[test]
    fn latents_that_are_no_numbers_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.safetensors");
        let two = file(vec![Memory::Latents(latents(1)), Memory::Latents(latents(2))]);
        two.save(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        // The first latent of the second memory: with 2 x 15 values, behind which come the records.
        let start = whole.len() - serde_json::to_vec(&two.records).unwrap().len() - 2 * 15 * 2;
        for (bits, named) in [(0x7fc0u16, "NaN"), (0x7f80, "inf"), (0xff80, "-inf"), (0xffff, "NaN")] {
            let mut bytes = whole.clone();
            bytes[start + 30..start + 32].copy_from_slice(&bits.to_le_bytes());
            std::fs::write(&path, bytes).unwrap();
            let error = MemoryFile::open(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("`latents` of \"m1\" has {named} at 0")), "{error}");
        }
        let huge = Latents { values: vec![f32::MAX; 15], num_latents: 3, hidden_size: 5 };
        assert!(file(vec![Memory::Latents(huge)]).save(&path).unwrap_err().to_string().contains("diverged"));
        let error = MemoryFile::open(&dir.path().join("nothere.safetensors")).unwrap_err().to_string();
        assert!(error.contains("nothere.safetensors: no such file - expected a memory file"), "{error}");
    }

    #[test]
    fn a_fingerprint_follows_the_weights_and_not_their_place() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for dir in [&a, &b] {
            std::fs::write(dir.path().join("model.safetensors"), vec![7; 1000]).unwrap();
            std::fs::write(dir.path().join("config.json"), "{}").unwrap();
        }
        std::fs::write(b.path().join("README.md"), "notes").unwrap();
        let of = |dir: &tempfile::TempDir| fingerprint(&[dir.path()]).unwrap();
        assert_eq!(of(&a), of(&b));
        assert_ne!(fingerprint(&[a.path(), b.path()]).unwrap(), of(&a));
        std::fs::write(b.path().join("model.safetensors"), vec![8; 1000]).unwrap();
        assert_ne!(of(&a), of(&b));
        assert!(fingerprint(&[Path::new("no/such/dir")]).is_err());
    }
}
