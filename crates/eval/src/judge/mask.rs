//! Secrets in other people's words: what a server says is shown and kept without the key it was sent.

use std::collections::HashSet;

/// A run of a secret that long is masked wherever it stands, for servers that print part of it.
const RUN: usize = 8;
/// A secret shorter than that is no secret.
const SHORTEST: usize = 4;
const MASK: &str = "[key]";

/// What must not be shown.
#[derive(Default)]
pub(super) struct Secrets {
    /// Every window of [`RUN`] bytes of the long ones.
    windows: HashSet<[u8; RUN]>,
    /// The short ones, masked as whole words: in the middle of a word they are letters.
    short: Vec<String>,
}

impl Secrets {
    pub(super) fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut all = Self::default();
        for secret in secrets {
            if secret.len() < RUN {
                // A judge needs these letters for its verdict.
                if secret.len() >= SHORTEST && !"incorrect".contains(&secret.to_ascii_lowercase()) {
                    all.short.push(secret);
                }
                continue;
            }
            let windows = secret.as_bytes().windows(RUN).filter_map(|w| <[u8; RUN]>::try_from(w).ok());
            all.windows.extend(windows.filter(|w| !b"incorrect".windows(RUN).any(|word| w.eq_ignore_ascii_case(word))));
        }
        all
    }

    /// The text without them.
    pub(super) fn hide(&self, text: &str) -> String {
        let mut out = self.runs(text);
        for secret in &self.short {
            out = whole_words(&out, secret);
        }
        out
    }

    /// As [`Self::hide`], in one line that no terminal obeys.
    pub(super) fn shown(&self, text: &str) -> String {
        let hidden = self.hide(text);
        let mut out = String::with_capacity(hidden.len());
        for c in hidden.chars() {
            match c {
                '\n' | '\r' | '\t' => out.push(' '),
                c if c.is_control() => out.extend(c.escape_default()),
                c => out.push(c),
            }
        }
        out
    }

    fn runs(&self, text: &str) -> String {
        let bytes = text.as_bytes();
        if self.windows.is_empty() || bytes.len() < RUN {
            return text.to_string();
        }
        let hit = |i: usize| bytes.get(i..i + RUN).is_some_and(|w| <[u8; RUN]>::try_from(w).is_ok_and(|w| self.windows.contains(&w)));
        let (mut out, mut kept, mut i) = (String::new(), 0, 0);
        while i < bytes.len() {
            if !hit(i) {
                i += 1;
                continue;
            }
            let start = i;
            while hit(i + 1) {
                i += 1;
            }
            i += RUN;
            // Header values are ASCII, so that a run begins and ends between characters; if not, the characters go as a whole.
            let start = (0..=start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            let end = (i..=bytes.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(bytes.len());
            out.push_str(&text[kept..start.max(kept)]);
            out.push_str(MASK);
            (kept, i) = (end, end);
        }
        out + &text[kept..]
    }
}

/// Replaces a word where no letter, digit or joining sign stands beside it.
fn whole_words(text: &str, word: &str) -> String {
    let joins = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '\'' | '\u{2019}');
    let (mut out, mut rest, mut before) = (String::new(), text, None);
    while let Some(at) = rest.find(word) {
        let (head, tail) = (&rest[..at], &rest[at + word.len()..]);
        let left = head.chars().next_back().or(if head.is_empty() { before } else { None });
        let alone = left.is_none_or(|c| !joins(c)) && tail.chars().next().is_none_or(|c| !joins(c));
        out.push_str(head);
        out.push_str(if alone { MASK } else { word });
        before = word.chars().next_back();
        rest = tail;
    }
    out + rest
}

/// Whether a header or a parameter of that name holds a secret.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["key", "token", "secret", "auth", "password", "cookie", "sig"].iter().any(|word| name.contains(word))
}

