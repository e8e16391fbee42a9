//! What an index costs and finds: bytes a row, seconds and memory of its building, recall@10 after scoring candidates anew
//! from f16, and queries a second.
//!
//!     cargo bench -p sciembed-faiss --bench recall -- --rows 1000000
//!     cargo bench -p sciembed-faiss --bench recall -- --vectors real.f16 --index IVF256,PQ96np --index HNSW32,SQ8
//!
//! Left out, the index is the one that the crate would choose in 190 bytes a row. `--load` searches in memory, not in a
//! mapped file; `--nprobe`, `--candidates` (lists of numbers), `--queries`, `--threads` and `--per-list` say the rest.
//!
//! Vectors are drawn from a mixture that has the spectrum of a sentence model, or are read from a file of f16, row-major;
//! the last of them are the queries, and no part of the index. They lie in `--folder`, and are read from there in blocks.

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fastrand::Rng;
use half::f16;
use half::slice::HalfFloatSliceExt;
use sciembed_faiss::{Builder, Factory, Index, Parameters, Search, choose, sample};
use sciembed_kernel::Level;
use sciembed_kernel::functions::Activation;
use sciembed_kernel::linear::{Linear, Scratch, Weights, linear};
use sciembed_kernel::pack::pack_floats;

const DIM: usize = 384;
/// Hits that matter: recall@10.
const WANTED: usize = 10;
/// What an index may take of each row.
const ROW_BYTES: usize = 190;
const BLOCK: usize = 1 << 13;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Options {
    rows: usize,
    queries: usize,
    vectors: Option<PathBuf>,
    folder: PathBuf,
    threads: usize,
    /// Rows of the sample for each list.
    per_list: usize,
    nprobe: Vec<usize>,
    candidates: Vec<usize>,
    factories: Vec<Factory>,
    in_memory: bool,
}

fn main() -> Result<()> {
    let Some(options) = options()? else { return Ok(()) };
    fs::create_dir_all(&options.folder)?;
    let vectors = Vectors::of(&options)?;
    println!("{} rows of {DIM}, {} queries, {} threads", vectors.rows, vectors.queries.len() / DIM, options.threads);
    let begun = Instant::now();
    let exact = vectors.exact(options.threads)?;
    println!("exact search: {:.1} s", begun.elapsed().as_secs_f64());
    let chosen = choose(vectors.rows, DIM, ROW_BYTES).map(|choice| choice.factory);
    let wanted = if options.factories.is_empty() { chosen.into_iter().collect() } else { options.factories.clone() };
    wanted.into_iter().try_for_each(|factory| measure(factory, &vectors, &exact, &options))
}

/// `None` where another bench was asked for: cargo hands the same arguments to all.
fn options() -> Result<Option<Options>> {
    let mut options = Options {
        rows: 200_000,
        queries: 1000,
        vectors: None,
        folder: std::env::temp_dir().join("sciembed-faiss-recall"),
        threads: std::thread::available_parallelism()?.get(),
        per_list: 64,
        nprobe: vec![8, 16, 32, 64, 128, 256],
        candidates: vec![50, 100, 200, 400],
        factories: Vec::new(),
        in_memory: false,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} wants a value"));
        match argument.as_str() {
            "--bench" => {}
            "--test" => options.be_quick()?,
            "--rows" => options.rows = value()?.parse()?,
            "--queries" => options.queries = value()?.parse()?,
            "--vectors" => options.vectors = Some(value()?.into()),
            "--folder" => options.folder = value()?.into(),
            "--threads" => options.threads = value()?.parse()?,
            "--per-list" => options.per_list = value()?.parse()?,
            "--nprobe" => options.nprobe = numbers(&value()?)?,
            "--candidates" => options.candidates = numbers(&value()?)?,
            "--index" => options.factories.push(value()?.parse()?),
            "--load" => options.in_memory = true,
            name if "recall".contains(name) => {}
            _ => return Ok(None),
        }
    }
    Ok(Some(options))
}

impl Options {
    /// That it runs, not what comes out.
    fn be_quick(&mut self) -> Result<()> {
        (self.rows, self.queries) = (12_000, 50);
        self.factories = vec!["IVF16,PQ96np".parse()?, "SQ8".parse()?];
        (self.nprobe, self.candidates) = (vec![16], vec![100]);
        Ok(())
    }
}

