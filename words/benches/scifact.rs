//! What an index of words costs and finds: nDCG@10 on SciFact, bytes a row, seconds to build, and the time of a search.
//!
//!     cargo bench -p sciembed-words --bench scifact -- folder
//!     cargo bench -p sciembed-words --bench scifact -- folder 1000000
//!
//! The folder holds SciFact as BEIR gives it: `corpus.jsonl.gz`, `queries.jsonl` and `qrels_test.tsv`. With a number, as
//! many texts as that are made of the corpus' own, by mixing their words, to see what size costs; then nothing is judged.
//! Without a folder, a few texts are indexed and asked for, quickly.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;
use flate2::read::GzDecoder;
use sciembed_words::{Builder, Index};
use serde_json::Value;

/// Hits that are judged.
const WANTED: usize = 10;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [folder] if Path::new(folder).is_dir() => judged(&Scifact::read(Path::new(folder))?),
        [folder, rows] if Path::new(folder).is_dir() => sized(&Scifact::read(Path::new(folder))?, rows.parse()?),
        // Asked for other benches' sake, or only to see that it runs.
        _ => few(),
    }
}

/// A question, and what judges found of each text.
struct Question {
    text: String,
    gains: HashMap<String, f64>,
}

struct Scifact {
    names: Vec<String>,
    texts: Vec<String>,
    questions: Vec<Question>,
}

impl Scifact {
    fn read(folder: &Path) -> Result<Self> {
        let mut judged: BTreeMap<String, HashMap<String, f64>> = BTreeMap::new();
        for line in fs::read_to_string(folder.join("qrels_test.tsv"))?.lines().skip(1) {
            let [question, text, gain] = line.split('\t').collect::<Vec<_>>()[..] else { return Err(line.into()) };
            judged.entry(question.to_owned()).or_default().insert(text.to_owned(), gain.parse()?);
        }
        let mut scifact = Self { names: Vec::new(), texts: Vec::new(), questions: Vec::new() };
        for line in BufReader::new(GzDecoder::new(File::open(folder.join("corpus.jsonl.gz"))?)).lines() {
            let line: Value = serde_json::from_str(&line?)?;
            scifact.names.push(string(&line, "_id")?);
            scifact.texts.push(string(&line, "title")? + " " + &string(&line, "text")?);
        }
        for line in fs::read_to_string(folder.join("queries.jsonl"))?.lines() {
            let line: Value = serde_json::from_str(line)?;
            if let Some(gains) = judged.remove(&string(&line, "_id")?) {
                scifact.questions.push(Question { text: string(&line, "text")?, gains });
            }
        }
        Ok(scifact)
    }
}

fn string(line: &Value, key: &str) -> Result<String> {
    Ok(line.get(key).and_then(Value::as_str).ok_or(format!("no {key} in {line}"))?.to_owned())
}

fn judged(scifact: &Scifact) -> Result<()> {
    let folder = folder()?;
    let index = built(&folder, scifact.texts.len() as u32, |row| scifact.texts[row as usize].clone())?;
    let (mut sum, mut times) = (0.0, Vec::new());
    for question in &scifact.questions {
        let begun = Instant::now();
        let hits = index.search(&question.text, WANTED, None)?;
        times.push(begun.elapsed());
        let found = hits.iter().map(|hit| &scifact.names[hit.row as usize]);
        sum += ndcg(found.map(|name| question.gains.get(name).copied().unwrap_or(0.0)), &question.gains);
    }
    println!("nDCG@{WANTED} of {} questions: {:.4}", scifact.questions.len(), sum / scifact.questions.len() as f64);
    told("a search", &mut times);
    Ok(fs::remove_dir_all(folder)?)
}

/// Gains discounted by the logarithm of the rank, of the best that they could be (Järvelin and Kekäläinen, 2002).
fn ndcg(found: impl Iterator<Item = f64>, gains: &HashMap<String, f64>) -> f64 {
    let discounted = |gains: &mut dyn Iterator<Item = f64>| -> f64 {
        gains.take(WANTED).enumerate().map(|(rank, gain)| gain / (rank as f64 + 2.0).log2()).sum()
    };
    let mut best: Vec<f64> = gains.values().copied().collect();
    best.sort_by(|one, other| other.total_cmp(one));
    discounted(&mut found.into_iter()) / discounted(&mut best.into_iter())
}

