//! What CUDA needs beside the GPU: the driver, NVRTC and its headers - where they are, which of several fits the driver,
//! and what its errors mean.
//!
//! Kernels are compiled at run time: `libnvrtc` is loaded by name, so its folder must be in `LD_LIBRARY_PATH` when the
//! process starts, and cubecl gives it the headers in `$CUDA_PATH/include` and `$CUDA_PATH/include/cccl`.

use std::path::{Path, PathBuf};

/// Extra folders of Python packages to look through, separated by `:`.
pub const SITE_PACKAGES: &str = "NEXTMEM_SITE_PACKAGES";

/// The first driver that has every function of libcuda that is called (cuEventElapsedTime_v2, CUDA 12.8).
pub const DRIVER: &str = "570 (CUDA 12.8)";

/// Headers that generated kernels include, with what they include themselves, and the package that has them.
const HEADERS: [(&str, &str); 3] = [
    ("cuda_fp16.h", "the CUDA toolkit or nvidia-cuda-runtime"),
    ("nv/target", "the CUDA toolkit or nvidia-cuda-cccl"),
    ("crt/mma.h", "the CUDA toolkit or nvidia-cuda-crt"),
];

/// A version as (major, minor).
type Version = (u32, u32);

/// An NVRTC and the headers that belong to it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Toolkit {
    /// The folder of libnvrtc.
    pub libraries: PathBuf,
    /// The folder whose `include` has the headers.
    pub root: PathBuf,
    /// Of NVRTC, where its files tell.
    pub version: Option<Version>,
    /// Headers that are not there.
    pub lacking: Vec<&'static str>,
}

impl Toolkit {
    /// NVRTC and headers in their own or in separate roots.
    fn at(libraries: &Path, root: &Path) -> Option<Self> {
        let subfolders =
            ["lib64", "lib", "targets/x86_64-linux/lib", "targets/sbsa-linux/lib", "lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"];
        let (libraries, version) = subfolders.iter().find_map(|sub| {
            let dir = libraries.join(sub);
            nvrtc(&dir).map(|version| (dir, version))
        })?;
        let roots = [root.to_owned(), root.join("targets/x86_64-linux"), root.join("targets/sbsa-linux")];
        let of = |root: &PathBuf| (lacking(root), root.clone());
        let (lacking, root) = roots.iter().map(of).min_by_key(|(lacking, _)| lacking.len())?;
        Some(Self { libraries, root, version, lacking })
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let version = self.version.map_or("unknown version".into(), |(major, minor)| format!("{major}.{minor}"));
        let headers = match self.lacking[..] {
            [] => format!("headers in {}", self.root.join("include").display()),
            _ => format!("no {} in {}", self.lacking.join(", "), self.root.join("include").display()),
        };
        format!("NVRTC {version} in {}, {headers}", self.libraries.display())
    }
}

/// Whether a folder has NVRTC, and its version where a file name tells.
fn nvrtc(dir: &Path) -> Option<Option<Version>> {
    let names: Vec<String> = std::fs::read_dir(dir).ok()?.flatten().filter_map(|e| e.file_name().into_string().ok()).collect();
    if !names.iter().any(|name| name == "libnvrtc.so" || name.starts_with("libnvrtc.so.")) {
        return None;
    }
    let number = |prefix: &str| names.iter().filter_map(|name| version(name.strip_prefix(prefix)?)).max();
    Some(number("libnvrtc-builtins.so.").or_else(|| number("libnvrtc.so.")))
}

/// `13.0.88` as (13, 0); one number alone is no version.
fn version(text: &str) -> Option<Version> {
    let mut parts = text.split('.').map(str::parse);
    match (parts.next()?, parts.next()?) {
        (Ok(major), Ok(minor)) => Some((major, minor)),
        _ => None,
    }
}

fn lacking(root: &Path) -> Vec<&'static str> {
    let include = root.join("include");
    let absent = |name: &&str| !include.join(name).exists() && !include.join("cccl").join(name).exists();
    HEADERS.iter().map(|(name, _)| *name).filter(absent).collect()
}

