//! The latent-to-segment map: which latents move when one segment of the text is replaced.
//!
//! Series `blocks`: the text is cut into blocks of `block_tokens` tokens, and one block at a time is replaced by the tokens
//! that another passage has there. Series `values` (generated facts only): one value of the passage (a job, a town) is
//! replaced by another fact's value of the same number of tokens, as the paper swaps entities; its segment is the block
//! that the middle of the changed tokens is in.
//!
//! A sample is one replacement: x is the segment, `relative_l2` and `cosine` hold one distance per latent. The rows are
//! over passages: `diagonality` and `diagonality_cosine` ([`LatentMap::diagonality`]), `own_share`, `peak_near_own`; the
//! series `.. permuted` have each passage's latents in a random order. `details.maps` holds the mean distances
//! `[segments, latents]`, as they are and with every row divided by its sum.

use std::collections::BTreeMap;

use anyhow::Result;
use nextmem_data::{Fact, Facts, Slot, Split};
use nextmem_eval::analysis::{AnalysisSample, Draw, LatentMap, latent_distances, rows};
use serde_json::{Value, json};

use super::record::Record;
use super::{Outcome, Setting};
use crate::source::Source;

/// Other facts tried for a value of the same number of tokens.
const TRIES: usize = 60;
/// Significant digits of the distances that are kept.
const DIGITS: i32 = 4;

/// One replacement: passage, segment, the changed tokens.
struct Swap {
    passage: usize,
    segment: usize,
    row: Vec<u32>,
}

pub fn run(setting: &Setting, record: &mut Record) -> Result<Outcome> {
    let subject = &setting.subject;
    let latents = subject.num_latents();
    let facts = facts(setting);
    let series: &[&str] = if facts.is_empty() { &["blocks"] } else { &["blocks", "values"] };
    // One replacement per latent at most; shorter texts have fewer.
    let most = setting.passages.len() * (1 + latents);
    record.begin(series.len() * most);
    let mut block = setting.config.segments.block_tokens.or(subject.trained_blocks().map(|(block, _)| block)).unwrap_or(0);
    if block == 0 {
        let longest = subject.tokens(&setting.passages)?.iter().map(Vec::len).max().unwrap_or(1);
        block = longest.div_ceil(latents);
    }
    for series in series {
        record.group(series, "swap", None, most, |record| {
            let tokens = subject.tokens(&setting.passages)?;
            let swaps = match *series {
                "blocks" => block_swaps(&tokens, block, latents),
                _ => value_swaps(setting, &facts, &tokens, block, latents)?,
            };
            let before = subject.encode_ids(&tokens, record)?;
            let after = subject.encode_ids(&swaps.iter().map(|s| s.row.clone()).collect::<Vec<_>>(), record)?;
            let hidden = before.first().map_or(0, |b| b.len() / latents);
            let sample = |(swap, after): (&Swap, Vec<f32>)| {
                let (l2, cosine) = latent_distances(&before[swap.passage], &after, hidden);
                let vectors = [("relative_l2", l2), ("cosine", cosine)];
                AnalysisSample {
                    index: swap.passage,
                    x: Some(swap.segment as f64),
                    vectors: vectors.into_iter().map(|(name, v)| (name.into(), v.into_iter().map(rounded).collect())).collect(),
                    ..AnalysisSample::default()
                }
            };
            Ok(swaps.iter().zip(after).map(sample).collect())
        })?;
    }
    let mut per_passage = Vec::new();
    let mut maps = BTreeMap::new();
    for series in series {
        let samples: Vec<&AnalysisSample> = record.samples().iter().filter(|s| s.series == *series).collect();
        per_passage.extend(diagonals(&samples, series, setting.seed()));
        maps.insert(*series, mean_maps(&samples));
    }
    per_passage.sort_by_key(|s| s.series.contains("permuted"));
    let details = json!({"block_tokens": block, "num_latents": latents, "even_share": 1.0 / latents as f64, "maps": maps});
    Ok(Outcome { rows: rows(&per_passage), details, unprinted: &[] })
}

/// The facts behind the passages, if that is what the passages are.
fn facts(setting: &Setting) -> Vec<Fact> {
    let Source::Facts(facts) = &setting.subject.plan.source else { return Vec::new() };
    let Some(seed) = facts.closed_test_seed() else { return Vec::new() };
    let generator = Facts::new(seed, Split::Test);
    let facts: Vec<Fact> = (0..setting.passages.len()).map(|i| generator.get(i as u64)).collect();
    if facts.iter().zip(&setting.passages).all(|(fact, passage)| fact.text == *passage) { facts } else { Vec::new() }
}

