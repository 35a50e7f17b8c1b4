//! `encode`, `decode`, `ask` and `search`: a trained NextMem at hand, and the file its memories are kept in.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use burn::tensor::Device;
use clap::Args;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use nextmem_model::{AnswerMode, Memory, MemoryFile, MemoryMethod, MemoryRecord, NextMem, NextMemOptions, cosine};
use nextmem_quant::Scales;

use crate::cli::{BadInput, Model};
use crate::device;
use crate::experiment::{DecompReader, DeviceConfig, NextMemConfig};
use crate::hub::advice;
use crate::methods::refined;
use crate::outputs::ensure_writable;
use crate::parts::{Parts, assemble, finished, index_head};
use crate::progress::Bars;
use crate::run;
use crate::terminal::{cell, closed};

mod inputs;
mod partial;

use inputs::{Input, too_long};
use partial::Partial;

/// Passages encoded, decoded or answered in one batch.
const AT_ONCE: usize = 16;

/// Rows of a table for the terminal.
const SHOWN: usize = 20;

/// A trained NextMem with what its memory files are signed with.
struct Opened {
    nextmem: NextMem,
    label: String,
    fingerprint: String,
}

impl Opened {
    fn new(label: &str, parts: &Parts, device: &Device, options: NextMemOptions, answers: DecompReader) -> Result<Self> {
        let (autoencoder, tokenizer) = assemble(parts, device)?;
        let nextmem = NextMem::new(autoencoder, tokenizer, options);
        let trained = parts.stage1.is_some() || !parts.readers.is_empty();
        // Read a second time, where the decoder is not the backbone itself.
        let nextmem = match answers {
            DecompReader::Backbone if trained => {
                let untouched = Parts { backbone: parts.backbone.clone(), ..Parts::default() };
                nextmem.answering_with(assemble(&untouched, device)?.0)
            }
            _ => nextmem,
        };
        let index = index_head(parts, nextmem.autoencoder())?;
        Ok(Self { nextmem: nextmem.indexed_by(index), label: label.into(), fingerprint: nextmem_model::fingerprint(&parts.dirs())? })
    }

    /// A file of memories that these weights made.
    fn file(&self, records: Vec<MemoryRecord>, memories: Vec<Memory>) -> MemoryFile {
        let created = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        MemoryFile { model: self.label.clone(), fingerprint: self.fingerprint.clone(), created, records, memories }
    }

    /// Memories of a file that these weights made.
    fn memories(&self, path: &Path) -> Result<MemoryFile> {
        let file = memory_file(path)?;
        file.check(path, &self.label, &self.fingerprint)?;
        Ok(file)
    }
}

/// Opens a file of memories.
fn memory_file(path: &Path) -> Result<MemoryFile> {
    let shown = path.display();
    if path.is_dir() {
        bail!(BadInput(format!(
            "{shown}: is a directory, expected a memory file that `nextmem encode` wrote; the model comes first, then the file"
        )));
    }
    if !path.exists() {
        bail!(BadInput(format!("{shown}: no such memory file, expected one that `nextmem encode MODEL TEXT --out {shown}` writes")));
    }
    Ok(MemoryFile::open(path)?)
}

/// Opens a run's result, or a Hugging Face directory with its adapters.
fn open(model: &Model) -> Result<Opened> {
    open_to_answer(model, false)
}

