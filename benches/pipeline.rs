//! What each stage costs, over the sample papers: `just bench`, or `just bench -- parse` for one.
//!
//! Throughput is in bytes or rows a second. What embedding costs is in `graphs.rs`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use sciembed::clean::Step;
use sciembed::digest::{Digest, EmbedderKey, NodeKey, RowKey};
use sciembed::index::keys::{self, KeyIndex};
use sciembed::manifest::config::{Dtype, PrepareConfig};
use sciembed::source::record::{Wanted, parse};
use sciembed::store::Store;
use sciembed::store::segment::{SegmentHeader, SegmentRow};

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

criterion_group!(benches, parsing, preparing, row_keys, segments, key_index);
criterion_main!(benches);
