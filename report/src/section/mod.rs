//! The sections of the page, one a file: each takes the report and gives its part, or none where there is nothing to say.

mod cost;
mod facts;
mod failures;
mod gantt;
mod indexes;
mod map;
mod notes;
mod pipeline;
mod rejects;
mod reuse;
mod steps;
mod throughput;
mod tokens;

use crate::data::Report;

pub use throughput::papers_per_second;

/// A part of the page under a heading.
pub struct Section {
    /// Its id, to which the contents link.
    pub id: &'static str,
    /// Its heading.
    pub title: &'static str,
    /// Whether it takes the page's width; two that do not stand side by side.
    pub wide: bool,
    /// What stands under the heading, in HTML.
    pub body: String,
}

impl Section {
    fn wide(id: &'static str, title: &'static str, body: String) -> Option<Self> {
        Some(Self { id, title, wide: true, body })
    }

    fn half(id: &'static str, title: &'static str, body: String) -> Option<Self> {
        Some(Self { id, title, wide: false, body })
    }
}

/// All that there is to say, in the order of the page: what went wrong, what was done, what came of it, details.
pub fn all(report: &Report) -> Vec<Section> {
    let sections = [
        failures::section(report),
        pipeline::section(report),
        gantt::section(report),
        throughput::section(report),
        tokens::section(report),
        reuse::section(report),
        cost::section(report),
        rejects::section(report),
        indexes::section(report),
        map::section(report),
        notes::section(report),
        facts::overrides(report),
        facts::machine(report),
        steps::section(report),
    ];
    sections.into_iter().flatten().collect()
}
