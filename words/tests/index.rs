//! What an index must keep to: which rows it finds, in which order, with which scores, and in which bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fastrand::Rng;
use sciembed_words::{Builder, Hit, Index, WordsError};
use tempfile::TempDir;

fn index_of(texts: &[&str]) -> (TempDir, Index) {
    let folder = tempfile::tempdir().unwrap();
    let rows: Vec<(u32, &str)> = (0..).zip(texts.iter().copied()).collect();
    build(folder.path(), &rows);
    let index = Index::open(folder.path()).unwrap();
    assert_eq!(index.len(), texts.len());
    (folder, index)
}

fn build(folder: &Path, texts: &[(u32, &str)]) {
    let mut builder = Builder::create(folder).unwrap();
    texts.iter().for_each(|(row, text)| builder.add(*row, text).unwrap());
    assert_eq!(builder.finish().unwrap(), texts.len());
}

fn rows(hits: &[Hit]) -> Vec<u32> {
    hits.iter().map(|hit| hit.row).collect()
}

fn found(index: &Index, question: &str) -> Vec<u32> {
    rows(&index.search(question, 100, None).unwrap())
}

/// Texts of up to 40 words, which are counted exactly; some words are frequent, most are rare, and none has other forms.
fn random_texts(count: usize, seed: u64) -> Vec<String> {
    let mut random = Rng::with_seed(seed);
    let words = |random: &mut Rng| -> String {
        (0..random.usize(1..=40)).map(|_| format!("q{}q ", (400.0 * random.f32().powi(3)) as u32)).collect()
    };
    (0..count).map(|_| words(&mut random)).collect()
}

fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

#[test]
fn an_index_without_texts_finds_nothing() {
    let (folder, index) = index_of(&[]);
    assert!(index.is_empty());
    assert_eq!(index.search("anything", 10, None).unwrap(), []);
    assert_eq!(contents(folder.path()).len(), 1);
}

#[test]
fn texts_without_words_are_counted_and_never_found() {
    let (_folder, index) = index_of(&["", " \n", "the of", "--"]);
    assert!(!index.is_empty());
    assert_eq!(index.search("the anything --", 10, None).unwrap(), []);
}

#[test]
fn one_text_is_found_by_any_of_its_words() {
    let (_folder, index) = index_of(&["Dark matter in dwarf galaxies"]);
    for question in ["dark", "what MATTERS most?", "galaxy", "a dwarf and a giant"] {
        assert_eq!(found(&index, question), [0], "{question}");
    }
    assert!(index.search("dark", 1, None).unwrap()[0].score > 0.0);
}

#[test]
fn accents_and_scripts_do_not_keep_apart_what_is_the_same() {
    let (_folder, index) = index_of(&["Erdős and Rényi", "CO₂ on Mars", "Hα in M31", "星の観測", "Галактика"]);
    for (question, row) in [
        ("erdos", 0),
        ("RÉNYI", 0),
        ("re\u{301}nyi", 0),
        ("co2", 1),
        ("H-alpha", 2),
        ("M 31", 2),
        ("観測", 3),
        ("ГАЛАКТИКА", 4),
    ] {
        assert_eq!(found(&index, question), [row], "{question}");
    }
}

#[test]
fn forms_of_a_word_find_each_other() {
    let (_folder, index) = index_of(&["observing pulsating stars", "a star was observed", "observations"]);
    assert_eq!(found(&index, "star observation pulsates").len(), 3);
    assert_eq!(found(&index, "star observation pulsates")[0], 0);
}

#[test]
fn a_name_with_its_number_is_better_than_the_number_alone() {
    let mut texts = vec!["Spectra of NGC 1234", "NGC 99 and 1234 others", "NGC1234 imaged", "The years of 1234"];
    texts.extend(["Members of NGC 7", "1234 years ago"].repeat(10));
    let (_folder, index) = index_of(&texts);
    for question in ["ngc 1234", "NGC1234"] {
        let best: BTreeSet<u32> = found(&index, question)[..2].iter().copied().collect();
        assert_eq!(best, BTreeSet::from([0, 2]), "{question}");
    }
}

