//! The reference values of Transformers and PEFT are recomputed, and a wrong weight does not pass.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::{Path, PathBuf};

use support::{Dir, Weights, copy, finish, nextmem, root};

fn fixture(case: &str) -> PathBuf {
    root().join("crates/model/tests/fixtures/oracle").join(case)
}

fn agrees(dir: &Path) {
    let outcome = finish(nextmem(&root(), &["parity", dir.to_str().unwrap()]));
    assert_eq!(outcome.code, Some(0), "{}: {}\n{}", dir.display(), outcome.stderr, outcome.stdout);
    let last = outcome.stdout.lines().last().unwrap();
    assert!(last.starts_with("all ") && last.contains("tensors agree"), "{last}");
    assert!(!outcome.stdout.contains("FAILED"), "{}", outcome.stdout);
}

#[test]
fn untied_weights_agree_with_the_reference() {
    agrees(&fixture("untied"));
}

#[test]
fn tied_weights_agree_with_the_reference() {
    agrees(&fixture("tied"));
}

#[test]
#[ignore = "needs NEXTMEM_SHARED"]
fn shared_references_agree() {
    let shared = std::env::var_os("NEXTMEM_SHARED").expect("NEXTMEM_SHARED names the folder of the shared references");
    for case in ["untied", "tied"] {
        agrees(&Path::new(&shared).join("oracle").join(case));
    }
}

#[test]
fn one_changed_weight_fails_and_is_shown() {
    let dir = Dir::new();
    copy(&fixture("tied"), &dir.path("changed"));
    let file = dir.path("changed/base/model.safetensors");
    let mut weights = Weights::read(&file);
    weights.scale_first("model.norm.weight", 1.5);
    weights.write(&file);
    let outcome = dir.run(&["parity", "changed"]);
    assert_eq!(outcome.code, Some(1), "{outcome:#?}");
    assert!(outcome.stderr.contains("above their tolerance"), "{}", outcome.stderr);
    let verdict = |key: &str| outcome.stdout.lines().find(|l| l.split_whitespace().next() == Some(key)).unwrap().to_string();
    // The last norm is behind the embedding and before the logits.
    assert!(verdict("plain.logits").ends_with("FAILED"), "{}", outcome.stdout);
    assert!(verdict("plain.hidden.0").ends_with("ok"), "{}", outcome.stdout);
}

#[test]
fn an_adapter_of_another_size_is_refused() {
    let dir = Dir::new();
    copy(&fixture("tied"), &dir.path("swapped"));
    copy(&fixture("untied").join("stage2"), &dir.path("swapped/stage2"));
    let outcome = dir.run(&["parity", "swapped"]);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(outcome.stderr.starts_with("error: ") && outcome.stderr.contains("expected"), "{}", outcome.stderr);
}

#[test]
fn a_folder_that_is_no_reference_is_refused() {
    let dir = Dir::new();
    let outcome = dir.run(&["parity", "."]);
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
    assert!(outcome.stderr.contains("make_oracle.py"), "{}", outcome.stderr);
}
