//! Length extrapolation: texts binned by their tokens, to well past what stage 2 covered.
//!
//! Series `sentences`: the longest run of whole sentences from a test passage on, into the passages that follow it, that ends
//! below the bin's upper border. Series `passages`: whole test passages, where the test set has any of that length; a model
//! trained on whole passages may know those better than parts and joined ones of the same length. `trained_tokens` in the
//! details is levels x block_tokens: the text that the latents were trained to replace. x is the bin's mean number of tokens.

use anyhow::{Result, bail};
use nextmem_data::sentences;
use nextmem_eval::analysis::rows;
use nextmem_model::{NextMem, NextMemOptions, Tokenizer};
use serde_json::json;

use super::record::{Record, without_texts};
use super::subject::encode;
use super::{Outcome, Setting};
use crate::cli::BadInput;

/// Test passages looked at per passage wanted: not every start has a text for every bin.
const POOL: usize = 4;
/// How texts of a length are made.
const SERIES: [&str; 2] = ["sentences", "passages"];
/// Room for a reconstruction that is longer than its text.
const SPARE_TOKENS: usize = 16;

pub fn run(setting: &Setting, record: &mut Record) -> Result<Outcome> {
    let subject = &setting.subject;
    let trained = match subject.trained_blocks() {
        Some((block, levels)) => block * levels,
        None => bail!(BadInput(format!("{}: no stage 2, so no trained length; analyse a run that has one", subject.name()))),
    };
    let wanted = setting.passages.len();
    let edges: Vec<usize> = setting.config.length.edges.iter().map(|e| (e * trained as f64).round() as usize).collect();
    record.begin(SERIES.len() * (edges.len() - 1) * wanted);
    let mut pool = None;
    for (series, bin) in SERIES.into_iter().flat_map(|series| edges.windows(2).map(move |bin| (series, bin))) {
        let (low, high) = (bin[0], bin[1]);
        record.group(series, &format!("{low}-{}", high.saturating_sub(1)), None, wanted, |record| {
            let own = subject.nextmem()?;
            if pool.is_none() {
                let texts = setting.test_passages(POOL * wanted)?;
                pool = Some(texts.iter().map(|text| sentences(text).into_iter().map(String::from).collect()).collect::<Vec<_>>());
            }
            let found = texts_of(pool.as_deref().unwrap_or_default(), series, own.tokenizer(), low, high, wanted)?;
            let (texts, lengths): (Vec<String>, Vec<usize>) = found.into_iter().unzip();
            // The run's own limits would cut the longest bins.
            let options = NextMemOptions {
                max_new_tokens: own.options().max_new_tokens.max(high + SPARE_TOKENS),
                max_input_tokens: own.options().max_input_tokens.max(high),
                ..own.options().clone()
            };
            let nextmem = NextMem::new(own.autoencoder().clone(), own.tokenizer().clone(), options);
            let memories = encode(&nextmem, &texts, subject.batch())?;
            let mut samples = record.reconstructions(&nextmem, &memories, &texts, subject.batch())?;
            let mean = lengths.iter().sum::<usize>() as f64 / lengths.len().max(1) as f64;
            for (sample, tokens) in samples.iter_mut().zip(lengths) {
                sample.x = Some(mean);
                sample.values.insert("tokens".into(), tokens as f64);
            }
            Ok(without_texts(samples))
        })?;
    }
    let (block, levels) = subject.trained_blocks().unwrap_or_default();
    let details = json!({"trained_tokens": trained, "levels": levels, "block_tokens": block, "edges": edges});
    Ok(Outcome { rows: rows(record.samples()), details, unprinted: &[] })
}

/// Texts of `low` to `high` - 1 tokens, each with its number of tokens.
fn texts_of(
    pool: &[Vec<String>],
    series: &str,
    tokenizer: &Tokenizer,
    low: usize,
    high: usize,
    wanted: usize,
) -> Result<Vec<(String, usize)>> {
    let mut found = Vec::new();
    for start in 0..pool.len() {
        let mut fits = None;
        if series == "passages" {
            let text = pool[start].join(" ");
            let tokens = tokenizer.encode(&text)?.len();
            fits = Some((text, tokens)).filter(|(_, tokens)| *tokens < high);
        } else {
            let mut text = String::new();
            for sentence in pool[start..].iter().flatten() {
                if !text.is_empty() {
                    text.push(' ');
                }
                text.push_str(sentence);
                let tokens = tokenizer.encode(&text)?.len();
                if tokens >= high {
                    break;
                }
                fits = Some((text.clone(), tokens));
            }
        }
        found.extend(fits.filter(|(_, tokens)| *tokens >= low));
        if found.len() == wanted {
            break;
        }
    }
    Ok(found)
}
