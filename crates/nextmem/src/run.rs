//! `run`, `score` and `table`: train, predict, score, tabulate.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use nextmem_eval::{
    PUBLISHED_ABLATION, Score, Task, markdown, predict_qa, predict_reconstruction, predict_retrieval, sample_file, score_file,
};
use nextmem_model::{
    AnswerMode, Autoencoder, Bge, BgeConfig, Bm25, Dyprag, Encoder, Hypernetwork, Icae, MeanPooled, MemoryMethod, NextMem, NextMemOptions,
    Quantized, TextMemory, load_slots,
};
use nextmem_quant::Scales;

use crate::bertscore::{bertscores, score_run};
use crate::experiment::Experiment;
use crate::hub::located;
use crate::judge::judge_scores;
use crate::parts::{Parts, assemble, encoder};
use crate::plan::{Plan, tasks};
use crate::progress::Bars;
use crate::reproduce::tables;
use crate::run_dir::{DirLock, RunDir, peak_memory_mib, read_json};
use crate::stages;

/// Opens the device, then creates or finds the run directory: the last steps that can refuse the input.
pub fn prepare(plan: &Plan, force: bool) -> Result<(Device, RunDir)> {
    let device = crate::device::open(&plan.experiment.device, plan.experiment.seed)?;
    Ok((device, RunDir::create(plan, force)?))
}

/// Trains what is missing, evaluates, and prints the tables.
pub fn run(plan: &Plan, device: &Device, dir: &RunDir) -> Result<()> {
    let started = Instant::now();
    let (parts, entries) = stages::train(plan, dir, device)?;
    dir.trained(plan, &entries)?;
    if tasks(&plan.experiment).is_empty() {
        eprintln!("no [eval] task: nothing to predict");
    } else {
        evaluate(plan, dir, &parts, device)?;
        let text = score(dir.root())?;
        println!("{text}");
    }
    dir.manifest(plan, &entries, started.elapsed().as_secs_f64())?;
    let memory = peak_memory_mib().map_or(String::new(), |m| format!(", peak memory {m} MiB"));
    eprintln!("done in {:.0} s{memory}; everything is in {}", started.elapsed().as_secs_f64(), dir.root().display());
    Ok(())
}

/// The choices of an experiment that do not change weights.
pub fn options(e: &Experiment) -> NextMemOptions {
    let m = &e.method.nextmem;
    NextMemOptions {
        num_latents: m.num_latents,
        decode_with_sod: m.decode_with_sod,
        max_input_tokens: m.max_input_tokens,
        too_long: m.too_long,
        max_new_tokens: m.max_new_tokens,
        decoding: m.decoding,
    }
}

/// A row of the tables: its name in file names, and what makes it.
type Row = (String, Box<dyn MemoryMethod>);

/// The rows of every table: the text itself, dense latents, NF4 when the experiment quantises, and the baselines.
fn methods(e: &Experiment, parts: &Parts, device: &Device) -> Result<Vec<Row>> {
    let (autoencoder, tokenizer) = assemble(parts, device)?;
    // The oracle answers with the untouched backbone, as the paper's textual memory does.
    let (backbone, _) = assemble(&Parts { backbone: parts.backbone.clone(), ..Parts::default() }, device)?;
    let (nextmem, baselines) = (&e.method.nextmem, &e.baselines);
    let text = TextMemory::new(backbone.clone(), tokenizer.clone(), nextmem.max_new_tokens, nextmem.decoding);
    let mut rows: Vec<Row> = vec![("text".into(), Box::new(text))];
    // A clone shares the weights.
    with_quantized(&mut rows, e, ["dense", "sparse"], || NextMem::new(autoencoder.clone(), tokenizer.clone(), options(e)));

    // The paper's ablation of `[SoD]` is one of NextMem.
    let options = NextMemOptions { decode_with_sod: true, ..options(e) };
    if let (Some(config), Some(dir)) = (&baselines.icae, &parts.icae) {
        let slots = load_slots(dir, [config.slots, autoencoder.hidden_size()], device)?;
        let model = Autoencoder { encoder: encoder(dir, &autoencoder.decoder, device)?, ..autoencoder.clone() };
        let icae = || Icae::new(model.clone(), slots.clone(), tokenizer.clone(), options.clone());
        with_quantized(&mut rows, e, ["icae", "icae-sparse"], icae);
    }
    if let (Some(config), Some(dir)) = (&baselines.dyprag, &parts.dyprag) {
        let hypernetwork = Hypernetwork::load(config.hypernetwork.clone(), autoencoder.decoder.config(), dir, device)?;
        let model = Autoencoder { encoder: Encoder::Bare, ..autoencoder.clone() };
        rows.push(("dyprag".into(), Box::new(Dyprag::new(model, hypernetwork, tokenizer.clone(), options.clone()))));
    }
    if baselines.mean_pooled.is_some() {
        rows.push(("mean-pooled".into(), Box::new(MeanPooled::new(backbone.decoder, tokenizer, options.max_input_tokens))));
    }
    if let Some(config) = &baselines.bm25 {
        rows.push(("bm25".into(), Box::new(Bm25::new(config.clone()))));
    }
    if let Some(config) = &baselines.bge {
        let config = BgeConfig { model: located(&config.model), ..config.clone() };
        rows.push(("bge".into(), Box::new(Bge::open(&config, device).context("baselines.bge")?)));
    }
    Ok(rows)
}

