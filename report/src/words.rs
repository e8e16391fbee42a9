//! Numbers as people read them. Exact values stand in attributes and in the JSON.

/// With a comma between every three digits.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 text`, `2 texts`.
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A span of time, in the two largest units that say something.
pub fn duration(seconds: f64) -> String {
    let seconds = finite(seconds).max(0.0);
    if seconds < 0.9995 {
        return format!("{} ms", (seconds * 1000.0).round());
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min {:02} s", whole % 60),
        (0, _) => format!("{hours} h {minutes:02} min"),
        _ => format!("{days} d {hours:02} h"),
    }
}

/// A share of 0 to 1, in percent; what is little is not nothing, and what is not all is not 100.
pub fn percent(share: f64) -> String {
    let percent = finite(share).clamp(0.0, 1.0) * 100.0;
    match percent {
        p if p > 0.0 && p < 0.1 => "under 0.1 %".to_owned(),
        p if p < 100.0 && p > 99.9 => "over 99.9 %".to_owned(),
        p if p == 0.0 || p == 100.0 => format!("{p:.0} %"),
        p => format!("{p:.1} %"),
    }
}

/// Few digits where there is much before the point.
pub fn decimal(number: f64) -> String {
    let number = finite(number);
    if number.abs() >= 1000.0 {
        return count(number.abs().round() as u64);
    }
    let digits = if number == number.round() || number.abs() >= 100.0 { 0 } else { 1 };
    format!("{number:.digits$}")
}

/// Dollars, to the cent from ten cents on.
pub fn dollars(micro_usd: u64) -> String {
    if micro_usd >= 100_000 || micro_usd == 0 {
        let cents = (micro_usd + 5_000) / 10_000;
        return format!("${}.{:02}", count(cents / 100), cents % 100);
    }
    let digits = format!("{micro_usd:06}");
    format!("$0.{:0<2}", digits.trim_end_matches('0'))
}

/// A moment as a date and a time of day in UTC: `2026-03-04 12:34:56`.
pub fn moment(seconds: u64) -> String {
    let (year, month, day) = date(seconds / 86_400);
    let time = seconds % 86_400;
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", time / 3600, time / 60 % 60, time % 60)
}

/// Year, month and day of a day since 1970-01-01, after Howard Hinnant's `civil_from_days`.
fn date(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The number, or 0 where it is none.
pub fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { 0.0 }
}

/// The share of 0 to 1 that a part is of a whole; 0 where there is no whole.
pub fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { finite(part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// A share of 0 to 1 as CSS has it.
pub fn css(share: f64) -> String {
    let written = format!("{:.3}", finite(share) * 100.0);
    let short = written.trim_end_matches('0').trim_end_matches('.');
    format!("{}%", if short == "-0" { "0" } else { short })
}

/// The first characters of a text that is longer than so many, and three dots.
pub fn shortened(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let grouped: Vec<_> = [0, 999, 1000, 36_398, 1_234_567, u64::MAX].map(count).into();
        assert_eq!(grouped, ["0", "999", "1,000", "36,398", "1,234,567", "18,446,744,073,709,551,615"]);
        assert_eq!((counted(1, "text", "texts"), counted(2, "text", "texts")), ("1 text".into(), "2 texts".into()));
    }

    #[test]
    fn spans_of_time_round_within_their_unit() {
        let told = [0.0, 0.0421, 0.9996, 9.96, 59.94, 59.96, 252.0, 3599.6, 11_220.0, 190_000.0, -1.0, f64::NAN];
        let words = [
            "0 ms",
            "42 ms",
            "1.0 s",
            "10.0 s",
            "59.9 s",
            "1 min 00 s",
            "4 min 12 s",
            "1 h 00 min",
            "3 h 07 min",
            "2 d 04 h",
            "0 ms",
            "0 ms",
        ];
        assert_eq!(told.map(duration), words);
    }

    #[test]
    fn shares_are_never_more_than_they_are() {
        let told = [0.0, 0.0001, 0.4233, 0.9999, 1.0, 2.0, f64::NAN].map(percent);
        assert_eq!(told, ["0 %", "under 0.1 %", "42.3 %", "over 99.9 %", "100 %", "100 %", "0 %"]);
        assert_eq!([share(1.0, 4.0), share(1.0, 0.0), share(f64::NAN, 1.0)], [0.25, 0.0, 0.0]);
        assert_eq!([css(0.5), css(0.0), css(1.0 / 3.0), css(-0.0)], ["50%", "0%", "33.333%", "0%"]);
    }

    #[test]
    fn money_is_told_to_the_cent_where_there_are_cents() {
        let told = [0, 12, 20_000, 99_999, 100_000, 1_234_567, 1_234_567_890].map(dollars);
        assert_eq!(told, ["$0.00", "$0.000012", "$0.02", "$0.099999", "$0.10", "$1.23", "$1,234.57"]);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let told = [0, 951_782_400, 951_868_799, 1_709_210_096, 4_107_542_399].map(moment);
        let days = [
            "1970-01-01 00:00:00",
            "2000-02-29 00:00:00",
            "2000-02-29 23:59:59",
            "2024-02-29 12:34:56",
            "2100-02-28 23:59:59",
        ];
        assert_eq!(told, days);
    }

    #[test]
    fn long_texts_are_shortened_by_characters() {
        assert_eq!((shortened("αβγδ", 4), shortened("αβγδε", 4)), ("αβγδ".into(), "αβγ…".into()));
    }
}
