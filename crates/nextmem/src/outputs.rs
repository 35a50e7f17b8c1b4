//! Whether what a verb will write can be written, asked before it works for it.

use std::path::Path;

use anyhow::{Result, bail};

use crate::cli::BadInput;

/// Refuses a file that cannot be written.
///
/// # Errors
/// [`BadInput`] where its folder is missing or cannot be written to, or where something that is no plain file has its name.
pub fn ensure_writable(path: &Path) -> Result<()> {
    let shown = path.display();
    let folder = folder_of(path)?;
    if !folder.exists() {
        bail!(BadInput(format!(
            "{shown}: there is no folder {0}, expected one to write into; create it with `mkdir -p {0}`, or change the path",
            folder.display()
        )));
    }
    writable(path, folder)
}

/// The same for a file whose folder is made where it is missing.
///
/// # Errors
/// [`BadInput`], naming what is in the way.
pub fn ensure_file_or_folder(path: &Path) -> Result<()> {
    ensure_folder(folder_of(path)?)
}

/// The folder of a file that may be written.
fn folder_of(path: &Path) -> Result<&Path> {
    let shown = path.display();
    if path.is_dir() {
        bail!(BadInput(format!("{shown}: is a directory, expected a file to write; name a file in it")));
    }
    if path.exists() && !path.is_file() {
        bail!(BadInput(format!(
            "{shown}: is a device or a pipe, expected a plain file, which is written beside it and renamed; name another"
        )));
    }
    match path.parent().filter(|_| path.file_name().is_some()) {
        Some(folder) if folder.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(folder) => Ok(folder),
        None => bail!(BadInput(format!("{shown}: names no file, expected one to write"))),
    }
}

/// Refuses a folder that cannot be made or written into; it is not made yet.
///
/// # Errors
/// [`BadInput`], naming what is in the way.
pub fn ensure_folder(path: &Path) -> Result<()> {
    // The nearest of the folders around it that is there.
    let around = path.ancestors().find(|folder| folder.symlink_metadata().is_ok());
    writable(path, around.unwrap_or(Path::new(".")))
}

/// Tries whether a file can be made in a folder.
fn writable(path: &Path, folder: &Path) -> Result<()> {
    if !folder.is_dir() {
        bail!(BadInput(format!("{}: {} is no folder, expected one to write into; change the path", path.display(), folder.display())));
    }
    match tempfile::tempfile_in(folder) {
        Ok(_) => Ok(()),
        Err(error) => {
            let folder = folder.display();
            bail!(BadInput(format!("{}: nothing can be written in {folder}: {error}; change the path or free the way", path.display())))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("old.json"), "{}").unwrap();
        for good in ["new.json", "old.json"] {
            ensure_writable(&at(good)).unwrap();
        }
        ensure_writable(Path::new("in-this-folder.json")).unwrap();
        let refused = |path: &Path| {
            let error = ensure_writable(path).unwrap_err();
            assert!(error.is::<BadInput>());
            error.to_string()
        };
        ensure_file_or_folder(&at("none/new.json")).unwrap();
        assert!(refused(&at("none/new.json")).contains("there is no folder") && !at("none").exists());
        assert!(refused(&at("old.json/new.json")).contains("old.json is no folder"));
        assert!(refused(dir.path()).contains("is a directory"));
        assert!(refused(Path::new("")).contains("names no file"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(target_os = "linux")]
        assert!(
            refused(Path::new("/dev/null")).contains("device or a pipe")
                && refused(Path::new("/proc/x")).contains("nothing can be written")
        );
    }

    #[test]
    fn folders() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        ensure_folder(&dir.path().join("a/b/c")).unwrap();
        ensure_folder(dir.path()).unwrap();
        ensure_folder(Path::new("a/b")).unwrap();
        assert!(ensure_folder(&dir.path().join("file/b")).unwrap_err().to_string().contains("file is no folder"));
        assert!(!dir.path().join("a").exists());
    }
}
