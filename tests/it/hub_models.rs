//! Models of a hub, as people meet them: pulled, pinned by the lock file, and used again without a network.

use std::fs;
use std::path::{Path, PathBuf};

use sciembed::store::durable;
use serde_json::Value;

use crate::crash::spread;
use crate::env::{TestEnv, Told, file_name, files, say, times};
use crate::hub_server::{Fault, HubServer};
use crate::models::onnxruntime;

const REPO: &str = "org/tiny-bert";
const MODEL: &str = "hf://org/tiny-bert";

/// A hub with one model, and a project beside it.
struct World {
    env: TestEnv,
    server: HubServer,
    runtime: PathBuf,
}

impl World {
    /// None, and said loudly, where ONNX Runtime is missing.
    fn new() -> Option<Self> {
        let runtime = onnxruntime()?;
        let (env, server) = (TestEnv::of(3), HubServer::start());
        env.edit("fake://16", MODEL);
        let world = Self { env, server, runtime };
        world.publish(|_, bytes| Some(bytes));
        Some(world)
    }

    /// Publishes the fixture, with its files changed or left out, and a README that nobody needs.
    fn publish(&self, change: impl Fn(&str, Vec<u8>) -> Option<Vec<u8>>) -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/bert-mean");
        let names = ["config.json", "config_sentence_transformers.json", "model.safetensors", "modules.json"];
        let names = names.into_iter().chain(["sentence_bert_config.json", "tokenizer.json", "1_Pooling/config.json"]);
        let read = |name: &'static str| Some((name, change(name, fs::read(folder.join(name)).unwrap())?));
        let mut published: Vec<(&str, Vec<u8>)> = names.filter_map(read).collect();
        published.push(("README.md", b"# tiny".to_vec()));
        published.push(("onnx/model.onnx", vec![7; 4096]));
        let published: Vec<(&str, &[u8])> = published.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        self.server.publish(REPO, &published)
    }

    fn run(&self, arguments: &[&str], more: &[(&str, &str)]) -> Told {
        let (address, home) = (self.server.address(), self.env.path("hf"));
        let mut variables: Vec<(&str, &Path)> =
            vec![("HF_ENDPOINT", Path::new(&address)), ("HF_HOME", &home), ("SCIEMBED_ONNXRUNTIME", &self.runtime)];
        variables.extend(more.iter().map(|(name, value)| (*name, Path::new(*value))));
        self.env.run_with(arguments, "", &variables)
    }

    fn pull(&self, more: &[(&str, &str)]) -> Told {
        self.run(&["model", "pull", MODEL], more)
    }

    fn apply(&self, more: &[(&str, &str)]) -> Told {
        self.run(&["apply", "workflow.toml"], more)
    }

    fn asked_for(&self, part: &str) -> usize {
        self.server.requests().iter().filter(|request| request.path.contains(part)).count()
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.env.path("sciembed.lock")).unwrap()
    }
}

const OFFLINE: (&str, &str) = ("HF_HUB_OFFLINE", "1");

#[track_caller]
fn done(told: &Told) {
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
}

#[track_caller]
fn refused(told: &Told, parts: &[&str]) {
    assert_eq!(told.code, Some(1), "{}{}", told.out, told.err);
    assert!(parts.iter().all(|part| told.err.contains(part)), "{}", told.err);
}

