//! How long it takes to find a paper by its bibcode, warm, through the library.
//!
//!     lookups DIR DATASET     a row with its vector, by bibcodes drawn from the whole dataset; then 100,000 of them in one go
//!     lookups --keys N        a key index of N bibcodes alone
//!
//! Told are the median and the 99th percentile of single lookups.

use std::error::Error;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sciembed::dataset::{Dataset, DatasetError};
use sciembed::digest::NodeKey;
use sciembed::index::keys::{KeyIndex, KeyWriter};

/// Lookups that are timed one by one.
const TIMED: usize = 20_000;
/// Lookups in one go.
const BATCH: usize = 100_000;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let measured = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--keys", count] => count.parse().map_err(Into::into).and_then(keys),
        [dir, dataset] => rows(Path::new(dir), dataset),
        _ => Err("usage: lookups DIR DATASET, or lookups --keys N".into()),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lookups: {error}");
            ExitCode::FAILURE
        }
    }
}

fn rows(dir: &Path, name: &str) -> Result<(), Box<dyn Error>> {
    let dataset = Dataset::open(dir, name)?;
    let all = dataset.description().rows;
    let mut random = fastrand::Rng::with_seed(7);
    let mut draw = |count: usize| -> Result<Vec<String>, DatasetError> {
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            drawn.extend(dataset.bibcode(random.usize(0..dataset.rows()))?.map(str::to_owned));
        }
        Ok(drawn)
    };
    let (timed, batch) = (draw(TIMED)?, draw(BATCH)?);
    let is_found = |bibcode: &String| dataset.get(bibcode).is_ok_and(|row| row.is_some());
    let found = timed.iter().filter_map(|bibcode| dataset.get(bibcode).transpose());
    let sum: f32 = found.map(|row| row.map(|row| row.vector[0])).sum::<Result<f32, DatasetError>>()?;
    tell(&format!("a row of {all}"), timed.iter().map(|bibcode| time(|| is_found(bibcode))).collect());
    let begun = Instant::now();
    let found = batch.iter().filter(|bibcode| is_found(bibcode)).count();
    println!("{found} rows in {:.3} s (checked: {sum:.3})", begun.elapsed().as_secs_f64());
    Ok(())
}

/// A bibcode of one of 200 journals: year, journal, volume, page and an author's initial, each drawn.
fn bibcode(random: &mut fastrand::Rng) -> String {
    let journal = random.usize(0..200) * 7919;
    let letter = |place: u32| char::from(b'A' + (journal / 26usize.pow(place) % 26) as u8);
    let (year, volume, page) = (random.usize(1950..2026), random.usize(1..1000), random.usize(1..10_000));
    let initial = random.uppercase();
    format!("{year}{}{}{}..{volume:.>4}.{page:.>4}{initial}", letter(0), letter(1), letter(2))
}

fn keys(count: usize) -> Result<(), Box<dyn Error>> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut names: Vec<String> = (0..count).map(|_| bibcode(&mut random)).collect();
    names.sort_unstable();
    names.dedup();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("keys.fst");
    let mut writer = KeyWriter::new(BufWriter::new(std::fs::File::create(&path)?))?;
    for (row, name) in names.iter().enumerate() {
        writer.insert(name.as_bytes(), row as u64)?;
    }
    let sink = writer.finish(&NodeKey::from_bytes([7; NodeKey::LEN]))?;
    sink.into_inner()?.sync_all()?;
    let bytes = std::fs::metadata(&path)?.len();
    let index = KeyIndex::open(&path)?;
    let drawn: Vec<(usize, &String)> =
        (0..TIMED).map(|_| random.usize(0..names.len())).map(|at| (at, &names[at])).collect();
    for (row, name) in &drawn {
        assert_eq!(index.row(name)?, Some(*row), "{name}");
    }
    let each = bytes as f64 / names.len() as f64;
    tell(
        &format!("a key of {} ({each:.1} bytes each)", names.len()),
        drawn.iter().map(|(_, name)| time(|| index.row(name).is_ok_and(|row| row.is_some()))).collect(),
    );
    Ok(())
}

fn time(look_up: impl FnOnce() -> bool) -> Duration {
    let begun = Instant::now();
    assert!(std::hint::black_box(look_up()));
    begun.elapsed()
}

fn tell(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |part: f64| times[(times.len() as f64 * part) as usize].as_nanos() as f64 / 1000.0;
    println!("{what}: median {:.2} us, 99 % within {:.2} us", at(0.5), at(0.99));
}
