//! `verify`: whether a directory is a whole checkpoint or adapter, every file and every tensor, before gigabytes are read.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result, bail};
use clap::Args;
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use nextmem_data::sha256_file;
use nextmem_model::{
    DecoderConfig, TensorFiles, Tokenizer, TokenizerError, adapter_notes, audit_decoder, check_adapter_config, check_decoder, untied_note,
};

use crate::cli::BadInput;
use crate::device;
use crate::hub::{advice, located, too_many};
use crate::parts::{adapter_fits, read_special};

/// What is checked.
#[derive(Debug, Args)]
pub struct Options {
    /// A Hugging Face directory of a dense Qwen3, or a PEFT directory; or the name of one that was fetched
    dir: PathBuf,
    /// The backbone that a PEFT directory is for
    #[arg(long)]
    backbone: Option<PathBuf>,
    /// Print the SHA-256 of every file too; reads all of them
    #[arg(long)]
    sha256: bool,
}

/// Prints what is there and everything that is wrong.
///
/// # Errors
/// [`BadInput`] with the number of problems.
pub fn verify(options: &Options) -> Result<()> {
    let dir = &located(&options.dir);
    if !dir.is_dir() {
        bail!(BadInput(format!("{}: no such directory; expected a Hugging Face or a PEFT directory{}", dir.display(), advice(dir))));
    }
    let (problems, notes) = match dir.join("adapter_config.json").is_file() {
        true => adapter(dir, options.backbone.as_deref().map(located).as_deref()),
        false => checkpoint(dir),
    };
    println!("{}", files(dir, options.sha256)?);
    notes.iter().for_each(|note| println!("{note}"));
    if problems.is_empty() {
        println!("{}: whole", dir.display());
        return Ok(());
    }
    problems.iter().for_each(|problem| println!("problem: {problem}"));
    bail!(BadInput(format!("{}: {} problems, expected none; download or write what is named again", dir.display(), problems.len())))
}

/// An error with what it stems from.
fn full(error: impl Into<Error>) -> String {
    format!("{:#}", error.into())
}

fn checkpoint(dir: &Path) -> (Vec<String>, Vec<String>) {
    let device = device::host();
    let mut problems: Vec<String> = audit_decoder(dir, &device).into_iter().map(full).collect();
    let mut notes = Vec::new();
    if let Ok(named) = DecoderConfig::open(dir) {
        // As the weights have it: a head of other values unties a model.
        let config = check_decoder(dir, &device).unwrap_or(named);
        let head = if config.tie_word_embeddings { "tied" } else { "untied" };
        notes.push(format!(
            "Qwen3, {} layers, hidden {}, {} of {} heads for keys and values, vocabulary {}, {head} head, {} parameters",
            config.num_hidden_layers,
            config.hidden_size,
            config.num_key_value_heads,
            config.num_attention_heads,
            config.vocab_size,
            config.num_params()
        ));
        notes.extend(untied_note(dir, &config).map(|note| format!("note: {note}")));
        match Tokenizer::open(dir) {
            Ok(t) if t.vocab_size() > config.vocab_size => problems.push(too_many(&t, &config)),
            Ok(t) => {
                notes.push(format!("tokenizer: {} entries with [SoD] as {}, ends of text {:?}", t.vocab_size(), t.sod(), t.end_ids()));
                match t.check_prompts() {
                    Ok(()) => {}
                    Err(TokenizerError::NoTemplate) => notes.push("note: no chat template: it cannot be asked questions".into()),
                    Err(error) => problems.push(full(error)),
                }
            }
            Err(error) => problems.push(full(error)),
        }
    }
    (problems, notes)
}

fn adapter(dir: &Path, backbone: Option<&Path>) -> (Vec<String>, Vec<String>) {
    let Some(backbone) = backbone else {
        let note = "a PEFT adapter: name its --backbone to check names and shapes".to_string();
        let weights = TensorFiles::open_file(&dir.join("adapter_model.safetensors")).map(drop);
        let problems = [check_adapter_config(&dir.join("adapter_config.json")), weights].into_iter().filter_map(Result::err);
        return (problems.map(full).collect(), vec![note]);
    };
    let device = device::host();
    let checked = || -> Result<Vec<String>> {
        let config = DecoderConfig::open(backbone)?;
        adapter_fits(dir, Some(backbone), &config, &device)?;
        let special = if read_special(dir, config.hidden_size, &device)?.is_some() { "yes" } else { "none" };
        let fits = format!("a LoRA that fits {}, special tokens: {special}", backbone.display());
        let notes = adapter_notes(dir, &config)?.into_iter().map(|note| format!("note: {note}"));
        Ok(std::iter::once(fits).chain(notes).collect())
    };
    match checked() {
        Ok(notes) => (Vec::new(), notes),
        Err(error) => (vec![full(error)], Vec::new()),
    }
}

/// Every file with its size, its tensors by type, and its hash if wanted.
fn files(dir: &Path, hash: bool) -> Result<Table> {
    let mut table = Table::new();
    let headers = ["file", "bytes", "tensors", "SHA-256"];
    table.load_style(UTF8_FULL_CONDENSED).set_header(&headers[..if hash { 4 } else { 3 }]);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)?.filter_map(|e| Some(e.ok()?.path())).filter(|p| p.is_file()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().map_or(String::new(), |n| n.to_string_lossy().into_owned());
        let tensors = match name.ends_with(".safetensors") {
            true => TensorFiles::open_file(&path).map_or("not whole".into(), |files| {
                let mut types: Vec<String> = files.keys().filter_map(|key| files.dtype(key)).collect();
                let count = types.len();
                types.sort();
                types.dedup();
                format!("{count} {}", types.join(" "))
            }),
            false => "-".into(),
        };
        let mut row = vec![name, path.metadata()?.len().to_string(), tensors];
        if hash {
            row.push(sha256_file(&path)?);
        }
        table.add_row(row);
    }
    Ok(table)
}
