//! What a passage is about and which words of the closed vocabulary it has, before any value is built.

use super::Wordings;
use super::kinds::{Kind, Nouns, SORTS, Sort};
use super::values::Counted;

/// The outline of a passage; it is drawn first, so that a search can look at it alone.
pub struct Outline {
    /// One part for each subject, in the order of the passage.
    pub parts: Vec<Part>,
}

/// What is said of one subject.
pub struct Part {
    pub sort: &'static Sort,
    /// The noun of the subject; none for people.
    pub noun: &'static str,
    /// The paraphrase of the noun, if it is of the closed vocabulary.
    pub paraphrase: Option<&'static str>,
    /// The kinds of the sentences, each with its closed word and its paraphrase.
    pub sentences: Vec<(&'static Kind, (&'static str, &'static str))>,
}

impl Outline {
    /// Draws the outline of a passage of `least` to `most` sentences.
    pub fn new(least: usize, most: usize, wordings: Wordings, draw: &mut Counted) -> Self {
        let count = least + draw.below(most - least + 1);
        let mut outline = Self { parts: Vec::with_capacity(2) };
        for (sort, kinds) in plan(count, wordings, draw) {
            let (noun, paraphrase) = match sort.nouns {
                Nouns::Person => ("", None),
                Nouns::Told(words) => {
                    let (noun, paraphrase) = draw.until(|draw| draw.of(words), |(noun, _)| outline.words().all(|word| word != *noun));
                    (noun, Some(paraphrase))
                }
                Nouns::Coded(nouns) | Nouns::Named(nouns) | Nouns::Of(nouns) => (draw.of(nouns), None),
            };
            let mut part = Part { sort, noun, paraphrase, sentences: Vec::with_capacity(kinds.len()) };
            for index in kinds {
                let kind = &sort.kinds[index];
                let is_new = |word: &str| outline.words().chain(part.words()).all(|other| other != word);
                let word = draw.until(|draw| draw.of(kind.words), |(word, _)| is_new(word));
                part.sentences.push((kind, word));
            }
            outline.parts.push(part);
        }
        outline
    }

    /// The words of the closed vocabulary that have a paraphrase.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.parts.iter().flat_map(Part::words)
    }

    /// The kinds of its sentences.
    pub fn kinds(&self) -> impl Iterator<Item = &'static Kind> {
        self.parts.iter().flat_map(|part| part.sentences.iter().map(|(kind, _)| *kind))
    }
}

impl Part {
    fn words(&self) -> impl Iterator<Item = &'static str> {
        let noun = self.paraphrase.map(|_| self.noun);
        self.sentences.iter().map(|(_, (word, _))| *word).chain(noun)
    }
}

/// What the sentences of a passage are about: for each subject its sort and the kinds of its sentences.
fn plan(count: usize, wordings: Wordings, draw: &mut Counted) -> Vec<(&'static Sort, Vec<usize>)> {
    let mut sorts: Vec<&'static Sort> = SORTS.iter().collect();
    let two = count > 1 && draw.below(3) > 0;
    if !two {
        sorts.retain(|sort| sort.most() >= count);
    }
    let first = draw.of(&sorts);
    let mut parts = vec![(first, count)];
    if two {
        // Half of the second subjects are of the same sort, so that what is said of one could be of the other.
        let second = if draw.below(2) == 0 { first } else { draw.of(&sorts) };
        let least = count.saturating_sub(second.most()).max(1);
        let most = first.most().min(count - 1);
        let told = least + draw.below(most - least + 1);
        parts = vec![(first, told), (second, count - told)];
    }
    let mut last = None;
    let mut plan: Vec<(&'static Sort, Vec<usize>)> = Vec::with_capacity(2);
    for (sort, told) in parts {
        let mut kinds: Vec<usize> = Vec::with_capacity(told);
        for _ in 0..told {
            let unused = || (0..sort.kinds.len()).filter(|index| !kinds.contains(index));
            let mut next: Vec<usize> = unused().filter(|index| last.is_none_or(|last| wordings.allow(last, *index))).collect();
            if next.is_empty() {
                next = unused().collect();
            }
            // What is said of one subject is often said of another of its sort, with other values.
            let same = |index: &usize| plan.iter().any(|(other, kinds)| std::ptr::eq(*other, sort) && kinds.contains(index));
            if next.iter().any(same) && draw.below(4) > 0 {
                next.retain(same);
            }
            let index = draw.of(&next);
            kinds.push(index);
            last = Some(index);
        }
        plan.push((sort, kinds));
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;
    use crate::facts::Split;

    /// The neighbours of an outline, each as its index within its sort.
    fn neighbours(outline: &Outline) -> Vec<(usize, usize)> {
        let index = |kind: &Kind| SORTS.iter().find_map(|sort| sort.kinds.iter().position(|other| std::ptr::eq(other, kind)));
        let kinds: Vec<usize> = outline.kinds().filter_map(index).collect();
        kinds.windows(2).map(|pair| (pair[0], pair[1])).collect()
    }

    #[test]
    fn unseen_passages_have_neighbours_that_seen_ones_have_not() {
        let mut draw = Counted::new(Draw::seeded(&[b"outlines"]), Split::Test);
        let (mut unseen, mut all) = (0, 0);
        for _ in 0..20_000 {
            let seen = Outline::new(1, 8, Wordings::Seen, &mut draw);
            assert!(neighbours(&seen).iter().all(|(one, other)| Wordings::Seen.allow(*one, *other)));
            let other = neighbours(&Outline::new(2, 8, Wordings::Unseen, &mut draw));
            let count = other.iter().filter(|(one, other)| Wordings::Unseen.allow(*one, *other)).count();
            assert!(count > 0, "{other:?}");
            unseen += count;
            all += other.len();
        }
        assert!(unseen * 2 > all, "{unseen} of {all}");
    }
}
