//! `bench`: the same work here and in PyTorch, one after the other on the same machine, as ratios.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use nextmem_model::DecoderConfig;
use serde_json::{Value, json};

use crate::children;
use crate::cli::BadInput;
use crate::device;
use crate::experiment::DeviceConfig;
use crate::hub::located;
use crate::run_dir::{arguments, provenance};

mod worker;
mod workload;

use workload::{Extent, Item, Workload};

pub use worker::work;

/// What to measure.
#[derive(Debug, Args)]
pub struct Options {
    /// Sizes of Qwen3 with random weights: 0.6b, 1.7b, 4b, 8b, 14b or 32b
    #[arg(long, conflicts_with = "model")]
    size: Option<String>,
    /// A Hugging Face directory instead, like datasets/nano-backbone
    #[arg(long)]
    model: Option<PathBuf>,
    #[arg(long, default_value = "flex", help = device::HELP)]
    device: String,
    /// f32 or bf16
    #[arg(long, default_value = "f32")]
    dtype: String,
    /// A Python with scripts/peer/requirements.txt; without it only our side runs
    #[arg(long)]
    peer: Option<PathBuf>,
    /// Rows of the batched items
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Tokens of the longest passage
    #[arg(long, default_value_t = 128)]
    tokens: usize,
    /// Tokens to decode
    #[arg(long, default_value_t = 32)]
    new_tokens: usize,
    /// Latents per passage
    #[arg(long, default_value_t = 15)]
    latents: usize,
    /// Timed runs of each item in each round
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// How often the two sides take turns
    #[arg(long, default_value_t = 2)]
    rounds: usize,
    /// Only items with this in their name
    #[arg(long)]
    only: Option<String>,
    /// Where random weights are kept between runs (default: a temporary directory)
    #[arg(long)]
    weights: Option<PathBuf>,
    /// Where NAME.md and NAME.json go
    #[arg(long, default_value = "results/bench")]
    out: PathBuf,
}

/// Runs both sides and writes the table.
pub fn bench(options: &Options) -> Result<()> {
    let device_config = DeviceConfig { backend: options.device.clone(), dtype: options.dtype.clone(), ..DeviceConfig::default() };
    device::find(&device_config).map_err(|e| BadInput(format!("{e:#}")))?;
    crate::outputs::ensure_folder(&options.out)?;
    if options.batch == 0
        || options.tokens < options.latents.max(4)
        || options.new_tokens == 0
        || options.latents == 0
        || options.rounds == 0
    {
        bail!(BadInput("--batch, --new-tokens, --latents and --rounds must be positive, --tokens at least --latents".into()));
    }
    // Without a peer nobody reads it.
    let of_pytorch = match options.peer {
        Some(_) => device::of_pytorch(&device_config).map_err(|e| BadInput(format!("--peer: {e:#}")))?,
        None => "cpu",
    };
    let scratch = children::folder()?;
    let host = device::host();
    let (name, config, model) = match (&options.size, &options.model) {
        (Some(size), _) => {
            let config = workload::size(size)?;
            // Before weights of gigabytes are written.
            std::fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
            let dir = options.weights.clone().unwrap_or_else(|| scratch.path().to_owned()).join(format!("qwen3-{size}-{}", options.dtype));
            workload::checkpoint(&config, &options.dtype, &dir, &host)?;
            (format!("qwen3-{size}"), config, dir)
        }
        (None, Some(dir)) => {
            let found = located(dir);
            let config = nextmem_model::check_decoder(&found, &host)?;
            (dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned(), config, std::path::absolute(found)?)
        }
        (None, None) => bail!(BadInput("expected --size (random weights) or --model (a checkpoint)".into())),
    };
    std::fs::create_dir_all(&options.out).with_context(|| options.out.display().to_string())?;
    let adapter = scratch.path().join("adapter");
    workload::adapter(&config, &adapter, &host)?;
    let extent = Extent { batch: options.batch, tokens: options.tokens, new_tokens: options.new_tokens, latents: options.latents };
    let mut items = workload::items(extent, config.hidden_size, config.vocab_size, scratch.path())?;
    items.retain(|i| options.only.as_ref().is_none_or(|only| i.name().contains(only.as_str())));
    if items.is_empty() {
        bail!(BadInput(format!("--only: no item has {:?} in its name", options.only.clone().unwrap_or_default())));
    }
    let work = Workload {
        model,
        adapter,
        device: of_pytorch.into(),
        backend: options.device.clone(),
        dtype: options.dtype.clone(),
        threads: std::thread::available_parallelism().map_or(1, |n| n.get()),
        latents: options.latents,
        block: options.tokens.div_ceil(options.latents),
        sod: config.vocab_size as u32 - 2,
        eot: 0,
        warmup: 1,
        repeats: options.repeats,
        items,
    };
    let file = scratch.path().join("workload.json");
    std::fs::write(&file, serde_json::to_vec(&work)?)?;

    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        let out = scratch.path().join(format!("ours-{round}.json"));
        let status = children::wait(children::this_program()?.arg("bench-worker").args([&file, &out]).spawn()?)?;
        if !status.success() {
            bail!("our side of the benchmark ended with {status}; its message is above");
        }
        ours.push(read(&out)?);
        save(options, &name, &config, &work, &ours, &peer)?;
        if let Some(python) = &options.peer {
            let out = scratch.path().join(format!("peer-{round}.json"));
            let mut command = children::command(python);
            command.args(["scripts/peer/bench.py", "--workload"]).arg(&file).arg("--out").arg(&out);
            device::without_our_libraries(&mut command);
            let child = command.spawn().with_context(|| format!("starting {}; see scripts/peer/README.md", python.display()))?;
            let status = children::wait(child)?;
            if !status.success() {
                bail!("the PyTorch side ended with {status}; see scripts/peer/README.md");
            }
            peer.push(read(&out)?);
        }
    }
    println!("{}", save(options, &name, &config, &work, &ours, &peer)?);
    Ok(())
}

