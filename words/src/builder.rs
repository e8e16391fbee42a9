//! Texts to an index: in parts that fit into memory, which are merged into one at the end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tantivy::directory::MmapDirectory;
use tantivy::indexer::merge_indices;
use tantivy::store::Compressor;
use tantivy::{IndexBuilder, IndexSettings, SingleSegmentIndexWriter, TantivyDocument};
use tempfile::TempDir;

use crate::WordsError;
use crate::head::{Head, Listed};
use crate::layout::{Fields, HEAD, MOST_TEXTS, file_name, tokenizers};

/// Memory that a part may take before it is written: some 300,000 abstracts.
const PART_BYTES: usize = 200_000_000;

/// Stands in for the random number that Tantivy names files by, so that the same texts give the same bytes.
const NAME: &str = "00000000-0000-4000-8000-000000000001";

/// Builds an index: takes texts by ascending rows, then writes it.
///
/// Takes about 300 MB of memory whatever the number of rows, and on the disk twice the space of the index: its parts lie in
/// the same folder until they are merged, and go with the builder if it is dropped. Whoever is told of no error by
/// [`Builder::finish`] has a whole index; a folder where building broke off is refused by [`crate::Index::open`].
pub struct Builder {
    folder: PathBuf,
    fields: Fields,
    /// Holds the parts.
    scratch: TempDir,
    part: Option<SingleSegmentIndexWriter>,
    parts: Vec<tantivy::Index>,
    part_bytes: usize,
    last: Option<u32>,
    texts: u32,
}

impl Builder {
    /// Begins an index in a folder that is empty or not there yet.
    ///
    /// # Errors
    /// [`WordsError::Occupied`] where something lies in the folder, [`WordsError::File`].
    pub fn create(dir: &Path) -> Result<Self, WordsError> {
        Self::with_part_bytes(dir, PART_BYTES)
    }

    fn with_part_bytes(folder: &Path, part_bytes: usize) -> Result<Self, WordsError> {
        fs::create_dir_all(folder).map_err(WordsError::file(folder))?;
        if fs::read_dir(folder).map_err(WordsError::file(folder))?.next().is_some() {
            return Err(WordsError::Occupied { path: folder.to_owned() });
        }
        let scratch =
            tempfile::Builder::new().prefix(".parts-").tempdir_in(folder).map_err(WordsError::file(folder))?;
        Ok(Self {
            folder: folder.to_owned(),
            fields: Fields::new(),
            scratch,
            part: None,
            parts: Vec::new(),
            part_bytes,
            last: None,
            texts: 0,
        })
    }

    /// Adds the text of a row. Rows must ascend, and may be left out; a text without words is never found.
    ///
    /// # Errors
    /// [`WordsError::Order`], [`WordsError::Full`]; [`WordsError::File`] or [`WordsError::Tantivy`] where a part cannot be
    /// written, after which the builder is of no more use.
    pub fn add(&mut self, row: u32, text: &str) -> Result<(), WordsError> {
        if let Some(last) = self.last.filter(|last| row <= *last) {
            return Err(WordsError::Order { row, last });
        }
        if self.texts == MOST_TEXTS {
            return Err(WordsError::Full { row });
        }
        let mut document = TantivyDocument::new();
        document.add_text(self.fields.text, text);
        document.add_u64(self.fields.row, row.into());
        let mut part = match self.part.take() {
            Some(part) => part,
            None => self.begin_part()?,
        };
        part.add_document(document).map_err(self.fault("add a text to"))?;
        self.last = Some(row);
        self.texts += 1;
        let is_full = part.mem_usage() >= self.part_bytes;
        self.part = Some(part);
        if is_full { self.end_part() } else { Ok(()) }
    }

    /// Merges the parts and writes the index; gives how many texts it has.
    ///
    /// All files and the folder are on the disk when it returns, and nothing else lies in the folder.
    ///
    /// # Errors
    /// [`WordsError::File`], [`WordsError::Tantivy`].
    pub fn finish(mut self) -> Result<usize, WordsError> {
        self.end_part()?;
        let head =
            if self.texts == 0 { Head { texts: 0, meta: String::new(), files: Vec::new() } } else { self.merge()? };
        self.parts.clear();
        let Self { folder, scratch, texts, .. } = self;
        let (head_path, begun) = (folder.join(HEAD), scratch.path().join(HEAD));
        fs::write(&begun, head.to_bytes()).map_err(WordsError::file(&begun))?;
        sync(&begun)?;
        fs::rename(&begun, &head_path).map_err(WordsError::file(&head_path))?;
        let scratch_path = scratch.path().to_owned();
        scratch.close().map_err(WordsError::file(&scratch_path))?;
        sync(&folder)?;
        Ok(texts as usize)
    }

    fn fault(&self, doing: &'static str) -> impl FnOnce(tantivy::TantivyError) -> WordsError {
        WordsError::tantivy(doing, &self.folder)
    }

