//! The promises of the facts generator, checked on thousands of passages.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use nextmem_data::{Fact, Facts, Slot, Split, Value, passages, qa_items, retrieval_items};

const SEED: u64 = 1128;
const SPLITS: [Split; 3] = [Split::Train, Split::Valid, Split::Test];

fn many(split: Split, count: u64) -> impl Iterator<Item = Fact> {
    let facts = Facts::new(SEED, split);
    (0..count).map(move |index| facts.get(index))
}

/// A value without what is wording: home and destination are one list, a unit is no value.
fn key(value: &Value) -> (Slot, String) {
    match value.slot {
        Slot::Destination => (Slot::Town, value.text.clone()),
        Slot::Amount => {
            let number = value.text.split(' ').next().unwrap_or_default();
            (Slot::Amount, number.to_owned())
        }
        slot => (slot, value.text.clone()),
    }
}

/// `phrase` in `text` between word boundaries.
fn holds(text: &str, phrase: &str) -> bool {
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).any(|(at, _)| !inside(text[..at].chars().next_back()) && !inside(text[at + phrase.len()..].chars().next()))
}

#[test]
fn no_pair_of_values_is_in_two_splits() {
    let mut split_of: HashMap<_, Split> = HashMap::new();
    let mut counts = [0usize; 3];
    for split in SPLITS {
        for fact in many(split, 3000) {
            let mut keys: Vec<_> = fact.values.iter().map(key).collect();
            keys.sort();
            for (index, one) in keys.iter().enumerate() {
                for other in &keys[index + 1..] {
                    let owner = *split_of.entry((one.clone(), other.clone())).or_insert_with(|| {
                        counts[split as usize] += 1;
                        split
                    });
                    assert_eq!(owner, split, "{one:?} with {other:?}");
                }
            }
        }
    }
    assert!(counts.iter().all(|&count| count > 10_000), "{counts:?}");
}

#[test]
fn all_single_values_are_in_train() {
    let mut seen: BTreeMap<Slot, BTreeSet<String>> = BTreeMap::new();
    for fact in many(Split::Train, 20_000) {
        for value in fact.values {
            let text = if value.slot == Slot::Amount { key(&value).1 } else { value.text };
            seen.entry(value.slot).or_default().insert(text);
        }
    }
    let sizes: Vec<_> = seen.iter().map(|(slot, texts)| (*slot, texts.len())).collect();
    assert_eq!(
        sizes,
        [
            (Slot::First, 128),
            (Slot::Last, 160),
            (Slot::Job, 64),
            (Slot::Town, 96),
            (Slot::Destination, 96),
            (Slot::Date, 12 * 28),
            (Slot::Amount, 96),
            (Slot::Plan, 96),
            (Slot::Object, 96),
        ]
    );
}

#[test]
fn passages_depend_on_seed_split_and_index_only() {
    for split in SPLITS {
        let facts = Facts::new(SEED, split);
        let forward: Vec<_> = (0..300).map(|index| facts.get(index)).collect();
        let backward: Vec<_> = (0..300).rev().map(|index| Facts::new(SEED, split).get(index)).collect();
        assert!(forward.iter().eq(backward.iter().rev()));
        let distinct: HashSet<_> = forward.iter().map(|fact| &fact.text).collect();
        assert_eq!(distinct.len(), forward.len());
    }
    let train = Facts::new(SEED, Split::Train);
    assert_ne!(train.get(0).text, Facts::new(SEED, Split::Test).get(0).text);
    assert_ne!(train.get(0).text, Facts::new(SEED + 1, Split::Train).get(0).text);
    let _ = train.get(u64::MAX);
}

/// A changed passage must come with a new `VERSION`: results and shipped weights name it.
#[test]
fn the_first_passages_are_pinned() {
    assert_eq!(nextmem_data::VERSION, 1);
    let texts = SPLITS.map(|split| Facts::new(SEED, split).get(0).text);
    assert_eq!(texts, PINNED);
}

