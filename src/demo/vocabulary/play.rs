//! Toys and games.

use super::{Axis, Department, Leaf, Naming, Shelf, noun};
use crate::demo::picture::Figure;

pub(super) static PLAY: Department = Department {
    slug: "toys-and-games",
    name: "Toys & Games",
    brands: &[
        "Tumblebarn",
        "Knotty Otter",
        "Pawn & Pebble",
        "Wobblecroft",
        "Merrimoth",
        "Boxkite Parlour",
    ],
    remarks: &[
        "Lost pieces are replaced free of charge.",
        "Tested by children and their grandparents.",
        "The box is sturdy and closes properly.",
        "Made without batteries, screens or glitter.",
    ],
    shelves: &[Shelf {
        heading: None,
        leaves: &[
            Leaf {
                slug: "board-games",
                name: "Board Games",
                code: "BGM",
                figure: Figure::BoardGame,
                naming: Naming::Titled {
                    patterns: &["{first} {second}", "{second} of the {first}"],
                    first: &[
                        "Heron", "Copper", "Monsoon", "Badger", "Velvet", "Cinnamon", "Tinker", "Moonlit",
                        "Turnip", "Glacier", "Parrot", "Lantern",
                    ],
                    second: &[
                        "Market",
                        "Express",
                        "Harvest",
                        "Expedition",
                        "Bazaar",
                        "Council",
                        "Rivers",
                        "Bandits",
                        "Workshop",
                        "Islands",
                        "Parade",
                        "Detectives",
                    ],
                },
                nouns: &[
                    noun("A Strategy Game", "STRAT", (25, 69), (900, 2200)),
                    noun("A Family Game", "FAMGM", (19, 45), (600, 1300)),
                    noun("A Card Game", "CARDG", (9, 24), (180, 400)),
                    noun("A Cooperative Game", "COOPG", (22, 55), (700, 1600)),
                ],
                attributes: &[
                    ("players", &["1-4", "2", "2-4", "2-6", "3-8"]),
                    (
                        "playing time",
                        &["15 minutes", "30 minutes", "60 minutes", "90 minutes"],
                    ),
                    ("age", &["6+", "8+", "10+", "12+"]),
                ],
                axis: None,
                openings: &[
                    "The rules take five minutes, the game takes {playing time}, and the talk about it all evening.",
                    "Trade, bluff and build your way to the front, for {players} players.",
                    "Everyone plays at once, so that nobody waits.",
                ],
                details: &[
                    "The pieces are wood, the cards are linen-finished.",
                    "No two games run alike.",
                    "Good from {age}, and long after.",
                ],
            },
            Leaf {
                slug: "jigsaw-puzzles",
                name: "Jigsaw Puzzles",
                code: "JIG",
                figure: Figure::Puzzle,
                naming: Naming::Titled {
                    patterns: &["{second} in {first}", "The {second}, {first}"],
                    first: &[
                        "Spring",
                        "Rain",
                        "Autumn",
                        "Snow",
                        "Moonlight",
                        "Blue",
                        "Bloom",
                        "Carnival",
                        "Morning",
                        "Stillness",
                    ],
                    second: &[
                        "Old Harbour",
                        "Botanical Garden",
                        "Railway Station",
                        "Library",
                        "Map Room",
                        "Market Square",
                        "Alpine Hut",
                        "Tidal Pool",
                        "Greenhouse",
                        "Night Train",
                    ],
                },
                nouns: &[
                    noun("A Jigsaw Puzzle", "JIGSW", (14, 34), (500, 1000)),
                    noun("A Wooden Puzzle", "WOODP", (24, 69), (600, 1200)),
                    noun("A Panorama Puzzle", "PANOR", (17, 39), (600, 1100)),
                ],
                attributes: &[
                    ("difficulty", &["easy", "medium", "hard"]),
                    ("surface", &["matt", "linen", "glossy"]),
                ],
                axis: Some(Axis {
                    name: "pieces",
                    values: &["100", "500", "1000", "2000"],
                    variants: (1, 3),
                    neighbours: true,
                    step_percent: 20,
                }),
                openings: &[
                    "A picture full of small jokes that only show when the last piece is in.",
                    "Clear the table: this one is worth a rainy weekend.",
                    "Painted for the purpose, with hardly any sky.",
                ],
                details: &[
                    "The pieces click and stay, on a {surface} surface.",
                    "A poster of the picture is in the box.",
                    "Pieces are sorted into bags by area, for those who want it.",
                ],
            },
            Leaf {
                slug: "building-blocks",
                name: "Building Blocks",
                code: "BLD",
                figure: Figure::Blocks,
                naming: Naming::Made,
                nouns: &[
                    noun("Building Blocks", "BLOCK", (19, 79), (900, 2600)),
                    noun("Marble Run", "MARBL", (29, 99), (1100, 2800)),
                    noun("Stacking Tower", "STACK", (14, 39), (500, 1100)),
                    noun("Wooden Railway", "RAILW", (29, 119), (1200, 3200)),
                ],
                attributes: &[
                    ("material", &["beech", "maple", "lime wood"]),
                    ("finish", &["natural", "oiled", "stained in colour"]),
                    ("age", &["1+", "2+", "3+", "4+"]),
                ],
                axis: Some(Axis {
                    name: "pieces",
                    values: &["24", "48", "72", "100"],
                    variants: (1, 3),
                    neighbours: true,
                    step_percent: 45,
                }),
                openings: &[
                    "Made of {material}, the {series} becomes a castle, a harbour or a very tall tower.",
                    "What children build with the {series} is never in the instructions: there are none.",
                    "The {series} survives being thrown, chewed and inherited.",
                ],
                details: &[
                    "Every edge is rounded and sanded by hand.",
                    "The finish is {finish} and safe for small mouths.",
                    "Fits with all other sets of the line.",
                ],
            },
        ],
    }],
};
