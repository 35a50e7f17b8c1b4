//! How each set becomes records; the decisions are listed in the documentation of the module above.

use std::collections::HashSet;
use std::path::Path;

use super::select::{Counts, Passages, Stride, add_qa, limited};
use super::{DatasetName, Evidence, Level, PrepareOptions, Prepared};
use crate::dataset::drawn;
use crate::hotpotqa::{HotpotItem, each_hotpotqa};
use crate::locomo::{ADVERSARIAL, LocomoConversation, LocomoQuestion, load_locomo};
use crate::longmemeval::{LongMemItem, each_longmemeval};
use crate::race::load_race;
use crate::rows::files_of;
use crate::squad::load_squad_files;
use crate::{DataError, QaItem, RetrievalItem, Split};

/// The categories of LoCoMo's questions that are used (summaries of the paper).
const LOCOMO_CATEGORIES: [u8; 2] = [1, ADVERSARIAL];

/// What is collected while records go by.
struct Work<'a> {
    options: &'a PrepareOptions,
    passages: Passages,
    qa: Vec<QaItem>,
    retrieval: Vec<RetrievalItem>,
    qa_stride: Stride,
    retrieval_stride: Stride,
    dropped: Counts,
    changed: Counts,
}

impl<'a> Work<'a> {
    fn new(set: DatasetName, options: &'a PrepareOptions) -> Self {
        Self {
            options,
            passages: Passages::default(),
            qa: Vec::new(),
            retrieval: Vec::new(),
            qa_stride: Stride::new(options.qa_stride(set), "task 2"),
            retrieval_stride: Stride::new(options.retrieval_stride(set), "task 3"),
            dropped: Counts::default(),
            changed: Counts::default(),
        }
    }

    fn passage(&mut self, passage: String, blank: &str, example: &str) {
        self.passages.add(passage, blank, &mut self.dropped, example);
    }

    fn question(&mut self, question: &str, answer: &str, references: Vec<String>) {
        if self.qa_stride.takes(&mut self.dropped, question) {
            let item = QaItem { question: question.into(), answer: answer.into(), references };
            add_qa(&mut self.qa, item, self.options, &mut self.dropped, &mut self.changed);
        }
    }

