//! `import`: the official release's checkpoints as a run that every other verb accepts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::json;

use crate::cli::BadInput;
use crate::experiment::{Experiment, WeightsConfig};
use crate::parts::assemble;
use crate::plan::Plan;
use crate::run_dir::{RunDir, provenance};
use crate::stages::{WEIGHTS, copy_dir};

/// What is imported.
#[derive(Debug, Args)]
pub struct Options {
    /// The release's directory with stage_1_checkpoint-* and stage_2_checkpoint-* in it, like checkpoints/NextMemQwen-L15
    checkpoints: PathBuf,
    /// The Hugging Face directory of the backbone they were trained on, or its name once fetched (the release: Qwen/Qwen3-8B)
    #[arg(long)]
    backbone: PathBuf,
    /// Name of the run
    #[arg(long, default_value = "official")]
    name: String,
    /// Where runs go
    #[arg(long, default_value = "results/runs")]
    results: PathBuf,
    /// Latents per memory that they were trained for
    #[arg(long, default_value_t = 15)]
    latents: usize,
    /// The backend that will use them: flex, wgpu or cuda
    #[arg(long, default_value = "flex")]
    device: String,
    /// The float type: f32, bf16 or f16
    #[arg(long, default_value = "f32")]
    dtype: String,
}

/// Checks the parts, copies the adapters, writes the run, and puts the model together once.
pub fn import(options: &Options) -> Result<()> {
    let stage1 = newest(&options.checkpoints, "stage_1_checkpoint-")?.ok_or_else(|| {
        BadInput(format!("{}: no stage_1_checkpoint-* in it; expected the official release's layout", options.checkpoints.display()))
    })?;
    let stage2 = newest(&options.checkpoints, "stage_2_checkpoint-")?;
    if !["special_tokens_DTOKENS.pt", nextmem_model::SPECIAL_FILE].iter().any(|name| stage1.join(name).is_file()) {
        bail!(BadInput(format!(
            "{}: no special_tokens_DTOKENS.pt in it; [SoD] would not be the one it was trained with",
            stage1.display()
        )));
    }
    // First with the files where they are: whatever does not fit is said before anything is written.
    let plan = plan(options, &stage1, stage2.as_deref())?;
    if plan.dir.exists() {
        bail!(BadInput(format!("{} exists; choose another --name or remove it", plan.dir.display())));
    }
    let device = crate::device::open(&plan.experiment.device, plan.experiment.seed)?;
    let (autoencoder, tokenizer) = assemble(&crate::parts::Parts::given(&plan.experiment), &device)?;
    drop(autoencoder);

    let kept = |stage: &str| plan.dir.join(stage).join(WEIGHTS);
    let written = || -> Result<Plan> {
        copy_dir(&stage1, &kept("stage1"))?;
        if let Some(stage2) = &stage2 {
            copy_dir(stage2, &kept("stage2"))?;
        }
        let plan = self::plan(options, &kept("stage1"), stage2.is_some().then(|| kept("stage2")).as_deref())?;
        let dir = RunDir::adopt(&plan)?;
        let mut manifest = provenance();
        manifest["name"] = json!(options.name);
        manifest["backbone"] = json!(plan.backbone_label());
        manifest["imported"] = json!({"stage1": name_of(&stage1), "stage2": stage2.as_deref().map(name_of)});
        dir.write("manifest.json", format!("{manifest:#}\n").as_bytes())?;
        Ok(plan)
    };
    let plan = written().inspect_err(|_| {
        let _ = std::fs::remove_dir_all(&plan.dir);
    })?;
    let run = plan.dir.display();
    println!(
        "{run}: {}, {} latents, [SoD] is token {}; stage 1 from {}, stage 2 from {}",
        plan.backbone_label(),
        options.latents,
        tokenizer.sod(),
        name_of(&stage1),
        stage2.as_deref().map_or("none (encodes with stage 1)".into(), name_of),
    );
    println!("next: nextmem encode {run} \"a text\"; to evaluate it, `base = \"{run}/experiment.toml\"` with [eval] tables");
    Ok(())
}

/// The experiment of an imported run.
fn plan(options: &Options, stage1: &Path, stage2: Option<&Path>) -> Result<Plan> {
    let quoted = |text: &str| toml::Value::String(text.into());
    let path = |path: &Path| toml::Value::String(path.to_string_lossy().into_owned());
    let text = format!(
        "name = {}\nresults = {}\n[device]\nbackend = {}\ndtype = {}\n[backbone]\nmodel = {}\n[method.nextmem]\nnum_latents = {}\n[quant]\n",
        quoted(&options.name),
        path(&options.results),
        quoted(&options.device),
        quoted(&options.dtype),
        path(&options.backbone),
        options.latents,
    );
    let mut experiment: Experiment = toml::from_str(&text).context("the imported experiment")?;
    experiment.weights = Some(WeightsConfig { stage1: Some(stage1.to_owned()), stage2: stage2.map(Path::to_owned) });
    // Its paths lead from the run's directory, like those of resolved.toml, so that it can be a `base`.
    let root = options.results.join(&options.name);
    let text = format!("# Imported by `nextmem import`.\n{}", toml::to_string(&experiment.portable(&root)?)?);
    let loaded = crate::experiment::Loaded { experiment, text, origins: Default::default() };
    Plan::resolve(loaded).map_err(|e| BadInput(format!("{e:#}")).into())
}

/// The directory of that name with the largest step.
fn newest(dir: &Path, prefix: &str) -> Result<Option<PathBuf>> {
    let entries = std::fs::read_dir(dir).map_err(|e| BadInput(format!("{}: {e}", dir.display())))?;
    let steps = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let step: u64 = path.file_name()?.to_str()?.strip_prefix(prefix)?.parse().ok()?;
        path.is_dir().then_some((step, path))
    });
    Ok(steps.max().map(|(_, path)| path))
}

fn name_of(path: &Path) -> String {
    path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned())
}
