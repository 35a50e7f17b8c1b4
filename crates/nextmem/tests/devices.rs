//! Devices: what is there, what is not, and that those that are there compute the same.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{Dir, Outcome, TINY, edited, finish, nextmem, root};

fn listed() -> String {
    let outcome = finish(nextmem(&root(), &["devices"]));
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    outcome.stdout
}

/// Whether this machine has a device of a backend: a row of the table, not a line of what is missing.
fn has(backend: &str) -> bool {
    listed().lines().any(|line| line.contains(&format!(" {backend} ")) && line.contains("f32"))
}

fn with_device(device: &str) -> Outcome {
    let dir = Dir::new();
    dir.write("x.toml", edited(TINY, "results = \"results\"", &format!("results = \"results\"\n[device]\n{device}")));
    let outcome = dir.run(&["run", "x.toml"]);
    assert!(!dir.path("results").exists(), "a refused run left files: {outcome:#?}");
    outcome
}

#[test]
fn the_table_has_the_cpu_and_says_what_the_others_need() {
    assert!(has("flex"));
    let text = listed();
    for backend in ["wgpu", "cuda", "vulkan"].into_iter().filter(|b| !has(b)) {
        let line =
            text.lines().find(|l| l.trim_start().starts_with(&format!("{backend}: "))).unwrap_or_else(|| panic!("{backend}: {text}"));
        assert!(line.contains("needs"), "{line}");
    }
}

#[test]
fn a_device_that_is_not_there_is_one_line() {
    with_device("backend = \"flex\"\nindex = 7").refused(&["device.index: got 7", "1 `flex` device"]);
    if !has("cuda") {
        let outcome = with_device("backend = \"cuda\"");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:#?}");
        outcome.refused(&["device `cuda`", "NVIDIA", "backend = \"flex\""]);
    }
    if !has("vulkan") && !cfg!(feature = "vulkan") {
        with_device("backend = \"vulkan\"").refused(&["not in this build", "--features vulkan"]);
    }
    let needed = if has("wgpu") { ["device.index: got 99", "nextmem devices"] } else { ["device `wgpu`", "mesa-vulkan-drivers"] };
    with_device("backend = \"wgpu\"\nindex = 99").refused(&needed);
}

#[test]
fn names_of_devices_are_checked_before_any_work() {
    let dir = Dir::new();
    dir.write("x.toml", TINY);
    dir.run(&["portability", "x.toml", "--devices", "metal"]).refused(&["--devices", "metal", "flex"]);
    dir.run(&["portability", "x.toml", "--devices", "flex@x"]).refused(&["backend[@index][:dtype]"]);
    dir.run(&["portability", "x.toml", "--devices", "flex:f8"]).refused(&["f8", "bf16"]);
    dir.run(&["bench"]).refused(&["--size", "--model"]);
    dir.run(&["bench", "--size", "9b"]).refused(&["9b", "0.6b"]);
    assert!(!dir.path("results").exists());
}

/// Runs the portability test and returns its rows for a device.
fn rows(device: &str) -> Vec<Value> {
    let dir = Dir::new();
    let experiment = root().join("experiments/portability.toml");
    let out = dir.path("out");
    let mut command = nextmem(&root(), &["portability", experiment.to_str().unwrap(), "--devices", device, "--out", out.to_str().unwrap()]);
    // Software devices pay for every kernel that tuning tries.
    command.env("CUBECL_AUTOTUNE_LEVEL", "minimal");
    let outcome = finish(command);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    let text = std::fs::read_to_string(out.join("portability.md")).unwrap();
    assert!(text.contains("greedy ids") && text.contains("log_softmax"), "{text}");
    let json: Value = serde_json::from_slice(&std::fs::read(out.join("portability.json")).unwrap()).unwrap();
    json["devices"][0]["rows"].as_array().unwrap().clone()
}

#[test]
fn flex_agrees_with_itself_in_more_digits() {
    let rows = rows("flex");
    let has = |name: &str| rows.iter().any(|r| r["row"] == name);
    // Operations, their gradients, the model, its memories and its training are all there.
    for name in [
        "matmul, transposed right-hand side",
        "matmul, transposed right-hand side, gradient of k",
        "latents",
        "NF4 codes",
        "greedy ids",
        "stage 1 gradient of q_proj",
        "stage 2 gradient of q_proj.lora_a",
        "stage 2 losses of 10 training steps",
    ] {
        assert!(has(name), "{name}");
    }
    let errors: Vec<f64> = rows.iter().filter_map(|r| r["error"].as_f64()).collect();
    assert!(errors.iter().all(|e| *e < 1e-4), "{errors:?}");
    assert!(errors.iter().filter(|e| **e > 0.0).count() > 50, "f32 must differ from f64");
}

#[test]
fn wgpu_agrees_where_there_is_one() {
    if !has("wgpu") {
        assert!(std::env::var_os("NEXTMEM_REQUIRE_WGPU").is_none(), "a wgpu device is required here");
        eprintln!("no wgpu device: nothing compared");
        return;
    }
    assert!(rows("wgpu").iter().all(|r| r["verdict"] == "ok"));
}

#[test]
fn the_same_experiment_runs_on_wgpu_where_there_is_one() {
    if !has("wgpu") {
        return;
    }
    let dir = Dir::new();
    dir.write("x.toml", edited(TINY, "results = \"results\"", "results = \"results\"\n[device]\nbackend = \"wgpu\""));
    let mut command = dir.command(&["run", "x.toml"]);
    command.env("CUBECL_AUTOTUNE_LEVEL", "minimal");
    let outcome = finish(command);
    outcome.good();
    let loss = |path: &str| -> f64 {
        let log = std::fs::read_to_string(dir.path(path)).unwrap();
        let last = log.lines().rfind(|l| l.contains("grad_norm")).unwrap();
        serde_json::from_str::<Value>(last).unwrap()["loss"].as_f64().unwrap()
    };
    let on_wgpu = loss("results/tiny/stage2/metrics.jsonl");
    std::fs::remove_dir_all(dir.path("results")).unwrap();
    dir.write("x.toml", TINY);
    dir.run(&["run", "x.toml"]).good();
    // The same data from the same first weights, three stages on.
    let on_flex = loss("results/tiny/stage2/metrics.jsonl");
    assert!((on_wgpu - on_flex).abs() < 1e-3 * on_flex, "{on_wgpu} and {on_flex}");
}
