//! Killed at every point between two changes of the disk, and at any moment: in the end everything stands as if nothing
//! had happened, and nothing that was sealed is computed again.
//!
//! What was computed is told by the test embedder's own log, not by the program's word. `just crash` kills more often.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use sciembed::dataset::{self, Dataset};
use sciembed::digest::{Digest, RowKey};

use crate::env::{TestEnv, any_below, file_name, files, keys_of, papers, say, times};

/// How often a run is killed in each test, unless `SCIEMBED_KILLS` says another number.
const KILLS: usize = 6;
/// Rows of the first year: more than one segment.
const ROWS: usize = 4_300;
/// Rows that a segment takes: what a kill can cost.
const SEGMENT_ROWS: usize = 4_096;
const LOG: &str = "embedded.log";
const MERGE: &str = "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\n";

fn kills() -> usize {
    times("SCIEMBED_KILLS", KILLS)
}

/// Two years that become one dataset. The embedder takes some time, so that a kill can come in the middle of its work.
fn project(delay_us: u64) -> TestEnv {
    let env = TestEnv::empty();
    env.edit("fake://16", &format!("fake://4?delay_us={delay_us}"));
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}"));
    env.write_year(2010, &papers(2010, ROWS));
    env.write_year(2011, &papers(2011, 200));
    env
}

/// What a run makes that nobody disturbs.
struct Undisturbed {
    keyed: BTreeMap<String, Digest>,
    keys: BTreeSet<RowKey>,
    /// The points that it passes.
    points: Vec<String>,
}

impl Undisturbed {
    fn new() -> Self {
        let env = project(0);
        let told = apply(&env, &[("SCIEMBED_CRASH_COUNT", Path::new("points"))]);
        assert_eq!(told, Some(0));
        let (points, logged) = (fs::read_to_string(env.path("points")).unwrap(), env.logged(LOG));
        let keys: BTreeSet<RowKey> = logged.iter().copied().collect();
        assert_eq!((keys.len(), logged.len()), (ROWS + 200, ROWS + 200), "every text is embedded once");
        Self { keyed: env.keyed(), keys, points: points.lines().map(str::to_owned).collect() }
    }

    fn name(&self, point: usize) -> String {
        format!("at point {point} ({})", self.points[point - 1])
    }

    /// Applies again after a kill: all that is missing is computed, no more, and all is as it would have been.
    fn assert_mended(&self, env: &TestEnv, left: &Left, case: &str) {
        assert_eq!(apply(env, &[]), Some(0), "{case}");
        let computed = left.computed_since(env, case);
        assert_eq!(computed, &self.keys - &left.sealed, "{case}");
        self.assert_as_whole(env, case);
    }

    fn assert_as_whole(&self, env: &TestEnv, case: &str) {
        assert_eq!(env.keyed(), self.keyed, "{case}");
        assert_eq!(env.plan(&[]).code, Some(0), "{case}");
        if !unfinished(env).is_empty() {
            // A run was killed at its last words, or after the one beside it had swept: one that publishes sweeps.
            fs::remove_file(env.path("embeddings/bibcodes_minilm_2010.txt")).unwrap();
            assert_eq!(apply(env, &[]), Some(0), "{case}");
        }
        assert_eq!(unfinished(env), Vec::<PathBuf>::new(), "{case}");
        assert_locks_hold_nothing_up(env, case);
        let papers = env.run(&["catalog", "SELECT count(*) AS papers FROM papers"]).out;
        assert_eq!(papers, format!("papers\n{}\n", 2 * self.keys.len()), "{case}");
    }

    /// Looks at what a kill left: nothing is recorded or shown that is not whole, and of what the run computed, after so
    /// many lines of the log, all but a segment is sealed.
    fn left(&self, env: &TestEnv, before: usize, case: &str) -> Left {
        for record in env.records() {
            let bytes = |output: &sciembed::record::Output| fs::metadata(env.blob(&output.digest)).unwrap().len();
            assert!(record.outputs.values().all(|output| bytes(output) == output.bytes), "{case}: a record is ahead");
        }
        for path in files(&env.path("embeddings")).into_iter().filter(|path| path.exists()) {
            let whole = self.keyed.get(&file_name(&path));
            assert!(
                whole.is_none_or(|digest| Digest::of_file(&path).unwrap() == *digest),
                "{case}: {}",
                path.display()
            );
        }
        for name in dataset::names(&env.path("embeddings")).unwrap_or_default() {
            Dataset::open(&env.path("embeddings"), &name).unwrap_or_else(|error| panic!("{case}: {name}: {error}"));
        }
        let (sealed, logged) = (env.sealed_keys(), env.logged(LOG));
        let lost = logged[before..].iter().filter(|key| !sealed.contains(key)).collect::<BTreeSet<_>>().len();
        assert!(lost <= SEGMENT_ROWS, "{case}: {lost} rows were computed and not sealed");
        Left { sealed, logged: logged.len() }
    }

