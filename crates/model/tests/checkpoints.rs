//! Checkpoints on disk: what is written is read back, and every file that does not fit is refused by key and name.
#![allow(clippy::unwrap_used)]

macro_rules! assert_is {
    ($error:expr, $pattern:pat if $guard:expr) => {{
        let error = $error;
        assert!(matches!(&error, $pattern if $guard), "{error}");
    }};
}

#[path = "checkpoints/adapters.rs"]
mod adapters;
#[path = "checkpoints/layouts.rs"]
mod layouts;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Int, Tensor};
use half::{bf16, f16};
use nextmem_model::{Decoder, DecoderConfig, ModelError, check_decoder, load_decoder, save_decoder};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

const EMBED: &str = "model.embed_tokens.weight";
const V_PROJ: &str = "model.layers.1.self_attn.v_proj.weight";
const NORM: &str = "model.norm.weight";
const MODEL: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// Two layers, grouped heads, and a head width that is not hidden / heads.
fn config(tied: bool) -> DecoderConfig {
    DecoderConfig {
        vocab_size: 61,
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 12,
        rms_norm_eps: 1e-6,
        rope_theta: 1e4,
        tie_word_embeddings: tied,
        max_position_embeddings: 128,
    }
}

/// Random values everywhere: norms of ones could be swapped unseen.
fn random<M: Module>(seed: u64, make: impl FnOnce(&Device) -> M) -> M {
    struct Fill;
    impl ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|t| t.random_like(Distribution::Normal(0.5, 0.3)))
        }
    }
    static DRAWING: Mutex<()> = Mutex::new(());
    let _alone = DRAWING.lock().unwrap_or_else(|e| e.into_inner());
    let device = Device::flex();
    device.seed(seed);
    make(&device).map(&mut Fill)
}

fn decoder(tied: bool) -> Decoder {
    random(5, |device| Decoder::random(config(tied), 0.2, 5, device))
}

/// A saved decoder.
fn checkpoint(tied: bool) -> (Decoder, TempDir) {
    let (decoder, dir) = (decoder(tied), tempfile::tempdir().unwrap());
    save_decoder(&decoder, dir.path(), 1, 0).unwrap();
    (decoder, dir)
}

fn load(dir: &TempDir) -> Result<Decoder, ModelError> {
    load_decoder(dir.path(), &Device::flex())
}

fn logits(decoder: &Decoder) -> Vec<f32> {
    let tokens = Tensor::<2, Int>::from_data([[3, 4, 5, 60, 0], [7, 7, 8, 9, 1]], &Device::flex());
    decoder.logits(decoder.hidden(decoder.embed(tokens), &[], None, None)).into_data().iter().collect()
}

/// As equal as two memory layouts of one matrix make them: a loaded projection is a transposed view, whose products are
/// summed in another order.
fn assert_same_logits(a: &Decoder, b: &Decoder) {
    let (a, b) = (logits(a), logits(b));
    let (worst, largest) = a.iter().zip(&b).fold((0f32, 0f32), |(w, l), (a, b)| (w.max((a - b).abs()), l.max(b.abs())));
    assert!(a.len() == 10 * 61 && worst < 1e-5 * largest, "logits differ by {worst} of {largest}");
}

fn values<M: Module>(module: &M) -> Vec<f32> {
    struct Collect(Vec<f32>);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.extend(param.val().into_data().iter::<f32>());
        }
    }
    let mut collect = Collect(Vec::new());
    module.visit(&mut collect);
    collect.0
}

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.tensors().into_iter().map(|(k, v)| (k, (v.dtype(), v.shape().to_vec(), v.data().to_vec()))).collect()
}

