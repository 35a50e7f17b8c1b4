//! The promises of the open-vocabulary generator, checked on thousands of passages.

use std::collections::{HashMap, HashSet};

use nextmem_data::{MAX_SENTENCES, OPEN_VERSION, OpenFact, OpenFacts, OpenSlot, OpenValue, Split, Wordings};

const SEED: u64 = 1128;
const SPLITS: [Split; 3] = [Split::Train, Split::Valid, Split::Test];
/// The three collections that an experiment has: for training, with new values, and with new wordings as well.
const USED: [(Split, Wordings); 3] = [(Split::Train, Wordings::Seen), (Split::Test, Wordings::Seen), (Split::Test, Wordings::Unseen)];

fn facts(split: Split, wordings: Wordings) -> OpenFacts {
    OpenFacts::new(SEED, split, wordings, 1..=MAX_SENTENCES)
}

fn many(split: Split, wordings: Wordings, count: u64) -> impl Iterator<Item = OpenFact> {
    let facts = facts(split, wordings);
    (0..count).map(move |index| facts.get(index))
}

fn used(count: u64) -> impl Iterator<Item = OpenFact> {
    USED.into_iter().flat_map(move |(split, wordings)| many(split, wordings, count))
}

/// `phrase` in `text` between word boundaries.
fn holds(text: &str, phrase: &str) -> bool {
    let inside = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).any(|(at, _)| !inside(text[..at].chars().next_back()) && !inside(text[at + phrase.len()..].chars().next()))
}

fn sentences(text: &str) -> usize {
    text.matches(". ").count() + 1
}

/// The parts of a value that belong to one split, in lower case; common words and units do not.
fn owned(value: &OpenValue) -> Vec<String> {
    let text = value.text.to_lowercase();
    let first = |mark: char| text.split(mark).next().unwrap_or_default().to_owned();
    match value.slot {
        OpenSlot::Word => Vec::new(),
        OpenSlot::Person => text.split(' ').map(str::to_owned).collect(),
        OpenSlot::Name | OpenSlot::Firm | OpenSlot::Amount => vec![first(' ')],
        OpenSlot::Email => text.split(['@', '.']).take(2).map(str::to_owned).collect(),
        _ => vec![text],
    }
}

#[test]
fn no_built_value_is_in_two_splits() {
    let mut split_of: HashMap<String, Split> = HashMap::new();
    for split in SPLITS {
        for fact in [Wordings::Seen, Wordings::Unseen].into_iter().flat_map(|wordings| many(split, wordings, 3000)) {
            for part in fact.values.iter().flat_map(owned) {
                assert!(part.len() >= 3, "{part}");
                let owner = *split_of.entry(part.clone()).or_insert(split);
                assert_eq!(owner, split, "{part} in {}", fact.text);
            }
        }
    }
    assert!(split_of.len() > 50_000, "{}", split_of.len());
}

/// What is left of a passage without its values is wording, so the values are all there is to share.
#[test]
fn values_are_all_that_is_built() {
    for fact in used(2000) {
        let mut values: Vec<&str> = fact.values.iter().map(|value| value.text.as_str()).collect();
        values.extend(fact.values.iter().filter(|value| value.slot == OpenSlot::Person).filter_map(|value| value.text.split(' ').next()));
        values.sort_by_key(|text| std::cmp::Reverse(text.len()));
        let rest = values.iter().fold(fact.text.clone(), |text, value| text.replace(value, "_"));
        assert!(!rest.contains(|sign: char| sign.is_ascii_digit() || sign == '@'), "{rest}");
        let capitals = rest.char_indices().filter(|(at, sign)| sign.is_uppercase() && *at > 0 && !rest[..*at].ends_with(". "));
        assert_eq!(capitals.count(), 0, "{rest}");
    }
}

#[test]
fn passages_depend_on_the_generator_and_the_index_only() {
    for (split, wordings) in USED {
        let forward: Vec<_> = many(split, wordings, 200).collect();
        let backward: Vec<_> = (0..200).rev().map(|index| facts(split, wordings).get(index)).collect();
        assert!(forward.iter().eq(backward.iter().rev()));
        let distinct: HashSet<_> = forward.iter().map(|fact| &fact.text).collect();
        assert_eq!(distinct.len(), forward.len());
    }
    let first = facts(Split::Train, Wordings::Seen).get(0).text;
    assert_ne!(first, OpenFacts::new(SEED + 1, Split::Train, Wordings::Seen, 1..=MAX_SENTENCES).get(0).text);
    assert_ne!(first, OpenFacts::new(SEED, Split::Train, Wordings::Seen, 1..=MAX_SENTENCES - 1).get(0).text);
    let _ = facts(Split::Train, Wordings::Seen).get(u64::MAX);
}

