//! Progress bars on stderr; a plain line now and then where stderr is no terminal.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nextmem_training::Observer;

/// Seconds between two plain lines.
const QUIET_SECONDS: u64 = 15;

/// One bar.
pub struct Bars {
    name: String,
    bar: ProgressBar,
    printed: Mutex<Option<Instant>>,
}

impl Bars {
    /// A bar that is drawn from its first step on.
    pub fn new(name: &str) -> Self {
        let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr_with_hz(4) } else { ProgressDrawTarget::hidden() };
        Self { name: name.to_string(), bar: ProgressBar::with_draw_target(None, target), printed: Mutex::new(None) }
    }

    /// Starts a count to `total` at `done`.
    pub fn begin(&self, done: usize, total: usize) {
        if let Ok(style) = ProgressStyle::with_template("{prefix:>16} [{bar:30}] {pos}/{len} {elapsed} (left {eta}) {msg}") {
            self.bar.set_style(style.progress_chars("=> "));
        }
        self.bar.set_prefix(self.name.clone());
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
    }

    /// Moves to a position.
    pub fn at(&self, position: usize, message: &str) {
        self.bar.set_position(position as u64);
        self.bar.set_message(message.to_string());
        if self.bar.is_hidden() {
            let mut printed = self.printed.lock().unwrap_or_else(|e| e.into_inner());
            if printed.is_none_or(|at| at.elapsed() > Duration::from_secs(QUIET_SECONDS)) {
                eprintln!("{}: {position}/{} {message}", self.name, self.bar.length().unwrap_or(0));
                *printed = Some(Instant::now());
            }
        }
    }

    /// A line above the bar.
    pub fn note(&self, line: &str) {
        self.bar.suspend(|| eprintln!("{}: {line}", self.name));
    }

    /// Leaves the last state on the screen.
    pub fn finish(&self, message: &str) {
        let hidden = self.bar.is_hidden();
        self.bar.abandon_with_message(message.to_string());
        if hidden {
            eprintln!("{}: {message} after {:.0} s", self.name, self.bar.elapsed().as_secs_f64());
        }
    }
}

impl Observer for Bars {
    fn start(&self, _stage: &str, done: usize, total: usize) {
        self.begin(done, total);
    }
    fn step(&self, step: usize, message: &str) {
        self.at(step, message);
    }
    fn end(&self, message: &str) {
        self.finish(message);
    }
}
