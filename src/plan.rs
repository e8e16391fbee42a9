//! The plan: what would happen, and why. A pure function of the graph and of what was observed.
//!
//! Every step is fresh, stale for a reason, or pending on an upstream step: below a stale step nothing has a key yet,
//! since keys are made of what is consumed. A merge stands for the whole matrix: where steps that it needs are not to run
//! and have no record, it is blocked. `run` calls [`Plan::renew`] each time a record lands, and pending steps
//! turn fresh or stale; an upstream whose output came out the same stops the change there. `observe.rs` does the I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::cost::{HandedOver, Price, Spent};
use crate::digest::{Digest, NodeKey};
use crate::fingerprint::{Change, Fingerprint, PublishFault, StaleReason};
use crate::graph::{Config, Graph, NodeKind, Scope, StepId, StepIndex, manifest_file};
use crate::manifest::config::Dollars;
use crate::record::{Output, Record, RecordState, Reference, RowChanges, SourceFile};
use crate::table::{FAILED, set_bytes_each};

/// What is known of the world outside the manifest. `observe.rs` fills it in.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The source files of each load step, in order.
    pub sources: BTreeMap<StepIndex, Vec<SourceFile>>,
    /// What each embed step's embedder is made of, and its key with it: ingredient -> value.
    pub embedders: BTreeMap<StepIndex, BTreeMap<String, String>>,
    /// What each step last used.
    pub references: BTreeMap<StepIndex, Reference>,
    /// Records by key, for every key that could be computed; absent keys have none.
    pub records: HashMap<NodeKey, RecordState>,
    /// How the directory of each step that publishes differs from the set of this key; absent if it does not.
    pub published: BTreeMap<StepIndex, (NodeKey, PublishFault)>,
    /// Whether records that lack rows which could not be embedded count as fresh.
    pub accept_failures: bool,
    /// How the rows of embed steps differ from what stands, where that was counted.
    pub changes: BTreeMap<StepIndex, RowChanges>,
    /// What APIs take, where texts could be counted.
    pub tariffs: BTreeMap<StepIndex, Tariff>,
    /// Steps that could not be observed, such as a load whose file is missing: they are planned as blocked by themselves.
    pub faulty: BTreeSet<StepIndex>,
    /// The fingerprint of each step that has one, and its key: see [`Self::settle`].
    fingerprints: BTreeMap<StepIndex, (NodeKey, Fingerprint)>,
}

impl Observed {
    /// Works the fingerprint of a step out of what is known now. To be called upstreams first, and again for all steps
    /// below one whose record landed: a workflow has thousands of steps, and a run plans after each.
    pub fn settle(&mut self, graph: &Graph, index: StepIndex) {
        match self.work_out(graph, index, None) {
            Some(fingerprint) => self.fingerprints.insert(index, (fingerprint.key(), fingerprint)),
            None => self.fingerprints.remove(&index),
        };
    }

    /// The fingerprint of a step as far as it is known: an upstream output that is not known yet is [`UNKNOWN`] in it.
    pub fn foreseen(&self, graph: &Graph, index: StepIndex) -> Option<Fingerprint> {
        self.work_out(graph, index, Some(UNKNOWN))
    }

    /// The fingerprint of a step; none while an output that it consumes is not known.
    pub fn fingerprint(&self, index: StepIndex) -> Option<&Fingerprint> {
        Some(&self.fingerprints.get(&index)?.1)
    }

    /// The key of a step, if it has a fingerprint.
    pub fn key(&self, index: StepIndex) -> Option<NodeKey> {
        Some(self.fingerprints.get(&index)?.0)
    }

    /// The whole record of a step, if its key is known and it has one.
    pub fn record(&self, index: StepIndex) -> Option<&Record> {
        self.whole_record(&self.key(index)?)
    }

    fn whole_record(&self, key: &NodeKey) -> Option<&Record> {
        match self.records.get(key)? {
            RecordState::Whole(record) => Some(record),
            RecordState::Damaged { .. } => None,
        }
    }

    /// An output of a step, if its record is known.
    pub fn output(&self, index: StepIndex, name: &str) -> Option<Output> {
        self.record(index)?.outputs.get(name).copied()
    }

    /// The record that a step used last, if it is whole.
    pub fn last_record(&self, index: StepIndex) -> Option<&Record> {
        self.whole_record(&self.references.get(&index)?.key)
    }

