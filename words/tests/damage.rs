//! What becomes of an index that is not as it was written: an error that names a file, or answers that are right.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use sciembed_words::{Builder, Hit, Index, VERSION, WordsError};
use tempfile::TempDir;

const FILES: [&str; 7] =
    ["words.fast", "words.fieldnorm", "words.head", "words.idx", "words.pos", "words.store", "words.term"];
const QUESTION: &str = "q1q q5q q40q q300q";

/// Every text has the words that are asked for now and then, so that a search reads most of what there is.
fn built(texts: usize, seed: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Rng::with_seed(seed);
    let mut builder = Builder::create(folder.path()).unwrap();
    for row in 0..texts {
        let words: String =
            (0..random.usize(1..60)).map(|_| format!("q{}q ", (3000.0 * random.f32().powi(3)) as u32)).collect();
        // Rows that follow no rule, so that there is a column of them.
        builder.add(2 * row as u32 + random.u32(0..2), &words).unwrap();
    }
    builder.finish().unwrap();
    folder
}

fn answer(folder: &Path) -> Result<Vec<Hit>, WordsError> {
    Index::open(folder)?.search(QUESTION, 20, None)
}

/// Damages a file, asks, and puts it right again.
fn with(folder: &Path, name: &str, bytes: &[u8]) -> Result<Vec<Hit>, WordsError> {
    let path = folder.join(name);
    let whole = fs::read(&path).unwrap();
    // Another file, for the old one may still be mapped.
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    let answer = answer(folder);
    fs::remove_file(&path).unwrap();
    fs::write(&path, whole).unwrap();
    answer
}

/// Whether an answer is an error of damage that names this file.
fn names(answer: &Result<Vec<Hit>, WordsError>, name: &str) -> bool {
    match answer {
        Err(WordsError::Damaged { path, .. }) => path.ends_with(name),
        _ => false,
    }
}

