//! Datasets that are handed on: every form holds each vector once, under its bibcode; what was interrupted goes on, and what
//! stands is not done again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float32Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sciembed::dataset::Dataset;
use serde_json::{Value, json};

use crate::env::{TestEnv, damage, files, papers};
use crate::vector_server::{KEY, VectorServer};

const MERGE: &str = "
[merge.all]
from = \"yearly\"
across = [\"year\"]
dir = \"embeddings\"
";

/// Two years of papers, merged, the merge with these exports; one paper is in both years.
fn project(papers_a_year: usize, exports: &str) -> TestEnv {
    let env = TestEnv::empty();
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}{exports}\n"));
    let mut first = papers(2010, papers_a_year);
    first[1]["title"] = json!(["<b>Two</b> \"titles\"", "the other, é"]);
    first[2].as_object_mut().unwrap().remove("title");
    let mut second = papers(2011, papers_a_year);
    second.push(first[0].clone());
    env.write_year(2010, &first);
    env.write_year(2011, &second);
    env
}

/// The vectors of the merged dataset, by bibcode, read by the library.
fn vectors(env: &TestEnv) -> BTreeMap<String, Vec<f32>> {
    let dataset = Dataset::open(&env.path("embeddings"), "minilm").unwrap();
    let all = dataset.bibcodes().map(|row| row.unwrap().1.to_owned());
    all.map(|bibcode| (bibcode.clone(), dataset.get(&bibcode).unwrap().unwrap().vector)).collect()
}

fn floats(vector: &Value) -> Vec<f32> {
    vector.as_array().unwrap().iter().map(|it| it.as_f64().unwrap() as f32).collect()
}

fn parts(folder: &Path) -> Vec<PathBuf> {
    let mut parts: Vec<PathBuf> = files(folder);
    parts.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("part-"));
    parts.sort();
    parts
}

fn documents(folder: &Path) -> Vec<Value> {
    let texts = parts(folder).into_iter().map(|path| fs::read_to_string(path).unwrap());
    texts.flat_map(|text| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()).collect()
}

