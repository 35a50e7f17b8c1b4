//! What stands behind a table: samples that are of this experiment, all of them, once each, and the same items in every row.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use support::{Dir, Weights, copy, edited};

/// Every task on generated facts, with the small backbone as it is: nothing is trained.
const EVALUATION: &str = r#"name = "x"
results = "results"

[backbone]
model = "backbone"

[data.facts]
train = 50

[quant]
scales = true

[method.nextmem]
num_latents = 2
max_new_tokens = 4

[eval]
batch_size = 2

[eval.reconstruction]
limit = 3
metrics = ["f1"]

[eval.contextual_qa]
limit = 3
metrics = ["exact_match"]

[eval.retrieval]
limit = 3
candidates = 7
metrics = ["hit@5"]
"#;

/// One task on a file of passages.
const PASSAGES: &str = r#"name = "x"
results = "results"

[backbone]
model = "backbone"

[method.nextmem]
num_latents = 2
max_new_tokens = 4

[eval.reconstruction]
limit = 2
sets = { mine = "passages.json" }
metrics = ["f1"]
"#;

const DENSE: &str = "results/x/samples/reconstruction.mine.dense.jsonl";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn evaluated() -> Dir {
    let dir = Dir::with_backbone();
    dir.write("x.toml", EVALUATION);
    dir.run(&["run", "x.toml"]).good();
    dir
}

fn references(dir: &Dir, file: &str) -> Vec<String> {
    dir.read(file).lines().map(|line| json(line)["reference"].as_str().unwrap().to_string()).collect()
}

#[test]
fn samples_of_another_identity_are_never_kept() {
    let dir = Dir::with_backbone();
    dir.write("x.toml", PASSAGES);
    dir.write("passages.json", json!(["Ann lives in Oslo.", "Ben keeps a kite.", "Cleo sells tea."]).to_string());
    let first = dir.run(&["run", "x.toml"]).good();
    assert!(!first.stderr.contains("removed"), "{first:#?}");
    let identity = json(&dir.read("results/x/samples/identity.json"));
    let scored = json(&dir.read("results/x/scored.json"));
    assert_eq!(identity["hash"], scored["identity"]);
    assert_eq!(identity["files"]["reconstruction.mine.dense.jsonl"], 2);
    let kept = dir.read(DENSE);

    // Again, with one more metric, and with one more passage: what is there stays, what is missing is added.
    dir.write("x.toml", edited(PASSAGES, "[\"f1\"]", "[\"f1\", \"rouge_l\"]"));
    let again = dir.run(&["run", "x.toml"]).good();
    assert!(!again.stderr.contains("removed") && again.stdout.contains("rouge_l"), "{again:#?}");
    assert_eq!(dir.read(DENSE), kept);
    dir.write("x.toml", edited(PASSAGES, "limit = 2", "limit = 3"));
    let grown = dir.run(&["run", "x.toml"]).good();
    assert!(!grown.stderr.contains("removed"), "{grown:#?}");
    assert!(dir.read(DENSE).starts_with(&kept) && dir.read(DENSE).lines().count() == 3, "{}", dir.read(DENSE));
    assert!(grown.stdout.contains("mine (n = 3)"), "{grown:#?}");

    // Other passages under the same name.
    dir.write("passages.json", json!(["Dora plays chess.", "Emil paints boats.", "Fay grows figs."]).to_string());
    let other = dir.run(&["run", "x.toml"]).good();
    for part in ["removed and made anew", "tasks.reconstruction.mine", "changed"] {
        assert!(other.stderr.contains(part), "no {part:?} in {other:#?}");
    }
    assert_eq!(references(&dir, DENSE), ["Dora plays chess.", "Emil paints boats.", "Fay grows figs."]);
    assert_ne!(json(&dir.read("results/x/samples/identity.json"))["hash"], identity["hash"]);

    // Other weights under the same name give the samples of a run from nothing.
    let path = dir.path("backbone/model.safetensors");
    let mut weights = Weights::read(&path);
    weights.data.chunks_exact_mut(4).for_each(|value| value[3] ^= 0x80);
    weights.write(&path);
    let before = dir.read(DENSE);
    let other = dir.run(&["run", "x.toml"]).good();
    assert!(other.stderr.contains("removed and made anew: backbone"), "{other:#?}");
    let after = dir.read(DENSE);
    std::fs::remove_dir_all(dir.path("results")).unwrap();
    dir.run(&["run", "x.toml"]).good();
    assert_eq!(dir.read(DENSE), after);
    assert_ne!(before, after);

    // Another option of the method.
    dir.write("x.toml", edited(&edited(PASSAGES, "limit = 2", "limit = 3"), "max_new_tokens = 4", "max_new_tokens = 2"));
    let other = dir.run(&["run", "x.toml", "--force"]).good();
    assert!(dir.read(DENSE) != after, "{other:#?}");
}

