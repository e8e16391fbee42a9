//! What a workflow wants made of its datasets, beside the steps: indexes, and exports. Which are due, and making them.

use std::path::{Path, PathBuf};

use super::Failure;
use super::environment::variable;
use super::print::{duration, remark, shortest, show, size};
use crate::ann;
use crate::dataset::{Dataset, Description};
use crate::export::{self, ExportError, Job};
use crate::graph::Scope;
use crate::lineage::{Lineage, LineageError, published_by, store_of};
use crate::manifest::config::{Export, Index};
use crate::observe::Observer;
use crate::store::{DigestCache, Store};
use crate::words;

/// Why an index goes.
const NO_LONGER: &str = "the workflow asks for none";

/// Something that a step's dataset should have, or should have no longer.
pub struct Wanted {
    /// What relative folders of exports start from.
    base: PathBuf,
    dir: PathBuf,
    dataset: String,
    what: What,
}

enum What {
    Index(Index),
    /// None: one that stands goes.
    NoIndex,
    Words,
    /// None, likewise.
    NoWords,
    Export(Export),
}

/// What the steps of this run ask for, in the order in which it is made.
pub fn wanted(observer: &Observer, scope: &Scope) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    for dataset in scope.running().filter_map(|index| observer.graph.steps[index].dataset()) {
        let derived = dataset.derived;
        let index = derived.index.clone().map_or(What::NoIndex, What::Index);
        let words = if derived.words { What::Words } else { What::NoWords };
        for what in [index, words].into_iter().chain(derived.export.each().into_iter().map(What::Export)) {
            let (base, dir) = (observer.base.clone(), observer.directory(&dataset));
            wanted.push(Wanted { base, dir, dataset: dataset.name.clone(), what });
        }
    }
    wanted
}

/// The indexes among them: what an apply makes of datasets on this machine, and hands on to nobody.
pub fn indexes(wanted: Vec<Wanted>) -> Vec<Wanted> {
    wanted.into_iter().filter(|wanted| !matches!(wanted.what, What::Export(_))).collect()
}

/// What does not stand as it should, each with the reason, of datasets that are published.
pub fn due(wanted: &[Wanted]) -> Vec<(&Wanted, String)> {
    wanted.iter().filter_map(|wanted| Some((wanted, wanted.why_due()?))).collect()
}

/// What is to be made of datasets that are not published yet. An index is not told, since few rows need none.
pub fn later(wanted: &[Wanted]) -> Vec<&Wanted> {
    let is_later = |wanted: &&Wanted| {
        matches!(wanted.what, What::Words | What::Export(_)) && Dataset::open(&wanted.dir, &wanted.dataset).is_err()
    };
    wanted.iter().filter(is_later).collect()
}

impl Wanted {
    /// That of a verb: one export of a dataset that is published.
    pub fn export(base: PathBuf, dir: PathBuf, dataset: String, export: Export) -> Self {
        Self { base, dir, dataset, what: What::Export(export) }
    }

    /// Where an export goes.
    pub fn place(&self) -> String {
        match &self.what {
            What::Export(export) if export.dir().is_some() => {
                shortest(Path::new(&self.job(export).place(&self.dataset))).display().to_string()
            }
            What::Export(export) => self.job(export).place(&self.dataset),
            _ => self.dir.display().to_string(),
        }
    }

    fn why_due(&self) -> Option<String> {
        let shown = Dataset::open(&self.dir, &self.dataset).ok()?;
        self.why_due_of(shown.description())
    }

    fn why_due_of(&self, shown: &Description) -> Option<String> {
        // What is known of files' digests, where the store is at hand.
        let store = store_of(&self.dir, &self.dataset, &shown.set, None).ok();
        let mut digests = store.as_ref().map_or_else(DigestCache::default, Store::digest_cache);
        let why = match &self.what {
            What::Index(wish) => ann::due(&self.dir, shown, wish, &mut digests),
            What::NoIndex => ann::is_there(&self.dir, &self.dataset).then(|| NO_LONGER.to_owned()),
            What::Words => words::due(&self.dir, shown, &mut digests),
            What::NoWords => words::is_there(&self.dir, &self.dataset).then(|| NO_LONGER.to_owned()),
            What::Export(export) => self.job(export).due(shown),
        };
        // What is not remembered costs time, no more.
        let _ = store.map(|store| store.save_digest_cache(&mut digests));
        why
    }

