//! NF4 codes with one FP8 scale per hidden dimension: the storage format of "NextMem-Sparse".
//!
//! ```text
//! s_d = max_i |h_{i,d}|                                 over the latents i, stored as FP8 e4m3
//! c_{i,d} = argmin_j |h_{i,d} / (s_d + 1e-12) - NF4_j|  4 bits
//! h'_{i,d} = NF4_{c_{i,d}} * s_d                        dequantised
//! ```
//!
//! All arithmetic is rounded to bf16 after every operation, as torch does on bf16 tensors, so that codes are equal and
//! not merely close. 15 latents of width 4096 take 34,816 bytes instead of 122,880 in bf16.
//!
//! ```
//! use nextmem_quant::{Nf4Latents, Scales};
//!
//! let latents = [0.5, -2.0, 0.0, 1.0, 4.0, 0.0]; // [2 latents, 3 dimensions]
//! let packed = Nf4Latents::quantize(&latents, 2, 3, Scales::Absmax)?;
//! assert_eq!(packed.size_bytes(), 3 + 3);
//! assert_eq!(packed.dequantize(), [0.44140625, -2.09375, 0.0, 1.0, 4.0, 0.0]);
//! # Ok::<(), nextmem_quant::QuantError>(())
//! ```

mod e4m3;
mod nf4;

use thiserror::Error;

pub use e4m3::{E4M3_MAX, e4m3_from_f32, e4m3_to_f32};
pub use nf4::{NF4, Nf4Latents, Scales};

/// Latents that cannot be quantised, or stored parts that do not fit together.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum QuantError {
    /// The number of values is not `latents * hidden`.
    #[error("latents: got {got} values, expected {latents} x {hidden} - pass one row of `hidden` values per latent")]
    Shape {
        /// Rows asked for.
        latents: usize,
        /// Columns asked for.
        hidden: usize,
        /// Values given.
        got: usize,
    },
    /// A value that bf16 cannot hold.
    #[error("latent {latent}, dimension {dimension}: got {value}, expected a finite bf16 value - the model that made the latents diverged")]
    NotFinite {
        /// Row of the value.
        latent: usize,
        /// Column of the value.
        dimension: usize,
        /// The value.
        value: f32,
    },
    /// A stored field of another length.
    #[error("stored {field}: got {got} bytes, expected {expected} - the memory was cut or written with another shape")]
    Length {
        /// `codes` or `scales`.
        field: &'static str,
        /// Bytes found.
        got: usize,
        /// Bytes that the shape needs.
        expected: String,
    },
    /// A stored byte that quantisation never writes.
    #[error("stored {field}: got byte {byte:#04x} at {index}, expected {expected} - the memory is corrupt")]
    Byte {
        /// `codes` or `scales`.
        field: &'static str,
        /// Position of the byte.
        index: usize,
        /// The byte.
        byte: u8,
        /// What the field may hold.
        expected: &'static str,
    },
}
