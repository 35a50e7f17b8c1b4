//! NextMem on Burn: the command line.

use std::process::ExitCode;

use clap::Parser;

// First: its macros stand for the standard ones in all the others.
#[macro_use]
mod terminal;

mod analysis;
mod bench;
mod bertscore;
mod children;
mod cli;
mod compare;
mod cost;
mod data;
mod device;
mod download;
mod experiment;
mod explain;
mod export_hf;
mod facts_source;
mod fetch;
mod figure;
mod hashes;
mod hub;
mod import;
mod interrupt;
mod judge;
mod lm_eval;
mod memory;
mod methods;
mod metrics;
mod outputs;
mod panics;
mod parity;
mod parts;
mod plan;
mod plot;
mod portability;
mod progress;
mod rate;
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
    nextmem_data::on_note(|text| eprintln!("note: {text}"));
    let code = match panics::explained(|| cli.execute()) {
        Ok(Ok(())) => 0,
        Ok(Err(failure)) => {
            // Work that was interrupted and saved is no error.
            let prefix = if interrupt::ended_with(failure.code) { "" } else { "error: " };
            eprintln!("{prefix}{}", terminal::causes(&failure.error));
            failure.code
        }
        Err(reason) => {
            eprintln!("error: {reason}");
            1
        }
    };
    match terminal::finish() {
        Err(error) if code == 0 => {
            eprintln!("error: standard output cannot be written to: {error}; free some space or send it elsewhere, and run it again");
            ExitCode::from(1)
        }
        _ => ExitCode::from(code),
    }
}
