//! What an API was asked and paid.

use super::Section;
use crate::data::{Cost, Report};
use crate::words::{count, dollars};

pub fn section(report: &Report) -> Option<Section> {
    let Cost { requests, failed, tokens, micro_usd } = report.cost?;
    let price = if micro_usd == 0 { "no price known".to_owned() } else { dollars(micro_usd) };
    let mut lines = vec![("Paid", price)];
    if micro_usd > 0 && tokens > 0 {
        lines.push(("Per million tokens", dollars(per_million(micro_usd, tokens))));
    }
    lines.extend([("Tokens", count(tokens)), ("Requests", count(requests)), ("Failed requests", count(failed))]);
    let lines: String = lines
        .iter()
        .map(|(name, value)| format!("<tr><th scope=\"row\">{name}</th><td class=\"number\">{value}</td></tr>"))
        .collect();
    Section::half("cost", "Cost", format!("<table class=\"plain\"><tbody>{lines}</tbody></table>"))
}

fn per_million(micro_usd: u64, tokens: u64) -> u64 {
    (micro_usd as f64 / tokens as f64 * 1e6).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_that_is_not_known_is_not_nothing() {
        let cost = Cost { requests: 3, failed: 1, tokens: 2_000_000, micro_usd: 0 };
        let body =
            |micro_usd| section(&Report { cost: Some(Cost { micro_usd, ..cost }), ..Report::default() }).unwrap().body;
        assert!(body(0).contains("no price known") && !body(0).contains('$'));
        assert!(body(260_000).contains("$0.26") && body(260_000).contains("$0.13"));
    }
}
