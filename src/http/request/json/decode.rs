//! Decoding of JSON bodies: strict, and with every fault in one refusal.
//!
//! serde stops at the first fault. So the field that is refused is noted, and the body is decoded again with a made-up value
//! in its place, until there is no further fault.
//!
//! serde accepts an array for a struct, its fields in their order, which evades `deny_unknown_fields`: here only an object is
//! a struct.

use std::fmt::{self, Display};

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess,
    Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};

use crate::http::edge::problem::FieldError;

/// Most faults that are named in one refusal: each costs another pass over the body.
const FAULT_LIMIT: usize = 32;

/// What is blamed where no field is.
const WHOLE: &str = "body";

/// Reads JSON text.
///
/// # Errors
/// The syntax error.
pub(super) fn read(text: &[u8]) -> Result<Body, serde_json::Error> {
    let mut repeated = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let members = Members {
        path: String::new(),
        repeated: &mut repeated,
    };
    let value = members.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(Body { value, repeated })
}

/// A body that is JSON.
pub(super) struct Body {
    value: Value,
    /// The paths of members that occur more than once in their object.
    repeated: Vec<String>,
}

impl Body {
    /// The body as a `T`.
    ///
    /// # Errors
    /// Every member that occurs twice: it is open which of them is meant, so that nothing else is checked. Otherwise every
    /// field that is missing, unknown or of the wrong type.
    pub(super) fn decode<T: DeserializeOwned>(self) -> Result<T, Vec<FieldError>> {
        if !self.repeated.is_empty() {
            let twice = |path| FieldError::new(path, "duplicate field");
            return Err(self.repeated.into_iter().map(twice).collect());
        }
        let mut faults: Vec<Fault> = Vec::new();
        loop {
            let node = Node {
                value: Some(&self.value),
                path: String::new(),
                faults: &faults,
            };
            match T::deserialize(node) {
                Ok(value) if faults.is_empty() => return Ok(value),
                Err(fault) if faults.len() < FAULT_LIMIT && !is_blamed(&faults, fault.path()) => {
                    faults.push(fault)
                }
                // All of them are known; or a made-up value is refused too, and hides the rest.
                _ => return Err(faults.into_iter().map(FieldError::from).collect()),
            }
        }
    }
}

/// Reads a value, and notes which members occur more than once.
struct Members<'a> {
    path: String,
    repeated: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        loop {
            let item = Members {
                path: element(&self.path, list.len()),
                repeated: self.repeated,
            };
            match items.next_element_seed(item)? {
                Some(value) => list.push(value),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let path = member(&self.path, &name);
            let value = members.next_value_seed(Members {
                path: path.clone(),
                repeated: self.repeated,
            })?;
            if object.insert(name, value).is_some() {
                self.repeated.push(path);
            }
        }
        Ok(Value::Object(object))
    }
}

fn member(parent: &str, name: &str) -> String {
    if parent.is_empty() {
        name.to_owned()
    } else {
        format!("{parent}.{name}")
    }
}

fn element(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// Why a field is refused.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Fault {
    /// The path of the field; set by the [`Node`] in which it happened.
    path: Option<String>,
    /// The member of that node to blame, where it is not the node itself.
    member: Option<String>,
    message: String,
}

impl Fault {
    fn new(message: String) -> Self {
        Self {
            path: None,
            member: None,
            message,
        }
    }

    fn of_member(name: &str, message: &str) -> Self {
        Self {
            member: Some(name.to_owned()),
            ..Self::new(message.to_owned())
        }
    }

    /// The same fault, in the node at `path` unless it happened further down.
    fn within(mut self, path: &str) -> Self {
        if self.path.is_none() {
            self.path = Some(match &self.member {
                Some(name) => member(path, name),
                None => path.to_owned(),
            });
        }
        self
    }

    fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }
}

impl From<Fault> for FieldError {
    fn from(fault: Fault) -> Self {
        let path = fault.path.filter(|path| !path.is_empty());
        Self::new(path.unwrap_or_else(|| WHOLE.to_owned()), fault.message)
    }
}

