//! What each stage costs, over the sample papers: `just bench`, or `just bench -- parse` for one.
//!
//! Throughput is in bytes or rows a second, or in operations of the kernels. What embedding costs as a whole is in `graphs.rs`.

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use sciembed::clean::Step;
use sciembed::digest::{Digest, EmbedderKey, NodeKey, RowKey};
use sciembed::encoding::Dtype;
use sciembed::index::keys::{self, KeyIndex};
use sciembed::manifest::config::{Device, EmbedConfig, OnnxConfig, PrepareConfig};
use sciembed::model::{Environment, Library, resolve};
use sciembed::source::record::{Wanted, parse};
use sciembed::store::Store;
use sciembed::store::segment::{SegmentHeader, SegmentRow};
use sciembed_kernel::attention::{self, Attention, attention};
use sciembed_kernel::functions::Activation;
use sciembed_kernel::linear::{self, Linear, Weights, linear};
use sciembed_kernel::{Level, pack};

mod papers;

use papers::{fields, prepared, records, sample, texts};

fn parsing(criterion: &mut Criterion) {
    let text = sample();
    let mut group = criterion.benchmark_group("load");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            let (fields, key) = (fields(), "bibcode");
            text.lines().filter(|line| parse(black_box(line.as_bytes()), &Wanted::of(key, &fields)).is_ok()).count()
        });
    });
}

/// With white space folded, as by default, and with every step of cleaning.
fn preparing(criterion: &mut Criterion) {
    let records = records();
    let mut group = criterion.benchmark_group("prepare");
    group.throughput(Throughput::Bytes(sample().len() as u64));
    for (name, clean) in [("whitespace", &[Step::Whitespace][..]), ("clean", &Step::ALL)] {
        let config = PrepareConfig { clean: clean.to_vec(), ..PrepareConfig::of(&["title", "abstract"]) };
        group.bench_function(name, |bencher| {
            bencher.iter(|| records.iter().filter_map(|record| prepared(&config, black_box(record))).count());
        });
    }
}

fn row_keys(criterion: &mut Criterion) {
    let (texts, embedder) = (texts(), EmbedderKey::from_bytes([1; 32]));
    let mut group = criterion.benchmark_group("embed");
    group.throughput(Throughput::Elements(texts.len() as u64));
    group.bench_function("row_keys", |bencher| {
        bencher.iter(|| texts.iter().map(|text| RowKey::of(&embedder, black_box(text))).max());
    });
}

fn row(n: u32) -> SegmentRow {
    let mut key = [0; RowKey::LEN];
    key.copy_from_slice(&Digest::of(&n.to_le_bytes()).as_bytes()[..RowKey::LEN]);
    SegmentRow { key: RowKey::from_bytes(key), vector: vec![n as f32; 384], tokens: 200, tokens_dropped: 0 }
}

fn segments(criterion: &mut Criterion) {
    const ROWS: u32 = 4096;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = Store::create(folder.path()).expect("a store can be made there");
    let embedder = EmbedderKey::from_bytes([1; 32]);
    let header =
        SegmentHeader { embedder, dim: 384, dtype: Dtype::F16, rows: 0, runtime: String::new(), cpu: String::new() };
    let mut group = criterion.benchmark_group("segment");
    group.throughput(Throughput::Elements(u64::from(ROWS))).sample_size(20);
    let filled = || {
        let mut writer = store.segment_writer(header.clone()).expect("the store can be written");
        (0..ROWS).for_each(|n| writer.push(row(n)).expect("small numbers fit into half precision"));
        writer
    };
    group.bench_function("seal", |bencher| {
        bencher.iter_batched(
            filled,
            |mut writer| writer.seal().expect("the store can be written"),
            BatchSize::PerIteration,
        );
    });
    let (segments, _) = store.segments(&embedder, 384, Dtype::F16).expect("the store can be read");
    let wanted: Vec<RowKey> = (0..ROWS).map(|n| row(n).key).collect();
    group.bench_function("find", |bencher| {
        bencher.iter(|| wanted.iter().filter(|key| segments[0].find(black_box(key)).is_some()).count());
    });
}

