//! Rooms: light, cloth and ornament.

use super::{Department, HOME_COLOURS, Leaf, Naming, Shelf, colours, noun, sizes};
use crate::demo::picture::Figure;

pub(super) static HOME: Department = Department {
    slug: "home",
    name: "Home & Living",
    brands: &[
        "Lumenfold",
        "Wrenhallow",
        "Softmere",
        "Nookery & Sons",
        "Dovelaine",
        "Thornabeck Mill",
        "Glimmerstead",
        "Hollin & Hay",
        "Emberwick",
    ],
    remarks: &[
        "It fits old rooms and new ones.",
        "It asks for little care and gives a lot back.",
        "The colours are chosen to go with what is there already.",
        "It looks as well by day as in the evening.",
    ],
    shelves: &[
        Shelf {
            heading: Some(("lighting", "Lighting")),
            leaves: &[
                Leaf {
                    slug: "table-lamps",
                    name: "Table Lamps",
                    code: "LMP",
                    figure: Figure::TableLamp,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Table Lamp", "TABLE", (39, 179), (1200, 3200)),
                        noun("Bedside Lamp", "BEDSD", (29, 99), (800, 1800)),
                        noun("Desk Lamp", "DESK", (35, 149), (1100, 2600)),
                        noun("Reading Lamp", "READL", (35, 129), (1000, 2200)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["ceramic", "brass", "turned oak", "powder-coated steel"],
                        ),
                        ("shade", &["linen", "cotton", "paper", "opal glass"]),
                        ("socket", &["E14", "E27"]),
                    ],
                    axis: colours(HOME_COLOURS),
                    openings: &[
                        "This {noun} throws a warm circle on whatever you are doing.",
                        "A foot of {material} and a shade of {shade}: the {series} is a quiet light for the evening.",
                        "The {series} lights the page and leaves the rest of the room asleep.",
                    ],
                    details: &[
                        "Takes one bulb with an {socket} socket, not included.",
                        "The switch sits on the cable, within reach of the bed.",
                        "Two metres of cable covered in cloth.",
                    ],
                },
                Leaf {
                    slug: "pendant-lamps",
                    name: "Pendant Lamps",
                    code: "PEN",
                    figure: Figure::PendantLamp,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Pendant Lamp", "PENDT", (49, 229), (1100, 3200)),
                        noun("Globe Pendant", "GLOBE", (59, 249), (1500, 3600)),
                        noun("Dome Pendant", "DOME", (49, 199), (1200, 3000)),
                        noun("Cluster Pendant", "CLUST", (99, 399), (2500, 5200)),
                    ],
                    attributes: &[
                        ("material", &["spun aluminium", "opal glass", "rattan", "brass"]),
                        ("socket", &["E14", "E27"]),
                    ],
                    axis: sizes(&["25 cm", "35 cm", "45 cm", "60 cm"], 28),
                    openings: &[
                        "Over a table this {noun} gathers people; over a landing it greets them.",
                        "The {series} in {material} gives light downwards and a soft glow to the sides.",
                        "{brand} shapes the {series} from {material} over a wooden form.",
                    ],
                    details: &[
                        "The cable can be shortened to suit the ceiling.",
                        "A canopy in the same colour hides the connection.",
                        "Takes a bulb with an {socket} socket.",
                    ],
                },
            ],
        },
        Shelf {
            heading: Some(("home-textiles", "Home Textiles")),
            leaves: &[
                Leaf {
                    slug: "blankets",
                    name: "Blankets & Throws",
                    code: "BLK",
                    figure: Figure::Blanket,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Throw", "THROW", (39, 139), (700, 1300)),
                        noun("Blanket", "BLANK", (49, 189), (900, 1900)),
                        noun("Bedspread", "BEDSP", (69, 219), (1500, 2800)),
                        noun("Picnic Blanket", "PICNC", (35, 89), (900, 1500)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["lambswool", "merino wool", "organic cotton", "recycled wool"],
                        ),
                        ("weave", &["herringbone", "waffle", "twill", "basket"]),
                    ],
                    axis: colours(HOME_COLOURS),
                    openings: &[
                        "This {noun} of {material} waits on the sofa for the first cold evening.",
                        "Woven in a {weave} pattern, the {series} is warm without being heavy.",
                        "The {series} is {material} and nothing else, woven and washed until it is soft.",
                    ],
                    details: &[
                        "The fringe is knotted by hand.",
                        "Air it often, wash it seldom.",
                        "Large enough for two who get on.",
                    ],
                },
                Leaf {
                    slug: "cushions",
                    name: "Cushions",
                    code: "CSH",
                    figure: Figure::Cushion,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Cushion", "CUSHN", (19, 69), (400, 800)),
                        noun("Floor Cushion", "FLOOR", (45, 119), (1500, 2900)),
                        noun("Seat Pad", "SEATP", (15, 39), (300, 550)),
                        noun("Bolster", "BOLST", (29, 79), (700, 1200)),
                    ],
                    attributes: &[
                        ("material", &["linen", "cotton velvet", "boucle", "corduroy"]),
                        ("filling", &["feather", "recycled fibre", "kapok", "wool"]),
                    ],
                    axis: colours(HOME_COLOURS),
                    openings: &[
                        "A {noun} in {material} that turns a hard chair into a good one.",
                        "The {series} is filled with {filling} and springs back after every visitor.",
                        "This {noun} brings a bit of colour where it is wanted and comfort where it is needed.",
                    ],
                    details: &[
                        "The cover comes off by a hidden zip and can be washed at 30 °C.",
                        "Piped seams keep it in shape.",
                        "Both sides are fit to be seen.",
                    ],
                },
            ],
        },
        Shelf {
            heading: Some(("decoration", "Decoration")),
            leaves: &[
                Leaf {
                    slug: "vases",
                    name: "Vases",
                    code: "VAS",
                    figure: Figure::Vase,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Vase", "VASE", (19, 99), (700, 2200)),
                        noun("Bud Vase", "BUDVS", (9, 35), (250, 600)),
                        noun("Bottle Vase", "BOTVS", (19, 79), (600, 1500)),
                        noun("Floor Vase", "FLRVS", (59, 199), (3500, 7500)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["stoneware", "terracotta", "mouth-blown glass", "porcelain"],
                        ),
                        ("finish", &["matt", "glossy", "ribbed", "speckled"]),
                    ],
                    axis: colours(HOME_COLOURS),
                    openings: &[
                        "This {noun} flatters a bunch from the market as much as a single branch.",
                        "The {series} in {material} is worth looking at even when it is empty.",
                        "Thrown on a wheel and left {finish}, the {series} shows the hand that made it.",
                    ],
                    details: &[
                        "Watertight, with felt under the foot.",
                        "The narrow neck holds stems upright.",
                        "Rinse it with warm water and rice when it clouds.",
                    ],
                },
                Leaf {
                    slug: "candles",
                    name: "Candles",
                    code: "CND",
                    figure: Figure::Candle,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Scented Candle", "SCENT", (14, 49), (350, 700)),
                        noun("Pillar Candle", "PILLR", (8, 29), (400, 900)),
                        noun("Dinner Candle", "DINCN", (9, 24), (300, 500)),
                        noun("Travel Candle", "TINCN", (9, 22), (150, 250)),
                    ],
                    attributes: &[
                        ("material", &["beeswax", "rapeseed wax", "soy wax"]),
                        (
                            "scent",
                            &["fig and cedar", "sea salt", "smoked tea", "orange peel", "none"],
                        ),
                        ("burning time", &["20 h", "40 h", "60 h"]),
                    ],
                    axis: None,
                    openings: &[
                        "Poured from {material}, this {noun} burns slowly and without soot.",
                        "The {series} makes any hour the end of the day.",
                        "{brand} pours the {series} in small batches and lets each one rest for a fortnight.",
                    ],
                    details: &[
                        "It burns for about {burning time}.",
                        "Trim the wick before lighting it again.",
                        "The wick is plain cotton.",
                    ],
                },
                Leaf {
                    slug: "wall-clocks",
                    name: "Wall Clocks",
                    code: "CLK",
                    figure: Figure::Clock,
                    naming: Naming::Made,
                    nouns: &[
                        noun("Wall Clock", "WALLC", (29, 129), (600, 1600)),
                        noun("Kitchen Clock", "KITCC", (25, 79), (500, 1100)),
                        noun("Station Clock", "STATN", (59, 199), (1200, 2600)),
                    ],
                    attributes: &[
                        (
                            "material",
                            &["oak", "walnut", "brushed aluminium", "powder-coated steel"],
                        ),
                        ("movement", &["quartz", "silent quartz", "radio-controlled"]),
                    ],
                    axis: colours(HOME_COLOURS),
                    openings: &[
                        "You can read this {noun} from across the room, and from across the hall.",
                        "The {series} sets a clear face in a ring of {material}.",
                        "Time passes more gently on the {series}.",
                    ],
                    details: &[
                        "The movement is {movement}.",
                        "It hangs from a single screw.",
                        "One battery lasts about two years.",
                    ],
                },
            ],
        },
    ],
};
