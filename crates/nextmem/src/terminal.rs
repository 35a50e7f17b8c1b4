//! Standard output and standard error, which may be closed, full, or a terminal that obeys what it is sent.
//!
//! The macros below stand for the ones of the same names in the whole program, which panic when nobody reads any more or a disk is
//! full: hours of training would end with a line that could not be written. Here a line that cannot be written to standard error is
//! lost, and what goes wrong with standard output is told once, at the end ([`finish`]). On a terminal control characters of the
//! texts are made visible, so that a text cannot move the cursor, set the title or hide what stands before it.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, IsTerminal, Result, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A line on standard output, as far as somebody reads it.
macro_rules! println {
    ($($part:tt)*) => { $crate::terminal::out(&format!("{}\n", format_args!($($part)*))) };
}

/// A line on standard error, if it can be written.
macro_rules! eprintln {
    ($($part:tt)*) => { $crate::terminal::err(&format!("{}\n", format_args!($($part)*))) };
}

/// Text on standard error, if it can be written.
macro_rules! eprint {
    ($($part:tt)*) => { $crate::terminal::err(&format!($($part)*)) };
}

/// The first thing that went wrong with standard output.
static BROKEN: Mutex<Option<Error>> = Mutex::new(None);

fn broken() -> MutexGuard<'static, Option<Error>> {
    BROKEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes to standard output, unless that has failed before.
pub fn out(text: &str) {
    let mut broken = broken();
    if broken.is_none() {
        let out = std::io::stdout();
        let text = if out.is_terminal() { visible(text) } else { text.into() };
        let mut out = out.lock();
        *broken = out.write_all(text.as_bytes()).and_then(|()| out.flush()).err();
    }
}

/// Writes to standard error, as far as possible.
pub fn err(text: &str) {
    let err = std::io::stderr();
    let text = if err.is_terminal() { visible(text) } else { text.into() };
    let _ = err.lock().write_all(text.as_bytes());
}

/// A note on standard error, once however often a command comes across its reason.
pub fn note_once(note: String) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let line = format!("note: {note}\n");
    if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(note) {
        err(&line);
    }
}

/// Whether standard output takes nothing any more, so that what only prints can stop.
pub fn closed() -> bool {
    broken().is_some()
}

/// What went wrong with standard output; a reader that stopped early, like `head`, is not wrong.
pub fn finish() -> Result<()> {
    match broken().take() {
        Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// An error with its causes in one line; a cause that a text before it has told already is not told again.
pub fn causes(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        match told.is_empty() {
            true => told = cause,
            false if told.contains(&cause) => {}
            false => told = format!("{told}: {cause}"),
        }
    }
    told
}

/// Whether a terminal would obey a character instead of showing it: controls, and marks that turn the direction of text around.
fn obeyed(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text with escapes like `\u{1b}` for what a terminal would obey, but line ends and tabs.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| obeyed(c) && c != '\n' && c != '\t')
}

/// A text for one cell of a table: without line ends and tabs too.
pub fn cell(text: &str) -> Cow<'_, str> {
    escaped(text, obeyed)
}

fn escaped(text: &str, odd: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&odd) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match odd(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        let text = "Price \u{1b}[2J\u{1b}]0;owned\u{7} for\tMay.\r\nZo\u{eb} \u{9b}1m\u{202e}x";
        assert_eq!(visible(text), "Price \\u{1b}[2J\\u{1b}]0;owned\\u{7} for\tMay.\\r\nZo\u{eb} \\u{9b}1m\\u{202e}x");
        assert_eq!(cell("a\tb\nc\u{0}"), "a\\tb\\nc\\u{0}");
        assert!(matches!(cell("Zo\u{eb} \u{1f31e}"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_cause_is_told_once() {
        let io = || Error::from_raw_os_error(28);
        let reason = io().to_string();
        let twice = anyhow::Error::from(nextmem_model::ModelError::Io { path: "x".into(), source: io() }).context("stage `stage1`");
        assert_eq!(causes(&twice), format!("stage `stage1`: x: {reason}"));
        let once = anyhow::Error::from(io()).context("x");
        assert_eq!(causes(&once), format!("x: {reason}"));
    }
}
