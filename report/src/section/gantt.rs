//! When each step ran: a row for each, or for each node that opens to its steps where there are very many.

use super::Section;
use crate::data::{Report, State, Step};
use crate::escape::Escaped;
use crate::groups::{Group, by_node, instances, kind_word, span, state_words};
use crate::scale::{time_label, time_marks};
use crate::words::{counted, css, duration, finite, share};

/// Steps that have a row each; of more, the rows of a node are shown when it is opened.
const ROWS: usize = 60;
/// Rows in which a node's steps are drawn below each other at most, where they ran side by side.
const LANES: usize = 6;

pub fn section(report: &Report) -> Option<Section> {
    let timed = timed(report);
    if timed.is_empty() {
        return None;
    }
    let chart = Chart { end: timed.iter().map(|timed| timed.end).fold(finite(report.seconds), f64::max), report };
    let rows = if timed.len() > ROWS { chart.nodes(&timed) } else { chart.rows(&timed) };
    let body = format!(
        "<div class=\"gantt scroll-down\" tabindex=\"0\" role=\"group\" aria-label=\"Steps by time\">{}<ol>{rows}</ol></div>{}",
        chart.marks(),
        still((report.steps.len() - timed.len()) as u64),
    );
    Section::wide("time", "Time", body)
}

/// A step and when it ran.
#[derive(Clone, Copy)]
struct Timed {
    index: usize,
    begin: f64,
    end: f64,
}

/// The steps that ran, by when they began.
fn timed(report: &Report) -> Vec<Timed> {
    let of = |(index, step)| span(step, report.seconds).map(|(begin, end)| Timed { index, begin, end });
    let mut timed: Vec<Timed> = report.steps.iter().enumerate().filter_map(of).collect();
    timed.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    timed
}

fn still(steps: u64) -> String {
    if steps == 0 {
        return String::new();
    }
    format!("<p class=\"small\">{} did not run: fresh, or not reached.</p>", counted(steps, "step", "steps"))
}

struct Chart<'a> {
    report: &'a Report,
    /// Seconds at the right end.
    end: f64,
}

impl Chart<'_> {
    fn marks(&self) -> String {
        let mark = |(index, at): (usize, f64)| {
            let odd = if index % 2 == 1 { " class=\"odd\"" } else { "" };
            format!("<i{odd} style=\"left:{}\"><b>{}</b></i>", css(share(at, self.end)), time_label(at))
        };
        let marks: String = time_marks(self.end, 8).into_iter().enumerate().map(mark).collect();
        format!("<div class=\"marks\" aria-hidden=\"true\"><div>{marks}</div></div>")
    }

    fn rows(&self, timed: &[Timed]) -> String {
        timed.iter().map(|timed| self.row(timed)).collect()
    }

    fn row(&self, timed: &Timed) -> String {
        let step = &self.report.steps[timed.index];
        format!(
            "<li><div class=\"row\"><span class=\"name\" title=\"{0}\">{0}</span><span class=\"track\">{1}</span>{2}</div></li>",
            Escaped(&step.id),
            self.bar(timed, [0, 1]),
            took(step, timed)
        )
    }

    fn bar(&self, timed: &Timed, [lane, lanes]: [usize; 2]) -> String {
        let step = &self.report.steps[timed.index];
        let (left, width) = (css(share(timed.begin, self.end)), css(share(timed.end - timed.begin, self.end)));
        let (top, height) = (css(share(lane as f64, lanes as f64)), css(share(1.0, lanes as f64)));
        let lane = if lanes > 1 { format!(";top:{top};height:{height}") } else { String::new() };
        format!(
            "<i class=\"{} {}\" style=\"left:{left};width:{width}{lane}\" title=\"{}: {} to {}\"></i>",
            kind_word(step.kind),
            state_words(step.state).0,
            Escaped(&step.id),
            duration(timed.begin),
            duration(timed.end),
        )
    }

    fn nodes(&self, timed: &[Timed]) -> String {
        let own = |group: &Group<'_>| -> Vec<Timed> {
            timed.iter().copied().filter(|timed| group.members.contains(&timed.index)).collect()
        };
        let groups = by_node(&self.report.steps);
        let mut nodes: Vec<(&str, Vec<Timed>)> = groups.iter().map(|group| (group.node, own(group))).collect();
        nodes.retain(|(_, own)| !own.is_empty());
        nodes.sort_by(|a, b| a.1[0].begin.total_cmp(&b.1[0].begin));
        nodes.iter().map(|(node, own)| self.node(node, own)).collect()
    }

    /// A row for a node, which opens to those of its steps.
    fn node(&self, node: &str, own: &[Timed]) -> String {
        if own.len() == 1 {
            return self.rows(own);
        }
        let (taken, count) = lanes(own);
        let bars: String = own.iter().zip(&taken).map(|(timed, lane)| self.bar(timed, [*lane, count])).collect();
        let members: Vec<usize> = own.iter().map(|timed| timed.index).collect();
        let failed = members.iter().filter(|index| self.report.steps[**index].state == State::Failed).count();
        let failed = if failed > 0 { format!(" <em class=\"failed\">{failed} failed</em>") } else { String::new() };
        format!(
            "<li><details><summary class=\"row\"><span class=\"name\" title=\"{0}\">{0} <small>{1}</small></span>\
             <span class=\"track\">{bars}</span><span class=\"took\">{2}{failed}</span></summary><ol>{3}</ol></details></li>",
            Escaped(node),
            instances(&self.report.steps, &members),
            duration(own.iter().map(|timed| timed.end - timed.begin).sum()),
            self.rows(own),
        )
    }
}

