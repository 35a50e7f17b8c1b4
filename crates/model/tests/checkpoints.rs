//! Checkpoints on disk: what is written is read back, and every file that does not fit is refused by key and name.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Int, Tensor};
use half::{bf16, f16};
use nextmem_model::{Decoder, DecoderConfig, LoraAdapter, ModelError, PeftConfig};
use nextmem_model::{check_decoder, load_adapter, load_decoder, peft_factors, save_adapter, save_decoder};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

const EMBED: &str = "model.embed_tokens.weight";
const V_PROJ: &str = "model.layers.1.self_attn.v_proj.weight";
const NORM: &str = "model.norm.weight";
const LORA_A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const LORA_B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

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
    random(5, |device| Decoder::random(config(tied), 0.2, device))
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
        assert!(values(&loaded) == values(&written) && logits(&loaded) == logits(&written), "tied {tied}");
        assert_eq!(check_decoder(dir.path(), &Device::flex()).unwrap(), config(tied));
        let keys = read(&dir.path().join("model.safetensors"));
        assert_eq!(keys.contains_key("lm_head.weight"), !tied);
        assert_eq!(keys.len(), 2 * 11 + if tied { 2 } else { 3 });
        // [out, in], as torch stores a linear layer
        assert_eq!(keys[V_PROJ].1, [24, 32]);
    }
}

#[test]
fn half_precision_is_read_exactly() {
    let (written, dir) = checkpoint(false);
    let (path, exact) = (dir.path().join("model.safetensors"), values(&written));
    let whole = read(&path);
    write(&path, &narrowed(&whole, Dtype::BF16, |v| bf16::from_f32(v).to_le_bytes()));
    assert!(values(&load(&dir).unwrap()) == exact.iter().map(|v| bf16::from_f32(*v).to_f32()).collect::<Vec<_>>());
    write(&path, &narrowed(&whole, Dtype::F16, |v| f16::from_f32(v).to_le_bytes()));
    assert!(values(&load(&dir).unwrap()) == exact.iter().map(|v| f16::from_f32(*v).to_f32()).collect::<Vec<_>>());
    assert!(logits(&load(&dir).unwrap()).iter().all(|v| v.is_finite()));
}

/// Splits a checkpoint into two shards with an index.
fn sharded() -> (Decoder, TempDir) {
    let (written, dir) = checkpoint(false);
    let path = dir.path().join("model.safetensors");
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
    std::fs::write(dir.path().join("model.safetensors.index.json"), index.to_string()).unwrap();
    (written, dir)
}

#[test]
fn shards_are_read_through_their_index() {
    let (written, dir) = sharded();
    assert!(values(&load(&dir).unwrap()) == values(&written));
    let shard = edit(&dir, "model-2-of-2.safetensors", |t| drop(t.insert("model.extra.weight".into(), (Dtype::F32, vec![1], vec![0; 4]))));
    assert!(matches!(refused(&dir), ModelError::UnusedWeights { count: 1, first, file } if first == "model.extra.weight" && file == shard));

    let index = |change: fn(&mut Value)| {
        let (_, dir) = sharded();
        edit_json(&dir, "model.safetensors.index.json", |v| change(&mut v["weight_map"]));
        let (error, path) = (refused(&dir), dir.path().to_owned());
        (error, path)
    };
    let (error, dir) = index(|map| map[V_PROJ] = "model-3-of-2.safetensors".into());
    assert!(matches!(&error, ModelError::Missing { path, .. } if *path == dir.join("model-3-of-2.safetensors")), "{error}");
    for shard in ["../model-1-of-2.safetensors", "/etc/passwd", "..", "sub/x.safetensors", ""] {
        let (_, dir) = sharded();
        edit_json(&dir, "model.safetensors.index.json", |v| v["weight_map"][V_PROJ] = shard.into());
        let error = refused(&dir);
        assert!(
            matches!(&error, ModelError::Safetensors { path, reason } if path.ends_with("model.safetensors.index.json") && reason.contains(&format!("{shard:?}"))),
            "{shard}: {error}"
        );
    }
    let (error, _) = index(|map| map["model.ghost.weight"] = "model-1-of-2.safetensors".into());
    assert!(matches!(&error, ModelError::Safetensors { reason, .. } if reason.contains("model.ghost.weight")), "{error}");
    let (error, _) = index(|map| *map = Value::Null);
    assert!(matches!(&error, ModelError::Safetensors { reason, .. } if reason.contains("weight_map")), "{error}");
    // A key whose shard is no string must not be skipped in silence.
    let (error, _) = index(|map| map["model.ghost.weight"] = 7.into());
    assert!(matches!(&error, ModelError::Safetensors { reason, .. } if reason.contains("model.ghost.weight")), "{error}");
}

