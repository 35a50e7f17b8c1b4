//! Qwen3's tokenizer with the two tokens NextMem adds, or a small one of our own.
//!
//! Text of users is never searched for added tokens ([`Tokenizer::encode`]): a passage that quotes `<|im_end|>` is a
//! passage. Only templates produce them.

use std::fmt;
use std::path::Path;

use serde_json::{Map, Value, json};
use settings::{Settings, read_json};
use tokenizers::tokenizer::{Model, NormalizedString, Normalizer, PreTokenizedString, PreTokenizer};
use tokenizers::{AddedToken, OffsetReferential, OffsetType};

mod error;
mod nano;
mod prompt;
mod settings;
mod template;

pub use error::TokenizerError;
pub use prompt::{Message, text_prompt};

use crate::json::json_text;

/// `[EoT]` of the method: ends a reconstruction; also the padding token.
const END_OF_TEXT: &str = "<|endoftext|>";
/// Ends a turn of a chat.
const IM_END: &str = "<|im_end|>";
/// `[SoD]` and the second token of the official code, which inference never uses.
const NEXTMEM_ADDED: [&str; 2] = ["<|start_of_document|>", "<|end_of_memory|>"];
/// Whose embeddings the two start as (official code); ids 30624 and 408 in Qwen3.
const FIRST_VALUES: [&str; 2] = ["repeat", "end"];

/// A tokenizer with its chat template and the ids the method needs.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// `tokenizer_config.json` without the template and the added tokens.
    config: Value,
    chat_template: Option<String>,
    /// The one for conversations with tools, where a checkpoint has several.
    tool_template: Option<String>,
    /// `eos_token` and the like, as templates name them.
    named_tokens: Vec<(String, String)>,
    /// Every added token with its id, special or not.
    added: Vec<(String, u32)>,
    end_of_text: u32,
    im_end: u32,
    sod: u32,
    end_of_memory: u32,
    end_ids: Vec<u32>,
    first_rows: Vec<(u32, u32)>,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("vocab_size", &self.vocab_size()).field("sod", &self.sod).finish_non_exhaustive()
    }
}

impl Tokenizer {
    /// Opens the tokenizer of a Hugging Face directory and adds NextMem's two tokens when they are absent.
    ///
    /// Reads `tokenizer.json`; if present `chat_template.jinja`, `tokenizer_config.json` and, for the end tokens,
    /// `generation_config.json` or `config.json`.
    ///
    /// # Errors
    /// A missing or malformed file, or a vocabulary without `<|endoftext|>` and `<|im_end|>`.
    pub fn open(dir: &Path) -> Result<Self, TokenizerError> {
        let path = dir.join("tokenizer.json");
        let bytes = std::fs::read(&path).map_err(|source| missing(dir, &path, source))?;
        let text = json_text(&bytes).map_err(|reason| TokenizerError::File { path: path.clone(), reason })?;
        let mut inner = tokenizers::Tokenizer::from_bytes(text.as_bytes())
            .map_err(|e| TokenizerError::File { path: path.clone(), reason: format!("not a tokenizer: {e}") })?;
        // Lengths are the caller's business; a file may carry the limits of some training script.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(tokenize_error)?;
        let settings = Settings::open(dir)?;
        let added = settings.added_tokens(dir)?;
        inner.add_tokens(added.iter().map(|(_, token)| token.clone())).map_err(tokenize_error)?;
        let found = |token: &AddedToken| inner.token_to_id(&token.content);
        if let Some((id, token)) = added.iter().find(|(id, token)| found(token).map(u64::from) != Some(*id)) {
            let (content, found) = (&token.content, found(token));
            let reason = format!("the token {content:?} has id {found:?}, the files beside it say {id}; expected files of one tokenizer");
            return Err(TokenizerError::File { path, reason });
        }
        let end_ids = end_ids(dir)?;
        Self::new(inner, settings, end_ids, &path)
    }

