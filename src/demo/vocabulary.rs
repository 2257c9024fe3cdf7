//! The words of the demo catalogue: departments with their categories, brands, nouns and sentences. All invented.
//!
//! The generator draws from these tables by position: to insert, remove or reorder anything here changes every
//! catalogue that was made from a seed before.

mod clothing;
mod electronics;
mod garden;
mod home;
mod kitchen;
mod outdoor;
mod play;
mod reading;

use super::picture::Figure;

/// The roots of the category tree.
pub(super) static DEPARTMENTS: [&Department; 8] = [
    &kitchen::KITCHEN,
    &home::HOME,
    &clothing::CLOTHING,
    &outdoor::OUTDOOR,
    &electronics::ELECTRONICS,
    &reading::READING,
    &play::PLAY,
    &garden::GARDEN,
];

/// A root of the category tree.
pub(super) struct Department {
    pub slug: &'static str,
    pub name: &'static str,
    /// Who makes what it sells.
    pub brands: &'static [&'static str],
    /// Sentences that are true of everything it sells.
    pub remarks: &'static [&'static str],
    pub shelves: &'static [Shelf],
}

/// The second level of the category tree.
pub(super) struct Shelf {
    /// Slug and name; `None` where the leaves hang straight below the department.
    pub heading: Option<(&'static str, &'static str)>,
    pub leaves: &'static [Leaf],
}

/// A category that products belong to.
pub(super) struct Leaf {
    pub slug: &'static str,
    pub name: &'static str,
    /// Three letters: the first part of its SKUs.
    pub code: &'static str,
    /// What its pictures show.
    pub figure: Figure,
    pub naming: Naming,
    pub nouns: &'static [Noun],
    /// Names with the values to choose from. The one called `material` may show in the title.
    pub attributes: &'static [(&'static str, &'static [&'static str])],
    /// What sets the variants apart; `None` where there is only one.
    pub axis: Option<Axis>,
    /// First sentences. `{noun}`, `{brand}`, `{series}` and the names of attributes stand for what was chosen.
    pub openings: &'static [&'static str],
    /// Sentences that follow.
    pub details: &'static [&'static str],
}

/// How a product gets its title.
pub(super) enum Naming {
    /// Brand, line, perhaps the material, noun: `Oakenfirth Tarn Stoneware Mug`.
    Made,
    /// A title of its own before the noun, `{first}` and `{second}` filled in: `The Quiet Harbour: A Mystery`.
    Titled {
        patterns: &'static [&'static str],
        first: &'static [&'static str],
        second: &'static [&'static str],
    },
}

/// A thing, with what it may cost and weigh.
pub(super) struct Noun {
    pub name: &'static str,
    /// Five letters or fewer: the second part of its SKUs.
    pub code: &'static str,
    /// Whole dollars, from and to.
    pub dollars: (u32, u32),
    /// Packed, from and to.
    pub grams: (u32, u32),
}

/// What sets the variants of a product apart.
pub(super) struct Axis {
    pub name: &'static str,
    pub values: &'static [&'static str],
    /// How many variants a product has, from and to.
    pub variants: (u32, u32),
    /// Whether a product has neighbouring values (sizes) or any (colours).
    pub neighbours: bool,
    /// By how much price and weight grow from one value to the next.
    pub step_percent: u32,
}

const fn noun(name: &'static str, code: &'static str, dollars: (u32, u32), grams: (u32, u32)) -> Noun {
    Noun {
        name,
        code,
        dollars,
        grams,
    }
}

const fn colours(values: &'static [&'static str]) -> Option<Axis> {
    Some(Axis {
        name: "colour",
        values,
        variants: (1, 4),
        neighbours: false,
        step_percent: 0,
    })
}

const fn sizes(values: &'static [&'static str], step_percent: u32) -> Option<Axis> {
    Some(Axis {
        name: "size",
        values,
        variants: (2, if values.len() < 4 { 3 } else { 4 }),
        neighbours: true,
        step_percent,
    })
}

const GARMENT_SIZES: Option<Axis> = Some(Axis {
    name: "size",
    values: &["XS", "S", "M", "L", "XL", "XXL"],
    variants: (3, 6),
    neighbours: true,
    step_percent: 0,
});

const SHOE_SIZES: Option<Axis> = Some(Axis {
    name: "size",
    values: &[
        "36", "37", "38", "39", "40", "41", "42", "43", "44", "45", "46", "47",
    ],
    variants: (4, 6),
    neighbours: true,
    step_percent: 0,
});

const CLOTH_COLOURS: &[&str] = &[
    "black", "white", "grey", "charcoal", "navy", "sky", "sage", "olive", "mustard", "burgundy", "brown",
    "sand",
];

const HOME_COLOURS: &[&str] = &[
    "white",
    "cream",
    "grey",
    "charcoal",
    "blue",
    "teal",
    "sage",
    "mustard",
    "terracotta",
    "pink",
    "lilac",
    "sand",
];

const BRIGHT_COLOURS: &[&str] = &[
    "black", "white", "navy", "blue", "sky", "teal", "green", "yellow", "orange", "red", "pink", "lilac",
];