fn took(step: &Step, timed: &Timed) -> String {
    let (class, word) = state_words(step.state);
    let word = if step.state == State::Ran { String::new() } else { format!(" <em class=\"{class}\">{word}</em>") };
    let (took, begin) = (duration(timed.end - timed.begin), duration(timed.begin));
    format!("<span class=\"took\">{took}{word}<span class=\"unseen\">, from {begin} on</span></span>")
}

/// For steps by when they began: the first lane that is free for each, and how many lanes there are.
fn lanes(own: &[Timed]) -> (Vec<usize>, usize) {
    let mut ends: Vec<f64> = Vec::new();
    let mut taken = Vec::with_capacity(own.len());
    for timed in own {
        let free = ends.iter().position(|end| *end <= timed.begin).unwrap_or_else(|| {
            // Beyond the last lane bars lie on each other rather than becoming too thin to see.
            if ends.len() < LANES {
                ends.push(0.0);
            }
            ends.len() - 1
        });
        ends[free] = ends[free].max(timed.end);
        taken.push(free);
    }
    (taken, ends.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    fn steps(count: usize) -> Report {
        let step = |at: usize| Step {
            id: format!("load.a[{}]", 2000 + at),
            node: "load.a".into(),
            state: State::Ran,
            begin: Some(at as f64),
            end: Some(at as f64 + 2.0),
            ..Step::default()
        };
        Report { seconds: count as f64 + 2.0, steps: (0..count).map(step).collect(), ..Report::default() }
    }

    #[test]
    fn steps_side_by_side_are_drawn_in_lanes() {
        let spans = [[0.0, 2.0], [1.0, 3.0], [2.0, 4.0], [2.5, 3.0]];
        let own = spans.map(|[begin, end]| Timed { index: 0, begin, end });
        assert_eq!(lanes(&own), (vec![0, 1, 0, 2], 3));
        assert_eq!(lanes(&[Timed { index: 0, begin: 0.0, end: 1.0 }; 20]).1, LANES);
    }

    #[test]
    fn many_steps_are_behind_their_node() {
        let few = section(&steps(60)).unwrap().body;
        assert_eq!((few.matches("<details>").count(), few.matches("class=\"row\"").count()), (0, 60));
        let many = section(&steps(61)).unwrap().body;
        assert_eq!((many.matches("<details>").count(), many.matches("class=\"row\"").count()), (1, 62));
    }

    #[test]
    fn a_bar_stands_where_its_step_ran() {
        let body = section(&steps(2)).unwrap().body;
        assert!(body.contains("left:25%;width:50%"), "{body}");
    }

    #[test]
    fn without_times_there_is_no_chart() {
        let fresh = Report { steps: vec![Step::default()], ..Report::default() };
        assert!(section(&fresh).is_none());
    }
}
