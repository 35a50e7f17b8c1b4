//! The rules of crates/README.md that a search through the sources can check.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use support::root;

/// Rust files below a folder of the workspace, with their paths from its root.
fn sources(below: &str) -> Vec<(String, String)> {
    fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, out),
                false if path.extension().is_some_and(|e| e == "rs") => out.push(path),
                false => {}
            }
        }
    }
    let (root, mut paths) = (root(), Vec::new());
    walk(&root.join(below), &mut paths);
    assert!(!paths.is_empty(), "nothing in {below}");
    let name = |p: &Path| p.strip_prefix(&root).unwrap().to_str().unwrap().to_string();
    let mut files: Vec<_> = paths.iter().map(|p| (name(p), std::fs::read_to_string(p).unwrap())).collect();
    files.sort();
    files
}

/// Lines that are compiled into the program: no comments, nothing from a test module on.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines: Vec<&str> = text.lines().collect();
    // Test modules end their files here; an attribute may stand between `cfg(test)` and `mod`.
    let tests = lines.iter().enumerate().find(|(i, l)| {
        l.trim() == "#[cfg(test)]" && lines[i + 1..].iter().find(|l| !l.starts_with("#[")).is_some_and(|l| l.contains("mod "))
    });
    let end = tests.map_or(lines.len(), |(i, _)| i);
    lines.into_iter().take(end).enumerate().filter(|(_, l)| !l.trim_start().starts_with("//")).map(|(i, l)| (i + 1, l))
}

/// Where code of the program contains one of the words.
fn uses<'a>(files: impl IntoIterator<Item = &'a (String, String)>, words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for (name, text) in files {
        for (line, code) in code(text).filter(|(_, l)| words.iter().any(|w| l.contains(w))) {
            found.push(format!("{name}:{line}: {}", code.trim()));
        }
    }
    found
}

fn manifest(name: &str) -> String {
    std::fs::read_to_string(root().join("crates").join(name).join("Cargo.toml")).unwrap()
}

fn crates() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("crates")).unwrap().map(|e| e.unwrap());
    entries.filter(|e| e.path().join("Cargo.toml").exists()).map(|e| e.file_name().into_string().unwrap()).collect()
}

/// Programs, not their tests.
fn program() -> Vec<(String, String)> {
    sources("crates").into_iter().filter(|(name, _)| name.contains("/src/") && !name.ends_with("/tests.rs")).collect()
}

#[test]
fn metrics_and_data_use_no_tensors() {
    let all = program();
    let of = all.iter().filter(|(n, _)| n.starts_with("crates/eval/src/metric") || n.starts_with("crates/data/src"));
    assert_eq!(uses(of, &["Tensor", "burn::tensor", "burn::module"]), Vec::<String>::new());
}

#[test]
fn only_the_binary_depends_on_anyhow_clap_and_toml() {
    for name in crates().iter().filter(|n| *n != "nextmem") {
        for line in manifest(name).lines() {
            let dependency = line.split(['.', ' ', '=']).next().unwrap();
            assert!(!["anyhow", "clap", "toml"].contains(&dependency), "crates/{name}/Cargo.toml: {line}");
        }
    }
}

#[test]
fn only_device_rs_names_a_backend() {
    let all = program();
    let others = all.iter().filter(|(n, _)| !n.starts_with("crates/nextmem/src/device") && n != "crates/model/src/product.rs");
    let named = ["Device::flex", "Device::wgpu", "Device::cuda", "DeviceType::", "Device::default", "burn::backend"];
    assert_eq!(uses(others, &named), Vec::<String>::new());
}

#[test]
fn training_and_eval_do_not_know_each_other() {
    assert!(!manifest("training").contains("nextmem-eval"));
    assert!(!manifest("eval").contains("nextmem-training"));
}

#[test]
fn no_module_owns_a_cache_or_a_switch() {
    for (name, text) in program() {
        for part in text.split("#[derive(Module").skip(1) {
            let fields = part.split("\n}").next().unwrap();
            // Caches and adapters are arguments of a forward pass; what a module holds is weights and constants.
            let held = ["KvCache", "use_adapter", "adapter_enabled", "use_cache"].iter().find(|w| fields.contains(**w));
            assert!(held.is_none(), "{name}: #[derive(Module{fields}");
        }
    }
}

#[test]
fn no_file_is_over_400_lines() {
    let long: Vec<String> = sources("crates").iter().filter(|(_, t)| t.lines().count() > 400).map(|(n, _)| n.clone()).collect();
    assert_eq!(long, Vec::<String>::new());
}

#[test]
fn sources_are_ascii() {
    for (name, text) in sources("crates") {
        // Texts of other scripts are what these test.
        if name.starts_with("crates/eval/tests") || name.starts_with("crates/model/tests") {
            continue;
        }
        let line = text.lines().position(|l| !l.is_ascii());
        assert!(line.is_none(), "{name}:{}", line.unwrap_or(0) + 1);
    }
}
