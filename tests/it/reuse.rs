//! Random stories of a project, against a naive oracle that remembers every text that was ever embedded: after each apply,
//! exactly the texts that are new were computed, and in the end the published bytes are those of a project that never
//! had a past.
//!
//! A few stories at every run of the tests; `just reuse` asks for more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::TestRunner;
use sciembed::digest::{Digest, EmbedderKey, RowKey};
use sciembed::embedder::{Environment, resolve};
use sciembed::manifest::config::{Dtype, EmbedConfig};
use sciembed::model::Library;
use sciembed::store::segment::Segment;
use serde_json::{Value, json};

use crate::env::{TestEnv, file_name, keys_of, say, times};

/// Stories, unless `SCIEMBED_REUSE` says another number.
const CASES: usize = 6;
const LOG: &str = "embedded.log";
const FIRST_YEAR: u16 = 2009;
const YEARS: usize = 4;
/// Element types of the stored and of the published vectors.
const TYPES: [(Dtype, Dtype); 3] = [(Dtype::F16, Dtype::F16), (Dtype::F32, Dtype::F32), (Dtype::F32, Dtype::F16)];
const PREFIXES: [&str; 3] = ["", "astronomy: ", "A "];
const MODELS: [&str; 2] = ["fake://4", "fake://3"];

/// One line of a source file.
#[derive(Clone, Debug)]
struct Line {
    bibcode: String,
    title: String,
}

/// What a person has: source files and a configuration.
#[derive(Clone, Debug)]
struct World {
    years: [Vec<Line>; YEARS],
    in_matrix: [bool; YEARS],
    prefix: usize,
    types: usize,
    model: usize,
    /// Numbers given to bibcodes so far.
    named: usize,
}

/// What a person does next.
#[derive(Clone, Debug)]
enum Step {
    Append(usize, Vec<u8>),
    Edit(usize, Index, u8),
    Delete(usize, Index),
    Reorder(usize, Index),
    DuplicateText {
        from: usize,
        line: Index,
        to: usize,
    },
    DuplicateBibcode {
        from: usize,
        line: Index,
        to: usize,
        text: u8,
    },
    Rename(usize, Index),
    Prefix(usize),
    Types(usize),
    Model(usize),
    Matrix(usize),
    Apply,
    /// An apply that is killed at this point, if it comes so far.
    Kill(u16),
}

impl World {
    /// Years of so many papers, of which every fifth repeats the text of another, perhaps of another year.
    fn new(sizes: [usize; YEARS]) -> Self {
        let mut world = Self {
            years: Default::default(),
            in_matrix: [false, true, true, false],
            prefix: 0,
            types: 0,
            model: 0,
            named: 0,
        };
        for (year, size) in sizes.into_iter().enumerate() {
            for n in 0..size {
                let repeats = n % 5 == 4;
                let title = if repeats { format!("common {n}") } else { format!("of {year} number {n}") };
                world.add(year, title);
            }
        }
        world
    }

    fn add(&mut self, year: usize, title: String) {
        self.named += 1;
        let bibcode = format!("{}Test..{:05}A", FIRST_YEAR as usize + year, self.named);
        self.years[year].push(Line { bibcode, title });
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Append(year, texts) => texts.iter().for_each(|&text| self.add(*year, pooled(text))),
            Step::Edit(year, line, text) => line.get_mut(&mut self.years[*year]).title = pooled(*text),
            Step::Delete(year, line) => {
                let lines = &mut self.years[*year];
                if lines.len() > 1 {
                    lines.remove(line.index(lines.len()));
                }
            }
            Step::Reorder(year, line) => {
                let lines = &mut self.years[*year];
                let by = line.index(lines.len());
                lines.rotate_left(by);
                lines[1..].reverse();
            }
            Step::DuplicateText { from, line, to } => {
                let title = line.get(&self.years[*from]).title.clone();
                self.add(*to, title);
            }
            Step::DuplicateBibcode { from, line, to, text } => {
                let bibcode = line.get(&self.years[*from]).bibcode.clone();
                self.years[*to].push(Line { bibcode, title: pooled(*text) });
            }
            Step::Rename(year, line) => {
                self.named += 1;
                line.get_mut(&mut self.years[*year]).bibcode = format!("renamed {}", self.named);
            }
            Step::Prefix(prefix) => self.prefix = *prefix,
            Step::Types(types) => self.types = *types,
            Step::Model(model) => self.model = *model,
            Step::Matrix(year) => {
                self.in_matrix[*year] ^= true;
                if !self.in_matrix.contains(&true) {
                    self.in_matrix[*year] = true;
                }
            }
            Step::Apply | Step::Kill(_) => {}
        }
    }

    fn matrix(&self) -> impl Iterator<Item = usize> {
        (0..YEARS).filter(|&year| self.in_matrix[year])
    }

    /// The lines of a year that count: of several with one bibcode the last.
    fn kept(&self, year: usize) -> Vec<&Line> {
        let lines = &self.years[year];
        let is_last = |at: usize| lines[at + 1..].iter().all(|later| later.bibcode != lines[at].bibcode);
        (0..lines.len()).filter(|&at| is_last(at)).map(|at| &lines[at]).collect()
    }

    /// The distinct texts of a year, as the workflow says to make them.
    fn texts(&self, year: usize) -> BTreeSet<String> {
        let prefix = PREFIXES[self.prefix];
        let text = |line: &Line| match line.title.as_str() {
            "" => format!("{prefix}nothing but this"),
            title => format!("{prefix}{title} | nothing but this"),
        };
        self.kept(year).into_iter().map(text).collect()
    }

    fn write(&self, env: &TestEnv) {
        for (year, lines) in (FIRST_YEAR..).zip(&self.years) {
            let paper =
                |line: &Line| json!({ "bibcode": line.bibcode, "title": [line.title], "abstract": "nothing but this" });
            env.write_year(year, &lines.iter().map(paper).collect::<Vec<Value>>());
        }
        let years: Vec<usize> = self.matrix().map(|year| FIRST_YEAR as usize + year).collect();
        let (stored, published) = TYPES[self.types];
        let workflow = format!(
            r#"version = 1
name = "tests"
store = "store"

[matrix]
year = {years:?}

[load.records]
input = "data/{{year}}.json.gz"
fields = ["title", "abstract"]

[prepare.texts]
from = "records"
fields = ["title", "abstract"]
delimiter = " | "
prefix = {prefix:?}

[embed.minilm]
from = "texts"
model = "{model}"
store_dtype = "{stored}"

[persist.yearly]
from = "minilm"
dir = "embeddings"
label = "minilm"
dtype = "{published}"

[merge.all]
from = "yearly"
across = ["year"]
dir = "embeddings"
"#,
            prefix = PREFIXES[self.prefix],
            model = MODELS[self.model],
        );
        env.write("workflow.toml", workflow);
    }
}

