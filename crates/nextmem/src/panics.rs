//! Panics of libraries as error lines: GPU runtimes report what a machine lacks by panicking.

use std::panic::{AssertUnwindSafe, PanicHookInfo, UnwindSafe, catch_unwind};
use std::sync::Mutex;

/// What the threads that panicked said, the first one first.
static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn said() -> std::sync::MutexGuard<'static, Vec<String>> {
    SAID.lock().unwrap_or_else(|e| e.into_inner())
}

/// From here on a panic is kept for [`quietly`] instead of being printed; `RUST_BACKTRACE` prints it as well.
pub fn install() {
    let print = std::panic::take_hook();
    let wanted = std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0");
    std::panic::set_hook(Box::new(move |info| {
        said().push(describe(info));
        if wanted {
            print(info);
        }
    }));
}

fn describe(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied());
    let place = info.location().map_or(String::new(), |l| format!(" [{}:{}]", l.file().rsplit('/').next().unwrap_or_default(), l.line()));
    format!("{}{place}", shortened(text.unwrap_or("unknown panic")))
}

/// What runtimes say when memory is short, in lower case.
const MEMORY: [&str; 8] =
    ["out of memory", "outofmemory", "out_of_memory", "toobig", "too big", "can't allocate", "cannot allocate", "max buffer"];

fn about_memory(text: &str) -> bool {
    let low = text.to_lowercase();
    MEMORY.iter().any(|word| low.contains(word))
}

/// The first lines in one, for messages with backtraces in them; the line about memory instead where one has it further down.
fn shortened(text: &str) -> String {
    let all: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let lines = match all.iter().find(|line| about_memory(line)) {
        Some(line) => std::slice::from_ref(line),
        None => &all[..all.len().min(3)],
    };
    let mut line = lines.join(" ");
    if let Some((end, _)) = line.char_indices().nth(300) {
        line.truncate(end);
    }
    line
}

/// Runs something that may panic; the error is the first thing that any thread said.
pub fn quietly<T>(work: impl FnOnce() -> T + UnwindSafe) -> Result<T, String> {
    let before = said().len();
    let result = catch_unwind(work);
    let mut heard = said();
    let first = heard.get(before).cloned();
    heard.truncate(before);
    result.map_err(|_| first.unwrap_or_else(|| "unknown panic".into()))
}

/// Runs the whole program; a panic becomes a message that says what to do.
pub fn explained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    quietly(AssertUnwindSafe(work)).map_err(|said| {
        match about_memory(&said) {
            true => format!(
                "the device ran out of memory ({said}); use a smaller batch_size, accumulation for the same effective batch, dtype = \"bf16\" or a larger device"
            ),
            // A driver or compiler that lacks something says so at the first kernel that needs it.
            false if crate::device::explained(&said) != said => crate::device::explained(&said),
            false => format!("{said}; this should not happen, please report it with what you ran (RUST_BACKTRACE=1 shows more)"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_message_of_any_thread_is_the_reason() {
        install();
        let nested = || {
            let _ = std::thread::spawn(|| panic!("no driver\n\nBacktrace:\n  many frames\n  more")).join();
            panic!("could not read");
        };
        let said = quietly(nested).err().unwrap_or_default();
        assert!(said.starts_with("no driver Backtrace: many frames [panics.rs:"), "{said}");
        assert!(said.lines().count() == 1);
        assert_eq!(quietly(|| 3), Ok(3));
        let out = explained(|| panic!("BufferTooBig(12)")).err().unwrap_or_default();
        assert!(out.starts_with("the device ran out of memory (BufferTooBig(12)"), "{out}");
        let out = explained(|| panic!("1\n2\n3\ncan't allocate buffer of size: 7\n5")).err().unwrap_or_default();
        assert!(out.starts_with("the device ran out of memory (can't allocate buffer of size: 7 ["), "{out}");
    }
}
