//! The one place that names a backend.

use std::panic::AssertUnwindSafe;
use std::sync::Once;

use anyhow::{Result, bail};
use burn::tensor::{DType, Device, DeviceType, FloatDType, Tensor};

use crate::experiment::DeviceConfig;
use crate::panics;

mod catalog;

pub use catalog::devices;

/// A backend this program knows.
struct Backend {
    name: &'static str,
    /// What lists its devices; absent when this build lacks it.
    devices: Option<DeviceType>,
    /// What a machine needs to have such a device.
    needs: &'static str,
}

/// Every backend, in the order of the tables.
fn backends() -> [Backend; 4] {
    let backend = |name, devices, needs| Backend { name, devices, needs };
    [
        backend("flex", Some(DeviceType::Flex), "any CPU"),
        backend(
            "wgpu",
            #[cfg(feature = "wgpu")]
            Some(DeviceType::Wgpu),
            #[cfg(not(feature = "wgpu"))]
            None,
            "a Vulkan, Metal, DirectX 12 or OpenGL driver; on Debian a CPU can stand in with `apt-get install mesa-vulkan-drivers`",
        ),
        backend(
            "cuda",
            #[cfg(feature = "cuda")]
            Some(DeviceType::Cuda),
            #[cfg(not(feature = "cuda"))]
            None,
            "an NVIDIA GPU with its driver (libcuda) and the CUDA toolkit's NVRTC (libnvrtc)",
        ),
        backend(
            "vulkan",
            #[cfg(feature = "vulkan")]
            Some(DeviceType::Vulkan),
            #[cfg(not(feature = "vulkan"))]
            None,
            "a GPU with a Vulkan driver",
        ),
    ]
}

/// Names of the backends in this build.
pub fn built() -> Vec<&'static str> {
    backends().iter().filter(|b| b.devices.is_some()).map(|b| b.name).collect()
}

/// Refuses what this build cannot run, before anything is read.
pub fn check(config: &DeviceConfig) -> Result<()> {
    let Some(backend) = backends().into_iter().find(|b| b.name == config.backend) else {
        bail!("device.backend: got {:?}, expected one of {}", config.backend, built().join(", "));
    };
    if backend.devices.is_none() {
        bail!(
            "device.backend: `{0}` is not in this build, which has {1}; build it with `cargo build --release --features {0}`",
            backend.name,
            built().join(", ")
        );
    }
    float_dtype(&config.dtype).map(|_| ())
}

/// Starts this program again with the variables that libraries under it need; they can only be set safely for a new
/// process.
///
/// - `BURN_DEVICE`: burn 0.22 reads optimizer records onto its default device before it moves them to that of the
///   parameters, and in a build with CUDA the default is CUDA, driver or not: resuming on a machine without one would
///   panic. With it the default is the CPU.
/// - `XDG_RUNTIME_DIR`: without it Mesa's Vulkan drivers print lines that look like errors.
pub fn with_environment() {
    let needed = [("BURN_DEVICE", "flex".into()), ("XDG_RUNTIME_DIR", std::env::temp_dir())];
    let missing: Vec<_> = needed.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
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

/// The devices of a backend, real ones before software ones.
fn devices_of(backend: &Backend) -> Vec<Device> {
    let Some(kind) = &backend.devices else { return Vec::new() };
    keep_tuning();
    // Asking loads drivers, and a broken one panics.
    let found = panics::quietly(AssertUnwindSafe(|| Device::enumerate(kind.clone()).into_iter().collect::<Vec<_>>()));
    let mut devices = found.unwrap_or_default();
    devices.sort_by_key(|device| format!("{device:?}").contains("Cpu"));
    devices
}

/// Whether this machine has the device.
///
/// # Errors
/// One line: not in this build, or no such device and what it needs.
pub fn find(config: &DeviceConfig) -> Result<Device> {
    check(config)?;
    let Some(backend) = backends().into_iter().find(|b| b.name == config.backend) else { bail!("no backend {}", config.backend) };
    let devices = devices_of(&backend);
    match devices.get(config.index) {
        Some(device) => Ok(device.clone()),
        None if devices.is_empty() => bail!(
            "device `{}`: this machine has none; it needs {}. Set backend = \"flex\" to use the CPU, or see `nextmem devices`",
            backend.name,
            backend.needs
        ),
        None => bail!(
            "device.index: got {}, but this machine has {} `{}` device(s), counted from 0; see `nextmem devices`",
            config.index,
            devices.len(),
            backend.name
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
    let opened = panics::quietly(AssertUnwindSafe(|| {
        if !device.supports_dtype(DType::from(dtype)) {
            return Err(format!("it does not compute in {}; it has {}", config.dtype, float_types(&device).join(", ")));
        }
        if dtype != FloatDType::F32 {
            device.configure(dtype).map_err(|e| e.to_string())?;
        }
        device.seed(seed);
        let sum: f32 = Tensor::<1>::ones([3], &device).sum().into_scalar();
        if sum == 3.0 { Ok(device) } else { Err(format!("1 + 1 + 1 gave {sum}")) }
    }));
    match opened {
        Ok(Ok(device)) => {
            if config.backend != "flex" {
                crate::progress::expect_compilation();
            }
            Ok(device)
        }
        Ok(Err(reason)) => bail!("device `{}` cannot be used: {reason}", config.backend),
        Err(panic) => {
            let needs = backends().into_iter().find(|b| b.name == config.backend).map_or("", |b| b.needs);
            bail!("device `{}` cannot be opened ({panic}); it needs {needs}. Set backend = \"flex\" to use the CPU", config.backend)
        }
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
