//! The sentences of the facts generator, with the questions and queries each one supports.
//!
//! Placeholders: `{S}` and `{s}` are the subject (name or pronoun) at the start of a sentence and
//! inside it, `{name}` the full name, `{a_job}` the job with its article; the others are values.

use super::Slot;
use super::shapes::Sentence;

const JOB_QUESTIONS: &[&str] = &["What does {name} do?", "What is the job of {name}?", "What does {name} work as?"];
const TOWN_QUESTIONS: &[&str] = &["Where does {name} live?", "In which town does {name} live?", "What is the home town of {name}?"];
const PLAN_QUESTIONS: &[&str] = &["What does {name} plan to do?", "What does {name} want to do?", "What is the plan of {name}?"];

/// Job and home town.
pub static JOB_HOME: Sentence = Sentence {
    texts: &[
        "{S} is {a_job} in {town}.",
        "{S} works as {a_job} in {town}.",
        "{S} lives in {town} and works as {a_job}.",
        "{S} is {a_job} and lives in {town}.",
        "In {town} {s} has a job as {a_job}.",
    ],
    questions: &[(Slot::Job, JOB_QUESTIONS), (Slot::Town, TOWN_QUESTIONS)],
    who: &["Who is {a_job} in {town}?", "Who works as {a_job}?", "Who lives in {town}?"],
    queries: &["{name}, {job} in {town}", "the work of {name} as {a_job} in {town}"],
};

/// Job.
pub static JOB: Sentence = Sentence {
    texts: &[
        "{S} is {a_job} by trade.",
        "{S} earns a living as {a_job}.",
        "{S} has worked as {a_job} for years.",
        "For some years {s} has been {a_job}.",
    ],
    questions: &[(Slot::Job, JOB_QUESTIONS)],
    who: &["Who is {a_job}?", "Who works as {a_job}?"],
    queries: &["{name}, {job} by trade", "the job of {name} as {a_job}"],
};

/// Home town.
pub static HOME: Sentence = Sentence {
    texts: &[
        "{S} now lives in {town}.",
        "{S} has a small flat in {town}.",
        "{S} moved to {town} last year.",
        "Since last year {s} has lived in {town}.",
    ],
    questions: &[(Slot::Town, TOWN_QUESTIONS)],
    who: &["Who lives in {town}?", "Who has a home in {town}?"],
    queries: &["{name} of {town}", "the home of {name} in {town}"],
};

/// Plan with its date.
pub static PLAN_DATE: Sentence = Sentence {
    texts: &[
        "{S} plans to {plan} on {date}.",
        "{S} will {plan} on {date}.",
        "{S} promised to {plan} by {date}.",
        "On {date} {s} wants to {plan}.",
        "By {date} {s} hopes to {plan}.",
    ],
    questions: &[
        (Slot::Plan, PLAN_QUESTIONS),
        (Slot::Date, &["When will {name} {plan}?", "When does {name} plan to {plan}?", "On which date is the plan of {name}?"]),
    ],
    who: &["Who plans to {plan}?", "Who wants to {plan}?", "Who has a plan for {date}?"],
    queries: &["notes on the plan of {name} to {plan}", "{name} wants to {plan} on {date}", "the plan of {name} for {date}"],
};

/// Plan.
pub static PLAN: Sentence = Sentence {
    texts: &[
        "{S} still wants to {plan}.",
        "{S} has promised to {plan} soon.",
        "{S} would like to {plan}.",
        "Next year {s} hopes to {plan}.",
    ],
    questions: &[(Slot::Plan, PLAN_QUESTIONS)],
    who: &["Who wants to {plan}?", "Who plans to {plan}?"],
    queries: &["notes on the plan of {name} to {plan}", "{name} hopes to {plan}"],
};

/// Savings for a plan.
pub static SAVED: Sentence = Sentence {
    texts: &["{S} has saved {amount} to {plan}.", "{S} put aside {amount} to {plan}.", "To {plan} {s} has saved {amount}."],
    questions: &[(Slot::Amount, &["How much has {name} saved?", "How much did {name} save?"]), (Slot::Plan, PLAN_QUESTIONS)],
    who: &["Who saved {amount}?", "Who saves money to {plan}?"],
    queries: &["savings of {name} to {plan}", "{name} saved {amount} to {plan}"],
};

