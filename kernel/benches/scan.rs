//! How fast exact search is beside what memory gives: `cargo bench -p sciembed-kernel --bench scan -- [rows] [dim] [rounds] [types]`.
//!
//! In each round every case is measured once, the bandwidth of plain reading among them, so that a machine that slows down
//! slows all of them. Printed are medians: by the clock, and by the time that the threads were running (of Linux), which
//! tells more where other programs run beside. Bytes are those of the rows, read once for all queries. Words after the
//! numbers choose types and a level of instructions.

use std::hint::black_box;
use std::sync::OnceLock;
use std::thread;
use std::time::Instant;

use sciembed_kernel::Level;
use sciembed_kernel::scan::{Best, Queries, Rows, search};

/// How often each case is measured, where no third number says otherwise.
const ROUNDS: usize = 7;
const K: usize = 10;
const THREADS: [usize; 2] = [1, 2];
const QUERIES: [usize; 2] = [1, 64];
/// Rows that a thread takes at once, as a caller's pool would.
const PIECE: usize = 1 << 14;

/// Rows of every type. Those of a narrow type lie in the bytes of the widest, as what they hold does not matter to speed.
struct Store {
    dim: usize,
    rows: usize,
    floats: Vec<f32>,
    halves: Vec<u16>,
    codes: Vec<i8>,
    scales: Vec<f32>,
    bits: Vec<u8>,
}

impl Store {
    fn new(rows: usize, dim: usize) -> Self {
        let mut random = fastrand::Rng::with_seed(1);
        let count = rows * dim;
        Self {
            dim,
            rows,
            floats: (0..count).map(|_| random.f32() - 0.5).collect(),
            // Halves from -1 to 1: neither infinite nor subnormal.
            halves: (0..count).map(|_| (random.u16(0x2c00..0x3c00)) | (random.u16(..) & 0x8000)).collect(),
            codes: (0..count).map(|_| random.i8(-127..)).collect(),
            scales: vec![0.004; rows],
            bits: (0..rows * dim.div_ceil(8)).map(|_| random.u8(..)).collect(),
        }
    }

    fn of(&self, kind: &str, from: usize, to: usize) -> Rows<'_> {
        let of = from * self.dim..to * self.dim;
        match kind {
            "f32" => Rows::F32(&self.floats[of]),
            "f16" => Rows::F16(&self.halves[of]),
            "bf16" => Rows::Bf16(&self.halves[of]),
            "i8" => Rows::I8 { codes: &self.codes[of], scales: &self.scales[from..to] },
            _ => Rows::Bits(&self.bits[from * self.dim.div_ceil(8)..to * self.dim.div_ceil(8)]),
        }
    }

    fn bytes(&self, kind: &str) -> usize {
        let bits = match kind {
            "f32" => 32,
            "f16" | "bf16" => 16,
            "i8" => 8,
            _ => 1,
        };
        self.rows * (self.dim * bits).div_ceil(8)
    }
}

/// One thing to measure.
struct Case {
    kind: &'static str,
    queries: usize,
    threads: usize,
    /// By the clock, and of the thread that ran longest.
    seconds: [Vec<f64>; 2],
}

impl Case {
    fn medians(&self) -> [f64; 2] {
        self.seconds.clone().map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            seconds[seconds.len() / 2]
        })
    }
}

/// The time that this thread has been running, in seconds; none where the system does not tell.
fn running() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|nanoseconds| nanoseconds.parse().ok()).map_or(f64::NAN, |it: f64| it / 1e9)
}

/// Runs this many threads at once; gives what they give, and the seconds of the one that ran longest.
fn threads<T: Send>(count: usize, run: impl Fn(usize) -> T + Sync) -> (Vec<T>, f64) {
    thread::scope(|scope| {
        let run = &run;
        let start = |place| {
            scope.spawn(move || {
                let begun = running();
                (run(place), running() - begun)
            })
        };
        let started: Vec<_> = (0..count).map(start).collect();
        let (given, ran): (Vec<T>, Vec<f64>) =
            started.into_iter().map(|thread| thread.join().expect("no thread fails")).unzip();
        (given, ran.into_iter().fold(f64::NAN, f64::max))
    })
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        // Tests build and start benches too, and must be quick.
        return;
    }
    let numbers: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let number = |place: usize, default| numbers.get(place).copied().unwrap_or(default);
    // Of `--test` it is only wanted to know that it runs.
    let (all, several) =
        if std::env::args().any(|argument| argument == "--test") { (2_000, 1) } else { (1_000_000, ROUNDS) };
    let (rows, dim, rounds) = (number(0, all), number(1, 384), number(2, several));
    let store = Store::new(rows, dim);
    let mut random = fastrand::Rng::with_seed(2);
    let prepared = QUERIES.map(|count| {
        let queries: Vec<f32> = (0..count * dim).map(|_| random.f32() - 0.5).collect();
        Queries::new(&queries, dim)
    });
    let mut cases = cases();
    for _ in 0..rounds {
        for case in &mut cases {
            let queries = prepared.iter().find(|it| it.count() == case.queries);
            // As many bytes of each type for one query: what a thread ran is told in milliseconds.
            let passes = if case.queries == 1 { store.bytes("f32") / store.bytes(case.kind) } else { 1 };
            let begun = Instant::now();
            let ran = match queries {
                Some(queries) => find(&store, case.kind, queries, case.threads, passes),
                None => read(&store.floats, case.threads),
            };
            case.seconds[0].push(begun.elapsed().as_secs_f64() / passes as f64);
            case.seconds[1].push(ran / passes as f64);
        }
    }
    report(&store, &cases, rounds);
}

