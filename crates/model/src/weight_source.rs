//! Where a decoder's weights come from.

use burn::module::Param;
use burn::tensor::{Device, Distribution, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Where a decoder's weights come from: a checkpoint or a random generator.
pub(crate) trait WeightSource {
    /// What can go wrong.
    type Error;
    /// A lookup table, stored as in the file.
    fn table(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error>;
    /// A projection of shape `[out, in]`.
    fn projection(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error>;
    /// The gain of a norm.
    fn norm(&mut self, key: &str, len: usize) -> Result<Param<Tensor<1>>, Self::Error>;
}

/// Random tensors made on the host: the same numbers for a seed whatever device they go to, as every backend has a
/// generator of its own.
pub(crate) struct HostRandom(ChaCha8Rng);

impl HostRandom {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn tensor(&mut self, shape: [usize; 2], distribution: Distribution, device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::random::<f32, _, _>(shape, distribution, &mut self.0), device)
    }
}

/// Normal weights; projections that write to the residual stream have their own standard deviation.
pub(crate) struct RandomWeights {
    pub(crate) std: f64,
    pub(crate) out_std: f64,
    pub(crate) random: HostRandom,
    pub(crate) device: Device,
}

impl WeightSource for RandomWeights {
    type Error = std::convert::Infallible;
    fn table(&mut self, _key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error> {
        Ok(Param::from_tensor(self.random.tensor(shape, Distribution::Normal(0.0, self.std), &self.device)))
    }
    fn projection(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error> {
        let residual = key.contains("o_proj") || key.contains("down_proj");
        let std = if residual { self.out_std } else { self.std };
        Ok(Param::from_tensor(self.random.tensor(shape, Distribution::Normal(0.0, std), &self.device)))
    }
    fn norm(&mut self, _key: &str, len: usize) -> Result<Param<Tensor<1>>, Self::Error> {
        Ok(Param::from_tensor(Tensor::ones([len], &self.device)))
    }
}
