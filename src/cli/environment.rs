//! What the library needs to know of this machine and may not look up itself.

use std::env;
use std::path::PathBuf;
use std::thread::available_parallelism;

use crate::model::{Environment, FakeControls, Variables};

/// The runtime library's name without a version.
const LIBRARY: &str = "libonnxruntime.so";

/// Where things are on this machine.
#[derive(clap::Args, Default)]
pub struct Machine {
    /// ONNX Runtime's shared library [default: beside the program, in ../lib, or where setup.sh puts it]
    #[arg(long, value_name = "PATH", env = "SCIEMBED_ONNXRUNTIME")]
    onnxruntime: Option<PathBuf>,
}

impl Machine {
    /// Resolves candidates for the runtime, in order, and the cores that a run may use.
    pub fn environment(&self) -> Environment {
        let onnxruntime = match &self.onnxruntime {
            Some(path) => vec![path.clone()],
            None => candidates(),
        };
        let [graphs, engines] = ["graphs", "engines"].map(|made| cache_home().join("sciembed").join(made));
        Environment {
            onnxruntime,
            cores: cores(),
            graphs,
            engines,
            spending: PathBuf::new(),
            variables: Variables(Some(|name| env::var(name).ok())),
            proxy: proxy(),
            fake: fake_controls(),
        }
    }
}

/// The proxy for encrypted connections, by everybody's habit.
fn proxy() -> Option<String> {
    let variables = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"].into_iter();
    variables.filter_map(|name| env::var(name).ok()).find(|proxy| !proxy.trim().is_empty())
}

/// A variable that a workflow names, such as the one that holds a server's key.
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Cores that this process may use.
pub fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Where what can be made again is kept, by the rules of XDG; without a home, below the working directory.
pub fn cache_home() -> PathBuf {
    let home = env::var_os("HOME").map(PathBuf::from);
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(home?.join(".cache")));
    cache.unwrap_or_else(|| PathBuf::from(".cache"))
}

/// Variables that only tests set; they enter no key.
fn fake_controls() -> FakeControls {
    let text = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let path = |name: &str| text(name).map(PathBuf::from);
    FakeControls {
        log: path("SCIEMBED_FAKE_LOG"),
        fail: text("SCIEMBED_FAKE_FAIL"),
        fail_once: path("SCIEMBED_FAKE_FAIL_ONCE"),
        nan: text("SCIEMBED_FAKE_NAN"),
    }
}

/// Counts the points at which a test may end the program, and ends it at the one that it asks for.
#[cfg(debug_assertions)]
pub fn arm_failpoints() {
    let crash_at = env::var("SCIEMBED_CRASH_AT").ok().and_then(|number| number.parse().ok());
    if crash_at.is_some() || env::var_os("SCIEMBED_CRASH_COUNT").is_some() {
        crate::store::failpoint::arm(crash_at);
    }
}

/// Tells a test which points were passed: one a line.
#[cfg(debug_assertions)]
pub fn tell_failpoints() {
    if let Some(path) = env::var_os("SCIEMBED_CRASH_COUNT") {
        let points: String = crate::store::failpoint::passed().iter().map(|point| format!("{point}\n")).collect();
        // Who asked for it will miss it.
        let _ = std::fs::write(path, points);
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(folder) = env::current_exe().ok().as_deref().and_then(|program| program.parent()) {
        folders.push(folder.to_owned());
        folders.push(folder.join("../lib"));
    }
    let home = env::var_os("HOME").map(PathBuf::from);
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).or_else(|| Some(home?.join(".local/share")));
    folders.extend(data.map(|data| data.join("sciembed/lib")));
    folders.into_iter().map(|folder| folder.join(LIBRARY)).collect()
}
