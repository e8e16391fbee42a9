//! What stands in a folder of dumps: which files, which years, and which fields their records have.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::cli::DoorError;
use crate::graph::Selection;
use crate::source::chunks::Chunks;
use crate::source::codec::decompress;
use crate::source::{delimited, kinds, tables};

/// What stands for the year in the name of yearly files.
pub const YEAR: &str = "{year}";
/// Years that one line names.
const NAMED_YEARS: usize = 20;
/// Records that are looked at.
const SAMPLE: usize = 1000;
/// Longest record that is looked at.
const MAX_RECORD_BYTES: u64 = 16 << 20;
/// Digits of a year.
const YEAR_DIGITS: usize = 4;
/// Fields that may tell papers apart, the likeliest first.
const KEYS: [&str; 5] = ["bibcode", "_id", "id", "doi", "arxiv_id"];
/// Fields that make a good text, in their order.
const TEXTS: [&str; 4] = ["title", "abstract", "summary", "text"];

/// What there is.
pub struct Data {
    /// The folder that holds the files.
    pub folder: PathBuf,
    /// The files' name with `{year}` in it, or the one file's name.
    pub pattern: String,
    /// The years that have a file; none where the name holds no year.
    pub years: Vec<u16>,
    /// The file that was looked into.
    pub sample: PathBuf,
    /// Records that were looked at.
    pub looked_at: usize,
    /// The field that tells papers apart.
    pub key: String,
    /// The other fields, each with the share of records that have it, the commonest first.
    pub fields: Vec<(String, f64)>,
    /// Whether a field lists other bibcodes of a paper.
    pub aliases: bool,
}

/// Looks into a folder, or a file.
///
/// # Errors
/// [`DoorError::Data`] where there is nothing that can be read.
pub fn look(input: &Path) -> Result<Data, DoorError> {
    let failed = |reason: String| DoorError::Data { path: input.to_owned(), reason };
    let (folder, name) = if input.is_file() {
        let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = input.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (folder.to_owned(), Some(name))
    } else {
        (input.to_owned(), None)
    };
    let files = files(&folder).map_err(|error| failed(error.to_string()))?;
    let (pattern, years) = pattern(&files, name.as_deref()).ok_or_else(|| failed("it holds no files".to_owned()))?;
    let last = years.last().map_or_else(|| pattern.clone(), |year| pattern.replacen(YEAR, &year.to_string(), 1));
    let sample = folder.join(last);
    let records = records(&sample).map_err(|error| failed(format!("{}: {error}", sample.display())))?;
    if records.is_empty() {
        return Err(failed(format!("{} holds no records that can be read", sample.display())));
    }
    let mut counts: BTreeMap<&String, usize> = BTreeMap::new();
    for record in &records {
        record.iter().filter(|(_, value)| is_there(value)).for_each(|(name, _)| *counts.entry(name).or_default() += 1);
    }
    let share = |name: &str| counts.get(&name.to_owned()).map_or(0.0, |count| *count as f64 / records.len() as f64);
    let key = KEYS.iter().find(|key| share(key) >= 1.0).or_else(|| KEYS.iter().find(|key| share(key) > 0.0));
    let key = key.ok_or_else(|| failed(format!("{} has none of the fields {}", sample.display(), KEYS.join(", "))))?;
    let mut fields: Vec<(String, f64)> =
        counts.keys().filter(|name| name.as_str() != *key).map(|name| ((*name).clone(), share(name))).collect();
    fields.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let aliases = records.iter().any(|record| lists_bibcodes(record.get("identifier")));
    Ok(Data { pattern, years, looked_at: records.len(), key: (*key).to_owned(), fields, aliases, sample, folder })
}

fn is_there(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(values) => values.iter().any(is_there),
        _ => true,
    }
}

/// Bibcodes have 19 characters: a year, a journal that begins with a letter, and at last an author's initial. A DOI may be as long.
fn lists_bibcodes(value: Option<&Value>) -> bool {
    let is_bibcode = |text: &str| {
        let bytes = text.as_bytes();
        bytes.len() == 19
            && bytes[..YEAR_DIGITS].iter().all(u8::is_ascii_digit)
            && bytes[YEAR_DIGITS].is_ascii_alphabetic()
            && bytes[18].is_ascii_alphabetic()
    };
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).any(is_bibcode)
}

fn files(folder: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !name.starts_with('.') {
            files.push(name);
        }
    }
    files.sort();
    Ok(files)
}

