//! The approximate indexes that a workflow asks for: which are to be built, and building them.

use std::path::PathBuf;

use super::print::{duration, remark, say};
use super::tell;
use crate::ann::{self, Described};
use crate::dataset::Dataset;
use crate::graph::Scope;
use crate::manifest::config::Index;
use crate::observe::Observer;

/// An index that a step's dataset should have.
pub struct Wanted {
    dir: PathBuf,
    dataset: String,
    wish: Index,
}

/// The indexes that the steps of this run ask for.
pub fn wanted(observer: &Observer, scope: &Scope) -> Vec<Wanted> {
    let datasets = scope.running().filter_map(|index| observer.graph.steps[index].dataset());
    let wanted = datasets.filter_map(|dataset| {
        let (dir, wish) = (observer.directory(&dataset), dataset.index?.clone());
        Some(Wanted { dir, dataset: dataset.name, wish })
    });
    wanted.collect()
}

/// Those that do not stand as they should, each with the reason; a dataset that is not published yet has none to build.
pub fn due(wanted: &[Wanted]) -> Vec<(&Wanted, String)> {
    wanted.iter().filter_map(|wanted| Some((wanted, wanted.why_due()?))).collect()
}

impl Wanted {
    fn why_due(&self) -> Option<String> {
        let shown = Dataset::open(&self.dir, &self.dataset).ok()?;
        ann::due(&self.dir, shown.description(), &self.wish)
    }
}

/// Says which indexes an apply would build.
pub fn told(wanted: &Wanted, why: &str) -> String {
    format!("the index of {} is to be built: {why}", wanted.dataset)
}

/// Builds the indexes that are due, and says whether all could be. That one cannot takes nothing from what was published.
pub fn keep(wanted: &[Wanted]) -> bool {
    let mut all = true;
    for (Wanted { dir, dataset, wish }, _) in due(wanted) {
        let built = Dataset::open(dir, dataset)
            .map_err(ann::AnnError::from)
            .and_then(|open| ann::build(dir, &open, wish, &|what| remark(what)));
        match built {
            // If nobody reads it, the work is done all the same.
            Ok(built) => drop(say(format!("  index      {}", words(&built)))),
            Err(error) => {
                remark(format!("{dataset} is published; its index was not built:"));
                tell(error);
                all = false;
            }
        }
    }
    all
}

fn words(built: &Described) -> String {
    let each = built.bytes_each();
    let Described { dataset, factory, rows, recall_at_10, asked, seconds, added_to, .. } = built;
    let how = match added_to {
        Some(before) => format!("{} added to {before}", rows - before),
        None => "built anew".to_owned(),
    };
    format!(
        "{dataset}: {factory}, {rows} vectors, {how} in {}; {each} bytes each, recall@10 {recall_at_10:.4} by {asked} of them",
        duration(*seconds)
    )
}
