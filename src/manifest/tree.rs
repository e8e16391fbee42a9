//! The spanned TOML tree: finding, moving and removing its entries.
//!
//! toml keeps the position of every key and value; this file turns positions into paths and back. It knows nothing of
//! what a manifest may contain.

use std::borrow::Cow;
use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::text::Span;

/// Where an entry stands: the keys that lead to it, elements of a list by their number.
pub(crate) type Path = Vec<String>;

/// The path as people write it: `load.records.fields[1]`.
pub(crate) fn dotted(path: &[String]) -> String {
    let mut text = String::new();
    for (depth, segment) in path.iter().enumerate() {
        // Numbered segments below a key are elements of a list, save axis and node names, which stand at depth 1.
        if depth > 1 && segment.bytes().all(|b| b.is_ascii_digit()) {
            text.push_str(&format!("[{segment}]"));
        } else {
            if depth > 0 {
                text.push('.');
            }
            text.push_str(segment);
        }
    }
    text
}

/// A key at a place.
pub(crate) fn key<'i>(name: &str, span: Span) -> Spanned<Cow<'i, str>> {
    Spanned::new(span.range(), Cow::Owned(name.to_owned()))
}

/// The path of the entry whose key or value is exactly at `span`.
pub(crate) fn find(table: &DeTable<'_>, span: Span) -> Option<Path> {
    table.iter().find_map(|(key, value)| {
        let here = Span::from(key.span()) == span || Span::from(value.span()) == span;
        let rest = if here { Some(Path::new()) } else { find_in(value.get_ref(), span) };
        rest.map(|rest| prepend(key.get_ref(), rest))
    })
}

fn find_in(value: &DeValue<'_>, span: Span) -> Option<Path> {
    match value {
        DeValue::Table(table) => find(table, span),
        DeValue::Array(array) => array.iter().enumerate().find_map(|(n, element)| {
            let here = Span::from(element.span()) == span;
            let rest = if here { Some(Path::new()) } else { find_in(element.get_ref(), span) };
            rest.map(|rest| prepend(&n.to_string(), rest))
        }),
        _ => None,
    }
}

fn prepend(segment: &str, mut rest: Path) -> Path {
    rest.insert(0, segment.to_owned());
    rest
}

/// The value at a path.
pub(crate) fn value_mut<'t, 'i>(root: &'t mut DeTable<'i>, path: &[String]) -> Option<&'t mut Spanned<DeValue<'i>>> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(root.get_mut(first.as_str())?, |value, segment| match value.get_mut() {
        DeValue::Table(table) => table.get_mut(segment.as_str()),
        DeValue::Array(array) => array.get_mut(segment.parse::<usize>().ok()?),
        _ => None,
    })
}

/// The table at a path; the root for the empty path.
pub(crate) fn table_mut<'t, 'i>(root: &'t mut DeTable<'i>, path: &[String]) -> Option<&'t mut DeTable<'i>> {
    if path.is_empty() {
        return Some(root);
    }
    match value_mut(root, path)?.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// Removes the entry at a path; false if there is none.
pub(crate) fn remove(root: &mut DeTable<'_>, path: &[String]) -> bool {
    let Some((last, parent)) = path.split_last() else { return false };
    if let Some(table) = table_mut(root, parent) {
        return table.remove(last.as_str()).is_some();
    }
    let Some(DeValue::Array(array)) = value_mut(root, parent).map(Spanned::get_mut) else { return false };
    let Ok(gone) = last.parse::<usize>() else { return false };
    let kept: DeArray<'_> =
        array.iter().enumerate().filter(|(n, _)| *n != gone).map(|(_, element)| element.clone()).collect();
    let removed = kept.len() < array.len();
    *array = kept;
    removed
}

/// The value with every span moved by `by` bytes.
pub(crate) fn shifted(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = Span::from(value.span()).shift(by).range();
    let moved = match value.into_inner() {
        DeValue::Array(array) => DeValue::Array(array.into_iter().map(|element| shifted(element, by)).collect()),
        DeValue::Table(table) => {
            let moved = table.into_iter().map(|(key, value)| {
                let key_span = Span::from(key.span()).shift(by).range();
                (Spanned::new(key_span, key.into_inner()), shifted(value, by))
            });
            DeValue::Table(moved.collect())
        }
        plain => plain,
    };
    Spanned::new(span, moved)
}

/// Where one entry was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub key: Span,
    pub value: Span,
}

/// Where everything was written. A path that is not here was left to its default, or was already found faulty: either
/// way there is nothing to point at, and nothing more to say about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(BTreeMap<Path, Place>);

impl Places {
    /// The places of a tree, without those that `real` refuses.
    pub fn of(root: &DeTable<'_>, real: impl Fn(Span) -> bool) -> Self {
        let mut places = Self::default();
        places.gather(root, &mut Path::new());
        places.0.retain(|_, place| real(place.value));
        places
    }

    fn gather(&mut self, table: &DeTable<'_>, path: &mut Path) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            self.0.insert(path.clone(), Place { key: key.span().into(), value: value.span().into() });
            match value.get_ref() {
                DeValue::Table(inner) => self.gather(inner, path),
                DeValue::Array(array) => self.gather_elements(array, path),
                _ => {}
            }
            path.pop();
        }
    }

    fn gather_elements(&mut self, array: &DeArray<'_>, path: &Path) {
        for (n, element) in array.iter().enumerate() {
            let mut path = path.clone();
            path.push(n.to_string());
            let span = Span::from(element.span());
            self.0.insert(path, Place { key: span, value: span });
        }
    }

    pub fn get(&self, path: &[&str]) -> Option<Place> {
        let path: Path = path.iter().map(|segment| (*segment).to_owned()).collect();
        self.0.get(&path).copied()
    }

    pub fn value(&self, path: &[&str]) -> Option<Span> {
        self.get(path).map(|place| place.value)
    }

    pub fn key(&self, path: &[&str]) -> Option<Span> {
        self.get(path).map(|place| place.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = "[load.records]\ninput = \"a\"\nfields = [\"title\", \"abstract\"]\n";

    #[test]
    fn finds_what_it_places_and_removes_it() {
        let mut root = DeTable::parse(TOML).unwrap().into_inner();
        let places = Places::of(&root, |_| true);
        let second = places.value(&["load", "records", "fields", "1"]).unwrap();
        assert_eq!(&TOML[second.range()], "\"abstract\"");

        let path = find(&root, second).unwrap();
        assert_eq!(dotted(&path), "load.records.fields[1]");
        assert!(remove(&mut root, &path));
        assert!(!remove(&mut root, &path));
        assert_eq!(find(&root, second), None);
    }

    #[test]
    fn shifts_every_span() {
        let value = shifted(DeValue::parse("[1, {a = 2}]").unwrap(), 10);
        assert_eq!(value.span(), 10..22);
        let DeValue::Array(array) = value.get_ref() else { panic!("a list") };
        assert_eq!(array[1].span(), 14..21);
    }
}
