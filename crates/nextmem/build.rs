//! Puts the commit of the sources into the program, and whether they differ from it.

use std::path::Path;
use std::process::Command;

/// What decides the program; results, experiments and documents do not.
const SOURCES: [&str; 4] = ["crates", "Cargo.toml", "Cargo.lock", ".cargo"];

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir("../..").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
}

fn main() {
    // Asked again when a commit is made or a source changes, and only then.
    let reference = git(&["symbolic-ref", "-q", "HEAD"]);
    let names = ["HEAD", "packed-refs"].into_iter().map(String::from).chain(reference);
    let places = names.filter_map(|name| git(&["rev-parse", "--git-path", &name]));
    let root = Path::new("../..");
    let crates = std::fs::read_dir(root.join("crates")).into_iter().flatten().flatten();
    let of_crates = crates.flat_map(|entry| [entry.path().join("src"), entry.path().join("Cargo.toml")]);
    let others = ["Cargo.toml", "Cargo.lock"].map(|name| root.join(name));
    for path in places.map(|place| root.join(place)).chain(of_crates).chain(others).filter(|path| path.exists()) {
        println!("cargo:rerun-if-changed={}", path.display());
    }
    let version = std::env::var("CARGO_PKG_VERSION").unwrap_or_default();
    // No repository: nothing is known.
    let Some(commit) = git(&["rev-parse", "HEAD"]) else {
        println!("cargo:rustc-env=NEXTMEM_VERSION={version}");
        return;
    };
    let status = git(&[&["--no-optional-locks", "status", "--porcelain", "--untracked-files=no", "--"], SOURCES.as_slice()].concat());
    let dirty = status.is_none_or(|status| !status.is_empty());
    let changed = if dirty { ", changed" } else { "" };
    println!("cargo:rustc-env=NEXTMEM_COMMIT={commit}");
    println!("cargo:rustc-env=NEXTMEM_DIRTY={dirty}");
    println!("cargo:rustc-env=NEXTMEM_VERSION={version} ({}{changed})", &commit[..commit.len().min(10)]);
}
