//! The tokenizer of an encoder: a text between `[CLS]` and `[SEP]`, cut where the positions end.

use std::fmt;
use std::path::Path;

use serde_json::Value;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Tokenizer};

use super::config::{EncoderConfig, Family};
use crate::error::ModelError;
use crate::json::{json_text, parse_json};
use crate::tokenizer::TokenizerError;

/// The ids of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedText {
    /// `[CLS]`, the text, `[SEP]`.
    pub ids: Vec<u32>,
    /// Whether the end of the text did not fit.
    pub truncated: bool,
}

pub(super) struct TextTokenizer {
    inner: Tokenizer,
    /// Tokens of a text, special ones included.
    pub(super) limit: usize,
    /// `[CLS]` and `[SEP]`.
    pub(super) special: [u32; 2],
}

impl fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextTokenizer").field("limit", &self.limit).field("special", &self.special).finish_non_exhaustive()
    }
}

impl TextTokenizer {
    /// Opens `tokenizer.json`, or makes a WordPiece tokenizer of a BERT's `vocab.txt`.
    ///
    /// # Errors
    /// Neither file, one that is malformed, one that does not put exactly `[CLS]` and `[SEP]` around a text, or one
    /// with ids that the model has no row for.
    pub(super) fn open(dir: &Path, config: &EncoderConfig) -> Result<Self, ModelError> {
        let (json, vocab) = (dir.join("tokenizer.json"), dir.join("vocab.txt"));
        let settings = read_settings(dir)?;
        let of_vocab = !json.exists() && vocab.exists() && config.family == Family::Bert;
        let path = if of_vocab { vocab } else { json };
        let bytes = std::fs::read(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => ModelError::Missing {
                path: path.clone(),
                expected: "the tokenizer of the encoder; where it has other files of a vocabulary, transformers makes one of them: \
                           `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)`",
            },
            _ => ModelError::Io { path: path.clone(), source },
        })?;
        let bad = |reason: String| ModelError::Tokenizer(TokenizerError::File { path: path.clone(), reason });
        let mut inner = match of_vocab {
            true => word_piece(&bytes, &settings).map_err(&bad)?,
            false => {
                let text = json_text(&bytes).map_err(&bad)?;
                Tokenizer::from_bytes(text.as_bytes()).map_err(|e| bad(format!("not a tokenizer: {e}")))?
            }
        };
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| bad(e.to_string()))?;
        let empty = inner.encode_fast("", true).map_err(|e| bad(e.to_string()))?;
        let &[cls, sep] = empty.get_ids() else {
            return Err(bad(format!("got {} special tokens around a text, expected [CLS] and [SEP]", empty.len())));
        };
        let largest = inner.get_vocab(true).into_values().max().unwrap_or_default();
        if largest as usize >= config.vocab_size {
            return Err(bad(format!("got token id {largest}, expected less than `vocab_size` {} of config.json", config.vocab_size)));
        }
        // Where nobody set it, transformers writes 1e30.
        let length = settings.get("model_max_length").and_then(Value::as_f64).map_or(usize::MAX, |length| length as usize);
        Ok(Self { inner, limit: length.max(3).min(config.positions()), special: [cls, sep] })
    }

    pub(super) fn encode(&self, text: &str) -> Result<EncodedText, ModelError> {
        let failed = |e: tokenizers::Error| TokenizerError::Tokenize { reason: e.to_string() };
        let mut ids = self.inner.encode_fast(text, true).map_err(failed)?.get_ids().to_vec();
        let truncated = ids.len() > self.limit;
        if truncated {
            ids.truncate(self.limit - 1);
            ids.push(self.special[1]);
        }
        Ok(EncodedText { ids, truncated })
    }
}

/// `tokenizer_config.json`, empty where there is none.
fn read_settings(dir: &Path) -> Result<Value, ModelError> {
    let path = dir.join("tokenizer_config.json");
    match std::fs::read(&path) {
        Ok(bytes) => parse_json(&bytes).map_err(|reason| TokenizerError::File { path, reason }.into()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(source) => Err(ModelError::Io { path, source }),
    }
}

/// What transformers' `BertTokenizer` makes of a `vocab.txt`, one token a line.
fn word_piece(vocab: &[u8], settings: &Value) -> Result<Tokenizer, String> {
    let text = |e: tokenizers::Error| e.to_string();
    let flag = |key: &str| settings.get(key).and_then(Value::as_bool);
    let model = WordPiece::builder().vocab(WordPiece::read_bytes(vocab).map_err(text)?).build().map_err(text)?;
    let mut tokenizer = Tokenizer::new(model);
    let chinese = flag("tokenize_chinese_chars").unwrap_or(true);
    let normalizer = BertNormalizer::new(true, chinese, flag("strip_accents"), flag("do_lower_case").unwrap_or(true));
    tokenizer.with_normalizer(Some(normalizer)).map_err(text)?;
    tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
    let id = |token: &str| match tokenizer.token_to_id(token) {
        Some(id) => Ok((token.to_string(), id)),
        None => Err(format!("no token {token}, expected the vocabulary of a BERT, one token a line")),
    };
    let processing = BertProcessing::new(id("[SEP]")?, id("[CLS]")?);
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(id).into_iter().collect::<Result<Vec<_>, _>>()?;
    tokenizer.with_post_processor(Some(processing));
    tokenizer.add_special_tokens(special.into_iter().map(|(token, _)| AddedToken::from(token, true))).map_err(text)?;
    Ok(tokenizer)
}
