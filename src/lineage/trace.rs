//! One row, traced back to the line that it came from, with every hand-over checked on the way.

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{UInt32Type, UInt64Type};
use serde::Serialize;

use super::{Lineage, LineageError, Origin, PartOfMerge, SetManifest, Tables};
use crate::dataset::{Dataset, Row};
use crate::digest::{Digest, MetadataDigest, NodeKey, RowKey};
use crate::graph::{StepId, keys_file};
use crate::index::keys::KeyIndex;
use crate::record::Record;
use crate::store::StoreError;
use crate::table;

/// Where one published row came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// The paper.
    pub bibcode: String,
    /// The alias that was asked for, if it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    /// The dataset that was asked; below a merge, the one that its row was taken from, down to the one that was embedded.
    pub datasets: Vec<DatasetRow>,
    /// The row of the vectors table.
    pub vector: VectorRow,
    /// The row of the texts table.
    pub text: TextRow,
    /// The row of the records table.
    pub record: RecordRow,
    /// The line that it was read from.
    pub source: SourceLine,
}

/// A step that made something, and when.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MadeBy {
    /// The step of the workflow; none if the workflow has moved on since.
    pub step: Option<String>,
    /// Its key.
    pub key: NodeKey,
    /// The run.
    pub run: String,
    /// The machine's name.
    pub host: String,
    /// Start, seconds since 1970-01-01 UTC.
    pub started: u64,
}

/// A row of a set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DatasetRow {
    /// The dataset's name.
    pub dataset: String,
    /// The set.
    pub set: NodeKey,
    /// The row, from 0.
    pub row: usize,
    /// Who made the set.
    pub made_by: MadeBy,
}

/// A row of a vectors table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VectorRow {
    /// The table.
    pub table: Digest,
    /// The row, from 0.
    pub row: usize,
    /// The key of the text under its embedder.
    pub row_key: RowKey,
    /// Tokens that the model read.
    pub tokens: u32,
    /// Tokens that the model's limit cut off.
    pub tokens_dropped: u32,
    /// Who made the table.
    pub made_by: MadeBy,
}

/// A row of a texts table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextRow {
    /// The table.
    pub table: Digest,
    /// The row, from 0.
    pub row: usize,
    /// The text, exactly as it was handed to the tokenizer.
    pub text: String,
    /// Whether `truncate` cut characters off.
    pub truncated: bool,
    /// Who made the table.
    pub made_by: MadeBy,
}

/// Selected fields with their values, in the order of the workflow; null is missing.
pub type Fields = Vec<(String, Option<Vec<String>>)>;

/// A row of a records table.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RecordRow {
    /// The table.
    pub table: Digest,
    /// The row, from 0.
    pub row: usize,
    /// Each selected field with its values, in the order of the workflow; null is missing.
    pub fields: Fields,
    /// Other bibcodes of the paper, where load read them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Digest of these fields.
    pub metadata_digest: MetadataDigest,
    /// Who made the table.
    pub made_by: MadeBy,
}

/// A line of a source file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceLine {
    /// The file, relative to the workflow.
    pub file: String,
    /// The digest of its bytes, compressed as they are.
    pub digest: Digest,
    /// Its size in bytes.
    pub bytes: u64,
    /// The line, from 1.
    pub line: u64,
}

impl Lineage {
    /// Traces a paper of a dataset back to its line, by its bibcode or an alias; none if the dataset does not hold it.
    ///
    /// # Errors
    /// [`LineageError`] if something on the way is not there, or does not agree with what it came from.
    pub fn trace(&self, dataset: &Dataset, name: &str) -> Result<Option<Trace>, LineageError> {
        let Some(published) = dataset.get(name)? else { return Ok(None) };
        // A row that an alias led to stands under its own bibcode in every table on the way.
        let bibcode = published.bibcode.as_str();
        let asked = Some(name.to_owned()).filter(|name| name != bibcode);
        let description = dataset.description();
        let mut path = Path { lineage: self, bibcode, datasets: Vec::new() };
        let (manifest, row, tables) = path.embedded(&description.set, published.row)?;
        let vector = path.vector(&tables, row, &published)?;
        let text = path.text(&tables, row, &manifest, &vector)?;
        let (record, source) = path.record(&tables, &published)?;
        let datasets = path.datasets;
        let bibcode = bibcode.to_owned();
        Ok(Some(Trace { bibcode, asked, datasets, vector, text, record, source }))
    }