#[test]
fn samples_without_an_identity_are_read_with_a_note_and_never_continued() {
    let dir = evaluated();
    let name = "results/x/samples/reconstruction.facts.dense.jsonl";
    let text = dir.read(name);
    std::fs::remove_file(dir.path("results/x/samples/identity.json")).unwrap();
    dir.write("results/x/samples/fingerprint", "");
    for command in [&["score", "results/x"][..], &["table", "results/x"], &["compare", "results/x:dense", "results/x:sparse"]] {
        let said = dir.run(command).good();
        let notes: Vec<&str> = said.stderr.lines().filter(|line| line.starts_with("note: ")).collect();
        assert!(notes.len() == 1 && notes[0].contains("made before identities"), "{command:?} {said:#?}");
    }
    // Were it continued, this line would stay.
    dir.write(name, text.replacen("\"reconstruction\":\"", "\"reconstruction\":\"made up ", 1));
    let said = dir.run(&["run", "x.toml"]).good();
    assert!(said.stderr.contains("removed and made anew: they were made before identities were kept"), "{said:#?}");
    assert_eq!(dir.read(name), text);
}

#[test]
fn a_sample_file_is_held_against_itself_and_the_others() {
    let dir = evaluated();
    let backup = dir.path("backup");
    copy(&dir.path("results/x"), &backup);
    let of_task = |task: &str| format!("results/x/samples/{task}.facts.dense{}.jsonl", if task == "contextual_qa" { "-comp" } else { "" });
    let change = |task: &str, edit: &dyn Fn(&str) -> String, expected: &[&str]| {
        let file = of_task(task);
        let text = dir.read(&file);
        dir.write(&file, edit(&text));
        let commands = [
            vec!["score", "results/x"],
            vec!["table", "results/x"],
            vec!["compare", "results/x", "backup"],
            vec!["export", "results/x", "--format", "lm-eval"],
        ];
        for command in commands {
            dir.run(&command.iter().map(|s| s.to_string()).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>())
                .refused(expected);
        }
        dir.write(&file, text);
    };
    let lines = |text: &str| text.lines().map(|line| format!("{line}\n")).collect::<Vec<_>>();
    let reconstruction = of_task("reconstruction");
    let reconstruction = reconstruction.rsplit('/').next().unwrap();
    change("reconstruction", &|t| t.repeat(2), &[reconstruction, "line 4", "second time"]);
    change("reconstruction", &|t| lines(t)[0].repeat(3), &[reconstruction, "line 2", "second time"]);
    change("reconstruction", &|t| lines(t).into_iter().rev().collect(), &[reconstruction, "line 1", "index 2"]);
    change("reconstruction", &|t| lines(t)[..2].concat(), &[reconstruction, "2 of 3 samples", "nextmem run"]);
    change("reconstruction", &|t| t[..t.len() - 9].to_string(), &[reconstruction, "line 3 is cut off", "nextmem run"]);
    change("reconstruction", &|_| String::new(), &[reconstruction, "0 of 3 samples"]);
    change(
        "reconstruction",
        &|t| t.to_string() + &lines(t)[2].replace("\"index\":2", "\"index\":3"),
        &[reconstruction, "got 4 samples, expected 3"],
    );
    let field = |text: &str, name: &str, value: Value| {
        let mut all: Vec<Value> = text.lines().map(json).collect();
        all[1][name] = value;
        all.iter().map(|line| format!("{line}\n")).collect::<String>()
    };
    let retrieval = of_task("retrieval");
    let retrieval = retrieval.rsplit('/').next().unwrap();
    change("retrieval", &|t| field(t, "hit_list", json!([7])), &[retrieval, "line 2", "hit_list"]);
    change("retrieval", &|t| field(t, "prediction", json!([0, 0, 0, 0, 0])), &[retrieval, "line 2", "prediction"]);
    change("retrieval", &|t| field(t, "prediction", json!([0, 1])), &[retrieval, "line 2", "expected 5 different"]);
    change("retrieval", &|t| field(t, "ref_num", json!(0)), &[retrieval, "line 2", "ref_num"]);
    // Other items than those of the other rows, or of the other run.
    change("reconstruction", &|t| field(t, "reference", json!("other")), &["index 1", "`reference`"]);
    change("contextual_qa", &|t| field(t, "answer", json!("other")), &["index 1", "`answer`"]);
    change("retrieval", &|t| field(t, "hit_list", json!([6])), &["index 1", "`hit_list`"]);
    // A row that is missing altogether.
    std::fs::remove_file(dir.path("results/x/samples/retrieval.facts.sparse.jsonl")).unwrap();
    dir.run(&["score", "results/x"]).refused(&["1 of 11 sample files are missing", "retrieval.facts.sparse.jsonl", "nextmem run"]);
    dir.run(&["run", "x.toml"]).good();
    assert_eq!(dir.read("results/x/samples/retrieval.facts.sparse.jsonl"), dir.read("backup/samples/retrieval.facts.sparse.jsonl"));
    assert_eq!(dir.read("results/x/scores.json"), dir.read("backup/scores.json"));

    // How a file ends decides nothing; a kill's rest is redone.
    let file = of_task("reconstruction");
    let text = dir.read(&file);
    for same in [text.trim_end().to_string(), text.replace('\n', "\r\n"), text.replace('\n', "\n\n")] {
        dir.write(&file, same);
        let said = dir.run(&["score", "results/x"]).good();
        assert!(said.stdout.contains("facts (n = 3)"), "{said:#?}");
        dir.run(&["run", "x.toml"]).good();
        assert_eq!(dir.read(&file), text);
    }
    dir.write(&file, &text[..text.len() - 9]);
    dir.run(&["run", "x.toml"]).good();
    assert_eq!(dir.read(&file), text);
    // Doubled samples are named when they would be continued, too.
    dir.write(&file, text.repeat(2));
    dir.run(&["run", "x.toml"]).refused(&[reconstruction, "line 4", "second time", "delete the file"]);
}

