//! The embedder that runs an ONNX graph: tokenises, groups rows into batches, feeds the sessions, hands results on.
//!
//! The calling thread owns the call: it gives each session two batches and then, for each answer, the next one, so
//! no queue grows and no lock is shared. Which session runs what, and in which order answers come, varies; the
//! vectors do not, because no row sees another (`batch.rs`) and graphs that would mix rows get them one by one.
//! Read next: `worker.rs`, then `session.rs`.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use rayon::prelude::*;

use super::batch::{DEFAULT_MAX_BATCH_TOKENS, Limits, batches};
use super::gpu::{Gpu, MOST_TENSORRT_ROWS, Profile};
use super::session::{Batch, Model};
use super::windows::{Gathered, Windows};
use super::worker::{Answer, DEPTH, Job, Worker, caught};
use super::{Description, Embedder, EmbedderError, Sink, TextTokenizer, Told, runtime};
use crate::convert::GRAPH_FILE;
use crate::digest::Digest;
use crate::manifest::config::Precision;
use crate::model::{Environment, Graph, GraphFile, ModelPackage, Onnx, PackageFile, Processor, Role};

/// Tokens per run on a GPU where the manifest does not say: it wants large batches.
const DEFAULT_GPU_BATCH_TOKENS: usize = 16_384;

/// See the file's head.
pub(super) struct OnnxEmbedder {
    description: Description,
    tokenizer: TextTokenizer,
    workers: Vec<Worker>,
    limits: Limits,
    /// Whether vectors have length 1.
    normalized: bool,
}

impl OnnxEmbedder {
    /// Opens the sessions and checks that the package is the one that was resolved.
    pub fn start(onnx: &Onnx, description: Description, env: &Environment) -> Result<Self, EmbedderError> {
        let environment = runtime::load(env)?.environment;
        let graph = graph(&onnx.package, env)?;
        let shared = Arc::new(onnx.clone());
        let engines = env.engines.join(description.key.to_string());
        // In turns, where there are several sessions a GPU.
        let numbers = onnx.config.device.gpus().numbers().collect::<Vec<_>>().into_iter().cycle();
        let workers = (0..sessions(onnx, env)).zip(numbers).map(|(session, number)| {
            let (environment, onnx, graph) = (environment.clone(), Arc::clone(&shared), graph.clone());
            let gpu = onnx.processor.is_gpu().then(|| gpu(&onnx, number, engines.join(session.to_string())));
            Worker::spawn(session, move || Model::open(&environment, &onnx, &graph, gpu.as_ref()))
        });
        let workers = workers.collect::<Result<Vec<_>, _>>()?;
        let tokenizer = tokenizer(&onnx.package)?;
        let opened = workers.iter().map(Worker::opened).collect::<Result<Vec<bool>, _>>()?;
        let row_independent = match &onnx.package.graph {
            // On a GPU bits vary with the batch whatever runs, and nothing else of a row does.
            Graph::Own(own) => own.row_independent || onnx.processor.is_gpu(),
            // After the sessions have read the graph, so that a file swapped in between is seen.
            Graph::Bundled(file) => verified_graph(&onnx.package, file)?.row_independent && !opened.contains(&true),
        };
        // Every row runs alone where the graph would mix rows.
        let rows = if row_independent { max_batch_rows(onnx) } else { 1 };
        let (limits, normalized) = (Limits { tokens: max_batch_tokens(onnx), rows }, onnx.package.settings.normalize());
        Ok(Self { description, tokenizer, workers, limits, normalized })
    }

    fn tokenise(&self, texts: &[&str]) -> Result<Windows, EmbedderError> {
        let tokenizer = &self.tokenizer;
        let tokens = |(row, text): (usize, &&str)| {
            tokenizer.encode(text).map_err(|source| EmbedderError::Tokenise { row, source })
        };
        caught("tokenise", || texts.par_iter().enumerate().map(tokens).collect()).map(Windows::of)
    }