    /// Adds the tokens and looks the ids up. No `end_ids` means Qwen3's two.
    fn new(mut inner: tokenizers::Tokenizer, settings: Settings, mut end_ids: Vec<u32>, path: &Path) -> Result<Self, TokenizerError> {
        // Not special, as in the official code: decoding shows them where a model writes them.
        let absent: Vec<usize> = (0..2).filter(|i| inner.token_to_id(NEXTMEM_ADDED[*i]).is_none()).collect();
        let tokens: Vec<AddedToken> = absent.iter().map(|i| AddedToken::from(NEXTMEM_ADDED[*i], false).normalized(false)).collect();
        inner.add_tokens(tokens).map_err(tokenize_error)?;
        let rows = absent.iter().filter_map(|i| Some((inner.token_to_id(NEXTMEM_ADDED[*i])?, inner.token_to_id(FIRST_VALUES[*i])?)));
        let first_rows = rows.collect();
        let id = |token| inner.token_to_id(token).ok_or(TokenizerError::MissingToken { path: path.to_owned(), token });
        let (end_of_text, im_end) = (id(END_OF_TEXT)?, id(IM_END)?);
        let (sod, end_of_memory) = (id(NEXTMEM_ADDED[0])?, id(NEXTMEM_ADDED[1])?);
        if end_ids.is_empty() {
            end_ids.push(im_end);
        }
        // config.json names only `<|im_end|>`, but a reconstruction ends with `<|endoftext|>`.
        if !end_ids.contains(&end_of_text) {
            end_ids.push(end_of_text);
        }
        let mut added: Vec<(String, u32)> = inner.get_added_tokens_decoder().into_iter().map(|(id, t)| (t.content, id)).collect();
        added.sort_unstable_by_key(|(_, id)| *id);
        let Settings { config, chat_template, tool_template, named_tokens } = settings;
        Ok(Self {
            inner,
            config,
            chat_template,
            tool_template,
            named_tokens,
            added,
            end_of_text,
            im_end,
            sod,
            end_of_memory,
            end_ids,
            first_rows,
        })
    }

