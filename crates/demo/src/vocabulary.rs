//! The vocabulary of the demo catalogue, read from the files in `data/` (see the README there).

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What all departments share.
pub(crate) static COMMON: LazyLock<Common> = LazyLock::new(|| parse(include_str!("../data/common.toml")));

/// The roots of the category tree.
pub(crate) static DEPARTMENTS: LazyLock<[Department; 8]> = LazyLock::new(|| {
    [
        parse(include_str!("../data/kitchen.toml")),
        parse(include_str!("../data/home.toml")),
        parse(include_str!("../data/clothing.toml")),
        parse(include_str!("../data/outdoor.toml")),
        parse(include_str!("../data/electronics.toml")),
        parse(include_str!("../data/books-and-paper.toml")),
        parse(include_str!("../data/toys-and-games.toml")),
        parse(include_str!("../data/garden.toml")),
    ]
});

/// The categories that products belong to, in the order of the tree.
pub(crate) static LEAVES: LazyLock<Vec<(&Department, &Leaf)>> = LazyLock::new(|| {
    let leaves =
        |department: &'static Department| department.groups.iter().flat_map(|group| &group.categories);
    DEPARTMENTS
        .iter()
        .flat_map(|department| leaves(department).map(move |leaf| (department, leaf)))
        .collect()
});

/// SVG elements by the name of the drawing.
pub(crate) static DRAWINGS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let drawings: HashMap<String, String> = parse(include_str!("../data/drawings.toml"));
    let joined = |elements: String| elements.lines().collect();
    drawings
        .into_iter()
        .map(|(name, elements)| (name, joined(elements)))
        .collect()
});

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Common {
    /// Product lines.
    pub(crate) series: Vec<String>,
    /// Last sentences of a description.
    pub(crate) closings: Vec<String>,
    pub(crate) colours: Vec<Colour>,
    lists: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Colour {
    pub(crate) name: String,
    /// `#rrggbb`
    pub(crate) rgb: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Department {
    pub(crate) slug: String,
    pub(crate) name: String,
    pub(crate) brands: Vec<String>,
    /// Sentences that are true of everything in the department.
    pub(crate) remarks: Vec<String>,
    pub(crate) groups: Vec<Group>,
}

/// The second level of the category tree. Without a heading its categories hang below the department.
#[derive(Deserialize)]
pub(crate) struct Group {
    #[serde(flatten)]
    pub(crate) heading: Option<Heading>,
    pub(crate) categories: Vec<Leaf>,
}

#[derive(Deserialize)]
pub(crate) struct Heading {
    pub(crate) slug: String,
    pub(crate) name: String,
}

/// A category that products belong to.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Leaf {
    pub(crate) slug: String,
    pub(crate) name: String,
    /// The first part of its SKUs.
    pub(crate) code: String,
    /// The name of a drawing.
    pub(crate) picture: String,
    /// For products with titles of their own (`The Quiet Harbour: A Mystery`). Others are called after brand, series,
    /// perhaps material, and noun: `Oakenfirth Tarn Stoneware Mug`.
    pub(crate) titles: Option<Titles>,
    pub(crate) nouns: Vec<Noun>,
    pub(crate) attributes: Vec<Attribute>,
    /// `None` where a product has a single variant.
    pub(crate) variants: Option<Axis>,
    /// First sentences of a description.
    pub(crate) openings: Vec<String>,
    /// Second sentences of a description.
    pub(crate) details: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Titles {
    pub(crate) patterns: Vec<String>,
    pub(crate) first: Vec<String>,
    pub(crate) second: Vec<String>,
}

/// A thing, with its range of prices and packed weights.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Noun {
    pub(crate) name: String,
    /// The second part of its SKUs.
    pub(crate) code: String,
    pub(crate) dollars: (u32, u32),
    pub(crate) grams: (u32, u32),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) values: Values,
}

/// The option by which the variants of a product differ.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Axis {
    pub(crate) option: String,
    pub(crate) values: Values,
    /// How many variants a product has, from and to.
    pub(crate) count: (u32, u32),
    /// Whether a product's values are adjacent ones (sizes) or any (colours).
    #[serde(default)]
    pub(crate) neighbours: bool,
    /// By how much price and weight grow from one variant to the next.
    #[serde(default)]
    pub(crate) step_percent: u32,
}

