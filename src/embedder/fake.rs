//! The deterministic embedder for tests: vectors from BLAKE3, words for tokens, and as slow as asked.
//!
//! It keeps every promise of the trait and none of meaning. The delay per row exists so that a test can kill a run in
//! the middle; the controls exist so that a test can see what was computed, by other means than the program's own word,
//! and can make it fail.

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::{Description, Embedder, EmbedderError, Embedding, Sink, Told, pooling};
use crate::digest::RowKey;
use crate::model::{Fake, FakeControls};

/// Tokens that the test embedder pretends to add to every text.
const SPECIAL_TOKENS: usize = 2;

/// See the file's head.
pub(super) struct FakeEmbedder {
    fake: Fake,
    controls: FakeControls,
    /// Opened to append, so that a line is one write and the lines of two processes do not mix.
    log: Option<(PathBuf, File)>,
    description: Description,
}

impl FakeEmbedder {
    /// # Errors
    /// A log that cannot be opened.
    pub fn start(fake: Fake, controls: &FakeControls, description: Description) -> Result<Self, EmbedderError> {
        let open = |path: &PathBuf| {
            let file = File::options().create(true).append(true).open(path).map_err(unwritable(path));
            file.map(|file| (path.clone(), file))
        };
        let log = controls.log.as_ref().map(open).transpose()?;
        Ok(Self { fake, controls: controls.clone(), log, description })
    }

    /// Fails if one of `texts` is to be refused, and has not been refused once where once is enough.
    fn refuse(&self, texts: &[&str]) -> Result<(), EmbedderError> {
        let Some(what) = &self.controls.fail else { return Ok(()) };
        let Some(row) = texts.iter().position(|text| text.contains(what)) else { return Ok(()) };
        if let Some(path) = &self.controls.fail_once {
            match File::create_new(path) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                Err(error) => return Err(unwritable(path)(error)),
            }
        }
        Err(EmbedderError::Refused { rows: texts.len(), row, what: what.clone() })
    }

    /// Notes that the vector of `text` is computed.
    fn note(&mut self, text: &str) -> Result<(), EmbedderError> {
        let Some((path, file)) = &mut self.log else { return Ok(()) };
        let line = format!("{}\n", RowKey::of(&self.description.key, text));
        file.write_all(line.as_bytes()).map_err(unwritable(path))
    }

    fn embedding(&self, text: &str) -> Embedding {
        let words: Vec<&str> = text.split_whitespace().collect();
        let room = self.fake.max_length.map_or(usize::MAX, |length| length.saturating_sub(SPECIAL_TOKENS));
        let kept = words.len().min(room);
        // Like a model, it sees nothing of what was dropped.
        let seen = if kept == words.len() { text.to_owned() } else { words[..kept].join(" ") };
        let mut vector = vector(&seen, self.fake.dim);
        if self.controls.nan.as_ref().is_some_and(|what| text.contains(what)) {
            vector[0] = f32::NAN;
        }
        Embedding {
            vector,
            tokens: saturating_u32(kept + SPECIAL_TOKENS),
            tokens_dropped: saturating_u32(words.len() - kept),
        }
    }
}

impl Embedder for FakeEmbedder {
    fn description(&self) -> &Description {
        &self.description
    }

    fn embed(&mut self, texts: &[&str], sink: Sink) -> Result<(), EmbedderError> {
        self.refuse(texts)?;
        for (row, text) in texts.iter().enumerate() {
            if !self.fake.delay.is_zero() {
                std::thread::sleep(self.fake.delay);
            }
            let embedding = self.embedding(text);
            self.note(text)?;
            if let ControlFlow::Break(()) = sink(Told::Embedded(row, embedding)) {
                break;
            }
        }
        Ok(())
    }
}

fn unwritable(path: &Path) -> impl FnOnce(io::Error) -> EmbedderError {
    |source| EmbedderError::FakeFile { file: path.to_owned(), source }
}

