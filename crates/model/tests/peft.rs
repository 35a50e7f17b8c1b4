//! PEFT's own adapters in the variations it writes, against the logits that transformers + peft compute with them.
//!
//! `scripts/golden/make_peft.py` made `fixtures/peft`; the base is `fixtures/oracle/tied/base`.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Int, Tensor, TensorData};
use nextmem_model::{Decoder, LoraAdapter, ModelError, PeftConfig, TensorFiles, adapter_notes, load_adapter, load_decoder, save_adapter};

/// Largest difference over the largest value.
const TOLERANCE: f32 = 1e-5;

fn fixtures() -> PathBuf {
    PathBuf::from("tests/fixtures")
}

fn base() -> Decoder {
    load_decoder(&fixtures().join("oracle/tied/base"), &Device::flex()).unwrap()
}

fn open(dir: &Path) -> Result<LoraAdapter, ModelError> {
    load_adapter(dir, base().config(), &Device::flex())
}

fn logits(decoder: &Decoder, adapter: Option<&LoraAdapter>, files: &TensorFiles) -> Vec<f32> {
    let shape = files.shape("ids").unwrap().to_vec();
    let ids: Vec<i32> = files.read_ints("ids").unwrap().iter().map(|id| *id as i32).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, shape), &Device::flex());
    decoder.logits(decoder.hidden(decoder.embed(ids), &[], adapter, None)).into_data().iter::<f32>().collect()
}

fn relative(got: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    got.iter().zip(expected).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest
}

#[test]
fn every_variation_computes_what_peft_computes() {
    let expected = TensorFiles::open_file(&fixtures().join("peft/expected.safetensors")).unwrap();
    let plain = logits(&base(), None, &expected);
    assert!(relative(&plain, &expected.read_f32("base.logits").unwrap()) < TOLERANCE);
    let names = ["bf16", "f16", "rslora", "patterns", "rslora-patterns", "regex-targets", "all-linear", "other-task"];
    let edited = ["alpha-general-first", "alpha-special-first", "fewer-targets", "excluded", "one-layer", "default-names"];
    let saved = tempfile::tempdir().unwrap();
    for name in names.into_iter().chain(edited) {
        let wanted = expected.read_f32(&format!("{name}.logits")).unwrap();
        let adapter = open(&fixtures().join("peft").join(name)).unwrap();
        let error = relative(&logits(&base(), Some(&adapter), &expected), &wanted);
        assert!(error < TOLERANCE, "{name}: {error}");
        let error = relative(&logits(&adapter.merge(base()), None, &expected), &wanted);
        assert!(error < TOLERANCE, "{name}, merged: {error}");
        // Written by us and read again it is the same adapter, ranks and scalings of every module included.
        let dir = saved.path().join(name);
        save_adapter(&adapter, &PeftConfig { r: 2, lora_alpha: 6.0 }, &dir).unwrap();
        let error = relative(&logits(&base(), Some(&open(&dir).unwrap()), &expected), &wanted);
        assert!(error < TOLERANCE, "{name}, saved: {error}");
    }
}

#[test]
fn what_peft_passes_over_is_told() {
    let notes = |name: &str| adapter_notes(&fixtures().join("peft").join(name), base().config()).unwrap();
    for name in ["bf16", "patterns", "regex-targets", "all-linear", "alpha-general-first", "default-names"] {
        assert_eq!(notes(name), Vec::<String>::new(), "{name}");
    }
    for (name, count, first) in [("fewer-targets", 2, "layers.0.mlp.down_proj"), ("excluded", 1, "v_proj"), ("one-layer", 3, "layers.0")] {
        let told = notes(name);
        assert!(told.len() == 1 && told[0].contains(&format!("factors of {count} modules")) && told[0].contains(first), "{name}: {told:?}");
    }
}

#[test]
fn what_is_not_plain_lora_is_refused_by_name() {
    let refused = [
        ("dora", "use_dora"),
        ("lora-bias", "lora_bias"),
        ("modules-to-save", "modules_to_save"),
        ("token-indices", "trainable_token_indices"),
    ];
    for (name, key) in refused {
        let error = open(&fixtures().join("peft").join(name)).unwrap_err().to_string();
        assert!(error.contains(key), "{name}: {error}");
    }
}
