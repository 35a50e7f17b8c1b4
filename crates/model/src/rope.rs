//! Rotary positions as Hugging Face's Qwen3 applies them: the two halves of a head rotate against each other.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Cosines and sines for one forward pass.
#[derive(Clone, Debug)]
pub struct Rope {
    cos: Tensor<4>,
    sin: Tensor<4>,
    /// `[head_dim, head_dim]`: `x R = [-x2, x1]`. A product with 0, 1 and -1 is exact, and on every backend cheaper than
    /// cutting a head in two and joining it again.
    rotate_half: Tensor<4>,
}

impl Rope {
    /// Tables for `positions`, one row per sequence (or one row shared by all of them).
    ///
    /// Angles are computed in f32 like the reference: f64 would be more exact and differ at long positions.
    ///
    /// # Shapes
    /// - positions: `[rows][seq]`; tables: `[rows, 1, seq, head_dim]`
    pub fn new(positions: &[Vec<usize>], head_dim: usize, theta: f64, dtype: DType, device: &Device) -> Self {
        let (rows, seq, half) = (positions.len(), positions[0].len(), head_dim / 2);
        let inverse: Vec<f32> = (0..half).map(|i| 1.0 / (theta as f32).powf((2 * i) as f32 / head_dim as f32)).collect();
        let mut cos = Vec::with_capacity(rows * seq * head_dim);
        let mut sin = Vec::with_capacity(rows * seq * head_dim);
        for position in positions.iter().flatten() {
            for frequency in inverse.iter().chain(&inverse) {
                let angle = *position as f32 * frequency;
                cos.push(angle.cos());
                sin.push(angle.sin());
            }
        }
        let mut rotate = vec![0.0f32; head_dim * head_dim];
        for i in 0..half {
            rotate[(half + i) * head_dim + i] = -1.0;
            rotate[i * head_dim + half + i] = 1.0;
        }
        let table = |values: Vec<f32>, shape: [usize; 4]| Tensor::<4>::from_data(TensorData::new(values, shape), device).cast(dtype);
        Self {
            cos: table(cos, [rows, 1, seq, head_dim]),
            sin: table(sin, [rows, 1, seq, head_dim]),
            rotate_half: table(rotate, [1, 1, head_dim, head_dim]),
        }
    }

    /// Rotates queries or keys.
    ///
    /// `out = x cos + [-x2, x1] sin`, x1 and x2 the halves of a head.
    ///
    /// # Shapes
    /// - x and result: `[batch, heads, seq, head_dim]`
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, heads, seq, head_dim] = x.dims();
        let flat = x.clone().reshape([1, 1, batch * heads * seq, head_dim]);
        let rotated = flat.matmul(self.rotate_half.clone()).reshape([batch, heads, seq, head_dim]);
        x * self.cos.clone() + rotated * self.sin.clone()
    }
}