#[test]
fn a_tied_checkpoint_may_store_its_head_too() {
    let (written, dir) = checkpoint(true);
    edit(&dir, "model.safetensors", |t| drop(t.insert("lm_head.weight".into(), t[EMBED].clone())));
    assert!(logits(&load(&dir).unwrap()) == logits(&written));
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_key_and_file() {
    let (_, dir) = checkpoint(false);
    edit(&dir, "model.safetensors", |t| t.retain(|key, _| key != V_PROJ && key != NORM));
    assert!(matches!(refused(&dir), ModelError::MissingWeights { count: 2, first, dir: d } if first == V_PROJ && d == dir.path()));

    let (_, dir) = checkpoint(false);
    let file = edit(&dir, "model.safetensors", |t| drop(t.insert("model.layers.2.x".into(), t[NORM].clone())));
    assert!(matches!(refused(&dir), ModelError::UnusedWeights { count: 1, first, file: f } if first == "model.layers.2.x" && f == file));

    // The same number of values the other way round
    let (_, dir) = checkpoint(false);
    let file = edit(&dir, "model.safetensors", |t| t.get_mut(V_PROJ).unwrap().1 = vec![32, 24]);
    let error = refused(&dir);
    assert!(matches!(&error, ModelError::WeightShape { key, file: f, got, expected }
        if key == V_PROJ && *f == file && *got == [32, 24] && *expected == [24, 32]));
    assert!(error.to_string().contains(V_PROJ) && error.to_string().contains("model.safetensors"));

    for dtype in [Dtype::I32, Dtype::U32] {
        let (_, dir) = checkpoint(false);
        let file = edit(&dir, "model.safetensors", |t| t.get_mut(NORM).unwrap().0 = dtype);
        let error = load(&dir).unwrap_err();
        assert!(
            matches!(&error, ModelError::WeightDtype { key, file: f, got } if key == NORM && *f == file && *got == format!("{dtype:?}"))
        );
        // `explain` promises that what it accepts will load.
        assert!(check_decoder(dir.path(), &Device::flex()).is_err(), "the check accepts a weight of type {dtype:?}");
    }
}

#[test]
fn files_that_are_not_whole_are_refused_by_name() {
    let (_, dir) = checkpoint(true);
    let path = dir.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    let longer = [whole.as_slice(), b"x"].concat();
    let huge_header = [u64::MAX.to_le_bytes().as_slice(), &whole[8..]].concat();
    for bytes in [&whole[..whole.len() - 1], &whole[..100], &whole[..3], &[], &longer, &huge_header, b"\x02\0\0\0\0\0\0\0{]"] {
        std::fs::write(&path, bytes).unwrap();
        let error = refused(&dir);
        assert!(matches!(&error, ModelError::Safetensors { path: p, .. } if *p == path), "{} bytes: {error}", bytes.len());
    }
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(refused(&dir), ModelError::Missing { path: p, .. } if p == path));
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    assert!(matches!(refused(&dir), ModelError::Missing { path, .. } if path.ends_with("config.json")));
}