    /// Applies until the `point`-th point; none if the run ended before.
    fn crash(&self, env: &TestEnv, point: usize, case: &str) -> Option<Left> {
        let before = env.logged(LOG).len();
        let code = apply(env, &[("SCIEMBED_CRASH_AT", Path::new(&point.to_string()))]);
        code.is_none().then(|| self.left(env, before, case))
    }
}

/// What nobody finished, in the store and in the published directory.
fn unfinished(env: &TestEnv) -> Vec<PathBuf> {
    let hidden = |path: &PathBuf| file_name(path).starts_with('.');
    let folders = ["embeddings/.sciembed", "embeddings/.sciembed/links"];
    let shown = folders.into_iter().flat_map(|folder| files(&env.path(folder))).filter(hidden);
    files(&env.path("store/tmp")).into_iter().chain(shown).collect()
}

/// As many of the points from 1 to `last` as asked for, the first and the last among them.
pub fn spread(last: usize, count: usize) -> Vec<usize> {
    let mut points: Vec<usize> = (0..count).map(|n| 1 + n * (last - 1) / (count - 1).max(1)).collect();
    points.dedup();
    points
}

/// Who was killed between its record and the end of its lock leaves the lock; nobody wants that key any more. The lock of a
/// dead run goes when the next one begins.
fn assert_locks_hold_nothing_up(env: &TestEnv, case: &str) {
    for lock in files(&env.path("store/locks")).into_iter().filter(|lock| !file_name(lock).starts_with("run-")) {
        let record = env.path("store/records").join(format!("{}.json", file_name(&lock)));
        assert!(record.is_file(), "{case}: a lock is left, and no record: {}", lock.display());
    }
}

/// What was there at the moment of a kill.
struct Left {
    sealed: BTreeSet<RowKey>,
    /// Lines of the log.
    logged: usize,
}

impl Left {
    /// What was computed since: nothing that was sealed, and nothing twice.
    fn computed_since(&self, env: &TestEnv, case: &str) -> BTreeSet<RowKey> {
        let logged = &env.logged(LOG)[self.logged..];
        let keys: BTreeSet<RowKey> = logged.iter().copied().collect();
        assert_eq!(keys.len(), logged.len(), "{case}: a run computed a text twice");
        assert_eq!(keys.intersection(&self.sealed).count(), 0, "{case}: what was sealed was computed again");
        keys
    }
}

fn apply(env: &TestEnv, variables: &[(&str, &Path)]) -> Option<i32> {
    let told =
        env.run_with(&["apply", "workflow.toml"], "", &[&[("SCIEMBED_FAKE_LOG", Path::new(LOG))], variables].concat());
    assert!(matches!(told.code, None | Some(0)), "{}{}", told.out, told.err);
    assert!(!told.err.contains("their catalog was not made"), "{}", told.err);
    told.code
}

#[test]
fn killed_at_a_point() {
    let undisturbed = Undisturbed::new();
    let points = spread(undisturbed.points.len(), kills());
    let mut in_time = 0;
    for &point in &points {
        let (env, case) = (project(0), undisturbed.name(point));
        match undisturbed.crash(&env, point, &case) {
            Some(left) => {
                in_time += 1;
                undisturbed.assert_mended(&env, &left, &case);
            }
            // Steps run side by side, and not every run passes the same number of points.
            None => undisturbed.assert_as_whole(&env, &case),
        }
    }
    assert!(2 * in_time > points.len(), "only {in_time} of {} were killed", points.len());
    say(format!("killed at {in_time} of {} points", undisturbed.points.len()));
}

/// The run that mends what a killed one left is killed as well.
#[test]
fn killed_at_two_points() {
    let undisturbed = Undisturbed::new();
    let points = spread(undisturbed.points.len(), kills());
    let mut twice = 0;
    for &point in &points {
        let (env, case) = (project(0), undisturbed.name(point));
        let Some(first) = undisturbed.crash(&env, point, &case) else { continue };
        let then = 1 + usize::try_from(any_below((undisturbed.points.len() - point + 30) as u64)).unwrap();
        let case = format!("{case} and then at point {then}");
        if let Some(second) = undisturbed.crash(&env, then, &case) {
            twice += 1;
            first.computed_since(&env, &case);
            undisturbed.assert_mended(&env, &second, &case);
        } else {
            undisturbed.assert_as_whole(&env, &case);
        }
    }
    say(format!("killed at {} points, {twice} times at a second one", points.len()));
}