fn numbers(text: &str) -> Result<Vec<usize>> {
    Ok(text.split(',').map(str::parse).collect::<std::result::Result<_, _>>()?)
}

fn measure(factory: Factory, vectors: &Vectors, exact: &[Vec<usize>], options: &Options) -> Result<()> {
    reset_peak()?;
    let wanted = match factory.search {
        Search::Ivf { lists, .. } => (options.per_list * lists).max(1 << 16),
        _ => 1 << 16,
    };
    let begun = Instant::now();
    let mut builder = Builder::train(factory, DIM, &vectors.drawn(wanted)?, options.threads)?;
    let trained = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    for first in (0..vectors.rows).step_by(BLOCK) {
        builder.add(&vectors.read(first..(first + BLOCK).min(vectors.rows))?)?;
    }
    let index = builder.finish()?;
    let path = options.folder.join("index.faiss");
    index.write(&path)?;
    let bytes = fs::metadata(&path)?.len() as f64 / vectors.rows as f64;
    println!(
        "\n{factory}: {bytes:.1} bytes a row, trained in {trained:.1} s, added in {:.1} s, {} MB at the peak",
        begun.elapsed().as_secs_f64(),
        peak_megabytes()?
    );
    drop(index);
    let mut index = if options.in_memory { Index::load } else { Index::open }(&path, options.threads)?;
    let nprobe = if let Search::Scan = factory.search { &options.nprobe[..1] } else { &options.nprobe[..] };
    println!(
        "{:>10} {:>10} {:>9} {:>9} {:>9} {:>9}",
        "nprobe, ef", "candidates", "recall@10", "worst 5%", "q/s", "ms alone"
    );
    for &nprobe in nprobe {
        for &candidates in &options.candidates {
            let parameters = Parameters { nprobe, ef: nprobe };
            trial(&mut index, vectors, exact, candidates, parameters)?;
        }
    }
    fs::remove_file(path)?;
    Ok(())
}

fn trial(
    index: &mut Index,
    vectors: &Vectors,
    exact: &[Vec<usize>],
    candidates: usize,
    parameters: Parameters,
) -> Result<()> {
    let begun = Instant::now();
    let hits = index.search(&vectors.queries, candidates, parameters)?;
    let mut found = Vec::with_capacity(exact.len());
    for (number, query) in vectors.queries.chunks_exact(DIM).enumerate() {
        let best = vectors.rescored(query, hits.of(number).map(|hit| hit.row))?;
        found.push(best.iter().filter(|row| exact[number].contains(row)).count());
    }
    let a_second = exact.len() as f64 / begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let alone = exact.len().min(100);
    for query in vectors.queries.chunks_exact(DIM).take(alone) {
        let hits = index.search(query, candidates, parameters)?;
        vectors.rescored(query, hits.of(0).map(|hit| hit.row))?;
    }
    let milliseconds = begun.elapsed().as_secs_f64() * 1e3 / alone as f64;
    let recall = found.iter().sum::<usize>() as f64 / (WANTED * exact.len()) as f64;
    found.sort_unstable();
    let worst = found[exact.len() / 20] as f64 / WANTED as f64;
    println!(
        "{:>10} {candidates:>10} {recall:>9.4} {worst:>9.2} {a_second:>9.0} {milliseconds:>9.2}",
        parameters.nprobe
    );
    Ok(())
}

/// Rows in a file, and queries in memory.
struct Vectors {
    file: File,
    rows: usize,
    queries: Vec<f32>,
}

impl Vectors {
    fn of(options: &Options) -> Result<Self> {
        let path = match &options.vectors {
            Some(path) => path.clone(),
            None => mixture(&options.folder, options.rows + options.queries)?,
        };
        let file = File::open(path)?;
        let rows = usize::try_from(file.metadata()?.len())? / (2 * DIM) - options.queries;
        let mut vectors = Self { file, rows, queries: Vec::new() };
        vectors.queries = vectors.read(rows..rows + options.queries)?;
        Ok(vectors)
    }

