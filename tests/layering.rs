//! The rooms of `src/` import downwards only, and the parts of `http/` too. The compiler sees to the crates below
//! `crates/`; this test sees to what one crate holds.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms from the bottom to the top: each may import those before it. Rooms of one row don't import each other.
const ROOMS: &[&[&str]] = &[
    &["clock", "digest", "fail", "panics"],
    &["traces"],
    &["config"],
    &["sealing"],
    &["stores"],
    &["gateways"],
    &["authentication"],
    &["actors"],
    &["projections"],
    &["sagas"],
    &["http"],
    &["audit"],
    &["operator"],
    &["node"],
    &["demo"],
    &["cli"],
];

/// The parts of `src/http/`, in the same way.
const HTTP_PARTS: &[&[&str]] = &[
    &["edge"],
    &["catalogue_cache"],
    &["request"],
    &["api", "openapi"],
    &["routes"],
];

/// Whether a file is for tests, which may use scaffolding of any room.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str().to_str().unwrap_or_default();
        let name = name.trim_end_matches(".rs");
        name == "tests" || name.ends_with("_tests") || name == "test_support" || name == "contract"
    })
}

/// An import that points upward.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Upward {
    file: String,
    line: usize,
    from: String,
    to: String,
}

/// Where `name` stands in `order`.
fn height(order: &[&[&str]], name: &str) -> Option<usize> {
    order.iter().position(|row| row.contains(&name))
}

/// The first part of a path below `folder`: the name of a room or part, without `.rs`.
fn part_of(path: &Path, folder: &Path) -> Option<String> {
    let below = path.strip_prefix(folder).ok()?;
    let first = below.components().next()?.as_os_str().to_str()?;
    Some(first.trim_end_matches(".rs").to_owned())
}

/// The names that directly follow `prefix` in code, with their lines; of `prefix{a::b, c}` both `a` and `c`.
fn names_after(source: &str, prefix: &str) -> Vec<(usize, String)> {
    let code: String = source
        .lines()
        .map(|line| {
            let comment = line.trim_start().starts_with("//");
            if comment {
                "\n".to_owned()
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(group_heads(group).into_iter().map(|name| (line, name)));
        } else {
            found.extend(identifier(rest).map(|name| (line, name)));
        }
    }
    found
}

/// The names that `super::super::…` reaches directly below `folder` from a file that lies `depth` modules deep.
fn names_above(source: &str, depth: usize) -> Vec<(usize, String)> {
    let chain = "super::".repeat(depth);
    names_after(source, &chain)
        .into_iter()
        .filter(|(_, name)| name != "super")
        .collect()
}

/// How many modules below `folder` the file's own module is.
fn depth_of(path: &Path, folder: &Path) -> usize {
    let below = path.strip_prefix(folder).unwrap().components().count();
    if path.file_stem().is_some_and(|stem| stem == "mod") {
        below - 1
    } else {
        below
    }
}

/// The identifier at the beginning of `text`.
fn identifier(text: &str) -> Option<String> {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_owned())
}

/// The first identifier of each item of an import group, whose opening brace has been read.
fn group_heads(text: &str) -> Vec<String> {
    let mut depth = 1;
    let mut item = String::new();
    let mut heads = Vec::new();
    for c in text.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && c == ',') {
            heads.extend(identifier(item.trim_start()));
            item.clear();
        } else {
            item.push(c);
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

/// What points upward in one file, whose room is `from`.
fn upward(order: &[&[&str]], file: &str, from: &str, imports: Vec<(usize, String)>) -> BTreeSet<Upward> {
    let own =
        height(order, from).unwrap_or_else(|| panic!("{file}: `{from}` has no place in the order of rooms"));
    imports
        .into_iter()
        .filter(|(_, to)| to != from)
        .filter(|(_, to)| height(order, to).is_some_and(|height| height >= own))
        .map(|(line, to)| Upward {
            file: file.to_owned(),
            line,
            from: from.to_owned(),
            to,
        })
        .collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// All that points upward below `folder`, whose modules are named by paths that begin with `prefix`.
fn upward_below(folder: &Path, prefix: &str, order: &[&[&str]], roots: &[&str]) -> BTreeSet<Upward> {
    let mut found = BTreeSet::new();
    for path in rust_files(folder) {
        let from = part_of(&path, folder).unwrap();
        let below = path.strip_prefix(folder).unwrap();
        if roots.contains(&from.as_str()) || is_test(below) {
            continue;
        }
        let source = fs::read_to_string(&path).unwrap();
        let file = path.display().to_string();
        let mut imports = names_after(&source, prefix);
        imports.extend(names_above(&source, depth_of(&path, folder)));
        found.extend(upward(order, &file, &from, imports));
    }
    found
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn rooms_import_downwards_only() {
    let found = upward_below(&source_folder(), "crate::", ROOMS, &["lib", "main"]);
    assert!(found.is_empty(), "imports that point upward: {found:#?}");
}

#[test]
fn parts_of_http_import_downwards_only() {
    let folder = source_folder().join("http");
    let found = upward_below(
        &folder,
        "crate::http::",
        HTTP_PARTS,
        &["mod", "test_support", "tests"],
    );
    assert!(found.is_empty(), "imports that point upward: {found:#?}");
}

#[test]
fn crates_know_nothing_of_the_root() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    for entry in fs::read_dir(crates).unwrap() {
        let manifest = entry.unwrap().path().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        let root = text.lines().find(|line| {
            let name = line.split('=').next().unwrap_or_default().trim();
            name == "souk" || name == "souk.workspace"
        });
        assert_eq!(root, None, "{} depends on the root", manifest.display());
    }
}

#[test]
fn a_planted_upward_import_is_found() {
    let source = "use crate::config::Config;\nuse crate::{clock, http::Shop};\n\nfn f() { crate::node::run() }\n\
                  // crate::cli in a comment\n";
    let found = upward(ROOMS, "planted.rs", "stores", names_after(source, "crate::"));
    let found: Vec<_> = found.into_iter().map(|import| (import.line, import.to)).collect();
    assert_eq!(found, [(2, "http".to_owned()), (4, "node".to_owned())]);
    assert_eq!(
        names_above("use super::super::http::Shop;", 2),
        [(1, "http".to_owned())]
    );
    assert_eq!(names_above("use super::http::Shop;", 2), []);
}
