//! The codebook, quantisation of `[latents, hidden]` values and the packed form.

use half::bf16;
use serde::{Deserialize, Serialize};

use crate::QuantError;
use crate::e4m3::{e4m3_from_f32, e4m3_to_f32};

/// The NF4 table of bitsandbytes, rounded to bf16 as the method does.
#[allow(clippy::excessive_precision)] // exact bf16 values
pub const NF4: [f32; 16] = [
    -1.0,
    -0.6953125,
    -0.5234375,
    -0.39453125,
    -0.28515625,
    -0.1845703125,
    -0.0908203125,
    0.0,
    0.07958984375,
    0.1611328125,
    0.24609375,
    0.337890625,
    0.44140625,
    0.5625,
    0.72265625,
    1.0,
];

/// Added to a scale before dividing, so that an all-zero dimension gives zeros.
const SCALE_EPSILON: f32 = 1e-12;

/// How values are brought into the range of the codebook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scales {
    /// Divided by the largest magnitude of their dimension, kept as e4m3.
    #[default]
    Absmax,
    /// Taken as they are: the paper's "w/o SQ" ablation. Anything outside -1..1 becomes -1 or 1.
    None,
}

/// Latents as packed NF4 codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Parts", into = "Parts")]
pub struct Nf4Latents {
    latents: usize,
    hidden: usize,
    codes: Vec<u8>,
    scales: Vec<u8>,
}

/// What is stored, before anything is checked.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    latents: usize,
    hidden: usize,
    codes: Vec<u8>,
    scales: Vec<u8>,
}

impl TryFrom<Parts> for Nf4Latents {
    type Error = QuantError;
    fn try_from(p: Parts) -> Result<Self, QuantError> {
        Self::from_parts(p.latents, p.hidden, p.codes, p.scales)
    }
}

impl From<Nf4Latents> for Parts {
    fn from(q: Nf4Latents) -> Self {
        Self { latents: q.latents, hidden: q.hidden, codes: q.codes, scales: q.scales }
    }
}

impl Nf4Latents {
    /// Quantises row-major `[latents, hidden]` values; equal, code by code, to torch on bf16 tensors.
    ///
    /// A scale up to 2^-10 becomes 0 in e4m3, as in torch, and its dimension dequantises to zeros. Deviation D2: a scale
    /// above 464 saturates at 448, as in torch 2.15; in older versions it is NaN and so is its whole dimension (see
    /// [`saturated_scales`](Self::saturated_scales)).
    ///
    /// # Errors
    /// [`QuantError::Shape`] for another number of values, [`QuantError::NotFinite`] for NaN, infinity or a value that
    /// rounds to infinity in bf16.
    pub fn quantize(values: &[f32], latents: usize, hidden: usize, scales: Scales) -> Result<Self, QuantError> {
        if latents.checked_mul(hidden) != Some(values.len()) {
            return Err(QuantError::Shape { latents, hidden, got: values.len() });
        }
        let rounded: Vec<f32> = values.iter().map(|v| to_bf16(*v)).collect();
        if let Some(at) = rounded.iter().position(|v| !v.is_finite()) {
            return Err(QuantError::NotFinite { latent: at / hidden, dimension: at % hidden, value: values[at] });
        }
        let mut absmax = vec![0f32; hidden];
        for (at, value) in rounded.iter().enumerate() {
            absmax[at % hidden] = absmax[at % hidden].max(value.abs());
        }
        let mut codes = vec![0u8; values.len().div_ceil(2)];
        for (at, value) in rounded.iter().enumerate() {
            let unit = match scales {
                Scales::Absmax => to_bf16(value / to_bf16(absmax[at % hidden] + SCALE_EPSILON)),
                Scales::None => *value,
            };
            codes[at / 2] |= nearest(unit) << (4 * (at % 2));
        }
        let scales = match scales {
            Scales::Absmax => absmax.into_iter().map(e4m3_from_f32).collect(),
            Scales::None => Vec::new(),
        };
        Ok(Self { latents, hidden, codes, scales })
    }

    /// Takes stored parts: two codes a byte, row-major, low half first; `hidden` e4m3 scales, or none.
    ///
    /// # Errors
    /// [`QuantError::Length`] or [`QuantError::Byte`] when [`quantize`](Self::quantize) could not have written them.
    pub fn from_parts(latents: usize, hidden: usize, codes: Vec<u8>, scales: Vec<u8>) -> Result<Self, QuantError> {
        let Some(count) = latents.checked_mul(hidden) else {
            return Err(QuantError::Shape { latents, hidden, got: codes.len() });
        };
        let length = |field, got, expected| Err(QuantError::Length { field, got, expected });
        if codes.len() != count.div_ceil(2) {
            return length("codes", codes.len(), count.div_ceil(2).to_string());
        }
        if !scales.is_empty() && scales.len() != hidden {
            return length("scales", scales.len(), format!("{hidden}, or 0 without scales"));
        }
        if let Some(&byte) = codes.last().filter(|last| count % 2 == 1 && **last > 15) {
            return Err(QuantError::Byte { field: "codes", index: codes.len() - 1, byte, expected: "0 in the unused half" });
        }
        // Largest magnitudes: no sign, and saturated instead of NaN.
        if let Some(index) = scales.iter().position(|s| *s > 0x7e) {
            return Err(QuantError::Byte { field: "scales", index, byte: scales[index], expected: "at most 0x7e (448)" });
        }
        Ok(Self { latents, hidden, codes, scales })
    }

