//! What a run did, added up from its events, in a few lines.

use std::collections::BTreeMap;

use super::plan::{lacking, listed, totals};
use super::print::show;
use crate::event::{Detail, Event, Outcome};
use crate::graph::{NodeKind, StepId};
use crate::manifest::config::Dollars;
use crate::record::Pace;
use crate::run::Report;

/// Counts over all steps that finished, by node kind.
#[derive(Default)]
pub struct Summary {
    counts: BTreeMap<(NodeKind, String), u64>,
    steps: BTreeMap<NodeKind, u64>,
    pace: Pace,
    seconds: f64,
    rejecting: Vec<(StepId, u64)>,
    removing: Vec<(StepId, u64)>,
    /// What load steps noted, such as a field that no record has, each with the steps that noted it.
    noted: Vec<(String, Vec<StepId>)>,
    run: String,
    /// What APIs were asked: requests, failed ones, tokens and millionths of a dollar.
    asked: Option<[u64; 4]>,
    /// How far the embed steps are that did not finish.
    under_way: BTreeMap<StepId, (u64, u64)>,
}

impl Summary {
    /// Takes an event in.
    pub fn add(&mut self, event: &Event) {
        match event {
            Event::StepFinished { step, counts, run_counts, pace, .. } => {
                self.under_way.remove(step);
                *self.steps.entry(step.kind).or_default() += 1;
                for (name, count) in counts.iter().chain(run_counts) {
                    *self.counts.entry((step.kind, name.clone())).or_default() += count;
                }
                if let Some(Pace { rows, seconds }) = pace {
                    self.pace.rows += rows;
                    self.pace.seconds += seconds;
                }
                let publishes = matches!(step.kind, NodeKind::Persist | NodeKind::Merge);
                if let Some(&removed) = run_counts.get("removed").filter(|count| publishes && **count > 0) {
                    self.removing.push((step.clone(), removed));
                }
                if let Some(&rejected) = counts.get("rejected").filter(|count| **count > 0) {
                    self.rejecting.push((step.clone(), rejected));
                }
            }
            Event::StepProgress { step, done, total: Some(total), .. } if step.kind == NodeKind::Embed => {
                self.under_way.insert(step.clone(), (*done, *total));
            }
            Event::StepNote { step, note } if step.kind == NodeKind::Load => self.note(step, note),
            Event::StepDetail { detail: Detail::Asked { requests, failed, tokens, micro_usd }, .. } => {
                let asked = self.asked.get_or_insert_default();
                let new = [requests, failed, tokens, micro_usd];
                asked.iter_mut().zip(new).for_each(|(sum, new)| *sum += new);
            }
            // Progress is told now and then, and the last that was sealed always.
            Event::StepDetail { step, detail: Detail::Sealed { done, total, .. } } => {
                self.under_way.insert(step.clone(), (*done, *total));
            }
            Event::RunStarted { run, .. } => self.run.clone_from(run),
            Event::RunFinished { seconds, .. } => self.seconds = *seconds,
            _ => {}
        }
    }

    /// What many years note alike is told once.
    fn note(&mut self, step: &StepId, note: &str) {
        match self.noted.iter_mut().find(|(known, _)| known == note) {
            Some((_, steps)) => steps.push(step.clone()),
            None => self.noted.push((note.to_owned(), vec![step.clone()])),
        }
    }

    /// Prints the summary to standard output, where so many indexes and exports are to be made yet; if nobody reads it, the work is done all the same.
    pub fn print(&self, report: &Report, workflow: &str, due: usize) {
        match report.outcome {
            Outcome::NothingToDo => line(totals(&report.plan, due)),
            Outcome::Done => line(format!("done in {:.1} s", self.seconds)),
            Outcome::Interrupted => {
                line(format!("interrupted after {:.1} s: apply again to go on from here", self.seconds))
            }
            Outcome::Failed => line(self.incomplete(report)),
        }
        self.print_counts();
        if let Some(asked) = self.asked {
            line(format!("  asked      {}", asked_words(asked)));
        }
        for (step, (done, total)) in self.under_way.iter().filter(|(_, (done, _))| *done > 0) {
            line(format!("  kept       about {done} of {total} vectors of {step}: the next apply reuses them"));
        }
        for (step, rejected) in &self.rejecting {
            let (word, table) = match step.kind {
                NodeKind::Merge => ("left out  ", "superseded"),
                _ => ("rejected  ", "rejects"),
            };
            line(format!("  {word} {rejected} in {step}; list them: sciembed peek {workflow} '{step}' {table}"));
        }
        for (step, removed) in &self.removing {
            line(format!("  removed    {removed} from {step}; list them: sciembed log {workflow} --run {}", self.run));
        }
        for (note, steps) in &self.noted {
            // They end in any order.
            let mut steps = steps.clone();
            steps.sort_unstable();
            line(format!("  note       {}: {note}", listed(&steps)));
        }
        for (step, missing) in report.plan.blocked() {
            line(format!("  blocked    {step} by {}", lacking(missing)));
        }
    }