/// The same, with the model that answers from decoded text where it is asked for.
fn open_to_answer(model: &Model, from_text: bool) -> Result<Opened> {
    let answers = |reader| if from_text { reader } else { DecompReader::Decoder };
    if model.model.join("resolved.toml").is_file() {
        let (plan, parts) = finished(&model.model)?;
        let device = device::open(&plan.experiment.device.evaluation(), plan.experiment.seed)?;
        let reader = answers(plan.experiment.method.nextmem.decomp_reader);
        return Opened::new(&plan.experiment.name, &parts, &device, run::options(&plan.experiment), reader);
    }
    let parts = Parts::named(Some(&model.model), model.stage1.as_deref(), model.stage2.as_deref());
    if let Some(dir) = parts.dirs().into_iter().find(|dir| !dir.is_dir()) {
        if dir.is_file() {
            bail!(BadInput(format!(
                "{}: is a file, expected a run like results/quickstart or a Hugging Face directory; the model comes first, then the file",
                dir.display()
            )));
        }
        bail!(BadInput(format!(
            "{}: no such directory; expected a run like results/quickstart or a Hugging Face directory{}",
            dir.display(),
            advice(dir)
        )));
    }
    let config = DeviceConfig { backend: model.device.clone(), ..DeviceConfig::default() };
    device::check(&config).map_err(|e| BadInput(format!("{e:#}")))?;
    let device = device::open(&config, 0)?;
    let defaults = NextMemConfig::default();
    let options = NextMemOptions {
        num_latents: model.latents,
        decode_with_sod: true,
        max_input_tokens: defaults.max_input_tokens,
        too_long: defaults.too_long,
        max_new_tokens: defaults.max_new_tokens,
        decoding: defaults.decoding,
    };
    let label = model.model.file_name().unwrap_or(model.model.as_os_str()).to_string_lossy();
    Opened::new(&label, &parts, &device, options, answers(defaults.decomp_reader))
}

/// What `encode` reads and writes.
#[derive(Debug, Args)]
pub struct EncodeOptions {
    #[command(flatten)]
    model: Model,
    /// The texts; each becomes one memory
    #[arg(required_unless_present = "from")]
    texts: Vec<String>,
    /// A file of texts instead: a JSON array (.json) or JSON lines (.jsonl) of texts or of objects {"id", "text"}, or one text a line
    ///
    /// Without an id a text has its number: from 0 in an array or a text file, that of its line in JSON lines.
    #[arg(long, conflicts_with = "texts")]
    from: Option<PathBuf>,
    /// Where to keep the memories
    #[arg(long, short, default_value = "memory.safetensors")]
    out: PathBuf,
    /// Quantise to NF4
    #[arg(long)]
    nf4: bool,
    /// Optimise each memory for up to N gradient steps, until it decodes to its text exactly (not the paper's method)
    ///
    /// With --nf4 a memory is optimised so that it survives NF4. The table says which memories are exact: a check of each one.
    #[arg(long, value_name = "N")]
    refine: Option<usize>,
    /// Keep the texts in the file too
    #[arg(long)]
    keep_text: bool,
    /// Leave out texts that are longer than the model takes, instead of refusing all; they are counted and the first are named
    #[arg(long)]
    skip_too_long: bool,
    /// Leave out empty texts, instead of refusing all
    #[arg(long)]
    skip_empty: bool,
}

