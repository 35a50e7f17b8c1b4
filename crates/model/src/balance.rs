//! A decoder whose latents are as large as the embeddings that they stand among.

use burn::tensor::Tensor;

use crate::decoder::Decoder;

impl Decoder {
    /// The same function of tokens with hidden states as large as embeddings.
    ///
    /// Latents are hidden states that stand among embeddings. Where they are ten times larger, what the layers add at
    /// their positions is lost in them, and the decoder learns to read them slowly. Scaling all that is added to the
    /// residual stream by c and the final norm by 1 / c changes no output beyond the norms' epsilon, because every layer
    /// norms its input.
    pub fn balanced(self) -> Self {
        let rms = |sum: Tensor<1>| sum.into_data().iter::<f64>().sum::<f64>().sqrt();
        let (norm, embeddings) = (rms(self.norm.val().square().mean()), rms(self.embed_tokens.val().square().mean()));
        let c = (norm / embeddings).sqrt();
        let mut model = self;
        model.embed_tokens = model.embed_tokens.map(|w| w * c);
        model.norm = model.norm.map(|w| w / c);
        // An untied head reads hidden states that are c times smaller; a tied one has grown with the embeddings.
        model.lm_head = model.lm_head.map(|head| head.map(|w| w * c));
        for layer in &mut model.layers {
            layer.self_attn.o_proj = layer.self_attn.o_proj.clone().map(|w| w * c);
            layer.mlp.down_proj = layer.mlp.down_proj.clone().map(|w| w * c);
        }
        model
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;
    use burn::tensor::{Device, Int};

    #[test]
    fn balancing_changes_no_logits_and_evens_the_scales() {
        for tied in [true, false] {
            let model = Decoder::random(tiny(tied), 0.2, 3, &Device::flex());
            let logits = |m: &Decoder| {
                let tokens = Tensor::<2, Int>::from_data([[3, 4, 5, 6]], &Device::flex());
                m.logits(m.hidden(m.embed(tokens), &[], None, None))
            };
            let before = logits(&model);
            let balanced = model.balanced();
            // The epsilon of the norms weighs less on larger values.
            let difference: f32 = (before.clone() - logits(&balanced)).abs().max().into_scalar();
            let largest: f32 = before.abs().max().into_scalar();
            assert!(difference < 1e-4 * largest, "{difference} of {largest}");
            let mean_square = |t: Tensor<1>| t.square().mean().into_scalar::<f32>();
            let (norm, table) = (mean_square(balanced.norm.val()), mean_square(balanced.embed_tokens.val().flatten(0, 1)));
            assert!((norm / table - 1.0).abs() < 1e-4, "{norm} and {table}");
        }
    }
}
