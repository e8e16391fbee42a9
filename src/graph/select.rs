//! Which steps a command is about: `--years` and `--target`.
//!
//! A selection limits what runs, never what a step means: the graph stays whole, and whatever the selected steps read
//! from comes along. A merge stands for every year, so with `--years` the years that were not asked for come along too,
//! but only to be looked at: they do not run, and the merge runs only if they stand as the manifest wants them.

use std::collections::BTreeSet;
use std::str::FromStr;

use miette::Diagnostic;
use thiserror::Error;

use super::{Graph, NodeKind, Step, StepIndex};
use crate::manifest::{hint, listed};

/// The axis that `--years` speaks of.
const YEAR: &str = "year";

/// A selection that cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error, Diagnostic)]
pub enum SelectError {
    /// The text of `--years` cannot be read.
    #[error("`{text}` cannot be read as years")]
    #[diagnostic(code(sciembed::graph::years), help("write `2017`, `2015:2020` or `2010,2015:2020`; both ends count"))]
    Years {
        /// The part that cannot be read.
        text: String,
    },
    /// The workflow has no such year.
    #[error("the workflow has no year in `{years}`")]
    #[diagnostic(code(sciembed::graph::unknown_year), help("its years are {known}"))]
    UnknownYear {
        /// The part of the selection that selects nothing.
        years: String,
        /// The years there are.
        known: String,
    },
    /// The workflow has no such node or step.
    #[error("the workflow has no node or step `{target}`")]
    #[diagnostic(code(sciembed::graph::unknown_target), help("{help}"))]
    UnknownTarget {
        /// What was asked for.
        target: String,
        /// What was probably meant, or what there is.
        help: String,
    },
    /// Each is there, but no step is in both.
    #[error("no step is both in `--years` and in `--target`")]
    #[diagnostic(code(sciembed::graph::nothing_selected), help("drop one of the two"))]
    Nothing,
}

/// Years that one line names.
const NAMED_YEARS: usize = 20;

/// The steps that a command is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    steps: Vec<StepIndex>,
    only_looked_at: BTreeSet<StepIndex>,
}

impl Scope {
    /// Steps that may all run: upstreams first, and none without its upstreams.
    pub fn of(steps: Vec<StepIndex>) -> Self {
        Self { steps, only_looked_at: BTreeSet::new() }
    }

    /// All steps, upstreams first: those that may run, and those that are only looked at because a merge stands for them
    /// too.
    pub fn steps(&self) -> &[StepIndex] {
        &self.steps
    }

    /// Whether a step may run.
    pub fn runs(&self, index: StepIndex) -> bool {
        !self.only_looked_at.contains(&index)
    }

    /// The steps that may run, upstreams first.
    pub fn running(&self) -> impl Iterator<Item = StepIndex> {
        self.steps.iter().copied().filter(|index| self.runs(*index))
    }
}

/// The years of `--years`: single values and ranges whose ends both count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(Vec<Span>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Span {
    One(String),
    Between(u64, u64),
}

impl FromStr for Selection {
    type Err = SelectError;

    fn from_str(text: &str) -> Result<Self, SelectError> {
        text.split(',').map(|part| Span::read(part.trim())).collect::<Result<_, _>>().map(Self)
    }
}

impl Selection {
    /// Whether a year is among them.
    pub fn contains(&self, year: &str) -> bool {
        self.0.iter().any(|span| span.contains(year))
    }
}

impl Graph {
    /// The years in a selection that the workflow does not have, beside some that it has; of many the first.
    pub fn lacking(&self, years: &Selection) -> Vec<u64> {
        let known: BTreeSet<&str> =
            self.steps.iter().filter_map(|step| step.id.cells.get(YEAR)).map(String::as_str).collect();
        let is_lacking = |year: &u64| !known.contains(year.to_string().as_str());
        let between = years.0.iter().filter(|_| !known.is_empty()).filter_map(|span| match span {
            Span::One(_) => None,
            Span::Between(first, last) => Some(*first..=*last),
        });
        between.flatten().filter(is_lacking).take(NAMED_YEARS).collect()
    }
}

impl Span {
    fn read(part: &str) -> Result<Self, SelectError> {
        let refused = || SelectError::Years { text: part.to_owned() };
        // The matrix's own way of writing a range is understood as well.
        let ends = part.split_once(':').or_else(|| part.split_once("..="));
        match ends {
            None if part.contains("..") || part.contains('-') => Err(refused()),
            None if part.is_empty() => Err(refused()),
            None => Ok(Self::One(part.to_owned())),
            Some((first, last)) => match (first.trim().parse(), last.trim().parse()) {
                (Ok(first), Ok(last)) if first <= last => Ok(Self::Between(first, last)),
                _ => Err(refused()),
            },
        }
    }

