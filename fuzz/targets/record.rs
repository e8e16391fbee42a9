//! The text of one record: the fast way finds what the careful one finds, and refuses in its words.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use sciembed::source::record::{Wanted, parse, parse_carefully};

/// Fields at the top, and others that paths lead to.
static FIELDS: LazyLock<Vec<String>> =
    LazyLock::new(|| ["title", "abstract", "a.0", "a.b.1", "abstract.x"].map(str::to_owned).into());

fuzz_target!(|text: &[u8]| {
    let wanted = Wanted { key: "bibcode", fields: &FIELDS, aliases: Some("identifier") };
    let record = parse(text, &wanted);
    assert_eq!(record, parse_carefully(text, &wanted));
    if let Ok(record) = record {
        assert_eq!(record.fields.len(), FIELDS.len());
        assert!(!record.bibcode.trim().is_empty() && !record.bibcode.contains(char::is_control));
        record.metadata_digest(&FIELDS);
    }
});
