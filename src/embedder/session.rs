//! One ONNX Runtime session: made from a graph, checked against what a text can give, run on unpadded batches.
//!
//! A session belongs to one thread (`worker.rs`): `Session::run` wants `&mut`, and sharing sessions crashes on CUDA.
//! Inputs and outputs are taken by name, never by position.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::{Tensor, TensorElementType, ValueType};

use super::gpu::Gpu;
use super::windows::Windows;
use super::{EmbedderError, operators, pooling};
use crate::convert::{IDS, POOLED, Stage, TYPES};
use crate::model::{Graph, Onnx, Processor, Settings};

/// Outputs that hold vectors, by the names that exporters give them, in the order of preference.
const OUTPUTS: [&str; 3] = ["last_hidden_state", "token_embeddings", "sentence_embedding"];

/// ONNX Runtime fuses Add + LayerNormalization by itself, and its fused CPU kernel is slower than the two (5 ms
/// instead of 1.4 for a paper of 206 tokens). A misspelt name is accepted in silence: a test looks at the graph.
const SLOWER_ON_CPU: &str = "SkipLayerNormFusion";

/// Windows of equal length, which run together.
pub(super) struct Batch {
    /// The windows' places among those of the call.
    pub windows: Vec<usize>,
    /// Their texts, by the places among those of the call.
    rows: Vec<usize>,
    /// Tokens per window.
    length: usize,
    /// Tokens of the prompt that each window begins with.
    prompt: usize,
    ids: Vec<i64>,
    type_ids: Vec<i64>,
}

impl Batch {
    /// Gathers windows that have equal numbers of tokens, at least one; the first `prompt` of each are the prompt's.
    pub fn gather(windows: Vec<usize>, all: &Windows, prompt: usize) -> Self {
        let tokens = || windows.iter().map(|&window| &all.tokens[window]);
        let rows = windows.iter().map(|&window| all.texts[window]).collect();
        let length = all.tokens[windows[0]].ids.len();
        let ids = tokens().flat_map(|tokens| tokens.ids.iter().copied()).collect();
        let type_ids = tokens().flat_map(|tokens| tokens.type_ids.iter().copied()).collect();
        Self { windows, rows, length, prompt, ids, type_ids }
    }

    fn shape(&self) -> [usize; 2] {
        [self.rows.len(), self.length]
    }
}

/// What a graph can be given.
#[derive(Clone, Copy, Debug)]
enum Input {
    Ids,
    AttentionMask,
    TypeIds,
    /// Which tokens are pooled: not those of a prompt.
    Pooled,
}

impl Input {
    const ALL: [Self; 4] = [Self::Ids, Self::AttentionMask, Self::TypeIds, Self::Pooled];

    const fn name(self) -> &'static str {
        match self {
            Self::Ids => IDS,
            Self::AttentionMask => "attention_mask",
            Self::TypeIds => TYPES,
            Self::Pooled => POOLED,
        }
    }
}

/// A session with what surrounds its graph.
pub(super) struct Model {
    session: Session,
    /// Where inputs come from and the output goes, bound anew for each batch, on GPUs.
    binding: Option<IoBinding>,
    settings: Settings,
    /// Whether the graph pools, and does all that follows, by itself.
    is_own: bool,
    inputs: Vec<Input>,
    output: String,
}

impl Model {
    /// Makes a session for the graph of `onnx`, which is the file `graph`; where there is a GPU, on that one.
    pub fn open(
        environment: &Environment,
        onnx: &Onnx,
        graph: &Path,
        gpu: Option<&Gpu>,
    ) -> Result<Self, EmbedderError> {
        let refused = |source| EmbedderError::Session { graph: graph.into(), source };
        let mut builder = builder(environment, onnx.config.threads.unwrap_or(1), onnx.processor).map_err(refused)?;
        if let Some(gpu) = gpu {
            builder = gpu.register(builder)?;
        }
        let session = commit(builder, graph).map_err(refused)?;
        let binding = gpu.map(|_| session.create_binding()).transpose().map_err(refused)?;
        let inputs = inputs(&session, graph)?;
        let output = output(&session, graph)?;
        let is_own = matches!(onnx.package.graph, Graph::Own(_));
        Ok(Self { session, binding, settings: onnx.package.settings.clone(), is_own, inputs, output })
    }

    /// Whether a row's bits may depend on how many rows run with it.
    ///
    /// A graph that pools by itself may multiply the pooled vectors by a matrix, and that product is one row high or
    /// several, by the batch: other kernels, other rounding. Token vectors are always several rows high.
    pub fn mixes_rows(&self) -> bool {
        let output = self.session.outputs().iter().find(|outlet| outlet.name() == self.output);
        !matches!(output.map(|outlet| outlet.dtype()), Some(ValueType::Tensor { shape, .. }) if shape.len() == 3)
    }