    /// The selected fields of a paper's record; none if the dataset does not hold it. Of the way there only the record is
    /// checked.
    ///
    /// # Errors
    /// [`LineageError`] if something on the way is not there, or the record is another.
    pub fn fields(&self, dataset: &Dataset, bibcode: &str) -> Result<Option<Fields>, LineageError> {
        let Some(published) = dataset.get(bibcode)? else { return Ok(None) };
        let bibcode = published.bibcode.as_str();
        let mut path = Path { lineage: self, bibcode, datasets: Vec::new() };
        let (_, _, tables) = path.embedded(&dataset.description().set, published.row)?;
        let (record, _) = path.record(&tables, &published)?;
        Ok(Some(record.fields))
    }

    fn made_by(&self, record: &Record) -> MadeBy {
        let provenance = &record.provenance;
        MadeBy {
            step: self.step(&record.key).map(StepId::to_string),
            key: record.key,
            run: provenance.run.clone(),
            host: provenance.host.clone(),
            started: provenance.started,
        }
    }
}

/// The way of one row.
struct Path<'a> {
    lineage: &'a Lineage,
    bibcode: &'a str,
    datasets: Vec<DatasetRow>,
}

impl<'a> Path<'a> {
    fn broken(&self, detail: impl Into<String>) -> LineageError {
        LineageError::Broken { bibcode: self.bibcode.to_owned(), detail: detail.into() }
    }

    /// Follows merges down to the set that was embedded.
    fn embedded(&mut self, set: &NodeKey, row: usize) -> Result<(SetManifest, usize, Tables<'a>), LineageError> {
        let (mut set, mut row) = (*set, row);
        loop {
            let found = self.lineage.set(&set)?;
            let dataset = found.manifest.dataset.clone();
            self.datasets.push(DatasetRow { dataset, set, row, made_by: self.lineage.made_by(found.record) });
            match found.origin {
                Origin::Embedded(tables) => return Ok((found.manifest, row, tables)),
                Origin::Merged(parts) => (set, row) = self.winner(&parts)?,
            }
        }
    }

    /// The last of the merged sets that holds the paper under its bibcode: its row was taken. What a later set has it as an
    /// alias of does not matter here: had that row counted, this one would not be in the merge.
    fn winner(&self, parts: &[PartOfMerge]) -> Result<(NodeKey, usize), LineageError> {
        for part in parts.iter().rev() {
            let unknown = || LineageError::SetUnknown { set: part.set, store: self.lineage.store.root().to_owned() };
            let record = self.lineage.record(&part.set).ok_or_else(unknown)?;
            let keys = record.outputs.get(&keys_file(&part.dataset)).ok_or_else(unknown)?;
            let index = KeyIndex::open(&self.lineage.store.blob_path(&keys.digest))?;
            if let Some(row) = index.row(self.bibcode)? {
                return Ok((part.set, row));
            }
        }
        Err(self.broken("none of the merged sets holds it"))
    }

    fn vector(&self, tables: &Tables, row: usize, published: &Row) -> Result<VectorRow, LineageError> {
        let vectors = self.lineage.store.read_ipc(&tables.vectors)?;
        let located = vectors.locate(row)?;
        let (batch, at) = located.ok_or_else(|| self.broken(format!("the vectors table has no row {row}")))?;
        self.same_paper(batch, at, "vectors")?;
        let bytes = batch.column_by_name("row_key").and_then(|column| column.as_fixed_size_binary_opt());
        let row_key = bytes.and_then(|column| column.value(at).try_into().ok()).map(RowKey::from_bytes);
        if row_key != Some(published.row_key) {
            return Err(self.broken(format!("row {row} of the vectors table has another row key")));
        }
        let count = |name| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        Ok(VectorRow {
            table: tables.vectors,
            row,
            row_key: published.row_key,
            tokens: count("tokens").map_or(0, |column| column.value(at)),
            tokens_dropped: count("tokens_dropped").map_or(0, |column| column.value(at)),
            made_by: self.lineage.made_by(tables.embed),
        })
    }

    /// The text, which must be the one whose key the vector has.
    fn text(
        &self,
        tables: &Tables,
        row: usize,
        manifest: &SetManifest,
        vector: &VectorRow,
    ) -> Result<TextRow, LineageError> {
        // A text that could not be embedded stands in its table and has no vector, so the row is looked for.
        let row = if manifest.failed.is_empty() { row } else { self.row_of(&tables.texts, "texts")? };
        let batch = self.lineage.store.read_parquet_row(&tables.texts, row)?;
        self.same_paper(&batch, 0, "texts")?;
        let text = batch.column_by_name("text").and_then(|column| column.as_string_opt::<i32>());
        let text = text.ok_or_else(|| self.broken("the texts table has no texts"))?.value(0).to_owned();
        if manifest.embedder.is_some_and(|embedder| RowKey::of(&embedder, &text) != vector.row_key) {
            return Err(self.broken(format!("the text in row {row} is not the one that was embedded")));
        }
        let truncated = batch.column_by_name("truncated").and_then(|column| column.as_boolean_opt());
        Ok(TextRow {
            table: tables.texts,
            row,
            text,
            truncated: truncated.is_some_and(|column| column.value(0)),
            made_by: self.lineage.made_by(tables.prepare),
        })
    }

