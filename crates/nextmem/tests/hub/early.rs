//! What `fetch` knows before the weights come, and what it reads from the environment and the file system.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::support::server::{header, sha256};
use super::support::{Dir, Weights};
use super::{COMMIT, REPO, cached, hub, listing, one, run};

/// Files of a repository that must be refused with these words before any of its weights come.
#[track_caller]
fn refused_early(files: &BTreeMap<String, Vec<u8>>, names: &[&str]) {
    let (dir, server) = (Dir::new(), hub(files, &listing(files)));
    run(&dir, &server, &["fetch", REPO], &[]).refused(&[&["nothing was downloaded", REPO], names].concat());
    let weights: Vec<String> = server.requests().into_iter().filter(|r| r.contains(".safetensors ")).collect();
    assert!(weights.iter().all(|r| header(r, "range").is_some_and(|range| range.starts_with("bytes=0-"))), "{weights:?}");
    assert!(!dir.path("hf").exists());
}

#[test]
fn what_the_headers_say_is_known_before_the_weights_come() {
    let dir = Dir::with_backbone();
    let files = dir.files("backbone");
    let edited = |name: &str, change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_slice(&files[name]).unwrap();
        change(&mut value);
        BTreeMap::from_iter(files.clone().into_iter().chain([(name.to_string(), value.to_string().into_bytes())]))
    };
    let weights = |change: &dyn Fn(&mut Weights)| {
        let path = dir.path("changed.safetensors");
        let mut weights = Weights::read(&dir.path("backbone/model.safetensors"));
        change(&mut weights);
        weights.write(&path);
        std::fs::read(path).unwrap()
    };
    // An encoder of this architecture: no head, and none that is tied.
    let headless = edited("config.json", &|v| v["tie_word_embeddings"] = false.into());
    refused_early(&headless, &["no `lm_head.weight`", "only encodes"]);
    // Another size, another layout, damage.
    refused_early(&edited("config.json", &|v| v["intermediate_size"] = 33.into()), &["mlp.", "expected"]);
    let mut other = files.clone();
    other.insert("model.safetensors".into(), weights(&|w| w.rename("model.norm.weight", "model.ghost.weight")));
    refused_early(&other, &["`model.norm.weight`", "`model.ghost.weight`"]);
    other.insert("model.safetensors".into(), [files["model.safetensors"].as_slice(), b"x"].concat());
    refused_early(&other, &["model.safetensors", "not a whole safetensors file"]);
    // A table without rows for the tokens that are added, as Qwen3-Embedding has it; a tokenizer of another kind.
    let text = String::from_utf8(files["tokenizer.json"].clone()).unwrap();
    let mut small = files.clone();
    small.insert("tokenizer_config.json".into(), b"{}".to_vec());
    small.insert("tokenizer.json".into(), text.replace("<|start_of_document|>", "<|another_name|>").into_bytes());
    refused_early(&small, &["385 entries", "vocab_size is 384", "resize_token_embeddings(385)"]);
    small.insert("tokenizer.json".into(), text.replace("<|im_end|>", "<|eot_id|>").into_bytes());
    refused_early(&small, &["tokenizer.json: no token `<|im_end|>`"]);
    // An index that names what is not there; pickles; a stale index is not looked at.
    let index = |shard: &str| json!({"metadata": {}, "weight_map": {"model.norm.weight": shard}}).to_string().into_bytes();
    let mut sharded = files.clone();
    sharded.insert("model.safetensors.index.json".into(), index("model-00001-of-00002.safetensors"));
    let whole = Dir::new();
    run(&whole, &hub(&sharded, &listing(&sharded)), &["fetch", REPO], &[]).good();
    sharded.remove("model.safetensors");
    sharded.insert("other.safetensors".into(), b"x".to_vec());
    refused_early(&sharded, &["no model-00001-of-00002.safetensors"]);
    sharded.remove("model.safetensors.index.json");
    sharded.insert("pytorch_model.bin".into(), b"x".to_vec());
    refused_early(&sharded, &["pytorch_model.bin", "save_pretrained"]);
    // Keys of a base model are as good.
    let mut flat = files.clone();
    let short = |w: &mut Weights| {
        let keys: Vec<String> = w.header.keys().filter(|k| k.starts_with("model.")).cloned().collect();
        keys.iter().for_each(|key| w.rename(key, &key["model.".len()..]));
    };
    flat.insert("model.safetensors".into(), weights(&short));
    let (place, server) = (Dir::new(), hub(&flat, &listing(&flat)));
    run(&place, &server, &["fetch", REPO, "--out", "flat"], &[]).good();
    assert!(place.run(&["verify", "flat"]).good().stdout.contains("whole"));
    // Adapters that are not computed here.
    let dora = BTreeMap::from([
        ("s/adapter_config.json".to_string(), br#"{"peft_type": "LORA", "r": 4, "use_dora": true}"#.to_vec()),
        ("s/adapter_model.safetensors".to_string(), b"x".to_vec()),
    ]);
    refused_early(&dora, &["s/adapter_config.json", "use_dora"]);
}

#[test]
fn the_environment_is_read_as_python_reads_it() {
    let (dir, files) = (Dir::new(), one());
    let server = hub(&files, &listing(&files));
    let args = ["fetch", REPO, "--file", "weights.safetensors"];
    let home = dir.path("home").display().to_string();
    let at = |variables: &[(&str, &str)]| {
        let said = run(&dir, &server, &args, &[&[("HOME", home.as_str())], variables].concat()).good();
        said.stdout.trim().to_string()
    };
    let snapshot = format!("models--lab--tiny-qwen3/snapshots/{COMMIT}");
    assert_eq!(at(&[("HF_HOME", "$HOME/hf")]), format!("{home}/hf/hub/{snapshot}"));
    assert_eq!(at(&[("HF_HOME", "~/tilde")]), format!("{home}/tilde/hub/{snapshot}"));
    assert_eq!(at(&[("HF_HUB_CACHE", "${HOME}/cache")]), format!("{home}/cache/{snapshot}"));
    assert!(!dir.path("$HOME").exists() && !dir.path("~").exists() && !dir.path("${HOME}").exists());
    // The first of two variables decides.
    at(&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")]);
}

#[test]
fn without_symbolic_links_there_are_plain_files() {
    let (dir, files) = (Dir::new(), one());
    let server = hub(&files, &listing(&files));
    let fetch = || run(&dir, &server, &["fetch", REPO, "--file", "weights.safetensors"], &[("HF_HUB_DISABLE_SYMLINKS", "1")]).good();
    let place = dir.path(fetch().stdout.trim()).join("weights.safetensors");
    assert!(std::fs::symlink_metadata(&place).unwrap().is_file());
    assert!(std::fs::read(&place).unwrap() == files["weights.safetensors"]);
    // The only name of its bytes, as where there are no links at all: it is not downloaded again.
    std::fs::remove_file(dir.path(&cached(&format!("blobs/{}", sha256(&files["weights.safetensors"]))))).unwrap();
    let before = server.requests_of("weights.safetensors").len();
    assert!(fetch().stderr.contains("is here already"));
    assert_eq!(server.requests_of("weights.safetensors").len(), before);
    let left = dir.files(&cached("snapshots"));
    assert_eq!(left.into_keys().collect::<Vec<_>>(), [format!("{COMMIT}/weights.safetensors")]);
}
