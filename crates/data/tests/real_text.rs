//! The shipped datasets, and public ones in the folder that `NEXTMEM_SHARED` names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use nextmem_data::{Split, TextCorpus, load_squad, sentences, sha256_file};

fn datasets() -> PathBuf {
    PathBuf::from("../../datasets")
}

#[test]
fn shipped_files_have_the_listed_hashes() {
    let sums = std::fs::read_to_string(datasets().join("SHA256SUMS")).expect("SHA256SUMS");
    let readme = std::fs::read_to_string(datasets().join("README.md")).expect("README.md");
    assert!(sums.lines().count() >= 2);
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").expect("`sum  name`");
        assert_eq!(sha256_file(datasets().join(name)).expect("a shipped file"), sum, "{name}");
        assert!(readme.contains(sum) && readme.contains(name), "{name} is not in README.md");
    }
}

#[test]
fn the_shipped_novel_gives_disjoint_passages() {
    let corpus = TextCorpus::open(datasets().join("pride_and_prejudice.txt")).expect("the novel");
    let [train, valid, test] = [Split::Train, Split::Valid, Split::Test].map(|split| corpus.passages(split, 12, 48));
    assert!(train.len() > 1000 && valid.len() > 50 && test.len() > 50);
    let mut seen = HashSet::new();
    for passage in train.iter().chain(&valid).chain(&test) {
        assert!(passage.is_ascii());
        assert!((12..=48).contains(&passage.split_whitespace().count()), "{passage}");
        assert!(!sentences(passage).is_empty());
        assert!(seen.insert(passage), "twice: {passage}");
    }
    println!("{} train, {} valid, {} test", train.len(), valid.len(), test.len());
}

#[test]
fn the_example_squad_loads_with_true_offsets() {
    let path = datasets().join("example_squad.json");
    let squad = load_squad(&path).expect("the example");
    assert_eq!((squad.articles, squad.passages.len(), squad.dropped_impossible), (1, 3, 0));
    assert!(squad.qa.len() >= 9);
    check_offsets(&path);
}

/// Every answer of a file stands where its `answer_start` (Unicode code points) says.
fn check_offsets(path: &Path) {
    let text = std::fs::read_to_string(path).expect("a readable file");
    let root: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let paragraphs = list(&root["data"]).into_iter().flat_map(|article| list(&article["paragraphs"]));
    for paragraph in paragraphs {
        let context = paragraph["context"].as_str().expect("a context");
        for answer in list(&paragraph["qas"]).iter().flat_map(|qa| list(&qa["answers"])) {
            let start = answer["answer_start"].as_u64().expect("a number") as usize;
            let text = answer["text"].as_str().expect("a text");
            let tail: String = context.chars().skip(start).collect();
            assert!(tail.starts_with(text), "{text}");
        }
    }
}

/// The public files are not shipped (CC BY-SA 4.0, 5 MB).
#[test]
#[ignore = "needs NEXTMEM_SHARED"]
fn public_squad_files_load_in_full() {
    let shared = std::env::var_os("NEXTMEM_SHARED").expect("NEXTMEM_SHARED names the folder of the public files");
    let folder = Path::new(&shared).join("data/squad");
    let first = load_squad(folder.join("dev-v1.1.json")).expect("SQuAD 1.1 dev");
    assert_eq!((first.articles, first.passages.len(), first.qa.len()), (48, 2067, 10_570));
    assert_eq!(first.dropped_impossible, 0);

    let second = load_squad(folder.join("dev-v2.0.cs224n.json")).expect("SQuAD 2.0 dev");
    assert!(second.dropped_impossible > 0 && !second.qa.is_empty());
    println!("2.0: {} passages, {} questions, {} dropped", second.passages.len(), second.qa.len(), second.dropped_impossible);
    for item in first.qa.iter().chain(&second.qa) {
        assert!(item.references[0].contains(&item.answer), "{item:?}");
    }
}
