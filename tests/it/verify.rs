//! One flipped bit in any file: verify finds it, apply never publishes it, and --repair makes all what it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::datatypes::Float16Type;
use sciembed::digest::Digest;
use sciembed::event::Event;
use sciembed::graph::resolve;
use sciembed::manifest::Source;
use sciembed::record::Record;
use sciembed::store::ipc::IpcTable;
use sciembed::store::{Store, pretty_json};
use sciembed::verify::verify;
use serde_json::Value;

use crate::env::{TestEnv, any_below, file_name, files, paper, papers, say, times};

const MERGE: &str = "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\n";
const VERIFY: [&str; 2] = ["verify", "workflow.toml"];
const REPAIR: [&str; 3] = ["verify", "workflow.toml", "--repair"];
/// A converted model's name.
const GRAPH: &str = "store/graphs/00000000000000000000000000000000000000000000000000000000000000aa";

/// Two years, of which the later one supersedes a paper, their merge, and everything else that a store can hold.
fn project() -> TestEnv {
    let env = TestEnv::of(4);
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}"));
    env.write_year(2011, &[papers(2011, 4), vec![paper(2010, 1)]].concat());
    // Young files are not remembered.
    std::thread::sleep(std::time::Duration::from_millis(200));
    env.applied(&[]);
    assert!(env.path("store/digests.json").exists());
    add_graph(&env);
    env
}

/// A converted model, as far as the store knows one.
fn add_graph(env: &TestEnv) {
    fs::create_dir_all(env.path(GRAPH)).unwrap();
    for (file, bytes) in [("model.onnx", "operators"), ("model.onnx_data", "weights")] {
        env.write(&format!("{GRAPH}/{file}"), bytes);
        env.write(&format!("{GRAPH}/{file}.b3"), format!("{}\n", Digest::of(bytes.as_bytes())));
    }
}

/// The files of each kind that a store and a published directory consist of.
fn kinds(env: &TestEnv) -> Vec<(&'static str, Vec<PathBuf>)> {
    let blobs = |name: &str| -> Vec<PathBuf> {
        let outputs = env.records().into_iter().flat_map(|record| record.outputs);
        outputs.filter(|(output, _)| output.starts_with(name)).map(|(_, output)| env.blob(&output.digest)).collect()
    };
    let published = |head: &str| -> Vec<PathBuf> {
        let shown = files(&env.path("embeddings")).into_iter().filter(|path| file_name(path).starts_with(head));
        shown.map(|path| fs::canonicalize(path).unwrap()).collect()
    };
    let graph = |file: &str| vec![env.path(GRAPH).join(file)];
    vec![
        ("version", vec![env.path("store/VERSION")]),
        ("record", files(&env.path("store/records"))),
        ("reference", files(&env.path("store/refs/tests"))),
        ("journal", files(&env.path("store/runs"))),
        ("remembered digests", vec![env.path("store/digests.json")]),
        ("segment", env.segments()),
        ("list of a table's rows", env.vector_files("rows")),
        ("records table", blobs("records")),
        ("rejects table", blobs("rejects")),
        ("texts table", blobs("texts")),
        ("vectors table", blobs("vectors")),
        ("superseded table", blobs("superseded")),
        ("embeddings", blobs("embeddings_")),
        ("list of bibcodes", blobs("bibcodes_")),
        ("key index", blobs("keys_")),
        ("manifest", blobs("manifest_")),
        ("graph", graph("model.onnx")),
        ("graph's note", graph("model.onnx.b3")),
        ("weights", graph("model.onnx_data")),
        ("weights' note", graph("model.onnx_data.b3")),
        ("published embeddings", published("embeddings_")),
        ("published list", published("bibcodes_")),
        ("published index", published("keys_")),
        ("published manifest", published("manifest_")),
    ]
}