    /// An output of the record that a step used last.
    pub fn last_output(&self, index: StepIndex, name: &str) -> Option<Output> {
        self.last_record(index)?.outputs.get(name).copied()
    }

    /// `unknown` stands for the outputs that are not known yet; without it there is no fingerprint then.
    fn work_out(&self, graph: &Graph, index: StepIndex, unknown: Option<Digest>) -> Option<Fingerprint> {
        let step = &graph.steps[index];
        let consumed = |from: StepIndex, name: &str| self.output(from, name).map(|output| output.digest).or(unknown);
        Some(match &step.config {
            Config::Load(config) => {
                let sources: Vec<(String, Digest)> =
                    self.sources.get(&index)?.iter().map(|source| (source.name.clone(), source.digest)).collect();
                Fingerprint::of_load(config, &sources)
            }
            Config::Prepare(config) => Fingerprint::of_prepare(config, consumed(step.upstreams[0], "records")?),
            Config::Embed(config) => {
                let ingredients = self.embedders.get(&index)?;
                Fingerprint::of_embed(config, ingredients, consumed(step.upstreams[0], "texts")?)
            }
            Config::Persist(config) => {
                let vectors = consumed(step.upstreams[0], "vectors")?;
                let records = consumed(load_above(graph, index)?, "records")?;
                let embedded = self.record(step.upstreams[0]);
                let description = embedded.map(Record::description).or(unknown)?;
                let failed = embedded.and_then(|record| record.outputs.get(FAILED)).map(|failed| failed.digest);
                Fingerprint::of_persist(config, &step.id.cells, vectors, records, description, failed)
            }
            Config::Merge(config) => {
                let set = |&from: &StepIndex| {
                    let name = graph.steps[from].dataset()?.name;
                    let manifest = consumed(from, &manifest_file(&name))?;
                    Some((name, manifest))
                };
                let sets: Vec<(String, Digest)> = step.upstreams.iter().map(set).collect::<Option<_>>()?;
                Fingerprint::of_merge(config, &step.id.cells, &sets)
            }
        })
    }
}

/// Stands in a foreseen fingerprint for the digest of what is not made yet.
pub const UNKNOWN: Digest = Digest::from_bytes([0; Digest::LEN]);

/// The load step that a step's rows come from.
pub fn load_above(graph: &Graph, index: StepIndex) -> Option<StepIndex> {
    let mut at = index;
    while graph.steps[at].id.kind != NodeKind::Load {
        at = *graph.steps[at].upstreams.first()?;
    }
    Some(at)
}

/// Whether a step must run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its record stands, and what it publishes is shown.
    Fresh,
    /// It must run.
    Stale(StaleReason),
    /// Whether it must run is not known before these upstream steps have run.
    Pending(Vec<StepId>),
    /// It cannot run: these steps have no record for the workflow as it stands, and are not among those that may run.
    Blocked(Vec<StepId>),
}

/// How many rows a step has, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// Recorded.
    Exact(u64),
    /// As of the record that this step last used.
    LastApplied(u64),
    /// Nothing was recorded yet.
    Unknown,
}

/// One step of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedStep {
    /// Its place in the graph.
    #[serde(skip)]
    pub index: StepIndex,
    /// Which step.
    pub step: StepId,
    /// Whether it must run.
    pub state: State,
    /// Its key, once it has one.
    pub key: Option<NodeKey>,
    /// The rows that it puts out.
    pub rows: Rows,
    /// Of an embed step that is not fresh: what there is to compute.
    pub work: Option<Work>,
    /// Of a step that publishes vectors of its own: bytes a vector, about, all files counted.
    pub bytes_each: Option<u64>,
}

/// What an embed step has to compute.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Work {
    /// How many rows.
    pub rows: WorkRows,
    /// Rows a second when this step last computed enough of them to tell.
    pub rate: Option<f64>,
    /// What an API will take for it.
    pub bill: Option<Bill>,
}

/// What an API will take for the rows that are to be computed, where their number and tokens are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// Tokens, by those of some of the texts.
    pub tokens: u64,
    /// How many texts were counted.
    pub sampled: u64,
    /// Dollars, where the price is known.
    pub cost_usd: Option<f64>,
    /// The day of the table of prices.
    pub prices_of: Option<String>,
    /// What this node spent before, by its ledger.
    pub spent_usd: f64,
    /// The tokens that it spent before.
    pub spent_tokens: u64,
    /// The most dollars that it may spend, all runs together.
    pub max_cost_usd: Option<f64>,
    /// The most tokens that it may spend, all runs together.
    pub max_tokens: Option<u64>,
    /// What is at the API in batches, counted as spent and not as what it will take.
    pub handed_over: HandedOver,
}

