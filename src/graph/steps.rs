//! The steps themselves: every sound node under every choice of values, with its configuration filled in.
//!
//! `expand.rs` has counted them and knows their axes. Only here do labels have their final text, so here they are
//! judged, and the names under which two steps would publish are compared.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Component, Path};

use super::expand::Spread;
use super::{Config, NodeKind, Step, StepId, StepIndex};
use crate::condition::Condition;
use crate::manifest::config::{
    DEFAULT_DELIMITER, Derived, EmbedConfig, Layout, LoadConfig, MergeConfig, OnnxConfig, PersistConfig, PrepareConfig,
};
use crate::manifest::spec::{Merge, Persist, Workflow};
use crate::manifest::{Code, Fault, Matrix, NAME_FORM, Reading, Span, Values, bad_label, is_name};

/// One choice of values: axis -> value.
type Cells = BTreeMap<String, String>;

/// Makes the steps, upstreams first, and reports labels and datasets that cannot be.
pub(super) fn make(
    workflow: &Workflow,
    reading: &Reading,
    matrix: &Matrix,
    spreads: &[Spread<'_>],
    faults: &mut Vec<Fault>,
) -> Vec<Step> {
    let mut maker = Maker { workflow, reading, matrix, spreads, steps: Vec::new(), by_cells: HashMap::new() };
    for (index, spread) in spreads.iter().enumerate().filter(|(_, spread)| spread.node.sound) {
        maker.make(index, spread, faults);
    }
    maker.datasets(faults);
    maker.steps
}

/// Makes steps.
struct Maker<'a> {
    workflow: &'a Workflow,
    reading: &'a Reading,
    matrix: &'a Matrix,
    spreads: &'a [Spread<'a>],
    steps: Vec<Step>,
    by_cells: HashMap<(usize, Cells), StepIndex>,
}