    /// The values after a round trip, row-major `[latents, hidden]`; every one is a bf16 value.
    pub fn dequantize(&self) -> Vec<f32> {
        let scales = self.scales_f32();
        let value = |(at, code): (usize, u8)| match scales.get(at % self.hidden.max(1)) {
            Some(scale) => to_bf16(NF4[usize::from(code)] * scale),
            None => NF4[usize::from(code)],
        };
        self.codes().into_iter().enumerate().map(value).collect()
    }

    /// Number of latents (rows).
    pub fn latents(&self) -> usize {
        self.latents
    }

    /// Width of a latent (columns).
    pub fn hidden(&self) -> usize {
        self.hidden
    }

    /// Bytes of the stored codes and scales.
    pub fn size_bytes(&self) -> usize {
        self.codes.len() + self.scales.len()
    }

    /// One code (0..16) per value, row-major.
    pub fn codes(&self) -> Vec<u8> {
        let halves = self.codes.iter().flat_map(|byte| [byte & 15, byte >> 4]);
        halves.take(self.latents * self.hidden).collect()
    }

    /// The codes as stored: two a byte, low half first.
    pub fn packed_codes(&self) -> &[u8] {
        &self.codes
    }

    /// The scales as stored: e4m3 bits, one per dimension, or none.
    pub fn scale_bits(&self) -> &[u8] {
        &self.scales
    }

    /// The scales as numbers.
    pub fn scales_f32(&self) -> Vec<f32> {
        self.scales.iter().map(|bits| e4m3_to_f32(*bits)).collect()
    }

    /// How many scales stand at the largest e4m3 value: each was 432 or more, possibly beyond what it can hold (D2).
    pub fn saturated_scales(&self) -> usize {
        self.scales.iter().filter(|bits| **bits == 0x7e).count()
    }
}

/// Rounds to bf16, nearest even, as torch does after every bf16 operation.
fn to_bf16(value: f32) -> f32 {
    bf16::from_f32(value).to_f32()
}

/// The code whose value is nearest; distances are compared in bf16, where ties are common: the lowest code wins.
fn nearest(unit: f32) -> u8 {
    let (mut best, mut least) = (0, f32::INFINITY);
    for (code, value) in (0u8..).zip(NF4) {
        let distance = to_bf16(unit - value).abs();
        if distance < least {
            (best, least) = (code, distance);
        }
    }
    best
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wave(count: usize, scale: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * 0.7).sin() * scale).collect()
    }

    #[test]
    fn sizes_of_the_paper() {
        let q = Nf4Latents::quantize(&wave(15 * 4096, 3.0), 15, 4096, Scales::Absmax).unwrap();
        assert_eq!(q.size_bytes(), 34_816);
        assert_eq!(q.codes().len(), 15 * 4096);
    }

    #[test]
    fn quantising_again_changes_nothing() {
        let q = Nf4Latents::quantize(&wave(15 * 33, 7.0), 15, 33, Scales::Absmax).unwrap();
        assert_eq!(Nf4Latents::quantize(&q.dequantize(), 15, 33, Scales::Absmax).unwrap(), q);
    }

    #[test]
    fn guards() {
        // Zero, tiny, fitting and too large dimensions.
        let values = [0.0, 1e-8, 1.0, 1e4, 0.0, -1e-8, -0.5, -1e4];
        let q = Nf4Latents::quantize(&values, 2, 4, Scales::Absmax).unwrap();
        assert_eq!(q.dequantize(), [0.0, 0.0, 1.0, 448.0, 0.0, -0.0, -0.5234375, -448.0]);
        assert_eq!(q.saturated_scales(), 1);
        for bad in [f32::NAN, f32::INFINITY, f32::MAX] {
            let got = Nf4Latents::quantize(&[0.0, 0.0, 0.0, bad], 2, 2, Scales::Absmax);
            assert!(matches!(got, Err(QuantError::NotFinite { latent: 1, dimension: 1, .. })));
        }
        assert!(matches!(Nf4Latents::quantize(&[0.0; 5], 2, 3, Scales::None), Err(QuantError::Shape { got: 5, .. })));
        let empty = Nf4Latents::quantize(&[], 0, 0, Scales::Absmax).unwrap();
        assert!(empty.dequantize().is_empty());
    }

    #[test]
    fn without_scales_values_are_clipped() {
        let q = Nf4Latents::quantize(&[-3.0, 0.1, 0.5, 30.0], 2, 2, Scales::None).unwrap();
        assert_eq!(q.dequantize(), [-1.0, NF4[8], 0.44140625, 1.0]);
        assert_eq!(q.size_bytes(), 2);
    }

    #[test]
    fn stored_parts_are_checked() {
        let q = Nf4Latents::quantize(&wave(15, 2.0), 5, 3, Scales::Absmax).unwrap();
        let (codes, scales) = (q.packed_codes().to_vec(), q.scale_bits().to_vec());
        assert_eq!(Nf4Latents::from_parts(5, 3, codes.clone(), scales.clone()).unwrap(), q);
        assert!(Nf4Latents::from_parts(5, 4, codes.clone(), scales.clone()).is_err());
        assert!(Nf4Latents::from_parts(5, 3, codes.clone(), vec![0; 2]).is_err());
        assert!(Nf4Latents::from_parts(5, 3, codes.clone(), vec![0x7f; 3]).is_err());
        assert!(Nf4Latents::from_parts(5, 3, vec![0xff; 8], scales).is_err());
        assert!(Nf4Latents::from_parts(usize::MAX, 3, codes, vec![]).is_err());
        let json = serde_json::to_string(&q).unwrap();
        assert_eq!(serde_json::from_str::<Nf4Latents>(&json).unwrap(), q);
        assert!(serde_json::from_str::<Nf4Latents>(&json.replace("\"hidden\":3", "\"hidden\":4")).is_err());
    }
}
