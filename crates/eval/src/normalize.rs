//! Text as the reference metrics see it before they count anything.

/// Whitespace by Python's `str.split`: Unicode's, and the four ASCII separators Unicode leaves out.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// The words of an answer as SQuAD v1.1 compares them: lower case, no ASCII punctuation, no `a`, `an`, `the`.
///
/// Punctuation is deleted, not turned into space ("well-known" becomes "wellknown"), and goes before the articles do.
/// An article is `\b(a|an|the)\b`: it need not stand between spaces, so the "a" of "a/b" stays (the slash is gone by then)
/// and that of "a" + en dash + "b" goes. Python and this differ only where an article touches a circled letter or a
/// combining vowel sign, which are word characters to Rust alone.
///
/// # Reference
/// SQuAD v1.1 `evaluate-v1.1.py::normalize_answer`.
pub fn squad_words(text: &str) -> Vec<String> {
    let text: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let mut kept = String::with_capacity(text.len());
    let mut run = String::new();
    // The space at the end only flushes the last run.
    for c in text.chars().chain([' ']) {
        if c.is_alphanumeric() {
            run.push(c);
            continue;
        }
        kept.push_str(if matches!(run.as_str(), "a" | "an" | "the") { " " } else { &run });
        kept.push(c);
        run.clear();
    }
    kept.split(is_space).filter(|word| !word.is_empty()).map(String::from).collect()
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
    fn spaces_are_pythons() {
        assert_eq!(squad_words("x\u{1c}y\u{a0}z\u{3000}w\u{200b}v"), ["x", "y", "z", "w\u{200b}v"]);
    }
}
