//! Indexes: how large they are, and how many of the nearest papers they find.

use super::Section;
use crate::data::{IndexLine, Report};
use crate::escape::Escaped;
use crate::words::{count, css, decimal, duration, finite};

pub fn section(report: &Report) -> Option<Section> {
    if report.indexes.is_empty() {
        return None;
    }
    let rows: String = report.indexes.iter().map(row).collect();
    let body = format!(
        "<p>Recall is the share of the ten nearest papers, by an exact search, that the index finds.</p>\
         <table class=\"cards\"><thead><tr><th scope=\"col\">Dataset</th><th scope=\"col\">Index</th>\
         <th scope=\"col\" class=\"number\">Vectors</th><th scope=\"col\" class=\"number\">Bytes each</th>\
         <th scope=\"col\" class=\"number\">Built in</th><th scope=\"col\" class=\"number\">Recall at 10</th>\
         <td class=\"wide-cell\"></td></tr></thead><tbody>{rows}</tbody></table>"
    );
    Section::wide("indexes", "Indexes", body)
}

fn row(line: &IndexLine) -> String {
    let recall = line.recall_at_10.map(|recall| finite(recall).clamp(0.0, 1.0));
    let (told, measure) = match recall {
        Some(recall) => {
            (format!("{recall:.3}"), format!("<span class=\"measure\" style=\"width:{}\"></span>", css(recall)))
        }
        None => ("not measured".to_owned(), String::new()),
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td><code>{}</code></td><td class=\"number\" data-label=\"vectors\">{}</td>\
         <td class=\"number\" data-label=\"bytes each\">{}</td><td class=\"number\" data-label=\"built in\">{}</td>\
         <td class=\"number\" data-label=\"recall at 10\">{told}</td><td class=\"wide-cell full\">{measure}</td></tr>",
        Escaped(&line.dataset),
        Escaped(&line.factory),
        count(line.rows),
        decimal(line.bytes_each),
        duration(line.seconds),
    )
}
