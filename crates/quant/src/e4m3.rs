//! FP8 e4m3 ("fn": no infinities, one NaN per sign), bit for bit as `float8_e4m3fn` of torch 2.15.

/// Largest finite e4m3 value.
pub const E4M3_MAX: f32 = 448.0;

/// Magnitude bits of the only NaN.
const NAN: u8 = 0x7f;

/// Converts to e4m3 bits: nearest, ties to even, saturating at 448; NaN only from NaN.
///
/// Four exponent bits with bias 7, three mantissa bits. Deviation D2: ml_dtypes and older versions of torch turn
/// everything above 464 into NaN, torch 2.15 saturates.
pub fn e4m3_from_f32(value: f32) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    if value.is_nan() {
        return sign | NAN;
    }
    let magnitude = value.abs().min(E4M3_MAX);
    // Spacing of the codes around the value: 2^-9 among the subnormals, then 2^(exponent - 3).
    let exponent = ((magnitude.to_bits() >> 23) as i32 - 127).max(-6);
    let steps = (magnitude * power_of_two(3 - exponent)).round_ties_even() as i32;
    // A full binade is 8 steps, so rounding up past its end lands on the next exponent by itself.
    sign | ((exponent + 6) * 8 + steps) as u8
}

/// The value of e4m3 bits.
pub fn e4m3_to_f32(bits: u8) -> f32 {
    let magnitude = match bits & 0x7f {
        NAN => f32::NAN,
        low @ 0..8 => f32::from(low) * power_of_two(-9),
        bits => f32::from(8 + (bits & 7)) * power_of_two(i32::from(bits >> 3) - 10),
    };
    if bits & 0x80 != 0 { -magnitude } else { magnitude }
}

/// `2^exponent` for a normal exponent, exactly.
fn power_of_two(exponent: i32) -> f32 {
    f32::from_bits(((exponent + 127) as u32) << 23)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips() {
        for bits in 0..=u8::MAX {
            let value = e4m3_to_f32(bits);
            assert_eq!(e4m3_from_f32(value), bits, "{value}");
            // The definition: mantissa 1.mmm * 2^(e - 7), or 0.mmm * 2^-6 when e is 0.
            let (e, m) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
            let expected = if e == 0 { m / 8.0 * 2f32.powi(-6) } else { (1.0 + m / 8.0) * 2f32.powi(e - 7) };
            assert!(bits & 0x7f == NAN || value.abs() == expected, "{bits:#x}");
        }
        assert!(e4m3_to_f32(0x7f).is_nan() && e4m3_to_f32(0xff).is_nan());
    }

    #[test]
    fn rounds_to_the_nearest_code_everywhere() {
        let codes: Vec<f32> = (0..=0x7e).map(e4m3_to_f32).collect();
        for pair in codes.windows(2) {
            let middle = (pair[0] + pair[1]) / 2.0;
            let low = e4m3_from_f32(pair[0]);
            assert_eq!(e4m3_from_f32(middle) & 1, 0, "a tie goes to the even code");
            assert_eq!(e4m3_from_f32(middle.next_down()), low);
            assert_eq!(e4m3_from_f32(middle.next_up()), low + 1);
        }
        assert_eq!([449.0, 464.0, 1e9, f32::INFINITY].map(e4m3_from_f32), [0x7e; 4]);
        assert_eq!([-500.0, f32::NEG_INFINITY].map(e4m3_from_f32), [0xfe; 2]);
    }
}
