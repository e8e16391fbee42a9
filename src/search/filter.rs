//! Which rows may be found: papers of some years, papers whose records meet a condition.
//!
//! The year of a paper is what its bibcode begins with. A condition is the language of load's `where`, asked of the fields
//! that load selected; they stand in the records tables of the store that the dataset was built in.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringArray};

use super::SearchError;
use crate::condition::{Condition, Value};
use crate::dataset::Dataset;
use crate::digest::{Digest, NodeKey};
use crate::graph::Selection;
use crate::lineage::{Lineage, Origin};
use crate::store::StoreError;
use crate::table;

/// Digits of a year, with which bibcodes begin.
const YEAR_DIGITS: usize = 4;

/// What papers are to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter<'a> {
    /// Of these years.
    pub years: Option<&'a Selection>,
    /// With records that meet this.
    pub condition: Option<&'a Condition>,
}

/// A set of a dataset's rows, a bit each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rows(Vec<u64>);

impl Rows {
    fn none(rows: usize) -> Self {
        Self(vec![0; rows.div_ceil(64)])
    }

    fn set(&mut self, row: usize, is_in: bool) {
        let bit = 1 << (row % 64);
        if is_in {
            self.0[row / 64] |= bit;
        } else {
            self.0[row / 64] &= !bit;
        }
    }

    fn keep(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine &= theirs);
    }

    /// The bits, 64 a word, the first row in the lowest bit of the first word.
    pub fn bits(&self) -> &[u64] {
        &self.0
    }

    /// How many rows there are in it.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }
}

impl Filter<'_> {
    /// The rows of a dataset that may be found; none where nothing is asked. `lineage` is what the dataset was built from: a
    /// condition is asked of its records.
    ///
    /// # Errors
    /// [`SearchError::NoField`], and tables that cannot be read.
    pub fn rows(&self, dataset: &Dataset, lineage: Option<&Lineage>) -> Result<Option<Rows>, SearchError> {
        let of_years = self.years.map(|years| of_years(dataset, years)).transpose()?;
        let (Some(condition), Some(lineage)) = (self.condition, lineage) else { return Ok(of_years) };
        let mut rows = Rows::none(dataset.rows());
        meet(dataset, lineage, &dataset.description().set, condition, &mut rows)?;
        if let Some(of_years) = &of_years {
            rows.keep(of_years);
        }
        Ok(Some(rows))
    }
}

fn of_years(dataset: &Dataset, years: &Selection) -> Result<Rows, SearchError> {
    let mut rows = Rows::none(dataset.rows());
    for found in dataset.bibcodes() {
        let (row, bibcode) = found?;
        let year = bibcode.get(..YEAR_DIGITS).unwrap_or_default();
        rows.set(row, years.contains(year));
    }
    Ok(rows)
}

/// Sets the bits of the rows whose records meet a condition. Of a merge the later sets speak last, as they do for its rows.
fn meet(
    dataset: &Dataset,
    lineage: &Lineage,
    set: &NodeKey,
    condition: &Condition,
    rows: &mut Rows,
) -> Result<(), SearchError> {
    match lineage.set(set)?.origin {
        Origin::Embedded(tables) => meet_in(dataset, lineage, &tables.records, condition, rows),
        Origin::Merged(parts) => parts.iter().try_for_each(|part| meet(dataset, lineage, &part.set, condition, rows)),
    }
}

fn meet_in(
    dataset: &Dataset,
    lineage: &Lineage,
    records: &Digest,
    condition: &Condition,
    rows: &mut Rows,
) -> Result<(), SearchError> {
    let store = lineage.store();
    let fields = condition.fields();
    let columns: Vec<&str> = std::iter::once(table::BIBCODE).chain(fields.iter().map(String::as_str)).collect();
    for batch in store.read_parquet_columns(records, &columns)? {
        let batch = batch.map_err(|error| StoreError::damaged(&store.blob_path(records), error))?;
        let column =
            |field: &String| batch.column_by_name(field).ok_or_else(|| no_field(dataset, lineage, records, field));
        let columns: Vec<&ArrayRef> = fields.iter().map(column).collect::<Result<_, _>>()?;
        let lists: Vec<&ListArray> = columns.iter().filter_map(|column| column.as_list_opt()).collect();
        let Some(bibcodes) = batch.column_by_name(table::BIBCODE).and_then(|it| it.as_string_opt::<i32>()) else {
            continue;
        };
        for (at, bibcode) in bibcodes.iter().enumerate() {
            let Some(row) = bibcode.map(|bibcode| dataset.row(bibcode)).transpose()?.flatten() else { continue };
            let texts: Vec<Option<ArrayRef>> =
                lists.iter().map(|list| list.is_valid(at).then(|| list.value(at))).collect();
            let values: Vec<Value> = texts.iter().map(|texts| value(texts.as_ref())).collect();
            rows.set(row, condition.holds(&values));
        }
    }
    Ok(())
}

/// What a record has in a field: load keeps every field as a list of texts, and one text is a text.
fn value(texts: Option<&ArrayRef>) -> Value<'_> {
    let Some(texts) = texts else { return Value::Missing };
    let texts: &StringArray = texts.as_string();
    let text = |text: &'_ str| Value::Text(Cow::Owned(text.to_owned()));
    match texts.len() {
        1 => text(texts.value(0)),
        _ => Value::List(texts.iter().flatten().map(text).collect()),
    }
}

fn no_field(dataset: &Dataset, lineage: &Lineage, records: &Digest, field: &str) -> SearchError {
    let reader = lineage.store().read_parquet(records);
    let known: Vec<String> = reader.map_or(Vec::new(), |reader| {
        let schema = arrow::array::RecordBatchReader::schema(&reader);
        let fields = schema.fields().iter().map(|field| field.name().clone());
        fields.filter(|name| name != table::BIBCODE && !name.starts_with('_')).collect()
    });
    SearchError::NoField {
        field: field.to_owned(),
        dataset: dataset.description().dataset.clone(),
        known: known.join(", "),
    }
}
