//! Sentence BLEU of sacrebleu (Papineni 2002; Post 2018): 13a tokens, exponential smoothing, effective order.

use super::{TextMetric, bag_overlap};
use crate::normalize::is_space;

/// Longest n-gram.
const MAX_ORDER: usize = 4;

/// exp(min(0, 1 - r/h)) times the geometric mean of the n-gram precisions, n = 1 to min(4, h), h and r the lengths in tokens.
///
/// The k-th order without a match counts 1 / (2^k * its n-grams). No match at all scores 0. Case counts.
///
/// # Reference
/// sacrebleu 2.6.0 `sentence_bleu(..., use_effective_order=True)`, divided by 100.
pub struct Bleu;

impl TextMetric for Bleu {
    fn name(&self) -> &'static str {
        "bleu"
    }

    fn version(&self) -> &'static str {
        "1 (sacrebleu sentence BLEU, 13a, exp, effective order, /100)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        let (prediction, reference) = (tokenize_13a(prediction), tokenize_13a(reference));
        let orders = MAX_ORDER.min(prediction.len());
        let matches: Vec<usize> = (1..=orders).map(|n| bag_overlap(prediction.windows(n), reference.windows(n))).collect();
        if matches.iter().all(|m| *m == 0) {
            return 0.0;
        }
        let mut smoothing = 1.0;
        let logs: f64 = matches
            .iter()
            .enumerate()
            .map(|(i, matched)| {
                let total = (prediction.len() - i) as f64;
                if *matched == 0 {
                    smoothing *= 2.0;
                    return -(smoothing * total).ln();
                }
                (*matched as f64 / total).ln()
            })
            .sum();
        let brevity = (1.0 - reference.len() as f64 / prediction.len() as f64).min(0.0);
        (brevity + logs / orders as f64).exp()
    }
}

/// The tokens of mteval-v13a, the default of sacrebleu.
///
/// Every ASCII symbol stands alone, but for the apostrophe, the full stop and comma between digits, and the hyphen after
/// anything but a digit. The four passes are sacrebleu's four substitutions, each over the result of the one before.
pub fn tokenize_13a(text: &str) -> Vec<String> {
    let text = text.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let mut line = String::with_capacity(2 * text.len() + 2);
    for c in format!(" {text} ").chars() {
        match c {
            '\'' | ',' | '-' | '.' => line.push(c),
            c if c.is_ascii_punctuation() => line.extend([' ', c, ' ']),
            c => line.push(c),
        }
    }
    let stop = |c: char| matches!(c, '.' | ',');
    let line = substitute(&line, |a, b| !a.is_ascii_digit() && stop(b), |a, b| [a, ' ', b, ' ']);
    let line = substitute(&line, |a, b| stop(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b]);
    let line = substitute(&line, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' ']);
    line.split(is_space).filter(|token| !token.is_empty()).map(String::from).collect()
}

/// Rewrites pairs of characters from left to right; a character already taken starts no second pair, as in `re.sub`.
fn substitute(line: &str, fits: impl Fn(char, char) -> bool, new: impl Fn(char, char) -> [char; 4]) -> String {
    let mut out = String::with_capacity(line.len() * 2);
    let mut chars = line.chars().peekable();
    while let Some(a) = chars.next() {
        match chars.next_if(|b| fits(a, *b)) {
            Some(b) => out.extend(new(a, b)),
            None => out.push(a),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, tokens: &str) {
        assert_eq!(tokenize_13a(text).join(" "), tokens, "{text:?}");
    }

    #[test]
    fn tokens_of_13a() {
        check("Hello, world! It's 5.5% of $3,000.", "Hello , world ! It's 5.5 % of $ 3,000 .");
        check("wait... what?!", "wait . . . what ? !");
        check("a well-known 30-second 5-, x-", "a well-known 30 - second 5 - , x-");
        check("&lt;b&gt; &amp;lt; &quot;", "< b > < \"");
        check("co-\nworker one\ntwo<skipped>-\n", "coworker one two-");
        check(" \u{3000}x\u{1c} ", "x");
        check("", "");
    }

    #[test]
    fn by_hand() {
        // Precisions 3/3, 1/2, 0/1 -> 1/(2*1); no order 4 with three tokens; no brevity penalty.
        let score = Bleu.score("b c a", "a b c");
        assert!((score - (0.5_f64 * 0.5).powf(1.0 / 3.0)).abs() < 1e-12, "{score}");
        // A prefix: perfect precisions, brevity exp(1 - 6/4).
        let score = Bleu.score("the cat sat on", "the cat sat on the mat");
        assert!((score - (-0.5_f64).exp()).abs() < 1e-12, "{score}");
        assert_eq!(Bleu.score("", ""), 0.0);
        assert_eq!(Bleu.score("x", ""), 0.0);
        assert_eq!(Bleu.score("X", "x"), 0.0);
    }
}