#[test]
fn a_cut_file_is_refused() {
    let folder = built(300, 1);
    for name in FILES {
        let whole = fs::read(folder.path().join(name)).unwrap();
        for length in (0..whole.len()).step_by(1 + whole.len() / 50).chain([whole.len() - 1]) {
            let answer = with(folder.path(), name, &whole[..length]);
            let is_foreign = name == "words.head" && matches!(answer, Err(WordsError::Foreign { .. }));
            assert!(names(&answer, name) || (is_foreign && length < 8), "{name}, {length} bytes: {answer:?}");
        }
        let longer = [whole.as_slice(), &[0]].concat();
        assert!(names(&with(folder.path(), name, &longer), name), "{name}, one byte more");
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_is_not_read() {
    let folder = built(300, 2);
    let right = answer(folder.path()).unwrap();
    let mut random = Rng::with_seed(3);
    for name in FILES {
        let whole = fs::read(folder.path().join(name)).unwrap();
        for place in (0..whole.len()).step_by(1 + whole.len() / 200) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << random.u32(0..8);
            match with(folder.path(), name, &bytes) {
                Ok(hits) => panic!("{name}, byte {place}: {hits:?}, and {right:?} was right"),
                Err(WordsError::Foreign { .. } | WordsError::Version { .. }) if name == "words.head" => {
                    assert!(place < 12, "byte {place}");
                }
                error => assert!(names(&error, name), "{name}, byte {place}: {error:?}"),
            }
        }
    }
    assert_eq!(answer(folder.path()).unwrap(), right);
}

/// In files of many blocks, damage that opening does not meet waits for the search that does.
#[test]
fn damage_deep_in_a_file_is_met_by_the_search_that_reads_it() {
    let folder = built(20_000, 4);
    let right = answer(folder.path()).unwrap();
    let path = folder.path().join("words.idx");
    let whole = fs::read(&path).unwrap();
    assert!(whole.len() > 10 << 16, "{}", whole.len());
    let (mut met, mut spared) = (0, 0);
    for place in (0..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[place] ^= 64;
        match with(folder.path(), "words.idx", &bytes) {
            Ok(hits) => {
                assert_eq!(hits, right, "byte {place}");
                spared += 1;
            }
            answer => {
                assert!(names(&answer, "words.idx"), "byte {place}: {answer:?}");
                met += 1;
            }
        }
    }
    assert!(met > 0 && spared > 0, "{met} met, {spared} spared");
    // Whatever is asked, nothing wrong comes of a file that is wrong everywhere.
    let random = Rng::with_seed(5).u8(1..);
    let bytes: Vec<u8> = whole.iter().map(|byte| byte ^ random).collect();
    assert!(names(&with(folder.path(), "words.idx", &bytes), "words.idx"));
}

#[test]
fn a_file_of_another_index_is_refused() {
    let (folder, other) = (built(300, 6), built(300, 7));
    for name in FILES {
        let foreign = fs::read(other.path().join(name)).unwrap();
        if foreign == fs::read(folder.path().join(name)).unwrap() {
            // Nothing is stored and there are no positions: the same for as many texts.
            assert!(["words.pos", "words.store"].contains(&name), "{name}");
            continue;
        }
        let answer = with(folder.path(), name, &foreign);
        assert!(matches!(answer, Err(WordsError::Damaged { .. })), "{name}: {answer:?}");
    }
}

#[test]
fn files_that_changed_places_are_refused() {
    let folder = built(300, 8);
    for (place, name) in FILES.iter().enumerate() {
        let swapped = fs::read(folder.path().join(FILES[(place + 1) % FILES.len()])).unwrap();
        let answer = with(folder.path(), name, &swapped);
        let is_foreign = *name == "words.head" && matches!(answer, Err(WordsError::Foreign { .. }));
        assert!(is_foreign || names(&answer, name), "{name}: {answer:?}");
    }
}

#[test]
fn a_missing_file_is_refused() {
    for name in FILES {
        let folder = built(20, 9);
        fs::remove_file(folder.path().join(name)).unwrap();
        let answer = answer(folder.path());
        let is_foreign = name == "words.head" && matches!(answer, Err(WordsError::Foreign { .. }));
        assert!(is_foreign || names(&answer, name), "{name}: {answer:?}");
    }
}

#[test]
fn a_folder_that_is_no_index_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(Index::open(folder.path()), Err(WordsError::Foreign { .. })));
    fs::write(folder.path().join("meta.json"), "{}").unwrap();
    assert!(matches!(Index::open(folder.path()), Err(WordsError::Foreign { .. })));
    fs::write(folder.path().join("words.head"), "a text of somebody's").unwrap();
    assert!(matches!(Index::open(folder.path()), Err(WordsError::Foreign { .. })));
    assert!(matches!(Index::open(&folder.path().join("absent")), Err(WordsError::File { .. })));
    assert!(matches!(Index::open(&folder.path().join("meta.json")), Err(WordsError::File { .. })));
}

#[test]
fn another_version_is_told_from_damage() {
    let folder = built(20, 10);
    let mut head = fs::read(folder.path().join("words.head")).unwrap();
    head[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let answer = with(folder.path(), "words.head", &head);
    assert!(matches!(answer, Err(WordsError::Version { found, .. }) if found == VERSION + 1), "{answer:?}");
    let message = answer.unwrap_err().to_string();
    assert!(message.ends_with("it has version 2, and this program reads 1; build it anew"), "{message}");
}

/// A building that broke off has no head.
#[test]
fn a_building_that_broke_off_is_no_index() {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = Builder::create(folder.path()).unwrap();
    builder.add(0, "star").unwrap();
    assert!(matches!(Index::open(folder.path()), Err(WordsError::Foreign { .. })));
    // As if the process had ended here.
    std::mem::forget(builder);
    assert!(matches!(Index::open(folder.path()), Err(WordsError::Foreign { .. })));
    assert!(matches!(Builder::create(folder.path()), Err(WordsError::Occupied { .. })));
}