/// A turned bit in an index that stands beside a dataset is found, and repair has it built anew, even where its size and time
/// say nothing.
#[test]
fn a_damaged_index_is_found_and_built_again() {
    let env = TestEnv::of(30);
    env.edit("dtype = \"f16\"\n", "dtype = \"f16\"\nwords = true\nindex = { signs = {} }\n");
    env.applied(&[]);
    assert_eq!(env.run(&["verify", "workflow.toml"]).code, Some(0));
    for file in
        ["index_minilm_2010.signs", "index_minilm_2010.json", "words_minilm_2010.json", "words_minilm_2010/words.idx"]
    {
        let path = env.path("embeddings").join(file);
        let (whole, time) = (fs::read(&path).unwrap(), fs::metadata(&path).unwrap().modified().unwrap());
        flip(&path);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let told = env.run(&["verify", "workflow.toml"]);
        assert_eq!(told.code, Some(4), "{file}: {}{}", told.out, told.err);
        assert!(told.out.contains("an apply builds the index anew"), "{file}: {}", told.out);
        let mended = env.run(&["verify", "workflow.toml", "--repair"]);
        assert_eq!(mended.code, Some(0), "{file}: {}{}", mended.out, mended.err);
        assert!(file.ends_with(".json") || fs::read(&path).unwrap() == whole, "{file}");
        assert_eq!(env.plan(&[]).code, Some(0), "{file}");
    }
}

/// Flips one bit of a file that nobody chose, and says which one.
fn flip(path: &Path) -> u64 {
    let mut bytes = fs::read(path).unwrap();
    let bit = any_below(bytes.len() as u64 * 8);
    bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
    bit
}

/// What people see, by name.
fn published(env: &TestEnv) -> BTreeMap<String, Digest> {
    let hidden = |path: &PathBuf| ["run_", "catalog.", "."].iter().any(|head| file_name(path).starts_with(head));
    let shown = files(&env.path("embeddings")).into_iter().filter(|path| !hidden(path));
    shown.map(|path| (file_name(&path), Digest::of_file(&path).unwrap())).collect()
}

/// Removes the records from embed on, and all that is shown, so that an apply must read the store's tables again.
fn forget(env: &TestEnv) {
    let _ = fs::remove_dir_all(env.path("embeddings"));
    for path in files(&env.path("store/records")) {
        // One that was flipped may not be JSON any more.
        let Ok(record) = serde_json::from_slice::<Record>(&fs::read(&path).unwrap()) else { continue };
        if !["records", "texts"].iter().any(|table| record.outputs.contains_key(*table)) {
            fs::remove_file(path).unwrap();
        }
    }
}

/// How often each kind of file is flipped, unless `SCIEMBED_FLIPS` says another number.
const FLIPS: usize = 1;

#[test]
fn one_flipped_bit_in_each_kind_of_file() {
    let mut env = project();
    let whole = env.keyed();
    let wanted = published(&env);
    let (mut flips, mut mended) = (0, 0);
    for round in 0..times("SCIEMBED_FLIPS", FLIPS) {
        for at in 0..kinds(&env).len() {
            let (kind, paths) = kinds(&env).swap_remove(at);
            assert!(!paths.is_empty(), "there is no {kind}");
            let path = &paths[usize::try_from(any_below(paths.len() as u64)).unwrap()];
            let bit = flip(path);
            flips += 1;
            let case = format!("bit {bit} of {kind} {}", path.display());
            let told = env.run(&VERIFY);
            assert_eq!(told.code, Some(4), "{case}: {}{}", told.out, told.err);
            let named = if kind.ends_with("note") { path.with_extension("") } else { path.clone() };
            assert!(told.out.contains(&file_name(&named)), "{case}: {}", told.out);

            if (round + at) % 2 == 0 {
                forget(&env);
            }
            let told = env.apply(&[]);
            assert!(matches!(told.code, Some(0 | 1 | 3 | 4)), "{case}: {}", told.err);
            assert!(!told.err.contains("panicked"), "{case}: {}", told.err);
            mended += usize::from(told.code == Some(0));
            let shown = published(&env);
            let told_of_damage = told.code != Some(0) && shown.is_empty();
            assert!(shown == wanted || told_of_damage || is_part(&shown, &wanted), "{case}: {}", told.err);

            let told = env.run(&REPAIR);
            if told.code == Some(4) && kind == "version" && told.out.contains("unless a newer sciembed wrote") {
                env.write("store/VERSION", "1\n");
                env.applied(&[]);
            } else {
                assert_eq!(told.code, Some(0), "{case}: {}{}", told.out, told.err);
            }
            assert_eq!(env.keyed(), whole, "{case}");
            assert_eq!(env.plan(&[]).code, Some(0), "{case}");
            let told = env.run(&VERIFY);
            assert_eq!(told.code, Some(0), "{case}: {}{}", told.out, told.err);
            add_graph(&env);
        }
        env = if round % 4 == 3 { project() } else { env };
    }
    say(format!("{flips} bits flipped, each found; {mended} applies went through, none showed another byte"));
}

