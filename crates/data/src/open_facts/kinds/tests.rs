use std::collections::{HashMap, HashSet};

use super::super::asking::Content;
use super::super::lexicon::{DEVICES, Words};
use super::*;

fn kinds() -> impl Iterator<Item = &'static Kind> {
    SORTS.iter().flat_map(|sort| sort.kinds)
}

fn is_person(sort: &Sort) -> bool {
    matches!(sort.nouns, Nouns::Person)
}

#[test]
fn wordings_have_one_subject_and_every_value() {
    for sort in &SORTS {
        for kind in sort.kinds {
            let subjects = if is_person(sort) { &["{S}", "{s}", "{o}", "{P}", "{p}"][..] } else { &["{S}", "{s}", "{o}"] };
            for wording in kind.seen.iter().chain(&kind.unseen) {
                let named: usize = subjects.iter().map(|subject| wording.matches(subject).count()).sum();
                assert_eq!(named, 1, "{wording}");
                let word = ["{1}", "{a1}", "{A1}"].iter().map(|word| wording.matches(word).count()).sum::<usize>();
                assert_eq!(word, 1, "{wording}");
                for number in 0..kind.built.len() {
                    assert_eq!(wording.matches(&format!("{{{}}}", number + 2)).count(), 1, "{wording}");
                }
                assert!(wording.ends_with('.') && wording.matches('.').count() == 1, "{wording}");
                assert!(
                    !wording.starts_with(['a', 'e', 'i', 'o', 'u']) && !wording.starts_with("{1}") && !wording.starts_with("{s}"),
                    "{wording}"
                );
                assert!(is_person(sort) || !wording.contains("{r}"), "{wording}");
            }
            let asks = kind.built.iter().map(|(_, asks)| asks).chain([&kind.word_asks, &kind.who]);
            for ask in asks.flatten() {
                assert!(ask.ends_with('?') && ask.contains('{'), "{ask}");
            }
            for ask in &kind.who {
                assert!(!ask.contains("{name}"), "{ask}");
            }
            assert!(kind.hint.contains("{q}"), "{}", kind.hint);
        }
    }
}

#[test]
fn questions_do_not_hold_their_answer() {
    for kind in kinds() {
        assert!(kind.word_asks.iter().all(|ask| !ask.contains("1}")), "{:?}", kind.word_asks);
        for (number, (_, asks)) in kind.built.iter().enumerate() {
            let own = format!("{{{}}}", number + 2);
            assert!(asks.iter().all(|ask| !ask.contains(&own)), "{asks:?}");
        }
    }
}

#[test]
fn no_wording_is_twice_and_unseen_ones_differ() {
    let mut texts: Vec<&str> = kinds().flat_map(|kind| kind.seen.iter().chain(&kind.unseen)).copied().collect();
    let count = texts.len();
    texts.sort_unstable();
    texts.dedup();
    // Kinds of different sorts may have a wording in common, as long as it is on the same side.
    println!("{count} wordings, {} distinct", texts.len());
    let seen: HashSet<&str> = kinds().flat_map(|kind| kind.seen).collect();
    assert!(kinds().flat_map(|kind| kind.unseen).all(|wording| !seen.contains(wording)));

    let all = |kind: &'static Kind| kind.built.iter().map(|(_, asks)| asks).chain([&kind.word_asks, &kind.who]);
    let seen: HashSet<&str> = kinds().flat_map(all).flat_map(|asks| &asks[..2]).copied().collect();
    assert!(kinds().flat_map(all).all(|asks| !seen.contains(asks[2]) && asks[0] != asks[1]));
}

#[test]
fn sorts_have_enough_kinds_for_every_plan() {
    assert!(kinds().count() >= 24);
    for sort in &SORTS {
        let count = sort.kinds.len();
        assert_eq!(count % 3, 0);
        for index in 0..count {
            let apart = (0..count).filter(|other| *other != index && Wordings::Unseen.allow(index, *other)).count();
            assert!(apart >= 1 && count - sort.most() <= count / 3);
        }
    }
    let most: Vec<usize> = SORTS.iter().map(Sort::most).collect();
    assert_eq!(most, [8, 4, 4, 4, 4]);
}

#[test]
fn closed_words_are_distinct_and_paraphrased_in_other_words() {
    let mut lists: Vec<Words> = kinds().map(|kind| kind.words).chain([DEVICES]).collect();
    lists.sort_unstable();
    lists.dedup();
    assert!(lists.iter().all(|words| words.len() >= 24));
    let mut nouns: HashMap<&str, usize> = HashMap::new();
    for (word, paraphrase) in lists.iter().flat_map(|words| words.iter()) {
        *nouns.entry(word).or_default() += 1;
        assert!(word.is_ascii() && paraphrase.is_ascii());
        assert!(!Content::of(word).shares_word(paraphrase), "{word}: {paraphrase}");
    }
    for sort in &SORTS {
        if let Nouns::Coded(list) | Nouns::Named(list) | Nouns::Of(list) = sort.nouns {
            list.iter().for_each(|noun| *nouns.entry(noun).or_default() += 1);
        }
    }
    let twice: Vec<_> = nouns.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn hints_share_no_word_with_the_sentence_they_are_about() {
    let mut shared = Vec::new();
    for kind in kinds() {
        for wording in kind.seen.iter().chain(&kind.unseen) {
            for (word, paraphrase) in kind.words {
                let (said, hint) = (wording.replace("1}", &format!("}} {word}")), kind.hint.replace("{q}", paraphrase));
                if Content::of(&said).shares_word(&hint) {
                    shared.push(format!("{said} | {hint}"));
                }
            }
        }
    }
    assert!(shared.is_empty(), "{shared:#?}");
}