/// Texts into a file of memories, with a table of their sizes.
pub fn encode(options: &EncodeOptions) -> Result<()> {
    ensure_writable(&options.out)?;
    let scales = options.nf4.then_some(Scales::Absmax);
    let way = options.refine.map(|steps| format!("refine{steps}{}", if options.nf4 { "nf4" } else { "" }));
    let mut partial = Partial::of(&options.out, way.as_deref())?;
    let inputs = match &options.from {
        Some(path) => inputs::read(path)?,
        None => inputs::given(&options.texts),
    };
    let inputs =
        inputs::usable(inputs, "is empty", "--skip-empty", options.skip_empty, |input| Ok(input.text.is_empty().then(String::new)))?;
    let opened = open(&options.model)?;
    let inputs =
        inputs::usable(inputs, "is too long", "--skip-too-long", options.skip_too_long, |input| too_long(&opened.nextmem, &input.text))?;
    let mut dense = partial.read(&opened, &inputs, AT_ONCE);
    let mut packed = in_nf4(&dense)?;
    // Of memories that an earlier call refined nothing is known any more.
    let mut exact: Vec<Option<Option<usize>>> = vec![None; dense.len()];
    let bar = Bars::new("encode");
    bar.begin(dense.len(), inputs.len());
    for chunk in inputs[dense.len()..].chunks(AT_ONCE) {
        let passages: Vec<&str> = chunk.iter().map(|input| input.text.as_str()).collect();
        let latents = match options.refine {
            None => opened.nextmem.encode(&passages)?,
            Some(steps) => {
                let (latents, steps): (Vec<_>, Vec<_>) = refined(&opened.nextmem, &passages, steps, scales)?.into_iter().unzip();
                exact.extend(steps.into_iter().map(Some));
                latents
            }
        };
        packed.extend(in_nf4(&latents)?);
        dense.extend(latents);
        partial.keep(&opened, &inputs, &mut dense)?;
        bar.at(dense.len(), "");
    }
    bar.finish("done");
    let mut table = Table::new();
    let columns = ["id", "text", "UTF-8 bytes", "bf16 bytes", "NF4 bytes"].into_iter().chain(options.refine.map(|_| "exact copy"));
    table.load_style(UTF8_FULL_CONDENSED).set_header(columns.collect::<Vec<_>>());
    for (row_number, ((Input { id, text, .. }, dense), nf4)) in inputs.iter().zip(&dense).zip(&packed).take(SHOWN).enumerate() {
        let short: String = cell(text).chars().take(48).collect();
        let mut row =
            vec![cell(id).into_owned(), short, text.len().to_string(), dense.size_bytes().to_string(), nf4.size_bytes().to_string()];
        if options.refine.is_some() {
            row.push(match exact.get(row_number).copied().flatten() {
                Some(Some(steps)) => format!("after {steps} steps"),
                Some(None) => "no".into(),
                None => "not checked again".into(),
            });
        }
        table.add_row(row);
    }
    if options.refine.is_some() {
        let known: Vec<Option<usize>> = exact.iter().flatten().copied().collect();
        eprintln!("{} of {} memories decode to their text exactly", known.iter().flatten().count(), known.len());
    }
    let more = inputs.len().saturating_sub(SHOWN);
    let records = inputs.into_iter().map(|Input { id, text, .. }| MemoryRecord { id, text: options.keep_text.then_some(text) }).collect();
    let memories = if options.nf4 { packed } else { dense };
    let count = memories.len();
    opened.file(records, memories).save(&options.out)?;
    partial.remove();
    println!("{table}");
    if more > 0 {
        println!("and {more} more");
    }
    println!("{} {} memories in {}", count, if options.nf4 { "NF4" } else { "bf16" }, options.out.display());
    Ok(())
}

/// Memories back into text, one a line.
pub fn decode(model: &Model, file: &Path) -> Result<()> {
    memory_file(file)?;
    let opened = open(model)?;
    for chunk in opened.memories(file)?.memories.chunks(AT_ONCE) {
        for text in opened.nextmem.reconstruct(chunk)? {
            println!("{text}");
        }
        if closed() {
            break;
        }
    }
    Ok(())
}

/// One answer from each memory, one a line.
pub fn ask(model: &Model, file: &Path, question: &str, comp: bool) -> Result<()> {
    memory_file(file)?;
    let opened = open_to_answer(model, !comp)?;
    let mode = if comp { AnswerMode::Comp } else { AnswerMode::DeComp };
    for chunk in opened.memories(file)?.memories.chunks(AT_ONCE) {
        for answer in opened.nextmem.answer(chunk, &vec![question; chunk.len()], mode)? {
            println!("{answer}");
        }
        if closed() {
            break;
        }
    }
    Ok(())
}

/// The nearest memories with their cosine and their text.
pub fn search(model: &Model, file: &Path, query: &str, top: usize) -> Result<()> {
    memory_file(file)?;
    let opened = open(model)?;
    let MemoryFile { memories, records, .. } = opened.memories(file)?;
    let wanted = opened.nextmem.query_vector(query)?;
    let vectors = memories.iter().map(|memory| opened.nextmem.vector(memory)).collect::<Result<Vec<_>, _>>()?;
    let mut scored: Vec<(usize, f64)> = vectors.iter().map(|vector| cosine(&wanted, vector)).enumerate().collect();
    scored.sort_by(|a, b| b.1.total_cmp(&a.1));
    scored.truncate(top);
    let texts = opened.nextmem.reconstruct(&scored.iter().map(|(i, _)| memories[*i].clone()).collect::<Vec<_>>())?;
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(["memory", "cosine", "decoded"]);
    for ((index, cosine), text) in scored.iter().zip(texts) {
        table.add_row([cell(&records[*index].id).into_owned(), format!("{cosine:.4}"), cell(&text).into_owned()]);
    }
    println!("{table}");
    Ok(())
}

/// Memories with latents, in NF4.
fn in_nf4(memories: &[Memory]) -> Result<Vec<Memory>> {
    memories.iter().map(|memory| Ok(memory.in_nf4(Scales::Absmax)?)).collect()
}
