//! What is taken and what is left out, with a count and an example for everything that is.

use std::collections::HashSet;
use std::fmt::Display;

use super::{Count, PrepareOptions};
use crate::{QaItem, seeded_sample};

/// Counts by task and reason, in the order in which they first came up.
#[derive(Default)]
pub(super) struct Counts(Vec<Count>);

impl Counts {
    /// Counts one more.
    pub(super) fn add(&mut self, task: &'static str, reason: impl Into<String>, example: impl Display) {
        self.add_many(task, reason, 1, example);
    }

    /// Counts so many more; nothing if there are none.
    pub(super) fn add_many(&mut self, task: &'static str, reason: impl Into<String>, count: usize, example: impl Display) {
        let reason = reason.into();
        match self.0.iter_mut().find(|known| known.task == task && known.reason == reason) {
            Some(known) => known.count += count,
            None if count == 0 => {}
            None => self.0.push(Count { task, reason, count, example: short(&example.to_string()) }),
        }
    }

    /// The counts by task, those of all tasks first.
    pub(super) fn into_vec(mut self) -> Vec<Count> {
        self.0.sort_by_key(|count| count.task);
        self.0
    }
}

/// At most about a line of it.
fn short(text: &str) -> String {
    let mut words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = words.char_indices().nth(60) {
        words.truncate(end);
        words.push_str("..");
    }
    words
}

/// Every n-th from the first on.
pub(super) struct Stride {
    every: usize,
    seen: usize,
    task: &'static str,
}

impl Stride {
    pub(super) fn new(every: usize, task: &'static str) -> Self {
        Self { every, seen: 0, task }
    }

    /// Whether the next one is taken; counts it if not.
    pub(super) fn takes(&mut self, dropped: &mut Counts, example: impl Display) -> bool {
        let takes = self.seen.is_multiple_of(self.every);
        self.seen += 1;
        if !takes {
            dropped.add(self.task, format!("not every {} (stride)", ordinal(self.every)), example);
        }
        takes
    }
}

fn ordinal(n: usize) -> String {
    let end = match (n % 10, n % 100) {
        (1, ten) if ten != 11 => "st",
        (2, ten) if ten != 12 => "nd",
        (3, ten) if ten != 13 => "rd",
        _ => "th",
    };
    format!("{n}{end}")
}

/// Passages of task 1: not blank, each once.
#[derive(Default)]
pub(super) struct Passages {
    list: Vec<String>,
    seen: HashSet<String>,
}

impl Passages {
    pub(super) fn add(&mut self, passage: String, blank: &str, dropped: &mut Counts, example: impl Display) {
        if passage.trim().is_empty() {
            dropped.add("task 1", blank, example);
        } else if self.seen.contains(&passage) {
            dropped.add("task 1", "same passage as before", example);
        } else {
            self.seen.insert(passage.clone());
            self.list.push(passage);
        }
    }

    pub(super) fn finish(self, options: &PrepareOptions, dropped: &mut Counts) -> Option<Vec<String>> {
        limited(self.list, "task 1", options, dropped)
    }
}

/// Adds an item of task 2 unless its references are too long; references without text become "None".
pub(super) fn add_qa(items: &mut Vec<QaItem>, mut item: QaItem, options: &PrepareOptions, dropped: &mut Counts, changed: &mut Counts) {
    let words: usize = item.references.iter().map(|text| text.split_whitespace().count()).sum();
    if words >= options.max_words {
        dropped.add("task 2", format!("references of {} words or more", options.max_words), &item.question);
        return;
    }
    if words == 0 {
        changed.add("task 2", "empty reference, written as \"None\"", &item.question);
        item.references = vec!["None".into()];
    }
    items.push(item);
}

/// A seeded sample of at most `limit`, in the order of the set; nothing if there is nothing.
pub(super) fn limited<T>(items: Vec<T>, task: &'static str, options: &PrepareOptions, dropped: &mut Counts) -> Option<Vec<T>> {
    let limit = options.limit.unwrap_or(usize::MAX);
    if items.is_empty() || items.len() <= limit {
        return (!items.is_empty()).then_some(items);
    }
    dropped.add_many(task, format!("over the limit of {limit}, not in the sample of seed {}", options.seed), items.len() - limit, "");
    Some(seeded_sample(items, limit, options.seed))
}
