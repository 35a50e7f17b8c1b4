//! The making of a passage: what it is about, what it says, and in which words.

use super::kinds::{Kind, Nouns, Sort};
use super::outline::{Outline, Part};
use super::values::{Counted, capitalise, push_with_article};
use super::{OpenSlot, OpenValue, Wordings};

/// A passage before anything is asked about it.
pub struct Draft {
    pub text: String,
    pub values: Vec<OpenValue>,
    pub bits: f64,
    pub wordings: Wordings,
    pub subjects: Vec<Subject>,
    pub told: Vec<Told>,
}

/// What a passage is about.
pub struct Subject {
    sort: &'static Sort,
    she: bool,
    /// The noun; none for people.
    pub noun: &'static str,
    /// The paraphrase of the noun, if it is of the closed vocabulary.
    pub paraphrase: Option<&'static str>,
    /// Index of its name among the values.
    pub value: usize,
    /// In full, without the article.
    full: String,
}

/// One sentence of a passage.
pub struct Told {
    pub kind: &'static Kind,
    /// Index into the subjects.
    pub subject: usize,
    /// The word of the closed vocabulary with its paraphrase.
    pub word: (&'static str, &'static str),
    /// Index of the word among the values; the built values follow it.
    pub value: usize,
}

/// How a sentence names its subject.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mention {
    /// By its unique name.
    Full,
    /// By its first name or noun.
    Short,
    /// By a pronoun.
    Pronoun,
}

impl Draft {
    /// Draws the passage of an outline.
    pub fn new(outline: Outline, wordings: Wordings, mut draw: Counted) -> Self {
        let mut draft = Self {
            text: String::with_capacity(512),
            values: Vec::with_capacity(32),
            bits: 0.0,
            wordings,
            subjects: Vec::with_capacity(2),
            told: Vec::with_capacity(8),
        };
        for part in outline.parts {
            let subject = draft.introduce(&part, &mut draw);
            for (number, (kind, word)) in part.sentences.into_iter().enumerate() {
                draft.tell(kind, word, subject, number, &mut draw);
            }
        }
        draft.bits = draw.bits;
        draft
    }

    /// The unique name of the first subject.
    pub fn subject(&self) -> &str {
        &self.values[self.subjects[0].value].text
    }

    /// Adds a new subject and returns its index.
    fn introduce(&mut self, part: &Part, draw: &mut Counted) -> usize {
        let Part { sort, noun, paraphrase, .. } = *part;
        let she = matches!(sort.nouns, Nouns::Person) && draw.below(2) == 0;
        let mut name = draw.until(|draw| draw.value(sort.name), |name| self.is_new(name));
        let full = match sort.nouns {
            Nouns::Person => name.clone(),
            Nouns::Told(_) | Nouns::Coded(_) => format!("{noun} {name}"),
            Nouns::Named(_) => {
                name = format!("{name} {noun}");
                name.clone()
            }
            Nouns::Of(_) => format!("{noun} of {name}"),
        };
        self.subjects.push(Subject { sort, she, noun, paraphrase, value: self.values.len(), full });
        self.values.push(OpenValue { slot: sort.name, text: name });
        self.subjects.len() - 1
    }

    /// Adds a sentence, the `number`-th about its subject.
    fn tell(&mut self, kind: &'static Kind, word: (&'static str, &'static str), subject: usize, number: usize, draw: &mut Counted) {
        let value = self.values.len();
        self.values.push(OpenValue { slot: OpenSlot::Word, text: word.0.to_owned() });
        for (slot, _) in kind.built {
            let text = draw.until(|draw| draw.value(*slot), |text| self.is_new(text));
            self.values.push(OpenValue { slot: *slot, text });
        }
        // After somebody else was named, a pronoun would be theirs as well.
        let other = self.told.last().is_some_and(|last| last.kind.built.iter().any(|(slot, _)| *slot == OpenSlot::Person));
        let mention = match number {
            0 => Mention::Full,
            _ if other => Mention::Short,
            _ if draw.below(3) == 0 => Mention::Short,
            _ => Mention::Pronoun,
        };
        let wording = match self.wordings {
            Wordings::Seen => draw.of(&kind.seen),
            Wordings::Unseen => draw.of(&kind.unseen),
        };
        let told = Told { kind, subject, word, value };
        let mut text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            text.push(' ');
        }
        self.fill(wording, &told, mention, &mut text);
        self.text = text;
        self.told.push(told);
    }

    /// Whether a value can be told from all others: no two are the same or start with the same word, people
    /// share neither first name nor surname; dates are compared as a whole.
    fn is_new(&self, text: &str) -> bool {
        let mut words = text.split(' ');
        let (first, second, date) = (words.next().unwrap_or_default(), words.next(), words.next().is_some());
        self.values.iter().all(|old| match (date, old.slot) {
            (true, _) => old.text != text,
            (false, OpenSlot::Person) => old.text.split(' ').all(|word| word != first && Some(word) != second),
            _ => !old.text.strip_prefix(first).is_some_and(|rest| rest.is_empty() || rest.starts_with(' ')),
        })
    }

    /// Fills a template about a sentence; the placeholders are those of [`Kind`].
    pub fn fill(&self, template: &str, told: &Told, mention: Mention, out: &mut String) {
        let subject = &self.subjects[told.subject];
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(before);
            rest = after;
            let start = out.len();
            match name {
                "S" | "s" => subject.push_name(mention, out),
                "P" | "p" => subject.push_owner(mention, out),
                "r" => subject.push_owner(Mention::Pronoun, out),
                "o" => subject.push_object(mention, out),
                "name" => subject.push_name(Mention::Full, out),
                "1" => out.push_str(told.word.0),
                "a1" | "A1" => push_with_article(out, told.word.0),
                "2" => out.push_str(&self.values[told.value + 1].text),
                "3" => out.push_str(&self.values[told.value + 2].text),
                // Left visible, so that the tests see a misspelt placeholder.
                other => out.push_str(&format!("{{{other}}}")),
            }
            if matches!(name, "S" | "P" | "A1") {
                capitalise(out, start);
            }
        }
        out.push_str(rest);
    }
}

impl Subject {
    fn push_name(&self, mention: Mention, out: &mut String) {
        let person = matches!(self.sort.nouns, Nouns::Person);
        if !person && mention != Mention::Pronoun {
            out.push_str("the ");
        }
        out.push_str(match mention {
            Mention::Full => &self.full,
            Mention::Short if person => self.full.split(' ').next().unwrap_or_default(),
            Mention::Short => self.noun,
            Mention::Pronoun if !person => "it",
            Mention::Pronoun if self.she => "she",
            Mention::Pronoun => "he",
        });
    }

    /// As an object; for a thing the noun reads better than "it".
    fn push_object(&self, mention: Mention, out: &mut String) {
        match (mention, &self.sort.nouns) {
            (Mention::Pronoun, Nouns::Person) => out.push_str(if self.she { "her" } else { "him" }),
            (Mention::Pronoun, _) => self.push_name(Mention::Short, out),
            _ => self.push_name(mention, out),
        }
    }

    fn push_owner(&self, mention: Mention, out: &mut String) {
        match mention {
            Mention::Pronoun => out.push_str(if self.she { "her" } else { "his" }),
            _ => {
                self.push_name(mention, out);
                out.push_str("'s");
            }
        }
    }
}
