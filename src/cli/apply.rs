//! `sciembed apply`: does what the plan says, shows progress, and ends with a summary.

use std::collections::BTreeSet;
use std::future::Future;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use super::catalog::told;
use super::environment::{Machine, cores};
use super::metrics::MetricsArguments;
use super::plan::counted;
use super::print::{remark, shortest, show};
use super::progress::Progress;
use super::saved::Saved;
use super::summary::Summary;
use super::workflow::{SelectionArguments, WorkflowArguments};
use super::{DoorError, Failure, derived, former, logging, report, standard_input, tell};
use crate::catalog;
use crate::dataset;
use crate::error::{Exit, exit_of_failures};
use crate::event::Outcome;
use crate::graph::{Graph, Step, StepId};
use crate::node::NodeError;
use crate::observe::Observer;
use crate::run::{self, Options, Report};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    workflow: WorkflowArguments,
    #[command(flatten)]
    selection: SelectionArguments,
    #[command(flatten)]
    machine: Machine,
    /// Steps other than embed that run side by side [default: one per core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    jobs: Option<u32>,
    /// Publish under names that belong to another workflow or step, and own them from now on
    #[arg(long)]
    take_over: bool,
    /// Publish without the papers whose texts could not be embedded, and list them in the dataset's manifest
    #[arg(long)]
    accept_failures: bool,
    /// Remove datasets that steps of this workflow published which it has no longer, such as a year that left the matrix
    #[arg(long)]
    prune: bool,
    /// Hand batches over to an API (`mode = "batch"`) and leave them to a later apply
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    metrics: MetricsArguments,
}

impl Arguments {
    /// An apply of this workflow, with what is usual.
    pub fn of(workflow: PathBuf) -> Self {
        Self {
            workflow: WorkflowArguments::new(workflow, Vec::new()),
            selection: SelectionArguments::default(),
            machine: Machine::default(),
            jobs: None,
            take_over: false,
            accept_failures: false,
            prune: false,
            no_wait: false,
            metrics: MetricsArguments::default(),
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let saved = Saved::read(&arguments.workflow.path)?;
    if let Some(saved) = &saved
        && !(arguments.workflow.overrides().is_empty() && arguments.selection.is_all())
    {
        return Err(saved.refuse_options(&arguments.workflow.path).into());
    }
    let named = saved.as_ref().map(Saved::workflow);
    let named = named.as_ref().unwrap_or(&arguments.workflow);
    let workflow = named.read()?;
    let selection = saved.as_ref().map_or(&arguments.selection, Saved::selection);
    let scope = selection.select(&workflow.graph)?;
    let mut observer = workflow.observer(&arguments.machine)?;
    observer.take_over = arguments.take_over || saved.as_ref().is_some_and(|saved| saved.take_over);
    observer.no_wait = arguments.no_wait;
    standard_input::read(&mut observer, &scope, standard_input::Use::Load)?;
    let accept_failures = arguments.accept_failures || saved.as_ref().is_some_and(|saved| saved.accept_failures);
    if let Some(saved) = &saved {
        observer.accept_failures = accept_failures;
        saved.refuse_if_moved(&workflow.graph, &counted(&mut observer, &scope)?)?;
    }
    let steps = &workflow.graph.steps;
    let dirs = directories(&observer, scope.running().map(|index| &steps[index]));
    let (every_dir, derived) = (directories(&observer, steps.iter()), derived::wanted(&observer, &scope));
    let options =
        Options { run: run::run_id(), jobs: arguments.jobs.map_or_else(cores, |jobs| jobs as usize), accept_failures };
    let mut metrics = arguments.metrics.start()?;
    let mut progress = Progress::new(std::io::stderr().is_terminal() && !logging::is_on());
    let mut summary = Summary::default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DoorError::Runtime)?;
    let report = runtime.block_on(async {
        let mut listen = |event: &_| {
            progress.show(event);
            summary.add(event);
            metrics.add(event);
        };
        run::apply(observer, &scope, &options, &mut listen, interruption()).await
    });
    progress.end();
    metrics.write();
    let report = report?;
    let outcome = report.outcome;
    let due = if matches!(outcome, Outcome::NothingToDo) { derived::due(&derived).len() } else { 0 };
    let exit = end(report, (&summary, due), &named.path.display().to_string());
    let is_pruning = arguments.prune && matches!(outcome, Outcome::Done | Outcome::NothingToDo);
    if outcome == Outcome::Done && !is_pruning {
        // If nobody reads it, the work is done all the same.
        drop(former::tell(&former::former(&workflow.graph, &every_dir)));
    }
    let (id, graph, base) = (options.run, workflow.graph.clone(), workflow.base.clone());
    Ok(runtime.block_on(async {
        tokio::select! {
            built = tokio::task::spawn_blocking(move || {
                let is_pruned = !is_pruning || former::prune(&former::former(&graph, &every_dir));
                keep_catalogs(if is_pruning { &every_dir } else { &dirs }, outcome);
                let all = (matches!(outcome, Outcome::Interrupted) || derived::keep(&derived)) && is_pruned;
                leave_report(&id, &graph, &base);
                all
            }) => if built.unwrap_or(false) || exit != Exit::Done { exit } else { Exit::Incomplete },
            () = interruption() => end_at_once(),
        }
    }))
}

/// Leaves the report of a run that did something.
fn leave_report(run: &str, graph: &Graph, base: &Path) {
    if let Some(path) = report::leave(run, graph, base) {
        drop(show(format!("  report     {}", shortest(&path).display())));
    }
}

/// The datasets are published, and half a catalog is only a file that the next one sweeps away.
fn end_at_once() -> ! {
    remark("interrupted while catalogs, indexes and exports were made: the next apply goes on with them");
    std::process::exit(i32::from(Exit::Interrupted.code()))
}

/// The directories that these steps publish into.
pub fn directories<'a>(observer: &Observer, steps: impl Iterator<Item = &'a Step>) -> BTreeSet<PathBuf> {
    steps.filter_map(|step| Some(observer.directory(&step.dataset()?))).collect()
}

