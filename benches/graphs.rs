//! The graphs of one model beside each other: the plain export in its folder, and those that sciembed makes of its
//! weights, in f32 and int8.
//!
//! In alternation, since other work on the machine comes and goes: each round runs every graph on the same papers, and
//! medians are compared. `cargo bench --bench graphs`; with `--test` one round of a few papers, to see that it runs; with
//! `--guard` it fails where a graph of kernels is not so many times as fast as the plain export, on processors with AVX2.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use sciembed::digest::Digest;
use sciembed::embedder::Embedder;
use sciembed::manifest::config::{Device, EmbedConfig, GraphChoice, OnnxConfig, Precision};
use sciembed::model::{Environment, Library, resolve};
use sciembed_kernel::Level;

mod papers;

/// Papers in a round: enough that both sessions are busy to the end, few enough that rounds alternate often.
const PAPERS: usize = 64;
const ROUNDS: usize = 7;

const GRAPHS: [(&str, GraphChoice, Precision); 3] = [
    ("plain export, f32", GraphChoice::Bundled, Precision::F32),
    ("own graph, f32", GraphChoice::Own, Precision::F32),
    ("own graph, int8", GraphChoice::Own, Precision::Int8),
];

/// The least that kernels may be worth: measured are 1.6 and 3.7, and beside other work 1.3 and 3.1.
const GUARD: [f64; 3] = [1.0, 1.1, 1.8];

fn main() {
    let guard = std::env::args().any(|argument| argument == "--guard");
    let quick = std::env::args().any(|argument| argument == "--test");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (model, runtime) = (root.join("models/all-MiniLM-L6-v2"), root.join("lib/libonnxruntime.so"));
    if !model.exists() || !runtime.exists() {
        eprintln!("SKIPPED: graphs needs the model and ONNX Runtime; ./setup.sh brings both");
        return;
    }
    let graphs = tempfile::tempdir().expect("a temporary folder can be made");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let environment =
        Environment { onnxruntime: vec![runtime], cores, graphs: graphs.path().into(), ..Environment::default() };
    let mut embedders = GRAPHS.map(|(_, graph, precision)| started(&model, graph, precision, &environment));
    let texts = papers::texts();
    let texts: Vec<&str> = texts.iter().take(if quick { 4 } else { PAPERS }).map(String::as_str).collect();
    let mut seconds = GRAPHS.map(|_| Vec::new());
    for round in 0..if quick { 1 } else { ROUNDS + 1 } {
        for (embedder, seconds) in embedders.iter_mut().zip(&mut seconds) {
            let begun = Instant::now();
            embedder.embed(&texts, &mut |_| ControlFlow::Continue(())).expect("the texts can be embedded");
            // The first round warms up.
            if round > 0 || quick {
                seconds.push(begun.elapsed().as_secs_f64());
            }
        }
    }
    let medians = seconds.map(median);
    tell(texts.len(), medians);
    if guard && Level::best() >= Level::Avx2 {
        for ((name, ..), (median, least)) in GRAPHS.iter().zip(medians.iter().zip(GUARD)) {
            assert!(medians[0] / median >= least, "{name} is less than {least} times as fast as the plain export");
        }
    }
}

fn started(model: &Path, graph: GraphChoice, precision: Precision, environment: &Environment) -> Box<dyn Embedder> {
    let onnx = OnnxConfig { device: Device::Cpu, ..OnnxConfig::default() };
    let config = EmbedConfig { graph: Some(graph), precision, onnx, ..EmbedConfig::of(&model.display().to_string()) };
    let library = &mut Library::of_folders(Path::new("/"));
    let resolved = resolve(&config, library, environment, &mut |path| Digest::of_file(path));
    resolved.expect("the model is in order").start(environment).expect("the model starts")
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// Prints papers a second, and how each graph stands to the first.
fn tell(papers: usize, medians: [f64; 3]) {
    for ((name, ..), median) in GRAPHS.iter().zip(medians) {
        println!("{name:<18} {:>6.1} papers/s  {:.2} x", papers as f64 / median, medians[0] / median);
    }
}
