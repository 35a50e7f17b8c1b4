//! The chat template, and the prompts that ask a question of latents or of text.

use minijinja::value::ValueKind;
use minijinja::{Value, context};

use super::template::render;
use super::{Tokenizer, TokenizerError, template_error};

/// Marks where the text of message `n` goes: `OPEN n CLOSE`, two private-use characters that no template contains.
const OPEN: char = '\u{e000}';
const CLOSE: char = '\u{e001}';

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A message.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

impl Tokenizer {
    /// Renders the chat template as transformers' `apply_chat_template` does.
    ///
    /// # Errors
    /// [`TokenizerError::NoTemplate`] without a template, [`TokenizerError::Template`] when it fails.
    pub fn chat(&self, messages: &[Message], add_generation_prompt: bool, enable_thinking: bool) -> Result<String, TokenizerError> {
        let messages: Vec<Value> = messages.iter().map(|m| context! { role => m.role.as_str(), content => m.content.as_str() }).collect();
        self.render(messages.into(), None, add_generation_prompt, enable_thinking)
    }

    /// The same for a conversation with tools, as the JSON that transformers takes: a list of messages, which may have
    /// `tool_calls`, and a list of tool definitions. Keys keep their order.
    ///
    /// # Errors
    /// As [`chat`](Self::chat), and for what is no JSON list.
    pub fn chat_json(
        &self,
        messages: &str,
        tools: Option<&str>,
        add_generation_prompt: bool,
        enable_thinking: bool,
    ) -> Result<String, TokenizerError> {
        let list = |name: &str, text: &str| {
            let parsed = serde_json::from_str::<Vec<Value>>(text);
            parsed.map(Value::from).map_err(|e| TokenizerError::Template { reason: format!("{name}: expected a JSON list: {e}") })
        };
        let tools = tools.map(|tools| list("tools", tools)).transpose()?;
        // transformers takes away what is null in a message.
        let messages = list("messages", messages)?.try_iter().map_err(template_error)?.map(|message| match message.kind() {
            ValueKind::Map => message.try_iter().map_or(message.clone(), |keys| {
                let pairs = keys.filter_map(|key| Some((key.clone(), message.get_item(&key).ok()?)));
                Value::from_pairs(pairs.filter(|(_, value)| !value.is_none()))
            }),
            _ => message,
        });
        self.render(messages.collect(), tools, add_generation_prompt, enable_thinking)
    }

    fn render(
        &self,
        messages: Value,
        tools: Option<Value>,
        add_generation_prompt: bool,
        enable_thinking: bool,
    ) -> Result<String, TokenizerError> {
        let of_tools = self.tool_template.as_deref().filter(|_| tools.is_some());
        let template = of_tools.or(self.chat_template.as_deref()).ok_or(TokenizerError::NoTemplate)?;
        let tokens = self.named_tokens.iter().map(|(name, token)| (name.as_str(), Value::from(token.as_str())));
        let rest = [
            ("messages", messages),
            ("tools", tools.into()),
            ("documents", ().into()),
            ("add_generation_prompt", add_generation_prompt.into()),
            ("enable_thinking", enable_thinking.into()),
        ];
        // What the call says wins over a token of the same name.
        render(template, Value::from_pairs(tokens.chain(rest))).map_err(template_error)
    }

    /// Tries the two prompts that are asked with: what a template refuses is then known before there is a model to ask.
    ///
    /// # Errors
    /// As [`chat_ids`](Self::chat_ids) and [`answer_latents_prompt`](Self::answer_latents_prompt).
    pub fn check_prompts(&self) -> Result<(), TokenizerError> {
        self.answer_latents_prompt("Where does Alice live?")?;
        self.answer_text_prompt("Alice lives in Paris.", "Where does Alice live?").map(drop)
    }

