//! Checkpoints of any size with random weights, for benchmarks where no real ones can be had.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use burn::tensor::Device;
use half::bf16;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::config::DecoderConfig;
use crate::error::ModelError;
use crate::weights::{expected_shapes, write_atomically};

/// Standard deviation of the weights: Qwen3's `initializer_range`.
const STD: f32 = 0.02;

/// Writes `config.json` and `model.safetensors` with uniform weights of standard deviation 0.02 and norms at 1, one
/// tensor at a time: memory stays small at any size.
///
/// # Errors
/// A full disk; then no `config.json` is there.
pub fn write_random_checkpoint(config: &DecoderConfig, half: bool, seed: u64, dir: &Path, device: &Device) -> Result<(), ModelError> {
    let path = dir.join("model.safetensors");
    let io = |source| ModelError::Io { path: path.clone(), source };
    std::fs::create_dir_all(dir).map_err(io)?;
    let shapes = expected_shapes(config, device);
    let (dtype, size) = if half { ("BF16", 2) } else { ("F32", 4) };
    let mut header = Map::from_iter([("__metadata__".to_string(), json!({"format": "pt"}))]);
    let mut end = 0usize;
    for (key, shape) in &shapes {
        let start = end;
        end += size * shape.iter().product::<usize>();
        header.insert(key.clone(), json!({"dtype": dtype, "shape": shape, "data_offsets": [start, end]}));
    }
    let mut header = Value::Object(header).to_string();
    // The data starts at a multiple of 8.
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));

    let mut file = BufWriter::with_capacity(1 << 20, File::create(&path).map_err(io)?);
    file.write_all(&(header.len() as u64).to_le_bytes()).and_then(|()| file.write_all(header.as_bytes())).map_err(io)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // A uniform distribution of this bound has the standard deviation.
    let bound = STD * 3f32.sqrt();
    for shape in shapes.values() {
        for _ in 0..shape.iter().product::<usize>() {
            let value = if shape.len() == 1 { 1.0 } else { rng.random_range(-bound..bound) };
            match half {
                true => file.write_all(&bf16::from_f32(value).to_le_bytes()),
                false => file.write_all(&value.to_le_bytes()),
            }
            .map_err(io)?;
        }
    }
    file.flush().map_err(io)?;
    let json = config.to_json(0, 0, if half { "bfloat16" } else { "float32" });
    write_atomically(&dir.join("config.json"), format!("{json:#}\n").as_bytes())
}
