use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::generator::Generator;
use souk_domain::ProductId;

/// The elements of a document, or the reason why it is not well-formed. A subset of XML without comments, CDATA and
/// processing instructions.
fn elements(document: &str) -> Result<Vec<&str>, String> {
    let (mut open, mut seen) = (Vec::new(), Vec::new());
    let mut rest = document;
    while let Some((text, after)) = rest.split_once('<') {
        check_text(text)?;
        if open.is_empty() && !text.trim().is_empty() {
            return Err(format!("text outside the root: {text}"));
        }
        let (tag, remainder) = after.split_once('>').ok_or("a tag does not end")?;
        rest = remainder;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("{name} was not open"));
            }
            continue;
        }
        let empty = tag.strip_suffix('/');
        let (name, attributes) = empty
            .unwrap_or(tag)
            .split_once(' ')
            .unwrap_or((empty.unwrap_or(tag), ""));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(format!("not a name: {name:?}"));
        }
        check_attributes(attributes)?;
        seen.push(name);
        if empty.is_none() {
            open.push(name);
        }
    }
    check_text(rest)?;
    if !open.is_empty() || !rest.trim().is_empty() {
        return Err(format!("left over: {open:?} {rest:?}"));
    }
    Ok(seen)
}

fn check_attributes(attributes: &str) -> Result<(), String> {
    let mut names = HashSet::new();
    let mut rest = attributes;
    while !rest.is_empty() {
        let (name, after) = rest
            .split_once("=\"")
            .ok_or_else(|| format!("no value: {rest}"))?;
        let (value, remainder) = after.split_once('"').ok_or("a value does not end")?;
        check_text(value)?;
        if value.contains('$') {
            return Err(format!("a colour was not filled in: {value}"));
        }
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            || !names.insert(name)
        {
            return Err(format!("not an attribute: {name:?}"));
        }
        rest = match remainder.strip_prefix(' ') {
            Some(next) if !next.is_empty() => next,
            None if remainder.is_empty() => "",
            _ => return Err(format!("after {name}: {remainder:?}")),
        };
    }
    Ok(())
}

fn check_text(text: &str) -> Result<(), String> {
    if text.contains(['<', '>', '"']) {
        return Err(format!("unescaped: {text}"));
    }
    if text.chars().any(|character| character < ' ' && character != '\n') {
        return Err(format!("a forbidden character: {text:?}"));
    }
    for reference in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        if !known.iter().any(|known| reference.starts_with(known)) {
            return Err(format!("a reference to nothing: {reference}"));
        }
    }
    Ok(())
}

fn titled(title: &str, brand: &str, category: &str) -> Product {
    Product {
        id: ProductId::from_suffix("1"),
        title: title.to_owned(),
        description: String::new(),
        category: category.to_owned(),
        brand: brand.to_owned(),
        attributes: BTreeMap::new(),
        images: Vec::new(),
        variants: Vec::new(),
        version: 1,
    }
}

/// The drawing without colours and captions.
fn outline(picture: &str) -> String {
    let start = picture.find("<g stroke").unwrap();
    let end = picture.find("<g fill").unwrap();
    picture[start..end]
        .split('"')
        .filter(|part| !part.starts_with('#'))
        .collect()
}

#[test]
fn the_checker_finds_malformed_documents() {
    assert_eq!(elements("<a b=\"c\"><d/>&amp;</a>\n"), Ok(vec!["a", "d"]));
    for bad in [
        "<a>",
        "<a></b>",
        "<a b></a>",
        "<a b=\"c></a>",
        "<a b=\"1\" b=\"2\"/>",
        "<a>&</a>",
        "<a>&nbsp;</a>",
        "<a>\u{1}</a>",
        "<a/>x",
        "x<a/>",
        "<a b=\"$m\"/>",
        "< a/>",
    ] {
        assert!(elements(bad).is_err(), "{bad}");
    }
}

#[test]
fn pictures_are_well_formed_and_self_contained() {
    let generator = Generator::new(1);
    for index in 0..2_000 {
        let product = generator.product(index);
        let picture = svg(&product);
        let found = elements(&picture).unwrap_or_else(|wrong| panic!("{wrong}\n{picture}"));
        assert_eq!(found[..2], ["svg", "title"]);
        assert!(picture.len() <= SIZE_LIMIT, "{} bytes: {picture}", picture.len());
        for outside in ["href", "url(", "@import", "<image", "<script", "<style"] {
            assert!(!picture.contains(outside), "{outside}");
        }
        assert_eq!(picture.matches("http").count(), 1, "only the namespace");
        assert_eq!(picture, svg(&product));
    }
}

#[test]
fn every_category_looks_different() {
    let outlines: HashSet<_> = LEAVES
        .iter()
        .map(|(_, leaf)| outline(&svg(&titled("T", "B", &leaf.slug))))
        .collect();
    assert_eq!(outlines.len(), LEAVES.len());
    assert!(!outlines.contains(&outline(&svg(&titled("T", "B", "something-else")))));
}

#[test]
fn a_product_shows_in_its_colour() {
    let mut product = titled("T", "B", "mugs");
    product.attributes.insert("colour".to_owned(), "teal".to_owned());
    assert!(svg(&product).contains("fill=\"#37878e\""));
    product
        .attributes
        .insert("colour".to_owned(), "octarine".to_owned());
    assert!(elements(&svg(&product)).is_ok());
}

#[test]
fn captions_are_wrapped_and_shortened() {
    assert_eq!(wrapped("Tarn Mug"), ["Tarn Mug"]);
    assert_eq!(
        wrapped("Tarn Recycled Polyester Trekking Backpack for Long and Longer Walks Home"),
        [
            "Tarn Recycled Polyester Trekking",
            "Backpack for Long and Longer Walk…"
        ]
    );
    assert_eq!(wrapped("").len(), 0);
    assert_eq!(shortened("日本語", 4), "日…");
    assert!(svg(&titled("Bra & Co <b>\"Mug\"</b>", "Bra & Co", "mugs")).contains("&lt;b&gt;&quot;Mug&quot;"));
}

proptest! {
    #[test]
    fn no_title_breaks_a_picture(title in "\\PC{0,300}|[&<>\"'\\x00-\\x20]{0,300}|.{0,300}", brand: String) {
        let leaf = LEAVES[title.len() % LEAVES.len()].1;
        for category in [leaf.slug.as_str(), "something-else"] {
            let picture = svg(&titled(&title, &brand, category));
            prop_assert!(elements(&picture).is_ok(), "{:?}", elements(&picture));
            prop_assert!(picture.len() <= SIZE_LIMIT, "{} bytes", picture.len());
        }
    }
}