#[test]
fn scores_know_their_samples() {
    let dir = evaluated();
    let said = dir.run(&["table", "results/x"]).good();
    assert!(!said.stderr.contains("note"), "{said:#?}");
    // A prediction that was edited: the table is of what the file says now, and says that scores.json is not.
    let file = "results/x/samples/contextual_qa.facts.text.jsonl";
    let text = dir.read(file);
    let first = json(text.lines().next().unwrap());
    let answer = format!("\"prediction\":{}", first["prediction"]);
    dir.write(file, edited(&text, &answer, &format!("\"prediction\":{}", first["answer"])));
    let said = dir.run(&["table", "results/x"]).good();
    assert!(said.stderr.contains("scores.json: is of other samples") && said.stderr.contains("nextmem score results/x"), "{said:#?}");
    dir.run(&["score", "results/x"]).good();
    let said = dir.run(&["table", "results/x"]).good();
    assert!(!said.stderr.contains("note"), "{said:#?}");
}

#[test]
fn metrics_that_the_experiment_did_not_name() {
    let dir = evaluated();
    let columns = |args: &[&str]| {
        let said = dir.run(&[&["score", "results/x"], args].concat()).good();
        let heads: Vec<String> = said.stdout.lines().filter(|line| line.starts_with("| row | backbone | ")).map(String::from).collect();
        // Ours, published, of every task.
        heads.into_iter().step_by(2).collect::<Vec<_>>()
    };
    assert_eq!(columns(&[])[0], "| row | backbone | f1 |");
    let one = columns(&["--metric", "meteor", "ndcg@5"]);
    assert_eq!(
        one,
        ["| row | backbone | f1 | meteor |", "| row | backbone | exact_match | meteor |", "| row | backbone | hit@5 | ndcg@5 |"]
    );
    let all = columns(&["--all"]);
    assert!(all[0].contains("name_f1") && all[2].ends_with("| hit@5 | recall@5 | mrr@5 | map@5 | dcg@5 | ndcg@5 |"), "{all:?}");
    let scores = json(&dir.read("results/x/scores.json"));
    assert!(scores.as_array().unwrap().iter().any(|s| s["metric"] == "chrf"), "{scores}");
    dir.run(&["score", "results/x", "--metric", "accuracy"]).refused(&["accuracy", "expected one of f1"]);
    let table = dir.run(&["table", "results/x", "--metric", "rouge_1", "map@5"]).good().stdout;
    assert!(table.contains("| run | backbone | row | rouge_1 |") && table.contains("| row | map@5 |"), "{table}");
    dir.run(&["table", "results/x", "--metric", "rouge_9"]).refused(&["rouge_9", "expected one of"]);
    dir.run(&["table", "results/x", "--metric", "bertscore"]).refused(&["bertscore", "none of the runs"]);
}

