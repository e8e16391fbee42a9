//! Reports for tests: one that has everything, the same with hostile text, and workflows of any size.

use std::collections::BTreeMap;

use sciembed_report::{
    Cost, Fact, IndexLine, Kind, Map, Note, Outcome, Point, Progress, Reject, Report, Reuse, State, Step,
    TokenHistogram,
};

/// Text that would like to be more than text.
const HOSTILE: &str =
    "</script><img src=x onerror=\"window.pwned=1\">\"' onload='x' &lt; <!-- ]]> \u{202e}é\u{0}\u{2028}${x}`\\u003c";

/// A report that has every section.
pub fn full() -> Report {
    let mut report = Report {
        title: "quickstart".into(),
        run: "20260304T123456Z".into(),
        version: "0.1.0".into(),
        outcome: Outcome::Failed,
        started: 1_772_627_696,
        overrides: vec!["embed.minilm.threads=2".into()],
        facts: vec![Fact { name: "processor".into(), value: "two cores".into() }],
        throughput: [(0.5, 0), (1.0, 40), (2.5, 190)].map(|(seconds, rows)| Progress { seconds, rows }).into(),
        tokens: Some(TokenHistogram {
            bin_width: 64,
            counts: vec![3, 90, 60, 31, 6],
            limit: 256,
            longer: 6,
            dropped: 120,
        }),
        rejects: (2010..2012).map(|year| reject(&format!("load.records[{year}]"), "no title", 5)).collect(),
        reuse: Reuse { embedded: 190, reused: 10, removed: 2 },
        cost: Some(Cost { requests: 4, failed: 1, tokens: 40_000, micro_usd: 800 }),
        indexes: vec![index(Some(0.975)), index(None)],
        map: Some(Map { points: (0..12).map(point).collect(), explained: [0.25, 0.125] }),
        notes: vec![Note { step: "load.records[2010]".into(), note: "no record has the field `doctype`".into() }],
        ..with_steps(2)
    };
    report.steps[2].state = State::Failed;
    report.steps[2].error = Some("read model.onnx: not found\nhelp: fetch it".into());
    report
}

/// The same report, all its text hostile.
pub fn hostile() -> Report {
    let wild = |text: &mut String| *text = format!("{HOSTILE}{text}");
    let mut report = full();
    [&mut report.title, &mut report.run, &mut report.version].into_iter().for_each(wild);
    report.overrides.iter_mut().for_each(wild);
    report.facts.iter_mut().for_each(|fact| [&mut fact.name, &mut fact.value].into_iter().for_each(wild));
    for step in &mut report.steps {
        [&mut step.id, &mut step.node, &mut step.reason].into_iter().for_each(wild);
        step.error.iter_mut().for_each(wild);
        step.counts = step.counts.iter().map(|(name, count)| (format!("{HOSTILE}{name}"), *count)).collect();
    }
    report.rejects.iter_mut().for_each(|reject| [&mut reject.step, &mut reject.reason].into_iter().for_each(wild));
    report.indexes.iter_mut().for_each(|line| [&mut line.dataset, &mut line.factory].into_iter().for_each(wild));
    for point in report.map.iter_mut().flat_map(|map| &mut map.points) {
        [&mut point.bibcode, &mut point.group].into_iter().for_each(wild);
        point.title.iter_mut().for_each(wild);
    }
    report.notes.iter_mut().for_each(|note| [&mut note.step, &mut note.note].into_iter().for_each(wild));
    report
}

/// A run of four steps a year, and a merge of all.
pub fn with_steps(years: usize) -> Report {
    let kinds = [Kind::Load, Kind::Prepare, Kind::Embed, Kind::Persist];
    let nodes = ["load.records", "prepare.texts", "embed.minilm", "persist.yearly"];
    let mut steps = Vec::new();
    for year in 0..years {
        for (at, (kind, node)) in kinds.into_iter().zip(nodes).enumerate() {
            let upstreams = if at == 0 { vec![] } else { vec![steps.len() - 1] };
            steps.push(step(&format!("{node}[{}]", 2010 + year), node, kind, upstreams, steps.len()));
        }
    }
    let published = (0..years).map(|year| year * 4 + 3).collect();
    steps.push(step("merge.all", "merge.all", Kind::Merge, published, steps.len()));
    Report { seconds: steps.len() as f64 * 0.5 + 1.0, steps, ..Report::default() }
}

fn step(id: &str, node: &str, kind: Kind, upstreams: Vec<usize>, at: usize) -> Step {
    Step {
        id: id.into(),
        kind,
        node: node.into(),
        upstreams,
        state: State::Ran,
        begin: Some(at as f64 * 0.5),
        end: Some(at as f64 * 0.5 + 0.75),
        reason: "never applied".into(),
        rows_in: Some(100),
        rows: Some(95),
        counts: BTreeMap::from([("tokens_dropped".into(), 120)]),
        error: None,
    }
}

fn reject(step: &str, reason: &str, rows: u64) -> Reject {
    Reject { step: step.into(), reason: reason.into(), rows }
}

fn index(recall_at_10: Option<f64>) -> IndexLine {
    IndexLine {
        dataset: "minilm".into(),
        factory: "IVF16,SQ8".into(),
        rows: 190,
        bytes_each: 392.5,
        recall_at_10,
        seconds: 0.25,
    }
}

fn point(at: u16) -> Point {
    Point {
        x: f32::from(at % 5) * 0.5,
        y: f32::from(at % 3) - 1.0,
        bibcode: format!("2010A&A...511A..{at:02}C"),
        title: (!at.is_multiple_of(4)).then(|| format!("H<sub>2</sub>O \"{at}\"")),
        group: (2010 + at % 2).to_string(),
    }
}
