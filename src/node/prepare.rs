//! prepare: one text of each record, from the fields asked for, in their order.
//!
//! Each value is cleaned by itself (`clean/`), then those of a field are joined. Fields without text are passed over, so
//! no delimiter stands alone, and nothing that a template puts around one; blanks at the end of a filled template go. `truncate` acts on the joined fields or the
//! filled template; prefix and suffix are added after, whole. A record without any text is a reject.

use std::borrow::Cow;
use std::num::NonZeroU64;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringArray, StringBuilder, UInt32Array,
};
use arrow::datatypes::{UInt32Type, UInt64Type};
use unicode_segmentation::UnicodeSegmentation;

use super::rejects::{Reject, Rejects};
use super::{Context, Made, NodeError};
use crate::clean::clean;
use crate::event::{Detail, Unit};
use crate::manifest::config::{Layout, PrepareConfig, TruncateAt};
use crate::manifest::{Piece, Placeholder, RecordTemplate};
use crate::pool::map_ordered;
use crate::record::Output;
use crate::source::record::Reason;
use crate::table;

/// Bytes of a bibcode: what a row takes in its column.
const BIBCODE_BYTES: usize = 19;
/// Bytes between the fields of a text, and around them, that room is made for.
const DELIMITERS_BYTES: usize = 8;

/// Makes the texts and rejects tables of a records table.
///
/// # Errors
/// Whatever the store gives.
pub fn run(context: &Context, config: &PrepareConfig, records: &Output) -> Result<Made, NodeError> {
    let mut reader = context.store.read_parquet(&records.digest)?;
    let mut texts = context.store.new_parquet(table::texts())?;
    let mut rejects = Rejects::new(context.store)?;
    let (mut done, mut truncated) = (0, 0);
    map_ordered(
        || {
            context.check_cancel()?;
            reader.next().transpose().map_err(NodeError::arrow("records"))
        },
        |batch| prepare_batch(config, &batch),
        |prepared| {
            let prepared = prepared?;
            done += (prepared.batch.num_rows() + prepared.rejects.len()) as u64;
            truncated += prepared.truncated;
            texts.write(prepared.batch)?;
            if !prepared.rejects.is_empty() {
                prepared.rejects.into_iter().try_for_each(|reject| rejects.push(reject))?;
                (context.detail)(Detail::Rejected { rows: rejects.count() });
            }
            (context.progress)(done, Some(records.rows), Unit::Rows);
            Ok::<_, NodeError>(())
        },
    )?;
    if texts.rows() == 0 && records.rows > 0 {
        return Err(NodeError::NoTexts { records: records.rows, fields: config.layout.fields().join(", ") });
    }
    let mut made = Made::default();
    let texts = texts.finish()?;
    let rejects = rejects.finish(&mut made)?;
    made.outputs.insert("rejects".into(), rejects);
    made.count("rows_in", records.rows);
    made.count("rows", texts.rows);
    made.count("truncated", truncated);
    made.outputs.insert("texts".into(), texts);
    Ok(made)
}

/// The text of one record.
#[derive(Debug, PartialEq, Eq)]
pub struct Text {
    /// The text, as the embedder gets it.
    pub text: String,
    /// Its characters, prefix and suffix included.
    pub characters: u32,
    /// Whether characters of its fields were cut off.
    pub truncated: bool,
}

struct Prepared {
    batch: RecordBatch,
    rejects: Vec<Reject>,
    truncated: u64,
}

