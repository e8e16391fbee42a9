//! Models from a hub: what is downloaded, what is sent again after an interruption, and what people are told.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use miette::Diagnostic;
use sciembed::hub::{Hub, HubError, HubSettings, Patience, Progress, RepoRef, Snapshot, Token};
use tempfile::TempDir;

use crate::hub_server::{Fault, HubServer, git_sha1, sha256};

const REPO: &str = "org/mini-lm";
const CONFIG: &[u8] = b"{\"hidden_size\": 16}";
const TOKEN: &str = "hf_verysecret";

/// More than a megabyte that is nowhere alike.
fn graph() -> Vec<u8> {
    (0..40_000u32).flat_map(|n| *blake3::hash(&n.to_le_bytes()).as_bytes()).chain(*b"the end").collect()
}

/// A hub with one model, and a cache of its own.
struct World {
    server: HubServer,
    commit: String,
    cache: TempDir,
}

impl World {
    fn new() -> Self {
        let server = HubServer::start();
        let commit =
            server.publish(REPO, &[("config.json", CONFIG), ("onnx/model.onnx", &graph()), ("README.md", b"#")]);
        Self { server, commit, cache: tempfile::tempdir().unwrap() }
    }

    fn settings(&self) -> HubSettings {
        let patience = Patience {
            first_wait: Duration::from_millis(1),
            longest_wait: Duration::from_secs(2),
            silence: Duration::from_millis(700),
            ..Patience::default()
        };
        let (endpoint, cache) = (self.server.address(), self.cache.path().to_owned());
        HubSettings { endpoint, cache, token: None, offline: false, proxy: None, patience }
    }

    fn hub(&self) -> Hub {
        Hub::new(self.settings())
    }

    fn offline(&self) -> Hub {
        Hub::new(HubSettings { offline: true, ..self.settings() })
    }

    /// The same cache, and a hub that is not there.
    fn unplugged(&self) -> Hub {
        Hub::new(HubSettings { endpoint: "http://127.0.0.1:9".into(), ..self.settings() })
    }

    fn folder(&self) -> PathBuf {
        self.cache.path().join("models--org--mini-lm")
    }

    fn part(&self) -> PathBuf {
        self.folder().join("blobs").join(format!("{}.incomplete", sha256(&graph())))
    }

    /// The requests for the bytes of the graph.
    fn graph_bytes(&self) -> Vec<usize> {
        let requests = self.server.requests().into_iter();
        requests.filter(|request| request.path.contains("/storage/")).map(|request| request.sent).collect()
    }
}

fn repo() -> RepoRef {
    REPO.parse().unwrap()
}

fn open(hub: &Hub) -> Result<Snapshot, HubError> {
    hub.open(&repo(), None)
}

fn fetch(hub: &Hub, files: &[&str]) -> Result<Snapshot, HubError> {
    let snapshot = open(hub)?;
    hub.fetch(&snapshot, files, &mut |_| {})?;
    Ok(snapshot)
}

/// An error as a person reads it, with its help.
fn told(error: &HubError) -> String {
    format!("{error}\n{}", error.help().map(|help| help.to_string()).unwrap_or_default())
}

fn complaint(hub: &Hub, files: &[&str]) -> String {
    told(&fetch(hub, files).unwrap_err())
}

const BOTH: [&str; 2] = ["config.json", "onnx/model.onnx"];