/// Adds a method that keeps latents, and the same with NF4 when the experiment quantises.
fn with_quantized<M: MemoryMethod + 'static>(rows: &mut Vec<Row>, e: &Experiment, names: [&str; 2], method: impl Fn() -> M) {
    let [dense, sparse] = names;
    rows.push((dense.into(), Box::new(method())));
    if let Some(quant) = &e.quant {
        let (suffix, scales) = if quant.scales { ("", Scales::Absmax) } else { ("-no-scales", Scales::None) };
        rows.push((format!("{sparse}{suffix}"), Box::new(Quantized::new(method(), scales))));
    }
}

/// How a method does a task, each way with what it adds to the row's name; none if it cannot.
fn ways(method: &dyn MemoryMethod, task: Task) -> Vec<(AnswerMode, &'static str)> {
    let abilities = method.abilities();
    let able = match task {
        Task::Reconstruction => abilities.reconstruct,
        Task::ContextualQa => abilities.answer,
        Task::Retrieval => abilities.index,
    };
    let suffix = |mode: &AnswerMode| match mode {
        AnswerMode::Comp => (AnswerMode::Comp, "-comp"),
        AnswerMode::DeComp => (AnswerMode::DeComp, "-decomp"),
    };
    match method.answer_modes() {
        _ if !able => Vec::new(),
        modes if task == Task::ContextualQa && modes.len() > 1 => modes.iter().map(suffix).collect(),
        modes => modes.iter().take(1).map(|mode| (*mode, "")).collect(),
    }
}

/// Drops samples that something else decided, such as those that come with a clone; those of a killed evaluation are continued.
fn claim_samples(plan: &Plan, dir: &RunDir) -> Result<()> {
    let identity = plan.sample_identity();
    if read_json(&dir.join("samples/identity.json")).is_some_and(|kept| kept["hash"] == identity["hash"]) {
        return Ok(());
    }
    let samples = dir.join("samples");
    std::fs::remove_dir_all(&samples).and_then(|()| std::fs::create_dir_all(&samples)).with_context(|| samples.display().to_string())?;
    dir.write("samples/identity.json", format!("{identity:#}\n").as_bytes())
}

fn evaluate(plan: &Plan, dir: &RunDir, parts: &Parts, device: &Device) -> Result<()> {
    claim_samples(plan, dir)?;
    let e = &plan.experiment;
    let batch = e.eval.batch_size;
    for (name, method) in methods(e, parts, device)? {
        let method = method.as_ref();
        for (task, config) in tasks(e) {
            for (mode, suffix) in ways(method, task) {
                let row = format!("{name}{suffix}");
                for (dataset, config) in plan.source.datasets(config) {
                    let path = dir.join("samples").join(sample_file(task, &dataset, &row));
                    let bar = Bars::new(&format!("{} {dataset} {row}", task.name()));
                    let progress = |done: usize| bar.at(done, "");
                    match task {
                        Task::Reconstruction => {
                            let items = plan.source.reconstruction(&config)?;
                            bar.begin(0, items.len());
                            predict_reconstruction(method, &items, batch, &path, &progress)
                        }
                        Task::ContextualQa => {
                            let items = plan.source.qa(&config)?;
                            bar.begin(0, items.len());
                            predict_qa(method, mode, &items, batch, &path, &progress)
                        }
                        Task::Retrieval => {
                            let items = plan.source.retrieval(&config)?;
                            bar.begin(0, items.len());
                            predict_retrieval(method, &items, &path, &progress)
                        }
                    }
                    .with_context(|| format!("task `{}`, {dataset}, row `{row}`", task.name()))?;
                    bar.finish("done");
                }
            }
        }
    }
    match &e.eval.bertscore {
        Some(config) => score_run(dir, config, device),
        None => Ok(()),
    }
}

