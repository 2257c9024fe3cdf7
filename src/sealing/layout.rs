//! The table of what is sealed in each store, and how rows are sealed and opened by it.
//!
//! Carts, inventory, catalogue and views hold no personal data or payment references, and are not listed. Nor do the events
//! of any store, which other consumers read, or the purchases in the users store, which are titles and prices. A test stores a sample
//! of all personal data and searches the files for it (`stores/documents/sealed_tests.rs`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::keyring::{Keyring, Place, SealingError};
use super::text::SealedText;

/// A part of a path that matches every element of a list, or every field of an object.
const EACH: &str = "*";

/// What is sealed of a row's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// These fields of the JSON content: JSON pointers, in which `*` matches each element.
    Fields(&'static [&'static str]),
    /// The whole content, under the name of its column.
    Whole(&'static str),
}

/// How one store is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    store: &'static str,
    extent: Extent,
}

/// The phone numbers of accounts, in the users store.
pub const PHONES: Layout = Layout {
    store: "users",
    extent: Extent::Whole("phone"),
};

/// The saved addresses of accounts, in a separate table of the users store.
pub const ADDRESSES: Layout = Layout {
    store: "addresses",
    extent: Extent::Whole("body"),
};

/// The table.
static LAYOUTS: [Layout; 6] = [
    Layout {
        store: "orders",
        extent: Extent::Fields(&[
            "/state/placed/placement/email",
            "/state/placed/placement/address",
            "/state/placed/placement/payment/token",
            // May contain the words of the person who cancelled.
            "/state/placed/progress/timeline/*/detail",
            // A hash of the submitted body: with the shop's secret a guess could be checked against it.
            "/state/placed/placement/fingerprint",
        ]),
    },
    Layout {
        store: "payments",
        extent: Extent::Fields(&["/instruction/token", "/reference"]),
    },
    Layout {
        store: "sandbox",
        // The provider keeps no token, but a hash of the request with it.
        extent: Extent::Fields(&["/key", "/request/fingerprint"]),
    },
    Layout {
        // Kept replies, among them whole orders and cart tokens.
        store: "idempotency",
        extent: Extent::Whole("body"),
    },
    PHONES,
    ADDRESSES,
];

/// Every store with sealed content.
pub fn all() -> &'static [Layout] {
    &LAYOUTS
}

/// The layout of this store; `None` where nothing is sealed.
pub fn layout(store: &str) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.store == store)
}

/// Why a row can't be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The content is not JSON. The cause says where, and quotes nothing.
    #[error("it is not JSON")]
    NoJson(#[source] serde_json::Error),
    /// One of its fields.
    #[error("its field {field}")]
    Field {
        /// Which.
        field: String,
        /// Why.
        #[source]
        cause: SealingError,
    },
}

/// The keys that the values of a row are sealed under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The ids of the keys; an empty id for a value of an unknown version.
    pub keys: BTreeSet<String>,
    /// Whether one of the values is not sealed.
    pub plain: bool,
}

impl Survey {
    /// Whether all values are sealed under this key.
    pub fn is_all_under(&self, key: &str) -> bool {
        !self.plain && self.keys.iter().all(|id| id == key)
    }

    fn note(&mut self, text: &str) {
        if SealedText::recognise(text) {
            self.keys
                .insert(SealedText::key_of(text).unwrap_or_default().to_owned());
        } else {
            self.plain = true;
        }
    }
}

