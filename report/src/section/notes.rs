//! What the user should know, told once where several steps say the same.

use super::Section;
use crate::data::Report;
use crate::escape::Escaped;

/// Steps that are named one by one; of more, the rest are counted.
const NAMED: usize = 6;

pub fn section(report: &Report) -> Option<Section> {
    let notes = gathered(report);
    if notes.is_empty() {
        return None;
    }
    let item = |(note, steps): &(&str, Vec<&str>)| {
        format!("<li>{}<p class=\"small\">{}</p></li>", Escaped(note), named(steps))
    };
    let items: String = notes.iter().map(item).collect();
    Section::wide("notes", "Notes", format!("<ul class=\"notes\">{items}</ul>"))
}

fn gathered(report: &Report) -> Vec<(&str, Vec<&str>)> {
    let mut notes: Vec<(&str, Vec<&str>)> = Vec::new();
    for note in &report.notes {
        match notes.iter_mut().find(|(known, _)| *known == note.note) {
            Some((_, steps)) => steps.push(&note.step),
            None => notes.push((&note.note, vec![&note.step])),
        }
    }
    notes
}

fn named(steps: &[&str]) -> String {
    let shown: Vec<String> = steps.iter().take(NAMED).map(|step| Escaped(step).to_string()).collect();
    let rest = steps.len().saturating_sub(NAMED);
    let rest = if rest > 0 { format!(" and {rest} more") } else { String::new() };
    format!("{}{rest}", shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Note;

    #[test]
    fn what_many_steps_note_is_told_once() {
        let note = |at: usize| Note { step: format!("load.a[{at}]"), note: "no record has `doi`".into() };
        let report = Report { notes: (0..9).map(note).collect(), ..Report::default() };
        let body = section(&report).unwrap().body;
        assert_eq!(body.matches("no record has").count(), 1);
        assert!(body.contains("load.a[5] and 3 more"));
        assert!(section(&Report::default()).is_none());
    }
}
