//! `nextmem data`: official files in, records of the three tasks out.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{CellAlignment, Table, presets::ASCII_MARKDOWN};
use nextmem_data::{Count, DatasetName, Evidence, Holdout, Level, PrepareOptions, Prepared, Split, prepare as prepare_set, sha256_file};
use nextmem_model::write_atomically;
use serde_json::{Value, json};

use crate::fetch::{FetchOptions, fetch, folder, licence};
use crate::outputs::ensure_folder;
use crate::run_dir::{provenance, sha256};

/// More input files than this are listed as one, by the checksum of the list of their checksums.
const LISTED_FILES: usize = 16;

/// What is done with a dataset.
#[derive(Debug, Subcommand)]
pub enum DataVerb {
    /// Download the official files of a set, after showing its licence; resumes and checks what it gets
    Fetch(FetchOptions),
    /// Turn official files into the prepared files of the three tasks, and say what was left out and why
    Prepare(PrepareArgs),
}

/// What to prepare, from what, and how.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// squad, hotpotqa, race, locomo or longmemeval
    set: DatasetName,
    /// The official file; for RACE also its folder or RACE.tar.gz; a folder of Parquet parts of the hub
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
    /// Where the prepared files and SET.manifest.json go
    #[arg(long, value_name = "DIR", default_value = "datasets/prepared")]
    out: PathBuf,
    /// Seed of the samples that --limit and --holdout take
    #[arg(long, default_value_t = PrepareOptions::default().seed)]
    seed: u64,
    /// HotpotQA: questions of tasks 1 and 2
    #[arg(long, value_enum, default_value_t = LevelArg::Easy)]
    level: LevelArg,
    /// The split to take from a folder or archive that holds several (RACE: test unless given)
    #[arg(long, value_enum)]
    split: Option<SplitArg>,
    /// Most records of each task, a seeded sample [default: all]
    #[arg(long)]
    limit: Option<usize>,
    /// Task 2 takes every n-th question [default: squad 8, hotpotqa 4, others 1]
    #[arg(long, value_name = "N")]
    qa_stride: Option<usize>,
    /// Task 3 takes every n-th question [default: hotpotqa 28, others 1]
    #[arg(long, value_name = "N")]
    retrieval_stride: Option<usize>,
    /// LongMemEval: leave abstention questions out of task 3, where there is nothing to find for them (published: they are in)
    #[arg(long)]
    no_abstention: bool,
    /// LoCoMo: how evidence strings are read; the published numbers of items (209 and 281) are those of `as-written`
    #[arg(long, value_enum, default_value_t = EvidenceArg::Split)]
    evidence: EvidenceArg,
    /// SQuAD, HotpotQA: keep this share of a training file for testing, like 0.1; the published numbers of items are those of a tenth
    #[arg(long, value_name = "SHARE")]
    holdout: Option<f64>,
    /// Prepare what --holdout does not keep, to train on; the files are then named `train`
    #[arg(long, requires = "holdout")]
    rest: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LevelArg {
    Easy,
    Any,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EvidenceArg {
    /// Strings that hold several ids are split (ours)
    Split,
    /// A string is one id or none; questions without an id of a turn are left out
    AsWritten,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SplitArg {
    Train,
    Dev,
    Test,
}

/// Does what was asked.
pub fn execute(verb: &DataVerb) -> Result<()> {
    match verb {
        DataVerb::Fetch(options) => fetch(options),
        DataVerb::Prepare(args) => prepare(args),
    }
}

impl PrepareArgs {
    fn options(&self) -> PrepareOptions {
        PrepareOptions {
            seed: self.seed,
            level: match self.level {
                LevelArg::Easy => Level::Easy,
                LevelArg::Any => Level::Any,
            },
            split: self.split.map(|split| match split {
                SplitArg::Train => Split::Train,
                SplitArg::Dev => Split::Valid,
                SplitArg::Test => Split::Test,
            }),
            qa_stride: self.qa_stride,
            retrieval_stride: self.retrieval_stride,
            abstention: !self.no_abstention,
            evidence: match self.evidence {
                EvidenceArg::Split => Evidence::Split,
                EvidenceArg::AsWritten => Evidence::AsWritten,
            },
            holdout: self.holdout.map(|share| Holdout { share, rest: self.rest }),
            limit: self.limit,
            ..PrepareOptions::default()
        }
    }
}

fn prepare(args: &PrepareArgs) -> Result<()> {
    let options = args.options();
    ensure_folder(&args.out)?;
    let prepared = prepare_set(args.set, &args.from, &options)?;
    let files = prepared.files()?;
    folder(&args.out)?;
    let mut outputs = Vec::new();
    for file in &files {
        let path = args.out.join(&file.name);
        write_atomically(&path, file.text.as_bytes()).with_context(|| path.display().to_string())?;
        let sum = sha256(file.text.as_bytes());
        outputs.push(json!({"file": file.name, "task": file.task, "records": file.records, "bytes": file.text.len(), "sha256": sum}));
    }
    let manifest = json!({
        "set": args.set,
        "licence": licence(args.set),
        "inputs": inputs(&args.from, &prepared.inputs)?,
        "options": options,
        "qa_stride": options.qa_stride(args.set),
        "retrieval_stride": options.retrieval_stride(args.set),
        "read": prepared.read.iter().map(|(what, count)| json!({"what": what, "count": count})).collect::<Vec<_>>(),
        "dropped": prepared.dropped,
        "changed": prepared.changed,
        "outputs": outputs,
        "made_by": provenance(),
    });
    // Last: a manifest stands for whole files.
    let path = args.out.join(format!("{}.manifest.json", args.set));
    write_atomically(&path, format!("{manifest:#}\n").as_bytes()).with_context(|| path.display().to_string())?;
    println!("{}", report(&prepared, &outputs));
    for name in prepared.file_names().into_iter().flatten() {
        if !files.iter().any(|file| file.name == name) {
            let old = if args.out.join(&name).exists() { ", the one that is there is of an earlier preparation" } else { "" };
            println!("not written: {name}, nothing is left for it{old}");
        }
    }
    println!("manifest: {}", path.display());
    if matches!(args.set, DatasetName::Squad | DatasetName::Hotpotqa) {
        eprintln!("note: {CONTAMINATION}");
    }
    Ok(())
}

/// What the published numbers of items say about the authors' split (datasets/README.md).
const CONTAMINATION: &str = "the authors' checkpoint has most likely been trained on nine tenths of the training questions of this set, in a split \
    that is not known; to compare with it take the authors' prepared files, these are for training of one's own";

/// Name, size and checksum of every file that was read.
fn inputs(from: &Path, files: &[PathBuf]) -> Result<Value> {
    let mut listed = Vec::new();
    let (mut bytes, mut sums) = (0, String::new());
    for path in files {
        let name = path.strip_prefix(from).ok().filter(|rest| !rest.as_os_str().is_empty());
        let name = name.map_or_else(|| path.file_name().unwrap_or_default().to_string_lossy(), |rest| rest.to_string_lossy());
        let size = std::fs::metadata(path).with_context(|| path.display().to_string())?.len();
        let sum = sha256_file(path)?;
        bytes += size;
        sums.push_str(&format!("{sum}  {name}\n"));
        listed.push(json!({"file": name, "bytes": size, "sha256": sum}));
    }
    Ok(match files.len() > LISTED_FILES {
        true => json!([{"files": files.len(), "bytes": bytes, "sha256_of_sha256sums": sha256(sums.as_bytes())}]),
        false => Value::Array(listed),
    })
}

/// What was read, the table of what was written, and a line for everything left out or changed.
fn report(prepared: &Prepared, outputs: &[Value]) -> String {
    let read: Vec<String> = prepared.read.iter().map(|(what, count)| format!("{count} {what}")).collect();
    let mut table = Table::new();
    table.load_style(ASCII_MARKDOWN);
    table.set_header(["task", "file", "records", "median words", "most words", "sha256"]);
    for column in 2..5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for output in outputs {
        let words = words(prepared, output["task"].as_u64().unwrap_or(0));
        let [median, most] = [words.get(words.len() / 2), words.last()].map(|n| n.map(usize::to_string).unwrap_or_default());
        let text = |key: &str| output[key].as_str().unwrap_or_default().to_string();
        let sum: String = text("sha256").chars().take(12).collect();
        table.add_row([output["task"].to_string(), text("file"), output["records"].to_string(), median, most, sum]);
    }
    let line = |word: &str, count: &Count| {
        let example = if count.example.is_empty() { String::new() } else { format!(" (first: {})", count.example) };
        format!("{word}: {:>6} x {}: {}{example}", count.count, count.task, count.reason)
    };
    let mut lines = vec![format!("{}: {}", prepared.set.title(), read.join(", ")), table.to_string()];
    lines.extend(prepared.dropped.iter().map(|count| line("dropped", count)));
    lines.extend(prepared.changed.iter().map(|count| line("changed", count)));
    lines.join("\n")
}

/// Words of each passage, of each item's references together, or of each candidate; sorted.
fn words(prepared: &Prepared, task: u64) -> Vec<usize> {
    let count = |text: &String| text.split_whitespace().count();
    let mut words: Vec<usize> = match task {
        1 => prepared.passages.iter().flatten().map(count).collect(),
        2 => prepared.qa.iter().flatten().map(|item| item.references.iter().map(count).sum()).collect(),
        _ => prepared.retrieval.iter().flatten().flat_map(|item| &item.references).map(count).collect(),
    };
    words.sort_unstable();
    words
}