/// The messages never include the refused value, which may be a password or a card token in the wrong field: replies are
/// stored, and logged by clients.
impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        const INTEGERS: [&str; 8] = ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"];
        let expected = expected.to_string();
        Self::new(if INTEGERS.contains(&expected.as_str()) {
            format!("must be an integer that fits {expected}")
        } else {
            format!("must be {expected}")
        })
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::new(format!("must be one of {}", expected.join(", ")))
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self::of_member(name, "is unknown")
    }

    fn missing_field(name: &'static str) -> Self {
        Self::of_member(name, "is required")
    }
}

fn is_blamed(faults: &[Fault], path: &str) -> bool {
    faults.iter().any(|fault| fault.path() == path)
}

/// A value of the body, or a made-up one in place of a value that was refused.
struct Node<'a> {
    value: Option<&'a Value>,
    path: String,
    /// The faults known by now.
    faults: &'a [Fault],
}

impl<'a> Node<'a> {
    /// The node below, made up where it was refused.
    fn below(&self, value: Option<&'a Value>, path: String) -> Self {
        Self {
            value: value.filter(|_| !is_blamed(self.faults, &path)),
            path,
            faults: self.faults,
        }
    }

    /// Reads the value, or `made_up` in its place.
    fn read<'de, V: Visitor<'de>>(self, visitor: V, made_up: &Value) -> Result<V::Value, Fault> {
        let read: Result<V::Value, Fault> = match self.value.unwrap_or(made_up) {
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let nodes = items.map(|(index, item)| self.below(Some(item), element(&self.path, index)));
                visitor.visit_seq(SeqDeserializer::new(nodes))
            }
            Value::Object(object) => {
                let nodes = object
                    .iter()
                    .map(|(name, value)| (name.as_str(), self.below(Some(value), member(&self.path, name))));
                visitor.visit_map(MapDeserializer::new(nodes))
            }
            Value::String(text) => visitor.visit_str(text),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Null => visitor.visit_unit(),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (_, Some(number)) => visitor.visit_i64(number),
                // Every number is a float.
                _ => visitor.visit_f64(number.as_f64().unwrap_or_default()),
            },
        };
        read.map_err(|fault| fault.within(&self.path))
    }
}

impl IntoDeserializer<'_, Fault> for Node<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! read_or_make_up {
    ($($made_up:expr => $($method:ident)*;)*) => {
        $($(
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
                self.read(visitor, &$made_up.into())
            }
        )*)*
    };
}

