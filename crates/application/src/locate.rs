//! Where a value is in a YAML text.
//!
//! serde doesn't say where the values that it hands out come from; but it says where the one was that a visitor
//! refused. So the text is read once more by visitors that go down one path, and refuse what they find at its end.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use yaml_serde::Location;

/// A step from a value to one inside it, or to a key of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The value of a key.
    Value(&'a str),
    /// The key itself, as the last step.
    Key(&'a str),
    /// An item of a sequence.
    Item(usize),
}

/// Where the value or key is; `None` if the path leads nowhere.
pub fn locate(text: &str, path: &[Step<'_>]) -> Option<Location> {
    match Walk(path).deserialize(yaml_serde::Deserializer::from_str(text)) {
        Ok(()) => None,
        Err(found) => found.location(),
    }
}

struct Walk<'a>(&'a [Step<'a>]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Walk<'_> {
    fn arrive<E: de::Error>(&self) -> Result<(), E> {
        match self.0 {
            [] => Err(E::custom("here")),
            _ => Ok(()),
        }
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.arrive()?;
        while let Some(key) = map.next_key_seed(Name(self.0))? {
            match self.0 {
                [Step::Value(wanted), rest @ ..] if *wanted == key => {
                    map.next_value_seed(Walk(rest))?
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.arrive()?;
        let Some((Step::Item(wanted), rest)) = self.0.split_first() else {
            return drain(items);
        };
        for _ in 0..*wanted {
            if items.next_element::<IgnoredAny>()?.is_none() {
                return Ok(());
            }
        }
        items.next_element_seed(Walk(rest))?;
        drain(items)
    }
    fn visit_str<E: de::Error>(self, _: &str) -> Result<(), E> {
        self.arrive()
    }
    fn visit_u64<E: de::Error>(self, _: u64) -> Result<(), E> {
        self.arrive()
    }
    fn visit_i64<E: de::Error>(self, _: i64) -> Result<(), E> {
        self.arrive()
    }
    fn visit_f64<E: de::Error>(self, _: f64) -> Result<(), E> {
        self.arrive()
    }
    fn visit_bool<E: de::Error>(self, _: bool) -> Result<(), E> {
        self.arrive()
    }
    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        self.arrive()
    }
}

fn drain<'de, A: SeqAccess<'de>>(mut items: A) -> Result<(), A::Error> {
    while items.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

/// A key, refused if it is the one that the path ends at.
struct Name<'a>(&'a [Step<'a>]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }
    fn visit_str<E: de::Error>(self, key: &str) -> Result<String, E> {
        match self.0 {
            [Step::Key(wanted)] if *wanted == key => Err(E::custom("here")),
            _ => Ok(key.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Step::{Item, Key, Value};
    use super::*;

    const TEXT: &str = "a: 1\nb:\n  - x\n  -  y: [true,\n      zz]\n'c d': \"q\"\ne: {f: ~}\n";

    #[track_caller]
    fn is_at(path: &[Step<'_>], place: Option<(usize, usize)>) {
        let found = locate(TEXT, path).map(|found| (found.line(), found.column()));
        assert_eq!(found, place, "{path:?}");
    }

    #[test]
    fn values_and_keys_are_found_wherever_they_are() {
        is_at(&[Value("a")], Some((1, 4)));
        is_at(&[Key("b")], Some((2, 1)));
        is_at(&[Value("b"), Item(0)], Some((3, 5)));
        is_at(&[Value("b"), Item(1), Key("y")], Some((4, 6)));
        is_at(&[Value("b"), Item(1), Value("y")], Some((4, 9)));
        is_at(&[Value("b"), Item(1), Value("y"), Item(1)], Some((5, 7)));
        is_at(&[Value("c d")], Some((6, 8)));
        is_at(&[Value("e"), Value("f")], Some((7, 8)));
    }

    #[test]
    fn a_path_that_leads_nowhere_has_no_place() {
        for path in [
            &[Value("z")][..],
            &[Key("x")],
            &[Value("a"), Value("b")],
            &[Value("b"), Item(2)],
            &[Item(0)],
        ] {
            is_at(path, None);
        }
    }
}
