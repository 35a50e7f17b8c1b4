//! LoRA on the activations, and its merge into a decoder.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Distribution, Tensor};

use crate::config::DecoderConfig;
use crate::decoder::Decoder;
use crate::product::product;
use crate::weight_source::HostRandom;

/// Every projection an adapter may target, in Qwen3's order.
pub const TARGETS: [&str; 7] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// The two factors of one projection's update, `dW = scaling * B A`.
#[derive(Module, Debug)]
pub struct LoraPair {
    /// `[rank, in]`
    pub(crate) lora_a: Param<Tensor<2>>,
    /// `[out, rank]`
    pub(crate) lora_b: Param<Tensor<2>>,
    #[module(skip)]
    pub(crate) scaling: f64,
}

impl LoraPair {
    pub(crate) fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        product(product(x, self.lora_a.val()), self.lora_b.val()) * self.scaling
    }

    fn delta(&self) -> Tensor<2> {
        self.lora_b.val().matmul(self.lora_a.val()) * self.scaling
    }
}

/// The adapted projections of one layer.
#[derive(Module, Debug, Default)]
pub struct LoraLayer {
    pub(crate) q_proj: Option<LoraPair>,
    pub(crate) k_proj: Option<LoraPair>,
    pub(crate) v_proj: Option<LoraPair>,
    pub(crate) o_proj: Option<LoraPair>,
    pub(crate) gate_proj: Option<LoraPair>,
    pub(crate) up_proj: Option<LoraPair>,
    pub(crate) down_proj: Option<LoraPair>,
}

impl LoraLayer {
    pub(crate) fn slot(&mut self, target: &str) -> Option<&mut Option<LoraPair>> {
        Some(match target {
            "q_proj" => &mut self.q_proj,
            "k_proj" => &mut self.k_proj,
            "v_proj" => &mut self.v_proj,
            "o_proj" => &mut self.o_proj,
            "gate_proj" => &mut self.gate_proj,
            "up_proj" => &mut self.up_proj,
            "down_proj" => &mut self.down_proj,
            _ => return None,
        })
    }

    pub(crate) fn get(&self, target: &str) -> Option<&LoraPair> {
        match target {
            "q_proj" => self.q_proj.as_ref(),
            "k_proj" => self.k_proj.as_ref(),
            "v_proj" => self.v_proj.as_ref(),
            "o_proj" => self.o_proj.as_ref(),
            "gate_proj" => self.gate_proj.as_ref(),
            "up_proj" => self.up_proj.as_ref(),
            "down_proj" => self.down_proj.as_ref(),
            _ => None,
        }
    }
}

/// An adapter for a whole decoder, passed to its forward pass.
#[derive(Module, Debug)]
pub struct LoraAdapter {
    pub(crate) layers: Vec<LoraLayer>,
}

impl LoraAdapter {
    /// A fresh adapter on all seven projections: A uniform as PEFT's Kaiming (a = sqrt 5: bound 1 / sqrt(in)), B zero.
    pub fn random(config: &DecoderConfig, rank: usize, alpha: f64, seed: u64, device: &Device) -> Self {
        let mut random = HostRandom::new(seed);
        let layers = (0..config.num_hidden_layers)
            .map(|_| {
                let mut layer = LoraLayer::default();
                for target in TARGETS {
                    if let (Some(slot), Some([input, output])) = (layer.slot(target), config.projection(target)) {
                        let bound = 1.0 / (input as f64).sqrt();
                        *slot = Some(LoraPair {
                            lora_a: Param::from_tensor(random.tensor([rank, input], Distribution::Uniform(-bound, bound), device)),
                            lora_b: Param::from_tensor(Tensor::zeros([output, rank], device)),
                            scaling: alpha / rank as f64,
                        });
                    }
                }
                layer
            })
            .collect();
        Self { layers }
    }

    /// Returns the decoder with every update added to its weights: PEFT's `merge_and_unload`.
    pub fn merge(&self, decoder: Decoder) -> Decoder {
        struct Merge<'a> {
            adapter: &'a LoraAdapter,
            path: Vec<String>,
        }
        impl ModuleMapper for Merge<'_> {
            fn enter_module(&mut self, name: &str, _container: &str) {
                self.path.push(name.to_string());
            }
            fn exit_module(&mut self, _name: &str, _container: &str) {
                self.path.pop();
            }
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                // layers.{i}.{self_attn|mlp}.{target}
                let [root, index, _, target] = self.path.as_slice() else { return param };
                let pair = index.parse().ok().filter(|_| root == "layers").and_then(|i: usize| self.adapter.layers.get(i)?.get(target));
                match pair {
                    Some(pair) => param.map(|w| w.clone() + pair.delta().cast(w.dtype()).reshape(w.shape())),
                    None => param,
                }
            }
        }
        decoder.map(&mut Merge { adapter: self, path: Vec::new() })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;

    fn randomised(device: &Device) -> LoraAdapter {
        struct Fill;
        impl ModuleMapper for Fill {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                param.map(|t| t.random_like(Distribution::Normal(0.0, 0.1)))
            }
        }
        LoraAdapter::random(&tiny(true), 3, 6.0, 5, device).map(&mut Fill)
    }

    #[test]
    fn fresh_adapter_changes_nothing_and_merge_equals_the_adapter() {
        let device = Device::flex();
        device.seed(5);
        let decoder = Decoder::random(tiny(true), 0.2, 5, &device);
        let x = Tensor::<3>::random([2, 7, 32], Distribution::Normal(0.0, 1.0), &device);
        let base = decoder.hidden(x.clone(), &[], None, None);
        let fresh = LoraAdapter::random(decoder.config(), 3, 6.0, 5, &device);
        let same: f32 = (decoder.hidden(x.clone(), &[], Some(&fresh), None) - base.clone()).abs().max().into_scalar();
        assert_eq!(same, 0.0);

        let adapter = randomised(&device);
        let adapted = decoder.hidden(x.clone(), &[], Some(&adapter), None);
        let moved: f32 = (adapted.clone() - base).abs().max().into_scalar();
        assert!(moved > 1e-2, "the adapter must do something, moved {moved}");
        let merged = adapter.merge(decoder).hidden(x, &[], None, None);
        let difference: f32 = (merged - adapted).abs().max().into_scalar();
        assert!(difference < 2e-5, "largest difference {difference}");
    }
}
