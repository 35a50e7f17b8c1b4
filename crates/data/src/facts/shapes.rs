//! What a sentence is, and which sentences make a passage.

use super::Slot;
use super::templates::{BOUGHT, DEBT, EARNS, HOME, JOB, JOB_HOME, LOST, OWNS, PLAN, PLAN_DATE, SAVED, SOLD, TRIP, TRIP_COST};

/// One kind of sentence.
pub struct Sentence {
    /// Phrasings; each one states every value of `questions`.
    pub texts: &'static [&'static str],
    /// The values it states, each with the questions that ask for it.
    pub questions: &'static [(Slot, &'static [&'static str])],
    /// Questions that ask for the person.
    pub who: &'static [&'static str],
    /// Retrieval queries: the person, the topic, and at least one value.
    pub queries: &'static [&'static str],
}

/// The combinations of sentences a passage may have, in any order; no slot twice, two to five values.
///
/// About half of them have two sentences, so that the mean is about 20 words.
pub static SHAPES: &[&[&Sentence]] = &[
    &[&JOB_HOME, &PLAN_DATE],
    &[&JOB_HOME, &TRIP],
    &[&JOB_HOME, &LOST],
    &[&JOB_HOME, &BOUGHT],
    &[&JOB_HOME, &SOLD],
    &[&JOB_HOME, &SAVED],
    &[&JOB_HOME, &DEBT],
    &[&JOB_HOME, &TRIP_COST],
    &[&JOB_HOME, &EARNS],
    &[&JOB_HOME, &OWNS],
    &[&JOB_HOME, &PLAN],
    &[&JOB, &PLAN_DATE],
    &[&JOB, &TRIP],
    &[&JOB, &LOST],
    &[&JOB, &BOUGHT],
    &[&JOB, &SAVED],
    &[&JOB, &TRIP_COST],
    &[&HOME, &PLAN_DATE],
    &[&HOME, &TRIP],
    &[&HOME, &SAVED],
    &[&HOME, &BOUGHT],
    &[&HOME, &SOLD],
    &[&HOME, &LOST],
    &[&HOME, &DEBT],
    &[&JOB_HOME, &PLAN_DATE, &EARNS],
    &[&JOB_HOME, &PLAN_DATE, &OWNS],
    &[&JOB_HOME, &TRIP, &OWNS],
    &[&JOB_HOME, &TRIP, &EARNS],
    &[&JOB_HOME, &BOUGHT, &PLAN],
    &[&JOB_HOME, &SOLD, &PLAN],
    &[&JOB_HOME, &LOST, &PLAN],
    &[&JOB_HOME, &DEBT, &OWNS],
    &[&JOB_HOME, &TRIP_COST, &OWNS],
    &[&JOB_HOME, &EARNS, &OWNS],
    &[&JOB, &TRIP, &OWNS],
    &[&JOB, &TRIP, &PLAN],
    &[&JOB, &TRIP_COST, &PLAN_DATE],
    &[&JOB, &DEBT, &PLAN],
    &[&JOB, &LOST, &EARNS],
    &[&JOB, &HOME, &PLAN],
    &[&JOB, &HOME, &OWNS, &EARNS],
    &[&JOB, &HOME, &OWNS, &PLAN],
    &[&HOME, &PLAN_DATE, &BOUGHT],
    &[&HOME, &TRIP, &SOLD],
    &[&HOME, &SAVED, &LOST],
    &[&HOME, &TRIP_COST, &LOST],
    &[&HOME, &DEBT, &PLAN],
];
