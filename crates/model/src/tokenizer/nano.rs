//! A small tokenizer of our own: byte-level BPE with Qwen3's pipeline, added tokens and chat template.

use std::path::Path;

use serde_json::json;
use tokenizers::AddedToken;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::BpeTrainer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::settings::Settings;
use super::{END_OF_TEXT, IM_END, Tokenizer, TokenizerError};

/// Qwen3's pipeline around an empty model (tokenizer.json of Qwen/Qwen3-8B): NFC, its pattern, bytes.
const PIPELINE: &str = r#"{
  "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
  "normalizer": {"type": "NFC"},
  "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
    {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
    {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false}]},
  "post_processor": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
  "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "", "end_of_word_suffix": "",
    "fuse_unk": false, "byte_fallback": false, "ignore_merges": false, "vocab": {}, "merges": []}
}"#;

/// Qwen3's added tokens in the order of their ids, and whether decoding skips them.
const QWEN3_ADDED: [(&str, bool); 26] = [
    (END_OF_TEXT, true),
    ("<|im_start|>", true),
    (IM_END, true),
    ("<|object_ref_start|>", true),
    ("<|object_ref_end|>", true),
    ("<|box_start|>", true),
    ("<|box_end|>", true),
    ("<|quad_start|>", true),
    ("<|quad_end|>", true),
    ("<|vision_start|>", true),
    ("<|vision_end|>", true),
    ("<|vision_pad|>", true),
    ("<|image_pad|>", true),
    ("<|video_pad|>", true),
    ("<tool_call>", false),
    ("</tool_call>", false),
    ("<|fim_prefix|>", false),
    ("<|fim_middle|>", false),
    ("<|fim_suffix|>", false),
    ("<|fim_pad|>", false),
    ("<|repo_name|>", false),
    ("<|file_sep|>", false),
    ("<tool_response>", false),
    ("</tool_response>", false),
    ("<think>", false),
    ("</think>", false),
];

/// The chat template of Qwen/Qwen3-8B (Apache-2.0, see README.md beside it).
const CHAT_TEMPLATE: &str = include_str!("qwen3_chat_template.jinja");

/// Every byte has a token, so that any text survives a round trip.
const BYTES: usize = 256;

/// A merge seen once is noise.
const MIN_FREQUENCY: u64 = 2;

impl Tokenizer {
    /// Trains a tokenizer of at most `vocab_size` entries: 256 bytes, merges, Qwen3's 26 added tokens, NextMem's two.
    ///
    /// The same texts give the same file. Fewer entries result when the texts have too few repeated pairs.
    ///
    /// # Errors
    /// [`TokenizerError::VocabTooSmall`] when no merge would fit.
    pub fn train_nano(texts: impl IntoIterator<Item = String>, vocab_size: usize) -> Result<Self, TokenizerError> {
        let added = QWEN3_ADDED.len() + super::NEXTMEM_ADDED.len();
        let least = BYTES + 1 + added;
        if vocab_size < least {
            return Err(TokenizerError::VocabTooSmall { got: vocab_size, least });
        }
        let mut inner: tokenizers::Tokenizer = PIPELINE.parse().map_err(super::tokenize_error)?;
        let mut trainer = TrainerWrapper::BpeTrainer(
            BpeTrainer::builder()
                .vocab_size(vocab_size - added)
                .min_frequency(MIN_FREQUENCY)
                .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
                .show_progress(false)
                .build(),
        );
        // The added tokens come after training: in the texts they are ordinary characters.
        let texts: Vec<String> = texts.into_iter().collect();
        inner.train(&mut trainer, texts.iter()).map_err(super::tokenize_error)?;
        let tokens = QWEN3_ADDED.map(|(token, special)| AddedToken::from(token, special).normalized(false));
        inner.add_tokens(tokens).map_err(super::tokenize_error)?;
        let config = json!({
            "add_bos_token": false, "add_prefix_space": false, "bos_token": null, "clean_up_tokenization_spaces": false,
            "eos_token": IM_END, "errors": "replace", "model_max_length": 131072, "pad_token": END_OF_TEXT,
            "split_special_tokens": false, "tokenizer_class": "Qwen2Tokenizer", "unk_token": null,
        });
        Self::new(inner, Settings::of(config, CHAT_TEMPLATE), Vec::new(), Path::new("tokenizer.json"))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn texts() -> Vec<String> {
        let words = ["the memory", "of an agent", "remembers 1984", "<|im_end|> as text", "caf\u{e9} \u{4f60}\u{597d}", "\n\n  code()"];
        (0..400usize).map(|i| format!("{} {} {}", words[i % 6], words[i * 7 % 5], words[i * i % 3])).collect()
    }

    #[test]
    fn training_is_deterministic() {
        let one = Tokenizer::train_nano(texts(), 420).unwrap();
        let two = Tokenizer::train_nano(texts(), 420).unwrap();
        assert_eq!(one.to_json().unwrap(), two.to_json().unwrap());
        assert!((300..=420).contains(&one.vocab_size()), "{}", one.vocab_size());
        // The two NextMem tokens come last, after Qwen3's in their order.
        let last = one.vocab_size() as u32 - 1;
        assert_eq!([one.end_of_memory(), one.sod()], [last, last - 1]);
        assert_eq!([one.end_of_text(), one.im_end()], [last - 27, last - 25]);
        assert_eq!(one.end_ids(), [one.im_end(), one.end_of_text()]);
        assert!(matches!(Tokenizer::train_nano(texts(), 284), Err(TokenizerError::VocabTooSmall { least: 285, .. })));
    }

    #[test]
    fn any_text_round_trips_and_none_injects_tokens() {
        let nano = Tokenizer::train_nano(texts(), 400).unwrap();
        for text in ["", " ", "the memory", "\u{1f600} \u{0}\u{7f} \u{fffd}\r\n\t", "<|im_start|>system\n<think><|start_of_document|>"] {
            let ids = nano.encode(text).unwrap();
            assert!(ids.iter().all(|id| *id < nano.end_of_text()), "{text:?}");
            assert_eq!(nano.decode(&ids).unwrap(), text);
        }
        assert_eq!(nano.decode(&[nano.im_end(), u32::MAX, 400]).unwrap(), "", "special, and beyond the vocabulary");
        assert_eq!(nano.encode_prompt("<|im_end|><|start_of_document|>").unwrap(), [nano.im_end(), nano.sod()]);
    }

    #[test]
    fn saved_files_open_again() {
        let nano = Tokenizer::train_nano(texts(), 400).unwrap();
        let dir = tempfile::tempdir().unwrap();
        nano.save(dir.path()).unwrap();
        let again = Tokenizer::open(dir.path()).unwrap();
        assert_eq!(again.to_json().unwrap(), nano.to_json().unwrap());
        assert_eq!(again.end_ids(), nano.end_ids());
        assert_eq!(again.answer_text_prompt("r", "q").unwrap(), nano.answer_text_prompt("r", "q").unwrap());
        // The splice point is after the word "system", however many tokens it takes here.
        let (head, tail) = nano.answer_latents_prompt("who?").unwrap();
        assert_eq!(head[1..], nano.encode("system").unwrap());
        assert!(nano.decode(&tail).unwrap().starts_with("\n"));
    }
}
