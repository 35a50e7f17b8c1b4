//! ROUGE-1, ROUGE-2 and ROUGE-L as the F-measure of `rouge-score` 0.1.2 with its stemmer (Lin 2004).

use std::collections::HashMap;

use super::porter::stem;
use super::{TextMetric, f_measure, ngram_overlap};

/// What the three have in common.
const VERSION: &str = "1 (rouge-score 0.1.2 F-measure, Porter stems)";

/// F-measure of the two bags of stems. Only `[a-z0-9]` counts, so a text in another script scores 0 even against itself.
pub struct Rouge1;

/// F-measure of the two bags of neighbouring pairs of stems.
pub struct Rouge2;

/// F-measure of the longest common subsequence of stems over the whole text (not the summary-level variant).
pub struct RougeL;

impl TextMetric for Rouge1 {
    fn name(&self) -> &'static str {
        "rouge_1"
    }

    fn version(&self) -> &str {
        VERSION
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        ngrams(prediction, reference, 1)
    }
}

impl TextMetric for Rouge2 {
    fn name(&self) -> &'static str {
        "rouge_2"
    }

    fn version(&self) -> &str {
        VERSION
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        ngrams(prediction, reference, 2)
    }
}

impl TextMetric for RougeL {
    fn name(&self) -> &'static str {
        "rouge_l"
    }

    fn version(&self) -> &str {
        VERSION
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        let [prediction, reference] = numbered_stems([prediction, reference]);
        f_measure(lcs(&prediction, &reference), prediction.len(), reference.len())
    }
}

fn ngrams(prediction: &str, reference: &str, n: usize) -> f64 {
    let [prediction, reference] = numbered_stems([prediction, reference]);
    let matches = ngram_overlap(&prediction, &reference, n);
    f_measure(matches, prediction.windows(n).len(), reference.windows(n).len())
}

/// The tokens of `rouge_score.tokenize`: lower case, split at everything outside `[a-z0-9]`, stemmed from 4 letters on.
///
/// Each text as numbers, equal for equal stems: a word is stemmed once however often it comes, and takes 4 bytes.
fn numbered_stems(texts: [&str; 2]) -> [Vec<u32>; 2] {
    let texts = texts.map(str::to_lowercase);
    let (mut of_word, mut of_stem) = (HashMap::<&str, u32>::new(), HashMap::<String, u32>::new());
    let mut number = |word| {
        *of_word.entry(word).or_insert_with(|| {
            let next = of_stem.len() as u32;
            *of_stem.entry(stemmed(word)).or_insert(next)
        })
    };
    texts.each_ref().map(|text| words(text).map(&mut number).collect())
}

fn words(lower: &str) -> impl Iterator<Item = &str> {
    lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

fn stemmed(word: &str) -> String {
    if word.len() > 3 { stem(word) } else { word.to_string() }
}

/// Length of the longest common subsequence of two texts whose tokens are `numbered`.
///
/// One row of the table is one bit a token of `b`: a cleared bit says that the row's value rises there. A row follows from
/// the one above by one addition, `row + (row & equal) | (row & !equal)`, which touches only the words of 64 bits that hold
/// an equal token or take a carry. Time: `a.len() * b.len() / 64` at worst. Memory: linear.
///
/// # Reference
/// Hyyroe, "Bit-parallel LCS-length computation revisited" (2004).
fn lcs(a: &[u32], b: &[u32]) -> usize {
    // What both texts begin and end with is in every longest common subsequence.
    let start = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let (a, b) = (&a[start..], &b[start..]);
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(x, y)| x == y).count();
    start + end + lcs_of_middles(&a[..a.len() - end], &b[..b.len() - end])
}