    /// The vectors of a batch, in the order of its rows.
    pub fn run(&mut self, batch: &Batch) -> Result<Vec<Vec<f32>>, EmbedderError> {
        let failed =
            |source| EmbedderError::Run { first: batch.rows[0], rows: batch.rows.len(), tokens: batch.length, source };
        let inputs = tensors(&self.inputs, batch).map_err(failed)?;
        let outputs = match &mut self.binding {
            Some(binding) => {
                bind(binding, &inputs, &self.output).map_err(failed)?;
                self.session.run_binding(binding)
            }
            None => self.session.run(inputs),
        };
        let outputs = outputs.map_err(failed)?;
        let mut vectors = vectors(&outputs, &self.output, batch, &self.settings, self.is_own)?;
        for (vector, &row) in vectors.iter_mut().zip(&batch.rows) {
            if !self.is_own {
                finish(vector, &self.settings.stages);
            }
            check_finite(vector, row)?;
        }
        Ok(vectors)
    }
}

/// Makes the session. ONNX Runtime notes the domain of our operators in a table of the process, and two sessions that do so
/// at once may both find it missing: the first one is made alone.
fn commit(mut builder: SessionBuilder, graph: &Path) -> ort::Result<Session> {
    static NOTED: Mutex<bool> = Mutex::new(false);
    let mut noted = NOTED.lock().unwrap_or_else(PoisonError::into_inner);
    if *noted {
        drop(noted);
        return builder.commit_from_file(graph);
    }
    let session = builder.commit_from_file(graph);
    *noted = session.is_ok();
    session
}

fn builder(environment: &Environment, threads: usize, processor: Processor) -> ort::Result<SessionBuilder> {
    let builder = Session::builder(environment)?
        .with_operators(operators::domain()?)?
        .with_optimization_level(GraphOptimizationLevel::Level3)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_intra_op_spinning(false)?
        // A memory plan per shape pays for fixed shapes; ours vary with every batch, and the plans would pile up.
        .with_memory_pattern(false)?;
    match processor {
        Processor::Cpu => Ok(builder.with_disabled_optimizers(SLOWER_ON_CPU)?),
        Processor::Cuda | Processor::Tensorrt => Ok(builder),
    }
}

/// The graph's inputs, each of which a text must be able to give.
fn inputs(session: &Session, graph: &Path) -> Result<Vec<Input>, EmbedderError> {
    let known = |name: &str| Input::ALL.into_iter().find(|input| input.name() == name);
    let inputs = session.inputs().iter().map(|outlet| match (known(outlet.name()), element(outlet.dtype())) {
        (Some(input), Some(TensorElementType::Int64)) => Ok(input),
        (_, element) => Err(EmbedderError::Input {
            graph: graph.into(),
            input: outlet.name().to_owned(),
            found: element.map_or_else(|| "no tensor".to_owned(), |element| element.to_string()),
        }),
    });
    inputs.collect()
}

/// The output that holds vectors: the only one, or the best known name.
fn output(session: &Session, graph: &Path) -> Result<String, EmbedderError> {
    let float = |name: &str| {
        let outlet = session.outputs().iter().find(|outlet| outlet.name() == name)?;
        (element(outlet.dtype()) == Some(TensorElementType::Float32)).then(|| name.to_owned())
    };
    let found = match session.outputs() {
        [only] => float(only.name()),
        _ => OUTPUTS.into_iter().find_map(float),
    };
    let names = || session.outputs().iter().map(|outlet| outlet.name().to_owned()).collect();
    found.ok_or_else(|| EmbedderError::Output { graph: PathBuf::from(graph), outputs: names() })
}

fn element(dtype: &ValueType) -> Option<TensorElementType> {
    match dtype {
        ValueType::Tensor { ty, .. } => Some(*ty),
        _ => None,
    }
}

