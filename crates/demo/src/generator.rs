//! Generates the products of the demo catalogue and their stock.
//!
//! A seed gives the same products on every platform, and product `i` does not depend on the size of the catalogue: each
//! product draws from its own stream of ChaCha8, which is portable by definition. The distributions are implemented here,
//! because those of `rand` may change with its versions.

use std::collections::BTreeMap;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::vocabulary::{Axis, COMMON, DEPARTMENTS, Department, LEAVES, Leaf, Noun};
use souk_domain::catalogue::{Category, Product, Variant};
use souk_domain::{Currency, Money, ProductId, Sku};

/// The seed whose SKUs carry no prefix.
pub const DEFAULT_SEED: u64 = 42;

/// Separates the draws for the stock from those for the product.
const STOCK_DOMAIN: u64 = 0x5354_4f43_4b00_0001;

/// 2^64 divided by the golden ratio, odd: the increment of SplitMix64.
const GOLDEN_GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;

/// A catalogue.
#[derive(Clone, Debug)]
pub struct Generator {
    seed: u64,
}

/// The category tree, parents first.
pub fn categories() -> Vec<Category> {
    let category = |slug: &str, name: &str, parent: Option<&str>| Category {
        slug: slug.to_owned(),
        name: name.to_owned(),
        parent: parent.map(str::to_owned),
    };
    let mut tree = Vec::new();
    for department in &*DEPARTMENTS {
        tree.push(category(&department.slug, &department.name, None));
        for group in &department.groups {
            let parent = group.heading.as_ref().map_or(&department.slug, |heading| {
                tree.push(category(&heading.slug, &heading.name, Some(&department.slug)));
                &heading.slug
            });
            let leaves = group.categories.iter();
            tree.extend(leaves.map(|leaf| category(&leaf.slug, &leaf.name, Some(parent))));
        }
    }
    tree
}

impl Generator {
    /// The catalogue of a seed. Catalogues of different seeds share neither products nor SKUs.
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The product at this index.
    pub fn product(&self, index: u64) -> Product {
        let mut draw = Draw::new(self.seed, index);
        let (department, leaf) = *draw.one_of(&LEAVES);
        let noun = draw.one_of(&leaf.nouns);
        let brand = draw.one_of(&department.brands).as_str();
        let series = draw.one_of(&COMMON.series).as_str();
        // The option by which variants differ is not an attribute of the product.
        let option = leaf.variants.as_ref().map(|axis| axis.option.as_str());
        let attributes: BTreeMap<&str, &str> = leaf
            .attributes
            .iter()
            .filter(|attribute| option != Some(&attribute.name))
            .map(|attribute| {
                (
                    attribute.name.as_str(),
                    draw.one_of(attribute.values.list()).as_str(),
                )
            })
            .collect();
        let title = draw.title(leaf, noun, brand, series, attributes.get("material").copied());
        let noun_in_text = noun.name.to_lowercase();
        let mut words = attributes.clone();
        words.extend([
            ("noun", noun_in_text.as_str()),
            ("brand", brand),
            ("series", series),
        ]);
        let description = draw.description(department, leaf, &words);
        let variants = self.variants(&mut draw, index, leaf, noun);
        let id = ProductId::from_suffix(format_args!("{:016x}", scramble(self.seed, index)));
        Product {
            images: vec![format!("/images/{id}.svg")],
            id,
            title,
            description,
            category: leaf.slug.clone(),
            brand: brand.to_owned(),
            attributes: attributes
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            variants,
            version: 1,
        }
    }

    /// The opening stock of each SKU of the product at this index.
    pub fn stock(&self, index: u64) -> Vec<(Sku, u32)> {
        let mut draw = Draw::new(self.seed ^ STOCK_DOMAIN, index);
        self.product(index)
            .variants
            .into_iter()
            .map(|variant| {
                let quantity = match draw.below(20) {
                    0 => 0,
                    1 | 2 => draw.between((1, 19)),
                    _ => draw.between((20, 500)),
                };
                (variant.sku, quantity)
            })
            .collect()
    }

