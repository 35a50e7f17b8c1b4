//! Devices: what is there, what is not, and that those that are there compute the same.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::Value;
use support::{ADAPT, Dir, Outcome, TINY, edited, finish, nextmem, root};

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
    if cfg!(feature = "cuda") && !has("cuda") {
        let outcome = with_device("backend = \"cuda\"");
        assert_eq!(outcome.stderr.lines().count(), 1, "{outcome:#?}");
        outcome.refused(&["device `cuda`", "NVIDIA", "backend = \"flex\""]);
    }
    if has("wgpu") {
        with_device("backend = \"wgpu\"\nindex = 99").refused(&["device.index: got 99", "nextmem devices"]);
    } else if cfg!(feature = "wgpu") {
        with_device("backend = \"wgpu\"\nindex = 99").refused(&["device `wgpu`", "mesa-vulkan-drivers"]);
    }
}

#[test]
fn a_backend_that_is_not_in_the_build_is_refused_with_the_command_that_adds_it() {
    let text = listed();
    for (backend, built) in [("wgpu", cfg!(feature = "wgpu")), ("cuda", cfg!(feature = "cuda")), ("vulkan", cfg!(feature = "vulkan"))]
        .into_iter()
        .filter(|b| !b.1)
    {
        assert!(!built && !has(backend));
        let build = format!("cargo build --release --features {backend}");
        let run = format!("cargo run --release --features {backend} -- run x.toml");
        with_device(&format!("backend = \"{backend}\"")).refused(&["not in this build", &build, &run]);
        assert!(text.contains(&build), "{text}");
    }
    with_device("backend = \"metal\"").refused(&["metal", "flex, wgpu, cuda, vulkan"]);
}

#[test]
fn what_is_trained_already_needs_no_gpu() {
    let on_cuda = "results = \"results\"\n[device]\nbackend = \"cuda\"\nevaluate = \"flex\"\n";
    let training = edited(ADAPT, "results = \"results\"\n", on_cuda);
    let untrained =
        training.split("[train.reconstruction]").next().unwrap().to_owned() + "[eval.reconstruction]\nlimit = 3\nmetrics = [\"f1\"]\n";
    let dir = Dir::with_backbone();
    dir.write("x.toml", &untrained);
    dir.run(&["run", "x.toml"]).good();
    let samples: serde_json::Value = serde_json::from_str(&dir.read("results/adapt/samples/identity.json")).unwrap();
    assert!(samples.to_string().contains("flex") && !samples.to_string().contains("cuda"), "{samples}");
    // A stage that is left to be trained is another matter.
    if !has("cuda") {
        dir.write("x.toml", training.replace("name = \"adapt\"", "name = \"trained\""));
        dir.run(&["run", "x.toml"]).refused(&["cuda"]);
        assert!(!dir.path("results/trained").exists());
    }
    dir.write("x.toml", untrained.replace("evaluate = \"flex\"", "evaluate = \"metal\""));
    dir.run(&["run", "x.toml"]).refused(&["device.evaluate", "metal"]);
}

/// A libcuda made of a few functions, first in the way of the loader.
#[cfg(feature = "cuda")]
fn with_libcuda(source: &str) -> (Dir, String) {
    let dir = Dir::new();
    dir.write("cuda.c", source);
    let library = dir.path("libcuda.so.1");
    let made = std::process::Command::new("cc").args(["-shared", "-fPIC", "-w", "-o"]).arg(&library).arg(dir.path("cuda.c")).status();
    assert!(made.expect("a C compiler").success());
    let mut command = nextmem(&root(), &["devices"]);
    command.env("LD_LIBRARY_PATH", dir.path(""));
    let outcome = finish(command);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    (dir, outcome.stdout)
}

/// Whatever is wrong with CUDA is told in CUDA's line, and the other backends are there as before.
#[cfg(feature = "cuda")]
#[test]
fn a_broken_driver_is_explained_and_takes_no_other_backend_with_it() {
    let init =
        "int cuInit(unsigned f){return 0;} int cuDriverGetVersion(int*v){*v=12040;return 0;} int cuDeviceGetCount(int*n){*n=1;return 0;}";
    // What every driver has to put an error into words; without it the program would end while it says what is wrong.
    let names =
        "int cuGetErrorName(int e,const char**s){*s=\"name\";return 0;} int cuGetErrorString(int e,const char**s){*s=\"text\";return 0;} ";
    for (source, words) in [
        ("int nothing(void){return 0;}", &["Missing symbol", "cuInit", "570"][..]),
        ("int cuInit(unsigned f){return 100;} int cuDeviceGetCount(int*n){*n=0;return 100;}", &["sees no GPU", "nvidia-smi"]),
        ("int cuInit(unsigned f){return 0;}", &["Missing symbol", "570"]),
        ("int cuInit(unsigned f){return *(int*)0;}", &["driver ended the process"]),
        ("int cuInit(unsigned f){return 34;} int cuDeviceGetCount(int*n){return 34;}", &["stub"]),
        ("int cuInit(unsigned f){return 803;} int cuDeviceGetCount(int*n){return 803;}", &["reboot"]),
        (init, &["Missing symbol"]),
    ] {
        let (_dir, text) = with_libcuda(&format!("{}{source}", if source.contains("nothing") { "" } else { names }));
        let line = text.lines().find(|l| l.contains("cuda") && (l.contains("in this build, but") || l.contains("cannot be opened")));
        let line = line.unwrap_or_else(|| panic!("{source}\n{text}"));
        assert!(words.iter().all(|word| line.contains(word)), "{source}\n{line}");
        assert!(text.contains(" flex "), "{text}");
        if has("wgpu") {
            assert!(text.lines().any(|l| l.contains(" wgpu ") && l.contains("f32")), "{source}\n{text}");
        }
    }
}