/// Every block of every passage, replaced by what the next passage with other tokens has at its place.
fn block_swaps(tokens: &[Vec<u32>], block: usize, latents: usize) -> Vec<Swap> {
    let mut swaps = Vec::new();
    for (passage, row) in tokens.iter().enumerate() {
        for (segment, old) in row.chunks(block).enumerate().take(latents) {
            let at = segment * block;
            let others = (1..tokens.len()).map(|step| &tokens[(passage + step) % tokens.len()]);
            let mut places = others.filter_map(|other| other.get(at..at + old.len()));
            if let Some(new) = places.find(|new| new.iter().zip(old).all(|(n, o)| n != o)) {
                let row = [&row[..at], new, &row[at + old.len()..]].concat();
                swaps.push(Swap { passage, segment, row });
            }
        }
    }
    swaps
}

/// Every value that stands in its passage once, replaced by one of as many tokens.
fn value_swaps(setting: &Setting, facts: &[Fact], tokens: &[Vec<u32>], block: usize, latents: usize) -> Result<Vec<Swap>> {
    let tokenizer = setting.subject.nextmem()?.tokenizer();
    let mut swaps = Vec::new();
    for (passage, (fact, old)) in facts.iter().zip(tokens).enumerate() {
        for value in fact.values.iter().filter(|v| fact.text.matches(&v.text).count() == 1) {
            let others = (1..facts.len().min(TRIES)).map(|step| &facts[(passage + step) % facts.len()]);
            for new in others.flat_map(|f| &f.values).filter(|v| fits(v.slot, &v.text, value.slot, &value.text)) {
                let row = tokenizer.encode(&fact.text.replace(&value.text, &new.text))?;
                let changed: Vec<usize> = (0..old.len().min(row.len())).filter(|at| old[*at] != row[*at]).collect();
                let (Some(first), Some(last), true) = (changed.first(), changed.last(), row.len() == old.len()) else { continue };
                let segment = (first + last) / 2 / block;
                if segment < latents {
                    swaps.push(Swap { passage, segment, row });
                }
                break;
            }
        }
    }
    Ok(swaps)
}

/// Whether a value can stand where another stood: the same kind, another text, the same article before it.
fn fits(slot: Slot, text: &str, old_slot: Slot, old: &str) -> bool {
    let vowel = |text: &str| text.starts_with(['a', 'e', 'i', 'o', 'u']);
    slot == old_slot && text != old && (slot != Slot::Job || vowel(text) == vowel(old))
}

/// One sample per passage with at least two segments, and one with its latents in a random order.
fn diagonals(samples: &[&AnalysisSample], series: &str, seed: u64) -> Vec<AnalysisSample> {
    let mut passages: BTreeMap<usize, Vec<&AnalysisSample>> = BTreeMap::new();
    samples.iter().for_each(|s| passages.entry(s.index).or_default().push(s));
    let mut out = Vec::new();
    for (index, swaps) in passages {
        let map = |name: &str| {
            let rows: Vec<Vec<f64>> = swaps.iter().map(|s| s.vectors.get(name).cloned().unwrap_or_default()).collect();
            LatentMap::new(swaps.iter().map(|s| s.x.unwrap_or(0.0) as usize).collect(), &rows)
        };
        let (l2, cosine) = (map("relative_l2"), map("cosine"));
        let mut order: Vec<usize> = (0..l2.shares.first().map_or(0, Vec::len)).collect();
        let mut put = |series: String, l2: &LatentMap, cosine: &LatentMap| {
            let measured = [
                ("diagonality", l2.diagonality()),
                ("diagonality_cosine", cosine.diagonality()),
                ("own_share", l2.own_share()),
                ("peak_near_own", l2.peak_near_own()),
            ];
            let values = measured.into_iter().filter_map(|(name, value)| Some((name.to_string(), value?))).collect();
            out.push(AnalysisSample { series, label: "passages".into(), index, values, ..AnalysisSample::default() });
        };
        if l2.diagonality().is_some() {
            put(series.into(), &l2, &cosine);
            Draw::new(seed, index as u64).shuffle(&mut order);
            put(format!("{series} permuted"), &l2.permuted(&order), &cosine.permuted(&order));
        }
    }
    out
}