/// Binds the inputs, which go to where the graph wants them here and once, and has the output come to the CPU's memory: of
/// several outputs the others stay where they are.
fn bind(binding: &mut IoBinding, inputs: &[(&'static str, Tensor<i64>)], output: &str) -> ort::Result<()> {
    // The last run's output has another shape, and would be written into again.
    binding.clear();
    inputs.iter().try_for_each(|(name, tensor)| binding.bind_input(*name, tensor))?;
    let memory = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput)?;
    binding.bind_output_to_device(output, &memory)?;
    // Copies to a GPU are queued, and nothing else waits for them.
    binding.synchronize_inputs()
}

fn tensors(inputs: &[Input], batch: &Batch) -> ort::Result<Vec<(&'static str, Tensor<i64>)>> {
    let tensor = |input: &Input| {
        let values = match input {
            Input::Ids => batch.ids.clone(),
            Input::AttentionMask => vec![1; batch.ids.len()],
            Input::TypeIds => batch.type_ids.clone(),
            Input::Pooled => {
                let row = |token: usize| i64::from(token % batch.length >= batch.prompt);
                (0..batch.ids.len()).map(row).collect()
            }
        };
        Ok((input.name(), Tensor::from_array((batch.shape(), values))?))
    };
    inputs.iter().map(tensor).collect()
}

/// Takes `b x t x pooled` as token vectors, which are pooled, and `b x pooled` as vectors that the graph has pooled.
fn vectors(
    outputs: &SessionOutputs,
    output: &str,
    batch: &Batch,
    settings: &Settings,
    is_own: bool,
) -> Result<Vec<Vec<f32>>, EmbedderError> {
    let [rows, tokens] = batch.shape();
    let Settings { pooling, pooled, dim, include_prompt, .. } = *settings;
    // A bundled graph ends with the pooling, at the latest.
    let width = if is_own { dim } else { pooled };
    let wrong = |found: &[i64]| EmbedderError::Shape {
        output: output.to_owned(),
        found: found.to_vec(),
        expected: format!("[{rows}, {tokens}, {width}] or [{rows}, {width}]"),
    };
    let tensor = outputs.get(output).and_then(|value| value.try_extract_tensor::<f32>().ok());
    let (shape, values) = tensor.ok_or_else(|| wrong(&[]))?;
    let found: Vec<usize> = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
    let skipped = if include_prompt { 0 } else { batch.prompt };
    let pool = |row| pooling::pool(pooling, row, width, skipped);
    match found == [rows, tokens, width] && !is_own {
        true => Ok(values.chunks_exact(tokens * width).map(pool).collect()),
        false if found == [rows, width] => Ok(values.chunks_exact(width).map(<[f32]>::to_vec).collect()),
        false => Err(wrong(shape)),
    }
}

/// What follows the pooling of a bundled graph; dense layers were refused for such.
fn finish(vector: &mut Vec<f32>, stages: &[Stage]) {
    for stage in stages {
        match stage {
            Stage::Dense(_) => {}
            Stage::Normalize => pooling::normalize(vector),
            Stage::Truncate(kept) => vector.truncate(*kept),
        }
    }
}

fn check_finite(vector: &[f32], row: usize) -> Result<(), EmbedderError> {
    match vector.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((component, &value)) => Err(EmbedderError::NotFinite { row, component, value }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::convert::GRAPH_FILE;
    use crate::embedder::runtime;
    use crate::embedder::tests::{own_model, real_model};
    use crate::manifest::config::{GraphChoice, Precision};
    use crate::model::Role;

    #[test]
    fn the_slow_fusion_is_really_off() {
        let Some((env, onnx)) = real_model(GraphChoice::Bundled) else { return };
        let graph = onnx.package.files[&Role::Graph].path.clone();
        let runtime = runtime::load(&env).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let fused = |builder: SessionBuilder| {
            let path = dir.path().join("optimized.onnx");
            let mut builder = builder.with_optimized_model_path(&path).unwrap();
            builder.commit_from_file(&graph).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            bytes.windows(22).any(|window| window == b"SkipLayerNormalization")
        };
        let plain = Session::builder(&runtime.environment).unwrap();
        let plain = plain.with_optimization_level(GraphOptimizationLevel::Level3).unwrap();
        assert!(fused(plain), "this graph no longer shows the fusion, so the test below shows nothing");
        assert!(!fused(builder(&runtime.environment, 1, Processor::Cpu).unwrap()));
    }

    /// What was built is what runs: ONNX Runtime neither replaces a kernel nor puts operators of its own between them.
    #[test]
    fn graphs_of_weights_run_on_kernels() {
        for precision in [Precision::F32, Precision::Int8] {
            let Some((env, onnx)) = own_model(precision) else { return };
            let runtime = runtime::load(&env).unwrap();
            let Graph::Own(own) = &onnx.package.graph else { panic!("the model has weights") };
            let graph = own.planned.ensure(&env.graphs, &onnx.package.weight_files()).unwrap().join(GRAPH_FILE);
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("optimized.onnx");
            let mut builder = builder(&runtime.environment, 1, Processor::Cpu).unwrap();
            builder = builder.with_optimized_model_path(&path).unwrap();
            builder.commit_from_file(&graph).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            // The name of an operator as a field of its own: its tag, its length, its letters.
            let count = |name: &str| {
                let field = [&[0x22, name.len() as u8], name.as_bytes()].concat();
                bytes.windows(field.len()).filter(|window| *window == field).count()
            };
            let (linear, other) = match precision {
                Precision::Int8 => ("QuantizedLinear", "Linear"),
                _ => ("Linear", "QuantizedLinear"),
            };
            assert_eq!((count(linear), count(other)), (24, 0), "four products in each of six layers");
            assert_eq!((count("Attention"), count("AddNormalization")), (6, 12));
            assert_eq!((count("MatMul"), count("Add")), (1, 1), "pooling");
            for name in ["Gelu", "BiasGelu", "LayerNormalization", "SkipLayerNormalization", "FusedMatMul"] {
                assert_eq!(count(name), 0, "{name}");
            }
        }
    }

    #[test]
    fn token_vectors_may_share_a_batch() {
        let Some((env, onnx)) = real_model(GraphChoice::Bundled) else { return };
        let environment = runtime::load(&env).unwrap().environment;
        let graph = &onnx.package.files[&Role::Graph].path;
        assert!(!Model::open(&environment, &onnx, graph, None).unwrap().mixes_rows());
    }

    /// What a GPU's session does, done on the CPU: bound values give the same bits, for batches of any shape, one by one.
    #[test]
    fn bound_inputs_and_output_give_the_same_bits() {
        for choice in [GraphChoice::Own, GraphChoice::Bundled] {
            let Some((env, onnx)) = real_model(choice) else { return };
            let environment = runtime::load(&env).unwrap().environment;
            let graph = match &onnx.package.graph {
                Graph::Own(own) => {
                    own.planned.ensure(&env.graphs, &onnx.package.weight_files()).unwrap().join(GRAPH_FILE)
                }
                Graph::Bundled(file) => file.path.clone(),
            };
            let open = || Model::open(&environment, &onnx, &graph, None).unwrap();
            let (mut plain, mut bound) = (open(), open());
            bound.binding = Some(bound.session.create_binding().unwrap());
            for (rows, length) in [(3, 7), (1, 40), (3, 7), (2, 5), (64, 9)] {
                let batch = Batch {
                    windows: (0..rows).collect(),
                    rows: (0..rows).collect(),
                    length,
                    prompt: 0,
                    ids: (0..rows * length).map(|token| 2000 + 37 * token as i64 % 9000).collect(),
                    type_ids: vec![0; rows * length],
                };
                let bits = |model: &mut Model| -> Vec<Vec<u32>> {
                    let vectors = model.run(&batch).unwrap();
                    vectors.iter().map(|vector| vector.iter().map(|value| value.to_bits()).collect()).collect()
                };
                assert_eq!(bits(&mut plain), bits(&mut bound), "{choice}: {rows} x {length}");
            }
        }
    }

    /// No GPU, no vectors: ONNX Runtime would run on the CPU without a word.
    #[test]
    fn a_provider_that_does_not_register_is_named_with_its_gpu_and_remedy() {
        use miette::Diagnostic;
        let Some((env, onnx)) = real_model(GraphChoice::Bundled) else { return };
        let environment = runtime::load(&env).unwrap().environment;
        let graph = &onnx.package.files[&Role::Graph].path;
        let engines = tempfile::tempdir().unwrap();
        for (processor, provider, remedy) in
            [(Processor::Cuda, "CUDA", "device = \"cpu\""), (Processor::Tensorrt, "TensorRT", "provider = \"cuda\"")]
        {
            let folder = engines.path().join("0");
            let gpu = Gpu { number: 3, processor, half: false, engines: folder.clone(), profile: None };
            let error = Model::open(&environment, &onnx, graph, Some(&gpu)).err().unwrap();
            let (message, help) = (error.to_string(), error.help().unwrap().to_string());
            assert_eq!(message, format!("register ONNX Runtime's {provider} provider for GPU 3"));
            assert!(help.contains("nvidia-smi") && help.contains(remedy), "{help}");
            assert!(!folder.exists(), "nothing is made for a provider that is not there");
        }
    }

    #[test]
    fn a_component_that_is_no_number_names_its_row() {
        let error = check_finite(&[0.5, f32::NAN], 17).unwrap_err().to_string();
        assert!(error.contains("row 17") && error.contains("component 1"), "{error}");
    }
}