/// A changed passage must come with a new version: results and shipped weights name it.
#[test]
fn the_first_passages_are_pinned() {
    assert_eq!(OPEN_VERSION, 1);
    let texts = USED.map(|(split, wordings)| OpenFacts::new(SEED, split, wordings, 2..=3).get(0).text);
    assert_eq!(texts, PINNED);
}

#[test]
#[should_panic(expected = "got 0 to 3 sentences")]
fn no_sentences_are_refused() {
    let _ = OpenFacts::new(SEED, Split::Train, Wordings::Seen, 0..=3);
}

#[test]
fn passages_are_english_of_the_asked_length() {
    for count in 1..=MAX_SENTENCES {
        let mut means = Vec::new();
        for (split, wordings) in USED {
            let facts = OpenFacts::new(SEED, split, wordings, count..=count);
            let mut words = 0;
            for fact in (0..500).map(|index| facts.get(index)) {
                let text = &fact.text;
                assert_eq!(sentences(text), count, "{text}");
                words += text.split(' ').count();
                assert!(text.is_ascii() && text.ends_with('.') && !text.contains(['{', '}']), "{text}");
                assert!(!text.contains("  ") && !text.contains(" .") && !text.contains(",,") && !text.contains(" ,"), "{text}");
                let starts =
                    text.split(". ").all(|sentence| sentence.starts_with(|sign: char| sign.is_ascii_uppercase() || sign.is_ascii_digit()));
                assert!(starts, "{text}");
                let mut before = "";
                for word in text.split(' ') {
                    let vowel = word.starts_with(['a', 'e', 'i', 'o', 'u']);
                    assert!(!(before.eq_ignore_ascii_case("a") && vowel || before.eq_ignore_ascii_case("an") && !vowel), "{text}");
                    assert!(!word.eq_ignore_ascii_case(before), "{word} twice: {text}");
                    before = word;
                }
                assert!(holds(text, &fact.subject), "{fact:?}");
                assert!(fact.values.iter().all(|value| holds(text, &value.text)), "{fact:?}");
                let distinct: HashSet<&str> = fact.values.iter().map(|value| value.text.as_str()).collect();
                assert_eq!(distinct.len(), fact.values.len(), "{fact:?}");
            }
            means.push(words as f64 / 500.0);
        }
        println!("{count} sentences: {means:?} words");
        let expected = 8.2 * count as f64 + 2.0;
        assert!(means.iter().all(|mean| (mean - expected).abs() < 0.15 * expected), "{count}: {means:?}");
    }
}

#[test]
fn the_number_of_sentences_is_uniform() {
    let mut counts = [0; MAX_SENTENCES];
    many(Split::Train, Wordings::Seen, 8000).for_each(|fact| counts[sentences(&fact.text) - 1] += 1);
    assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
}

#[test]
fn bits_are_those_of_a_long_passage() {
    let mean = |split, count: usize| {
        let facts = OpenFacts::new(SEED, split, Wordings::Seen, count..=count);
        (0..1000).map(|index| facts.get(index).bits).sum::<f64>() / 1000.0
    };
    for count in [7, 8] {
        let (train, test) = (mean(Split::Train, count), mean(Split::Test, count));
        assert!(test > 150.0 && train > test, "{train} {test}");
    }
    assert!((40.0..80.0).contains(&mean(Split::Train, 1)));
}

/// Reads the bits of single sentences off their text, from the sizes of everything that is drawn.
#[test]
fn bits_of_single_sentences_add_up() {
    let facts = OpenFacts::new(SEED, Split::Train, Wordings::Seen, 1..=1);
    let fact = (0..).map(|index| facts.get(index)).find(|fact| fact.text.contains("kilograms")).expect("a shipment");
    let log = |choices: &[f64]| choices.iter().map(|choice| choice.log2()).sum::<f64>();
    // Five sorts, six kinds, five wordings, eight nouns, 24 goods; a number and a code on a side of six eighths.
    let fixed = log(&[5.0, 6.0, 5.0, 8.0, 24.0, 900.0, 0.75, 0.75]);
    let code = log(&[6.0])
        + fact
            .subject
            .bytes()
            .map(|sign| {
                log(&[if sign == b'-' {
                    1.0
                } else if sign.is_ascii_digit() {
                    10.0
                } else {
                    24.0
                }])
            })
            .sum::<f64>();
    assert!((fact.bits - fixed - code).abs() < 1e-6, "{} bits: {}", fact.bits, fact.text);
}