    fn variants(&self, draw: &mut Draw, index: u64, leaf: &Leaf, noun: &Noun) -> Vec<Variant> {
        let dollars = draw.lower_between(noun.dollars);
        let grams = draw.between(noun.grams);
        // Cents below a whole dollar amount.
        let ending = *draw.one_of(&[1, 1, 1, 1, 5, 5, 50, 0, 0]);
        let variant = |option: Option<(&Axis, u32, &str)>| {
            let percent = option.map_or(100, |(axis, steps, _)| 100 + axis.step_percent * steps);
            Variant {
                sku: self.sku(index, leaf, noun, option.map(|(_, _, value)| value)),
                options: option
                    .map(|(axis, _, value)| (axis.option.clone(), value.to_owned()))
                    .into_iter()
                    .collect(),
                price: Money::new(i64::from(dollars * percent / 100) * 100 - ending, Currency::USD),
                weight_grams: grams * percent / 100,
            }
        };
        let Some(axis) = &leaf.variants else {
            return vec![variant(None)];
        };
        (0..)
            .zip(draw.values(axis))
            .map(|(steps, value)| variant(Some((axis, steps, value))))
            .collect()
    }

    /// `BRW-KETTL-00042-NAVY`. Unique by construction: the index distinguishes products, the option distinguishes their
    /// variants, and a segment that starts with a letter distinguishes catalogues.
    fn sku(&self, index: u64, leaf: &Leaf, noun: &Noun, option: Option<&str>) -> Sku {
        let seed = if self.seed == DEFAULT_SEED {
            String::new()
        } else {
            format!("S{:X}-", self.seed)
        };
        let option = option.map_or_else(String::new, |value| format!("-{}", option_code(value)));
        Sku::from_suffix(format_args!(
            "{}-{}-{seed}{index:05}{option}",
            leaf.code, noun.code
        ))
    }
}

/// The first five letters and digits of an option's value. Distinct within each option.
fn option_code(value: &str) -> String {
    value
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(5)
        .map(|character| character.to_ascii_uppercase())
        .collect()
}

/// For each seed a bijection of the indices, so that identifiers within a catalogue are unique: the output function of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
fn scramble(seed: u64, index: u64) -> u64 {
    let mut bits = index.wrapping_add(seed.wrapping_mul(GOLDEN_GAMMA));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// The random draws of one product.
struct Draw(ChaCha8Rng);

impl Draw {
    fn new(seed: u64, index: u64) -> Self {
        let mut stream = ChaCha8Rng::seed_from_u64(seed);
        stream.set_stream(index);
        Self(stream)
    }

    /// Uniform below `bound` by multiplication and shift (Lemire, "Fast random integer generation in an interval",
    /// 2019), without the correction of its bias, which is below `bound` in 2^32.
    fn below(&mut self, bound: u32) -> u32 {
        let scaled = (u64::from(self.0.next_u32()) * u64::from(bound)) >> 32;
        // The product of two 32-bit numbers, shifted by 32, fits 32 bits.
        u32::try_from(scaled).unwrap_or(0)
    }

    /// Uniform, both ends included.
    fn between(&mut self, (from, to): (u32, u32)) -> u32 {
        from + self.below(to - from + 1)
    }

    /// As [`Draw::between`], but low values are more frequent, as with prices.
    fn lower_between(&mut self, range: (u32, u32)) -> u32 {
        self.between(range).min(self.between(range))
    }

    /// An entry of a table. Tables are not empty and have fewer than 2^32 entries.
    fn one_of<'a, T>(&mut self, table: &'a [T]) -> &'a T {
        &table[self.below(table.len() as u32) as usize]
    }

    fn title(
        &mut self,
        leaf: &Leaf,
        noun: &Noun,
        brand: &str,
        series: &str,
        material: Option<&str>,
    ) -> String {
        if let Some(titles) = &leaf.titles {
            let first = self.one_of(&titles.first).as_str();
            let second = self.one_of(&titles.second).as_str();
            let pattern = self.one_of(&titles.patterns);
            let words = BTreeMap::from([("first", first), ("second", second)]);
            return format!("{}: {}", filled(pattern, &words), noun.name);
        }
        match material.filter(|_| self.below(2) == 0) {
            Some(material) => format!("{brand} {series} {} {}", capitalised(material), noun.name),
            None => format!("{brand} {series} {}", noun.name),
        }
    }

    /// Two to four sentences.
    fn description(&mut self, department: &Department, leaf: &Leaf, words: &BTreeMap<&str, &str>) -> String {
        let mut sentences = vec![
            self.one_of(&leaf.openings).as_str(),
            self.one_of(&leaf.details).as_str(),
        ];
        for optional in [&department.remarks, &COMMON.closings] {
            if self.below(2) == 0 {
                sentences.push(self.one_of(optional).as_str());
            }
        }
        filled(&sentences.join(" "), words)
    }

    /// The values of a product's variants, in the order of the list.
    fn values<'a>(&mut self, axis: &'a Axis) -> Vec<&'a str> {
        let values = axis.values.list();
        let count = self.between(axis.count) as usize;
        if axis.neighbours {
            let spare = values.len() - count;
            let start = self.below(spare as u32 + 1) as usize;
            return values[start..start + count].iter().map(String::as_str).collect();
        }
        // Selection sampling (Knuth, "The Art of Computer Programming", volume 2, algorithm 3.4.2S).
        let mut wanted = count;
        let mut chosen = Vec::with_capacity(count);
        for (position, value) in values.iter().enumerate() {
            let left = values.len() - position;
            if (self.below(left as u32) as usize) < wanted {
                chosen.push(value.as_str());
                wanted -= 1;
            }
        }
        chosen
    }
}