/// Every toolkit in the usual places: what variables name, system folders, conda, and the wheels that PyTorch brings.
fn toolkits() -> Vec<Toolkit> {
    let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let mut roots: Vec<PathBuf> = ["CUDA_PATH", "CUDA_HOME", "CUDA_ROOT"].into_iter().filter_map(variable).collect();
    roots.extend(["/usr/local/cuda", "/opt/cuda"].map(PathBuf::from));
    roots.extend(below("/usr/local", "cuda-"));
    roots.extend(beside("nvcc"));
    roots.extend(variable("CONDA_PREFIX"));
    roots.push("/usr".into());
    let mut found: Vec<Toolkit> = roots.iter().filter_map(|root| Toolkit::at(root, root)).collect();
    let mut prefixes = beside("python3");
    prefixes.extend(
        [variable("VIRTUAL_ENV"), variable("CONDA_PREFIX"), variable("HOME").map(|home| home.join(".local"))].into_iter().flatten(),
    );
    prefixes.extend(["/usr/local", "/usr"].map(PathBuf::from));
    let given = std::env::var_os(SITE_PACKAGES).unwrap_or_default();
    let mut sites: Vec<PathBuf> = std::env::split_paths(&given).filter(|p| !p.as_os_str().is_empty()).collect();
    for lib in prefixes.into_iter().map(|prefix| prefix.join("lib")) {
        sites.extend(below(&lib, "python3").into_iter().flat_map(|dir| ["site-packages", "dist-packages"].map(|s| dir.join(s))));
    }
    for nvidia in sites.iter().map(|site| site.join("nvidia")) {
        // CUDA 13 has one folder, before that every package had its own.
        found.extend(Toolkit::at(&nvidia.join("cu13"), &nvidia.join("cu13")));
        found.extend(Toolkit::at(&nvidia.join("cuda_nvrtc"), &nvidia.join("cuda_runtime")));
    }
    found
}

/// The roots of a program in the search path, the folders above `bin`: its own, a virtual environment's for example, and
/// that of what it links to.
fn beside(program: &str) -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let Some(found) = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|p| p.is_file()) else { return Vec::new() };
    let root = |program: PathBuf| program.parent()?.parent().map(Path::to_owned);
    let target = found.canonicalize().ok();
    [Some(found), target].into_iter().flatten().filter_map(root).collect()
}

/// Folders whose names begin so, the last one (the newest version) first.
fn below(dir: impl AsRef<Path>, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(prefix)).map(|e| e.path()).filter(|p| p.is_dir()).collect();
    found.sort();
    found.reverse();
    found
}

/// The best of several: kernels of an NVRTC newer than the driver are refused by it, and without headers few compile.
/// Among equals the first.
fn best(toolkits: Vec<Toolkit>, driver: Option<Version>) -> Option<Toolkit> {
    let too_new = |t: &Toolkit| driver.zip(t.version).is_some_and(|(driver, version)| version > driver);
    toolkits.into_iter().min_by_key(|t| (too_new(t), t.lacking.len()))
}

/// The toolkit that kernels are compiled with.
pub fn toolkit() -> Option<Toolkit> {
    best(toolkits(), driver_cuda())
}

/// The kernel driver's version, where the system tells (Linux).
pub fn driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok();
    let word =
        |text: String| text.split_whitespace().find(|w| w.contains('.') && w.starts_with(|c: char| c.is_ascii_digit())).map(String::from);
    // In a container libcuda's file name may tell.
    text.and_then(word).or_else(|| {
        let libcuda = libcuda()?.canonicalize().ok()?;
        let name = libcuda.file_name()?.to_str()?.strip_prefix("libcuda.so.")?;
        name.contains('.').then(|| name.to_string())
    })
}

/// The newest CUDA that the driver loads kernels of.
fn driver_cuda() -> Option<Version> {
    cuda_of(driver()?.split('.').next()?.parse().ok()?)
}

/// NVIDIA's table of driver branches.
fn cuda_of(branch: u32) -> Option<Version> {
    let table = [
        (525, 12, 0),
        (530, 12, 1),
        (535, 12, 2),
        (545, 12, 3),
        (550, 12, 4),
        (555, 12, 5),
        (560, 12, 6),
        (565, 12, 7),
        (570, 12, 8),
        (575, 12, 9),
        (580, 13, 0),
        (590, 13, 1),
    ];
    // What is newer than the table is not known.
    table.iter().rev().find(|(first, ..)| branch >= *first).filter(|_| branch < 595).map(|(_, major, minor)| (*major, *minor))
}

/// libcuda, where the loader looks.
pub fn libcuda() -> Option<PathBuf> {
    let path = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let usual = [
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib64",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib/wsl/lib",
        "/usr/local/nvidia/lib64",
        "/usr/local/nvidia/lib",
        "/usr/lib",
    ];
    let dirs = std::env::split_paths(&path).filter(|p| !p.as_os_str().is_empty()).chain(usual.map(PathBuf::from));
    dirs.flat_map(|dir| ["libcuda.so.1", "libcuda.so"].map(|name| dir.join(name))).find(|path| path.exists())
}

