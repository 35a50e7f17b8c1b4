//! Checkpoints of a decoder in Hugging Face's layout, every key accounted for.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};

use crate::config::DecoderConfig;
use crate::decoder::Decoder;
use crate::error::ModelError;
pub(crate) use crate::tensor_files::{TensorFiles, write_atomically, write_safetensors};
use crate::weight_source::WeightSource;

/// Reads a dense Qwen3 from a Hugging Face directory, with the numbers that transformers reads.
///
/// Keys may lack the prefix `model.`, as base models save them. A tied model may have its one table under either name; where it
/// has both with different values, they stay apart and the decoder's config says so ([`check_decoder`]).
///
/// # Errors
/// Any key of the model that is missing, of another shape or type, and any key of the files that the model does not
/// have. Nothing is ever loaded in part.
pub fn load_decoder(dir: &Path, device: &Device) -> Result<Decoder, ModelError> {
    let config = DecoderConfig::open(dir)?;
    let files = TensorFiles::open_checkpoint(dir)?;
    let mut source = Checkpoint::of(&files, dir, device, &config);
    // First every name and shape, so that a wrong checkpoint is refused before gigabytes are read.
    let config = source.checked(config)?;
    Decoder::build(config, &mut source)
}

/// Checks every name, shape and file size of a checkpoint, and returns its sizes. No weight is read but the head that a
/// tied model has beside its table: where the two differ, `tie_word_embeddings` of what is returned is false, as
/// transformers unties them.
///
/// # Errors
/// As [`load_decoder`].
pub fn check_decoder(dir: &Path, device: &Device) -> Result<DecoderConfig, ModelError> {
    let config = DecoderConfig::open(dir)?;
    let files = TensorFiles::open_checkpoint(dir)?;
    Checkpoint::of(&files, dir, device, &config).checked(config)
}

/// What transformers warns of where it unties a model; nothing where `loaded` is as tied as the config.json of `dir`.
pub fn untied_note(dir: &Path, loaded: &DecoderConfig) -> Option<String> {
    let named = DecoderConfig::open(dir).ok()?;
    (named.tie_word_embeddings && !loaded.tie_word_embeddings).then(|| {
        format!(
            "{}: config.json ties the head to the embedding, but the weights have an lm_head.weight with other values, which is used, \
             as transformers does; set `tie_word_embeddings` to false to say so",
            dir.display()
        )
    })
}

/// Everything about a checkpoint that [`load_decoder`] would refuse, not just the first thing; no weight is read.
pub fn audit_decoder(dir: &Path, device: &Device) -> Vec<ModelError> {
    let audit = || -> Result<Vec<ModelError>, ModelError> {
        let config = DecoderConfig::open(dir)?;
        let files = TensorFiles::open_checkpoint(dir)?;
        Ok(audit_tensors(&config, &files, dir, device))
    };
    audit().unwrap_or_else(|error| vec![error])
}

/// The same for tensors of which only names, types and shapes are known, as before a download.
pub fn audit_tensors(config: &DecoderConfig, files: &TensorFiles, dir: &Path, device: &Device) -> Vec<ModelError> {
    Checkpoint::of(files, dir, device, config).problems(config)
}

const EMBED: &str = "model.embed_tokens.weight";
const HEAD: &str = "lm_head.weight";

struct Checkpoint<'a> {
    files: &'a TensorFiles,
    dir: &'a Path,
    device: &'a Device,
    expected: BTreeMap<String, Vec<usize>>,
    /// The files' key of every key of the model that they have.
    names: BTreeMap<String, &'a str>,
    /// Keys without a place in the model.
    unused: Vec<&'a str>,
}

impl<'a> Checkpoint<'a> {
    fn of(files: &'a TensorFiles, dir: &'a Path, device: &'a Device, config: &DecoderConfig) -> Self {
        let expected = ExpectedShapes::of(config, device);
        let (mut names, mut unused) = (BTreeMap::<String, &str>::new(), Vec::new());
        let known = |key: &str| expected.contains_key(key) || key == HEAD;
        for key in files.keys() {
            // As transformers: the prefix of the base model may be there once too often, or not at all.
            let longer = format!("model.{key}");
            let place = [key.strip_prefix("model."), Some(key), Some(longer.as_str())].into_iter().flatten().find(|key| known(key));
            match place {
                // The first of two keys for one place is the one that transformers reads too, but one of them is wrong.
                Some(place) if !names.contains_key(place) => drop(names.insert(place.to_string(), key)),
                // A buffer of older versions.
                _ if key.contains("rotary_emb.inv_freq") => {}
                _ => unused.push(key),
            }
        }
        if config.tie_word_embeddings && !names.contains_key(EMBED) {
            // Either name of the one table will do.
            if let Some(head) = names.remove(HEAD) {
                names.insert(EMBED.into(), head);
            }
        }
        Self { files, dir, device, expected, names, unused }
    }

    /// The first problem, or the config as the weights have it.
    fn checked(&self, config: DecoderConfig) -> Result<DecoderConfig, ModelError> {
        if let Some(problem) = self.problems(&config).into_iter().next() {
            return Err(problem);
        }
        let tied = match (config.tie_word_embeddings, self.names.get(HEAD)) {
            (true, Some(head)) => self.files.same_values(self.names[EMBED], self.files, head)?,
            (tied, _) => tied,
        };
        Ok(DecoderConfig { tie_word_embeddings: tied, ..config })
    }

    /// Everything that does not fit: missing names first, then shapes and types, then names without a place.
    fn problems(&self, config: &DecoderConfig) -> Vec<ModelError> {
        let mut problems = Vec::new();
        let missing: Vec<&String> = self.expected.keys().filter(|k| !self.names.contains_key(*k)).collect();
        match missing[..] {
            [] => {}
            [only] if only == HEAD => problems.push(ModelError::NoHead { dir: self.dir.to_owned() }),
            [first, ..] => {
                problems.push(ModelError::MissingWeights { count: missing.len(), first: first.clone(), dir: self.dir.to_owned() });
            }
        }
        let head = (HEAD.to_string(), vec![config.vocab_size, config.hidden_size]);
        let head = config.tie_word_embeddings.then_some((&head.0, &head.1));
        for (key, shape) in self.expected.iter().chain(head) {
            let Some(name) = self.names.get(key) else { continue };
            let (Some(got), Some(file)) = (self.files.shape(name), self.files.file(name)) else { continue };
            if got != shape {
                let (got, expected) = (got.to_vec(), shape.clone());
                problems.push(ModelError::WeightShape { key: name.to_string(), file: file.to_owned(), got, expected });
            }
            problems.extend(self.files.float_dtype(name).err());
        }
        if let Some(first) = self.unused.first() {
            let file = self.files.file(first).unwrap_or(self.dir).to_owned();
            problems.push(ModelError::UnusedWeights { count: self.unused.len(), first: first.to_string(), file });
        }
        problems
    }

    fn tensor<const D: usize>(&self, key: &str) -> Result<Tensor<D>, ModelError> {
        let name = self.names.get(key).copied().unwrap_or(key);
        Ok(Tensor::from_data(self.files.read(name)?, self.device))
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
