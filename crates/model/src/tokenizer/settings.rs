//! What stands beside `tokenizer.json`: settings, chat templates, names of tokens.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::AddedToken;

use super::TokenizerError;
use crate::json::parse_json;

/// The tokens that every tokenizer of transformers may name.
const NAMED: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// `tokenizer_config.json` and its neighbours.
pub(super) struct Settings {
    /// `tokenizer_config.json` without the template.
    pub(super) config: Value,
    /// The template of a conversation.
    pub(super) chat_template: Option<String>,
    /// That of a conversation with tools, where it is another.
    pub(super) tool_template: Option<String>,
    /// The tokens that templates know by name.
    pub(super) named_tokens: Vec<(String, String)>,
}

impl Settings {
    /// Reads them; each file may be absent.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed.
    ///
    /// # Reference
    /// transformers 5.23, `PreTrainedTokenizerBase._from_pretrained`.
    pub(super) fn open(dir: &Path) -> Result<Self, TokenizerError> {
        let mut config = read_json(&dir.join("tokenizer_config.json"))?.unwrap_or_else(|| json!({}));
        let inline = config.as_object_mut().and_then(|map| map.remove("chat_template"));
        let (chat_template, tool_template) = templates(dir, inline.as_ref())?;
        if let Some(config) = config.as_object_mut().filter(|config| !config.contains_key("added_tokens_decoder")) {
            // As older versions kept them; what is here is then kept in one place.
            if let Some(Value::Object(map)) = read_json(&dir.join("special_tokens_map.json"))? {
                config.extend(map);
            }
        }
        let named_tokens = named_tokens(&config);
        Ok(Self { config, chat_template, tool_template, named_tokens })
    }

    /// Tokens that are named beside `tokenizer.json` with their ids, in the order of these: those it lacks belong to it.
    ///
    /// # Errors
    /// A malformed `added_tokens.json`.
    pub(super) fn added_tokens(&self, dir: &Path) -> Result<Vec<(u64, AddedToken)>, TokenizerError> {
        let mut tokens: Vec<(u64, AddedToken)> = Vec::new();
        if let Some(decoder) = self.config.get("added_tokens_decoder").and_then(Value::as_object) {
            for (id, token) in decoder {
                let flag = |key: &str| token.get(key).and_then(Value::as_bool).unwrap_or(false);
                let Some((id, content)) = id.parse().ok().zip(token.get("content").and_then(Value::as_str)) else { continue };
                let added = AddedToken::from(content, flag("special")).normalized(flag("normalized")).lstrip(flag("lstrip"));
                tokens.push((id, added.rstrip(flag("rstrip")).single_word(flag("single_word"))));
            }
        } else if let Some(Value::Object(ids)) = read_json(&dir.join("added_tokens.json"))? {
            for (content, id) in &ids {
                let special = self.named_tokens.iter().any(|(_, token)| token == content);
                tokens.push((id.as_u64().unwrap_or(u64::MAX), AddedToken::from(content.as_str(), special).normalized(!special)));
            }
        }
        tokens.sort_by_key(|(id, _)| *id);
        Ok(tokens)
    }

    /// Settings without files.
    pub(super) fn of(config: Value, chat_template: &str) -> Self {
        let named_tokens = named_tokens(&config);
        Self { config, chat_template: Some(chat_template.into()), tool_template: None, named_tokens }
    }
}

/// The template of a conversation and that of one with tools: from files of their own, else from `tokenizer_config.json`.
fn templates(dir: &Path, inline: Option<&Value>) -> Result<(Option<String>, Option<String>), TokenizerError> {
    let more = dir.join("additional_chat_templates");
    let [default, tools] = ["default", "tool_use"].map(|name| read_text(&more.join(format!("{name}.jinja"))));
    let (file, default, tools) = (read_text(&dir.join("chat_template.jinja"))?, default?, tools?);
    if file.is_some() || has_templates(&more) {
        return Ok((default.or(file), tools));
    }
    let named = |name: &str| match inline? {
        Value::String(text) => (name == "default").then(|| text.clone()),
        Value::Array(list) => {
            let of_name = |entry: &&Value| entry.get("name").is_some_and(|n| n == name);
            list.iter().rfind(of_name)?.get("template")?.as_str().map(str::to_owned)
        }
        other => other.get(name)?.as_str().map(str::to_owned),
    };
    Ok((named("default"), named("tool_use")))
}

fn has_templates(dir: &Path) -> bool {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| PathBuf::from(entry.file_name())).any(|name| name.extension().is_some_and(|ending| ending == "jinja"))
}

/// Tokens by their names, as `special_tokens_map` of transformers has them.
fn named_tokens(config: &Value) -> Vec<(String, String)> {
    let content = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
    let empty = Map::new();
    let map = config.as_object().unwrap_or(&empty);
    let mut named: Vec<(String, String)> = NAMED
        .iter()
        .filter_map(|name| {
            let token = match map.get(*name) {
                Some(value) => content(value),
                // What the class of Qwen's tokenizers has where nothing is said, and not where null is said.
                None => ["eos_token", "unk_token", "pad_token"].contains(name).then(|| qwen_default(map)).flatten(),
            };
            Some((name.to_string(), token?))
        })
        .collect();
    let own = map.iter().filter(|(key, value)| key.ends_with("_token") && !NAMED.contains(&key.as_str()) && value.is_string());
    let extra = map.get("extra_special_tokens").and_then(Value::as_object).into_iter().flatten();
    named.extend(own.chain(extra).filter_map(|(key, value)| Some((key.clone(), content(value)?))));
    named
}

fn qwen_default(config: &Map<String, Value>) -> Option<String> {
    let class = config.get("tokenizer_class").and_then(Value::as_str);
    class.is_none_or(|class| class.starts_with("Qwen")).then(|| "<|endoftext|>".to_string())
}

/// The content of a file that may be absent.
fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, TokenizerError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TokenizerError::Io { path: path.to_owned(), source }),
    }
}

fn read_text(path: &Path) -> Result<Option<String>, TokenizerError> {
    let bad = |_| TokenizerError::File { path: path.to_owned(), reason: "not UTF-8; save it again as UTF-8".into() };
    read_optional(path)?.map(|bytes| String::from_utf8(bytes).map_err(bad)).transpose()
}

/// A file of JSON that may be absent.
pub(super) fn read_json(path: &Path) -> Result<Option<Value>, TokenizerError> {
    let bad = |reason| TokenizerError::File { path: path.to_owned(), reason };
    read_optional(path)?.map(|bytes| parse_json(&bytes).map_err(bad)).transpose()
}