/// A list of its own, or the name of one in [`Common`].
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Values {
    Shared(String),
    Own(Vec<String>),
}

impl Values {
    pub(crate) fn list(&self) -> &[String] {
        match self {
            Self::Shared(name) => &COMMON.lists[name],
            Self::Own(values) => values,
        }
    }
}

/// Panics where a file is malformed. The files are compiled in, and the tests read all of them.
fn parse<T: DeserializeOwned>(text: &str) -> T {
    toml::from_str(text).unwrap_or_else(|error| panic!("the vocabulary can't be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_slugs_and_brands_are_unique() {
        let mut codes = HashSet::new();
        for (_, leaf) in &*LEAVES {
            assert!(leaf.code.len() == 3 && codes.insert(&leaf.code), "{}", leaf.slug);
            let mut nouns = HashSet::new();
            for noun in &leaf.nouns {
                assert!((1..=5).contains(&noun.code.len()) && nouns.insert(&noun.code));
                assert!(noun.code.bytes().all(|byte| byte.is_ascii_uppercase()));
                assert!(noun.dollars.0 > 1 && noun.dollars.0 < noun.dollars.1);
                assert!(noun.grams.0 > 0 && noun.grams.0 < noun.grams.1);
            }
        }
        let brands: Vec<_> = DEPARTMENTS
            .iter()
            .flat_map(|department| &department.brands)
            .collect();
        assert!(brands.len() >= 60);
        assert_eq!(brands.iter().collect::<HashSet<_>>().len(), brands.len());
    }

    #[test]
    fn sentences_name_known_words_only() {
        for (department, leaf) in &*LEAVES {
            let option = leaf.variants.as_ref().map(|axis| &axis.option);
            let attributes = leaf.attributes.iter().map(|attribute| &attribute.name);
            let mut known: HashSet<&str> = attributes
                .filter(|name| option != Some(name))
                .map(String::as_str)
                .collect();
            known.extend(["noun", "brand", "series"]);
            let sentences = [
                &leaf.openings,
                &leaf.details,
                &department.remarks,
                &COMMON.closings,
            ];
            for sentence in sentences.into_iter().flatten() {
                assert!(sentence.ends_with(['.', '?', '!']), "{sentence}");
                for after in sentence.split('{').skip(1) {
                    let name = after.split('}').next().unwrap();
                    assert!(known.contains(name), "{}: {sentence}", leaf.slug);
                }
            }
        }
    }

    #[test]
    fn lists_colours_and_drawings_exist() {
        for (_, leaf) in &*LEAVES {
            assert!(DRAWINGS.contains_key(&leaf.picture), "{}", leaf.slug);
            let axis = leaf.variants.iter().map(|axis| (&axis.option, &axis.values));
            let attributes = leaf
                .attributes
                .iter()
                .map(|attribute| (&attribute.name, &attribute.values));
            for (name, values) in attributes.chain(axis) {
                assert!(!values.list().is_empty(), "{}: {name}", leaf.slug);
                for value in values.list().iter().filter(|_| name == "colour") {
                    assert!(
                        COMMON.colours.iter().any(|colour| colour.name == *value),
                        "{value}"
                    );
                }
            }
        }
        for Colour { name, rgb } in &COMMON.colours {
            assert!(
                rgb.len() == 7 && u32::from_str_radix(&rgb[1..], 16).is_ok(),
                "{name}"
            );
        }
    }

    #[test]
    fn every_option_has_enough_values() {
        for axis in LEAVES.iter().filter_map(|(_, leaf)| leaf.variants.as_ref()) {
            let values = axis.values.list();
            assert!(axis.count.0 >= 1 && axis.count.0 <= axis.count.1);
            assert!(axis.count.1 as usize <= values.len() && axis.count.1 <= 6);
            let different: HashSet<_> = values.iter().collect();
            assert_eq!(different.len(), values.len());
        }
    }
}
