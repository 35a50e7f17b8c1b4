//! Keys and values of earlier positions, owned by the caller of a forward pass.

use burn::tensor::Tensor;

/// One entry per layer; empty before the first forward pass.
///
/// It remembers the left padding of every row, so that later steps mask the same positions.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    layers: Vec<(Tensor<4>, Tensor<4>)>,
    pads: Vec<usize>,
    len: usize,
}

impl KvCache {
    /// Positions stored per row, padding included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no forward pass has filled it yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Left padding of each row; empty when no row is padded.
    pub(crate) fn pads(&self) -> &[usize] {
        &self.pads
    }

    /// Records the padding of the first pass and the positions of every pass, before its layers run.
    pub(crate) fn advance(&mut self, pads: &[usize], seq: usize) {
        if self.is_empty() {
            self.pads = pads.to_vec();
        }
        self.len += seq;
    }

    /// Appends one layer's keys and values and returns all of them so far.
    ///
    /// # Shapes
    /// - key, value: `[batch, kv_heads, seq, head_dim]`; returns `[batch, kv_heads, past + seq, head_dim]`
    pub(crate) fn append(&mut self, layer: usize, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        if layer == self.layers.len() {
            self.layers.push((key.clone(), value.clone()));
            return (key, value);
        }
        let (past_key, past_value) = self.layers[layer].clone();
        let entry = (Tensor::cat(vec![past_key, key], 2), Tensor::cat(vec![past_value, value], 2));
        self.layers[layer] = entry.clone();
        entry
    }

    /// Keeps only the rows at `indices`, in that order: finished sequences stop costing anything.
    pub fn select(&mut self, indices: &Tensor<1, burn::tensor::Int>, rows: &[usize]) {
        for (key, value) in &mut self.layers {
            *key = key.clone().select(0, indices.clone());
            *value = value.clone().select(0, indices.clone());
        }
        if !self.pads.is_empty() {
            self.pads = rows.iter().map(|r| self.pads[*r]).collect();
        }
    }
}