/// Reading alone, and every type that is asked for by every number of queries and threads.
fn cases() -> Vec<Case> {
    let asked: Vec<String> = std::env::args().collect();
    let mut kinds = vec!["f32", "f16", "bf16", "i8", "bits"];
    if kinds.iter().any(|kind| asked.iter().any(|asked| asked == kind)) {
        kinds.retain(|kind| asked.iter().any(|asked| asked == kind));
    }
    let case = |kind, queries, threads| Case { kind, queries, threads, seconds: [Vec::new(), Vec::new()] };
    let reads = THREADS.map(|threads| case("read", 0, threads));
    let searches = kinds.into_iter().flat_map(|kind| {
        QUERIES.into_iter().flat_map(move |queries| THREADS.map(|threads| case(kind, queries, threads)))
    });
    reads.into_iter().chain(searches).collect()
}

/// The level that is asked for, or this processor's best.
fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    let asked = |level: &Level| std::env::args().any(|argument| argument == level.to_string());
    *LEVEL.get_or_init(|| Level::ALL.into_iter().find(asked).unwrap_or_else(Level::best))
}

/// Streams that are read side by side: one alone leaves a processor waiting for memory a third of the time.
const STREAMS: usize = 4;
/// Floats of a stream before the next block: 64 KiB, and more made no difference.
const STREAM: usize = 1 << 14;

/// Adds up the bits of all, as fast as memory gives them.
fn read(values: &[f32], count: usize) -> f64 {
    let share = values.len().div_ceil(count);
    threads(count, |place| read_part(&values[place * share..values.len().min((place + 1) * share)])).1
}

fn read_part(values: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has what it was compiled for.
        black_box(unsafe { read_wide(values) });
        return;
    }
    black_box(read_streams(values));
}

/// The same, in the widest registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn read_wide(values: &[f32]) -> [[u32; 16]; STREAMS] {
    read_streams(values)
}

#[inline(always)]
fn read_streams(values: &[f32]) -> [[u32; 16]; STREAMS] {
    let mut sums = [[0u32; 16]; STREAMS];
    // What is left over is less than a ten-thousandth.
    for block in values.chunks_exact(STREAMS * STREAM) {
        let streams: [&[[f32; 16]]; STREAMS] = std::array::from_fn(|n| block[n * STREAM..][..STREAM].as_chunks().0);
        let [first, second, third, fourth] = streams.map(<[_]>::iter);
        for (((first, second), third), fourth) in first.zip(second).zip(third).zip(fourth) {
            for lane in 0..16 {
                sums[0][lane] = sums[0][lane].wrapping_add(first[lane].to_bits());
                sums[1][lane] = sums[1][lane].wrapping_add(second[lane].to_bits());
                sums[2][lane] = sums[2][lane].wrapping_add(third[lane].to_bits());
                sums[3][lane] = sums[3][lane].wrapping_add(fourth[lane].to_bits());
            }
        }
    }
    sums
}

fn find(store: &Store, kind: &str, queries: &Queries, count: usize, passes: usize) -> f64 {
    let share = store.rows.div_ceil(count);
    let (parts, ran) = threads(count, |place| {
        (0..passes).fold(Vec::new(), |_, _| {
            find_part(store, kind, queries, place * share, store.rows.min((place + 1) * share))
        })
    });
    let mut all = vec![Best::new(K); queries.count()];
    for part in parts {
        all.iter_mut().zip(part).for_each(|(all, part)| all.merge(part));
    }
    black_box(all);
    ran
}

fn find_part(store: &Store, kind: &str, queries: &Queries, from: usize, to: usize) -> Vec<Best> {
    let mut best = vec![Best::new(K); queries.count()];
    for from in (from..to).step_by(PIECE) {
        let rows = store.of(kind, from, to.min(from + PIECE));
        search(level(), &rows, queries, from as u64, None, &mut best);
    }
    best
}

fn report(store: &Store, cases: &[Case], rounds: usize) {
    println!("{} x {}, best {K}, {}, medians of {rounds}", store.rows, store.dim, level());
    println!("                          by the clock                           by the threads' time");
    println!("type  queries threads       ms   GB/s of reading queries/s       ms   GB/s of reading GFLOP/s");
    let gigabytes = |case: &Case| store.bytes(if case.queries == 0 { "f32" } else { case.kind }) as f64 / 1e9;
    for case in cases {
        let rates = case.medians().map(|seconds| gigabytes(case) / seconds);
        let reading = cases.iter().find(|it| it.queries == 0 && it.threads == case.threads).unwrap_or(case);
        let reading = reading.medians().map(|seconds| gigabytes(&cases[0]) / seconds);
        let [clock, ran] = case.medians();
        println!(
            "{:5} {:7} {:7} {:8.1} {:6.1} {:10.2} {:9.1} {:8.1} {:6.1} {:10.2} {:7.0}",
            case.kind,
            case.queries,
            case.threads,
            clock * 1e3,
            rates[0],
            rates[0] / reading[0],
            case.queries as f64 / clock,
            ran * 1e3,
            rates[1],
            rates[1] / reading[1],
            (case.queries * store.rows * store.dim * 2) as f64 / (ran * case.threads as f64) / 1e9,
        );
    }
}