    /// The ids of a text, in which nothing is an added token.
    ///
    /// # Errors
    /// [`TokenizerError::Tokenize`] when a step of the pipeline fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        // The library's own steps, without the one that looks for added tokens: `encode_special_tokens` would still
        // find those that are not special, such as `<think>`.
        let mut normalized = NormalizedString::from(text);
        if let Some(normalizer) = self.inner.get_normalizer() {
            normalizer.normalize(&mut normalized).map_err(tokenize_error)?;
        }
        let mut pieces = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = self.inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut pieces).map_err(tokenize_error)?;
        }
        pieces.tokenize(|piece| self.inner.get_model().tokenize(piece.get())).map_err(tokenize_error)?;
        let splits = pieces.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        Ok(splits.into_iter().flat_map(|(_, _, tokens)| tokens.iter().flatten().map(|t| t.id)).collect())
    }

    /// The ids of a rendered prompt, in which every added token counts. Not for text of users.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        Ok(self.inner.encode_fast(text, false).map_err(tokenize_error)?.get_ids().to_vec())
    }

    /// The text of ids, without special tokens; ids beyond the vocabulary are left out.
    ///
    /// # Errors
    /// [`TokenizerError::Tokenize`] when the decoder fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        self.inner.decode(ids, true).map_err(tokenize_error)
    }

    /// The id of `[SoD]`: 151669 with Qwen3.
    pub fn sod(&self) -> u32 {
        self.sod
    }

    /// The id of `<|end_of_memory|>`: 151670 with Qwen3.
    pub fn end_of_memory(&self) -> u32 {
        self.end_of_memory
    }

    /// Tokens that were added on opening, each with the token whose embedding it starts as: `(151669, 30624)` and
    /// `(151670, 408)` with Qwen3. Empty for a directory that was saved with them: its rows are its own.
    pub fn first_rows(&self) -> &[(u32, u32)] {
        &self.first_rows
    }

    /// The id of `<|endoftext|>`: 151643 in Qwen3.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// The id of `<|im_end|>`: 151645 in Qwen3.
    pub fn im_end(&self) -> u32 {
        self.im_end
    }

    /// The id to pad with, which is `<|endoftext|>`.
    pub fn pad(&self) -> u32 {
        self.end_of_text
    }

    /// The ids that end generation, `<|endoftext|>` always among them.
    pub fn end_ids(&self) -> Vec<u32> {
        self.end_ids.clone()
    }

    /// The tokens of plain text are those below this id: 151643 with Qwen3, whose added tokens follow.
    pub fn plain_tokens(&self) -> u32 {
        self.added.first().map_or(self.vocab_size() as u32, |(_, id)| *id)
    }

    /// Number of entries, added tokens included: 151671 with Qwen3.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The content of `tokenizer.json`.
    ///
    /// # Errors
    /// [`TokenizerError::Tokenize`] when it cannot be serialised.
    pub fn to_json(&self) -> Result<String, TokenizerError> {
        self.inner.to_string(true).map_err(tokenize_error)
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja`, as transformers reads them.
    ///
    /// # Errors
    /// [`TokenizerError::Io`] when the directory cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        let mut config: Map<String, Value> = self.config.as_object().cloned().unwrap_or_default();
        let tokens = self.inner.get_added_tokens_decoder().into_iter().map(|(id, t)| {
            let flags = json!({"content": t.content, "lstrip": t.lstrip, "normalized": t.normalized, "rstrip": t.rstrip,
                "single_word": t.single_word, "special": t.special});
            (id.to_string(), flags)
        });
        config.insert("added_tokens_decoder".into(), Value::Object(tokens.collect()));
        // Older versions of transformers look for the template here and not in its own file.
        if let Some(template) = &self.chat_template {
            config.insert("chat_template".into(), template.as_str().into());
            write(&dir.join("chat_template.jinja"), template)?;
        }
        if let Some(template) = &self.tool_template {
            write(&dir.join("additional_chat_templates/tool_use.jinja"), template)?;
        }
        write(&dir.join("tokenizer_config.json"), &format!("{:#}\n", Value::Object(config)))?;
        write(&dir.join("tokenizer.json"), &self.to_json()?)
    }
}

/// The end tokens of the generation settings, else of the model's; empty without either.
fn end_ids(dir: &Path) -> Result<Vec<u32>, TokenizerError> {
    for name in ["generation_config.json", "config.json"] {
        let path = dir.join(name);
        let ids = match read_json(&path)?.as_ref().and_then(|v| v.get("eos_token_id")) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(ids)) => ids.iter().map(token_id).collect(),
            Some(id) => token_id(id).map(|id| vec![id]),
        };
        let reason = "`eos_token_id` is neither a token id nor a list of them".to_string();
        return ids.ok_or(TokenizerError::File { path, reason });
    }
    Ok(Vec::new())
}

fn token_id(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}

/// What is wrong where there is no tokenizer.json.
fn missing(dir: &Path, path: &Path, source: std::io::Error) -> TokenizerError {
    let path = path.to_owned();
    match source.kind() == std::io::ErrorKind::NotFound && dir.join("vocab.json").exists() {
        true => TokenizerError::File {
            path,
            reason: "no such file, but vocab.json is there, of which transformers makes one: \
                     `AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)`"
                .into(),
        },
        false => TokenizerError::Io { path, source },
    }
}

/// Writes beside the target, then renames.
fn write(path: &Path, text: &str) -> Result<(), TokenizerError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent)
        .and_then(|()| crate::tensor_files::replace_file(path, text.as_bytes()))
        .map_err(|source| TokenizerError::Io { path: path.to_owned(), source })
}

fn tokenize_error(e: tokenizers::Error) -> TokenizerError {
    TokenizerError::Tokenize { reason: e.to_string() }
}

fn template_error(e: minijinja::Error) -> TokenizerError {
    TokenizerError::Template { reason: format!("{e:#}") }
}
