//! One writer per directory.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Weak};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::unix_seconds;
use crate::cli::BadInput;

/// Locks that this process holds: a verb that calls another one on the same directory shares its lock.
static HELD: Mutex<Option<HashMap<PathBuf, Weak<File>>>> = Mutex::new(None);

/// An exclusive lock on a directory, held until the last clone of it is dropped or the process ends, however it ends.
///
/// The lock is the system's, on `.lock` in the directory; the file stays there and says who held it last.
#[derive(Clone, Debug)]
pub struct DirLock {
    _file: Option<Arc<File>>,
}

impl DirLock {
    /// Locks a directory, which must be there, without waiting.
    ///
    /// # Errors
    /// [`BadInput`] if another process holds the lock, with its number and host; the system's reason if `.lock` cannot be made.
    pub fn acquire(dir: &Path) -> Result<Self> {
        let place = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
        let mut held = HELD.lock().unwrap_or_else(|e| e.into_inner());
        let held = held.get_or_insert_default();
        if let Some(file) = held.get(&place).and_then(Weak::upgrade) {
            return Ok(Self { _file: Some(file) });
        }
        let path = dir.join(".lock");
        let mut file = match OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path) {
            Ok(file) => file,
            // Nobody can write there.
            Err(e) if e.kind() == ErrorKind::ReadOnlyFilesystem => return Ok(Self { _file: None }),
            Err(e) => bail!(BadInput(format!("{}: {e}", path.display()))),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(BadInput(format!(
                "{}: another process writes there{}; wait until it has ended, or give this one another `name`",
                dir.display(),
                owner(&mut file)
            ))),
            // Some network file systems have no locks.
            Err(TryLockError::Error(e)) => {
                eprintln!("note: {} cannot be locked ({e}): see to it that only one process writes there", dir.display());
                return Ok(Self { _file: None });
            }
        }
        let own = json!({"pid": std::process::id(), "host": host(), "started_unix_seconds": unix_seconds()});
        // What it says is only for the one who is refused.
        let _ = file.set_len(0).and_then(|()| file.write_all(format!("{own}\n").as_bytes()));
        let file = Arc::new(file);
        held.insert(place, Arc::downgrade(&file));
        Ok(Self { _file: Some(file) })
    }
}

/// Who holds a lock, as far as its file says.
fn owner(file: &mut File) -> String {
    let mut text = String::new();
    let _ = file.read_to_string(&mut text);
    let said: Value = serde_json::from_str(&text).unwrap_or_default();
    let Some(pid) = said["pid"].as_u64() else { return String::new() };
    let host = said["host"].as_str().map_or(String::new(), |host| format!(" on {host}"));
    let since = said["started_unix_seconds"].as_u64().zip(unix_seconds());
    let since = since.map_or(String::new(), |(then, now)| format!(", since {} s", now.saturating_sub(then)));
    format!(" (process {pid}{host}{since})")
}

/// The name of this machine, where it is told without asking the C library.
fn host() -> Option<String> {
    let file = |path: &str| std::fs::read_to_string(path).ok();
    let set = |name: &str| std::env::var(name).ok();
    let known =
        file("/proc/sys/kernel/hostname").or_else(|| file("/etc/hostname")).or_else(|| set("HOSTNAME")).or_else(|| set("COMPUTERNAME"));
    known.map(|name| name.trim().to_string()).filter(|name| !name.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_refused_with_the_first_one_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut other = File::create_new(dir.path().join(".lock")).unwrap();
        other.write_all(b"{\"pid\": 4711, \"host\": \"elsewhere\"}\n").unwrap();
        other.try_lock().unwrap();
        let error = DirLock::acquire(dir.path()).unwrap_err();
        assert!(error.is::<BadInput>(), "{error:?}");
        let said = error.to_string();
        assert!(said.contains("process 4711 on elsewhere") && said.contains("another `name`"), "{said}");
        drop(other);
        let first = DirLock::acquire(dir.path()).unwrap();
        // The same process is no second writer.
        let again = DirLock::acquire(dir.path()).unwrap();
        let file = File::open(dir.path().join(".lock")).unwrap();
        drop(first);
        assert!(matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        drop(again);
        file.try_lock().unwrap();
        let said: Value = serde_json::from_str(&std::fs::read_to_string(dir.path().join(".lock")).unwrap()).unwrap();
        assert_eq!(said["pid"], std::process::id());
    }
}
