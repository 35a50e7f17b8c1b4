//! What a reader changed without being asked, told to whoever wants to know. This crate prints nothing itself.

use std::cell::Cell;
use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

static SINK: OnceLock<fn(&str)> = OnceLock::new();
static TOLD: Mutex<Option<HashSet<String>>> = Mutex::new(None);

thread_local! {
    static HALVES: Cell<usize> = const { Cell::new(0) };
}

/// From here on `sink` is told what readers changed, each thing once. The first sink stays.
pub fn on_note(sink: fn(&str)) {
    let _ = SINK.set(sink);
}

/// Tells the sink; nothing for an empty text.
pub(crate) fn note(text: &str) {
    if let (Some(sink), false) = (SINK.get(), text.is_empty())
        && TOLD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(text.to_owned())
    {
        sink(text);
    }
}

/// The note about lone surrogates in a file, empty if it has none; they are counted for [`halves_read`].
pub(crate) fn halves(path: &Path, count: usize) -> String {
    HALVES.set(HALVES.get() + count);
    match count {
        0 => String::new(),
        _ => format!("{}: lone surrogates (half an emoji, like \\ud83d) read as U+FFFD: {count}", path.display()),
    }
}

/// How many lone surrogates this thread has read.
pub(crate) fn halves_read() -> usize {
    HALVES.get()
}
