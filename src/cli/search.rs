//! `sciembed search` and `sciembed similar`: the papers that are nearest to a text, or to another paper.

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use miette::Diagnostic;
use serde_json::{Value, json};

use super::datasets::{DatasetArguments, look_up, tell_unknown};
use super::environment::Machine;
use super::print::{printable, remark, say, show};
use super::workflow::library;
use super::{DoorError, Failure};
use crate::ann::{Ann, Effort};
use crate::condition::Condition;
use crate::dataset::Dataset;
use crate::error::Exit;
use crate::graph::{SelectError, Selection};
use crate::lineage::{Lineage, published_by, store_of};
use crate::manifest::config::EmbedConfig;
use crate::published::EmbeddedBy;
use crate::search::{
    About, Asked, Filter, Finder, Hit, Querier, Rows, SearchError, about, answering, fuse, matching, nearest,
};
use crate::store::DigestCache;
use crate::words::Words;

/// Characters of a title that fit on its line.
const SHOWN_CHARACTERS: usize = 80;

/// Find the papers whose vectors are nearest to that of a text.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sciembed search \"tidal disruption events\" -k 5 --years 2010:2014
  sciembed search \"dark matter halos\" --where \"doctype = 'article'\" --format json
  sciembed search \"GW170817 kilonova\" --mode hybrid
  sciembed search --format bibcodes < questions.txt")]
pub struct SearchArguments {
    /// What is asked [default: one question a line on standard input]
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// The model, where the dataset does not say: hf://organisation/name, or the path of its folder
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// What is compared: vectors, words, or both
    #[arg(long, value_enum, default_value_t = Mode::Vector)]
    mode: Mode,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    machine: Machine,
}

/// What of a question is compared with what of a paper.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// Their vectors
    Vector,
    /// Their words, by BM25: `words = true` in the workflow indexes them
    Bm25,
    /// Both, fused by their ranks
    Hybrid,
}

/// Find the papers whose vectors are nearest to that of a paper.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  sciembed similar 2013PASP..125..306F -k 5")]
pub struct SimilarArguments {
    /// The paper
    bibcode: String,
    #[command(flatten)]
    options: Options,
}

/// What may be found, and how it is shown.
#[derive(clap::Args)]
struct Options {
    /// How many papers
    #[arg(short, long = "top", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    k: u32,
    /// Only papers of these years, by their bibcodes, as in 2019 or 2015:2020
    #[arg(long, value_name = "YEARS", value_parser = years)]
    years: Option<Selection>,
    /// Only papers whose records meet a condition, in the language of a load node's `where`
    #[arg(long = "where", value_name = "CONDITION", value_parser = condition)]
    condition: Option<Condition>,
    /// Look at every vector, even where a dataset has an index
    #[arg(long)]
    exact: bool,
    /// Lists of the index to read; more find more
    #[arg(long, value_name = "LISTS", conflicts_with = "exact")]
    nprobe: Option<NonZeroUsize>,
    /// Rows of the index's graph to keep in view; more find more
    #[arg(long, value_name = "ROWS", conflicts_with = "exact")]
    ef: Option<NonZeroUsize>,
    /// How the papers are shown
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(flatten)]
    datasets: DatasetArguments,
    /// The store that the datasets were built in [default: what their provenance files say]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// A line a paper: rank, score, bibcode, first author and title
    Table,
    /// One JSON object a line
    Json,
    /// Bibcodes alone
    Bibcodes,
    /// A line a paper as TREC's tools read runs: number of the question, Q0, bibcode, rank, score, sciembed
    Trec,
}

fn years(text: &str) -> Result<Selection, String> {
    text.parse().map_err(|error: SelectError| match error.help() {
        Some(help) => format!("{error}; {help}"),
        None => error.to_string(),
    })
}

fn condition(text: &str) -> Result<Condition, String> {
    Condition::parse(text).map_err(|error| {
        let at = error.span().start;
        format!("{} at {:?}; {}", error.mistake(), text.get(at..).unwrap_or_default(), error.remedy())
    })
}