impl<'de> Deserializer<'de> for Node<'_> {
    type Error = Fault;

    read_or_make_up! {
        () => deserialize_any deserialize_unit;
        false => deserialize_bool;
        1 => deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128;
        1 => deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128;
        1 => deserialize_f32 deserialize_f64;
        // Three capital letters also pass as a currency.
        "XXX" => deserialize_str deserialize_string;
        Vec::<Value>::new() => deserialize_seq;
        Map::new() => deserialize_map;
    }

    // No body has any of these.
    forward_to_deserialize_any! { char bytes byte_buf unit_struct tuple tuple_struct identifier ignored_any }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.value {
            None | Some(Value::Null) => visitor.visit_none(),
            Some(_) => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let empty = Map::new();
        let object = match self.value {
            Some(Value::Object(object)) => object,
            Some(_) => return Err(Fault::new("must be an object".to_owned()).within(&self.path)),
            None => &empty,
        };
        let is_made_up =
            |name: &str| self.value.is_none() || is_blamed(self.faults, &member(&self.path, name));
        let given = object.iter().map(|(name, value)| (name.as_str(), Some(value)));
        // Leaves out unknown fields that were refused.
        let given = given.filter(|(name, _)| !is_made_up(name));
        let made_up = fields
            .iter()
            .filter(|name| is_made_up(name))
            .map(|name| (*name, None));
        let nodes = given
            .chain(made_up)
            .map(|(name, value)| (name, self.below(value, member(&self.path, name))));
        let read = visitor.visit_map(MapDeserializer::new(nodes));
        read.map_err(|fault| fault.within(&self.path))
    }

    /// Only variants without content.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let read = match self.value {
            Some(Value::String(name)) => visitor.visit_enum(name.as_str().into_deserializer()),
            Some(_) => Err(de::Error::unknown_variant("", variants)),
            None => visitor.visit_enum(variants.first().copied().unwrap_or_default().into_deserializer()),
        };
        read.map_err(|fault: Fault| fault.within(&self.path))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Point {
        x: i64,
        y: Option<Box<Point>>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
        Green,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Name(String);

    #[derive(Debug, Deserialize, PartialEq)]
    struct Everything {
        list: Vec<Point>,
        map: BTreeMap<String, Point>,
        colour: Colour,
        name: Name,
        real: f64,
        flag: bool,
        any: Value,
        nothing: (),
    }

    fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, Vec<(String, String)>> {
        decode_text(&value.to_string())
    }

    fn decode_text<T: DeserializeOwned>(text: &str) -> Result<T, Vec<(String, String)>> {
        let pairs = |errors: Vec<FieldError>| {
            let pair = |error: FieldError| (error.field.into_owned(), error.message.into_owned());
            errors.into_iter().map(pair).collect()
        };
        read(text.as_bytes()).unwrap().decode().map_err(pairs)
    }

    fn blamed<T: DeserializeOwned + std::fmt::Debug>(value: &Value) -> Vec<String> {
        let errors = decode::<T>(value).unwrap_err();
        errors.into_iter().map(|(field, _)| field).collect()
    }

    fn everything() -> Value {
        json!({
            "list": [{"x": -1, "y": {"x": 2, "y": null}}],
            "map": {"a": {"x": 3}},
            "colour": "red",
            "name": "Ada",
            "real": 1.5,
            "flag": true,
            "any": [1, {"x": ["y"]}],
            "nothing": null,
        })
    }

    #[test]
    fn objects_are_read_as_by_serde() {
        let plain: Everything = serde_json::from_value(everything()).unwrap();
        assert_eq!(decode(&everything()), Ok(plain));
    }

    #[test]
    fn an_array_is_not_a_struct_at_any_depth() {
        let list = json!([1, null]);
        for (pointer, path) in [
            ("", "body"),
            ("/list/0", "list[0]"),
            ("/list/0/y", "list[0].y"),
            ("/map/a", "map.a"),
        ] {
            let mut value = everything();
            *value.pointer_mut(pointer).unwrap() = list.clone();
            let fault = (path.to_owned(), "must be an object".to_owned());
            assert_eq!(decode::<Everything>(&value).unwrap_err(), [fault]);
        }
        assert!(serde_json::from_value::<Point>(list).is_ok(), "as serde has it");
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let mut value = everything();
        value["list"] = json!([{"x": "1"}, {"x": 2, "z": 3}, {}, 4]);
        value["map"]["a"] = json!({"x": 1.5, "y": 7});
        value["colour"] = "blue".into();
        value["name"] = 7.into();
        value["flag"] = Value::Null;
        value.as_object_mut().unwrap().remove("real");
        assert_eq!(
            blamed::<Everything>(&value),
            [
                "colour",
                "flag",
                "list[0].x",
                "list[1].z",
                "list[2].x",
                "list[3]",
                "map.a.x",
                "map.a.y",
                "name",
                "real"
            ]
        );
    }

    #[test]
    fn the_number_of_faults_is_limited() {
        let unknown: Map<String, Value> = (0..1_000).map(|index| (index.to_string(), Value::Null)).collect();
        assert_eq!(blamed::<Point>(&unknown.into()).len(), FAULT_LIMIT);
    }

    #[test]
    fn members_that_occur_twice_are_all_named() {
        let text = r#"{"x": 1, "y": {"x": 1, "x": 2, "z": 3}, "x": 3}"#;
        let errors = decode_text::<Point>(text).unwrap_err();
        let twice = |path: &str| (path.to_owned(), "duplicate field".to_owned());
        assert_eq!(errors, [twice("y.x"), twice("x")]);
    }

    #[test]
    fn a_refused_value_is_not_shown() {
        for (value, message) in [
            (json!("hunter2, expected hunter2"), "must be one of red, green"),
            (json!({"hunter2": 1}), "must be one of red, green"),
        ] {
            let errors = decode::<Colour>(&value).unwrap_err();
            assert_eq!(errors, [("body".to_owned(), message.to_owned())]);
        }
        let errors = decode::<u8>(&json!(300)).unwrap_err();
        assert_eq!(errors[0].1, "must be an integer that fits u8");
    }
}
