//! `sciembed search` and `sciembed similar`: the papers that are nearest to a text, or to another paper.

use std::io::{self, BufRead, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::datasets::{DatasetArguments, look_up, tell_unknown};
use super::environment::Machine;
use super::print::{remark, say};
use super::workflow::library;
use super::{DoorError, Failure};
use crate::ann::{Ann, Effort};
use crate::condition::Condition;
use crate::dataset::Dataset;
use crate::error::Exit;
use crate::graph::Selection;
use crate::lineage::{Lineage, published_by, store_of};
use crate::manifest::config::EmbedConfig;
use crate::published::EmbeddedBy;
use crate::search::{About, Asked, Filter, Finder, Hit, Querier, Rows, SearchError, about, answering, nearest};
use crate::store::DigestCache;

/// Characters of a title that fit on its line.
const SHOWN_CHARACTERS: usize = 80;

/// Find the papers whose vectors are nearest to that of a text.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  sciembed search \"tidal disruption events\" -k 5 --years 2010:2014
  sciembed search \"dark matter halos\" --where \"doctype = 'article'\" --format json
  sciembed search --format bibcodes < questions.txt")]
pub struct SearchArguments {
    /// What is asked [default: one question a line on standard input]
    #[arg(value_name = "TEXT")]
    text: Option<String>,
    /// The model, where the dataset does not say: hf://organisation/name, or the path of its folder
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    machine: Machine,
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
    #[arg(long, value_name = "YEARS")]
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
    /// A line a paper: score, bibcode, first author, year and title
    Table,
    /// One JSON object a line
    Json,
    /// Bibcodes alone
    Bibcodes,
}

fn condition(text: &str) -> Result<Condition, String> {
    Condition::parse(text).map_err(|error| {
        let at = error.span().start;
        format!("{} at {:?}; {}", error.mistake(), text.get(at..).unwrap_or_default(), error.remedy())
    })
}

pub fn search(arguments: &SearchArguments) -> Result<Exit, Failure> {
    let mut asked = Open::new(&arguments.options)?;
    let mut querier = asked.querier(arguments.model.as_deref(), &arguments.machine)?;
    let mut ask = |question: &str| -> Result<(), Failure> {
        let answers = querier.ask(&[question])?;
        for Asked { vector, tokens_dropped } in answers {
            if tokens_dropped > 0 {
                remark(format!(
                    "the question is longer than the model reads: its last {tokens_dropped} tokens do not count"
                ));
            }
            asked.tell(&vector, None, Some(question))?;
        }
        Ok(())
    };
    if let Some(text) = &arguments.text {
        ask(text)?;
        return Ok(Exit::Done);
    }
    if io::stdin().is_terminal() {
        remark("reading questions, one a line; end with Ctrl-D");
    }
    for line in io::stdin().lock().lines() {
        let line = line.map_err(DoorError::Texts)?;
        if !line.trim().is_empty() {
            ask(line.trim())?;
        }
    }
    Ok(Exit::Done)
}

pub fn similar(arguments: &SimilarArguments) -> Result<Exit, Failure> {
    let mut asked = Open::new(&arguments.options)?;
    let bibcode = arguments.bibcode.trim();
    let Some((_, row)) = look_up(&asked.datasets, bibcode)? else {
        tell_unknown(&asked.datasets, bibcode);
        return Ok(Exit::Error);
    };
    asked.tell(&row.vector, Some(&row.bibcode), None)?;
    Ok(Exit::Done)
}

/// The datasets that answer, and what they may answer.
struct Open<'a> {
    options: &'a Options,
    datasets: Vec<Dataset>,
    allowed: Vec<Option<Rows>>,
    finders: Vec<Finder>,
    /// What each was built from, where that is at hand.
    lineages: Vec<Option<Lineage>>,
}

impl<'a> Open<'a> {
    fn new(options: &'a Options) -> Result<Self, Failure> {
        let (datasets, lagging) = answering(options.datasets.open()?)?;
        for name in lagging {
            remark(format!(
                "{name} was published again after it was merged: the merge answers with the older one, until an apply"
            ));
        }
        let lineages: Vec<Result<Lineage, SearchError>> =
            datasets.iter().map(|dataset| lineage(options, dataset)).collect();
        let filter = Filter { years: options.years.as_ref(), condition: options.condition.as_ref() };
        let allowed = datasets.iter().map(|dataset| filter.rows(dataset, || lineage(options, dataset)));
        let allowed = allowed.collect::<Result<Vec<_>, _>>()?;
        if let Some(Err(error)) = lineages.iter().find(|lineage| lineage.is_err()) {
            remark(format!("titles are not shown, since sciembed failed to {error}; name the store with --store"));
        }
        let lineages: Vec<Option<Lineage>> = lineages.into_iter().map(Result::ok).collect();
        let finders =
            datasets.iter().zip(&lineages).map(|(dataset, lineage)| finder(options, dataset, lineage.as_ref()));
        let finders = finders.collect::<Result<_, _>>()?;
        Ok(Self { options, datasets, allowed, finders, lineages })
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

    /// Shows the papers that are nearest to a vector, but for one.
    fn tell(&mut self, vector: &[f32], but: Option<&str>, question: Option<&str>) -> Result<(), Failure> {
        let k = self.options.k as usize;
        let queries = [vector.to_vec()];
        let mut hits =
            nearest(&self.datasets, &mut self.finders, &self.allowed, &queries, k + usize::from(but.is_some()))?
                .remove(0);
        hits.retain(|hit| Some(hit.bibcode.as_str()) != but);
        hits.truncate(k);
        if hits.is_empty() {
            remark("no paper may be found: years and condition leave none");
        }
        for (nth, hit) in hits.iter().enumerate() {
            match self.options.format {
                Format::Table => say(line(nth + 1, hit, &self.about(hit)))?,
                Format::Json => say(self.as_json(nth + 1, hit, question))?,
                Format::Bibcodes => say(&hit.bibcode)?,
            }
        }
        Ok(())
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
fn finder(options: &Options, dataset: &Dataset, lineage: Option<&Lineage>) -> Result<Finder, SearchError> {
    if options.exact {
        return Ok(Finder::Exact);
    }
    let mut digests = lineage.map_or_else(DigestCache::default, |lineage| lineage.store().digest_cache());
    let effort = Effort { nprobe: options.nprobe.map(Into::into), ef: options.ef.map(Into::into) };
    match Ann::open(&options.datasets.dir, dataset, &mut digests) {
        Ok(Some(ann)) => Ok(Finder::Ann(Box::new(ann), effort)),
        Ok(None) => Ok(Finder::Exact),
        Err(error) if effort == Effort::default() => {
            remark(format!(
                "every vector is looked at, since sciembed failed to {error}; an apply builds it anew, where the workflow asks for it"
            ));
            Ok(Finder::Exact)
        }
        Err(error) => Err(error.into()),
    }
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
        told.push_str(&format!("  {author}"));
    }
    if let Some(title) = title {
        let title: String = title.split_whitespace().collect::<Vec<_>>().join(" ");
        let short: String = title.chars().take(SHOWN_CHARACTERS).collect();
        let end = if short.len() < title.len() { "…" } else { "" };
        told.push_str(&format!("  {short}{end}"));
    }
    told
}
