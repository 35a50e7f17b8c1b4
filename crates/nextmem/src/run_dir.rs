//! The directory of a run: what is in it, and that it is never half-written or shared by two runs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::experiment::{Experiment, StageName};
use crate::plan::Plan;

mod changes;
mod lock;
mod own;
mod provenance;
mod weights;

pub use lock::DirLock;
pub use provenance::{arguments, peak_memory_bytes, peak_memory_mib, provenance, unix_seconds};
pub use weights::record as record_weights;

/// The folder that runs go to, beside published results.
const RUNS: &str = "runs";

/// Paths inside one run directory.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
    /// Held by the one who writes, as long as this value or a clone of it lives.
    _lock: Option<DirLock>,
    /// What was in it when it was opened to be written to, so that a run that computes nothing is told from one that does.
    before: String,
}

impl RunDir {
    /// Creates the directory, or goes on in it if it holds the same experiment, and locks it.
    ///
    /// # Errors
    /// If another process writes to it; if it holds another run and `force` is false; if it holds something else. With `force` the
    /// files of that run are deleted, and no others.
    pub fn create(plan: &Plan, force: bool) -> Result<Self> {
        let root = plan.dir.clone();
        let foreign = || format!("{} exists and is no run of nextmem; change `name` or `results`", root.display());
        if root.exists() && (!root.is_dir() || !(root.join("resolved.toml").is_file() || own::only(&root)?)) {
            bail!(foreign());
        }
        std::fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
        let lock = DirLock::acquire(&root)?;
        let mut dir = Self { root: root.clone(), _lock: Some(lock), before: String::new() };
        if root.join("resolved.toml").is_file() {
            let differ = match dir.experiment() {
                Ok(before) => changes::between(&before.portable(&root)?, &plan.experiment.portable(&root)?)?,
                Err(error) => vec![format!("its resolved.toml cannot be read: {error:#}")],
            };
            if !differ.is_empty() && !force {
                bail!(
                    "{} holds another run: {}; give this one another `name` (it reuses the stages that are the same), or delete the files of \
                     that run with --force",
                    root.display(),
                    differ.join(", ")
                );
            }
            if !differ.is_empty() {
                own::delete(&root)?;
            }
        }
        own::sweep(&root)?;
        dir.before = dir.results()?;
        dir.fill(plan)
    }

    /// Makes a run of a directory that holds nothing but weights.
    pub fn adopt(plan: &Plan) -> Result<Self> {
        let lock = DirLock::acquire(&plan.dir)?;
        Self { root: plan.dir.clone(), _lock: Some(lock), before: String::new() }.fill(plan)
    }

    fn fill(self, plan: &Plan) -> Result<Self> {
        std::fs::create_dir_all(self.join("samples")).with_context(|| self.root.display().to_string())?;
        self.keep("experiment.toml", &plan.text)?;
        // Last: a directory with this file is a run.
        self.keep("resolved.toml", &toml::to_string(&plan.experiment.portable(&self.root)?)?)?;
        Ok(self)
    }

    /// Writes a text unless it is there already.
    fn keep(&self, name: &str, text: &str) -> Result<()> {
        match std::fs::read_to_string(self.join(name)) {
            Ok(before) if before == text => Ok(()),
            _ => self.write(name, text.as_bytes()),
        }
    }

    /// A directory that already holds a run, to be read.
    pub fn open(root: &Path) -> Result<Self> {
        match root.join("resolved.toml").is_file() {
            true => Ok(Self { root: root.to_owned(), _lock: None, before: String::new() }),
            false => bail!("{}: no resolved.toml in it; expected the directory of a run, like results/quickstart", root.display()),
        }
    }

    /// Where a plan's run is or will be; nothing is created.
    pub fn planned(plan: &Plan) -> Self {
        Self { root: plan.dir.clone(), _lock: None, before: String::new() }
    }

    /// The directory of the run of this name: the one of this machine (`results/runs/NAME`), else the published one
    /// (`results/NAME`), else where it will be. `results` is either folder.
    pub fn locate(results: &Path, name: &str) -> PathBuf {
        let folders = match results.file_name().is_some_and(|n| n == RUNS) {
            true => [results.to_owned(), outer(results)],
            false => [results.join(RUNS), results.to_owned()],
        };
        let found = folders.iter().map(|folder| folder.join(name)).find(|dir| dir.join("resolved.toml").is_file());
        found.unwrap_or_else(|| results.join(name))
    }

    /// Whether the directory holds this plan's run, finished or not: nothing differs that decides weights or samples.
    pub fn holds(&self, plan: &Plan) -> bool {
        let differ = || -> Result<Vec<String>> {
            changes::between(&self.experiment()?.portable(&self.root)?, &plan.experiment.portable(&self.root)?)
        };
        differ().is_ok_and(|differ| differ.is_empty())
    }