/// The pattern that most files follow, or that of the one named, and the years that have one.
fn pattern(files: &[String], named: Option<&str>) -> Option<(String, Vec<u16>)> {
    let mut patterns: BTreeMap<String, Vec<u16>> = BTreeMap::new();
    for file in files {
        if let Some((pattern, year)) = yearly(file) {
            patterns.entry(pattern).or_default().push(year);
        }
    }
    if let Some(name) = named {
        let years = yearly(name).and_then(|(pattern, _)| patterns.remove_entry(&pattern));
        return Some(years.filter(|(_, years)| years.len() > 1).unwrap_or_else(|| (name.to_owned(), Vec::new())));
    }
    let most = patterns.into_iter().max_by_key(|(_, years)| years.len());
    most.or_else(|| files.first().map(|file| (file.clone(), Vec::new())))
}

/// A name with its year taken out: the first four digits that are no part of a longer number.
fn yearly(name: &str) -> Option<(String, u16)> {
    let is_digit = |at: usize| name.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let at = (0..name.len()).find(|&at| {
        (at == 0 || !is_digit(at - 1)) && (at..at + YEAR_DIGITS).all(is_digit) && !is_digit(at + YEAR_DIGITS)
    })?;
    let year = name[at..at + YEAR_DIGITS].parse().ok().filter(|year| (1600..2100).contains(year))?;
    Some((format!("{}{{year}}{}", &name[..at], &name[at + YEAR_DIGITS..]), year))
}

/// The first records of a file, as load reads them; what is no JSON object is left out.
fn records(path: &Path) -> io::Result<Vec<Map<String, Value>>> {
    let (text, is_of_rows) = text(File::open(path)?)?;
    let chunks = Chunks::new(text, None, MAX_RECORD_BYTES);
    let mut chunks = if is_of_rows { chunks.of_rows() } else { chunks };
    let mut records = Vec::new();
    while let Some(chunk) = chunks.next_chunk()? {
        for piece in chunk.pieces() {
            if let Ok(Value::Object(record)) = serde_json::from_slice(piece.bytes) {
                records.push(record);
            }
            if records.len() == SAMPLE {
                return Ok(records);
            }
        }
    }
    Ok(records)
}

/// The text of a file, and whether it is made of the rows of a table.
fn text(file: File) -> io::Result<(Box<dyn Read + Send>, bool)> {
    if let Some(mut columns) = tables::columns_of_parquet(&file)? {
        // The key stands first; without one, that it is missing is told.
        let key = KEYS.iter().find(|key| columns.iter().any(|column| column == *key)).unwrap_or(&KEYS[0]);
        columns.retain(|column| column != key);
        columns.insert(0, (*key).to_owned());
        if let Some(rows) = tables::lines_of_parquet(&file, &columns)? {
            return Ok((rows, true));
        }
    }
    let kinds::Opened { head, text } = kinds::open(decompress(file)?)?;
    if let Some(rows) = KEYS.iter().find_map(|key| delimited::rows(&head, key, MAX_RECORD_BYTES).ok().flatten()) {
        return Ok((rows.of(text), true));
    }
    // A table without any of the keys says so.
    delimited::rows(&head, KEYS[0], MAX_RECORD_BYTES).map(|_| (text, false))
}

impl Data {
    /// The files in words.
    pub fn files_text(&self) -> String {
        match self.years[..] {
            [] => format!("{}", self.sample.display()),
            [first, .., last] => {
                format!("{} files {}, {first} to {last}", self.years.len(), self.folder.join(&self.pattern).display())
            }
            [year] => format!("one file {}, of {year}", self.folder.join(&self.pattern).display()),
        }
    }

    /// The years as an option takes them.
    pub fn years_text(&self) -> String {
        let mut spans: Vec<(u16, u16)> = Vec::new();
        for &year in &self.years {
            match spans.last_mut() {
                Some((_, last)) if *last + 1 == year => *last = year,
                _ => spans.push((year, year)),
            }
        }
        let span =
            |(first, last): &(u16, u16)| if first == last { first.to_string() } else { format!("{first}:{last}") };
        spans.iter().map(span).collect::<Vec<_>>().join(",")
    }

