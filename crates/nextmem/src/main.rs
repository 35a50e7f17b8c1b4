//! NextMem on Burn: the command line.

use std::process::ExitCode;

use clap::Parser;

mod cli;
mod device;
mod experiment;
mod explain;
mod memory;
mod parity;
mod plan;
mod progress;
mod run;
mod run_dir;
mod source;
mod stages;

fn main() -> ExitCode {
    match cli::Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {:#}", failure.error);
            ExitCode::from(failure.code)
        }
    }
}
