//! One line of a reply: whether it is a verdict as a whole, ends in one, or goes on in the next.

use super::Reading;

/// Whether a verdict begins a statement of its own or could end one of the line before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// `Verdict: CORRECT`, or a sentence after another one.
    Labelled,
    /// `CORRECT`, `it is correct`.
    Bare,
}

/// Nouns that name a verdict before it.
const LABELS: [&str; 14] = [
    "verdict",
    "judgment",
    "judgement",
    "decision",
    "grade",
    "evaluation",
    "assessment",
    "conclusion",
    "result",
    "answer",
    "label",
    "rating",
    "ruling",
    "classification",
];
/// Degrees that leave nothing out.
const FULLY: [&str; 7] = ["fully", "entirely", "completely", "totally", "wholly", "indeed", "quite"];
/// Degrees that leave something out.
const PARTLY: [&str; 18] = [
    "partially",
    "partly",
    "mostly",
    "largely",
    "mainly",
    "somewhat",
    "half",
    "almost",
    "nearly",
    "only",
    "just",
    "at",
    "best",
    "substantially",
    "roughly",
    "broadly",
    "basically",
    "essentially",
];
/// What an answer is called, and whose it is.
const NOUNS: [&str; 4] = ["answer", "response", "prediction", "candidate"];
const OWNERS: [&str; 11] =
    ["candidate", "candidate's", "given", "provided", "predicted", "model", "model's", "student", "student's", "submitted", "generated"];

/// What a line says that is nothing but a verdict.
pub(super) fn whole(line: &str) -> Option<(Reading, Shape)> {
    let (words, mark) = words_of(tagged(line).unwrap_or(line))?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (reading, labelled) = match statement(&words) {
        Some(reading) => (reading, false),
        None => (verdict(&words[label(&words)?..])?, line.contains([':', '=', '<'])),
    };
    let shape = if labelled { Shape::Labelled } else { Shape::Bare };
    // A tick or a cross beside the word must say the same.
    (mark.is_none_or(|right| right == (reading == Reading::Correct))).then_some((reading, shape))
}

/// The last sentence of a line, if it is a verdict in capitals or with a label and nothing before it could turn it round.
pub(super) fn last_sentence(line: &str) -> Option<(Reading, Shape)> {
    let body = line.trim_end_matches(|c: char| !c.is_alphanumeric());
    let mut ends = body.char_indices().filter(|(i, c)| matches!(c, '.' | '!') && body[i + 1..].starts_with([' ', '\t']));
    let split = ends.next_back()?.0 + 1;
    let (before, sentence) = (&line[..split], line[split..].trim());
    let (reading, shape) = whole(sentence)?;
    let capitals = sentence.contains("CORRECT");
    let last_word = before.trim_end_matches(|c: char| !c.is_alphanumeric()).rsplit([' ', '\t']).next().unwrap_or_default();
    let abbreviated =
        last_word.len() < 3 && !last_word.bytes().all(|b| b.is_ascii_digit()) || last_word.contains('.') || last_word == "etc";
    ((capitals || shape == Shape::Labelled) && !turns(before) && !abbreviated).then_some((reading, Shape::Labelled))
}

/// Whether there is a word that can turn round what follows.
fn turns(text: &str) -> bool {
    words_in(text).any(|word| {
        let word = plain(word);
        word.contains("correct") || word.ends_with("n't") || TURNING.contains(&word.as_str())
    })
}

/// Words of any script.
fn words_in(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && !is_apostrophe(c))
        .map(|word| word.trim_matches(is_apostrophe))
        .filter(|word| !word.is_empty())
}

/// Words that can turn round what follows them.
const TURNING: [&str; 32] = [
    "but",
    "however",
    "although",
    "though",
    "instead",
    "not",
    "no",
    "never",
    "neither",
    "nor",
    "none",
    "nothing",
    "cannot",
    "without",
    "wrong",
    "right",
    "false",
    "true",
    "accurate",
    "inaccurate",
    "hardly",
    "barely",
    "partially",
    "partly",
    "mostly",
    "almost",
    "unless",
    "if",
    "except",
    "otherwise",
    "whether",
    "unclear",
];

