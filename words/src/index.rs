//! An index: opened where it lies, searched by questions.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use tantivy::columnar::ColumnValues;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::index::InvertedIndexReader;
use tantivy::postings::{Postings, SegmentPostings, TermInfo};
use tantivy::query::{Bm25Weight, BooleanQuery, EnableScoring, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocId, DocSet, ReloadPolicy, Searcher, Term};

use crate::WordsError;
use crate::best::{Best, Hit};
use crate::head::Head;
use crate::layout::{Fields, tokenizers};
use crate::sealed::{Damage, Sealed};
use crate::words::Reader;

/// Words of a question that are looked up, the rarest of it: a whole paper makes a question that ends in time.
const MOST_WORDS: usize = 256;

/// An index in its folder, which is mapped and never written to. May be asked by many threads at once.
pub struct Index {
    folder: PathBuf,
    texts: usize,
    /// Nothing where there is no text.
    opened: Option<Opened>,
    damage: Damage,
}

struct Opened {
    searcher: Searcher,
    text: Field,
    /// The words, each with the texts that have it.
    lists: Arc<InvertedIndexReader>,
    lengths: FieldNormReader,
    mean_length: f32,
    rows: Arc<dyn ColumnValues<u64>>,
}

/// Which rows may be found.
type Allowed<'a> = Option<&'a (dyn Fn(u32) -> bool + Sync)>;

impl Index {
    /// Opens the index in a folder. Reads its head, its words and the lengths of its texts; the rest when it is needed.
    ///
    /// # Errors
    /// [`WordsError::Foreign`], [`WordsError::Version`], [`WordsError::Damaged`], [`WordsError::File`],
    /// [`WordsError::Tantivy`].
    pub fn open(dir: &Path) -> Result<Self, WordsError> {
        let head = Head::read(dir)?;
        let damage: Damage = Arc::new(OnceLock::new());
        let mut index = Self { folder: dir.to_owned(), texts: head.texts as usize, opened: None, damage };
        if index.texts > 0 {
            let sealed = Sealed::open(dir, head, &index.damage)?;
            let opened = Opened::new(sealed).map_err(|error| index.fault("open", error))?;
            index.opened = opened.filter(|opened| opened.lengths.num_docs() as usize == index.texts);
            if index.opened.is_none() {
                return Err(WordsError::damaged(dir, "its files are not of the same texts"));
            }
        }
        Ok(index)
    }

    /// Texts in the index.
    pub fn len(&self) -> usize {
        self.texts
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.texts == 0
    }

    /// The best `k` rows for a question: those that share words with it, by score, then by row.
    ///
    /// The question is plain text. Each distinct word counts once, and any of them is enough; of more than 256 words that
    /// the index knows, the rarest count. `allowed` says which rows may be found: others are as if they were not there, but
    /// for the rarity of words. Fewer than `k` hits come where fewer rows share a word.
    ///
    /// # Errors
    /// [`WordsError::Damaged`] where a file is not as it was written, [`WordsError::Tantivy`].
    pub fn search(&self, question: &str, k: usize, allowed: Allowed<'_>) -> Result<Vec<Hit>, WordsError> {
        match &self.opened {
            Some(opened) if k > 0 => opened.search(question, k, allowed).map_err(|error| self.fault("search", error)),
            _ => Ok(Vec::new()),
        }
    }

    /// Tells damage from what else an error may be.
    fn fault(&self, doing: &'static str, error: tantivy::TantivyError) -> WordsError {
        match self.damage.get() {
            Some((path, reason)) => WordsError::damaged(path, reason.clone()),
            None => WordsError::tantivy(doing, &self.folder)(error),
        }
    }
}

