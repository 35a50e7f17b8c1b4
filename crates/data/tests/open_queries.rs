//! The retrieval queries and the collections of the open-vocabulary generator.

use std::collections::HashSet;

use nextmem_data::{DataError, MAX_SENTENCES, OpenFacts, OpenSlot, Split, Wordings};

const SEED: u64 = 1128;
const USED: [(Split, Wordings); 3] = [(Split::Train, Wordings::Seen), (Split::Test, Wordings::Seen), (Split::Test, Wordings::Unseen)];

/// Words of more than three letters that carry no content.
const STOP: [&str; 16] = [
    "with", "that", "from", "into", "over", "about", "after", "before", "between", "above", "below", "without", "under", "until", "what",
    "same",
];

fn content(text: &str) -> HashSet<String> {
    let words = text.split(|sign: char| !sign.is_ascii_alphanumeric()).map(str::to_lowercase);
    words.filter(|word| word.len() > 3 && !STOP.contains(&word.as_str())).collect()
}

/// `phrase` in `text` between word boundaries.
fn holds(text: &str, phrase: &str) -> bool {
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).any(|(at, _)| !inside(text[..at].chars().next_back()) && !inside(text[at + phrase.len()..].chars().next()))
}

#[test]
fn queries_share_no_content_word_with_their_passage() {
    let mut lengths = [0; 3];
    for (split, wordings) in USED {
        let facts = OpenFacts::new(SEED, split, wordings, 1..=MAX_SENTENCES);
        for fact in (0..3000).map(|index| facts.get(index)) {
            assert_eq!(fact.queries.len(), 2);
            assert_ne!(fact.queries[0], fact.queries[1]);
            let words = content(&fact.text);
            for query in &fact.queries {
                assert!(query.ends_with(['?', '.']) && !query.contains(['{', '}']) && !query.contains("  "), "{query}");
                let shared: Vec<_> = content(query).into_iter().filter(|word| words.contains(word)).collect();
                assert!(shared.is_empty(), "{shared:?}: {query} | {}", fact.text);
                for value in &fact.values {
                    assert!(!holds(query, &value.text), "{} in {query}", value.text);
                }
                lengths[query.matches([',']).count() + query.matches(" and ").count()] += 1;
            }
        }
    }
    // Two or three things nearly everywhere but in single sentences.
    println!("{lengths:?}");
    assert!(lengths[0] < lengths[1] && lengths[0] < lengths[2] * 2, "{lengths:?}");
}

#[test]
fn collections_are_aligned_with_the_passages() {
    for (split, wordings) in USED {
        let facts = OpenFacts::new(SEED, split, wordings, 1..=MAX_SENTENCES);
        let texts = facts.passages(200);
        assert_eq!(texts[7], facts.get(7).text);
        let items = facts.qa_items(200);
        for (index, (text, item)) in texts.iter().zip(&items).enumerate() {
            assert_eq!(item.references, std::slice::from_ref(text));
            assert!(text.contains(&item.answer));
            let questions = facts.get(index as u64).questions;
            assert!(questions.iter().any(|question| question.question == item.question && question.answer == item.answer));
        }
        assert_eq!(items[..50], facts.qa_items(50));
    }
}

#[test]
fn retrieval_items_have_one_gold_passage_at_any_position() {
    for (range, candidates) in [(1..=1, 20), (1..=MAX_SENTENCES, 20), (2..=4, 5)] {
        for (split, wordings) in USED {
            let facts = OpenFacts::new(SEED, split, wordings, range.clone());
            let items = facts.retrieval_items(60, candidates).expect("a valid number");
            let texts = facts.passages(60);
            let mut positions = HashSet::new();
            for (index, item) in items.iter().enumerate() {
                assert_eq!(item.references.len(), candidates);
                assert_eq!(item.references.iter().collect::<HashSet<_>>().len(), candidates);
                assert_eq!(item.hit_list.len(), 1);
                assert_eq!(item.references[item.hit_list[0]], texts[index]);
                assert_eq!(item.question, facts.get(index as u64).queries[0]);
                let asked = content(&item.question);
                assert!(item.references.iter().all(|text| content(text).is_disjoint(&asked)), "{item:?}");
                positions.insert(item.hit_list[0]);
            }
            assert!(positions.len() > candidates / 2, "{positions:?}");
            assert_eq!(items[..5], facts.retrieval_items(5, candidates).expect("a valid number"));
        }
    }
    let facts = OpenFacts::new(SEED, Split::Test, Wordings::Seen, 1..=3);
    assert!(matches!(facts.retrieval_items(1, 4), Err(DataError::Candidates { got: 4, .. })));
}

#[test]
fn near_misses_share_a_closed_word_with_the_gold_passage() {
    let facts = OpenFacts::new(SEED, Split::Test, Wordings::Seen, 2..=MAX_SENTENCES);
    let items = facts.retrieval_items(100, 20).expect("a valid number");
    let mut near = 0;
    for (index, item) in items.iter().enumerate() {
        let gold = facts.get(index as u64);
        let words: Vec<_> =
            gold.values.iter().filter(|value| value.slot == OpenSlot::Word).map(|value| format!(" {}", value.text)).collect();
        let misses = item.references.iter().enumerate().filter(|(position, _)| *position != item.hit_list[0]);
        near += misses.filter(|(_, text)| words.iter().any(|word| text.contains(word))).count();
    }
    // Six of nineteen are looked for; the rest share one by chance.
    assert!(near >= 6 * 95, "{near}");
}