impl Bill {
    /// Whether a limit will end the step before it is done, as far as is known.
    pub fn exceeds(&self) -> bool {
        let cost = self.max_cost_usd.zip(self.cost_usd).is_some_and(|(most, cost)| self.spent_usd + cost > most);
        cost || self.max_tokens.is_some_and(|most| self.spent_tokens + self.tokens > most)
    }
}

/// What an API takes for a text of a step, and what it may take.
#[derive(Clone, Debug)]
pub struct Tariff {
    /// Tokens of a text, in the mean of those that were counted.
    pub tokens_per_text: f64,
    /// How many were counted.
    pub sampled: u64,
    /// What a token costs.
    pub price: Option<Price>,
    /// What the node spent so far.
    pub spent: Spent,
    /// The most that it may spend.
    pub max_cost: Option<Dollars>,
    /// The most tokens that it may spend.
    pub max_tokens: Option<u64>,
    /// What is at the API in batches.
    pub handed_over: HandedOver,
}

impl Tariff {
    fn bill(&self, rows: u64) -> Bill {
        let rows = rows.saturating_sub(self.handed_over.texts as u64);
        let tokens = (self.tokens_per_text * rows as f64).round() as u64;
        Bill {
            tokens,
            sampled: self.sampled,
            cost_usd: self.price.as_ref().map(|price| price.of(tokens).get()),
            prices_of: self.price.as_ref().map(|price| price.date.clone()),
            spent_usd: self.spent.cost().get(),
            spent_tokens: self.spent.tokens,
            max_cost_usd: self.max_cost.map(Dollars::get),
            max_tokens: self.max_tokens,
            handed_over: self.handed_over,
        }
    }
}

/// How many rows an embed step has to compute, and how that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorkRows {
    /// Counted.
    Exact(RowChanges),
    /// From none to this many.
    AtMost {
        /// How many.
        rows: u64,
        /// The step whose rows these are.
        of: StepId,
        /// How its rows are known.
        basis: Basis,
    },
    /// Nothing tells.
    Unknown,
}

/// How an upper bound is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// Its record.
    Recorded,
    /// The size of its files against the rows that it had when last applied.
    FileSizes,
}

/// What would happen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The workflow's name.
    pub workflow: String,
    /// The steps that may run, upstreams first.
    pub steps: Vec<PlannedStep>,
}

impl Plan {
    /// Plans these steps again, upstreams first, after what is known of them changed.
    pub fn renew(&mut self, graph: &Graph, scope: &Scope, observed: &Observed, changed: &BTreeSet<StepIndex>) {
        for at in 0..self.steps.len() {
            let index = self.steps[at].index;
            if changed.contains(&index) {
                self.steps[at] = planned(graph, scope, observed, self, index);
            }
        }
    }

    /// A step, if it is among those that may run. They stand in the order of the graph.
    pub fn step(&self, index: StepIndex) -> Option<&PlannedStep> {
        let at = self.steps.binary_search_by_key(&index, |step| step.index).ok()?;
        Some(&self.steps[at])
    }

    /// Whether nothing is stale or pending: there is nothing to run.
    pub fn is_fresh(&self) -> bool {
        self.steps.iter().all(|step| matches!(step.state, State::Fresh | State::Blocked(_)))
    }

    /// The steps that are blocked, with what they lack.
    pub fn blocked(&self) -> impl Iterator<Item = (&StepId, &[StepId])> {
        self.steps.iter().filter_map(|step| match &step.state {
            State::Blocked(missing) => Some((&step.step, missing.as_slice())),
            _ => None,
        })
    }

    /// The steps that could start now.
    pub fn stale(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(|step| matches!(step.state, State::Stale(_)))
    }
}

/// Plans the steps of `scope` that may run.
pub fn plan(graph: &Graph, scope: &Scope, observed: &Observed) -> Plan {
    let mut plan = Plan { workflow: graph.name.clone(), steps: Vec::with_capacity(scope.steps().len()) };
    for index in scope.running() {
        let step = planned(graph, scope, observed, &plan, index);
        plan.steps.push(step);
    }
    plan
}

