//! One record's stages, for people.

use std::collections::BTreeMap;

use crate::cli::DoorError;
use crate::cli::print::{printable, show};
use crate::graph::NodeKind;
use crate::stages::{Cut, Fate, Pick, Reading, Record, Stages, Step, Text, Window};

/// Characters shown of a line or a field; `--json` shows all.
const SHOWN_CHARACTERS: usize = 1200;
/// Characters shown on either side of a cut.
const AROUND_A_CUT: usize = 60;
/// Tokens shown of a window.
const SHOWN_TOKENS: usize = 60;

/// Prints what became of a record, stage by stage.
pub fn tell(stages: &Stages, pick: Pick, workflow: &str) -> Result<(), DoorError> {
    let Some(record) = &stages.record else {
        show(match pick {
            Pick::Named(bibcode) => format!("no record of {} has the bibcode {bibcode}", stages.steps[0].step),
            Pick::First | Pick::Random => format!("{} reads no record", stages.steps[0].step),
        })?;
        return tell_counts(stages, workflow);
    };
    show(headline(record, pick, stages))?;
    tell_record(record)?;
    if let Some(text) = &stages.text {
        tell_text(text, &step(stages, NodeKind::Prepare).step)?;
        if let (Some(text), Some(reading)) = (&text.text, &stages.reading) {
            tell_reading(text, reading, &step(stages, NodeKind::Embed).step)?;
        }
    }
    tell_counts(stages, workflow)
}

fn step(stages: &Stages, kind: NodeKind) -> &Step {
    stages.steps.iter().find(|step| step.kind == kind).expect("what a stage shows is of one of the steps")
}

fn headline(record: &Record, pick: Pick, stages: &Stages) -> String {
    let bibcode = record.bibcode.as_deref().unwrap_or("a record without a bibcode");
    let load = &stages.steps[0].step;
    match (&record.fate, pick) {
        (Fate::Taken, Pick::First) => {
            let passed: u64 = stages.passed.values().sum();
            let before = if passed == 0 { String::new() } else { format!(", after {}", counted(&stages.passed)) };
            format!("{bibcode}: the first record that {load} takes{before}")
        }
        (Fate::Taken, Pick::Random) => format!("{bibcode}: drawn from what {load} takes; --record shows it again"),
        (Fate::Taken, Pick::Named(_)) => format!("{bibcode}: taken by {load}"),
        (Fate::NotSelected { by }, _) => format!("{bibcode}: left out of {load} by `{by}`"),
        (Fate::BeyondLimit, _) => format!("{bibcode}: left out of {load}, beyond `limit`"),
        (Fate::Rejected { reason, detail }, _) => format!("{bibcode}: rejected by {load} as {reason}: {detail}"),
    }
}

fn counted(counts: &BTreeMap<&str, u64>) -> String {
    counts.iter().map(|(name, count)| format!("{count} {}", name.replace('_', " "))).collect::<Vec<_>>().join(", ")
}

fn tell_record(record: &Record) -> Result<(), DoorError> {
    let line = &record.line;
    show(format!("\nline {} of {}, {} bytes", line.line, line.file, line.bytes))?;
    show(indented(&shortened(&line.text)))?;
    for other in &record.others {
        show(format!(
            "  line {} of {} has this bibcode too, and does not count: {}",
            other.line, other.file, other.why
        ))?;
    }
    if record.fields.is_empty() {
        return Ok(());
    }
    show("\nrecord")?;
    let width = record.fields.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, texts) in &record.fields {
        let value = match texts.as_deref() {
            None => "(missing or null)".to_owned(),
            Some([]) => "(an empty list)".to_owned(),
            Some(texts) => texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "),
        };
        show(format!("  {name:width$}  {value}"))?;
    }
    if !record.aliases.is_empty() {
        show(format!("  aliases: {}", record.aliases.join(", ")))?;
    }
    Ok(())
}

fn tell_text(text: &Text, step: &str) -> Result<(), DoorError> {
    let Some(whole) = &text.text else {
        return show(format!("\ntext of {step}: none, so it is rejected as no_text"));
    };
    let cuts: String = text.cuts.iter().map(cut).collect();
    show(format!("\ntext of {step}, {} characters{cuts}", whole.chars().count()))?;
    show(indented(&shortened(whole)))
}

fn cut(Cut { field, limit }: &Cut) -> String {
    match field {
        Some(field) => format!(", `{field}` cut to {limit} at most by `{{{field}:{limit}}}`"),
        None => format!(", cut to {limit} at most by `truncate`"),
    }
}

