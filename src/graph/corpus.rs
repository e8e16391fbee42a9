//! The manifests under `tests/manifests/`: valid ones resolve, and of each invalid one the diagnostics are a snapshot.
//!
//! An invalid manifest may open with lines `# set: key=value`, which are given as overrides.

use std::fs;
use std::path::{Path, PathBuf};

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use super::{Graph, resolve};
use crate::manifest::{Faults, Source, json_schema};

const INVALID_BUT_OF_THE_RIGHT_SHAPE: [&str; 17] = [
    "cycle",
    "duplicate_dataset",
    "duplicate_name",
    "invalid_label",
    "merge_collision",
    "no_nodes",
    "override",
    "record_template",
    "template",
    "too_many_steps",
    "too_many_steps_in_all",
    "unknown_field",
    "unknown_node",
    "unused_axis",
    "view_of_view",
    "where",
    "wrong_upstream",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn manifests(folder: &str) -> Vec<(String, String)> {
    let folder = root().join("tests/manifests").join(folder);
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let named = |path: &PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, fs::read_to_string(path).unwrap())
    };
    paths.iter().map(named).collect()
}

fn resolved(name: &str, text: &str) -> Result<Graph, Faults> {
    let overrides: Vec<String> = text.lines().filter_map(|line| line.strip_prefix("# set: ")).map(Into::into).collect();
    resolve(&Source { name: format!("{name}.toml"), text: text.to_owned() }, &overrides)
}

fn rendered(faults: &Faults) -> String {
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    let mut text = format!("{faults}\n\n");
    for fault in faults.diagnostics() {
        handler.render_report(&mut text, fault).unwrap();
        text.push('\n');
    }
    text
}

fn steps(graph: &Graph) -> Vec<String> {
    graph.steps.iter().map(|step| step.id.to_string()).collect()
}

#[test]
fn valid_manifests_resolve() {
    for (name, text) in manifests("valid") {
        if let Err(faults) = resolved(&name, &text) {
            panic!("{name}: {}", rendered(&faults));
        }
    }
}

#[test]
fn invalid_manifests_say_why() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("tests/snapshots/manifests"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for (name, text) in manifests("invalid") {
            let Err(faults) = resolved(&name, &text) else { panic!("{name} has no fault") };
            insta::assert_snapshot!(name.as_str(), rendered(&faults));
        }
    });
}

#[test]
fn every_code_has_a_manifest() {
    let told: Vec<String> = manifests("invalid")
        .iter()
        .flat_map(|(name, text)| {
            let Err(faults) = resolved(name, text) else { panic!("{name} has no fault") };
            faults.diagnostics().iter().map(|fault| fault.code().unwrap().to_string()).collect::<Vec<_>>()
        })
        .collect();
    let source = include_str!("../manifest/fault.rs");
    for code in source.split('"').filter(|word| word.starts_with("sciembed::")) {
        assert!(told.iter().any(|told| told == code), "no manifest in tests/manifests/invalid shows {code}");
    }
}

/// With `SCIEMBED_WRITE_SCHEMAS` set this writes the file instead, which is what `just schemas` does.
#[test]
fn the_schema_is_as_committed() {
    let path = root().join("schemas/workflow.schema.json");
    if std::env::var_os("SCIEMBED_WRITE_SCHEMAS").is_some() {
        fs::write(&path, json_schema()).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == json_schema(), "schemas/workflow.schema.json is stale; run: just schemas");
}

#[test]
fn the_schema_and_the_reader_agree() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let value = |text: &str| toml::from_str::<serde_json::Value>(text);
    for (name, text) in manifests("valid") {
        let faults: Vec<String> = validator.iter_errors(&value(&text).unwrap()).map(|e| e.to_string()).collect();
        assert!(faults.is_empty(), "{name}: {faults:?}");
    }
    for (name, text) in manifests("invalid") {
        // What is not TOML has no value to judge.
        let Ok(value) = value(&text) else { continue };
        let shape_is_right = INVALID_BUT_OF_THE_RIGHT_SHAPE.contains(&name.as_str()) || name == "widened";
        assert_eq!(validator.is_valid(&value), shape_is_right, "{name}");
    }
}

#[test]
fn steps_stand_upstreams_first_and_in_the_order_of_the_matrix() {
    let text = fs::read_to_string(root().join("tests/manifests/valid/matrix_list.toml")).unwrap();
    let graph = resolved("matrix_list", &text).unwrap();
    for (index, step) in graph.steps.iter().enumerate() {
        assert!(step.upstreams.iter().all(|upstream| *upstream < index));
    }
    let published: Vec<String> = steps(&graph).into_iter().filter(|id| id.starts_with("persist")).collect();
    assert_eq!(
        published,
        [
            "persist.published[astronomy,minilm,2009]",
            "persist.published[astronomy,minilm,2017]",
            "persist.published[astronomy,mpnet,2009]",
            "persist.published[astronomy,mpnet,2017]",
            "persist.published[earth-science,minilm,2009]",
            "persist.published[earth-science,minilm,2017]",
            "persist.published[earth-science,mpnet,2009]",
            "persist.published[earth-science,mpnet,2017]",
        ]
    );
}