fn prepare_batch(config: &PrepareConfig, records: &RecordBatch) -> Result<Prepared, NodeError> {
    let missing = |name: &str| NodeError::table("records", format!("it has no usable column {name:?}"));
    let bibcodes: &StringArray = records.column(0).as_string_opt().ok_or_else(|| missing(table::BIBCODE))?;
    let column = |name: &str| records.column_by_name(name).and_then(Column::of);
    let fields = config.layout.fields().into_iter().map(|name| column(name).ok_or_else(|| missing(name)));
    let fields: Vec<Column<'_>> = fields.collect::<Result<_, _>>()?;
    let mut texts = Texts::of(records.num_rows(), fields.iter().map(|field| field.strings.values().len()).sum());
    let (mut maker, mut rejects) = (Maker::new(config), Vec::new());
    for (row, bibcode) in bibcodes.iter().flatten().enumerate() {
        match maker.make(fields.iter().map(|field| field.values(row))) {
            true => texts.push(bibcode, &maker),
            false => rejects.push(no_text(config, records, bibcode, row)),
        }
    }
    let truncated = texts.truncated.iter().filter(|truncated| **truncated).count() as u64;
    Ok(Prepared { batch: texts.into_batch()?, rejects, truncated })
}

/// Rows of a texts table, each written where it stays: a million texts are not allocated one by one.
struct Texts {
    bibcodes: StringBuilder,
    texts: StringBuilder,
    characters: Vec<u32>,
    truncated: Vec<bool>,
}

impl Texts {
    /// Room for so many rows, whose fields have so many bytes in all.
    fn of(rows: usize, bytes: usize) -> Self {
        Self {
            bibcodes: StringBuilder::with_capacity(rows, rows * BIBCODE_BYTES),
            texts: StringBuilder::with_capacity(rows, bytes + rows * DELIMITERS_BYTES),
            characters: Vec::with_capacity(rows),
            truncated: Vec::with_capacity(rows),
        }
    }

    fn push(&mut self, bibcode: &str, made: &Maker) {
        self.bibcodes.append_value(bibcode);
        self.texts.append_value(&made.body);
        self.characters.push(made.characters());
        self.truncated.push(made.truncated);
    }

    fn into_batch(mut self) -> Result<RecordBatch, NodeError> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.bibcodes.finish()),
            Arc::new(self.texts.finish()),
            Arc::new(UInt32Array::from(self.characters)),
            Arc::new(BooleanArray::from(self.truncated)),
        ];
        RecordBatch::try_new(table::texts(), columns).map_err(NodeError::arrow("texts"))
    }
}

/// A field of a records table, whose values are read where they stand.
struct Column<'a> {
    lists: &'a ListArray,
    strings: &'a StringArray,
}

impl<'a> Column<'a> {
    fn of(column: &'a ArrayRef) -> Option<Self> {
        let lists = column.as_list_opt::<i32>()?;
        Some(Self { lists, strings: lists.values().as_string_opt()? })
    }

    fn values(&self, row: usize) -> impl Iterator<Item = &'a str> {
        // The length of an offset's type was checked when the table was read.
        let offset = |row: usize| usize::try_from(self.lists.value_offsets()[row]).unwrap_or(0);
        let range = if self.lists.is_null(row) { 0..0 } else { offset(row)..offset(row + 1) };
        let strings = self.strings;
        range.filter(|at| strings.is_valid(*at)).map(|at| strings.value(at))
    }
}

/// Makes the text of one record from its fields' values, in the order of [`Layout::fields`]; none if no field has any
/// text.
pub fn text<'v, V: IntoIterator<Item = &'v str>>(
    config: &PrepareConfig,
    fields: impl IntoIterator<Item = V>,
) -> Option<Text> {
    let mut maker = Maker::new(config);
    if !maker.make(fields) {
        return None;
    }
    let (characters, truncated) = (maker.characters(), maker.truncated);
    Some(Text { text: maker.body, characters, truncated })
}

/// Makes texts, one after the other in the same memory.
struct Maker<'a> {
    config: &'a PrepareConfig,
    body: String,
    truncated: bool,
}

impl<'a> Maker<'a> {
    const fn new(config: &'a PrepareConfig) -> Self {
        Self { config, body: String::new(), truncated: false }
    }

