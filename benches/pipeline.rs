//! What each stage costs, over the sample papers: `just bench`, or `just bench -- parse` for one.
//!
//! Throughput is in bytes, rows or tokens a second. The embedder needs what setup.sh brings and says so without it.

use std::hint::black_box;
use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

use sciembed::digest::{Digest, EmbedderKey, NodeKey, RowKey};
use sciembed::index::keys::{self, KeyIndex};
use sciembed::manifest::config::{Device, Dtype, EmbedConfig, OnnxConfig, PrepareConfig};
use sciembed::model::{Environment, Library, resolve};
use sciembed::node::prepare;
use sciembed::source::record::{SourceRecord, parse};
use sciembed::store::Store;
use sciembed::store::segment::{SegmentHeader, SegmentRow};

/// Papers that the embedder runs per iteration: some seconds on two cores.
const EMBEDDED: usize = 64;

fn fields() -> Vec<String> {
    vec!["title".into(), "abstract".into()]
}

fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/ads_metadata_by_year_full/2010.json.gz");
    let file = std::fs::File::open(path).expect("the sample is part of the project");
    let mut text = String::new();
    let mut reader = sciembed::source::codec::decompress(file).expect("the sample is gzip");
    reader.read_to_string(&mut text).expect("the sample is UTF-8");
    text
}

fn records() -> Vec<SourceRecord> {
    sample().lines().map(|line| parse(line.as_bytes(), "bibcode", &fields()).expect("the sample is in order")).collect()
}

fn texts() -> Vec<String> {
    let config = PrepareConfig {
        fields: fields(),
        prefix: String::new(),
        suffix: String::new(),
        delimiter: "\n\n".into(),
        list_delimiter: "; ".into(),
        lowercase: false,
        truncate: 3000,
    };
    let text = |record: SourceRecord| {
        prepare::text(&config, record.fields.into_iter().map(Option::unwrap_or_default).collect())
    };
    records().into_iter().filter_map(text).map(|text| text.text).collect()
}

fn parsing(criterion: &mut Criterion) {
    let text = sample();
    let mut group = criterion.benchmark_group("load");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            text.lines().filter(|line| parse(black_box(line.as_bytes()), "bibcode", &fields()).is_ok()).count()
        });
    });
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
    keys::write(std::io::BufWriter::new(file), &mut names, &NodeKey::from_bytes([2; 32])).expect("bibcodes differ");
    let index = KeyIndex::open(&path).expect("it was just written");
    let mut n = 0u32;
    criterion.bench_function("get/bibcode_of_1M", |bencher| {
        bencher.iter(|| {
            n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            index.row(black_box(&bibcodes[(n % ROWS) as usize]))
        });
    });
}

fn minilm(criterion: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (model, runtime) = (root.join("models/all-MiniLM-L6-v2"), root.join("lib/libonnxruntime.so"));
    if !model.exists() || !runtime.exists() {
        eprintln!("SKIPPED: embed/minilm needs the model and ONNX Runtime; ./setup.sh brings both");
        return;
    }
    let onnx = OnnxConfig { device: Device::Cpu, ..OnnxConfig::default() };
    let config = EmbedConfig { onnx, ..EmbedConfig::of(&model.display().to_string()) };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let environment =
        Environment { onnxruntime: vec![runtime], cores, graphs: std::env::temp_dir().join("sciembed-bench") };
    let resolved = resolve(&config, &mut Library::of_folders(root), &environment, &mut |path| Digest::of_file(path))
        .expect("the model is in order");
    let mut embedder = resolved.start(&environment).expect("the model starts");
    let texts = texts();
    let texts: Vec<&str> = texts.iter().take(EMBEDDED).map(String::as_str).collect();
    let mut group = criterion.benchmark_group("embed");
    group.throughput(Throughput::Elements(texts.len() as u64)).sample_size(10);
    group.bench_function("minilm_papers", |bencher| {
        bencher
            .iter(|| embedder.embed(&texts, &mut |_, _| ControlFlow::Continue(())).expect("the texts can be embedded"));
    });
}

criterion_group!(benches, parsing, row_keys, segments, key_index, minilm);
criterion_main!(benches);
