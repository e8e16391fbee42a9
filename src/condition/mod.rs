//! Which records a load node takes: the language of `where`, and the draw of `sample`.
//!
//! A condition compares fields of a record with literals:
//!
//! ```text
//! doctype in ('article', 'eprint') and year >= 2010
//! not (title starts with 'Erratum' or abstract is null)
//! ```
//!
//! | written | holds where |
//! |---|---|
//! | `field = value`, `!=`, `<`, `<=`, `>`, `>=` | the field compares so with a text, a number, `true` or `false` |
//! | `field in (value, ..)`, `field not in (..)` | the field is equal to one of them, or to none |
//! | `field is null`, `field is not null` | the field is null or missing, or neither |
//! | `field contains 'text'`, `field starts with 'text'` | the text is in the field's, or opens it; case counts |
//! | `not`, `and`, `or`, parentheses | as ever: `not` binds closest, then `and`, then `or` |
//!
//! A field is a path: names and numbers joined by dots (`doctype`, `pub.name`, `author.0`, the first of a list). A name
//! that meets a list is looked up in each element: `authors.name` is the list of all authors' names. A name that is a word of this language, or has other characters than letters, digits and `_`, stands in backquotes. Texts
//! stand in single or double quotes; the quote itself, or a backquote in a name, is written twice. Words of the language
//! may be in capitals. `not` and parentheses nest [`MAX_DEPTH`] levels deep.
//!
//! What a comparison means:
//!
//! - Every condition holds or does not; there is no third answer. What is missing or null compares with nothing: it is
//!   neither equal nor unequal, so `year != 2010` does not hold for it, and `not (year = 2010)` does.
//! - A value is read as what it is compared with. With a number, a text such as `"2010"` is that number, for ADS gives
//!   years as strings; other texts and booleans are none. With a text, a number or boolean is its JSON text. With `true`
//!   or `false`, those texts are booleans. What cannot be read so is neither equal nor less nor greater; it is unequal.
//! - Integers of any length are compared exactly; where one side has a fraction or an exponent, as `f64`. Texts are
//!   ordered by their characters' code points.
//! - A list passes a test where one of its elements does. `!=` and `not in` are negations: none of its elements is
//!   equal. Nulls in a list are passed over. A list, even an empty one, is not null.
//! - An object compares as something that cannot be read: it is unequal to everything.
//!
//! A condition prints in one canonical form ([`std::fmt::Display`]), which is in the keys of steps, and so may not change.
//! This room reads no records: `source/selection.rs` looks up [`Condition::paths`] and asks [`Condition::holds`]. Read next:
//! `parse.rs`, then `evaluate.rs`.

mod error;
mod evaluate;
mod lexer;
mod number;
mod parse;
mod print;
mod sample;
#[cfg(test)]
mod tests;
mod tree;

use std::borrow::Cow;

pub use error::{ConditionError, Mistake};
pub use sample::{Fraction, in_sample};

use tree::Node;

/// Levels of `not` and parentheses, one inside the other, that a condition may have.
pub const MAX_DEPTH: usize = 64;

/// A condition on a record, read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    root: Node,
    /// What the record is asked for, each path once, in the order of first use.
    paths: Vec<Vec<String>>,
    /// The same, as they are written.
    fields: Vec<String>,
}

impl Condition {
    /// Reads a condition.
    ///
    /// # Errors
    /// The first mistake in it, with its place.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        parse::parse(text)
    }

    /// The fields that it asks for, each once, in the order of first use, as they are written in a condition.
    pub fn fields(&self) -> &[String] {
        &self.fields
    }

    /// The same fields as paths: the names and numbers that lead from the record to the value.
    pub fn paths(&self) -> &[Vec<String>] {
        &self.paths
    }

    /// Whether it holds for a record with these values, in the order of [`Self::fields`]. A value that is not given is
    /// missing.
    pub fn holds(&self, values: &[Value<'_>]) -> bool {
        evaluate::holds(&self.root, values)
    }
}

/// What a record has in a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The record has no such field.
    Missing,
    /// JSON's null.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, as JSON writes it.
    Number(&'a str),
    /// A string, without its escapes.
    Text(Cow<'a, str>),
    /// A list, of whatever it holds.
    List(Vec<Value<'a>>),
    /// An object; what is in it has a path of its own.
    Object,
}
