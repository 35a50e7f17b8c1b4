//! What an operation of the table is given, and what it leaves behind: inputs that are the same numbers on every device
//! and in every float type, outputs and gradients as f64.

use std::io::Write;

use anyhow::Result;
use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// One line of a worker's output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// The device's own name, and whether it multiplies f32 in TF32.
    Device { name: String, tf32: bool },
    /// A row is about to be computed; the last one that a crashed worker names is where it crashed.
    Start(String),
    /// Numbers; null is not a number.
    Floats { row: String, shape: String, values: Vec<Option<f64>> },
    /// Ids or codes, which are equal or not.
    Ids { row: String, values: Vec<i64> },
    /// The row could not be computed.
    Failed { row: String, reason: String },
}

/// Writes a line where the parent process reads it.
pub fn emit(line: &Line) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// The values of a tensor in f64.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Most numbers of one row that are compared; of more, every n-th.
const MOST: usize = 1 << 18;

/// A line of numbers.
pub fn floats(row: impl Into<String>, shape: &[usize], values: Vec<f64>) -> Line {
    let every = values.len().div_ceil(MOST).max(1);
    let values = values.into_iter().step_by(every).map(|v| v.is_finite().then_some(v)).collect();
    Line::Floats { row: row.into(), shape: format!("{shape:?}"), values }
}

type Leaf = Box<dyn Fn(&Gradients) -> Option<Vec<f64>>>;

/// Inputs of one operation and what came out of it.
pub struct Probe {
    device: Device,
    rng: ChaCha8Rng,
    leaves: Vec<(String, Vec<usize>, Leaf)>,
    row: &'static str,
    /// The lines to write.
    pub lines: Vec<Line>,
}

impl Probe {
    /// A probe whose numbers depend on the operation's name alone.
    pub fn new(row: &'static str, device: &Device) -> Self {
        let seed = row.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        let device = device.clone().autodiff();
        Self { device, rng: ChaCha8Rng::seed_from_u64(seed), leaves: Vec::new(), row, lines: Vec::new() }
    }

    /// Numbers between -1 and 1 that every float type holds exactly.
    fn numbers<const D: usize>(&mut self, shape: [usize; D]) -> TensorData {
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| half::bf16::from_f32(self.rng.random_range(-1.0..1.0)).to_f32()).collect();
        TensorData::new(values, shape)
    }

    /// An input whose gradient is recorded.
    pub fn input<const D: usize>(&mut self, name: &str, shape: [usize; D]) -> Tensor<D> {
        let data = self.numbers(shape);
        let tensor = Tensor::<D>::from_data(data, &self.device).require_grad();
        let leaf = tensor.clone();
        self.leaves.push((name.to_string(), shape.to_vec(), Box::new(move |grads| leaf.grad(grads).map(values))));
        tensor
    }

    /// An input without a gradient.
    pub fn constant<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        let data = self.numbers(shape);
        Tensor::from_data(data, &self.device)
    }

    /// Numbers with one in every last dimension that is clearly the largest.
    pub fn peaked(&mut self, [a, b, c]: [usize; 3]) -> Tensor<3> {
        let mut values: Vec<f32> = self.numbers([a, b, c]).iter::<f32>().collect();
        for row in values.chunks_mut(c) {
            row[self.rng.random_range(0..c)] = 2.0;
        }
        Tensor::from_data(TensorData::new(values, [a, b, c]), &self.device)
    }

    /// Ids below a bound.
    pub fn ids<const D: usize>(&mut self, shape: [usize; D], below: usize) -> Tensor<D, Int> {
        let count = shape.iter().product();
        let values: Vec<i32> = (0..count).map(|_| self.rng.random_range(0..below as i32)).collect();
        Tensor::from_data(TensorData::new(values, shape), &self.device)
    }

    /// Records one of several results.
    pub fn result_of<const D: usize>(&mut self, which: &str, out: Tensor<D>) {
        self.lines.push(floats(format!("{}: {which}", self.row), &out.dims(), values(out)));
    }

    /// Records the result, and the gradient of every input so far for a random direction in it.
    pub fn result<const D: usize>(&mut self, out: Tensor<D>) {
        let shape = out.dims();
        self.lines.push(floats(self.row, &shape, values(out.clone())));
        if self.leaves.is_empty() || !out.is_tracked() {
            return;
        }
        let direction = self.constant(shape).cast(out.dtype());
        let grads = (out * direction).sum().backward();
        for (name, shape, leaf) in &self.leaves {
            if let Some(values) = leaf(&grads) {
                self.lines.push(floats(format!("{}, gradient of {name}", self.row), shape, values));
            }
        }
    }

    /// Records ids.
    pub fn result_ids<const D: usize>(&mut self, out: Tensor<D, Int>) {
        let values = out.into_data().iter::<i64>().collect();
        self.lines.push(Line::Ids { row: self.row.to_string(), values });
    }

    /// Half-precision neighbours of the device's own float type, where it has one.
    pub fn half_types(&self) -> Vec<DType> {
        [DType::BF16, DType::F16].into_iter().filter(|dtype| self.device.supports_dtype(*dtype)).collect()
    }
}
