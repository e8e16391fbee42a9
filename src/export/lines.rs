//! Documents as JSON: one a line for Solr, and for Elasticsearch's bulk API each behind a line that names it.
//!
//! Fields are lists, as load keeps them, whether a record has one value or several: a field has one type in all documents.

use std::io::{self, Write};
use std::path::PathBuf;

use serde_json::{Value, json};

use super::part::{RowWriter, Sink};
use super::{Document, Part};

/// A file of documents.
pub struct Lines {
    sink: Sink,
    vector: String,
    /// Whether each has a line before it.
    is_bulk: bool,
}

impl Lines {
    /// A new file; the vector is called so.
    ///
    /// # Errors
    /// Whatever opening gives.
    pub fn create(path: PathBuf, vector: &str, is_bulk: bool) -> io::Result<Self> {
        Ok(Self { sink: Sink::create(path)?, vector: vector.to_owned(), is_bulk })
    }
}

impl RowWriter for Lines {
    fn add(&mut self, document: &Document) -> io::Result<()> {
        let mut told = properties(document);
        if self.is_bulk {
            writeln!(self.sink, "{}", json!({ "index": { "_id": document.bibcode } }))?;
        } else {
            told["id"] = json!(document.bibcode);
        }
        told[&self.vector] = json!(document.vector);
        serde_json::to_writer(&mut self.sink, &told)?;
        self.sink.write_all(b"\n")
    }

    fn finish(self: Box<Self>) -> io::Result<Vec<Part>> {
        Ok(vec![self.sink.finish()?])
    }
}

/// Bibcode and fields of a document; a field that the record lacks is left out.
pub fn properties(document: &Document) -> Value {
    let mut told = json!({ "bibcode": document.bibcode });
    for (name, values) in &document.fields {
        if let Some(values) = values {
            told[*name] = json!(values);
        }
    }
    told
}