    fn finish(mut self, set: DatasetName, from: &[impl AsRef<Path>], read: Vec<(&'static str, usize)>) -> Prepared {
        let dropped = &mut self.dropped;
        Prepared {
            set,
            inputs: from.iter().map(|path| path.as_ref().to_path_buf()).collect(),
            passages: self.passages.finish(self.options, dropped),
            qa: limited(self.qa, "task 2", self.options, dropped),
            retrieval: limited(self.retrieval, "task 3", self.options, dropped),
            read,
            dropped: self.dropped.into_vec(),
            changed: self.changed.into_vec(),
            training: false,
        }
    }

    /// Which of so many things are on the side that was asked for; all where nothing is held out.
    fn side(&mut self, total: usize, task: &'static str, what: &str) -> Vec<bool> {
        let Some(holdout) = self.options.holdout else { return vec![true; total] };
        let held = drawn(total, (holdout.share * total as f64).round() as usize, self.options.seed);
        let side: Vec<bool> = held.into_iter().map(|held| held != holdout.rest).collect();
        let other = if holdout.rest { "among the held-out" } else { "not among the held-out" };
        let left_out = side.iter().filter(|kept| !**kept).count();
        self.dropped.add_many(task, format!("{what} {other}, a share of {} by seed {}", holdout.share, self.options.seed), left_out, "");
        side
    }
}

pub(super) fn squad(from: &Path, options: &PrepareOptions) -> Result<Prepared, DataError> {
    let files = files_of(from, options.split)?;
    let squad = load_squad_files(&files)?;
    let mut work = Work::new(DatasetName::Squad, options);
    let read = vec![
        ("articles", squad.articles),
        ("different contexts", squad.passages.len()),
        ("questions", squad.qa.len() + squad.dropped_impossible + squad.dropped_unanswered),
    ];
    work.dropped.add_many("task 2", "question marked impossible", squad.dropped_impossible, "");
    work.dropped.add_many("task 2", "question without an answer", squad.dropped_unanswered, "");
    work.dropped.add_many("task 2", "paragraph without a list of questions", squad.without_questions, "");
    // By passage: the questions about it are on its side.
    let side = work.side(squad.passages.len(), "tasks 1 and 2", "context");
    let kept: HashSet<&str> = squad.passages.iter().zip(&side).filter(|(_, kept)| **kept).map(|(passage, _)| passage.as_str()).collect();
    for item in squad.qa.into_iter().filter(|item| item.references.iter().all(|context| kept.contains(context.as_str()))) {
        work.question(&item.question, &item.answer, item.references);
    }
    for (passage, _) in squad.passages.iter().zip(side).filter(|(_, kept)| *kept) {
        work.passage(passage.clone(), "blank context", "");
    }
    Ok(work.finish(DatasetName::Squad, &files, read))
}

pub(super) fn hotpotqa(from: &Path, options: &PrepareOptions) -> Result<Prepared, DataError> {
    let files = files_of(from, options.split)?;
    let mut work = Work::new(DatasetName::Hotpotqa, options);
    let (mut read, mut usable) = (0, Vec::new());
    for path in &files {
        read += each_hotpotqa(path, &mut |item| usable.extend(work.hotpot(item)))?;
    }
    let side = work.side(usable.len(), "tasks 1 and 2", "question");
    for (Supported { question, answer, support }, _) in usable.into_iter().zip(side).filter(|(_, kept)| *kept) {
        work.passage(support.join(" "), "no supporting sentence", &question);
        work.question(&question, &answer, support);
    }
    Ok(work.finish(DatasetName::Hotpotqa, &files, vec![("questions", read)]))
}

pub(super) fn race(from: &Path, options: &PrepareOptions) -> Result<Prepared, DataError> {
    let race = load_race(from, options.split.unwrap_or(Split::Test))?;
    let mut work = Work::new(DatasetName::Race, options);
    work.dropped.add_many("task 1", "blank passage", race.blank, "");
    work.dropped.add_many("task 1", "same passage as before", race.repeated, "");
    for passage in race.passages {
        work.passage(passage, "blank passage", "");
    }
    Ok(work.finish(DatasetName::Race, &race.files, vec![("records", race.records), ("questions", race.questions)]))
}

pub(super) fn locomo(from: &Path, options: &PrepareOptions) -> Result<Prepared, DataError> {
    let conversations = load_locomo(from)?;
    let mut work = Work::new(DatasetName::Locomo, options);
    let total = |of: fn(&LocomoConversation) -> usize| conversations.iter().map(of).sum::<usize>();
    let read = vec![
        ("conversations", conversations.len()),
        ("sessions", total(|c| c.sessions)),
        ("turns", total(|c| c.turns.len())),
        ("questions", total(|c| c.questions.len())),
    ];
    for conversation in &conversations {
        work.dropped.add_many("all tasks", "session with a date and no turn", conversation.empty_sessions, &conversation.id);
        for question in &conversation.questions {
            work.locomo(conversation, question);
        }
    }
    Ok(work.finish(DatasetName::Locomo, &[from], read))
}

pub(super) fn longmemeval(from: &Path, options: &PrepareOptions) -> Result<Prepared, DataError> {
    let mut work = Work::new(DatasetName::Longmemeval, options);
    let (mut sessions, mut turns) = (0, 0);
    let read = each_longmemeval(from, &mut |item| {
        sessions += item.sessions.len();
        turns += item.sessions.iter().map(|session| session.turns.len()).sum::<usize>();
        work.longmem(&item);
    })?;
    Ok(work.finish(DatasetName::Longmemeval, &[from], vec![("questions", read), ("sessions", sessions), ("turns", turns)]))
}

/// A question of HotpotQA for tasks 1 and 2, without the paragraphs around it: the training file's take gigabytes.
struct Supported {
    question: String,
    answer: String,
    support: Vec<String>,
}

impl Work<'_> {
    /// Takes what task 3 needs and returns what tasks 1 and 2 may use.
    fn hotpot(&mut self, item: HotpotItem) -> Option<Supported> {
        for lost in &item.lost_facts {
            self.dropped.add("all tasks", "supporting fact that is no sentence of the paragraphs", lost);
        }
        if self.options.holdout.is_some() {
            self.dropped.add("task 3", "it is made from the development file, where nothing is held out", &item.question);
        } else if self.retrieval_stride.takes(&mut self.dropped, &item.question) {
            self.hotpot_retrieval(&item);
        }
        if self.options.level == Level::Easy && item.level != "easy" {
            self.dropped.add("tasks 1 and 2", "level is not easy", &item.question);
            return None;
        }
        Some(Supported { support: item.support(), question: item.question, answer: item.answer })
    }

