//! Kitchen and table.

use super::{Department, HOME_COLOURS, Leaf, Naming, Shelf, colours, noun, sizes};
use crate::demo::picture::Figure;

pub(super) static KITCHEN: Department = Department {
    slug: "kitchen",
    name: "Kitchen & Dining",
    brands: &[
        "Oakenfirth",
        "Pellandine",
        "Tablewick",
        "Hearthmoor",
        "Crockerlane",
        "Simmerleigh",
        "Ladle & Larch",
        "Quillbrook",
        "Marrowick",
    ],
    remarks: &[
        "Safe for contact with food, and tested for it.",
        "It cleans up in a minute and dries without marks.",
        "Sized for an ordinary cupboard.",
        "Happy in a home kitchen and in a small café.",
        "Looks after itself with warm water and a soft cloth.",
    ],
    shelves: &[
        Shelf {
            heading: Some(("coffee-and-tea", "Coffee & Tea")),
            leaves: &[
                Leaf {
                    slug: "kettles",
                    name: "Kettles",
                    code: "BRW",
                    figure: Figure::Kettle,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Kettle", "KETTL", (29, 89), (900, 1600)),
                        noun("Gooseneck Kettle", "GOOSE", (39, 119), (800, 1400)),
                        noun("Whistling Kettle", "WHIST", (25, 75), (900, 1500)),
                        noun("Stovetop Kettle", "STOVE", (22, 69), (800, 1400)),
                        noun("Travel Kettle", "TRAVL", (19, 45), (500, 800)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["stainless steel", "enamelled steel", "brushed steel", "copper"],
                        ),
                        ("capacity", &["0.8 l", "1.0 l", "1.2 l", "1.7 l"]),
                        ("handle", &["beech", "walnut", "silicone", "cork"]),
                    ],
                    axis: colours(HOME_COLOURS),
                    openings: &[
                        "This {noun} brings {capacity} of water to the boil and pours it without a splash.",
                        "Made of {material} with a handle of {handle}, the {series} boils fast and looks well on any hob.",
                        "The {series} pours in a thin, steady stream, from the first cup to the last.",
                    ],
                    details: &[
                        "The lid opens wide, so that limescale has nowhere to hide.",
                        "The handle of {handle} stays cool while the water does not.",
                        "A drip-free spout keeps the table dry.",
                        "It holds {capacity}, enough for a pot of tea and a second one.",
                    ],
                },
                Leaf {
                    slug: "coffee-makers",
                    name: "Coffee Makers",
                    code: "COF",
                    figure: Figure::CoffeePress,
                    naming: Naming::Made,
                    nouns: &[
                        noun("French Press", "PRESS", (24, 69), (600, 1100)),
                        noun("Pour-Over Set", "POUR", (22, 59), (500, 900)),
                        noun("Moka Pot", "MOKA", (25, 65), (500, 900)),
                        noun("Cold Brew Jar", "COLD", (19, 49), (700, 1200)),
                        noun("Percolator", "PERCO", (29, 89), (700, 1200)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &[
                                "borosilicate glass",
                                "stainless steel",
                                "stoneware",
                                "cast aluminium",
                            ],
                        ),
                        ("dishwasher", &["yes", "no"]),
                    ],
                    axis: sizes(&["2 cups", "4 cups", "6 cups", "8 cups"], 18),
                    openings: &[
                        "A slow morning starts with this {noun} in {material}.",
                        "The {series} gets more out of good beans and forgives the lesser ones.",
                        "{brand} built this {noun} for people who care about coffee but not about ceremony.",
                    ],
                    details: &[
                        "Every part comes off for cleaning.",
                        "The filter is fine enough to keep the cup clear.",
                        "Works with a coarse grind and a little patience.",
                        "A measuring spoon is in the box.",
                    ],
                },
                Leaf {
                    slug: "mugs",
                    name: "Mugs & Cups",
                    code: "MUG",
                    figure: Figure::Mug,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Mug", "MUG", (9, 28), (300, 500)),
                        noun("Espresso Cup", "ESPRO", (7, 19), (150, 250)),
                        noun("Tea Cup", "TEACP", (8, 24), (220, 380)),
                        noun("Breakfast Cup", "BREAK", (11, 29), (380, 560)),
                        noun("Latte Bowl", "LATTE", (10, 27), (350, 560)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &[
                                "stoneware",
                                "porcelain",
                                "bone china",
                                "enamelled steel",
                                "earthenware",
                            ],
                        ),
                        ("glaze", &["matt", "glossy", "speckled", "reactive"]),
                        ("pattern", &["plain", "striped", "dotted", "banded"]),
                    ],
                    axis: colours(HOME_COLOURS),
                    openings: &[
                        "This {noun} in {material} sits in the hand as if it had always been there.",
                        "A {glaze} glaze makes each {noun} of the {series} line a little different.",
                        "The {series} keeps a drink warm to the last mouthful.",
                    ],
                    details: &[
                        "It goes into the dishwasher and the microwave oven.",
                        "The foot is ground smooth, so that it leaves no marks on wood.",
                        "The handle has room for three fingers.",
                        "It stacks with its siblings.",
                    ],
                },
            ],
        },
        Shelf {
            heading: Some(("cookware", "Cookware")),
            leaves: &[
                Leaf {
                    slug: "pots-and-pans",
                    name: "Pots & Pans",
                    code: "PAN",
                    figure: Figure::Pan,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Frying Pan", "FRYPN", (29, 99), (1100, 2400)),
                        noun("Saucepan", "SAUCE", (32, 95), (1000, 1900)),
                        noun("Casserole", "CASSR", (59, 219), (3200, 5600)),
                        noun("Wok", "WOK", (35, 89), (1300, 2200)),
                        noun("Grill Pan", "GRILL", (34, 95), (1800, 3000)),
                        noun("Stockpot", "STOCK", (45, 139), (1900, 3400)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["cast iron", "carbon steel", "stainless steel", "forged aluminium"],
                        ),
                        ("hob", &["all hobs", "gas and electric", "all but induction"]),
                    ],
                    axis: sizes(&["20 cm", "24 cm", "28 cm", "32 cm"], 16),
                    openings: &[
                        "This {noun} in {material} takes the heat evenly and keeps it.",
                        "The {series} goes from the hob to the oven and from there to the table.",
                        "One {noun} that does the work of three: that is the idea behind the {series}.",
                    ],
                    details: &[
                        "Suitable for {hob}.",
                        "It gets better with every meal that is cooked in it.",
                        "The rivets are flush, so that nothing sticks to them.",
                        "A second grip makes it easy to lift when full.",
                    ],
                },
                Leaf {
                    slug: "kitchen-knives",
                    name: "Kitchen Knives",
                    code: "KNF",
                    figure: Figure::Knife,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Chef's Knife", "CHEF", (39, 189), (220, 380)),
                        noun("Paring Knife", "PARNG", (14, 59), (90, 160)),
                        noun("Bread Knife", "BREAD", (29, 99), (200, 340)),
                        noun("Santoku Knife", "SANTK", (39, 179), (200, 340)),
                        noun("Carving Knife", "CARVE", (35, 129), (200, 340)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["high-carbon steel", "stainless steel", "layered steel"],
                        ),
                        ("handle", &["walnut", "olive wood", "birch", "black composite"]),
                        ("hardness", &["56 HRC", "58 HRC", "60 HRC", "62 HRC"]),
                    ],
                    axis: None,
                    openings: &[
                        "A blade of {material} and a handle of {handle}: this {noun} needs nothing else.",
                        "The {series} arrives sharp enough for a ripe tomato, and stays so.",
                        "This {noun} is balanced where the finger rests, so that it does not tire the hand.",
                    ],
                    details: &[
                        "Hardened to {hardness}.",
                        "A few strokes on a whetstone bring the edge back.",
                        "Wash it by hand; the handle will thank you.",
                        "A card sheath for the drawer is included.",
                    ],
                },
            ],
        },
        Shelf {
            heading: Some(("tableware", "Tableware")),
            leaves: &[
                Leaf {
                    slug: "plates-and-bowls",
                    name: "Plates & Bowls",
                    code: "PLT",
                    figure: Figure::Plate,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Dinner Plate", "DINNR", (12, 34), (600, 950)),
                        noun("Side Plate", "SIDEP", (8, 24), (320, 520)),
                        noun("Pasta Bowl", "PASTA", (12, 32), (550, 850)),
                        noun("Cereal Bowl", "CEREL", (9, 24), (380, 600)),
                        noun("Serving Dish", "SERVE", (24, 69), (1100, 2000)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["stoneware", "porcelain", "bone china", "earthenware"],
                        ),
                        ("glaze", &["matt", "glossy", "speckled", "reactive"]),
                    ],
                    axis: colours(HOME_COLOURS),
                    openings: &[
                        "This {noun} in {material} makes a weekday supper look like an occasion.",
                        "A raised rim keeps the sauce of any dish where it belongs.",
                        "The {series} pairs a {glaze} glaze with a shape that stacks.",
                    ],
                    details: &[
                        "It stands up to the dishwasher, the freezer and the microwave oven.",
                        "Fired twice, so that knives leave no grey marks.",
                        "Mix the colours of the line: they were made to meet.",
                    ],
                },
                Leaf {
                    slug: "glasses",
                    name: "Glasses",
                    code: "GLS",
                    figure: Figure::Glass,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Tumblers, Set of Four", "TUMBL", (19, 59), (1000, 1700)),
                        noun("Wine Glasses, Set of Six", "WINE", (35, 99), (1100, 1800)),
                        noun("Carafe", "CARAF", (18, 49), (600, 1000)),
                        noun("Beer Glasses, Set of Two", "BEER", (14, 35), (600, 950)),
                        noun("Water Jug", "WJUG", (22, 59), (800, 1300)),
                    ],
                    attributes: &[
                        (
                            "glass",
                            &["recycled glass", "crystal glass", "borosilicate glass"],
                        ),
                        ("finish", &["clear", "fluted", "smoked", "hammered"]),
                    ],
                    axis: None,
                    openings: &[
                        "The {series} catches the light in {glass}, {finish} and thin at the lip.",
                        "{brand} blows every piece of the {series} by hand, so that no two are quite the same.",
                        "Made of {glass}, the {series} is lighter than it looks and tougher than it feels.",
                    ],
                    details: &[
                        "It goes into the dishwasher without going cloudy.",
                        "The base is weighted, so that it stays upright.",
                        "Good for water at noon and for something else at night.",
                    ],
                },
            ],
        },
    ],
};
