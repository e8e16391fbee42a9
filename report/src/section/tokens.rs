//! How long texts are, against what the model reads of them.

use super::Section;
use crate::data::{Report, TokenHistogram};
use crate::plot::{Plot, bar};
use crate::scale::{count_label, marks};
use crate::words::{count, counted, css, percent, share};

/// Bars at most: of more bins, neighbours are drawn as one.
const BARS: usize = 64;

pub fn section(report: &Report) -> Option<Section> {
    let tokens = report.tokens.as_ref()?;
    let texts: u64 = tokens.counts.iter().fold(0, |sum, count| sum.saturating_add(*count));
    if texts == 0 || tokens.bin_width == 0 {
        return None;
    }
    Section::half("tokens", "Length of texts", lead(tokens, texts) + &plot(tokens, texts).html())
}

fn lead(tokens: &TokenHistogram, texts: u64) -> String {
    let limit = counted(tokens.limit, "token", "tokens");
    if tokens.longer == 0 {
        return format!("<p>All {} fit the {limit} that the model reads.</p>", counted(texts, "text", "texts"));
    }
    let cut = share(tokens.longer as f64, texts as f64);
    format!(
        "<p><b>{}</b> of {} ({}) {} longer than the {limit} that the model reads: {} {} dropped.</p>",
        count(tokens.longer),
        counted(texts, "text", "texts"),
        percent(cut),
        if tokens.longer == 1 { "is" } else { "are" },
        counted(tokens.dropped, "token", "tokens"),
        if tokens.dropped == 1 { "was" } else { "were" },
    )
}

fn plot(tokens: &TokenHistogram, texts: u64) -> Plot {
    let (width, counts) = drawn(tokens);
    let end = (width * counts.len() as f64).max(tokens.limit as f64 * 1.02);
    let most = counts.iter().copied().max().unwrap_or(1) as f64;
    let top = most * 1.08;
    let limit = tokens.limit as f64;
    let mut drawing = String::new();
    for (index, texts) in counts.iter().enumerate() {
        let (from, to) = (index as f64 * width, (index + 1) as f64 * width);
        let said = format!("{} of {from:.0} to {:.0} tokens", counted(*texts, "text", "texts"), to - 1.0);
        for (class, from, to) in [("within", from, to.min(limit)), ("beyond", from.max(limit), to)] {
            if from < to && *texts > 0 {
                drawing.push_str(&bar(class, [from / end, to / end], *texts as f64 / top, &said));
            }
        }
    }
    let at = share(limit, end);
    let side = if at > 0.6 { "before" } else { "after" };
    Plot {
        label: format!(
            "Texts by their number of tokens; {} of {} are beyond the limit.",
            count(tokens.longer),
            count(texts)
        ),
        up: "texts",
        right: "tokens",
        up_marks: marks(top, 4)
            .into_iter()
            .filter(|mark| mark.fract() == 0.0)
            .map(|mark| (mark / top, count_label(mark)))
            .collect(),
        right_marks: marks(end, 6).into_iter().map(|mark| (mark / end, count_label(mark))).collect(),
        drawing,
        over: format!(
            "<span class=\"limit {side}\" style=\"left:{}\"><b>limit {}</b></span>",
            css(at),
            count(tokens.limit)
        ),
    }
}

/// The width and the counts of the bars.
fn drawn(tokens: &TokenHistogram) -> (f64, Vec<u64>) {
    let filled = tokens.counts.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    let together = filled.div_ceil(BARS).max(1);
    let sum = |some: &[u64]| some.iter().fold(0u64, |sum, count| sum.saturating_add(*count));
    ((tokens.bin_width as f64) * together as f64, tokens.counts[..filled].chunks(together).map(sum).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_bins_are_drawn_together_and_lose_no_text() {
        let tokens = TokenHistogram { bin_width: 8, counts: vec![1; 130], limit: 256, ..TokenHistogram::default() };
        let (width, counts) = drawn(&tokens);
        assert_eq!((width, counts.len(), counts.iter().sum::<u64>()), (24.0, 44, 130));
    }

    #[test]
    fn a_bar_across_the_limit_is_cut_there() {
        let tokens = TokenHistogram { bin_width: 100, counts: vec![0, 10, 10, 0], limit: 250, longer: 5, dropped: 60 };
        let plot = plot(&tokens, 20);
        assert_eq!((plot.drawing.matches("\"within\"").count(), plot.drawing.matches("\"beyond\"").count()), (2, 1));
    }

    #[test]
    fn the_share_beyond_the_limit_is_told() {
        let tokens =
            TokenHistogram { bin_width: 256, counts: vec![519, 381], limit: 256, longer: 381, dropped: 36_398 };
        let lead = lead(&tokens, 900);
        assert!(lead.contains("<b>381</b> of 900 texts (42.3 %)") && lead.contains("36,398 tokens were dropped"));
    }
}