    fn contains(&self, year: &str) -> bool {
        match self {
            Self::One(one) => one == year,
            Self::Between(first, last) => year.parse().is_ok_and(|year: u64| (*first..=*last).contains(&year)),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::One(one) => one.clone(),
            Self::Between(first, last) => format!("{first}:{last}"),
        }
    }
}

impl Graph {
    /// The selected steps and everything they read from, in the order of the graph. Without years and targets, all.
    ///
    /// A step without the axis `year` is outside every year: it is selected if a target names it, if a selected step
    /// reads from it, if no step has that axis, or if it is a merge of selected steps and there are no targets.
    ///
    /// # Errors
    ///
    /// A year or target that the workflow does not have, or a combination that selects nothing.
    pub fn select(&self, years: Option<&Selection>, targets: &[String]) -> Result<Scope, SelectError> {
        let targeted = self.targeted(targets)?;
        let in_years = self.in_years(years)?;
        let chosen = self.steps.iter().enumerate().filter(|(index, step)| {
            let asked_for = targeted.as_ref().is_none_or(|targeted| targeted.contains(index));
            let yearless_target = targeted.is_some() && !step.id.cells.contains_key(YEAR);
            asked_for && (yearless_target || in_years.as_ref().is_none_or(|in_years| in_years.contains(index)))
        });
        let mut chosen: BTreeSet<StepIndex> = chosen.map(|(index, _)| index).collect();
        if chosen.is_empty() && !self.steps.is_empty() {
            return Err(SelectError::Nothing);
        }
        if targeted.is_none() {
            self.add_merges(&mut chosen);
        }
        let steps = self.closure(chosen);
        let other_year = |index: &StepIndex| {
            self.steps[*index].id.cells.contains_key(YEAR)
                && in_years.as_ref().is_some_and(|years| !years.contains(index))
        };
        let only_looked_at = steps.iter().copied().filter(other_year).collect();
        Ok(Scope { steps, only_looked_at })
    }

    /// Adds the merges that take chosen years and others together.
    fn add_merges(&self, chosen: &mut BTreeSet<StepIndex>) {
        for (index, step) in self.steps.iter().enumerate() {
            let is_yearless_merge = step.id.kind == NodeKind::Merge && !step.id.cells.contains_key(YEAR);
            if is_yearless_merge && step.upstreams.iter().any(|upstream| chosen.contains(upstream)) {
                chosen.insert(index);
            }
        }
    }

    /// The steps and all their upstreams, in the order of the graph.
    fn closure(&self, mut steps: BTreeSet<StepIndex>) -> Vec<StepIndex> {
        // Upstreams stand before what reads them, so one walk from the back meets every step after its readers.
        for index in (0..self.steps.len()).rev() {
            if steps.contains(&index) {
                steps.extend(&self.steps[index].upstreams);
            }
        }
        steps.into_iter().collect()
    }

    fn in_years(&self, years: Option<&Selection>) -> Result<Option<BTreeSet<StepIndex>>, SelectError> {
        let mut known: Vec<&str> = Vec::new();
        for year in self.steps.iter().filter_map(|step| step.id.cells.get(YEAR)) {
            if !known.contains(&year.as_str()) {
                known.push(year);
            }
        }
        let Some(Selection(spans)) = years.filter(|_| !known.is_empty()) else { return Ok(None) };
        if let Some(span) = spans.iter().find(|span| !known.iter().any(|year| span.contains(year))) {
            return Err(SelectError::UnknownYear { years: span.written(), known: known.join(", ") });
        }
        let within =
            |step: &Step| step.id.cells.get(YEAR).is_some_and(|year| spans.iter().any(|span| span.contains(year)));
        Ok(Some(self.matching(within)))
    }

    fn targeted(&self, targets: &[String]) -> Result<Option<BTreeSet<StepIndex>>, SelectError> {
        if targets.is_empty() {
            return Ok(None);
        }
        let mut all = BTreeSet::new();
        for target in targets {
            let steps = self.matching(|step| names(step, target));
            if steps.is_empty() {
                return Err(self.unknown_target(target));
            }
            all.extend(steps);
        }
        Ok(Some(all))
    }

    fn matching(&self, wanted: impl Fn(&Step) -> bool) -> BTreeSet<StepIndex> {
        self.steps.iter().enumerate().filter(|(_, step)| wanted(step)).map(|(index, _)| index).collect()
    }

