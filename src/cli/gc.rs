//! `sciembed gc`: what nothing leads to any more, and its deletion.

use std::time::Duration;

use serde_json::{Value, json};

use super::Failure;
use super::print::{duration, say, show, size};
use super::store::StoreArguments;
use crate::error::Exit;
use crate::model::graph_folder;
use crate::run::run_id;
use crate::store::Store;
use crate::store::gc::{GcOptions, GcPlan, OnlyCopies, Tally};

/// Delete from the store what nothing leads to any more; without --delete only say what that is.
///
/// Live is what any workflow last applied: each step's record, all that was made for it, and all that this was made of, so
/// that every published row can still be traced to its line. What is younger than --keep stays too, and so do journals.
/// Published directories are not touched: what they show stays.
///
/// Without --delete nothing is deleted: what would go is told, by reason, with its size. Nothing is deleted while a run
/// lives, or if a reference or a record cannot be read; `sciembed verify --repair` mends those.
///
/// Vectors are what is dearest. A row that no live table holds any more stays in its segment, where a later edit finds it
/// again; how many there are, and what they would cost to compute anew, is told. --drop-vectors deletes them.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    store: StoreArguments,
    /// Keep what is younger: seconds, minutes, hours, days or weeks, as in 90s, 30m, 12h, 14d or 2w
    #[arg(long, value_name = "AGE", default_value = "14d", value_parser = age)]
    keep: Duration,
    /// Delete it
    #[arg(long)]
    delete: bool,
    /// Count vectors that no live table holds among what goes: they may have cost hours to compute
    #[arg(long)]
    drop_vectors: bool,
    /// Print as JSON, with the path of each file
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let workflow = arguments.store.workflow()?;
    let store = arguments.store.open(workflow.as_ref())?;
    let Arguments { keep, drop_vectors, .. } = *arguments;
    let options = GcOptions { keep, drop_vectors, graph_folder };
    // Before the plan is made: what it says may go must not come to be used meanwhile.
    let _held = arguments.delete.then(|| store.lock_gc(&run_id())).transpose()?;
    let plan = store.plan_gc(&options)?;
    if arguments.delete {
        store.delete(&plan)?;
    }
    if arguments.json {
        say(as_json(&store, &plan, arguments.delete))?;
    } else {
        show(worded(&store, &plan, arguments))?;
    }
    Ok(Exit::Done)
}

fn worded(store: &Store, plan: &GcPlan, arguments: &Arguments) -> String {
    let root = store.root().canonicalize().unwrap_or_else(|_| store.root().to_owned());
    let mut lines = vec![format!("store {}; what nothing leads to any more:", root.display())];
    let mut line = |what: &str, tally: Tally| lines.push(format!("  {what:32}  {}", told(tally)));
    plan.tallies().into_iter().for_each(|(reason, tally)| line(reason.words(), tally));
    line("in all", plan.total());
    if plan.young.files > 0 {
        lines.push(format!("  young enough to stay: {}", told(plan.young).trim_start()));
    }
    lines.extend(plan.only_copies.iter().map(|copies| of_copies(copies, arguments)));
    lines.push(match (arguments.delete, plan.total().files) {
        (_, 0) => "nothing to delete".to_owned(),
        (true, _) => "deleted".to_owned(),
        (false, _) => "nothing was deleted: --delete does it".to_owned(),
    });
    lines.join("\n")
}

fn of_copies(copies: &OnlyCopies, arguments: &Arguments) -> String {
    let OnlyCopies { embedder, model, rows, bytes, kept, rate: _ } = copies;
    let model = model.as_ref().map_or(String::new(), |model| format!("{model}, "));
    let mut told = format!(
        "  {rows} row{} of {model}embedder {} that no live table holds, {}: {}",
        if *rows == 1 { "" } else { "s" },
        embedder.short(),
        size(*bytes),
        cost(copies)
    );
    told.push_str(&match (arguments.drop_vectors, arguments.delete) {
        (false, _) => "; they stay: --drop-vectors counts them among what goes".to_owned(),
        (true, _) if *kept == *rows => "; all stay, young or beside live ones".to_owned(),
        (true, _) if *kept > 0 => format!("; {kept} of them stay, young or beside live ones"),
        (true, false) => "; they would go".to_owned(),
        (true, true) => "; they are gone".to_owned(),
    });
    told
}

/// What computing rows again would take.
fn cost(copies: &OnlyCopies) -> String {
    match (copies.seconds(), copies.rate) {
        (Some(seconds), Some(rate)) => {
            let rate = if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") };
            format!("about {} to compute again, at {rate} rows/s", duration(seconds))
        }
        _ => "what they took to compute is not known".to_owned(),
    }
}

fn told(Tally { files, bytes }: Tally) -> String {
    format!("{files:>6} file{}  {:>10}", if files == 1 { " " } else { "s" }, size(bytes))
}

fn as_json(store: &Store, plan: &GcPlan, deleted: bool) -> Value {
    let copies = |copies: &OnlyCopies| {
        let mut told = json!(copies);
        told["seconds"] = json!(copies.seconds());
        told
    };
    json!({
        "store": store.root(),
        "deleted": deleted,
        "reasons": plan.tallies(),
        "total": plan.total(),
        "young": plan.young,
        "only_copies": plan.only_copies.iter().map(copies).collect::<Vec<_>>(),
        "files": plan.doomed,
    })
}

/// An age with its unit.
fn age(text: &str) -> Result<Duration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err("an age is a number and its unit, as in 12h or 14d".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "an age begins with a number, as in 12h or 14d".to_owned())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "no store is that old".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(age("0s"), Ok(Duration::ZERO));
        assert_eq!(age("14d"), Ok(Duration::from_secs(14 * 86_400)));
        for wrong in ["", "14", "d", "1.5h", "14 d", "99999999999999999w"] {
            assert!(age(wrong).is_err(), "{wrong}");
        }
    }
}