    fn read(&self, rows: std::ops::Range<usize>) -> Result<Vec<f32>> {
        let mut bytes = vec![0; rows.len() * DIM * 2];
        self.file.read_exact_at(&mut bytes, (rows.start * DIM * 2) as u64)?;
        let halves: Vec<f16> = bytes.chunks_exact(2).map(|two| f16::from_le_bytes([two[0], two[1]])).collect();
        let mut floats = vec![0.0; halves.len()];
        halves.convert_to_f32_slice(&mut floats);
        Ok(floats)
    }

    fn drawn(&self, wanted: usize) -> Result<Vec<f32>> {
        let rows = sample(self.rows, wanted, 1);
        let mut drawn = Vec::with_capacity(rows.len() * DIM);
        for row in rows {
            drawn.extend(self.read(row..row + 1)?);
        }
        Ok(drawn)
    }

    /// The best of some rows by their vectors.
    fn rescored(&self, query: &[f32], rows: impl Iterator<Item = usize>) -> Result<Vec<usize>> {
        let mut scored = Vec::new();
        for row in rows {
            let vector = self.read(row..row + 1)?;
            scored.push((vector.iter().zip(query).map(|(a, b)| a * b).sum(), row));
        }
        Ok(best(scored))
    }

    /// The rows that are truly nearest to each query.
    fn exact(&self, threads: usize) -> Result<Vec<Vec<usize>>> {
        let count = self.queries.len() / DIM;
        let mut transposed = vec![0.0; DIM * count];
        for (number, query) in self.queries.chunks_exact(DIM).enumerate() {
            query.iter().enumerate().for_each(|(place, value)| transposed[place * count + number] = *value);
        }
        let weights = pack_floats(&transposed, DIM, count);
        let each = self.rows.div_ceil(threads);
        let parts = std::thread::scope(|scope| {
            let starts: Vec<usize> = (0..self.rows).step_by(each).collect();
            let weights = &weights;
            let parts: Vec<_> = starts
                .into_iter()
                .map(|first| scope.spawn(move || self.scan(first..(first + each).min(self.rows), weights, count).ok()))
                .collect();
            parts.into_iter().map(|part| part.join().ok().flatten()).collect::<Option<Vec<_>>>()
        });
        let parts = parts.ok_or("a scan failed")?;
        Ok((0..count).map(|query| best(parts.iter().flat_map(|part| part[query].clone()).collect())).collect())
    }

    fn scan(&self, rows: std::ops::Range<usize>, weights: &[f32], count: usize) -> Result<Vec<Vec<(f32, usize)>>> {
        let (mut found, mut scratch) = (vec![Vec::new(); count], Scratch::default());
        for first in rows.clone().step_by(1024) {
            let vectors = self.read(first..(first + 1024).min(rows.end))?;
            let scores = times(&vectors, weights, DIM, count, &mut scratch);
            for (row, scores) in (first..).zip(scores.chunks_exact(count)) {
                for (found, &score) in found.iter_mut().zip(scores) {
                    keep(found, score, row);
                }
            }
        }
        Ok(found)
    }
}

/// Keeps the ten best, in no order.
fn keep(found: &mut Vec<(f32, usize)>, score: f32, row: usize) {
    if found.len() < WANTED {
        found.push((score, row));
        return;
    }
    let worst = (0..WANTED).min_by(|a, b| found[*a].0.total_cmp(&found[*b].0)).unwrap_or(0);
    if score > found[worst].0 {
        found[worst] = (score, row);
    }
}

fn best(mut scored: Vec<(f32, usize)>) -> Vec<usize> {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scored.into_iter().take(WANTED).map(|(_, row)| row).collect()
}

fn times(input: &[f32], weights: &[f32], from: usize, to: usize, scratch: &mut Scratch) -> Vec<f32> {
    let mut output = vec![0.0; input.len() / from * to];
    let weights = Weights::Floats(weights);
    let product = Linear { from, to, weights, bias: None, activation: Activation::Identity };
    linear(Level::best(), &product, input, &mut output, scratch);
    output
}

