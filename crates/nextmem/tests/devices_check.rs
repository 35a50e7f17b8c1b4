//! scripts/gpu/check.sh with a program that only pretends: its options, its clock, its table and its archive.
#![allow(clippy::unwrap_used)]
#![cfg(unix)]

mod support;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use support::{Dir, Outcome, finish, root};

/// Finds a device, agrees, hangs with a child in `portability`, fails in `bench`, trains until it is ended.
const PRETENDER: &str = r#"#!/usr/bin/env bash
case "$1" in
  --version) echo "nextmem 0.1.0" ;;
  devices) printf '| wgpu    | 0     | a GPU | v1 | 1 GiB | f32 | no |\n' ;;
  parity) echo "all 30 tensors agree" ;;
  portability) sleep 777 & echo $! > "$PRETENDER_CHILD"; sleep 777 ;;
  bench) echo "writing"; echo "error: no | luck" >&2; exit 1 ;;
  run)
    dir=$(sed -n 's/^results = "\(.*\)"/\1/p' "$2")/long/pretrain; mkdir -p "$dir/weights"
    head -c 20000000 /dev/urandom > "$dir/noise"; echo secret > "$dir/weights/model"
    echo '{"step": 7, "loss": 1.5}' > "$dir/metrics.jsonl"; sleep 777 ;;
esac
"#;

fn check(dir: &Dir, args: &[&str]) -> Outcome {
    let mut command = Command::new(root().join("scripts/gpu/check.sh"));
    command.args(args).current_dir(dir.path("")).env("PRETENDER_CHILD", dir.path("child"));
    finish(command)
}

#[test]
fn options_are_checked_before_any_work() {
    let dir = Dir::new();
    for (args, word) in [
        (&["--backend", "metal"][..], "expected cuda, wgpu"),
        (&["--seconds", "soon"], "expected numbers"),
        (&["--seconds"], "needs a value"),
        (&["--only", "parity,lunch"], "no step lunch"),
        (&["--fast"], "unknown option"),
    ] {
        let outcome = check(&dir, args);
        assert_eq!(outcome.code, Some(2), "{outcome:#?}");
        assert!(outcome.stderr.contains(word), "{outcome:#?}");
    }
    assert!(!dir.path("results").exists());
}

#[test]
fn a_step_that_fails_or_hangs_does_not_stop_the_next() {
    let dir = Dir::new();
    dir.write("pretender", PRETENDER);
    std::fs::set_permissions(dir.path("pretender"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = check(&dir, &["--backend", "wgpu", "--tiny", "--limit", "3", "--program", "pretender", "--out", "out"]);
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    let table = std::fs::read_to_string(dir.path("out/gpu-check.md")).unwrap();
    for row in [
        "| unpack | skipped | 0 | --program ",
        "| start | passed |",
        "| devices | passed |",
        "| parity | passed |",
        "| portability | failed: time |",
        "| bench-0.6b | failed: 1 |",
        "| train | passed |",
    ] {
        assert!(table.contains(row), "{row} in\n{table}");
    }
    assert!(table.contains("error: no / luck") && table.contains("stopped by the clock: {\"step\": 7"), "{table}");
    // What hung is gone with its child.
    let child = std::fs::read_to_string(dir.path("child")).unwrap();
    assert!(!std::path::Path::new(&format!("/proc/{}", child.trim())).exists(), "{child}");
    // Everything but weights and what is too large.
    let archive = dir.path("out/gpu-check.tar.gz");
    assert!(archive.metadata().unwrap().len() < 16 << 20);
    let list = finish({
        let mut tar = Command::new("tar");
        tar.arg("-tzf").arg(&archive);
        tar
    });
    let has = |name: &str| list.stdout.lines().any(|line| line.ends_with(name));
    assert!(has("metrics.jsonl") && has("portability.log") && has("gpu-check.md") && has("left-out"), "{list:#?}");
    assert!(!has("noise") && !has("weights/model"), "{list:#?}");
    assert!(table.contains("noise"), "{table}");
}