    /// Makes the next text; false if no field has any.
    fn make<'v, V: IntoIterator<Item = &'v str>>(&mut self, fields: impl IntoIterator<Item = V>) -> bool {
        let config = self.config;
        self.body.clear();
        self.truncated = false;
        let any = match &config.layout {
            Layout::Fields { delimiter, .. } => self.join(fields, delimiter),
            Layout::Template(template) => self.fill(fields, template),
        };
        if any {
            self.truncated |= truncate(&mut self.body, 0, config.truncate, config.truncate_at);
            // What was cut off may have been all that is no blank.
            if self.body.chars().all(char::is_whitespace) {
                return false;
            }
            if !config.prefix.is_empty() {
                self.body.insert_str(0, &config.prefix);
            }
            self.body.push_str(&config.suffix);
        }
        any
    }

    /// Characters of the text.
    fn characters(&self) -> u32 {
        u32::try_from(self.body.chars().count()).unwrap_or(u32::MAX)
    }

    /// One field after the other; false if none has text.
    fn join<'v, V: IntoIterator<Item = &'v str>>(
        &mut self,
        fields: impl IntoIterator<Item = V>,
        delimiter: &str,
    ) -> bool {
        for values in fields {
            let before = self.body.len();
            if before > 0 {
                self.body.push_str(delimiter);
            }
            if !self.field(values) {
                self.body.truncate(before);
            }
        }
        if self.config.lowercase {
            self.body = self.body.to_lowercase();
        }
        !self.body.is_empty()
    }

    /// A template with the fields in it; false if none has text.
    fn fill<'v, V: IntoIterator<Item = &'v str>>(
        &mut self,
        fields: impl IntoIterator<Item = V>,
        template: &RecordTemplate,
    ) -> bool {
        let (mut fields, mut any) = (fields.into_iter(), false);
        for piece in template.pieces() {
            match piece {
                Piece::Text(text) => self.body.push_str(text),
                Piece::Field(placeholder) => {
                    any |= fields.next().is_some_and(|values| self.place(values, placeholder));
                }
            }
        }
        // Where the last field has no text, the blanks before it stand at the end.
        self.body.truncate(self.body.trim_end().len());
        any
    }

    /// A field in its place, with what stands before and after it; nothing if it has no text.
    fn place<'v>(&mut self, values: impl IntoIterator<Item = &'v str>, placeholder: &Placeholder) -> bool {
        let before = self.body.len();
        self.body.push_str(&placeholder.prefix);
        let start = self.body.len();
        if !self.field(values) {
            self.body.truncate(before);
            return false;
        }
        if self.config.lowercase {
            let lower = self.body[start..].to_lowercase();
            self.body.truncate(start);
            self.body.push_str(&lower);
        }
        let limit = placeholder.limit.map_or(0, NonZeroU64::get);
        self.truncated |= truncate(&mut self.body, start, limit, self.config.truncate_at);
        self.body.push_str(&placeholder.suffix);
        true
    }

    /// The values of a field, cleaned, and those that have text joined; false if none has.
    fn field<'v>(&mut self, values: impl IntoIterator<Item = &'v str>) -> bool {
        let mut any = false;
        for value in values {
            let value = clean(&self.config.clean, Cow::Borrowed(value));
            if value.chars().all(char::is_whitespace) {
                continue;
            }
            if any {
                self.body.push_str(&self.config.list_delimiter);
            }
            self.body.push_str(&value);
            any = true;
        }
        any
    }
}

/// Cuts what stands from `start` on to `limit` Unicode scalar values (0: no limit), or less: never between a letter and its
/// accents, and, where that is asked for, not inside a word.
fn truncate(body: &mut String, start: usize, limit: u64, at: TruncateAt) -> bool {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let part = &body[start..];
    // A character has at least one byte.
    if limit == 0 || part.len() <= limit {
        return false;
    }
    let Some((hard_end, _)) = part.char_indices().nth(limit) else { return false };
    let word = if at == TruncateAt::Word { last_word(part, hard_end) } else { None };
    let end = word.unwrap_or_else(|| last_cluster(part, hard_end));
    body.truncate(start + end);
    true
}

