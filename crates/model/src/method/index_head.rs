//! The trained index: an encoder for queries and a projection of mean latents.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

use super::Latents;
use crate::autoencoder::Encoder;
use crate::error::ModelError;
use crate::layout::LatentLayout;
use crate::tensor_files::{TensorFiles, write_safetensors};
use crate::weights::f32_bytes;

/// What `[train.index]` made; memories stay as they are and are projected when they are searched.
#[derive(Clone, Debug)]
pub struct IndexHead {
    /// Encodes queries.
    pub query: Encoder,
    /// The query encoder's layout.
    pub layout: LatentLayout,
    /// `[hidden, hidden]`
    pub projection: Tensor<2>,
}

impl IndexHead {
    /// The index vector of a memory, or of a query's latents.
    pub(super) fn vector(&self, latents: &Latents) -> Vec<f32> {
        let mean = latents.mean();
        let width = mean.len();
        let mean = Tensor::<2>::from_data(TensorData::new(mean, [1, width]), &self.projection.device());
        mean.matmul(self.projection.clone().transpose()).into_data().iter::<f32>().collect()
    }
}

/// File of the projection beside the query encoder's weights, and its only key.
const FILE: &str = "projection.safetensors";
const KEY: &str = "projection";

/// Writes a projection into the directory of its query encoder.
///
/// # Errors
/// A disk that cannot be written to.
pub fn save_projection(projection: Tensor<2>, dir: &Path) -> Result<(), ModelError> {
    let shape = projection.dims().to_vec();
    write_safetensors(&dir.join(FILE), &[(KEY.to_string(), shape, f32_bytes(projection))])
}

/// Reads what [`save_projection`] wrote, for a model of that width.
///
/// # Errors
/// A file that is missing or damaged, a projection of another width.
pub fn load_projection(dir: &Path, hidden: usize, device: &Device) -> Result<Tensor<2>, ModelError> {
    let file = dir.join(FILE);
    let files = TensorFiles::open_file(&file)?;
    files.check(&file, &[(KEY.to_string(), vec![hidden, hidden])])?;
    Ok(Tensor::from_data(files.read(KEY)?, device))
}
