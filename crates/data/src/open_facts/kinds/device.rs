//! Sentences about devices.

use super::super::OpenSlot::{Amount, Code, Date, Person, Time};
use super::super::lexicon::{COLOURS, DEVICES, FAULTS, JOBS, MATERIALS, ROOMS, WEATHER};
use super::{Kind, Nouns, Sort, TRADE_ASKS};

pub const SORT: Sort = Sort { kinds: &KINDS, nouns: Nouns::Told(DEVICES), name: Code };

static KINDS: [Kind; 6] = [
    Kind {
        seen: [
            "{S} has stood in the {1} since {2}.",
            "{S} was put in the {1} on {2}.",
            "On {2} {s} was moved to the {1}.",
            "{S} was set up in the {1} on {2}.",
            "The {1} has housed {o} since {2}.",
        ],
        unseen: ["{S} went to the {1} on {2}.", "Since {2} the {1} has been home to {o}."],
        words: ROOMS,
        word_asks: ["Where is {name}?", "In which room is {name}?", "Which room holds {name}?"],
        built: &[(Date, ["When was {name} set up?", "Since when has {name} had its place?", "On which date did {name} get its place?"])],
        who: ["Which device was set up on {2}?", "What was put in place on {2}?", "Which machine got its place on {2}?"],
        hint: "equipment kept in {q}",
    },
    Kind {
        seen: [
            "{S} shows error {2} after {a1}.",
            "{S} stopped with error {2} and {a1}.",
            "Error {2} on {o} means {a1}.",
            "{S} has {a1} and error {2}.",
            "After {a1} {s} shows error {2}.",
        ],
        unseen: ["{A1} gave {o} error {2}.", "{S} reports {2} because of {a1}."],
        words: FAULTS,
        word_asks: ["What is wrong with {name}?", "Which fault does {name} have?", "What damage does {name} suffer?"],
        built: &[(Code, ["Which error does {name} show?", "What is the error code of {name}?", "Which code does {name} report?"])],
        who: ["Which device shows error {2}?", "What stopped with {2}?", "Which machine reports {2}?"],
        hint: "trouble with {q}",
    },
    Kind {
        seen: [
            "{S} belongs to {2}, {a1}.",
            "{S} is run by {2}, {a1}.",
            "{2}, {a1}, looks after {o}.",
            "{S} was lent to {2}, {a1}.",
            "The {1} {2} uses {o}.",
        ],
        unseen: ["{S} is in the care of {2}, {a1}.", "{A1} named {2} runs {o}."],
        words: JOBS,
        word_asks: TRADE_ASKS,
        built: &[(Person, ["Who looks after {name}?", "Who is in charge of {name}?", "Whose hands is {name} in?"])],
        who: ["Which device does {2} look after?", "What does {2} run?", "Which machine is in the hands of {2}?"],
        hint: "a keeper paid for {q}",
    },
    Kind {
        seen: [
            "{S} has {a1} case that cost {2}.",
            "{S} is cased in {1} for {2}.",
            "The {1} case of {o} cost {2}.",
            "For {2} {s} got {a1} case.",
            "{S} got {a1} case for {2}.",
        ],
        unseen: ["{2} bought {o} {a1} case.", "{S} wears {a1} shell worth {2}."],
        words: MATERIALS,
        word_asks: ["What is the case of {name} made of?", "Which material is {name} cased in?", "What covers {name}?"],
        built: &[(
            Amount,
            ["How much did the case of {name} cost?", "What was paid for the case of {name}?", "What is the shell of {name} worth?"],
        )],
        who: ["Which device has a case for {2}?", "What got a case for {2}?", "Which machine has a shell worth {2}?"],
        hint: "an outer cover of {q}",
    },
    Kind {
        seen: [
            "{S} starts at {2} except in {1}.",
            "{S} runs at {2} unless there is {1}.",
            "At {2} {s} starts, but not in {1}.",
            "{S} is switched on at {2} unless {1} comes.",
            "Without {1} {s} starts at {2}.",
        ],
        unseen: ["{S} wakes at {2} if no {1} is near.", "Only {1} keeps {o} from starting at {2}."],
        words: WEATHER,
        word_asks: ["What keeps {name} from starting?", "In which weather does {name} not run?", "Which weather stops {name}?"],
        built: &[(Time, ["At what time does {name} start?", "When does {name} run?", "What is the starting time of {name}?"])],
        who: ["Which device starts at {2}?", "What is switched on at {2}?", "Which machine wakes at {2}?"],
        hint: "a pause because of {q}",
    },
    Kind {
        seen: [
            "{S} carries {a1} label with serial {2}.",
            "Serial {2} is on the {1} label of {o}.",
            "{S} bears serial {2} on {a1} label.",
            "On {a1} label {s} has serial {2}.",
            "{S} has serial {2} and {a1} label.",
        ],
        unseen: ["{S} was given {a1} label reading {2}.", "The {1} label of {o} says {2}."],
        words: COLOURS,
        word_asks: ["What colour is the label of {name}?", "Which colour has the label on {name}?", "How is the label of {name} coloured?"],
        built: &[(Code, ["What is the serial number of {name}?", "Which serial does {name} carry?", "What does the label of {name} say?"])],
        who: ["Which device has serial {2}?", "What carries the serial {2}?", "Which machine has {2} on its label?"],
        hint: "a sticker with the shade of {q}",
    },
];
