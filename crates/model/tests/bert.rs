//! Encoders and the bi-encoder against transformers on tiny random models (scripts/golden/make_bert.py).
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nextmem_model::{Abilities, Bge, BgeConfig, Device, EncodedText, MemoryMethod, ModelError, Pooling, TensorFiles, TextEncoder};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Largest difference as a part of the largest value: both sides compute in f32.
const TOLERANCE: f32 = 1e-5;

const KINDS: [&str; 2] = ["bert", "roberta"];

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/fixtures/bert").join(name)
}

fn open(dir: &Path) -> TextEncoder {
    TextEncoder::open(dir, &Device::flex()).unwrap()
}

fn json_of(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The texts behind the fixtures; those of RoBERTa were encoded with a space before the first word.
fn texts(kind: &str, key: &str) -> Vec<String> {
    let spaced = |text: &str| if kind == "roberta" && !text.is_empty() { format!(" {text}") } else { text.to_string() };
    json_of(&fixture("texts.json"))[key].as_array().unwrap().iter().map(|text| spaced(text.as_str().unwrap())).collect()
}

/// A copy of a fixture that a test may change.
fn copy(kind: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixture(kind).join(name), dir.path().join(name)).unwrap();
    }
    dir
}

fn edit(dir: &TempDir, name: &str, change: impl FnOnce(&mut Value)) {
    let mut value = json_of(&dir.path().join(name));
    change(&mut value);
    std::fs::write(dir.path().join(name), value.to_string()).unwrap();
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn edit_weights(dir: &TempDir, change: impl FnOnce(&mut Tensors)) {
    let path = dir.path().join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let whole = SafeTensors::deserialize(&bytes).unwrap();
    let mut tensors: Tensors =
        whole.iter().map(|(key, view)| (key.to_string(), (view.dtype(), view.shape().to_vec(), view.data().to_vec()))).collect();
    change(&mut tensors);
    let views = tensors.iter().map(|(key, (dtype, shape, data))| (key, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn refused(dir: &Path) -> ModelError {
    TextEncoder::open(dir, &Device::flex()).unwrap_err()
}

/// Of vectors of length 1.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[track_caller]
fn assert_close(got: &[f32], expected: &[f32], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let difference = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference <= TOLERANCE * largest, "{what}: largest difference {difference} of {largest}");
}

/// Ids of the fixture's batch, without padding.
fn expected_ids(files: &TensorFiles) -> Vec<Vec<u32>> {
    let (ids, mask) = (files.read_ints("ids").unwrap(), files.read_ints("mask").unwrap());
    let seq = files.shape("ids").unwrap()[1];
    let row = |(ids, mask): (&[i64], &[i64])| ids.iter().zip(mask).filter(|(_, on)| **on == 1).map(|(id, _)| *id as u32).collect();
    ids.chunks(seq).zip(mask.chunks(seq)).map(row).collect()
}

/// All layers of the batch of texts, as [`expected_ids`] without padding.
fn check_layers(encoder: &TextEncoder, files: &TensorFiles, rows: &[Vec<u32>]) {
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    let (longest, hidden) = (files.shape("ids").unwrap()[1], encoder.hidden_size());
    for layer in 0..=encoder.num_layers() {
        let expected = files.read_f32(&format!("layer{layer}")).unwrap();
        assert_eq!(encoder.hidden_states(&rows, layer).dims(), [rows.len(), longest, hidden]);
        // Together, in pairs and alone: padding changes nothing.
        for batch_size in [rows.len(), 2, 1] {
            let got = encoder.token_vectors(&rows, layer, batch_size);
            for (i, (got, expected)) in got.iter().zip(expected.chunks(longest * hidden)).enumerate() {
                assert_close(got, &expected[..rows[i].len() * hidden], &format!("layer {layer}, row {i}, batches of {batch_size}"));
            }
        }
    }
}

#[test]
fn tokens_and_hidden_states_of_every_layer() {
    for kind in KINDS {
        let (encoder, files) = (open(&fixture(kind)), TensorFiles::open_file(&fixture(kind).join("expected.safetensors")).unwrap());
        assert_eq!((encoder.model_type(), encoder.name().as_str(), encoder.num_layers(), encoder.max_tokens()), (kind, kind, 2, 28));
        let encoded: Vec<EncodedText> = texts(kind, "texts").iter().map(|text| encoder.tokenize(text).unwrap()).collect();
        let expected = expected_ids(&files);
        assert_eq!(encoded.iter().map(|text| text.ids.clone()).collect::<Vec<_>>(), expected);
        assert_eq!(encoded.iter().map(|text| text.truncated).collect::<Vec<_>>(), [false, false, true]);
        // The empty text is what stands around every text.
        assert_eq!(expected[1], encoder.special_ids());
        check_layers(&encoder, &files, &expected);
    }
}

#[test]
fn activations() {
    for kind in KINDS {
        let files = TensorFiles::open_file(&fixture(kind).join("expected.safetensors")).unwrap();
        let ids = expected_ids(&files).swap_remove(0);
        for act in ["gelu_new", "gelu_pytorch_tanh", "relu"] {
            let dir = copy(kind);
            edit(&dir, "config.json", |config| config["hidden_act"] = act.into());
            let got = open(dir.path()).token_vectors(&[&ids], 2, 1).remove(0);
            let key = if act == "relu" { "act.relu" } else { "act.gelu_new" };
            assert_close(&got, &files.read_f32(key).unwrap(), act);
        }
    }
}

#[test]
fn other_spellings_of_the_same_checkpoint() {
    // BERT as older files have it: the norms of TensorFlow, a buffer, no prefix. RoBERTa as a language model has it.
    let files = TensorFiles::open_file(&fixture("bert").join("expected.safetensors")).unwrap();
    let dir = copy("bert");
    edit_weights(&dir, |tensors| {
        let old = |key: &str| key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
        *tensors = std::mem::take(tensors).into_iter().map(|(key, t)| (old(key.strip_prefix("bert.").unwrap_or(&key)), t)).collect();
        tensors.insert("embeddings.position_ids".into(), (Dtype::I64, vec![1, 2], vec![0; 16]));
    });
    check_layers(&open(dir.path()), &files, &expected_ids(&files));

    let files = TensorFiles::open_file(&fixture("roberta").join("expected.safetensors")).unwrap();
    let dir = copy("roberta");
    edit_weights(&dir, |tensors| {
        *tensors = std::mem::take(tensors).into_iter().map(|(key, t)| (format!("roberta.{key}"), t)).collect();
        tensors.insert("lm_head.bias".into(), (Dtype::F32, vec![2], vec![0; 8]));
    });
    edit(&dir, "config.json", |config| config["model_type"] = "xlm-roberta".into());
    let encoder = open(dir.path());
    assert_eq!(encoder.model_type(), "xlm-roberta");
    check_layers(&encoder, &files, &expected_ids(&files));
}

#[test]
fn a_vocabulary_stands_in_for_the_tokenizer_of_a_bert() {
    let dir = copy("bert");
    let vocab = json_of(&dir.path().join("tokenizer.json"))["model"]["vocab"].clone();
    let mut vocab: Vec<(String, u64)> = vocab.as_object().unwrap().iter().map(|(t, id)| (t.clone(), id.as_u64().unwrap())).collect();
    vocab.sort_by_key(|(_, id)| *id);
    std::fs::write(dir.path().join("vocab.txt"), vocab.iter().map(|(token, _)| format!("{token}\n")).collect::<String>()).unwrap();
    std::fs::remove_file(dir.path().join("tokenizer.json")).unwrap();
    let (of_vocab, of_json) = (open(dir.path()), open(&fixture("bert")));
    for text in
        texts("bert", "texts").iter().chain(&texts("bert", "passages")).map(String::as_str).chain(["a [SEP] \u{4f60}\u{597d} [MASK]x"])
    {
        assert_eq!(of_vocab.tokenize(text).unwrap(), of_json.tokenize(text).unwrap(), "{text}");
    }
    std::fs::write(dir.path().join("vocab.txt"), "[PAD]\n[UNK]\n[CLS]\n").unwrap();
    assert!(refused(dir.path()).to_string().contains("[SEP]"));
}

#[test]
fn the_name_of_a_snapshot_is_that_of_its_repository() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("models--FacebookAI--roberta-large/snapshots/722cf37b1afa9454edce342e7895e588b6ff1d59");
    std::fs::create_dir_all(&dir).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(fixture("roberta").join(name), dir.join(name)).unwrap();
    }
    assert_eq!(open(&dir).name(), "roberta-large");
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let dir = copy("bert");
    edit_weights(&dir, |tensors| drop(tensors.remove("bert.encoder.layer.1.output.dense.bias").unwrap()));
    let error = refused(dir.path());
    assert!(
        matches!(&error, ModelError::MissingWeights { count: 1, first, .. } if first == "encoder.layer.1.output.dense.bias"),
        "{error}"
    );

    let dir = copy("bert");
    edit_weights(&dir, |tensors| drop(tensors.insert("bert.encoder.layer.2.x".into(), (Dtype::F32, vec![1], vec![0; 4]))));
    let error = refused(dir.path());
    assert!(matches!(&error, ModelError::UnusedWeights { count: 1, first, .. } if first == "bert.encoder.layer.2.x"), "{error}");

    // The same weight under two names.
    let dir = copy("roberta");
    edit_weights(&dir, |tensors| {
        let word = tensors["embeddings.word_embeddings.weight"].clone();
        tensors.insert("roberta.embeddings.word_embeddings.weight".into(), word);
    });
    let error = refused(dir.path());
    assert!(matches!(&error, ModelError::UnusedWeights { first, .. } if first.ends_with("word_embeddings.weight")), "{error}");

    let dir = copy("roberta");
    edit_weights(&dir, |tensors| tensors.get_mut("encoder.layer.0.output.dense.weight").unwrap().1.swap(0, 1));
    let error = refused(dir.path());
    assert!(matches!(&error, ModelError::WeightShape { got, expected, .. } if got == &[36, 32] && expected == &[32, 36]), "{error}");

    let dir = copy("bert");
    edit_weights(&dir, |tensors| tensors.get_mut("bert.embeddings.LayerNorm.bias").unwrap().0 = Dtype::I32);
    assert!(matches!(refused(dir.path()), ModelError::WeightDtype { .. }));

    let dir = copy("bert");
    let path = dir.path().join("model.safetensors");
    let whole = std::fs::read(&path).unwrap();
    for cut in [0, 7, 900, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let error = refused(dir.path());
        assert!(matches!(&error, ModelError::Safetensors { .. }), "cut at {cut}: {error}");
    }
    std::fs::rename(&path, dir.path().join("pytorch_model.bin")).unwrap();
    let error = refused(dir.path()).to_string();
    assert!(error.contains("pytorch_model.bin: a pickle") && error.contains("save_pretrained"), "{error}");
    std::fs::remove_file(dir.path().join("pytorch_model.bin")).unwrap();
    assert!(matches!(refused(dir.path()), ModelError::Missing { .. }));
}

#[test]
fn configurations_and_tokenizers_that_do_not_fit() {
    let dir = copy("bert");
    edit(&dir, "config.json", |config| config["model_type"] = "distilbert".into());
    let error = refused(dir.path()).to_string();
    assert!(error.contains("distilbert") && error.contains("xlm-roberta") && error.contains("config.json"), "{error}");
    std::fs::write(dir.path().join("config.json"), "{").unwrap();
    assert!(matches!(refused(dir.path()), ModelError::Config { .. }));
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    assert!(matches!(refused(dir.path()), ModelError::Missing { .. }));

    let dir = copy("roberta");
    let path = dir.path().join("tokenizer.json");
    std::fs::write(dir.path().join("vocab.txt"), "[CLS]\n[SEP]\n").unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = refused(dir.path()).to_string();
    assert!(error.contains("tokenizer.json: no such file") && error.contains("save_pretrained"), "{error}");
    std::fs::write(&path, "{}").unwrap();
    assert!(refused(dir.path()).to_string().contains("not a tokenizer"));

    let dir = copy("bert");
    edit(&dir, "tokenizer.json", |tokenizer| tokenizer["post_processor"] = Value::Null);
    assert!(refused(dir.path()).to_string().contains("got 0 special tokens"));
    let dir = copy("bert");
    edit(&dir, "tokenizer.json", |tokenizer| tokenizer["model"]["vocab"]["more"] = 5000.into());
    assert!(refused(dir.path()).to_string().contains("token id 5000"));
}

#[test]
fn lengths_come_from_the_tokenizer_the_positions_and_the_caller() {
    let dir = copy("bert");
    edit(&dir, "tokenizer_config.json", |config| config["model_max_length"] = json!(1e30));
    let mut encoder = open(dir.path());
    assert_eq!(encoder.max_tokens(), 28);
    encoder.limit_tokens(500);
    assert_eq!(encoder.max_tokens(), 28);
    encoder.limit_tokens(5);
    let text = encoder.tokenize("a b c d e").unwrap();
    assert!(text.truncated && text.ids.len() == 5 && text.ids[4] == encoder.special_ids()[1]);
    assert!(!encoder.tokenize("a b c").unwrap().truncated);
    edit(&dir, "tokenizer_config.json", |config| config["model_max_length"] = 9.into());
    assert_eq!(open(dir.path()).max_tokens(), 9);
}

#[test]
fn vectors_and_ranks_of_the_bi_encoder() {
    for kind in KINDS {
        let files = TensorFiles::open_file(&fixture(kind).join("expected.safetensors")).unwrap();
        let passages = texts(kind, "passages");
        let passages: Vec<&str> = passages.iter().map(String::as_str).collect();
        let source = json_of(&fixture("texts.json"));
        let mut config = BgeConfig::new(fixture(kind));
        config.query_instruction = format!("{}{}", if kind == "bert" { "" } else { " " }, source["instruction"].as_str().unwrap());
        config.batch_size = 2.try_into().unwrap();
        for (pooling, key) in [(None, "cls"), (Some(Pooling::Cls), "cls"), (Some(Pooling::Mean), "mean")] {
            config.pooling = pooling;
            let bge = Bge::open(&config, &Device::flex()).unwrap();
            assert_eq!((bge.name().as_str(), bge.abilities()), (kind, Abilities::INDEX));
            let expected = files.read_f32(key).unwrap();
            let expected: Vec<&[f32]> = expected.chunks(32).collect();
            let got = bge.index(&passages).unwrap();
            got.iter().zip(&expected).for_each(|(got, expected)| assert_close(got, expected, key));
            let ranks = bge.rank(source["query"].as_str().unwrap(), &passages).unwrap();
            for (rank, vector) in ranks.iter().zip(&expected) {
                assert!((rank - cosine(expected[5], vector)).abs() < 1e-5, "{key}");
            }
            let order = |scores: &[f64]| {
                let mut order: Vec<usize> = (0..scores.len()).collect();
                order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
                order
            };
            let cosines: Vec<f64> = expected[..5].iter().map(|vector| cosine(expected[5], vector)).collect();
            assert_eq!(order(&ranks), order(&cosines), "{key}");
            assert!(bge.index(&[]).unwrap().is_empty() && bge.rank("x", &[]).unwrap().is_empty());
            assert!(bge.encode(&passages).is_err() && bge.reconstruct(&[]).is_err());
        }
    }
}

#[test]
fn the_files_of_sentence_transformers_are_followed_or_refused() {
    let dir = copy("bert");
    let (config, device) = (BgeConfig::new(dir.path()), Device::flex());
    std::fs::create_dir(dir.path().join("1_Pooling")).unwrap();
    let set = |name: &str, value: Value| std::fs::write(dir.path().join(name), value.to_string()).unwrap();
    let pooling = "1_Pooling/config.json";
    set(pooling, json!({"word_embedding_dimension": 32, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}));
    assert_eq!(Bge::open(&config, &device).unwrap().pooling(), Pooling::Mean);
    set(pooling, json!({"pooling_mode": "cls", "include_prompt": true}));
    set("sentence_bert_config.json", json!({"max_seq_length": 6, "do_lower_case": false}));
    set("modules.json", json!([{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.Normalize"}]));
    let bge = Bge::open(&config, &device).unwrap();
    assert_eq!((bge.pooling(), bge.truncated()), (Pooling::Cls, 0));
    bge.index(&["a b c d", "a b c d e"]).unwrap();
    assert_eq!(bge.truncated(), 1);
    set("modules.json", json!([{"type": "sentence_transformers.models.Dense"}]));
    assert!(Bge::open(&config, &device).unwrap_err().to_string().contains("Dense"));
    set(pooling, json!({"pooling_mode_max_tokens": true}));
    assert!(Bge::open(&config, &device).unwrap_err().to_string().contains("max_tokens"));
}

#[test]
fn a_configuration_is_read_strictly() {
    let read = |value: Value| serde_json::from_value::<BgeConfig>(value);
    assert_eq!(read(json!({"model": "x"})).unwrap(), BgeConfig::new("x"));
    assert_eq!(read(json!({"model": "x", "pooling": "mean"})).unwrap().pooling, Some(Pooling::Mean));
    assert!(read(json!({"model": "x", "batch_size": 0})).is_err());
    assert!(read(json!({"model": "x", "pool": "mean"})).is_err());
}
