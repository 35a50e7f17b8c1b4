//! Minimal reproducer of what burn's SPIR-V path computes wrongly on SwiftShader: each operation once on Vulkan, once on
//! the CPU, with the relative error between them.
//!
//!   scripts/vulkan/swiftshader.sh DIR
//!   VK_DRIVER_FILES=DIR/vk_swiftshader_icd.json cargo run --release --features vulkan --example vulkan-faults

use burn::tensor::{Device, DeviceKind, Tensor, TensorData, activation};

/// The same numbers on any device.
fn input<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

type Operation = (&'static str, fn(&Device) -> Tensor<2>);

const OPERATIONS: [Operation; 9] = [
    ("matmul [26,8] x [8,48]", |d| input([26, 8], d).matmul(input([8, 48], d))),
    ("matmul [26,13] x [13,48]", |d| input([26, 13], d).matmul(input([13, 48], d))),
    ("matmul [26,16] x [16,48]", |d| input([26, 16], d).matmul(input([16, 48], d))),
    ("matmul [26,26] x [26,48]", |d| input([26, 26], d).matmul(input([26, 48], d))),
    ("matmul [26,32] x [32,48]", |d| input([26, 32], d).matmul(input([32, 48], d))),
    ("matmul [26,64] x [64,48]", |d| input([26, 64], d).matmul(input([64, 48], d))),
    ("matmul [26,64] x [48,64]^T", |d| input([26, 64], d).matmul(input([48, 64], d).transpose())),
    ("softmax over 300", |d| activation::softmax(input([26, 300], d) * 8.0, 1)),
    ("log_softmax over 300", |d| activation::log_softmax(input([26, 300], d) * 8.0, 1)),
];

fn main() {
    let (vulkan, cpu) = (Device::vulkan(DeviceKind::DefaultDevice), Device::flex());
    println!("{}", vulkan.identity().map(|i| i.name).unwrap_or_default());
    for (name, operation) in OPERATIONS {
        let expected: Vec<f32> = operation(&cpu).into_data().iter().collect();
        let got: Vec<f32> = operation(&vulkan).into_data().iter().collect();
        let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let difference = expected.iter().zip(&got).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
        println!("{name:<40} relative error {:.1e}", difference / largest);
    }
}