fn write(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(key, (dtype, shape, bytes))| (key, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Rewrites the file of a directory.
fn edit(dir: &TempDir, name: &str, change: impl FnOnce(&mut Tensors)) -> PathBuf {
    let path = dir.path().join(name);
    let mut tensors = read(&path);
    change(&mut tensors);
    write(&path, &tensors);
    path
}

fn edit_json(dir: &TempDir, name: &str, change: impl FnOnce(&mut Value)) {
    let path = dir.path().join(name);
    let mut value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(&path, value.to_string()).unwrap();
}

fn narrowed(tensors: &Tensors, dtype: Dtype, narrow: impl Fn(f32) -> [u8; 2]) -> Tensors {
    let bytes = |b: &[u8]| b.as_chunks().0.iter().flat_map(|v| narrow(f32::from_le_bytes(*v))).collect();
    tensors.iter().map(|(k, (_, shape, b))| (k.clone(), (dtype, shape.clone(), bytes(b)))).collect()
}

/// The error of loading a directory; checking it without reading a weight must find the same one.
fn refused(dir: &TempDir) -> ModelError {
    let error = load(dir).unwrap_err();
    let checked = check_decoder(dir.path(), &Device::flex()).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), checked.to_string());
    error
}

#[test]
fn a_decoder_is_read_back_as_written() {
    for tied in [true, false] {
        let (written, dir) = checkpoint(tied);
        let loaded = load(&dir).unwrap();
        assert_eq!(*loaded.config(), config(tied));
        assert!(values(&loaded) == values(&written), "tied {tied}");
        assert_same_logits(&loaded, &written);
        assert_eq!(check_decoder(dir.path(), &Device::flex()).unwrap(), config(tied));
        let keys = read(&dir.path().join(MODEL));
        assert_eq!(keys.contains_key("lm_head.weight"), !tied);
        assert_eq!(keys.len(), 2 * 11 + if tied { 2 } else { 3 });
        // [out, in], as torch stores a linear layer
        assert_eq!(keys[V_PROJ].1, [24, 32]);
    }
}

#[test]
fn half_precision_is_read_exactly() {
    let (written, dir) = checkpoint(false);
    let (path, exact) = (dir.path().join(MODEL), values(&written));
    let whole = read(&path);
    write(&path, &narrowed(&whole, Dtype::BF16, |v| bf16::from_f32(v).to_le_bytes()));
    assert!(values(&load(&dir).unwrap()) == exact.iter().map(|v| bf16::from_f32(*v).to_f32()).collect::<Vec<_>>());
    write(&path, &narrowed(&whole, Dtype::F16, |v| f16::from_f32(v).to_le_bytes()));
    assert!(values(&load(&dir).unwrap()) == exact.iter().map(|v| f16::from_f32(*v).to_f32()).collect::<Vec<_>>());
}

/// transformers loads F64, which some tools write; what fits into f32 is read exactly.
#[test]
fn double_precision_is_read_as_single() {
    let (written, dir) = checkpoint(false);
    edit(&dir, MODEL, |tensors| {
        for (dtype, _, bytes) in tensors.values_mut() {
            *dtype = Dtype::F64;
            *bytes = bytes.as_chunks().0.iter().flat_map(|v| f64::from(f32::from_le_bytes(*v)).to_le_bytes()).collect();
        }
    });
    check_decoder(dir.path(), &Device::flex()).unwrap();
    assert!(values(&load(&dir).unwrap()) == values(&written));
    let tied = edit(&dir, MODEL, |tensors| {
        let embedding = tensors["model.embed_tokens.weight"].clone();
        tensors.insert("lm_head.weight".into(), embedding);
    });
    edit_json(&dir, "config.json", |v| v["tie_word_embeddings"] = true.into());
    assert!(load(&dir).is_ok(), "{}: equal heads of F64", tied.display());
}

/// Splits a checkpoint into two shards with an index.
fn sharded() -> (Decoder, TempDir) {
    let (written, dir) = checkpoint(false);
    let path = dir.path().join(MODEL);
    let (mut shards, mut map) = ([Tensors::new(), Tensors::new()], BTreeMap::new());
    for (i, (key, tensor)) in read(&path).into_iter().enumerate() {
        map.insert(key.clone(), format!("model-{}-of-2.safetensors", i % 2 + 1));
        shards[i % 2].insert(key, tensor);
    }
    for (i, shard) in shards.iter().enumerate() {
        write(&dir.path().join(format!("model-{}-of-2.safetensors", i + 1)), shard);
    }
    std::fs::remove_file(path).unwrap();
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map });
    std::fs::write(dir.path().join(INDEX), index.to_string()).unwrap();
    (written, dir)
}

