//! Which processor a model will run on, decided before any key by looking at files and loading nothing.
//!
//! `device = "auto"` must be settled here, because the numerics class is part of the embedder key. Asking the runtime
//! would not help: it reports CUDA as available on machines without a GPU, and falls back to the CPU in silence.

use std::fmt;
use std::path::{Path, PathBuf};

use super::ModelError;
use crate::convert::Operators;
use crate::manifest::config::{Device, Precision, Provider};

/// What to do about a missing or unfit ONNX Runtime.
pub const RUNTIME_REMEDY: &str = "run ./setup.sh, which brings ONNX Runtime to lib/, or name the library with \
                                  `--onnxruntime PATH`";

/// The library of ONNX Runtime's CUDA provider, which must lie beside the runtime.
const CUDA_PROVIDER: &str = "libonnxruntime_providers_cuda.so";

/// The library of its TensorRT provider, which must lie there too.
const TENSORRT_PROVIDER: &str = "libonnxruntime_providers_tensorrt.so";

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
    /// Where what TensorRT compiles is kept; it can always be made again.
    pub engines: PathBuf,
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
    /// The same, by a compiler that rounds otherwise.
    Tensorrt,
}

impl Processor {
    /// The numerics class of a graph there: vectors of one class may be mixed, vectors of two may not.
    pub const fn numerics(self, precision: Precision) -> &'static str {
        match (self, precision) {
            (Self::Cpu, Precision::F32) => "cpu-f32",
            (Self::Cpu, Precision::Int8) => "cpu-i8",
            // Refused where a model is resolved; tests run such graphs, on ONNX Runtime's own terms.
            (Self::Cpu, Precision::F16) => "cpu-f16",
            // There int8 is refused.
            (Self::Cuda, Precision::F32 | Precision::Int8) => "cuda-f32",
            (Self::Cuda, Precision::F16) => "cuda-f16",
            (Self::Tensorrt, Precision::F32 | Precision::Int8) => "tensorrt-f32",
            (Self::Tensorrt, Precision::F16) => "tensorrt-f16",
        }
    }

    /// What a graph that is made of weights computes with there.
    pub const fn operators(self) -> Operators {
        match self {
            Self::Cpu => Operators::Kernels,
            Self::Cuda => Operators::Standard,
            Self::Tensorrt => Operators::Plain,
        }
    }

    /// Whether it is a GPU.
    pub const fn is_gpu(self) -> bool {
        !matches!(self, Self::Cpu)
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
            Self::Tensorrt => "tensorrt",
        })
    }
}

/// Settles `device`, driven by `provider`; the text says why where there is a GPU and `auto` did not get it.
///
/// # Errors
/// [`ModelError::NoCuda`] or [`ModelError::NoTensorrt`] for a device that the machine lacks something for.
pub(super) fn settle(
    device: Device,
    provider: Provider,
    env: &Environment,
) -> Result<(Processor, Option<String>), ModelError> {
    settle_with(device, provider, env, Path::new(NVIDIA_DRIVER))
}

fn settle_with(
    device: Device,
    provider: Provider,
    env: &Environment,
    driver: &Path,
) -> Result<(Processor, Option<String>), ModelError> {
    match (device, cuda_lacks(env.runtime(), driver)) {
        (Device::Cpu, _) => Ok((Processor::Cpu, None)),
        (Device::Cuda(_), None) if provider == Provider::Tensorrt => {
            match env.runtime().and_then(|runtime| provider_lacks(runtime, TENSORRT_PROVIDER)) {
                None => Ok((Processor::Tensorrt, None)),
                Some(missing) => Err(ModelError::NoTensorrt { missing }),
            }
        }
        (Device::Cuda(_) | Device::Auto, None) => Ok((Processor::Cuda, None)),
        // Where there is no NVIDIA driver nobody expects a GPU.
        (Device::Auto, Some(missing)) => Ok((Processor::Cpu, driver.exists().then_some(missing))),
        (Device::Cuda(_), Some(missing)) => Err(ModelError::NoCuda { missing }),
    }
}

/// The first thing that CUDA needs and this machine lacks.
fn cuda_lacks(runtime: Option<&Path>, driver: &Path) -> Option<String> {
    let Some(runtime) = runtime else { return Some("ONNX Runtime was not found".to_owned()) };
    if let Some(missing) = provider_lacks(runtime, CUDA_PROVIDER) {
        return Some(missing);
    }
    (!driver.exists()).then(|| format!("{} is missing; no NVIDIA driver is loaded", driver.display()))
}

/// What is missing where this library is not beside the runtime.
fn provider_lacks(runtime: &Path, provider: &str) -> Option<String> {
    // A symlink may stand in another folder than the library; the provider is looked for beside the library itself.
    let library = runtime.canonicalize().unwrap_or_else(|_| runtime.into());
    let provider = library.with_file_name(provider);
    let missing = || format!("{} is missing; this is not the GPU build of ONNX Runtime", provider.display());
    (!provider.is_file()).then(missing)
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
        let complaint =
            || settle_with(Device::Cuda(Gpus::FIRST), Provider::Cuda, &env, &driver).unwrap_err().to_string();

        assert!(complaint().contains("ONNX Runtime was not found"));
        fs::write(&runtime, "").unwrap();
        assert!(complaint().contains(CUDA_PROVIDER));
        fs::write(dir.path().join(CUDA_PROVIDER), "").unwrap();
        assert!(complaint().contains("nvidiactl is missing"));
        let (processor, why) = settle_with(Device::Auto, Provider::Cuda, &env, &driver).unwrap();
        assert_eq!((processor, why), (Processor::Cpu, None));

        fs::write(&driver, "").unwrap();
        fs::remove_file(dir.path().join(CUDA_PROVIDER)).unwrap();
        let (processor, why) = settle_with(Device::Auto, Provider::Cuda, &env, &driver).unwrap();
        assert_eq!(processor, Processor::Cpu);
        assert!(why.unwrap().contains("this is not the GPU build"));
        fs::write(dir.path().join(CUDA_PROVIDER), "").unwrap();
        assert_eq!(settle_with(Device::Auto, Provider::Cuda, &env, &driver).unwrap(), (Processor::Cuda, None));
        assert_eq!(settle_with(Device::Cpu, Provider::Cuda, &env, &driver).unwrap(), (Processor::Cpu, None));

        let compiled = || settle_with(Device::Cuda(Gpus::FIRST), Provider::Tensorrt, &env, &driver);
        let message = compiled().unwrap_err().to_string();
        assert!(message.contains("provider = \"tensorrt\"") && message.contains(TENSORRT_PROVIDER), "{message}");
        fs::write(dir.path().join(TENSORRT_PROVIDER), "").unwrap();
        assert_eq!(compiled().unwrap(), (Processor::Tensorrt, None));
    }

    /// Vectors of two classes may not be mixed.
    #[test]
    fn every_way_to_compute_has_a_class_of_its_own() {
        let processors = [Processor::Cpu, Processor::Cuda, Processor::Tensorrt];
        let ways = processors.map(|processor| [Precision::F32, Precision::F16].map(|p| processor.numerics(p)));
        let classes = ["cpu-f32", "cpu-f16", "cuda-f32", "cuda-f16", "tensorrt-f32", "tensorrt-f16"];
        assert_eq!(ways.as_flattened(), classes);
        assert!(Processor::Cpu.bit_stable() && !Processor::Cuda.bit_stable() && !Processor::Tensorrt.bit_stable());
    }
}
