//! Dates in running text.

use super::numbers::ascii_digit;

const MONTHS: [&str; 12] =
    ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
/// Years that a number alone may be.
const LONE_YEARS: std::ops::RangeInclusive<u32> = 1100..=2099;
/// Years beside a month or a day.
const YEARS: std::ops::RangeInclusive<u32> = 1000..=2999;

/// Every date from left to right as year-month-day, `year-month`, `--month-day`, year, or decade (`1990s`).
pub(super) fn dates(text: &str) -> Vec<String> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        let date =
            numeric(&tokens, i).or_else(|| day_first(&tokens, i)).or_else(|| month_first(&tokens, i)).or_else(|| lone_year(&tokens, i));
        match date {
            Some((date, length)) => {
                found.push(date);
                i += length;
            }
            None => i += 1,
        }
    }
    found
}

/// A run of digits, a run of letters or one other character.
struct Token {
    text: String,
    /// Whether nothing stands between it and the token before.
    glued: bool,
}

impl Token {
    fn is_number(&self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_digit())
    }

    fn is_letters(&self) -> bool {
        self.text.starts_with(char::is_alphabetic)
    }

    /// Its value as a number of at most `digits` digits in a range.
    fn number(&self, digits: std::ops::RangeInclusive<usize>, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let fits = self.is_number() && digits.contains(&self.text.len());
        self.text.parse().ok().filter(|value| fits && range.contains(value))
    }

    fn day(&self) -> Option<u32> {
        self.number(1..=2, 1..=31)
    }

    fn year(&self) -> Option<u32> {
        self.number(4..=4, YEARS)
    }

    /// The month, and whether the word can be nothing else: it starts with a capital.
    fn month(&self) -> Option<(u32, bool)> {
        let lower = self.text.to_lowercase();
        let lower = if lower == "sept" { "sep" } else { lower.as_str() };
        let fits = |name: &str| name == lower || lower.len() == 3 && name.starts_with(lower);
        let month = (1..).zip(MONTHS).find(|(_, name)| fits(name))?.0;
        Some((month, self.text.starts_with(char::is_uppercase)))
    }
}

fn tokens(text: &str) -> Vec<Token> {
    let kind = |c: char| (c.is_ascii_digit(), c.is_alphabetic());
    let mut tokens: Vec<Token> = Vec::new();
    let mut before = ' ';
    for c in text.chars().map(ascii_digit) {
        match tokens.last_mut() {
            _ if c.is_whitespace() => {}
            Some(last) if kind(c) == kind(before) && kind(c) != (false, false) => last.text.push(c),
            _ => tokens.push(Token { text: c.to_string(), glued: !before.is_whitespace() }),
        }
        before = c;
    }
    tokens
}

fn is(token: Option<&Token>, text: &str) -> bool {
    token.is_some_and(|token| token.text == text)
}

/// Whether a sign and a number follow without a space: then the token before is part of something longer.
fn goes_on(tokens: &[Token], i: usize, signs: &[&str]) -> bool {
    tokens.get(i).is_some_and(|sign| sign.glued && signs.contains(&sign.text.as_str()))
        && tokens.get(i + 1).is_some_and(|next| next.glued && next.is_number())
}

/// 2021-05-03, 5/3/2021, 3.5.2021
fn numeric(tokens: &[Token], i: usize) -> Option<(String, usize)> {
    let [a, sign, b, again, c] = tokens.get(i..i + 5)? else { return None };
    let one_sign = ["-", "/", "."].contains(&sign.text.as_str()) && sign.text == again.text;
    let inside = i >= 2 && a.glued && tokens[i - 1].text == sign.text && tokens[i - 1].glued && tokens[i - 2].is_number();
    if !one_sign || inside || ![sign, b, again, c].iter().all(|token| token.glued) || goes_on(tokens, i + 5, &[sign.text.as_str()]) {
        return None;
    }
    let part = |token: &Token| token.number(1..=2, 1..=31);
    let (year, month, day) = match (a.year(), c.year()) {
        (Some(year), None) => (year, part(b)?, part(c)?),
        (None, Some(year)) => {
            let (first, second) = (part(a)?, part(b)?);
            // A point is written where the day comes first; the other order where the month would not be one.
            let month_first = if sign.text == "." { second > 12 } else { first <= 12 };
            if month_first { (year, first, second) } else { (year, second, first) }
        }
        _ => return None,
    };
    (month <= 12).then(|| (format!("{year:04}-{month:02}-{day:02}"), 5))
}

