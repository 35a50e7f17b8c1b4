//! Storage formats beside NF4, and the floor that plain text sets.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

/// The nearest bf16 value, ties to even.
pub fn bf16_round(value: f32) -> f32 {
    if value.is_nan() {
        return value;
    }
    let bits = value.to_bits();
    // Half of what is cut off, less one bit when the kept part is even.
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    f32::from_bits(rounded & 0xffff_0000)
}

/// Values after eight-bit storage, and the bytes it takes: `round(127 v / s_d)` with `s_d` the largest magnitude of
/// dimension d, kept in bf16. A dimension of zeros stays zero.
///
/// # Shapes
/// - values: row-major `[latents, hidden]`
pub fn int8_round_trip(values: &[f32], hidden: usize) -> (Vec<f32>, usize) {
    let mut scales = vec![0f32; hidden];
    for (at, value) in values.iter().enumerate() {
        scales[at % hidden] = scales[at % hidden].max(value.abs());
    }
    let scales: Vec<f32> = scales.into_iter().map(bf16_round).collect();
    let restored = values.iter().enumerate().map(|(at, value)| match scales[at % hidden] {
        0.0 => 0.0,
        scale => (value / scale * 127.0).round().clamp(-127.0, 127.0) / 127.0 * scale,
    });
    (restored.collect(), values.len() + 2 * hidden)
}

/// Bytes of a text compressed alone with gzip at its highest level (9).
pub fn gzip_bytes(text: &str) -> usize {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    // Writing to memory cannot fail.
    let written = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    written.map_or(text.len(), |bytes| bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn bf16_keeps_eight_bits_and_rounds_ties_to_even() {
        assert_eq!(bf16_round(1.0), 1.0);
        assert_eq!(bf16_round(-0.3), -0.300_781_25);
        // 1 + 2^-8 lies between 1 and 1 + 2^-7; 1 + 3 * 2^-8 between 1 + 2^-7 and 1 + 2^-6.
        assert_eq!(bf16_round(1.0 + 1.0 / 256.0), 1.0);
        assert_eq!(bf16_round(1.0 + 3.0 / 256.0), 1.015_625);
        assert!(bf16_round(f32::NAN).is_nan());
    }

    #[test]
    fn int8_is_within_half_a_step() {
        let values: Vec<f32> = (0..40).map(|i| (i as f32 * 0.37).sin() * (1 + i % 4) as f32).chain([0.0; 4]).collect();
        let (restored, bytes) = int8_round_trip(&values, 4);
        assert_eq!(bytes, 44 + 8);
        for (at, (value, back)) in values.iter().zip(&restored).enumerate() {
            // bf16 scales may be up to 2^-9 too small, and then the largest value is cut.
            let scale = (1 + at % 4) as f32;
            assert!((value - back).abs() <= scale * (0.5 / 127.0 + 1.0 / 256.0), "{value} {back}");
        }
        assert_eq!(int8_round_trip(&[0.0, 1.0], 2).0, [0.0, 1.0]);
    }

    #[test]
    fn gzip_is_readable_and_pays_only_on_long_texts() {
        let long = "the same again ".repeat(40);
        assert!(gzip_bytes(&long) < long.len() / 4);
        assert!(gzip_bytes("short") > 5);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        let bytes = encoder.write_all(long.as_bytes()).and_then(|()| encoder.finish()).unwrap_or_default();
        let mut back = String::new();
        assert!(flate2::read::GzDecoder::new(bytes.as_slice()).read_to_string(&mut back).is_ok());
        assert_eq!((back.as_str(), bytes.len()), (long.as_str(), gzip_bytes(&long)));
    }
}
