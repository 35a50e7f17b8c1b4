//! The part of a file that has arrived, with a note of what it is a part of.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use nextmem_data::sha256_file;
use serde::{Deserialize, Serialize};
use ureq::http::{HeaderMap, header};

use super::{DownloadError, Options, text};

/// What has arrived, locked against a second download.
pub(super) struct Part {
    dest: PathBuf,
    path: PathBuf,
    file: File,
    pub(super) length: u64,
    pub(super) about: About,
}

/// What a part is a part of.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct About {
    pub(super) url: String,
    /// A strong ETag or a date: the server resumes only if it still holds.
    pub(super) validator: Option<String>,
    pub(super) total: Option<u64>,
}

impl Part {
    pub(super) fn open(url: &str, dest: &Path) -> Result<Self, DownloadError> {
        let path = beside(dest, ".part");
        let disk = |source| DownloadError::Disk { path: path.clone(), done: 0, source };
        if let Some(dir) = dest.parent() {
            std::fs::create_dir_all(dir).map_err(disk)?;
        }
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(disk)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(DownloadError::Busy { path });
        }
        let length = file.seek(SeekFrom::End(0)).map_err(disk)?;
        let known: Option<About> = std::fs::read(beside(dest, ".part.json")).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let fits = known.filter(|about| about.url == url && about.total.is_none_or(|total| length <= total));
        let fresh = fits.is_none();
        let about = fits.unwrap_or(About { url: url.into(), validator: None, total: None });
        let mut part = Self { dest: dest.to_owned(), path: path.clone(), file, length, about };
        if fresh && part.length > 0 {
            part.clear()?;
        }
        Ok(part)
    }

    fn disk(&self, source: std::io::Error) -> DownloadError {
        DownloadError::Disk { path: self.path.clone(), done: self.length, source }
    }

    /// Forgets what has arrived.
    pub(super) fn clear(&mut self) -> Result<(), DownloadError> {
        let emptied = self.file.set_len(0).and_then(|()| self.file.rewind());
        emptied.map_err(|source| self.disk(source))?;
        self.length = 0;
        self.about = About { url: self.about.url.clone(), validator: None, total: None };
        Ok(())
    }

    /// Notes what the bytes that come now are a part of.
    pub(super) fn describe(&mut self, headers: &HeaderMap, total: Option<u64>) -> Result<(), DownloadError> {
        let strong = text(headers, header::ETAG).filter(|tag| !tag.starts_with("W/"));
        let validator = strong.or_else(|| text(headers, header::LAST_MODIFIED)).map(str::to_owned);
        let about = About { url: self.about.url.clone(), validator, total };
        if about != self.about || self.length == 0 {
            let text = serde_json::to_vec(&about).unwrap_or_default();
            std::fs::write(beside(&self.dest, ".part.json"), text).map_err(|source| self.disk(source))?;
            self.about = about;
        }
        Ok(())
    }

    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.file.write_all(bytes).map_err(|source| self.disk(source))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Its size and SHA-256, if size and checksum are the right ones.
    pub(super) fn check(&mut self, options: &Options) -> Result<(u64, String), DownloadError> {
        let url = || self.about.url.clone();
        self.file.sync_all().map_err(|source| self.disk(source))?;
        if let Some(wanted) = options.size.filter(|wanted| *wanted != self.length) {
            return Err(DownloadError::Size { url: url(), wanted, got: self.length });
        }
        let sha256 = sha256_file(&self.path).map_err(|e| self.disk(std::io::Error::other(e)))?;
        if let Some(wanted) = &options.checksum {
            let got = wanted.same_kind_of(&self.path, &sha256).map_err(|source| self.disk(source))?;
            if got != *wanted {
                return Err(DownloadError::Checksum { url: url(), wanted: wanted.clone(), got });
            }
        }
        Ok((self.length, sha256))
    }

    pub(super) fn into_place(self) -> Result<(), DownloadError> {
        std::fs::rename(&self.path, &self.dest).map_err(|source| self.disk(source))?;
        // Only a note; a later download of the same name starts from nothing without its part.
        let _ = std::fs::remove_file(beside(&self.dest, ".part.json"));
        Ok(())
    }

    /// Takes away what is of no use to a later call.
    pub(super) fn discard(&self) {
        let _ = std::fs::remove_file(&self.path);
        let _ = std::fs::remove_file(beside(&self.dest, ".part.json"));
    }
}

fn beside(dest: &Path, ending: &str) -> PathBuf {
    let mut name = dest.file_name().unwrap_or_default().to_os_string();
    name.push(ending);
    dest.with_file_name(name)
}
