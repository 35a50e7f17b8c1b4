//! The one place that names a backend.

use std::ffi::OsString;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Once;

use anyhow::{Result, bail};
use burn::tensor::{DType, Device, FloatDType, Tensor};

use crate::experiment::DeviceConfig;
use crate::panics;

mod catalog;
mod cuda;
mod probe;
mod waiting;

pub use catalog::devices;
pub use cuda::explained;
pub use probe::probe;

/// The help of every option that takes a backend.
pub const HELP: &str = "The backend: flex (the CPU), wgpu, cuda or vulkan; `nextmem devices` lists those of this build";

/// A backend this program knows.
struct Backend {
    name: &'static str,
    /// Whether this build has it.
    built: bool,
    /// What a machine needs to have such a device.
    needs: String,
}

/// Every backend, in the order of the tables.
fn backends() -> [Backend; 4] {
    let backend = |name, built, needs: &str| Backend { name, built, needs: needs.to_string() };
    [
        backend("flex", true, "any CPU"),
        backend(
            "wgpu",
            cfg!(feature = "wgpu"),
            "a Vulkan, Metal, DirectX 12 or OpenGL driver; on Debian a CPU can stand in with `apt-get install mesa-vulkan-drivers`",
        ),
        backend(
            "cuda",
            cfg!(feature = "cuda"),
            &format!(
                "an NVIDIA GPU, its driver {} or newer (libcuda), and NVRTC with headers, from the CUDA toolkit or as Python packages",
                cuda::DRIVER
            ),
        ),
        backend("vulkan", cfg!(feature = "vulkan"), "a GPU with a Vulkan driver"),
    ]
}

fn backend(name: &str) -> Option<Backend> {
    backends().into_iter().find(|b| b.name == name)
}

/// Names of the backends in this build.
pub fn built() -> Vec<&'static str> {
    backends().iter().filter(|b| b.built).map(|b| b.name).collect()
}

/// How to get a build with a backend.
fn how_to_build(name: &str) -> String {
    format!("`cargo build --release --features {name}`")
}

/// Refuses what this build cannot run, before anything is read.
pub fn check(config: &DeviceConfig) -> Result<()> {
    match elsewhere(config)? {
        Some(how) => bail!("{how}"),
        None => Ok(()),
    }
}

/// What to do for a backend that another build has; nothing for one of this build.
///
/// # Errors
/// A backend or a float type that no build has.
pub fn elsewhere(config: &DeviceConfig) -> Result<Option<String>> {
    float_dtype(&config.dtype)?;
    let Some(backend) = backend(&config.backend) else {
        let names = backends().map(|b| b.name).join(", ");
        bail!("device.backend: got {:?}, expected one of {names}; this build has {}", config.backend, built().join(", "));
    };
    let how = || {
        format!(
            "device.backend: `{0}` is not in this build, which has {1}; build it with {2}, or run it from the repository: \
             `cargo run --release --features {0} -- {3}`",
            backend.name,
            built().join(", "),
            how_to_build(backend.name),
            std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        )
    };
    Ok((!backend.built).then(how))
}

/// `LD_LIBRARY_PATH` as it was before [`with_environment`] changed it.
const LIBRARIES_BEFORE: &str = "NEXTMEM_LD_LIBRARY_PATH";