/// As huggingface_hub lays them out, so that Python finds them.
#[test]
fn files_lie_where_python_looks_for_them() {
    let world = World::new();
    let mut heard: Vec<(String, u64, Option<u64>)> = Vec::new();
    let hub = world.hub();
    let snapshot = open(&hub).unwrap();
    assert_eq!(snapshot.files().collect::<Vec<_>>(), ["README.md", "config.json", "onnx/model.onnx"]);
    assert_eq!(snapshot.missing(&BOTH), BOTH);
    hub.fetch(&snapshot, &BOTH, &mut |Progress { file, done, total, .. }| heard.push((file.into(), done, total)))
        .unwrap();

    assert!(snapshot.missing(&BOTH).is_empty());
    assert_eq!(snapshot.folder(), world.folder().join("snapshots").join(&world.commit));
    assert_eq!(fs::read(snapshot.path("config.json")).unwrap(), CONFIG);
    assert_eq!(fs::read(snapshot.path("onnx/model.onnx")).unwrap(), graph());
    let link = |path: &str| fs::read_link(snapshot.path(path)).unwrap();
    assert_eq!(link("config.json"), Path::new("../../blobs").join(git_sha1(CONFIG)));
    assert_eq!(link("onnx/model.onnx"), Path::new("../../../blobs").join(sha256(&graph())));
    assert_eq!(fs::read_to_string(world.folder().join("refs/main")).unwrap(), world.commit);
    assert!(!world.part().exists());

    let size = graph().len() as u64;
    assert_eq!(heard.last().unwrap(), &("onnx/model.onnx".into(), size, Some(size)));
    world.server.forget();
    fetch(&hub, &BOTH).unwrap();
    assert_eq!(world.server.requests().len(), 1, "only the branch was looked up again");
}

/// What a killed download left is sent no second time.
#[test]
fn an_interrupted_download_goes_on() {
    let world = World::new();
    let (graph, left) = (graph(), 700_000);
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    fs::write(world.part(), &graph[..left]).unwrap();
    let snapshot = fetch(&world.hub(), &BOTH).unwrap();
    assert_eq!(fs::read(snapshot.path("onnx/model.onnx")).unwrap(), graph);
    assert_eq!(world.graph_bytes(), [graph.len() - left]);
}

#[test]
fn a_cut_connection_goes_on_in_the_same_call() {
    let world = World::new();
    world.server.fail("/storage/", Fault::CutAfter(400_000));
    world.server.fail("/storage/", Fault::CutAfter(0));
    world.server.fail("config.json", Fault::CutAfter(3));
    let snapshot = fetch(&world.hub(), &BOTH).unwrap();
    assert_eq!(fs::read(snapshot.path("onnx/model.onnx")).unwrap(), graph());
    assert_eq!(fs::read(snapshot.path("config.json")).unwrap(), CONFIG);
    assert_eq!(world.graph_bytes(), [400_000, 0, graph().len() - 400_000]);
}

#[test]
fn a_server_without_ranges_sends_all_again() {
    let world = World::new();
    world.server.know_ranges(false);
    world.server.fail("/storage/", Fault::CutAfter(400_000));
    let snapshot = fetch(&world.hub(), &BOTH).unwrap();
    assert_eq!(fs::read(snapshot.path("onnx/model.onnx")).unwrap(), graph());
    assert_eq!(world.graph_bytes(), [400_000, graph().len()]);
}

/// After a power cut a part may be as long as it was and hold zeros.
#[test]
fn a_spoilt_part_is_begun_anew_once() {
    let world = World::new();
    let graph = graph();
    fs::create_dir_all(world.folder().join("blobs")).unwrap();
    for spoilt in [vec![0; 500_000], vec![0; graph.len()], vec![0; graph.len() + 5]] {
        let _ = fs::remove_file(world.folder().join("blobs").join(sha256(&graph)));
        fs::write(world.part(), &spoilt).unwrap();
        let snapshot = fetch(&world.hub(), &BOTH).unwrap();
        assert_eq!(fs::read(snapshot.path("onnx/model.onnx")).unwrap(), graph, "{}", spoilt.len());
    }
}

