//! Rotary positions as Hugging Face's Qwen3 applies them: the two halves of a head rotate against each other.

use burn::tensor::{Device, Tensor, TensorData};

/// Cosines and sines for one forward pass.
#[derive(Clone, Debug)]
pub struct Rope {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rope {
    /// Tables for `positions`, one row per sequence (or one row shared by all of them).
    ///
    /// Angles are computed in f32 like the reference: f64 would be more exact and differ at long positions.
    ///
    /// # Shapes
    /// - positions: `[rows][seq]`; tables: `[rows, 1, seq, head_dim / 2]`
    pub fn new(positions: &[Vec<usize>], head_dim: usize, theta: f64, device: &Device) -> Self {
        let (rows, seq, half) = (positions.len(), positions[0].len(), head_dim / 2);
        let inverse: Vec<f32> = (0..half).map(|i| 1.0 / (theta as f32).powf((2 * i) as f32 / head_dim as f32)).collect();
        let mut cos = Vec::with_capacity(rows * seq * half);
        let mut sin = Vec::with_capacity(rows * seq * half);
        for position in positions.iter().flatten() {
            for frequency in &inverse {
                let angle = *position as f32 * frequency;
                cos.push(angle.cos());
                sin.push(angle.sin());
            }
        }
        let table = |values| Tensor::from_data(TensorData::new(values, [rows, 1, seq, half]), device);
        Self { cos: table(cos), sin: table(sin) }
    }

    /// Rotates queries or keys.
    ///
    /// `out = [x1 cos - x2 sin, x2 cos + x1 sin]`, x1 and x2 the halves of a head.
    ///
    /// # Shapes
    /// - x and result: `[batch, heads, seq, head_dim]`
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, _, _, head_dim] = x.dims();
        let half = head_dim / 2;
        let dtype = x.dtype();
        let (cos, sin) = (self.cos.clone().cast(dtype), self.sin.clone().cast(dtype));
        let first = x.clone().narrow(3, 0, half);
        let second = x.narrow(3, half, half);
        Tensor::cat(
            vec![
                first.clone() * cos.clone() - second.clone() * sin.clone(),
                second * cos + first * sin,
            ],
            3,
        )
    }
}
