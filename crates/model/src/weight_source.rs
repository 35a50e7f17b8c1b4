//! Where a decoder's weights come from.

use burn::module::Param;
use burn::tensor::{Device, Distribution, Tensor};

/// Where a decoder's weights come from: a checkpoint or a random generator.
pub(crate) trait WeightSource {
    /// What can go wrong.
    type Error;
    /// A lookup table, stored as in the file.
    fn table(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error>;
    /// A projection of shape `[in, out]`; the file holds `[out, in]`.
    fn projection(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error>;
    /// The gain of a norm.
    fn norm(&mut self, key: &str, len: usize) -> Result<Param<Tensor<1>>, Self::Error>;
}

/// Normal weights; projections that write to the residual stream have their own standard deviation.
pub(crate) struct RandomWeights {
    pub(crate) std: f64,
    pub(crate) out_std: f64,
    pub(crate) device: Device,
}

impl WeightSource for RandomWeights {
    type Error = std::convert::Infallible;
    fn table(&mut self, _key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error> {
        Ok(Param::from_tensor(Tensor::random(shape, Distribution::Normal(0.0, self.std), &self.device)))
    }
    fn projection(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Self::Error> {
        let residual = key.contains("o_proj") || key.contains("down_proj");
        let std = if residual { self.out_std } else { self.std };
        Ok(Param::from_tensor(Tensor::random(shape, Distribution::Normal(0.0, std), &self.device)))
    }
    fn norm(&mut self, _key: &str, len: usize) -> Result<Param<Tensor<1>>, Self::Error> {
        Ok(Param::from_tensor(Tensor::ones([len], &self.device)))
    }
}