#[test]
fn ties_go_to_the_smaller_row() {
    let texts: Vec<String> = (0..2000)
        .map(|row| match row % 3 {
            0 => "alpha beta gamma delta epsilon zeta".to_owned(),
            1 => "zeta delta alpha gamma epsilon beta".to_owned(),
            _ => format!("alpha {}", "zeta ".repeat(row % 7)),
        })
        .collect();
    let (_folder, index) = index_of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let hits = index.search("alpha beta gamma delta epsilon zeta", 50, None).unwrap();
    assert_eq!(rows(&hits), (0..2000).filter(|row| row % 3 != 2).take(50).collect::<Vec<_>>());
    assert!(hits.iter().all(|hit| hit.score == hits[0].score));
    let hits = index.search("beta", 50, None).unwrap();
    assert_eq!(rows(&hits), (0..2000).filter(|row| row % 3 != 2).take(50).collect::<Vec<_>>());
}

#[test]
fn only_allowed_rows_are_found() {
    let texts = random_texts(3000, 1);
    let (_folder, index) = index_of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    for question in ["q0q", "q0q q1q q300q", "q17q q2q q80q q3q"] {
        let all = index.search(question, 3000, None).unwrap();
        for every in [1, 3, 100, 2999, 5000] {
            let allowed = |row: u32| row % every == 1 % every;
            let hits = index.search(question, 20, Some(&allowed)).unwrap();
            let expected: Vec<Hit> = all.iter().copied().filter(|hit| allowed(hit.row)).take(20).collect();
            assert_eq!(hits, expected, "{question}, one of {every}");
        }
        assert_eq!(index.search(question, 20, Some(&|_| false)).unwrap(), []);
    }
}

#[test]
fn as_many_hits_come_as_there_are() {
    let (_folder, index) = index_of(&["one two", "two", "three"]);
    for (k, expected) in [(0, 0), (1, 1), (2, 2), (3, 2), (1000, 2), (usize::MAX, 2)] {
        assert_eq!(index.search("two", k, None).unwrap().len(), expected, "{k}");
    }
}

#[test]
fn unknown_words_find_nothing_and_take_nothing_away() {
    let (_folder, index) = index_of(&["red giants", "white dwarfs"]);
    for question in ["", "   ", "the", "quasar", "\u{0}\u{ffff}", "?!"] {
        assert_eq!(index.search(question, 10, None).unwrap(), [], "{question:?}");
    }
    let known = index.search("giant", 10, None).unwrap();
    assert_eq!(index.search("the quasar, a giant giant", 10, None).unwrap(), known);
}

#[test]
fn no_character_of_a_question_is_an_operator() {
    let (_folder, index) = index_of(&["title a b and or not", "black hole", "white hole to 2 or 3"]);
    for (question, plain) in [
        ("title:(black AND white)^2 \"", "title black white 2"),
        ("+black -hole", "black hole"),
        ("text:hole", "text hole"),
        ("[white TO black}", "white black"),
        ("\"black hole\"~3", "black hole 3"),
        ("blac* hol?", "blac hol"),
        ("NOT hole", "hole"),
        ("/ho.*/ \\ || && ! row:0 black~", "ho row 0 black"),
        ("(((((((((black", "black"),
    ] {
        assert_eq!(index.search(question, 10, None).unwrap(), index.search(plain, 10, None).unwrap(), "{question}");
    }
}

#[test]
fn rows_may_be_left_out() {
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &[(3, "star"), (4, "star dust"), (1 << 20, "star"), (u32::MAX, "dust")]);
    let index = Index::open(folder.path()).unwrap();
    assert_eq!(index.len(), 4);
    assert_eq!(found(&index, "star"), [3, 1 << 20, 4]);
    assert_eq!(found(&index, "dust"), [u32::MAX, 4]);
}

#[test]
fn rows_that_do_not_ascend_are_refused_and_the_others_stand() {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = Builder::create(folder.path()).unwrap();
    builder.add(5, "star").unwrap();
    for row in [5, 4, 0] {
        let error = builder.add(row, "planet").unwrap_err();
        assert!(matches!(error, WordsError::Order { last: 5, .. }), "{error}");
        assert_eq!(error.to_string(), format!("add row {row} after row 5: rows must ascend"));
    }
    builder.add(6, "comet").unwrap();
    assert_eq!(builder.finish().unwrap(), 2);
    let index = Index::open(folder.path()).unwrap();
    assert_eq!((found(&index, "star planet comet"), index.len()), (vec![5, 6], 2));
}

