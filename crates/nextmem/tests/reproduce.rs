//! Every table and figure of the nano scale can be made from what the repository holds, without weights.
#![allow(clippy::unwrap_used)]

mod support;

use support::{finish, nextmem, root};

#[test]
fn everything_is_made_from_the_kept_runs() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().to_str().unwrap();
    let said = finish(nextmem(&root(), &["reproduce", "all", "--scale", "nano", "--no-run", "--out", dir])).good();
    let read = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
    for (file, part) in [
        ("table1.md", "| row | facts (n = 400) | HotpotQA |"),
        ("table1.md", "| NextMem-Dense (paper; Qwen3-8B) | - | 0.9820 |"),
        ("table1.md", "| ICAE (paper; Mistral-7B, 128 slots) | - | 0.7890 |"),
        ("table1.md", "| floor (the next passage in its place) | "),
        ("table2.md", "| row | facts (ours: exact_match, n = 400) | HotpotQA (paper: judge accuracy) |"),
        ("table2.md", "text memory (oracle)"),
        ("table3.md", "| BM25 |"),
        ("table3.md", "| bag of tokens of the text |"),
        ("table3.md", "| chance (a random order) | 0.3"),
        ("table4.md", "reconstruction of facts (n = 300)"),
        ("table4.md", "w/o SQ (NF4 without scales)"),
        ("table1.csv", "ours,NextMem-Dense,"),
        ("table1.tex", "\\toprule"),
        ("storage.md", "gzip"),
        ("fig-noise.svg", "<svg"),
        ("README.md", "![fig-segments](fig-segments.png)"),
    ] {
        assert!(read(file).contains(part), "no {part:?} in {file}:\n{}", read(file));
    }
    for figure in ["fig-noise", "fig-length", "fig-segments", "fig-latents", "fig-bytes", "fig-errors"] {
        let png = std::fs::read(out.path().join(format!("{figure}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 10_000, "{figure}");
        let svg = read(&format!("{figure}.svg"));
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{figure}");
    }
    // The numbers behind figures and tables are the committed ones.
    let kept = root().join("results/reproduce/nano");
    let of = |dir: &std::path::Path| -> Vec<String> {
        let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            names.filter(|name| name.ends_with(".csv") || name.starts_with("table") && name.ends_with(".md")).collect();
        names.sort();
        names
    };
    assert_eq!(of(out.path()), of(&kept));
    for name in of(&kept) {
        let kept = std::fs::read_to_string(kept.join(&name)).unwrap();
        assert!(read(&name) == kept, "{name} differs from the committed one; run `nextmem reproduce all`\n{}", read(&name));
    }
    assert!(said.stdout.contains("Table 1, factual reconstruction"));
    // Beside them the samples and curves for other tools.
    let folder = |name: &str| -> Vec<String> {
        let entries = std::fs::read_dir(out.path().join(name)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let lm_eval = folder("lm_eval");
    for method in ["nano-paper__dense", "nano-paper__icae", "short-wo-ps-seed2__dense"] {
        assert!(lm_eval.iter().any(|name| name == method), "{method} in {lm_eval:?}");
    }
    assert!(folder("lm_eval/nano-paper__dense").iter().any(|name| name.starts_with("samples_nextmem_recon")));
    assert!(folder("tensorboard/short-8-seed3/stage2").iter().any(|name| name.starts_with("events.out.tfevents.")));
}

#[test]
fn rows_of_table_4_with_other_trainings_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let row = |label: &str, seeds: &str| {
        format!("[[ablations]]\nlabel = \"{label}\"\nexperiment = \"x.toml\"\nmethod = \"dense\"\nseeds = {seeds}\n")
    };
    let recipe =
        format!("main = \"x.toml\"\nanalysed = \"x.toml\"\nlatents = []\npassages = 1\n{}{}", row("full", "[1, 2]"), row("w/o PS", "[1]"));
    std::fs::create_dir_all(dir.path().join("experiments/reproduce")).unwrap();
    std::fs::write(dir.path().join("experiments/reproduce/mine.toml"), recipe).unwrap();
    let refused = finish(nextmem(dir.path(), &["reproduce", "table4", "--scale", "mine"]));
    refused.refused(&["mine.toml", "w/o PS", "got seeds [1], expected [1, 2]"]);
    assert!(!dir.path().join("results").exists());
}

#[test]
fn a_scale_or_a_run_that_is_not_there() {
    let unknown = finish(nextmem(&root(), &["reproduce", "table1", "--scale", "huge"]));
    unknown.refused(&["huge", "nano or paper"]);
    if !root().join("results/nextmem-8b/scores.json").exists() {
        finish(nextmem(&root(), &["reproduce", "table1", "--scale", "paper", "--no-run"])).refused(&["nextmem-8b", "is not finished"]);
    }
}
