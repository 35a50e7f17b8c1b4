//! BLEU (Papineni 2002) of two packages: sentence and corpus BLEU of sacrebleu (Post 2018), sentence BLEU of NLTK.

use super::{TextMetric, ngram_overlap, numbered};
use crate::normalize::is_space;

/// Longest n-gram.
const MAX_ORDER: usize = 4;
/// What NLTK's `method1` adds to an order without a match.
const EPSILON: f64 = 0.1;

/// exp(min(0, 1 - r/h)) times the geometric mean of the n-gram precisions, n = 1 to min(4, h), h and r the lengths in tokens.
///
/// The k-th order without a match counts 1 / (2^k * its n-grams). No match at all scores 0. Case counts.
///
/// # Reference
/// sacrebleu 2.6.0 `sentence_bleu(..., use_effective_order=True)`, divided by 100.
pub struct Bleu;

/// exp(min(0, 1 - r/h)) times the geometric mean of the four n-gram precisions of words between spaces.
///
/// An order without a match counts 0.1 / its n-grams, one that is longer than the prediction 0.1: a text of less than four
/// words scores below 1 even against itself. No common word scores 0. Case and punctuation count.
///
/// # Reference
/// nltk 3.10.4 `sentence_bleu([reference.split()], prediction.split(), smoothing_function=SmoothingFunction().method1)`.
pub struct BleuNltk;

impl TextMetric for Bleu {
    fn name(&self) -> &'static str {
        "bleu"
    }

    fn version(&self) -> &str {
        "1 (sacrebleu 2.6.0 sentence BLEU, 13a, exp, effective order, /100)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        let mut counts = Counts::default();
        counts.add(&tokenize_13a(prediction), &tokenize_13a(reference));
        counts.sacrebleu(MAX_ORDER.min(counts.predicted))
    }
}

impl TextMetric for BleuNltk {
    fn name(&self) -> &'static str {
        "bleu_nltk"
    }

    fn version(&self) -> &str {
        "1 (nltk 3.10.4 sentence BLEU-4, method1 smoothing, words between spaces)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        let words = |text| str::split(text, is_space).filter(|word| !word.is_empty()).collect::<Vec<&str>>();
        let mut counts = Counts::default();
        counts.add(&words(prediction), &words(reference));
        if counts.matches[0] == 0 {
            return 0.0;
        }
        let precision = |(matched, total): (&usize, &usize)| match matched {
            0 => EPSILON / (*total).max(1) as f64,
            _ => *matched as f64 / *total as f64,
        };
        let logs: f64 = counts.matches.iter().zip(&counts.totals).map(|of| precision(of).ln()).sum();
        (counts.brevity() + logs / MAX_ORDER as f64).exp()
    }
}

/// sacrebleu's corpus BLEU over (prediction, reference): n-grams and lengths are summed over all pairs before any division,
/// so it is no mean of sentence scores. In \[0, 1\].
///
/// Always four orders: a corpus whose predictions all have less than four tokens scores 0.
///
/// # Reference
/// sacrebleu 2.6.0 `corpus_bleu(predictions, [references])`, divided by 100
/// (`nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp`).
pub fn corpus_bleu<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> f64 {
    let mut corpus = CorpusBleu::default();
    pairs.into_iter().for_each(|(prediction, reference)| corpus.add(prediction, reference));
    corpus.score()
}

/// [`corpus_bleu`] pair by pair; parts of a corpus can be counted apart and put together.
#[derive(Default)]
pub struct CorpusBleu(Counts);

impl CorpusBleu {
    /// Counts one pair.
    pub fn add(&mut self, prediction: &str, reference: &str) {
        self.0.add(&tokenize_13a(prediction), &tokenize_13a(reference));
    }