    /// Those of the years that an option names.
    ///
    /// # Errors
    /// [`DoorError::Data`] if it is none, or names none that has a file.
    pub fn chosen(&self, years: &str) -> Result<Vec<u16>, DoorError> {
        if self.years.is_empty() {
            return Ok(Vec::new());
        }
        let failed = |reason: String| DoorError::Data { path: self.folder.clone(), reason };
        let selection: Selection = years.parse().map_err(|error| failed(format!("{error}")))?;
        let chosen: Vec<u16> =
            self.years.iter().copied().filter(|year| selection.contains(&year.to_string())).collect();
        if chosen.is_empty() {
            return Err(failed(format!("no file of {years}: there are {}", self.years_text())));
        }
        Ok(chosen)
    }

    /// What an option names and cannot have, in words: years without a file. None where nothing is amiss.
    pub fn lacking(&self, years: &str) -> Option<String> {
        if self.years.is_empty() {
            return Some(format!("{} holds no year in its name, so all of it is taken", self.sample.display()));
        }
        let selection: Selection = years.parse().ok()?;
        let named = || years.split(|letter: char| !letter.is_ascii_digit()).filter_map(|year| year.parse::<u16>().ok());
        let span = named().min()?..=named().max()?;
        let is_lacking = |year: &u16| selection.contains(&year.to_string()) && !self.years.contains(year);
        let mut lacking: Vec<String> = span.filter(is_lacking).map(|year| year.to_string()).collect();
        let more = lacking.len().saturating_sub(NAMED_YEARS);
        lacking.truncate(NAMED_YEARS);
        let more = if more > 0 { format!(" and {more} more years") } else { String::new() };
        (!lacking.is_empty()).then(|| format!("there is no file of {}{more}", lacking.join(", ")))
    }

    /// Whether a record that was looked at has a field, or one that its path begins with.
    pub fn knows(&self, field: &str) -> bool {
        let first = field.split('.').next().unwrap_or_default();
        first == self.key || self.fields.iter().any(|(name, _)| name == field || name == first)
    }

    /// The fields that make a good text; without any of those that are known for it, the commonest.
    pub fn proposed_fields(&self) -> Vec<String> {
        let is_there = |name: &&&str| self.fields.iter().any(|(field, _)| field == **name);
        let known: Vec<String> = TEXTS.iter().filter(is_there).map(|name| (*name).to_owned()).collect();
        if known.is_empty() { self.fields.first().map(|(name, _)| name.clone()).into_iter().collect() } else { known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn years_are_found_in_names() {
        assert_eq!(yearly("2010.json.gz"), Some(("{year}.json.gz".to_owned(), 2010)));
        assert_eq!(yearly("ads_1998_v2.jsonl"), Some(("ads_{year}_v2.jsonl".to_owned(), 1998)));
        assert_eq!((yearly("20100101.json"), yearly("papers.json"), yearly("9999.json")), (None, None, None));
    }

    #[test]
    fn years_without_a_file_are_named() {
        let data = |years: &[u16]| Data {
            folder: "data".into(),
            pattern: "{year}.json".to_owned(),
            years: years.to_vec(),
            sample: "data/papers.json".into(),
            looked_at: 1,
            key: "bibcode".to_owned(),
            fields: Vec::new(),
            aliases: false,
        };
        let lacking = |years: &str| data(&[2010, 2011, 2014]).lacking(years).unwrap_or_default();
        assert_eq!((lacking("2010:2011"), lacking("2014")), (String::new(), String::new()));
        assert_eq!(lacking("2009:2012"), "there is no file of 2009, 2012");
        assert_eq!(lacking("2010,2020"), "there is no file of 2020");
        assert_eq!(
            data(&[]).lacking("2010").unwrap(),
            "data/papers.json holds no year in its name, so all of it is taken"
        );
    }

    #[test]
    fn a_doi_is_no_bibcode() {
        let lists = |text: &str| lists_bibcodes(Some(&serde_json::json!(["arXiv:1202.3665", text])));
        assert!(lists("2013PASP..125..306F") && !lists("10.1038/nature09013") && !lists("2013PASP"));
    }

    #[test]
    fn the_pattern_of_most_files_is_taken() {
        let files: Vec<String> = ["2001.gz", "2002.gz", "README.md", "old_1999.gz"].map(str::to_owned).into();
        assert_eq!(pattern(&files, None), Some(("{year}.gz".to_owned(), vec![2001, 2002])));
        assert_eq!(pattern(&files, Some("README.md")), Some(("README.md".to_owned(), Vec::new())));
    }
}