#[test]
fn what_is_not_as_announced_is_refused_and_thrown_away() {
    let world = World::new();
    let mut wrong = graph();
    wrong[77] ^= 1;
    world.server.fail("/storage/", Fault::Body(wrong.clone()));
    let text = complaint(&world.hub(), &BOTH);
    let expected = format!(
        "trust onnx/model.onnx of org/mini-lm: expected sha256 {}, found sha256 {}\n",
        sha256(&graph()),
        sha256(&wrong)
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(!world.part().exists());
    assert!(!world.folder().join("snapshots").join(&world.commit).join("onnx/model.onnx").exists());

    world.server.fail("/storage/", Fault::Body([&graph()[..], b"and more"].concat()));
    let text = complaint(&world.hub(), &BOTH);
    assert!(text.contains("expected 1280007 bytes, found more"), "{text}");
    fetch(&world.hub(), &BOTH).unwrap();
}

#[test]
fn digests_come_from_headers_where_the_listing_has_none() {
    let world = World::new();
    world.server.list_blobs(false);
    world.server.fail("/storage/", Fault::CutAfter(400_000));
    let snapshot = fetch(&world.hub(), &BOTH).unwrap();
    assert!(world.folder().join("blobs").join(sha256(&graph())).exists());
    assert!(world.folder().join("blobs").join(git_sha1(CONFIG)).exists());
    assert_eq!(fs::read(snapshot.path("onnx/model.onnx")).unwrap(), graph());
}

/// A file that another program damaged is not taken for whole because it is long enough.
#[test]
fn a_damaged_blob_is_downloaded_again() {
    let world = World::new();
    let snapshot = fetch(&world.hub(), &BOTH).unwrap();
    let blob = world.folder().join("blobs").join(git_sha1(CONFIG));
    fs::write(&blob, vec![b'x'; CONFIG.len()]).unwrap();
    let text = complaint(&world.offline(), &BOTH);
    assert!(text.starts_with("find config.json of org/mini-lm without the network"), "{text}");
    fetch(&world.hub(), &BOTH).unwrap();
    assert_eq!(fs::read(snapshot.path("config.json")).unwrap(), CONFIG);
}

#[test]
fn what_may_pass_is_waited_for() {
    let (world, storage) = (World::new(), HubServer::start());
    let server = &world.server;
    server.store_at(&storage);
    server.fail("/api/", Fault::Status(429, "Retry-After", "1".into()));
    server.fail("/api/", Fault::Status(503, "X-Any", String::new()));
    server.fail("/api/", Fault::CutAfter(10));
    server.fail("/resolve/", Fault::Status(500, "X-Any", String::new()));
    server.fail("/resolve/", Fault::Status(502, "X-Any", String::new()));
    server.fail("/resolve/", Fault::Silence(Duration::from_secs(2)));
    // Its addresses are signed for a while only.
    storage.fail("/storage/", Fault::Status(403, "X-Any", String::new()));
    let (hub, begun) = (world.hub(), std::time::Instant::now());
    let snapshot = open(&hub).unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1), "the hub was not given the second that it asked for");
    let mut notes = Vec::new();
    hub.fetch(&snapshot, &BOTH, &mut |progress| notes.extend(progress.note.map(str::to_owned))).unwrap();
    assert_eq!(notes.len(), 4, "{notes:?}");
    assert!(notes[0].starts_with("the hub answered 500; trying again"), "{notes:?}");
}

#[test]
fn patience_ends() {
    let world = World::new();
    for _ in 0..5 {
        world.server.fail("/api/", Fault::Status(500, "X-Any", String::new()));
    }
    let text = complaint(&world.hub(), &BOTH);
    assert!(text.starts_with("get hf://org/mini-lm: the hub answered 500; tried 5 times\n"), "{text}");
    assert_eq!(world.server.requests().len(), 5);

    world.server.fail("/api/", Fault::Status(429, "Retry-After", "3600".into()));
    let text = complaint(&world.hub(), &BOTH);
    assert!(text.contains("asks to wait 3600 s"), "{text}");
    assert_eq!(world.server.requests().len(), 6);
}

/// What will not pass is told at once, and says what to do.
#[test]
fn what_will_not_pass_is_told_at_once() {
    let world = World::new();
    let hub = world.hub();
    let asked = |reference: &str| told(&hub.open(&reference.parse().unwrap(), None).unwrap_err());
    let text = asked("org/other");
    assert!(text.starts_with("get hf://org/other: the hub has no such repository\ncheck the name"), "{text}");
    let text = asked("org/mini-lm@v9");
    assert!(text.starts_with("get hf://org/mini-lm@v9: the hub has no such revision\n"), "{text}");
    let text = complaint(&hub, &["model.onnx"]);
    assert!(text.starts_with("find model.onnx in org/mini-lm at "), "{text}");

    let page = format!("ask for access on {}/org/mini-lm", world.server.address());
    world.server.fail("/api/", Fault::Status(403, "X-Error-Code", "GatedRepo".into()));
    let text = asked(REPO);
    assert!(text.contains("answered 403, for its makers ask who uses it\n") && text.contains(&page), "{text}");
    world.server.fail("/resolve/", Fault::Status(404, "X-Error-Code", "EntryNotFound".into()));
    let text = complaint(&hub, &BOTH);
    assert!(text.starts_with("get config.json of org/mini-lm: the hub has no such file\n"), "{text}");
    world.server.fail("/api/", Fault::Body(b"<!DOCTYPE html><title>Log in</title>".to_vec()));
    let text = asked(REPO);
    assert!(text.contains("<!DOCTYPE html><title>Log in") && text.contains("login page"), "{text}");
    world.server.require(TOKEN);
    let text = asked(REPO);
    assert!(
        text.contains("401, so the model does not exist, or is private or gated") && text.contains("HF_TOKEN"),
        "{text}"
    );
    assert_eq!(world.server.requests().len(), 8, "nothing of this was tried twice");
}

