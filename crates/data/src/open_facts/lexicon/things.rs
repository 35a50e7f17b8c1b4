//! The second half of the closed vocabulary: things, goods and circumstances.

use super::Words;

/// Kinds of devices, which are part of their designation; a paraphrase stands for the noun and its article.
#[rustfmt::skip]
pub static DEVICES: Words = &[
    ("pump", "a mover of liquids"), ("printer", "a maker of paper copies"), ("drone", "a small unmanned flyer"),
    ("camera", "a taker of pictures"), ("heater", "a source of warmth"), ("freezer", "a keeper of frozen meals"),
    ("scanner", "a reader of documents"), ("router", "a sharer of internet traffic"), ("turbine", "a spinner driven by steam"),
    ("lathe", "a turner of workpieces"), ("crane", "a lifter of loads"), ("generator", "a source of current"),
    ("projector", "a caster of images"), ("sensor", "a detector of changes"), ("elevator", "a cabin between floors"),
    ("fan", "a mover of air"), ("dryer", "a remover of moisture"), ("mixer", "a blender of dough"),
    ("microscope", "an enlarger of tiny things"), ("drill", "a borer of holes"), ("laser", "a source of narrow light"),
    ("robot", "a humanoid automaton"), ("valve", "a tap for pipes"), ("loom", "a weaver of cloth"),
];

/// Faults; a paraphrase stands for the noun and its article.
#[rustfmt::skip]
pub static FAULTS: Words = &[
    ("leak", "dripping fluid"), ("crack", "a split surface"), ("short circuit", "a spark between wires"),
    ("blockage", "a clogged passage"), ("jam", "a stuck mechanism"), ("dent", "a hollow from a blow"),
    ("scratch", "a thin surface line"), ("power cut", "lost electricity"), ("virus", "malicious software"),
    ("loose screw", "an unfastened bolt"), ("worn belt", "an aged strap"), ("broken gear", "a shattered cogwheel"),
    ("flat battery", "an empty accumulator"), ("rusty hinge", "a corroded joint"), ("burnt fuse", "a charred safety wire"),
    ("bent axle", "a crooked shaft"), ("missing cable", "an absent wire"), ("dirty filter", "a soiled sieve"),
    ("cold motor", "a chilled engine"), ("noisy bearing", "a loud roller"), ("faulty switch", "a defective button"),
    ("dead pixel", "a dark dot on a display"), ("overload", "too much demand"), ("frozen screen", "a stalled display"),
];

/// Materials, as they stand before a noun or after "in"; a paraphrase follows "of".
#[rustfmt::skip]
pub static MATERIALS: Words = &[
    ("copper", "reddish metal of wires"), ("leather", "tanned hide"), ("wool", "sheep fleece"), ("paper", "pressed pulp"),
    ("rubber", "elastic tree sap"), ("silk", "threads of caterpillars"), ("tin", "soft metal of cans"), ("cork", "light bark of bottles"),
    ("bamboo", "hollow giant grass"), ("steel", "hardened iron"), ("linen", "flax fibre"), ("plastic", "moulded polymer"),
    ("velvet", "plush fabric"), ("felt", "matted fibre"), ("canvas", "sailcloth"), ("bronze", "metal of old statues"),
    ("straw", "dry stalks"), ("cardboard", "stiff brown sheets"), ("cotton", "fluffy plant fibre"), ("foil", "thin kitchen metal"),
    ("oak", "acorn tree timber"), ("wicker", "plaited willow twigs"), ("nylon", "stocking fibre"), ("jute", "coarse sack fibre"),
];

/// Weather and the like, as it follows "because of"; a paraphrase does the same.
#[rustfmt::skip]
pub static WEATHER: Words = &[
    ("fog", "low cloud"), ("rain", "dripping skies"), ("snow", "frozen flakes"), ("hail", "lumps from the sky"),
    ("frost", "frozen dew"), ("thunder", "loud rumbling skies"), ("lightning", "flashes in the sky"), ("wind", "strong gusts"),
    ("drizzle", "fine wet spray"), ("sleet", "half melted flakes"), ("smog", "dirty city air"), ("drought", "lack of water"),
    ("heat", "scorching days"), ("sunshine", "bright daylight"), ("mist", "a thin haze"), ("flooding", "overflowing rivers"),
    ("dust", "dry blown earth"), ("ice", "slippery frozen ground"), ("slush", "watery melted flakes"), ("humidity", "damp air"),
    ("smoke", "fumes from fires"), ("darkness", "absence of light"), ("pollen", "plant powder in the air"), ("turbulence", "rough air for planes"),
];

