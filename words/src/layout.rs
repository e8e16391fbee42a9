//! What an index is made of: the fields that Tantivy keeps, and the names of files.

use tantivy::schema::{FAST, Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::{TextAnalyzer, TokenizerManager};

use crate::analyzer::Analyzer;

/// The file that says what the others are: it is written last, so that a folder without it is no index.
pub(crate) const HEAD: &str = "words.head";

/// Tantivy numbers documents by 31 bits, and keeps the last number for itself.
pub(crate) const MOST_TEXTS: u32 = i32::MAX as u32 - 1;

/// The name under which schemas know this crate's tokenizer.
const TOKENIZER: &str = "words";

/// How a file of Tantivy's is called here; Tantivy names it by a random number, and tells its kind by the extension.
pub(crate) fn file_name(extension: &str) -> String {
    format!("words.{extension}")
}

/// Words with how often each text has them and how long texts are, no text and no positions; and the row of each text.
pub(crate) struct Fields {
    pub schema: Schema,
    pub text: Field,
    pub row: Field,
}

impl Fields {
    /// By this name, the column of rows is asked for.
    pub(crate) const ROW: &str = "row";

    pub(crate) fn new() -> Self {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(TOKENIZER)
            .set_fieldnorms(true)
            .set_index_option(IndexRecordOption::WithFreqs);
        let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
        let row = schema.add_u64_field(Self::ROW, NumericOptions::from(FAST));
        Self { schema: schema.build(), text, row }
    }
}

/// With Tantivy's own: it looks one up for every field, also for numbers.
pub(crate) fn tokenizers() -> TokenizerManager {
    let tokenizers = TokenizerManager::default();
    tokenizers.register(TOKENIZER, TextAnalyzer::from(Analyzer::default()));
    tokenizers
}
