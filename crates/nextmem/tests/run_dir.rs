//! A run directory has one writer, survives kills and damage, and says where its numbers are from.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Dir, TINY, edited, root};

fn longer(steps: usize) -> String {
    let text = TINY.replace("log_every = 2\ncheckpoint_every = 2", "log_every = 4\ncheckpoint_every = 8");
    edited(&text, "steps_per_level = 2\nsteps_last_level = 2", &format!("steps_per_level = {steps}\nsteps_last_level = {steps}"))
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Waits until a stage has logged so many lines.
fn wait_for(dir: &Dir, stage: &str, lines: usize, child: &mut std::process::Child) {
    let metrics = dir.path(&format!("results/tiny/{stage}/metrics.jsonl"));
    let started = Instant::now();
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < lines {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before {stage} logged {lines} lines");
        assert!(started.elapsed() < Duration::from_secs(300), "{stage} never logged {lines} lines");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_second_writer_is_refused_and_does_no_harm() {
    let (alone, dir) = (Dir::new(), Dir::new());
    let toml = longer(100);
    alone.write("x.toml", &toml);
    alone.run(&["run", "x.toml"]).good();
    dir.write("x.toml", &toml);
    let mut first = dir.command(&["run", "x.toml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&dir, "stage2", 1, &mut first);
    let pid = format!("process {}", first.id());
    dir.run(&["run", "x.toml"]).refused(&["another process writes there", &pid]);
    dir.run(&["run", "x.toml", "--force"]).refused(&["another process writes there", &pid]);
    dir.run(&["score", "results/tiny"]).refused(&["another process writes there", &pid]);
    assert!(first.wait().unwrap().success());
    let samples = |dir: &Dir| dir.files("results/tiny/samples").into_iter().filter(|(n, _)| n.ends_with(".jsonl")).collect::<Vec<_>>();
    assert!(samples(&alone) == samples(&dir), "the samples differ from those of one process");
    assert_eq!(alone.read("results/tiny/scores.json"), dir.read("results/tiny/scores.json"));
    // The lock ends with its process.
    dir.run(&["score", "results/tiny"]).good();
}

#[test]
fn two_experiments_may_share_a_stage_at_the_same_time() {
    let dir = Dir::new();
    dir.write("a.toml", TINY);
    dir.write("b.toml", edited(&edited(TINY, "name = \"tiny\"", "name = \"b\""), "steps_last_level = 2", "steps_last_level = 3"));
    let mut children: Vec<_> = ["a.toml", "b.toml"]
        .map(|name| dir.command(&["run", name]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
        .into_iter()
        .collect();
    children.iter_mut().for_each(|child| assert!(child.wait().unwrap().success()));
    let weights = |run: &str| dir.files(&format!("results/{run}/samples")).len();
    assert_eq!(weights("tiny"), weights("b"));
}

#[test]
fn a_directory_that_a_kill_left_at_the_start_is_taken_over() {
    let dir = Dir::new();
    dir.write("x.toml", TINY);
    dir.write("results/tiny/samples/identity.json.12-0.tmp", "{");
    dir.write("results/tiny/experiment.toml", "name = ");
    dir.write("results/tiny/resolved.toml.12-1.tmp", "name");
    dir.run(&["run", "x.toml"]).good();
    let left: Vec<String> = dir.files("results/tiny").into_keys().filter(|n| n.ends_with(".tmp")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn damaged_weights_of_a_finished_stage_are_refused_with_what_to_do() {
    let dir = Dir::new();
    dir.write("x.toml", TINY);
    dir.run(&["run", "x.toml"]).good();
    let file = "results/tiny/stage2/weights/model.safetensors";
    let whole = std::fs::read(dir.path(file)).unwrap();
    let done = json(&dir.read("results/tiny/stage2/done.json"));
    assert_eq!(done["files"]["model.safetensors"]["bytes"], whole.len());
    for key in ["started_unix_seconds", "ended_unix_seconds"] {
        assert!(done[key].as_u64().is_some_and(|at| at > 1_700_000_000), "{done}");
    }
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [flipped.as_slice(), &whole[..whole.len() - 1], b""] {
        dir.write(file, damaged);
        for args in [&["run", "x.toml"][..], &["encode", "results/tiny", "Ann.", "--out", "m.safetensors"]] {
            dir.run(args).refused(&["model.safetensors", "delete results/tiny/stage2 and run again"]);
        }
    }
    std::fs::remove_file(dir.path(file)).unwrap();
    dir.run(&["run", "x.toml"]).refused(&["delete results/tiny/stage2"]);
    std::fs::remove_dir_all(dir.path("results/tiny/stage2")).unwrap();
    dir.run(&["run", "x.toml"]).good();
    assert!(whole == std::fs::read(dir.path(file)).unwrap(), "trained anew, with other bytes");
}

#[test]
fn another_text_after_a_kill_gets_a_tokenizer_of_its_own() {
    let toml = format!(
        "{}\n[data.text]\npath = \"t.txt\"\nmin_words = 3\nmax_words = 12\n",
        longer(2).replace("text = 0.0", "text = 0.3").replace("steps = 4", "steps = 60")
    );
    let [one, other] = ["The boat was old and the sea was grey. ", "Seven quick zebras vex a jolly wizard. "].map(|s| s.repeat(200));
    let (fresh, dir) = (Dir::new(), Dir::new());
    fresh.write("t.txt", &other);
    fresh.write("x.toml", &toml);
    fresh.run(&["run", "x.toml"]).good();
    dir.write("t.txt", &one);
    dir.write("x.toml", &toml);
    let mut child = dir.command(&["run", "x.toml"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for(&dir, "pretrain", 1, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    dir.write("t.txt", &other);
    dir.run(&["run", "x.toml"]).good();
    for file in ["tokenizer.json", "model.safetensors"] {
        let name = format!("results/tiny/pretrain/weights/{file}");
        assert!(std::fs::read(fresh.path(&name)).unwrap() == std::fs::read(dir.path(&name)).unwrap(), "{file}");
    }
}

#[test]
fn a_checkpoint_that_a_kill_left_behind_is_removed() {
    let dir = Dir::new();
    dir.write("x.toml", TINY);
    dir.run(&["run", "x.toml"]).good();
    dir.write("results/tiny/stage1/checkpoint/model-4.bpk", "tens of gigabytes");
    dir.run(&["run", "x.toml"]).good();
    assert!(!dir.path("results/tiny/stage1/checkpoint").exists());
}

#[test]
#[cfg(unix)]
fn a_signal_saves_and_says_so_and_the_numbers_stay() {
    let (whole, dir) = (Dir::new(), Dir::new());
    let toml = longer(150);
    whole.write("x.toml", &toml);
    whole.run(&["run", "x.toml"]).good();
    dir.write("x.toml", &toml);
    for (signal, code, lines) in [("TERM", 143, 2), ("INT", 130, 5)] {
        let mut child = dir.command(&["run", "x.toml"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&dir, "stage2", lines, &mut child);
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains("stopped at step ") && said.contains(" of 300; run again to go on"), "{said}");
        assert!(!said.contains("error:"), "{said}");
    }
    dir.run(&["run", "x.toml"]).good();
    for file in ["stage2/weights/model.safetensors", "scores.json"] {
        let name = format!("results/tiny/{file}");
        assert!(std::fs::read(whole.path(&name)).unwrap() == std::fs::read(dir.path(&name)).unwrap(), "{file} differs");
    }
    let log = |dir: &Dir| {
        let text = dir.read("results/tiny/stage2/metrics.jsonl");
        let strip = |line: &str| {
            let mut line = json(line);
            line.as_object_mut().unwrap().remove("seconds");
            line
        };
        text.lines().map(strip).collect::<Vec<_>>()
    };
    assert_eq!(log(&whole), log(&dir));
}

#[test]
fn the_manifest_names_the_sources_of_the_program_and_both_times() {
    let dir = Dir::new();
    dir.write("x.toml", TINY);
    dir.run(&["run", "x.toml"]).good();
    let manifest = json(&dir.read("results/tiny/manifest.json"));
    let (started, ended) = (manifest["started_unix_seconds"].as_u64().unwrap(), manifest["ended_unix_seconds"].as_u64().unwrap());
    assert!(started > 1_700_000_000 && ended >= started, "{manifest}");
    assert_eq!(manifest["nextmem"], env!("CARGO_PKG_VERSION"));
    // Of the program, not of the directory it runs in, which is no repository.
    let commit = Command::new("git").args(["rev-parse", "HEAD"]).current_dir(root()).output().unwrap();
    if commit.status.success() {
        assert_eq!(manifest["commit"].as_str().unwrap(), String::from_utf8(commit.stdout).unwrap().trim());
        assert!(manifest["dirty"].is_boolean());
    }
    // 0.9 as it was typed.
    let said = dir.run(&["explain", "x.toml"]).good().stdout;
    assert!(said.contains("0.98") && !said.contains("0.8999"), "{said}");
}
