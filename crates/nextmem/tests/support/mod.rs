//! A directory of its own for every test, the binary run in it, and a tiny experiment that trains in under a second.
#![allow(dead_code)] // each test file uses its own part of this

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

pub mod server;

/// All stages and tasks at sizes that only prove that everything is connected.
pub const TINY: &str = r#"name = "tiny"
results = "results"

[backbone.nano]
vocab_size = 384
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 8
tie_word_embeddings = true
max_position_embeddings = 512
tokenizer_passages = 200
[data.facts]
train = 200
[method.nextmem]
num_latents = 2
max_new_tokens = 12

[quant]
scales = true

[train.loop]
log_every = 2
checkpoint_every = 2
validate_every = 0
validation_passages = 4

[train.pretrain]
steps = 4
facts = 0.5
questions = 0.3
repeats = 0.2
text = 0.0

[train.pretrain.optim]
learning_rate = 1e-3
batch_size = 4

[train.reconstruction]
steps = 4

[train.reconstruction.optim]
learning_rate = 1e-3
batch_size = 4

[train.substitution]
levels = 2
block_tokens = 8
steps_per_level = 2
steps_last_level = 2

[train.substitution.optim]
learning_rate = 1e-3
batch_size = 4

[eval]
batch_size = 3

[eval.reconstruction]
limit = 3
metrics = ["f1", "exact_match", "rouge_l", "bleu"]

[eval.contextual_qa]
limit = 3
metrics = ["f1", "exact_match"]

[eval.retrieval]
limit = 3
candidates = 5
metrics = ["hit@5", "mrr@5"]
"#;

/// Two stages on a backbone that is there already, reconstruction as the only task.
pub const ADAPT: &str = r#"name = "adapt"
results = "results"

[backbone]
model = "backbone"

[data.facts]
train = 200

[train.reconstruction]
steps = 2

[train.reconstruction.optim]
learning_rate = 1e-3
batch_size = 4

[eval.reconstruction]
limit = 3
metrics = ["f1"]
"#;

/// A text with one part of it replaced, which must be there.
pub fn edited(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "no {from:?} to edit");
    text.replacen(from, to, 1)
}

/// The root of the workspace. Cargo runs a test in its package; a path compiled in would be another clone's where they
/// share a target directory.
pub fn root() -> PathBuf {
    Path::new("../..").canonicalize().unwrap()
}

/// The binary in a directory.
pub fn nextmem(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nextmem"));
    command.args(args).current_dir(dir).env("RUST_BACKTRACE", "0").env_remove("BURN_DEVICE").env_remove("XDG_RUNTIME_DIR");
    command
}

/// What a finished process left.
#[derive(Debug)]
pub struct Outcome {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// The process must have succeeded.
    #[track_caller]
    pub fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// The process must have refused its input with an error that names all of these.
    #[track_caller]
    pub fn refused(self, names: &[&str]) -> Self {
        assert_eq!(self.code, Some(2), "{self:#?}");
        assert!(self.stderr.lines().any(|l| l.starts_with("error: ")) && !self.stderr.contains("panicked"), "{self:#?}");
        names.iter().for_each(|name| assert!(self.stderr.contains(name), "no {name:?} in {}", self.stderr));
        self
    }
}

/// Runs to the end.
pub fn finish(mut command: Command) -> Outcome {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A temporary directory that the binary runs in.
pub struct Dir(tempfile::TempDir);

impl Dir {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and the folders it is in.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), bytes).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    pub fn run(&self, args: &[&str]) -> Outcome {
        finish(self.command(args))
    }

    /// A process that is not started yet.
    pub fn command(&self, args: &[&str]) -> Command {
        nextmem(self.0.path(), args)
    }

    /// Every file below a folder with its bytes.
    pub fn files(&self, below: &str) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        collect(&self.path(below), "", &mut files);
        files
    }

    /// A tiny backbone of its own in `backbone`, made by pretraining alone.
    pub fn with_backbone() -> Self {
        let dir = Self::new();
        let (pretrain, _) = TINY.split_once("[train.reconstruction]").unwrap();
        dir.write("pretrain.toml", edited(pretrain, "tokenizer_passages = 200", "tokenizer_passages = 200\nexport = \"backbone\""));
        dir.run(&["run", "pretrain.toml"]).good();
        std::fs::remove_dir_all(dir.path("results")).unwrap();
        dir
    }
}

fn collect(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => collect(&entry.path(), &format!("{name}/"), files),
            false => {
                files.insert(name, std::fs::read(entry.path()).unwrap());
            }
        }
    }
}

/// Copies a folder.
pub fn copy(from: &Path, to: &Path) {
    let mut files = BTreeMap::new();
    collect(from, "", &mut files);
    assert!(!files.is_empty(), "nothing in {}", from.display());
    for (name, bytes) in files {
        std::fs::create_dir_all(to.join(&name).parent().unwrap()).unwrap();
        std::fs::write(to.join(&name), bytes).unwrap();
    }
}

/// A safetensors file taken apart, so that a test can put a wrong one together.
pub struct Weights {
    pub header: serde_json::Map<String, Value>,
    pub data: Vec<u8>,
}

impl Weights {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        Self { header: serde_json::from_slice(&bytes[8..end]).unwrap(), data: bytes[end..].to_vec() }
    }

    pub fn write(&self, path: &Path) {
        let header = Value::Object(self.header.clone()).to_string();
        let bytes = [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &self.data].concat();
        std::fs::write(path, bytes).unwrap();
    }

    fn offsets(&self, key: &str) -> [usize; 2] {
        [0, 1].map(|i| self.header[key]["data_offsets"][i].as_u64().unwrap() as usize)
    }

    /// Takes out the tensor at the end of the data and returns its key.
    pub fn remove_last(&mut self) -> String {
        let keys = self.header.keys().filter(|k| *k != "__metadata__").cloned();
        let last = keys.max_by_key(|k| self.offsets(k)[1]).unwrap();
        self.data.truncate(self.offsets(&last)[0]);
        self.header.remove(&last);
        last
    }

    pub fn rename(&mut self, from: &str, to: &str) {
        let entry = self.header.remove(from).unwrap();
        self.header.insert(to.into(), entry);
    }

    /// Adds a tensor of one value.
    pub fn add(&mut self, key: &str) {
        let at = self.data.len();
        self.data.extend(1.0f32.to_le_bytes());
        self.header.insert(key.into(), json!({"dtype": "F32", "shape": [1], "data_offsets": [at, at + 4]}));
    }

    /// Multiplies the first value of an f32 tensor.
    pub fn scale_first(&mut self, key: &str, factor: f32) {
        assert_eq!(self.header[key]["dtype"], "F32");
        let at = self.offsets(key)[0];
        let value = f32::from_le_bytes(self.data[at..at + 4].try_into().unwrap());
        self.data[at..at + 4].copy_from_slice(&(value * factor).to_le_bytes());
    }
}