/// A workflow's exports are told by the plan, made by the apply, and fresh then; and each form has all of it.
#[test]
fn every_form_of_file_has_every_vector() {
    let exports = "
[merge.all.export.npy]
dir = \"out/npy\"

[merge.all.export.parquet]
dir = \"out/parquet\"
fields = [\"title\"]
rows = 7

[merge.all.export.solr]
dir = \"out/solr\"
fields = [\"title\", \"abstract\"]
vector = \"v\"
rows = 10

[merge.all.export.elasticsearch]
dir = \"out/bulk\"
";
    let env = project(10, exports);
    let plan = env.plan(&[]);
    assert!(plan.out.contains("the export to parquet of minilm is to be made: once it is published"), "{}", plan.out);
    let told = env.applied(&[]);
    assert!(told.out.contains("  exported   minilm as parquet to "), "{}", told.out);
    assert_eq!(env.plan(&[]).code, Some(0));
    let expected = vectors(&env);
    assert_eq!(expected.len(), 20);

    // NumPy
    let folder = env.path("out/npy/minilm");
    let array = fs::read(folder.join("embeddings.npy")).unwrap();
    assert!(
        String::from_utf8_lossy(&array[..128]).contains("'descr': '<f2', 'fortran_order': False, 'shape': (20, 16)")
    );
    let halves: Vec<f32> = array[128..].chunks(2).map(|it| half::f16::from_le_bytes([it[0], it[1]]).to_f32()).collect();
    let bibcodes = fs::read_to_string(folder.join("bibcodes.txt")).unwrap();
    let found: BTreeMap<String, Vec<f32>> =
        bibcodes.lines().map(str::to_owned).zip(halves.chunks(16).map(<[f32]>::to_vec)).collect();
    assert_eq!(found, expected);

    // Parquet
    let files = parts(&env.path("out/parquet/minilm"));
    assert_eq!(files.len(), 3, "seven rows a file");
    let (mut found, mut titles) = (BTreeMap::new(), BTreeMap::new());
    for file in files {
        let reader = ParquetRecordBatchReaderBuilder::try_new(fs::File::open(file).unwrap()).unwrap().build().unwrap();
        for batch in reader.map(Result::unwrap) {
            let lists = batch["embedding"].as_fixed_size_list();
            for row in 0..batch.num_rows() {
                let bibcode = batch["bibcode"].as_string::<i32>().value(row).to_owned();
                let title = batch["title"].as_list::<i32>();
                let title = title.is_valid(row).then(|| title.value(row).as_string::<i32>().len());
                titles.insert(bibcode.clone(), title);
                found.insert(bibcode, lists.value(row).as_primitive::<Float32Type>().values().to_vec());
            }
        }
    }
    assert_eq!(found, expected);
    assert_eq!(
        (titles["2010Test..00001A"], titles["2010Test..00002A"], titles["2011Test..00003A"]),
        (Some(2), None, Some(1))
    );

    // Solr
    let found = documents(&env.path("out/solr/minilm"));
    let by_bibcode: BTreeMap<String, Vec<f32>> =
        found.iter().map(|it| (it["id"].as_str().unwrap().to_owned(), floats(&it["v"]))).collect();
    assert_eq!((found.len(), &by_bibcode), (20, &expected));
    let two = found.iter().find(|it| it["id"] == "2010Test..00001A").unwrap();
    assert_eq!(two["title"], json!(["<b>Two</b> \"titles\"", "the other, é"]));

    // Elasticsearch: a line that names, and a line that is
    let found = documents(&env.path("out/bulk/minilm"));
    let (names, told): (Vec<_>, Vec<_>) = found.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).unzip();
    assert!(names.iter().zip(&told).all(|(name, told)| name["index"]["_id"] == told["bibcode"]));
    let found: BTreeMap<String, Vec<f32>> =
        told.iter().map(|it| (it["bibcode"].as_str().unwrap().to_owned(), floats(&it["embedding"]))).collect();
    assert_eq!(found, expected);
}

/// An export is made anew where the dataset or the wish changed, or a file of it; the old one stands until the new one does.
#[test]
fn an_export_follows_its_dataset() {
    let env = project(10, "[merge.all.export.solr]\ndir = \"out\"\nrows = 4\n");
    env.applied(&[]);
    let folder = env.path("out/minilm");
    let before = documents(&folder);
    env.write_year(2011, &papers(2011, 3));
    assert_eq!(env.applied(&[]).code, Some(0));
    assert_eq!((before.len(), documents(&folder).len(), parts(&folder).len()), (20, 13, 4));
    env.edit("rows = 4", "rows = 5");
    let plan = env.plan(&[]);
    assert!(plan.code == Some(2) && plan.out.contains("something else is asked for"), "{}", plan.out);
    env.applied(&[]);
    assert_eq!((documents(&folder).len(), parts(&folder).len()), (13, 3));
    fs::remove_file(&parts(&folder)[1]).unwrap();
    let plan = env.plan(&[]);
    assert!(plan.out.contains("part-00001.jsonl is missing or was changed"), "{}", plan.out);
    env.applied(&[]);
    assert_eq!(documents(&folder).len(), 13);
    // A field that load does not keep is refused before anything runs.
    env.edit("rows = 5", "fields = [\"titel\"]");
    let refused = env.plan(&[]);
    assert!(refused.code == Some(1) && refused.err.contains("titel"), "{}", refused.err);
}

/// Killed after any part, an export goes on behind it, and what people see is the old one until the new one is whole.
#[test]
fn an_interrupted_export_goes_on() {
    let env = project(10, "[merge.all.export.solr]\ndir = \"out\"\nrows = 4\n");
    let points = env.path("points");
    let counted = env.wait(env.start_with(&["apply", "workflow.toml"], &[("SCIEMBED_CRASH_COUNT", &points)]));
    assert_eq!(counted.code, Some(0), "{}", counted.err);
    let points = fs::read_to_string(points).unwrap();
    let of_export: Vec<usize> =
        points.lines().enumerate().filter(|(_, point)| point.starts_with("export: ")).map(|(at, _)| at + 1).collect();
    assert_eq!(of_export.len(), 7, "five parts, written, shown: {points}");
    for point in of_export {
        let env = project(10, "[merge.all.export.solr]\ndir = \"out\"\nrows = 4\n");
        let at = point.to_string();
        let killed = env.wait(env.start_with(&["apply", "workflow.toml"], &[("SCIEMBED_CRASH_AT", Path::new(&at))]));
        assert_ne!(killed.code, Some(0));
        let folder = env.path("out/minilm");
        let told = env.applied(&[]);
        assert_eq!(documents(&folder).len(), 20, "at {point}");
        assert_eq!(env.plan(&[]).code, Some(0), "at {point}: {}{}", told.out, told.err);
        assert!(!env.path("out/.minilm.partial").exists());
    }
}

/// What was damaged in a published file would stay in an export, which nobody looks at again.
#[test]
fn a_damaged_dataset_is_not_handed_on() {
    let env = project(10, "");
    env.applied(&[]);
    let path = fs::canonicalize(env.path("embeddings/embeddings_minilm.f16")).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    damage(&path, &bytes);
    let refused = env.run(&["export", "npy", "--to", "out"]);
    assert!(refused.code == Some(4) && refused.err.contains("not those that were published"), "{}", refused.err);
    assert!(!env.path("out").exists());
    env.applied(&[]);
    assert_eq!(env.run(&["export", "npy", "--to", "out"]).code, Some(0));
}

/// A part that was damaged meanwhile is not believed; a folder of somebody else is not touched.
#[test]
fn what_no_export_wrote_is_left_alone() {
    let env = project(10, "");
    env.applied(&[]);
    fs::create_dir_all(env.path("out/minilm")).unwrap();
    env.write("out/minilm/thesis.tex", "mine");
    let refused = env.run(&["export", "parquet", "--to", "out"]);
    assert!(refused.code == Some(1) && refused.err.contains("no export wrote it"), "{}", refused.err);
    assert_eq!(fs::read_to_string(env.path("out/minilm/thesis.tex")).unwrap(), "mine");
    // Nor does a file of the note's name make it an export's, nor is what was put beside one lost.
    env.write("out/minilm/export.json", "{\"mine\": 1}");
    assert_eq!(env.run(&["export", "parquet", "--to", "out"]).code, Some(1));
    assert_eq!(env.run(&["export", "npy", "--to", "real"]).code, Some(0));
    env.write("real/minilm/NOTES.md", "mine");
    let refused = env.run(&["export", "npy", "--to", "real", "--dtype", "f32"]);
    assert!(refused.code == Some(1) && refused.err.contains("NOTES.md: no export wrote it"), "{}", refused.err);
    for field in ["nosuch", "title,nosuch", "row"] {
        let refused = env.run(&["export", "parquet", "--to", "fields", "--fields", field]);
        assert!(refused.code == Some(1) && refused.err.contains("have no such field"), "{}", refused.err);
    }

    let points = env.path("points");
    let _ = env.wait(
        env.start_with(&["export", "solr", "--to", "there", "--rows", "5"], &[("SCIEMBED_CRASH_COUNT", &points)]),
    );
    let third = fs::read_to_string(&points).unwrap();
    let third = third.lines().enumerate().filter(|(_, it)| *it == "export: a part is written").nth(2).unwrap().0 + 1;
    let at = third.to_string();
    let _ = env.wait(
        env.start_with(&["export", "solr", "--to", "here", "--rows", "5"], &[("SCIEMBED_CRASH_AT", Path::new(&at))]),
    );
    let growing = env.path("here/.minilm.partial");
    assert_eq!(parts(&growing).len(), 3);
    damage(&parts(&growing)[1], b"not what was written");
    let told = env.run(&["export", "solr", "--to", "here", "--rows", "5"]);
    assert!(told.code == Some(0) && !told.out.contains("of them before"), "{}", told.out);
    assert_eq!(documents(&env.path("here/minilm")), documents(&env.path("there/minilm")));
    let again = env.run(&["export", "solr", "--to", "here", "--rows", "5"]);
    assert!(again.out.starts_with("nothing to do: minilm was exported as it is"), "{}", again.out);
}

/// Binary vectors stay bits for NumPy, and a view's superseded rows are nowhere.
#[test]
fn views_and_signs_are_handed_on() {
    let env = project(6, "view = true\n");
    env.edit("dtype = \"f16\"", "dtype = \"binary\"");
    env.applied(&[]);
    let told = env.run(&["export", "npy", "--to", "out"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let array = fs::read(env.path("out/minilm/embeddings.npy")).unwrap();
    assert!(
        String::from_utf8_lossy(&array[..128]).contains("'descr': '|u1', 'fortran_order': False, 'shape': (12, 2)")
    );
    let bibcodes = fs::read_to_string(env.path("out/minilm/bibcodes.txt")).unwrap();
    assert_eq!((bibcodes.lines().count(), array.len()), (12, 128 + 24));
    assert_eq!(bibcodes.lines().filter(|it| *it == "2010Test..00000A").count(), 1);
}

fn stored(server: &VectorServer) -> BTreeMap<String, Vec<f32>> {
    let now = server.now();
    let points = now.points.values();
    points
        .map(|(v, it)| (it["bibcode"].as_str().unwrap().to_owned(), v.iter().map(|it| *it as f32).collect()))
        .collect()
}

/// Points are upserted by ids of their bibcodes, through refusals that pass; those that leave the dataset leave the server.
#[test]
fn servers_hold_what_the_dataset_holds() {
    for format in ["qdrant", "weaviate"] {
        let server = VectorServer::start();
        server.now().faults = BTreeMap::from([(4, 503), (6, 429)]);
        let export = format!(
            "[merge.all.export.{format}]\nurl = \"{}\"\napi_key_env = \"THE_KEY\"\nfields = [\"title\"]\nbatch = 3\n",
            server.url()
        );
        let env = project(10, &export);
        let run = |arguments: &[&str]| env.run_with(arguments, "", &[("THE_KEY", Path::new(KEY))]);
        let told = run(&["apply", "workflow.toml"]);
        assert!(told.code == Some(0) && told.out.contains(&format!("as {format} to ")), "{}{}", told.out, told.err);
        assert_eq!(stored(&server), vectors(&env), "{format}");
        assert_eq!(server.now().sent, 20, "{format}: each once");
        // A page that answers all is no such server.
        server.now().is_friendly = true;
        let url = server.url();
        let again = run(&["export", format, "--url", &url, "--api-key-env", "THE_KEY", "--again"]);
        assert!(again.code == Some(1), "{format}: {}{}", again.out, again.err);
        server.now().is_friendly = false;
        // Nothing is sent again while nothing changes.
        let requests = server.now().requests;
        run(&["apply", "workflow.toml"]);
        assert_eq!(server.now().requests, requests);
        // Papers go.
        env.write_year(2011, &papers(2011, 5));
        let told = run(&["apply", "workflow.toml"]);
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert_eq!((stored(&server).len(), stored(&server)), (15, vectors(&env)), "{format}");
        // Without its key it says so, and what is published stays.
        env.edit("batch = 3", "batch = 4");
        let refused = env.apply(&[]);
        assert!(refused.code == Some(3) && refused.err.contains("THE_KEY is not set"), "{}", refused.err);
        let wrong = env.run_with(&["apply", "workflow.toml"], "", &[("THE_KEY", Path::new("another"))]);
        assert!(wrong.code == Some(3) && wrong.err.contains("refused with 401"), "{}", wrong.err);
        assert!(!wrong.err.contains("another"), "a key is told nowhere: {}", wrong.err);
    }
}

/// A run that is killed sends again what was not noted, and no more; one of another length is refused.
#[test]
fn a_server_gets_the_rest_after_a_kill() {
    let server = VectorServer::start();
    let env = project(20, "");
    env.applied(&[]);
    let url = server.url();
    let arguments =
        ["export", "qdrant", "--url", &url, "--collection", "papers", "--api-key-env", "THE_KEY", "--batch", "2"];
    let key = ("THE_KEY", Path::new(KEY));
    let mut child = env.start_with(&arguments, &[key, ("SCIEMBED_CRASH_AT", Path::new("9"))]);
    let _ = child.wait();
    let before = server.now().sent;
    assert!(before > 0 && before < 40, "{before}");
    std::thread::sleep(Duration::from_millis(10));
    let told = env.run_with(&arguments, "", &[key]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert_eq!(stored(&server), vectors(&env));
    // What the server lost is sent again when it is asked for, and after an interruption by itself.
    *server.now() = crate::vector_server::Now::default();
    assert!(env.run_with(&arguments, "", &[key]).out.starts_with("nothing to do"));
    let told = env.run_with(&[&arguments[..], &["--again"]].concat(), "", &[key]);
    assert_eq!((told.code, stored(&server)), (Some(0), vectors(&env)), "{}", told.err);
    env.edit("fake://16", "fake://8");
    env.applied(&[]);
    let refused = env.run_with(&arguments, "", &[key]);
    assert!(refused.code == Some(1) && refused.err.contains("its vectors have 16 components"), "{}", refused.err);
}
