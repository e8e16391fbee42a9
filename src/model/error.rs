//! What can be wrong with a model reference or a model folder. Every message names the file, the field and the value.

use std::io;
use std::path::PathBuf;

use crate::api::ApiError;
use crate::convert::ConvertError;
use crate::digest::Digest;
use crate::hub::HubError;

/// An error of this room. The message fits behind "failed to".
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ModelError {
    /// The reference's scheme is one that this version cannot fetch from.
    #[error("use the model {reference:?}: {scheme}:// is not supported by this version")]
    #[diagnostic(
        code(sciembed::model::unsupported_scheme),
        help("write hf://organisation/name, or the path of the model's folder (model.safetensors, config.json, ..)")
    )]
    UnsupportedScheme { reference: String, scheme: String },

    /// What an API's settings name.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Api(#[from] ApiError),

    /// What the hub answers, or what is not in the cache before it.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Hub(#[from] HubError),

    /// There is nobody to ask for a hub's models.
    #[error("use the model {reference:?}: no hub may be asked here")]
    #[diagnostic(code(sciembed::model::no_hub), help("write the path of the model's folder"))]
    NoHub { reference: String },

    /// A file of a hub's model is not the one that was pinned.
    #[error("use {}: its digest is {}, and {} pins {}", file.display(), found.short(), lock.display(), pinned.short())]
    #[diagnostic(
        code(sciembed::model::not_pinned),
        help(
            "the cached file was changed: remove it, and it is fetched again; to take another model on purpose, delete the entry of the lock file"
        )
    )]
    NotPinned { file: PathBuf, lock: PathBuf, pinned: Digest, found: Digest },

    /// The reference cannot be read.
    #[error("read the model reference {reference:?}: {reason}")]
    #[diagnostic(
        code(sciembed::model::bad_reference),
        help(
            "write hf://organisation/name or the path of a model folder, relative to the manifest; tests may write fake://<dim>"
        )
    )]
    BadReference { reference: String, reason: String },

    /// There is no such folder.
    #[error("open the model folder {}: it does not exist or is not a folder", folder.display())]
    #[diagnostic(
        code(sciembed::model::no_folder),
        help("{remedy}`model` is a path relative to the manifest; ./setup.sh brings all-MiniLM-L6-v2 to models/")
    )]
    NoFolder { folder: PathBuf, remedy: String },

    /// A file that every package has is not there.
    #[error("find {what} of the model in {}: looked for {}", folder.display(), looked_for.join(", "))]
    #[diagnostic(code(sciembed::model::missing_file), help("{help}"))]
    MissingFile { what: &'static str, folder: PathBuf, looked_for: Vec<String>, help: &'static str },

    /// A file cannot be read.
    #[error("read {}", file.display())]
    #[diagnostic(code(sciembed::model::unreadable), help("check that the file exists and that this user may read it"))]
    Unreadable { file: PathBuf, source: io::Error },

    /// A settings file is not the JSON that it should be.
    #[error("read {} as a JSON {expected}", file.display())]
    #[diagnostic(
        code(sciembed::model::bad_json),
        help("fetch the model's folder again: the file is not as its makers published it")
    )]
    BadJson { file: PathBuf, expected: &'static str, source: serde_json::Error },

    /// A field of a settings file holds something that it cannot mean.
    #[error("read {}: {field} = {value}, expected {expected}", file.display())]
    #[diagnostic(
        code(sciembed::model::bad_field),
        help("fetch the model's folder again, or correct the field in that file")
    )]
    BadField { file: PathBuf, field: String, value: String, expected: &'static str },

    /// A field that decides vectors is not there.
    #[error("read {}: it has no {field}", file.display())]
    #[diagnostic(
        code(sciembed::model::missing_field),
        help("fetch the model's folder again: the file is not as its makers published it")
    )]
    MissingField { file: PathBuf, field: String },

    /// The weights do not become a graph.
    #[error(transparent)]
    #[diagnostic(transparent)]
    Convert(#[from] ConvertError),

    /// The folder asks for something that this version would get wrong.
    #[error("use the model of {}: {field} = {value} is not supported by this version", file.display())]
    #[diagnostic(code(sciembed::model::unsupported), help("{help}"))]
    Unsupported { file: PathBuf, field: String, value: String, help: &'static str },

    /// A module's path leaves the model's folder.
    #[error("use the model of {}: the module path {path:?} points outside the folder", file.display())]
    #[diagnostic(code(sciembed::model::outside), help("module paths are relative, without `..`"))]
    Outside { file: PathBuf, path: String },

    /// A setting that decides vectors is stated nowhere.
    #[error("settle {setting} for the model in {}: no file of it says", folder.display())]
    #[diagnostic(code(sciembed::model::unstated), help("{help}"))]
    Unstated { setting: &'static str, folder: PathBuf, help: String },

    /// Two statements about the model contradict each other.
    #[error("use the model in {}: {first}, but {second}", folder.display())]
    #[diagnostic(
        code(sciembed::model::contradiction),
        help(
            "one of the files is wrong: fetch the model's folder again, or correct it; `pooling`, `normalize` and `max_length` of the workflow override what files say"
        )
    )]
    Contradiction { folder: PathBuf, first: String, second: String },

    /// The manifest overrides something with a value that cannot work.
    #[error("use {field} = {value} for the model {reference:?}: {reason}")]
    #[diagnostic(
        code(sciembed::model::bad_override),
        help("change or leave out {field}, in the embed section of the workflow or on the command line")
    )]
    BadOverride { field: &'static str, value: String, reference: String, reason: String },

    /// `provider = "tensorrt"` on a machine that has CUDA and cannot do it.
    #[error("use provider = \"tensorrt\": {missing}")]
    #[diagnostic(
        code(sciembed::model::no_tensorrt),
        help("install the GPU build of ONNX Runtime with TensorRT, or write provider = \"cuda\" in the `onnx` table")
    )]
    NoTensorrt { missing: String },

    /// `device = "cuda"` on a machine that cannot do it.
    #[error("use device = \"cuda\": {missing}")]
    #[diagnostic(
        code(sciembed::model::no_cuda),
        help("install the GPU build of ONNX Runtime and the NVIDIA driver, or write device = \"cpu\" or \"auto\"")
    )]
    NoCuda { missing: String },
}
