//! Renders JSON as text: lists as tables, trees indented, objects as key and value. It knows no fields, so that new ones of
//! the operator's interface are shown without a change.

use serde_json::{Map, Value};

/// Columns that come first if present, in this order; all others follow by name.
const FIRST: [&str; 16] = [
    "name", "id", "kind", "shard", "sequence", "order_id", "entity", "state", "status", "node", "owner",
    "store", "event", "roles", "version", "at",
];

/// Widest cell of a table in characters; `--json` shows all of it.
const CELL_LIMIT: usize = 60;

/// Shown for an absent value.
const NOTHING: &str = "-";

/// Two spaces for each level of a tree.
const INDENT: &str = "  ";

/// Renders a reply of the operator's interface.
pub(super) fn render(value: &Value) -> String {
    match value {
        Value::Object(object) => match object.get("items") {
            Some(Value::Array(items)) => list(items),
            _ if object.contains_key("children") => tree(std::slice::from_ref(value)),
            _ => pairs(object),
        },
        Value::Array(items) => list(items),
        other => cell(other),
    }
}

fn list(items: &[Value]) -> String {
    if items.is_empty() {
        "none".into()
    } else if items.iter().any(|item| item.get("children").is_some()) {
        tree(items)
    } else {
        table(items)
    }
}

fn table(items: &[Value]) -> String {
    let columns = columns(items);
    let mut rows = vec![
        columns
            .iter()
            .map(|column| column.to_uppercase())
            .collect::<Vec<_>>(),
    ];
    for item in items {
        rows.push(
            columns
                .iter()
                .map(|column| shortened(item.get(column).map_or_else(|| NOTHING.into(), cell)))
                .collect(),
        );
    }
    let numeric: Vec<bool> = columns
        .iter()
        .map(|column| {
            items
                .iter()
                .filter_map(|item| item.get(column))
                .all(|value| value.is_number() || value.is_null())
        })
        .collect();
    align(&rows, &numeric)
}

/// The keys of all items: the well-known ones first, the others by name.
fn columns(items: &[Value]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for key in items.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !found.contains(key) {
            found.push(key.clone());
        }
    }
    found.sort_by_key(|key| {
        let place = FIRST.iter().position(|first| first == key).unwrap_or(FIRST.len());
        (place, key.clone())
    });
    found
}

fn align(rows: &[Vec<String>], numeric: &[bool]) -> String {
    let widths: Vec<usize> = (0..numeric.len())
        .map(|column| {
            rows.iter()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, width), numeric) in row.iter().zip(&widths).zip(numeric) {
            let padding = " ".repeat(width - cell.chars().count());
            let (before, after) = if *numeric {
                (padding.as_str(), "")
            } else {
                ("", padding.as_str())
            };
            line.push_str(before);
            line.push_str(cell);
            line.push_str(after);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text
}

fn pairs(object: &Map<String, Value>) -> String {
    let mut rows = Vec::new();
    flatten("", object, &mut rows);
    align(&rows, &[false, false])
}

/// One row for each value, with a dotted path; lists of plain values are one row.
fn flatten(path: &str, object: &Map<String, Value>, rows: &mut Vec<Vec<String>>) {
    for (key, value) in object {
        let path = if path.is_empty() {
            plain(key)
        } else {
            format!("{path}.{}", plain(key))
        };
        match value {
            Value::Object(inner) if !inner.is_empty() => flatten(&path, inner, rows),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    match item {
                        Value::Object(inner) => flatten(&path, inner, rows),
                        other => rows.push(vec![path, cell(other)]),
                    }
                }
            }
            other => rows.push(vec![path, cell(other)]),
        }
    }
}

/// A supervision tree: each actor below its supervisor, with its fields.
fn tree(roots: &[Value]) -> String {
    let mut lines = Vec::new();
    // An explicit stack instead of recursion: the depth of the reply is not limited.
    let mut open: Vec<(usize, &Value)> = roots.iter().rev().map(|root| (0, root)).collect();
    while let Some((depth, value)) = open.pop() {
        lines.push(format!("{}{}", INDENT.repeat(depth), branch(value)));
        if let Some(Value::Array(children)) = value.get("children") {
            open.extend(children.iter().rev().map(|child| (depth + 1, child)));
        }
    }
    lines.join("\n")
}

