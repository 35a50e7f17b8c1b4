//! An encoder computes in f32 on a device that is set to another float type: alone in its process, as a device is set once.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::{FloatDType, Tensor};
use nextmem_model::{Device, TensorFiles, TextEncoder};

#[test]
fn hidden_states_are_f32_whatever_the_device_is_set_to() {
    let mut device = Device::flex();
    device.configure(FloatDType::BF16).unwrap();
    assert_eq!(Tensor::<1>::ones([1], &device).dtype(), burn::tensor::DType::BF16);
    let dir = Path::new("tests/fixtures/bert/bert");
    let files = TensorFiles::open_file(&dir.join("expected.safetensors")).unwrap();
    let encoder = TextEncoder::open(dir, &device).unwrap();
    let text = encoder.tokenize("The ferry leaves at nine.").unwrap();
    let short = encoder.tokenize("a").unwrap();
    let got = encoder.token_vectors(&[&short.ids, &text.ids], 2, 2).remove(1);
    let expected = files.read_f32("layer2").unwrap();
    let difference = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(got.len() == text.ids.len() * 32 && difference < 5e-5, "{difference}");
}
