//! Which program, on what, when.

use std::path::Path;

use serde_json::{Value, json};

use super::sha256;

/// Which program made a result, and on how many cores. Commit and `dirty` are those of the sources that it was built from, wherever
/// it runs; `dirty` says whether a source file differed from the commit.
pub fn provenance() -> Value {
    let commit = option_env!("NEXTMEM_COMMIT").filter(|commit| !commit.is_empty());
    json!({
        "nextmem": env!("CARGO_PKG_VERSION"),
        "commit": commit,
        "dirty": commit.map(|_| option_env!("NEXTMEM_DIRTY") == Some("true")),
        "cargo_lock": sha256(include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock"))),
        "cores": std::thread::available_parallelism().map(|n| n.get()).ok(),
    })
}

/// Seconds since 1970; nothing where the clock is before it.
pub fn unix_seconds() -> Option<u64> {
    std::time::UNIX_EPOCH.elapsed().map(|since| since.as_secs()).ok()
}

/// [`peak_memory_bytes`] in MiB.
pub fn peak_memory_mib() -> Option<u64> {
    peak_memory_bytes().map(|bytes| bytes >> 20)
}

/// Highest resident memory of this process, where the system tells (Linux).
pub fn peak_memory_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What was typed after `nextmem`, absolute paths by their last part: what belongs into a result file.
pub fn arguments() -> String {
    let short = |argument: String| match Path::new(&argument) {
        path if path.is_absolute() => path.file_name().map_or(argument.clone(), |name| name.to_string_lossy().into_owned()),
        _ => argument,
    };
    std::env::args().skip(1).map(short).collect::<Vec<_>>().join(" ")
}
