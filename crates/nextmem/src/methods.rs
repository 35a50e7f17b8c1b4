//! Rows of the tables beside NextMem's own: memories refined when they are written, and controls that remember nothing.

mod controls;
mod refined;

pub use controls::{Control, ControlKind, Controls};
pub use refined::{RefinedNextMem, refined};