#[test]
fn a_folder_that_is_not_empty_is_refused_and_one_that_is_absent_is_made() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("mine"), "text").unwrap();
    let error = Builder::create(folder.path()).err().unwrap();
    assert!(matches!(error, WordsError::Occupied { .. }), "{error}");
    assert!(matches!(Builder::create(&folder.path().join("mine")), Err(WordsError::File { .. })));
    build(&folder.path().join("a/b"), &[(0, "star")]);
    assert!(matches!(Builder::create(&folder.path().join("a/b")), Err(WordsError::Occupied { .. })));
    assert_eq!(fs::read(folder.path().join("mine")).unwrap(), b"text");
}

#[test]
fn a_builder_that_is_dropped_leaves_an_empty_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut builder = Builder::create(folder.path()).unwrap();
    builder.add(0, "star").unwrap();
    drop(builder);
    assert_eq!(contents(folder.path()), BTreeMap::new());
    build(folder.path(), &[(0, "star")]);
}

#[test]
fn opening_and_searching_write_nothing() {
    let (folder, index) = index_of(&["star", "planet"]);
    let before = contents(folder.path());
    let names: Vec<&str> = before.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["words.fast", "words.fieldnorm", "words.head", "words.idx", "words.pos", "words.store", "words.term"]
    );
    assert_eq!(found(&index, "star"), [0]);
    for _ in 0..3 {
        assert_eq!(found(&Index::open(folder.path()).unwrap(), "star"), [0]);
    }
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn an_index_may_be_moved() {
    let (folder, _) = index_of(&["star", "planet"]);
    let elsewhere = tempfile::tempdir().unwrap();
    for (name, bytes) in contents(folder.path()) {
        fs::write(elsewhere.path().join(name), bytes).unwrap();
    }
    assert_eq!(found(&Index::open(elsewhere.path()).unwrap(), "planet"), [1]);
}

#[test]
fn the_same_texts_give_the_same_bytes() {
    let texts = random_texts(500, 3);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (one, _) = index_of(&texts);
    let (other, _) = index_of(&texts);
    let (one, other) = (contents(one.path()), contents(other.path()));
    assert!(one.keys().eq(other.keys()));
    one.iter().for_each(|(name, bytes)| assert!(other[name] == *bytes, "{name}"));
}

/// N = 3 texts of 3, 2 and 5 words: 10/3 in the mean; k1 = 1.2, b = 0.75.
#[test]
fn scores_are_bm25_by_hand() {
    let (_folder, index) = index_of(&["nova dust ring", "nova comet", "ring dust nova comet dust"]);
    let part = |having: f64, times: f64, words: f64| {
        let rarity = (1.0 + (3.0 - having + 0.5) / (having + 0.5)).ln();
        rarity * 2.2 * times / (times + 1.2 * (0.25 + 0.75 * words / (10.0 / 3.0)))
    };
    let near = |question: &str, expected: &[(u32, f64)]| {
        let hits = index.search(question, 10, None).unwrap();
        assert_eq!(rows(&hits), expected.iter().map(|(row, _)| *row).collect::<Vec<_>>(), "{question}");
        for (hit, (_, score)) in hits.iter().zip(expected) {
            assert!((f64::from(hit.score) - score).abs() < 1e-5, "{question}: {hit:?}, {score}");
        }
    };
    near("nova", &[(1, part(3.0, 1.0, 2.0)), (0, part(3.0, 1.0, 3.0)), (2, part(3.0, 1.0, 5.0))]);
    near("dust", &[(2, part(2.0, 2.0, 5.0)), (0, part(2.0, 1.0, 3.0))]);
    // Twice the same word counts once.
    near("comet comet", &[(1, part(2.0, 1.0, 2.0)), (2, part(2.0, 1.0, 5.0))]);
    let both = |row: f64, times: f64| part(2.0, times, row) + part(2.0, 1.0, row);
    near("ring or dust", &[(0, both(3.0, 1.0)), (2, both(5.0, 2.0))]);
    // log(1 + 0.5/3.5) · 2.2 / (1 + 1.2 · (0.25 + 0.75 · 0.6))
    assert!((part(3.0, 1.0, 2.0) - 0.159_657).abs() < 1e-6, "{}", part(3.0, 1.0, 2.0));
}

