//! `nextmem fetch`: a checkpoint from the Hugging Face hub into the cache that Python's tools share, whole and checked.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result, bail};
use clap::Args;
use indicatif::HumanBytes;
use nextmem_model::{Tokenizer, audit_decoder, check_decoder, untied_note};

use crate::cli::BadInput;
use crate::device;
use crate::download::{self, DownloadError, Network, with_bar};

mod cache;
mod listing;
mod wanted;

use cache::{Repo, endpoint, link, token};
pub use cache::{advice, located};
use listing::{Listing, RemoteFile};
pub use wanted::too_many;
use wanted::{Kind, Wanted};

/// What is fetched, and where to.
#[derive(Debug, Args)]
pub struct Options {
    /// The repository, like Qwen/Qwen3-0.6B
    repo: String,
    /// A branch, a tag or a commit
    #[arg(long, default_value = "main")]
    revision: String,
    /// Only this file of the repository; may be given several times
    #[arg(long = "file", value_name = "NAME")]
    files: Vec<String>,
    /// A directory for plain files, instead of the cache
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Take what nextmem cannot read and what has no checksum, too
    #[arg(long)]
    any: bool,
    #[command(flatten)]
    network: Network,
}

/// Downloads, checks and prints the directory.
///
/// # Errors
/// [`BadInput`] for a name, a revision or a repository that is of no use here, before any weights come; [`DownloadError`].
pub fn fetch(options: &Options) -> Result<()> {
    let repo = Repo::parse(&options.repo)?;
    let revision = &options.revision;
    let name_of_revision = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains(['\\', ':', '\0']);
    if !revision.split('/').all(name_of_revision) {
        bail!(BadInput(format!("--revision: got {revision:?}, expected a branch, a tag or a commit")));
    }
    let endpoint = endpoint()?;
    let how = download::Options { token: token(&endpoint), ..options.network.options() };
    let scratch = tempfile::tempdir()?;
    let listing = Listing::read(&endpoint, &repo, revision, &how, scratch.path()).map_err(|e| explained(e, &repo, revision))?;
    let mut files = chosen(&listing, &repo, options)?;
    files.iter_mut().try_for_each(|file| file.complete(&how)).map_err(|e| explained(e.into(), &repo, revision))?;
    if let Some(file) = files.iter().find(|file| file.checksum.is_none() && !options.any) {
        bail!(BadInput(format!("{}: the hub gives no checksum of it; add --any to take it as it comes", file.url)));
    }
    let dir = options.out.clone().unwrap_or_else(|| repo.snapshot(&listing.commit));
    let wanted = Wanted { repo: &repo, files: &files, options, how: &how, scratch: scratch.path(), dir: &dir };
    let kind = wanted.kind(&listing)?;
    announce(&repo, revision, &listing, &files, &dir);
    for file in &files {
        let how = download::Options { checksum: file.checksum.clone(), size: file.size, ..how.clone() };
        let place = dir.join(&file.name);
        match (&options.out, &file.checksum) {
            (None, Some(checksum)) => {
                let blob = repo.blobs().join(checksum.hex());
                // On a file system without links it may be here under its name alone.
                if !blob.exists() && place.is_file() {
                    with_bar(&file.name, &file.url, &place, &how).map_err(|e| explained(e.into(), &repo, revision))?;
                    continue;
                }
                with_bar(&file.name, &file.url, &blob, &how).map_err(|e| explained(e.into(), &repo, revision))?;
                link(&blob, &place, file.name.split('/').count() + 1)?;
            }
            _ => drop(with_bar(&file.name, &file.url, &place, &how).map_err(|e| explained(e.into(), &repo, revision))?),
        }
    }
    if options.out.is_none() {
        repo.point(revision, &listing.commit)?;
    }
    if kind == Kind::Decoder && options.files.is_empty() {
        let problems: Vec<String> = audit_decoder(&dir, &device::host()).into_iter().map(|e| format!("{:#}", Error::from(e))).collect();
        if !problems.is_empty() {
            bail!(BadInput(format!("{}: as published, but not a whole checkpoint: {}", repo.as_str(), problems.join("; "))));
        }
        let note = check_decoder(&dir, &device::host()).ok().and_then(|loaded| untied_note(&dir, &loaded));
        let prompts = Tokenizer::open(&dir).and_then(|tokenizer| tokenizer.check_prompts()).err();
        let prompts = prompts.map(|error| format!("it cannot be asked with this tokenizer: {:#}", Error::from(error)));
        note.into_iter().chain(prompts).for_each(|note| eprintln!("note: {note}"));
    }
    println!("{}", dir.display());
    let named = options.out.is_none() && revision == "main";
    eprintln!("next: nextmem verify {}", if named { options.repo.clone() } else { dir.display().to_string() });
    Ok(())
}

/// The files that are named, or those that a model of ours can need.
fn chosen(listing: &Listing, repo: &Repo, options: &Options) -> Result<Vec<RemoteFile>> {
    if options.files.is_empty() {
        let files: Vec<RemoteFile> = listing.files.iter().filter(|file| file.is_usual()).cloned().collect();
        if !files.iter().any(|file| file.name.ends_with(".safetensors")) && !options.any {
            let names: Vec<&str> = listing.files.iter().map(|file| file.name.as_str()).take(12).collect();
            let got = names.join(", ");
            bail!(BadInput(format!("{}: has no .safetensors, the only weights read here; it has {got}", repo.as_str())));
        }
        return Ok(files);
    }
    let find = |name: &String| {
        let found = listing.files.iter().find(|file| file.name == *name).cloned();
        found.ok_or_else(|| {
            let names: Vec<&str> = listing.files.iter().map(|file| file.name.as_str()).take(40).collect();
            BadInput(format!("--file: got {name:?}, {} has {}", repo.as_str(), names.join(", "))).into()
        })
    };
    options.files.iter().map(find).collect()
}

fn announce(repo: &Repo, revision: &str, listing: &Listing, files: &[RemoteFile], dir: &Path) {
    let licence = listing.licence.as_deref().unwrap_or("not named");
    eprintln!("{} at {revision} (commit {}), licence: {licence}", repo.as_str(), listing.commit);
    for file in files {
        eprintln!("  {:44} {:>12}", file.name, file.size.map_or("size unknown".into(), |size| HumanBytes(size).to_string()));
    }
    let bytes: u64 = files.iter().filter_map(|file| file.size).sum();
    eprintln!("  {} files, {}, to {}", files.len(), HumanBytes(bytes), dir.display());
}

/// An error with what the hub means by it.
fn explained(error: Error, repo: &Repo, revision: &str) -> Error {
    let repo = repo.as_str();
    let meaning = match error.downcast_ref() {
        Some(DownloadError::Denied { .. }) => {
            format!("{repo} is private, gated or not there: check the name; if it is gated, accept its terms on its page and set HF_TOKEN")
        }
        Some(DownloadError::NotFound { .. }) => format!("{repo} at {revision:?} is not there: check the name and --revision"),
        _ => repo.to_string(),
    };
    error.context(meaning)
}