/// Plans one step, given the plan of those above it.
fn planned(graph: &Graph, scope: &Scope, observed: &Observed, above: &Plan, index: StepIndex) -> PlannedStep {
    let upstreams = &graph.steps[index].upstreams;
    let missing = missing(graph, scope, observed, above, index);
    let waiting = upstreams.iter().filter(|up| above.step(**up).is_some_and(|step| step.state != State::Fresh));
    let waiting: Vec<StepId> = waiting.map(|&up| graph.steps[up].id.clone()).collect();
    let state = match (waiting.is_empty(), observed.fingerprint(index)) {
        _ if !missing.is_empty() => State::Blocked(missing),
        (true, Some(fingerprint)) => own_state(graph, index, fingerprint, observed),
        (false, _) => State::Pending(waiting),
        (true, None) => unreachable!("a step whose upstreams are all fresh knows what it consumes"),
    };
    let key = observed.key(index);
    let rows = rows(observed, index, key.as_ref());
    let work = (state != State::Fresh).then(|| work(graph, observed, index)).flatten();
    let bytes_each = bytes_each(graph, observed, index);
    PlannedStep { index, step: graph.steps[index].id.clone(), state, key, rows, work, bytes_each }
}

/// Bytes of a vector that a step publishes, where its embedder says how many components it has.
fn bytes_each(graph: &Graph, observed: &Observed, index: StepIndex) -> Option<u64> {
    let step = &graph.steps[index];
    match &step.config {
        Config::Persist(config) => {
            let whole = observed.embedders.get(&step.upstreams[0])?.get("dim")?.parse().ok()?;
            Some(set_bytes_each(config.dim.map_or(whole, |dim| dim.min(whole)), config.dtype))
        }
        Config::Merge(config) if !config.view => bytes_each(graph, observed, *step.upstreams.first()?),
        _ => None,
    }
}

/// The steps that this one needs, directly or through a step that is blocked itself, that may not run and have no record.
/// What they publish is not asked for: a merge reads from the store.
fn missing(graph: &Graph, scope: &Scope, observed: &Observed, above: &Plan, index: StepIndex) -> Vec<StepId> {
    if observed.faulty.contains(&index) {
        return vec![graph.steps[index].id.clone()];
    }
    let mut missing = Vec::new();
    for &upstream in &graph.steps[index].upstreams {
        match above.step(upstream).map(|step| &step.state) {
            Some(State::Blocked(steps)) => missing.extend(steps.iter().cloned()),
            // A record under its key means that all steps above it have theirs, since keys are made of their outputs.
            None if !scope.runs(upstream) && observed.record(upstream).is_none() => {
                missing.push(graph.steps[upstream].id.clone());
            }
            _ => {}
        }
    }
    missing
}

fn own_state(graph: &Graph, index: StepIndex, fingerprint: &Fingerprint, observed: &Observed) -> State {
    let key = observed.key(index).expect("what has a fingerprint has a key");
    match observed.records.get(&key) {
        Some(RecordState::Whole(record)) if record.lacks_rows() && !observed.accept_failures => {
            State::Stale(StaleReason::RowsFailed { rows: record.counts.get(FAILED).copied().unwrap_or(0) })
        }
        Some(RecordState::Whole(_)) => match observed.published.get(&index) {
            Some((of, fault)) if *of == key => State::Stale(StaleReason::NotPublished { fault: fault.clone() }),
            _ => State::Fresh,
        },
        Some(RecordState::Damaged { output }) => State::Stale(StaleReason::OutputDamaged { output: output.clone() }),
        None => State::Stale(match observed.references.get(&index) {
            None => StaleReason::NeverApplied,
            Some(reference) if reference.key == key => StaleReason::RecordGone,
            Some(reference) => {
                let changes = fingerprint.changes_since(&reference.fingerprint);
                StaleReason::Changed(mark_overrides(changes, &graph.steps[index].id, &reference.overrides))
            }
        }),
    }
}

/// Marks old values that came from the command line of an earlier run: "why did it change?" is answered by that.
fn mark_overrides(mut changes: Vec<Change>, step: &StepId, overrides: &[String]) -> Vec<Change> {
    for change in &mut changes {
        let path = format!("{}.{}.{}=", step.kind, step.node, change.what);
        change.old_was_override = overrides.iter().any(|given| given.starts_with(&path));
    }
    changes
}