/// Goods; a paraphrase follows "of".
#[rustfmt::skip]
pub static GOODS: Words = &[
    ("apples", "round orchard fruit"), ("bricks", "baked wall blocks"), ("tulips", "Dutch spring flowers"), ("nails", "pointed iron fasteners"),
    ("shoes", "footwear"), ("medicine", "pills for patients"), ("toys", "playthings"), ("cement", "grey building powder"),
    ("tea", "dried leaves for a hot drink"), ("coffee", "roasted beans"), ("books", "bound pages"), ("tyres", "black wheel rings"),
    ("paint", "liquid colour for walls"), ("wine", "fermented grapes"), ("salt", "white seasoning crystals"), ("coal", "black fuel rock"),
    ("bottles", "glass drink vessels"), ("seeds", "grains for sowing"), ("feathers", "bird plumage"), ("bananas", "curved yellow fruit"),
    ("spices", "aromatic powders"), ("gravel", "crushed stones"), ("hats", "headwear"), ("soap", "bars for washing"),
];

/// Dishes; a paraphrase follows "of" or "in".
#[rustfmt::skip]
pub static FOODS: Words = &[
    ("rice", "tiny paddy grains"), ("soup", "hot broth"), ("pasta", "Italian noodles"), ("salad", "mixed raw leaves"),
    ("cheese", "aged curd"), ("bread", "sliced loaves"), ("ham", "cured pork"), ("herring", "small silver fish"),
    ("pancakes", "flat fried batter"), ("dumplings", "boiled dough pockets"), ("lentils", "little brown pulses"), ("mushrooms", "edible fungi"),
    ("sausages", "stuffed skins of meat"), ("curry", "spicy Indian stew"), ("cake", "sweet birthday pastry"), ("olives", "oily Mediterranean fruit"),
    ("waffles", "crisp Belgian squares"), ("porridge", "warm oat mush"), ("spinach", "iron-rich green leaves"), ("cherries", "red stone fruit"),
    ("tofu", "pressed soy curd"), ("omelette", "beaten eggs"), ("pizza", "Neapolitan flatbread"), ("shrimps", "little sea crustaceans"),
];

/// Topics of talks; a paraphrase follows "a discussion of".
#[rustfmt::skip]
pub static THEMES: Words = &[
    ("taxes", "what citizens owe the state"), ("poverty", "lack of money"), ("recycling", "using waste again"), ("voting", "choosing a government"),
    ("vaccines", "shots against disease"), ("volcanoes", "mountains of lava"), ("bridges", "river crossings"), ("fashion", "clothing trends"),
    ("genetics", "inherited traits"), ("pensions", "income of the old"), ("comets", "tailed bodies in space"), ("pirates", "robbers at sea"),
    ("mummies", "embalmed Egyptian dead"), ("cartoons", "funny drawings"), ("poetry", "rhymed verse"), ("traffic", "cars in streets"),
    ("insomnia", "lack of sleep"), ("divorce", "the end of a marriage"), ("satellites", "orbiting machines"), ("forestry", "care of woods"),
    ("inflation", "rising prices"), ("algebra", "sums with letters"), ("earthquakes", "shaking ground"), ("obesity", "excess weight"),
];

/// Sights and institutions; a paraphrase stands for the noun and its article.
#[rustfmt::skip]
pub static LANDMARKS: Words = &[
    ("museum", "a collection for visitors"), ("lighthouse", "a beacon for ships"), ("windmill", "a grinder with sails"),
    ("castle", "a fortified seat of lords"), ("airport", "a field for planes"), ("hospital", "wards for the sick"),
    ("school", "classes for children"), ("zoo", "a park of caged beasts"), ("prison", "cells for convicts"),
    ("stadium", "a ground for matches"), ("cinema", "films on a big screen"), ("factory", "a site of mass production"),
    ("harbour", "a haven for boats"), ("cathedral", "a bishop's church"), ("fountain", "a jet of water"),
    ("tunnel", "an underground road"), ("dam", "a wall across a river"), ("cemetery", "ground for graves"),
    ("brewery", "a maker of beer"), ("casino", "a hall for gambling"), ("monastery", "the cells of monks"),
    ("observatory", "a dome for stargazers"), ("racecourse", "a track for horses"), ("aquarium", "tanks of fish"),
];
