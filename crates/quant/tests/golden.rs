//! Bit-for-bit comparison with torch (committed fixture) and, in the folder that `NEXTMEM_SHARED` names (`data/golden` and
//! `oracle`), with every bf16 -> e4m3 conversion and the oracles' latents; without it the latter are ignored.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use half::bf16;
use nextmem_quant::{E4M3_MAX, NF4, Nf4Latents, Scales, e4m3_from_f32, e4m3_to_f32};
use safetensors::SafeTensors;
use serde_json::Value;

fn shared() -> PathBuf {
    PathBuf::from(std::env::var_os("NEXTMEM_SHARED").expect("NEXTMEM_SHARED names the folder of data/golden and oracle"))
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The numbers of a nested JSON array, flattened.
fn ints(value: &Value) -> Vec<u64> {
    match value {
        Value::Array(rows) => rows.iter().flat_map(ints).collect(),
        number => vec![number.as_u64().unwrap()],
    }
}

fn from_bf16_bits(value: &Value) -> Vec<f32> {
    ints(value).into_iter().map(|bits| bf16::from_bits(bits as u16).to_f32()).collect()
}

/// Equal numbers; the sign of a zero does not count.
fn check(name: &str, input: &[f32], shape: [usize; 2], codes: &[u64], scales: &[f32], dequantized: &[f32]) {
    let q = Nf4Latents::quantize(input, shape[0], shape[1], Scales::Absmax).unwrap();
    assert_eq!(q.codes().into_iter().map(u64::from).collect::<Vec<_>>(), codes, "{name}: codes");
    assert_eq!(q.scales_f32(), scales, "{name}: scales");
    assert_eq!(q.dequantize(), dequantized, "{name}: values");
}

#[test]
fn equals_torch() {
    let fixture = json(Path::new("tests/fixtures/nf4.json"));
    assert_eq!(from_bf16_bits(&fixture["codebook_bf16"]), NF4);
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let shape = ints(&case["shape"]);
        let scales: Vec<f32> = ints(&case["scales_e4m3"]).into_iter().map(|b| e4m3_to_f32(b as u8)).collect();
        check(
            case["name"].as_str().unwrap(),
            &from_bf16_bits(&case["input_bf16"]),
            [shape[0] as usize, shape[1] as usize],
            &ints(&case["codes"]),
            &scales,
            &from_bf16_bits(&case["dequantized_bf16"]),
        );
    }
    let inputs = ints(&fixture["e4m3"]["f32_bits"]);
    for (input, expected) in inputs.iter().zip(ints(&fixture["e4m3"]["e4m3"])) {
        let value = f32::from_bits(*input as u32);
        assert_eq!(u64::from(e4m3_from_f32(value)), expected, "{value}");
    }
}

#[test]
#[ignore = "needs NEXTMEM_SHARED"]
fn equals_every_bf16_conversion() {
    let shared = shared();
    let table = std::fs::read(shared.join("data/golden/bf16_to_f8e4m3fn.u8.bin")).unwrap();
    assert_eq!(table.len(), 65_536);
    for (bits, expected) in table.into_iter().enumerate() {
        let value = bf16::from_bits(bits as u16).to_f32();
        // D2: the table (ml_dtypes) has NaN above 464, we saturate as torch 2.15 does.
        let expected = if value.abs() > 464.0 { expected & 0x80 | 0x7e } else { expected };
        assert_eq!(e4m3_from_f32(value), expected, "{value} ({bits:#06x})");
    }
}

#[test]
#[ignore = "needs NEXTMEM_SHARED"]
fn equals_the_golden_cases() {
    let shared = shared();
    let golden = json(&shared.join("data/golden/nf4_nextmem.json"));
    assert_eq!(from_bf16_bits(&golden["nf4_bf16_bits"]), NF4);
    let cases = golden["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for (number, case) in cases.iter().enumerate() {
        let (latents, hidden) = (ints(&case["shape"])[0] as usize, ints(&case["shape"])[1] as usize);
        let q = Nf4Latents::quantize(&from_bf16_bits(&case["x_bf16_bits"]), latents, hidden, Scales::Absmax).unwrap();
        assert_eq!(q.codes().into_iter().map(u64::from).collect::<Vec<_>>(), ints(&case["indices"]), "case {number}");
        // D2: where the table's scale is NaN, ours is the largest e4m3 value and the dimension stays finite.
        let scales: Vec<f32> = ints(&case["scale_e4m3fn_bits"]).into_iter().map(|b| e4m3_to_f32(b as u8)).collect();
        let saturated: Vec<f32> = scales.iter().map(|s| if s.is_nan() { E4M3_MAX } else { *s }).collect();
        assert_eq!(q.scales_f32(), saturated, "case {number}");
        for (at, (got, expected)) in q.dequantize().into_iter().zip(from_bf16_bits(&case["dequant_bf16_bits"])).enumerate() {
            assert!(got == expected || (scales[at % hidden].is_nan() && got.is_finite()), "case {number}: {got} {expected}");
        }
    }
}

#[test]
#[ignore = "needs NEXTMEM_SHARED"]
fn equals_the_oracles() {
    let shared = shared();
    for case in ["tied", "untied"] {
        let bytes = std::fs::read(shared.join("oracle").join(case).join("expected.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensor = |key: &str| file.tensor(key).unwrap();
        let bf16s = |key: &str| -> Vec<f32> { tensor(key).data().as_chunks().0.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect() };
        let scales: Vec<f32> = tensor("nf4.scales_f32").data().as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        let codes: Vec<u64> = tensor("nf4.codes").data().iter().map(|c| u64::from(*c)).collect();
        let shape = [tensor("nf4.codes").shape()[0], tensor("nf4.codes").shape()[1]];
        check(case, &bf16s("nf4.input_bf16"), shape, &codes, &scales, &bf16s("nf4.dequantized"));
    }
}