#[test]
fn without_the_network_the_cache_answers() {
    let world = World::new();
    fetch(&world.hub(), &BOTH).unwrap();
    world.server.forget();
    let snapshot = fetch(&world.offline(), &BOTH).unwrap();
    assert_eq!(snapshot.commit().as_str(), world.commit);
    assert!(snapshot.is_complete() && snapshot.has("README.md"));
    assert!(world.server.requests().is_empty());

    let snapshot = fetch(&world.unplugged(), &BOTH).unwrap();
    assert!(snapshot.from_cache().unwrap().contains("127.0.0.1:9"), "{:?}", snapshot.from_cache());
    let text = complaint(&world.unplugged(), &["README.md"]);
    assert!(text.contains("127.0.0.1:9"), "{text}");

    let text = complaint(&world.offline(), &["config.json", "README.md"]);
    let looked_in = world.folder().join("snapshots").join(&world.commit);
    let expected = format!(
        "find README.md of org/mini-lm without the network (HF_HUB_OFFLINE is set): looked in {}\nrun once with",
        looked_in.display()
    );
    assert!(text.starts_with(&expected), "{text}");
    let other = "org/other".parse().unwrap();
    let text = told(&world.offline().open(&other, None).unwrap_err());
    assert!(text.starts_with("find org/other without the network") && text.contains("models--org--other"), "{text}");
}

/// Half a model is told from a whole one, for what there is was listed before the first byte came.
#[test]
fn an_interrupted_pull_is_not_taken_for_a_model() {
    let world = World::new();
    world.server.fail("/storage/", Fault::Status(403, "X-Any", String::new()));
    let settings = HubSettings { patience: Patience { tries: 1, ..world.settings().patience }, ..world.settings() };
    assert!(fetch(&Hub::new(settings), &BOTH).is_err());
    let snapshot = open(&world.offline()).unwrap();
    assert!(snapshot.has("onnx/model.onnx"));
    assert_eq!(snapshot.missing(&BOTH), ["onnx/model.onnx"]);
}

/// What Python downloaded serves; but that it is all, nobody knows.
#[test]
fn a_snapshot_of_another_program_serves() {
    let world = World::new();
    let snapshot = fetch(&world.hub(), &BOTH).unwrap();
    fs::remove_dir_all(world.folder().join(".sciembed")).unwrap();
    let found = fetch(&world.offline(), &BOTH).unwrap();
    assert_eq!((found.folder(), found.is_complete()), (snapshot.folder(), false));
    assert_eq!(found.files().collect::<Vec<_>>(), BOTH);
    let text = complaint(&world.offline(), &["README.md"]);
    assert!(text.starts_with("find README.md of org/mini-lm without the network"), "{text}");
}