    /// The ids of a rendered chat in which only the template can produce added tokens.
    ///
    /// The contents of the messages are plain text: `<|im_end|>` in a passage stays eight characters and ends nothing. For
    /// contents without such strings the ids equal those of the rendered text: a template that does more with a content than
    /// to put it somewhere and to trim it is refused.
    ///
    /// # Errors
    /// As [`chat`](Self::chat); also for assistant messages, whose text the template rewrites.
    pub fn chat_ids(&self, messages: &[Message], add_generation_prompt: bool, enable_thinking: bool) -> Result<Vec<u32>, TokenizerError> {
        if let Some(other) = messages.iter().find(|m| m.role != "system" && m.role != "user") {
            let reason = format!("got a message of role `{}`, expected `system` or `user`", other.role);
            return Err(TokenizerError::Template { reason });
        }
        // A template may ask whether a content is empty, and trim it: only what is between the spaces is marked.
        let marked = |(n, m): (usize, &Message)| {
            let content = match m.content.trim() {
                "" => m.content.clone(),
                core => m.content.replacen(core, &format!("{OPEN}{n}{CLOSE}"), 1),
            };
            Message::new(m.role.as_str(), content)
        };
        let skeleton: Vec<Message> = messages.iter().enumerate().map(marked).collect();
        let skeleton = self.chat(&skeleton, add_generation_prompt, enable_thinking)?;
        if fill(&skeleton, messages)? != self.chat(messages, add_generation_prompt, enable_thinking)? {
            let reason = "the template changes the text of a message or decides by it, expected Qwen3's".into();
            return Err(TokenizerError::Template { reason });
        }
        let mut ids = Vec::new();
        let mut rest = skeleton.as_str();
        loop {
            let next = self.next_added(rest);
            let text = fill(&rest[..next.as_ref().map_or(rest.len(), |(at, ..)| *at)], messages)?;
            ids.extend(self.encode(&text)?);
            let Some((at, len, id)) = next else { return Ok(ids) };
            ids.push(id);
            rest = &rest[at + len..];
        }
    }

    /// The prompt that answers from latents ("Comp"), as the ids before and after the place of the latents.
    ///
    /// The latents follow `<|im_start|>` and `system` of the empty first message, the first two tokens of Qwen3
    /// (official code: `[..., :2]`); the caller puts `[SoD]`, latents, `<|endoftext|>` between the two parts.
    ///
    /// # Errors
    /// As [`chat`](Self::chat), and when the template does not begin with a system message.
    pub fn answer_latents_prompt(&self, question: &str) -> Result<(Vec<u32>, Vec<u32>), TokenizerError> {
        let messages = [
            Message::new("system", ""),
            Message::new("system", "Briefly answer the following question."),
            Message::new("user", format!("Question: {question} Answer:")),
        ];
        let mut head = self.chat_ids(&messages, true, false)?;
        // Counted, because a small tokenizer may need several tokens for the word.
        let role = self.encode("system")?;
        if head.get(1..1 + role.len()) != Some(role.as_slice()) {
            return Err(TokenizerError::Template {
                reason: "the prompt does not begin with a system message, expected Qwen3's template".into(),
            });
        }
        let tail = head.split_off(1 + role.len());
        Ok((head, tail))
    }

    /// The prompt that answers from a text: the textual-memory baseline and the second half of "DeComp".
    ///
    /// # Errors
    /// As [`chat`](Self::chat).
    pub fn answer_text_prompt(&self, reference: &str, question: &str) -> Result<Vec<u32>, TokenizerError> {
        self.chat_ids(&[Message::new("user", text_prompt(reference, question))], true, false)
    }

    /// Position, length and id of the first added token in a text; the longest where several begin.
    fn next_added(&self, text: &str) -> Option<(usize, usize, u32)> {
        let found = self.added.iter().filter_map(|(token, id)| Some((text.find(token.as_str())?, token.len(), *id)));
        found.min_by_key(|(at, len, _)| (*at, std::cmp::Reverse(*len)))
    }
}

/// The user message that asks a question about a text (golden case `textual_mem`).
pub fn text_prompt(reference: &str, question: &str) -> String {
    format!("Please answer the following question based on the reference.\nReference:\n{reference}\n\nQuestion:\n{question}\n\nAnswer:")
}

/// Puts the contents where the marks are. What was put in is not searched for marks again.
fn fill(skeleton: &str, messages: &[Message]) -> Result<String, TokenizerError> {
    let mut text = String::new();
    let mut rest = skeleton;
    while let Some((before, marked)) = rest.split_once(OPEN) {
        let (content, after) = marked
            .split_once(CLOSE)
            .and_then(|(number, after)| Some((messages.get(number.parse::<usize>().ok()?)?.content.trim(), after)))
            .ok_or_else(|| TokenizerError::Template { reason: "the template changes the messages, expected Qwen3's".into() })?;
        text.push_str(before);
        text.push_str(content);
        rest = after;
    }
    text.push_str(rest);
    Ok(text)
}
