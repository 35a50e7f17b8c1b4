//! `nextmem data fetch`: the official files of a dataset, after its licence has been shown and agreed to.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::HumanBytes;
use nextmem_data::DatasetName;
use nextmem_model::write_atomically;

use crate::cli::BadInput;
use crate::download::{Checksum, Network, Options, with_bar};

/// Where a set comes from and what its authors ask for.
struct Source {
    licence: &'static str,
    terms: &'static str,
    home: &'static str,
    files: &'static [RemoteFile],
}

/// One official file.
struct RemoteFile {
    url: &'static str,
    /// Of the official file, as published by several who have checked theirs against it.
    sha256: &'static str,
    /// Bytes, where they are known exactly.
    size: Option<u64>,
    /// What it is good for.
    what: &'static str,
    /// Whether it is fetched when no file is named.
    usual: bool,
}

impl RemoteFile {
    fn name(&self) -> &'static str {
        self.url.rsplit('/').next().unwrap_or(self.url)
    }
}

macro_rules! squad_url {
    ($name:literal) => {
        concat!("https://rajpurkar.github.io/SQuAD-explorer/dataset/", $name)
    };
}

macro_rules! longmemeval_url {
    ($name:literal) => {
        concat!("https://huggingface.co/datasets/xiaowu0162/longmemeval-cleaned/resolve/main/", $name)
    };
}

const SQUAD: Source = Source {
    licence: "CC BY-SA 4.0",
    terms: "name the authors (Rajpurkar et al. 2016, 2018) and Wikipedia; pass on what you make of it under the same licence",
    home: "https://rajpurkar.github.io/SQuAD-explorer/",
    files: &[
        RemoteFile {
            url: squad_url!("dev-v1.1.json"),
            sha256: "95aa6a52d5d6a735563366753ca50492a658031da74f301ac5238b03966972c9",
            size: Some(4_854_279),
            what: "SQuAD 1.1, development",
            usual: true,
        },
        RemoteFile {
            url: squad_url!("train-v1.1.json"),
            sha256: "3527663986b8295af4f7fcdff1ba1ff3f72d07d61a20f487cb238a6ef92fd955",
            size: Some(30_288_272),
            what: "SQuAD 1.1, training",
            usual: true,
        },
        RemoteFile {
            url: squad_url!("dev-v2.0.json"),
            sha256: "80a5225e94905956a6446d296ca1093975c4d3b3260f1d6c8f68bc2ab77182d8",
            size: Some(4_370_528),
            what: "SQuAD 2.0, development",
            usual: false,
        },
        RemoteFile {
            url: squad_url!("train-v2.0.json"),
            sha256: "68dcfbb971bd3e96d5b46c7177b16c1a4e7d4bdef19fb204502738552dede002",
            size: None,
            what: "SQuAD 2.0, training",
            usual: false,
        },
    ],
};

const HOTPOTQA: Source = Source {
    licence: "CC BY-SA 4.0",
    terms: "name the authors (Yang et al. 2018) and Wikipedia; pass on what you make of it under the same licence",
    home: "https://hotpotqa.github.io/",
    files: &[
        RemoteFile {
            url: "http://curtis.ml.cmu.edu/datasets/hotpot/hotpot_dev_distractor_v1.json",
            sha256: "4e9ecb5c8d3b719f624d66b60f8d56bf227f03914f5f0753d6fa1b359d7104ea",
            size: Some(46_320_117),
            what: "development, all hard: task 3",
            usual: true,
        },
        RemoteFile {
            url: "http://curtis.ml.cmu.edu/datasets/hotpot/hotpot_train_v1.1.json",
            sha256: "26650cf50234ef5fb2e664ed70bbecdfd87815e6bffc257e068efea5cf7cd316",
            size: Some(566_426_227),
            what: "training, the only file with easy questions: tasks 1 and 2",
            usual: true,
        },
        RemoteFile {
            url: "http://curtis.ml.cmu.edu/datasets/hotpot/hotpot_dev_fullwiki_v1.json",
            sha256: "2f1f3e594a3066a3084cc57950ca2713c24712adaad03af6ccce18d1846d5618",
            size: None,
            what: "development, with paragraphs found by retrieval",
            usual: false,
        },
    ],
};

