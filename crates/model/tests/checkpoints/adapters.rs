//! PEFT adapters on disk.

use burn::tensor::Device;
use nextmem_model::{LoraAdapter, ModelError, PeftConfig, load_adapter, peft_factors, save_adapter};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Tensors, config, decoder, edit, edit_json, random, read, values};

const CONFIG: &str = "adapter_config.json";
const ADAPTER: &str = "adapter_model.safetensors";
const LORA_A: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight";
const LORA_B: &str = "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight";

fn saved_adapter() -> (LoraAdapter, TempDir) {
    let (adapter, dir) = (random(6, |device| LoraAdapter::random(&config(true), 3, 7.5, 6, device)), tempfile::tempdir().unwrap());
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
    edit_json(&dir, CONFIG, |v| v["lora_alpha"] = 15.0.into());
    assert!(merged(&open(&dir).unwrap()) != expected);
    let factors = read(&dir.path().join(ADAPTER));
    assert_eq!((&factors[LORA_A].1[..], &factors[LORA_B].1[..]), (&[3, 32][..], &[48, 3][..]));
}

#[test]
fn an_adapter_that_does_not_fit_is_refused() {
    for (key, value) in [
        ("use_dora", json!(true)),
        ("fan_in_fan_out", json!(true)),
        ("rank_pattern", json!({ "q_proj": 0 })),
        ("init_lora_weights", json!("pissa")),
        ("lora_bias", json!(true)),
        ("modules_to_save", json!(["embed_tokens"])),
        ("r", json!(0)),
        ("lora_alpha", Value::Null),
        ("peft_type", json!("IA3")),
    ] {
        let (_, dir) = saved_adapter();
        edit_json(&dir, CONFIG, |v| v[key] = value);
        assert_is!(open(&dir).unwrap_err(), ModelError::Adapter { path, reason }
            if path.ends_with(CONFIG) && reason.contains(key));
    }
    let edited = |change: &dyn Fn(&mut Tensors)| {
        let (_, dir) = saved_adapter();
        let path = edit(&dir, ADAPTER, change);
        (open(&dir).unwrap_err(), path)
    };
    for half in [LORA_A, LORA_B] {
        assert_is!(edited(&|t| drop(t.remove(half))).0, ModelError::MissingWeights { count: 1, first, .. } if first == half);
    }
    let foreign = "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight";
    let (error, path) = edited(&|t| drop(t.insert(foreign.into(), t[LORA_A].clone())));
    assert_is!(error, ModelError::UnusedWeights { count: 1, first, file } if first == foreign && *file == path);
    let (error, path) = edited(&|t| t.get_mut(LORA_B).unwrap().0 = Dtype::I32);
    assert_is!(error, ModelError::WeightDtype { key, file, .. } if key == LORA_B && *file == path);
    assert_is!(edited(&Tensors::clear).0, ModelError::Adapter { reason, .. } if reason.contains("no LoRA"));

    let (_, dir) = saved_adapter();
    edit_json(&dir, CONFIG, |v| v["r"] = 4.into());
    assert_is!(open(&dir).unwrap_err(), ModelError::WeightShape { key, got, expected, .. }
        if key == LORA_A && *got == [3, 32] && *expected == [4, 32]);
}