impl Opened {
    /// `None` where the index has not the shape that this crate writes.
    fn new(sealed: Sealed) -> tantivy::Result<Option<Self>> {
        let mut index = tantivy::Index::open(sealed)?;
        let fields = Fields::new();
        if index.schema() != fields.schema {
            return Ok(None);
        }
        index.set_tokenizers(tokenizers());
        let reader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).doc_store_cache_num_blocks(0).try_into()?;
        let searcher = tantivy::IndexReader::searcher(&reader);
        let [segment] = searcher.segment_readers() else { return Ok(None) };
        let lists = segment.inverted_index(fields.text)?;
        let lengths = segment.get_fieldnorms_reader(fields.text)?;
        let rows = segment.fast_fields().u64(Fields::ROW)?.first_or_default_col(0);
        if rows.num_vals() != segment.max_doc() || lengths.num_docs() != segment.max_doc() {
            return Ok(None);
        }
        let mean_length = lists.total_num_tokens() as f32 / segment.max_doc() as f32;
        Ok(Some(Self { searcher, text: fields.text, lists, lengths, mean_length, rows }))
    }

    fn search(&self, question: &str, k: usize, allowed: Allowed<'_>) -> tantivy::Result<Vec<Hit>> {
        let known = self.known(question)?;
        if known.is_empty() {
            return Ok(Vec::new());
        }
        let mut scorer = self.scorer(&known)?;
        let terms = known
            .into_iter()
            .map(|(term, _)| Box::new(TermQuery::new(term, IndexRecordOption::WithFreqs)) as Box<dyn Query>);
        let query = BooleanQuery::union(terms.collect());
        let weight = query.weight(EnableScoring::enabled_from_searcher(&self.searcher))?;
        let mut best = Best::new(k);
        // Calls for each text, in their order, that may reach what was returned last.
        weight.for_each_pruning(f32::MIN, self.searcher.segment_reader(0), &mut |document, _| {
            // Rows are u32 where they are added.
            let row = self.rows.get_val(document) as u32;
            if allowed.is_none_or(|allowed| allowed(row)) {
                best.offer(Hit { row, score: scorer.score(document) });
            }
            best.bar().map_or(f32::MIN, |bar| scorer.lowest(bar))
        })?;
        Ok(best.into_hits())
    }

    /// The words of a question that the index has, the rarest first, then by the alphabet.
    fn known(&self, question: &str) -> tantivy::Result<Vec<(Term, TermInfo)>> {
        let mut known = Vec::new();
        for word in Reader::default().question(question) {
            let term = Term::from_field_text(self.text, &word);
            if let Some(info) = self.lists.get_term_info(&term)? {
                known.push((term, info));
            }
        }
        known.sort_by_key(|(_, info)| info.doc_freq);
        known.truncate(MOST_WORDS);
        Ok(known)
    }

    fn scorer<'a>(&'a self, known: &[(Term, TermInfo)]) -> tantivy::Result<Scorer<'a>> {
        let texts = u64::from(self.lengths.num_docs());
        let words = known.iter().map(|(_, info)| {
            let list = self.lists.read_postings_from_terminfo(info, IndexRecordOption::WithFreqs)?;
            let weight = Bm25Weight::for_one_term_without_explain(info.doc_freq.into(), texts, self.mean_length);
            Ok((list, weight))
        });
        Ok(Scorer { words: words.collect::<tantivy::Result<_>>()?, lengths: &self.lengths })
    }
}

/// Scores texts anew, each as the sum over words in one order.
///
/// While Tantivy skips what cannot be among the best, it adds up a text's words in an order that changes from text to text:
/// texts of the same words come to scores that differ in their last bit, and ties fall to chance.
struct Scorer<'a> {
    words: Vec<(SegmentPostings, Bm25Weight)>,
    lengths: &'a FieldNormReader,
}

impl Scorer<'_> {
    /// The score of a text; texts must be asked for in ascending order.
    fn score(&mut self, document: DocId) -> f32 {
        let length = self.lengths.fieldnorm_id(document);
        let parts = self.words.iter_mut().filter_map(|(list, weight)| {
            let at = if list.doc() < document { list.seek(document) } else { list.doc() };
            (at == document).then(|| f64::from(weight.score(length, list.term_freq())))
        });
        parts.sum::<f64>() as f32
    }

    /// What Tantivy may have reckoned, at the least, for a text that reaches a score: each sum of two f32 errs by half
    /// an epsilon at most, and so does its bound for a block of texts.
    fn lowest(&self, bar: f32) -> f32 {
        match self.words.len() {
            1 => bar,
            words => bar * (1.0 - (words + 1) as f32 * f32::EPSILON),
        }
    }
}
