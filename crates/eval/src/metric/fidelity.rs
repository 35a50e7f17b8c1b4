//! Whether the numbers, dates and names of a text survive: what a reader of a memory needs most and word F1 hides.
//!
//! Each is F1 = 2pr / (p + r) of two bags of items found in the texts by the rules below, which know English and Latin
//! dates. Nothing is judged by meaning: "twelve" is no number, "yesterday" no date. Where neither text has an item the score
//! is 1 by convention and [`applies`](super::TextMetric::applies) is false; where only one has, 0.

mod dates;
mod numbers;

use super::{TextMetric, bag_overlap, f_measure};

/// F1 of the two bags of numerals, those in dates and words included.
///
/// A numeral is a run of digits of one of the common scripts, with a thousands comma before every three digits, one decimal
/// point, and a minus sign that follows no letter or digit. Equal are equal values: 12,500.0 and 12500; 007 and 7. "20th", "v2"
/// and "B12" have 20, 2 and 12; "2019-2020" has 2019 and 2020; "192.168.0.1" has four.
pub struct NumberF1;

/// F1 of the two bags of dates, each brought into one form, so that "May 3, 2021" and "2021-05-03" are equal.
///
/// - 2021-05-03, 2021/5/3, 2021.5.3
/// - 5/3/2021, 5-3-2021 with the month first, 3.5.2021 with the day first, each the other way round where only that fits
/// - May 3, 2021; May 3rd; 3 May 2021; the 3rd of May, 2021; May 2021; months with a capital or between day and year, or short
///   as in "Sept."
/// - 1874 alone, from 1100 to 2099, where no sign, unit or letter touches it; 1990s
///
/// A date with a part missing equals only one with the same part missing. Times and weekdays are no dates.
pub struct DateF1;

/// F1 of the two bags of words that start with a capital, in lower case and without 's, but for 100-odd function words.
///
/// "New South Wales" counts as three, so that a half-kept name counts half. A noun that starts a sentence counts as a name too.
/// A script without capitals has none.
pub struct NameF1;

impl TextMetric for NumberF1 {
    fn name(&self) -> &'static str {
        "number_f1"
    }

    fn version(&self) -> &str {
        "1 (bag F1 of numerals; 1 where neither text has any)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        bag_f1(&numbers::numbers(prediction), &numbers::numbers(reference))
    }

    fn applies(&self, prediction: &str, reference: &str) -> bool {
        [prediction, reference].iter().any(|text| !numbers::numbers(text).is_empty())
    }
}

impl TextMetric for DateF1 {
    fn name(&self) -> &'static str {
        "date_f1"
    }

    fn version(&self) -> &str {
        "1 (bag F1 of dates in one form; 1 where neither text has any)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        bag_f1(&dates::dates(prediction), &dates::dates(reference))
    }

    fn applies(&self, prediction: &str, reference: &str) -> bool {
        [prediction, reference].iter().any(|text| !dates::dates(text).is_empty())
    }
}

impl TextMetric for NameF1 {
    fn name(&self) -> &'static str {
        "name_f1"
    }

    fn version(&self) -> &str {
        "1 (bag F1 of capitalised words without function words; 1 where neither text has any)"
    }

    fn score(&self, prediction: &str, reference: &str) -> f64 {
        bag_f1(&names(prediction), &names(reference))
    }

    fn applies(&self, prediction: &str, reference: &str) -> bool {
        [prediction, reference].iter().any(|text| !names(text).is_empty())
    }
}

fn bag_f1(prediction: &[String], reference: &[String]) -> f64 {
    if prediction.is_empty() && reference.is_empty() {
        return 1.0;
    }
    f_measure(bag_overlap(prediction, reference), prediction.len(), reference.len())
}

/// Words that a sentence may start with and that name nothing.
const FUNCTION_WORDS: &str = "\
    a about according after all also although an and another any are as at because been before being both but by can could \
    despite did do does during each every few first for from had has have he her here hers him his how however i if in \
    into is it its many may me might more most much must my no not of on one only or other our over please several shall \
    she should since so some such than that the their them then there these they this those though through to under until \
    upon us was we were what when where whether which while who whom whose why will with within without would yes yet you \
    your";

/// The capitalised words of a text, in lower case; a word is letters, digits, combining accents and apostrophes within it.
fn names(text: &str) -> Vec<String> {
    let apostrophe = |c: char| matches!(c, '\'' | '\u{2019}');
    let in_word = |c: char| c.is_alphanumeric() || apostrophe(c) || ('\u{300}'..='\u{36f}').contains(&c);
    let words = text.split(|c| !in_word(c)).map(|word| word.trim_matches(apostrophe));
    let capital = words.filter(|word| word.starts_with(char::is_uppercase));
    let name = |word: &str| {
        let word = word.to_lowercase().replace('\u{2019}', "'");
        let word = word.strip_suffix("'s").unwrap_or(&word);
        let short = ["'m", "'re", "'ve", "'d", "'ll"].iter().find_map(|end| word.strip_suffix(end));
        let named = !word.ends_with("n't") && !FUNCTION_WORDS.split(' ').any(|function| function == short.unwrap_or(word));
        named.then(|| word.to_string())
    };
    capital.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capitalised_words_are_names() {
        assert_eq!(names("The ship left New South Wales in May."), ["new", "south", "wales"]);
        assert_eq!(
            names("I'm sure. Don't. It's Mila's, O'Brien's or NATO\u{2019}s Andre\u{301}"),
            ["mila", "o'brien", "nato", "andre\u{301}"]
        );
        assert_eq!(names("\u{c9}mile (Jean-Pierre's) 'Quoted'"), ["\u{e9}mile", "jean", "pierre", "quoted"]);
        assert!(names("no names at all, \u{6771}\u{4eac}").is_empty());
        assert!(FUNCTION_WORDS.split(' ').is_sorted());
    }

    #[test]
    fn a_swapped_fact_shows() {
        let reference = "Mila Kovac moved to Porto on 3 May 2021 with 12,500 euros.";
        let same = "With 12500 euros Mila Kovac moved to Porto (2021-05-03).";
        let other = "Mila Kovac moved to Lisbon on 4 May 2021 with 12,600 euros.";
        assert_eq!(DateF1.score(same, reference), 1.0);
        assert_eq!(NameF1.score(same, reference), 1.0);
        assert_eq!(DateF1.score(other, reference), 0.0);
        assert!((NameF1.score(other, reference) - 2.0 / 3.0).abs() < 1e-12);
        // 2021 of {4, 2021, 12600} and {3, 2021, 12500}.
        assert!((NumberF1.score(other, reference) - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_to_compare_is_one_and_says_so() {
        let metrics: [&dyn TextMetric; 3] = [&NumberF1, &DateF1, &NameF1];
        for metric in metrics {
            assert_eq!((metric.score("no", ""), metric.applies("no", "")), (1.0, false), "{}", metric.name());
            assert_eq!((metric.score("", "Oslo 1874"), metric.applies("", "Oslo 1874")), (0.0, true), "{}", metric.name());
            assert_eq!((metric.score("Oslo 1874", ""), metric.applies("Oslo 1874", "")), (0.0, true), "{}", metric.name());
        }
    }
}
