//! Which processor a model will run on, decided before any key by looking at files and loading nothing.
//!
//! `device = "auto"` must be settled here, because the numerics class is part of the embedder key. Asking the runtime
//! would not help: it reports CUDA as available on machines without a GPU, and falls back to the CPU in silence.

use std::fmt;
use std::path::{Path, PathBuf};

use super::ModelError;
use crate::convert::Operators;
use crate::manifest::config::{Device, Precision};

/// What to do about a missing or unfit ONNX Runtime.
pub const RUNTIME_REMEDY: &str = "run ./setup.sh, which brings ONNX Runtime to lib/, or name the library with \
                                  `--onnxruntime PATH`";

/// The library of ONNX Runtime's CUDA provider, which must lie beside the runtime.
const CUDA_PROVIDER: &str = "libonnxruntime_providers_cuda.so";

/// The device file of the NVIDIA driver.
const NVIDIA_DRIVER: &str = "/dev/nvidiactl";

/// What the caller knows about this machine; this library reads no environment variable and no home directory.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// Candidates for ONNX Runtime's shared library, in the order in which they are tried.
    pub onnxruntime: Vec<PathBuf>,
    /// Cores that a run may use.
    pub cores: usize,
    /// Where graphs that were made of weights are kept.
    pub graphs: PathBuf,
    /// Where it is noted what APIs cost: a folder for each workflow.
    pub spending: PathBuf,
    /// What holds the keys of APIs.
    pub variables: Variables,
    /// The proxy through which APIs are asked, if one must be.
    pub proxy: Option<String>,
    /// What the test embedder is to do besides its work; nothing, but in tests.
    pub fake: FakeControls,
}

/// Gives the value of an environment variable by its name; none by default. This library reads no environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Variables(pub Option<fn(&str) -> Option<String>>);

impl Variables {
    /// The value of a variable.
    pub fn get(self, name: &str) -> Option<String> {
        self.0.and_then(|get| get(name))
    }
}

/// What the embedder `fake://` is to do besides its work, so that tests can see and disturb it; enters no key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FakeControls {
    /// The file that gets a line with the row key of each text, before its vector is handed on.
    pub log: Option<PathBuf>,
    /// A call with a text that contains this fails as a whole.
    pub fail: Option<String>,
    /// `fail` holds only while this file does not exist, and the first failure makes it: a fault that passes.
    pub fail_once: Option<PathBuf>,
    /// A text that contains this gets a vector with a NaN.
    pub nan: Option<String>,
}

impl Environment {
    /// The first candidate for ONNX Runtime that exists.
    pub fn runtime(&self) -> Option<&Path> {
        self.onnxruntime.iter().find(|path| path.is_file()).map(PathBuf::as_path)
    }
}

/// Where a model runs, after `auto` was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// The CPU.
    Cpu,
    /// NVIDIA GPUs; which ones changes no vector.
    Cuda,
}

impl Processor {
    /// The numerics class of a graph there: vectors of one class may be mixed, vectors of two may not.
    pub const fn numerics(self, precision: Precision) -> &'static str {
        match (self, precision) {
            (Self::Cpu, Precision::F32) => "cpu-f32",
            (Self::Cpu, Precision::Int8) => "cpu-i8",
            (Self::Cuda, _) => "cuda-f32",
        }
    }

    /// What a graph that is made of weights computes with there.
    pub const fn operators(self) -> Operators {
        match self {
            Self::Cpu => Operators::Kernels,
            Self::Cuda => Operators::Standard,
        }
    }

    /// Whether a text always gets the same bits there: CUDA picks kernels by batch shape and adds in varying order.
    pub const fn bit_stable(self) -> bool {
        matches!(self, Self::Cpu)
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

/// Settles `device`; the text says why where there is a GPU and `auto` did not get it.
///
/// # Errors
/// [`ModelError::NoCuda`] for `cuda` on a machine that lacks something for it.
pub(super) fn settle(device: Device, env: &Environment) -> Result<(Processor, Option<String>), ModelError> {
    settle_with(device, env, Path::new(NVIDIA_DRIVER))
}

fn settle_with(device: Device, env: &Environment, driver: &Path) -> Result<(Processor, Option<String>), ModelError> {
    match (device, cuda_lacks(env.runtime(), driver)) {
        (Device::Cpu, _) => Ok((Processor::Cpu, None)),
        (Device::Cuda(_) | Device::Auto, None) => Ok((Processor::Cuda, None)),
        // Where there is no NVIDIA driver nobody expects a GPU.
        (Device::Auto, Some(missing)) => Ok((Processor::Cpu, driver.exists().then_some(missing))),
        (Device::Cuda(_), Some(missing)) => Err(ModelError::NoCuda { missing }),
    }
}

/// The first thing that CUDA needs and this machine lacks.
fn cuda_lacks(runtime: Option<&Path>, driver: &Path) -> Option<String> {
    let Some(runtime) = runtime else { return Some("ONNX Runtime was not found".to_owned()) };
    // A symlink may stand in another folder than the library; the provider is looked for beside the library itself.
    let library = runtime.canonicalize().unwrap_or_else(|_| runtime.into());
    let provider = library.with_file_name(CUDA_PROVIDER);
    if !provider.is_file() {
        return Some(format!("{} is missing; this is not the GPU build of ONNX Runtime", provider.display()));
    }
    (!driver.exists()).then(|| format!("{} is missing; no NVIDIA driver is loaded", driver.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::config::Gpus;
    use std::fs;

    #[test]
    fn cuda_names_the_first_thing_that_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let (runtime, driver) = (dir.path().join("libonnxruntime.so"), dir.path().join("nvidiactl"));
        let env =
            Environment { onnxruntime: vec![dir.path().join("absent.so"), runtime.clone()], ..Environment::default() };
        let complaint = || settle_with(Device::Cuda(Gpus::FIRST), &env, &driver).unwrap_err().to_string();

        assert!(complaint().contains("ONNX Runtime was not found"));
        fs::write(&runtime, "").unwrap();
        assert!(complaint().contains(CUDA_PROVIDER));
        fs::write(dir.path().join(CUDA_PROVIDER), "").unwrap();
        assert!(complaint().contains("nvidiactl is missing"));
        let (processor, why) = settle_with(Device::Auto, &env, &driver).unwrap();
        assert_eq!((processor, why), (Processor::Cpu, None));

        fs::write(&driver, "").unwrap();
        fs::remove_file(dir.path().join(CUDA_PROVIDER)).unwrap();
        let (processor, why) = settle_with(Device::Auto, &env, &driver).unwrap();
        assert_eq!(processor, Processor::Cpu);
        assert!(why.unwrap().contains("this is not the GPU build"));
        fs::write(dir.path().join(CUDA_PROVIDER), "").unwrap();
        assert_eq!(settle_with(Device::Auto, &env, &driver).unwrap(), (Processor::Cuda, None));
        assert_eq!(settle_with(Device::Cpu, &env, &driver).unwrap(), (Processor::Cpu, None));
    }
}