    /// The experiment this run resolved to; its paths lead to the same files from wherever it is read.
    pub fn experiment(&self) -> Result<Experiment> {
        Ok(Experiment::load(&self.root.join("resolved.toml"))?.experiment)
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

    /// The directory of a finished stage with this fingerprint: here, or in a run beside this one, published ones included.
    ///
    /// An ablation that changes only the evaluation so reuses the stages of the run it is compared with.
    pub fn finished(&self, stage: StageName, fingerprint: &str) -> Option<PathBuf> {
        let beside = outer(&self.root);
        let folders = match beside.file_name().is_some_and(|n| n == RUNS) {
            true => [beside.clone(), outer(&beside)],
            false => [beside.join(RUNS), beside],
        };
        let here = self.root.join(stage.dir());
        let others = folders.iter().flat_map(|folder| {
            let runs = std::fs::read_dir(folder).into_iter().flatten();
            let mut found: Vec<PathBuf> = runs.filter_map(|entry| Some(entry.ok()?.path().join(stage.dir()))).collect();
            found.sort();
            found
        });
        std::iter::once(here).chain(others).find(|dir| {
            let done = read_json(&dir.join("done.json"));
            done.is_some_and(|d| d["fingerprint"] == fingerprint && d["weights"].as_str().is_some_and(|w| dir.join(w).is_dir()))
        })
    }

    /// What decides whether a manifest is still true: the samples, and the stages that were trained here.
    fn results(&self) -> Result<String> {
        let mut hasher = Sha256::new();
        let stages = StageName::ALL.map(|stage| format!("{}/done.json", stage.dir()));
        let mut names: Vec<String> = stages.into_iter().filter(|name| self.join(name).is_file()).collect();
        let samples = std::fs::read_dir(self.join("samples")).into_iter().flatten();
        names.extend(samples.filter_map(|entry| Some(format!("samples/{}", entry.ok()?.file_name().to_str()?))));
        names.sort();
        for name in names {
            let path = self.join(&name);
            hasher.update(name.as_bytes());
            hasher.update(std::fs::read(&path).with_context(|| path.display().to_string())?);
        }
        Ok(hex(&hasher.finalize()))
    }
}

/// The folder that a folder is in.
fn outer(dir: &Path) -> PathBuf {
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) => ".".into(),
        None => dir.join(".."),
    }
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A JSON file, if it is there and whole.
pub fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

impl RunDir {
    /// Writes manifest.json before something is trained: what runs, on what, since when. One of a run that was interrupted keeps the
    /// time of its first start.
    pub fn begin(&self, plan: &Plan, stages: &[Value]) -> Result<()> {
        let before = read_json(&self.join("manifest.json")).unwrap_or_default();
        let first = before["started_unix_seconds"].as_u64().filter(|_| before["ended_unix_seconds"].is_null());
        let mut manifest = self.about(plan);
        manifest["started_unix_seconds"] = json!(first.or(unix_seconds()));
        manifest["ended_unix_seconds"] = Value::Null;
        manifest["stages"] = json!(stages);
        self.write("manifest.json", format!("{manifest:#}\n").as_bytes())
    }

    /// The same after training and before evaluation; that of a finished run stays as it is.
    pub fn trained(&self, plan: &Plan, stages: &[Value]) -> Result<()> {
        match read_json(&self.join("manifest.json")) {
            Some(before) if !before["ended_unix_seconds"].is_null() => Ok(()),
            _ => self.begin(plan, stages),
        }
    }

    /// Completes manifest.json with what was computed. That of a finished run to which nothing was added stays as it is.
    pub fn manifest(&self, plan: &Plan, stages: &[Value], seconds: f64) -> Result<()> {
        let before = read_json(&self.join("manifest.json")).unwrap_or_default();
        if !before["ended_unix_seconds"].is_null() && self.before == self.results()? {
            return Ok(());
        }
        let mut manifest = self.about(plan);
        let now = unix_seconds();
        let began = now.map(|now| now.saturating_sub(seconds.round() as u64));
        let started = before["started_unix_seconds"].as_u64().filter(|_| before["ended_unix_seconds"].is_null());
        manifest["started_unix_seconds"] = json!(started.or(began));
        // When the results were made; files made from them carry it, so that making them again changes nothing.
        manifest["ended_unix_seconds"] = json!(now);
        manifest["stages"] = json!(stages);
        manifest["seconds"] = json!(seconds.round());
        manifest["peak_memory_mib"] = json!(peak_memory_mib());
        self.write("manifest.json", format!("{manifest:#}\n").as_bytes())
    }

    fn about(&self, plan: &Plan) -> Value {
        let mut about = provenance();
        about["name"] = json!(plan.experiment.name);
        about["device"] = json!(plan.experiment.device);
        about["data"] = plan.data_identity.clone();
        about["backbone"] = json!(plan.backbone_label());
        about
    }
}
