//! Sentences about meetings.

use super::super::OpenSlot::{Amount, Date, Email, Name, Number, Person, Time};
use super::super::lexicon::{FOODS, JOBS, OBJECTS, ROOMS, THEMES, WEATHER};
use super::{Kind, Nouns, Sort};

pub const SORT: Sort = Sort {
    kinds: &KINDS,
    nouns: Nouns::Named(&["meeting", "workshop", "seminar", "hearing", "rehearsal", "briefing", "congress", "conference"]),
    name: Name,
};

static KINDS: [Kind; 6] = [
    Kind {
        seen: [
            "{S} begins at {2} in the {1}.",
            "{S} is in the {1} at {2}.",
            "At {2} {s} starts in the {1}.",
            "{S} takes place in the {1} at {2}.",
            "The {1} is booked for {o} at {2}.",
        ],
        unseen: ["{S} opens at {2} inside the {1}.", "Everyone goes to the {1} at {2} for {o}."],
        words: ROOMS,
        word_asks: ["Where does {name} take place?", "In which room is {name}?", "Which room hosts {name}?"],
        built: &[(Time, ["At what time does {name} begin?", "When does {name} start?", "What is the opening time of {name}?"])],
        who: ["Which meeting starts at {2}?", "What begins at {2}?", "Which gathering opens at {2}?"],
        hint: "a gathering held in {q}",
    },
    Kind {
        seen: [
            "{2} speaks on {1} at {o}.",
            "{S} has {2} as speaker on {1}.",
            "{S} lets {2} speak on {1}.",
            "{S} features {2} on {1}.",
            "{2} opens {o} with a talk on {1}.",
        ],
        unseen: ["{S} hears {2} on {1}.", "{2} is to talk of {1} at {o}."],
        words: THEMES,
        word_asks: ["What does {2} speak about?", "What is the topic at {name}?", "Which subject is treated at {name}?"],
        built: &[(Person, ["Who speaks at {name}?", "Who gives a talk at {name}?", "Whose talk is heard at {name}?"])],
        who: ["Which meeting has {2} as speaker?", "At which meeting does {2} speak?", "Which gathering hears {2}?"],
        hint: "a discussion of {q}",
    },
    Kind {
        seen: [
            "{S} was moved from {2} to {3} by {1}.",
            "Because of {1} {s} moved from {2} to {3}.",
            "{S} is on {3}, not {2}, because of {1}.",
            "{S} was to be on {2} but {1} made it {3}.",
            "After {1} {s} is now on {3} instead of {2}.",
        ],
        unseen: ["{S} was put off by {1} from {2} until {3}.", "Owing to {1} the day of {o} went from {2} to {3}."],
        words: WEATHER,
        word_asks: ["Why was {name} moved?", "Which weather moved {name}?", "What forced the delay of {name}?"],
        built: &[
            (
                Date,
                ["On which date was {name} first planned?", "What was the old date of {name}?", "When should {name} have been at first?"],
            ),
            (Date, ["On which date is {name} now?", "What is the new date of {name}?", "To which day was {name} put off?"]),
        ],
        who: ["Which meeting was moved to {3}?", "What is now on {3}?", "Which gathering was put off until {3}?"],
        hint: "a postponement due to {q}",
    },
    Kind {
        seen: [
            "{S} serves {2} plates of {1}.",
            "For {o} {2} plates of {1} were ordered.",
            "{S} ends with {2} plates of {1}.",
            "Guests of {o} get {2} plates of {1}.",
            "At {o} there are {2} plates of {1}.",
        ],
        unseen: ["{2} plates of {1} are laid out for {o}.", "{S} needs {1} on {2} plates."],
        words: FOODS,
        word_asks: ["What is eaten at {name}?", "Which food is served at {name}?", "What is on the plates of {name}?"],
        built: &[(
            Number,
            ["How many plates are served at {name}?", "How many plates does {name} need?", "What is the number of plates for {name}?"],
        )],
        who: ["Which meeting serves {2} plates?", "What needs {2} plates?", "Which gathering has {2} plates?"],
        hint: "a meal of {q}",
    },
    Kind {
        seen: [
            "Guests of {o} pay {2} and get {a1}.",
            "{S} costs {2}, with {a1} as a gift.",
            "For {2} a guest of {o} gets {a1}.",
            "Entry to {o} costs {2} and includes {a1}.",
            "{S} asks {2} and hands out {a1}.",
        ],
        unseen: ["{S} takes {2} and rewards guests with {a1}.", "{A1} comes with the {2} fee for {o}."],
        words: OBJECTS,
        word_asks: ["What do guests of {name} get?", "What is the gift at {name}?", "Which present goes with {name}?"],
        built: &[(Amount, ["How much does {name} cost?", "What do guests of {name} pay?", "What is the fee for {name}?"])],
        who: ["Which meeting costs {2}?", "What costs guests {2}?", "Which gathering asks a fee of {2}?"],
        hint: "visitors receiving {q}",
    },
    Kind {
        seen: [
            "{A1} takes bookings for {o} at {2}.",
            "{S} is booked with {a1} at {2}.",
            "To attend {o} write to {a1} at {2}.",
            "{S} can be booked at {2} with {a1}.",
            "Seats for {o} come from {a1} at {2}.",
        ],
        unseen: ["{S} has {a1} at {2} for sign-up.", "Register for {o} with {a1} at {2}."],
        words: JOBS,
        word_asks: [
            "Who takes bookings for {name}?",
            "What is the job of the contact of {name}?",
            "Which trade has the organiser of {name}?",
        ],
        built: &[(
            Email,
            [
                "Which address takes bookings for {name}?",
                "Where can one book {name} by mail?",
                "What e-mail is used to register for {name}?",
            ],
        )],
        who: ["Which meeting is booked at {2}?", "What can one book at {2}?", "Which gathering has {2} for registration?"],
        hint: "enrolment handled by somebody busy {q}",
    },
];