#[test]
fn shards_are_read_through_their_index() {
    let (written, dir) = sharded();
    assert!(values(&load(&dir).unwrap()) == values(&written));
    let shard = edit(&dir, "model-2-of-2.safetensors", |t| drop(t.insert("model.extra.weight".into(), (Dtype::F32, vec![1], vec![0; 4]))));
    assert_is!(refused(&dir), ModelError::UnusedWeights { count: 1, first, file } if first == "model.extra.weight" && *file == shard);

    let (_, dir) = sharded();
    edit_json(&dir, INDEX, |v| v["weight_map"][V_PROJ] = "model-3-of-2.safetensors".into());
    let absent = dir.path().join("model-3-of-2.safetensors");
    assert_is!(refused(&dir), ModelError::Missing { path, .. } if *path == absent);

    let ghost = |shard: Value| json!({ "model.ghost.weight": shard });
    for (map, named) in [
        (ghost("../model-1-of-2.safetensors".into()), "../model-1-of-2.safetensors"),
        (ghost("/etc/passwd".into()), "/etc/passwd"),
        (ghost("sub/x.safetensors".into()), "sub/x.safetensors"),
        (ghost("..".into()), "\"..\""),
        (ghost("".into()), "\"\""),
        (ghost(7.into()), "model.ghost.weight"),
        (Value::Null, "weight_map"),
    ] {
        let (_, dir) = sharded();
        edit_json(&dir, INDEX, |v| v["weight_map"] = map);
        assert_is!(refused(&dir), ModelError::Safetensors { path, reason } if path.ends_with(INDEX) && reason.contains(named));
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_key_and_file() {
    let edited = |change: &dyn Fn(&mut Tensors)| {
        let (_, dir) = checkpoint(false);
        (edit(&dir, MODEL, change), dir)
    };
    let (_, dir) = edited(&|t| t.retain(|key, _| key != V_PROJ && key != NORM));
    assert_is!(refused(&dir), ModelError::MissingWeights { count: 2, first, dir: d } if first == V_PROJ && d == dir.path());

    let (path, dir) = edited(&|t| drop(t.insert("model.layers.2.x".into(), t[NORM].clone())));
    assert_is!(refused(&dir), ModelError::UnusedWeights { count: 1, first, file } if first == "model.layers.2.x" && *file == path);

    // The same number of values the other way round
    let (path, dir) = edited(&|t| t.get_mut(V_PROJ).unwrap().1 = vec![32, 24]);
    assert_is!(refused(&dir), ModelError::WeightShape { key, file, got, expected }
        if key == V_PROJ && *file == path && *got == [32, 24] && *expected == [24, 32]);
    assert!(refused(&dir).to_string().contains(V_PROJ) && refused(&dir).to_string().contains(MODEL));

    for dtype in [Dtype::I32, Dtype::U32] {
        let (path, dir) = edited(&|t| t.get_mut(NORM).unwrap().0 = dtype);
        assert_is!(load(&dir).unwrap_err(), ModelError::WeightDtype { key, file, got }
            if key == NORM && *file == path && *got == format!("{dtype:?}"));
        // `explain` promises that what it accepts will load.
        assert_is!(refused(&dir), ModelError::WeightDtype { key, .. } if key == NORM);
    }
}

#[test]
fn files_that_are_not_whole_are_refused_by_name() {
    let (_, dir) = checkpoint(true);
    let path = dir.path().join(MODEL);
    let whole = std::fs::read(&path).unwrap();
    let longer = [whole.as_slice(), b"x"].concat();
    let huge_header = [u64::MAX.to_le_bytes().as_slice(), &whole[8..]].concat();
    for bytes in [&whole[..whole.len() - 1], &whole[..100], &whole[..3], &[], &longer, &huge_header, b"\x02\0\0\0\0\0\0\0{]"] {
        std::fs::write(&path, bytes).unwrap();
        let error = refused(&dir);
        assert!(matches!(&error, ModelError::Safetensors { path: p, .. } if *p == path), "{} bytes: {error}", bytes.len());
    }
    std::fs::remove_file(&path).unwrap();
    assert_is!(refused(&dir), ModelError::Missing { path: p, .. } if *p == path);
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    assert_is!(refused(&dir), ModelError::Missing { path, .. } if path.ends_with("config.json"));
}
