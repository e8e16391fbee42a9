//! The text of a record, and what was cut of it by which key: prepare's own function, asked several times.

use std::num::NonZeroU64;

use serde::Serialize;

use super::{Fate, Record};
use crate::manifest::Placeholder;
use crate::manifest::config::{Layout, LoadConfig, PrepareConfig};
use crate::node::prepare;

/// The text of a record.
#[derive(Debug, Serialize)]
pub struct Text {
    /// The text; none if no field has any.
    pub text: Option<String>,
    /// Whether characters were cut off.
    pub truncated: bool,
    /// What was cut, in the order of cutting.
    pub cuts: Vec<Cut>,
}

/// A part of a text that was cut.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cut {
    /// The field whose own limit in a template cut it; none if `truncate` cut the whole.
    pub field: Option<String>,
    /// Characters that it was cut to, or fewer where a word or a letter with its accents would have been split.
    pub limit: u64,
}

/// The text of a record that is taken.
pub(super) fn text(config: &PrepareConfig, load: &LoadConfig, record: Option<&Record>) -> Option<Text> {
    let record = record.filter(|record| record.fate == Fate::Taken)?;
    let Some(made) = made(config, load, record) else {
        return Some(Text { text: None, truncated: false, cuts: Vec::new() });
    };
    let mut cuts = Vec::new();
    if let (Layout::Template(template), true) = (&config.layout, made.truncated) {
        cuts.extend(template.placeholders().filter_map(|placeholder| field_cut(config, placeholder, load, record)));
    }
    let whole = made.truncated.then(|| self::made(&PrepareConfig { truncate: 0, ..config.clone() }, load, record));
    if whole.flatten().is_some_and(|whole| whole.characters > made.characters) {
        cuts.push(Cut { field: None, limit: config.truncate });
    }
    Some(Text { text: Some(made.text), truncated: made.truncated, cuts })
}

fn made(config: &PrepareConfig, load: &LoadConfig, record: &Record) -> Option<prepare::Text> {
    let values = |name: &str| {
        let at = load.fields.iter().position(|field| field == name);
        let values = at.and_then(|at| record.fields[at].1.as_deref()).unwrap_or_default();
        values.iter().map(String::as_str)
    };
    prepare::text(config, config.layout.fields().into_iter().map(values))
}

/// What its own limit cuts of a field: as much as `truncate` would of a text that is this field alone.
fn field_cut(config: &PrepareConfig, placeholder: &Placeholder, load: &LoadConfig, record: &Record) -> Option<Cut> {
    let (field, limit) = (placeholder.field.clone(), placeholder.limit.map(NonZeroU64::get)?);
    let layout = Layout::Fields { fields: vec![field.clone()], delimiter: String::new() };
    let alone = PrepareConfig { layout, truncate: limit, ..config.clone() };
    made(&alone, load, record).filter(|made| made.truncated).map(|_| Cut { field: Some(field), limit })
}
