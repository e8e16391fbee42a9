//! Whether a text is one statement that only reads. The catalog is opened for reading, but DuckDB could still write other files,
//! by `COPY` or in a database that is attached.

/// Words that a reading statement begins with.
const READING: [&str; 11] =
    ["SELECT", "FROM", "WITH", "VALUES", "TABLE", "DESCRIBE", "DESC", "SHOW", "SUMMARIZE", "PIVOT", "UNPIVOT"];

/// Why a text is refused; none if it is one statement that only reads.
pub fn refusal(sql: &str) -> Option<&'static str> {
    let bare = bare(sql);
    let mut words = bare.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default().to_uppercase();
    let second = words.next().unwrap_or_default().to_uppercase();
    let statement = if first == "EXPLAIN" && second != "ANALYZE" { &second } else { &first };
    if bare.trim_end_matches(|c: char| c == ';' || c.is_whitespace()).contains(';') {
        return Some("one statement at a time is asked");
    }
    (!READING.contains(&statement.as_str())).then_some("the catalog only answers questions, such as SELECT and FROM")
}

/// The text without what stands in quotes, dollar quotes and comments, each of which becomes a blank.
fn bare(sql: &str) -> String {
    let mut rest = sql;
    let mut bare = String::new();
    while let Some(first) = rest.chars().next() {
        let skipped = match rest.as_bytes() {
            [b'-', b'-', ..] => rest.find('\n').unwrap_or(rest.len()),
            [b'/', b'*', ..] => rest[2..].find("*/").map_or(rest.len(), |at| at + 4),
            [quote @ (b'\'' | b'"'), ..] => rest[1..].find(char::from(*quote)).map_or(rest.len(), |at| at + 2),
            [b'$', ..] => dollar_quoted(rest),
            _ => 0,
        };
        if skipped > 0 {
            bare.push(' ');
            rest = &rest[skipped..];
        } else {
            bare.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    bare
}

/// Bytes of a text in dollar quotes, `$$text$$` or `$tag$text$tag$`, that begins here; 0 if none does.
fn dollar_quoted(text: &str) -> usize {
    let Some(end) = text[1..].find('$').map(|at| at + 2) else { return 0 };
    let tag = &text[..end];
    if !tag[1..end - 1].chars().all(|c| c.is_alphanumeric() || c == '_') {
        return 0;
    }
    text[end..].find(tag).map_or(text.len(), |at| end + at + tag.len())
}

#[cfg(test)]
mod tests {
    use super::refusal;

    #[test]
    fn questions_are_asked_and_nothing_else() {
        for sql in [
            "SELECT 1",
            "  (SELECT ';') ;",
            "-- COPY\nFROM papers;",
            "/* ; */ WITH a AS (SELECT 1) FROM a",
            "SELECT $$ ; COPY $$, $t$;$t$",
            "EXPLAIN SELECT 'it''s; fine'",
            "describe papers",
        ] {
            assert_eq!(refusal(sql), None, "{sql}");
        }
        for sql in [
            "COPY papers TO 'x'",
            "SELECT 1; COPY papers TO 'x'",
            "EXPLAIN ANALYZE COPY papers TO 'x'",
            "ATTACH 'x'",
            "SET threads = 1",
            "PRAGMA profiling_output='x'",
            "INSTALL httpfs",
            "EXPORT DATABASE 'x'",
            "SELECT '$$'; COPY papers TO '$$'",
            "PREPARE p AS COPY papers TO 'x'",
            "",
        ] {
            assert!(refusal(sql).is_some(), "{sql}");
        }
    }
}
