//! The learned embedding deltas of the special tokens, in the official `special_tokens_DTOKENS.pt`.

use std::path::{Path, PathBuf};

use half::{bf16, f16};
use pytorch_reader::{DType, PytorchReader};
use thiserror::Error;
use zip::ZipArchive;

/// Where the official file keeps the state dict of its `nn.Embedding(3, hidden)`.
const TOP_LEVEL_KEY: &str = "special_input_embeddings";

/// Largest file that is opened: the official one for Qwen3-8B has 26 kB.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A special-token file that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SpecialTokensError {
    /// The file cannot be opened.
    #[error("{path}", path = .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is far larger than any file of this kind.
    #[error("{path}: got {got} bytes, expected at most {limit} - this is not a special_tokens_DTOKENS.pt", path = .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        got: u64,
        /// The limit.
        limit: u64,
    },
    /// The file is not a whole `torch.save` archive.
    #[error("{path}: not a whole torch.save file ({reason}) - copy or download it again", path = .path.display())]
    Archive {
        /// The file.
        path: PathBuf,
        /// The reader's reason.
        reason: String,
    },
    /// The archive holds something else.
    #[error("{path}: got tensors {got:?}, expected `special_input_embeddings.weight` - this is not a special_tokens_DTOKENS.pt", path = .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// Names found under the expected key.
        got: Vec<String>,
    },
    /// The tensor is not a matrix of floats.
    #[error("{path}: `weight` got {dtype} {shape:?}, expected f32, bf16 or f16 [rows, hidden]", path = .path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Its element type.
        dtype: String,
        /// Its shape.
        shape: Vec<usize>,
    },
    /// The values are not numbers.
    #[error("{path}: row {row} of `weight` has a value that is not finite - the file is corrupt", path = .path.display())]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The first bad row.
        row: usize,
    },
}

/// Reads the deltas as `(values, rows, hidden)`, row-major: `[SoD]`, `<|end_of_memory|>`, unused filler.
///
/// The file is a pickle in a zip; it is interpreted as data, nothing in it is executed.
///
/// # Errors
/// Any file that is not whole, holds another tensor, or holds values that are not finite.
///
/// # Reference
/// Official layout: `{"special_input_embeddings": {"weight": [3, hidden]}}`.
pub fn read_special_embeddings(path: &Path) -> Result<(Vec<f32>, usize, usize), SpecialTokensError> {
    let size = std::fs::metadata(path).map_err(|source| SpecialTokensError::Io { path: path.to_owned(), source })?.len();
    if size > MAX_FILE_BYTES {
        return Err(SpecialTokensError::TooLarge { path: path.to_owned(), got: size, limit: MAX_FILE_BYTES });
    }
    let archive = |reason: String| SpecialTokensError::Archive { path: path.to_owned(), reason };
    check_archive(path, size).map_err(archive)?;
    let reader = PytorchReader::with_top_level_key(path, TOP_LEVEL_KEY).map_err(|e| archive(e.to_string()))?;
    let Some(tensor) = reader.get("weight") else {
        let mut got = reader.keys();
        got.sort_unstable();
        return Err(SpecialTokensError::Missing { path: path.to_owned(), got });
    };
    let bad = || SpecialTokensError::Tensor {
        path: path.to_owned(),
        dtype: format!("{:?}", tensor.dtype()).to_lowercase(),
        shape: tensor.shape().to_vec(),
    };
    let &[rows, hidden] = tensor.shape() else { return Err(bad()) };
    if !matches!(tensor.dtype(), DType::F32 | DType::BF16 | DType::F16) {
        return Err(bad());
    }
    // A view with stride 0 claims any size from a few bytes: the values of an honest file are in the file.
    let claimed = rows.checked_mul(hidden).and_then(|n| n.checked_mul(tensor.dtype().size()));
    if claimed.is_none_or(|bytes| bytes == 0 || bytes as u64 > size) {
        return Err(bad());
    }
    let bytes = tensor.read().map_err(|e| archive(e.to_string()))?;
    let values: Vec<f32> = match tensor.dtype() {
        DType::BF16 => bytes.as_chunks().0.iter().map(|b| bf16::from_ne_bytes(*b).to_f32()).collect(),
        DType::F16 => bytes.as_chunks().0.iter().map(|b| f16::from_ne_bytes(*b).to_f32()).collect(),
        _ => bytes.as_chunks().0.iter().map(|b| f32::from_ne_bytes(*b)).collect(),
    };
    match values.iter().position(|v| !v.is_finite()) {
        Some(at) => Err(SpecialTokensError::NotFinite { path: path.to_owned(), row: at / hidden }),
        None if values.len() == rows * hidden => Ok((values, rows, hidden)),
        None => Err(archive(format!("{} values for shape [{rows}, {hidden}]", values.len()))),
    }
}

/// Refuses an archive that would unpack to more than it is: `torch.save` compresses nothing.
fn check_archive(path: &Path, size: u64) -> Result<(), String> {
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    // Files from before torch 1.6 are no archives; the reader knows those too.
    let Ok(mut archive) = ZipArchive::new(std::io::BufReader::new(file)) else { return Ok(()) };
    let mut unpacked = 0u64;
    for index in 0..archive.len() {
        unpacked = unpacked.saturating_add(archive.by_index_raw(index).map_err(|e| e.to_string())?.size());
    }
    match unpacked <= size {
        true => Ok(()),
        false => Err(format!("unpacks to {unpacked} bytes from {size}, and torch.save does not compress")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn fixture(case: &str) -> PathBuf {
        Path::new("tests/fixtures/oracle").join(case).join("stage1/special_tokens_DTOKENS.pt")
    }

    #[test]
    fn reads_what_torch_wrote() {
        for (case, hidden) in [("tied", 24), ("untied", 32)] {
            let (values, rows, width) = read_special_embeddings(&fixture(case)).unwrap();
            assert_eq!((rows, width, values.len()), (3, hidden, 3 * hidden));
            // Drawn from N(0, 0.1^2) by the generator.
            let rms = (values.iter().map(|v| v * v).sum::<f32>() / values.len() as f32).sqrt();
            assert!((0.07..0.13).contains(&rms), "{rms}");
        }
    }

    #[test]
    #[ignore = "needs NEXTMEM_SHARED"]
    fn reads_the_shared_oracles() {
        let shared = std::env::var_os("NEXTMEM_SHARED").expect("NEXTMEM_SHARED names the folder of the shared oracles");
        for (case, hidden) in [("tied", 48), ("untied", 64)] {
            let path = Path::new(&shared).join("oracle").join(case).join("stage1/special_tokens_DTOKENS.pt");
            assert_eq!(read_special_embeddings(&path).unwrap().2, hidden);
        }
    }

    #[test]
    fn damaged_files_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("damaged.pt");
        let whole = std::fs::read(fixture("tied")).unwrap();
        assert!(matches!(read_special_embeddings(&path), Err(SpecialTokensError::Io { .. })));
        for cut in (0..whole.len()).step_by(37) {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(read_special_embeddings(&path).is_err(), "cut at {cut}");
        }
        // A flipped byte may hit padding; whatever is accepted must still be a finite matrix of the file's size.
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize
        };
        let mut refused = 0;
        for _ in 0..600 {
            let mut bytes = whole.clone();
            for _ in 0..1 + next() % 3 {
                let at = next() % bytes.len();
                bytes[at] = next() as u8;
            }
            std::fs::write(&path, &bytes).unwrap();
            match read_special_embeddings(&path) {
                Ok((values, rows, hidden)) => assert!(values.len() == rows * hidden && values.iter().all(|v| v.is_finite())),
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 100, "{refused}");
    }
}