    /// A directory of its own in the scratch space.
    fn directory(&self, name: &str) -> Result<(PathBuf, MmapDirectory), WordsError> {
        let path = self.scratch.path().join(name);
        fs::create_dir(&path).map_err(WordsError::file(&path))?;
        let directory = MmapDirectory::open(&path).map_err(|error| self.fault("begin a part of")(error.into()))?;
        Ok((path, directory))
    }

    fn begin_part(&self) -> Result<SingleSegmentIndexWriter, WordsError> {
        let (_, directory) = self.directory(&self.parts.len().to_string())?;
        // Nothing is stored of a text: there is nothing to compress.
        let settings = IndexSettings {
            docstore_compression: Compressor::None,
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        };
        IndexBuilder::new()
            .settings(settings)
            .schema(self.fields.schema.clone())
            .tokenizers(tokenizers())
            .single_segment_index_writer(directory, self.part_bytes)
            .map_err(self.fault("begin a part of"))
    }

    fn end_part(&mut self) -> Result<(), WordsError> {
        if let Some(part) = self.part.take() {
            self.parts.push(part.finalize().map_err(self.fault("write a part of"))?);
        }
        Ok(())
    }

    /// Merges the parts, even where there is one, for the same bytes; and brings its files to their place and names.
    fn merge(&self) -> Result<Head, WordsError> {
        let (path, directory) = self.directory("merged")?;
        let merged = merge_indices(&self.parts, directory).map_err(self.fault("merge the parts of"))?;
        let segments = merged.searchable_segment_metas().map_err(self.fault("merge the parts of"))?;
        let [segment] = segments.as_slice() else {
            let message = format!("{} segments came of a merge", segments.len());
            return Err(self.fault("merge the parts of")(tantivy::TantivyError::InternalError(message)));
        };
        let meta = described(&merged).map_err(self.fault("describe"))?;
        let name = segment.id().uuid_string();
        let mut files = Vec::new();
        for entry in fs::read_dir(&path).map_err(WordsError::file(&path))? {
            let from = entry.map_err(WordsError::file(&path))?.path();
            // Not what tells Tantivy of its files, or keeps others from them.
            let is_part = from.file_stem().is_some_and(|stem| stem == name.as_str());
            let Some(extension) = from.extension().and_then(|kind| kind.to_str()).filter(|_| is_part) else { continue };
            let to = self.folder.join(file_name(extension));
            fs::rename(&from, &to).map_err(WordsError::file(&to))?;
            sync(&to)?;
            files.push(Listed::of(&to, file_name(extension)).map_err(WordsError::file(&to))?);
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Head { texts: self.texts, meta, files })
    }
}

/// Tantivy's description of an index of one segment, without what is random in it: the segment's name, and of which others
/// it was merged.
fn described(index: &tantivy::Index) -> tantivy::Result<String> {
    let mut meta = index.load_metas()?;
    meta.payload = None;
    let mut text = serde_json::to_string(&meta)?;
    for segment in &meta.segments {
        text = text.replace(&serde_json::to_string(&segment.id())?, &serde_json::to_string(NAME)?);
    }
    Ok(text)
}

fn sync(path: &Path) -> Result<(), WordsError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(WordsError::file(path))
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    /// Of which 13.6 MB are taken before the first text is added.
    const SMALL: usize = 16_000_000;

    /// Some words of many texts, and some of one.
    fn texts() -> Vec<String> {
        let mut random = Rng::with_seed(7);
        let word = |random: &mut Rng| match random.bool() {
            true => format!("{}q ", random.u32(..300)),
            false => format!("{}q ", random.u32(..)),
        };
        (0..20_000).map(|_| (0..random.usize(1..40)).map(|_| word(&mut random)).collect()).collect()
    }

    /// Gives how many parts were written before the end.
    fn built(folder: &Path, texts: &[String], part_bytes: usize) -> usize {
        let mut builder = Builder::with_part_bytes(folder, part_bytes).unwrap();
        for (row, text) in (0..).zip(texts) {
            builder.add(3 * row, text).unwrap();
        }
        let parts = builder.parts.len();
        assert_eq!(builder.finish().unwrap(), texts.len());
        parts
    }

    #[test]
    fn many_parts_give_the_bytes_of_one() {
        let (one, many, texts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), texts());
        assert_eq!(built(one.path(), &texts, PART_BYTES), 0);
        let parts = built(many.path(), &texts, SMALL);
        assert!((3..100).contains(&parts), "{parts}");
        for entry in fs::read_dir(one.path()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(
                fs::read(one.path().join(&name)).unwrap() == fs::read(many.path().join(&name)).unwrap(),
                "{name:?}"
            );
        }
        let index = crate::Index::open(many.path()).unwrap();
        assert_eq!(index.len(), texts.len());
        for row in [0, 1, 9_999, 19_999] {
            assert_eq!(index.search(&texts[row], 1, None).unwrap()[0].row, 3 * row as u32);
        }
    }
}