/// Words that a sentence does not end with.
const OPEN: [&str; 31] = [
    "in",
    "un",
    "non",
    "is",
    "was",
    "are",
    "be",
    "been",
    "not",
    "as",
    "to",
    "say",
    "saying",
    "called",
    "than",
    "or",
    "and",
    "nor",
    "neither",
    "only",
    "if",
    "the",
    "a",
    "an",
    "of",
    "that",
    "for",
    "with",
    "considered",
    "deemed",
    "partially",
];

/// A line with so few words is no reasoning but half a sentence, or an answer of its own.
const FEW_WORDS: usize = 4;

/// Whether a line is so short and such that it turns round whatever comes next.
pub(super) fn turns_the_next(line: &str) -> bool {
    words_in(line).nth(FEW_WORDS).is_none() && turns(line) && whole(line).is_none()
}

/// Whether a line ends its sentence, so that the next one begins another.
pub(super) fn closed(line: &str, blank_after: bool) -> bool {
    if line.starts_with('#') || whole(line).is_some() {
        return true;
    }
    let text = line.trim_end_matches(|c: char| is_quote(c) || matches!(c, '*' | '_' | ')' | ']' | '}') || super::is_space(c));
    if let Some((words, _)) = words_of(text) {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        if label(&words) == Some(words.len()) {
            return true;
        }
    }
    if text.ends_with(['.', '!', '?', '\u{3002}', '\u{ff01}', '\u{ff1f}', '\u{964}']) {
        return !text.ends_with("..");
    }
    let last = text.rsplit(|c: char| !c.is_alphanumeric() && !is_apostrophe(c)).next().unwrap_or_default();
    let last = plain(last);
    let broken_off = last.is_empty() && !text.ends_with('|');
    blank_after && !broken_off && !last.ends_with("n't") && !OPEN.contains(&last.as_str()) && !PARTLY.contains(&last.as_str())
}

/// A verdict by itself or said of the answer: `correct`, `the candidate's answer is not correct`.
fn statement(words: &[&str]) -> Option<Reading> {
    if let Some(reading) = verdict(words) {
        return Some(reading);
    }
    let (denied, words) = match words {
        ["no", rest @ ..] => (true, rest),
        ["so" | "therefore" | "thus" | "hence" | "overall", rest @ ..] => (false, rest),
        _ => (false, words),
    };
    let reading = match words {
        ["it" | "this" | "that", "is" | "was", rest @ ..] => verdict(rest)?,
        ["the" | "this" | "that" | "its", rest @ ..] => {
            let owners = rest.iter().take_while(|w| OWNERS.contains(w)).count();
            // `the candidate is`: the owner is the noun.
            let at = if rest.get(owners).is_some_and(|w| NOUNS.contains(w)) { owners + 1 } else { owners };
            let named = at > 0 && NOUNS.contains(&rest[at - 1]);
            match rest.get(at..)? {
                ["is" | "was", rest @ ..] if named => verdict(rest)?,
                _ => return None,
            }
        }
        _ => return None,
    };
    (!denied || reading != Reading::Correct).then_some(reading)
}

