//! Porter's stemmer (Program 14.3, 1980) with NLTK's extensions, the one of `rouge-score` and of NLTK's METEOR.

/// Words NLTK does not leave to the rules.
const IRREGULAR: &[(&str, &str)] = &[
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

// In every list the first suffix that fits decides, even when its condition then fails.
const STEP_1A: &[(&str, &str)] = &[("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")];
const STEP_2: &[(&str, &str)] = &[
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
    ("logi", "log"),
];
const STEP_3: &[(&str, &str)] =
    &[("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", "")];
const STEP_4: &[(&str, &str)] = &[
    ("al", ""),
    ("ance", ""),
    ("ence", ""),
    ("er", ""),
    ("ic", ""),
    ("able", ""),
    ("ible", ""),
    ("ant", ""),
    ("ement", ""),
    ("ment", ""),
    ("ent", ""),
    ("ion", ""),
    ("ou", ""),
    ("ism", ""),
    ("ate", ""),
    ("iti", ""),
    ("ous", ""),
    ("ive", ""),
    ("ize", ""),
];

/// The stem of a lower-case word.
///
/// Every character but a, e, i, o, u and y is a consonant: digits, punctuation (METEOR's words keep theirs), accented
/// letters. Lengths count characters.
///
/// # Reference
/// NLTK 3.10.4 `nltk.stem.porter.PorterStemmer`, mode `NLTK_EXTENSIONS`.
pub fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == word) {
        return (*stem).to_string();
    }
    let mut word = word.to_string();
    if word.chars().nth(2).is_none() {
        return word;
    }
    // NLTK: "dies" keeps its e, "flies" does not.
    if word.ends_with("ies") && has_four(&word) {
        word.pop();
    } else {
        apply(&mut word, STEP_1A, |_, _| true);
    }
    step_1b(&mut word);
    // NLTK: y after a consonant, not after any vowel ("enjoy" stays).
    apply(&mut word, &[("y", "i")], |stem, _| stem.chars().nth(1).is_some() && ends_consonant(stem));
    step_2(&mut word);
    apply(&mut word, STEP_3, |stem, _| measure(stem) > 0);
    apply(&mut word, STEP_4, |stem, suffix| measure(stem) > 1 && (suffix != "ion" || stem.ends_with(['s', 't'])));
    // 5a tries a second condition on the same suffix, so it is no list.
    if let Some(stem) = word.strip_suffix('e')
        && (measure(stem) > 1 || measure(stem) == 1 && !ends_cvc(stem))
    {
        word.pop();
    }
    if word.ends_with("ll") && measure(&word[..word.len() - 1]) > 1 {
        word.pop();
    }
    word
}

fn has_four(word: &str) -> bool {
    word.chars().count() == 4
}

/// -ed and -ing, then the repair of what they leave.
fn step_1b(word: &mut String) {
    if word.ends_with("ied") {
        // NLTK: "died" keeps its e, "spied" does not.
        word.truncate(word.len() - if has_four(word) { 1 } else { 2 });
        return;
    }
    if let Some(stem) = word.strip_suffix("eed") {
        if measure(stem) > 0 {
            word.pop();
        }
        return;
    }
    let cut = ["ed", "ing"].iter().find_map(|suffix| word.strip_suffix(suffix).filter(|stem| has_vowel(stem)).map(str::len));
    let Some(cut) = cut else { return };
    word.truncate(cut);
    if ["at", "bl", "iz"].iter().any(|end| word.ends_with(end)) {
        word.push('e');
    } else if ends_double_consonant(word) {
        if !word.ends_with(['l', 's', 'z']) {
            word.pop();
        }
    } else if let Some(stem) = word.strip_suffix("*d") {
        // NLTK compares its mark of a doubled consonant with the word itself: "a*ding" becomes "ad".
        word.truncate(stem.len());
        word.push('d');
    } else if measure(word) == 1 && ends_cvc(word) {
        word.push('e');
    }
}

fn step_2(word: &mut String) {
    // NLTK: -alli becomes -al before anything else, then the step starts again.
    while word.strip_suffix("alli").is_some_and(|stem| measure(stem) > 0) {
        word.truncate(word.len() - 2);
    }
    // NLTK: the l of -logi counts as part of the stem ("geology").
    let kept = |stem: &str, suffix: &str| if suffix == "logi" { measure(stem) > 0 || ends_vowel(stem) } else { measure(stem) > 0 };
    apply(word, STEP_2, kept);
}