pub fn search(arguments: &SearchArguments) -> Result<Exit, Failure> {
    if arguments.text.as_ref().is_some_and(|text| text.trim().is_empty()) {
        return Err(SearchError::Empty.into());
    }
    let mut asked = Open::new(&arguments.options, arguments.mode)?;
    let mut querier = match arguments.mode {
        Mode::Bm25 => None,
        Mode::Vector | Mode::Hybrid => Some(asked.querier(arguments.model.as_deref(), &arguments.machine)?),
    };
    let mut ask = |question: &str| -> Result<(), Failure> {
        let vector = querier.as_mut().map(|querier| embedded(querier, question)).transpose()?;
        asked.tell(vector.as_deref(), None, Some(question))
    };
    if let Some(text) = &arguments.text {
        ask(text)?;
        return Ok(Exit::Done);
    }
    if io::stdin().is_terminal() {
        remark("reading questions, one a line; end with Ctrl-D");
    }
    let mut has_asked = false;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(DoorError::Texts)?;
        if !line.trim().is_empty() {
            ask(line.trim())?;
            has_asked = true;
        }
    }
    if !has_asked {
        remark("no question was asked: standard input is empty");
    }
    Ok(Exit::Done)
}

/// The vector of a question.
fn embedded(querier: &mut Querier, question: &str) -> Result<Vec<f32>, Failure> {
    let Asked { vector, tokens_dropped } = querier.ask(&[question])?.remove(0);
    if tokens_dropped > 0 {
        remark(format!("the question is longer than the model reads: its last {tokens_dropped} tokens do not count"));
    }
    Ok(vector)
}

pub fn similar(arguments: &SimilarArguments) -> Result<Exit, Failure> {
    let mut asked = Open::new(&arguments.options, Mode::Vector)?;
    let bibcode = arguments.bibcode.trim();
    let Some((_, row)) = look_up(&asked.datasets, bibcode)? else {
        tell_unknown(&asked.datasets, bibcode);
        return Ok(Exit::Error);
    };
    asked.tell(Some(&row.vector), Some(&row.bibcode), None)?;
    Ok(Exit::Done)
}

/// Papers that each list of a fusion holds, at least: what is far down in one may be high in the other.
const FUSED: usize = 100;

/// The datasets that answer, and what they may answer.
struct Open<'a> {
    options: &'a Options,
    mode: Mode,
    datasets: Vec<Dataset>,
    allowed: Vec<Option<Rows>>,
    finders: Vec<Finder>,
    /// The index of the words of each; none where vectors alone are asked.
    words: Vec<Words>,
    /// What each was built from, where that is wanted and at hand.
    lineages: Vec<Option<Lineage>>,
    /// Questions that were asked so far.
    asked: usize,
}

impl<'a> Open<'a> {
    fn new(options: &'a Options, mode: Mode) -> Result<Self, Failure> {
        let (datasets, lagging) = answering(options.datasets.open()?)?;
        for name in lagging {
            remark(format!(
                "{name} was published again after it was merged: the merge answers with the older one, until an apply of all years"
            ));
        }
        let labels: BTreeSet<&str> = datasets.iter().map(|dataset| dataset.description().label()).collect();
        if labels.len() > 1 {
            let labels: Vec<&str> = labels.into_iter().collect();
            remark(format!("{} answer together; --dataset NAME asks one dataset alone", labels.join(" and ")));
        }
        let lineages = lineages(options, &datasets)?;
        let filter = Filter { years: options.years.as_ref(), condition: options.condition.as_ref() };
        let allowed = datasets.iter().zip(&lineages).map(|(dataset, lineage)| filter.rows(dataset, lineage.as_ref()));
        let allowed = allowed.collect::<Result<Vec<_>, _>>()?;
        let (mut finders, mut words) = (Vec::new(), Vec::new());
        for dataset in &datasets {
            let mut digests = digests(options, dataset);
            if mode != Mode::Bm25 {
                finders.push(finder(options, dataset, &mut digests)?);
            }
            if mode != Mode::Vector {
                words.push(Words::open(&options.datasets.dir, dataset, &mut digests).map_err(SearchError::from)?);
            }
        }
        Ok(Self { options, mode, datasets, allowed, finders, words, lineages, asked: 0 })
    }