/// Whether all that is shown is what should be, though something may be missing.
fn is_part(shown: &BTreeMap<String, Digest>, wanted: &BTreeMap<String, Digest>) -> bool {
    shown.iter().all(|(name, digest)| wanted.get(name) == Some(digest))
}

/// A whole store: what was counted, and what is not known.
#[test]
fn all_is_as_it_was_written() {
    let env = project();
    let told = env.run(&VERIFY);
    assert_eq!((told.code, &*told.err), (Some(0), ""), "{}", told.out);
    assert!(told.out.ends_with("\nall is as it was written\n"), "{}", told.out);
    for part in ["3 datasets", "17 published rows", "9 references", "9 records", "2 segments", "1 journal,"] {
        assert!(told.out.contains(part), "{part}: {}", told.out);
    }
    assert_eq!(env.run(&["verify", "--store", "store"]).code, Some(0));
    env.edit("across = [\"year\"]\n", "across = [\"year\"]\nview = true\n");
    env.applied(&[]);
    env.write("store/notes.txt", "mine");
    env.write("store/records/notes.txt", "mine");
    env.write("store/runs/old.jsonl", "{\"event\":\"run_interrupted\"}\n{\"event\":\"run_");
    let told = env.run(&VERIFY);
    assert_eq!(told.code, Some(0), "{}", told.out);
    assert!(told.out.contains("17 published rows"), "{}", told.out);
    assert!(told.out.starts_with("not known here: store/notes.txt\nnot known here: store/records/notes.txt\n"));
}

/// Planning stops at a damaged reference or record, says what to do, and doing it is enough.
#[test]
fn what_stops_a_plan_is_mended() {
    let env = project();
    let whole = env.keyed();
    for folder in ["store/refs/tests", "store/records"] {
        flip(&files(&env.path(folder))[0]);
        let told = env.plan(&[]);
        assert_eq!(told.code, Some(4), "{}", told.err);
        assert!(told.err.contains("sciembed verify WORKFLOW --repair"), "{}", told.err);
        let told = env.run(&REPAIR);
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        assert_eq!(env.plan(&[]).code, Some(0));
        assert_eq!(env.keyed(), whole);
    }
}

/// Without a workflow nothing is made again; which one to apply is said.
#[test]
fn a_store_alone_is_only_put_in_order() {
    let env = project();
    let whole = env.keyed();
    let vectors = env.records().into_iter().find_map(|record| record.outputs.get("vectors").copied()).unwrap();
    flip(&env.blob(&vectors.digest));
    let told = env.run(&["verify", "--store", "store", "--repair"]);
    assert_eq!(told.code, Some(4), "{}{}", told.out, told.err);
    assert!(!env.blob(&vectors.digest).exists());
    assert!(told.out.contains("to be made again: embed.minilm[201"), "{}", told.out);
    assert!(told.out.contains(" of tests"), "{}", told.out);
    env.applied(&[]);
    assert_eq!(env.run(&VERIFY).code, Some(0));
    assert_eq!(env.keyed(), whole);
}

/// What could not be made again is not put out of use either.
#[test]
fn nothing_is_removed_that_cannot_be_made_again() {
    let env = project();
    let whole = env.keyed();
    fs::rename(env.path("data/2010.json.gz"), env.path("away")).unwrap();
    let vectors = env.records().into_iter().find_map(|record| record.outputs.get("vectors").copied()).unwrap();
    flip(&env.blob(&vectors.digest));
    let told = env.run(&REPAIR);
    assert_eq!(told.code, Some(4), "{}{}", told.out, told.err);
    assert!(told.err.contains("failed to plan load.records[2010]"), "{}", told.err);
    assert!(told.err.contains("nothing was put out of use, since it could not be made again"), "{}", told.err);
    assert!(env.blob(&vectors.digest).exists());
    fs::rename(env.path("away"), env.path("data/2010.json.gz")).unwrap();
    let told = env.run(&REPAIR);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    assert_eq!(env.keyed(), whole);
}

