//! Each GPU backend is asked for its devices in a process of its own: drivers are other people's code, and one that
//! panics, crashes or never answers must not take the other backends with it.

use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::Result;
#[cfg(feature = "cuda")]
use burn::backend::CudaDevice;
#[cfg(feature = "wgpu")]
use burn::backend::{WgpuBackend, WgpuDevice, WgpuDeviceKind};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use super::catalog::{Row, describe};
use super::{cuda, keep_tuning};
use crate::{children, panics};

/// Longest time that a driver may take to list its devices.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a backend says about this machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// Its devices, real ones before software ones.
    pub devices: Vec<Found>,
    /// Why there is none, in the words of the driver.
    pub reason: Option<String>,
}

/// A device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Found {
    /// The runtime's number for the kind of device, and which of these.
    id: (u16, u16),
    /// A CPU plays the GPU (llvmpipe, SwiftShader).
    pub software: bool,
    /// The description, where it was asked for, or why the device does not open.
    pub row: Option<Result<Row, String>>,
}

impl Found {
    /// The device itself.
    pub fn device(&self) -> Option<Device> {
        #[cfg(feature = "cubecl")]
        {
            let id = burn::tensor::DeviceId::new(self.id.0, self.id.1);
            Some(Device::new(burn::backend::CubeDevice::from_id(id)))
        }
        #[cfg(not(feature = "cubecl"))]
        {
            None
        }
    }
}

/// Asks a backend in a process of its own.
pub fn ask(backend: &str, describe: bool) -> Answer {
    let said = (|| -> Result<_> {
        let mut command = children::this_program()?;
        command.args(["device-probe", backend]).args(describe.then_some("--describe"));
        Ok(listen(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?))
    })();
    match said {
        Ok(Ok(answer)) => answer,
        Ok(Err(reason)) => Answer { devices: Vec::new(), reason: Some(reason) },
        // No process can be started here: ask as well as it goes.
        Err(_) => answer(backend, describe),
    }
}

/// The last line of a worker's standard output, or how it ended.
fn listen(mut child: Child) -> Result<Answer, String> {
    fn reader(pipe: Option<impl Read + Send + 'static>) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        })
    }
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let started = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if started.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("its driver did not answer within {} seconds", PATIENCE.as_secs()));
            }
        }
    };
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    let answer = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok());
    answer.filter(|_| status.success()).ok_or_else(|| {
        let words = stderr.lines().last().map_or(String::new(), |line| format!(": {}", line.chars().take(200).collect::<String>()));
        format!("its driver ended the process that asked it ({status}{words})")
    })
}

/// In the process that asks: one line of JSON.
pub fn probe(backend: &str, describe: bool) -> Result<()> {
    children::working(Path::new(""), || {
        println!("{}", serde_json::to_string(&answer(backend, describe))?);
        Ok(())
    })
}

fn answer(backend: &str, wanted: bool) -> Answer {
    keep_tuning();
    let listed = panics::quietly(AssertUnwindSafe(|| present(backend)));
    let mut reason = listed.as_ref().err().cloned();
    let mut devices: Vec<Found> = listed
        .unwrap_or_default()
        .iter()
        .map(|device| Found {
            id: id(device),
            software: format!("{device:?}").contains("Cpu"),
            row: wanted.then(|| panics::quietly(AssertUnwindSafe(|| describe(backend, device)))),
        })
        .collect();
    devices.sort_by_key(|found| found.software);
    if devices.is_empty() && reason.is_none() && backend == "cuda" {
        // The runtime takes every error for "no devices"; opening the first one tells.
        reason = panics::quietly(AssertUnwindSafe(|| first_cuda().map(|device| super::name(&device)))).err();
    }
    let explain = |reason: String| if backend == "cuda" { cuda::explained(&reason) } else { reason };
    Answer { devices, reason: reason.map(explain) }
}

fn first_cuda() -> Option<Device> {
    #[cfg(feature = "cuda")]
    {
        Some(Device::cuda(0usize))
    }
    #[cfg(not(feature = "cuda"))]
    {
        None
    }
}

/// The devices of one backend and of no other; burn's own list of a backend asks all of them.
fn present(backend: &str) -> Vec<Device> {
    #[cfg(feature = "cuda")]
    if backend == "cuda" {
        return like(CudaDevice::new(0));
    }
    #[cfg(feature = "wgpu")]
    if backend == "wgpu" {
        return adapters(WgpuBackend::Auto);
    }
    #[cfg(feature = "vulkan")]
    if backend == "vulkan" {
        return adapters(WgpuBackend::Vulkan);
    }
    let _ = backend;
    Vec::new()
}

#[cfg(feature = "wgpu")]
fn adapters(backend: WgpuBackend) -> Vec<Device> {
    use WgpuDeviceKind::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
    let kinds = [DiscreteGpu(0), IntegratedGpu(0), VirtualGpu(0), Other(0), Cpu];
    kinds.into_iter().flat_map(|kind| like(WgpuDevice::new(kind).on(backend))).collect()
}

/// All devices of the same runtime and kind.
#[cfg(feature = "cubecl")]
fn like(device: impl Into<burn::backend::CubeDevice>) -> Vec<Device> {
    use burn::backend::CubeDevice;
    CubeDevice::enumerate(device.into().to_id()).into_iter().map(|id| Device::new(CubeDevice::from_id(id))).collect()
}

#[cfg(feature = "cubecl")]
fn id(device: &Device) -> (u16, u16) {
    let burn::backend::DispatchDevice::Cube(cube) = device.as_dispatch() else { return (0, 0) };
    let id = cube.to_id();
    (id.type_id, id.index_id)
}

#[cfg(not(feature = "cubecl"))]
fn id(_device: &Device) -> (u16, u16) {
    (0, 0)
}