const RACE: Source = Source {
    licence: "for non-commercial research only",
    terms: "the passages belong to others; no commercial use; do not pass the files on, prepared ones included",
    home: "https://www.cs.cmu.edu/~glai1/data/race/",
    files: &[RemoteFile {
        url: "http://www.cs.cmu.edu/~glai1/data/race/RACE.tar.gz",
        sha256: "b2769cc9fdc5c546a693300eb9a966cec6870bd349fbc44ed5225f8ad33006e5",
        size: None,
        what: "all splits; read as it is",
        usual: true,
    }],
};

const LOCOMO: Source = Source {
    licence: "CC BY-NC 4.0",
    terms: "name the authors (Maharana et al. 2024); no commercial use",
    home: "https://github.com/snap-research/locomo",
    files: &[RemoteFile {
        url: "https://raw.githubusercontent.com/snap-research/locomo/main/data/locomo10.json",
        sha256: "79fa87e90f04081343b8c8debecb80a9a6842b76a7aa537dc9fdf651ea698ff4",
        size: Some(2_805_274),
        what: "ten conversations with their questions",
        usual: true,
    }],
};

const LONGMEMEVAL: Source = Source {
    licence: "MIT",
    terms: "keep the notice of the authors (Wu et al. 2025)",
    home: "https://github.com/xiaowu0162/LongMemEval",
    files: &[
        RemoteFile {
            url: longmemeval_url!("longmemeval_s_cleaned.json"),
            sha256: "d6f21ea9d60a0d56f34a05b609c79c88a451d2ae03597821ea3d5a9678c3a442",
            size: Some(277_383_467),
            what: "500 questions, about 48 sessions each",
            usual: true,
        },
        RemoteFile {
            url: longmemeval_url!("longmemeval_oracle.json"),
            sha256: "821a2034d219ab45846873dd14c14f12cfe7776e73527a483f9dac095d38620c",
            size: None,
            what: "the same questions with their answer sessions only",
            usual: false,
        },
    ],
};

fn source(set: DatasetName) -> &'static Source {
    match set {
        DatasetName::Squad => &SQUAD,
        DatasetName::Hotpotqa => &HOTPOTQA,
        DatasetName::Race => &RACE,
        DatasetName::Locomo => &LOCOMO,
        DatasetName::Longmemeval => &LONGMEMEVAL,
    }
}

/// The licence of a set, for manifests.
pub fn licence(set: DatasetName) -> &'static str {
    source(set).licence
}

/// Which files to fetch, where from and where to.
#[derive(Debug, Args)]
pub struct FetchOptions {
    /// squad, hotpotqa, race, locomo or longmemeval
    set: DatasetName,
    /// Only this file of the set; may be given several times
    #[arg(long = "file", value_name = "NAME")]
    files: Vec<String>,
    /// Where the files go [default: datasets/fetched/SET]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Agree to the licence without being asked
    #[arg(long)]
    yes: bool,
    /// A mirror: the address that the file names are appended to
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The SHA-256 that the one file must have instead of the known one; `any` takes what comes and records it
    #[arg(long, value_name = "HEX|any")]
    sha256: Option<String>,
    #[command(flatten)]
    network: Network,
}

/// Shows the licence, asks, downloads, and prints one line a file: path, bytes, sha256.
pub fn fetch(options: &FetchOptions) -> Result<()> {
    let source = source(options.set);
    let files = chosen(source, options)?;
    let given = options.sha256.as_deref().map(checked_sum).transpose()?;
    if given.is_some() && files.len() != 1 {
        bail!(BadInput(format!("--sha256: got {} files, expected one; name it with --file", files.len())));
    }
    let out = options.out.clone().unwrap_or_else(|| Path::new("datasets/fetched").join(options.set.name()));
    crate::outputs::ensure_folder(&out)?;
    agree(options, source, &files, &out)?;
    folder(&out)?;
    for file in files {
        let sums = out.join("SHA256SUMS");
        let (sha256, size) = match given.as_deref() {
            None => (Some(file.sha256.to_string()), file.size),
            // What was recorded when it came still holds for the file that is here.
            Some("any") => (recorded(&sums, file.name()).filter(|_| out.join(file.name()).exists()), None),
            Some(sum) => (Some(sum.to_string()), None),
        };
        let url = match &options.base_url {
            Some(base) => format!("{}/{}", base.trim_end_matches('/'), file.name()),
            None => file.url.to_string(),
        };
        let how = Options { checksum: sha256.map(Checksum::Sha256), size, ..options.network.options() };
        let got = with_bar(file.name(), &url, &out.join(file.name()), &how)?;
        record(&sums, file.name(), &got.sha256)?;
        println!("{}  {} bytes  sha256 {}", out.join(file.name()).display(), got.bytes, got.sha256);
    }
    eprintln!("next: nextmem data prepare {} --from {}", options.set, out.join(first(source, options)).display());
    Ok(())
}