/// Purchase with its price.
pub static BOUGHT: Sentence = Sentence {
    texts: &["{S} bought {object} for {amount}.", "{S} paid {amount} for {object}.", "For {amount} {s} bought {object}."],
    questions: &[
        (Slot::Object, &["What did {name} buy?", "What did {name} pay for?"]),
        (Slot::Amount, &["How much did {name} pay?", "How much did {name} pay for {object}?"]),
    ],
    who: &["Who bought {object}?", "Who paid {amount}?"],
    queries: &["what {name} paid for {object}", "{name} bought {object} for {amount}"],
};

/// Sale with its price.
pub static SOLD: Sentence = Sentence {
    texts: &["{S} sold {object} for {amount}.", "{S} got {amount} for {object}.", "For {amount} {s} sold {object}."],
    questions: &[
        (Slot::Object, &["What did {name} sell?", "What did {name} get money for?"]),
        (Slot::Amount, &["How much did {name} get?", "How much did {name} get for {object}?"]),
    ],
    who: &["Who sold {object}?", "Who got {amount}?"],
    queries: &["what {name} got for {object}", "{name} sold {object} for {amount}"],
};

/// Loss with its date.
pub static LOST: Sentence = Sentence {
    texts: &["{S} lost {object} on {date}.", "On {date} {s} lost {object}.", "{S} has missed {object} since {date}."],
    questions: &[
        (Slot::Object, &["What did {name} lose?", "What is {name} missing?"]),
        (Slot::Date, &["When did {name} lose {object}?", "On which date did {name} lose something?"]),
    ],
    who: &["Who lost {object}?", "Who lost something on {date}?"],
    queries: &["{name} and the loss of {object}", "what {name} lost on {date}"],
};

/// Possession.
pub static OWNS: Sentence = Sentence {
    texts: &["{S} owns {object}.", "{S} keeps {object} at home.", "At home {s} has {object}."],
    questions: &[(Slot::Object, &["What does {name} own?", "What does {name} have at home?"])],
    who: &["Who owns {object}?", "Who has {object} at home?"],
    queries: &["{name} and {object}", "{name}, owner of {object}"],
};

/// Trip with its date.
pub static TRIP: Sentence = Sentence {
    texts: &[
        "{S} travels to {destination} on {date}.",
        "{S} has a ticket to {destination} for {date}.",
        "{S} leaves for {destination} on {date}.",
        "On {date} {s} takes the train to {destination}.",
    ],
    questions: &[
        (Slot::Destination, &["Where does {name} travel?", "Where is {name} going?", "To which town will {name} go?"]),
        (Slot::Date, &["When does {name} travel?", "When does {name} leave?", "On which date is the trip of {name}?"]),
    ],
    who: &["Who travels to {destination}?", "Who leaves on {date}?"],
    queries: &["the trip of {name} to {destination}", "{name} travels to {destination} on {date}"],
};

/// Trip with its price.
pub static TRIP_COST: Sentence = Sentence {
    texts: &[
        "{S} paid {amount} for a trip to {destination}.",
        "{S} booked a trip to {destination} for {amount}.",
        "For {amount} {s} booked a trip to {destination}.",
    ],
    questions: &[
        (Slot::Destination, &["Where will {name} travel?", "Where is {name} going?"]),
        (Slot::Amount, &["What does the trip of {name} cost?", "How much did {name} pay for the trip?"]),
    ],
    who: &["Who booked a trip to {destination}?", "Who paid {amount} for a trip?"],
    queries: &["the trip of {name} to {destination}", "{name} booked {destination} for {amount}"],
};

/// Weekly pay.
pub static EARNS: Sentence = Sentence {
    texts: &["{S} earns {amount} a week.", "{S} is paid {amount} a week.", "Each week {s} earns {amount}."],
    questions: &[(Slot::Amount, &["How much does {name} earn?", "What is the weekly pay of {name}?"])],
    who: &["Who earns {amount} a week?", "Who is paid {amount}?"],
    queries: &["{name} and a weekly pay of {amount}", "{name} earns {amount}"],
};

/// Debt with its date.
pub static DEBT: Sentence = Sentence {
    texts: &[
        "{S} must pay the bank {amount} by {date}.",
        "{S} owes the bank {amount} until {date}.",
        "By {date} {s} has to pay the bank {amount}.",
    ],
    questions: &[
        (Slot::Amount, &["How much does {name} owe?", "How much must {name} pay the bank?"]),
        (Slot::Date, &["When must {name} pay the bank?", "By which date must {name} pay?"]),
    ],
    who: &["Who owes the bank {amount}?", "Who must pay by {date}?"],
    queries: &["the debt of {name} of {amount}", "{name} owes {amount} until {date}"],
};
