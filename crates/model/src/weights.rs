//! Safetensors checkpoints: single or sharded, read one tensor at a time, every key accounted for.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bytes, DType, Device, Tensor, TensorData};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorView};

use crate::config::DecoderConfig;
use crate::decoder::Decoder;
use crate::error::ModelError;
use crate::weight_source::WeightSource;

/// Largest header a safetensors file may have, as in the reference implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;

#[derive(Clone, Debug)]
struct Entry {
    file: PathBuf,
    dtype: Dtype,
    shape: Vec<usize>,
    start: u64,
    len: usize,
}

impl Entry {
    fn read_into(&self, bytes: &mut [u8]) -> Result<(), ModelError> {
        let io = |e| ModelError::read(&self.file, e);
        let mut file = File::open(&self.file).map_err(io)?;
        file.seek(SeekFrom::Start(self.start)).and_then(|_| file.read_exact(bytes)).map_err(io)
    }
}

/// The tensors of one or several safetensors files, listed without reading their values.
#[derive(Debug, Default)]
pub struct TensorFiles {
    entries: BTreeMap<String, Entry>,
}

impl TensorFiles {
    /// Opens `model.safetensors`, or every shard named by `model.safetensors.index.json`.
    ///
    /// # Errors
    /// A missing, truncated or corrupt file, or an index that names a tensor its shard does not hold.
    pub fn open_checkpoint(dir: &Path) -> Result<Self, ModelError> {
        let index = dir.join("model.safetensors.index.json");
        if !index.exists() {
            return Self::open_file(&dir.join("model.safetensors"));
        }
        let text = std::fs::read_to_string(&index).map_err(|e| ModelError::read(&index, e))?;
        let corrupt = |reason: String| ModelError::Safetensors { path: index.clone(), reason };
        let value: serde_json::Value = serde_json::from_str(&text).map_err(|e| corrupt(e.to_string()))?;
        let map = value.get("weight_map").and_then(|m| m.as_object()).ok_or_else(|| corrupt("no `weight_map`".into()))?;
        let mut shards: Vec<&str> = map.values().filter_map(|v| v.as_str()).collect();
        shards.sort_unstable();
        shards.dedup();
        let mut all = Self::default();
        for shard in shards {
            // A shard is a file beside the index: a path in its name would read elsewhere.
            if Path::new(shard).file_name().is_none_or(|name| name != shard) {
                return Err(corrupt(format!("shard name {shard:?} is not a plain file name")));
            }
            all.entries.extend(Self::open_file(&dir.join(shard))?.entries);
        }
        match map.keys().find(|key| !all.entries.contains_key(*key)) {
            Some(key) => Err(corrupt(format!("`{key}` is listed but in no shard"))),
            None => Ok(all),
        }
    }

    /// Lists one file.
    pub fn open_file(path: &Path) -> Result<Self, ModelError> {
        let corrupt = |reason: String| ModelError::Safetensors { path: path.to_owned(), reason };
        let mut file = File::open(path).map_err(|e| ModelError::read(path, e))?;
        let size = file.metadata().map_err(|e| ModelError::read(path, e))?.len();
        let mut prefix = [0u8; 8];
        file.read_exact(&mut prefix).map_err(|_| corrupt(format!("{size} bytes, expected at least 8")))?;
        let header = u64::from_le_bytes(prefix);
        if header > MAX_HEADER_BYTES || header + 8 > size {
            return Err(corrupt(format!("header of {header} bytes in a file of {size}")));
        }
        let mut text = vec![0u8; header as usize];
        file.read_exact(&mut text).map_err(|e| corrupt(e.to_string()))?;
        // The crate validates offsets, shapes and sizes while parsing.
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|e| corrupt(e.to_string()))?;
        let data = metadata.data_len() as u64;
        if 8 + header + data != size {
            return Err(corrupt(format!("got {size} bytes, expected {}", 8 + header + data)));
        }
        let entries = metadata
            .tensors()
            .into_iter()
            .map(|(key, info)| {
                let (from, to) = info.data_offsets;
                let (start, len) = (8 + header + from as u64, to - from);
                (key, Entry { file: path.to_owned(), dtype: info.dtype, shape: info.shape.clone(), start, len })
            })
            .collect();
        Ok(Self { entries })
    }

    /// Every key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The shape of a tensor, if there is one of that name.
    pub fn shape(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|e| e.shape.as_slice())
    }

    /// Refuses a tensor of a type that weights do not have.
    fn float_dtype(&self, key: &str) -> Result<DType, ModelError> {
        let entry = self.entry(key)?;
        match entry.dtype {
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::BF16),
            other => Err(ModelError::WeightDtype { key: key.into(), file: entry.file.clone(), got: format!("{other:?}") }),
        }
    }

    /// Which file holds a key.
    pub fn file(&self, key: &str) -> Option<&Path> {
        self.entries.get(key).map(|e| e.file.as_path())
    }

    /// Reads a float tensor as it is stored (F32, F16 or BF16).
    pub fn read(&self, key: &str) -> Result<TensorData, ModelError> {
        let dtype = self.float_dtype(key)?;
        let entry = self.entry(key)?;
        // Into memory aligned as the values are: what burn is given is then not copied again.
        let bytes = match dtype {
            DType::F32 => {
                let mut values = vec![0u32; entry.len / 4];
                entry.read_into(bytemuck::cast_slice_mut(&mut values))?;
                Bytes::from_elems(values)
            }
            _ => {
                let mut values = vec![0u16; entry.len / 2];
                entry.read_into(bytemuck::cast_slice_mut(&mut values))?;
                Bytes::from_elems(values)
            }
        };
        Ok(TensorData::from_bytes(bytes, entry.shape.clone(), dtype))
    }

    /// Reads a float tensor into f32.
    pub fn read_f32(&self, key: &str) -> Result<Vec<f32>, ModelError> {
        let (entry, bytes) = self.bytes(key)?;
        Ok(match entry.dtype {
            Dtype::F32 => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
            Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
            Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
            other => return Err(ModelError::WeightDtype { key: key.into(), file: entry.file.clone(), got: format!("{other:?}") }),
        })
    }

    /// Reads an integer tensor (I64, I32 or U8).
    pub fn read_ints(&self, key: &str) -> Result<Vec<i64>, ModelError> {
        let (entry, bytes) = self.bytes(key)?;
        Ok(match entry.dtype {
            Dtype::I64 => bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            Dtype::I32 => bytes.as_chunks().0.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect(),
            Dtype::U8 => bytes.into_iter().map(i64::from).collect(),
            other => return Err(ModelError::WeightDtype { key: key.into(), file: entry.file.clone(), got: format!("{other:?}") }),
        })
    }

    fn entry(&self, key: &str) -> Result<&Entry, ModelError> {
        self.entries.get(key).ok_or_else(|| {
            let dir = self.entries.values().next().map(|e| e.file.clone()).unwrap_or_default();
            ModelError::MissingWeights { count: 1, first: key.into(), dir }
        })
    }

    fn bytes(&self, key: &str) -> Result<(&Entry, Vec<u8>), ModelError> {
        let entry = self.entry(key)?;
        let mut bytes = vec![0u8; entry.len];
        entry.read_into(&mut bytes)?;
        Ok((entry, bytes))
    }
}