impl Maker<'_> {
    fn make(&mut self, index: usize, spread: &Spread<'_>, faults: &mut Vec<Fault>) {
        let mut judged = false;
        for cells in combinations(&spread.axes, self.matrix) {
            let upstreams = spread.node.upstream.map(|node| self.upstreams(node, &cells)).unwrap_or_default();
            let config = self.config(spread, &upstreams, &cells);
            let id = StepId { kind: spread.node.kind, node: spread.node.name.to_owned(), cells: cells.clone() };
            let step = Step { id, config, upstreams };
            if let (Some(dataset), false) = (step.dataset(), judged) {
                // One fault per node: the values of axes cannot make a good label bad.
                judged = true;
                faults.extend(self.ambiguous_label(spread, &step).or_else(|| self.bad_label(spread, dataset.label)));
            }
            self.by_cells.insert((index, cells), self.steps.len());
            self.steps.push(step);
        }
    }

    /// The steps of `node` under the same values, as far as the node has those axes: one, or for a merge one for each
    /// choice of the values that it is across, in the order of the matrix.
    fn upstreams(&self, node: usize, cells: &Cells) -> Vec<StepIndex> {
        let axes = &self.spreads[node].axes;
        let across: BTreeSet<String> = axes.iter().filter(|axis| !cells.contains_key(*axis)).cloned().collect();
        let shared: Cells =
            cells.iter().filter(|(axis, _)| axes.contains(*axis)).map(|(a, v)| (a.clone(), v.clone())).collect();
        let choices = combinations(&across, self.matrix).into_iter();
        choices.map(|choice| self.by_cells[&(node, shared.clone().into_iter().chain(choice).collect())]).collect()
    }

    fn config(&self, spread: &Spread<'_>, upstreams: &[StepIndex], cells: &Cells) -> Config {
        let name = spread.node.name;
        let filled = |key: &str| spread.templates[key].render(cells);
        match spread.node.kind {
            NodeKind::Load => {
                let load = &self.workflow.load[name];
                Config::Load(LoadConfig {
                    input: filled("input"),
                    key: load.key.clone(),
                    fields: load.fields.clone(),
                    aliases: load.aliases.clone(),
                    records: load.records.clone(),
                    max_record_bytes: load.max_record_bytes,
                    missing: load.missing,
                    // One that cannot be read is a fault already, and then there is no graph.
                    condition: load.condition.as_deref().and_then(|condition| Condition::parse(condition).ok()),
                    sample: load.sample,
                    limit: load.limit,
                })
            }
            NodeKind::Prepare => Config::Prepare(self.prepare(spread, filled("prefix"), filled("suffix"))),
            NodeKind::Embed => Config::Embed(self.embed(name, filled("model"))),
            NodeKind::Persist => {
                let label = spread.templates.get("label").map(|label| label.render(cells));
                let label = label.unwrap_or_else(|| self.default_label(upstreams[0]));
                let Persist { dtype, dim, index, words, export, .. } = &self.workflow.persist[name];
                Config::Persist(PersistConfig {
                    dir: filled("dir"),
                    label,
                    dtype: *dtype,
                    dim: dim.map(usize::from),
                    derived: Derived { index: index.clone(), words: *words, export: export.clone() },
                })
            }
            NodeKind::Merge => {
                let merged = self.steps[upstreams[0]].dataset().expect("merge reads from what publishes datasets");
                let label = spread.templates.get("label").map(|label| label.render(cells));
                let label = label.unwrap_or_else(|| merged.label.to_owned());
                let Merge { view, index, words, export, .. } = &self.workflow.merge[name];
                let derived = Derived { index: index.clone(), words: *words, export: export.clone() };
                Config::Merge(MergeConfig { dir: filled("dir"), label, dtype: merged.dtype, view: *view, derived })
            }
        }
    }

    fn prepare(&self, spread: &Spread<'_>, prefix: String, suffix: String) -> PrepareConfig {
        let prepare = &self.workflow.prepare[spread.node.name];
        let layout = match &spread.record_template {
            Some(template) => Layout::Template(template.clone()),
            None => Layout::Fields {
                fields: prepare.fields.clone().unwrap_or_default(),
                delimiter: prepare.delimiter.clone().unwrap_or_else(|| DEFAULT_DELIMITER.to_owned()),
            },
        };
        PrepareConfig {
            layout,
            clean: prepare.clean.clone(),
            prefix,
            suffix,
            list_delimiter: prepare.list_delimiter.clone(),
            lowercase: prepare.lowercase,
            truncate: prepare.truncate,
            truncate_at: prepare.truncate_at,
        }
    }

    fn embed(&self, name: &str, model: String) -> EmbedConfig {
        let embed = &self.workflow.embed[name];
        let onnx = &embed.onnx;
        EmbedConfig {
            model,
            max_length: embed.max_length.map(Into::into),
            pooling: embed.pooling,
            normalize: embed.normalize,
            prompt: embed.prompt.clone(),
            query_prompt: embed.query_prompt.clone(),
            dim: embed.dim.map(Into::into),
            long: embed.long,
            overlap: embed.overlap,
            precision: embed.precision,
            graph: embed.graph,
            store_dtype: embed.store_dtype,
            onnx: OnnxConfig {
                device: onnx.device,
                provider: onnx.provider,
                sessions: onnx.sessions.map(Into::into),
                threads: onnx.threads.map(Into::into),
                max_batch_tokens: onnx.max_batch_tokens.map(Into::into),
            },
            api: embed.api.clone(),
        }
    }

    fn default_label(&self, upstream: StepIndex) -> String {
        match &self.steps[upstream].config {
            Config::Embed(embed) => short_name(&embed.model).to_owned(),
            _ => unreachable!("a sound persist node reads from an embed node"),
        }
    }

    fn bad_label(&self, spread: &Spread<'_>, label: &str) -> Option<Fault> {
        if is_name(label) {
            return None;
        }
        match self.reading.places.value(&[spread.node.kind.section(), spread.node.name, "label"]) {
            Some(span) => Some(bad_label(label, span)),
            // The label of what is merged was judged where it is from.
            None if spread.node.kind == NodeKind::Merge => None,
            None => Some(
                Fault::new(Code::InvalidName, format!("`{label}` cannot be the label of a dataset"))
                    .at(spread.node.head, "labelled after the model, because it has no `label`")
                    .help(format!("write `label = \"...\"`: {NAME_FORM}")),
            ),
        }
    }

    /// The fault of a merge that is to take the label of what it merges, where that has several.
    fn ambiguous_label(&self, spread: &Spread<'_>, step: &Step) -> Option<Fault> {
        if spread.node.kind != NodeKind::Merge || spread.templates.contains_key("label") {
            return None;
        }
        let merged = step.upstreams.iter().filter_map(|upstream| self.steps[*upstream].dataset());
        let labels: BTreeSet<&str> = merged.map(|dataset| dataset.label).collect();
        let (first, last) = (labels.first()?, labels.last()?);
        (first != last).then(|| {
            Fault::new(Code::MissingKey, format!("`{}` has no `label`", spread.node.id()))
                .at(spread.node.head, "needs `label`")
                .help(format!("what it merges has several, such as `{first}` and `{last}`"))
        })
    }

    /// Reports datasets that two steps would publish, once for each pair of nodes.
    fn datasets(&self, faults: &mut Vec<Fault>) {
        let mut owners: BTreeMap<(Vec<Component<'_>>, String), &Step> = BTreeMap::new();
        let mut told = BTreeSet::new();
        for step in &self.steps {
            let Some(dataset) = step.dataset() else { continue };
            let key = (normalized(dataset.dir), dataset.name.clone());
            let Some(owner) = owners.get(&key) else {
                owners.insert(key, step);
                continue;
            };
            if told.insert((&owner.id.node, &step.id.node)) {
                faults.push(self.duplicate(owner, step, &dataset.name, dataset.dir));
            }
        }
    }

    fn duplicate(&self, first: &Step, second: &Step, name: &str, dir: &str) -> Fault {
        let label = |step: &Step| format!("`{}` publishes it", step.id);
        let fault = Fault::new(Code::DuplicateDataset, format!("two steps publish `{name}` in `{dir}`"));
        let fault = fault.at(self.label_span(second), label(second));
        let same = first.id.node == second.id.node;
        let fault = if same { fault } else { fault.at(self.label_span(first), label(first)) };
        fault.help(match same {
            true => format!("so does `{}`: choose a label that keeps their values apart", first.id),
            false => "give one of them another `label` or `dir`".to_owned(),
        })
    }

    fn label_span(&self, step: &Step) -> Span {
        let written = self.reading.places.value(&[step.id.kind.section(), &step.id.node, "label"]);
        let own = |spread: &&Spread<'_>| spread.node.kind == step.id.kind && spread.node.name == step.id.node;
        let head = self.spreads.iter().find(own).map_or(Span::new(0, 0), |spread| spread.node.head);
        written.unwrap_or(head)
    }
}

