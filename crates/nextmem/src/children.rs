//! Worker processes that do not outlive the program that started them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

/// Tells a worker that its standard input is a pipe from its parent, which closes when the parent ends, however it ends.
const WATCH: &str = "NEXTMEM_ENDS_WITH_PARENT";

/// What the folders of weights and inputs for workers are called, so that a worker removes nothing else.
const FOLDER: &str = "nextmem-work-";

/// A command that ends itself when this process ends: ours through [`working`], the PyTorch side likewise. Keep
/// the child's standard input open for as long as it shall run.
pub fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env(WATCH, "1").stdin(Stdio::piped());
    command
}

/// This program, as [`command`].
pub fn this_program() -> Result<Command> {
    Ok(command(&std::env::current_exe().context("this program's own path")?))
}

/// Waits for a worker without closing its standard input, which would end it.
pub fn wait(mut child: Child) -> Result<ExitStatus> {
    let _open = child.stdin.take();
    child.wait().context("a worker process")
}

/// A temporary folder for what workers read; whoever ends last removes it.
pub fn folder() -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(FOLDER).tempdir().context("a temporary directory for weights and inputs")
}

/// Whether the parent has ended and this process is about to.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Does a worker's work, and ends this process when its parent has ended; the folder of `input` is removed then.
pub fn working<T>(input: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    if std::env::var_os(WATCH).is_none() {
        return work();
    }
    let ours = |dir: &&Path| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(FOLDER));
    let folder: Option<PathBuf> = input.parent().filter(ours).map(Path::to_owned);
    std::thread::spawn(move || {
        // Nothing is ever written: reading ends when the other end is closed.
        let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
        ENDING.store(true, Ordering::SeqCst);
        if let Some(folder) = folder {
            let _ = std::fs::remove_dir_all(folder);
        }
        std::process::exit(1)
    });
    let result = work();
    if result.is_err() {
        // Without a parent there is nobody to write to: that may be the error, and the folder must still go.
        std::thread::sleep(Duration::from_millis(300));
        while ENDING.load(Ordering::SeqCst) {
            std::thread::park();
        }
    }
    result
}