/// The lock file's commit counts, whatever the branch moved on to; and once it was listed nobody is asked.
#[test]
fn a_pinned_commit_stays() {
    let world = World::new();
    fetch(&world.hub(), &BOTH).unwrap();
    let newer = world.server.publish(REPO, &[("config.json", b"{}"), ("onnx/model.onnx", &graph())]);
    world.server.forget();
    let pinned = world.commit.parse().unwrap();
    let hub = world.hub();
    let snapshot = hub.open(&repo(), Some(&pinned)).unwrap();
    assert_eq!((snapshot.commit().as_str(), snapshot.missing(&BOTH).len()), (world.commit.as_str(), 0));
    assert!(world.server.requests().is_empty());

    let snapshot = open(&hub).unwrap();
    assert_eq!(snapshot.commit().as_str(), newer);
    world.server.forget();
    hub.fetch(&snapshot, &BOTH, &mut |_| {}).unwrap();
    assert!(world.graph_bytes().is_empty(), "the graph of the older commit serves");
    assert_eq!(fs::read(snapshot.path("config.json")).unwrap(), b"{}");

    world.server.tag(REPO, "refs/pr/1", &world.commit);
    let tagged = hub.open(&"org/mini-lm@refs/pr/1".parse().unwrap(), None).unwrap();
    assert_eq!(tagged.commit().as_str(), world.commit);
    assert_eq!(fs::read_to_string(world.folder().join("refs/refs/pr/1")).unwrap(), world.commit);
}

#[test]
fn the_token_goes_to_the_endpoint_alone_and_is_never_told() {
    let (world, storage) = (World::new(), HubServer::start());
    world.server.require(TOKEN);
    world.server.store_at(&storage);
    let settings = HubSettings { token: Some(Token::new(TOKEN).unwrap()), ..world.settings() };
    let hub = Hub::new(settings.clone());
    fetch(&hub, &BOTH).unwrap();
    let authorized = |server: &HubServer| {
        let requests = server.requests();
        assert!(!requests.is_empty());
        requests.iter().filter(|request| request.headers.contains_key("authorization")).count()
    };
    assert_eq!(authorized(&world.server), world.server.requests().len());
    assert_eq!(authorized(&storage), 0);

    let mut shown = format!("{settings:?} {hub:?}");
    world.server.publish(REPO, &[("other.onnx", b"other")]);
    for _ in 0..5 {
        storage.fail("/storage/", Fault::Status(403, "X-Any", String::new()));
    }
    let error = fetch(&hub, &["other.onnx"]).unwrap_err();
    shown.push_str(&format!("{} {error:?}", told(&error)));
    world.server.require("another");
    let error = open(&hub).unwrap_err();
    shown.push_str(&format!("{} {error:?}", told(&error)));
    let in_its_address = HubSettings { endpoint: format!("https://me:{TOKEN}@example.org"), ..settings };
    let error = open(&Hub::new(in_its_address)).unwrap_err();
    shown.push_str(&format!("{} {error:?}", told(&error)));
    assert!(shown.contains("401, so the token is not valid") && shown.contains("answered 403; tried"), "{shown}");
    assert!(!shown.contains(TOKEN) && !shown.contains("signature"), "{shown}");
    for file in walk(world.cache.path()) {
        assert!(!String::from_utf8_lossy(&fs::read(&file).unwrap()).contains(TOKEN), "{}", file.display());
    }
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// Several at once: one downloads, the other waits and finds it there.
#[test]
fn pulls_at_once_share_the_work() {
    let world = World::new();
    world.server.pause(Duration::from_millis(200));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let snapshot = fetch(&world.hub(), &BOTH).unwrap();
                assert_eq!(fs::read(snapshot.path("onnx/model.onnx")).unwrap(), graph());
            });
        }
    });
    assert_eq!(world.graph_bytes(), [graph().len()]);
}

#[test]
fn a_listing_with_a_way_out_is_refused() {
    let world = World::new();
    world.server.publish("org/evil", &[("config.json", CONFIG), ("../../../.bashrc", b"evil")]);
    let error = world.hub().open(&"org/evil".parse().unwrap(), None).unwrap_err();
    assert!(told(&error).contains("\"../../../.bashrc\", which could lie outside"), "{}", told(&error));
    assert!(!world.cache.path().join("models--org--evil").exists());
}

#[test]
fn an_endpoint_that_is_no_address_is_told() {
    let world = World::new();
    for endpoint in ["huggingface.co", "ftp://hub", "https://", "https://hub?x"] {
        let hub = Hub::new(HubSettings { endpoint: endpoint.into(), ..world.settings() });
        assert!(matches!(open(&hub), Err(HubError::BadEndpoint { .. })), "{endpoint}");
    }
}
