//! Sound and small machines.

use super::{BRIGHT_COLOURS, Department, Leaf, Naming, Shelf, colours, noun};
use crate::demo::picture::Figure;

pub(super) static ELECTRONICS: Department = Department {
    slug: "electronics",
    name: "Electronics",
    brands: &[
        "Voltharrow",
        "Humbelow",
        "Sonderlake Audio",
        "Keyfirth",
        "Tonewrithe",
        "Circuitry Row",
        "Pulsabelle",
        "Nodewick",
    ],
    remarks: &[
        "It works out of the box, without an account.",
        "It opens with an ordinary screwdriver.",
        "It does what it says, and nothing behind your back.",
        "A cable is included, a charger is not: there are enough of them.",
    ],
    shelves: &[
        Shelf {
            heading: Some(("audio", "Audio")),
            leaves: &[
                Leaf {
                    slug: "headphones",
                    name: "Headphones",
                    code: "HPH",
                    figure: Figure::Headphones,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Headphones", "HEADP", (49, 289), (300, 550)),
                        noun("Wireless Headphones", "WIRHP", (69, 349), (300, 550)),
                        noun("Studio Headphones", "STUDI", (89, 399), (350, 650)),
                        noun("Children's Headphones", "CHILD", (25, 69), (200, 350)),
                    ],
                    attributes: &[
                        ("playing time", &["20 h", "30 h", "40 h", "60 h"]),
                        ("connection", &["wireless", "cable", "wireless and cable"]),
                        ("noise cancelling", &["yes", "no"]),
                    ],
                    axis: colours(BRIGHT_COLOURS),
                    openings: &[
                        "These {noun} put the band in the room and the room out of mind.",
                        "The {series} weighs little and sounds like more.",
                        "Voices come through clear and close on the {series}, on the train as in the kitchen.",
                    ],
                    details: &[
                        "One charge lasts for {playing time}.",
                        "The ear pads come off and can be bought anew.",
                        "Two devices can be connected at once.",
                        "It folds flat into a cloth pouch.",
                    ],
                },
                Leaf {
                    slug: "speakers",
                    name: "Speakers",
                    code: "SPK",
                    figure: Figure::Speaker,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Speaker", "SPEAK", (49, 249), (700, 2200)),
                        noun("Portable Speaker", "PORTS", (39, 179), (400, 1100)),
                        noun("Bookshelf Speaker", "BOOKS", (99, 449), (3200, 6500)),
                        noun("Kitchen Radio", "RADIO", (49, 189), (900, 2000)),
                    ],
                    attributes: &[
                        ("material", &["oak", "walnut", "recycled plastic", "aluminium"]),
                        ("power", &["10 W", "20 W", "40 W", "60 W"]),
                        ("playing time", &["12 h", "18 h", "24 h"]),
                    ],
                    axis: colours(BRIGHT_COLOURS),
                    openings: &[
                        "This {noun} fills a room with {power} and does not shout.",
                        "The {series} hides good sound in a small case of {material}.",
                        "From the first note the {series} sounds twice its size.",
                    ],
                    details: &[
                        "It plays for {playing time} away from the socket.",
                        "Two of them make a pair.",
                        "The knob turns with a click that one gets fond of.",
                    ],
                },
            ],
        },
        Shelf {
            heading: Some(("desk-and-power", "Desk & Power")),
            leaves: &[
                Leaf {
                    slug: "power-banks",
                    name: "Power Banks",
                    code: "PWR",
                    figure: Figure::PowerBank,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Power Bank", "POWER", (19, 79), (180, 420)),
                        noun("Solar Power Bank", "SOLAR", (35, 99), (300, 600)),
                        noun("Pocket Power Bank", "PCKPB", (15, 45), (100, 200)),
                    ],
                    attributes: &[
                        ("capacity", &["5,000 mAh", "10,000 mAh", "20,000 mAh"]),
                        ("output", &["12 W", "20 W", "45 W", "65 W"]),
                    ],
                    axis: colours(BRIGHT_COLOURS),
                    openings: &[
                        "With {capacity}, this {noun} gets a telephone through a long weekend.",
                        "The {series} gives {output} and stays cool.",
                        "Small enough for a pocket, the {series} is there when the socket is not.",
                    ],
                    details: &[
                        "Four lights tell what is left.",
                        "It charges itself overnight.",
                        "Allowed in hand luggage.",
                    ],
                },
                Leaf {
                    slug: "keyboards",
                    name: "Keyboards",
                    code: "KEY",
                    figure: Figure::Keyboard,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Keyboard", "KEYBD", (39, 149), (500, 1000)),
                        noun("Mechanical Keyboard", "MECHA", (69, 229), (800, 1500)),
                        noun("Compact Keyboard", "COMPK", (35, 129), (350, 700)),
                        noun("Split Keyboard", "SPLIT", (119, 349), (700, 1200)),
                    ],
                    attributes: &[
                        ("switches", &["linear", "tactile", "quiet tactile"]),
                        ("connection", &["cable", "wireless", "wireless and cable"]),
                        ("colour", BRIGHT_COLOURS),
                    ],
                    axis: Some(super::Axis {
                        name: "layout",
                        values: &["US", "UK", "DE", "FR"],
                        variants: (1, 4),
                        neighbours: false,
                        step_percent: 0,
                    }),
                    openings: &[
                        "This {noun} with {switches} switches is a pleasure to type on, and to stop typing on.",
                        "The {series} takes up little of the desk and none of your patience.",
                        "Every key of the {series} answers alike, from the first letter to the last.",
                    ],
                    details: &[
                        "The keycaps are printed through, so that the letters stay.",
                        "Connection: {connection}.",
                        "Feet of two heights fold out underneath.",
                    ],
                },
            ],
        },
    ],
};