/// Replaces the first suffix of the list that fits, if its stem allows it.
fn apply(word: &mut String, rules: &[(&str, &str)], allowed: impl Fn(&str, &str) -> bool) {
    let fits = rules.iter().find_map(|(suffix, new)| Some((word.strip_suffix(suffix)?, suffix, new)));
    if let Some((stem, suffix, new)) = fits
        && allowed(stem, suffix)
    {
        let cut = stem.len();
        word.truncate(cut);
        word.push_str(new);
    }
}

/// For every letter, whether it is a consonant: not a, e, i, o, u, and not a y after a consonant.
fn consonants(word: &str) -> impl Iterator<Item = bool> {
    word.chars().scan(false, |before, letter| {
        *before = match letter {
            'a' | 'e' | 'i' | 'o' | 'u' => false,
            'y' => !*before,
            _ => true,
        };
        Some(*before)
    })
}

/// Porter's m: how often a consonant follows a vowel.
fn measure(stem: &str) -> usize {
    consonants(stem).zip(consonants(stem).skip(1)).filter(|(before, letter)| !before && *letter).count()
}

fn has_vowel(stem: &str) -> bool {
    consonants(stem).any(|consonant| !consonant)
}

fn ends_consonant(stem: &str) -> bool {
    consonants(stem).last() == Some(true)
}

fn ends_vowel(stem: &str) -> bool {
    consonants(stem).last() == Some(false)
}

/// Porter's *d.
fn ends_double_consonant(stem: &str) -> bool {
    let mut letters = stem.chars().rev();
    let last = letters.next();
    last.is_some() && last == letters.next() && ends_consonant(stem)
}

/// Porter's *o: consonant, vowel, consonant other than w, x, y. NLTK adds two-letter stems of vowel and consonant.
fn ends_cvc(stem: &str) -> bool {
    let kinds: Vec<bool> = consonants(stem).collect();
    match kinds.as_slice() {
        [.., true, false, true] => !stem.ends_with(['w', 'x', 'y']),
        [first, second] => !first && *second,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(&str, &str)]) {
        pairs.iter().for_each(|(word, expected)| assert_eq!(stem(word), *expected, "{word}"));
    }

    #[test]
    fn porters_own_examples() {
        check(&[
            ("caresses", "caress"),
            ("ponies", "poni"),
            ("cats", "cat"),
            ("feed", "feed"),
            ("agreed", "agre"),
            ("plastered", "plaster"),
            ("motoring", "motor"),
            ("sing", "sing"),
            ("hopping", "hop"),
            ("falling", "fall"),
            ("filing", "file"),
            ("happy", "happi"),
            ("relational", "relat"),
            ("conditional", "condit"),
            ("digitizer", "digit"),
            ("hopefulness", "hope"),
            ("formalize", "formal"),
            ("replacement", "replac"),
            ("adoption", "adopt"),
            ("rate", "rate"),
            ("cease", "ceas"),
            ("controlling", "control"),
            ("roll", "roll"),
        ]);
    }

    #[test]
    fn nltks_extensions() {
        check(&[
            ("dies", "die"),
            ("flies", "fli"),
            ("died", "die"),
            ("spied", "spi"),
            ("enjoy", "enjoy"),
            ("skies", "sky"),
            ("geology", "geolog"),
            ("dying", "die"),
            ("succeed", "succeed"),
            ("by", "by"),
            ("owed", "owe"),
        ]);
    }

    #[test]
    fn odd_words_do_not_panic() {
        check(&[("", ""), ("s", "s"), ("ies", "i"), ("ied", "i"), ("eed", "eed"), ("yyyy", "yyyi"), ("2024s", "2024")]);
    }

    #[test]
    fn every_other_character_is_a_consonant() {
        check(&[
            ("caf\u{e9}s", "caf\u{e9}"),
            ("\u{e9}\u{e9}", "\u{e9}\u{e9}"),
            ("\u{e9}ies", "\u{e9}ie"),
            ("\u{df}\u{df}ies", "\u{df}\u{df}i"),
        ]);
        check(&[("cats,", "cats,"), ("(running", "(run"), ("a--ed", "a-"), ("a*ding", "ad"), ("\u{4f60}y", "\u{4f60}y")]);
    }
}