/// Texts of the lengths and words of the corpus, each of sentences of eight others.
fn sized(scifact: &Scifact, rows: u32) -> Result<()> {
    let mut random = Rng::with_seed(1);
    let sentences: Vec<Vec<&str>> = scifact.texts.iter().map(|text| text.split_inclusive(". ").collect()).collect();
    let folder = folder()?;
    let mut characters = 0;
    let index = built(&folder, rows, |row| {
        let mut text = String::new();
        while text.len() < 1000 {
            let from = &sentences[random.usize(..sentences.len())];
            text += from[random.usize(..from.len())];
        }
        // Names that few others have, as astronomers write them.
        text += &format!(" NGC {} and SDSS J{:06}", random.u32(..8000), row);
        characters += text.len();
        text
    })?;
    println!("{} characters a text", characters / rows as usize);
    let asked = |k: usize, allowed: Option<&(dyn Fn(u32) -> bool + Sync)>| -> Result<Vec<Duration>> {
        let timed = |question: &Question| {
            let begun = Instant::now();
            index.search(&question.text, k, allowed)?;
            Ok(begun.elapsed())
        };
        scifact.questions.iter().map(timed).collect()
    };
    told("a search for 10", &mut asked(10, None)?);
    told("a search for 100", &mut asked(100, None)?);
    told("a search for 10 in a row of 50", &mut asked(10, Some(&|row| row % 50 == 0))?);
    Ok(fs::remove_dir_all(folder)?)
}

fn few() -> Result<()> {
    let texts = ["Hα emission of NGC 1068", "A survey of galaxies at 21 cm", "The quasar 3C 273 and its jet"];
    let folder = folder()?;
    let index = built(&folder, texts.len() as u32, |row| texts[row as usize].to_owned())?;
    let mut times = Vec::new();
    for (row, question) in ["ngc1068", "surveys of a galaxy", "3c273"].into_iter().enumerate() {
        let begun = Instant::now();
        let hits = index.search(question, WANTED, None)?;
        times.push(begun.elapsed());
        assert_eq!(hits.iter().map(|hit| hit.row as usize).collect::<Vec<_>>(), [row], "{question}");
    }
    told("a search", &mut times);
    Ok(fs::remove_dir_all(folder)?)
}

fn folder() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("sciembed-words-scifact-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn built(folder: &Path, rows: u32, mut text: impl FnMut(u32) -> String) -> Result<Index> {
    let begun = Instant::now();
    let mut builder = Builder::create(folder)?;
    for row in 0..rows {
        builder.add(row, &text(row))?;
    }
    let added = begun.elapsed().as_secs_f64();
    let rows = builder.finish()?;
    let built = begun.elapsed().as_secs_f64();
    let mut files = fs::read_dir(folder)?
        .map(|entry| Ok((entry.as_ref().map_err(|_| "a folder")?.file_name(), entry?.metadata()?.len())))
        .collect::<Result<Vec<_>>>()?;
    files.sort();
    let bytes: u64 = files.iter().map(|(_, bytes)| bytes).sum();
    println!("{rows} texts in {built:.1} s, of which {:.1} s for the end", built - added);
    println!("{:.1} bytes a row; {} MB of memory at the peak", bytes as f64 / rows as f64, peak_megabytes()?);
    for (name, bytes) in files {
        println!("    {:>8.2}  {}", bytes as f64 / rows as f64, name.display());
    }
    let begun = Instant::now();
    let index = Index::open(folder)?;
    println!("opened in {:.2} ms", begun.elapsed().as_secs_f64() * 1e3);
    Ok(index)
}

fn told(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
    println!("{what}: {:.3} ms at the median, {:.3} ms at the 99th hundredth", at(50), at(99));
}

fn peak_megabytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("no peak is told")?;
    Ok(line.split_whitespace().nth(1).ok_or("no peak is told")?.parse::<u64>()? / 1024)
}
