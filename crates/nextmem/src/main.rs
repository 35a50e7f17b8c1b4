//! NextMem on Burn: the command line.

use std::process::ExitCode;

use clap::Parser;

mod analysis;
mod bench;
mod cli;
mod compare;
mod cost;
mod device;
mod experiment;
mod explain;
mod import;
mod lm_eval;
mod memory;
mod panics;
mod parity;
mod parts;
mod plan;
mod portability;
mod progress;
mod run;
mod run_dir;
mod sample_set;
mod source;
mod stages;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    panics::install();
    match panics::explained(|| cli.execute()) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            eprintln!("error: {:#}", failure.error);
            ExitCode::from(failure.code)
        }
        Err(reason) => {
            eprintln!("error: {reason}");
            ExitCode::from(1)
        }
    }
}