fn rows(observed: &Observed, index: StepIndex, key: Option<&NodeKey>) -> Rows {
    let rows_out = |record: &Record| record.counts.get("rows").copied();
    if let Some(rows) = key.and_then(|key| observed.whole_record(key)).and_then(rows_out) {
        return Rows::Exact(rows);
    }
    let last = observed.references.get(&index).and_then(|reference| observed.whole_record(&reference.key));
    last.and_then(rows_out).map_or(Rows::Unknown, Rows::LastApplied)
}

/// What an embed step that is not fresh has to compute.
fn work(graph: &Graph, observed: &Observed, index: StepIndex) -> Option<Work> {
    if graph.steps[index].id.kind != NodeKind::Embed {
        return None;
    }
    let rows = match observed.changes.get(&index) {
        Some(changes) => WorkRows::Exact(*changes),
        None => at_most(graph, observed, index).unwrap_or(WorkRows::Unknown),
    };
    let rate = observed.last_record(index).and_then(Record::pace).and_then(|pace| pace.rate());
    let most = match &rows {
        WorkRows::Exact(changes) => Some(changes.new),
        WorkRows::AtMost { rows, .. } => Some(*rows),
        WorkRows::Unknown => None,
    };
    let bill = observed.tariffs.get(&index).zip(most).map(|(tariff, rows)| tariff.bill(rows));
    Some(Work { rows, rate, bill })
}

