//! Rows that remember nothing of the passage, or all of it: what a score is worth is seen beside them.

use nextmem_eval::metric::text_metric;
use nextmem_model::{
    Abilities, AnswerMode, Decoding, Latents, Memory, MemoryMethod, ModelError, NextMem, closed_book_prompt, token_tensor,
};
use serde::{Deserialize, Serialize};

/// What stands in the place of a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// Nothing: the decoder writes and answers from the prompt alone.
    NoMemory,
    /// Latents of zeros.
    Zeros,
    /// The memory of another passage, which is drawn by the passage's own text from held-out ones.
    Another,
    /// The passage's tokens, where the latents would stand: what the reader could do with a perfect memory.
    Tokens,
    /// The held-out passage that is most like all the others: what can be scored without reading.
    Median,
}

impl ControlKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::NoMemory, Self::Zeros, Self::Another, Self::Tokens, Self::Median];

    /// The row's name in sample files.
    pub fn row(self) -> &'static str {
        match self {
            Self::NoMemory => "control-nothing",
            Self::Zeros => "control-zeros",
            Self::Another => "control-another",
            Self::Tokens => "control-tokens",
            Self::Median => "control-median",
        }
    }
}

/// Which controls an experiment wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Controls {
    /// None.
    #[default]
    None,
    /// All of them.
    All,
}

/// One of them around a trained model.
pub struct Control {
    kind: ControlKind,
    nextmem: NextMem,
    /// What [`ControlKind::Another`] draws from; the one passage of [`ControlKind::Median`].
    others: Vec<String>,
}

impl Control {
    /// A control of a kind; `others` are held-out passages.
    pub fn new(kind: ControlKind, nextmem: NextMem, others: &[String]) -> Self {
        let others = match kind {
            ControlKind::Median => median(others).into_iter().collect(),
            _ => others.to_vec(),
        };
        Self { kind, nextmem, others }
    }

    fn zeros(&self) -> Memory {
        let (num_latents, hidden_size) = (self.nextmem.options().num_latents, self.nextmem.autoencoder().hidden_size());
        Memory::Latents(Latents { values: vec![0.0; num_latents * hidden_size], num_latents, hidden_size })
    }

    /// Another passage, always the same one for a text.
    fn other(&self, passage: &str) -> &str {
        let hash = passage.bytes().fold(0u64, |hash, byte| nextmem_training::mix(hash, u64::from(byte)));
        self.others.get(hash as usize % self.others.len().max(1)).map_or("", String::as_str)
    }

    /// Greedy continuations of token prompts. All but the last token of a copy's prompt are the text itself.
    fn written(&self, prompts: &[Vec<u32>], copies: bool) -> Result<Vec<String>, ModelError> {
        let (model, tokenizer, options) = (self.nextmem.autoencoder(), self.nextmem.tokenizer(), self.nextmem.options());
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        let (tokens, pads) = token_tensor(prompts, tokenizer.pad(), &model.device());
        let placement = model.layout.decoder_with_rest(0, 0, |_, pad| if copies { longest - pad - 1 } else { 0 });
        let end_ids = tokenizer.end_ids();
        let ids = model.generate(model.embed(tokens), &pads, &placement, options.max_new_tokens, &end_ids, &Decoding::Greedy);
        ids.iter().map(|ids| Ok(tokenizer.decode(ids)?)).collect()
    }
}

/// The passage with the highest mean F1 against the others.
fn median(passages: &[String]) -> Option<String> {
    let f1 = text_metric("f1")?;
    let likeness = |text: &String| passages.iter().map(|other| f1.score(text, other)).sum::<f64>();
    let scored = passages.iter().map(|text| (likeness(text), text));
    scored.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, text)| text.clone())
}

fn text(memory: &Memory) -> &str {
    match memory {
        Memory::Text(text) => text,
        _ => "",
    }
}

impl MemoryMethod for Control {
    fn name(&self) -> String {
        self.kind.row().into()
    }

    fn abilities(&self) -> Abilities {
        Abilities { reconstruct: true, answer: self.kind != ControlKind::Median, index: false }
    }

    fn answer_modes(&self) -> &'static [AnswerMode] {
        &[AnswerMode::Comp]
    }

    fn encode(&self, passages: &[&str]) -> Result<Vec<Memory>, ModelError> {
        match self.kind {
            ControlKind::NoMemory => Ok(passages.iter().map(|_| Memory::Text(String::new())).collect()),
            ControlKind::Zeros => Ok(passages.iter().map(|_| self.zeros()).collect()),
            ControlKind::Another => {
                let others: Vec<&str> = passages.iter().map(|passage| self.other(passage)).collect();
                self.nextmem.encode(&others)
            }
            ControlKind::Tokens => Ok(passages.iter().map(|passage| Memory::Text((*passage).into())).collect()),
            ControlKind::Median => Ok(passages.iter().map(|passage| Memory::Text(self.other(passage).into())).collect()),
        }
    }

    fn reconstruct(&self, memories: &[Memory]) -> Result<Vec<String>, ModelError> {
        let tokenizer = self.nextmem.tokenizer();
        match self.kind {
            ControlKind::Zeros | ControlKind::Another => self.nextmem.reconstruct(memories),
            ControlKind::Median => Ok(memories.iter().map(|memory| text(memory).to_owned()).collect()),
            ControlKind::NoMemory | ControlKind::Tokens => {
                let prompt = |memory| Ok([tokenizer.encode(text(memory))?, vec![tokenizer.sod()]].concat());
                self.written(&memories.iter().map(prompt).collect::<Result<Vec<_>, ModelError>>()?, true)
            }
        }
    }

    fn answer(&self, memories: &[Memory], questions: &[&str], _mode: AnswerMode) -> Result<Vec<String>, ModelError> {
        let tokenizer = self.nextmem.tokenizer();
        let prompt = |(memory, question): (&Memory, &&str)| -> Result<Vec<u32>, ModelError> {
            if self.kind == ControlKind::NoMemory {
                return Ok(closed_book_prompt(tokenizer, question)?);
            }
            let (head, tail) = tokenizer.answer_latents_prompt(question)?;
            let passage = tokenizer.encode(text(memory))?;
            Ok([head.as_slice(), &[tokenizer.sod()], &passage, &[tokenizer.end_of_text()], &tail].concat())
        };
        match self.kind {
            ControlKind::Zeros | ControlKind::Another => self.nextmem.answer(memories, questions, AnswerMode::Comp),
            _ => {
                let prompts = memories.iter().zip(questions).map(prompt).collect::<Result<Vec<_>, _>>()?;
                self.written(&prompts, false)
            }
        }
    }
}