#[cfg(feature = "wgpu")]
#[test]
fn a_vulkan_driver_that_is_not_there_is_told() {
    let mut command = nextmem(&root(), &["devices"]);
    command.env("VK_DRIVER_FILES", "/nowhere/icd.json").env("LIBGL_ALWAYS_SOFTWARE", "1");
    let outcome = finish(command);
    assert_eq!(outcome.code, Some(0), "{outcome:#?}");
    assert!(outcome.stdout.contains("/nowhere/icd.json, which is not there"), "{}", outcome.stdout);
}

#[test]
fn names_of_devices_are_checked_before_any_work() {
    let dir = Dir::new();
    dir.write("x.toml", TINY);
    dir.run(&["portability", "x.toml", "--devices", "metal"]).refused(&["--devices", "metal", "flex"]);
    dir.run(&["portability", "x.toml", "--devices", "flex@x"]).refused(&["backend[@index][:dtype]"]);
    dir.run(&["portability", "x.toml", "--devices", "flex:f8"]).refused(&["f8", "bf16"]);
    dir.run(&["portability", "x.toml", "--devices", "flex", "--only", "lunch"]).refused(&["--only", "lunch", "softmax"]);
    dir.run(&["bench"]).refused(&["--size", "--model"]);
    dir.run(&["bench", "--size", "9b"]).refused(&["9b", "0.6b"]);
    assert!(!dir.path("results").exists());
}

/// Runs the portability test and returns its rows for a device.
fn rows(device: &str) -> Vec<Value> {
    let dir = Dir::new();
    let experiment = root().join("experiments/portability.toml");
    let out = dir.path("out");
    let args = ["portability", experiment.to_str().unwrap(), "--devices", device, "--out", out.to_str().unwrap()];
    let outcome = finish(nextmem(&root(), &args));
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
        "greedy ids, text 2",
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

/// A model that keeps a worker busy for a while.
fn slow() -> String {
    let text = std::fs::read_to_string(root().join("experiments/portability.toml")).unwrap();
    let text = edited(&text, "hidden_size = 64", "hidden_size = 512");
    edited(&text, "num_hidden_layers = 2", "num_hidden_layers = 12")
}

/// Ids of processes whose arguments have both words in them.
fn processes(words: [&str; 2]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(command) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        if words.iter().all(|word| command.contains(word)) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

fn until(seconds: u64, what: &str, mut done: impl FnMut() -> bool) {
    let started = std::time::Instant::now();
    while !done() {
        assert!(started.elapsed().as_secs() < seconds, "{what} within {seconds} s");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Starts a verb whose worker has a name and works in `dir`, ends the parent when the worker is at work, and waits for the
/// worker and its folder to go.
fn ends_its_worker(dir: &Dir, args: &[&str], worker: &str, signal: &str, ready: impl Fn() -> bool) {
    std::fs::create_dir_all(dir.path("tmp")).unwrap();
    let tmp = dir.path("tmp").to_str().unwrap().to_string();
    let mut command = nextmem(&root(), args);
    command.env("TMPDIR", &tmp).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut parent = command.spawn().unwrap();
    until(60, "a worker", || ready() && !processes([worker, &tmp]).is_empty());
    let id = parent.id().to_string();
    assert!(std::process::Command::new("kill").args([signal, &id]).status().unwrap().success());
    assert!(!parent.wait().unwrap().success());
    until(10, "the worker ends", || processes([worker, &tmp]).is_empty());
    until(10, "its folder is gone", || std::fs::read_dir(&tmp).unwrap().next().is_none());
}

#[test]
fn portability_ends_its_worker_and_keeps_what_is_finished() {
    let dir = Dir::new();
    dir.write("slow.toml", slow());
    let (experiment, out) = (dir.path("slow.toml"), dir.path("out"));
    let args = ["portability", experiment.to_str().unwrap(), "--devices", "flex,flex:bf16", "--out", out.to_str().unwrap()];
    let only = [&args[..], &["--only", "softmax;stage 1 training steps"]].concat();
    let table = dir.path("out/portability.md");
    ends_its_worker(&dir, &only, "portability-worker", "-TERM", || table.exists());
    let text = std::fs::read_to_string(&table).unwrap();
    assert!(text.contains("Not finished: 1 of 2") && text.contains("flex f32"), "{text}");
    ends_its_worker(&dir, &args, "portability-worker", "-KILL", || true);
}

#[test]
fn bench_ends_its_worker() {
    let dir = Dir::new();
    let out = dir.path("out");
    let model = root().join("datasets/nano-backbone");
    let args = ["bench", "--model", model.to_str().unwrap(), "--repeats", "100000", "--out", out.to_str().unwrap()];
    ends_its_worker(&dir, &args, "bench-worker", "-TERM", || true);
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
    dir.run(&["run", "x.toml"]).good();
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
