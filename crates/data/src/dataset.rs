//! Identity and selection of datasets.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::data::dataset::{Dataset, DatasetError};
use sha2::{Digest, Sha256};

use crate::{DataError, Fact, Facts};

/// The first passages of a generator as burn's dataset; nothing is kept in memory.
#[derive(Debug, Clone, Copy)]
pub struct FactSet {
    /// The generator.
    pub facts: Facts,
    /// How many passages.
    pub len: usize,
}

impl Dataset<Fact> for FactSet {
    fn get(&self, index: usize) -> Result<Fact, DatasetError> {
        Ok(self.facts.get(index as u64))
    }

    fn len(&self) -> usize {
        self.len
    }
}

/// Returns the SHA-256 of a file as 64 lower-case hexadecimal digits.
///
/// # Errors
/// [`DataError::Missing`] or [`DataError::Io`].
pub fn sha256_file(path: impl AsRef<Path>) -> Result<String, DataError> {
    let path = path.as_ref();
    let mut file = File::open(path).map_err(|source| DataError::io(path, source))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        let read = file.read(&mut buffer).map_err(|source| DataError::io(path, source))?;
        if read == 0 {
            break;
        }
        hasher.update(&buffer[..read]);
    }
    let mut hex = String::with_capacity(64);
    for byte in hasher.finalize() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

/// Returns every `stride`-th item from the first on, at most `limit` of them.
///
/// A stride of 0 counts as 1. The official task 2 uses strides 8 (SQuAD) and 4 (HotpotQA), task 3
/// uses 28 (HotpotQA).
pub fn select<T>(items: Vec<T>, stride: usize, limit: Option<usize>) -> Vec<T> {
    items.into_iter().step_by(stride.max(1)).take(limit.unwrap_or(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_a_known_string() -> Result<(), Box<dyn std::error::Error>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("abc.txt");
        std::fs::write(&path, "abc")?;
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256_file(&path)?, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(matches!(sha256_file(dir.path().join("none")), Err(DataError::Missing { .. })));
        Ok(())
    }

    #[test]
    fn select_strides_then_limits() {
        assert_eq!(select((0..20).collect(), 8, None), [0, 8, 16]);
        assert_eq!(select((0..20).collect(), 8, Some(2)), [0, 8]);
        assert_eq!(select((0..3).collect(), 0, None), [0, 1, 2]);
    }
}
