//! What is sealed in which store: the one table, and how a row is sealed and opened by it.
//!
//! Carts, inventory, catalogue and views hold nothing that tells of a person or pays, and are not listed. Nor do the events
//! of any store, which others read. A test takes a sample of everything personal through the stores and looks for it in
//! what lies there (`stores/documents/sealed_tests.rs`).

use std::collections::BTreeSet;

use serde_json::Value;
use zeroize::Zeroizing;

use super::keyring::{Keyring, Place, SealingError};
use super::text::SealedText;

/// A part of a path that stands for every element of a list, or every field of an object.
const EACH: &str = "*";
/// The field of what is sealed as a whole.
const WHOLE: &str = "body";

/// What is sealed of a row's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// The content is JSON, and these fields of it are sealed: JSON pointers, in which `*` stands for each.
    Fields(&'static [&'static str]),
    /// All of it.
    Whole,
}

/// How one store is sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    store: &'static str,
    extent: Extent,
}

/// The table.
static LAYOUTS: [Layout; 4] = [
    Layout {
        store: "orders",
        extent: Extent::Fields(&[
            "/state/placed/order/email",
            "/state/placed/order/address",
            "/state/placed/order/payment/token",
            // The words of whoever called it off are among them.
            "/state/placed/order/timeline/*/detail",
            // A hash of what was submitted, by which a guess of it could be checked.
            "/state/placed/fingerprint",
        ]),
    },
    Layout {
        store: "payments",
        extent: Extent::Fields(&["/instruction/token", "/reference"]),
    },
    Layout {
        store: "sandbox",
        // The provider keeps no token, but a hash of what it was asked for with it.
        extent: Extent::Fields(&["/key", "/request/fingerprint"]),
    },
    Layout {
        // Replies to whatever was asked for under a key, whole orders and cart tokens among them.
        store: "idempotency",
        extent: Extent::Whole,
    },
];

/// Every store that holds something that must be sealed.
pub fn all() -> &'static [Layout] {
    &LAYOUTS
}

/// How this store is sealed; `None` where it holds nothing that must be.
pub fn layout(store: &str) -> Option<&'static Layout> {
    LAYOUTS.iter().find(|layout| layout.store == store)
}

/// Why a row can't be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// The content is no JSON. The cause says where, and quotes nothing.
    #[error("it is no JSON")]
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

/// What the values of a row are sealed under.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The ids of the keys; an empty id for a value of a version that is not known here.
    pub keys: BTreeSet<String>,
    /// Whether one of them lies open.
    pub plain: bool,
}