fn key_index(criterion: &mut Criterion) {
    const ROWS: u32 = 1_000_000;
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("keys.fst");
    let bibcodes: Vec<String> =
        (0..ROWS).map(|n| format!("2012arXiv{:04}.{:04}{}", n / 10_000, n % 10_000, 'A')).collect();
    let mut names: Vec<(&str, u32)> = bibcodes.iter().map(String::as_str).zip(0..).collect();
    let file = std::fs::File::create(&path).expect("the folder can be written");
    let set = NodeKey::from_bytes([2; 32]);
    keys::write(std::io::BufWriter::new(file), &mut names, &mut [], &set).expect("bibcodes differ");
    let index = KeyIndex::open(&path).expect("it was just written");
    let mut n = 0u32;
    criterion.bench_function("get/bibcode_of_1M", |bencher| {
        bencher.iter(|| {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            index.row(black_box(&bibcodes[(n % ROWS) as usize]))
        });
    });
}

/// Tokens of a text as they are read, for a model in `models/`.
fn tokenising(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = root.join("models/all-MiniLM-L6-v2");
    if !model.exists() {
        eprintln!("SKIPPED: tokenise needs the model; ./setup.sh brings it");
        return;
    }
    let onnx = OnnxConfig { device: Device::Cpu, ..OnnxConfig::default() };
    let config = EmbedConfig { onnx, ..EmbedConfig::of(&model.display().to_string()) };
    let library = &mut Library::of_folders(Path::new("/"));
    let resolved = resolve(&config, library, &Environment::default(), &mut Digest::of_file).expect("a whole model");
    let tokenizer = resolved.tokenizer().expect("a good tokenizer").expect("a model that has one");
    let texts = texts();
    let mut group = criterion.benchmark_group("embed");
    group.throughput(Throughput::Elements(texts.len() as u64)).sample_size(20);
    group.bench_function("tokenise", |bencher| {
        bencher.iter(|| texts.iter().filter(|text| tokenizer.encode(black_box(text)).is_ok()).count());
    });
}

/// The products and the attention of a layer of MiniLM, over a text of 206 tokens.
fn kernels(criterion: &mut Criterion) {
    const TOKENS: usize = 206;
    let numbers = |count: usize| (0..count).map(|n| (n * 7919 % 1000) as f32 / 500.0 - 1.0).collect::<Vec<f32>>();
    let (from, to) = (384, 1536);
    let (floats, bytes) = (numbers(pack::floats(from, to)), vec![70; pack::bytes(from, to)]);
    let (scales, sums, bias, input) = (numbers(to), numbers(to), numbers(to), numbers(TOKENS * from));
    let mut group = criterion.benchmark_group("kernel");
    group.throughput(Throughput::Elements(2 * (TOKENS * from * to) as u64)).sample_size(20);
    for (name, weights) in [
        ("linear_f32", Weights::Floats(&floats)),
        ("linear_int8", Weights::Bytes { packed: &bytes, scales: &scales, sums: &sums }),
    ] {
        let product = Linear { from, to, weights, bias: Some(&bias), activation: Activation::Gelu };
        let (mut output, mut scratch) = (vec![0.0; TOKENS * to], linear::Scratch::default());
        group.bench_function(name, |bencher| {
            bencher.iter(|| linear(Level::best(), &product, black_box(&input), &mut output, &mut scratch));
        });
    }
    let products = numbers(TOKENS * 3 * from);
    let text = Attention { heads: 12, hidden: from, products: &products, bias: None };
    let (mut output, mut scratch) = (vec![0.0; TOKENS * from], attention::Scratch::default());
    group.throughput(Throughput::Elements(4 * (TOKENS * TOKENS * from) as u64));
    group.bench_function("attention", |bencher| {
        bencher.iter(|| attention(Level::best(), black_box(&text), &mut output, &mut scratch));
    });
}

criterion_group!(benches, parsing, preparing, row_keys, tokenising, kernels, segments, key_index);
criterion_main!(benches);
