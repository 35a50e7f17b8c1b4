//! The directory of a run: what is in it, and that it is never half-written or shared by two runs.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::experiment::StageName;
use crate::plan::Plan;

/// Paths inside one run directory.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Creates the directory, or goes on in it if it holds the same experiment.
    ///
    /// # Errors
    /// If it holds another run and `force` is false; with `force` that run is deleted.
    pub fn create(plan: &Plan, force: bool) -> Result<Self> {
        let root = plan.dir.clone();
        let resolved = toml::to_string(&plan.experiment)?;
        let known = root.join("resolved.toml");
        match std::fs::read_to_string(&known) {
            Ok(before) if before == resolved => {}
            Ok(_) if !force => {
                bail!("{} holds another run (its resolved.toml differs); change `name`, or delete that run with --force", root.display())
            }
            Ok(_) => std::fs::remove_dir_all(&root).with_context(|| root.display().to_string())?,
            Err(_) if root.is_dir() && std::fs::read_dir(&root)?.next().is_some() => {
                bail!("{} exists and is no run of nextmem; change `name` or `results`", root.display())
            }
            Err(_) => {}
        }
        Self { root }.fill(plan, &resolved)
    }

    /// Makes a run of a directory that holds nothing but weights.
    pub fn adopt(plan: &Plan) -> Result<Self> {
        Self { root: plan.dir.clone() }.fill(plan, &toml::to_string(&plan.experiment)?)
    }

    fn fill(self, plan: &Plan, resolved: &str) -> Result<Self> {
        let (dir, root) = (self.clone(), self.root);
        std::fs::create_dir_all(root.join("samples")).with_context(|| root.display().to_string())?;
        dir.write("experiment.toml", plan.text.as_bytes())?;
        // Last: a directory with this file is a run.
        dir.write("resolved.toml", resolved.as_bytes())?;
        Ok(dir)
    }

    /// A directory that already holds a run.
    pub fn open(root: &Path) -> Result<Self> {
        match root.join("resolved.toml").is_file() {
            true => Ok(Self { root: root.to_owned() }),
            false => bail!("{}: no resolved.toml in it; expected the directory of a run, like results/quickstart", root.display()),
        }
    }

    /// Where a plan's run is or will be; nothing is created.
    pub fn planned(plan: &Plan) -> Self {
        Self { root: plan.dir.clone() }
    }

    /// Whether the directory holds this plan's run, finished or not.
    pub fn holds(&self, plan: &Plan) -> bool {
        let known = std::fs::read_to_string(self.root.join("resolved.toml")).ok();
        known.is_some() && known == toml::to_string(&plan.experiment).ok()
    }

    /// The experiment this run resolved to.
    pub fn experiment(&self) -> Result<crate::experiment::Experiment> {
        let path = self.root.join("resolved.toml");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// Its root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file or directory in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes a file as a whole.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        Ok(nextmem_model::write_atomically(&self.root.join(name), bytes)?)
    }

    /// The directory of a finished stage with this fingerprint: here, or in a run beside this one.
    ///
    /// An ablation that changes only the evaluation so reuses the stages of the run it is compared with.
    pub fn finished(&self, stage: StageName, fingerprint: &str) -> Option<PathBuf> {
        let here = self.root.join(stage.dir());
        let siblings = self.root.parent().and_then(|p| std::fs::read_dir(p).ok());
        let mut others: Vec<PathBuf> =
            siblings.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join(stage.dir()))).collect();
        others.sort();
        std::iter::once(here).chain(others).find(|dir| {
            let done = read_json(&dir.join("done.json"));
            done.is_some_and(|d| d["fingerprint"] == fingerprint && d["weights"].as_str().is_some_and(|w| dir.join(w).is_dir()))
        })
    }

    /// Writes manifest.json: what ran, on what, when.
    pub fn manifest(&self, plan: &Plan, stages: &[Value], seconds: f64) -> Result<()> {
        let mut manifest = provenance();
        let own = json!({
            "name": plan.experiment.name,
            "device": plan.experiment.device,
            "peak_memory_mib": peak_memory_mib(),
            "data": plan.data_identity,
            "backbone": plan.backbone_label(),
            "stages": stages,
            "seconds": seconds.round(),
            // When the results were made; files made from them carry it, so that making them again changes nothing.
            "ended_unix_seconds": std::time::UNIX_EPOCH.elapsed().map(|since| since.as_secs()).ok(),
        });
        if let (Some(all), Value::Object(own)) = (manifest.as_object_mut(), own) {
            all.extend(own);
        }
        self.write("manifest.json", format!("{manifest:#}\n").as_bytes())
    }
}

/// Which program made a result, and on how many cores.
pub fn provenance() -> Value {
    json!({
        "nextmem": env!("CARGO_PKG_VERSION"),
        "commit": git(&["rev-parse", "HEAD"]),
        "dirty": git(&["status", "--porcelain", "--untracked-files=no"]).map(|s| !s.is_empty()),
        "cargo_lock": std::fs::read("Cargo.lock").ok().map(|b| sha256(&b)),
        "cores": std::thread::available_parallelism().map(|n| n.get()).ok(),
    })
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// A JSON file, if it is there and whole.
pub fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

/// [`peak_memory_bytes`] in MiB.
pub fn peak_memory_mib() -> Option<u64> {
    peak_memory_bytes().map(|bytes| bytes >> 20)
}

/// Highest resident memory of this process, where the system tells (Linux).
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What was typed after `nextmem`, absolute paths by their last part: what belongs into a result file.
pub fn arguments() -> String {
    let short = |argument: String| match Path::new(&argument) {
        path if path.is_absolute() => path.file_name().map_or(argument.clone(), |name| name.to_string_lossy().into_owned()),
        _ => argument,
    };
    std::env::args().skip(1).map(short).collect::<Vec<_>>().join(" ")
}
