//! Every step in words: what became of it, why it ran, and what it counted.

use super::Section;
use crate::data::{Report, Step};
use crate::escape::Escaped;
use crate::groups::{span, state_words};
use crate::words::{count, counted, duration};

/// Steps that are shown without being asked for.
const OPEN: usize = 16;

pub fn section(report: &Report) -> Option<Section> {
    if report.steps.is_empty() {
        return None;
    }
    let rows: String = report.steps.iter().map(|step| row(step, report.seconds)).collect();
    let all = counted(report.steps.len() as u64, "step", "steps");
    let open = if report.steps.len() <= OPEN { " open" } else { "" };
    let body = format!(
        "<details class=\"steps\"{open}><summary>{all}</summary><table class=\"cards\"><thead><tr><th scope=\"col\">Step</th>\
         <th scope=\"col\">State</th><th scope=\"col\">Why it ran</th><th scope=\"col\" class=\"number\">Rows</th>\
         <th scope=\"col\" class=\"number\">Time</th><th scope=\"col\">Counts</th></tr></thead><tbody>{rows}</tbody></table></details>"
    );
    Section::wide("steps", "Steps", body)
}

fn row(step: &Step, run_seconds: f64) -> String {
    let (class, state) = state_words(step.state);
    let time = span(step, run_seconds).map_or_else(String::new, |(begin, end)| duration(end - begin));
    let cell = |label: &str, class: &str, value: &str| {
        let value = if value.is_empty() { String::new() } else { format!(" data-label=\"{label}\">{value}") };
        if value.is_empty() {
            format!("<td class=\"{class}\"></td>")
        } else {
            format!("<td class=\"{class}\"{value}</td>")
        }
    };
    format!(
        "<tr><th scope=\"row\">{}</th><td><span class=\"state {class}\">{state}</span></td>{}{}{}{}</tr>",
        Escaped(&step.id),
        cell("why", "", &Escaped(&step.reason).to_string()),
        cell("rows", "number", &rows(step)),
        cell("time", "number", &time),
        cell("counts", "small", &counts(step)),
    )
}

fn rows(step: &Step) -> String {
    match (step.rows_in, step.rows) {
        (Some(read), Some(made)) if read != made => format!("{} → {}", count(read), count(made)),
        (_, Some(made)) => count(made),
        (Some(read), None) => format!("{} read", count(read)),
        (None, None) => String::new(),
    }
}

fn counts(step: &Step) -> String {
    let told = |(name, number): (&String, &u64)| format!("{} {}", Escaped(&name.replace('_', " ")), count(*number));
    let told: Vec<String> = step.counts.iter().filter(|(_, number)| **number > 0).map(told).collect();
    told.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_told_once_where_none_was_lost() {
        let step = |rows_in, rows| Step { rows_in, rows, ..Step::default() };
        let told = [(Some(9), Some(9)), (Some(9), Some(8)), (None, Some(8)), (Some(9), None), (None, None)];
        assert_eq!(told.map(|(read, made)| rows(&step(read, made))), ["9", "9 → 8", "8", "9 read", ""]);
    }

    #[test]
    fn a_few_steps_are_open() {
        let report = |count| Report { steps: vec![Step::default(); count], ..Report::default() };
        assert!(section(&report(OPEN)).unwrap().body.contains(" open>"));
        assert!(!section(&report(OPEN + 1)).unwrap().body.contains(" open>"));
    }
}
