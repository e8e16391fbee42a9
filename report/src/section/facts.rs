//! What the run stood on: overrides, the machine, versions.

use super::Section;
use crate::data::{Fact, Report};
use crate::escape::Escaped;

pub fn overrides(report: &Report) -> Option<Section> {
    if report.overrides.is_empty() {
        return None;
    }
    let items: String = report.overrides.iter().map(|set| format!("<li><code>{}</code></li>", Escaped(set))).collect();
    let body = format!(
        "<p>These settings were given for this run and are not those of the workflow.</p><ul class=\"overrides\">{items}</ul>"
    );
    Section::half("overrides", "Overrides", body)
}

pub fn machine(report: &Report) -> Option<Section> {
    if report.facts.is_empty() {
        return None;
    }
    let row = |fact: &Fact| {
        format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>", Escaped(&fact.name), Escaped(&fact.value))
    };
    let rows: String = report.facts.iter().map(row).collect();
    Section::half("machine", "Machine and versions", format!("<table class=\"plain\"><tbody>{rows}</tbody></table>"))
}
