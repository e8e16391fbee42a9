//! `sciembed verify`: whether every bit is what it was, and with --repair what is damaged made again.

use std::future::pending;
use std::io::{IsTerminal, stderr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use super::environment::{Machine, cores};
use super::print::{remark, say, show};
use super::progress::Progress;
use super::store::StoreArguments;
use super::workflow::{SelectionArguments, Workflow};
use super::{DoorError, Failure, derived, logging, tell, tell_alike};
use crate::error::{Exit, exit_of_failures};
use crate::event::Outcome;
use crate::observe::ObserveError;
use crate::run::{self, Options, run_id};
use crate::store::Store;
use crate::verify::{self, Finding, Report, mend};

/// Time between plain lines: often enough to see life, seldom enough for a log.
const TELL_EVERY: Duration = Duration::from_secs(15);

/// Check every bit of the store and of what is published; --repair puts out of use what is damaged, and applies.
///
/// Every blob is digested again and compared with its name; records, references, journals, segments and converted models
/// are compared with the digests that they carry. Given a workflow, every published file is compared with the digest that
/// its record names, and then every row with the store: its vector with the vectors table, its row key with its text, its
/// metadata digest with its record, its place in the list of bibcodes and in the key index; the rows of a merge with those
/// of the datasets that it was merged from. Indexes of vectors and of words that stand beside are compared with the digests
/// of their descriptions.
///
/// What is damaged is told with what follows from it. Files that are not known here are told too; they are no damage.
///
/// The catalog is not checked: it is derived from all this, and `sciembed catalog rebuild` makes it again.
///
/// --repair removes what is damaged, and nothing whole, then applies the workflow, so that what it needs is computed and
/// published again, and verifies once more. Segments, journals and converted models are only removed, or cut to what is
/// sound: what they held is computed again when it is needed, and a run's lost story stays lost. Where an input or a model is missing that this takes, it removes nothing. With --store it
/// only removes, and says what is to be applied.
///
/// Exits with 0 if all is well, and with 4 if something is damaged (and could not be mended).
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    #[command(flatten)]
    machine: Machine,
    /// Put what is damaged out of use and make it again
    #[arg(long)]
    repair: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.store.workflow()?;
    let root = arguments.store.root(workflow.as_ref());
    let mut mended = Vec::new();
    if let Some(finding) = verify::version(&root) {
        if !(arguments.repair && mend::write_version(&root, &finding)?) {
            let report = Report { findings: vec![finding], ..Report::default() };
            return tell_report(arguments, &root, &report, &mended);
        }
        mended.push(finding.path);
    }
    let store = arguments.store.open(workflow.as_ref())?;
    let first = check(&store, workflow.as_ref())?;
    if !arguments.repair || first.findings.is_empty() {
        return tell_report(arguments, &root, &first, &mended);
    }
    first.findings.iter().for_each(|finding| remark(worded(finding, &root)));
    if let Some(workflow) = &workflow
        && !can_make_again(workflow, &arguments.machine)?
    {
        return Ok(Exit::Damaged);
    }
    {
        let _held = store.lock_gc(&run_id())?;
        mended.extend(mend::put_out_of_use(&store, &first)?);
        if let Some(workflow) = &workflow {
            mend::forget_former_steps(&store, &workflow.graph)?;
        }
    }
    if let Some(workflow) = &workflow {
        let exit = apply(workflow, &arguments.machine)?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    remark("verifies once more");
    let second = check(&store, workflow.as_ref())?;
    tell_report(arguments, &root, &second, &mended)
}

fn check(store: &Store, workflow: Option<&Workflow>) -> Result<Report, Failure> {
    let mut shown = Shown::new();
    let workflow = workflow.map(|workflow| (&workflow.graph, workflow.base.as_path()));
    Ok(verify::verify(store, workflow, &mut |what, done, total| shown.tell(what, done, total))?)
}

/// Whether every input and model is there that an apply needs, told if not: what is put out of use without them stays so.
fn can_make_again(workflow: &Workflow, machine: &Machine) -> Result<bool, Failure> {
    let scope = SelectionArguments::default().select(&workflow.graph)?;
    let errors = workflow.observer(machine)?.observe(&scope).err().unwrap_or_default();
    // What the store's damage keeps from being planned is what is to be mended.
    let lacks = |error: &ObserveError| matches!(error, ObserveError::Source { .. } | ObserveError::Model { .. });
    let lacking: Vec<ObserveError> = errors.into_iter().filter(lacks).collect();
    if lacking.is_empty() {
        return Ok(true);
    }
    tell_alike(lacking);
    remark(
        "nothing was put out of use, since it could not be made again; `--store STORE --repair` does it all the same",
    );
    Ok(false)
}

/// Makes again what was put out of use. A kill here loses no more than one of an apply.
fn apply(workflow: &Workflow, machine: &Machine) -> Result<Exit, Failure> {
    let scope = SelectionArguments::default().select(&workflow.graph)?;
    let mut observer = workflow.observer(machine)?;
    // What was accepted stands: only an apply without --accept-failures tries it again.
    observer.accept_failures = true;
    let indexes = derived::indexes(derived::wanted(&observer, &scope));
    let options = Options { run: run_id(), jobs: cores(), accept_failures: false };
    let mut progress = Progress::new(stderr().is_terminal() && !logging::is_on());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(DoorError::Runtime)?;
    let report = runtime.block_on(run::apply(observer, &scope, &options, &mut |event| progress.show(event), pending()));
    progress.end();
    let report = report?;
    if report.outcome != Outcome::Failed {
        return Ok(if derived::keep(&indexes) { Exit::Done } else { Exit::Incomplete });
    }
    let exit = exit_of_failures(report.failed.iter().map(|(_, error)| error));
    for (step, error) in report.failed {
        remark(format!("{step} failed:"));
        tell(error);
    }
    Ok(exit)
}

fn tell_report(arguments: &Arguments, root: &Path, report: &Report, mended: &[PathBuf]) -> Result<Exit, Failure> {
    if arguments.json {
        say(json!({ "store": root, "report": report, "mended": mended }))?;
    } else {
        for path in mended {
            show(format!("put out of use: {}", seen_from(root, path)))?;
        }
        for path in &report.unknown {
            show(format!("not known here: {}", seen_from(root, path)))?;
        }
        for finding in &report.findings {
            show(worded(finding, root))?;
        }
        show(summed(report))?;
    }
    Ok(if report.findings.is_empty() { Exit::Done } else { Exit::Damaged })
}

fn worded(finding: &Finding, root: &Path) -> String {
    let Finding { path, kind, wrong, follows, .. } = finding;
    format!("{}: {} is damaged: {wrong}\n  {follows}", seen_from(root, path), kind.words())
}

/// A path inside the store as people know it, any other in full.
fn seen_from(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).ok().filter(|_| root.file_name().is_some());
    let name = root.file_name().unwrap_or_default();
    inside.map_or(path.to_owned(), |inside| Path::new(name).join(inside)).display().to_string()
}