/// Starts this program again with the variables that libraries under it need; they can only be set safely for a new
/// process.
///
/// - `BURN_DEVICE`: burn 0.22 reads optimizer records onto its default device before it moves them to that of the
///   parameters, and in a build with CUDA the default is CUDA, driver or not: resuming on a machine without one would
///   panic. With it the default is the CPU.
/// - `XDG_RUNTIME_DIR`: without it Mesa's Vulkan drivers print lines that look like errors.
/// - `LD_LIBRARY_PATH` and `CUDA_PATH`, where there is an NVIDIA driver: NVRTC and its headers ([`cuda`]). Folders that
///   were in `LD_LIBRARY_PATH` come first, and so does a `CUDA_PATH` that has everything.
pub fn with_environment() {
    let needed = [("BURN_DEVICE", "flex".into()), ("XDG_RUNTIME_DIR", std::env::temp_dir().into_os_string())];
    let mut missing: Vec<(&str, OsString)> = needed.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    if cfg!(feature = "cuda") && std::env::var_os(LIBRARIES_BEFORE).is_none() && cuda::libcuda().is_some() {
        let before = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
        let mut dirs: Vec<_> = std::env::split_paths(&before).filter(|p| !p.as_os_str().is_empty()).collect();
        // Where containers put the driver, the loader may not look.
        dirs.extend(cuda::libcuda().and_then(|path| path.parent().map(Path::to_owned)).filter(|dir| dir.starts_with("/usr/local")));
        if let Some(toolkit) = cuda::toolkit() {
            dirs.push(toolkit.libraries);
            missing.push(("CUDA_PATH", toolkit.root.into_os_string()));
        }
        missing.extend(std::env::join_paths(dirs).ok().map(|path| ("LD_LIBRARY_PATH", path)));
        missing.push((LIBRARIES_BEFORE, before));
    }
    let Ok(program) = std::env::current_exe() else { return };
    if missing.is_empty() {
        return;
    }
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1)).envs(missing);
    #[cfg(unix)]
    {
        // The same process goes on as the new program; where that fails, it goes on as it is.
        let _ = std::os::unix::process::CommandExt::exec(&mut command);
    }
    #[cfg(not(unix))]
    if let Ok(status) = command.status() {
        std::process::exit(status.code().unwrap_or(1));
    }
}

/// Gives a program that is not ours the libraries it would have had without us: PyTorch brings its own CUDA.
pub fn without_our_libraries(command: &mut std::process::Command) {
    match std::env::var_os(LIBRARIES_BEFORE) {
        Some(before) if before.is_empty() => command.env_remove("LD_LIBRARY_PATH"),
        Some(before) => command.env("LD_LIBRARY_PATH", before),
        None => command,
    };
}

/// The CPU, for checks that need no accelerator.
pub fn host() -> Device {
    Device::flex()
}

/// f64 is for references: no experiment needs it and few GPUs have it.
fn float_dtype(name: &str) -> Result<FloatDType> {
    Ok(match name {
        "f32" => FloatDType::F32,
        "bf16" => FloatDType::BF16,
        "f16" => FloatDType::F16,
        "f64" => FloatDType::F64,
        other => bail!("device.dtype: got {other:?}, expected f32, bf16 or f16"),
    })
}

/// GPU kernels are tuned and compiled at first use; what was found is kept in the user's cache directory, so that only
/// the first run on a machine waits for it. A `cubecl.toml` that says otherwise is obeyed.
fn keep_tuning() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        #[cfg(feature = "cubecl")]
        {
            use cubecl::config::cache::CacheConfig;
            use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};
            let mut config = CubeClRuntimeConfig::from_current_dir().override_from_env();
            if let CacheConfig::Target = config.environment.path {
                config.environment.path = CacheConfig::Global;
            }
            config.compilation.cache = true;
            CubeClRuntimeConfig::try_set(config);
        }
    });
}

/// Whether this machine has the device.
///
/// # Errors
/// One line: not in this build, or no such device and what it needs.
pub fn find(config: &DeviceConfig) -> Result<Device> {
    check(config)?;
    if config.backend == "flex" {
        return match config.index {
            0 => Ok(Device::flex()),
            index => bail!("device.index: got {index}, but this machine has 1 `flex` device(s), counted from 0; see `nextmem devices`"),
        };
    }
    let answer = probe::ask(&config.backend, false);
    match (answer.devices.get(config.index).and_then(probe::Found::device), answer.reason) {
        (Some(device), _) => Ok(device),
        (None, reason) if answer.devices.is_empty() => {
            let reason = reason.map_or(String::new(), |reason| format!(": {reason}"));
            let needs = backend(&config.backend).map_or(String::new(), |b| b.needs);
            bail!(
                "device `{}`: this machine has none{reason}; it needs {needs}. Set backend = \"flex\" to use the CPU, or see `nextmem devices`",
                config.backend
            )
        }
        _ => bail!(
            "device.index: got {}, but this machine has {} `{}` device(s), counted from 0; see `nextmem devices`",
            config.index,
            answer.devices.len(),
            config.backend
        ),
    }
}