/// Scores the saved samples of a run again, writes scores.json and table.md, and returns the tables.
pub fn score(root: &Path) -> Result<String> {
    let dir = RunDir::open(root)?;
    let _lock = DirLock::acquire(root)?;
    let e = dir.experiment()?;
    let mut scores: Vec<Score> = Vec::new();
    for (task, config) in tasks(&e) {
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir.join("samples"))
            .with_context(|| dir.join("samples").display().to_string())?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(task.name()) && n.ends_with(".jsonl")))
            .collect();
        files.sort_by_key(|path| row_order(path));
        for file in files {
            scores.extend(score_file(&file, &config.metrics)?);
        }
    }
    // What needed a model or a judge is not computed again.
    scores.extend(bertscores(root));
    scores.extend(judge_scores(root));
    if scores.is_empty() {
        bail!("{}: no samples yet; run the experiment first", root.display());
    }
    let backbone = read_json(&dir.join("manifest.json"))
        .and_then(|m| m["backbone"].as_str().map(String::from))
        .unwrap_or_else(|| "unknown backbone".into());
    let table = markdown(&scores, &e.name, &backbone);
    dir.write("scores.json", format!("{}\n", serde_json::to_string_pretty(&scores)?).as_bytes())?;
    dir.write("table.md", table.as_bytes())?;
    std::fs::create_dir_all(dir.join("tables")).with_context(|| dir.join("tables").display().to_string())?;
    for task in Task::ALL {
        let of_task: Vec<Score> = scores.iter().filter(|s| s.task == task.name()).cloned().collect();
        if !of_task.is_empty() {
            let sheet = tables::metrics(root, task.name(), &format!("{}: {}", e.name, task.name()), &of_task);
            dir.write(&format!("tables/{}.csv", task.name()), sheet.csv().as_bytes())?;
            dir.write(&format!("tables/{}.tex", task.name()), sheet.latex(true).as_bytes())?;
        }
    }
    Ok(table)
}

/// Text first, then dense, then quantised, then the baselines.
fn row_order(path: &Path) -> (usize, String) {
    // Without `.jsonl`, so that `icae` stands before `icae-sparse`.
    let name = path.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let order = [".text", ".dense", ".sparse", ".icae", ".dyprag", ".mean-pooled", ".bm25", ".bge"];
    let rank = order.iter().position(|m| name.contains(m)).unwrap_or(order.len());
    (rank, name)
}

/// One row per run: its reconstruction, answers and retrieval at a glance, and the paper's ablation below.
pub fn table(roots: &[PathBuf]) -> Result<String> {
    let columns = [
        ("reconstruction", "dense", "f1"),
        ("reconstruction", "dense", "exact_match"),
        ("reconstruction", "dense", "rouge_l"),
        ("reconstruction", "sparse", "f1"),
        ("reconstruction", "sparse-no-scales", "f1"),
        ("contextual_qa", "text", "exact_match"),
        ("contextual_qa", "dense-decomp", "exact_match"),
        ("retrieval", "dense", "hit@5"),
    ];
    let mut rows = Vec::new();
    for root in roots {
        let dir = RunDir::open(root)?;
        let path = dir.join("scores.json");
        let bytes = std::fs::read(&path).with_context(|| format!("{}; score the run first", path.display()))?;
        let scores: Vec<Score> = serde_json::from_slice(&bytes).with_context(|| path.display().to_string())?;
        let cells: Vec<String> = columns
            .iter()
            .map(|(task, method, metric)| {
                let found = scores.iter().find(|s| s.task == *task && s.method == *method && s.metric == *metric);
                found.map_or("-".to_string(), |s| format!("{:.4} [{:.4}, {:.4}]", s.value, s.low, s.high))
            })
            .collect();
        let manifest = read_json(&dir.join("manifest.json")).unwrap_or_default();
        rows.push((dir.experiment()?.name, manifest["backbone"].as_str().unwrap_or("-").to_string(), cells));
    }
    let used: Vec<usize> = (0..columns.len()).filter(|i| rows.iter().any(|(_, _, cells)| cells[*i] != "-")).collect();
    let mut out = String::from("| run | backbone |");
    used.iter().for_each(|i| out.push_str(&format!(" {} {} {} |", columns[*i].0, columns[*i].1, columns[*i].2)));
    out.push_str(&format!("\n|---|---|{}\n", "---|".repeat(used.len())));
    for (name, backbone, cells) in &rows {
        let cells: Vec<&str> = used.iter().map(|i| cells[*i].as_str()).collect();
        out.push_str(&format!("| {name} | {backbone} | {} |\n", cells.join(" | ")));
    }
    out.push_str("\nPublished ablation (Qwen3-8B, RACE, reconstruction F1; other data, not comparable number by number):\n\n| row | f1 |\n|---|---|\n");
    for (label, [f1, ..]) in PUBLISHED_ABLATION {
        out.push_str(&format!("| {label} (paper) | {f1:.4} |\n"));
    }
    Ok(out)
}
