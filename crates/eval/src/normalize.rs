//! Text as the reference metrics see it before they count anything.

mod not_word;

use std::cmp::Ordering::{Equal, Greater, Less};

use not_word::NOT_WORD;

/// Whitespace by Python's `str.split`: Unicode's, and the four ASCII separators Unicode leaves out.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The words of an answer as SQuAD v1.1 compares them: lower case, no ASCII punctuation, no `a`, `an`, `the`.
///
/// Punctuation is deleted, not turned into space ("well-known" becomes "wellknown"), and goes before the articles do.
/// An article is `\b(a|an|the)\b`: it need not stand between spaces, so the "a" of "a/b" stays (the slash is gone by then)
/// and that of "a" + en dash + "b" goes.
///
/// # Reference
/// SQuAD v1.1 `evaluate-v1.1.py::normalize_answer`.
pub fn squad_words(text: &str) -> Vec<String> {
    let text: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let mut kept = String::with_capacity(text.len());
    let mut run = String::new();
    // The space at the end only flushes the last run.
    for c in text.chars().chain([' ']) {
        if is_word(c) {
            run.push(c);
            continue;
        }
        kept.push_str(if matches!(run.as_str(), "a" | "an" | "the") { " " } else { &run });
        kept.push(c);
        run.clear();
    }
    kept.split(is_space).filter(|word| !word.is_empty()).map(String::from).collect()
}

/// Whether Python's `\w` takes the character: its letters and numbers are narrower than Rust's. (No underscore comes here.)
fn is_word(c: char) -> bool {
    let marked = || {
        NOT_WORD.binary_search_by(|(first, last)| {
            if *last < c as u32 {
                Less
            } else if *first > c as u32 {
                Greater
            } else {
                Equal
            }
        })
    };
    c.is_alphanumeric() && (c.is_ascii() || marked().is_err())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_as_squad_sees_them() {
        assert_eq!(squad_words("The  Well-Known, AN a theme!\n"), ["wellknown", "theme"]);
        assert_eq!(squad_words("a/b a\u{2013}b"), ["ab", "\u{2013}b"]);
        assert_eq!(squad_words("it's 5.5%"), ["its", "55"]);
        assert!(squad_words("A, an... the?").is_empty());
        assert!(squad_words("").is_empty());
    }

    #[test]
    fn word_characters_are_pythons() {
        // A combining vowel sign and a circled letter end the article, a letter and a digit of another script do not.
        assert_eq!(squad_words("a\u{93e} the\u{24d0} an\u{905} a\u{966}"), ["\u{93e}", "\u{24d0}", "an\u{905}", "a\u{966}"]);
        assert!(NOT_WORD.windows(2).all(|w| w[0].0 <= w[0].1 && w[0].1 < w[1].0));
    }

    #[test]
    fn spaces_are_pythons() {
        assert_eq!(squad_words("x\u{1c}y\u{a0}z\u{3000}w\u{200b}v"), ["x", "y", "z", "w\u{200b}v"]);
    }
}