/// Changes the bytes of a file, which is at that path.
type Change<'a> = &'a dyn Fn(&Path, &mut Vec<u8>);

/// Makes a file of a published set another one, in the store and its record as well, so that only its rows tell.
fn falsify(env: &TestEnv, file: &str, change: Change) {
    let store = Store::open(&env.path("store")).unwrap();
    let mut record = env.records().into_iter().find(|record| record.outputs.contains_key(file)).unwrap();
    let output = record.outputs[file];
    let mut bytes = fs::read(env.blob(&output.digest)).unwrap();
    change(&env.blob(&output.digest), &mut bytes);
    let false_one = store.put_blob(&bytes, output.rows).unwrap();
    record.outputs.insert(file.to_owned(), false_one);
    // As an older program wrote it: without a check.
    record.version = 1;
    fs::write(env.path(format!("store/records/{}.json", record.key)), pretty_json(&record)).unwrap();
    let shown = fs::canonicalize(env.path("embeddings").join(file)).unwrap();
    fs::remove_file(&shown).unwrap();
    fs::write(&shown, bytes).unwrap();
}

/// Flips the sign of the first component of the last row.
fn turn(path: &Path, bytes: &mut [u8]) {
    let table = IpcTable::open(path).unwrap();
    let batch = table.batches().last().unwrap().unwrap();
    let last = batch["embedding"].as_fixed_size_list().value(batch.num_rows() - 1);
    let components = last.as_primitive::<Float16Type>().values().inner().as_slice().to_vec();
    let at = bytes.windows(components.len()).rposition(|part| part == components).unwrap();
    bytes[at + 1] ^= 0x80;
}

/// Files that agree with every digest, and rows that are not those of the store.
#[test]
fn rows_are_held_against_the_store() {
    let env = project();
    let whole = env.keyed();
    let swapped = |_: &Path, bytes: &mut Vec<u8>| bytes[3] ^= 1;
    let turned = |path: &Path, bytes: &mut Vec<u8>| turn(path, bytes);
    let cases: [(&str, &str, Change); 4] = [
        (
            "embeddings_minilm_2010.f16",
            "row 3 (2010Test..00003A): its vector is not that of the vectors table",
            &turned,
        ),
        (
            "bibcodes_minilm_2010.txt",
            "row 0 (2010Test..00000A): the list of bibcodes has another paper there",
            &swapped,
        ),
        (
            "embeddings_minilm.f16",
            "row 7 (2010Test..00001A of minilm_2011): it is not the row that it came from",
            &turned,
        ),
        ("bibcodes_minilm.txt", "row 0 (2010Test..00000A of minilm_2010): the list of bibcodes has another", &swapped),
    ];
    for (file, wrong, change) in cases {
        falsify(&env, file, change);
        let told = env.run(&VERIFY);
        assert_eq!(told.code, Some(4), "{file}: {}", told.out);
        assert!(told.out.contains(&format!("published row is damaged: {wrong}")), "{file}: {}", told.out);
        let told = env.run(&REPAIR);
        assert_eq!(told.code, Some(0), "{file}: {}{}", told.out, told.err);
        assert_eq!(env.keyed(), whole, "{file}");
    }
}

/// A bit that turned without a trace: size and times are what they were, so no plan sees it.
#[test]
fn what_times_do_not_tell_is_found() {
    let env = project();
    let whole = env.keyed();
    let told = env.run(&["verify", "workflow.toml", "--json"]);
    let report: Value = serde_json::from_slice(&told.bytes).unwrap();
    assert_eq!(report["report"]["findings"], serde_json::json!([]));
    let path = fs::canonicalize(env.path("embeddings/bibcodes_minilm.txt")).unwrap();
    flip(&path);
    let told = env.run(&["verify", "workflow.toml", "--json"]);
    assert_eq!(told.code, Some(4));
    let report: Value = serde_json::from_slice(&told.bytes).unwrap();
    let finding = &report["report"]["findings"][0];
    assert_eq!((&finding["kind"], &finding["path"]), (&"published".into(), &path.display().to_string().into()));
    assert_eq!(env.run(&REPAIR).code, Some(0));
    assert_eq!(env.keyed(), whole);
}

