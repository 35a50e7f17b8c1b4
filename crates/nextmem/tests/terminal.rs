//! Standard output and standard error that nobody reads, or that are full: quiet ends, one clear line, and no lost work.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Command, Stdio};

use support::{Dir, Outcome, TINY, Weights, edited};

/// Runs with a standard output whose reader has gone before the first line.
fn unread(mut command: Command) -> Outcome {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    support::finish_with(command.stdout(writer))
}

/// Runs with a standard output that takes nothing.
#[cfg(target_os = "linux")]
fn full(mut command: Command) -> Outcome {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    support::finish_with(command.stdout(full))
}

/// A backbone, memories of it, a finished run of it, and pairs of texts.
fn filled() -> Dir {
    let dir = Dir::with_backbone();
    let texts: String = (0..40).map(|n| format!("Person {n} lives in Porto.\n")).collect();
    dir.write("texts.txt", texts);
    // Short: a model this little trained never stops by itself.
    dir.write("x.toml", format!("{}\n[method.nextmem]\nnum_latents = 2\nmax_new_tokens = 6\n", support::ADAPT));
    dir.run(&["run", "x.toml"]).good();
    dir.run(&["encode", "results/adapt", "--from", "texts.txt", "--out", "m.safetensors"]).good();
    dir.write("pairs.jsonl", "{\"prediction\": \"a\", \"reference\": \"b\"}\n");
    dir.write("squad.json", std::fs::read(support::root().join("datasets/example_squad.json")).unwrap());
    dir
}

/// One call of every kind of verb that prints.
const VERBS: [&[&str]; 14] = [
    &["decode", "results/adapt", "m.safetensors"],
    &["ask", "results/adapt", "m.safetensors", "Where?"],
    &["search", "results/adapt", "m.safetensors", "Porto"],
    &["encode", "results/adapt", "Ann lives in Oslo.", "--out", "new.safetensors"],
    &["explain", "x.toml"],
    &["run", "x.toml"],
    &["score", "results/adapt"],
    &["table", "results/adapt"],
    &["compare", "results/adapt", "results/adapt"],
    &["plot", "results/adapt"],
    &["verify", "backbone"],
    &["metrics", "pairs.jsonl"],
    &["devices"],
    &["data", "prepare", "squad", "--from", "squad.json", "--out", "prepared"],
];

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let dir = filled();
    for args in VERBS {
        let outcome = unread(dir.command(args)).good();
        assert!(!outcome.stderr.contains("error") && !outcome.stderr.contains("panicked"), "{args:?}: {outcome:#?}");
    }
    // What was asked for is there all the same.
    assert!(dir.path("new.safetensors").is_file() && dir.path("prepared/squad.manifest.json").is_file());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_one_line_and_an_exit_code() {
    let dir = filled();
    for args in VERBS {
        let outcome = full(dir.command(args));
        assert_eq!(outcome.code, Some(1), "{args:?}: {outcome:#?}");
        let errors: Vec<_> = outcome.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert!(errors.len() == 1 && errors[0].matches("No space left").count() == 1, "{args:?}: {outcome:#?}");
        assert!(!outcome.stderr.contains("please report"), "{args:?}: {outcome:#?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_training_outlives_its_standard_error() {
    let expected = Dir::new();
    expected.write("x.toml", TINY);
    expected.run(&["run", "x.toml"]).good();
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let closed = || Stdio::from(std::io::pipe().unwrap().1);
    for stderr in [full(), closed()] {
        let dir = Dir::new();
        dir.write("x.toml", TINY);
        let outcome = support::finish_with(dir.command(&["run", "x.toml"]).stderr(stderr));
        assert_eq!(outcome.code, Some(0), "{outcome:#?}");
        for name in ["stage2/weights/model.safetensors", "scores.json"] {
            let read = |dir: &Dir| std::fs::read(dir.path("results/tiny").join(name)).unwrap();
            assert!(read(&dir) == read(&expected), "{name} differs");
        }
    }
}

#[test]
fn a_failure_with_a_closed_standard_error_keeps_its_exit_code() {
    let dir = Dir::new();
    let outcome = support::finish_with(dir.command(&["run", "none.toml"]).stderr(std::io::pipe().unwrap().1));
    assert_eq!(outcome.code, Some(2), "{outcome:#?}");
}

#[test]
fn stages_are_named_as_their_directories_with_their_number() {
    let dir = Dir::new();
    dir.write("x.toml", edited(TINY, "log_every = 2\ncheckpoint_every = 2", "log_every = 4\ncheckpoint_every = 4"));
    let outcome = dir.run(&["run", "x.toml"]).good();
    for bar in ["pretrain (1 of 3): 1/4 (left", "stage1 reconstruction (2 of 3): 1/4 (left", "stage2 substitution (3 of 3): 1/4 (left"] {
        assert!(outcome.stderr.contains(bar), "no {bar:?} in {}", outcome.stderr);
    }
    assert!(!outcome.stderr.contains("nothing left to do"), "{}", outcome.stderr);
}

#[test]
fn what_a_terminal_would_obey_is_escaped_in_tables_and_kept_in_files() {
    let dir = Dir::with_backbone();
    dir.write(
        "texts.jsonl",
        "{\"id\":\"a\",\"text\":\"Price \\u001b[2J\\u001b]0;owned\\u0007 for May.\\nEnd\"}\n{\"id\":\"b\\u001b[31m\",\"text\":\"ok\"}\n",
    );
    let outcome =
        dir.run(&["encode", "backbone", "--from", "texts.jsonl", "--latents", "2", "--keep-text", "--out", "m.safetensors"]).good();
    let control = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
    assert!(!control(&outcome.stdout) && outcome.stdout.contains("Price \\u{1b}[2J\\u{1b}]0;owned\\u{7}"), "{}", outcome.stdout);
    let found = dir.run(&["search", "backbone", "m.safetensors", "May", "--latents", "2"]).good();
    assert!(!control(&found.stdout) && found.stdout.contains("b\\u{1b}[31m"), "{}", found.stdout);
    let data = Weights::read(&dir.path("m.safetensors")).data;
    let kept = br"Price \u001b[2J\u001b]0;owned\u0007 for May.\nEnd";
    assert!(data.windows(kept.len()).any(|window| window == kept), "the text of the file");
}
