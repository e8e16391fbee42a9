//! Why a paper is not in a dataset: what load or prepare set aside on the way to it, or embed could not embed.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{UInt32Type, UInt64Type};
use serde::Serialize;

use super::{Lineage, LineageError, Origin, Tables};
use crate::digest::{Digest, NodeKey};
use crate::graph::StepId;
use crate::record::Record;
use crate::store::StoreError;
use crate::table::{BIBCODE, FAILED, LINE, SOURCE};

/// A line or row of a paper that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SetAside {
    /// The kind of the step that did: load, prepare or embed.
    pub kind: &'static str,
    /// Why, in a word.
    pub reason: String,
    /// What was found.
    pub detail: String,
    /// The file, relative to the workflow.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
}

/// A load that takes some of its records only, and how many it left out. They are listed nowhere.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selecting {
    /// The step.
    pub step: StepId,
    /// Records that `where` or `sample` left out.
    pub not_selected: u64,
    /// Records beyond `limit`.
    pub beyond_limit: u64,
}

impl Lineage {
    /// The load behind an embedded set, if it left records out; nothing for a merge, whose parts tell.
    ///
    /// # Errors
    /// [`LineageError`] if the set or its tables are not there.
    pub fn selecting(&self, set: &NodeKey) -> Result<Option<Selecting>, LineageError> {
        let Origin::Embedded(tables) = self.set(set)?.origin else { return Ok(None) };
        let count = |name: &str| tables.load.counts.get(name).copied().unwrap_or(0);
        let (not_selected, beyond_limit) = (count("not_selected"), count("beyond_limit"));
        let step = self.step(&tables.load.key).filter(|_| not_selected + beyond_limit > 0);
        Ok(step.map(|step| Selecting { step: step.clone(), not_selected, beyond_limit }))
    }

    /// What was set aside of a paper on the way to an embedded set; nothing for a merge, whose parts tell.
    ///
    /// # Errors
    /// [`LineageError`] if the set or its tables are not there.
    pub fn set_aside(&self, set: &NodeKey, bibcode: &str) -> Result<Vec<SetAside>, LineageError> {
        let Origin::Embedded(tables) = self.set(set)?.origin else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        for (kind, record) in [("load", tables.load), ("prepare", tables.prepare)] {
            self.add_rejects(&tables, kind, record, bibcode, &mut found)?;
        }
        self.add_failed(&tables, bibcode, &mut found)?;
        Ok(found)
    }

    /// A text that could not be embedded, of which a record stands.
    fn add_failed(&self, tables: &Tables, bibcode: &str, found: &mut Vec<SetAside>) -> Result<(), LineageError> {
        let Some(failed) = tables.embed.outputs.get(FAILED).filter(|failed| failed.rows > 0) else { return Ok(()) };
        let Some((batch, at)) = self.find(&failed.digest, &[BIBCODE, "reason"], bibcode)? else { return Ok(()) };
        let detail = batch["reason"].as_string::<i32>().value(at).to_owned();
        let Some((record, at)) = self.find(&tables.records, &[BIBCODE, SOURCE, LINE], bibcode)? else { return Ok(()) };
        let source = record[SOURCE].as_primitive::<UInt32Type>().value(at) as usize;
        found.push(SetAside {
            kind: "embed",
            reason: FAILED.to_owned(),
            detail,
            file: tables.load.sources.get(source).map_or(String::new(), |source| source.name.clone()),
            line: record[LINE].as_primitive::<UInt64Type>().value(at),
        });
        Ok(())
    }

    /// The batch of a table that holds a paper, and the row in it.
    fn find(
        &self,
        table: &Digest,
        columns: &[&str],
        bibcode: &str,
    ) -> Result<Option<(RecordBatch, usize)>, LineageError> {
        for batch in self.store.read_parquet_columns(table, columns)? {
            let batch = batch.map_err(|error| StoreError::damaged(&self.store.blob_path(table), error))?;
            let at = batch[BIBCODE].as_string::<i32>().iter().position(|found| found == Some(bibcode));
            if let Some(at) = at {
                return Ok(Some((batch, at)));
            }
        }
        Ok(None)
    }

    fn add_rejects(
        &self,
        tables: &Tables,
        kind: &'static str,
        record: &Record,
        bibcode: &str,
        found: &mut Vec<SetAside>,
    ) -> Result<(), LineageError> {
        let Some(rejects) = record.outputs.get("rejects").filter(|rejects| rejects.rows > 0) else { return Ok(()) };
        for batch in self.store.read_parquet(&rejects.digest)? {
            let batch = batch.map_err(|error| StoreError::damaged(&self.store.blob_path(&rejects.digest), error))?;
            let text = |name: &str| batch[name].as_string::<i32>();
            let rows = text("bibcode").iter().enumerate().filter(|(_, found)| *found == Some(bibcode));
            for (row, _) in rows {
                let source = batch["source"].as_primitive::<UInt32Type>().value(row) as usize;
                found.push(SetAside {
                    kind,
                    reason: text("reason").value(row).to_owned(),
                    detail: text("detail").value(row).to_owned(),
                    file: tables.load.sources.get(source).map_or(String::new(), |source| source.name.clone()),
                    line: batch["line"].as_primitive::<UInt64Type>().value(row),
                });
            }
        }
        Ok(())
    }
}
