//! The sample papers, as benches need them.

use std::io::Read;
use std::path::Path;

use sciembed::manifest::config::PrepareConfig;
use sciembed::node::prepare;
use sciembed::source::record::{Field, SourceRecord, Wanted, parse};

pub fn fields() -> Vec<String> {
    vec!["title".into(), "abstract".into()]
}

pub fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/ads_metadata_by_year_full/2010.json.gz");
    let file = std::fs::File::open(path).expect("the sample is part of the project");
    let mut text = String::new();
    let mut reader = sciembed::source::codec::decompress(file).expect("the sample is gzip");
    reader.read_to_string(&mut text).expect("the sample is UTF-8");
    text
}

/// The values of a record's fields.
pub type Record = Vec<Vec<String>>;

pub fn records() -> Vec<Record> {
    let fields = fields();
    let wanted = Wanted::of("bibcode", &fields);
    let owned = |field: &Field| field.texts().unwrap_or_default().iter().map(|text| text.to_string()).collect();
    let values = |record: SourceRecord| record.fields.iter().map(owned).collect();
    sample().lines().map(|line| values(parse(line.as_bytes(), &wanted).expect("the sample is in order"))).collect()
}

pub fn texts() -> Vec<String> {
    let config = PrepareConfig { truncate: 3000, ..PrepareConfig::of(&["title", "abstract"]) };
    let text = |record: &Record| prepared(&config, record);
    records().iter().filter_map(text).collect()
}

/// The text of a record whose fields are those of the configuration.
pub fn prepared(config: &PrepareConfig, record: &Record) -> Option<String> {
    let fields = record.iter().map(|values| values.iter().map(String::as_str));
    prepare::text(config, fields).map(|text| text.text)
}
