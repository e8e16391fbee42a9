//! The page as a whole: that it is well-formed and harmless whatever the data, and that it says what the data says.

#[path = "page/markup.rs"]
mod markup;
#[path = "page/reports.rs"]
mod reports;

use markup::{Markup, read};
use reports::{full, hostile, with_steps};
use sciembed_report::{Cost, Map, Pace, Point, Report, Reuse, State};

/// The report that a page holds as JSON.
fn held(page: &Markup) -> Report {
    serde_json::from_str(&page.data).expect("the JSON of a page is a report")
}

#[test]
fn the_json_of_a_page_is_its_report() {
    for report in [Report::default(), full(), hostile(), with_steps(30)] {
        assert_eq!(held(&read(&report.html())), report);
    }
}

#[test]
fn pages_are_well_formed() {
    for report in [Report::default(), full(), hostile(), with_steps(0), with_steps(1), with_steps(30)] {
        let page = read(&report.html());
        assert!(page.links.iter().all(|id| page.ids.contains_key(id)), "{:?}", page.links);
    }
}

#[test]
fn text_from_data_makes_no_markup() {
    let (tame, wild) = (read(&full().html()), read(&hostile().html()));
    assert_eq!(tame.tags, wild.tags);
    assert!(!wild.tags.contains_key("img"));
    assert_eq!(wild.tags["script"], 2);
}

#[test]
fn a_page_asks_for_nothing() {
    let html = full().html();
    let page = read(&html);
    let outside = |address: &&String| !address.starts_with('#') && *address != "data:,";
    assert!(page.addresses.iter().filter(outside).all(|to| to.starts_with("https://ui.adsabs.harvard.edu/abs/")));
    for tag in ["img", "iframe", "object", "embed", "audio", "video", "base", "form"] {
        assert!(!page.tags.contains_key(tag), "{tag}");
    }
    assert_eq!(page.tags["link"], 1);
    assert!(html.contains("default-src 'none'"));
    assert!(!html.contains("@import") && !html.contains("url("));
}

#[test]
fn the_numbers_at_the_top_are_those_of_the_report() {
    let report = Report {
        seconds: 12.75,
        pace: Some(Pace { rows: 1_000, seconds: 8.0 }),
        reuse: Reuse { embedded: 1_234_567, reused: 89, removed: 7 },
        cost: Some(Cost { micro_usd: 1_250_000, ..Cost::default() }),
        ..full()
    };
    let page = read(&report.html());
    let rejected: u64 = report.rejects.iter().map(|reject| reject.rows).sum();
    let told = [
        ("outcome", "failed"),
        ("embedded", "1234567"),
        ("reused", "89"),
        ("removed", "7"),
        ("rejected", &rejected.to_string()),
        ("seconds", "12.75"),
        ("papers-per-second", "125"),
        ("micro-usd", "1250000"),
    ];
    for (id, value) in told {
        assert_eq!(page.ids[id].as_deref(), Some(value), "{id}");
    }
    for read in [">1,234,567<", ">12.8 s<", ">$1.25<"] {
        assert!(report.html().contains(read), "{read}");
    }
}

#[test]
fn what_is_not_there_is_not_shown() {
    let page = read(&Report::default().html());
    assert!(!page.tags.contains_key("section") && !page.tags.contains_key("nav") && !page.tags.contains_key("svg"));
    assert_eq!(page.ids["embedded"].as_deref(), Some("0"));
    assert!(!page.ids.contains_key("papers-per-second") && !page.ids.contains_key("micro-usd"));
    let all = read(&full().html());
    let sections = [
        "failures",
        "pipeline",
        "time",
        "throughput",
        "tokens",
        "reuse",
        "cost",
        "rejects",
        "indexes",
        "map",
        "notes",
        "overrides",
        "machine",
        "steps",
    ];
    assert_eq!(all.tags["section"], sections.len());
    for section in sections {
        assert!(all.ids.contains_key(section), "{section}");
    }
}

#[test]
fn every_step_is_told_whatever_is_drawn() {
    for years in [1, 5, 30] {
        let report = with_steps(years);
        let html = report.html();
        assert!(report.steps.iter().all(|step| html.contains(&format!("<th scope=\"row\">{}</th>", step.id))));
    }
}

#[test]
fn the_same_report_gives_the_same_bytes() {
    assert_eq!(full().html(), full().html());
}

#[test]
fn numbers_that_are_none_break_nothing() {
    let mut report = full();
    report.seconds = f64::NAN;
    report.steps[0].begin = Some(f64::INFINITY);
    report.steps[1].end = Some(f64::NAN);
    report.throughput[1].seconds = f64::NEG_INFINITY;
    report.indexes[0].recall_at_10 = Some(f64::NAN);
    report.map = Some(Map { points: vec![Point { x: f32::NAN, ..Point::default() }], explained: [f64::NAN, 2.0] });
    let html = report.html();
    read(&html);
    let shown = &html[..html.find("application/json").unwrap()];
    assert!(!shown.contains("NaN") && !shown.contains("inf%"));
}

#[test]
fn a_run_in_which_nothing_was_to_be_done_says_so() {
    let mut report = with_steps(2);
    report.steps.iter_mut().for_each(|step| (step.state, step.begin, step.end) = (State::Fresh, None, None));
    assert!(report.html().contains("Nothing was to be done"));
    assert!(!read(&report.html()).ids.contains_key("time"));
}