/// Every choice of values, in the order of the matrix; the last axis turns fastest.
fn combinations(axes: &BTreeSet<String>, matrix: &Matrix) -> Vec<Cells> {
    axes.iter().fold(vec![Cells::new()], |choices, axis| {
        let values = matrix[axis].as_ref().map(Values::to_vec).unwrap_or_default();
        let with = |cells: &Cells, value: &String| {
            cells.iter().map(|(a, v)| (a.clone(), v.clone())).chain([(axis.clone(), value.clone())]).collect()
        };
        choices.iter().flat_map(|cells| values.iter().map(move |value| with(cells, value))).collect()
    })
}

/// A directory's components without detours, so that `out`, `./out/` and `x/../out` are one.
fn normalized(dir: &str) -> Vec<Component<'_>> {
    Path::new(dir).components().fold(Vec::new(), |mut parts, part| {
        match (part, parts.last()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => drop(parts.pop()),
            _ => parts.push(part),
        }
        parts
    })
}

/// The last part of a model's URI or path, without query and revision.
pub fn short_name(model: &str) -> &str {
    let path = match model.split_once("://") {
        Some((_, rest)) => rest.split(['@', '?', '#']).next().unwrap_or(rest),
        None => model,
    };
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_of_models() {
        assert_eq!(short_name("hf://sentence-transformers/all-MiniLM-L6-v2"), "all-MiniLM-L6-v2");
        assert_eq!(short_name("hf://org/name@refs/pr/1?dtype=f16"), "name");
        assert_eq!(short_name("../models/minilm/"), "minilm");
        assert_eq!(short_name("minilm"), "minilm");
    }
}
