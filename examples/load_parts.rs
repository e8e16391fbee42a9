//! What limits load: decompressing a file, and finding the same fields in its lines, each measured alone on one core.
//!
//! Prints two lines, `decompress SECONDS` and `parse SECONDS`, the least of three rounds: `just load-campaign` sets load's own
//! time beside their sum.

use std::hint::black_box;
use std::io::{self, Read};
use std::path::Path;
use std::time::Instant;

use sonic_rs::PointerTree;

const ROUNDS: usize = 3;
const FIELDS: [&str; 3] = ["bibcode", "title", "abstract"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: load_parts FILE of JSON lines, plain or compressed")?;
    let path = Path::new(&path);
    let text = decompressed(path)?;
    println!("bytes {}", text.len());
    println!("decompress {:.4}", least(|| decompressed(path).map(|text| text.len()))?);
    println!("parse {:.4}", least(|| found(&text))?);
    Ok(())
}

fn decompressed(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    sciembed::source::codec::decompress(std::fs::File::open(path)?)?.read_to_end(&mut text)?;
    Ok(text)
}

/// Bytes of the wanted fields.
fn found(text: &[u8]) -> io::Result<usize> {
    let mut tree = PointerTree::new();
    FIELDS.iter().for_each(|field| tree.add_path([*field].iter()));
    let mut bytes = 0;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let values = sonic_rs::get_many(line, &tree).map_err(io::Error::other)?;
        bytes += values.iter().flatten().map(|value| value.as_raw_str().len()).sum::<usize>();
    }
    Ok(bytes)
}

/// Seconds of the fastest round.
fn least<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<f64> {
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        black_box(work()?);
        least = least.min(begun.elapsed().as_secs_f64());
    }
    Ok(least)
}
