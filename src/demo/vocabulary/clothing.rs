//! What one wears.

use super::{
    CLOTH_COLOURS, Department, GARMENT_SIZES, Leaf, Naming, SHOE_SIZES, Shelf, colours, noun, sizes,
};
use crate::demo::picture::Figure;

pub(super) static CLOTHING: Department = Department {
    slug: "clothing",
    name: "Clothing & Shoes",
    brands: &[
        "Threadmarrow",
        "Northfennel",
        "Pennyweft",
        "Caskerleigh",
        "Woolstane",
        "Brindle & Tuck",
        "Harrowden Cloth",
        "Selkirby",
        "Farlingway",
    ],
    remarks: &[
        "Sewn in a workshop that is visited twice a year.",
        "It fits true to size; between two sizes, take the larger.",
        "Dyed without heavy metals.",
        "It looks better after a year than on the first day.",
        "Made to be worn rather than saved for best.",
    ],
    shelves: &[
        Shelf {
            heading: Some(("tops", "Tops")),
            leaves: &[
                Leaf {
                    slug: "t-shirts",
                    name: "T-Shirts",
                    code: "TSH",
                    figure: Figure::TShirt,
                    naming: Naming::Made,
                    nouns: &[
                        noun("T-Shirt", "TEE", (15, 45), (160, 240)),
                        noun("Long-Sleeved T-Shirt", "LONGT", (22, 55), (200, 300)),
                        noun("Striped T-Shirt", "STRPT", (18, 49), (160, 250)),
                        noun("Pocket T-Shirt", "POCKT", (18, 45), (170, 250)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["organic cotton", "hemp", "cotton and linen", "merino wool"],
                        ),
                        ("colour", CLOTH_COLOURS),
                        ("fit", &["slim", "regular", "relaxed"]),
                    ],
                    axis: GARMENT_SIZES,
                    openings: &[
                        "This {noun} in {material} is the one that gets picked first.",
                        "The {series} is cut {fit} and falls straight from the shoulder.",
                        "Soft from the first day, this {noun} keeps its shape wash after wash.",
                    ],
                    details: &[
                        "The neckband is doubled and does not stretch.",
                        "No label scratches: size and care are printed inside.",
                        "Wash at 30 °C, dry on the line.",
                    ],
                },
                Leaf {
                    slug: "shirts",
                    name: "Shirts",
                    code: "SHR",
                    figure: Figure::Shirt,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Shirt", "SHIRT", (35, 109), (220, 380)),
                        noun("Overshirt", "OVERS", (49, 139), (450, 750)),
                        noun("Work Shirt", "WORKS", (39, 99), (350, 550)),
                        noun("Grandad Shirt", "GRAND", (35, 95), (220, 360)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["linen", "oxford cotton", "flannel", "poplin", "chambray"],
                        ),
                        ("colour", CLOTH_COLOURS),
                        ("fit", &["slim", "regular", "relaxed"]),
                    ],
                    axis: GARMENT_SIZES,
                    openings: &[
                        "This {noun} of {material} suits days that may turn out either way.",
                        "The {series} looks right tucked in and just as right when it is not.",
                        "This {noun} is cut {fit}, with room to reach for the top shelf.",
                    ],
                    details: &[
                        "The buttons are corozo nut, sewn on for good.",
                        "Split yoke, single-needle seams.",
                        "Iron it damp, or do not iron it at all.",
                    ],
                },
                Leaf {
                    slug: "knitwear",
                    name: "Knitwear",
                    code: "KNT",
                    figure: Figure::Jumper,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Jumper", "JUMPR", (49, 169), (400, 800)),
                        noun("Cardigan", "CARDI", (55, 179), (450, 850)),
                        noun("Roll-Neck", "ROLLN", (55, 169), (420, 750)),
                        noun("Knitted Vest", "VEST", (39, 109), (250, 450)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["lambswool", "merino wool", "alpaca", "cotton and wool"],
                        ),
                        ("colour", CLOTH_COLOURS),
                        ("knit", &["fine", "ribbed", "cable", "waffle"]),
                    ],
                    axis: GARMENT_SIZES,
                    openings: &[
                        "Knitted from {material}, this {noun} is warm in the wind and light indoors.",
                        "A {knit} knit gives the {series} its character.",
                        "The {series} is the kind of thing that gets borrowed and not returned.",
                    ],
                    details: &[
                        "Linked by hand at the shoulder.",
                        "Wash it cool and dry it flat.",
                        "Cuffs and hem are ribbed and stay where they are.",
                    ],
                },
            ],
        },
        Shelf {
            heading: Some(("outerwear-and-trousers", "Outerwear & Trousers")),
            leaves: &[
                Leaf {
                    slug: "jackets",
                    name: "Jackets",
                    code: "JKT",
                    figure: Figure::Jacket,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Rain Jacket", "RAINJ", (79, 249), (400, 800)),
                        noun("Field Jacket", "FIELD", (89, 259), (800, 1400)),
                        noun("Quilted Jacket", "QUILT", (79, 229), (500, 950)),
                        noun("Chore Jacket", "CHORE", (69, 189), (700, 1200)),
                        noun("Parka", "PARKA", (129, 349), (1100, 1900)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["waxed cotton", "recycled nylon", "cotton canvas", "wool blend"],
                        ),
                        ("colour", CLOTH_COLOURS),
                        ("lining", &["unlined", "cotton", "quilted", "fleece"]),
                    ],
                    axis: GARMENT_SIZES,
                    openings: &[
                        "This {noun} of {material} makes the weather somebody else's problem.",
                        "The {series} has pockets for keys, gloves, a book and an apple.",
                        "Made for the walk to work and for the long way home, the {series} moves when you do.",
                    ],
                    details: &[
                        "The zip runs both ways.",
                        "Lining: {lining}.",
                        "One more pocket hides inside.",
                        "The shoulders are doubled, where rain and rucksack meet.",
                    ],
                },
                Leaf {
                    slug: "trousers",
                    name: "Trousers",
                    code: "TRS",
                    figure: Figure::Trousers,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Chinos", "CHINO", (45, 119), (400, 650)),
                        noun("Five-Pocket Trousers", "FIVEP", (55, 149), (600, 950)),
                        noun("Pleated Trousers", "PLEAT", (49, 129), (500, 800)),
                        noun("Drawstring Trousers", "DRAWS", (39, 99), (300, 550)),
                        noun("Work Trousers", "WORKT", (49, 129), (550, 900)),
                    ],
                    attributes: &[
                        ("material", &["cotton twill", "denim", "corduroy", "linen blend"]),
                        ("colour", CLOTH_COLOURS),
                        ("leg", &["tapered", "straight", "wide"]),
                    ],
                    axis: GARMENT_SIZES,
                    openings: &[
                        "These {noun} in {material} are cut with a {leg} leg and a sensible rise.",
                        "The {series} is at ease in the office and on the floor with a train set.",
                        "{brand} makes these {noun} to last, and to be mended when they do not.",
                    ],
                    details: &[
                        "The pockets are deep and made of stout cotton.",
                        "Bar tacks sit at every point that takes strain.",
                        "The hem has something to spare for letting down.",
                    ],
                },
            ],
        },
        Shelf {
            heading: Some(("accessories", "Accessories")),
            leaves: &[
                Leaf {
                    slug: "socks",
                    name: "Socks",
                    code: "SCK",
                    figure: Figure::Sock,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Socks", "SOCKS", (7, 22), (60, 100)),
                        noun("Walking Socks", "WALKS", (12, 28), (90, 140)),
                        noun("Ankle Socks", "ANKLE", (6, 16), (40, 70)),
                        noun("Socks, Three Pairs", "THREE", (18, 49), (180, 300)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["merino wool", "organic cotton", "bamboo", "recycled wool"],
                        ),
                        ("colour", CLOTH_COLOURS),
                        ("pattern", &["plain", "striped", "flecked", "dotted"]),
                    ],
                    axis: sizes(&["36-38", "39-41", "42-44", "45-47"], 0),
                    openings: &[
                        "Knitted from {material}, the {series} keeps feet dry and tempers even.",
                        "Good shoes deserve good socks, and these are {pattern} into the bargain.",
                        "The {series} stays up without leaving a mark.",
                    ],
                    details: &[
                        "Heel and toe are reinforced.",
                        "The toe is linked by hand: there is no seam to feel.",
                        "Wash inside out at 40 °C.",
                    ],
                },
                Leaf {
                    slug: "hats",
                    name: "Hats & Caps",
                    code: "HAT",
                    figure: Figure::Hat,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Beanie", "BEANI", (15, 45), (70, 130)),
                        noun("Bobble Hat", "BOBBL", (18, 49), (90, 160)),
                        noun("Fisherman's Hat", "FISHR", (18, 45), (70, 120)),
                        noun("Watch Cap", "WATCH", (16, 42), (80, 130)),
                    ],
                    attributes: &[
                        ("material", &["lambswool", "merino wool", "cotton", "alpaca"]),
                        ("lining", &["none", "fleece", "cotton"]),
                    ],
                    axis: colours(CLOTH_COLOURS),
                    openings: &[
                        "This {noun} in {material} covers the ears and spares the hair.",
                        "The {series} goes into a pocket and comes out in shape.",
                        "A {noun} for the first frost and the last ferry.",
                    ],
                    details: &[
                        "One size fits nearly everybody.",
                        "The brim turns up, once or twice.",
                        "Hand-wash it in lukewarm water.",
                    ],
                },
            ],
        },
        Shelf {
            heading: Some(("shoes", "Shoes")),
            leaves: &[
                Leaf {
                    slug: "trainers",
                    name: "Trainers",
                    code: "TRN",
                    figure: Figure::Trainer,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Trainers", "TRAIN", (49, 149), (700, 1100)),
                        noun("Running Shoes", "RUNNG", (69, 179), (600, 950)),
                        noun("Low-Top Shoes", "LOWTP", (35, 89), (650, 950)),
                        noun("Tennis Shoes", "TENNS", (55, 139), (750, 1100)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["leather", "recycled mesh", "cotton canvas", "suede"],
                        ),
                        ("colour", CLOTH_COLOURS),
                        ("sole", &["natural rubber", "recycled rubber", "foam"]),
                    ],
                    axis: SHOE_SIZES,
                    openings: &[
                        "With uppers of {material} and a sole of {sole}, the {series} is ready by the door.",
                        "These {noun} are light enough to forget.",
                        "The {series} walks a city end to end and asks for more.",
                    ],
                    details: &[
                        "The insole comes out to dry.",
                        "Stitched as well as glued.",
                        "Laces of recycled cotton, with a spare pair in the box.",
                    ],
                },
                Leaf {
                    slug: "boots",
                    name: "Boots",
                    code: "BOT",
                    figure: Figure::Boot,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Hiking Boots", "HIKNG", (99, 289), (1100, 1800)),
                        noun("Chelsea Boots", "CHELS", (89, 249), (900, 1400)),
                        noun("Work Boots", "WORKB", (99, 259), (1300, 2000)),
                        noun("Winter Boots", "WINTR", (89, 229), (1200, 1900)),
                    ],
                    attributes: &[
                        ("material", &["full-grain leather", "waxed suede", "nubuck"]),
                        ("colour", &["black", "brown", "sand", "charcoal", "olive"]),
                        ("sole", &["natural rubber", "cork and rubber", "lugged rubber"]),
                    ],
                    axis: SHOE_SIZES,
                    openings: &[
                        "These {noun} in {material} need a week to get to know you and then stay for years.",
                        "The {series} grips wet stone and dry floors alike.",
                        "Puddles are no obstacle to the {series}.",
                    ],
                    details: &[
                        "The soles can be replaced by any cobbler.",
                        "Wax them before the first outing.",
                        "A padded collar keeps stones out.",
                    ],
                },
            ],
        },
    ],
};