/// Opens the device once, with its float type and seed, and computes something small on it.
///
/// # Errors
/// One line when there is no driver, adapter or compiler, or the device lacks the float type: GPU runtimes report that
/// by panicking, which is caught here.
pub fn open(config: &DeviceConfig, seed: u64) -> Result<Device> {
    let mut device = find(config)?;
    let dtype = float_dtype(&config.dtype)?;
    keep_tuning();
    let opened = panics::quietly(AssertUnwindSafe(|| {
        if !device.supports_dtype(DType::from(dtype)) {
            return Err(format!("it does not compute in {}; it has {}", config.dtype, float_types(&device).join(", ")));
        }
        if config.backend != "flex" {
            waiting::watch(&name(&device));
        }
        if dtype != FloatDType::F32 {
            device.configure(dtype).map_err(|e| e.to_string())?;
        }
        device.seed(seed);
        let sum: f32 = Tensor::<1>::ones([3], &device).sum().into_scalar();
        if sum == 3.0 { Ok(device) } else { Err(format!("1 + 1 + 1 gave {sum}")) }
    }));
    match opened {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(reason)) => bail!("device `{}` cannot be used: {reason}", config.backend),
        Err(panic) => {
            let needs = backend(&config.backend).map_or(String::new(), |b| b.needs);
            let panic = if config.backend == "cuda" { cuda::explained(&panic) } else { panic };
            bail!("device `{}` cannot be opened ({panic}); it needs {needs}. Set backend = \"flex\" to use the CPU", config.backend)
        }
    }
}

/// Whether products in f32 are computed in TF32: f32 in and out, factors rounded to 11 bits. cubek chooses these
/// kernels by speed wherever a device has them, and has no switch.
pub fn multiplies_in_tf32(device: &Device) -> bool {
    #[cfg(feature = "cubecl")]
    if let burn::backend::DispatchDevice::Cube(cube) = device.as_dispatch() {
        use cubecl::ir::{ElemType, FloatKind};
        return cube.client().properties().supports_type(ElemType::Float(FloatKind::TF32));
    }
    let _ = device;
    false
}

/// The device of PyTorch that is the same hardware: `cpu` or `cuda` (NVIDIA, and AMD with ROCm).
///
/// # Errors
/// PyTorch has none.
pub fn of_pytorch(config: &DeviceConfig) -> Result<&'static str> {
    match config.backend.as_str() {
        "flex" => return Ok("cpu"),
        "cuda" => return Ok("cuda"),
        _ => {}
    }
    let answer = probe::ask(&config.backend, true);
    let Some(found) = answer.devices.get(config.index) else { bail!("device `{}`: there is none", config.backend) };
    let name = found.row.as_ref().and_then(|row| row.as_ref().ok()).map_or("", |row| row.name.as_str());
    match found.software {
        true => Ok("cpu"),
        false if ["NVIDIA", "AMD", "Radeon"].iter().any(|vendor| name.contains(vendor)) => Ok("cuda"),
        false => bail!("scripts/peer/bench.py knows no PyTorch device that is {name:?}; run without --peer"),
    }
}

/// The float types a device computes in.
fn float_types(device: &Device) -> Vec<&'static str> {
    let all = [("f32", DType::F32), ("bf16", DType::BF16), ("f16", DType::F16), ("f64", DType::F64)];
    all.into_iter().filter(|(_, dtype)| device.supports_dtype(*dtype)).map(|(name, _)| name).collect()
}

/// What a device calls itself.
pub fn name(device: &Device) -> String {
    #[cfg(feature = "cubecl")]
    if let Some(identity) = device.identity() {
        return identity.name;
    }
    #[cfg(not(feature = "cubecl"))]
    let _ = device;
    catalog::cpu_name()
}

/// Bytes of device memory in use and their highest value so far, where the runtime counts them (not on the CPU).
pub fn memory_bytes(device: &Device) -> Option<u64> {
    device.memory_pool_usage().map(|usage| usage.bytes_reserved)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_help_names_every_backend() {
        for backend in backends() {
            assert!(HELP.contains(backend.name), "{}", backend.name);
        }
    }

    #[test]
    fn the_cpu_multiplies_in_f32_and_is_pytorchs_cpu() {
        assert!(!multiplies_in_tf32(&host()));
        let config = DeviceConfig::default();
        assert_eq!(of_pytorch(&config).unwrap(), "cpu");
    }
}
