//! The page: its head, its sections in order, and the report itself as JSON.

use crate::data::{Outcome, Report, State};
use crate::escape::{Escaped, json};
use crate::groups::{state_words, tally};
use crate::section::{self, Section, papers_per_second};
use crate::words::{count, counted, decimal, dollars, duration, finite, moment};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Nothing is fetched, nothing is sent, whatever the data holds.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

impl Report {
    /// The report as one HTML file. The same report gives the same bytes.
    pub fn html(&self) -> String {
        let sections = section::all(self);
        let (outcome, _) = outcome_words(self);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{title}: {outcome}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#main\">To the report</a>\n{}{}<main id=\"main\">\n{}</main>\n{}\
             <script type=\"application/json\" id=\"data\">{}</script>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            header(self),
            contents(&sections),
            arranged(sections),
            footer(self),
            json(self),
            title = Escaped(name(self)),
        )
    }
}

/// The workflow's name; a page without a heading would be hard to tell from others.
fn name(report: &Report) -> &str {
    if report.title.trim().is_empty() { "A run" } else { &report.title }
}

/// The outcome's name, and what it means.
fn outcome_words(report: &Report) -> (&'static str, &'static str) {
    match report.outcome {
        Outcome::Done if is_still(report) => ("done", "Nothing was to be done: every step is fresh."),
        Outcome::Done => ("done", "Everything that was selected is fresh now."),
        Outcome::Failed => {
            ("failed", "What finished is kept: once the cause is mended, the next run goes on from here.")
        }
        Outcome::Interrupted => ("interrupted", "What was sealed is kept: the next run goes on from here."),
    }
}

fn is_still(report: &Report) -> bool {
    !report.steps.is_empty() && report.steps.iter().all(|step| step.state == State::Fresh)
}

fn header(report: &Report) -> String {
    let (outcome, meaning) = outcome_words(report);
    let mark = match report.outcome {
        Outcome::Done => "✓",
        Outcome::Failed => "✕",
        Outcome::Interrupted => "‖",
    };
    let version = if report.version.is_empty() { String::new() } else { format!(" {}", Escaped(&report.version)) };
    let run =
        if report.run.is_empty() { String::new() } else { format!(" · run <code>{}</code>", Escaped(&report.run)) };
    format!(
        "<header>\n<p class=\"above\">sciembed{version}{run}</p>\n<div class=\"title\"><h1>{}</h1>\
         <p id=\"outcome\" class=\"outcome {outcome}\" data-value=\"{outcome}\"><span aria-hidden=\"true\">{mark}</span> {outcome}</p></div>\n\
         <p class=\"meaning\">{meaning}</p>\n{}<dl class=\"keys\">{}</dl>\n</header>\n",
        Escaped(name(report)),
        told(report),
        keys(report),
    )
}

/// When it began, and how many steps ended how.
fn told(report: &Report) -> String {
    let mut told = Vec::new();
    if report.started > 0 {
        let moment = moment(report.started);
        let (day, time) = moment.split_once(' ').unwrap_or((&moment, ""));
        told.push(format!("Begun on <time datetime=\"{day}T{time}Z\">{day} at {time} UTC</time>."));
    }
    if !report.steps.is_empty() {
        let ended = |(state, steps): &(State, u64)| format!("{} {}", count(*steps), state_words(*state).1);
        let tally: Vec<String> = tally(report.steps.iter()).iter().map(ended).collect();
        told.push(format!("{}: {}.", counted(report.steps.len() as u64, "step", "steps"), tally.join(", ")));
    }
    if told.is_empty() { String::new() } else { format!("<p class=\"meaning\">{}</p>\n", told.join(" ")) }
}

/// A number at the top: its id, its name, its exact value, and how it is read.
type Key = (&'static str, &'static str, String, String);

fn keys(report: &Report) -> String {
    let whole = |id, name, number: u64| (id, name, number.to_string(), count(number));
    let rejected = report.rejects.iter().fold(0, |sum: u64, reject| sum.saturating_add(reject.rows));
    let reuse = report.reuse;
    let mut keys: Vec<Key> = vec![
        whole("embedded", "papers embedded", reuse.embedded),
        whole("reused", "reused", reuse.reused),
        whole("rejected", "rejected", rejected),
    ];
    if reuse.removed > 0 {
        keys.push(whole("removed", "removed", reuse.removed));
    }
    keys.push(("seconds", "duration", finite(report.seconds).to_string(), duration(report.seconds)));
    if let Some(pace) = papers_per_second(report) {
        keys.push(("papers-per-second", "papers/s", pace.to_string(), decimal(pace)));
    }
    if let Some(cost) = report.cost.filter(|cost| cost.micro_usd > 0) {
        keys.push(("micro-usd", "cost", cost.micro_usd.to_string(), dollars(cost.micro_usd)));
    }
    let key = |(id, name, exact, read): &Key| {
        format!("<div><dt>{name}</dt><dd id=\"{id}\" data-value=\"{exact}\">{read}</dd></div>")
    };
    keys.iter().map(key).collect()
}

fn contents(sections: &[Section]) -> String {
    if sections.len() < 2 {
        return String::new();
    }
    let link = |section: &Section| format!("<li><a href=\"#{}\">{}</a></li>", section.id, section.title);
    let links: String = sections.iter().map(link).collect();
    format!("<nav aria-label=\"Contents\"><ul>{links}</ul></nav>\n")
}

/// The sections, of which two narrow ones stand side by side; one that is left alone takes the width.
fn arranged(sections: Vec<Section>) -> String {
    let mut html = String::new();
    let mut waiting: Option<Section> = None;
    for section in sections {
        match (waiting.take(), section.wide) {
            (None, false) => waiting = Some(section),
            (None, true) => html.push_str(&put(&section, "wide")),
            (Some(first), false) => html.push_str(&(put(&first, "half") + &put(&section, "half"))),
            (Some(first), true) => html.push_str(&(put(&first, "wide") + &put(&section, "wide"))),
        }
    }
    html + &waiting.map_or_else(String::new, |last| put(&last, "wide"))
}

fn put(section: &Section, class: &str) -> String {
    let Section { id, title, body, .. } = section;
    format!(
        "<section id=\"{id}\" class=\"{class}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n{body}\n</section>\n"
    )
}

fn footer(report: &Report) -> String {
    let version = if report.version.is_empty() { String::new() } else { format!(" {}", Escaped(&report.version)) };
    format!(
        "<footer><p>Written by sciembed{version}. All numbers are in this file as JSON, in the element with the id <code>data</code>.</p></footer>\n"
    )
}
