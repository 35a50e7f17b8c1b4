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
        ("table1.md", "| NextMem-Dense (paper) | - | 0.9820 |"),
        ("table2.md", "text memory (oracle)"),
        ("table3.md", "| BM25 |"),
        ("table4.md", "w/o SQ (NF4 without scales)"),
        ("table1.csv", "ours,NextMem-Dense,"),
        ("table1.tex", "\\toprule"),
        ("storage.md", "gzip"),
        ("fig-noise.svg", "<svg"),
        ("README.md", "![fig-segments](fig-segments.png)"),
    ] {
        assert!(read(file).contains(part), "no {part:?} in {file}:\n{}", read(file));
    }
    for figure in ["fig-noise", "fig-length", "fig-segments", "fig-latents", "fig-rate", "fig-errors"] {
        let png = std::fs::read(out.path().join(format!("{figure}.png"))).unwrap();
        assert!(png.starts_with(b"\x89PNG") && png.len() > 10_000, "{figure}");
        // The same numbers draw the same picture: the committed one.
        let kept = std::fs::read(root().join("results/reproduce/nano").join(format!("{figure}.svg"))).unwrap();
        assert!(
            read(&format!("{figure}.svg")).as_bytes() == kept,
            "{figure}.svg differs from the committed one; run `nextmem reproduce all`"
        );
    }
    // And the tables are the committed ones.
    for table in ["table1", "table2", "table3", "table4"] {
        let kept = std::fs::read_to_string(root().join(format!("results/reproduce/nano/{table}.md"))).unwrap();
        assert_eq!(read(&format!("{table}.md")), kept, "{table}");
    }
    assert!(said.stdout.contains("Table 1, factual reconstruction"));
    // Beside them the samples and curves for other tools.
    let folder = |name: &str| -> Vec<String> {
        let entries = std::fs::read_dir(out.path().join(name)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let lm_eval = folder("lm_eval");
    for method in ["nano-paper__dense", "nano-paper__icae", "ablation-wo-ps__dense"] {
        assert!(lm_eval.iter().any(|name| name == method), "{method} in {lm_eval:?}");
    }
    assert!(folder("lm_eval/nano-paper__dense").iter().any(|name| name.starts_with("samples_nextmem_recon")));
    assert!(folder("tensorboard/nano-facts/stage2").iter().any(|name| name.starts_with("events.out.tfevents.")));
}

#[test]
fn a_scale_or_a_run_that_is_not_there() {
    let unknown = finish(nextmem(&root(), &["reproduce", "table1", "--scale", "huge"]));
    unknown.refused(&["huge", "nano or paper"]);
    if !root().join("results/nextmem-8b/scores.json").exists() {
        finish(nextmem(&root(), &["reproduce", "table1", "--scale", "paper", "--no-run"])).refused(&["nextmem-8b", "is not finished"]);
    }
}
