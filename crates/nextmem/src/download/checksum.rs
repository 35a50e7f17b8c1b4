//! The checksums that files on the web come with.

use std::fmt;
use std::fs::File;
use std::io::{Error, Read};
use std::path::Path;

use sha1_smol::Sha1;

/// What a file's bytes must add up to, in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// SHA-256 of the bytes.
    Sha256(String),
    /// The name that git gives a file: SHA-1 of `blob SIZE\0` and the bytes.
    GitBlob(String),
}

impl Checksum {
    /// Told apart by their length; nothing else is one.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.to_ascii_lowercase();
        match (hex.len(), hex.bytes().all(|b| b.is_ascii_hexdigit())) {
            (64, true) => Some(Self::Sha256(hex)),
            (40, true) => Some(Self::GitBlob(hex)),
            _ => None,
        }
    }

    /// The digits alone.
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }

    /// That of a file whose SHA-256 is known, to compare with this one.
    pub fn same_kind_of(&self, path: &Path, sha256: &str) -> Result<Self, Error> {
        match self {
            Self::Sha256(_) => Ok(Self::Sha256(sha256.into())),
            Self::GitBlob(_) => git_blob(path).map(Self::GitBlob),
        }
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(hex) => write!(f, "sha256 {hex}"),
            Self::GitBlob(hex) => write!(f, "git blob {hex}"),
        }
    }
}

fn git_blob(path: &Path) -> Result<String, Error> {
    let mut file = File::open(path)?;
    let mut sha1 = Sha1::new();
    sha1.update(format!("blob {}\0", file.metadata()?.len()).as_bytes());
    let mut buffer = vec![0u8; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(sha1.digest().to_string()),
            read => sha1.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_named_as_git_names_it() {
        // git hash-object of "hello\n" and of an empty file.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        assert_eq!(git_blob(&path).unwrap(), "ce013625030ba8dba906f756967f9e9ca394464a");
        std::fs::write(&path, "").unwrap();
        assert_eq!(git_blob(&path).unwrap(), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }

    #[test]
    fn only_hex_of_a_known_length_is_a_checksum() {
        assert_eq!(Checksum::parse(&"AB".repeat(32)), Some(Checksum::Sha256("ab".repeat(32))));
        assert_eq!(Checksum::parse(&"ab".repeat(20)), Some(Checksum::GitBlob("ab".repeat(20))));
        assert_eq!(Checksum::parse(&"../".repeat(20)), None);
        assert_eq!(Checksum::parse("ab"), None);
    }
}
