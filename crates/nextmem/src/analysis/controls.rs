//! What is memory and what is the language model's guess: texts that cannot be guessed, and memories of nothing.
//!
//! Series `texts`: passages as they are, their words shuffled, and made-up texts of as many tokens: random tokens, two words
//! in turn, digits, letters of another language. A pure memory would keep them all alike. Series `latents`: what the decoder
//! writes from latents of zeros, and from another passage's latents, scored against the passage: what is scored without
//! remembering anything. Samples hold the texts.

use anyhow::Result;
use nextmem_eval::analysis::{Draw, rows};
use nextmem_model::{Latents, Memory, Tokenizer};
use serde_json::Value;

use super::record::Record;
use super::subject::{encode, latents};
use super::{Outcome, Setting};

/// The texts, ordinary ones first.
const TEXTS: [&str; 6] = ["passages", "shuffled words", "random tokens", "two words in turn", "digits", "greek letters"];
/// The memories that are not the passage's.
const LATENTS: [&str; 2] = ["zeros", "another passage"];
/// Draws for a token that is text on its own.
const PATIENCE: usize = 1000;

pub fn run(setting: &Setting, record: &mut Record) -> Result<Outcome> {
    let (subject, passages) = (&setting.subject, &setting.passages);
    let count = passages.len();
    record.begin((TEXTS.len() + LATENTS.len()) * count);
    for (number, kind) in TEXTS.into_iter().enumerate() {
        record.group("texts", kind, None, count, |record| {
            let nextmem = subject.nextmem()?;
            let text = |(index, passage): (usize, &String)| {
                let mut draw = Draw::new(setting.seed() ^ ((1 + number as u64) << 32), index as u64);
                control(kind, passage, nextmem.tokenizer(), &mut draw)
            };
            let texts = passages.iter().enumerate().map(text).collect::<Result<Vec<_>>>()?;
            let memories = encode(nextmem, &texts, subject.batch())?;
            record.reconstructions(nextmem, &memories, &texts, subject.batch())
        })?;
    }
    for kind in LATENTS {
        record.group("latents", kind, None, count, |record| {
            let own = subject.memories(passages)?;
            let wrong = |index: usize| match kind {
                "zeros" => {
                    let like = latents(&own[index])?;
                    Ok(Memory::Latents(Latents { values: vec![0.0; like.values.len()], ..like.clone() }))
                }
                _ => Ok(own[(index + 1) % count].clone()),
            };
            let memories = (0..count).map(wrong).collect::<Result<Vec<_>>>()?;
            record.reconstructions(subject.nextmem()?, &memories, passages, subject.batch())
        })?;
    }
    Ok(Outcome { rows: rows(record.samples()), details: Value::Null, unprinted: &[] })
}

/// A text of a kind, about as long as the passage in tokens.
fn control(kind: &str, passage: &str, tokenizer: &Tokenizer, draw: &mut Draw) -> Result<String> {
    let mut words: Vec<&str> = passage.split_whitespace().collect();
    let tokens = tokenizer.encode(passage)?.len();
    match kind {
        "passages" => Ok(passage.to_string()),
        "shuffled words" => {
            draw.shuffle(&mut words);
            Ok(words.join(" "))
        }
        "random tokens" => {
            let ids: Vec<u32> = (0..tokens).map(|_| printable(tokenizer, draw)).collect::<Result<_>>()?;
            Ok(tokenizer.decode(&ids)?.trim().to_string())
        }
        "two words in turn" => {
            let first = if words.is_empty() { "" } else { words[draw.below(words.len())] };
            let others: Vec<&str> = words.into_iter().filter(|w| *w != first).collect();
            let second = if others.is_empty() { first } else { others[draw.below(others.len())] };
            let mut turn = [second, first];
            filled(tokenizer, tokens, || {
                turn.swap(0, 1);
                turn[0].to_string()
            })
        }
        "digits" => filled(tokenizer, tokens, || (0..1 + draw.below(4)).map(|_| char::from(b'0' + draw.below(10) as u8)).collect()),
        // From alpha on; the final form of sigma is among them.
        _ => filled(tokenizer, tokens, || (0..2 + draw.below(5)).filter_map(|_| char::from_u32(0x3b1 + draw.below(25) as u32)).collect()),
    }
}

/// Words with spaces between them until there are `tokens` tokens.
fn filled(tokenizer: &Tokenizer, tokens: usize, mut word: impl FnMut() -> String) -> Result<String> {
    let mut text = word();
    while !text.is_empty() && tokenizer.encode(&text)?.len() < tokens {
        text = format!("{text} {}", word());
    }
    Ok(text)
}

/// A token that is valid text on its own, no special one and no part of a character.
fn printable(tokenizer: &Tokenizer, draw: &mut Draw) -> Result<u32> {
    let mut id = 0;
    for _ in 0..PATIENCE {
        id = draw.below(tokenizer.vocab_size()) as u32;
        let text = tokenizer.decode(&[id])?;
        let special = text.starts_with("<|") || text.contains('\u{fffd}');
        if !special && !text.is_empty() && !text.chars().any(char::is_control) {
            break;
        }
    }
    Ok(id)
}
