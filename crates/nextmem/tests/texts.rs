//! `encode` and the texts that people have: marks, encodings, line ends, ids, odd texts in the middle of a file.
#![allow(clippy::unwrap_used)]

mod support;

use support::server::sha256;
use support::{Dir, Outcome, Weights};

const TEXTS: &str = "Mila Kovac lives in Porto.\nIvan Petrov keeps a red kite at home.\n";

fn encode(dir: &Dir, more: &[&str]) -> Outcome {
    dir.run(&[&["encode", "backbone", "--latents", "2", "--keep-text", "--out", "m.safetensors"], more].concat())
}

/// The memories and records of the file that was written, without its date.
fn data(dir: &Dir) -> Vec<u8> {
    Weights::read(&dir.path("m.safetensors")).data
}

#[test]
fn the_same_texts_in_every_encoding() {
    let dir = Dir::with_backbone();
    dir.write("plain.txt", TEXTS);
    encode(&dir, &["--from", "plain.txt"]).good();
    let expected = data(&dir);
    let utf16 = |unit: fn(u16) -> [u8; 2]| format!("\u{feff}{TEXTS}").encode_utf16().flat_map(unit).collect::<Vec<u8>>();
    let array = serde_json::to_string(&TEXTS.lines().collect::<Vec<_>>()).unwrap();
    for (name, bytes) in [
        ("mark.txt", format!("\u{feff}{TEXTS}").into_bytes()),
        ("crlf.txt", TEXTS.replace('\n', "\r\n").into_bytes()),
        ("cr.txt", TEXTS.trim().replace('\n', "\r").into_bytes()),
        ("utf16le.txt", utf16(u16::to_le_bytes)),
        ("utf16be.txt", utf16(u16::to_be_bytes)),
        ("mark.json", format!("\u{feff}{array}").into_bytes()),
    ] {
        dir.write(name, bytes);
        encode(&dir, &["--from", name]).good();
        assert_eq!(data(&dir), expected, "{name}");
    }
    std::fs::remove_file(dir.path("m.safetensors")).unwrap();
    dir.write("latin1.txt", b"Zoe\nZo\xeb\n");
    encode(&dir, &["--from", "latin1.txt"]).refused(&["latin1.txt: line 2: got the byte 0xEB", "expected UTF-8", "iconv"]);
    encode(&dir, &["--from", "none.txt"]).refused(&["none.txt: no such file", ".jsonl"]);
    assert!(!dir.path("m.safetensors").exists());
}

#[test]
fn numbers_as_ids_and_half_an_emoji() {
    let dir = Dir::with_backbone();
    dir.write("a.jsonl", "\u{feff}{\"id\": 1, \"text\": \"Great day \\ud83c\", \"score\": NaN}\r\n\r\n{\"text\": \"Ivan keeps a kite.\"}");
    let outcome = encode(&dir, &["--from", "a.jsonl"]).good();
    assert!(
        outcome.stderr.contains("note: a.jsonl: lone surrogates (half an emoji, like \\ud83d) read as U+FFFD: 1"),
        "{}",
        outcome.stderr
    );
    let records = "[{\"id\":\"1\",\"text\":\"Great day \u{fffd}\"},{\"id\":\"3\",\"text\":\"Ivan keeps a kite.\"}]";
    assert!(data(&dir).windows(records.len()).any(|window| window == records.as_bytes()), "the records");
    dir.write("a.jsonl", "{\"id\": 2, \"text\": \"a\"}\n{\"text\": \"b\"}\n");
    encode(&dir, &["--from", "a.jsonl"]).refused(&["a.jsonl: line 2: got the id \"2\" twice", "line 1 has it too"]);
}

#[test]
fn an_encoding_that_was_ended_goes_on_where_it_was() {
    let dir = Dir::with_backbone();
    let lines: Vec<String> = (0..40).map(|n| format!("Note {n} is short.")).collect();
    dir.write("a.txt", lines.join("\n"));
    let partial = dir.path("m.safetensors.partial");
    for kind in [&[][..], &["--nf4"]] {
        let whole = encode(&dir, &[&["--from", "a.txt"], kind].concat()).good();
        let expected = data(&dir);
        assert!(!whole.stderr.contains("going on") && !partial.exists(), "{}", whole.stderr);
        // Twenty texts: one batch of 16 and a part of the next, which is encoded again. Hashes stand for the texts.
        for (texts, said) in [(&lines[..20], "the first 16 texts were encoded before"), (&lines[5..9], "starting anew")] {
            let row = |(number, text): (usize, &String)| {
                serde_json::json!({"id": sha256(format!("{number}\n{text}").as_bytes()), "text": text}).to_string() + "\n"
            };
            dir.write("part.jsonl", texts.iter().enumerate().map(row).collect::<String>());
            dir.run(&["encode", "backbone", "--latents", "2", "--out", "m.safetensors", "--from", "part.jsonl"]).good();
            std::fs::rename(dir.path("m.safetensors"), &partial).unwrap();
            let rest = encode(&dir, &[&["--from", "a.txt"], kind].concat()).good();
            assert!(rest.stderr.contains(said), "{}", rest.stderr);
            assert_eq!(data(&dir), expected, "{said}");
            assert!(!partial.exists());
        }
        dir.write("m.safetensors.partial", "cut off");
        assert!(encode(&dir, &[&["--from", "a.txt"], kind].concat()).good().stderr.contains("starting anew"));
        assert_eq!(data(&dir), expected);
    }
}

