//! Random stories of a project, against a naive oracle that remembers every text that was ever embedded: after each apply,
//! exactly the texts that are new were computed, and in the end the published bytes are those of a project that never
//! had a past.
//!
//! A few stories, the same ones, at every run of the tests; `just reuse` tells many others.

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use sciembed::dataset::{self, Dataset};
use sciembed::digest::{Digest, EmbedderKey, RowKey};
use sciembed::embedder::{Environment, resolve};
use sciembed::encoding::Dtype;
use sciembed::manifest::config::EmbedConfig;
use sciembed::model::Library;
use sciembed::store::segment::Segment;

use crate::env::{TestEnv, file_name, keys_of, say, times};
use world::{FIRST_YEAR, Step, World, step, types};

/// Stories, unless `SCIEMBED_REUSE` says another number.
const CASES: usize = 6;
const LOG: &str = "embedded.log";

/// The key of a model's vectors.
fn embedder(model: &str) -> EmbedderKey {
    let mut library = Library::of_folders(Path::new("."));
    resolve(&EmbedConfig::of(model), &mut library, &Environment::default(), &mut Digest::of_file).unwrap().key
}

/// A project with its past: the oracle remembers, for each element type, the keys whose vectors it has.
struct Story<'a> {
    told: &'a Told,
    env: TestEnv,
    world: World,
    seen: BTreeMap<Dtype, BTreeSet<RowKey>>,
    logged: usize,
}

impl<'a> Story<'a> {
    fn new(world: World, told: &'a Told) -> Self {
        Self { told, env: TestEnv::empty(), world, seen: BTreeMap::new(), logged: 0 }
    }

    /// The distinct row keys of all years of the matrix.
    fn needed(&self) -> BTreeSet<RowKey> {
        let embedder = embedder(self.world.model());
        let texts = self.world.matrix().flat_map(|year| self.world.texts(year));
        texts.map(|text| RowKey::of(&embedder, &text)).collect()
    }

    /// What an apply must compute: what is needed, save what was computed in this element type or a wider one.
    fn missing(&self) -> BTreeSet<RowKey> {
        let serving = match self.world.stored() {
            Dtype::F32 => vec![Dtype::F32],
            Dtype::F16 => vec![Dtype::F16, Dtype::F32],
        };
        let seen = serving.iter().filter_map(|dtype| self.seen.get(dtype)).flatten().copied().collect();
        &self.needed() - &seen
    }

    /// What the embedder computed since this was last asked; never one text twice.
    fn computed(&mut self) -> BTreeSet<RowKey> {
        let logged = self.env.logged(LOG);
        let new: BTreeSet<RowKey> = logged[self.logged..].iter().copied().collect();
        assert_eq!(new.len(), logged.len() - self.logged, "a run computed a text twice");
        self.logged = logged.len();
        self.told.texts.fetch_add(new.len(), Ordering::Relaxed);
        new
    }

    fn take(&mut self, step: &Step) {
        self.world.take(step);
        self.world.write(&self.env);
        match step {
            Step::Apply => self.apply(),
            Step::Kill(point) => self.kill(*point),
            _ => {}
        }
    }

    fn apply(&mut self) {
        let missing = self.missing();
        let told = self.env.run_with(&["apply", "workflow.toml"], "", &[("SCIEMBED_FAKE_LOG", Path::new(LOG))]);
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        assert_eq!(self.computed(), missing, "{}{}", told.out, told.err);
        assert_eq!(told.embedded_and_reused().0, missing.len(), "{}", told.out);
        self.told.applies.fetch_add(1, Ordering::Relaxed);
        self.seen.entry(self.world.stored()).or_default().extend(missing);
        self.assert_bibcodes();
    }

