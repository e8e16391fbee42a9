//! What a paper is, in a line: title, year and first author, from the record that its vector came from.

use serde::Serialize;

use crate::dataset::Dataset;
use crate::lineage::Lineage;

/// What a record says of a paper, as far as load selected it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct About {
    /// Its title.
    pub title: Option<String>,
    /// Its year.
    pub year: Option<String>,
    /// Its first author.
    pub first_author: Option<String>,
}

/// Looks a paper up in the records table that it came from; nothing where that is not at hand.
pub fn about(dataset: &Dataset, lineage: &Lineage, bibcode: &str) -> About {
    let Ok(Some(fields)) = lineage.fields(dataset, bibcode) else { return About::default() };
    let first = |names: &[&str]| {
        let field = names.iter().find_map(|name| fields.iter().find(|(field, _)| field == name));
        field.and_then(|(_, texts)| texts.as_ref()?.first().cloned())
    };
    About {
        title: first(&["title", "title.0"]),
        year: first(&["year", "pubdate"]),
        first_author: first(&["first_author", "author.0", "author", "authors"]),
    }
}
