//! A download as the command line has it: how long to wait, and what is shown meanwhile.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{DownloadError, Downloaded, Options, Progress, download};

/// How patient a download is.
#[derive(Debug, Args)]
pub struct Network {
    /// Longest wait for a connection, an answer or the next byte, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// Failures in a row before giving up
    #[arg(long, default_value_t = 5)]
    retries: u32,
}

impl Network {
    /// A download with nothing else decided.
    pub fn options(&self) -> Options {
        Options { retries: self.retries, stall: Duration::from_secs(self.timeout), ..Options::default() }
    }
}

/// Downloads with a bar in bytes on a terminal and with notes elsewhere; `name` is what it is called there.
pub fn with_bar(name: &str, url: &str, dest: &Path, options: &Options) -> Result<Downloaded, DownloadError> {
    let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr_with_hz(4) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(None, target);
    let style = "{prefix} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} (left {eta})";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(name.to_string());
    if bar.is_hidden() {
        eprintln!("{name}: from {url}");
    }
    let mut started = false;
    let got = download(url, dest, options, &mut |progress| match progress {
        Progress::Bytes(done, total) => {
            if let Some(total) = total {
                bar.set_length(total);
            }
            bar.set_position(done);
            if !started && done > 0 {
                // What was there before is not part of the speed.
                bar.reset_eta();
                note(&bar, &format!("{name}: going on after {done} bytes"), total.is_some());
            }
            started = true;
        }
        Progress::Note(text) => note(&bar, &format!("{name}: {text}"), true),
    });
    bar.finish_and_clear();
    let got = got?;
    eprintln!("{name}: {}", if got.kept { "is here already" } else { "downloaded and checked" });
    Ok(got)
}

fn note(bar: &ProgressBar, text: &str, print: bool) {
    match (print, bar.is_hidden()) {
        (false, _) => {}
        (true, true) => eprintln!("{text}"),
        (true, false) => bar.println(text),
    }
}
