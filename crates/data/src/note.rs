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

/// Tells the sink.
fn note(text: &str) {
    if let Some(sink) = SINK.get()
        && TOLD.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(text.to_owned())
    {
        sink(text);
    }
}

/// Tells how many lone surrogates of a file [`python_json`](crate::python_json) replaced, and counts them;
/// nothing for none.
pub fn note_halves(name: impl AsRef<Path>, count: usize) {
    HALVES.set(HALVES.get() + count);
    if count > 0 {
        note(&format!("{}: lone surrogates (half an emoji, like \\ud83d) read as U+FFFD: {count}", name.as_ref().display()));
    }
}

/// How many lone surrogates this thread has read.
pub(crate) fn halves_read() -> usize {
    HALVES.get()
}