/// `name (kind)  status=running  restarts=0`
fn branch(value: &Value) -> String {
    let Value::Object(object) = value else {
        return cell(value);
    };
    let mut text = object.get("name").map_or_else(|| NOTHING.into(), cell);
    if let Some(kind) = object.get("kind") {
        text.push_str(&format!(" ({})", cell(kind)));
    }
    for (key, value) in object {
        if !["name", "kind", "children"].contains(&key.as_str()) {
            text.push_str(&format!("  {}={}", plain(key), cell(value)));
        }
    }
    text
}

/// A value in one line.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.into(),
        Value::String(text) => plain(text),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| format!("{}={}", plain(key), cell(value)))
            .collect::<Vec<_>>()
            .join(" "),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// Escapes control characters: input of strangers must not control an operator's terminal.
fn plain(text: &str) -> String {
    text.chars()
        .fold(String::with_capacity(text.len()), |mut plain, character| {
            if character.is_control() {
                plain.extend(character.escape_default());
            } else {
                plain.push(character);
            }
            plain
        })
}

fn shortened(text: String) -> String {
    if text.chars().count() <= CELL_LIMIT {
        return text;
    }
    let mut short: String = text.chars().take(CELL_LIMIT - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table() {
        let reply = json!({"items": [
            {"entities": 12, "state": "ready", "name": "n1", "roles": ["front", "entities"]},
            {"entities": 4_096, "state": "leaving", "name": "n2", "roles": ["front"], "load": 0.5},
        ]});
        assert_eq!(
            render(&reply),
            "NAME  STATE    ROLES           ENTITIES  LOAD\n\
             n1    ready    front,entities        12     -\n\
             n2    leaving  front               4096   0.5"
        );
    }

    #[test]
    fn an_empty_list_is_none() {
        assert_eq!(render(&json!({"items": []})), "none");
    }

    #[test]
    fn supervision_is_an_indented_tree() {
        let reply = json!({"name": "n1", "kind": "node", "status": "running", "restarts": 0, "children": [
            {"name": "region", "kind": "region", "status": "running", "restarts": 2, "children": [
                {"name": "shard 7", "kind": "shard", "status": "running", "restarts": 0, "children": []},
            ]},
            {"name": "relay", "kind": "worker", "status": "backing off", "restarts": 3, "children": []},
        ]});
        assert_eq!(
            render(&reply),
            "n1 (node)  restarts=0  status=running\n  \
               region (region)  restarts=2  status=running\n    \
                 shard 7 (shard)  restarts=0  status=running\n  \
               relay (worker)  restarts=3  status=backing off"
        );
        let forest = json!({"items": [reply, {"name": "n2", "children": []}]});
        assert!(render(&forest).ends_with("\nn2"));
    }

    #[test]
    fn deep_trees_are_rendered() {
        let mut reply = json!({"name": "leaf", "children": []});
        for _ in 0..100 {
            reply = json!({"name": "branch", "children": [reply]});
        }
        assert_eq!(render(&reply).lines().count(), 101);
    }

    #[test]
    fn an_object_is_paths_and_values() {
        let reply = json!({"limits": {"body_bytes": 1, "idle_seconds": 2}, "nodes": [{"name": "n1"}], "tags": ["a", "b"], "none": null});
        assert_eq!(
            render(&reply),
            "limits.body_bytes    1\n\
             limits.idle_seconds  2\n\
             nodes[0].name        n1\n\
             none                 -\n\
             tags                 a,b"
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let reply = json!({"items": [{"name": "\u{1b}[2Jgone\nnext"}]});
        assert_eq!(render(&reply), "NAME\n\\u{1b}[2Jgone\\nnext");
        let long = json!({"items": [{"name": "é".repeat(100)}]});
        assert_eq!(render(&long).lines().last().unwrap().chars().count(), CELL_LIMIT);
    }
}