#[test]
fn a_workflow_fetches_pins_and_needs_no_network_afterwards() {
    let Some(world) = World::new() else { return };
    let told = world.apply(&[]);
    done(&told);
    assert_eq!(told.embedded_and_reused(), (6, 0));
    assert!(told.err.contains("fetched model.safetensors"), "{}", told.err);
    assert_eq!((world.asked_for("README"), world.asked_for("onnx")), (0, 0), "nobody needs these");
    let lock = world.lock();
    for part in ["reference = \"hf://org/tiny-bert\"", "commit = ", "graph = \"own\"", "\"model.safetensors\" = "] {
        assert!(lock.contains(part), "{lock}");
    }

    // The hub moves on; the workflow means what it meant.
    world.publish(|name, bytes| (name != "sentence_bert_config.json").then_some(bytes));
    world.server.forget();
    let told = world.apply(&[]);
    done(&told);
    assert!(told.out.contains("nothing to do"), "{}", told.out);
    assert_eq!(world.asked_for(""), 0, "{:?}", world.server.requests());
    done(&world.run(&["plan", "workflow.toml"], &[OFFLINE]));
    assert_eq!(world.lock(), lock);

    // On another machine, too, where nothing is cached.
    fs::remove_dir_all(world.env.path("hf")).unwrap();
    let told = world.apply(&[]);
    done(&told);
    assert!(told.out.contains("nothing to do"), "{}", told.out);

    // Without the lock file it is another model now.
    fs::remove_file(world.env.path("sciembed.lock")).unwrap();
    let told = world.run(&["plan", "workflow.toml"], &[]);
    assert_eq!(told.code, Some(2), "{}", told.err);
    assert!(told.out.contains("sentence_bert_config.json"), "{}", told.out);
    assert!(!world.env.path("sciembed.lock").exists(), "planning writes nothing");
}

#[test]
fn an_interrupted_pull_goes_on_where_it_stopped() {
    let Some(world) = World::new() else { return };
    let bytes = fs::metadata("tests/fixtures/models/bert-mean/model.safetensors").unwrap().len() as usize;
    // Cut more often than one pull tries, as by a network that went away.
    (0..5).for_each(|_| world.server.fail("/storage/", Fault::CutAfter(50_000)));
    let told = world.pull(&[]);
    let sent = |world: &World| -> usize {
        world.server.requests().iter().filter(|request| request.path.contains("/storage/")).map(|r| r.sent).sum()
    };
    if told.code == Some(1) {
        refused(&world.pull(&[OFFLINE]), &["model.safetensors", "HF_HUB_OFFLINE", "hf/hub/models--org--tiny-bert"]);
        done(&world.pull(&[]));
    }
    // Nothing that had arrived was sent again.
    assert!(sent(&world) < bytes + 2 * 65_536, "{} of {bytes}", sent(&world));
    done(&world.pull(&[OFFLINE]));
}

#[test]
fn what_keeps_a_model_from_being_fetched_is_worded_for_people() {
    let Some(world) = World::new() else { return };
    let unknown = world.run(&["model", "pull", "hf://org/nothing"], &[]);
    refused(&unknown, &["org/nothing", "no such repository"]);
    refused(&world.pull(&[OFFLINE]), &["org/tiny-bert", "HF_HUB_OFFLINE", "hf/hub/models--org--tiny-bert"]);

    world.server.require("hf_secret");
    refused(&world.pull(&[]), &["401", "HF_TOKEN"]);
    let wrong = world.pull(&[("HF_TOKEN", "hf_wrong")]);
    refused(&wrong, &["org/tiny-bert"]);
    assert!(!wrong.err.contains("hf_wrong"), "{}", wrong.err);
    let told = world.pull(&[("HF_TOKEN", "hf_secret")]);
    done(&told);
    assert!(!format!("{}{}", told.out, told.err).contains("hf_secret"));
}

#[test]
fn a_wrong_digest_is_refused_and_nothing_of_it_is_kept() {
    let Some(world) = World::new() else { return };
    let bytes = fs::metadata("tests/fixtures/models/bert-mean/model.safetensors").unwrap().len() as usize;
    world.server.fail("/storage/", Fault::Body(vec![1; bytes]));
    refused(&world.pull(&[]), &["model.safetensors"]);
    done(&world.pull(&[]));
}