fn saved_adapter() -> (LoraAdapter, TempDir) {
    let (adapter, dir) = (random(6, |device| LoraAdapter::random(&config(true), 3, 7.5, device)), tempfile::tempdir().unwrap());
    save_adapter(&adapter, &PeftConfig { r: 3, lora_alpha: 7.5 }, dir.path()).unwrap();
    (adapter, dir)
}

fn open(dir: &TempDir) -> Result<LoraAdapter, ModelError> {
    load_adapter(dir.path(), &config(true), &Device::flex())
}

#[test]
fn an_adapter_is_read_back_as_written() {
    let (written, dir) = saved_adapter();
    let loaded = open(&dir).unwrap();
    assert_eq!(peft_factors(&loaded).len(), 2 * 2 * 7);
    assert!(values(&loaded) == values(&written));
    // The scaling is no parameter: it shows in what the adapter does.
    let merged = |adapter: &LoraAdapter| values(&adapter.merge(decoder(true)));
    let expected = merged(&written);
    assert!(merged(&loaded) == expected && expected != values(&decoder(true)));
    edit_json(&dir, "adapter_config.json", |v| v["lora_alpha"] = 15.0.into());
    assert!(merged(&open(&dir).unwrap()) != expected);
    let factors = read(&dir.path().join("adapter_model.safetensors"));
    assert_eq!((&factors[LORA_A].1[..], &factors[LORA_B].1[..]), (&[3, 32][..], &[48, 3][..]));
}

#[test]
fn an_adapter_that_does_not_fit_is_refused() {
    for (key, value) in [
        ("use_dora", json!(true)),
        ("fan_in_fan_out", json!(true)),
        ("rank_pattern", json!({ "q_proj": 8 })),
        ("modules_to_save", json!(["embed_tokens"])),
        ("r", json!(0)),
        ("lora_alpha", Value::Null),
        ("peft_type", json!("IA3")),
    ] {
        let (_, dir) = saved_adapter();
        edit_json(&dir, "adapter_config.json", |v| v[key] = value);
        let error = open(&dir).unwrap_err();
        assert!(
            matches!(&error, ModelError::Adapter { path, reason } if path.ends_with("adapter_config.json") && reason.contains(key)),
            "{error}"
        );
    }
    const FILE: &str = "adapter_model.safetensors";
    for (missing, expected) in [(LORA_A, LORA_A), (LORA_B, LORA_B)] {
        let (_, dir) = saved_adapter();
        edit(&dir, FILE, |t| drop(t.remove(missing)));
        assert!(matches!(open(&dir).unwrap_err(), ModelError::MissingWeights { count: 1, first, .. } if first == expected));
    }
    let (_, dir) = saved_adapter();
    let foreign = "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight";
    let file = edit(&dir, FILE, |t| drop(t.insert(foreign.into(), t[LORA_A].clone())));
    assert!(matches!(open(&dir).unwrap_err(), ModelError::UnusedWeights { count: 1, first, file: f } if first == foreign && f == file));

    let (_, dir) = saved_adapter();
    edit_json(&dir, "adapter_config.json", |v| v["r"] = 4.into());
    assert!(matches!(open(&dir).unwrap_err(), ModelError::WeightShape { key, got, expected, .. }
        if key == LORA_A && got == [3, 32] && expected == [4, 32]));

    let (_, dir) = saved_adapter();
    edit(&dir, FILE, |t| t.get_mut(LORA_B).unwrap().0 = Dtype::I32);
    assert!(matches!(open(&dir).unwrap_err(), ModelError::WeightDtype { key, .. } if key == LORA_B));

    let (_, dir) = saved_adapter();
    edit(&dir, FILE, Tensors::clear);
    assert!(matches!(open(&dir).unwrap_err(), ModelError::Adapter { reason, .. } if reason.contains("no LoRA")));
}