#[test]
fn tables_say_what_they_are_of() {
    let dir = evaluated();
    let said = dir.run(&["score", "results/x"]).good().stdout;
    let scope = "over the test items of one training";
    for part in [
        "factual reconstruction: facts (n = 3)",
        "| chance (a random order) | none | ",
        "| floor (the next passage in its place) | none | ",
        "| floor (the answer to the next question) | none | ",
        "| bag of tokens of the text | ",
        "| ICAE (paper) | Mistral-7B, 128 slots | ",
        "| DyPRAG (paper) | Llama-3-8B | ",
        scope,
    ] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    // Two experiments with other items: no column holds both.
    dir.write("y.toml", edited(&edited(EVALUATION, "name = \"x\"", "name = \"y\"\nseed = 7"), "limit = 3", "limit = 2"));
    dir.run(&["run", "y.toml"]).good();
    let both = dir.run(&["table", "results/x", "results/y"]).good().stdout;
    for part in
        ["## reconstruction, facts (n = 3, items ", "## reconstruction, facts (n = 2, items ", "other items under the same name", scope]
    {
        assert!(both.contains(part), "no {part:?} in {both}");
    }
    let alone = dir.run(&["table", "results/x"]).good().stdout;
    assert!(alone.contains("## retrieval, facts (n = 3)\n") && !alone.contains(", items "), "{alone}");
    // The same in the other formats.
    let all = json(&dir.run(&["table", "results/x", "results/y", "--format", "json"]).good().stdout);
    let of = |run: &str| {
        all["scores"].as_array().unwrap().iter().filter(|s| s["run"] == run && s["row"] == "dense").cloned().collect::<Vec<_>>()
    };
    assert!(of("x").iter().all(|s| s["n"] == 3 && s["dataset"] == "facts"), "{all}");
    assert_ne!(of("x")[0]["items"], of("y")[0]["items"]);
    let csv = dir.run(&["table", "results/x", "--format", "csv"]).good().stdout;
    assert!(csv.starts_with("group,run,backbone,task,dataset,items,row,metric,n,value,value low,value high"), "{csv}");
    assert!(dir.run(&["table", "results/x", "--format", "tex"]).good().stdout.contains("\\caption{reconstruction, facts (n = 3)}"));
    let compared = dir.run(&["compare", "results/x:dense", "results/x:sparse"]).good().stdout;
    assert!(compared.contains(scope) && compared.contains("not that A's method does"), "{compared}");
}

#[test]
fn a_run_ends_with_a_summary() {
    let dir = evaluated();
    let said = dir.run(&["run", "x.toml"]).good().stdout;
    let lines: Vec<&str> = said.trim_end().lines().rev().take(6).collect();
    assert!(lines.iter().all(|line| line.len() <= 80), "{lines:?}");
    assert!(lines[2].starts_with("dense ") && lines[1].starts_with("sparse ") && lines[0].starts_with("text "), "{lines:?}");
    assert!(lines[5].contains("reconstruction") && lines[4].contains("facts, n = 3"), "{lines:?}");
}

/// Root may write anywhere, so that permissions cannot stand in for a read-only file system there.
#[test]
#[cfg(unix)]
fn a_finished_run_that_cannot_be_written_to_is_printed() {
    use std::os::unix::fs::PermissionsExt;
    let dir = evaluated();
    let expected = dir.run(&["score", "results/x"]).good().stdout;
    let folder = dir.path("results/x");
    let mode = |mode| std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    let said = dir.run(&["score", "results/x", "--all"]);
    mode(0o755);
    let said = said.good();
    let written = std::fs::read_to_string(folder.join("scores.json")).unwrap().contains("name_f1");
    assert!(said.stdout.contains("name_f1") && (written || said.stderr.contains("printed and not written")), "{said:#?}");
    assert!(expected.contains("facts (n = 3)"));
}
