//! Safetensors files: single or sharded, listed first, read one tensor at a time, written as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Bytes, DType, TensorData};
use half::{bf16, f16};
use safetensors::tensor::{Dtype, Metadata, TensorView};

use crate::error::ModelError;
pub use choice::{WeightFiles, choose_weights, shards, weight_files};

mod choice;

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
    header: BTreeMap<String, String>,
}

impl TensorFiles {
    /// Opens the weights of a Hugging Face directory, chosen as transformers chooses them ([`weight_files`]).
    ///
    /// # Errors
    /// A missing, truncated or corrupt file; weights that are no safetensors.
    pub fn open_checkpoint(dir: &Path) -> Result<Self, ModelError> {
        let mut all = Self::default();
        for file in weight_files(dir)? {
            // In the order of their names; what two shards hold is the later one's.
            all.entries.extend(Self::open_file(&file)?.entries);
        }
        Ok(all)
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
        let mut all = Self::default();
        all.add(path, &text, size)?;
        Ok(all)
    }

    /// Lists a file of which only the header is here; its values cannot be read.
    ///
    /// # Errors
    /// [`ModelError::Safetensors`] for a header that does not fit a file of that size.
    pub fn add(&mut self, path: &Path, header: &[u8], size: u64) -> Result<(), ModelError> {
        let corrupt = |reason: String| ModelError::Safetensors { path: path.to_owned(), reason };
        // The crate validates offsets, shapes and sizes while parsing.
        let metadata: Metadata = serde_json::from_slice(header).map_err(|e| corrupt(e.to_string()))?;
        let start = 8 + header.len() as u64;
        let end = start + metadata.data_len() as u64;
        if end != size {
            return Err(corrupt(format!("got {size} bytes, expected {end}")));
        }
        self.header.extend(metadata.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())));
        self.entries.extend(metadata.tensors().into_iter().map(|(key, info)| {
            let (from, to) = info.data_offsets;
            let (start, len) = (start + from as u64, to - from);
            (key, Entry { file: path.to_owned(), dtype: info.dtype, shape: info.shape.clone(), start, len })
        }));
        Ok(())
    }

    /// The strings that a single file's header carries beside its tensors.
    pub fn header(&self) -> &BTreeMap<String, String> {
        &self.header
    }

    /// The type of a tensor as the format spells it, such as `BF16`.
    pub fn dtype(&self, key: &str) -> Option<String> {
        self.entries.get(key).map(|e| format!("{:?}", e.dtype))
    }

    /// The bytes of a tensor of any type.
    pub fn read_bytes(&self, key: &str) -> Result<Vec<u8>, ModelError> {
        Ok(self.bytes(key)?.1)
    }

    /// Every key, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The shape of a tensor, if there is one of that name.
    pub fn shape(&self, key: &str) -> Option<&[usize]> {
        self.entries.get(key).map(|e| e.shape.as_slice())
    }

    /// Refuses a file that lacks one of these tensors, has one of another shape or type, or holds any other.
    pub(crate) fn check(&self, file: &Path, expected: &[(String, Vec<usize>)]) -> Result<(), ModelError> {
        for (key, shape) in expected {
            match self.shape(key) {
                None => return Err(ModelError::MissingWeights { count: 1, first: key.clone(), dir: file.to_owned() }),
                Some(got) if got != shape => {
                    let (got, expected) = (got.to_vec(), shape.clone());
                    return Err(ModelError::WeightShape { key: key.clone(), file: file.to_owned(), got, expected });
                }
                Some(_) => self.float_dtype(key).map(drop)?,
            }
        }
        let unused: Vec<&str> = self.keys().filter(|key| expected.iter().all(|(known, _)| known != key)).collect();
        match unused.first() {
            Some(first) => Err(ModelError::UnusedWeights { count: unused.len(), first: first.to_string(), file: file.to_owned() }),
            None => Ok(()),
        }
    }

    /// The type that a float tensor is read as; refuses types that weights do not have.
    pub(crate) fn float_dtype(&self, key: &str) -> Result<DType, ModelError> {
        let entry = self.entry(key)?;
        match entry.dtype {
            // Nothing computes in f64 here.
            Dtype::F32 | Dtype::F64 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::BF16),
            other => Err(ModelError::WeightDtype { key: key.into(), file: entry.file.clone(), got: format!("{other:?}") }),
        }
    }

    /// Which file holds a key.
    pub fn file(&self, key: &str) -> Option<&Path> {
        self.entries.get(key).map(|e| e.file.as_path())
    }

    /// Reads a float tensor as it is stored (F32, F16 or BF16), F64 as F32.
    pub fn read(&self, key: &str) -> Result<TensorData, ModelError> {
        let dtype = self.float_dtype(key)?;
        let entry = self.entry(key)?;
        // Into memory aligned as the values are: what burn is given is then not copied again.
        let bytes = match dtype {
            _ if entry.dtype == Dtype::F64 => Bytes::from_elems(self.read_f32(key)?),
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
        self.float_dtype(key)?;
        let (entry, bytes) = self.bytes(key)?;
        Ok(floats(entry.dtype, &bytes))
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

    /// Whether two float tensors of one shape, perhaps of two files, have the same values; reads them piece by piece.
    pub(crate) fn same_values(&self, key: &str, other: &Self, other_key: &str) -> Result<bool, ModelError> {
        let (a, b) = (self.entry(key)?, other.entry(other_key)?);
        let (mut first, mut second) = (Pieces::of(a)?, Pieces::of(b)?);
        let mut left = a.shape.iter().product::<usize>();
        if left != b.shape.iter().product::<usize>() {
            return Ok(false);
        }
        while left > 0 {
            let count = left.min(PIECE);
            let (x, y) = (first.next(count)?, second.next(count)?);
            // As torch.equal: what is no number equals nothing, and both zeros are one.
            if x.iter().zip(&y).any(|(x, y)| x != y) {
                return Ok(false);
            }
            left -= count;
        }
        Ok(true)
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

/// Values of a piece.
const PIECE: usize = 1 << 18;

/// The float values of a tensor in their order.
struct Pieces<'a> {
    entry: &'a Entry,
    file: File,
}

impl<'a> Pieces<'a> {
    fn of(entry: &'a Entry) -> Result<Self, ModelError> {
        let mut file = File::open(&entry.file).map_err(|e| ModelError::read(&entry.file, e))?;
        file.seek(SeekFrom::Start(entry.start)).map_err(|e| ModelError::read(&entry.file, e))?;
        Ok(Self { entry, file })
    }

    fn next(&mut self, count: usize) -> Result<Vec<f32>, ModelError> {
        let width = self.entry.dtype.bitsize() / 8;
        let mut bytes = vec![0u8; count * width];
        self.file.read_exact(&mut bytes).map_err(|e| ModelError::read(&self.entry.file, e))?;
        Ok(floats(self.entry.dtype, &bytes))
    }
}

/// Values of one of the types that weights have.
fn floats(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        Dtype::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect(),
        Dtype::F64 => bytes.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b) as f32).collect(),
        _ => bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    }
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

/// Writes beside the target, then renames: a reader sees the old file or the whole new one, after a power cut too.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ModelError> {
    replace_file(path, bytes).map_err(|source| ModelError::Io { path: path.to_owned(), source })
}

/// [`write_atomically`] with the system's reason alone.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // A name that no other process or thread has; `create_new` proves it.
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let (partial, mut file) = loop {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
        let partial = path.with_file_name(name);
        match File::create_new(&partial) {
            Ok(file) => break (partial, file),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    };
    // On disk before it gets its name, or a power cut could leave a named file without its data.
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&partial, path));
    drop(file);
    if written.is_err() {
        let _ = std::fs::remove_file(&partial);
    }
    written.and_then(|()| sync_dir(path.parent().unwrap_or(Path::new("."))))
}

/// Has the names in a directory written to disk, where the system can do that.
pub fn sync_dir(dir: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    {
        let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        match File::open(dir)?.sync_all() {
            // Some file systems have no such thing.
            Err(e) if !matches!(e.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => return Err(e),
            _ => {}
        }
    }
    #[cfg(not(unix))]
    let _ = dir;
    Ok(())
}