impl Layout {
    /// The store, or the part of it.
    pub fn store(&self) -> &'static str {
        self.store
    }

    /// The content with its fields sealed; `None` where there is nothing to seal. All input is considered plain, even if it
    /// looks sealed: it may be what somebody typed into a form.
    ///
    /// # Errors
    /// [`RowError`]
    pub fn seal(&self, keyring: &Keyring, row: &str, content: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
        self.change(
            row,
            content,
            |place, value| present(value).map(|value| keyring.seal_json(value, place).map(field)),
            |place, bytes| Some(keyring.seal(bytes, place).map(whole)),
        )
    }

    /// The content with its fields opened; `None` where nothing is sealed.
    ///
    /// # Errors
    /// [`RowError`]
    pub fn open(&self, keyring: &Keyring, row: &str, content: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
        if matches!(self.extent, Extent::Fields(_)) && !occurs(content) {
            return Ok(None);
        }
        self.change(
            row,
            content,
            |place, value| sealed_field(value).map(|sealed| keyring.open_json(sealed, place)),
            |place, bytes| sealed_text(bytes).map(|sealed| Ok(keyring.open(sealed, place)?.to_vec())),
        )
    }

    /// The content with its fields sealed under the first key; `None` where they are already.
    ///
    /// # Errors
    /// [`RowError`]
    pub fn reseal(&self, keyring: &Keyring, row: &str, content: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
        let again = |sealed: &str, place: Place<'_>| {
            let is_current = keyring.is_current(sealed);
            (!is_current).then(|| keyring.seal(&keyring.open(sealed, place)?, place))
        };
        self.change(
            row,
            content,
            |place, value| match sealed_field(value) {
                Some(sealed) => again(sealed, place).map(|text| text.map(field)),
                None => present(value).map(|value| keyring.seal_json(value, place).map(field)),
            },
            |place, bytes| match sealed_text(bytes) {
                Some(sealed) => again(sealed, place).map(|text| text.map(whole)),
                None => Some(keyring.seal(bytes, place).map(whole)),
            },
        )
    }

    /// The keys that the values of a row are sealed under; opens none of them.
    ///
    /// # Errors
    /// [`RowError::NoJson`]
    pub fn survey(&self, content: &[u8]) -> Result<Survey, RowError> {
        let mut survey = Survey::default();
        match self.extent {
            Extent::Whole(_) => survey.note(sealed_text(content).unwrap_or_default()),
            Extent::Fields(paths) => {
                let mut body: Value = serde_json::from_slice(content).map_err(RowError::NoJson)?;
                each(&mut body, paths, |_, value| {
                    if let Some(value) = present(value) {
                        survey.note(sealed_field(value).unwrap_or_default());
                    }
                    Ok(())
                })?;
            }
        }
        Ok(survey)
    }

    fn place<'a>(&self, row: &'a str, field: &'a str) -> Place<'a> {
        Place {
            store: self.store,
            row,
            field,
        }
    }

    /// The content with each of its fields replaced by `of_field`, or the whole by `of_all`; `None` where they change
    /// nothing.
    fn change(
        &self,
        row: &str,
        content: &[u8],
        of_field: impl Fn(Place<'_>, &Value) -> Option<Result<Value, SealingError>>,
        of_all: impl Fn(Place<'_>, &[u8]) -> Option<Result<Vec<u8>, SealingError>>,
    ) -> Result<Option<Vec<u8>>, RowError> {
        let paths = match self.extent {
            Extent::Fields(paths) => paths,
            Extent::Whole(column) => {
                let all = of_all(self.place(row, column), content).transpose();
                return all.map_err(|cause| blame(column, cause));
            }
        };
        let mut body: Value = serde_json::from_slice(content).map_err(RowError::NoJson)?;
        let mut changed = false;
        each(&mut body, paths, |pointer, value| {
            if let Some(made) = of_field(self.place(row, pointer), value) {
                *value = made?;
                changed = true;
            }
            Ok(())
        })?;
        if !changed {
            return Ok(None);
        }
        serde_json::to_vec(&body).map(Some).map_err(RowError::NoJson)
    }
}

/// A sealed value as a field.
fn field(text: SealedText) -> Value {
    Value::String(text.into_string())
}

/// A sealed value as the whole content.
fn whole(text: SealedText) -> Vec<u8> {
    text.into_string().into_bytes()
}

fn blame(field: &str, cause: SealingError) -> RowError {
    RowError::Field {
        field: field.to_owned(),
        cause,
    }
}

/// The value, unless it is empty.
fn present(value: &Value) -> Option<&Value> {
    match value {
        Value::Null => None,
        Value::String(text) if text.is_empty() => None,
        _ => Some(value),
    }
}

fn sealed_field(value: &Value) -> Option<&str> {
    value.as_str().filter(|text| SealedText::recognise(text))
}

fn sealed_text(content: &[u8]) -> Option<&str> {
    std::str::from_utf8(content)
        .ok()
        .filter(|text| SealedText::recognise(text))
}

/// Whether a JSON text may contain a sealed value.
fn occurs(content: &[u8]) -> bool {
    std::str::from_utf8(content).is_ok_and(SealedText::may_occur_in)
}

/// Calls `visit` with every value at one of the paths, and its pointer. Absent values are skipped.
fn each(
    body: &mut Value,
    paths: &[&str],
    mut visit: impl FnMut(&str, &mut Value) -> Result<(), SealingError>,
) -> Result<(), RowError> {
    let mut pointer = String::with_capacity(64);
    for path in paths {
        pointer.clear();
        let rest = path.strip_prefix('/').unwrap_or(path);
        descend(body, rest, &mut pointer, &mut visit).map_err(|cause| blame(&pointer, cause))?;
    }
    Ok(())
}

/// On `Err`, `pointer` is that of the failed value.
fn descend(
    value: &mut Value,
    path: &str,
    pointer: &mut String,
    visit: &mut impl FnMut(&str, &mut Value) -> Result<(), SealingError>,
) -> Result<(), SealingError> {
    let (part, rest) = match path.split_once('/') {
        Some((part, rest)) => (part, Some(rest)),
        None => (path, None),
    };
    let mut enter = |name: &str, value: &mut Value| -> Result<(), SealingError> {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(name);
        match rest {
            Some(rest) => descend(value, rest, pointer, visit)?,
            None => visit(pointer, value)?,
        }
        pointer.truncate(length);
        Ok(())
    };
    match value {
        Value::Object(fields) if part == EACH => {
            fields.iter_mut().try_for_each(|(name, value)| enter(name, value))
        }
        Value::Array(items) if part == EACH => items
            .iter_mut()
            .enumerate()
            .try_for_each(|(index, value)| enter(&index.to_string(), value)),
        Value::Object(fields) => fields.get_mut(part).map_or(Ok(()), |value| enter(part, value)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;