/// 3 May 2021, 3rd of May, 2021, 3 May
fn day_first(tokens: &[Token], i: usize) -> Option<(String, usize)> {
    // "v3 May", "1.3 May"
    let touched = i > 0 && tokens[i].glued && (tokens[i - 1].is_letters() || [".", ","].contains(&tokens[i - 1].text.as_str()));
    let day = tokens[i].day().filter(|_| !touched)?;
    let mut at = i + 1;
    at += usize::from(is_ordinal(tokens.get(at)));
    at += usize::from(is(tokens.get(at), "of"));
    let (month, capital) = tokens.get(at)?.month()?;
    at += 1;
    at += usize::from(is(tokens.get(at), ".") && tokens.get(at + 1).is_some_and(|next| next.year().is_some()));
    match year_at(tokens, at) {
        Some((year, length)) => Some((format!("{year:04}-{month:02}-{day:02}"), at + length - i)),
        None if capital => Some((format!("--{month:02}-{day:02}"), at - i)),
        None => None,
    }
}

/// May 3, 2021, May 3rd, May 2021
fn month_first(tokens: &[Token], i: usize) -> Option<(String, usize)> {
    let (month, capital) = tokens[i].month()?;
    let mut at = i + 1;
    at += usize::from(is(tokens.get(at), "."));
    if let Some((year, length)) = year_at(tokens, at) {
        return capital.then(|| (format!("{year:04}-{month:02}"), at + length - i));
    }
    let day = tokens.get(at)?.day()?;
    // "May 3.5", "May 10:30"
    if goes_on(tokens, at + 1, &[".", ":", "/", ","]) {
        return None;
    }
    at += 1;
    at += usize::from(is_ordinal(tokens.get(at)));
    match year_at(tokens, at) {
        Some((year, length)) => Some((format!("{year:04}-{month:02}-{day:02}"), at + length - i)),
        None => capital.then(|| (format!("--{month:02}-{day:02}"), at - i)),
    }
}

/// A year with or without a comma before it, and the tokens it takes.
fn year_at(tokens: &[Token], at: usize) -> Option<(u32, usize)> {
    let comma = usize::from(is(tokens.get(at), ","));
    let token = tokens.get(at + comma)?;
    let alone = !goes_on(tokens, at + comma + 1, &[".", ","]);
    token.year().filter(|_| alone && !(token.glued && comma == 1)).map(|year| (year, comma + 1))
}

/// st, nd, rd or th right after a number.
fn is_ordinal(token: Option<&Token>) -> bool {
    token.is_some_and(|token| token.glued && ["st", "nd", "rd", "th"].contains(&token.text.to_lowercase().as_str()))
}

/// 1874, 1990s
fn lone_year(tokens: &[Token], i: usize) -> Option<(String, usize)> {
    let year = tokens[i].number(4..=4, LONE_YEARS)?;
    if i > 0 && tokens[i].glued {
        let before = &tokens[i - 1];
        // "mid-1990s" and "1998-2004" are fine, "555-1234" is not.
        let number = i > 1 && before.glued && tokens[i - 2].is_number() && tokens[i - 2].year().is_none();
        let sign = ["$", "\u{20ac}", "\u{a3}", "\u{a5}", "#", "+", "_", "@"].contains(&before.text.as_str());
        if before.is_letters() || sign || number {
            return None;
        }
    }
    let next = tokens.get(i + 1).filter(|next| next.glued);
    match next {
        Some(next) if next.text == "s" => return Some((format!("{year}s"), 2)),
        Some(next) if next.is_letters() || ["%", "_", "$", "\u{20ac}"].contains(&next.text.as_str()) => return None,
        _ if goes_on(tokens, i + 1, &[".", ","]) => return None,
        _ => {}
    }
    Some((year.to_string(), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(dates(text), expected, "{text:?}");
    }

    #[test]
    fn one_form_for_a_full_date() {
        let forms = ["2021-05-03", "2021/5/3", "5/3/2021", "5-3-2021", "3.5.2021", "2021-05-03T10:00", "(2021/05/03)"];
        forms.iter().for_each(|text| check(text, &["2021-05-03"]));
        let forms = ["May 3, 2021", "May 3rd, 2021", "3 May 2021", "3rd of May, 2021", "MAY 3 2021", "3 may 2021", "on May 3 2021."];
        forms.iter().for_each(|text| check(text, &["2021-05-03"]));
        check("25/3/2021 and 3/25/2021", &["2021-03-25", "2021-03-25"]);
        check("Sept. 5, 1998; 5 Sep. 1998; Sep 5 1998", &["1998-09-05"; 3]);
        check("\u{ff12}\u{ff10}\u{ff12}\u{ff11}-05-03", &["2021-05-03"]);
    }

    #[test]
    fn parts_of_dates() {
        check("in May 2021, on May 3 and 4 June", &["2021-05", "--05-03", "--06-04"]);
        check("built in 1874, from 1998-2004 and the mid-1990s", &["1874", "1998", "2004", "1990s"]);
        check("May 3-5, 2021", &["--05-03", "2021"]);
    }

    #[test]
    fn what_is_no_date() {
        check("they may 3 times march 5 miles", &[]);
        check("$2000, 2000%, 1,874, 1874.5, 555-1234, x1990, 1990x, 3000, 999", &[]);
        check("version 1.2.2019.4, 13.13.2021, 2021-13-03 at 10:30", &["2021"]);
        check("May I? May. March on", &[]);
        check("", &[]);
    }
}
