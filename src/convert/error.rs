//! What keeps weights from becoming a graph. Every message names the file, the tensor and the field that disagree.

use std::io;
use std::path::PathBuf;

use safetensors::SafeTensorError;

/// An error of this room. The message fits behind "failed to".
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum ConvertError {
    /// A file cannot be read.
    #[error("read {}", file.display())]
    #[diagnostic(
        code(sciembed::convert::unreadable),
        help("check that the file exists and that this user may read it")
    )]
    Unreadable { file: PathBuf, source: io::Error },

    /// A file is no safetensors file, or was cut short.
    #[error("read {} ({bytes} bytes) as safetensors: {reason}", file.display())]
    #[diagnostic(
        code(sciembed::convert::safetensors),
        help("the file is cut short or damaged: fetch the model's folder again")
    )]
    Safetensors { file: PathBuf, bytes: u64, reason: String },

    /// The list of a sharded model's files is not what it should be.
    #[error("read {}: {reason}", file.display())]
    #[diagnostic(
        code(sciembed::convert::index),
        help("fetch the model's folder again: the list of its weight files is damaged")
    )]
    Index { file: PathBuf, reason: String },

    /// A tensor that the architecture needs is not there.
    #[error("find the tensor {tensor:?} in {}: {of}", file.display())]
    #[diagnostic(
        code(sciembed::convert::missing_tensor),
        help("the weights are not those that config.json describes: fetch the model's folder again")
    )]
    MissingTensor { tensor: String, file: PathBuf, of: String },

    /// A tensor has another shape than the settings say.
    #[error("use the tensor {tensor:?} of {}: its shape is {found:?}, and {settings} has {expected}", file.display())]
    #[diagnostic(
        code(sciembed::convert::shape),
        help("the weights are not those that {settings} describes: fetch the model's folder again")
    )]
    Shape { tensor: String, file: PathBuf, settings: String, found: Vec<usize>, expected: String },

    /// The weights have more than the settings say.
    #[error("use {}: it has the tensor {tensor:?}, and by {settings} ({field}) the model has no such", file.display())]
    #[diagnostic(
        code(sciembed::convert::unread_tensor),
        help("the weights are not those that {settings} describes: fetch the model's folder again")
    )]
    UnreadTensor { tensor: String, file: PathBuf, settings: String, field: &'static str },

    /// A tensor's element type is not a floating-point number.
    #[error("use the tensor {tensor:?} of {}: its element type is {dtype}, expected F32, F16 or BF16", file.display())]
    #[diagnostic(
        code(sciembed::convert::dtype),
        help("quantised weights cannot be converted: take the model's original weights")
    )]
    Dtype { tensor: String, file: PathBuf, dtype: String },

    /// A weight is no number, so every vector would be none.
    #[error("use the tensor {tensor:?} of {}: it holds a value that is not finite", file.display())]
    #[diagnostic(code(sciembed::convert::not_finite), help("the weights are damaged: fetch the model's folder again"))]
    NotFinite { tensor: String, file: PathBuf },

    /// A weight is beyond what f16 can hold, so products with it would be infinite.
    #[error("use the tensor {tensor:?} of {} in f16: it holds {value}, and 65504 is the most that fits", file.display())]
    #[diagnostic(code(sciembed::convert::beyond_half), help("write precision = \"f32\" for this model"))]
    BeyondHalf { tensor: String, file: PathBuf, value: f32 },

    /// The weights are not those that were planned with, so the key would lie.
    #[error("convert {}: it changed after it was digested", file.display())]
    #[diagnostic(code(sciembed::convert::changed), help("run the command again; it will plan with the new file"))]
    Changed { file: PathBuf },

    /// The graph cannot be written.
    #[error("write the converted model to {}", folder.display())]
    #[diagnostic(
        code(sciembed::convert::write),
        help("free space there, or make the folder writable; nothing was left half-written")
    )]
    Write { folder: PathBuf, source: io::Error },
}

impl ConvertError {
    /// What the safetensors crate says of a file, in words.
    pub(super) fn safetensors(file: &std::path::Path, bytes: u64, error: &SafeTensorError) -> Self {
        let reason = match error {
            SafeTensorError::HeaderTooSmall => "it is too short to hold a header".to_owned(),
            SafeTensorError::HeaderTooLarge => "the length of its header is absurd".to_owned(),
            SafeTensorError::InvalidHeaderLength => "its header is longer than the file".to_owned(),
            SafeTensorError::MetadataIncompleteBuffer => "the file is not as long as its header says".to_owned(),
            other => other.to_string(),
        };
        Self::Safetensors { file: file.into(), bytes, reason }
    }
}
