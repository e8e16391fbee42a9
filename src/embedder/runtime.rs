//! ONNX Runtime itself: found among the caller's candidates, checked for its version, started once per process.
//!
//! The library is loaded at run time, so that a plan works without it. `ort` panics or aborts on a library that is
//! missing or too old; both are ruled out here first.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::LoadDynamicError;
use ort::logging::LogLevel;

use super::EmbedderError;
use crate::model::Environment;

/// The oldest minor version of ONNX Runtime 1 whose interface this program was built for.
const OLDEST_MINOR: u32 = ort::MINOR_VERSION;

/// The runtime that this process has loaded. ONNX Runtime allows one environment per process, and ending it while
/// the process ends is a known way to crash, so it stays.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// A started ONNX Runtime.
#[derive(Clone)]
pub(super) struct Runtime {
    /// What sessions are made in.
    pub environment: ort::environment::Environment,
    library: PathBuf,
    version: String,
}

impl Runtime {
    /// As it is written into provenance.
    pub fn name(&self) -> String {
        format!("onnxruntime {}", self.version)
    }
}

/// Gives the runtime, loading it at the first call.
pub(super) fn load(env: &Environment) -> Result<Runtime, EmbedderError> {
    let candidate = env.runtime().ok_or_else(|| EmbedderError::NoRuntime {
        looked_for: env.onnxruntime.iter().map(|path| path.display().to_string()).collect(),
    })?;
    // The real file's name carries the version, and a relative path would be taken from the executable's folder.
    let library =
        candidate.canonicalize().map_err(|source| EmbedderError::Unreadable { file: candidate.into(), source })?;
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    match &*loaded {
        Some(runtime) if runtime.library == library => Ok(runtime.clone()),
        Some(runtime) => Err(EmbedderError::SecondRuntime { asked: library, loaded: runtime.library.clone() }),
        None => Ok(loaded.insert(start(library)?).clone()),
    }
}

fn start(library: PathBuf) -> Result<Runtime, EmbedderError> {
    let named = version_in_name(&library);
    if let Some(version) = named.as_deref().filter(|version| minor(version) < OLDEST_MINOR) {
        return Err(EmbedderError::OldRuntime { found: version.to_owned(), library });
    }
    // Where the name does not say, this asks the library for its version before it uses anything else of it.
    let builder = ort::init_from(&library).map_err(|source| match source {
        LoadDynamicError::BadVersion { version_str, .. } => {
            EmbedderError::OldRuntime { found: version_str, library: library.clone() }
        }
        source => EmbedderError::LoadRuntime { library: library.clone(), source },
    })?;
    let environment = builder.with_telemetry(false).build().map_err(|source| EmbedderError::StartRuntime { source })?;
    // ort asks for verbose messages and hands each to `tracing`; formatting them would cost time at every run.
    environment.set_log_level(LogLevel::Error);
    Ok(Runtime { environment, version: named.unwrap_or_else(version_in_build_info), library })
}

/// The `1.31.1` of `libonnxruntime.so.1.31.1`.
fn version_in_name(library: &Path) -> Option<String> {
    let name = library.file_name()?.to_str()?;
    let version = name.split_once(".so.")?.1;
    // `.so.1` is the interface's number and tells nothing.
    let numbers = version.contains('.') && version.split('.').all(|part| part.parse::<u32>().is_ok());
    numbers.then(|| version.to_owned())
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
}

/// The commit in `.. git-commit-id=6af1a93, ..`, for a library whose name does not tell its version.
fn version_in_build_info() -> String {
    let commit = ort::info().split_once("git-commit-id=").and_then(|(_, rest)| rest.split(',').next());
    commit.map_or_else(|| "of unknown version".to_owned(), |commit| format!("commit {commit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_tells_the_version() {
        let version = |name: &str| version_in_name(Path::new(name));
        assert_eq!(version("/lib/libonnxruntime.so.1.31.1").as_deref(), Some("1.31.1"));
        assert_eq!(version("/lib/libonnxruntime.so"), None);
        assert_eq!(version("/lib/libonnxruntime.so.1"), None);
        assert_eq!(version("/lib/libonnxruntime.so.old"), None);
        assert_eq!(minor("1.22.0"), 22);
    }

    #[test]
    fn a_missing_or_old_library_is_named_with_its_remedy() {
        use miette::Diagnostic;
        let dir = tempfile::tempdir().unwrap();
        let paths = [dir.path().join("a.so"), dir.path().join("libonnxruntime.so.1.17.0")];
        let env = Environment { onnxruntime: paths.to_vec(), ..Environment::default() };
        let missing = load(&env).err().unwrap();
        assert!(paths.iter().all(|path| missing.to_string().contains(path.to_str().unwrap())), "{missing}");
        assert!(missing.help().unwrap().to_string().contains("./setup.sh"));

        std::fs::write(&paths[1], "").unwrap();
        let old = start(paths[1].clone()).err().unwrap().to_string();
        assert!(old.contains("1.17.0") && old.contains("1.23"), "{old}");
    }
}
