//! A run that is killed, at any moment and many times, ends with the very numbers of one that was not.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Dir, TINY, edited};

/// Only a guard against hanging forever; nothing here depends on speed.
const HANG: Duration = Duration::from_secs(300);

fn longer() -> String {
    let text =
        TINY.replace("log_every = 2\ncheckpoint_every = 2", "log_every = 5\ncheckpoint_every = 5").replace("steps = 4", "steps = 40");
    edited(&text, "steps_per_level = 2\nsteps_last_level = 2", "steps_per_level = 40\nsteps_last_level = 60")
}

fn lora() -> String {
    let stage1 = "[train.reconstruction.lora]\nrank = 2\nalpha = 4\n";
    let stage2 = "[train.substitution.lora]\nrank = 2\nalpha = 4\n";
    let text = edited(&longer(), "block_tokens = 8", "block_tokens = 8\nschedule = \"random\"");
    format!("{}\n{stage1}\n{stage2}", text.replace("batch_size = 4", "batch_size = 2\naccumulation = 2"))
}

/// Kills the run as soon as a stage has logged so many lines.
fn kill_at(dir: &Dir, stage: &str, lines: usize) {
    let metrics = dir.path(&format!("results/tiny/{stage}/metrics.jsonl"));
    let mut child = dir.command(&["run", "x.toml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < lines {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before {stage} logged {lines} lines");
        assert!(started.elapsed() < HANG, "{stage} never logged {lines} lines");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!dir.path(&format!("results/tiny/{stage}/done.json")).exists(), "{stage} was finished before it was killed");
}

/// What must not depend on kills: weights, samples and scores as they are, logs without their times.
fn numbers(dir: &Dir) -> Vec<(String, String)> {
    let mut out = Vec::new();
    for (name, bytes) in dir.files("results/tiny") {
        if name.ends_with("metrics.jsonl") {
            let lines = String::from_utf8(bytes).unwrap();
            let lines = lines.lines().map(|line| {
                let mut line: Value = serde_json::from_str(line).unwrap();
                line.as_object_mut().unwrap().remove("seconds");
                line.to_string()
            });
            out.push((name, lines.collect::<Vec<_>>().join("\n")));
        } else if name.contains("/weights/") || name.starts_with("samples/") || name == "scores.json" {
            out.push((name, format!("{bytes:?}")));
        }
    }
    out
}

fn same_after(toml: &str, interrupt: impl FnOnce(&Dir)) {
    let (whole, killed) = (Dir::new(), Dir::new());
    for dir in [&whole, &killed] {
        dir.write("x.toml", toml);
    }
    whole.run(&["run", "x.toml"]).good();
    interrupt(&killed);
    killed.run(&["run", "x.toml"]).good();
    let (expected, got) = (numbers(&whole), numbers(&killed));
    assert!(expected.len() > 15, "{:?}", expected.iter().map(|(n, _)| n).collect::<Vec<_>>());
    for (expected, got) in expected.iter().zip(&got) {
        assert!(expected == got, "{} differs", expected.0);
    }
    assert_eq!(expected.len(), got.len());
    let left = killed.files("results/tiny").into_keys().filter(|n| n.contains("checkpoint") || n.ends_with(".tmp")).collect::<Vec<_>>();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn killed_once_in_every_stage() {
    same_after(&longer(), |dir| {
        kill_at(dir, "pretrain", 2);
        kill_at(dir, "stage1", 2);
        kill_at(dir, "stage2", 2);
    });
}

#[test]
fn killed_three_times_in_one_stage_with_partial_files_left() {
    same_after(&longer(), |dir| {
        for lines in [1, 5, 9] {
            kill_at(dir, "stage2", lines);
            // What a kill in the middle of a write can leave: half a file, a checkpoint of one part, half a line.
            dir.write("results/tiny/stage2/checkpoint/partial-model.bpk", "garbage");
            dir.write("results/tiny/stage2/checkpoint/model-999.bpk", "garbage");
            let log = dir.read("results/tiny/stage2/metrics.jsonl");
            dir.write("results/tiny/stage2/metrics.jsonl", format!("{log}{{\"step\": 9"));
        }
    });
}

#[test]
fn killed_with_adapters_accumulation_and_random_levels() {
    same_after(&lora(), |dir| {
        kill_at(dir, "stage1", 3);
        kill_at(dir, "stage2", 4);
        kill_at(dir, "stage2", 8);
    });
}

#[test]
fn killed_while_it_predicts() {
    same_after(TINY, |dir| {
        dir.run(&["run", "x.toml"]).good();
        // As if it had been killed there: the last line half-written, later files not yet begun.
        let cut = "results/tiny/samples/contextual_qa.facts.dense-comp.jsonl";
        let text = dir.read(cut);
        dir.write(cut, &text[..text.len() - 20]);
        for later in ["retrieval.facts.sparse.jsonl", "reconstruction.facts.sparse.jsonl"] {
            std::fs::remove_file(dir.path("results/tiny/samples").join(later)).unwrap();
        }
        std::fs::remove_file(dir.path("results/tiny/scores.json")).unwrap();
    });
}