/// A directory in the place of a file is told, and mended like any damage.
#[test]
fn a_directory_in_a_files_place() {
    let env = project();
    let (whole, seen) = (env.keyed(), published(&env));
    let link = |name: &str| env.path("embeddings/.sciembed/links").join(name);
    let vectors = env.records().into_iter().find_map(|record| record.outputs.get("vectors").copied()).unwrap();
    let index = fs::canonicalize(env.path("embeddings/keys_minilm_2011.fst")).unwrap();
    let first = |folder: &str| files(&env.path(folder)).swap_remove(0);
    let places = [
        first("store/refs/tests"),
        first("store/records"),
        first("store/runs"),
        env.blob(&vectors.digest),
        link("minilm_2010"),
        index,
    ];
    for place in places {
        fs::remove_file(&place).unwrap();
        fs::create_dir_all(place.join("inside")).unwrap();
        let told = env.run(&VERIFY);
        assert_eq!(told.code, Some(4), "{}: {}{}", place.display(), told.out, told.err);
        assert!(told.out.contains(&file_name(&place)), "{}: {}", place.display(), told.out);
        assert!(!env.run(&["log", "workflow.toml"]).err.contains("panicked"));
        let told = env.run(&REPAIR);
        assert_eq!(told.code, Some(0), "{}: {}{}", place.display(), told.out, told.err);
        assert_eq!((env.keyed(), published(&env)), (whole.clone(), seen.clone()), "{}", place.display());
    }
}

/// A provenance file of another set is told, though it is one.
#[test]
fn a_provenance_file_of_another_set() {
    let env = project();
    let file = |year: u16| fs::canonicalize(env.path(format!("embeddings/run_minilm_{year}.json"))).unwrap();
    let (one, other) = (fs::read(file(2010)).unwrap(), fs::read(file(2011)).unwrap());
    for (year, bytes) in [(2010, other), (2011, one)] {
        let path = file(year);
        fs::remove_file(&path).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let told = env.run(&VERIFY);
    assert_eq!(told.code, Some(4), "{}", told.out);
    assert!(told.out.contains("it is that of set ") && told.out.contains(" of minilm_2011"), "{}", told.out);
    let told = env.run(&REPAIR);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
}

/// An apply that publishes while verify reads: what it wrote is known, and what it replaced is no damage.
#[test]
fn an_apply_meanwhile_is_no_damage() {
    let env = project();
    let text = fs::read_to_string(env.path("workflow.toml")).unwrap();
    let graph = resolve(&Source { name: "workflow.toml".to_owned(), text }, &[]).unwrap();
    let store = Store::open(&env.path("store")).unwrap();
    for moment in ["blobs", "published files", "minilm_2010", "minilm"] {
        let mut applied = 0;
        let mut tell = |what: &str, _: u64, _: u64| {
            if what == moment && applied == 0 {
                env.applied(&["--set", &format!("prepare.texts.prefix=\"{moment} \"")]);
            }
            applied += usize::from(what == moment);
        };
        let report = verify(&store, Some((&graph, &env.path(""))), &mut tell).unwrap();
        assert!(applied > 0, "{moment}");
        assert!(report.findings.is_empty(), "{moment}: {:?}", report.findings);
        assert_eq!(report.unknown, [""; 0].map(PathBuf::from), "{moment}");
        assert_eq!((report.checked["datasets"], report.checked["published rows"]), (3, 17), "{moment}");
    }
}

/// Whoever reads events reads past the check of a line.
#[test]
fn events_are_read_with_their_check() {
    let line = r#"{"event":"run_interrupted","check":"0123456789abcdef"}"#;
    assert_eq!(serde_json::from_str::<Event>(line).unwrap(), Event::RunInterrupted);
}
