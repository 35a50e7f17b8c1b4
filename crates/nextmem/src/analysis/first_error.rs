//! Teacher-forced against free-running decoding, and where the first wrong token is.
//!
//! Teacher-forced: each token is predicted from the latents and the true tokens before it. Free-running: greedy, from its
//! own tokens. Both must end the text as well, so a passage of n tokens has n + 1 positions. Series `summary` has the means
//! over passages; `first_error` (over the passages that have one) is its position from 0, `exact_prefix` how many tokens
//! came before it. The other series are by position: accuracy `teacher-forced` and `free-running`, the share `no error yet`,
//! and the share of passages whose `first error` is there.

use anyhow::Result;
use nextmem_eval::analysis::{AnalysisSample, exact_prefix, rows};
use nextmem_model::{Decoding, check_lengths};
use serde_json::json;

use super::record::{Record, scores};
use super::{Outcome, Setting};

pub fn run(setting: &Setting, record: &mut Record) -> Result<Outcome> {
    let passages = &setting.passages;
    record.begin(passages.len());
    record.group("summary", "passages", None, passages.len(), |record| measure(setting, record))?;
    let longest = record.samples().iter().flat_map(|s| s.vectors.values()).map(Vec::len).max().unwrap_or(1);
    let width = longest.div_ceil(setting.config.first_error.bins);
    let mut all = rows(record.samples());
    all.extend(rows(&positions(record.samples(), width)));
    let unprinted = &["teacher-forced", "free-running", "no error yet", "first error"];
    Ok(Outcome { rows: all, details: json!({"positions_per_bin": width, "decoding": "greedy"}), unprinted })
}

fn measure(setting: &Setting, record: &Record) -> Result<Vec<AnalysisSample>> {
    let subject = &setting.subject;
    let nextmem = subject.nextmem()?;
    let (tokenizer, options) = (nextmem.tokenizer(), nextmem.options());
    let (end_ids, end) = (tokenizer.end_ids(), tokenizer.end_of_text());
    let rows = subject.tokens(&setting.passages)?;
    check_lengths(&rows, options.max_input_tokens)?;
    let mut samples = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(subject.batch()) {
        let latents = nextmem.autoencoder().encode(chunk, options.num_latents);
        let forced = nextmem.autoencoder().teacher_forced(latents.clone(), options.decode_with_sod, chunk);
        let free = nextmem.autoencoder().decode(latents, options.decode_with_sod, options.max_new_tokens, &end_ids, &Decoding::Greedy);
        for ((row, forced), mut free) in chunk.iter().zip(forced).zip(free) {
            let index = samples.len();
            let texts = [tokenizer.decode(without_end(&forced, &end_ids))?, tokenizer.decode(&free)?];
            if free.len() < options.max_new_tokens {
                free.push(end);
            }
            // Any end token ends a text.
            let ended = |ids: &[u32]| ids.iter().map(|id| if end_ids.contains(id) { end } else { *id }).collect::<Vec<_>>();
            let expected: Vec<u32> = row.iter().copied().chain([end]).collect();
            let mut sample = sample(&ended(&forced), &free, &expected);
            for (way, text) in ["teacher", "free"].into_iter().zip(&texts) {
                let scored = scores(text, &setting.passages[index]);
                sample.values.extend(scored.into_iter().map(|(metric, value)| (format!("{way}_{metric}"), value)));
            }
            samples.push(AnalysisSample { index, ..sample });
        }
        record.advance(chunk.len());
    }
    Ok(samples)
}

/// The tokens before the first end token.
fn without_end<'a>(ids: &'a [u32], end_ids: &[u32]) -> &'a [u32] {
    &ids[..ids.iter().position(|id| end_ids.contains(id)).unwrap_or(ids.len())]
}