/// Killed again and again, wherever it happens to be.
#[test]
fn killed_at_any_moment() {
    let undisturbed = Undisturbed::new();
    let (mut env, mut in_time) = (project(20), 0);
    let mut left = undisturbed.left(&env, 0, "new");
    for kill in 0..kills() {
        let mut child = env.start_with(&["apply", "workflow.toml"], &[("SCIEMBED_FAKE_LOG", Path::new(LOG))]);
        let moment = Duration::from_millis(any_below(500));
        sleep(moment);
        child.kill().unwrap();
        let told = env.wait(child);
        let case = format!("kill {kill} after {moment:?}");
        left.computed_since(&env, &case);
        in_time += usize::from(told.code.is_none());
        let mut before = left.logged;
        if told.code == Some(0) {
            // One that came through leaves nothing to be killed in.
            undisturbed.assert_as_whole(&env, &case);
            (env, before) = (project(20), 0);
        }
        left = undisturbed.left(&env, before, &case);
    }
    undisturbed.assert_mended(&env, &left, "after all kills");
    say(format!("{} runs killed, {in_time} of them before they ended", kills()));
}

/// Of two runs over one store one is killed, at a point or at any moment: the other finishes. It takes over what the dead
/// one held, and computes nothing that the dead one had sealed.
#[test]
fn one_of_two_is_killed() {
    let undisturbed = Undisturbed::new();
    let mut in_time = 0;
    for (n, point) in spread(undisturbed.points.len(), kills()).into_iter().enumerate() {
        let env = project(20);
        let start = |log: &str, point: usize| {
            let point = point.to_string();
            let variables = [("SCIEMBED_FAKE_LOG", Path::new(log)), ("SCIEMBED_CRASH_AT", Path::new(&point))];
            env.start_with(&["apply", "workflow.toml"], &variables)
        };
        let at_a_point = n % 2 == 0;
        let [mut victim, other] = [start("victim.log", if at_a_point { point } else { 0 }), start("other.log", 0)];
        let moment = Duration::from_millis(any_below(500));
        let case = if at_a_point { undisturbed.name(point) } else { format!("after {moment:?}") };
        if !at_a_point {
            sleep(moment);
            // It may have ended already.
            victim.kill().unwrap();
        }
        let pid = victim.id();
        in_time += usize::from(env.wait(victim).code.is_none());
        let told = env.wait(other);
        assert_eq!(told.code, Some(0), "{case}: {}{}", told.out, told.err);
        undisturbed.assert_as_whole(&env, &case);
        assert_shared(&env, pid, &case);
    }
    say(format!("{} pairs of runs, one of each killed, {in_time} of those before they ended", kills()));
}

/// What both computed is only what the dead one, process `pid`, had not sealed.
fn assert_shared(env: &TestEnv, pid: u32, case: &str) {
    let [victim, other] = ["victim.log", "other.log"].map(|log| {
        let logged = env.logged(log);
        let keys: BTreeSet<RowKey> = logged.iter().copied().collect();
        assert_eq!(keys.len(), logged.len(), "{case}: {log}: a run computed a text twice");
        keys
    });
    let is_victims = |path: &&PathBuf| file_name(path).split('~').nth(1) == Some(&*pid.to_string());
    let sealed: BTreeSet<RowKey> =
        env.segments().iter().filter(is_victims).flat_map(|segment| keys_of(segment)).collect();
    assert!(sealed.is_subset(&victim), "{case}");
    assert_eq!(other.intersection(&sealed).count(), 0, "{case}: what one had sealed was computed by the other");
    let both = victim.intersection(&other).count();
    assert!(both <= SEGMENT_ROWS, "{case}: {both} texts were computed by both");
}

/// A converted model is a whole folder or none, and the next conversion sweeps what a killed one left.
#[test]
fn a_conversion_is_killed() {
    let env = TestEnv::empty();
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/bert-mean");
    let convert = |out: &str, point: usize| {
        let point = point.to_string();
        let variables = [("SCIEMBED_CRASH_AT", Path::new(&point)), ("SCIEMBED_CRASH_COUNT", Path::new("points"))];
        env.run_with(&["model", "convert", model.to_str().unwrap(), "--out", out], "", &variables).code
    };
    let read = |out: &str| {
        let files = files(&env.path(out)).into_iter();
        files.map(|path| (file_name(&path), fs::read(path).unwrap())).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(convert("whole", 0), Some(0));
    let (whole, points) = (read("whole"), fs::read_to_string(env.path("points")).unwrap());
    let points: Vec<&str> = points.lines().collect();
    let killed = spread(points.len(), kills());
    for point in &killed {
        let (out, case) = (format!("graphs/{point}"), format!("at point {point} ({})", points[point - 1]));
        assert_eq!(convert(&out, *point), None, "{case}");
        if !env.path(&out).exists() {
            assert_eq!(convert(&out, 0), Some(0), "{case}");
        }
        assert!(read(&out) == whole, "{case}");
    }
    assert_eq!(convert("graphs/last", 0), Some(0));
    assert_eq!(files(&env.path("graphs")).len(), killed.len() + 1, "something unfinished is left");
    say(format!("killed at {} of {} points of a conversion", killed.len(), points.len()));
}
