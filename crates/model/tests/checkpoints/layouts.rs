//! The layouts of files and keys that transformers reads, with the numbers that it reads.

use burn::tensor::Device;
use nextmem_model::{Decoder, ModelError, check_decoder, save_decoder, untied_note};
use safetensors::tensor::Dtype;
use tempfile::TempDir;

use super::{EMBED, INDEX, MODEL, NORM, assert_same_logits, checkpoint, config, edit, edit_json, load, random, refused, sharded, values};

#[test]
fn an_index_decides_which_shards_are_read_and_no_more() {
    // A key that is listed and nowhere matters where the model needs it.
    let (written, dir) = sharded();
    edit_json(&dir, INDEX, |v| v["weight_map"]["model.ghost.weight"] = "model-1-of-2.safetensors".into());
    assert!(values(&load(&dir).unwrap()) == values(&written));
    edit_json(&dir, INDEX, |v| v["weight_map"].as_object_mut().unwrap().retain(|_, shard| shard == "model-1-of-2.safetensors"));
    assert_is!(refused(&dir), ModelError::MissingWeights { dir: d, .. } if d == dir.path());
}

#[test]
fn the_file_that_transformers_takes_is_taken() {
    let other = random(9, |device| Decoder::random(config(false), 0.2, 9, device));
    // A newer model.safetensors beside an index with its shards, and beside an index alone.
    let (old, dir) = sharded();
    save_decoder(&other, dir.path(), 1, 0).unwrap();
    assert!(values(&load(&dir).unwrap()) == values(&other) && values(&old) != values(&other));
    for shard in ["model-1-of-2.safetensors", "model-2-of-2.safetensors"] {
        std::fs::remove_file(dir.path().join(shard)).unwrap();
    }
    assert!(values(&load(&dir).unwrap()) == values(&other));
    // What config.json names comes first.
    let (_, dir) = checkpoint(false);
    std::fs::rename(dir.path().join(MODEL), dir.path().join("named.safetensors")).unwrap();
    save_decoder(&other, dir.path(), 1, 0).unwrap();
    let (written, _) = checkpoint(false);
    edit_json(&dir, "config.json", |v| v["transformers_weights"] = "named.safetensors".into());
    assert!(values(&load(&dir).unwrap()) == values(&written));
    for name in ["../named.safetensors", "named.bin", "x/named.safetensors"] {
        edit_json(&dir, "config.json", |v| v["transformers_weights"] = name.into());
        assert_is!(refused(&dir), ModelError::Config { reason, .. } if reason.contains("transformers_weights") && reason.contains(name));
    }
    // Pickles alone.
    let (_, dir) = checkpoint(false);
    std::fs::rename(dir.path().join(MODEL), dir.path().join("pytorch_model.bin")).unwrap();
    assert_is!(refused(&dir), ModelError::Config { reason, .. } if reason.contains("pytorch_model.bin") && reason.contains("save_pretrained"));
}

const HEAD: &str = "lm_head.weight";

fn renamed(dir: &TempDir, name: impl Fn(&str) -> String) {
    edit(dir, MODEL, |t| *t = std::mem::take(t).into_iter().map(|(key, tensor)| (name(&key), tensor)).collect());
}

#[test]
fn keys_may_lack_the_prefix_or_have_it_twice() {
    for tied in [true, false] {
        let short = |key: &str| key.strip_prefix("model.").unwrap_or(key).to_string();
        let half = |key: &str| if key.contains("layers.1") { short(key) } else { key.to_string() };
        let names: [&dyn Fn(&str) -> String; 3] = [&short, &half, &|key| format!("model.{key}")];
        for name in names {
            let (written, dir) = checkpoint(tied);
            renamed(&dir, name);
            assert!(values(&load(&dir).unwrap()) == values(&written), "tied {tied}");
            assert_eq!(check_decoder(dir.path(), &Device::flex()).unwrap(), config(tied));
        }
        // Buffers of older versions are no weights.
        let (written, dir) = checkpoint(tied);
        edit(&dir, MODEL, |t| drop(t.insert("model.layers.0.self_attn.rotary_emb.inv_freq".into(), (Dtype::F32, vec![1], vec![0; 4]))));
        assert!(values(&load(&dir).unwrap()) == values(&written));
        // transformers warns that it finds nothing, and loads random weights.
        for prefix in ["module.", "_orig_mod.", "base_model.model."] {
            let (_, dir) = checkpoint(tied);
            renamed(&dir, |key| format!("{prefix}{key}"));
            assert_is!(refused(&dir), ModelError::MissingWeights { count, .. } if *count >= 24);
        }
    }
    let (_, dir) = checkpoint(true);
    edit(&dir, MODEL, |t| drop(t.insert("norm.weight".into(), t[NORM].clone())));
    assert_is!(refused(&dir), ModelError::UnusedWeights { count: 1, first, .. } if first == "norm.weight");
}