/// The password of an address, and the values of its secret parameters.
pub(super) fn secrets_of_url(url: &str) -> Vec<String> {
    let mut secrets: Vec<String> =
        userinfo(url).and_then(|(at, end)| Some(url[at..end].split_once(':')?.1.to_string())).into_iter().collect();
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    secrets.extend(pairs.filter(|(name, _)| names_a_secret(name)).map(|(_, value)| value.to_string()));
    secrets
}

/// An address without credentials.
pub(super) fn shown_url(url: &str) -> String {
    let without = match userinfo(url) {
        Some((at, end)) => format!("{}{}", &url[..at], &url[end + 1..]),
        None => url.to_string(),
    };
    let Some((path, query)) = without.split_once('?') else { return without };
    let shown = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if names_a_secret(name) => format!("{name}={MASK}"),
        _ => pair.to_string(),
    };
    format!("{path}?{}", query.split('&').map(shown).collect::<Vec<_>>().join("&"))
}

/// Where `user:password` of an address begins and ends.
fn userinfo(url: &str) -> Option<(usize, usize)> {
    let start = url.find("://")? + 3;
    let authority = url[start..].find(['/', '?', '#']).map_or(url.len(), |end| start + end);
    Some((start, start + url[start..authority].rfind('@')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hide(secret: &str, text: &str) -> String {
        Secrets::new([secret.to_string()]).hide(text)
    }

    #[test]
    fn a_key_and_every_long_part_of_it() {
        let key = "sk-SECRET-abcdefghijklmnopqrstuvwxyz-012345";
        for (said, shown) in [
            (format!("wrong key {key}."), "wrong key [key]."),
            ("Bearer sk-SECRET-abcdefghijklm".into(), "Bearer [key]"),
            ("sk-SECRET-abc...012345****".into(), "[key]...012345****"),
            ("...stuvwxyz-012345 twice stuvwxyz-012345".into(), "...[key] twice [key]"),
            // Seven characters of it are a coincidence.
            ("abcdefg and SECRET".into(), "abcdefg and SECRET"),
            (format!("\u{e9}{key}\u{e9}"), "\u{e9}[key]\u{e9}"),
            (format!("{key}{key}"), "[key]"),
            (String::new(), ""),
        ] {
            let hidden = hide(key, &said);
            assert!(hidden == shown || hidden == shown.replace("[key]", "[key][key]"), "{said}: {hidden}");
        }
    }

    #[test]
    fn a_short_key_does_not_eat_words() {
        assert_eq!(hide("abc12", "abc12 is refused; xabc12, abc123 and abc12-d stay, (abc12) not"), {
            "[key] is refused; xabc12, abc123 and abc12-d stay, ([key]) not"
        });
        assert_eq!(hide("e", "The e in CORRECT"), "The e in CORRECT");
        assert_eq!(hide("is", "It is right"), "It is right");
        // The verdict itself is never masked.
        for key in ["CORRECT", "correct", "incorrect", "my-incorrect-key"] {
            assert_eq!(hide(key, "INCORRECT, incorrect, CORRECT"), "INCORRECT, incorrect, CORRECT", "{key}");
        }
        assert_eq!(hide("aaaa", "aaaa aaaaaaaa aaaa"), "[key] aaaaaaaa [key]");
    }

    #[test]
    fn addresses_without_credentials() {
        for (url, shown) in [
            ("http://user:secret@h:1/v1", "http://h:1/v1"),
            ("http://user:p@ss@h/v1", "http://h/v1"),
            ("https://h/v1?api-version=1&api_key=abc", "https://h/v1?api-version=1&api_key=[key]"),
            ("http://h/a@b", "http://h/a@b"),
            ("no address", "no address"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
        assert_eq!(secrets_of_url("http://u:pw@h/v1?x=1&key=k"), ["pw", "k"]);
        let calm = Secrets::default().shown("a\u{1b}[31m\nb");
        assert_eq!(calm, "a\\u{1b}[31m b");
    }
}
