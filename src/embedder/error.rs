//! What can go wrong when an embedder starts or runs. Rows are named by their index in the texts of one call.

use std::io;
use std::path::PathBuf;

use crate::api::ApiError;
use crate::convert::ConvertError;
use crate::model::RUNTIME_REMEDY;

/// An error of this room. The message fits behind "failed to".
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum EmbedderError {
    /// None of the places where ONNX Runtime may be has it.
    #[error("find ONNX Runtime: looked for {}", if looked_for.is_empty() { "it nowhere".to_owned() } else { looked_for.join(", ") })]
    #[diagnostic(code(sciembed::embedder::no_runtime), help("{RUNTIME_REMEDY}"))]
    NoRuntime { looked_for: Vec<String> },

    /// The library is older than what this program was built for; loading it further would abort.
    #[error("use {}: it is ONNX Runtime {found}, and 1.23 is the oldest that works", library.display())]
    #[diagnostic(code(sciembed::embedder::old_runtime), help("{RUNTIME_REMEDY}"))]
    OldRuntime { library: PathBuf, found: String },

    /// The library cannot be loaded.
    #[error("load ONNX Runtime from {}", library.display())]
    #[diagnostic(code(sciembed::embedder::load_runtime), help("{RUNTIME_REMEDY}"))]
    LoadRuntime { library: PathBuf, source: ort::LoadDynamicError },

    /// A process can hold one ONNX Runtime only.
    #[error("use {}: this process has loaded {} already", asked.display(), loaded.display())]
    #[diagnostic(
        code(sciembed::embedder::second_runtime),
        help("a process can hold one ONNX Runtime: start another process for the other library")
    )]
    SecondRuntime { asked: PathBuf, loaded: PathBuf },

    /// The library was loaded but does not start.
    #[error("start ONNX Runtime")]
    #[diagnostic(
        code(sciembed::embedder::start_runtime),
        help("run ./setup.sh, which brings a library that works, or name another with --onnxruntime")
    )]
    StartRuntime { source: ort::Error },

    /// The GPU was there by the look of it, but its provider does not register.
    #[error("register ONNX Runtime's CUDA provider for GPU {gpu}")]
    #[diagnostic(
        code(sciembed::embedder::cuda),
        help(
            "check that there is such a GPU (`nvidia-smi`), and CUDA and cuDNN of the provider's version; or write device = \"cpu\""
        )
    )]
    Cuda { gpu: u32, source: ort::Error },

    /// The same of TensorRT's.
    #[error("register ONNX Runtime's TensorRT provider for GPU {gpu}")]
    #[diagnostic(
        code(sciembed::embedder::tensorrt),
        help(
            "check that there is such a GPU (`nvidia-smi`), and TensorRT of the provider's version; or write provider = \"cuda\""
        )
    )]
    Tensorrt { gpu: u32, source: ort::Error },

    /// What TensorRT compiles has no place.
    #[error("make {}, where TensorRT's engines are kept", folder.display())]
    #[diagnostic(code(sciembed::embedder::engines), help("free space there, or make the folder writable"))]
    Engines { folder: PathBuf, source: io::Error },

    /// A file cannot be read.
    #[error("read {}", file.display())]
    #[diagnostic(
        code(sciembed::embedder::unreadable),
        help("check that the file exists and that this user may read it")
    )]
    Unreadable { file: PathBuf, source: io::Error },

    /// The package is not the one that was planned with, so its key would lie.
    #[error("use {}: it changed after it was digested", file.display())]
    #[diagnostic(code(sciembed::embedder::changed), help("run the command again; it will plan with the new file"))]
    Changed { file: PathBuf },

    /// The graph keeps weights in a file whose digest is not in the key.
    #[error("use {}: it keeps weights in {data:?}, which is not beside it", graph.display())]
    #[diagnostic(
        code(sciembed::embedder::external_data),
        help("export with one weights file, named like the graph with _data or .data behind")
    )]
    ExternalData { graph: PathBuf, data: String },

    /// tokenizer.json cannot be used.
    #[error("read the tokenizer {}", file.display())]
    #[diagnostic(
        code(sciembed::embedder::bad_tokenizer),
        help("fetch the model's tokenizer.json again, or export it with a current version of tokenizers")
    )]
    BadTokenizer { file: PathBuf, source: tokenizers::Error },

    /// The special tokens alone fill the model's maximal length.
    #[error("use max_length = {max_length}: the tokenizer adds {added} special tokens to every text")]
    #[diagnostic(
        code(sciembed::embedder::max_length),
        help("raise max_length, or leave it out to use the model's own limit")
    )]
    MaxLength { max_length: usize, added: usize },

    /// The tokenizer knows tokens that the model has no vector for.
    #[error(
        "use the tokenizer {}: its token {token:?} has the id {id}, and the model has vectors for {vocab} tokens (vocab_size of config.json)",
        file.display()
    )]
    #[diagnostic(
        code(sciembed::embedder::vocabulary),
        help("tokenizer and weights are not of one model: fetch the model's folder again")
    )]
    Vocabulary { file: PathBuf, token: String, id: u32, vocab: usize },

    /// The prompt leaves no room for the text.
    #[error("use the prompt {prompt:?}: it has {tokens} tokens, and max_length is {max_length}")]
    #[diagnostic(
        code(sciembed::embedder::prompt),
        help("shorten the prompt, or raise max_length if the model allows it")
    )]
    Prompt { prompt: String, tokens: usize, max_length: usize },

    /// Asking a server.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Api(#[from] ApiError),

    /// The weights do not become the graph that was planned.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Convert(#[from] ConvertError),

    /// A text cannot be tokenised.
    #[error("tokenise row {row}")]
    #[diagnostic(
        code(sciembed::embedder::tokenise),
        help("the tokenizer refuses this text: see it with `sciembed peek WORKFLOW STEP texts`")
    )]
    Tokenise { row: usize, source: tokenizers::Error },

    /// ONNX Runtime refuses the graph.
    #[error("make a session from {}", graph.display())]
    #[diagnostic(
        code(sciembed::embedder::session),
        help("the graph does not fit this ONNX Runtime: export it again, or use a newer runtime")
    )]
    Session { graph: PathBuf, source: ort::Error },

    /// The graph wants something that a text does not have.
    #[error("run {}: its input {input:?} of type {found} is not one of input_ids, attention_mask, token_type_ids (int64)", graph.display())]
    #[diagnostic(code(sciembed::embedder::input), help("export the text encoder alone, with these inputs"))]
    Input { graph: PathBuf, input: String, found: String },

    /// It is unclear which output holds the vectors, or it is not float32.
    #[error("run {}: none of its outputs {outputs:?} can be taken as vectors", graph.display())]
    #[diagnostic(
        code(sciembed::embedder::output),
        help("export one float32 output, or name it last_hidden_state, token_embeddings or sentence_embedding")
    )]
    Output { graph: PathBuf, outputs: Vec<String> },

    /// The output's shape contradicts the batch or the settings.
    #[error("run the model: output {output:?} has shape {found:?}, expected {expected}")]
    #[diagnostic(
        code(sciembed::embedder::shape),
        help("the dimension is stated by the model's pooling settings or by config.json (hidden_size)")
    )]
    Shape { output: String, found: Vec<i64>, expected: String },

    /// A run of the model failed.
    #[error("run the model on {} rows (first: row {first}) of {tokens} tokens each", rows)]
    #[diagnostic(
        code(sciembed::embedder::run),
        help("if memory ran out, lower `sessions` or `max_batch_tokens` of the embed node's onnx table")
    )]
    Run { first: usize, rows: usize, tokens: usize, source: ort::Error },

    /// A vector holds NaN or infinity.
    #[error("embed row {row}: component {component} of its vector is {value}")]
    #[diagnostic(
        code(sciembed::embedder::not_finite),
        help(
            "the model overflows on this text: write precision = \"f32\" if it is f16, use a float32 graph, or leave the paper out"
        )
    )]
    NotFinite { row: usize, component: usize, value: f32 },

    /// The test embedder was told to refuse a text.
    #[error("embed {rows} rows: the test embedder refuses row {row}, which contains {what:?}")]
    #[diagnostic(
        code(sciembed::embedder::refused),
        help("a test asked for this: unset SCIEMBED_FAKE_FAIL, or choose a model that is not fake://")
    )]
    Refused { rows: usize, row: usize, what: String },

    /// The test embedder cannot write what a test asked it to write.
    #[error("write {}, which a test asked for", file.display())]
    #[diagnostic(
        code(sciembed::embedder::fake_file),
        help("check the paths in SCIEMBED_FAKE_LOG and SCIEMBED_FAKE_FAIL_ONCE")
    )]
    FakeFile { file: PathBuf, source: io::Error },

    /// Our own code panicked in a worker.
    #[error("{doing}: a worker panicked: {message}")]
    #[diagnostic(code(sciembed::embedder::panicked), help("this is a bug of sciembed; please report it"))]
    Panicked { doing: &'static str, message: String },

    /// A session's thread is gone.
    #[error("reach session {session}: its thread has ended")]
    #[diagnostic(code(sciembed::embedder::ended), help("this is a bug of sciembed; please report it"))]
    Ended { session: usize },

    /// The system refuses a thread.
    #[error("start the thread of session {session}")]
    #[diagnostic(
        code(sciembed::embedder::thread),
        help("the system is out of threads: lower `sessions` of the embed node's onnx table")
    )]
    Thread { session: usize, source: io::Error },
}

impl EmbedderError {
    /// Whether one of the texts may be to blame, so that the others can be embedded without it.
    pub fn may_be_of_texts(&self) -> bool {
        matches!(
            self,
            Self::Tokenise { .. }
                | Self::Run { .. }
                | Self::NotFinite { .. }
                | Self::Refused { .. }
                | Self::Panicked { .. }
        )
    }
}

/// The text of a panic, where it has one.
pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
