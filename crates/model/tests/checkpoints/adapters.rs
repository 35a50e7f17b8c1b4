//! PEFT adapters on disk.

use burn::tensor::Device;
use nextmem_model::{
    Decoder, LoraAdapter, ModelError, PeftConfig, adapter_notes, load_adapter, load_adapter_on, peft_factors, save_adapter,
};
use safetensors::tensor::Dtype;
use serde_json::{Value, json};
use tempfile::TempDir;

use half::bf16;
use nextmem_model::save_decoder;

use super::{Tensors, config, decoder, edit, edit_json, narrowed, random, read, values};

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
        ("layers_pattern", json!("h")),
        ("lora_alpha", Value::Null),
        ("peft_type", json!("IA3")),
    ] {
        let (_, dir) = saved_adapter();
        edit_json(&dir, CONFIG, |v| {
            v["layers_to_transform"] = json!([0]);
            v[key] = value;
        });
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

/// As PEFT saves them beside the factors, with the base's tables.
fn with_tables(base: &Decoder, names: &[&str], change: impl Fn(&mut Vec<u8>)) -> TempDir {
    let (_, dir) = saved_adapter();
    let saved = tempfile::tempdir().unwrap();
    save_decoder(base, saved.path(), 1, 0).unwrap();
    let own = read(&saved.path().join("model.safetensors"));
    edit(&dir, ADAPTER, |tensors| {
        for name in names {
            let mut table = own.get(*name).unwrap_or(&own["model.embed_tokens.weight"]).clone();
            change(&mut table.2);
            tensors.insert(format!("base_model.model.{name}"), table);
        }
    });
    dir
}

#[test]
fn embeddings_saved_beside_an_adapter_must_be_the_bases() {
    let names = ["model.embed_tokens.weight", "lm_head.weight"];
    for tied in [true, false] {
        let base = decoder(tied);
        let on = |dir: &TempDir| load_adapter_on(dir.path(), &base, &Device::flex());
        for names in [&names[..], &names[..1], &names[1..]] {
            let dir = with_tables(&base, names, |_| {});
            assert!(values(&on(&dir).unwrap()) == values(&saved_adapter().0), "{names:?}");
            assert_is!(open(&dir).unwrap_err(), ModelError::Adapter { reason, .. } if reason.contains("name a backbone"));
            // Two rows of 32 values: the table is [61, 32].
            let dir = with_tables(&base, names, |bytes| bytes[..4 * 40].fill(0));
            assert_is!(on(&dir).unwrap_err(), ModelError::Adapter { reason, .. }
                if reason.contains("in 2 of 61 rows") && reason.contains(&format!("base_model.model.{}", names[0])));
        }
        // A half type rounds what it keeps, and is the base's own all the same.
        let dir = with_tables(&base, &names, |_| {});
        edit(&dir, ADAPTER, |t| {
            let key = format!("base_model.model.{}", names[0]);
            let half = narrowed(t, Dtype::BF16, |v| bf16::from_f32(v).to_le_bytes());
            t.insert(key.clone(), half[&key].clone());
        });
        assert!(on(&dir).is_ok());
    }
}

#[test]
fn only_the_name_of_the_only_adapter_may_be_in_a_key() {
    let named = |name: &str| {
        let (written, dir) = saved_adapter();
        edit(&dir, ADAPTER, |t| {
            *t = std::mem::take(t).into_iter().map(|(k, v)| (k.replace(".weight", &format!(".{name}.weight")), v)).collect()
        });
        (written, dir)
    };
    let (written, dir) = named("default");
    assert!(values(&open(&dir).unwrap()) == values(&written));
    // PEFT warns that it finds no factors in these, and adapts nothing.
    assert_is!(open(&named("other").1).unwrap_err(), ModelError::UnusedWeights { count: 28, first, .. } if first.contains("lora_A.other"));
    for prefix in ["model.", "base_model.model._orig_mod.model.", "base_model.model.", "_orig_mod.base_model.model.model."] {
        let (_, dir) = saved_adapter();
        let shorter = |k: &str| k.replace("base_model.model.model.", prefix);
        edit(&dir, ADAPTER, |t| *t = std::mem::take(t).into_iter().map(|(k, v)| (shorter(&k), v)).collect());
        assert_is!(open(&dir).unwrap_err(), ModelError::UnusedWeights { count: 28, .. } if true);
    }
    // Both spellings of one factor.
    let (_, dir) = saved_adapter();
    edit(&dir, ADAPTER, |t| drop(t.insert(LORA_A.replace(".weight", ".default.weight"), t[LORA_A].clone())));
    assert_is!(open(&dir).unwrap_err(), ModelError::UnusedWeights { count: 1, .. } if true);
}

#[test]
fn targets_without_factors_are_told_and_python_files_are_read() {
    let (written, dir) = saved_adapter();
    edit(&dir, ADAPTER, |t| t.retain(|key, _| !key.contains("layers.1.mlp.up_proj")));
    assert_eq!(peft_factors(&open(&dir).unwrap()).len(), peft_factors(&written).len() - 2);
    let notes = adapter_notes(dir.path(), &config(true)).unwrap();
    assert!(notes.len() == 1 && notes[0].contains("1 modules") && notes[0].contains("layers.1.mlp.up_proj"), "{notes:?}");
    edit_json(&dir, CONFIG, |v| v["alpha_pattern"] = json!({"^q_proj": 3}));
    assert!(adapter_notes(dir.path(), &config(true)).unwrap()[1].contains("`alpha_pattern`: \"^q_proj\" matches no"));
    // What json.dump of Python writes, and what editors put before it.
    let path = dir.path().join(CONFIG);
    let text = std::fs::read_to_string(&path).unwrap().replacen('{', "\u{feff}{\"loss\": NaN, \"best\": -Infinity, ", 1);
    std::fs::write(&path, text).unwrap();
    assert!(open(&dir).is_ok());
    let text = std::fs::read_to_string(&path).unwrap().replace("\"lora_alpha\":7.5", "\"lora_alpha\":NaN");
    std::fs::write(&path, &text).unwrap();
    assert_is!(open(&dir).unwrap_err(), ModelError::Adapter { reason, .. } if reason.contains("lora_alpha"));
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(&path, wide).unwrap();
    assert_is!(open(&dir).unwrap_err(), ModelError::Adapter { reason, .. } if reason.contains("UTF-16"));
}
