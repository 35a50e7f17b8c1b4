//! `encode`, `decode`, `ask` and `search`: a trained NextMem at hand, and the file its memories are kept in.

use std::path::Path;

use anyhow::{Context, Result, bail};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use nextmem_eval::cosine;
use nextmem_model::{AnswerMode, Latents, Memory, MemoryMethod, NextMem, NextMemOptions, Quantized, TensorFiles};
use nextmem_quant::{Nf4Latents, Scales};
use safetensors::tensor::{Dtype, TensorView};

use crate::cli::{BadInput, Model};
use crate::device;
use crate::experiment::{DeviceConfig, NextMemConfig, StageName};
use crate::plan::Plan;
use crate::run;
use crate::run_dir::RunDir;
use crate::stages::{Parts, assemble};

/// Opens a run's result, or a Hugging Face directory with its adapters.
fn open(model: &Model) -> Result<NextMem> {
    if model.model.join("resolved.toml").is_file() {
        let dir = RunDir::open(&model.model)?;
        let experiment = dir.experiment()?;
        let loaded = crate::experiment::Loaded { experiment, text: String::new(), origins: Default::default() };
        let plan = Plan::resolve(loaded)?;
        let mut parts = Parts { backbone: plan.experiment.backbone.model.clone().unwrap_or_default(), ..Parts::default() };
        for (name, fingerprint) in &plan.stages {
            let Some(weights) = dir.finished(*name, fingerprint).map(|d| d.join("weights")) else {
                bail!(BadInput(format!("{}: stage `{}` is not finished; run its experiment first", model.model.display(), name.dir())));
            };
            match name {
                StageName::Pretrain => parts.backbone = weights,
                StageName::Reconstruction => parts.stage1 = Some(weights),
                StageName::Substitution => parts.stage2 = Some(weights),
            }
        }
        let device = device::open(&plan.experiment.device, plan.experiment.seed)?;
        let (autoencoder, tokenizer) = assemble(&parts, &device)?;
        return Ok(NextMem::new(autoencoder, tokenizer, run::options(&plan.experiment)));
    }
    for dir in [Some(&model.model), model.stage1.as_ref(), model.stage2.as_ref()].into_iter().flatten() {
        if !dir.is_dir() {
            bail!(BadInput(format!(
                "{}: no such directory; expected a run like results/quickstart or a Hugging Face directory",
                dir.display()
            )));
        }
    }
    let config = DeviceConfig { backend: model.device.clone(), ..DeviceConfig::default() };
    device::check(&config).map_err(|e| BadInput(format!("{e:#}")))?;
    let device = device::open(&config, 0)?;
    let parts = Parts { backbone: model.model.clone(), stage1: model.stage1.clone(), stage2: model.stage2.clone() };
    let (autoencoder, tokenizer) = assemble(&parts, &device)?;
    let defaults = NextMemConfig::default();
    let options = NextMemOptions {
        num_latents: model.latents,
        decode_with_sod: true,
        max_input_tokens: defaults.max_input_tokens,
        max_new_tokens: defaults.max_new_tokens,
        decoding: defaults.decoding,
    };
    Ok(NextMem::new(autoencoder, tokenizer, options))
}

/// Texts into a file of memories, with a table of their sizes.
pub fn encode(model: &Model, texts: &[String], out: &Path, nf4: bool) -> Result<()> {
    let nextmem = open(model)?;
    let passages: Vec<&str> = texts.iter().map(String::as_str).collect();
    let dense = nextmem.encode(&passages)?;
    let quantised = Quantized::new(nextmem, Scales::Absmax).encode(&passages)?;
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["text", "UTF-8 bytes", "bf16 bytes", "NF4 bytes"]);
    for ((text, dense), nf4) in texts.iter().zip(&dense).zip(&quantised) {
        let short: String = text.chars().take(48).collect();
        table.add_row([short, text.len().to_string(), dense.size_bytes().to_string(), nf4.size_bytes().to_string()]);
    }
    println!("{table}");
    save(out, if nf4 { &quantised } else { &dense })?;
    println!("{} {} memories in {}", texts.len(), if nf4 { "NF4" } else { "bf16" }, out.display());
    Ok(())
}

/// Memories back into text, one a line.
pub fn decode(model: &Model, file: &Path) -> Result<()> {
    let memories = load(file)?;
    for text in open(model)?.reconstruct(&memories)? {
        println!("{text}");
    }
    Ok(())
}

/// One answer from each memory, one a line.
pub fn ask(model: &Model, file: &Path, question: &str, comp: bool) -> Result<()> {
    let memories = load(file)?;
    let mode = if comp { AnswerMode::Comp } else { AnswerMode::DeComp };
    for answer in open(model)?.answer(&memories, &vec![question; memories.len()], mode)? {
        println!("{answer}");
    }
    Ok(())
}

