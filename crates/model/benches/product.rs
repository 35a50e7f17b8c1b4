//! The forms of `x W^T` on the CPU with the weights of Qwen3-0.6B's gate projection, for the rows of decoding (1), small
//! batches and prefill; several copies of the weight, so that it comes from memory as in a model.
//!   cargo bench --workspace --bench product

use std::hint::black_box;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};

const INPUT: usize = 1024;
const OUTPUT: usize = 3072;
const COPIES: usize = 8;
const RUNS: usize = 41;

type Form = (&'static str, fn(Tensor<2>, Tensor<2>) -> Tensor<2>);

const FORMS: [Form; 3] = [
    ("x W^T", |x, w| x.matmul(w.transpose())),
    ("(W x^T)^T", |x, w| w.matmul(x.transpose()).transpose().reshape([-1, OUTPUT as i32])),
    ("small products", |x, w| {
        let rows = x.dims()[0];
        let width = 256 / rows.clamp(4, 16);
        let w = w.reshape([OUTPUT / width, width, INPUT]).swap_dims(1, 2);
        x.reshape([1, rows, INPUT]).matmul(w).swap_dims(0, 1).reshape([rows, OUTPUT])
    }),
];

fn main() {
    let device = Device::flex();
    let weights: Vec<Tensor<2>> = (0..COPIES).map(|_| Tensor::random([OUTPUT, INPUT], Distribution::Default, &device)).collect();
    for rows in [1, 2, 4, 8, 16, 32, 64, 256] {
        let x = Tensor::<2>::random([rows, INPUT], Distribution::Default, &device);
        print!("{rows:>4} rows");
        for (name, form) in FORMS {
            let mut seconds: Vec<f64> = (0..RUNS)
                .map(|i| {
                    let started = Instant::now();
                    black_box(form(x.clone(), weights[i % COPIES].clone()));
                    started.elapsed().as_secs_f64()
                })
                .collect();
            seconds.sort_by(f64::total_cmp);
            let median = seconds[RUNS / 2];
            print!(" | {name}: {:6.2} ms, {:5.1} GFLOP/s", median * 1e3, (2 * rows * INPUT * OUTPUT) as f64 / median / 1e9);
        }
        println!();
    }
}