/// A title from so few that they meet again; one is blank.
fn pooled(text: u8) -> String {
    match text % 24 {
        0 => String::new(),
        n @ 1..=4 => format!("common {}", n * 5 - 1),
        n => format!("pooled {n}"),
    }
}

/// The key of a model's vectors.
fn embedder(model: usize) -> EmbedderKey {
    let mut library = Library::of_folders(Path::new("."));
    resolve(&EmbedConfig::of(MODELS[model]), &mut library, &Environment::default(), &mut Digest::of_file).unwrap().key
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
        let embedder = embedder(self.world.model);
        let texts = self.world.matrix().flat_map(|year| self.world.texts(year));
        texts.map(|text| RowKey::of(&embedder, &text)).collect()
    }

    /// What an apply must compute: what is needed, save what was computed in this element type or a wider one.
    fn missing(&self) -> BTreeSet<RowKey> {
        let serving = match TYPES[self.world.types].0 {
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
        self.seen.entry(TYPES[self.world.types].0).or_default().extend(missing);
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
        let news = &missing - &self.missing();
        assert!(news.is_subset(&computed), "a segment holds what nobody computed");
        assert!(told.code.is_none() || news == missing, "it came through, and something is missing");
        for (dtype, keys) in seen {
            assert!(self.seen.get(&dtype).is_some_and(|now| keys.is_subset(now)), "a sealed vector was lost");
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

fn year() -> std::ops::Range<usize> {
    0..YEARS
}

fn step() -> impl Strategy<Value = Step> {
    let line = any::<Index>;
    prop_oneof![
        2 => (year(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(year, texts)| Step::Append(year, texts)),
        2 => (year(), line(), any::<u8>()).prop_map(|(year, line, text)| Step::Edit(year, line, text)),
        1 => (year(), line()).prop_map(|(year, line)| Step::Delete(year, line)),
        1 => (year(), line()).prop_map(|(year, line)| Step::Reorder(year, line)),
        1 => (year(), line(), year()).prop_map(|(from, line, to)| Step::DuplicateText { from, line, to }),
        1 => (year(), line(), year(), any::<u8>())
            .prop_map(|(from, line, to, text)| Step::DuplicateBibcode { from, line, to, text }),
        1 => (year(), line()).prop_map(|(year, line)| Step::Rename(year, line)),
        1 => (0..PREFIXES.len()).prop_map(Step::Prefix),
        2 => (0..TYPES.len()).prop_map(Step::Types),
        1 => (0..MODELS.len()).prop_map(Step::Model),
        2 => year().prop_map(Step::Matrix),
        2 => Just(Step::Apply),
        4 => prop_oneof![1u16..40, 1u16..400].prop_map(Step::Kill),
    ]
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

#[test]
fn only_new_texts_are_computed_and_the_past_changes_no_byte() {
    let (sizes, steps) = (prop::array::uniform4(1usize..20), prop::collection::vec(step(), 2..9));
    let told = Told::default();
    let mut runner = TestRunner::new(cases());
    let ran = runner.run(&(sizes, steps), |(sizes, steps)| {
        let mut story = Story::new(World::new(sizes), &told);
        // Something to look back on.
        story.take(&Step::Apply);
        steps.iter().chain([&Step::Apply]).for_each(|step| story.take(step));
        story.assert_as_without_a_past();
        Ok(())
    });
    ran.unwrap_or_else(|failed| panic!("{failed}"));
    let Told { applies, kills, texts } = told;
    say(format!("{applies:?} applies, {kills:?} killed ones, {texts:?} texts computed"));
}
