//! LoRA factors that differ between the rows of a batch, and what a forward pass adds to its projections.

use burn::module::Param;
use burn::tensor::{Int, Tensor};

use crate::decoder::Decoder;
use crate::kv_cache::KvCache;
use crate::layout::Placement;
use crate::lora::{LoraAdapter, LoraLayer, LoraPair};
use crate::product::product;

/// The factors of one projection for every row, `dW = scaling * B A`.
#[derive(Clone, Debug)]
pub struct RowFactors {
    /// `[batch, rank, in]`
    pub a: Tensor<3>,
    /// `[batch, out, rank]`
    pub b: Tensor<3>,
}

/// One adapter per row of a batch.
#[derive(Clone, Debug)]
pub struct RowAdapters {
    /// Per layer, the adapted projections by name.
    layers: Vec<Vec<(&'static str, RowFactors)>>,
    scaling: f64,
}

impl RowAdapters {
    /// Factors of every layer, each under the name of its projection ([`TARGETS`](crate::TARGETS)).
    pub fn new(layers: Vec<Vec<(&'static str, RowFactors)>>, scaling: f64) -> Self {
        Self { layers, scaling }
    }

    /// Numbers in the factors of one row: what storing its adapter takes.
    pub fn num_values(&self) -> usize {
        let of = |factors: &RowFactors| [&factors.a, &factors.b].map(|t| t.dims()[1] * t.dims()[2]).iter().sum::<usize>();
        self.layers.iter().flatten().map(|(_, factors)| of(factors)).sum()
    }

    /// The adapter of one row, for a decoder that serves this row alone.
    pub fn row(&self, index: usize) -> LoraAdapter {
        let factor = |t: &Tensor<3>| Param::from_tensor(t.clone().narrow(0, index, 1).squeeze_dim::<2>(0));
        let layers = self.layers.iter().map(|named| {
            let mut layer = LoraLayer::default();
            for (target, factors) in named {
                if let Some(slot) = layer.slot(target) {
                    *slot = Some(LoraPair { lora_a: factor(&factors.a), lora_b: factor(&factors.b), scaling: self.scaling });
                }
            }
            layer
        });
        LoraAdapter { layers: layers.collect() }
    }

    /// Keeps only the rows at `indices`, in that order.
    fn select(&self, indices: &Tensor<1, Int>) -> Self {
        let rows = |t: &Tensor<3>| t.clone().select(0, indices.clone());
        let layer = |named: &Vec<(&'static str, RowFactors)>| {
            named.iter().map(|(target, factors)| (*target, RowFactors { a: rows(&factors.a), b: rows(&factors.b) })).collect()
        };
        Self { layers: self.layers.iter().map(layer).collect(), scaling: self.scaling }
    }

    /// `scaling * (x A^T) B^T`, each row with its own factors.
    fn update(&self, layer: usize, target: &str, x: Tensor<3>) -> Option<Tensor<3>> {
        let (_, factors) = self.layers[layer].iter().find(|(name, _)| *name == target)?;
        Some(x.matmul(factors.a.clone().swap_dims(1, 2)).matmul(factors.b.clone().swap_dims(1, 2)) * self.scaling)
    }
}

/// What is added to the projections of one forward pass.
#[derive(Clone, Copy)]
pub(crate) enum Updates<'a> {
    /// Nothing.
    None,
    /// One adapter for all rows.
    Shared(&'a LoraAdapter),
    /// An adapter for each row.
    PerRow(&'a RowAdapters),
}

impl<'a> From<Option<&'a LoraAdapter>> for Updates<'a> {
    fn from(adapter: Option<&'a LoraAdapter>) -> Self {
        adapter.map_or(Self::None, Self::Shared)
    }
}

impl Updates<'_> {
    /// `x W^T + s (x A^T) B^T`: adapters act on the activations, so one frozen base serves encoder and decoder.
    pub(crate) fn project(self, x: Tensor<3>, weight: &Param<Tensor<2>>, layer: usize, target: &str) -> Tensor<3> {
        let update = match self {
            Self::None => None,
            Self::Shared(adapter) => adapter.layers[layer].get(target).map(|pair| pair.forward(x.clone())),
            Self::PerRow(adapters) => adapters.update(layer, target, x.clone()),
        };
        let y = product(x, weight.val());
        match update {
            Some(update) => y + update,
            None => y,
        }
    }
}

/// A decoder with an adapter for each row of the batch that it runs, or with none.
#[derive(Clone, Debug)]
pub struct AdaptedDecoder<'a> {
    /// The weights.
    pub decoder: &'a Decoder,
    /// The adapters of the rows.
    pub adapters: Option<RowAdapters>,
}

impl<'a> From<&'a Decoder> for AdaptedDecoder<'a> {
    fn from(decoder: &'a Decoder) -> Self {
        Self { decoder, adapters: None }
    }
}

impl AdaptedDecoder<'_> {
    /// As [`Decoder::hidden_at`].
    pub fn hidden(&self, embeds: Tensor<3>, pads: &[usize], placement: &Placement<'_>, cache: Option<&mut KvCache>) -> Tensor<3> {
        let updates = self.adapters.as_ref().map_or(Updates::None, Updates::PerRow);
        self.decoder.run(embeds, pads, placement, updates, cache, |_| {})
    }

    /// Keeps only the rows at `indices`: those that are still being continued.
    pub(crate) fn select(&mut self, indices: &Tensor<1, Int>) {
        self.adapters = self.adapters.as_ref().map(|adapters| adapters.select(indices));
    }
}
