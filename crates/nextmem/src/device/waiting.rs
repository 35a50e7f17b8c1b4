//! A first run compiles kernels for minutes before its first answer; this says so.

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, Instant, SystemTime};

/// Without an answer for so long, a line is due.
const QUIET: Duration = Duration::from_secs(5);
/// Between two lines.
const AGAIN: Duration = Duration::from_secs(60);
/// Without a new kernel for so long, nothing is being compiled.
const SETTLED: Duration = Duration::from_secs(20);

/// Watches the file in which compiled kernels are kept, in a thread of its own until the process ends, and says on stderr
/// when they have been compiled for a while. What uses the device need not tell.
pub fn watch(device: &str) {
    static STARTED: Once = Once::new();
    let Some(file) = kernels() else { return };
    let device = device.to_string();
    STARTED.call_once(|| {
        if let Err(reason) = writable(&file) {
            eprintln!("note: compiled kernels cannot be kept in {} ({reason}); every run compiles them again", file.display());
        }
        std::thread::spawn(move || {
            let mut state = Watch::new(Instant::now(), stamp(&file));
            loop {
                std::thread::sleep(Duration::from_millis(500));
                if let Some(seconds) = state.due(Instant::now(), stamp(&file)) {
                    eprintln!("{}", line(&device, seconds, &file));
                }
            }
        });
    });
}

fn line(device: &str, seconds: u64, file: &Path) -> String {
    match seconds < AGAIN.as_secs() {
        true => format!("compiling kernels for {device}; the first run on a machine takes minutes, later ones reuse {}", file.display()),
        false => format!("still compiling kernels for {device}, {seconds} s so far"),
    }
}

/// The file that compiled kernels are kept in.
pub fn kernels() -> Option<PathBuf> {
    #[cfg(feature = "cubecl")]
    {
        Some(cubecl::environment::path())
    }
    #[cfg(not(feature = "cubecl"))]
    {
        None
    }
}

/// Whether the file can be written where it is, or be made there.
pub fn writable(file: &Path) -> std::io::Result<()> {
    if file.exists() {
        return std::fs::OpenOptions::new().append(true).open(file).map(drop);
    }
    let dir = file.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(dir)?;
    tempfile::tempfile_in(dir).map(drop)
}

/// What changes when a kernel is added: the database or its log.
fn stamp(file: &Path) -> Vec<(u64, Option<SystemTime>)> {
    let log = PathBuf::from(format!("{}-wal", file.display()));
    let of = |path: &Path| path.metadata().ok().map(|m| (m.len(), m.modified().ok()));
    [file, &log].into_iter().filter_map(of).collect()
}

/// When a line is due.
struct Watch<S> {
    started: Instant,
    last: S,
    changed: Option<Instant>,
    said: Option<Instant>,
}

impl<S: PartialEq> Watch<S> {
    fn new(now: Instant, stamp: S) -> Self {
        Self { started: now, last: stamp, changed: None, said: None }
    }

    /// Seconds that compiling has taken, if it is time to say so.
    fn due(&mut self, now: Instant, stamp: S) -> Option<u64> {
        if self.last != stamp {
            // Work after a pause starts anew.
            if self.changed.is_none_or(|at| now - at > SETTLED) {
                self.started = now;
                self.said = None;
            }
            self.last = stamp;
            self.changed = Some(now);
        }
        let busy = self.changed.is_some_and(|at| now - at < SETTLED);
        let quiet = self.said.map_or(now - self.started >= QUIET, |at| now - at >= AGAIN);
        if !busy || !quiet {
            return None;
        }
        self.said = Some(now);
        Some((now - self.started).as_secs())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_while_kernels_are_added_and_only_then() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut watch = Watch::new(start, 0);
        assert_eq!(watch.due(at(8), 0), None, "nothing was compiled");
        assert_eq!(watch.due(at(10), 1), None);
        assert_eq!(watch.due(at(12), 2), None);
        assert_eq!(watch.due(at(15), 2), Some(5));
        assert_eq!(watch.due(at(16), 3), None, "said already");
        assert_eq!((17..80).filter_map(|s| watch.due(at(s), s)).collect::<Vec<_>>(), [65]);
        assert_eq!((80..300).find_map(|s| watch.due(at(s), 80)), None, "it has settled");
        assert_eq!((300..308).filter_map(|s| watch.due(at(s), s)).collect::<Vec<_>>(), [5], "another batch shape");
    }

    #[test]
    fn the_lines_name_device_and_file() {
        let first = line("llvmpipe", 5, Path::new("/c/default.db"));
        assert!(first.contains("llvmpipe") && first.contains("reuse /c/default.db"), "{first}");
        assert!(line("llvmpipe", 65, Path::new("x")).contains("65 s"));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told() {
        assert!(writable(Path::new("/dev/null/x/kernels")).is_err());
        let dir = tempfile::tempdir().unwrap();
        assert!(writable(&dir.path().join("a/kernels")).is_ok());
    }
}
