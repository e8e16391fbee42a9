//! sciembed's side of `just bench-peers`: embeds the same texts over and over, when told to.
//!
//! `embed_peer MODEL f32|int8 TEXTS.jsonl`. Says `ready`; embeds all texts for each line `run` that it reads, and says the
//! seconds that it took; writes the vectors as little-endian f32 for a line `save PATH`.

use std::error::Error;
use std::io::{BufRead, stdin};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use sciembed::digest::Digest;
use sciembed::embedder::{Embedder, Told};
use sciembed::manifest::config::{EmbedConfig, OnnxConfig, Precision};
use sciembed::model::{Environment, Library, resolve};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, precision, texts] = &arguments[..] else { return Err("embed_peer MODEL f32|int8 TEXTS.jsonl".into()) };
    let precision = if precision == "int8" { Precision::Int8 } else { Precision::F32 };
    let graphs = std::env::temp_dir().join(format!("sciembed-peer-{}", std::process::id()));
    let mut embedder = start(model, precision, &graphs)?;
    let texts = std::fs::read_to_string(texts)?;
    let texts: Vec<String> = texts.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    println!("ready");
    let mut vectors = Vec::new();
    for line in stdin().lock().lines() {
        match line?.split_once(' ') {
            Some(("save", path)) => std::fs::write(path, bytes(&vectors))?,
            _ => {
                let begun = Instant::now();
                vectors = embed(&mut *embedder, &texts)?;
                println!("{}", begun.elapsed().as_secs_f64());
            }
        }
    }
    std::fs::remove_dir_all(graphs)?;
    Ok(())
}

fn start(model: &str, precision: Precision, graphs: &Path) -> Result<Box<dyn Embedder>, Box<dyn Error>> {
    let runtime = Path::new(env!("CARGO_MANIFEST_DIR")).join("lib/libonnxruntime.so");
    let cores = std::thread::available_parallelism()?.get();
    let environment =
        Environment { onnxruntime: vec![runtime], cores, graphs: graphs.into(), ..Environment::default() };
    let config = EmbedConfig { precision, onnx: OnnxConfig::default(), ..EmbedConfig::of(model) };
    let library = &mut Library::of_folders(Path::new("/"));
    Ok(resolve(&config, library, &environment, &mut Digest::of_file)?.start(&environment)?)
}

fn embed(embedder: &mut dyn Embedder, texts: &[&str]) -> Result<Vec<Vec<f32>>, Box<dyn Error>> {
    let mut vectors = vec![Vec::new(); texts.len()];
    embedder.embed(texts, &mut |told| {
        if let Told::Embedded(row, embedding) = told {
            vectors[row] = embedding.vector;
        }
        ControlFlow::Continue(())
    })?;
    Ok(vectors)
}

fn bytes(vectors: &[Vec<f32>]) -> Vec<u8> {
    vectors.iter().flatten().flat_map(|value| value.to_le_bytes()).collect()
}