    /// The embedder of the datasets, as their workflow says, or of the model that is named.
    fn querier(&self, model: Option<&str>, machine: &Machine) -> Result<Querier, Failure> {
        let Some(dataset) = self.datasets.first() else { unreachable!("a directory shows at least one dataset") };
        let description = dataset.description();
        let dir = &self.options.datasets.dir;
        let said = published_by(dir, &description.dataset).ok().and_then(|by| by.embedding);
        let (base, config) = match (model, said) {
            (Some(model), said) => {
                let config = said
                    .map_or_else(|| EmbedConfig::of(model), |by| EmbedConfig { model: model.to_owned(), ..by.node });
                (PathBuf::from("."), config)
            }
            (None, Some(EmbeddedBy { base, node })) => (dir.join(base), node),
            (None, None) => {
                return Err(SearchError::NoModel { dataset: description.dataset.clone() }.into());
            }
        };
        let store = store_of(dir, &description.dataset, &description.set, self.options.store.as_deref());
        let mut digests = store.map_or_else(|_| DigestCache::default(), |store| store.digest_cache());
        let mut library = library(&base, std::iter::once(config.model.as_str()))?;
        let querier =
            Querier::start(&config, description, &mut library, &machine.environment(), &mut |path: &Path| {
                digests.digest(path)
            })?;
        Ok(querier)
    }

    /// The best `k` papers for a question and its vector.
    fn best(&mut self, vector: Option<&[f32]>, question: &str, k: usize) -> Result<Vec<Hit>, SearchError> {
        let depth = if self.mode == Mode::Hybrid { k.max(FUSED) } else { k };
        let mut lists = Vec::new();
        if let Some(vector) = vector {
            let queries = [vector.to_vec()];
            lists.extend(nearest(&self.datasets, &mut self.finders, &self.allowed, &queries, depth)?);
        }
        if self.mode != Mode::Vector {
            lists.push(matching(&self.datasets, &self.words, &self.allowed, question, depth)?);
        }
        Ok(if self.mode == Mode::Hybrid { fuse(&lists, k) } else { lists.concat() })
    }

    /// Shows the papers that answer a question or are nearest to a vector, but for one.
    fn tell(&mut self, vector: Option<&[f32]>, but: Option<&str>, question: Option<&str>) -> Result<(), Failure> {
        self.asked += 1;
        let k = self.options.k as usize;
        let mut hits = self.best(vector, question.unwrap_or_default(), k + usize::from(but.is_some()))?;
        hits.retain(|hit| Some(hit.bibcode.as_str()) != but);
        hits.truncate(k);
        let is_ann = self.finders.iter().any(|finder| matches!(finder, Finder::Ann(..)));
        if is_ann && self.mode == Mode::Vector && hits.len() < k && hits.len() < self.countable() {
            remark(format!(
                "what the index looked at holds {} papers: more are found by a larger --nprobe or --ef, or by --exact",
                hits.len()
            ));
        }
        if hits.is_empty() {
            remark(match self.mode {
                Mode::Bm25 => "no paper that may be found holds any of these words",
                Mode::Vector | Mode::Hybrid => match (&self.options.years, &self.options.condition) {
                    (Some(_), None) => "no paper may be found: none is of these years",
                    (None, Some(_)) => "no paper may be found: none meets the condition",
                    _ => "no paper may be found: years and condition leave none",
                },
            });
        }
        for (nth, hit) in hits.iter().enumerate() {
            match self.options.format {
                Format::Table => show(line(nth + 1, hit, &self.about(hit)))?,
                Format::Json => say(self.as_json(nth + 1, hit, question))?,
                Format::Bibcodes => say(&hit.bibcode)?,
                Format::Trec => {
                    say(format!("{} Q0 {} {} {} sciembed", self.asked, hit.bibcode, nth + 1, hit.score))?;
                }
            }
        }
        Ok(())
    }

    /// How many papers may be found.
    fn countable(&self) -> usize {
        let of = |(dataset, allowed): (&Dataset, &Option<Rows>)| {
            allowed.as_ref().map_or(dataset.description().rows, |rows| rows.count() as usize)
        };
        self.datasets.iter().zip(&self.allowed).map(of).sum()
    }

