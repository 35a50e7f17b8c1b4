//! NextMem on Burn: the command line.

use std::process::ExitCode;

use clap::Parser;

mod analysis;
mod bench;
mod bertscore;
mod cli;
mod compare;
mod cost;
mod data;
mod device;
mod download;
mod experiment;
mod explain;
mod export_hf;
mod fetch;
mod figure;
mod hashes;
mod hub;
mod import;
mod interrupt;
mod judge;
mod lm_eval;
mod memory;
mod metrics;
mod panics;
mod parity;
mod parts;
mod plan;
mod plot;
mod portability;
mod progress;
mod reproduce;
mod run;
mod run_dir;
mod sample_set;
mod score;
mod source;
mod stages;
mod table;
mod tensorboard;
mod verify;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    panics::install();
    match panics::explained(|| cli.execute()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            // Work that was interrupted and saved is no error.
            let prefix = if interrupt::ended_with(failure.code) { "" } else { "error: " };
            eprintln!("{prefix}{:#}", failure.error);
            ExitCode::from(failure.code)
        }
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(1)
        }
    }
}
