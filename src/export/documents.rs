//! The rows that are handed on, in order: bibcode, vector, and fields of the record behind it.

use arrow::array::{Array, AsArray, ListArray};

use super::ExportError;
use crate::dataset::Dataset;
use crate::index::flat::Vectors;
use crate::lineage::{Beside, Lineage};

/// A row that is handed on.
pub struct Document<'a> {
    /// The paper.
    pub bibcode: &'a str,
    /// `dim` components, widened from the published type.
    pub vector: &'a [f32],
    /// The fields that are wanted, in their order, each with its values; none where the record has none.
    pub fields: Vec<(&'a str, Option<Vec<String>>)>,
}

/// Gives the rows of a dataset that count, in order, without the first `skipped`.
///
/// # Errors
/// Whatever reading gives; whatever `each` gives.
pub fn each(
    dataset: &Dataset,
    lineage: Option<&Lineage>,
    fields: &[String],
    skipped: u64,
    each: &mut dyn FnMut(&Document) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let vectors = dataset.vectors()?;
    let mut left = skipped;
    let Some(lineage) = lineage.filter(|_| !fields.is_empty()) else {
        return each_bare(dataset, &vectors, left, each);
    };
    let names: Vec<&str> = fields.iter().map(String::as_str).collect();
    let beside = Beside { records: &names, text: false };
    lineage.walk(&dataset.description().set, beside, &mut |rows| {
        let lists: Vec<(&str, Option<&ListArray>)> =
            names.iter().map(|name| (*name, rows.batch.column_by_name(name).and_then(|it| it.as_list_opt()))).collect();
        if let Some((field, _)) = lists.iter().find(|(_, list)| list.is_none()) {
            return Err(no_field(dataset, field));
        }
        let numbered = rows.numbers.values().iter().zip(rows.bibcodes().iter().flatten()).enumerate();
        for (at, (row, bibcode)) in numbered {
            if left > 0 {
                left -= 1;
                continue;
            }
            let row = *row as usize;
            let vector = vectors.floats(row..row + 1);
            let values = lists.iter().map(|(name, list)| (*name, list.and_then(|list| values(list, at)))).collect();
            each(&Document { bibcode, vector: &vector, fields: values })?;
        }
        Ok(())
    })
}

/// The same without fields: what is published is enough.
fn each_bare(
    dataset: &Dataset,
    vectors: &Vectors,
    skipped: u64,
    each: &mut dyn FnMut(&Document) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let is_view = dataset.description().view;
    let mut left = skipped;
    for found in dataset.bibcodes() {
        let (row, bibcode) = found?;
        if is_view && dataset.row(bibcode)? != Some(row) {
            continue;
        }
        if left > 0 {
            left -= 1;
            continue;
        }
        let vector = vectors.floats(row..row + 1);
        each(&Document { bibcode, vector: &vector, fields: Vec::new() })?;
    }
    Ok(())
}

fn values(list: &ListArray, at: usize) -> Option<Vec<String>> {
    if !list.is_valid(at) {
        return None;
    }
    let texts = list.value(at);
    Some(texts.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect())
}

/// The fault of a field that the records lack.
pub fn no_field(dataset: &Dataset, field: &str) -> ExportError {
    ExportError::NoField { field: field.to_owned(), dataset: dataset.description().dataset.clone() }
}
