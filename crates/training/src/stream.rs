//! An endless, seeded order over a dataset: which item comes at which place is a pure function, so nothing has to be
//! saved to resume in the middle.

use std::sync::{Arc, Mutex};

use burn::data::dataset::Dataset;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::error::TrainError;

/// A shuffled pass over the dataset, again and again, each pass in another order.
pub struct Stream<I> {
    dataset: Arc<dyn Dataset<I>>,
    seed: u64,
    pass: Mutex<(u64, Vec<u32>)>,
}

impl<I> Stream<I> {
    /// Starts at the beginning.
    ///
    /// # Errors
    /// [`TrainError::EmptyDataset`] if there is nothing to read.
    pub fn new(dataset: Arc<dyn Dataset<I>>, seed: u64) -> Result<Self, TrainError> {
        if dataset.is_empty() {
            return Err(TrainError::EmptyDataset);
        }
        Ok(Self { dataset, seed, pass: Mutex::new((u64::MAX, Vec::new())) })
    }

    /// The item at a place of the endless stream.
    pub fn get(&self, place: u64) -> Result<I, TrainError> {
        let len = self.dataset.len() as u64;
        let (pass, offset) = (place / len, (place % len) as usize);
        let index = {
            let mut cached = self.pass.lock().unwrap_or_else(|e| e.into_inner());
            if cached.0 != pass {
                let mut order: Vec<u32> = (0..len as u32).collect();
                order.shuffle(&mut ChaCha8Rng::seed_from_u64(mix(self.seed, pass)));
                *cached = (pass, order);
            }
            cached.1[offset] as usize
        };
        self.dataset.get(index).map_err(|e| TrainError::Data(e.to_string()))
    }
}

/// Mixes two numbers into a seed (SplitMix64's finaliser).
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A mixed number as one from 0 to below 1.
pub(crate) fn unit(mixed: u64) -> f64 {
    (mixed >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use burn::data::dataset::InMemDataset;

    #[test]
    fn every_pass_shows_every_item_in_an_order_that_does_not_depend_on_access() {
        let dataset = || Arc::new(InMemDataset::new((0..50).collect::<Vec<i32>>()));
        let stream = Stream::new(dataset(), 7).unwrap();
        let first: Vec<i32> = (0..50).map(|i| stream.get(i).unwrap()).collect();
        let second: Vec<i32> = (50..100).map(|i| stream.get(i).unwrap()).collect();
        assert_ne!(first, second);
        for pass in [&first, &second] {
            let mut sorted = pass.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        let other = Stream::new(dataset(), 7).unwrap();
        assert_eq!(other.get(63).unwrap(), second[13]);
        assert_eq!(other.get(3).unwrap(), first[3]);
    }
}