fn tell_reading(text: &str, reading: &Reading, step: &str) -> Result<(), DoorError> {
    let read: usize = reading.windows.iter().map(|window| window.tokens.len()).sum();
    let Reading { model, max_length, windows, tokens_dropped } = reading;
    let told = match (windows.len(), tokens_dropped) {
        (1, 0) => format!("{read} tokens, all of them read"),
        (1, dropped) => format!("{read} tokens read, {dropped} dropped"),
        (windows, _) => format!("{read} tokens read in {windows} windows"),
    };
    show(format!("\ntokens of {step}: {told} (at most {max_length} at a time, by {model})"))?;
    for window in windows {
        show(format!("  {}", tokens(window)))?;
        if windows.len() > 1 || *tokens_dropped > 0 {
            show(format!("  read to here: {}", around(text, window.end)))?;
        }
        if window.start > 0 {
            show(format!("  read from here: {}", around(text, window.start)))?;
        }
    }
    Ok(())
}

/// The first and the last tokens.
fn tokens(window: &Window) -> String {
    let shown: Vec<String> = window.tokens.iter().map(|token| printable(token)).collect();
    if shown.len() <= SHOWN_TOKENS {
        return shown.join(" ");
    }
    let (first, last) = (&shown[..SHOWN_TOKENS - 10], &shown[shown.len() - 10..]);
    format!("{} … {}", first.join(" "), last.join(" "))
}

/// The text on both sides of a byte, with a bar between.
fn around(text: &str, at: usize) -> String {
    let (before, after) = text.split_at(text.floor_char_boundary(at));
    let start = before.char_indices().rev().nth(AROUND_A_CUT - 1).map_or(0, |(start, _)| start);
    let end = after.char_indices().nth(AROUND_A_CUT).map_or(after.len(), |(end, _)| end);
    let more = |is_more: bool| if is_more { "…" } else { "" };
    let (before, after) = (printable(&before[start..]), printable(&after[..end]));
    format!("{}{before}|{after}{}", more(start > 0), more(end < text.len() - at))
}

/// What was counted when the steps were applied last.
fn tell_counts(stages: &Stages, workflow: &str) -> Result<(), DoorError> {
    show("")?;
    if stages.steps.iter().all(|step| step.counts.is_none()) {
        return show("nothing of this was applied yet, so nothing is counted");
    }
    for Step { kind, step, counts } in &stages.steps {
        let Some(counts) = counts else {
            show(format!("{step} was not applied yet"))?;
            continue;
        };
        let count = |name: &str| counts.get(name).copied().unwrap_or(0);
        match kind {
            NodeKind::Load | NodeKind::Prepare => {
                let mut told = format!("{step}, as applied last: {} of {} kept", count("rows"), count("rows_in"));
                for (name, words) in [("not_selected", "not selected"), ("beyond_limit", "beyond the limit")] {
                    told.push_str(&some(count(name), words));
                }
                told.push_str(&some(count("truncated"), "cut short"));
                let rejected = counts.iter().filter_map(|(name, count)| Some((name.strip_prefix("rejected.")?, count)));
                for (reason, count) in rejected {
                    told.push_str(&format!(", {count} rejected as {reason}"));
                }
                show(told)?;
                if count("rejected") > 0 {
                    show(format!("  list them: sciembed peek {workflow} '{step}' rejects"))?;
                }
            }
            NodeKind::Embed => {
                let (rows, truncated) = (count("rows"), count("truncated"));
                let (read, dropped) = (count("tokens"), count("tokens_dropped"));
                let part = if rows == 0 { 0.0 } else { 100.0 * truncated as f64 / rows as f64 };
                let told = match truncated {
                    0 => format!("{read} tokens, all of them read"),
                    _ => format!(
                        "{truncated} of them ({part:.0} %) longer than the model reads, {dropped} of {} tokens dropped",
                        read + dropped
                    ),
                };
                let windowed = some(count("windowed"), "of them in several windows");
                show(format!("{step}, as applied last: {rows} texts{windowed}, {told}"))?;
            }
            NodeKind::Persist | NodeKind::Merge => {}
        }
    }
    Ok(())
}

fn some(count: u64, words: &str) -> String {
    if count == 0 { String::new() } else { format!(", {count} {words}") }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(&shortened(text)))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{} … ({} characters in all)", &text[..end], text.chars().count()),
        None => text.to_owned(),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {}", printable(line)).trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