fn first(source: &'static Source, options: &FetchOptions) -> String {
    options.files.first().cloned().unwrap_or_else(|| source.files[0].name().to_string())
}

/// The files that were named, or the usual ones.
fn chosen(source: &'static Source, options: &FetchOptions) -> Result<Vec<&'static RemoteFile>> {
    if options.files.is_empty() {
        return Ok(source.files.iter().filter(|file| file.usual).collect());
    }
    let known: Vec<_> = source.files.iter().map(RemoteFile::name).collect();
    let named = options.files.iter().map(|name| source.files.iter().find(|file| file.name() == name).ok_or(name));
    let named: Result<Vec<_>, _> = named.collect();
    named.map_err(|name| BadInput(format!("--file: got {name:?}, {} has {}", options.set.title(), known.join(", "))).into())
}

fn checked_sum(text: &str) -> Result<String> {
    let sum = text.to_ascii_lowercase();
    match sum == "any" || (sum.len() == 64 && sum.chars().all(|c| c.is_ascii_hexdigit())) {
        true => Ok(sum),
        false => bail!(BadInput(format!("--sha256: got {text:?}, expected 64 hexadecimal digits, or `any`"))),
    }
}

/// Shows the terms and asks whether they are agreed to.
fn agree(options: &FetchOptions, source: &Source, files: &[&RemoteFile], out: &Path) -> Result<()> {
    eprintln!("{}, {}\n  licence: {}\n  terms:   {}", options.set.title(), source.home, source.licence, source.terms);
    for file in source.files {
        let mark = if files.iter().any(|chosen| chosen.url == file.url) { "*" } else { " " };
        let size = file.size.map_or("size unknown".into(), |size| HumanBytes(size).to_string());
        eprintln!("  {mark} {:30} {size:>12}  {}", file.name(), file.what);
    }
    eprintln!("  the files with * go to {}", out.display());
    if options.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!(BadInput("the licence is not agreed to - nobody can be asked here; read it above and add --yes".into()));
    }
    eprint!("Agree and download? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => bail!(BadInput("the licence is not agreed to - nothing was downloaded".into())),
    }
}

/// Makes a folder; a new one is hidden from git, so that nothing that may not be passed on is committed by accident.
pub fn folder(out: &Path) -> Result<()> {
    if !out.exists() {
        std::fs::create_dir_all(out).with_context(|| out.display().to_string())?;
        write_atomically(&out.join(".gitignore"), b"*\n")?;
    }
    Ok(())
}

/// The checksum of a file in a list as `sha256sum` writes it.
fn recorded(sums: &Path, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(sums).ok()?;
    text.lines().find_map(|line| line.split_once("  ").filter(|(_, file)| *file == name).map(|(sum, _)| sum.to_string()))
}

/// Puts a checksum into the list, in the order of the names.
fn record(sums: &Path, name: &str, sha256: &str) -> Result<()> {
    let text = std::fs::read_to_string(sums).unwrap_or_default();
    let mut lines: Vec<String> = text.lines().filter(|line| !line.ends_with(&format!("  {name}"))).map(str::to_owned).collect();
    lines.push(format!("{sha256}  {name}"));
    lines.sort_by(|a, b| a.get(66..).cmp(&b.get(66..)));
    Ok(write_atomically(sums, format!("{}\n", lines.join("\n")).as_bytes())?)
}