/// Scores every text for every question, by the formula and in numbers of as many bits as the library's: ties are known.
struct Oracle {
    counts: Vec<BTreeMap<String, u32>>,
    having: BTreeMap<String, u32>,
    mean: f32,
}

impl Oracle {
    fn new(texts: &[String]) -> Self {
        let (mut counts, mut having, mut words) = (Vec::new(), BTreeMap::new(), 0);
        for text in texts {
            let mut count = BTreeMap::new();
            text.split_whitespace().for_each(|word| *count.entry(word.to_owned()).or_insert(0) += 1);
            count.keys().for_each(|word| *having.entry(word.clone()).or_insert(0) += 1);
            words += text.split_whitespace().count();
            counts.push(count);
        }
        Self { mean: words as f32 / texts.len() as f32, counts, having }
    }

    fn best(&self, question: &BTreeSet<String>, k: usize) -> Vec<Hit> {
        let score = |count: &BTreeMap<String, u32>| {
            let norm = 1.2 * (1.0 - 0.75 + 0.75 * count.values().sum::<u32>() as f32 / self.mean);
            let part = |word: &String| {
                let (times, having) = (*count.get(word)? as f32, self.having[word]);
                let rarity = (1.0 + ((self.counts.len() as u32 - having) as f32 + 0.5) / (having as f32 + 0.5)).ln();
                Some(f64::from(rarity * 2.2 * (times / (times + norm))))
            };
            question.iter().filter_map(part).sum::<f64>() as f32
        };
        let scored = (0..).zip(&self.counts).map(|(row, count)| Hit { row, score: score(count) });
        let mut hits: Vec<Hit> = scored.filter(|hit| hit.score > 0.0).collect();
        hits.sort_by(|one, other| other.score.total_cmp(&one.score).then(one.row.cmp(&other.row)));
        hits.truncate(k);
        hits
    }
}

#[test]
fn what_is_skipped_is_never_among_the_best() {
    let mut texts = random_texts(4000, 5);
    // Ties, near one another and far apart.
    for row in 0..1000 {
        texts[4 * row] = texts[(4 * row) % 100].clone();
    }
    let oracle = Oracle::new(&texts);
    let (_folder, index) = index_of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut random = Rng::with_seed(6);
    for number in 0..300 {
        let question: BTreeSet<String> =
            (0..random.usize(1..9)).map(|_| format!("q{}q", (400.0 * random.f32().powi(2)) as u32)).collect();
        let question: BTreeSet<String> = question.into_iter().filter(|word| oracle.having.contains_key(word)).collect();
        let k = [1, 3, 10, 50, 5000][number % 5];
        let asked: Vec<&str> = question.iter().map(String::as_str).collect();
        assert_eq!(index.search(&asked.join(" "), k, None).unwrap(), oracle.best(&question, k), "{asked:?}, {k}");
    }
}

#[test]
fn a_long_question_ends_and_asks_for_its_rarest_words() {
    let mut texts: Vec<String> = (0..300).map(|_| (0..600).map(|word| format!("q{word}q ")).collect()).collect();
    texts.push("rare".to_owned());
    let (_folder, index) = index_of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let mut question = texts[0].clone() + "rare ";
    question += &(0..20_000).map(|word| format!("unknown{word} ")).collect::<String>();
    let hits = index.search(&question, 1000, None).unwrap();
    assert_eq!(hits.len(), 301);
    assert!(hits.iter().any(|hit| hit.row == 300));
}

#[test]
fn threads_may_share_an_index_and_hand_on_a_builder() {
    fn is_shared<T: Send + Sync>() {}
    fn is_handed_on<T: Send>() {}
    is_shared::<Index>();
    is_handed_on::<Builder>();
}

#[test]
fn many_threads_get_the_answers_of_one() {
    let texts = random_texts(2000, 8);
    let (_folder, index) = index_of(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    let ask = |number: usize| {
        let question = format!("q{}q q{}q q3q", number, 7 * number);
        index.search(&question, 25, Some(&|row| row as usize % 50 != number)).unwrap()
    };
    let expected: Vec<Vec<Hit>> = (0..50).map(ask).collect();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| (0..50).map(ask).collect::<Vec<_>>())).collect();
        threads.into_iter().for_each(|thread| assert_eq!(thread.join().unwrap(), expected));
    });
}
