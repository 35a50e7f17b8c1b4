//! Sentences about places.

use super::super::OpenSlot::{Amount, Date, Firm, Number, Person, Place};
use super::super::lexicon::{ANIMALS, FOODS, JOBS, LANDMARKS, VEHICLES, WEATHER};
use super::{Kind, Nouns, Sort, TRADE_ASKS};

pub const SORT: Sort =
    Sort { kinds: &KINDS, nouns: Nouns::Of(&["village", "district", "valley", "hamlet", "town", "parish", "port", "colony"]), name: Place };

static KINDS: [Kind; 6] = [
    Kind {
        seen: [
            "{S} was founded by {2}, {a1}.",
            "{2}, {a1}, founded {o}.",
            "{S} owes its start to {2}, {a1}.",
            "{S} was begun by {2}, {a1}.",
            "The {1} {2} founded {o}.",
        ],
        unseen: ["{S} was first settled by {2}, {a1}.", "{A1} named {2} began {o}."],
        words: JOBS,
        word_asks: TRADE_ASKS,
        built: &[(Person, ["Who founded {name}?", "By whom was {name} begun?", "Who was the first settler of {name}?"])],
        who: ["Which place did {2} found?", "What was founded by {2}?", "Which spot did {2} settle first?"],
        hint: "origins with somebody paid for {q}",
    },
    Kind {
        seen: [
            "The {1} was seen {2} times in {o}.",
            "{S} saw the {1} {2} times.",
            "In {o} the {1} was seen {2} times.",
            "{S} noted the {1} {2} times.",
            "In {o} people met the {1} {2} times.",
        ],
        unseen: ["{S} reports the {1} {2} times.", "The {1} showed itself {2} times in {o}."],
        words: ANIMALS,
        word_asks: ["Which animal was seen in {name}?", "What animal did people meet in {name}?", "Which creature visits {name}?"],
        built: &[(
            Number,
            [
                "How many times was the animal seen in {name}?",
                "How often was the {1} met in {name}?",
                "What is the number of sightings in {name}?",
            ],
        )],
        who: ["Which place saw an animal {2} times?", "Where was the {1} seen?", "Which spot had {2} sightings?"],
        hint: "sightings of {q}",
    },
    Kind {
        seen: [
            "{S} opened {a1} on {2}.",
            "On {2} {s} got {a1}.",
            "{S} has had {a1} since {2}.",
            "{A1} opened in {o} on {2}.",
            "Since {2} {s} has had {a1}.",
        ],
        unseen: ["{S} gained {a1} on {2}.", "People of {o} welcomed {a1} on {2}."],
        words: LANDMARKS,
        word_asks: ["What opened in {name}?", "What did {name} get?", "What did {name} gain?"],
        built: &[(
            Date,
            ["When did something open in {name}?", "On which date did {name} get its {1}?", "Since when has {name} had its {1}?"],
        )],
        who: ["Which place opened something on {2}?", "Where did {a1} open?", "Which spot gained {a1}?"],
        hint: "the launch of {q}",
    },
    Kind {
        seen: [
            "{S} is {3} kilometres from {2} by {1}.",
            "The {1} from {2} to {o} goes {3} kilometres.",
            "By {1} {s} is {3} kilometres from {2}.",
            "{S} lies {3} kilometres by {1} from {2}.",
            "From {2} the {1} goes {3} kilometres to {o}.",
        ],
        unseen: ["{3} kilometres by {1} lead from {2} to {o}.", "{3} kilometres by {1} part {o} from {2}."],
        words: VEHICLES,
        word_asks: ["How does one get from {2} to {name}?", "Which vehicle links {2} and {name}?", "By what means is {name} reached?"],
        built: &[
            (
                Place,
                [
                    "Which place is {3} kilometres from {name}?",
                    "From where does the {1} go to {name}?",
                    "Which place is linked with {name}?",
                ],
            ),
            (
                Number,
                [
                    "How many kilometres is {name} from {2}?",
                    "How far in kilometres is {2} from {name}?",
                    "What is the distance in kilometres between {name} and {2}?",
                ],
            ),
        ],
        who: ["What lies {3} kilometres from {2}?", "Where does the {1} from {2} go?", "Which spot can be reached from {2}?"],
        hint: "access in {q}",
    },
    Kind {
        seen: [
            "{2} sells {1} in {o}.",
            "{S} buys its {1} from {2}.",
            "In {o} {2} sells {1}.",
            "{S} is known for {1} by {2}.",
            "{S} gets {1} from {2}.",
        ],
        unseen: ["{S} depends on {2} for {1}.", "{2} supplies {o} with {1}."],
        words: FOODS,
        word_asks: ["What does {2} sell?", "Which food does {name} get from {2}?", "What does {2} supply?"],
        built: &[(Firm, ["Which firm sells food in {name}?", "From whom does {name} get {1}?", "Who supplies {name}?"])],
        who: ["Where does {2} sell food?", "Which place gets {1} from {2}?", "Which spot is supplied by {2}?"],
        hint: "a trade in {q}",
    },
    Kind {
        seen: [
            "{S} lost {2} to {1}.",
            "The {1} cost {o} {2}.",
            "{S} paid {2} after {1}.",
            "After {1} {s} had to pay {2}.",
            "Damage by {1} cost {o} {2}.",
        ],
        unseen: ["{S} spent {2} because of {1}.", "The bill of {o} for {1} was {2}."],
        words: WEATHER,
        word_asks: ["Which weather hit {name}?", "What cost {name} money?", "Which weather harmed {name}?"],
        built: &[(
            Amount,
            ["How much did the weather cost {name}?", "How much did {name} lose to {1}?", "How large was the bill of {name} for {1}?"],
        )],
        who: ["Which place lost {2}?", "Where did weather cost {2}?", "Which spot had a bill of {2}?"],
        hint: "harm from {q}",
    },
];