    /// Runs `batches` on all sessions and hands each answer to `take` until it breaks.
    fn run(
        &self,
        mut batches: impl Iterator<Item = Batch>,
        mut take: impl FnMut(&Batch, Vec<Vec<f32>>) -> ControlFlow<()>,
    ) -> Result<(), EmbedderError> {
        let (answer, answers) = channel();
        let mut running = 0;
        // In turns, so that every session has one batch before any has two.
        for worker in (0..DEPTH).flat_map(|_| &self.workers) {
            running += feed(worker, &mut batches, &answer)?;
        }
        while running > 0 {
            // Cannot fail, as `answer` lives here; and every job is answered, so it cannot hang.
            let Ok(Answer { session, batch, vectors }) = answers.recv() else { break };
            running -= 1;
            let vectors = vectors?;
            running += feed(&self.workers[session], &mut batches, &answer)?;
            if take(&batch, vectors).is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl Embedder for OnnxEmbedder {
    fn description(&self) -> &Description {
        &self.description
    }

    /// Tokens of all `texts` are in memory at once (about 4 kB a text), so a caller hands over a few thousand at a
    /// time; larger windows give fuller batches.
    fn embed(&mut self, texts: &[&str], sink: Sink) -> Result<(), EmbedderError> {
        let windows = self.tokenise(texts)?;
        let lengths = windows.lengths();
        let mut gathered = Gathered::new(&windows, self.normalized);
        let mut take = |window: usize, vector: Vec<f32>| match gathered.take(window, vector) {
            Some((text, embedding)) => sink(Told::Embedded(text, embedding)),
            None => ControlFlow::Continue(()),
        };
        // Without special tokens an empty text has nothing to run. As in sentence-transformers its vector is zero.
        for window in (0..lengths.len()).filter(|&window| lengths[window] == 0) {
            if take(window, vec![0.0; self.description.dim]).is_break() {
                return Ok(());
            }
        }
        let batches = batches(&lengths, self.limits).into_iter();
        let prompt = self.tokenizer.prompt_tokens();
        self.run(batches.map(|batch| Batch::gather(batch, &windows, prompt)), |batch, vectors| {
            let mut vectors = batch.windows.iter().zip(vectors);
            vectors.try_for_each(|(&window, vector)| take(window, vector))
        })
    }
}

/// Gives a session the next batch; says how many it was given.
fn feed(
    worker: &Worker,
    batches: &mut impl Iterator<Item = Batch>,
    answer: &Sender<Answer>,
) -> Result<usize, EmbedderError> {
    match batches.next() {
        Some(batch) => worker.send(Job { batch, answer: answer.clone() }).map(|()| 1),
        None => Ok(0),
    }
}

/// One session per core that its threads leave free, or per GPU.
fn sessions(onnx: &Onnx, env: &Environment) -> usize {
    let by_default = match onnx.processor {
        Processor::Cpu => env.cores / onnx.config.threads.unwrap_or(1),
        Processor::Cuda | Processor::Tensorrt => onnx.config.device.gpus().numbers().count(),
    };
    onnx.config.sessions.unwrap_or(by_default).max(1)
}

fn max_batch_tokens(onnx: &Onnx) -> usize {
    let by_default = match onnx.processor {
        Processor::Cpu => DEFAULT_MAX_BATCH_TOKENS,
        Processor::Cuda | Processor::Tensorrt => DEFAULT_GPU_BATCH_TOKENS,
    };
    onnx.config.max_batch_tokens.unwrap_or(by_default)
}

fn max_batch_rows(onnx: &Onnx) -> usize {
    if onnx.processor == Processor::Tensorrt { MOST_TENSORRT_ROWS } else { usize::MAX }
}

/// The GPU of this number, and how the model runs there.
fn gpu(onnx: &Onnx, number: u32, engines: PathBuf) -> Gpu {
    let profile = match &onnx.package.graph {
        Graph::Own(own) => Some(Profile {
            inputs: own.planned.inputs().to_vec(),
            max_length: onnx.package.settings.max_length,
            max_batch_tokens: max_batch_tokens(onnx),
        }),
        Graph::Bundled(_) => None,
    };
    let half = onnx.package.graph.precision() == Precision::F16;
    Gpu { number, processor: onnx.processor, half, engines, profile }
}

/// The ONNX file that runs, made of the weights where it is one of our own.
fn graph(package: &ModelPackage, env: &Environment) -> Result<PathBuf, EmbedderError> {
    match &package.graph {
        Graph::Bundled(file) => Ok(file.path.clone()),
        Graph::Own(own) => Ok(own.planned.ensure(&env.graphs, &package.weight_files())?.join(GRAPH_FILE)),
    }
}

/// The package's tokenizer, which must fit the model.
pub(super) fn tokenizer(package: &ModelPackage) -> Result<TextTokenizer, EmbedderError> {
    let file = &package.tokenizer.path;
    let bytes = verified(&package.tokenizer)?;
    let (max_length, prompt) = (package.settings.max_length, package.settings.prompt.as_str());
    let tokenizer = TextTokenizer::from_bytes(&bytes, &package.settings)
        .map_err(|source| EmbedderError::BadTokenizer { file: file.clone(), source })?;
    if tokenizer.room() == 0 {
        return Err(EmbedderError::MaxLength { max_length, added: tokenizer.added() });
    }
    let tokens = tokenizer.prompt_tokens();
    if tokenizer.text_room() == 0 {
        return Err(EmbedderError::Prompt { prompt: prompt.to_owned(), tokens, max_length });
    }
    match (&package.graph, tokenizer.largest()) {
        (Graph::Own(own), (token, id)) if id as usize >= own.vocab => {
            Err(EmbedderError::Vocabulary { file: file.clone(), token, id, vocab: own.vocab })
        }
        _ => Ok(tokenizer),
    }
}

/// What the graph's bytes tell, after it and its weights proved to be those that the key names.
fn verified_graph(package: &ModelPackage, file: &PackageFile) -> Result<GraphFile, EmbedderError> {
    let graph = GraphFile::inspect(&verified(file)?);
    for data in &graph.external_data {
        let file = package
            .files
            .get(&Role::GraphData(data.clone()))
            .ok_or_else(|| EmbedderError::ExternalData { graph: file.path.clone(), data: data.clone() })?;
        same(Digest::of_file(&file.path).map_err(|source| unreadable(&file.path, source))?, file)?;
    }
    Ok(graph)
}

fn verified(file: &PackageFile) -> Result<Vec<u8>, EmbedderError> {
    let bytes = fs::read(&file.path).map_err(|source| unreadable(&file.path, source))?;
    same(Digest::of(&bytes), file)?;
    Ok(bytes)
}

fn same(found: Digest, file: &PackageFile) -> Result<(), EmbedderError> {
    match found == file.digest {
        true => Ok(()),
        false => Err(EmbedderError::Changed { file: file.path.clone() }),
    }
}

fn unreadable(file: &Path, source: std::io::Error) -> EmbedderError {
    EmbedderError::Unreadable { file: file.into(), source }
}
