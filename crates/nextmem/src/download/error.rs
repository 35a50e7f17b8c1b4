//! What can go wrong with a download, and what to do about it.

use std::fmt;
use std::io::{Error, ErrorKind};
use std::path::PathBuf;

use super::Checksum;

/// Why a file is not in place.
#[derive(Debug)]
pub enum DownloadError {
    /// HTTP 401 or 403.
    Denied {
        /// The address.
        url: String,
        /// The status.
        status: u16,
        /// Whether a token was sent.
        token: bool,
    },
    /// HTTP 404 or 410.
    NotFound {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// Another status that no new attempt can change.
    Status {
        /// The address.
        url: String,
        /// The status.
        status: u16,
    },
    /// The address cannot be looked up.
    NoHost {
        /// The address.
        url: String,
    },
    /// The request cannot be made.
    Request {
        /// The address.
        url: String,
        /// What the client says.
        why: String,
    },
    /// Too many failures without a byte between them.
    GaveUp {
        /// The address.
        url: String,
        /// How many.
        attempts: u32,
        /// The last of them.
        why: String,
        /// Bytes that are there.
        done: u64,
    },
    /// Not as long as it must be.
    Size {
        /// The address.
        url: String,
        /// Bytes wanted.
        wanted: u64,
        /// Bytes the server has.
        got: u64,
    },
    /// Other bytes than it must have.
    Checksum {
        /// The address.
        url: String,
        /// The one wanted.
        wanted: Checksum,
        /// That of what came.
        got: Checksum,
    },
    /// Another file stands at the destination.
    Other {
        /// The destination.
        path: PathBuf,
        /// Its SHA-256.
        sha256: String,
        /// Its size.
        bytes: u64,
    },
    /// Another process downloads the same file.
    Busy {
        /// The part.
        path: PathBuf,
    },
    /// The disk refused.
    Disk {
        /// The file.
        path: PathBuf,
        /// Bytes that are there.
        done: u64,
        /// The error of the operating system.
        source: Error,
    },
}

impl fmt::Display for DownloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { url, status, token: false } => {
                write!(
                    f,
                    "{url}: got HTTP {status}, access denied - expected a public file; it may need an account, an accepted licence or a token"
                )
            }
            Self::Denied { url, status, token: true } => {
                write!(
                    f,
                    "{url}: got HTTP {status}, access denied for this token - check the token and that its account has accepted the terms"
                )
            }
            Self::NotFound { url, status } => {
                write!(
                    f,
                    "{url}: got HTTP {status}, there is no such file - check the address, or name a mirror (--base-url of data fetch, HF_ENDPOINT)"
                )
            }
            Self::Status { url, status } => write!(f, "{url}: got HTTP {status}, expected 200 or 206 - check the address"),
            Self::NoHost { url } => write!(f, "{url}: the host is not found - check the network and the address"),
            Self::Request { url, why } => write!(f, "{url}: {why}"),
            Self::GaveUp { url, attempts, why, done } => {
                write!(f, "{url}: {why}; {attempts} attempts failed, {done} bytes are here - run it again to go on")
            }
            Self::Size { url, wanted, got } => {
                write!(
                    f,
                    "{url}: got {got} bytes, expected {wanted} - it is another file than the one described; look for what has changed before you use it"
                )
            }
            Self::Checksum { url, wanted, got } => {
                write!(f, "{url}: got {got}, expected {wanted} - the file was thrown away; run it again, or look for its new checksum")
            }
            Self::Other { path, sha256, bytes } => write!(
                f,
                "{} is there with {bytes} bytes and sha256 {sha256}, which is not the file expected - move it away and run it again",
                path.display()
            ),
            Self::Busy { path } => write!(f, "{} is being written by another download - wait for it", path.display()),
            Self::Disk { path, done, source } if source.kind() == ErrorKind::StorageFull => {
                write!(f, "{}: the disk is full after {done} bytes - free some space and run it again to go on", path.display())
            }
            Self::Disk { path, source, .. } => write!(f, "cannot write {}: {source} - check the path and its permissions", path.display()),
        }
    }
}

/// Without a `source`: the system's reason is part of the message, and a printed chain of errors would say it twice.
impl std::error::Error for DownloadError {}