    fn hotpot_retrieval(&mut self, item: &HotpotItem) {
        let (mut references, mut hit_list) = (Vec::new(), Vec::new());
        for (at, paragraph) in item.paragraphs.iter().enumerate() {
            for (number, sentence) in paragraph.sentences.iter().enumerate() {
                let text = sentence.trim();
                if text.is_empty() {
                    self.dropped.add("task 3", "blank sentence among the candidates", &paragraph.title);
                    continue;
                }
                if item.facts.contains(&(at, number)) {
                    hit_list.push(references.len());
                }
                references.push(text.to_owned());
            }
        }
        self.retrieve(&item.question, references, hit_list, "no supporting sentence");
    }

    fn retrieve(&mut self, question: &str, references: Vec<String>, hit_list: Vec<usize>, none: &str) {
        match hit_list.is_empty() {
            true => self.dropped.add("task 3", none, question),
            false => self.retrieval.push(RetrievalItem { question: question.into(), references, hit_list }),
        }
    }

    fn locomo(&mut self, conversation: &LocomoConversation, question: &LocomoQuestion) {
        let text = &question.question;
        if !LOCOMO_CATEGORIES.contains(&question.category) {
            self.dropped.add("all tasks", format!("question of category {}", question.category), text);
            return;
        }
        let (turns, lost, why) = match self.options.evidence {
            Evidence::Split => (&question.evidence, &question.lost_evidence, "evidence id that no turn has"),
            Evidence::AsWritten => (&question.written_evidence, &question.unread_evidence, "evidence string that is no id of a turn"),
        };
        for lost in lost {
            self.dropped.add("all tasks", why, format!("{lost} in {}", conversation.id));
        }
        if turns.is_empty() && self.options.evidence == Evidence::AsWritten {
            self.dropped.add("all tasks", "question without an evidence id that a turn has", text);
            return;
        }
        let evidence: Vec<String> = turns.iter().map(|turn| conversation.turns[*turn].passage()).collect();
        self.passage(evidence.join("\n"), "no evidence", text);
        match &question.answer {
            None => self.dropped.add("task 2", "question of category 5 without an answer", text),
            Some(answer) => self.question(text, answer, evidence),
        }
        if question.category == ADVERSARIAL {
            self.dropped.add("task 3", "question of category 5", text);
        } else if self.retrieval_stride.takes(&mut self.dropped, text) {
            let mut hit_list = turns.clone();
            hit_list.sort_unstable();
            self.retrieve(text, conversation.turns.iter().map(|turn| turn.passage()).collect(), hit_list, "no evidence");
        }
    }

    fn longmem(&mut self, item: &LongMemItem) {
        for lost in &item.lost_sessions {
            self.dropped.add("all tasks", "answer session that the history does not have", format!("{lost} in {}", item.id));
        }
        let evidence = item.evidence();
        self.passage(evidence.join("\n"), "no turn is marked as holding the answer", &item.id);
        self.question(&item.question, &item.answer, evidence);
        if item.abstention() && !self.options.abstention {
            self.dropped.add("task 3", "abstention question", &item.id);
        } else if item.sessions.iter().all(|session| session.gold) {
            self.dropped.add("task 3", "every session is an answer session (oracle file)", &item.id);
        } else if self.retrieval_stride.takes(&mut self.dropped, &item.id) {
            self.longmem_retrieval(item);
        }
    }

    fn longmem_retrieval(&mut self, item: &LongMemItem) {
        let (mut references, mut hit_list) = (Vec::new(), Vec::new());
        for session in &item.sessions {
            let text = session.passage();
            if text.is_empty() {
                self.dropped.add("task 3", "session without text among the candidates", format!("{} in {}", session.id, item.id));
                continue;
            }
            if session.gold {
                hit_list.push(references.len());
            }
            references.push(text);
        }
        self.retrieve(&item.question, references, hit_list, "no answer session");
    }
}
