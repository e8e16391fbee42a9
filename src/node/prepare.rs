//! prepare: one text of each record, from the fields asked for, in their order.
//!
//! Fields without text are passed over, so no delimiter stands alone. `lowercase` and `truncate` act on the joined
//! fields; prefix and suffix are added after, whole. A record without any text is a reject.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{UInt32Type, UInt64Type};
use unicode_segmentation::UnicodeSegmentation;

use super::rejects::{Reject, Rejects};
use super::{Context, Made, NodeError};
use crate::event::Unit;
use crate::manifest::config::PrepareConfig;
use crate::pool::map_ordered;
use crate::record::Output;
use crate::source::record::Reason;
use crate::table;

/// Makes the texts and rejects tables of a records table.
///
/// # Errors
/// Whatever the store gives.
pub fn run(context: &Context, config: &PrepareConfig, records: &Output) -> Result<Made, NodeError> {
    let mut reader = context.store.read_parquet(&records.digest)?;
    let mut texts = context.store.new_parquet(table::texts())?;
    let mut rejects = Rejects::new(context.store)?;
    let (mut done, mut truncated) = (0, 0);
    map_ordered(
        || {
            context.check_cancel()?;
            reader.next().transpose().map_err(NodeError::arrow("records"))
        },
        |batch| prepare_batch(config, &batch),
        |prepared| {
            let prepared = prepared?;
            done += (prepared.batch.num_rows() + prepared.rejects.len()) as u64;
            truncated += prepared.truncated;
            texts.write(prepared.batch)?;
            prepared.rejects.into_iter().try_for_each(|reject| rejects.push(reject))?;
            (context.progress)(done, Some(records.rows), Unit::Rows);
            Ok::<_, NodeError>(())
        },
    )?;
    if texts.rows() == 0 && records.rows > 0 {
        return Err(NodeError::NoTexts { records: records.rows, fields: config.fields.join(", ") });
    }
    let mut made = Made::default();
    let texts = texts.finish()?;
    let rejects = rejects.finish(&mut made)?;
    made.outputs.insert("rejects".into(), rejects);
    made.count("rows_in", records.rows);
    made.count("rows", texts.rows);
    made.count("truncated", truncated);
    made.outputs.insert("texts".into(), texts);
    Ok(made)
}

/// The text of one record.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// The text, as the embedder gets it.
    pub text: String,
    /// Its characters, prefix and suffix included.
    pub characters: u32,
    /// Whether characters of its fields were cut off.
    pub truncated: bool,
}

struct Prepared {
    batch: RecordBatch,
    rejects: Vec<Reject>,
    truncated: u64,
}

fn prepare_batch(config: &PrepareConfig, records: &RecordBatch) -> Result<Prepared, NodeError> {
    let missing = |name: &str| NodeError::table("records", format!("it has no usable column {name:?}"));
    let bibcodes: &StringArray = records.column(0).as_string_opt().ok_or_else(|| missing(table::BIBCODE))?;
    let column = |name: &String| records.column_by_name(name).and_then(|column| column.as_list_opt::<i32>());
    let fields: Vec<&ListArray> =
        config.fields.iter().map(|name| column(name).ok_or_else(|| missing(name))).collect::<Result<_, _>>()?;
    let (mut kept, mut rejects) = (Vec::new(), Vec::new());
    for (row, bibcode) in bibcodes.iter().flatten().enumerate() {
        let values = fields.iter().map(|field| values(field, row)).collect();
        match text(config, values) {
            Some(text) => kept.push((bibcode, text)),
            None => rejects.push(no_text(config, records, bibcode, row)),
        }
    }
    let truncated = kept.iter().filter(|(_, text)| text.truncated).count() as u64;
    Ok(Prepared { batch: texts_batch(&kept)?, rejects, truncated })
}

