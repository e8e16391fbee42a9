//! Papers per second over the run, from how many were embedded by when.

use super::Section;
use crate::data::{Progress, Report};
use crate::plot::{Plot, bar};
use crate::scale::{count_label, marks, time_label, time_marks};
use crate::words::{css, decimal, duration, finite, share};

/// Bars at most.
const BARS: usize = 60;

/// Papers per second: what embedders computed in their own time, or else from the first to the last that was told.
pub fn papers_per_second(report: &Report) -> Option<f64> {
    if let Some(pace) = report.pace {
        return (pace.rows > 0 && pace.seconds > 0.0).then(|| finite(pace.rows as f64 / pace.seconds));
    }
    let told = in_order(&report.throughput);
    let [first, .., last] = told.as_slice() else { return None };
    let rows = last.rows - first.rows;
    (rows > 0 && last.seconds > first.seconds).then(|| rows as f64 / (last.seconds - first.seconds))
}

pub fn section(report: &Report) -> Option<Section> {
    let told = in_order(&report.throughput);
    let [first, .., last] = told.as_slice() else { return None };
    let (begin, end) = (first.seconds, last.seconds);
    let rates = rates(&told, BARS.min(told.len() - 1));
    let peak = rates.iter().copied().fold(0.0, f64::max);
    let mean = papers_per_second(report)?;
    if peak <= 0.0 {
        return None;
    }
    let top = peak.max(mean) * 1.08;
    let width = (end - begin) / rates.len() as f64;
    let bars = rates.iter().enumerate().map(|(index, rate)| {
        let from = begin + width * index as f64;
        let said = format!("{} papers/s from {} to {}", decimal(*rate), duration(from), duration(from + width));
        bar("rate", [share(from, end), share(from + width, end)], rate / top, &said)
    });
    let plot = Plot {
        label: format!("Papers per second: {} on average, {} at most.", decimal(mean), decimal(peak)),
        up: "papers/s",
        right: "since the run began",
        up_marks: marks(top, 4).into_iter().map(|mark| (mark / top, count_label(mark))).collect(),
        right_marks: time_marks(end, 6).into_iter().map(|mark| (share(mark, end), time_label(mark))).collect(),
        drawing: bars.collect(),
        over: format!("<span class=\"level\" style=\"bottom:{}\"></span>", css(mean / top)),
    };
    let lead = format!("<p><b>{} papers/s</b> on average (the line), {} at most.</p>", decimal(mean), decimal(peak));
    Section::half("throughput", "Throughput", lead + &plot.html())
}

/// What was told, by time; counts that fall back, which a run's do not, stay where they were.
fn in_order(told: &[Progress]) -> Vec<Progress> {
    let mut told: Vec<Progress> =
        told.iter().copied().filter(|at| at.seconds.is_finite() && at.seconds >= 0.0).collect();
    told.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    for index in 1..told.len() {
        told[index].rows = told[index].rows.max(told[index - 1].rows);
    }
    told
}

/// Rows per second in so many equal parts of the time; between two counts rows are taken to come evenly.
fn rates(told: &[Progress], parts: usize) -> Vec<f64> {
    let (begin, end) = (told[0].seconds, told[told.len() - 1].seconds);
    let width = (end - begin) / parts as f64;
    let edge = |index: usize| rows_at(told, begin + width * index as f64);
    (0..parts).map(|index| finite((edge(index + 1) - edge(index)) / width).max(0.0)).collect()
}

fn rows_at(told: &[Progress], seconds: f64) -> f64 {
    let after = told.partition_point(|at| at.seconds <= seconds);
    let Some(before) = after.checked_sub(1).map(|index| told[index]) else { return told[0].rows as f64 };
    let Some(next) = told.get(after) else { return before.rows as f64 };
    let part = (seconds - before.seconds) / (next.seconds - before.seconds);
    before.rows as f64 + part * (next.rows - before.rows) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Pace;

    fn told(at: &[(f64, u64)]) -> Vec<Progress> {
        at.iter().map(|(seconds, rows)| Progress { seconds: *seconds, rows: *rows }).collect()
    }

    #[test]
    fn rates_add_up_to_what_was_embedded() {
        let told = told(&[(1.0, 0), (2.0, 10), (4.0, 70), (9.0, 100)]);
        assert_eq!(rates(&told, 8), [10.0, 30.0, 30.0, 6.0, 6.0, 6.0, 6.0, 6.0]);
        let sum: f64 = rates(&told, 3).iter().map(|rate| rate * 8.0 / 3.0).sum();
        assert!((sum - 100.0).abs() < 1e-9);
    }

    #[test]
    fn disorder_is_put_in_order() {
        let told = in_order(&told(&[(3.0, 5), (1.0, 7), (f64::NAN, 9), (-1.0, 3)]));
        assert_eq!(told.iter().map(|at| (at.seconds, at.rows)).collect::<Vec<_>>(), [(1.0, 7), (3.0, 7)]);
    }

    #[test]
    fn the_pace_of_embedders_comes_first() {
        let mut report = Report { throughput: told(&[(1.0, 0), (5.0, 100)]), ..Report::default() };
        assert_eq!(papers_per_second(&report), Some(25.0));
        report.pace = Some(Pace { rows: 100, seconds: 2.0 });
        assert_eq!(papers_per_second(&report), Some(50.0));
        assert_eq!(papers_per_second(&Report::default()), None);
    }

    #[test]
    fn a_moment_is_no_span() {
        let report = Report { throughput: told(&[(1.0, 0), (1.0, 100)]), ..Report::default() };
        assert!(section(&report).is_none());
    }
}