/// Colours by name, red, green and blue.
pub(super) static COLOURS: [(&str, [u8; 3]); 22] = [
    ("black", [0x34, 0x36, 0x3b]),
    ("white", [0xf6, 0xf4, 0xee]),
    ("cream", [0xee, 0xe0, 0xc2]),
    ("grey", [0x97, 0x9d, 0xa3]),
    ("charcoal", [0x53, 0x57, 0x5e]),
    ("navy", [0x2f, 0x45, 0x6f]),
    ("blue", [0x45, 0x7b, 0xb8]),
    ("sky", [0x93, 0xbf, 0xdd]),
    ("teal", [0x37, 0x87, 0x8e]),
    ("sage", [0x9b, 0xae, 0x8f]),
    ("green", [0x52, 0x90, 0x5d]),
    ("olive", [0x7d, 0x81, 0x4b]),
    ("yellow", [0xec, 0xc4, 0x54]),
    ("mustard", [0xd0, 0x9f, 0x3c]),
    ("orange", [0xdf, 0x89, 0x4f]),
    ("terracotta", [0xc5, 0x6f, 0x51]),
    ("red", [0xc5, 0x52, 0x4e]),
    ("burgundy", [0x84, 0x38, 0x4a]),
    ("pink", [0xe5, 0xa6, 0xae]),
    ("lilac", [0xb6, 0xa4, 0xd1]),
    ("brown", [0x87, 0x5f, 0x43]),
    ("sand", [0xd8, 0xc0, 0x9b]),
];

/// Lines of products, as makers call them.
pub(super) static SERIES: [&str; 64] = [
    "Tarn", "Fell", "Holm", "Brae", "Linden", "Alder", "Rowan", "Hazel", "Juniper", "Bramble", "Thistle",
    "Sorrel", "Clover", "Heron", "Kestrel", "Wren", "Plover", "Lark", "Curlew", "Finch", "Otter", "Marten",
    "Harbour", "Quay", "Beacon", "Lantern", "Compass", "Anchor", "Meridian", "Solstice", "Equinox", "Dawn",
    "Dusk", "Ember", "Cinder", "Flint", "Slate", "Granite", "Quartz", "Cobble", "Pebble", "Shale", "Drift",
    "Tide", "Current", "Eddy", "Brook", "Weir", "Mill", "Orchard", "Meadow", "Glade", "Copse", "Thicket",
    "Ridge", "Summit", "Valley", "Moor", "Heath", "Fen", "Dune", "Cove", "Gale", "Zephyr",
];

/// Last sentences, true of anything.
pub(super) static CLOSINGS: [&str; 8] = [
    "{brand} stands behind it.",
    "It comes packed in recycled card, without plastic.",
    "Most people who buy one come back for another.",
    "A good present, not least to oneself.",
    "{brand} makes it in small batches, so that stock comes and goes.",
    "Part of the {series} line.",
    "Designed by {brand} to be kept.",
    "If it does not suit, it can be sent back.",
];

/// Every leaf with its department, in the order of the tree.
pub(super) fn leaves() -> impl Iterator<Item = (&'static Department, &'static Leaf)> {
    DEPARTMENTS.into_iter().flat_map(|department| {
        department
            .shelves
            .iter()
            .flat_map(|shelf| shelf.leaves)
            .map(move |leaf| (department, leaf))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_slugs_and_brands_are_unique() {
        let mut codes = HashSet::new();
        for (_, leaf) in leaves() {
            assert!(leaf.code.len() == 3 && codes.insert(leaf.code), "{}", leaf.slug);
            let mut nouns = HashSet::new();
            for noun in leaf.nouns {
                assert!((1..=5).contains(&noun.code.len()) && nouns.insert(noun.code));
                assert!(noun.code.bytes().all(|byte| byte.is_ascii_uppercase()));
                assert!(noun.dollars.0 > 1 && noun.dollars.0 < noun.dollars.1);
                assert!(noun.grams.0 > 0 && noun.grams.0 < noun.grams.1);
            }
        }
        let brands: Vec<_> = DEPARTMENTS
            .iter()
            .flat_map(|department| department.brands)
            .collect();
        assert!(brands.len() >= 60);
        assert_eq!(brands.iter().collect::<HashSet<_>>().len(), brands.len());
    }

    #[test]
    fn sentences_name_only_what_is_known() {
        for (department, leaf) in leaves() {
            let mut known: HashSet<_> = leaf
                .attributes
                .iter()
                .map(|(name, _)| *name)
                .filter(|name| leaf.axis.as_ref().is_none_or(|axis| axis.name != *name))
                .collect();
            known.extend(["noun", "brand", "series"]);
            for sentence in [leaf.openings, leaf.details, department.remarks, &CLOSINGS].concat() {
                assert!(sentence.ends_with(['.', '?', '!']), "{sentence}");
                for (_, after) in sentence
                    .match_indices('{')
                    .map(|(at, _)| sentence.split_at(at + 1))
                {
                    let name = after.split('}').next().unwrap();
                    assert!(known.contains(name), "{}: {sentence}", leaf.slug);
                }
            }
        }
    }

    #[test]
    fn every_colour_has_a_shade() {
        for (_, leaf) in leaves() {
            let axis = leaf.axis.iter().map(|axis| (axis.name, axis.values));
            for (name, values) in leaf.attributes.iter().copied().chain(axis) {
                for value in values.iter().filter(|_| name == "colour") {
                    assert!(COLOURS.iter().any(|(colour, _)| colour == value), "{value}");
                }
            }
        }
    }

    #[test]
    fn every_axis_has_enough_values() {
        for axis in leaves().filter_map(|(_, leaf)| leaf.axis.as_ref()) {
            assert!(axis.variants.0 >= 1 && axis.variants.0 <= axis.variants.1);
            assert!(axis.variants.1 as usize <= axis.values.len() && axis.variants.1 <= 6);
            let different: HashSet<_> = axis.values.iter().collect();
            assert_eq!(different.len(), axis.values.len());
        }
    }
}
