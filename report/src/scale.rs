//! Where an axis has its marks.

use super::words::{count, finite};

/// Steps between marks that people count time in, in seconds.
const TIMES: [f64; 24] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    900.0, 1800.0, 3600.0, 7200.0, 10_800.0,
];

/// Marks from 0 up to `end`, at steps of 1, 2 or 5 times a power of ten, `most` at most beside the one at 0.
pub fn marks(end: f64, most: usize) -> Vec<f64> {
    let end = finite(end);
    if end <= 0.0 {
        return vec![0.0];
    }
    let least = end / most.max(1) as f64;
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= least * 0.999_999);
    every(step.unwrap_or(10.0 * power), end)
}

/// Marks from 0 up to `end` seconds, at steps that people count time in.
pub fn time_marks(end: f64, most: usize) -> Vec<f64> {
    let end = finite(end);
    let least = end / most.max(1) as f64;
    let known = TIMES.into_iter().find(|step| *step >= least);
    let hours = |most_hours: f64| {
        [6.0, 12.0, 24.0].into_iter().find(|h| *h >= most_hours).unwrap_or((most_hours / 24.0).ceil() * 24.0)
    };
    every(known.unwrap_or_else(|| hours(least / 3600.0) * 3600.0), end)
}

fn every(step: f64, end: f64) -> Vec<f64> {
    let last = (end / step * (1.0 + 1e-9)).floor() as usize;
    (0..=last).map(|index| index as f64 * step).collect()
}

/// A mark of time: as short as it can be.
pub fn time_label(seconds: f64) -> String {
    let round = |number: f64| format!("{}", (number * 1000.0).round() / 1000.0);
    match seconds {
        0.0 => "0".to_owned(),
        s if s < 60.0 => format!("{} s", round(s)),
        s if s < 3600.0 && s % 60.0 == 0.0 => format!("{} min", s / 60.0),
        s if s < 3600.0 => format!("{}:{:02}", (s / 60.0).floor(), s % 60.0),
        s if s % 3600.0 == 0.0 => format!("{} h", s / 3600.0),
        s => format!("{} h {:02}", (s / 3600.0).floor(), (s % 3600.0 / 60.0).round()),
    }
}

/// A mark of anything that is counted.
pub fn count_label(number: f64) -> String {
    if number >= 1.0 || number == 0.0 {
        let whole = number.round();
        return if (number - whole).abs() < 1e-9 { count(whole as u64) } else { format!("{number}") };
    }
    format!("{}", (number * 1e6).round() / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_few_and_round() {
        assert_eq!(marks(92.2, 5), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(marks(100.0, 5), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(marks(1.0, 4), [0.0, 0.5, 1.0]);
        assert_eq!((marks(0.0, 5), marks(f64::NAN, 5)), (vec![0.0], vec![0.0]));
        for end in [1e-9, 0.3, 7.0, 99.0, 1e4, 3.3e12] {
            let count = marks(end, 5).len();
            assert!((2..=6).contains(&count), "{end}: {count}");
        }
    }

    #[test]
    fn time_is_counted_in_its_own_units() {
        assert_eq!(time_marks(252.0, 6), [0.0, 60.0, 120.0, 180.0, 240.0]);
        assert_eq!(time_marks(40_000.0, 6), [0.0, 7200.0, 14_400.0, 21_600.0, 28_800.0, 36_000.0]);
        let labels = [0.0, 0.05, 30.0, 90.0, 300.0, 5400.0, 7200.0].map(time_label);
        assert_eq!(labels, ["0", "0.05 s", "30 s", "1:30", "5 min", "1 h 30", "2 h"]);
        for end in [0.004, 3.0, 61.0, 4000.0, 90_000.0, 3e6] {
            assert!((2..=8).contains(&time_marks(end, 7).len()), "{end}");
        }
    }
}
