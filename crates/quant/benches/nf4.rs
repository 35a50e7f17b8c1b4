//! NF4 of one memory of Qwen3-8B: 15 latents of width 4096.   cargo bench --workspace --bench nf4

use std::hint::black_box;
use std::time::Instant;

use nextmem_quant::{Nf4Latents, Scales};

/// Median time of 31 runs, each of `inner` repetitions.
fn median_seconds(inner: usize, mut run: impl FnMut()) -> f64 {
    let mut seconds: Vec<f64> = (0..31)
        .map(|_| {
            let started = Instant::now();
            (0..inner).for_each(|_| run());
            started.elapsed().as_secs_f64() / inner as f64
        })
        .collect();
    seconds.sort_by(f64::total_cmp);
    seconds[15]
}

fn main() {
    let (latents, hidden) = (15, 4096);
    let values: Vec<f32> = (0..latents * hidden).map(|i| ((i * 7919) % 2003) as f32 / 1001.5 - 1.0).collect();
    let Ok(quantised) = Nf4Latents::quantize(&values, latents, hidden, Scales::Absmax) else { return };
    let quantize = median_seconds(4, || {
        let _ = black_box(Nf4Latents::quantize(black_box(&values), latents, hidden, Scales::Absmax));
    });
    let dequantize = median_seconds(20, || {
        black_box(black_box(&quantised).dequantize());
    });
    println!("quantize   {:8.1} us, {:6.1} million values/s", quantize * 1e6, values.len() as f64 / quantize / 1e6);
    println!("dequantize {:8.1} us, {:6.1} million values/s", dequantize * 1e6, values.len() as f64 / dequantize / 1e6);
}
