//! Sentences about shipments.

use super::super::OpenSlot::{Amount, Code, Date, Number, Person, Place};
use super::super::lexicon::{ANIMALS, GOODS, JOBS, MATERIALS, VEHICLES, WEATHER};
use super::{Kind, Nouns, Sort, TRADE_ASKS};

pub const SORT: Sort = Sort {
    kinds: &KINDS,
    nouns: Nouns::Coded(&["parcel", "crate", "pallet", "container", "package", "barrel", "sack", "box"]),
    name: Code,
};

static KINDS: [Kind; 6] = [
    Kind {
        seen: [
            "{S} holds {2} kilograms of {1}.",
            "{S} carries {1} of {2} kilograms.",
            "In {o} are {2} kilograms of {1}.",
            "{S} is filled with {2} kilograms of {1}.",
            "{S} weighs {2} kilograms and holds {1}.",
        ],
        unseen: ["{2} kilograms of {1} lie in {o}.", "{S} was loaded with {2} kilograms of {1}."],
        words: GOODS,
        word_asks: ["What does {name} hold?", "What is in {name}?", "Which goods fill {name}?"],
        built: &[(
            Number,
            [
                "How many kilograms are in {name}?",
                "How heavy is the load of {name} in kilograms?",
                "What is the weight of {name} in kilograms?",
            ],
        )],
        who: ["Which shipment holds {2} kilograms?", "What is filled with {2} kilograms?", "Which freight weighs {2} kilograms?"],
        hint: "a haul of {q}",
    },
    Kind {
        seen: [
            "{S} goes by {1} from {2} to {3}.",
            "{S} left {2} for {3} by {1}.",
            "The {1} takes {o} from {2} to {3}.",
            "From {2} {s} goes to {3} by {1}.",
            "{S} is on the {1} from {2} to {3}.",
        ],
        unseen: ["{S} heads for {3} by {1}, coming from {2}.", "By {1} {s} is sent to {3} from {2}."],
        words: VEHICLES,
        word_asks: ["How is {name} carried?", "Which vehicle takes {name}?", "By what means does {name} move?"],
        built: &[
            (Place, ["Where does {name} come from?", "From which place was {name} sent?", "What is the origin of {name}?"]),
            (Place, ["Where does {name} go?", "To which place is {name} sent?", "What is the destination of {name}?"]),
        ],
        who: ["Which shipment goes to {3}?", "What was sent to {3}?", "Which freight is bound for {3}?"],
        hint: "transport in {q}",
    },
    Kind {
        seen: [
            "{S} is for {2}, {a1}.",
            "{S} is addressed to {2}, {a1}.",
            "{2}, {a1}, waits for {o}.",
            "{S} was ordered by {2}, {a1}.",
            "The {1} {2} ordered {o}.",
        ],
        unseen: ["{S} should reach {2}, {a1}.", "{A1} named {2} expects {o}."],
        words: JOBS,
        word_asks: TRADE_ASKS,
        built: &[(Person, ["Who ordered {name}?", "To whom is {name} addressed?", "Who expects {name}?"])],
        who: ["Which shipment did {2} order?", "What is addressed to {2}?", "Which freight does {2} expect?"],
        hint: "a receiver paid for {q}",
    },
    Kind {
        seen: [
            "{S} is wrapped in {1} with seal {2}.",
            "{S} has {a1} wrapping and seal {2}.",
            "Seal {2} closes the {1} wrapping of {o}.",
            "{S} bears seal {2} on {1}.",
            "In {1} {s} is under seal {2}.",
        ],
        unseen: ["{S} was closed in {1} under seal {2}.", "The {1} around {o} has seal {2}."],
        words: MATERIALS,
        word_asks: ["What is {name} wrapped in?", "Which material is around {name}?", "What encloses {name}?"],
        built: &[(Code, ["Which seal does {name} have?", "What is the seal number of {name}?", "What mark closes {name}?"])],
        who: ["Which shipment has seal {2}?", "What is closed with seal {2}?", "Which freight bears the seal {2}?"],
        hint: "packing made of {q}",
    },
    Kind {
        seen: [
            "{S} was held up by {1} until {2}.",
            "Because of {1} {s} came on {2}.",
            "{S} came on {2} after {1}.",
            "{S} arrived on {2}, delayed by {1}.",
            "After {1} {s} was delivered on {2}.",
        ],
        unseen: ["{S} turned up on {2} owing to {1}.", "It took until {2} for {o} to get past {1}."],
        words: WEATHER,
        word_asks: ["What delayed {name}?", "Which weather held up {name}?", "What made {name} late?"],
        built: &[(Date, ["When did {name} arrive?", "On which date was {name} delivered?", "What is the arrival date of {name}?"])],
        who: ["Which shipment arrived on {2}?", "What was delivered on {2}?", "Which freight came in on {2}?"],
        hint: "lateness caused by {q}",
    },
    Kind {
        seen: [
            "{S} has {a1} stamp for {2}.",
            "The {1} stamp on {o} cost {2}.",
            "{S} bears {a1} stamp worth {2}.",
            "For {2} {s} got {a1} stamp.",
            "{S} was sent with {a1} stamp for {2}.",
        ],
        unseen: ["{2} was the price of the {1} stamp on {o}.", "{S} travels with {a1} stamp of {2}."],
        words: ANIMALS,
        word_asks: [
            "What is on the stamp of {name}?",
            "Which animal does the stamp of {name} show?",
            "What creature is pictured on {name}?",
        ],
        built: &[(
            Amount,
            ["How much did the stamp of {name} cost?", "What is the stamp on {name} worth?", "What was the postage of {name}?"],
        )],
        who: ["Which shipment has a stamp for {2}?", "What bears a stamp worth {2}?", "Which freight has postage of {2}?"],
        hint: "postage showing {q}",
    },
];