#[test]
fn passages_are_short_and_say_what_they_claim() {
    let mut words = Vec::new();
    for fact in SPLITS.into_iter().flat_map(|split| many(split, 10_000)) {
        let text = &fact.text;
        words.push(text.split_whitespace().count());
        let sentences = text.matches('.').count();
        assert!((2..=4).contains(&sentences), "{text}");
        assert!(text.is_ascii() && text.ends_with('.'), "{text}");
        assert!((4..=7).contains(&fact.values.len()), "{text}");
        assert!(fact.values.iter().all(|value| holds(text, &value.text)), "{text}");
        assert_eq!(text.matches(&fact.person).count(), 1, "{text}");
        let slots: HashSet<_> = fact.values.iter().map(|value| value.slot).collect();
        assert_eq!(slots.len(), fact.values.len());
    }
    words.sort_unstable();
    assert!(words[0] >= 12 && words[words.len() - 1] <= 30, "{:?}", (words[0], words.last()));
    let mean = words.iter().sum::<usize>() as f64 / words.len() as f64;
    assert!((18.0..=22.0).contains(&mean), "{mean}");
    println!("words: {} to {}, mean {mean:.2}", words[0], words[words.len() - 1]);
}

#[test]
fn questions_cover_the_values_and_queries_identify_the_passage() {
    for fact in SPLITS.into_iter().flat_map(|split| many(split, 5_000)) {
        let asked: BTreeSet<_> = fact.questions.iter().map(|q| q.answer.as_str()).collect();
        for value in &fact.values[2..] {
            assert!(asked.contains(value.text.as_str()), "{fact:?}");
        }
        assert_eq!(fact.questions.len(), fact.values.len() - 1);
        for question in &fact.questions {
            let text = &question.question;
            assert!(holds(&fact.text, &question.answer), "{question:?}");
            assert!(text.ends_with('?') && !text.contains(['{', '}']), "{text}");
            assert!(!holds(text, &question.answer), "gives itself away: {question:?}");
            assert!(text.contains(&fact.person) || question.answer == fact.person, "{text}");
        }
        assert!((1..=2).contains(&fact.queries.len()));
        for query in &fact.queries {
            assert!(query.contains(&fact.person) && !query.contains('{'), "{query}");
            let shared = fact.values[2..].iter().filter(|value| holds(query, &value.text));
            assert!(shared.count() >= 1, "{query}");
        }
    }
}

#[test]
fn collections_are_aligned_with_the_passages() {
    for split in SPLITS {
        let texts = passages(SEED, split, 200);
        assert_eq!(texts[7], Facts::new(SEED, split).get(7).text);
        let items = qa_items(SEED, split, 200);
        assert_eq!(items.len(), 200);
        for (text, item) in texts.iter().zip(&items) {
            assert_eq!(item.references, std::slice::from_ref(text));
            assert!(text.contains(&item.answer));
        }
        assert_eq!(items[..50], qa_items(SEED, split, 50));
    }
}

#[test]
fn retrieval_items_have_golds_and_near_misses() {
    for (split, candidates) in SPLITS.into_iter().zip([20, 5, 20]) {
        let items = retrieval_items(SEED, split, 200, candidates).expect("a valid number");
        let texts = passages(SEED, split, 200);
        let mut positions = HashSet::new();
        let mut several = 0;
        for (index, item) in items.iter().enumerate() {
            assert_eq!(item.references.len(), candidates);
            let distinct: HashSet<_> = item.references.iter().collect();
            assert_eq!(distinct.len(), candidates);
            assert!(item.hit_list.is_sorted() && !item.hit_list.is_empty());
            assert!(item.hit_list.len() < candidates);
            assert!(item.hit_list.iter().any(|&hit| item.references[hit] == texts[index]));
            positions.insert(item.hit_list[0]);
            several += usize::from(item.hit_list.len() > 1);

            let gold = Facts::new(SEED, split).get(index as u64);
            let near = item.references.iter().enumerate().filter(|(position, text)| {
                let shares = gold.values[2..].iter().any(|value| holds(text, &value.text));
                !item.hit_list.contains(position) && shares
            });
            assert!(near.count() >= 2, "{item:?}");
            if item.hit_list.len() == 1 {
                assert!(item.question.contains(&gold.person), "{item:?}");
            }
        }
        assert_eq!(several, 50);
        assert!(positions.len() + 4 >= candidates, "{positions:?}");
        assert_eq!(items[..9], retrieval_items(SEED, split, 9, candidates).expect("a valid number"));
    }
    assert!(retrieval_items(SEED, Split::Test, 1, 4).is_err());
    assert_eq!(retrieval_items(SEED, Split::Test, 1, 500).expect("a valid number")[0].references.len(), 500);
}

const PINNED: [&str; 3] = [
    "Maria Joshi lost a big mirror on 7 December. She is a printer and lives in Riga.",
    "Yvonne Sato travels to Seattle on 6 July. In Durban she has a job as a farmer.",
    "Next year Mila Kovac hopes to close the account. For some years she has been an optician. She moved to Porto last year.",
];