/// Makes the catalog of each directory anew, where it may have changed. That it cannot be made takes nothing from what
/// was published, so it is told and no more.
fn keep_catalogs(dirs: &BTreeSet<PathBuf>, outcome: Outcome) {
    let is_due = |dir: &Path| match outcome {
        Outcome::Interrupted => false,
        Outcome::NothingToDo => !catalog::is_current(dir),
        Outcome::Done | Outcome::Failed => true,
    };
    let shows_any = |dir: &&PathBuf| dataset::names(dir).is_ok();
    for dir in dirs.iter().filter(shows_any).filter(|dir| is_due(dir)) {
        match catalog::refresh(dir) {
            // If nobody reads it, the work is done all the same.
            Ok(built) => drop(show(format!("  catalog    {}", told(dir, &built)))),
            Err(error) => {
                remark(format!("the datasets in {} are published; their catalog was not made:", dir.display()));
                tell(error);
            }
        }
    }
}

fn end(report: Report, (summary, due): (&Summary, usize), workflow: &str) -> Exit {
    summary.print(&report, workflow, due);
    let exit = match report.outcome {
        Outcome::NothingToDo | Outcome::Done => Exit::Done,
        Outcome::Interrupted => Exit::Interrupted,
        Outcome::Failed => exit_of_failures(report.failed.iter().map(|(_, error)| error)),
    };
    tell_failures(report.failed);
    exit
}

/// Tells each failure once: what stops thirty years alike is read once, with the steps that it stopped.
fn tell_failures(failed: Vec<(StepId, NodeError)>) {
    let mut alike: Vec<(Vec<StepId>, NodeError)> = Vec::new();
    for (step, error) in failed {
        match alike.iter_mut().find(|(_, told)| told.to_string() == error.to_string()) {
            Some((steps, _)) => steps.push(step),
            None => alike.push((vec![step], error)),
        }
    }
    for (steps, error) in alike {
        let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
        if error.is_handed_over() {
            remark(format!("{}: failed to {error}; apply again, today or tomorrow, to collect them", steps.join(", ")));
        } else {
            remark(format!("{} failed:", steps.join(", ")));
            tell(error);
        }
    }
}

/// Ready at the first SIGINT or SIGTERM; the second one ends the program at once.
fn interruption() -> impl Future<Output = ()> {
    let (first, interrupted) = oneshot::channel();
    tokio::spawn(watch_signals(first));
    async {
        // Without handlers a signal simply ends the program: what was sealed is kept all the same.
        if interrupted.await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Signals that follow each other so fast are one: whoever interrupts a group of processes may reach one of it twice.
const ONE_SIGNAL: Duration = Duration::from_millis(100);

async fn watch_signals(first: oneshot::Sender<()>) {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else { return };
    let mut first = Some(first);
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        match first.take() {
            Some(first) => {
                let _ = first.send(());
                tokio::time::sleep(ONE_SIGNAL).await;
                let _ = tokio::time::timeout(Duration::ZERO, interrupt.recv()).await;
                let _ = tokio::time::timeout(Duration::ZERO, terminate.recv()).await;
            }
            None => std::process::exit(i32::from(Exit::Interrupted.code())),
        }
    }
}