impl Survey {
    /// Whether all is under this key.
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
    /// The store.
    pub fn store(&self) -> &'static str {
        self.store
    }

    /// The content with everything sealed that has to be; `None` where there is nothing. All that comes in counts as
    /// plain, also what looks sealed: it is what somebody wrote into a form.
    ///
    /// # Errors
    /// [`RowError`]
    pub fn seal(&self, keyring: &Keyring, row: &str, content: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
        self.change(row, content, |place, value| match value {
            Part::Field(value) if is_empty(value) => Ok(None),
            Part::Field(value) => keyring.seal_json(value, place).map(Some),
            Part::Whole(bytes) => keyring.seal(bytes, place).map(Some),
        })
    }

    /// The content with everything opened; `None` where nothing is sealed.
    ///
    /// # Errors
    /// [`RowError`]
    pub fn open(&self, keyring: &Keyring, row: &str, content: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
        let mut opened = None;
        match self.extent {
            Extent::Whole => {
                if let Some(sealed) = sealed_text(content) {
                    let plain = keyring.open(sealed, self.place(row, WHOLE));
                    opened = Some(plain.map_err(|cause| blame(WHOLE, cause))?.to_vec());
                }
            }
            Extent::Fields(paths) => {
                if !occurs(content) {
                    return Ok(None);
                }
                let mut body: Value = serde_json::from_slice(content).map_err(RowError::NoJson)?;
                let mut changed = false;
                each(&mut body, paths, |field, value| {
                    if let Some(sealed) = sealed_field(value) {
                        *value = keyring.open_json(sealed, self.place(row, field))?;
                        changed = true;
                    }
                    Ok(())
                })?;
                if changed {
                    opened = Some(serde_json::to_vec(&body).map_err(RowError::NoJson)?);
                }
            }
        }
        Ok(opened)
    }

    /// The content with everything under the first key; `None` where it is so already.
    ///
    /// # Errors
    /// [`RowError`]
    pub fn reseal(&self, keyring: &Keyring, row: &str, content: &[u8]) -> Result<Option<Vec<u8>>, RowError> {
        self.change(row, content, |place, value| {
            let (sealed, plain) = match value {
                Part::Field(value) => match sealed_field(value) {
                    Some(sealed) => (Some(sealed), Zeroizing::default()),
                    None if is_empty(value) => return Ok(None),
                    None => (
                        None,
                        Zeroizing::new(serde_json::to_vec(value).map_err(SealingError::Encode)?),
                    ),
                },
                Part::Whole(bytes) => match sealed_text(bytes) {
                    Some(sealed) => (Some(sealed), Zeroizing::default()),
                    None => (None, Zeroizing::new(bytes.to_vec())),
                },
            };
            match sealed {
                Some(sealed) if keyring.is_current(sealed) => Ok(None),
                Some(sealed) => keyring.seal(&*keyring.open(sealed, place)?, place).map(Some),
                None => keyring.seal(&plain, place).map(Some),
            }
        })
    }

    /// What the values of a row are sealed under; opens none of them.
    ///
    /// # Errors
    /// [`RowError::NoJson`]
    pub fn survey(&self, content: &[u8]) -> Result<Survey, RowError> {
        let mut survey = Survey::default();
        match self.extent {
            Extent::Whole => survey.note(sealed_text(content).unwrap_or_default()),
            Extent::Fields(paths) => {
                let mut body: Value = serde_json::from_slice(content).map_err(RowError::NoJson)?;
                each(&mut body, paths, |_, value| {
                    if !is_empty(value) {
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

    /// The content with what `seal` makes of each value in the place of it; `None` where it makes nothing of any.
    fn change(
        &self,
        row: &str,
        content: &[u8],
        seal: impl Fn(Place<'_>, Part<'_>) -> Result<Option<SealedText>, SealingError>,
    ) -> Result<Option<Vec<u8>>, RowError> {
        match self.extent {
            Extent::Whole => {
                let sealed = seal(self.place(row, WHOLE), Part::Whole(content));
                let sealed = sealed.map_err(|cause| blame(WHOLE, cause))?;
                Ok(sealed.map(|text| text.into_string().into_bytes()))
            }
            Extent::Fields(paths) => {
                let mut body: Value = serde_json::from_slice(content).map_err(RowError::NoJson)?;
                let mut changed = false;
                each(&mut body, paths, |field, value| {
                    if let Some(sealed) = seal(self.place(row, field), Part::Field(value))? {
                        *value = Value::String(sealed.into_string());
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
    }
}

/// What is sealed at once.
enum Part<'a> {
    /// A value of a JSON body.
    Field(&'a Value),
    /// A content.
    Whole(&'a [u8]),
}

fn blame(field: &str, cause: SealingError) -> RowError {
    RowError::Field {
        field: field.to_owned(),
        cause,
    }
}

/// Whether there is nothing to hide.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        _ => false,
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

/// Whether a JSON text may hold a sealed value.
fn occurs(content: &[u8]) -> bool {
    std::str::from_utf8(content).is_ok_and(SealedText::may_occur_in)
}

/// Hands every value at one of the paths to `visit`, with its own pointer. What is not there is passed over.
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

/// On `Err`, `pointer` is that of the value which failed.
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