/// What CUDA's words mean, behind them; other words stay as they are.
pub fn explained(said: &str) -> String {
    let low = said.to_lowercase();
    let table: [(&[&str], String); 9] = [
        (&["\"cuda\" shared library"], "libcuda, the driver's library, is not on this machine".into()),
        (&["missing symbol"], format!("libcuda is no complete driver: a stub, or older than {DRIVER}")),
        (
            &["\"nvrtc\" shared library"],
            format!(
                "NVRTC, CUDA's compiler, was not found: install the CUDA toolkit or `pip install nvidia-cuda-nvrtc`, and set CUDA_PATH to its folder or {SITE_PACKAGES} to that of the Python packages"
            ),
        ),
        (
            &["cuda installation not found"],
            "the headers of CUDA were not found: set CUDA_PATH to the folder above include/cuda_fp16.h".into(),
        ),
        (
            &["cannot open source file", "could not open source file"],
            format!("headers of CUDA are incomplete; kernels need {}", HEADERS.map(|(name, from)| format!("{name} ({from})")).join(", ")),
        ),
        (
            &["unsupported_ptx", "unsupported toolchain"],
            "NVRTC is newer than the driver: take an older CUDA toolkit (CUDA_PATH) or a newer driver".into(),
        ),
        (
            &["no_device", "no cuda-capable device"],
            "the driver sees no GPU: look at nvidia-smi and CUDA_VISIBLE_DEVICES, and give a container its GPUs (--gpus all)".into(),
        ),
        (&["stub_library", "stub library"], "libcuda is the toolkit's stub: take its folder (stubs) out of LD_LIBRARY_PATH".into()),
        (
            &["driver_mismatch", "insufficient_driver", "operation_not_supported", "system_not_ready"],
            "libcuda and the kernel's driver do not fit: reboot after an update, or reinstall the driver".into(),
        ),
    ];
    let meaning = table.iter().find(|(words, _)| words.iter().any(|word| low.contains(word)));
    meaning.map_or_else(|| said.to_string(), |(_, meaning)| format!("{meaning} ({said})"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn files(dir: &Path, names: &[&str]) {
        for name in names {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap_or(dir)).unwrap();
            std::fs::write(path, "").unwrap();
        }
    }

    #[test]
    fn toolkits_and_wheels_are_found_with_what_they_lack() {
        let dir = tempfile::tempdir().unwrap();
        let (toolkit, wheels, old) = (dir.path().join("cuda"), dir.path().join("nvidia/cu13"), dir.path().join("nvidia"));
        files(
            &toolkit,
            &[
                "lib64/libnvrtc.so.12",
                "lib64/libnvrtc-builtins.so.12.8.93",
                "include/cuda_fp16.h",
                "include/nv/target",
                "include/crt/mma.h",
            ],
        );
        files(&wheels, &["lib/libnvrtc.so.13", "lib/libnvrtc-builtins.so.13.5", "include/cuda_fp16.h", "include/cccl/nv/target"]);
        files(&old, &["cuda_nvrtc/lib/libnvrtc.so.12", "cuda_runtime/include/cuda_fp16.h"]);
        let complete = Toolkit::at(&toolkit, &toolkit).unwrap();
        assert_eq!((complete.version, complete.lacking.len()), (Some((12, 8)), 0));
        assert_eq!(complete.libraries, toolkit.join("lib64"));
        let newest = Toolkit::at(&wheels, &wheels).unwrap();
        assert_eq!((newest.version, &newest.lacking[..]), (Some((13, 5)), &["crt/mma.h"][..]));
        let split = Toolkit::at(&old.join("cuda_nvrtc"), &old.join("cuda_runtime")).unwrap();
        assert_eq!((split.version, &split.lacking[..]), (None, &["nv/target", "crt/mma.h"][..]));
        assert!(newest.describe().contains("NVRTC 13.5") && newest.describe().contains("no crt/mma.h"));
        assert_eq!(Toolkit::at(dir.path(), dir.path()), None);

        let all = vec![newest.clone(), split.clone(), complete.clone()];
        assert_eq!(best(all.clone(), Some((13, 5))), Some(complete.clone()));
        // A driver of CUDA 12.4 loads nothing of 12.8: what may be older is left.
        assert_eq!(best(all, Some((12, 4))), Some(split));
        assert_eq!(best(vec![newest.clone()], Some((13, 0))), Some(newest));
    }

    #[test]
    fn driver_branches_are_those_of_nvidia() {
        assert_eq!([524, 535, 550, 570, 580].map(cuda_of), [None, Some((12, 2)), Some((12, 4)), Some((12, 8)), Some((13, 0))]);
        assert_eq!(cuda_of(700), None);
    }

    #[test]
    fn words_of_cuda_are_explained() {
        let no = explained("called `Result::unwrap()` on an `Err` value: DriverError(CUDA_ERROR_NO_DEVICE, \"no CUDA-capable device\")");
        assert!(no.contains("sees no GPU") && no.contains("CUDA_ERROR_NO_DEVICE"), "{no}");
        assert!(explained("Missing symbol cuInit: dlsym").contains("older than 570"));
        assert!(explained("cannot open source file \"nv/target\"").contains("nvidia-cuda-cccl"));
        assert_eq!(explained("something else"), "something else");
    }
}