fn values(field: &ListArray, row: usize) -> Vec<String> {
    if field.is_null(row) {
        return Vec::new();
    }
    let values = field.value(row);
    values.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

/// Makes the text of one record from its fields' values; none if no field has any text.
pub fn text(config: &PrepareConfig, fields: Vec<Vec<String>>) -> Option<Text> {
    let fields: Vec<String> = fields
        .into_iter()
        .map(|values| {
            let values: Vec<String> = values.into_iter().filter(|value| !value.trim().is_empty()).collect();
            values.join(&config.list_delimiter)
        })
        .filter(|field| !field.is_empty())
        .collect();
    if fields.is_empty() {
        return None;
    }
    let mut body = fields.join(&config.delimiter);
    if config.lowercase {
        body = body.to_lowercase();
    }
    let truncated = truncate(&mut body, config.truncate);
    let text = format!("{}{body}{}", config.prefix, config.suffix);
    let characters = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
    Some(Text { text, characters, truncated })
}

/// Cuts to `limit` Unicode scalar values (0: no limit), or a few less: never between a letter and its accents.
fn truncate(body: &mut String, limit: u64) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if limit == 0 {
        return false;
    }
    let Some((hard_end, _)) = body.char_indices().nth(limit) else { return false };
    let clusters = body.grapheme_indices(true);
    let end = clusters.map(|(start, cluster)| start + cluster.len()).take_while(|&end| end <= hard_end).last();
    // A single cluster longer than the limit is cut inside rather than dropped whole.
    body.truncate(end.unwrap_or(hard_end));
    true
}

fn no_text(config: &PrepareConfig, records: &RecordBatch, bibcode: &str, row: usize) -> Reject {
    Reject {
        bibcode: Some(bibcode.to_owned()),
        source: records[table::SOURCE].as_primitive::<UInt32Type>().value(row),
        line: records[table::LINE].as_primitive::<UInt64Type>().value(row),
        offset: None,
        reason: Reason::NoText,
        detail: format!("no text in {}", config.fields.join(", ")),
        excerpt: None,
    }
}

fn texts_batch(rows: &[(&str, Text)]) -> Result<RecordBatch, NodeError> {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(bibcode, _)| bibcode))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|(_, text)| &text.text))),
        Arc::new(UInt32Array::from_iter_values(rows.iter().map(|(_, text)| text.characters))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|(_, text)| Some(text.truncated)))),
    ];
    RecordBatch::try_new(table::texts(), columns).map_err(NodeError::arrow("texts"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> PrepareConfig {
        PrepareConfig {
            fields: vec!["title".into(), "abstract".into()],
            prefix: String::new(),
            suffix: String::new(),
            delimiter: "\n\n".into(),
            list_delimiter: "; ".into(),
            lowercase: false,
            truncate: 0,
        }
    }

    fn made(config: &PrepareConfig, fields: &[&[&str]]) -> Option<String> {
        let fields = fields.iter().map(|values| values.iter().map(|value| (*value).to_owned()).collect()).collect();
        text(config, fields).map(|text| text.text)
    }

    #[test]
    fn fields_are_joined_and_empty_ones_leave_no_delimiter() {
        let config = config();
        assert_eq!(made(&config, &[&["T"], &["A"]]).unwrap(), "T\n\nA");
        assert_eq!(made(&config, &[&["T", "U"], &[]]).unwrap(), "T; U");
        assert_eq!(made(&config, &[&[" "], &["A"]]).unwrap(), "A");
        assert_eq!(made(&config, &[&[], &["", " "]]), None);
    }

    #[test]
    fn prefix_and_suffix_are_neither_lowercased_nor_cut() {
        let config =
            PrepareConfig { prefix: "You: ".into(), suffix: " END".into(), lowercase: true, truncate: 3, ..config() };
        assert_eq!(made(&config, &[&["GALAXIES"], &[]]).unwrap(), "You: gal END");
    }

    #[test]
    fn truncation_counts_characters_and_splits_none() {
        let cut = |text: &str, limit| {
            let mut body = text.to_owned();
            let truncated = truncate(&mut body, limit);
            (body, truncated)
        };
        assert_eq!(cut("Λαμβδα", 3), ("Λαμ".into(), true));
        assert_eq!(cut("abc", 3), ("abc".into(), false));
        assert_eq!(cut("ae\u{301}x", 2), ("a".into(), true));
        assert_eq!(cut("e\u{301}\u{302}x", 2), ("e\u{301}".into(), true));
    }
}