fn summed(report: &Report) -> String {
    let checked: Vec<String> =
        report.checked.iter().map(|(what, count)| format!("{count} {}", numbered(what, *count))).collect();
    let found = match report.findings.len() {
        0 => "all is as it was written".to_owned(),
        count => {
            let them = if count == 1 { "it" } else { "them" };
            format!(
                "{count} damaged: `sciembed verify WORKFLOW --repair` puts {them} out of use, and applies the workflow"
            )
        }
    };
    if checked.is_empty() { found } else { format!("checked {}\n{found}", checked.join(", ")) }
}

/// What is counted, of one or of many: the first noun, up to "of" or "in", is the one that is counted.
fn numbered(what: &str, count: u64) -> String {
    let end = [" of ", " in "].iter().filter_map(|word| what.find(word)).min().unwrap_or(what.len());
    match what[..end].strip_suffix('s') {
        Some(one) if count == 1 => format!("{one}{}", &what[end..]),
        _ => what.to_owned(),
    }
}

/// Shows what is looked at: a bar on a terminal, lines otherwise.
struct Shown {
    bar: Option<ProgressBar>,
    told: Instant,
}

impl Shown {
    fn new() -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg:24!} {wide_bar} {percent:>3} % of {total_bytes}");
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.with_style(style.expect("the template is a constant"))
        });
        Self { bar, told: Instant::now() }
    }

    fn tell(&mut self, what: &str, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
            bar.set_length(total);
            bar.set_position(done);
        } else if self.told.elapsed() >= TELL_EVERY {
            self.told = Instant::now();
            let of =
                if total > 0 { format!(": {} of {} MB", done / 1_000_000, total / 1_000_000) } else { String::new() };
            remark(format!("verifies {what}{of}"));
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let words = ["references", "published rows", "rows of segments", "lists of tables' rows"];
        let one = ["reference", "published row", "row of segments", "list of tables' rows"];
        assert_eq!(words.map(|what| numbered(what, 1)), one);
        assert_eq!(words.map(|what| numbered(what, 2)), words);
    }
}
