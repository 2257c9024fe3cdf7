//! Out of doors and under way.

use super::{BRIGHT_COLOURS, Department, Leaf, Naming, Shelf, colours, noun, sizes};
use crate::demo::picture::Figure;

pub(super) static OUTDOOR: Department = Department {
    slug: "outdoor",
    name: "Outdoor & Travel",
    brands: &[
        "Cairnpath",
        "Ridgewether",
        "Tarpellan",
        "Outfell",
        "Mossgate Supply",
        "Strayfarer",
        "Highcoombe",
        "Pinnock Trail",
    ],
    remarks: &[
        "Tried out in weather that nobody would choose.",
        "Whatever wears out can be replaced.",
        "Checked by hand before it leaves the workshop.",
        "It packs away smaller than one expects.",
    ],
    shelves: &[
        Shelf {
            heading: Some(("bags", "Bags")),
            leaves: &[
                Leaf {
                    slug: "backpacks",
                    name: "Backpacks",
                    code: "BPK",
                    figure: Figure::Backpack,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Backpack", "BACKP", (49, 179), (700, 1500)),
                        noun("Daypack", "DAYPK", (39, 119), (450, 900)),
                        noun("Trekking Backpack", "TREKK", (99, 289), (1300, 2400)),
                        noun("Roll-Top Backpack", "ROLLT", (59, 169), (700, 1300)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["recycled nylon", "waxed canvas", "ripstop polyester"],
                        ),
                        ("volume", &["14 l", "18 l", "22 l", "30 l", "45 l"]),
                    ],
                    axis: colours(BRIGHT_COLOURS),
                    openings: &[
                        "This {noun} of {material} holds {volume} and still looks tidy.",
                        "The {series} carries close to the back, so that the load feels like less.",
                        "For a day in town or a night in a hut: the {series} takes what is needed.",
                    ],
                    details: &[
                        "A padded sleeve takes a computer or a map case.",
                        "The side pockets hold a bottle each.",
                        "Straps and back are padded with breathing mesh.",
                    ],
                },
                Leaf {
                    slug: "travel-bags",
                    name: "Travel Bags",
                    code: "TRV",
                    figure: Figure::Suitcase,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Suitcase", "SUITC", (89, 289), (2600, 4200)),
                        noun("Cabin Case", "CABIN", (79, 229), (2000, 3100)),
                        noun("Trunk", "TRUNK", (119, 349), (3500, 6000)),
                    ],
                    attributes: &[
                        ("material", &["polycarbonate", "aluminium", "recycled polyester"]),
                        ("volume", &["36 l", "42 l", "65 l", "90 l"]),
                        ("colour", BRIGHT_COLOURS),
                    ],
                    axis: sizes(&["55 cm", "66 cm", "77 cm"], 22),
                    openings: &[
                        "This {noun} in {material} rolls straight and keeps rolling.",
                        "The {series} has been dropped, sat upon and rained on, all on purpose.",
                        "Pack once, travel twice: the {series} keeps things where they were put.",
                    ],
                    details: &[
                        "The wheels are silent on tiles and patient on cobbles.",
                        "Two straps inside hold it all down.",
                        "The lock opens with three digits of your choice.",
                    ],
                },
            ],
        },
        Shelf {
            heading: Some(("camping", "Camping")),
            leaves: &[
                Leaf {
                    slug: "tents",
                    name: "Tents",
                    code: "TNT",
                    figure: Figure::Tent,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Tent", "TENT", (119, 449), (2200, 5200)),
                        noun("Trekking Tent", "TREKT", (179, 599), (1300, 2600)),
                        noun("Family Tent", "FAMLY", (229, 699), (6000, 14000)),
                        noun("Dome Tent", "DOMET", (99, 349), (2000, 4500)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["ripstop nylon", "recycled polyester", "cotton blend"],
                        ),
                        ("season", &["three seasons", "four seasons", "summer"]),
                        ("colour", BRIGHT_COLOURS),
                    ],
                    axis: Some(super::Axis {
                        name: "sleeps",
                        values: &["1", "2", "3", "4"],
                        variants: (1, 3),
                        neighbours: true,
                        step_percent: 30,
                    }),
                    openings: &[
                        "The {series} goes up in the time it takes to boil water.",
                        "A {noun} of {material} for {season}, with room for wet boots.",
                        "Wind slides over the {series} and leaves those inside to sleep.",
                    ],
                    details: &[
                        "The poles are marked by colour.",
                        "Pegs, lines and a repair patch are in the bag.",
                        "Two doors mean that nobody climbs over anybody.",
                    ],
                },
                Leaf {
                    slug: "sleeping-bags",
                    name: "Sleeping Bags",
                    code: "SLP",
                    figure: Figure::SleepingBag,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Sleeping Bag", "SLEEP", (59, 289), (900, 2000)),
                        noun("Mummy Sleeping Bag", "MUMMY", (79, 349), (800, 1700)),
                        noun("Summer Sleeping Bag", "SUMMR", (39, 129), (600, 1100)),
                        noun("Camping Quilt", "CQUIL", (69, 249), (600, 1200)),
                    ],
                    attributes: &[
                        ("filling", &["recycled fibre", "responsible down", "wool"]),
                        ("comfort", &["-8 °C", "-2 °C", "3 °C", "9 °C"]),
                        ("colour", BRIGHT_COLOURS),
                    ],
                    axis: sizes(&["short", "regular", "long"], 8),
                    openings: &[
                        "Filled with {filling}, this {noun} is comfortable down to {comfort}.",
                        "The {series} is roomy at the shoulders and snug at the feet.",
                        "A clear night is a pleasure from inside the {series}.",
                    ],
                    details: &[
                        "The zip does not catch, not even in the dark.",
                        "A stuff sack is sewn on, so that it can't be lost.",
                        "Two of them can be joined.",
                    ],
                },
                Leaf {
                    slug: "water-bottles",
                    name: "Water Bottles",
                    code: "BTL",
                    figure: Figure::Bottle,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Water Bottle", "WATER", (14, 39), (200, 420)),
                        noun("Insulated Bottle", "INSUL", (19, 49), (300, 550)),
                        noun("Flask", "FLASK", (19, 55), (350, 650)),
                        noun("Sports Bottle", "SPORT", (12, 32), (150, 300)),
                    ],
                    attributes: &[
                        ("material", &["stainless steel", "aluminium", "recycled steel"]),
                        ("colour", BRIGHT_COLOURS),
                        ("cap", &["screw cap", "loop cap", "sports cap"]),
                    ],
                    axis: Some(super::Axis {
                        name: "capacity",
                        values: &["0.35 l", "0.5 l", "0.75 l", "1 l"],
                        variants: (1, 4),
                        neighbours: true,
                        step_percent: 14,
                    }),
                    openings: &[
                        "This {noun} in {material} keeps cold drinks cold until the top of the hill.",
                        "The {series} does not leak, whatever the bag goes through.",
                        "Fill the {series} in the morning and forget about plastic for the day.",
                    ],
                    details: &[
                        "It comes with a {cap}.",
                        "The mouth is wide enough for ice and for a brush.",
                        "The lacquer is powder-coated and does not mind keys.",
                    ],
                },
                Leaf {
                    slug: "headlamps",
                    name: "Headlamps",
                    code: "HDL",
                    figure: Figure::Headlamp,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Headlamp", "HEADL", (19, 89), (80, 160)),
                        noun("Running Headlamp", "RUNHL", (29, 99), (60, 120)),
                        noun("Rechargeable Headlamp", "RECHL", (35, 109), (80, 150)),
                    ],
                    attributes: &[
                        ("brightness", &["200 lm", "350 lm", "500 lm", "900 lm"]),
                        ("battery", &["built in", "three AAA cells", "one 18650 cell"]),
                        ("burning time", &["6 h", "12 h", "40 h"]),
                    ],
                    axis: colours(BRIGHT_COLOURS),
                    openings: &[
                        "With {brightness}, this {noun} finds the path and the tent pegs.",
                        "The {series} sits firmly without pressing.",
                        "One button, three levels, and a red light for reading maps: that is the {series}.",
                    ],
                    details: &[
                        "On the low level it lasts {burning time}.",
                        "Rain does it no harm.",
                        "Battery: {battery}.",
                    ],
                },
            ],
        },
    ],
};