fn read(path: &Path) -> Result<Value> {
    serde_json::from_slice(&std::fs::read(path)?).with_context(|| path.display().to_string())
}

/// One algorithm on one item, all rounds together.
struct Measured {
    seconds: f64,
    runs: usize,
    peak: Option<f64>,
    check: Value,
    error: Option<String>,
}

/// All rounds of an item by algorithm, in the order they were first seen.
fn measured(rounds: &[Value], item: &str) -> Vec<(String, Measured)> {
    let mut algorithms: Vec<(String, Vec<&Value>)> = Vec::new();
    for entry in rounds.iter().filter_map(|r| r["items"].as_array()).flatten().filter(|e| e["name"] == item) {
        let name = entry["algorithm"].as_str().unwrap_or("?").to_string();
        match algorithms.iter_mut().find(|(n, _)| *n == name) {
            Some((_, entries)) => entries.push(entry),
            None => algorithms.push((name, vec![entry])),
        }
    }
    let summary = |entries: Vec<&Value>| {
        let mut seconds: Vec<f64> = entries.iter().filter_map(|e| e["seconds"].as_array()).flatten().filter_map(Value::as_f64).collect();
        seconds.sort_by(f64::total_cmp);
        let peak = entries.iter().filter_map(|e| e["peak_bytes"].as_f64()).reduce(f64::max);
        let error = entries.iter().find_map(|e| e["error"].as_str().map(String::from));
        Measured { seconds: median(&seconds), runs: seconds.len(), peak, check: entries[0]["check"].clone(), error }
    };
    algorithms.into_iter().map(|(name, entries)| (name, summary(entries))).collect()
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

/// How far two answers to the same work are apart.
fn agreement(ours: &Value, theirs: &Value) -> String {
    let numbers = |v: &Value| -> Vec<f64> {
        v.as_array().into_iter().flatten().flat_map(|r| r.as_array().into_iter().flatten()).filter_map(Value::as_f64).collect()
    };
    if let (Some(a), Some(b)) = (ours["loss"].as_f64(), theirs["loss"].as_f64()) {
        return format!("loss differs by {:.0e}", ((a - b) / b).abs());
    }
    let (a, b) = (numbers(&ours["ids"]), numbers(&theirs["ids"]));
    if !b.is_empty() {
        let same = a.iter().zip(&b).filter(|(a, b)| a == b).count();
        return format!("{same} of {} ids equal", b.len());
    }
    let (a, b) = (numbers(&ours["latents"]), numbers(&theirs["latents"]));
    if b.is_empty() || a.len() != b.len() {
        return "-".into();
    }
    let largest = b.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let difference = a.iter().zip(&b).fold(0.0f64, |m, (a, b)| m.max((a - b).abs()));
    format!("latents differ by {:.0e}", difference / largest)
}

/// Arithmetic of one run: floating point operations of the products with weights, and bytes of weights read.
fn cost(item: &Item, config: &DecoderConfig, latents: usize, block: usize, dtype: &str) -> (f64, f64) {
    let head = (config.vocab_size * config.hidden_size) as f64;
    let body = config.num_params() as f64 - if config.tie_word_embeddings { head } else { 2.0 * head };
    let bytes = if dtype == "f32" { 4.0 } else { 2.0 };
    let count = |rows: &[Vec<u32>]| rows.iter().map(Vec::len).sum::<usize>() as f64;
    match item {
        Item::Load { .. } => (0.0, (body + head) * bytes),
        Item::Encode { rows, .. } => (2.0 * body * (count(rows) + (rows.len() * latents) as f64), body * bytes * latents as f64),
        Item::Decode { rows, new_tokens, .. } => {
            let (rows, new) = (*rows as f64, *new_tokens as f64);
            (2.0 * rows * (body * (latents as f64 + new) + head * new), (body + head) * bytes * new)
        }
        Item::Stage2 { level, rows, .. } => {
            let learnt = count(rows) + rows.len() as f64;
            let encoder = count(rows) + (rows.len() * level) as f64;
            let rest: f64 = rows.iter().map(|r| r.len().saturating_sub(level * block) as f64).sum();
            let decoder = (rows.len() * level) as f64 + rest + rows.len() as f64 + learnt;
            // Forward and backward to the activations, twice the products of a forward pass; no gradient of the weights.
            (2.0 * 2.0 * (body * (encoder + decoder) + head * learnt), 0.0)
        }
    }
}

/// Writes `NAME.md` and `NAME.json` with the rounds so far; returns the table for the terminal.
fn save(options: &Options, name: &str, config: &DecoderConfig, work: &Workload, ours: &[Value], peer: &[Value]) -> Result<String> {
    let device = ours[0]["device"].as_str().unwrap_or("?").to_string();
    let versions = peer.first().map_or(Value::Null, |p| p["versions"].clone());
    let file = format!("{name}-{}-{}", options.device, options.dtype);
    let headers = ["item", "algorithm", "median s", "runs", "ours is faster by", "peak memory", "agreement", "rate"];
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(headers);
    let mut text = String::new();
    let mut push = |cells: [String; 8]| {
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        table.add_row(cells);
    };
    for item in &work.items {
        let ours = measured(ours, item.name());
        let Some((_, own)) = ours.first() else { continue };
        let (flops, bytes) = cost(item, config, work.latents, work.block, &options.dtype);
        let rate = match item {
            Item::Load { .. } => format!("{:.2} GB/s", bytes / own.seconds / 1e9),
            Item::Decode { .. } => format!("{:.1} GB/s of weights, {:.3} TFLOP/s", bytes / own.seconds / 1e9, flops / own.seconds / 1e12),
            _ => format!("{:.3} TFLOP/s", flops / own.seconds / 1e12),
        };
        let gib = |peak: Option<f64>| peak.map_or("-".to_string(), |p| format!("{:.2} GiB", p / f64::from(1u32 << 30)));
        push([
            item.name().into(),
            "ours".into(),
            format!("{:.4}", own.seconds),
            own.runs.to_string(),
            "1".into(),
            gib(own.peak),
            "-".into(),
            rate,
        ]);
        for (algorithm, theirs) in measured(peer, item.name()) {
            if let Some(error) = theirs.error {
                push([item.name().into(), algorithm, "-".into(), "0".into(), "-".into(), "-".into(), error, "-".into()]);
                continue;
            }
            let ratio = format!("{:.2}x", theirs.seconds / own.seconds);
            let agreement = agreement(&own.check, &theirs.check);
            push([
                item.name().into(),
                algorithm,
                format!("{:.4}", theirs.seconds),
                theirs.runs.to_string(),
                ratio,
                gib(theirs.peak),
                agreement,
                "-".into(),
            ]);
        }
    }
    let peer_name = versions["torch"].as_str().map_or("not measured".into(), |torch| {
        format!(
            "PyTorch {torch}, transformers {}, peft {}",
            versions["transformers"].as_str().unwrap_or("?"),
            versions["peft"].as_str().unwrap_or("?")
        )
    });
    let markdown = format!(
        "# {name} on {} in {}\n\nDevice: {device}; {} threads. Peer: {peer_name}, on the same machine, taking turns.\nCommand: `nextmem {}`\n\n\
         | {} |\n|{}\n{text}\nRates count the products with weights only. Memory: highest resident memory (CPU), memory held by the runtime (GPU); \
         for `load` what loading added.\n",
        options.device,
        options.dtype,
        work.threads,
        arguments(),
        headers.join(" | "),
        "---|".repeat(headers.len()),
    );
    let all = json!({"name": name, "device": device, "backend": options.device, "dtype": options.dtype, "provenance": provenance(), "workload": {"batch": options.batch, "tokens": options.tokens, "new_tokens": options.new_tokens, "latents": options.latents, "threads": work.threads}, "ours": ours, "peer": peer});
    nextmem_model::write_atomically(&options.out.join(format!("{file}.md")), markdown.as_bytes())?;
    nextmem_model::write_atomically(&options.out.join(format!("{file}.json")), format!("{all:#}\n").as_bytes())?;
    Ok(format!("{table}\n\neverything is in {}", options.out.join(format!("{file}.md")).display()))
}
