//! Identity and selection of datasets.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use burn::data::dataset::{Dataset, DatasetError};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use crate::{DataError, Fact, Facts, OpenFact, OpenFacts};

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

/// The same of a generator of open-vocabulary passages.
#[derive(Debug, Clone, Copy)]
pub struct OpenFactSet {
    /// The generator.
    pub facts: OpenFacts,
    /// How many passages.
    pub len: usize,
}

impl Dataset<OpenFact> for OpenFactSet {
    fn get(&self, index: usize) -> Result<OpenFact, DatasetError> {
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

/// Returns `limit` of the items, drawn by the seed, in the order they have; all of them if there are no more.
///
/// The first items of a set are often of one kind: RACE in its official order begins with high school alone.
pub fn seeded_sample<T>(items: Vec<T>, limit: usize, seed: u64) -> Vec<T> {
    if items.len() <= limit {
        return items;
    }
    let chosen = drawn(items.len(), limit, seed);
    items.into_iter().zip(chosen).filter_map(|(item, chosen)| chosen.then_some(item)).collect()
}

/// Which of `total` things are among the `count` that the seed draws.
pub(crate) fn drawn(total: usize, count: usize, seed: u64) -> Vec<bool> {
    let mut chosen = vec![false; total];
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    sample(&mut rng, total, count.min(total)).into_iter().for_each(|index| chosen[index] = true);
    chosen
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
    fn a_seeded_sample_is_spread_and_in_order() {
        let items = || (0..1407).collect::<Vec<_>>();
        let sample = seeded_sample(items(), 1000, 1128);
        assert_eq!((sample.len(), sample.is_sorted()), (1000, true));
        assert_eq!(sample, seeded_sample(items(), 1000, 1128));
        assert_ne!(sample, seeded_sample(items(), 1000, 7));
        // 1,045 of RACE's 1,407 test articles come first, those of high schools: their share must be about kept.
        let high = sample.iter().filter(|index| **index < 1045).count();
        assert!((700..=785).contains(&high), "{high}");
        assert_eq!(seeded_sample(items(), 5000, 1), items());
    }

    #[test]
    fn select_strides_then_limits() {
        assert_eq!(select((0..20).collect(), 8, None), [0, 8, 16]);
        assert_eq!(select((0..20).collect(), 8, Some(2)), [0, 8]);
        assert_eq!(select((0..3).collect(), 0, None), [0, 1, 2]);
    }
}