#[test]
fn a_merge_reads_from_every_step_across_its_axes_in_the_order_of_the_matrix() {
    let text = fs::read_to_string(root().join("tests/manifests/valid/merge.toml")).unwrap();
    let graph = resolved("merge", &text).unwrap();
    let shown = |id: &str| {
        let step = graph.steps.iter().find(|step| step.id.to_string() == id).unwrap();
        let upstreams: Vec<String> = step.upstreams.iter().map(|at| graph.steps[*at].id.to_string()).collect();
        (step.dataset().unwrap().name, upstreams.join(" "))
    };
    assert_eq!(
        shown("merge.by_collection[physics]"),
        (
            "minilm_physics".into(),
            "persist.yearly[physics,2010] persist.yearly[physics,2011] persist.yearly[physics,2012]".into()
        )
    );
    assert_eq!(
        shown("merge.all"),
        ("everything".into(), "merge.by_collection[astronomy] merge.by_collection[physics]".into())
    );
    let (name, upstreams) = shown("merge.flat");
    assert_eq!((name.as_str(), upstreams.split(' ').count()), ("flat", 6));
    assert!(upstreams.starts_with("persist.yearly[astronomy,2010] persist.yearly[astronomy,2011]"), "{upstreams}");
    for (index, step) in graph.steps.iter().enumerate() {
        assert!(step.upstreams.iter().all(|upstream| *upstream < index), "{}", step.id);
    }
}

#[test]
fn every_key_reaches_the_resolved_configuration() {
    let text = fs::read_to_string(root().join("tests/manifests/valid/exhaustive.toml")).unwrap();
    let graph = resolved("exhaustive", &text).unwrap();
    let configs: Vec<String> = graph
        .steps
        .iter()
        .filter(|step| step.id.cells.get("year").is_none_or(|year| year == "2016"))
        .map(|step| format!("{}\n{:#?}\n", step.id, step.config))
        .collect();
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join("tests/snapshots/manifests"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("exhaustive_resolved", configs.join("\n")));
}

#[test]
fn overrides_are_read_as_the_key_wants_them() {
    let text = fs::read_to_string(root().join("tests/manifests/valid/exhaustive.toml")).unwrap();
    let overrides = [
        "matrix.year=2011..=2012",
        "prepare.texts.truncate=500",
        "prepare.texts.prefix=",
        "load.records.fields=[\"title\"]",
        "prepare.texts.fields=[\"title\"]",
        "embed.minilm.onnx.threads=4",
        "embed.minilm.normalize=false",
        "embed.minilm.model=\"models/mini\"",
        "persist.yearly.label=2015",
    ];
    let overrides: Vec<String> = overrides.map(str::to_owned).to_vec();
    let graph = resolve(&Source { name: "exhaustive.toml".into(), text }, &overrides).unwrap();
    assert_eq!(graph.overrides, overrides);
    assert_eq!(graph.steps.len(), 9);
    let shown = format!("{:?}", graph.steps);
    for part in [
        "truncate: 500",
        "prefix: \"\"",
        "fields: [\"title\"]",
        "threads: Some(4)",
        "normalize: Some(false)",
        "model: \"models/mini\"",
        "label: \"2015\"",
    ] {
        assert!(shown.contains(part), "{part}");
    }
}

#[test]
fn a_label_defaults_to_the_short_name_of_the_model() {
    let text = fs::read_to_string(root().join("tests/manifests/valid/minimal.toml")).unwrap();
    let graph = resolved("minimal", &text).unwrap();
    let last = format!("{:?}", graph.steps.last().unwrap().config);
    assert!(last.contains("label: \"all-MiniLM-L6-v2\""), "{last}");
    assert!(Path::new(&graph.store).is_relative());
}

proptest::proptest! {
    /// A manifest with any stretch cut out, doubled or replaced resolves or has faults whose spans lie in their source;
    /// it never panics.
    #[test]
    fn broken_manifests_have_faults_within_their_text(
        at in 0_usize..900,
        len in 0_usize..60,
        patch in "[a-z{}\\[\\]\"=.\\n0-9é]{0,6}",
        value in "[a-z{}\\[\\]\"=.0-9]{0,6}",
    ) {
        let text = include_str!("../../tests/manifests/valid/exhaustive.toml");
        let at = at.min(text.len());
        let end = (at + len).min(text.len());
        let text = format!("{}{patch}{}", &text[..at], &text[end..]);
        let overrides = [format!("embed.minilm.model={value}"), format!("prepare.texts.truncate={value}")];
        for overrides in [&overrides[..], &[]] {
            let source = Source { name: "broken.toml".into(), text: text.clone() };
            let Err(faults) = resolve(&source, overrides) else { continue };
            proptest::prop_assert!(!faults.diagnostics().is_empty());
            for fault in faults.diagnostics() {
                for label in fault.labels().into_iter().flatten() {
                    let code = fault.source_code().unwrap();
                    proptest::prop_assert!(code.read_span(label.inner(), 0, 0).is_ok(), "{fault}: {label:?}");
                }
            }
        }
    }
}
