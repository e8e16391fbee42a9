//! Rows that were left out: by node and reason, with the steps behind them.

use super::Section;
use crate::data::{Reject, Report};
use crate::escape::Escaped;
use crate::words::{count, counted, css, percent, share};

pub fn section(report: &Report) -> Option<Section> {
    let lines = lines(report);
    let all: u64 = lines.iter().map(|line| line.rows).sum();
    if all == 0 {
        return None;
    }
    let most = lines.iter().map(|line| line.rows).max().unwrap_or(1);
    let rows: String = lines.iter().map(|line| line.html(all, most)).collect();
    let body = format!(
        "<p><b>{}</b> {} left out.</p><table class=\"cards\"><thead><tr><th scope=\"col\">Reason</th><th scope=\"col\">Node</th>\
         <th scope=\"col\" class=\"number\">Rows</th><th scope=\"col\" class=\"number\">Share</th><td class=\"wide-cell\"></td></tr></thead>\
         <tbody>{rows}</tbody></table>",
        counted(all, "row", "rows"),
        if all == 1 { "was" } else { "were" }
    );
    Section::wide("rejects", "Rejects", body)
}

struct Line<'a> {
    node: &'a str,
    reason: &'a str,
    rows: u64,
    steps: Vec<&'a Reject>,
}

fn lines(report: &Report) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for reject in report.rejects.iter().filter(|reject| reject.rows > 0) {
        let node = node(report, &reject.step);
        match lines.iter_mut().find(|line| line.node == node && line.reason == reject.reason) {
            Some(line) => {
                line.rows = line.rows.saturating_add(reject.rows);
                line.steps.push(reject);
            }
            None => lines.push(Line { node, reason: &reject.reason, rows: reject.rows, steps: vec![reject] }),
        }
    }
    lines.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| (a.node, a.reason).cmp(&(b.node, b.reason))));
    lines
}

/// The node of a step; of one that the report does not list, its id up to the bracket.
fn node<'a>(report: &'a Report, step: &'a str) -> &'a str {
    let known = report.steps.iter().find(|known| known.id == step);
    known.map_or_else(|| step.split('[').next().unwrap_or(step), |known| &known.node)
}

impl Line<'_> {
    fn html(&self, all: u64, most: u64) -> String {
        format!(
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"number\" data-label=\"rows\">{}</td><td class=\"number\" data-label=\"share\">{}</td>\
             <td class=\"wide-cell\"><span class=\"measure\" style=\"width:{}\"></span></td></tr>",
            self.name(),
            Escaped(self.node),
            count(self.rows),
            percent(share(self.rows as f64, all as f64)),
            css(share(self.rows as f64, most as f64)),
        )
    }

    fn name(&self) -> String {
        let reason = Escaped(self.reason);
        if self.steps.len() == 1 {
            return reason.to_string();
        }
        let item = |reject: &&Reject| format!("<li>{} <b>{}</b></li>", Escaped(&reject.step), count(reject.rows));
        let items: String = self.steps.iter().map(item).collect();
        format!(
            "<details><summary>{reason} <small>in {} steps</small></summary><ul class=\"each\">{items}</ul></details>",
            self.steps.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reject(step: &str, reason: &str, rows: u64) -> Reject {
        Reject { step: step.to_owned(), reason: reason.to_owned(), rows }
    }

    #[test]
    fn reasons_are_added_up_by_node_and_the_most_comes_first() {
        let rejects = vec![
            reject("load.a[2010]", "no title", 2),
            reject("load.b", "no title", 4),
            reject("load.a[2011]", "no title", 3),
            reject("load.a[2011]", "never", 0),
        ];
        let report = Report { rejects, ..Report::default() };
        let told: Vec<_> =
            lines(&report).iter().map(|line| (line.node.to_owned(), line.rows, line.steps.len())).collect();
        assert_eq!(told, [("load.a".to_owned(), 5, 2), ("load.b".to_owned(), 4, 1)]);
        assert!(section(&report).unwrap().body.contains("<b>9 rows</b> were left out"));
    }

    #[test]
    fn no_rejects_are_no_section() {
        let report = Report { rejects: vec![reject("load.a", "no title", 0)], ..Report::default() };
        assert!(section(&report).is_none());
    }
}