    fn incomplete(&self, report: &Report) -> String {
        let of = |waits: bool| {
            let steps = report.failed.iter().filter(|(_, error)| error.is_handed_over() == waits);
            steps.map(|(step, _)| step.clone()).collect::<Vec<_>>()
        };
        let (failed, waiting) = (of(false), of(true));
        let mut told = match (&failed[..], &waiting[..]) {
            ([], waiting) => format!("handed over after {:.1} s: {} to be collected", self.seconds, listed(waiting)),
            (failed, []) => format!("incomplete after {:.1} s: {} failed", self.seconds, listed(failed)),
            (failed, waiting) => {
                let (failed, waiting) = (listed(failed), listed(waiting));
                format!("incomplete after {:.1} s: {failed} failed, {waiting} to be collected", self.seconds)
            }
        };
        if !report.skipped.is_empty() {
            told.push_str(&format!(", {} not reached", listed(&report.skipped)));
        }
        told
    }

    fn count(&self, kind: NodeKind, name: &str) -> u64 {
        self.counts.get(&(kind, name.to_owned())).copied().unwrap_or(0)
    }

    fn print_counts(&self) {
        for kind in self.steps.keys() {
            line(match kind {
                NodeKind::Load => self.loaded(),
                NodeKind::Prepare => self.prepared(),
                NodeKind::Embed => self.embedded(),
                NodeKind::Persist => self.published(),
                NodeKind::Merge => self.merged(),
            });
        }
    }

    fn loaded(&self) -> String {
        let count = |name| self.count(NodeKind::Load, name);
        let mut told = format!(
            "  loaded     {} rows in, {} kept, {} rejected",
            count("rows_in"),
            count("rows"),
            count("rejected")
        );
        for (name, words) in [("not_selected", "not selected"), ("beyond_limit", "beyond the limit")] {
            if count(name) > 0 {
                told.push_str(&format!(", {} {words}", count(name)));
            }
        }
        told
    }

    fn prepared(&self) -> String {
        let count = |name| self.count(NodeKind::Prepare, name);
        format!(
            "  prepared   {} texts, {} truncated, {} rejected",
            count("rows"),
            count("truncated"),
            count("rejected")
        )
    }

    fn embedded(&self) -> String {
        let count = |name| self.count(NodeKind::Embed, name);
        let mut told =
            format!("  embedded   {} new, {} reused, {} removed", count("embedded"), count("reused"), count("removed"));
        if let Some(rate) = self.pace.rate() {
            told.push_str(&format!(", {rate:.1} papers/s"));
        }
        if count("failed") > 0 {
            told.push_str(&format!("; {} failed and left out, as the manifests list", count("failed")));
        }
        if count("truncated") > 0 {
            let (rows, tokens) = (count("truncated"), count("tokens_dropped"));
            told.push_str(&format!("; {rows} longer than the model reads, {tokens} tokens dropped"));
        }
        if count("windowed") > 0 {
            told.push_str(&format!("; {} read in several windows", count("windowed")));
        }
        told
    }

    fn published(&self) -> String {
        let vectors = self.count(NodeKind::Persist, "rows");
        format!("  published  {}: {vectors} vectors{}", self.datasets(NodeKind::Persist), self.size(NodeKind::Persist))
    }

    fn merged(&self) -> String {
        let count = |name| self.count(NodeKind::Merge, name);
        let aliases = match count("rejected.alias") {
            0 => String::new(),
            aliases => format!(", {aliases} left out as aliases of another paper"),
        };
        format!(
            "  merged     {}: {} vectors from {}, {} superseded{aliases}{}",
            self.datasets(NodeKind::Merge),
            count("rows"),
            count("sets"),
            count("rejected.superseded"),
            self.size(NodeKind::Merge)
        )
    }

    fn datasets(&self, kind: NodeKind) -> String {
        let datasets = self.steps[&kind];
        format!("{datasets} dataset{}", if datasets == 1 { "" } else { "s" })
    }

    fn size(&self, kind: NodeKind) -> String {
        let each = self.count(kind, "bytes").checked_div(self.count(kind, "rows"));
        each.map_or(String::new(), |each| format!(", {each} bytes each, all files counted"))
    }
}

/// What an API was asked, and what it cost: requests, failed ones, tokens, millionths of a dollar.
pub fn asked_words([requests, failed, tokens, micro_usd]: [u64; 4]) -> String {
    let failed = if failed > 0 { format!(", {failed} of them failed") } else { String::new() };
    let cost = if micro_usd > 0 { format!(", {}", Dollars(micro_usd)) } else { String::new() };
    format!("{requests} requests{failed}; {tokens} tokens{cost}")
}

/// If nobody reads it, the work is done all the same.
fn line(line: impl std::fmt::Display) {
    let _ = show(line);
}
