//! What can go wrong with input files, always with the path.

use std::io;
use std::path::PathBuf;

use super::unfit::Unfit;

/// An error of an input file as a whole. What is wrong with a single line is a reject instead.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum SourceError {
    /// The pattern is no valid glob.
    #[error("read {pattern:?} as a glob: {detail}")]
    #[diagnostic(
        code(sciembed::source::glob),
        help("`*` and `?` match within a name, `[ab]` one of a set, `**` any folders")
    )]
    Glob {
        /// As written.
        pattern: String,
        /// What is wrong with it.
        detail: String,
    },
    /// No file is there.
    #[error("find {}: no such file", path.display())]
    #[diagnostic(
        code(sciembed::source::missing),
        help("correct `input`, or put `missing = \"skip\"` into that load node if years may be absent")
    )]
    Missing {
        /// The path or glob, made absolute.
        path: PathBuf,
    },
    /// A step reads standard input, of which nothing is known.
    #[error("read standard input, which `input = \"-\"` stands for: no records came from it, and no apply kept any")]
    #[diagnostic(
        code(sciembed::source::no_standard_input),
        help(
            "apply the workflow first, with the records piped into it, or pipe them into `sciembed peek WORKFLOW STEP`"
        )
    )]
    NoStandardInput,
    /// Nothing was piped in.
    #[error("read standard input, which `input = \"-\"` stands for: it holds no records")]
    #[diagnostic(
        code(sciembed::source::nothing_piped),
        help(
            "pipe them in, as in `zcat 2010.json.gz | sciembed apply WORKFLOW`; if whoever writes them failed, run it again"
        )
    )]
    NothingPiped,
    /// There is no line in it.
    #[error("read {}: it holds no records", path.display())]
    #[diagnostic(
        code(sciembed::source::empty),
        help("fetch the file again, or put `missing = \"skip\"` into that load node if years may be empty")
    )]
    Empty {
        /// The path or glob, made absolute.
        path: PathBuf,
    },
    /// The path is a directory, a pipe or a device.
    #[error("read {}: it is no regular file", path.display())]
    #[diagnostic(code(sciembed::source::not_a_file), help("name a file, or a glob such as `data/*.json.gz`"))]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Reading or decompressing failed.
    #[error("read {} after {bytes} bytes of text: {source}", path.display())]
    #[diagnostic(
        code(sciembed::source::read),
        help(
            "the file is cut short, damaged or not to be read by you: look at its permissions, or fetch it again; nothing of it was used"
        )
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// Decompressed bytes read before.
        bytes: u64,
        /// What went wrong.
        source: io::Error,
    },
    /// It is whole, and not of a kind or shape that can be read as it is.
    #[error("read {}: {detail}", path.display())]
    #[diagnostic(code(sciembed::source::unfit), help("{help}"))]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What it is instead.
        detail: String,
        /// What to do.
        help: String,
    },
    /// The file's bytes are not those that were planned with.
    #[error("read {}: it changed while it was being read", path.display())]
    #[diagnostic(code(sciembed::source::changed), help("wait until whoever writes it is done, and apply again"))]
    Changed {
        /// The file.
        path: PathBuf,
    },
}

impl SourceError {
    /// The error of reading a file, after so many bytes of text.
    pub fn reading(path: PathBuf, bytes: u64, source: io::Error) -> Self {
        match source.downcast::<Unfit>() {
            Ok(Unfit { detail, help }) => Self::Unfit { path, detail, help },
            Err(source) => Self::Read { path, bytes, source },
        }
    }
}