    /// Counts another part of the corpus.
    pub fn merge(&mut self, other: &Self) {
        let (own, other) = (&mut self.0, &other.0);
        let add = |own: &mut [usize; MAX_ORDER], other: &[usize; MAX_ORDER]| own.iter_mut().zip(other).for_each(|(a, b)| *a += b);
        add(&mut own.matches, &other.matches);
        add(&mut own.totals, &other.totals);
        own.predicted += other.predicted;
        own.expected += other.expected;
    }

    /// The BLEU of what was counted.
    pub fn score(&self) -> f64 {
        match self.0.totals.contains(&0) {
            true => 0.0,
            false => self.0.sacrebleu(MAX_ORDER),
        }
    }
}

/// What BLEU is made of, over one pair or many.
#[derive(Default)]
struct Counts {
    matches: [usize; MAX_ORDER],
    totals: [usize; MAX_ORDER],
    predicted: usize,
    expected: usize,
}

impl Counts {
    fn add<T: std::hash::Hash + Eq>(&mut self, prediction: &[T], reference: &[T]) {
        let (prediction, reference) = numbered(prediction, reference);
        for n in 1..=MAX_ORDER {
            self.matches[n - 1] += ngram_overlap(&prediction, &reference, n);
            self.totals[n - 1] += prediction.windows(n).len();
        }
        self.predicted += prediction.len();
        self.expected += reference.len();
    }

    /// The logarithm of the brevity penalty; there is a predicted token.
    fn brevity(&self) -> f64 {
        (1.0 - self.expected as f64 / self.predicted as f64).min(0.0)
    }

    /// BLEU of the first `orders` orders, all of which have n-grams, with exponential smoothing.
    fn sacrebleu(&self, orders: usize) -> f64 {
        if self.matches.iter().all(|matched| *matched == 0) {
            return 0.0;
        }
        let mut smoothing = 1.0;
        let mut log = |(matched, total): (&usize, &usize)| {
            if *matched == 0 {
                smoothing *= 2.0;
                return -(smoothing * *total as f64).ln();
            }
            (*matched as f64 / *total as f64).ln()
        };
        let logs: f64 = self.matches.iter().zip(&self.totals).take(orders).map(&mut log).sum();
        (self.brevity() + logs / orders as f64).exp()
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

    #[track_caller]
    fn close(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-12, "{got}, expected {expected}");
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
        close(Bleu.score("b c a", "a b c"), (0.5_f64 * 0.5).powf(1.0 / 3.0));
        // A prefix: perfect precisions, brevity exp(1 - 6/4).
        close(Bleu.score("the cat sat on", "the cat sat on the mat"), (-0.5_f64).exp());
        assert_eq!(Bleu.score("", ""), 0.0);
        assert_eq!(Bleu.score("x", ""), 0.0);
        assert_eq!(Bleu.score("X", "x"), 0.0);
    }

    #[test]
    fn nltks_by_hand() {
        // 3/3, 1/2, 0.1/1, no n-gram of order 4: 0.1.
        close(BleuNltk.score("b c a", "a b c"), (0.5_f64 * 0.1 * 0.1).powf(0.25));
        close(BleuNltk.score("x", "x"), 0.001_f64.powf(0.25));
        assert_eq!(BleuNltk.score("cat.", "cat"), 0.0);
        assert_eq!(BleuNltk.score("", ""), 0.0);
        close(BleuNltk.score("the cat sat on", "the cat sat on the mat"), (-0.5_f64).exp());
    }

    #[test]
    fn a_corpus_sums_before_it_divides() {
        let pairs = [("the cat sat on", "the cat sat on the mat"), ("a b", "c d")];
        // 4 of 6 words, 3 of 4 pairs, 2 of 2 triples, 1 of 1; 6 against 8 tokens.
        close(corpus_bleu(pairs), (1.0 - 8.0 / 6.0_f64).exp() * (4.0 / 6.0 * 0.75_f64).powf(0.25));
        assert_eq!(corpus_bleu([("a b c", "a b c")]), 0.0);
        assert_eq!(corpus_bleu([("", "x")]), 0.0);
        assert_eq!(corpus_bleu([]), 0.0);
    }
}
