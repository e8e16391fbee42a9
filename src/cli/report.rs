//! `sciembed report`, and the report that every apply leaves: how a run went, as one page.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::log::find;
use super::print::show;
use super::workflow::{Workflow, WorkflowArguments};
use super::{DoorError, Failure};
use crate::error::Exit;
use crate::graph::Graph;
use crate::history::{self, PastRun, runs};
use crate::report::{self, Dataset};
use crate::store::{Store, durable};

/// Reports that are kept: older ones can be made again.
const KEPT: usize = 30;

/// Make the report of a run: its steps in time, what was embedded, reused and rejected, a map of the papers. One HTML file that
/// needs nothing else.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sciembed report workflows/quickstart.toml --to report.html")]
pub struct Arguments {
    #[command(flatten)]
    workflow: WorkflowArguments,
    /// The run: its id, the beginning of it, or `latest`
    #[arg(long, value_name = "RUN", default_value = "latest")]
    run: String,
    /// The file that is written
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    to: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let Workflow { graph, base } = arguments.workflow.read()?;
    let store = Store::open(&base.join(&graph.store))?;
    let mut runs = runs(&store)?;
    runs.retain(|run| run.workflow == graph.name);
    let page = page(find(&runs, &arguments.run)?, &graph, &base, &store);
    write(&arguments.to, &page)
        .map_err(|error| DoorError::Report { path: arguments.to.clone(), reason: error.to_string() })?;
    show(format!("{}: {} KB", arguments.to.display(), page.len().div_ceil(1000)))?;
    Ok(Exit::Done)
}

fn page(run: &PastRun, graph: &Graph, base: &Path, store: &Store) -> String {
    let datasets = graph.steps.iter().enumerate().filter_map(|(step, it)| {
        let shown = it.dataset()?;
        Some(Dataset { step, dir: base.join(shown.dir), name: shown.name })
    });
    report::of(run, graph, store, &datasets.collect::<Vec<_>>()).html()
}

/// Leaves the report of a run in its store, and says where. That it cannot be made takes nothing from the run.
pub fn leave(id: &str, graph: &Graph, base: &Path) -> Option<PathBuf> {
    let store = Store::open(&base.join(&graph.store)).ok()?;
    let run = history::run(&store, id).ok()?;
    let folder = store.root().join("reports");
    let path = folder.join(format!("{id}.html"));
    fs::create_dir_all(&folder).and_then(|()| write(&path, &page(&run, graph, base, &store))).ok()?;
    forget_old(&folder);
    Some(path)
}

fn write(path: &Path, page: &str) -> io::Result<()> {
    let beside = path.with_file_name(format!(".{}", durable::unique_name()));
    durable::write(path, &beside, page.as_bytes())
}

/// Run ids begin with their time, so the oldest come first.
fn forget_old(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut pages: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    pages.retain(|path| path.extension().is_some_and(|it| it == "html"));
    pages.sort();
    let old = pages.len().saturating_sub(KEPT);
    // What stays costs a little space, no more.
    pages[..old].iter().for_each(|path| drop(fs::remove_file(path)));
}
