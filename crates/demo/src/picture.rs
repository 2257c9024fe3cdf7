//! Draws the picture of a product as SVG. The same product always gets the same picture.

use std::fmt::Write;

use xxhash_rust::xxh3::xxh3_64;

use crate::vocabulary::{COMMON, DRAWINGS, LEAVES};
use souk_domain::catalogue::Product;

/// Largest picture, in bytes.
pub const SIZE_LIMIT: usize = 4096;

/// Columns of a caption line; wide characters take two.
const CAPTION_COLUMNS: usize = 34;

/// Lines of the caption.
const CAPTION_LINES: usize = 2;

/// Columns of the brand above the caption.
const BRAND_COLUMNS: usize = 40;

/// Columns of the picture's title, which screen readers speak.
const TITLE_COLUMNS: usize = 100;

/// Red, green and blue.
type Colour = [u8; 3];

/// Backgrounds: the wall, and the disc on it.
const GROUNDS: [(Colour, Colour); 8] = [
    ([0xf6, 0xee, 0xe2], [0xec, 0xdc, 0xc5]),
    ([0xe9, 0xf0, 0xea], [0xd2, 0xe2, 0xd6]),
    ([0xe8, 0xee, 0xf4], [0xd0, 0xde, 0xea]),
    ([0xf5, 0xe9, 0xe6], [0xea, 0xd3, 0xcc]),
    ([0xef, 0xec, 0xf5], [0xdd, 0xd6, 0xea]),
    ([0xf4, 0xf2, 0xdf], [0xe7, 0xe2, 0xc2]),
    ([0xe6, 0xf2, 0xf1], [0xcb, 0xe3, 0xe1]),
    ([0xf1, 0xef, 0xec], [0xe0, 0xdc, 0xd6]),
];

/// Accent colours: handles, straps, flames.
const ACCENTS: [Colour; 6] = [
    [0xd9, 0xa4, 0x41],
    [0xb8, 0x7a, 0x4f],
    [0x5d, 0x8a, 0x8f],
    [0xc9, 0x6a, 0x55],
    [0x7c, 0x8f, 0x5a],
    [0x6d, 0x72, 0x9c],
];

/// The ink of captions.
const INK: Colour = [0x2f, 0x31, 0x36];

/// An SVG of 600 by 600 pixels and at most [`SIZE_LIMIT`] bytes, without external references. The category selects the
/// drawing, the attribute `colour` its main colour, and the product's identifier the rest.
pub fn svg(product: &Product) -> String {
    let hash = xxh3_64(product.id.as_str().as_bytes());
    let (wall, disc) = chosen(&GROUNDS, hash);
    let accent = chosen(&ACCENTS, hash >> 16);
    let main = colour_of(product)
        .unwrap_or_else(|| rgb(&COMMON.colours[(hash >> 32) as usize % COMMON.colours.len()].rgb));
    let drawing = LEAVES
        .iter()
        .find(|(_, leaf)| leaf.slug == product.category)
        .map_or("parcel", |(_, leaf)| &leaf.picture);
    let shapes = DRAWINGS[drawing]
        .replace("$m", &hex(main))
        .replace("$l", &hex(mixed(main, [0xff; 3])))
        .replace("$d", &hex(mixed(main, INK)))
        .replace("$a", &hex(accent))
        .replace("$w", &hex(wall));
    let (wall, disc, ink) = (hex(wall), hex(disc), hex(INK));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 600 600\" width=\"600\" height=\"600\" role=\"img\">\
         <title>{title}</title>\
         <path fill=\"{wall}\" d=\"M0 0h600v600H0z\"/>\
         <circle cx=\"300\" cy=\"245\" r=\"205\" fill=\"{disc}\"/>\
         <ellipse cx=\"300\" cy=\"418\" rx=\"150\" ry=\"14\" fill=\"{ink}\" opacity=\".12\"/>\
         <g stroke=\"{ink}\" stroke-width=\"5\" stroke-linejoin=\"round\" stroke-linecap=\"round\">{shapes}</g>\
         <g fill=\"{ink}\" text-anchor=\"middle\" font-family=\"system-ui,sans-serif\">{caption}</g>\
         </svg>\n",
        title = escaped(&shortened(&product.title, TITLE_COLUMNS)),
        caption = caption(product),
    )
}

/// The brand with the title below it.
fn caption(product: &Product) -> String {
    let mut text = format!(
        "<text x=\"300\" y=\"492\" font-size=\"17\" letter-spacing=\"2\" opacity=\".65\">{}</text>",
        escaped(&shortened(&product.brand, BRAND_COLUMNS))
    );
    // Titles begin with the brand, which is shown already.
    let title = product
        .title
        .strip_prefix(product.brand.as_str())
        .map(str::trim_start)
        .filter(|rest| !rest.is_empty())
        .unwrap_or(&product.title);
    for (number, line) in wrapped(title).iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "<text x=\"300\" y=\"{}\" font-size=\"27\">{}</text>",
            531 + 36 * number,
            escaped(line)
        );
    }
    text
}

fn chosen<T: Copy>(table: &[T], hash: u64) -> T {
    // The tables are not empty.
    table[(hash % table.len() as u64) as usize]
}

/// The colour of the product, or of its first variant.
fn colour_of(product: &Product) -> Option<Colour> {
    let option = product
        .variants
        .first()
        .and_then(|variant| variant.options.get("colour"));
    let name = product.attributes.get("colour").or(option)?;
    COMMON
        .colours
        .iter()
        .find(|colour| colour.name == *name)
        .map(|colour| rgb(&colour.rgb))
}

/// Decodes `#rrggbb`; black for anything else, which a test of the vocabulary rules out.
fn rgb(text: &str) -> Colour {
    let [_, red, green, blue] = u32::from_str_radix(&text[1..], 16).unwrap_or(0).to_be_bytes();
    [red, green, blue]
}

/// Three parts of the first colour and two of the second.
fn mixed(colour: Colour, other: Colour) -> Colour {
    std::array::from_fn(|part| {
        let sum = u16::from(colour[part]) * 3 + u16::from(other[part]) * 2;
        // A weighted mean of bytes is a byte.
        u8::try_from(sum / 5).unwrap_or(u8::MAX)
    })
}

fn hex([red, green, blue]: Colour) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// Two columns from Hangul upwards, where the wide scripts and the emoji are.
fn columns(character: char) -> usize {
    if character < '\u{1100}' { 1 } else { 2 }
}

/// The text within a number of columns, with an ellipsis where it was cut.
fn shortened(text: &str, limit: usize) -> String {
    let mut used = 0;
    let mut short = String::new();
    for character in text.chars() {
        used += columns(character);
        if used > limit {
            short.pop();
            short.push('…');
            break;
        }
        short.push(character);
    }
    short
}

/// The lines of a title. The last one takes the rest, shortened.
fn wrapped(title: &str) -> Vec<String> {
    let width = |text: &str| text.chars().map(columns).sum::<usize>();
    let mut lines: Vec<String> = Vec::new();
    for word in title.split_whitespace() {
        let full = lines.len() == CAPTION_LINES;
        match lines.last_mut() {
            Some(line) if full || width(line) + 1 + width(word) <= CAPTION_COLUMNS => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
        .iter()
        .map(|line| shortened(line, CAPTION_COLUMNS))
        .collect()
}

/// The text for XML 1.0: markup escaped, characters that are not allowed removed.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\t' | '\n' | '\r' => safe.push(' '),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {}
            allowed => safe.push(allowed),
        }
    }
    safe
}

#[cfg(test)]
mod tests;