/// Mean distances per segment, and the same with rows that sum to one.
fn mean_maps(samples: &[&AnalysisSample]) -> Value {
    let segments = samples.iter().filter_map(|s| s.x).map(|x| x as usize + 1).max().unwrap_or(0);
    let of = |segment: usize| samples.iter().filter(move |s| s.x == Some(segment as f64));
    let mean = |name: &str| -> Vec<Vec<f64>> {
        let row = |segment: usize| {
            let vectors: Vec<&Vec<f64>> = of(segment).filter_map(|s| s.vectors.get(name)).collect();
            let width = vectors.first().map_or(0, |v| v.len());
            (0..width).map(|k| rounded(vectors.iter().map(|v| v[k]).sum::<f64>() / vectors.len() as f64)).collect()
        };
        (0..segments).map(row).collect()
    };
    let shares = |rows: &[Vec<f64>]| -> Vec<Vec<f64>> {
        let map = LatentMap::new((0..rows.len()).collect(), rows);
        map.shares.iter().map(|row| row.iter().copied().map(rounded).collect()).collect()
    };
    let (l2, cosine) = (mean("relative_l2"), mean("cosine"));
    json!({
        "swaps": (0..segments).map(|s| of(s).count()).collect::<Vec<_>>(),
        "relative_l2_shares": shares(&l2), "cosine_shares": shares(&cosine), "relative_l2": l2, "cosine": cosine,
    })
}

fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let unit = 10f64.powi(DIGITS - 1 - value.abs().log10().floor() as i32);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_changes_its_block_and_nothing_else() {
        let tokens = vec![vec![1, 2, 3, 4, 5], vec![1, 9, 8, 7], vec![6, 6, 6, 6, 6, 6]];
        let swaps = block_swaps(&tokens, 2, 4);
        // The first block of passage 1 shares a token with passage 0, so it comes from passage 2.
        let of = |passage: usize| swaps.iter().filter(|s| s.passage == passage).map(|s| (s.segment, s.row.clone())).collect::<Vec<_>>();
        assert_eq!(of(0), [(0, vec![6, 6, 3, 4, 5]), (1, vec![1, 2, 8, 7, 5]), (2, vec![1, 2, 3, 4, 6])]);
        assert_eq!(of(1), [(0, vec![6, 6, 8, 7]), (1, vec![1, 9, 6, 6])]);
        // Nobody else has a sixth token; more blocks than latents have no latent of their own.
        assert_eq!(of(2).iter().map(|(s, _)| *s).collect::<Vec<_>>(), [0, 1]);
        assert!(block_swaps(&tokens, 1, 2).iter().all(|s| s.segment < 2));
    }

    #[test]
    fn values_swap_within_their_kind_and_article() {
        assert!(fits(Slot::Job, "nurse", Slot::Job, "cook"));
        assert!(!fits(Slot::Job, "optician", Slot::Job, "cook") && !fits(Slot::Job, "cook", Slot::Job, "cook"));
        assert!(fits(Slot::Town, "Oslo", Slot::Town, "Porto") && !fits(Slot::Town, "Oslo", Slot::First, "Ann"));
    }

    #[test]
    fn digits_are_significant_ones() {
        assert_eq!([rounded(0.012_345_678), rounded(123_456.0), rounded(0.0)], [0.012_35, 123_500.0, 0.0]);
    }

    #[test]
    fn a_diagonal_map_beats_its_permuted_control() {
        let sample = |index: usize, segment: usize| {
            let row: Vec<f64> = (0..6).map(|k| if k == segment { 1.0 } else { 0.01 }).collect();
            let vectors = [("relative_l2".to_string(), row.clone()), ("cosine".to_string(), row)].into();
            AnalysisSample { series: "blocks".into(), index, x: Some(segment as f64), vectors, ..AnalysisSample::default() }
        };
        let samples: Vec<AnalysisSample> = (0..30).flat_map(|p| (0..6).map(move |s| sample(p, s))).collect();
        let rows = rows(&diagonals(&samples.iter().collect::<Vec<_>>(), "blocks", 1));
        let of = |series: &str| rows.iter().find(|r| r.series == series).map(|r| r.values["diagonality"]);
        let (Some(own), Some(permuted)) = (of("blocks"), of("blocks permuted")) else { panic!("{rows:?}") };
        assert!(own.value > 0.9 && permuted.low < 0.15 && permuted.high > -0.15, "{own:?} {permuted:?}");
        let map = mean_maps(&samples.iter().collect::<Vec<_>>());
        assert_eq!(map["swaps"], json!([30, 30, 30, 30, 30, 30]));
        assert_eq!(map["relative_l2"][2][2], 1.0);
    }
}