#[test]
fn a_file_that_is_not_the_pinned_one_is_refused() {
    let Some(world) = World::new() else { return };
    done(&world.apply(&[]));
    let lock = world.lock();
    let line = lock.lines().find(|line| line.contains("sentence_bert_config.json")).unwrap();
    let other = format!("\"sentence_bert_config.json\" = \"{}\"", "ab".repeat(32));
    fs::write(world.env.path("sciembed.lock"), lock.replace(line, &other)).unwrap();
    let told = world.run(&["plan", "workflow.toml"], &[]);
    refused(&told, &["sentence_bert_config.json", "sciembed.lock pins abababab", "delete the entry of the lock file"]);
}

#[test]
fn secrets_stand_in_no_file() {
    let Some(world) = World::new() else { return };
    world.server.require("hf_verysecret");
    done(&world.apply(&[("HF_TOKEN", "hf_verysecret")]));
    let mut folders = vec![world.env.path("")];
    while let Some(folder) = folders.pop() {
        for path in files(&folder) {
            match path.is_dir() {
                true => folders.push(path),
                false => assert!(!contains(&fs::read(&path).unwrap_or_default(), b"verysecret"), "{}", path.display()),
            }
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn a_pinned_graph_outlives_what_the_rule_would_choose() {
    let Some(world) = World::new() else { return };
    done(&world.apply(&[]));
    let lock = world.lock().replace("graph = \"own\"", "graph = \"bundled\"");
    fs::write(world.env.path("sciembed.lock"), lock).unwrap();
    let told = world.run(&["plan", "workflow.toml", "--json"], &[]);
    let plan: Value = serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{}{}", told.out, told.err));
    assert!(plan.to_string().contains("bundled"), "{plan}");
}

/// How often a first apply is killed, unless `SCIEMBED_KILLS` says another number.
const KILLS: usize = 4;

/// Downloading, pinning, converting and embedding, killed between any two changes of the disk: the next apply ends where
/// an undisturbed one does, and leaves nothing unfinished.
#[test]
fn a_first_apply_is_killed() {
    let Some(undisturbed) = World::new() else { return };
    let told = undisturbed.apply(&[("SCIEMBED_CRASH_COUNT", "points")]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    let points = fs::read_to_string(undisturbed.env.path("points")).unwrap();
    let points: Vec<&str> = points.lines().collect();
    let (keyed, lock) = (undisturbed.env.keyed(), fs::read(undisturbed.env.path("sciembed.lock")).unwrap());
    let killed = spread(points.len(), times("SCIEMBED_KILLS", KILLS));
    let mut in_time = 0;
    for point in &killed {
        let case = format!("at point {point} ({})", points[point - 1]);
        let world = World::new().expect("there was a runtime just now");
        let told = world.apply(&[("SCIEMBED_CRASH_AT", &point.to_string())]);
        // Steps run side by side, and not every run passes the same number of points.
        assert!(matches!(told.code, None | Some(0)), "{case}: {}{}", told.out, told.err);
        in_time += usize::from(told.code.is_none());
        let told = world.apply(&[]);
        assert_eq!(told.code, Some(0), "{case}: {}{}", told.out, told.err);
        assert_eq!(world.env.keyed(), keyed, "{case}");
        assert_eq!(fs::read(world.env.path("sciembed.lock")).unwrap(), lock, "{case}");
        let host = format!("{}~", durable::host());
        let store = world.env.path("store");
        for path in all_below(&world.env.path("")).into_iter().filter(|path| !path.starts_with(&store)) {
            let is_unfinished = file_name(&path).contains(&host) || file_name(&path).ends_with(".incomplete");
            assert!(!is_unfinished, "{case}: {}", path.display());
        }
    }
    assert!(2 * in_time > killed.len(), "only {in_time} of {} were killed", killed.len());
    say(format!("killed at {in_time} of {} points of a first apply", points.len()));
}

/// All files and folders of a folder and its folders.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let is_folder = |path: &Path| path.is_dir() && !path.is_symlink();
    let below =
        |path: PathBuf| if is_folder(&path) { [vec![path.clone()], all_below(&path)].concat() } else { vec![path] };
    files(folder).into_iter().flat_map(below).collect()
}
