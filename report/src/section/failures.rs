//! What failed: the steps and their errors.

use super::Section;
use crate::data::{Report, Step};
use crate::escape::Escaped;

pub fn section(report: &Report) -> Option<Section> {
    let failed: String = report.steps.iter().filter(|step| step.error.is_some()).map(item).collect();
    if failed.is_empty() {
        return None;
    }
    Section::wide("failures", "What failed", format!("<ul class=\"failures\">{failed}</ul>"))
}

fn item(step: &Step) -> String {
    let error = step.error.as_deref().unwrap_or_default();
    format!("<li><h3>{}</h3><pre>{}</pre></li>", Escaped(&step.id), Escaped(error))
}
