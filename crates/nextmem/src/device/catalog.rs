//! `devices`: what this build and this machine offer.

use burn::tensor::Device;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde::{Deserialize, Serialize};

use super::{backends, cuda, float_types, host, how_to_build, keep_tuning, probe, waiting};

/// One row of the table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// What the device calls itself.
    pub name: String,
    driver: String,
    memory: String,
    dtypes: String,
    tensor_cores: String,
}

/// Every device of every backend in a table, and what to do to get the others. Each backend is asked on its own.
pub fn devices() -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["backend", "index", "device", "driver", "memory", "dtypes", "tensor cores"]);
    let mut add = |backend: &str, index: usize, row: Result<Row, String>| {
        match row {
            Ok(row) => table.add_row([backend.into(), index.to_string(), row.name, row.driver, row.memory, row.dtypes, row.tensor_cores]),
            Err(reason) => table.add_row([backend.into(), index.to_string(), format!("cannot be opened: {reason}")]),
        };
    };
    let mut missing = Vec::new();
    for backend in backends() {
        if !backend.built {
            missing.push(format!(
                "{}: not in this build; {} adds it, and it needs {}",
                backend.name,
                how_to_build(backend.name),
                backend.needs
            ));
            continue;
        }
        if backend.name == "flex" {
            add("flex", 0, Ok(describe("flex", &host())));
            continue;
        }
        let answer = probe::ask(backend.name, true);
        if answer.devices.is_empty() {
            let reason = answer.reason.map_or("this machine has no such device".into(), |reason| reason);
            missing.push(format!("{}: in this build, but {reason}; it needs {}", backend.name, backend.needs));
        }
        for (index, found) in answer.devices.into_iter().enumerate() {
            add(backend.name, index, found.row.unwrap_or_else(|| Err("it was not described".into())));
        }
    }
    let mut text = format!(
        "{table}\n\nChoose one in an experiment:\n  [device]\n  backend = \"flex\"   # or another of the table\n  index = 0\n  dtype = \"f32\"\n"
    );
    if !missing.is_empty() {
        text.push_str(&format!("\nNot available:\n  {}\n", missing.join("\n  ")));
    }
    let found = libraries();
    if !found.is_empty() {
        text.push_str(&format!("\nLibraries and files:\n  {}\n", found.join("\n  ")));
    }
    text
}

/// What the GPU backends use beside the devices.
fn libraries() -> Vec<String> {
    let mut lines = Vec::new();
    if cfg!(feature = "cuda") {
        let driver = cuda::driver().map_or("version unknown".into(), |v| format!("driver {v}"));
        lines.push(
            cuda::libcuda().map_or("cuda: no libcuda in the usual places".into(), |path| format!("cuda: {} ({driver})", path.display())),
        );
        lines.push(cuda::toolkit().map_or("cuda: no NVRTC in the usual places".into(), |toolkit| format!("cuda: {}", toolkit.describe())));
    }
    if cfg!(feature = "wgpu") {
        for name in ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"] {
            let Some(value) = std::env::var_os(name) else { continue };
            for path in std::env::split_paths(&value).filter(|path| !path.exists()) {
                lines.push(format!("vulkan: {name} names {}, which is not there", path.display()));
            }
        }
    }
    keep_tuning();
    if let Some(file) = waiting::kernels() {
        let state = waiting::writable(&file).map_or_else(|e| format!("cannot be written: {e}"), |()| "reused by later runs".into());
        lines.push(format!("compiled kernels: {} ({state})", file.display()));
    }
    lines
}

/// A device in words; opens it.
pub fn describe(backend: &str, device: &Device) -> Row {
    let dtypes = float_types(device).join(", ");
    let Some((name, memory, tensor_cores)) = of_gpu(device) else {
        let memory = available_memory().map_or("-".into(), |bytes| format!("{} free", gib(bytes)));
        return Row { name: cpu_name(), driver: "-".into(), memory, dtypes, tensor_cores: "-".into() };
    };
    let driver = if backend == "cuda" { cuda::driver() } else { graphics_driver(&name) };
    Row { driver: driver.unwrap_or_else(|| "-".into()), name, memory, dtypes, tensor_cores }
}

/// Name, memory and matrix units of a device that cubecl runs.
#[cfg(feature = "cubecl")]
fn of_gpu(device: &Device) -> Option<(String, String, String)> {
    let burn::backend::DispatchDevice::Cube(cube) = device.as_dispatch() else { return None };
    let client = cube.client();
    let properties = client.properties();
    let memory = properties.memory.max_memory().map_or_else(|| format!("buffers up to {}", gib(properties.memory.max_page_size)), gib);
    let matmul = &properties.features.matmul;
    let tensor_cores = if matmul.cmma.is_empty() && matmul.mma.is_empty() { "no" } else { "yes" };
    Some((properties.identity.name.clone(), memory, tensor_cores.to_string()))
}

#[cfg(not(feature = "cubecl"))]
fn of_gpu(_device: &Device) -> Option<(String, String, String)> {
    None
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1u32 << 30))
}

/// What the graphics API says about the driver of an adapter.
#[cfg(feature = "wgpu")]
fn graphics_driver(name: &str) -> Option<String> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapters = cubecl::future::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    let info = adapters.iter().map(wgpu::Adapter::get_info).find(|info| info.name == name)?;
    Some(format!("{:?}, {} {}", info.backend, info.driver, info.driver_info).trim().to_string())
}

#[cfg(not(feature = "wgpu"))]
fn graphics_driver(_name: &str) -> Option<String> {
    None
}

/// The processor's name and core count.
pub(super) fn cpu_name() -> String {
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|l| l.starts_with("model name")).and_then(|l| l.split(':').nth(1)).map_or("CPU", str::trim);
    format!("{model}, {cores} cores")
}

/// Memory that programs may still take, where the system tells (Linux).
fn available_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find(|l| l.starts_with("MemAvailable:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
