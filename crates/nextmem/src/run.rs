//! `run`: train, predict, score.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, Result};
use burn::tensor::Device;
use nextmem_data::{QaItem, RetrievalItem, Split};
use nextmem_eval::{Task, predict_qa, predict_reconstruction, predict_retrieval, sample_file};
use nextmem_model::{
    AnswerMode, Autoencoder, Bge, BgeConfig, Bm25, Dyprag, Encoder, Hypernetwork, Icae, LatentLayout, MeanPooled, MemoryMethod, NextMem,
    NextMemOptions, Quantized, TextMemory, load_slots,
};
use nextmem_quant::Scales;

use crate::bertscore::score_run;
use crate::experiment::{DecompReader, Experiment};
use crate::hub::located;
use crate::methods::{Control, ControlKind, Controls, RefinedNextMem};
use crate::parts::{Parts, after_stage1, assemble, encoder, index_head, load_backbone, trained_decoder};
use crate::plan::{Plan, tasks};
use crate::progress::Bars;
use crate::rate;
use crate::run_dir::{RunDir, peak_memory_mib};
use crate::sample_set::SampleSet;
use crate::sample_set::identity::Identity;
use crate::score::{Wanted, not_writable, score};
use crate::stages;

/// What stages are trained on, and what everything after them runs on; the same unless `[device] evaluate` names another.
pub struct Devices {
    training: Device,
    evaluation: Device,
}

/// Opens the device, then creates or finds the run directory: the last steps that can refuse the input.
///
/// A finished run that cannot be written to is opened as it is: its tables can still be printed.
pub fn prepare(plan: &Plan, force: bool) -> Result<(Devices, RunDir)> {
    let (config, seed) = (&plan.experiment.device, plan.experiment.seed);
    let evaluation = crate::device::open(&config.evaluation(), seed)?;
    let training = match config.evaluate.is_some() && plan.trains() {
        true => crate::device::open(config, seed)?,
        false => evaluation.clone(),
    };
    let device = Devices { training, evaluation };
    if plan.dir.join("scores.json").is_file() && not_writable(&plan.dir).is_some() {
        let dir = RunDir::open(&plan.dir)?;
        if dir.holds(plan) && SampleSet::list_checked(&plan.dir).is_ok() {
            return Ok((device, dir));
        }
    }
    Ok((device, RunDir::create(plan, force)?))
}