/// Where the last cluster ends that fits. One longer than the limit is cut inside rather than dropped whole.
fn last_cluster(text: &str, hard_end: usize) -> usize {
    let clusters = text.grapheme_indices(true);
    let end = clusters.map(|(start, cluster)| start + cluster.len()).take_while(|&end| end <= hard_end).last();
    end.unwrap_or(hard_end)
}

/// Where the last word ends that fits, by Unicode's boundaries of words. They lie before every space at the latest, so
/// that it is enough to look from one space on, and from the space before if no word ends there.
fn last_word(text: &str, hard_end: usize) -> Option<usize> {
    let mut until = hard_end;
    while until > 0 {
        let from = text[..until].rfind(' ').unwrap_or(0);
        let pieces = text[from..].split_word_bound_indices().map(|(at, piece)| (from + at, piece));
        let fitting = pieces.take_while(|(at, piece)| *at < until && at + piece.len() <= hard_end);
        let words = fitting.filter(|(_, piece)| piece.contains(char::is_alphanumeric));
        if let Some((at, word)) = words.last() {
            return Some(at + word.len());
        }
        until = from;
    }
    None
}

fn no_text(config: &PrepareConfig, records: &RecordBatch, bibcode: &str, row: usize) -> Reject {
    Reject {
        bibcode: Some(bibcode.to_owned()),
        source: records[table::SOURCE].as_primitive::<UInt32Type>().value(row),
        line: records[table::LINE].as_primitive::<UInt64Type>().value(row),
        offset: None,
        reason: Reason::NoText,
        detail: format!("no text in {}", config.layout.fields().join(", ")),
        excerpt: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clean::Step;
    use crate::graph::{Config, resolve};
    use crate::manifest::Source;

    fn config() -> PrepareConfig {
        PrepareConfig::of(&["title", "abstract"])
    }

    /// The configuration with a template, read as from a manifest.
    fn template(template: &str) -> PrepareConfig {
        let text = format!(
            "version = 1\nname = \"n\"\nstore = \"s\"\n[load.r]\ninput = \"x\"\nfields = [\"title\", \"abstract\"]\n\
             [prepare.t]\nfrom = \"r\"\ntemplate = '{template}'\n"
        );
        let graph = resolve(&Source { name: "n.toml".into(), text }, &[]).unwrap();
        let Config::Prepare(prepare) = &graph.steps[1].config else { panic!("a prepare step") };
        prepare.clone()
    }

    fn made(config: &PrepareConfig, fields: &[&[&str]]) -> Option<String> {
        text(config, fields.iter().map(|values| values.iter().copied())).map(|text| text.text)
    }

    #[test]
    fn fields_are_joined_and_empty_ones_leave_no_delimiter() {
        let config = config();
        assert_eq!(made(&config, &[&["T"], &["A"]]).unwrap(), "T\n\nA");
        assert_eq!(made(&config, &[&["T", "U"], &[]]).unwrap(), "T; U");
        assert_eq!(made(&config, &[&[" "], &["A"]]).unwrap(), "A");
        assert_eq!(made(&config, &[&[], &["", " "]]), None);
        let cut = PrepareConfig { truncate: 2, clean: Vec::new(), ..config };
        assert_eq!(made(&cut, &[&["  Title"], &[]]), None, "what is left are blanks");
    }

    #[test]
    fn values_are_cleaned_before_they_are_joined() {
        let config = PrepareConfig { clean: Step::ALL.into(), ..config() };
        let fields: [&[&str]; 2] = [&[" H<SUB>2</SUB>O ", "-"], &["Not Available <P />"]];
        assert_eq!(made(&config, &fields).unwrap(), "H2O");
        assert_eq!(made(&config, &[&["n/a"], &["No abstract."]]), None);
    }

    #[test]
    fn prefix_and_suffix_are_neither_lowercased_nor_cut() {
        let config =
            PrepareConfig { prefix: "You: ".into(), suffix: " END".into(), lowercase: true, truncate: 3, ..config() };
        assert_eq!(made(&config, &[&["GALAXIES"], &[]]).unwrap(), "You: gal END");
    }

    #[test]
    fn a_template_has_its_own_text_and_what_is_missing_leaves_none() {
        let config = template("{title} [SEP] {abstract|Abstract: |.}");
        assert_eq!(made(&config, &[&["T", "U"], &["A"]]).unwrap(), "T; U [SEP] Abstract: A.");
        assert_eq!(made(&config, &[&["T"], &[" "]]).unwrap(), "T [SEP]");
        assert_eq!(made(&config, &[&[], &[""]]), None);
        let config = PrepareConfig { prefix: "P ".into(), suffix: " S".into(), lowercase: true, ..config };
        assert_eq!(made(&config, &[&["T"], &["A"]]).unwrap(), "P t [SEP] Abstract: a. S");
        assert_eq!(made(&template("{{{title}}}"), &[&["T"]]).unwrap(), "{T}");
    }

    #[test]
    fn a_template_cuts_a_field_and_the_text_is_cut_around_it() {
        let config = template("{title:5}|{abstract:3|<|>}");
        let cut = |config: &PrepareConfig| {
            let text = text(config, [["One two"], ["A"]]).unwrap();
            (text.text, text.truncated)
        };
        assert_eq!(cut(&config), ("One t|<A>".into(), true));
        assert_eq!(cut(&PrepareConfig { truncate_at: TruncateAt::Word, ..config.clone() }), ("One|<A>".into(), true));
        assert_eq!(cut(&PrepareConfig { truncate: 4, ..config }), ("One ".into(), true));
    }

    #[test]
    fn truncation_counts_characters_and_splits_none() {
        let cut = |text: &str, limit| {
            let mut body = text.to_owned();
            let truncated = truncate(&mut body, 0, limit, TruncateAt::Character);
            (body, truncated)
        };
        assert_eq!(cut("Λαμβδα", 3), ("Λαμ".into(), true));
        assert_eq!(cut("abc", 3), ("abc".into(), false));
        assert_eq!(cut("ae\u{301}x", 2), ("a".into(), true));
        assert_eq!(cut("e\u{301}\u{302}x", 2), ("e\u{301}".into(), true));
    }

    #[test]
    fn truncation_at_a_word_keeps_whole_words() {
        let cut = |text: &str, limit| {
            let mut body = text.to_owned();
            truncate(&mut body, 0, limit, TruncateAt::Word);
            body
        };
        assert_eq!(cut("Dark energy, again", 11), "Dark energy");
        assert_eq!(cut("Dark energy, again", 10), "Dark");
        assert_eq!(cut("Dark energy, again", 14), "Dark energy");
        assert_eq!(cut("can't stop 3.14159 now", 16), "can't stop");
        assert_eq!(cut("Thermonuclear", 6), "Thermo");
        assert_eq!(cut("- - - - word", 7), "- - - -");
        assert_eq!(cut("Λάμδα και e\u{301}tats", 11), "Λάμδα και");
    }

    proptest::proptest! {
        /// A cut text is a beginning of the whole, no longer than asked for, and ends where a word does, if any fits.
        #[test]
        fn a_cut_at_a_word_is_where_unicode_ends_one(whole in "([a-zé',.\u{301}-]{0,6}[ \n]{0,2}){0,12}", limit in 1_u64..40) {
            let mut body = whole.clone();
            let truncated = truncate(&mut body, 0, limit, TruncateAt::Word);
            proptest::prop_assert_eq!(truncated, whole.chars().count() as u64 > limit);
            proptest::prop_assert!(whole.starts_with(&body) && body.chars().count() as u64 <= limit);
            if truncated {
                let hard_end = whole.char_indices().nth(limit as usize).unwrap().0;
                let ends = whole.unicode_word_indices().map(|(at, word)| at + word.len());
                let expected = ends.take_while(|end| *end <= hard_end).last();
                proptest::prop_assert!(expected.is_none_or(|end| end == body.len()), "{:?} {:?}", whole, body);
            }
        }
    }
}