#[test]
fn questions_cover_the_values_and_do_not_answer_themselves() {
    for fact in used(3000) {
        assert_eq!(fact.questions.len(), fact.values.len());
        let asked: HashSet<&str> = fact.questions.iter().map(|question| question.answer.as_str()).collect();
        assert!(fact.values.iter().all(|value| asked.contains(value.text.as_str())), "{fact:?}");
        for question in &fact.questions {
            let text = &question.question;
            assert!(holds(&fact.text, &question.answer), "{question:?}");
            assert!(text.ends_with('?') && !text.contains(['{', '}']) && !text.contains("  "), "{text}");
            assert!(!holds(text, &question.answer), "gives itself away: {question:?}");
            // It names something unique: a subject, or another value.
            assert!(fact.values.iter().any(|value| holds(text, &value.text)), "{question:?}");
        }
        let distinct: HashSet<&str> = fact.questions.iter().map(|question| question.question.as_str()).collect();
        assert_eq!(distinct.len(), fact.questions.len(), "{fact:?}");
    }
}

#[test]
fn most_answers_have_a_rival_of_their_kind() {
    let facts = OpenFacts::new(SEED, Split::Test, Wordings::Seen, 4..=8);
    let (mut rivals, mut all) = (0, 0);
    for fact in (0..2000).map(|index| facts.get(index)) {
        for value in fact.values.iter().filter(|value| value.slot != OpenSlot::Word) {
            all += 1;
            rivals += usize::from(fact.values.iter().any(|other| other.slot == value.slot && other.text != value.text));
        }
    }
    println!("{rivals} of {all}");
    assert!(rivals * 100 > all * 60, "{rivals} of {all}");
}

/// A text with its values masked, in sentences.
fn masked(fact: &OpenFact) -> Vec<String> {
    let mut values: Vec<&str> = fact.values.iter().map(|value| value.text.as_str()).collect();
    values.sort_by_key(|text| std::cmp::Reverse(text.len()));
    let text = values.iter().fold(format!(" {}", fact.text), |text, value| text.replace(&format!(" {value}"), " _"));
    text.trim().split(". ").map(|sentence| sentence.trim_end_matches('.').to_owned()).collect()
}

#[test]
fn unseen_wordings_questions_and_queries_are_unseen() {
    // Single sentences, so that the subject is a masked value or a noun of the passage.
    let all = |wordings| {
        let facts = OpenFacts::new(SEED, Split::Train, wordings, 1..=1);
        (0..20_000).map(move |index| facts.get(index))
    };
    let seen: HashSet<String> = all(Wordings::Seen).flat_map(|fact| masked(&fact)).collect();
    assert!(all(Wordings::Unseen).take(5000).all(|fact| masked(&fact).iter().all(|sentence| !seen.contains(sentence))));

    let starts = |texts: &[String]| texts.iter().map(|text| text.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    let seen: HashSet<String> = all(Wordings::Seen).flat_map(|fact| starts(&fact.queries)).collect();
    assert!(all(Wordings::Unseen).take(5000).all(|fact| starts(&fact.queries).iter().all(|start| !seen.contains(start))));

    let asks = |fact: OpenFact| {
        let text: Vec<String> = fact.questions.iter().map(|question| question.question.clone()).collect();
        masked(&OpenFact { text: text.join(". "), ..fact })
    };
    let seen: HashSet<String> = all(Wordings::Seen).flat_map(asks).collect();
    assert!(all(Wordings::Unseen).take(5000).flat_map(asks).all(|ask| !seen.contains(&ask)));
}

const PINNED: [&str; 3] = [
    "Holpel Rulporjor must pay a miner 601 rupees by 16 February 1996. The Kadukor briefing is in the cellar at 07:51.",
    "The bathroom has housed the turbine 6721-KA since 19 August 2064. It runs at 00:12 unless there is dust.",
    "The port of Tigate was first settled by Norjenta Liello, a baker. The village of Zuport was first settled by Thaturo Gordrador, a librarian.",
];
