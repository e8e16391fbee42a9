//! Which datasets a command looks into, and which of them answers for a bibcode.

use std::path::PathBuf;

use super::Failure;
use super::print::remark;
use crate::dataset::{Dataset, Row, names};
use crate::error::Exit;

/// Near matches shown for an unknown bibcode.
const NEAR: usize = 5;

/// A published directory, and which of its datasets are meant.
#[derive(clap::Args)]
pub struct DatasetArguments {
    /// The directory that a persist or merge node publishes into
    #[arg(long, value_name = "DIR", default_value = "embeddings")]
    pub dir: PathBuf,
    /// The dataset, as in minilm_2012 [default: all that the directory shows]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
}

impl DatasetArguments {
    /// Opens them.
    pub fn open(&self) -> Result<Vec<Dataset>, Failure> {
        let names = match &self.dataset {
            Some(name) => vec![name.clone()],
            None => names(&self.dir)?,
        };
        let open = |name: &String| Dataset::open(&self.dir, name);
        Ok(names.iter().map(open).collect::<Result<_, _>>()?)
    }
}

/// The one dataset that answers for a bibcode or an alias, with its row; none if it is unknown.
///
/// # Errors
/// If several hold it and none of them is a merge of the others.
pub fn look_up<'a>(datasets: &'a [Dataset], bibcode: &str) -> Result<Option<(&'a Dataset, Row)>, Failure> {
    let mut holding: Vec<(&Dataset, Row)> = Vec::new();
    for dataset in datasets {
        holding.extend(dataset.get(bibcode)?.map(|row| (dataset, row)));
    }
    // A merge answers for what was merged into it, while that is still what is published.
    let merged: Vec<bool> = holding
        .iter()
        .map(|(part, _)| holding.iter().any(|(merge, _)| merge.description().merges(part.description())))
        .collect();
    let mut merged = merged.into_iter();
    holding.retain(|_| !merged.next().unwrap_or(false));
    // As within one dataset: who holds the bibcode itself comes before who knows it as an alias.
    if holding.iter().any(|(_, row)| row.bibcode == bibcode) {
        holding.retain(|(_, row)| row.bibcode == bibcode);
    }
    if holding.len() > 1 {
        let names: Vec<&str> = holding.iter().map(|(dataset, _)| dataset.description().dataset.as_str()).collect();
        remark(format!("{bibcode} is in several datasets: {}; choose one with --dataset NAME", names.join(", ")));
        return Err(Failure::Told(Exit::Error));
    }
    Ok(holding.pop())
}

/// Says that none of the datasets holds a bibcode, and what is near it.
pub fn tell_unknown(datasets: &[Dataset], bibcode: &str) {
    let mut near: Vec<String> = datasets.iter().flat_map(|dataset| dataset.near(bibcode, NEAR)).collect();
    near.sort();
    near.dedup();
    near.truncate(NEAR);
    match near.len() {
        0 => remark(format!("{bibcode} is unknown")),
        _ => remark(format!("{bibcode} is unknown; near it: {}", near.join(", "))),
    }
}
