//! Record collections made of generated passages.

use std::collections::HashSet;

use super::{Fact, Facts, Slot, Split, with_article};
use crate::DataError;
use crate::draw::Draw;
use crate::record::{QaItem, RetrievalItem};

/// Fewest candidates of a retrieval item: two gold passages, two relatives, one stranger.
const MIN_CANDIDATES: usize = 5;

/// Most candidates of a retrieval item, far below the number of people of a split.
const MAX_CANDIDATES: usize = 500;

/// Distractors that share a value with the gold passage.
const RELATIVES: usize = 2;

/// Every fourth retrieval item has more than one gold passage.
const SHARED_EVERY: u64 = 4;

/// Draws spent on looking for a relative; the chance of none is below 1e-9 for every slot used.
const PATIENCE: usize = 20_000;

/// Returns the passages of indices 0 to `count`.
pub fn passages(seed: u64, split: Split, count: usize) -> Vec<String> {
    let facts = Facts::new(seed, split);
    (0..count as u64).map(|index| facts.get(index).text).collect()
}

/// Returns one question about each of the passages of indices 0 to `count`.
///
/// Item `i` has passage `i` of [`passages`] as its only reference.
pub fn qa_items(seed: u64, split: Split, count: usize) -> Vec<QaItem> {
    let facts = Facts::new(seed, split);
    (0..count as u64)
        .map(|index| {
            let Fact { text, mut questions, .. } = facts.get(index);
            let chosen = Draw::new(seed, split, b"question", index).below(questions.len());
            let asked = questions.swap_remove(chosen);
            QaItem { question: asked.question, answer: asked.answer, references: vec![text] }
        })
        .collect()
}

/// Returns `count` retrieval items, each with `candidates` passages of distinct people.
///
/// Item `i` asks for passage `i` of [`passages`], with one of its retrieval queries; every fourth
/// item asks for a value instead ("Who lives in Oslo?") and has at least two gold passages. At least
/// two distractors share a value with the passage of the question. `hit_list` is ascending, at random positions.
///
/// # Errors
/// [`DataError::Candidates`] unless `candidates` is 5 to 500.
pub fn retrieval_items(seed: u64, split: Split, count: usize, candidates: usize) -> Result<Vec<RetrievalItem>, DataError> {
    if !(MIN_CANDIDATES..=MAX_CANDIDATES).contains(&candidates) {
        return Err(DataError::Candidates { got: candidates, min: MIN_CANDIDATES, max: MAX_CANDIDATES });
    }
    let facts = Facts::new(seed, split);
    let items = (0..count as u64).map(|index| {
        let draw = Draw::new(seed, split, b"retrieval", index);
        let gold = facts.get(index);
        Search { facts, draw, people: HashSet::new() }.item(index, gold, candidates)
    });
    Ok(items.collect())
}

/// The making of one retrieval item.
struct Search {
    facts: Facts,
    draw: Draw,
    people: HashSet<String>,
}

impl Search {
    fn item(mut self, index: u64, gold: Fact, candidates: usize) -> RetrievalItem {
        self.people.insert(gold.person.clone());
        let query = self.draw.below(gold.queries.len());
        let mut question = gold.queries[query].clone();
        let mut pool = Vec::with_capacity(candidates);
        let mut shared = None;
        if index % SHARED_EVERY == SHARED_EVERY - 1 {
            shared = general_question(&gold);
        }
        if let Some((slot, asked)) = &shared {
            question = asked.clone();
            pool.extend(self.find(|fact| value(fact, *slot) == value(&gold, *slot)));
        }
        let is_gold = |fact: &Fact| match &shared {
            Some((slot, _)) => value(fact, *slot) == value(&gold, *slot),
            None => fact.person == gold.person,
        };
        for _ in 0..RELATIVES {
            pool.extend(self.find(|fact| related(fact, &gold) && !is_gold(fact)));
        }
        while pool.len() + 1 < candidates
            && let Some(stranger) = self.find(|_| true)
        {
            pool.push(stranger);
        }
        pool.push(gold.clone());
        self.draw.shuffle(&mut pool);
        let hits = pool.iter().enumerate().filter(|(_, fact)| is_gold(fact));
        RetrievalItem {
            question,
            hit_list: hits.map(|(position, _)| position).collect(),
            references: pool.iter().map(|fact| fact.text.clone()).collect(),
        }
    }

    /// A passage of a new person that `fits`, or none when patience runs out.
    fn find(&mut self, fits: impl Fn(&Fact) -> bool) -> Option<Fact> {
        for _ in 0..PATIENCE {
            // 2^40 passages: their indices never repeat in practice, people do.
            let fact = self.facts.get(self.draw.below(1 << 40) as u64);
            if !self.people.contains(&fact.person) && fits(&fact) {
                self.people.insert(fact.person.clone());
                return Some(fact);
            }
        }
        None
    }
}

/// The value of a slot, if the passage has it.
fn value(fact: &Fact, slot: Slot) -> Option<&str> {
    let found = fact.values.iter().find(|value| value.slot == slot);
    found.map(|value| value.text.as_str())
}

/// Whether two passages share a value other than a name.
fn related(one: &Fact, other: &Fact) -> bool {
    one.values.iter().any(|value| !matches!(value.slot, Slot::First | Slot::Last) && other.values.contains(value))
}

/// A question that every passage with the same job or home town answers.
fn general_question(fact: &Fact) -> Option<(Slot, String)> {
    if let Some(town) = value(fact, Slot::Town) {
        return Some((Slot::Town, format!("Who lives in {town}?")));
    }
    let job = value(fact, Slot::Job)?;
    Some((Slot::Job, format!("Who works as {}?", with_article(job))))
}