/// Reads a dense Qwen3 from a Hugging Face directory.
///
/// # Errors
/// Any key of the model that is missing, of another shape or type, and any key of the files that the model does not
/// have. Nothing is ever loaded in part.
pub fn load_decoder(dir: &Path, device: &Device) -> Result<Decoder, ModelError> {
    let config = DecoderConfig::open(dir)?;
    let files = TensorFiles::open_checkpoint(dir)?;
    let mut source = Checkpoint { files: &files, dir, device };
    // First every name and shape, so that a wrong checkpoint is refused before gigabytes are read.
    source.check(&config)?;
    Decoder::build(config, &mut source)
}

/// Checks every name, shape and file size of a checkpoint without reading a weight, and returns its sizes.
///
/// # Errors
/// As [`load_decoder`].
pub fn check_decoder(dir: &Path, device: &Device) -> Result<DecoderConfig, ModelError> {
    let config = DecoderConfig::open(dir)?;
    let files = TensorFiles::open_checkpoint(dir)?;
    Checkpoint { files: &files, dir, device }.check(&config)?;
    Ok(config)
}

struct Checkpoint<'a> {
    files: &'a TensorFiles,
    dir: &'a Path,
    device: &'a Device,
}

impl Checkpoint<'_> {
    fn check(&self, config: &DecoderConfig) -> Result<(), ModelError> {
        let expected = ExpectedShapes::of(config, self.device);
        let missing: Vec<&String> = expected.keys().filter(|k| self.files.shape(k).is_none()).collect();
        if let Some(first) = missing.first() {
            return Err(ModelError::MissingWeights { count: missing.len(), first: first.to_string(), dir: self.dir.to_owned() });
        }
        for (key, shape) in &expected {
            let (got, file) = (self.files.shape(key).unwrap_or_default(), self.files.file(key).unwrap_or(self.dir));
            if got != shape {
                return Err(ModelError::WeightShape {
                    key: key.clone(),
                    file: file.to_owned(),
                    got: got.to_vec(),
                    expected: shape.clone(),
                });
            }
            self.files.float_dtype(key)?;
        }
        // Some exporters write the tied head too; it is a copy of the embedding.
        let tied = |key: &str| config.tie_word_embeddings && key == "lm_head.weight";
        let unused: Vec<&str> = self.files.keys().filter(|k| !expected.contains_key(*k) && !tied(k)).collect();
        match unused.first() {
            Some(first) => Err(ModelError::UnusedWeights {
                count: unused.len(),
                first: first.to_string(),
                file: self.files.file(first).unwrap_or(self.dir).to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn tensor<const D: usize>(&self, key: &str) -> Result<Tensor<D>, ModelError> {
        Ok(Tensor::from_data(self.files.read(key)?, self.device))
    }
}

/// Key and file shape of every weight, collected by a `Decoder::build` that reads no values.
struct ExpectedShapes {
    shapes: BTreeMap<String, Vec<usize>>,
    device: Device,
}

/// Key and file shape of every weight of a model.
pub(crate) fn expected_shapes(config: &DecoderConfig, device: &Device) -> BTreeMap<String, Vec<usize>> {
    ExpectedShapes::of(config, device)
}

impl ExpectedShapes {
    fn of(config: &DecoderConfig, device: &Device) -> BTreeMap<String, Vec<usize>> {
        let mut source = Self { shapes: BTreeMap::new(), device: device.clone() };
        let Ok(_) = Decoder::build(config.clone(), &mut source);
        source.shapes
    }

    fn note<const D: usize>(&mut self, key: &str, shape: Vec<usize>) -> Param<Tensor<D>> {
        self.shapes.insert(key.to_string(), shape);
        Param::from_tensor(Tensor::zeros([1; D], &self.device))
    }
}

impl WeightSource for ExpectedShapes {
    type Error = std::convert::Infallible;
    fn table(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error> {
        Ok(self.note(key, shape.to_vec()))
    }
    fn projection(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error> {
        Ok(self.note(key, shape.to_vec()))
    }
    fn norm(&mut self, key: &str, len: usize) -> Result<Param<Tensor<1>>, Self::Error> {
        Ok(self.note(key, vec![len]))
    }
}

/// The sub-module of a layer that holds a projection.
pub(crate) fn block_of(target: &str) -> &'static str {
    if matches!(target, "gate_proj" | "up_proj" | "down_proj") { "mlp" } else { "self_attn" }
}

impl WeightSource for Checkpoint<'_> {
    type Error = ModelError;
    fn table(&mut self, key: &str, _shape: [usize; 2]) -> Result<Param<Tensor<2>>, ModelError> {
        Ok(Param::from_tensor(self.tensor(key)?))
    }
    fn projection(&mut self, key: &str, _shape: [usize; 2]) -> Result<Param<Tensor<2>>, ModelError> {
        Ok(Param::from_tensor(self.tensor(key)?))
    }
    fn norm(&mut self, key: &str, _len: usize) -> Result<Param<Tensor<1>>, ModelError> {
        Ok(Param::from_tensor(self.tensor(key)?))
    }
}

/// Writes `config.json` and `model.safetensors` (f32) so that transformers loads the same model.
pub fn save_decoder(decoder: &Decoder, dir: &Path, eos_token_id: u32, pad_token_id: u32) -> Result<(), ModelError> {
    struct Collect {
        path: Vec<String>,
        tensors: Vec<(String, Vec<usize>, Vec<u8>)>,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_string());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let path = self.path.join(".");
            let key = if path == "lm_head" { "lm_head.weight".to_string() } else { format!("model.{path}.weight") };
            let tensor = param.val();
            self.tensors.push((key, tensor.dims().to_vec(), f32_bytes(tensor)));
        }
    }
    let mut collect = Collect { path: Vec::new(), tensors: Vec::new() };
    decoder.visit(&mut collect);
    std::fs::create_dir_all(dir).map_err(|source| ModelError::Io { path: dir.to_owned(), source })?;
    let json = decoder.config().to_json(eos_token_id, pad_token_id, "float32");
    write_atomically(&dir.join("config.json"), format!("{json:#}\n").as_bytes())?;
    write_safetensors(&dir.join("model.safetensors"), &collect.tensors)
}

/// Name of our special-token file; the official one is a pickle, which is read but not written.
pub const SPECIAL_FILE: &str = "special_tokens.safetensors";

/// Its only key, as in the official file.
pub const SPECIAL_KEY: &str = "special_input_embeddings.weight";

/// Writes the rows added to the special tokens' embeddings, `[3, hidden]`.
pub fn save_special_embeddings(delta: Tensor<2>, dir: &Path) -> Result<(), ModelError> {
    let shape = delta.dims().to_vec();
    write_safetensors(&dir.join(SPECIAL_FILE), &[(SPECIAL_KEY.to_string(), shape, f32_bytes(delta))])
}

/// The values of a tensor as little-endian f32.
pub(crate) fn f32_bytes<const D: usize>(tensor: Tensor<D>) -> Vec<u8> {
    tensor.into_data().iter::<f32>().flat_map(f32::to_le_bytes).collect()
}

/// Writes f32 tensors with the `format: pt` header that transformers and PEFT require.
pub(crate) fn write_safetensors(path: &Path, tensors: &[(String, Vec<usize>, Vec<u8>)]) -> Result<(), ModelError> {
    let bad = |e: safetensors::SafeTensorError| ModelError::Safetensors { path: path.to_owned(), reason: e.to_string() };
    let mut views = Vec::with_capacity(tensors.len());
    for (key, shape, bytes) in tensors {
        views.push((key.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).map_err(bad)?));
    }
    let header = std::collections::HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(views, Some(header)).map_err(bad)?;
    write_atomically(path, &bytes)
}

/// Writes beside the target, then renames: a reader sees the old file or the whole new one.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    let partial = path.with_file_name(name);
    std::fs::write(&partial, bytes)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })
}