    fn record(&self, tables: &Tables, published: &Row) -> Result<(RecordRow, SourceLine), LineageError> {
        // A record without a text has no vector, so the row is looked for.
        let row = self.row_of(&tables.records, "records")?;
        let batch = self.lineage.store.read_parquet_row(&tables.records, row)?;
        self.same_paper(&batch, 0, "records")?;
        let bytes = batch.column_by_name(table::METADATA_DIGEST).and_then(|column| column.as_fixed_size_binary_opt());
        let digest = bytes.and_then(|column| column.value(0).try_into().ok()).map(MetadataDigest::from_bytes);
        if digest != Some(published.metadata_digest) {
            return Err(self.broken(format!("row {row} of the records table has another metadata digest")));
        }
        let record = RecordRow {
            table: tables.records,
            row,
            fields: fields(&batch),
            aliases: aliases(&batch),
            metadata_digest: published.metadata_digest,
            made_by: self.lineage.made_by(tables.load),
        };
        Ok((record, self.source(&batch, tables.load)?))
    }

    /// The row of the paper in a table.
    fn row_of(&self, table: &Digest, what: &str) -> Result<usize, LineageError> {
        let mut before = 0;
        for batch in self.lineage.store.read_parquet_columns(table, &[table::BIBCODE])? {
            let damaged = |error| StoreError::damaged(&self.lineage.store.blob_path(table), error);
            let batch = batch.map_err(damaged)?;
            let bibcodes: Option<&StringArray> = batch.column(0).as_string_opt();
            let found = bibcodes.and_then(|bibcodes| bibcodes.iter().position(|found| found == Some(self.bibcode)));
            match found {
                Some(at) => return Ok(before + at),
                None => before += batch.num_rows(),
            }
        }
        Err(self.broken(format!("the {what} table does not hold it")))
    }

    fn source(&self, record: &RecordBatch, load: &Record) -> Result<SourceLine, LineageError> {
        let ordinal = record.column_by_name(table::SOURCE).and_then(|column| column.as_primitive_opt::<UInt32Type>());
        let line = record.column_by_name(table::LINE).and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let file = ordinal.and_then(|column| load.sources.get(column.value(0) as usize));
        let (Some(file), Some(line)) = (file, line) else {
            return Err(self.broken("its record does not tell file and line"));
        };
        Ok(SourceLine { file: file.name.clone(), digest: file.digest, bytes: file.bytes, line: line.value(0) })
    }

    fn same_paper(&self, batch: &RecordBatch, at: usize, what: &str) -> Result<(), LineageError> {
        let bibcodes: Option<&StringArray> =
            batch.column_by_name(table::BIBCODE).and_then(|column| column.as_string_opt());
        match bibcodes.filter(|bibcodes| at < bibcodes.len()).map(|bibcodes| bibcodes.value(at)) {
            Some(found) if found == self.bibcode => Ok(()),
            Some(found) => Err(self.broken(format!("its row of the {what} table holds {found}"))),
            None => Err(self.broken(format!("the {what} table has no such row"))),
        }
    }
}

fn aliases(record: &RecordBatch) -> Vec<String> {
    let lists = record.column_by_name(table::ALIASES).and_then(|column| column.as_list_opt::<i32>());
    lists.map_or(Vec::new(), |lists| lists.value(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect())
}

/// The selected fields of a record: every column that is a list, but the one that load makes itself.
fn fields(record: &RecordBatch) -> Vec<(String, Option<Vec<String>>)> {
    let schema = record.schema();
    let columns = schema.fields().iter().zip(record.columns());
    columns
        .filter_map(|(field, column)| {
            let lists = column.as_list_opt::<i32>().filter(|_| field.name() != table::ALIASES)?;
            let values = (!lists.is_null(0)).then(|| lists.value(0));
            let texts = |values: &dyn Array| values.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
            Some((field.name().clone(), values.map(|values| texts(values.as_ref()))))
        })
        .collect()
}