/// Trains what is missing, evaluates, and prints the tables.
pub fn run(plan: &Plan, device: &Devices, dir: &RunDir) -> Result<()> {
    let started = Instant::now();
    // Before anything is trained: until there are samples of this experiment, the run holds none.
    Identity::claim(plan, dir)?;
    let (parts, entries) = stages::train(plan, dir, &device.training)?;
    dir.trained(plan, &entries)?;
    if tasks(&plan.experiment).is_empty() {
        eprintln!("no [eval] task: nothing to predict");
    } else {
        evaluate(plan, dir, &parts, &device.evaluation)?;
        if not_writable(dir.root()).is_none() {
            rate::write(plan, dir, &parts)?;
        }
        let scored = score(dir.root(), &Wanted::default())?;
        println!("{}\n{}", scored.tables, scored.summary);
    }
    if not_writable(dir.root()).is_none() {
        dir.manifest(plan, &entries, started.elapsed().as_secs_f64())?;
    }
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

/// Held-out passages that stand for others in the controls.
const CONTROL_PASSAGES: usize = 64;

/// A row of the tables: its name in file names, and what makes it.
type Row = (String, Box<dyn MemoryMethod>);

/// The rows of every table: the text itself, dense latents, NF4 when the experiment quantises, and the baselines.
fn methods(plan: &Plan, parts: &Parts, device: &Device) -> Result<Vec<Row>> {
    let e = &plan.experiment;
    let (autoencoder, tokenizer) = assemble(parts, device)?;
    // The oracle answers with the untouched backbone, as the paper's textual memory does.
    let (backbone, _) = assemble(&Parts { backbone: parts.backbone.clone(), ..Parts::default() }, device)?;
    let (nextmem, baselines) = (&e.method.nextmem, &e.baselines);
    let text = TextMemory::new(backbone.clone(), tokenizer.clone(), nextmem.max_new_tokens, nextmem.decoding);
    let mut rows: Vec<Row> = vec![("text".into(), Box::new(text))];
    // A clone shares the weights.
    let index = index_head(parts, &autoencoder)?;
    let apart = nextmem.decomp_reader == DecompReader::Backbone;
    let own = || {
        let method = NextMem::new(autoencoder.clone(), tokenizer.clone(), options(e)).indexed_by(index.clone());
        if apart { method.answering_with(backbone.clone()) } else { method }
    };
    with_quantized(&mut rows, e, ["dense", "sparse"], |_| own());
    if nextmem.refine_steps > 0 {
        let refined = |nf4| RefinedNextMem { inner: own(), steps: nextmem.refine_steps, nf4 };
        with_quantized(&mut rows, e, ["dense-refined", "sparse-refined"], refined);
    }
    if e.eval.controls == Controls::All {
        let others = plan.source.held_out(Split::Valid, CONTROL_PASSAGES)?;
        for kind in ControlKind::ALL {
            rows.push((kind.row().into(), Box::new(Control::new(kind, own(), &others))));
        }
    }

    // The paper's ablation of `[SoD]` is one of NextMem.
    let options = NextMemOptions { decode_with_sod: true, ..options(e) };
    if let (Some(config), Some(dir)) = (&baselines.icae, &parts.icae) {
        let slots = load_slots(dir, [config.slots, autoencoder.hidden_size()], device)?;
        // On stage 1, or in front of a decoder of its own.
        let (decoder, special) = after_stage1(parts, tokenizer.sod(), device)?;
        let encoder = encoder(dir, &decoder, device)?;
        let own = trained_decoder(dir);
        let decoder = own.map_or(Ok(decoder), |own| load_backbone(&own, device))?;
        let layout = LatentLayout::load(dir, autoencoder.hidden_size(), device)?;
        let model = Autoencoder { decoder, encoder, special, sod: tokenizer.sod(), layout };
        let icae = |_| {
            let method = Icae::new(model.clone(), slots.clone(), tokenizer.clone(), options.clone());
            if apart { method.answering_with(backbone.clone()) } else { method }
        };
        with_quantized(&mut rows, e, ["icae", "icae-sparse"], icae);
    }
    if let (Some(config), Some(dir)) = (&baselines.dyprag, &parts.dyprag) {
        let hypernetwork = Hypernetwork::load(config.hypernetwork.clone(), autoencoder.decoder.config(), dir, device)?;
        let (decoder, special) = after_stage1(parts, tokenizer.sod(), device)?;
        let model = Autoencoder { decoder, encoder: Encoder::Bare, special, sod: tokenizer.sod(), layout: LatentLayout::default() };
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

/// Adds a method that keeps latents, and the same with NF4 when the experiment quantises; `method` is told which NF4 it stands before.
fn with_quantized<M: MemoryMethod + 'static>(rows: &mut Vec<Row>, e: &Experiment, names: [&str; 2], method: impl Fn(Option<Scales>) -> M) {
    let [dense, sparse] = names;
    rows.push((dense.into(), Box::new(method(None))));
    if let Some(quant) = &e.quant {
        let (suffix, scales) = if quant.scales { ("", Scales::Absmax) } else { ("-no-scales", Scales::None) };
        rows.push((format!("{sparse}{suffix}"), Box::new(Quantized::new(method(Some(scales)), scales))));
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

/// What a task asks.
enum Items {
    Reconstruction(Vec<String>),
    ContextualQa(Vec<QaItem>),
    Retrieval(Vec<RetrievalItem>),
}

impl Items {
    fn len(&self) -> usize {
        match self {
            Items::Reconstruction(items) => items.len(),
            Items::ContextualQa(items) => items.len(),
            Items::Retrieval(items) => items.len(),
        }
    }
}

/// Every task with its datasets and their items.
fn asked(plan: &Plan) -> Result<Vec<(Task, String, Items)>> {
    let mut all = Vec::new();
    for (task, config) in tasks(&plan.experiment) {
        for (dataset, config) in plan.source.datasets(config) {
            let items = match task {
                Task::Reconstruction => Items::Reconstruction(plan.source.reconstruction(&config)?),
                Task::ContextualQa => Items::ContextualQa(plan.source.qa(&config)?),
                Task::Retrieval => Items::Retrieval(plan.source.retrieval(&config)?),
            };
            all.push((task, dataset, items));
        }
    }
    Ok(all)
}

fn evaluate(plan: &Plan, dir: &RunDir, parts: &Parts, device: &Device) -> Result<()> {
    let e = &plan.experiment;
    let batch = e.eval.batch_size;
    let (asked, methods) = (asked(plan)?, methods(plan, parts, device)?);
    let mut jobs = Vec::new();
    for (name, method) in &methods {
        for (task, dataset, items) in &asked {
            let ways = ways(method.as_ref(), *task).into_iter();
            jobs.extend(ways.map(|(mode, suffix)| (method.as_ref(), *task, dataset, items, mode, format!("{name}{suffix}"))));
        }
    }
    let files = jobs.iter().map(|(_, task, dataset, items, _, row)| (sample_file(*task, dataset, row), items.len()));
    // With the weights that were trained until now.
    Identity::claim(plan, dir)?.promise(dir, files.collect::<BTreeMap<_, _>>())?;
    for (method, task, dataset, items, mode, row) in jobs {
        let path = dir.join("samples").join(sample_file(task, dataset, &row));
        let bar = Bars::new(&format!("{} {dataset} {row}", task.name()));
        bar.begin(0, items.len());
        let progress = |done: usize| bar.at(done, "");
        let resumed = match items {
            Items::Reconstruction(items) => predict_reconstruction(method, items, batch, &path, &progress),
            Items::ContextualQa(items) => predict_qa(method, mode, items, batch, &path, &progress),
            Items::Retrieval(items) => predict_retrieval(method, items, &path, &progress),
        }
        .with_context(|| format!("task `{}`, {dataset}, row `{row}`", task.name()))?;
        if resumed.dropped > 0 {
            eprintln!("{}: {} samples are of items that are not asked any more, dropped", path.display(), resumed.dropped);
        }
        bar.finish("done");
    }
    match &e.eval.bertscore {
        Some(config) => score_run(dir, config, device),
        None => Ok(()),
    }
}