/// `dim` numbers from -1 to 1 out of BLAKE3's extendable output, scaled to length 1.
fn vector(text: &str, dim: usize) -> Vec<f32> {
    let mut bytes = vec![0u8; dim * 4];
    blake3::Hasher::new().update(text.as_bytes()).finalize_xof().fill(&mut bytes);
    let (numbers, _) = bytes.as_chunks::<4>();
    let unit = |bytes: &[u8; 4]| (f64::from(i32::from_le_bytes(*bytes)) / f64::from(i32::MAX)) as f32;
    let mut vector: Vec<f32> = numbers.iter().map(unit).collect();
    pooling::normalize(&mut vector);
    vector
}

fn saturating_u32(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedder::{
        Environment, resolve,
        tests::{config, embedding_of},
    };
    use crate::model::Library;
    use std::fs;

    fn started(fake: FakeControls) -> Box<dyn Embedder> {
        let env = Environment { fake, ..Environment::default() };
        let mut library = Library::of_folders(Path::new("."));
        let unread = &mut |_: &Path| unreachable!("the test embedder has no files");
        resolve(&config("fake://4"), &mut library, &env, unread).unwrap().start(&env).unwrap()
    }

    /// The rows that came before the end, with how it ended.
    fn embedded(embedder: &mut dyn Embedder, texts: &[&str]) -> (Vec<Embedding>, Result<(), EmbedderError>) {
        let mut rows = Vec::new();
        let result = embedder.embed(texts, &mut |told| {
            rows.extend(embedding_of(told).map(|(_, embedding)| embedding));
            ControlFlow::Continue(())
        });
        (rows, result)
    }

    /// What is logged must be on disk before anybody can use the vector, or a kill in between would hide work.
    #[test]
    fn each_text_is_logged_before_its_vector_is_handed_on() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let controls = FakeControls { log: Some(log.clone()), ..FakeControls::default() };
        let (mut embedder, mut other) = (started(controls.clone()), started(controls));
        let key = embedder.description().key;
        let mut lines = String::new();
        let texts = ["dust", "gas", "dust"];
        let sink = &mut |told: Told| {
            let (row, _) = embedding_of(told).unwrap();
            lines += &format!("{}\n", RowKey::of(&key, texts[row]));
            assert_eq!(fs::read_to_string(&log).unwrap(), lines);
            if row == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        embedder.embed(&texts, sink).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2, "nothing is computed after a break");
        embedded(other.as_mut(), &["a third"]).1.unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 3, "two embedders append to one log");
    }

    #[test]
    fn a_refused_text_fails_its_whole_call() {
        let mut embedder = started(FakeControls { fail: Some("dust".to_owned()), ..FakeControls::default() });
        let (rows, result) = embedded(embedder.as_mut(), &["gas", "much dust", "dust"]);
        assert!(rows.is_empty());
        assert!(matches!(result, Err(EmbedderError::Refused { rows: 3, row: 1, .. })));
        assert!(embedded(embedder.as_mut(), &["gas"]).1.is_ok());
    }

    #[test]
    fn a_passing_fault_is_met_once_by_whoever_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        let fail_once = Some(dir.path().join("failed"));
        let controls = FakeControls { fail: Some("dust".to_owned()), fail_once, ..FakeControls::default() };
        let (mut embedder, mut other) = (started(controls.clone()), started(controls));
        assert!(embedded(embedder.as_mut(), &["gas"]).1.is_ok());
        assert!(embedded(embedder.as_mut(), &["dust"]).1.is_err());
        assert!(embedded(other.as_mut(), &["dust"]).1.is_ok());
        assert!(embedded(embedder.as_mut(), &["dust"]).1.is_ok());
    }

    #[test]
    fn a_nan_comes_for_the_texts_that_ask_for_it() {
        let mut embedder = started(FakeControls { nan: Some("dust".to_owned()), ..FakeControls::default() });
        let (rows, result) = embedded(embedder.as_mut(), &["gas", "dust"]);
        result.unwrap();
        assert!(rows[0].vector.iter().all(|value| value.is_finite()));
        assert!(rows[1].vector[0].is_nan());
    }
}
