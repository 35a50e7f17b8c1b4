//! A stand-in for `cubecl-llvm` 0.11.3, so that Burn's CUDA backend compiles without a download.
//!
//! The real crate's build script fetches a prebuilt LLVM. `cubecl-cuda` needs only the names below to compile; with its
//! `cuda-cpp` feature it compiles kernels with NVRTC (CUDA C++) and never calls them. Whoever asks for the LLVM
//! compiler all the same gets an error that says what to do. README.md: why, and how to go back to LLVM.

// The names and their meaning belong to the crate this one stands in for.
#![allow(missing_docs)]

use core::fmt;
use cubecl_core::ir::{amd::GfxArch, nvidia::SmArch};
use cubecl_core::prelude::KernelDefinition;
use cubecl_runtime::compiler::{CompilationError, Compiler};
use cubecl_runtime::kernel::BufferIOAttr;

pub mod nvptx {
    pub mod ptx_version {
        use core::fmt;
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub struct PtxVersion(());
        impl PtxVersion {
            pub fn for_driver(_driver: i32) -> Option<Self> {
                None
            }
        }
        impl fmt::Display for PtxVersion {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("none")
            }
        }
    }
}
pub mod shared {
    pub mod lowered_features {
        pub enum GpuTarget {
            Nvptx,
        }
        pub fn restrict_features(_props: &mut cubecl_core::ir::DeviceProperties, _t: GpuTarget) {}
    }
}
#[derive(Clone, Copy, Debug, Default)]
pub enum LlvmTarget {
    #[default]
    Nvptx,
}
#[derive(Clone, Debug, Default)]
pub struct PlironCompiler {
    pub target: LlvmTarget,
}
#[derive(Clone, Debug, Default)]
pub struct PlironOptions {
    pub arch: Option<GfxArch>,
    pub sm_arch: Option<SmArch>,
    pub ptx_version: Option<nvptx::ptx_version::PtxVersion>,
    pub grid_constants: bool,
    pub cpu_buffer_alignment: Option<u32>,
}
#[derive(Clone, Debug)]
pub struct NvptxModule {
    pub ptx: Vec<core::ffi::c_char>,
    pub entrypoint: String,
    pub ir: String,
    pub shared_memory_size: usize,
    pub io: Vec<BufferIOAttr>,
}
#[allow(clippy::manual_non_exhaustive)] // the original matches its own variants without a wildcard
pub enum PlironArtifact {
    NvptxCode(NvptxModule),
    #[doc(hidden)]
    Other,
}
impl fmt::Display for PlironArtifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unavailable")
    }
}
impl Compiler for PlironCompiler {
    type Representation = PlironArtifact;
    type CompilationOptions = PlironOptions;
    fn compile(&mut self, _k: KernelDefinition, _o: &Self::CompilationOptions) -> Result<PlironArtifact, CompilationError> {
        Err(CompilationError::Generic { reason: "the LLVM kernel compiler is not in this build (crates/cubecl-llvm is a stand-in); use the CUDA C++ compiler (NVRTC), or delete the `[patch.crates-io]` entry `cubecl-llvm` in Cargo.toml and build with network access".into(), backtrace: cubecl_environment::backtrace::BackTrace::capture() })
    }
    fn extension(&self) -> &'static str {
        "ll"
    }
    fn lang_tag(&self) -> &'static str {
        "llvm"
    }
}
