//! Garden and balcony.

use super::{Department, HOME_COLOURS, Leaf, Naming, Shelf, colours, noun, sizes};
use crate::demo::picture::Figure;

pub(super) static GARDEN: Department = Department {
    slug: "garden",
    name: "Garden",
    brands: &[
        "Sproutleigh & Spade",
        "Loamwright",
        "Greenhallow",
        "Trowelby",
        "Dibber & Dale",
        "Pottinglane",
    ],
    remarks: &[
        "Leave it outside: it has seen worse.",
        "As good on a balcony as in an acre.",
        "Frost does it no harm.",
        "Made for hands with soil on them.",
    ],
    shelves: &[Shelf {
        heading: None,
        leaves: &[
            Leaf {
                slug: "planters",
                name: "Pots & Planters",
                code: "PLN",
                figure: Figure::Planter,
                naming: Naming::Made,
                nouns: &[
                    noun("Plant Pot", "PLANT", (9, 49), (700, 2400)),
                    noun("Planter", "PLTER", (25, 119), (2200, 6500)),
                    noun("Hanging Planter", "HANGP", (15, 45), (400, 1100)),
                    noun("Herb Trough", "HERBT", (19, 59), (1100, 2800)),
                ],
                attributes: &[
                    (
                        "material",
                        &["terracotta", "stoneware", "galvanised steel", "recycled plastic"],
                    ),
                    ("colour", HOME_COLOURS),
                    ("drainage", &["hole and saucer", "hole", "water reservoir"]),
                ],
                axis: sizes(&["14 cm", "18 cm", "24 cm", "32 cm"], 35),
                openings: &[
                    "This {noun} in {material} gives roots room and leaves a stage.",
                    "The {series} holds water when it must and lets go when it should.",
                    "Basil, fern or lemon tree: the {series} takes them all.",
                ],
                details: &[
                    "Drainage: {drainage}.",
                    "It keeps its colour in full sun.",
                    "The surface takes on a patina with the years.",
                ],
            },
            Leaf {
                slug: "garden-tools",
                name: "Garden Tools",
                code: "GTL",
                figure: Figure::Trowel,
                naming: Naming::Made,
                nouns: &[
                    noun("Hand Trowel", "TROWL", (12, 39), (220, 420)),
                    noun("Hand Fork", "HFORK", (12, 39), (220, 420)),
                    noun("Secateurs", "SECAT", (19, 79), (200, 380)),
                    noun("Weeding Knife", "WEEDK", (15, 49), (200, 380)),
                    noun("Border Spade", "SPADE", (35, 99), (1300, 2200)),
                ],
                attributes: &[
                    ("material", &["forged steel", "stainless steel", "carbon steel"]),
                    ("handle", &["ash", "beech", "oak"]),
                ],
                axis: None,
                openings: &[
                    "With {material} and a handle of {handle}, the {series} makes short work of a border.",
                    "The {series} is light in the hand and heavy where it counts.",
                    "{brand} forges the {series} in one piece, so that nothing works loose.",
                ],
                details: &[
                    "A leather loop hangs it by the door.",
                    "The edge can be sharpened with a file.",
                    "Oil the handle once a year.",
                ],
            },
            Leaf {
                slug: "watering-cans",
                name: "Watering Cans",
                code: "WTR",
                figure: Figure::WateringCan,
                naming: Naming::Made,
                nouns: &[
                    noun("Watering Can", "WCAN", (19, 69), (700, 1700)),
                    noun("Indoor Watering Can", "INDOR", (15, 49), (350, 800)),
                    noun("Long-Spout Watering Can", "LONGS", (22, 65), (600, 1400)),
                ],
                attributes: &[
                    (
                        "material",
                        &[
                            "galvanised steel",
                            "powder-coated steel",
                            "copper",
                            "recycled plastic",
                        ],
                    ),
                    ("capacity", &["0.5 l", "1.5 l", "5 l", "9 l"]),
                ],
                axis: colours(HOME_COLOURS),
                openings: &[
                    "This {noun} carries {capacity} and is balanced when full.",
                    "The {series} rains softly enough for seedlings.",
                    "In {material}, the {series} is too handsome for the shed.",
                ],
                details: &[
                    "The rose comes off for cleaning.",
                    "A long spout reaches the back row.",
                    "The handle is wide enough for gloves.",
                ],
            },
        ],
    }],
};