/// `correct` or `incorrect` with what may stand before it.
fn verdict(words: &[&str]) -> Option<Reading> {
    let (last, before) = words.split_last()?;
    let (negated, degrees) = match before {
        ["not", rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let fully = degrees.iter().all(|w| FULLY.contains(w));
    let partly = !fully && degrees.iter().all(|w| FULLY.contains(w) || PARTLY.contains(w));
    match (*last, negated) {
        ("correct", false) if fully => Some(Reading::Correct),
        ("correct", false) if partly => Some(Reading::Partial),
        ("correct", true) if fully || partly => Some(Reading::Incorrect),
        ("incorrect", false) if fully || partly => Some(Reading::Incorrect),
        _ => None,
    }
}

/// How many words at the start are a label: `my final verdict is`.
fn label(words: &[&str]) -> Option<usize> {
    let mut at = usize::from(matches!(words.first(), Some(&("my" | "the" | "our"))));
    at += usize::from(matches!(words.get(at), Some(&("final" | "overall"))));
    LABELS.contains(words.get(at)?).then_some(())?;
    Some(at + 1 + usize::from(matches!(words.get(at + 1), Some(&("is" | "was")))))
}

/// What stands in `<verdict>..</verdict>`.
fn tagged(line: &str) -> Option<&str> {
    let (tag, rest) = line.strip_prefix('<')?.split_once('>')?;
    LABELS.contains(&tag.to_ascii_lowercase().as_str()).then_some(())?;
    rest.strip_suffix('>')?.strip_suffix(tag)?.strip_suffix("</")
}

/// The words of a line in lower case, contractions taken apart, and whether a tick (true) or a cross stands beside them; `None` if
/// there is a character that is neither of a word nor known to change nothing.
fn words_of(line: &str) -> Option<(Vec<String>, Option<bool>)> {
    let line = line.strip_prefix('>').unwrap_or(line).trim_start();
    let line = line.trim_start_matches('#').trim_start();
    let chars: Vec<char> = line.chars().collect();
    let at = |i: usize| chars.get(i).copied();
    // A full stop with words after it is two sentences.
    let end_of_words = chars.iter().rposition(char::is_ascii_alphanumeric).unwrap_or(0);
    let (mut words, mut word, mut mark) = (Vec::new(), String::new(), None);
    let mut i = 0;
    while let Some(c) = at(i) {
        let (before, after) = (i.checked_sub(1).and_then(at), at(i + 1));
        let letter = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        } else if is_apostrophe(c) && letter(before) && letter(after) {
            word.push('\'');
        } else {
            push_word(&mut words, &mut word);
            let end = |c: Option<char>| c.is_none_or(|c| c.is_whitespace() || is_quote(c) || "*_)]}!.".contains(c));
            let known = match c {
                '*' | '_' | '(' | ')' | '[' | ']' | '{' | '}' | ':' | ',' | '$' | '=' => true,
                '.' => i > end_of_words && after != Some('.'),
                '!' => i > end_of_words && before.is_some_and(|c| !c.is_whitespace() && !"([{".contains(c)) && end(after),
                '-' | '\u{2013}' | '\u{2014}' => before.is_none_or(char::is_whitespace) && after.is_some_and(char::is_whitespace),
                '\\' => {
                    let command: String = chars[i + 1..].iter().take_while(|c| c.is_ascii_alphabetic()).collect();
                    i += command.len();
                    ["boxed", "text", "textbf", "mathbf", "mathrm", "fbox"].contains(&command.as_str())
                }
                '\u{2705}' | '\u{2714}' | '\u{2611}' => mark.replace(true) != Some(false),
                '\u{274c}' | '\u{2717}' | '\u{2718}' | '\u{2716}' => mark.replace(false) != Some(true),
                '\u{fe0f}' => true,
                c => c.is_whitespace() || is_quote(c),
            };
            if !known {
                return None;
            }
        }
        i += 1;
    }
    push_word(&mut words, &mut word);
    Some((words, mark))
}

fn push_word(words: &mut Vec<String>, word: &mut String) {
    let apart: &[&str] = match word.as_str() {
        "" => &[],
        "it's" => &["it", "is"],
        "that's" => &["that", "is"],
        "isn't" | "isnt" | "ain't" => &["is", "not"],
        "wasn't" => &["was", "not"],
        other => &[other],
    };
    words.extend(apart.iter().map(|w| w.to_string()));
    word.clear();
}

/// In lower case and with a plain apostrophe.
fn plain(word: &str) -> String {
    word.replace('\u{2019}', "'").to_lowercase()
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '\'' | '\u{2019}')
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}')
}