/// The nearest memories with their cosine and their text.
pub fn search(model: &Model, file: &Path, query: &str, top: usize) -> Result<()> {
    let memories = load(file)?;
    let nextmem = open(model)?;
    let wanted = nextmem.index(&[query])?.remove(0);
    let mut scored: Vec<(usize, f64)> = memories.iter().map(|m| cosine(&wanted, &dense(m).mean())).enumerate().collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    scored.truncate(top);
    let texts = nextmem.reconstruct(&scored.iter().map(|(i, _)| memories[*i].clone()).collect::<Vec<_>>())?;
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["memory", "cosine", "decoded"]);
    for ((index, cosine), text) in scored.iter().zip(texts) {
        table.add_row([index.to_string(), format!("{cosine:.4}"), text]);
    }
    println!("{table}");
    Ok(())
}

fn dense(memory: &Memory) -> Latents {
    match memory {
        Memory::Latents(latents) => latents.clone(),
        Memory::Nf4(l) => Latents { values: l.dequantize(), num_latents: l.latents(), hidden_size: l.hidden() },
        Memory::Text(_) => Latents { values: Vec::new(), num_latents: 0, hidden_size: 0 },
    }
}

/// Writes memories: `latents` in BF16 `[n, latents, hidden]`, or `codes` (two a byte) and `scales` (e4m3) in U8.
fn save(path: &Path, memories: &[Memory]) -> Result<()> {
    let (mut latents, mut codes, mut scales, mut shape) = (Vec::new(), Vec::new(), Vec::new(), [memories.len(), 0, 0]);
    for memory in memories {
        match memory {
            Memory::Latents(l) => {
                shape = [memories.len(), l.num_latents, l.hidden_size];
                latents.extend(l.values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()));
            }
            Memory::Nf4(l) => {
                shape = [memories.len(), l.latents(), l.hidden()];
                codes.extend_from_slice(l.packed_codes());
                scales.extend_from_slice(l.scale_bits());
            }
            Memory::Text(_) => bail!("a text memory has no latents to write"),
        }
    }
    let n = memories.len();
    let mut views = Vec::new();
    if codes.is_empty() {
        views.push(("latents", TensorView::new(Dtype::BF16, shape.to_vec(), &latents)?));
    } else {
        views.push(("codes", TensorView::new(Dtype::U8, vec![n, codes.len() / n], &codes)?));
        views.push(("scales", TensorView::new(Dtype::U8, vec![n, scales.len() / n], &scales)?));
    }
    let shape_bytes: Vec<u8> = shape.iter().flat_map(|s| (*s as i64).to_le_bytes()).collect();
    views.push(("shape", TensorView::new(Dtype::I64, vec![3], &shape_bytes)?));
    let header = std::collections::HashMap::from([("format".to_string(), "nextmem-1".to_string())]);
    Ok(nextmem_model::write_atomically(path, &safetensors::serialize(views, Some(header))?)?)
}

/// Reads what [`save`] wrote.
fn load(path: &Path) -> Result<Vec<Memory>> {
    let files = TensorFiles::open_file(path)?;
    let bad = |what: &str| BadInput(format!("{}: {what}; expected a file written by `nextmem encode`", path.display()));
    let shape = if files.shape("shape") == Some(&[3]) { files.read_ints("shape")? } else { bail!(bad("no `shape` of three numbers")) };
    let [n, latents, hidden] = shape[..].iter().map(|s| usize::try_from(*s).unwrap_or(0)).collect::<Vec<_>>()[..] else {
        bail!(bad("no `shape` of three numbers"))
    };
    if n == 0 || latents == 0 || hidden == 0 {
        bail!(bad("an empty shape"));
    }
    if let Some(got) = files.shape("latents") {
        if got != [n, latents, hidden] {
            bail!(bad(&format!("`latents` got shape {got:?}, expected {:?}", [n, latents, hidden])));
        }
        let values = files.read_f32("latents")?;
        return Ok(values
            .chunks(latents * hidden)
            .map(|v| Memory::Latents(Latents { values: v.to_vec(), num_latents: latents, hidden_size: hidden }))
            .collect());
    }
    let bytes = |key: &str| -> Result<Vec<Vec<u8>>> {
        let [rows, width] = files.shape(key).unwrap_or_default()[..] else { bail!(bad(&format!("no `{key}`"))) };
        if rows != n || width == 0 {
            bail!(bad(&format!("`{key}` got {rows} rows, expected {n}")));
        }
        Ok(files.read_ints(key)?.chunks(width).map(|c| c.iter().map(|b| *b as u8).collect()).collect())
    };
    bytes("codes")?
        .into_iter()
        .zip(bytes("scales")?)
        .map(|(codes, scales)| Ok(Memory::Nf4(Nf4Latents::from_parts(latents, hidden, codes, scales).map_err(|e| bad(&e.to_string()))?)))
        .collect::<Result<Vec<_>>>()
        .with_context(|| path.display().to_string())
}