    fn unknown_target(&self, target: &str) -> SelectError {
        let (node, cells) = target.split_once('[').map_or((target, None), |(node, cells)| (node, Some(cells)));
        let same = self.steps.iter().filter(|step| names(step, node));
        let instances: Vec<String> = same.map(|step| step.id.to_string()).collect();
        let help = if let (Some(_), [first, .., last]) = (cells, instances.as_slice()) {
            format!("its steps run from `{first}` to `{last}`")
        } else if let (Some(_), [only]) = (cells, instances.as_slice()) {
            format!("there is `{only}`")
        } else {
            let nodes: BTreeSet<&str> = self.steps.iter().map(|step| step.id.node.as_str()).collect();
            let nodes: Vec<&str> = nodes.into_iter().collect();
            let short = node.split_once('.').map_or(node, |(_, name)| name);
            hint(short, &nodes, |nodes| format!("the workflow's nodes: {}", listed(nodes.iter().copied())))
        };
        SelectError::UnknownTarget { target: target.to_owned(), help }
    }
}

/// Whether a target names this step: by node, by kind and node, or either with the values in brackets.
fn names(step: &Step, target: &str) -> bool {
    let full = step.id.to_string();
    let section = step.id.kind.section().len() + 1;
    let short = &full[section..];
    let node = step.id.node.as_str();
    target == node || target == short || target == full || target.strip_prefix(&full[..section]) == Some(node)
}

#[cfg(test)]
mod tests {
    use super::super::resolve;
    use super::*;
    use crate::manifest::Source;

    fn graph() -> Graph {
        let text = include_str!("../../tests/manifests/valid/exhaustive.toml");
        resolve(&Source { name: "exhaustive.toml".into(), text: text.into() }, &[]).unwrap()
    }

    fn selected(years: Option<&str>, targets: &[&str]) -> Result<Vec<String>, SelectError> {
        let graph = graph();
        let years = years.map(str::parse).transpose()?;
        let targets: Vec<String> = targets.iter().map(|target| (*target).to_owned()).collect();
        let steps = graph.select(years.as_ref(), &targets)?;
        Ok(steps.running().map(|step| graph.steps[step].id.to_string()).collect())
    }

    #[test]
    fn a_target_brings_its_upstreams() {
        let all = ["load.records[2016]", "prepare.texts[2016]", "embed.minilm[2016]", "persist.yearly[2016]"];
        assert_eq!(selected(None, &["persist.yearly[2016]"]).unwrap(), all);
        assert_eq!(selected(None, &["yearly[2016]"]).unwrap(), all);
        assert_eq!(selected(Some("2016"), &["yearly"]).unwrap(), all);
        assert_eq!(selected(Some("2016:2016"), &["yearly"]).unwrap(), all);
        assert_eq!(selected(None, &["load.records"]).unwrap().len(), 3);
        assert_eq!(selected(None, &[]).unwrap().len(), 13);
        assert_eq!(selected(Some("2015,2017"), &["embed.minilm"]).unwrap().len(), 6);
    }

    /// A merge stands for every year: the others are looked at and do not run.
    #[test]
    fn years_bring_their_merge_and_only_look_at_the_other_years() {
        let mut all = vec!["load.records[2016]", "prepare.texts[2016]", "embed.minilm[2016]", "persist.yearly[2016]"];
        all.push("merge.all");
        assert_eq!(selected(Some("2016"), &[]).unwrap(), all);
        assert_eq!(selected(Some("2016"), &["merge.all"]).unwrap(), all);
        assert_eq!(selected(None, &["merge.all"]).unwrap().len(), 13);
        let graph = graph();
        let scope = graph.select(Some(&"2016".parse().unwrap()), &[]).unwrap();
        assert_eq!((scope.steps().len(), scope.running().count()), (13, 5));
        let years: Vec<_> =
            scope.steps().iter().filter(|at| !scope.runs(**at)).map(|at| &graph.steps[*at].id.cells["year"]).collect();
        assert!(years.iter().all(|year| *year != "2016"));
    }

    #[test]
    fn what_is_not_there_is_named() {
        let message = |result: Result<_, SelectError>| {
            let error = result.err().unwrap();
            format!("{error}: {}", error.help().unwrap())
        };
        assert_eq!(
            message(selected(Some("1999"), &[])),
            "the workflow has no year in `1999`: its years are 2015, 2016, 2017"
        );
        assert_eq!(
            message(selected(None, &["embed.minilmm"])),
            "the workflow has no node or step `embed.minilmm`: did you mean `minilm`?"
        );
        assert_eq!(
            message(selected(None, &["minilm[1999]"])),
            "the workflow has no node or step `minilm[1999]`: \
             its steps run from `embed.minilm[2015]` to `embed.minilm[2017]`"
        );
        assert!(matches!(selected(Some("2017:2015"), &[]), Err(SelectError::Years { .. })));
        assert_eq!(selected(Some("2015"), &["minilm[2016]"]), Err(SelectError::Nothing));
    }
}
