//! Numerals in running text.

/// Zeros of the scripts whose digits count, each followed by 1 to 9: Arabic, Persian, Devanagari, Bengali, Thai, full-width.
const ZEROS: [u32; 6] = [0x660, 0x6f0, 0x966, 0x9e6, 0xe50, 0xff10];

/// The ASCII digit for a digit of another script; other characters as they are.
pub(super) fn ascii_digit(c: char) -> char {
    let value = |zero: &u32| (c as u32).checked_sub(*zero).filter(|value| *value < 10);
    ZEROS.iter().find_map(value).and_then(|value| char::from_digit(value, 10)).unwrap_or(c)
}

/// Every numeral, without thousands commas, leading zeros and zeros that end a fraction.
pub(super) fn numbers(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().map(ascii_digit).collect();
    // Before the text and after it stand spaces.
    let at = |i: usize, step: isize| i.checked_add_signed(step).and_then(|i| chars.get(i)).copied().unwrap_or(' ');
    let digits = |from: usize| chars[from.min(chars.len())..].iter().take_while(|c| c.is_ascii_digit()).count();
    let mut found = Vec::new();
    let mut i = 0;
    while i < chars.len() {
        let length = digits(i);
        if length == 0 {
            i += 1;
            continue;
        }
        let start = i;
        let mut whole: String = chars[i..i + length].iter().collect();
        i += length;
        // "12,500" and not "1,2", "1,2345" or "1234,567".
        while length <= 3 && at(i, 0) == ',' && digits(i + 1) == 3 {
            whole.extend(&chars[i + 1..i + 4]);
            i += 4;
        }
        let mut fraction = String::new();
        let mut sign_at = start;
        let chained = at(start, -1) == '.' && at(start, -2).is_ascii_digit();
        let decimals = if at(i, 0) == '.' { digits(i + 1) } else { 0 };
        if decimals > 0 && !chained && !(at(i + 1 + decimals, 0) == '.' && digits(i + 2 + decimals) > 0) {
            fraction.extend(&chars[i + 1..=i + decimals]);
            i += 1 + decimals;
        } else if at(start, -1) == '.' && !at(start, -2).is_alphanumeric() && at(start, -2) != '.' {
            // ".5"
            (fraction, whole) = (whole, String::new());
            sign_at -= 1;
        }
        let minus = matches!(at(sign_at, -1), '-' | '\u{2212}')
            && (at(sign_at, -2).is_whitespace() || "($\u{20ac}\u{a3}=:<>".contains(at(sign_at, -2)));
        found.push(normal(minus, &whole, &fraction));
    }
    found
}

fn normal(minus: bool, whole: &str, fraction: &str) -> String {
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let sign = if minus && !(whole.is_empty() && fraction.is_empty()) { "-" } else { "" };
    let whole = if whole.is_empty() { "0" } else { whole };
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        assert_eq!(numbers(text), expected, "{text:?}");
    }

    #[test]
    fn values_not_spellings() {
        check("12,500 12500 12,500.00 0012500", &["12500"; 4]);
        check("$3,000.50, 3.0 and 3.", &["3000.5", "3", "3"]);
        check("-7 (-7) \u{2212}7 $-7 x-7 5-7", &["-7", "-7", "-7", "-7", "7", "5", "7"]);
        check(".5 -.5 0.5 end.5 -0 0.0", &["0.5", "-0.5", "0.5", "5", "0", "0"]);
        check("\u{ff11}\u{ff12} \u{663}\u{664}", &["12", "34"]);
    }

    #[test]
    fn every_numeral_counts() {
        check("20th v2 B12 5km 1e5 007", &["20", "2", "12", "5", "1", "5", "7"]);
        check("2019-2020, 2021-05-03", &["2019", "2020", "2021", "5", "3"]);
        check("192.168.0.1 4.5.2019", &["192", "168", "0", "1", "4", "5", "2019"]);
        check("1,2,3 1,2345 1234,567 1,234,567", &["1", "2", "3", "1", "2345", "1234", "567", "1234567"]);
        check("", &[]);
        check("none, twelve .", &[]);
    }
}