    /// What a killed run had sealed is kept; what it had not is missing still, and no more than that.
    fn kill(&mut self, point: u16) {
        let (missing, point) = (self.missing(), point.to_string());
        let variables = [("SCIEMBED_FAKE_LOG", Path::new(LOG)), ("SCIEMBED_CRASH_AT", Path::new(&point))];
        let told = self.env.run_with(&["apply", "workflow.toml"], "", &variables);
        assert!(matches!(told.code, None | Some(0)), "{}{}", told.out, told.err);
        self.told.kills.fetch_add(usize::from(told.code.is_none()), Ordering::Relaxed);
        let computed = self.computed();
        assert!(computed.is_subset(&missing), "{}{}", told.out, told.err);
        let seen = std::mem::take(&mut self.seen);
        for path in self.env.segments() {
            let dtype = Segment::open(&path).unwrap().header().dtype;
            self.seen.entry(dtype).or_default().extend(keys_of(&path));
        }
        self.assert_readable();
        let news = &missing - &self.missing();
        assert!(news.is_subset(&computed), "a segment holds what nobody computed");
        assert!(told.code.is_none() || news == missing, "it came through, and something is missing");
        for (dtype, keys) in seen {
            let now = self.seen.get(&dtype);
            let is_kept = |key| now.is_some_and(|now| now.contains(key));
            assert!(keys.iter().all(is_kept), "a sealed vector was lost");
        }
    }

    /// What is shown is of one set each, whatever was killed.
    fn assert_readable(&self) {
        let dir = self.env.path("embeddings");
        for name in dataset::names(&dir).unwrap() {
            Dataset::open(&dir, &name).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// Each year shows the papers that count, in their order.
    fn assert_bibcodes(&self) {
        for year in self.world.matrix() {
            let file = format!("embeddings/bibcodes_minilm_{}.txt", FIRST_YEAR as usize + year);
            let shown = fs::read_to_string(self.env.path(file)).unwrap();
            let kept: Vec<&str> = self.world.kept(year).iter().map(|line| line.bibcode.as_str()).collect();
            assert_eq!(shown.lines().collect::<Vec<_>>(), kept);
        }
    }

    /// Everything that a project without a past has, this one has too, byte for byte. What it has besides is of years that
    /// were taken out of the matrix, and of earlier keys.
    fn assert_as_without_a_past(&self) {
        let fresh = TestEnv::empty();
        self.world.write(&fresh);
        fresh.applied(&[]);
        let (fresh, with_a_past) = (fresh.keyed(), self.env.keyed());
        for (name, digest) in &fresh {
            assert_eq!(with_a_past.get(name), Some(digest), "{name}");
        }
        let gone = |name: &str| {
            let mut years = (FIRST_YEAR..).zip(self.world.in_matrix);
            years.any(|(year, is_in)| !is_in && name.contains(&format!("_{year}.")))
        };
        let shown = crate::env::files(&self.env.path("embeddings")).into_iter().map(|path| file_name(&path));
        let is_odd = |name: &String| name.contains("_minilm") && !name.starts_with("run_") && !gone(name);
        for name in shown.filter(is_odd) {
            assert!(fresh.contains_key(&name), "{name} is shown still");
        }
        assert_eq!(self.env.plan(&[]).code, Some(0));
    }
}

fn cases() -> ProptestConfig {
    let cases = u32::try_from(times("SCIEMBED_REUSE", CASES)).unwrap();
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 100, ..ProptestConfig::default() }
}

/// How many runs the stories had.
#[derive(Default)]
struct Told {
    applies: AtomicUsize,
    kills: AtomicUsize,
    texts: AtomicUsize,
}

fn tell(world: World, steps: &[Step], told: &Told) {
    let mut story = Story::new(world, told);
    // Something to look back on.
    story.take(&Step::Apply);
    steps.iter().chain([&Step::Apply]).for_each(|step| story.take(step));
    story.assert_as_without_a_past();
}

/// Vectors of a wider type serve all of a year, so that no segment of the narrower one is ever written.
#[test]
fn a_wider_past_serves_a_killed_run() {
    let wide_then_narrow = [Step::Types(0), Step::Apply, Step::Kill(1)];
    tell(World::new([1; world::YEARS], 1), &wide_then_narrow, &Told::default());
}

#[test]
fn only_new_texts_are_computed_and_the_past_changes_no_byte() {
    let stories = (prop::array::uniform4(1usize..20), types(), prop::collection::vec(step(), 3..10));
    let told = Told::default();
    let mut runner = TestRunner::new(cases());
    let ran = runner.run(&stories, |(sizes, types, steps)| {
        tell(World::new(sizes, types), &steps, &told);
        Ok(())
    });
    ran.unwrap_or_else(|failed| panic!("{failed}"));
    let Told { applies, kills, texts } = told;
    say(format!("{applies:?} applies, {kills:?} killed ones, {texts:?} texts computed"));
}
