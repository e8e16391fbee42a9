//! What was embedded in this run and what was there already.

use super::Section;
use crate::data::{Report, Reuse};
use crate::words::{count, css, percent, share};

pub fn section(report: &Report) -> Option<Section> {
    let Reuse { embedded, reused, removed } = report.reuse;
    let all = embedded as f64 + reused as f64 + removed as f64;
    if all == 0.0 {
        return None;
    }
    let parts = [("embedded", embedded), ("reused", reused), ("removed", removed)];
    let shown = parts.into_iter().filter(|(_, rows)| *rows > 0);
    let bar: String = shown
        .clone()
        .map(|(class, rows)| {
            format!("<span class=\"{class}\" style=\"width:{}\"></span>", css(share(rows as f64, all)))
        })
        .collect();
    let item = |(class, rows): (&str, u64)| {
        format!("<li><span class=\"swatch {class}\"></span>{class} <b>{}</b></li>", count(rows))
    };
    let items: String = shown.map(item).collect();
    let body = format!(
        "{}<div class=\"stack\" aria-hidden=\"true\">{bar}</div><ul class=\"legend\">{items}</ul>",
        lead(&report.reuse)
    );
    Section::half("reuse", "Reuse", body)
}

fn lead(reuse: &Reuse) -> String {
    let vectors = reuse.embedded as f64 + reuse.reused as f64;
    if vectors == 0.0 {
        return "<p>Nothing was embedded; papers that are no longer in the input were removed.</p>".to_owned();
    }
    if reuse.reused == 0 {
        return format!("<p>{} computed in this run.</p>", all_were(reuse.embedded));
    }
    if reuse.embedded == 0 {
        return format!("<p>{} there already: nothing had to be computed.</p>", all_were(reuse.reused));
    }
    format!(
        "<p><b>{}</b> of the vectors were there already and did not have to be computed.</p>",
        percent(share(reuse.reused as f64, vectors))
    )
}

fn all_were(vectors: u64) -> String {
    if vectors == 1 { "The one vector was".to_owned() } else { format!("All {} vectors were", count(vectors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_bar_are_shares_of_all() {
        let report = Report { reuse: Reuse { embedded: 1, reused: 2, removed: 1 }, ..Report::default() };
        let body = section(&report).unwrap().body;
        assert!(body.contains("\"embedded\" style=\"width:25%\"") && body.contains("\"reused\" style=\"width:50%\""));
        assert!(body.contains("<b>66.7 %</b> of the vectors"));
        assert!(section(&Report::default()).is_none());
    }
}
