//! The one file that names a backend.

use anyhow::{Result, bail};
use burn::tensor::{Device, FloatDType, Tensor};

use crate::experiment::DeviceConfig;

/// Backends and the Cargo feature of burn that each needs.
const BACKENDS: [&str; 3] = ["flex", "wgpu", "cuda"];

/// Refuses what this build cannot run, before anything is read.
pub fn check(config: &DeviceConfig) -> Result<()> {
    if !BACKENDS.contains(&config.backend.as_str()) {
        bail!(
            "device.backend: got {:?}, expected one of {}; another backend is not in this build, add its feature to `burn` in Cargo.toml",
            config.backend,
            BACKENDS.join(", ")
        );
    }
    float_dtype(config).map(|_| ())
}

/// Makes the CPU burn's default device, by starting this program again with `BURN_DEVICE` set.
///
/// burn 0.22 reads optimizer records onto its default device before it moves them to that of the parameters, and in a
/// build with CUDA the default is CUDA, driver or not: resuming on a machine without one would panic. The variable can
/// only be set safely for a new process.
pub fn pin_default_device() {
    if std::env::var_os("BURN_DEVICE").is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut command = std::process::Command::new(program);
    command.args(std::env::args_os().skip(1)).env("BURN_DEVICE", "flex");
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

fn float_dtype(config: &DeviceConfig) -> Result<FloatDType> {
    Ok(match config.dtype.as_str() {
        "f32" => FloatDType::F32,
        "bf16" => FloatDType::BF16,
        "f16" => FloatDType::F16,
        other => bail!("device.dtype: got {other:?}, expected f32, bf16 or f16"),
    })
}

/// Opens the device once, with its float type and seed.
///
/// # Errors
/// One line when there is no driver or adapter: GPU runtimes report that by panicking, which is caught here.
pub fn open(config: &DeviceConfig, seed: u64) -> Result<Device> {
    check(config)?;
    let dtype = float_dtype(config)?;
    let (backend, index) = (config.backend.clone(), config.index);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let opened = std::panic::catch_unwind(move || {
        let mut device = match backend.as_str() {
            "wgpu" => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
            "cuda" => Device::cuda(index),
            _ => Device::flex(),
        };
        if dtype != FloatDType::F32 {
            device.configure(dtype).map_err(|e| e.to_string())?;
        }
        device.seed(seed);
        let sum: f32 = Tensor::<1>::ones([3], &device).sum().into_scalar();
        if sum == 3.0 { Ok(device) } else { Err(format!("1 + 1 + 1 gave {sum}")) }
    });
    std::panic::set_hook(hook);
    match opened {
        Ok(Ok(device)) => Ok(device),
        Ok(Err(reason)) => bail!("device `{}` cannot be used as {}: {reason}", config.backend, config.dtype),
        Err(panic) => {
            let reason = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()));
            let reason = reason.unwrap_or_default();
            let first = reason.lines().next().unwrap_or_default();
            bail!("device `{}` cannot be opened ({first}); install its driver, or set backend = \"flex\"", config.backend)
        }
    }
}