/// What tokens alone say about one passage.
fn sample(forced: &[u32], free: &[u32], expected: &[u32]) -> AnalysisSample {
    let hits = |ids: &[u32]| -> Vec<f64> { expected.iter().enumerate().map(|(at, id)| f64::from(ids.get(at) == Some(id))).collect() };
    let (teacher, running) = (hits(forced), hits(free));
    let mean = |hits: &[f64]| hits.iter().sum::<f64>() / hits.len() as f64;
    let prefix = exact_prefix(free, expected);
    let mut values = vec![
        ("teacher_accuracy", mean(&teacher)),
        ("free_accuracy", mean(&running)),
        ("teacher_all_right", f64::from(forced == expected)),
        ("free_all_right", f64::from(free == expected)),
        ("exact_prefix", prefix as f64),
        ("exact_prefix_share", prefix as f64 / expected.len() as f64),
    ];
    if prefix < expected.len() {
        values.push(("first_error", prefix as f64));
    }
    AnalysisSample {
        values: values.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        vectors: [("teacher".into(), teacher), ("free".into(), running)].into(),
        ..AnalysisSample::default()
    }
}

/// Samples by position: one per passage, series and bin of `width` positions.
fn positions(samples: &[AnalysisSample], width: usize) -> Vec<AnalysisSample> {
    let mut out = Vec::new();
    let longest = samples.iter().flat_map(|s| s.vectors.values()).map(Vec::len).max().unwrap_or(0);
    for series in ["teacher-forced", "free-running", "no error yet", "first error"] {
        for bin in 0..longest.div_ceil(width) {
            for sample in samples {
                let vector = &sample.vectors[if series == "teacher-forced" { "teacher" } else { "free" }];
                let error = vector.iter().position(|hit| *hit == 0.0).unwrap_or(vector.len());
                let places = bin * width..vector.len().min((bin + 1) * width);
                if places.is_empty() {
                    continue;
                }
                let value = match series {
                    "no error yet" => f64::from(error >= places.end),
                    "first error" => f64::from(places.contains(&error)),
                    _ => vector[places.clone()].iter().sum::<f64>() / places.len() as f64,
                };
                out.push(AnalysisSample {
                    series: series.into(),
                    label: (bin * width).to_string(),
                    x: Some((bin * width) as f64),
                    index: sample.index,
                    values: [("share".to_string(), value)].into(),
                    ..AnalysisSample::default()
                });
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_token_ends_the_prefix_but_not_the_accuracy() {
        let wrong = sample(&[5, 6, 7, 1], &[5, 9, 7, 1], &[5, 6, 7, 1]);
        let of = |name: &str| wrong.values.get(name).copied();
        assert_eq!((of("teacher_accuracy"), of("free_accuracy")), (Some(1.0), Some(0.75)));
        assert_eq!((of("exact_prefix"), of("first_error"), of("exact_prefix_share")), (Some(1.0), Some(1.0), Some(0.25)));
        assert_eq!((of("teacher_all_right"), of("free_all_right")), (Some(1.0), Some(0.0)));
        let right = sample(&[5, 1], &[5, 1], &[5, 1]);
        assert!(!right.values.contains_key("first_error") && right.values["exact_prefix"] == 2.0);
        // Words after the end are no match, but no exact text either.
        assert_eq!(sample(&[5, 1], &[5, 1, 8], &[5, 1]).values["free_all_right"], 0.0);
    }

    #[test]
    fn shares_by_position() {
        let samples = [sample(&[5, 6, 1], &[5, 6, 1], &[5, 6, 1]), sample(&[5, 1], &[4, 1], &[5, 1])];
        let rows = rows(&positions(&samples, 1));
        let of = |series: &str| -> Vec<(f64, usize)> {
            rows.iter().filter(|r| r.series == series).map(|r| (r.values["share"].value, r.n)).collect()
        };
        assert_eq!(of("free-running"), [(0.5, 2), (1.0, 2), (1.0, 1)]);
        assert_eq!(of("no error yet"), [(0.5, 2), (0.5, 2), (1.0, 1)]);
        assert_eq!(of("first error"), [(0.5, 2), (0.0, 2), (0.0, 1)]);
        assert_eq!(of("teacher-forced"), [(1.0, 2), (1.0, 2), (1.0, 1)]);
        assert_eq!(positions(&samples, 2).iter().filter(|s| s.series == "first error").count(), 3);
    }

    #[test]
    fn texts_stop_before_an_end() {
        assert_eq!(without_end(&[4, 5, 1, 6], &[1, 2]), [4, 5]);
        assert_eq!(without_end(&[4], &[1]), [4]);
    }
}
