//! What a repository is to us, decided by its small files and the headers of its weights, before anything large comes.

use std::path::{Path, PathBuf};

use anyhow::{Error, Result, bail};
use nextmem_model::{
    DecoderConfig, ModelError, TensorFiles, Tokenizer, WeightFiles, audit_tensors, check_adapter_config, check_encoder, choose_weights,
    parse_json, shards,
};

use super::{Listing, Options, RemoteFile, Repo, explained};
use crate::cli::BadInput;
use crate::device;
use crate::download::{self, download, first_bytes};

/// What a repository is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A dense Qwen3.
    Decoder,
    /// A BERT or RoBERTa.
    Encoder,
    /// PEFT directories.
    Adapter,
    /// Taken as it is.
    Unknown,
}

/// The files that are to come.
pub struct Wanted<'a> {
    /// Their repository.
    pub repo: &'a Repo,
    /// The files.
    pub files: &'a [RemoteFile],
    /// What was asked for.
    pub options: &'a Options,
    /// How to download.
    pub how: &'a download::Options,
    /// A directory for the small files.
    pub scratch: &'a Path,
    /// Where they will be.
    pub dir: &'a Path,
}

/// What says how texts become tokens.
const TOKENIZER_FILES: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "generation_config.json",
];

/// What to do about a table that has no rows for the two tokens that NextMem adds, or for others.
pub fn too_many(tokenizer: &Tokenizer, config: &DecoderConfig) -> String {
    let rows = tokenizer.vocab_size();
    format!(
        "the tokenizer has {rows} entries, NextMem's two among them, config.json's vocab_size is {}; give the model more rows in Python \
         first (`model.resize_token_embeddings({rows})`)",
        config.vocab_size
    )
}

/// What most headers fit into.
const FIRST: u64 = 1 << 17;

/// Larger ones are left to the check after the download.
const MOST: u64 = 1 << 25;