    fn job<'a>(&'a self, export: &'a Export) -> Job<'a> {
        Job { base: &self.base, dir: &self.dir, export }
    }

    fn lineage(&self, shown: &Description) -> Result<Lineage, LineageError> {
        let store = store_of(&self.dir, &self.dataset, &shown.set, None)?;
        Lineage::open(store, &published_by(&self.dir, &self.dataset)?.owner.workflow)
    }

    fn name(&self) -> String {
        match &self.what {
            What::Index(_) | What::NoIndex => "index".to_owned(),
            What::Words | What::NoWords => "index of words".to_owned(),
            What::Export(export) => format!("export to {}", export.format()),
        }
    }

    /// Makes it, and says so.
    ///
    /// # Errors
    /// Whatever keeps it from being made; what was published is as it was.
    pub fn make(&self) -> Result<(), Failure> {
        let dataset = Dataset::open(&self.dir, &self.dataset)?;
        let told = match &self.what {
            What::Index(wish) => index_words(&ann::build(&self.dir, &dataset, wish, &|what| remark(what))?),
            What::NoIndex => {
                ann::remove(&self.dir, &self.dataset)?;
                format!("  index      {}: removed", self.dataset)
            }
            What::NoWords => {
                words::remove(&self.dir, &self.dataset)?;
                format!("  words      {}: removed", self.dataset)
            }
            What::Words => {
                remark(format!("indexes the words of {}: {} texts", self.dataset, dataset.description().rows));
                words_words(&words::build(&self.dir, &dataset, &self.lineage(dataset.description())?)?)
            }
            What::Export(export) => {
                remark(format!("exports {}: {} rows to {}", self.dataset, dataset.description().rows, self.place()));
                let lineage = match export.fields() {
                    [] => None,
                    _ => Some(self.lineage(dataset.description())?),
                };
                let key = key(export)?;
                let done = self.job(export).run(&dataset, lineage.as_ref(), key.as_deref())?;
                export_words(&self.dataset, export, &self.place(), &done)
            }
        };
        // If nobody reads it, the work is done all the same.
        drop(show(told));
        Ok(())
    }
}

/// The key of an export's server, where it names one.
fn key(export: &Export) -> Result<Option<String>, ExportError> {
    let Some(server) = export.server() else { return Ok(None) };
    let Some(name) = &server.api_key_env else { return Ok(None) };
    let missing = || ExportError::NoKey { url: server.url.clone(), variable: name.clone() };
    variable(name).map(Some).ok_or_else(missing)
}

/// Says what an apply would make.
pub fn told(wanted: &Wanted, why: &str) -> String {
    let made = if matches!(wanted.what, What::NoIndex | What::NoWords) { "removed" } else { "made" };
    format!("the {} of {} is to be {made}: {why}", wanted.name(), wanted.dataset)
}

/// Makes what is due, and says whether all could be. That something cannot takes nothing from what was published.
pub fn keep(wanted: &[Wanted]) -> bool {
    let mut all = true;
    for (wanted, _) in due(wanted) {
        if let Err(error) = wanted.make() {
            remark(format!("{} is published; its {} was not made:", wanted.dataset, wanted.name()));
            // It was told in full, and what it means to the exit is said by the caller.
            let _ = error.tell();
            all = false;
        }
    }
    all
}

fn index_words(built: &ann::Described) -> String {
    let each = built.bytes_each();
    let ann::Described { dataset, factory, rows, recall_at_10, asked, seconds, added_to, .. } = built;
    let how = match added_to {
        Some(before) => format!("{} added to {before}", rows - before),
        None => "built anew".to_owned(),
    };
    format!(
        "  index      {dataset}: {factory}, {rows} vectors, {how} in {}; {each} bytes each, recall@10 {recall_at_10:.4} by {asked} of them",
        duration(*seconds)
    )
}

fn words_words(built: &words::Described) -> String {
    let words::Described { dataset, rows, seconds, .. } = built;
    let each = built.bytes_each();
    format!("  words      {dataset}: {rows} texts, indexed in {}; {each} bytes each", duration(*seconds))
}

fn export_words(dataset: &str, export: &Export, place: &str, done: &export::Done) -> String {
    let export::Done { rows, resumed, bytes, seconds } = done;
    let before = if *resumed > 0 { format!(", {resumed} of them before") } else { String::new() };
    let (format, size, time) = (export.format(), size(*bytes), duration(*seconds));
    format!("  exported   {dataset} as {format} to {place}: {rows} rows{before}, {size} in {time}")
}
