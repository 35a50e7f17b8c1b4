//! The special-token rows as part of the embedding table, for readers that know only the table.

use crate::autoencoder::SpecialDelta;
use crate::decoder::Decoder;

impl SpecialDelta {
    /// Adds the rows to `embed_tokens`. With a tied head the logits of the two tokens change with it.
    pub fn fold(&self, mut decoder: Decoder) -> Decoder {
        let first = self.sod as usize;
        decoder.embed_tokens = decoder.embed_tokens.map(|table| {
            let rows = 2.min(table.dims()[0].saturating_sub(first));
            let (width, old) = (table.dims()[1], table.clone().narrow(0, first, rows));
            table.slice_assign([first..first + rows, 0..width], old + self.delta.clone().narrow(0, 0, rows))
        });
        decoder
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::tiny;
    use burn::tensor::{Device, Int, Tensor};

    #[test]
    fn folded_rows_embed_as_added_ones() {
        let device = Device::flex();
        let decoder = Decoder::random(tiny(true), 0.2, 5, &device);
        let delta = Tensor::<2>::ones([3, 32], &device) * 0.25;
        let special = SpecialDelta { sod: 59, delta };
        let tokens = Tensor::<2, Int>::from_data([[4, 59, 60, 58]], &device);
        let added = special.add(&tokens, decoder.embed(tokens.clone()));
        let folded = special.fold(decoder).embed(tokens);
        let difference: f32 = (added - folded).abs().max().into_scalar();
        assert_eq!(difference, 0.0);
    }
}