impl Wanted<'_> {
    /// Reads the configs, and the names and shapes of a decoder's weights; what is of no use here is refused with the reason.
    ///
    /// # Errors
    /// [`BadInput`]; [`DownloadError`](crate::download::DownloadError).
    pub fn kind(&self, listing: &Listing) -> Result<Kind> {
        let taken = self.options.any || !self.options.files.is_empty();
        let Some(config) = self.file("config.json") else {
            if listing.has("adapter_config.json") {
                if !taken {
                    self.check_adapters()?;
                }
                return Ok(Kind::Adapter);
            }
            if taken {
                return Ok(Kind::Unknown);
            }
            bail!(BadInput(format!(
                "{}: has neither config.json nor adapter_config.json; add --any to take it as it is",
                self.repo.as_str()
            )));
        };
        self.fetch(config, "config.json")?;
        let reason = match (DecoderConfig::open(self.scratch), check_encoder(self.scratch)) {
            (Ok(config), _) => {
                // What is here is checked as a whole in the end.
                let here = |file: &RemoteFile| !file.name.ends_with(".safetensors") || self.dir.join(&file.name).exists();
                if !taken && !self.files.iter().all(here) {
                    self.check_weights(&config, listing)?;
                    self.check_tokenizer(&config)?;
                }
                return Ok(Kind::Decoder);
            }
            (_, Ok(())) => return Ok(Kind::Encoder),
            _ if taken => return Ok(Kind::Unknown),
            (Err(ModelError::Config { reason, .. }), _) => reason,
            (Err(error), _) => format!("{:#}", Error::from(error)),
        };
        self.refused(&format!("config.json: {reason}"))
    }

    fn refused<T>(&self, reason: &str) -> Result<T> {
        bail!(BadInput(format!("{}: {reason}; nothing was downloaded (--any takes it as it is)", self.repo.as_str())))
    }

    fn file(&self, name: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.name == name)
    }

    /// Puts a small file into the scratch directory.
    fn fetch(&self, file: &RemoteFile, name: &str) -> Result<PathBuf> {
        let how = download::Options { checksum: file.checksum.clone(), size: file.size, ..self.how.clone() };
        let path = self.scratch.join(name);
        download(&file.url, &path, &how, &mut |_| {}).map_err(|e| explained(e.into(), self.repo, &self.options.revision))?;
        Ok(path)
    }

    fn check_adapters(&self) -> Result<()> {
        let configs = self.files.iter().filter(|file| file.file_name() == "adapter_config.json");
        for (number, file) in configs.enumerate() {
            let path = self.fetch(file, &format!("adapter_config.{number}.json"))?;
            match check_adapter_config(&path) {
                Err(ModelError::Adapter { reason, .. }) => self.refused(&format!("{}: {reason}", file.name))?,
                other => other?,
            }
        }
        Ok(())
    }

    /// Refuses weights whose names or shapes are not those of the model, from the headers of their files.
    fn check_weights(&self, config: &DecoderConfig, listing: &Listing) -> Result<()> {
        let json = std::fs::read(self.scratch.join("config.json")).ok().and_then(|bytes| parse_json(&bytes).ok());
        let names = match choose_weights(json.as_ref(), |name| listing.files.iter().any(|file| file.name == name)) {
            Err(reason) => return self.refused(&reason),
            Ok(WeightFiles::Single(name)) => vec![name],
            Ok(WeightFiles::Sharded(name)) => {
                let Some(index) = self.file(&name) else { return self.refused(&format!("no {name}, which config.json names")) };
                let bytes = std::fs::read(self.fetch(index, "index.json")?)?;
                match shards(&bytes) {
                    Ok(names) => names,
                    Err(reason) => return self.refused(&format!("{name}: {reason}")),
                }
            }
        };
        let mut files = TensorFiles::default();
        for name in names {
            let Some(file) = self.file(&name) else { return self.refused(&format!("no {name}, which holds weights")) };
            // What a server gives no part of is checked when it is here.
            let (Some(size), Some(header)) = (file.size, self.header(file)) else { return Ok(()) };
            if let Err(error) = files.add(Path::new(&name), &header, size) {
                return self.refused(&error.to_string());
            }
        }
        let label = Path::new(self.repo.as_str());
        let problems: Vec<String> = audit_tensors(config, &files, label, &device::host()).iter().map(ToString::to_string).collect();
        match problems.is_empty() {
            true => Ok(()),
            false => self.refused(&problems.join("; ")),
        }
    }

    /// Refuses a tokenizer that is of no use here; a repository without one may be of use beside another.
    fn check_tokenizer(&self, config: &DecoderConfig) -> Result<()> {
        if self.file("tokenizer.json").is_none() {
            return Ok(());
        }
        for name in TOKENIZER_FILES {
            if let Some(file) = self.file(name) {
                self.fetch(file, name)?;
            }
        }
        match Tokenizer::open(self.scratch) {
            Ok(tokenizer) if tokenizer.vocab_size() > config.vocab_size => self.refused(&too_many(&tokenizer, config)),
            Ok(_) => Ok(()),
            Err(error) => {
                // Of the copy in the scratch directory only the name is of interest.
                let text = format!("{:#}", Error::from(error));
                self.refused(&text.replace(&format!("{}/", self.scratch.display()), ""))
            }
        }
    }

    /// The header of a safetensors file, if the server gives parts of files.
    fn header(&self, file: &RemoteFile) -> Option<Vec<u8>> {
        let mut bytes = first_bytes(&file.url, FIRST.min(file.size?), self.how).ok()?;
        let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
        let end = length.checked_add(8).filter(|end| *end <= MOST)?;
        if (bytes.len() as u64) < end {
            bytes = first_bytes(&file.url, end, self.how).ok()?;
        }
        bytes.get(8..usize::try_from(end).ok()?).map(<[u8]>::to_vec)
    }
}