/// As [`lcs`], for texts that begin and end differently.
fn lcs_of_middles(a: &[u32], b: &[u32]) -> usize {
    // For every token the words of 64 bits where b has it, with its bits.
    let kinds = a.iter().chain(b).max().map_or(0, |last| *last as usize + 1);
    let mut equal: Vec<Vec<(usize, u64)>> = vec![Vec::new(); kinds];
    for (j, token) in b.iter().enumerate() {
        let places = &mut equal[*token as usize];
        match places.last_mut() {
            Some((word, bits)) if *word == j / 64 => *bits |= 1 << (j % 64),
            _ => places.push((j / 64, 1 << (j % 64))),
        }
    }
    let mut row = vec![u64::MAX; b.len().div_ceil(64)];
    for token in a {
        let mut places = equal[*token as usize].iter().peekable();
        while let Some((first, bits)) = places.next() {
            let (mut word, mut bits, mut carry) = (*first, *bits, false);
            loop {
                let (sum, over) = row[word].overflowing_add(row[word] & bits);
                let (sum, again) = sum.overflowing_add(u64::from(carry));
                row[word] = sum | (row[word] & !bits);
                carry = over || again;
                word += 1;
                // On to the next word if it takes the carry; its own equal tokens go with it.
                if !carry || word == row.len() {
                    break;
                }
                bits = places.next_if(|(next, _)| *next == word).map_or(0, |(_, bits)| *bits);
            }
        }
    }
    // Bits beyond the end of b are never cleared: a carry that reaches them only passes through.
    row.iter().map(|word| word.count_zeros() as usize).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_counts_for_l_and_pairs() {
        let (p, r) = ("on the mat sat the cat", "the cat sat on the mat");
        assert_eq!(Rouge1.score(p, r), 1.0);
        assert_eq!(RougeL.score(p, r), 0.5);
        // "on the", "the mat", "the cat" of five pairs.
        assert!((Rouge2.score(p, r) - 0.6).abs() < 1e-12);
    }

    #[test]
    fn stems_from_four_letters_on() {
        let stems = |text: &str| words(&text.to_lowercase()).map(stemmed).collect::<Vec<_>>();
        assert_eq!(stems("The cats' DIES re-running!"), ["the", "cat", "die", "re", "run"]);
        assert_eq!(stems("was gas"), ["was", "gas"]);
        assert_eq!(stems("na\u{ef}ve_x"), ["na", "ve", "x"]);
        assert_eq!(numbered_stems(["Cats run cat", "a CAT running"]), [vec![0, 1, 0], vec![2, 0, 1]]);
    }

    #[test]
    fn nothing_to_match_is_zero() {
        assert_eq!(RougeL.score("", ""), 0.0);
        assert_eq!(RougeL.score("x", "!?"), 0.0);
        assert_eq!(Rouge2.score("one", "one"), 0.0);
        assert_eq!(lcs(&[], &[0]), 0);
        assert_eq!(lcs(&[0], &[]), 0);
    }

    /// The textbook table.
    fn lcs_by_table(a: &[u32], b: &[u32]) -> usize {
        let mut row = vec![0; b.len() + 1];
        for x in a {
            let mut diagonal = 0;
            for (j, y) in b.iter().enumerate() {
                let above = row[j + 1];
                row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
                diagonal = above;
            }
        }
        row[b.len()]
    }

    #[test]
    fn bits_agree_with_the_table() {
        let mut state = 1128u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        for round in 0..600 {
            let kinds = [1, 2, 3, 20, 400][round % 5];
            let mut text = |length| (0..length).map(|_| random(kinds) as u32).collect::<Vec<_>>();
            let (a, b) = (text(round % 7 * 31), text([0, 1, 63, 64, 65, 128, 129, 200, 331][round % 9]));
            assert_eq!(lcs(&a, &b), lcs_by_table(&a, &b), "{a:?} {b:?}");
            assert_eq!(lcs_of_middles(&a, &b), lcs_by_table(&a, &b), "{a:?} {b:?}");
            assert_eq!(lcs(&b, &b), b.len());
        }
    }

    #[test]
    fn a_hundred_thousand_words() {
        let text: Vec<u32> = (0..100_000).collect();
        let shifted: Vec<u32> = (50..100_050).collect();
        assert_eq!(lcs(&text, &shifted), 99_950);
        assert_eq!(lcs(&text, &text.iter().rev().copied().collect::<Vec<_>>()), 1);
    }
}
