//! Record collections made of open-vocabulary passages.

use std::collections::HashSet;

use super::OpenFacts;
use super::asking::{Content, Query};
use super::kinds::Kind;
use super::outline::Outline;
use super::telling::Draft;
use crate::DataError;
use crate::draw::Draw;
use crate::record::{QaItem, RetrievalItem};

/// Fewest candidates of a retrieval item.
const MIN_CANDIDATES: usize = 5;

/// Most candidates of a retrieval item.
const MAX_CANDIDATES: usize = 500;

/// Every third candidate shares something with the passage that is looked for.
const NEAR_EVERY: usize = 3;

/// Draws spent on looking for a near miss; after that a nearer one will do without.
const PATIENCE: usize = 20_000;

impl OpenFacts {
    /// Returns the passages of indices 0 to `count`.
    pub fn passages(&self, count: usize) -> Vec<String> {
        (0..count as u64).map(|index| self.draft(index).text).collect()
    }

    /// Returns one question about each of the passages of indices 0 to `count`.
    ///
    /// Item `i` has passage `i` of [`Self::passages`] as its only reference.
    pub fn qa_items(&self, count: usize) -> Vec<QaItem> {
        (0..count as u64)
            .map(|index| {
                let draft = self.draft(index);
                let mut draw = self.draw(b"questions", index);
                let mut questions = draft.questions(&mut draw);
                let asked = questions.swap_remove(draw.below(questions.len()));
                QaItem { question: asked.question, answer: asked.answer, references: vec![draft.text] }
            })
            .collect()
    }

    /// Returns `count` retrieval items, each with `candidates` passages about distinct subjects.
    ///
    /// Item `i` looks for passage `i` of [`Self::passages`] with its first query, which shares no content
    /// word with any candidate. No other candidate has all the things that the query paraphrases; a third of
    /// them have one of these, each thing in turn (where the query has but one thing, a third have the same
    /// kind of sentence).
    ///
    /// # Errors
    /// [`DataError::Candidates`] unless `candidates` is 5 to 500.
    pub fn retrieval_items(&self, count: usize, candidates: usize) -> Result<Vec<RetrievalItem>, DataError> {
        if !(MIN_CANDIDATES..=MAX_CANDIDATES).contains(&candidates) {
            return Err(DataError::Candidates { got: candidates, min: MIN_CANDIDATES, max: MAX_CANDIDATES });
        }
        Ok((0..count as u64).map(|index| self.retrieval_item(index, candidates)).collect())
    }

    /// Returns the retrieval item of an index; see [`Self::retrieval_items`], which checks the number of candidates.
    pub fn retrieval_item(&self, index: u64, candidates: usize) -> RetrievalItem {
        let (outline, draw) = self.outline(index);
        let kinds: Vec<&Kind> = outline.kinds().collect();
        let gold = Draft::new(outline, self.wordings, draw);
        let query = gold.queries(&mut self.draw(b"queries", index)).swap_remove(0);
        let mut search = Search { facts: self, draw: self.draw(b"retrieval", index), query: &query, subjects: HashSet::new() };
        search.subjects.insert(gold.subject().to_owned());
        let mut pool: Vec<(bool, String)> = Vec::with_capacity(candidates);
        for number in 0..candidates / NEAR_EVERY {
            let near = |outline: &Outline| match query.words.as_slice() {
                [_] => outline.kinds().any(|kind| kinds.iter().any(|other| std::ptr::eq(kind, *other))),
                words => outline.words().any(|word| word == words[number % words.len()]),
            };
            pool.extend(search.find(near).map(|text| (false, text)));
        }
        while pool.len() + 1 < candidates
            && let Some(stranger) = search.find(|_| true)
        {
            pool.push((false, stranger));
        }
        pool.push((true, gold.text));
        search.draw.shuffle(&mut pool);
        RetrievalItem {
            question: query.text,
            hit_list: pool.iter().enumerate().filter(|(_, (hit, _))| *hit).map(|(position, _)| position).collect(),
            references: pool.into_iter().map(|(_, text)| text).collect(),
        }
    }
}

/// The search for the candidates of one item.
struct Search<'a> {
    facts: &'a OpenFacts,
    draw: Draw,
    query: &'a Query,
    subjects: HashSet<String>,
}

impl Search<'_> {
    /// A passage about a new subject that `fits` and does not answer the query, or none when patience runs out.
    fn find(&mut self, fits: impl Fn(&Outline) -> bool) -> Option<String> {
        for _ in 0..PATIENCE {
            // 2^40 passages: their indices never repeat in practice.
            let (outline, draw) = self.facts.outline(self.draw.below(1 << 40) as u64);
            let answers = self.query.words.iter().all(|word| outline.words().any(|other| other == *word));
            if answers || !fits(&outline) {
                continue;
            }
            let draft = Draft::new(outline, self.facts.wordings, draw);
            // The passage that is looked for shares no word with the query; if others did, that would tell.
            let shares = Content::of(&draft.text).shares_word(&self.query.text);
            if !shares && self.subjects.insert(draft.subject().to_owned()) {
                return Some(draft.text);
            }
        }
        None
    }
}