/// The rows of the nearest step above whose number is known: an embed step computes no more than these.
fn at_most(graph: &Graph, observed: &Observed, index: StepIndex) -> Option<WorkRows> {
    let upstream = *graph.steps[index].upstreams.first()?;
    let of = graph.steps[upstream].id.clone();
    let rows_out = |record: &Record| record.counts.get("rows").copied();
    if let Some(rows) = observed.record(upstream).and_then(rows_out) {
        return Some(WorkRows::AtMost { rows, of, basis: Basis::Recorded });
    }
    if of.kind != NodeKind::Load {
        return at_most(graph, observed, upstream);
    }
    let last = observed.last_record(upstream)?;
    let bytes = |sources: &[SourceFile]| sources.iter().map(|source| source.bytes).sum::<u64>();
    let (then, now) = (bytes(&last.sources), bytes(observed.sources.get(&upstream)?));
    let rows = (rows_out(last)? as f64 * now as f64 / then.max(1) as f64).ceil() as u64;
    Some(WorkRows::AtMost { rows, of, basis: Basis::FileSizes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::SetDtype;
    use crate::graph::Step;
    use crate::manifest::config::{Derived, LoadConfig, MergeConfig, PersistConfig, PrepareConfig};
    use crate::record::Provenance;

    fn id(kind: NodeKind, node: &str) -> StepId {
        StepId { kind, node: node.into(), cells: BTreeMap::new() }
    }

    fn load(input: &str) -> LoadConfig {
        let (key, fields) = ("bibcode".into(), vec!["title".into()]);
        LoadConfig {
            input: input.into(),
            key,
            fields,
            aliases: None,
            records: None,
            max_record_bytes: 1 << 24,
            missing: Default::default(),
            condition: None,
            sample: None,
            limit: None,
        }
    }

    fn graph(prefix: &str) -> Graph {
        let load = load("x.json");
        let prepare = PrepareConfig { prefix: prefix.into(), ..PrepareConfig::of(&["title"]) };
        let steps = vec![
            Step { id: id(NodeKind::Load, "records"), config: Config::Load(load), upstreams: vec![] },
            Step { id: id(NodeKind::Prepare, "texts"), config: Config::Prepare(prepare), upstreams: vec![0] },
        ];
        Graph { name: "w".into(), store: "store".into(), steps, overrides: vec![] }
    }

    fn observed(content: &[u8]) -> Observed {
        let source = SourceFile { name: "x.json".into(), digest: Digest::of(content), bytes: 1 };
        Observed { sources: BTreeMap::from([(0, vec![source])]), ..Observed::default() }
    }

    /// Pretends that a step ran and put out these bytes.
    fn land(graph: &Graph, observed: &mut Observed, index: StepIndex, output: &str, bytes: &[u8]) {
        land_all(graph, observed, index, &[output], bytes);
    }

    fn land_all(graph: &Graph, observed: &mut Observed, index: StepIndex, outputs: &[&str], bytes: &[u8]) {
        observed.settle(graph, index);
        let fingerprint = observed.fingerprint(index).unwrap().clone();
        let key = fingerprint.key();
        let output = |name: &&str| ((*name).to_owned(), Output { digest: Digest::of(bytes), bytes: 1, rows: 1 });
        let record = Record {
            version: 1,
            key,
            outputs: outputs.iter().map(output).collect(),
            counts: BTreeMap::from([("rows".to_owned(), 1)]),
            sources: vec![],
            facts: BTreeMap::new(),
            bit_stable: true,
            provenance: Provenance::default(),
        };
        observed.records.insert(key, RecordState::Whole(Box::new(record)));
        let step = graph.steps[index].id.clone();
        let reference = Reference { version: 1, step, key, fingerprint, overrides: vec![], run: "r".into() };
        observed.references.insert(index, reference);
    }

    fn states(graph: &Graph, observed: &Observed) -> Vec<State> {
        planned(graph, &Scope::of(vec![0, 1]), observed).steps.into_iter().map(|step| step.state).collect()
    }

    /// The plan of what is observed, each step settled as `observe` does it.
    fn planned(graph: &Graph, scope: &Scope, observed: &Observed) -> Plan {
        let mut observed = observed.clone();
        scope.steps().iter().for_each(|&index| observed.settle(graph, index));
        plan(graph, scope, &observed)
    }

    #[test]
    fn below_a_stale_step_everything_is_pending_until_its_record_lands() {
        let graph = graph("");
        let mut observed = observed(b"1");
        let pending = State::Pending(vec![id(NodeKind::Load, "records")]);
        assert_eq!(states(&graph, &observed), [State::Stale(StaleReason::NeverApplied), pending]);
        land(&graph, &mut observed, 0, "records", b"records");
        assert_eq!(states(&graph, &observed), [State::Fresh, State::Stale(StaleReason::NeverApplied)]);
        land(&graph, &mut observed, 1, "texts", b"texts");
        assert_eq!(states(&graph, &observed), [State::Fresh, State::Fresh]);
    }

    /// A field nobody selected was edited: load runs, puts out the same records, and the change stops there.
    #[test]
    fn an_unchanged_output_stops_the_change() {
        let graph = graph("");
        let mut observed = observed(b"1");
        land(&graph, &mut observed, 0, "records", b"records");
        land(&graph, &mut observed, 1, "texts", b"texts");
        observed.sources = self::observed(b"2").sources;
        assert!(matches!(&states(&graph, &observed)[..], [State::Stale(StaleReason::Changed(_)), State::Pending(_)]));
        land(&graph, &mut observed, 0, "records", b"records");
        assert_eq!(states(&graph, &observed), [State::Fresh, State::Fresh]);
    }

    #[test]
    fn a_changed_prefix_names_old_and_new_and_an_override() {
        let before = graph("");
        let mut observed = observed(b"1");
        land(&before, &mut observed, 0, "records", b"records");
        land(&before, &mut observed, 1, "texts", b"texts");
        observed.references.get_mut(&1).unwrap().overrides = vec!["prepare.texts.prefix=".into()];
        let State::Stale(reason) = &states(&graph("Abstract: "), &observed)[1] else { panic!("it is stale") };
        let told = reason.describe(&id(NodeKind::Prepare, "texts"));
        assert_eq!(told, r#"prepare.texts.prefix "" (by --set) -> "Abstract: ""#);
    }

    /// Two years published and merged.
    fn merging() -> Graph {
        let cells = |year: &str| BTreeMap::from([("year".to_owned(), year.to_owned())]);
        let mut steps = Vec::new();
        for year in ["2010", "2011"] {
            let at = steps.len();
            let id = |kind, node: &str| StepId { kind, node: node.into(), cells: cells(year) };
            let load = load(&format!("{year}.json"));
            let dir = || "out".to_owned();
            let persist = PersistConfig {
                dir: dir(),
                label: "m".into(),
                dtype: SetDtype::F16,
                dim: None,
                derived: Derived::default(),
            };
            // Its vectors and records both come from load here: the plan does not mind.
            steps.push(Step { id: id(NodeKind::Load, "records"), config: Config::Load(load), upstreams: vec![] });
            let config = Config::Persist(persist);
            steps.push(Step { id: id(NodeKind::Persist, "yearly"), config, upstreams: vec![at] });
        }
        let config = Config::Merge(MergeConfig {
            dir: "out".into(),
            label: "m".into(),
            dtype: SetDtype::F16,
            view: false,
            derived: Derived::default(),
        });
        steps.push(Step { id: id(NodeKind::Merge, "all"), config, upstreams: vec![1, 3] });
        Graph { name: "w".into(), store: "store".into(), steps, overrides: vec![] }
    }

    fn land_year(graph: &Graph, observed: &mut Observed, load: StepIndex, content: &[u8]) {
        let name = format!("manifest_m_{}.json", graph.steps[load].id.cells["year"]);
        land_all(graph, observed, load, &["records", "vectors"], content);
        land_all(graph, observed, load + 1, &[&name], content);
    }

    fn with_sources(years: &[(StepIndex, &[u8])]) -> Observed {
        let source = |content: &[u8]| SourceFile { name: "x".into(), digest: Digest::of(content), bytes: 1 };
        let sources = years.iter().map(|(index, content)| (*index, vec![source(content)])).collect();
        Observed { sources, ..Observed::default() }
    }

    fn state_of_merge(graph: &Graph, years: Option<&str>, observed: &Observed) -> State {
        let scope = graph.select(years.map(|years| years.parse().unwrap()).as_ref(), &[]).unwrap();
        let plan = planned(graph, &scope, observed);
        assert!(
            years.is_none() || plan.steps.iter().all(|step| step.step.cells.get("year").is_none_or(|y| y == "2011"))
        );
        plan.steps.last().unwrap().state.clone()
    }

    /// `--years` limits what runs, never what a merge means: it waits for its own years and is blocked by the others.
    #[test]
    fn a_merge_is_blocked_while_an_unselected_year_has_no_record() {
        let graph = merging();
        let mut observed = with_sources(&[(0, b"a"), (2, b"b")]);
        let (first, second) = (graph.steps[1].id.clone(), graph.steps[3].id.clone());
        assert_eq!(state_of_merge(&graph, Some("2011"), &observed), State::Blocked(vec![first.clone()]));
        let both = State::Pending(vec![first.clone(), second.clone()]);
        assert_eq!(state_of_merge(&graph, None, &observed), both);
        land_year(&graph, &mut observed, 2, b"b");
        assert_eq!(state_of_merge(&graph, Some("2011"), &observed), State::Blocked(vec![first.clone()]));
        land_year(&graph, &mut observed, 0, b"a");
        assert_eq!(state_of_merge(&graph, Some("2011"), &observed), State::Stale(StaleReason::NeverApplied));
        // The unselected year was edited: its record is not of the workflow as it stands.
        observed.sources.extend(with_sources(&[(0, b"A")]).sources);
        assert_eq!(state_of_merge(&graph, Some("2011"), &observed), State::Blocked(vec![first]));
        // The selected one was edited: it runs, and the merge waits for it.
        observed.sources.extend(with_sources(&[(0, b"a"), (2, b"B")]).sources);
        assert_eq!(state_of_merge(&graph, Some("2011"), &observed), State::Pending(vec![second]));
    }

    #[test]
    fn a_changed_year_is_the_reason_by_its_name() {
        let graph = merging();
        let mut observed = with_sources(&[(0, b"a"), (2, b"b")]);
        land_year(&graph, &mut observed, 0, b"a");
        land_year(&graph, &mut observed, 2, b"b");
        land_all(&graph, &mut observed, 4, &["manifest_m.json"], b"merged");
        assert_eq!(state_of_merge(&graph, None, &observed), State::Fresh);
        observed.sources.extend(with_sources(&[(2, b"B")]).sources);
        land_year(&graph, &mut observed, 2, b"B");
        let State::Stale(reason) = state_of_merge(&graph, None, &observed) else { panic!("it is stale") };
        let told = reason.describe(&graph.steps[4].id);
        assert!(told.starts_with("set m_2011 ") && !told.contains("m_2010"), "{told}");
    }

    #[test]
    fn lost_records_and_outputs_are_told_apart() {
        let graph = graph("");
        let mut observed = observed(b"1");
        land(&graph, &mut observed, 0, "records", b"records");
        let key = observed.references[&0].key;
        observed.records.insert(key, RecordState::Damaged { output: "records".into() });
        assert!(matches!(&states(&graph, &observed)[0], State::Stale(StaleReason::OutputDamaged { .. })));
        observed.records.clear();
        assert_eq!(states(&graph, &observed)[0], State::Stale(StaleReason::RecordGone));
    }
}