#[test]
fn a_tied_model_has_one_table_unless_its_file_has_two() {
    let (written, dir) = checkpoint(true);
    let note = |dir: &TempDir| untied_note(dir.path(), load(dir).unwrap().config());
    edit(&dir, MODEL, |t| drop(t.insert(HEAD.into(), t[EMBED].clone())));
    assert_same_logits(&load(&dir).unwrap(), &written);
    assert_eq!((load(&dir).unwrap().config(), note(&dir)), (&config(true), None));
    // The table may have either name.
    edit(&dir, MODEL, |t| drop(t.remove(EMBED)));
    assert_same_logits(&load(&dir).unwrap(), &written);
    assert_eq!(check_decoder(dir.path(), &Device::flex()).unwrap(), config(true));
    // The values of 0.0 and -0.0 are one.
    let (_, dir) = checkpoint(true);
    edit(&dir, MODEL, |t| {
        t.get_mut(EMBED).unwrap().2[..4].copy_from_slice(&0f32.to_le_bytes());
        t.insert(HEAD.into(), t[EMBED].clone());
        t.get_mut(HEAD).unwrap().2[..4].copy_from_slice(&(-0f32).to_le_bytes());
    });
    assert_eq!(note(&dir), None);

    // A head of other values, even of one: it is used, as transformers uses it, and what is saved says so.
    let (untied, with_head) = checkpoint(false);
    edit_json(&with_head, "config.json", |v| v["tie_word_embeddings"] = true.into());
    let loaded = load(&with_head).unwrap();
    assert_same_logits(&loaded, &untied);
    assert_eq!(*loaded.config(), config(false));
    assert_eq!(check_decoder(with_head.path(), &Device::flex()).unwrap(), config(false));
    assert!(note(&with_head).unwrap().contains("tie_word_embeddings"));
    let again = tempfile::tempdir().unwrap();
    save_decoder(&loaded, again.path(), 1, 0).unwrap();
    assert_eq!(note(&again), None);
    assert_same_logits(&load(&again).unwrap(), &untied);
    let (_, dir) = checkpoint(true);
    edit(&dir, MODEL, |t| {
        t.insert(HEAD.into(), t[EMBED].clone());
        *t.get_mut(HEAD).unwrap().2.last_mut().unwrap() ^= 1;
    });
    assert!(note(&dir).is_some());
    // A head of another size never fits.
    edit(&dir, MODEL, |t| t.get_mut(HEAD).unwrap().1 = vec![32, 61]);
    assert_is!(refused(&dir), ModelError::WeightShape { key, .. } if key == HEAD);
}

#[test]
fn a_model_without_a_head_is_refused_as_that() {
    for prefix in ["", "model."] {
        let (_, dir) = checkpoint(true);
        renamed(&dir, |key| key.replacen("model.", prefix, 1));
        edit_json(&dir, "config.json", |v| v["tie_word_embeddings"] = false.into());
        assert_is!(refused(&dir), ModelError::NoHead { dir: d } if d == dir.path());
    }
}

#[test]
fn a_config_that_python_wrote_is_read() {
    let (written, dir) = checkpoint(true);
    let path = dir.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap().replacen('{', "\u{feff}{\"eval_loss\": NaN, \"best\": [-Infinity], ", 1);
    std::fs::write(&path, &text).unwrap();
    assert!(values(&load(&dir).unwrap()) == values(&written));
    std::fs::write(&path, text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>()).unwrap();
    assert_is!(refused(&dir), ModelError::Config { reason, .. } if reason.contains("UTF-16"));
}
