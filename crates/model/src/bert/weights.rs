//! An encoder's weights from a Hugging Face directory, every key accounted for.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;

use burn::module::Param;
use burn::tensor::{DType, Device, Tensor};

use super::Network;
use super::config::EncoderConfig;
use crate::TensorFiles;
use crate::error::ModelError;
use crate::weight_source::WeightSource;

/// What checkpoints hold beside the encoder: the pooler, the heads of pretraining and of classifiers, and a buffer of
/// older versions of transformers.
const IGNORED: [&str; 5] = ["pooler.", "cls.", "lm_head.", "classifier.", "embeddings.position_ids"];

/// Reads the network.
///
/// # Errors
/// A pickle instead of safetensors, and any key that is missing, unused, of another shape or no float.
pub(super) fn load(dir: &Path, config: &EncoderConfig, device: &Device) -> Result<Network, ModelError> {
    let pickle = dir.join("pytorch_model.bin");
    let has = |name: &str| dir.join(name).exists();
    if !has("model.safetensors") && !has("model.safetensors.index.json") && pickle.exists() {
        let reason = "a pickle, expected model.safetensors; write it with transformers: \
                      `AutoModel.from_pretrained(DIR).save_pretrained(DIR)`";
        return Err(ModelError::Config { path: pickle, reason: reason.into() });
    }
    let files = TensorFiles::open_checkpoint(dir)?;
    let names = names(&files)?;
    check(dir, config, &files, &names, device)?;
    Network::build(config, &mut Checkpoint { files: &files, names: &names, device })
}

/// The keys of the encoder, without prefix and in today's spelling, with the keys of the file.
fn names(files: &TensorFiles) -> Result<BTreeMap<String, String>, ModelError> {
    let mut names = BTreeMap::new();
    for key in files.keys() {
        let bare = ["bert.", "roberta."].iter().find_map(|prefix| key.strip_prefix(prefix)).unwrap_or(key);
        if IGNORED.iter().any(|ignored| bare.starts_with(ignored)) {
            continue;
        }
        // Norms of checkpoints converted from TensorFlow.
        let bare = match (bare.strip_suffix("LayerNorm.gamma"), bare.strip_suffix("LayerNorm.beta")) {
            (Some(block), _) => format!("{block}LayerNorm.weight"),
            (_, Some(block)) => format!("{block}LayerNorm.bias"),
            _ => bare.to_string(),
        };
        if names.insert(bare, key.to_string()).is_some() {
            return Err(unused(files, 1, key));
        }
    }
    Ok(names)
}

fn unused(files: &TensorFiles, count: usize, key: &str) -> ModelError {
    ModelError::UnusedWeights { count, first: key.into(), file: files.file(key).unwrap_or(Path::new("")).to_owned() }
}

/// Every name and shape, before a value is read.
fn check(
    dir: &Path,
    config: &EncoderConfig,
    files: &TensorFiles,
    names: &BTreeMap<String, String>,
    device: &Device,
) -> Result<(), ModelError> {
    let mut expected = Shapes { shapes: BTreeMap::new(), device };
    let Ok(_) = Network::build(config, &mut expected);
    let missing: Vec<&String> = expected.shapes.keys().filter(|key| !names.contains_key(*key)).collect();
    if let Some(first) = missing.first() {
        return Err(ModelError::MissingWeights { count: missing.len(), first: first.to_string(), dir: dir.to_owned() });
    }
    let extra: Vec<&String> = names.iter().filter(|(bare, _)| !expected.shapes.contains_key(*bare)).map(|(_, key)| key).collect();
    if let Some(first) = extra.first() {
        return Err(unused(files, extra.len(), first));
    }
    for (bare, expected) in expected.shapes {
        let key = &names[&bare];
        let got = files.shape(key).unwrap_or_default().to_vec();
        if got != expected {
            let file = files.file(key).unwrap_or(dir).to_owned();
            return Err(ModelError::WeightShape { key: key.clone(), file, got, expected });
        }
    }
    Ok(())
}

/// Notes keys and shapes, reads nothing.
struct Shapes<'a> {
    shapes: BTreeMap<String, Vec<usize>>,
    device: &'a Device,
}

impl Shapes<'_> {
    fn note<const D: usize>(&mut self, key: &str, shape: Vec<usize>) -> Param<Tensor<D>> {
        self.shapes.insert(key.to_string(), shape);
        Param::from_tensor(Tensor::zeros([1; D], self.device))
    }
}

impl WeightSource for Shapes<'_> {
    type Error = Infallible;
    fn table(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Infallible> {
        Ok(self.note(key, shape.to_vec()))
    }
    fn projection(&mut self, key: &str, shape: [usize; 2]) -> Result<Param<Tensor<2>>, Infallible> {
        Ok(self.note(key, shape.to_vec()))
    }
    fn norm(&mut self, key: &str, len: usize) -> Result<Param<Tensor<1>>, Infallible> {
        Ok(self.note(key, vec![len]))
    }
}

struct Checkpoint<'a> {
    files: &'a TensorFiles,
    names: &'a BTreeMap<String, String>,
    device: &'a Device,
}

impl Checkpoint<'_> {
    fn param<const D: usize>(&self, key: &str) -> Result<Param<Tensor<D>>, ModelError> {
        let data = self.files.read(&self.names[key])?;
        Ok(Param::from_tensor(Tensor::from_data(data, (self.device, DType::F32))))
    }
}

impl WeightSource for Checkpoint<'_> {
    type Error = ModelError;
    fn table(&mut self, key: &str, _shape: [usize; 2]) -> Result<Param<Tensor<2>>, ModelError> {
        self.param(key)
    }
    fn projection(&mut self, key: &str, _shape: [usize; 2]) -> Result<Param<Tensor<2>>, ModelError> {
        self.param(key)
    }
    fn norm(&mut self, key: &str, _len: usize) -> Result<Param<Tensor<1>>, ModelError> {
        self.param(key)
    }
}