#[test]
fn odd_texts_are_named_before_anything_is_encoded() {
    let dir = Dir::with_backbone();
    let line = |n: usize| match n {
        20 | 22 => format!("{{\"id\": \"long-{n}\", \"text\": \"{}\"}}\n", "Note ".repeat(1100)),
        23 => "{\"id\": \"none\", \"text\": \"\"}\n".into(),
        n => format!("{{\"id\": \"note-{n}\", \"text\": \"Note {n} is short.\"}}\n"),
    };
    dir.write("a.jsonl", (0..25).map(line).collect::<String>());
    encode(&dir, &["--from", "a.jsonl"]).refused(&["a.jsonl: line 24 (id \"none\") is empty", "nothing was encoded", "--skip-empty"]);
    let refused = encode(&dir, &["--from", "a.jsonl", "--skip-empty"]);
    refused.refused(&[
        "a.jsonl: line 21 (id \"long-20\") is too long: ",
        "expected at most 1024",
        "line 23 (id \"long-22\")",
        "--skip-too-long",
    ]);
    assert!(!dir.path("m.safetensors").exists());
    let outcome = encode(&dir, &["--from", "a.jsonl", "--skip-empty", "--skip-too-long"]).good();
    assert!(outcome.stdout.contains("22 bf16 memories in m.safetensors") && outcome.stdout.contains("and 2 more"), "{}", outcome.stdout);
    for note in ["note: left out 1 of 25 texts: a.jsonl: line 24", "note: left out 2 of 24 texts: a.jsonl: line 21"] {
        assert!(outcome.stderr.contains(note), "{}", outcome.stderr);
    }
    encode(&dir, &["fine", ""]).refused(&["text 2 (id \"1\") is empty"]);
}

#[test]
fn outputs_are_checked_before_any_work() {
    let dir = Dir::with_backbone();
    dir.write("file", "");
    dir.write("pairs.jsonl", "{\"prediction\": \"a\", \"reference\": \"b\"}\n");
    dir.write("x.toml", support::ADAPT);
    dir.write("squad.json", std::fs::read(support::root().join("datasets/example_squad.json")).unwrap());
    let before = dir.files("");
    let folder = ["file is no folder"];
    for (args, names) in [
        (
            &["encode", "backbone", "text", "--out", "none/m.safetensors"][..],
            &["none/m.safetensors", "no folder none", "mkdir -p none"][..],
        ),
        (&["encode", "backbone", "text", "--out", "backbone"], &["backbone", "is a directory"]),
        (&["metrics", "pairs.jsonl", "--out", "none/scores.jsonl"], &["none/scores.jsonl", "mkdir -p none"]),
        (&["data", "prepare", "squad", "--from", "squad.json", "--out", "file/out"], &folder),
        (&["data", "fetch", "locomo", "--yes", "--out", "file/out", "--base-url", "http://127.0.0.1:9"], &folder),
        (&["export", "none", "--format", "lm-eval", "--out", "file"], &folder),
        (&["plot", "none", "--out", "file"], &folder),
        (&["portability", "x.toml", "--out", "file/out"], &folder),
        (&["analyze", "none", "storage", "--out", "file/a.json"], &folder),
        (&["bench", "--out", "file"], &folder),
    ] {
        dir.run(args).refused(names);
    }
    assert_eq!(dir.files(""), before);
}

#[test]
fn a_memory_file_that_is_not_there() {
    let dir = Dir::with_backbone();
    for verb in [&["decode"][..], &["ask"], &["search"]] {
        let question = if verb == ["decode"] { &[][..] } else { &["Where?"] };
        let missing = dir.run(&[verb, &["backbone", "nothere.safetensors"], question].concat());
        let missing =
            missing.refused(&["nothere.safetensors: no such memory file", "`nextmem encode MODEL TEXT --out nothere.safetensors`"]);
        assert!(!missing.stderr.contains("Hugging Face"), "{}", missing.stderr);
        dir.run(&[verb, &["backbone/model.safetensors", "backbone"], question].concat())
            .refused(&["is a directory", "the model comes first"]);
    }
    dir.run(&["encode", "backbone/config.json", "text"]).refused(&["config.json: is a file", "the model comes first"]);
}