/// How a vector is made: parts of its length that all share, that its field, its topic, and it alone has.
///
/// Set so that the spectrum and the neighbours of 11,800 abstracts of arXiv under all-MiniLM-L6-v2 come out about as they
/// are: a mean of length 0.54, 63 % of the variance in 50 directions, and 0.72, 0.64 and 0.55 to the first, tenth and
/// hundredth neighbour.
const PARTS: [f32; 4] = [0.53, 0.36, 0.43, 0.63];
const FIELDS: usize = 60;
const TOPICS: usize = 2000;
/// Variances fall as this power of their rank, from this rank on.
const POWER: f32 = 1.1;
const SHIFT: f32 = 8.0;

/// Writes a mixture, unless it is there.
fn mixture(folder: &Path, rows: usize) -> Result<PathBuf> {
    let path = folder.join(format!("mixture-{rows}.f16"));
    if path.exists() {
        return Ok(path);
    }
    let mut random = Rng::with_seed(1);
    let spread: Vec<f32> = (0..DIM).map(|rank| (rank as f32 + SHIFT).powf(-0.5 * POWER)).collect();
    let total = spread.iter().map(|value| value * value).sum::<f32>().sqrt();
    let spread: Vec<f32> = spread.iter().map(|value| value / total).collect();
    let mut drawn = |count: usize| -> Vec<Vec<f32>> {
        (0..count).map(|_| spread.iter().map(|value| value * normal(&mut random)).collect()).collect()
    };
    let (mean, fields, topics) = (drawn(1), drawn(FIELDS), drawn(TOPICS));
    let rotation = pack_floats(&rotation(&mut random), DIM, DIM);
    let mut scratch = Scratch::default();
    let mut sink = BufWriter::new(File::create(path.with_extension("part"))?);
    for first in (0..rows).step_by(BLOCK) {
        let mut block = Vec::with_capacity(BLOCK * DIM);
        for _ in first..(first + BLOCK).min(rows) {
            let topic = (TOPICS as f32).powf(random.f32()) as usize % TOPICS;
            let shared = [&mean[0], &fields[topic % FIELDS], &topics[topic]];
            // A topic is wide in some directions and narrow in others.
            let mut own = Rng::with_seed(topic as u64);
            block.extend((0..DIM).map(|place| {
                let alone = PARTS[3] * spread[place] * normal(&mut random) * (own.f32() + 0.5);
                alone + (0..3).map(|part| PARTS[part] * shared[part][place]).sum::<f32>()
            }));
        }
        let mut rotated = times(&block, &rotation, DIM, DIM, &mut scratch);
        for row in rotated.chunks_exact_mut(DIM) {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            for value in row {
                sink.write_all(&f16::from_f32(*value / length).to_le_bytes())?;
            }
        }
    }
    sink.flush()?;
    fs::rename(path.with_extension("part"), &path)?;
    Ok(path)
}

/// Of mean 0 and variance 1, by the sum of twelve (Irwin and Hall): tails play no part here.
fn normal(random: &mut Rng) -> f32 {
    (0..12).map(|_| random.f32()).sum::<f32>() - 6.0
}

/// Any orthonormal matrix, so that no coordinate stands out.
fn rotation(random: &mut Rng) -> Vec<f32> {
    let mut basis: Vec<Vec<f32>> = Vec::with_capacity(DIM);
    while basis.len() < DIM {
        let mut next: Vec<f32> = (0..DIM).map(|_| normal(random)).collect();
        for _ in 0..2 {
            for other in &basis {
                let share: f32 = next.iter().zip(other).map(|(a, b)| a * b).sum();
                next.iter_mut().zip(other).for_each(|(value, other)| *value -= share * other);
            }
        }
        let length = next.iter().map(|value| value * value).sum::<f32>().sqrt();
        basis.push(next.into_iter().map(|value| value / length).collect());
    }
    basis.concat()
}

fn peak_megabytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM")).ok_or("no peak is told")?;
    Ok(line.split_whitespace().nth(1).ok_or("no peak is told")?.parse::<u64>()? / 1024)
}

/// Lets the system forget the peak so far (5, in proc(5)).
fn reset_peak() -> Result<()> {
    Ok(fs::write("/proc/self/clear_refs", "5")?)
}
