//! Progress bars on stderr; a plain line now and then where stderr is no terminal.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use nextmem_training::Observer;

/// Seconds between two plain lines.
const QUIET_SECONDS: u64 = 15;

/// One bar.
pub struct Bars {
    name: String,
    bar: ProgressBar,
    printed: Mutex<Option<Instant>>,
    /// Where the count began.
    first: Arc<AtomicUsize>,
}

impl Bars {
    /// A bar that is drawn from its first step on.
    pub fn new(name: &str) -> Self {
        let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr_with_hz(4) } else { ProgressDrawTarget::hidden() };
        Self { name: name.to_string(), bar: ProgressBar::with_draw_target(None, target), printed: Mutex::new(None), first: Arc::default() }
    }

    /// Starts a count to `total` at `done`.
    pub fn begin(&self, done: usize, total: usize) {
        self.first.store(done, Ordering::Relaxed);
        if let Ok(style) = ProgressStyle::with_template("{prefix:>16} [{bar:20}] {pos}/{len} {elapsed} ({left}) {msg}") {
            let first = self.first.clone();
            let tracker = move |state: &ProgressState, w: &mut dyn std::fmt::Write| {
                let total = usize::try_from(state.len().unwrap_or(0)).unwrap_or(usize::MAX);
                let at = usize::try_from(state.pos()).unwrap_or(usize::MAX);
                let _ = w.write_str(&left(first.load(Ordering::Relaxed), at, total, state.elapsed()));
            };
            self.bar.set_style(style.progress_chars("=> ").with_key("left", tracker));
        }
        self.bar.set_prefix(self.name.clone());
        self.bar.set_length(total as u64);
        self.bar.reset_elapsed();
        self.bar.set_position(done as u64);
    }

    /// Moves to a position.
    pub fn at(&self, position: usize, message: &str) {
        self.bar.set_position(position as u64);
        self.bar.set_message(message.to_string());
        if self.bar.is_hidden() {
            let mut printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner);
            if printed.is_none_or(|at| at.elapsed() > Duration::from_secs(QUIET_SECONDS)) {
                let total = usize::try_from(self.bar.length().unwrap_or(0)).unwrap_or(usize::MAX);
                let left = left(self.first.load(Ordering::Relaxed), position, total, self.bar.elapsed());
                let message = if message.is_empty() { String::new() } else { format!(" {message}") };
                eprintln!("{}: {position}/{total} ({left}){message}", self.name);
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

/// How long the rest takes if it goes on as from `first` to `at` on average: one long step, a validation or a checkpoint, moves it
/// less and less, while indicatif's own estimate follows the last seconds.
fn left(first: usize, at: usize, total: usize, elapsed: Duration) -> String {
    let done = at.saturating_sub(first);
    if done == 0 {
        return "left ?".into();
    }
    let seconds = (elapsed.as_secs_f64() * total.saturating_sub(at) as f64 / done as f64).round();
    let (hours, minutes) = ((seconds / 3600.0).floor(), (seconds / 60.0).floor());
    match seconds {
        s if s < 60.0 => format!("left {s:.0}s"),
        s if s < 3600.0 => format!("left {minutes:.0}m {:.0}s", s - 60.0 * minutes),
        _ => format!("left {hours:.0}h {:.0}m", minutes - 60.0 * hours),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_is_that_of_the_mean_step() {
        let after = |first, at, seconds| left(first, at, 450, Duration::from_secs(seconds));
        assert_eq!(after(0, 0, 9), "left ?");
        assert_eq!(after(0, 225, 50), "left 50s");
        // Resumed at 400: only the steps of this process count.
        assert_eq!(after(400, 410, 30), "left 2m 0s");
        assert_eq!(after(0, 10, 200), "left 2h 26m");
        assert_eq!(after(0, 450, 200), "left 0s");
        // More than there are, as a caller may say.
        assert_eq!(after(0, 460, 200), "left 0s");
    }
}
