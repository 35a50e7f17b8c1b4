//! What a repository holds at one revision, as the hub lists it: names, sizes and checksums.

use std::path::Path;

use anyhow::{Context, Result, bail};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::Value;

use super::cache::{Repo, is_commit};
use crate::download::{Checksum, DownloadError, Options, described, download};

/// What stands in an address as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// One file of a repository.
#[derive(Clone, Debug)]
pub struct RemoteFile {
    /// Its path in the repository, with `/` between parts that are all plain names.
    pub name: String,
    /// Where it is downloaded from: the commit's own address, which never changes its content.
    pub url: String,
    /// Its size in bytes.
    pub size: Option<u64>,
    /// What its bytes must add up to.
    pub checksum: Option<Checksum>,
}

/// A repository at one commit.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The commit.
    pub commit: String,
    /// Its licence, where it names one.
    pub licence: Option<String>,
    /// All of its files.
    pub files: Vec<RemoteFile>,
}

/// The hub's answer, as far as it is of use.
#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default, rename = "cardData")]
    card: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    #[serde(alias = "oid")]
    sha256: Option<String>,
    size: Option<u64>,
}

impl Listing {
    /// Asks the hub; `scratch` is an empty directory.
    ///
    /// # Errors
    /// [`DownloadError`]; an answer that is no listing; a file name that would leave the directory.
    pub fn read(endpoint: &str, repo: &Repo, revision: &str, how: &Options, scratch: &Path) -> Result<Self> {
        let path = scratch.join("listing.json");
        let url = format!("{endpoint}/api/models/{}/revision/{}?blobs=true", repo.as_str(), utf8_percent_encode(revision, PLAIN));
        download(&url, &path, how, &mut |_| {})?;
        let no_listing = || format!("{url}: not the hub's answer; check HF_ENDPOINT");
        let info: Info = serde_json::from_slice(&std::fs::read(&path)?).with_context(no_listing)?;
        if !is_commit(&info.sha) {
            bail!("{}: got commit {:?}, expected a hash", no_listing(), info.sha);
        }
        let file = |sibling: Sibling| -> Result<RemoteFile> {
            let Sibling { rfilename: name, size, blob_id, lfs } = sibling;
            if !name.split('/').all(is_plain) {
                bail!("{}: got the file name {name:?}, which would leave the directory; nothing was downloaded", repo.as_str());
            }
            let encoded: Vec<String> = name.split('/').map(|part| utf8_percent_encode(part, PLAIN).to_string()).collect();
            let url = format!("{endpoint}/{}/resolve/{}/{}", repo.as_str(), info.sha, encoded.join("/"));
            let (sum, size) = match lfs {
                Some(lfs) => (lfs.sha256.map(|sum| sum.trim_start_matches("sha256:").to_string()), lfs.size.or(size)),
                None => (blob_id, size),
            };
            Ok(RemoteFile { name, url, size, checksum: sum.and_then(|sum| Checksum::parse(&sum)) })
        };
        let files = info.siblings.into_iter().map(file).collect::<Result<Vec<_>>>()?;
        Ok(Self { commit: info.sha, licence: info.card["license"].as_str().map(str::to_owned), files })
    }

    /// Whether a file of this name is there, in whatever directory.
    pub fn has(&self, name: &str) -> bool {
        self.files.iter().any(|file| file.file_name() == name)
    }
}

impl RemoteFile {
    /// The last part of its path.
    pub fn file_name(&self) -> &str {
        self.name.rsplit('/').next().unwrap_or(&self.name)
    }

    /// Whether a model of ours can need it, or its user should read it.
    pub fn is_usual(&self) -> bool {
        let name = self.file_name();
        let ending = Path::new(name).extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        ["safetensors", "json", "jinja", "txt", "model"].contains(&ending)
            || name == "README.md"
            || name == "special_tokens_DTOKENS.pt"
            || name.starts_with("LICENSE")
    }

    /// Asks the file's own address for what the listing does not say; mirrors often list names alone.
    ///
    /// # Errors
    /// [`DownloadError`].
    pub fn complete(&mut self, how: &Options) -> Result<(), DownloadError> {
        if self.checksum.is_none() {
            let (checksum, size) = described(&self.url, how)?;
            (self.checksum, self.size) = (checksum, self.size.or(size));
        }
        Ok(())
    }
}

/// Whether a part of a path stays where it is put, on every system.
fn is_plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && !part.contains(['\\', ':', '\0'])
}
