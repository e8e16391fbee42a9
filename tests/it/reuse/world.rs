//! What a person has, and what a person does next: papers, a configuration, and the texts that they mean, made naively.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use sciembed::encoding::Dtype;
use serde_json::{Value, json};

use crate::env::TestEnv;

/// The year of the first source file.
pub const FIRST_YEAR: u16 = 2009;
pub const YEARS: usize = 4;
/// Element types of the stored and of the published vectors.
const TYPES: [(Dtype, Dtype); 3] = [(Dtype::F16, Dtype::F16), (Dtype::F32, Dtype::F32), (Dtype::F32, Dtype::F16)];
const PREFIXES: [&str; 3] = ["", "astronomy: ", "A "];
const MODELS: [&str; 2] = ["fake://4", "fake://3"];

/// One line of a source file.
#[derive(Clone, Debug)]
pub struct Line {
    pub bibcode: String,
    title: String,
}

/// What a person has: source files and a configuration.
#[derive(Clone, Debug)]
pub struct World {
    years: [Vec<Line>; YEARS],
    pub in_matrix: [bool; YEARS],
    prefix: usize,
    types: usize,
    model: usize,
    /// Numbers given to bibcodes so far.
    named: usize,
}

/// What a person does next.
#[derive(Clone, Debug)]
pub enum Step {
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
    pub fn new(sizes: [usize; YEARS], types: usize) -> Self {
        let mut world = Self {
            years: Default::default(),
            in_matrix: [false, true, true, false],
            prefix: 0,
            types,
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

    /// Does what changes papers or configuration.
    pub fn take(&mut self, step: &Step) {
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

    /// The years that the workflow goes over.
    pub fn matrix(&self) -> impl Iterator<Item = usize> {
        (0..YEARS).filter(|&year| self.in_matrix[year])
    }

    /// The lines of a year that count: of several with one bibcode the last.
    pub fn kept(&self, year: usize) -> Vec<&Line> {
        let lines = &self.years[year];
        let is_last = |at: usize| lines[at + 1..].iter().all(|later| later.bibcode != lines[at].bibcode);
        (0..lines.len()).filter(|&at| is_last(at)).map(|at| &lines[at]).collect()
    }

    /// The distinct texts of a year, as the workflow says to make them.
    pub fn texts(&self, year: usize) -> BTreeSet<String> {
        let prefix = PREFIXES[self.prefix];
        let text = |line: &Line| match line.title.as_str() {
            "" => format!("{prefix}nothing but this"),
            title => format!("{prefix}{title} | nothing but this"),
        };
        self.kept(year).into_iter().map(text).collect()
    }

    /// The model as the workflow names it.
    pub fn model(&self) -> &'static str {
        MODELS[self.model]
    }

    /// The element type of the stored vectors.
    pub fn stored(&self) -> Dtype {
        TYPES[self.types].0
    }

    /// Writes the source files and the workflow.
    pub fn write(&self, env: &TestEnv) {
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
            model = self.model(),
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

/// Which element types.
pub fn types() -> std::ops::Range<usize> {
    0..TYPES.len()
}

fn year() -> std::ops::Range<usize> {
    0..YEARS
}

pub fn step() -> impl Strategy<Value = Step> {
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
        3 => types().prop_map(Step::Types),
        1 => (0..MODELS.len()).prop_map(Step::Model),
        2 => year().prop_map(Step::Matrix),
        2 => Just(Step::Apply),
        4 => prop_oneof![1u16..40, 1u16..400].prop_map(Step::Kill),
    ]
}