    fn about(&self, hit: &Hit) -> About {
        let lineage = self.lineages[hit.dataset].as_ref();
        lineage.map_or_else(About::default, |lineage| about(&self.datasets[hit.dataset], lineage, &hit.bibcode))
    }

    fn as_json(&self, rank: usize, hit: &Hit, question: Option<&str>) -> Value {
        let About { title, year, first_author } = self.about(hit);
        let mut answer = json!({
            "rank": rank,
            "bibcode": hit.bibcode,
            "score": hit.score,
            "dataset": self.datasets[hit.dataset].description().dataset,
            "row": hit.row,
            "title": title,
            "year": year,
            "first_author": first_author,
        });
        if let Some(question) = question {
            answer["question"] = json!(question);
        }
        answer
    }
}

/// The index of a dataset, where it has one that may be asked. One that may not is told, and every vector is looked at, unless
/// its parameters were given.
fn finder(options: &Options, dataset: &Dataset, digests: &mut DigestCache) -> Result<Finder, SearchError> {
    if options.exact {
        return Ok(Finder::Exact);
    }
    let effort = Effort { nprobe: options.nprobe.map(Into::into), ef: options.ef.map(Into::into) };
    match Ann::open(&options.datasets.dir, dataset, digests) {
        Ok(Some(ann)) => {
            for option in ann.unheeded(effort) {
                let name = &dataset.description().dataset;
                remark(format!("the index of {name} is {}: --{option} changes nothing", ann.factory()));
            }
            Ok(Finder::Ann(Box::new(ann), effort))
        }
        Ok(None) => {
            if effort != Effort::default() {
                let name = &dataset.description().dataset;
                remark(format!("{name} has no index, and every vector is looked at: --nprobe and --ef change nothing"));
            }
            Ok(Finder::Exact)
        }
        Err(error) if effort == Effort::default() => {
            remark(format!(
                "every vector is looked at, since sciembed failed to {error}; an apply builds it anew, where the workflow asks for it"
            ));
            Ok(Finder::Exact)
        }
        Err(error) => Err(error.into()),
    }
}

/// What is known of files' digests, where the store is at hand.
fn digests(options: &Options, dataset: &Dataset) -> DigestCache {
    let description = dataset.description();
    let store = store_of(&options.datasets.dir, &description.dataset, &description.set, options.store.as_deref());
    store.map_or_else(|_| DigestCache::default(), |store| store.digest_cache())
}

/// What each dataset was built from, where titles are shown or a condition is to be met. Only a condition cannot do without.
fn lineages(options: &Options, datasets: &[Dataset]) -> Result<Vec<Option<Lineage>>, SearchError> {
    if matches!(options.format, Format::Bibcodes | Format::Trec) && options.condition.is_none() {
        return Ok(datasets.iter().map(|_| None).collect());
    }
    let mut lineages = Vec::new();
    let mut is_told = false;
    for dataset in datasets {
        lineages.push(match lineage(options, dataset) {
            Ok(lineage) => Some(lineage),
            Err(error) if options.condition.is_some() => return Err(error),
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    remark(format!(
                        "titles are not shown, since sciembed failed to {error}; name the store with --store"
                    ));
                }
                None
            }
        });
    }
    Ok(lineages)
}

fn lineage(options: &Options, dataset: &Dataset) -> Result<Lineage, SearchError> {
    let (dir, description) = (&options.datasets.dir, dataset.description());
    let store = store_of(dir, &description.dataset, &description.set, options.store.as_deref())?;
    Ok(Lineage::open(store, &published_by(dir, &description.dataset)?.owner.workflow)?)
}

fn line(rank: usize, hit: &Hit, about: &About) -> String {
    let About { title, year: _, first_author } = about;
    let mut told = format!("{rank:>3}  {:.4}  {:19}", hit.score, hit.bibcode);
    if let Some(author) = first_author {
        told.push_str(&format!("  {}", printable(author)));
    }
    if let Some(title) = title {
        let title: String = printable(title).split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = title.chars().take(SHOWN_CHARACTERS).collect();
        let end = if short.len() < title.len() { "…" } else { "" };
        told.push_str(&format!("  {short}{end}"));
    }
    told
}