/// In title case: `stainless steel` becomes `Stainless Steel`.
fn capitalised(words: &str) -> String {
    let small = ["and", "of", "or"];
    words
        .split(' ')
        .map(|word| match word.chars().next() {
            Some(initial) if !small.contains(&word) => {
                format!("{}{}", initial.to_uppercase(), &word[initial.len_utf8()..])
            }
            _ => word.to_owned(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The template with each `{name}` replaced by its word. Unknown names stay as they are.
fn filled(template: &str, words: &BTreeMap<&str, &str>) -> String {
    let mut text = String::with_capacity(template.len() * 2);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        match after.split_once('}') {
            Some((name, remainder)) if words.contains_key(name) => {
                text.push_str(words[name]);
                rest = remainder;
            }
            _ => {
                text.push('{');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use sha2::{Digest, Sha256};

    use super::*;
    use souk_domain::identifiers::IDENTIFIER_LIMIT;

    #[test]
    fn a_seed_always_gives_the_same_catalogue() {
        let generator = Generator::new(DEFAULT_SEED);
        let mut hasher = Sha256::new();
        for index in 0..100 {
            hasher.update(serde_json::to_vec(&generator.product(index)).unwrap());
            hasher.update(serde_json::to_vec(&generator.stock(index)).unwrap());
        }
        // Changes with the vocabulary. When it does, so does every demo shop that is seeded afterwards.
        assert_eq!(
            format!("{:x}", hasher.finalize()),
            "b9be14d95353851bd02ead8b61104c76a751ecdff659f50a57269f0d717e7dcc"
        );
    }

    #[test]
    fn a_larger_catalogue_starts_with_the_smaller() {
        let catalogue = |count| {
            let generator = Generator::new(7);
            (0..count)
                .map(|index| generator.product(index))
                .collect::<Vec<_>>()
        };
        let (small, large) = (catalogue(50), catalogue(200));
        assert_eq!(small, large[..50]);
        // Regardless of what was generated before.
        assert_eq!(Generator::new(7).product(120), large[120]);
    }

    #[test]
    fn identifiers_are_unique_and_well_formed() {
        let generator = Generator::new(DEFAULT_SEED);
        let (mut ids, mut skus) = (HashSet::new(), HashSet::new());
        for index in 0..100_000 {
            let product = generator.product(index);
            assert_eq!(ProductId::parse(product.id.as_str()).as_ref(), Ok(&product.id));
            assert!(ids.insert(product.id), "product {index}");
            for variant in product.variants {
                let text = variant.sku.as_str();
                assert!(text.len() <= IDENTIFIER_LIMIT);
                assert!(
                    text.bytes()
                        .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-')
                );
                assert!(variant.price.amount > 0 && variant.weight_grams > 0);
                assert!(skus.insert(variant.sku), "product {index}");
            }
        }
    }

    #[test]
    fn catalogues_of_different_seeds_share_nothing() {
        let named = |seed| {
            (0..2_000).flat_map(move |index| {
                let product = Generator::new(seed).product(index);
                product
                    .variants
                    .into_iter()
                    .map(|variant| variant.sku.to_string())
                    .chain([product.id.to_string()])
            })
        };
        let mut seen = HashSet::new();
        for seed in [DEFAULT_SEED, 0, 1, u64::MAX] {
            let mine: HashSet<_> = named(seed).collect();
            assert!(seen.is_disjoint(&mine), "seed {seed}");
            seen.extend(mine);
        }
        let last = Generator::new(u64::MAX).product(u64::MAX);
        assert!(
            last.variants
                .iter()
                .all(|variant| Sku::parse(variant.sku.as_str()).is_ok())
        );
    }

    #[test]
    fn products_read_well() {
        let generator = Generator::new(DEFAULT_SEED);
        let leaves: HashSet<_> = LEAVES.iter().map(|(_, leaf)| leaf.slug.as_str()).collect();
        let mut seen = HashSet::new();
        for index in 0..5_000 {
            let product = generator.product(index);
            let text = format!("{} {}", product.title, product.description);
            assert!(!text.contains(['{', '}']) && !text.contains("  "), "{text}");
            assert!(product.title.len() <= 120, "{text}");
            let sentences = product.description.matches(['.', '?', '!']).count();
            assert!(sentences >= 2, "{text}");
            let words: Vec<_> = text.split_whitespace().collect();
            for pair in words.windows(2) {
                let vowel = pair[1].starts_with(['a', 'e', 'i', 'o']);
                assert!(!(vowel && ["a", "A"].contains(&pair[0])), "{text}");
            }
            assert!((1..=6).contains(&product.variants.len()));
            let options: BTreeSet<_> = product.variants.iter().map(|variant| &variant.options).collect();
            assert_eq!(options.len(), product.variants.len(), "{text}");
            let prices: Vec<_> = product
                .variants
                .iter()
                .map(|variant| variant.price.amount)
                .collect();
            assert!(prices.is_sorted(), "{text}");
            assert!(leaves.contains(product.category.as_str()));
            assert_eq!(product.images, [format!("/images/{}.svg", product.id)]);
            seen.insert(product.category);
        }
        assert_eq!(seen.len(), leaves.len(), "every category has products");
    }

    #[test]
    fn most_products_are_in_stock() {
        let generator = Generator::new(DEFAULT_SEED);
        let mut quantities = Vec::new();
        for index in 0..2_000 {
            let stock = generator.stock(index);
            let skus: Vec<_> = stock.iter().map(|(sku, _)| sku.clone()).collect();
            let product = generator.product(index);
            assert_eq!(
                skus,
                product
                    .variants
                    .into_iter()
                    .map(|variant| variant.sku)
                    .collect::<Vec<_>>()
            );
            quantities.extend(stock.into_iter().map(|(_, quantity)| quantity));
        }
        let share = |wanted: &dyn Fn(u32) -> bool| {
            quantities.iter().filter(|quantity| wanted(**quantity)).count() * 100 / quantities.len()
        };
        assert!((2..=8).contains(&share(&|quantity| quantity == 0)));
        assert!(share(&|quantity| (20..=500).contains(&quantity)) >= 75);
        assert!(quantities.iter().all(|quantity| *quantity <= 500));
    }

    #[test]
    fn the_category_tree_is_complete() {
        let tree = categories();
        let mut above = HashSet::new();
        for category in &tree {
            if let Some(parent) = &category.parent {
                assert!(above.contains(parent), "{} before {parent}", category.slug);
            }
            assert!(above.insert(category.slug.clone()), "{} twice", category.slug);
            assert!(
                category
                    .slug
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
            );
        }
        assert!(LEAVES.len() >= 40);
    }
}
