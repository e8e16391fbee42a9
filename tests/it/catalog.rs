//! The catalog: that it says what is published, set aside and run, that it is made anew when it must be and otherwise left
//! alone, and that it never stands in the way of a run.

use std::collections::BTreeMap;
use std::fs;

use sciembed::catalog;
use serde_json::{Value, json};

use crate::env::{TestEnv, Told, paper, papers};

const MERGE: &str = "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\n";

/// Two years and their merge; one paper of 2011 stands in 2010 too, one has no text, and one line is no JSON.
fn project() -> TestEnv {
    let env = TestEnv::of(3);
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}"));
    let mut older = papers(2010, 3);
    older.push(paper(2011, 1));
    older.push(json!({ "bibcode": "no text" }));
    older.push(json!("no record"));
    env.write_year(2010, &older);
    env
}

fn asked(env: &TestEnv, sql: &str) -> Vec<Value> {
    let told = env.run(&["catalog", "--format", "json", sql]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert_eq!(told.err, "");
    told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn get(env: &TestEnv, dataset: &str, bibcode: &str) -> Value {
    let told = env.run(&["get", "--dataset", dataset, bibcode]);
    serde_json::from_str(&told.out).unwrap()
}

/// Every row of every dataset, with the line that it truly stands on, and the digests that `get` gives.
#[test]
fn every_paper_of_every_dataset() {
    let env = project();
    let told = env.applied(&[]);
    assert!(told.out.contains("catalog    embeddings/catalog.duckdb: 3 datasets, 13 rows of papers, "), "{}", told.out);
    let mut rows: BTreeMap<String, u64> = BTreeMap::new();
    for row in asked(&env, "SELECT * FROM papers ORDER BY dataset, row") {
        let (dataset, bibcode) = (row["dataset"].as_str().unwrap(), row["bibcode"].as_str().unwrap());
        let next = rows.entry(dataset.to_owned()).or_default();
        assert_eq!(row["row"], *next, "{row}");
        *next += 1;
        let answer = get(&env, dataset, bibcode);
        for column in ["row", "metadata_digest", "row_key"] {
            assert_eq!(row[column], answer[column], "{column} of {row}");
        }
        let year = row["part"].as_str().unwrap().strip_prefix("minilm_").unwrap();
        assert_eq!(row["source"], format!("data/{year}.json.gz"));
        let line = usize::try_from(row["line"].as_u64().unwrap()).unwrap();
        let papers = if year == "2010" { [papers(2010, 3), vec![paper(2011, 1)]].concat() } else { papers(2011, 3) };
        assert_eq!(papers[line - 1]["bibcode"], bibcode, "{row}");
    }
    let expected = [("minilm", 6), ("minilm_2010", 4), ("minilm_2011", 3)];
    assert_eq!(rows, expected.map(|(name, rows)| (name.to_owned(), rows)).into());
}

/// A view's rows are those of its parts, the superseded ones left out of the list but not out of the numbers.
#[test]
fn papers_of_a_view() {
    let env = project();
    env.edit("across = [\"year\"]\n", "across = [\"year\"]\nview = true\n");
    env.applied(&[]);
    let rows = asked(&env, "SELECT bibcode, row, part, line FROM papers WHERE dataset = 'minilm' ORDER BY row");
    for row in &rows {
        assert_eq!(row["row"], get(&env, "minilm", row["bibcode"].as_str().unwrap())["row"], "{row}");
    }
    let told: Vec<String> =
        rows.iter().map(|row| format!("{} {} {}", row["row"], row["part"].as_str().unwrap(), row["line"])).collect();
    let older = ["0 minilm_2010 1", "1 minilm_2010 2", "2 minilm_2010 3"];
    let newer = ["4 minilm_2011 1", "5 minilm_2011 2", "6 minilm_2011 3"];
    assert_eq!(told, [older, newer].concat());
}

#[test]
fn what_was_set_aside() {
    let env = project();
    env.applied(&[]);
    let told = env.run(&["catalog", "--format", "csv", "SELECT * EXCLUDE excerpt FROM rejects ORDER BY ALL"]);
    insta::assert_snapshot!(told.out, @r#"
    dataset,kind,bibcode,source,line,reason,detail
    minilm,merge,2011Test..00001A,,,superseded,"row 3 of minilm_2010: minilm_2011 holds it too, and counts"
    minilm_2010,load,,data/2010.json.gz,6,invalid_json,"invalid type: string ""no record"", expected a JSON object, at byte 11 of the line"
    minilm_2010,prepare,no text,data/2010.json.gz,5,no_text,"no text in title, abstract"
    "#);
}

#[test]
fn datasets_steps_and_runs() {
    let env = project();
    env.applied(&[]);
    let sql = "SELECT dataset, cells, model, dim, dtype, rows, bit_stable, parts, workflow, step FROM datasets";
    insta::assert_snapshot!(env.run(&["catalog", sql]).out, @r#"
    dataset      cells            model  dim  dtype  rows  bit_stable  parts                       workflow  step
    minilm       {}               16     16   f16    6     true        [minilm_2010, minilm_2011]  tests     merge.all
    minilm_2010  {"year":"2010"}  16     16   f16    4     true        null                        tests     persist.yearly[2010]
    minilm_2011  {"year":"2011"}  16     16   f16    3     true        null                        tests     persist.yearly[2011]
    "#);
    let sql = "SELECT step, kind, rows_in, rows, rejected FROM nodes ORDER BY ALL";
    insta::assert_snapshot!(env.run(&["catalog", sql]).out, @"
    step                  kind     rows_in  rows  rejected
    embed.minilm[2010]    embed    4        4     null
    embed.minilm[2011]    embed    3        3     null
    load.records[2010]    load     6        5     1
    load.records[2011]    load     3        3     0
    merge.all             merge    7        6     1
    persist.yearly[2010]  persist  4        4     null
    persist.yearly[2011]  persist  3        3     null
    prepare.texts[2010]   prepare  5        4     1
    prepare.texts[2011]   prepare  3        3     0
    ");
    let sql = "SELECT workflow, outcome, steps_finished, steps_failed, finished >= started AS ended FROM runs";
    insta::assert_snapshot!(env.run(&["catalog", sql]).out, @"
    workflow  outcome  steps_finished  steps_failed  ended
    tests     done     9               0             true
    ");
    for row in asked(&env, "SELECT dataset, set FROM datasets") {
        let (dataset, bibcode) = (row["dataset"].as_str().unwrap(), paper(2011, 1)["bibcode"].clone());
        assert_eq!(row["set"], get(&env, dataset, bibcode.as_str().unwrap())["set"]);
    }
}

#[test]
fn texts_that_were_cut() {
    let env = project();
    env.edit("prefix = \"\"\n", "prefix = \"\"\ntruncate = 12\n");
    env.applied(&[]);
    let sql =
        "SELECT dataset, count(*) AS cut, bool_and(text_truncated) AS every FROM truncations GROUP BY 1 ORDER BY 1";
    insta::assert_snapshot!(env.run(&["catalog", sql]).out, @"
    dataset      cut  every
    minilm_2010  4    true
    minilm_2011  3    true
    ");
}

/// It follows what is shown, and where nothing changed it is not written again.
#[test]
fn it_is_made_anew_when_it_must_be() {
    let env = project();
    env.applied(&[]);
    let path = env.path("embeddings/catalog.duckdb");
    let made = || fs::metadata(&path).unwrap().modified().unwrap();
    let before = made();
    env.applied(&[]);
    assert_eq!(made(), before);
    env.write_year(2011, &papers(2011, 5));
    env.applied(&[]);
    let count = asked(&env, "SELECT count(*) AS papers FROM papers WHERE dataset = 'minilm_2011'");
    assert_eq!(count, [json!({ "papers": 5 })]);
    fs::remove_file(&path).unwrap();
    assert!(env.applied(&[]).out.contains("catalog    embeddings/catalog.duckdb"));
    assert_eq!(asked(&env, "SELECT count(*) AS papers FROM papers WHERE dataset = 'minilm_2011'"), count);
}

/// Rows of sets that are shown still are taken over from the catalog that stands, and are those that would be made anew; from
/// one that somebody wrote into nothing is.
#[test]
fn what_stands_is_taken_over() {
    let env = project();
    env.applied(&[]);
    env.write_year(2011, &papers(2011, 5));
    env.applied(&[]);
    let tables = ["papers", "rejects", "truncations", "datasets"];
    let all = || tables.map(|table| asked(&env, &format!("SELECT * FROM {table} ORDER BY ALL")));
    let dir = env.path("embeddings");
    let taken_over = all();
    catalog::rebuild(&dir, None).unwrap();
    assert_eq!(all(), taken_over);
    // Nothing of the store's tables is read for what is taken over.
    let records = env.records().into_iter().filter_map(|record| record.outputs.get("records").copied());
    records.for_each(|records| fs::remove_file(env.blob(&records.digest)).unwrap());
    catalog::refresh(&dir).unwrap();
    assert_eq!(all(), taken_over);
    assert!(catalog::rebuild(&dir, None).unwrap_err().to_string().contains("find blob"));
    // Nothing is from one that was written into, whatever its size and time say, or beside which another program left a log.
    let path = dir.join("catalog.duckdb");
    let log = dir.join("catalog.duckdb.wal");
    fs::write(&log, "left").unwrap();
    assert!(!catalog::is_current(&dir) && catalog::refresh(&dir).is_err());
    fs::remove_file(&log).unwrap();
    assert!(catalog::is_current(&dir));
    let made = fs::metadata(&path).unwrap().modified().unwrap();
    let written = duckdb::Connection::open(&path).unwrap();
    written.execute("UPDATE papers SET line = 7", []).unwrap();
    written.close().unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(made).unwrap();
    assert!(!catalog::is_current(&dir) && catalog::refresh(&dir).is_err());
}

/// The same papers from files of other names are the same set, and rows of a catalog that tells other names.
#[test]
fn names_of_files_are_those_of_now() {
    let env = project();
    env.applied(&[]);
    fs::rename(env.path("data"), env.path("moved")).unwrap();
    fs::remove_dir_all(env.path("store")).unwrap();
    env.edit("input = \"data/", "input = \"moved/");
    fs::write(env.path("embeddings/catalog.duckdb.wal"), "left").unwrap();
    env.applied(&[]);
    assert!(!env.path("embeddings/catalog.duckdb.wal").exists());
    let sources = asked(&env, "SELECT DISTINCT source[:6] AS source FROM papers");
    assert_eq!(sources, [json!({ "source": "moved/" })]);
}

/// Whoever has it open reads on in what they opened, and the run knows nothing of it.
#[test]
fn a_reader_that_holds_it_open() {
    let env = project();
    env.applied(&[]);
    let path = env.path("embeddings/catalog.duckdb");
    let config = duckdb::Config::default().access_mode(duckdb::AccessMode::ReadOnly).unwrap();
    let reader = duckdb::Connection::open_with_flags(&path, config).unwrap();
    let count = || reader.query_row("SELECT count(*) FROM papers", [], |row| row.get::<_, u64>(0)).unwrap();
    assert_eq!(count(), 13);
    env.write_year(2011, &papers(2011, 5));
    env.applied(&[]);
    assert_eq!(count(), 13);
    assert_eq!(asked(&env, "SELECT count(*) AS papers FROM papers"), [json!({ "papers": 17 })]);
}

/// Nothing is published by it, so nothing fails by it.
#[test]
fn a_catalog_that_cannot_be_made_fails_no_run() {
    let env = project();
    fs::create_dir_all(env.path("embeddings/catalog.duckdb/in the way")).unwrap();
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    insta::assert_snapshot!(warning(&told), @"
    the datasets in $ENV/project/embeddings are published; their catalog was not made:
    sciembed::catalog::write

      × failed to write $ENV/project/embeddings/catalog.duckdb: Is a directory (os error 21)
      help: free space or permissions there, then `sciembed catalog rebuild`; the datasets are not touched by this
    ");
    assert_eq!(get(&env, "minilm", paper(2010, 1)["bibcode"].as_str().unwrap())["dataset"], "minilm");
    let left = fs::read_dir(env.path("embeddings/.sciembed")).unwrap().flatten();
    assert!(left.map(|entry| entry.file_name()).all(|name| !name.to_string_lossy().starts_with('.')));
}

fn warning(told: &Told) -> String {
    let lines = told.err.lines().skip_while(|line| !line.starts_with("the datasets in "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Older than what is shown: it answers, and says so.
#[test]
fn an_old_catalog_says_so() {
    let env = project();
    env.applied(&[]);
    let old = fs::read(env.path("embeddings/catalog.duckdb")).unwrap();
    let mark = fs::read(env.path("embeddings/.sciembed/catalog")).unwrap();
    env.write_year(2011, &papers(2011, 5));
    env.applied(&[]);
    fs::write(env.path("embeddings/catalog.duckdb"), old).unwrap();
    fs::write(env.path("embeddings/.sciembed/catalog"), mark).unwrap();
    let told = env.run(&["catalog", "SELECT count(*) AS papers FROM papers"]);
    assert_eq!(told.out, "papers\n13\n");
    insta::assert_snapshot!(told.err, @"the catalog is older than what embeddings shows: sciembed catalog rebuild --dir embeddings");
    assert_eq!(env.run(&["catalog", "rebuild"]).code, Some(0));
    assert_eq!(asked(&env, "SELECT count(*) AS papers FROM papers"), [json!({ "papers": 17 })]);
}

#[test]
fn formats_and_limits() {
    let env = project();
    env.applied(&[]);
    let sql =
        "SELECT i, NULL AS nothing, [i, 2] AS list, 'a,\"b\"\n' AS text, 'ff'::BLOB AS bytes FROM range(2) AS t(i)";
    let of = |format: &str| env.run(&["catalog", "--format", format, sql]).out;
    insta::assert_snapshot!([of("table"), of("csv"), of("json")].join("\n"), @r#"
    i  nothing  list    text    bytes
    0  null     [0, 2]  a,"b"   6666
    1  null     [1, 2]  a,"b"   6666

    i,nothing,list,text,bytes
    0,,"[0, 2]","a,""b""
    ",6666
    1,,"[1, 2]","a,""b""
    ",6666

    {"i":0,"nothing":null,"list":[0,2],"text":"a,\"b\"\n","bytes":"6666"}
    {"i":1,"nothing":null,"list":[1,2],"text":"a,\"b\"\n","bytes":"6666"}
    "#);
    let told = env.run(&["catalog", "SELECT * FROM range(1234)"]);
    assert_eq!(told.out.lines().count(), 202);
    assert!(told.out.ends_with("and 1034 more rows of 1234: --format csv or json prints them all\n"), "{}", told.out);
    assert!(env.run(&["catalog"]).out.contains("The line in it, from 1"));
}

/// Nothing comes out as another value: what cannot be shown as it is is refused, with the way to have it as text.
#[test]
fn values_that_cannot_be_shown() {
    let env = project();
    env.applied(&[]);
    let huge = "170141183460469231731687303715884105727::HUGEINT";
    for value in [huge, "1::UHUGEINT", "TIMETZ '12:34:56+02'", "'101'::BIT", "[now()]"] {
        let told = env.run(&["catalog", &format!("SELECT {value} AS v")]);
        assert_eq!(told.code, Some(1), "{value}: {}", told.out);
        assert!(told.err.contains(" AS VARCHAR)`"), "{value}: {}", told.err);
        let told = env.run(&["catalog", &format!("SELECT CAST({value} AS VARCHAR) AS v")]);
        assert_eq!(told.code, Some(0), "{value}: {}", told.err);
    }
    let told = env.run(&["catalog", "SELECT TIMESTAMPTZ '2020-01-01 00:00:00+02' AS t, sum(rows) AS s FROM datasets"]);
    assert_eq!(told.out, "t                     s\n2019-12-31T22:00:00Z  13\n");
    // However long a value is, a table shows its beginning and csv all of it.
    let sql = "SELECT repeat('x', 70000) AS long UNION ALL SELECT 'y'";
    assert!(env.run(&["catalog", sql]).out.lines().all(|line| line.chars().count() <= 200));
    assert_eq!(env.run(&["catalog", "--format", "csv", sql]).out.lines().nth(1).unwrap().len(), 70_000);
}

/// What a rebuild left that was killed goes away with the next one, and whoever waits for one can be interrupted.
#[test]
fn interrupted_catalogs() {
    let env = project();
    env.applied(&[]);
    let left = format!("{}~4194305~0~0", sciembed::store::durable::host());
    let left = [format!(".{left}"), format!(".{left}.wal")].map(|name| env.path("embeddings/.sciembed").join(name));
    left.iter().for_each(|path| fs::write(path, "half").unwrap());
    let lock = fs::File::open(env.path("embeddings/.sciembed/catalog.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    env.write_year(2011, &papers(2011, 5));
    let child = env.start(&["apply", "workflow.toml"]);
    let published = || fs::read_to_string(env.path("embeddings/bibcodes_minilm.txt")).unwrap().lines().count() == 8;
    while !published() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    std::thread::sleep(std::time::Duration::from_millis(500));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    let told = env.wait(child);
    assert_eq!(told.code, Some(130), "{}", told.err);
    assert!(
        told.err
            .ends_with("interrupted while catalogs, indexes and exports were made: the next apply goes on with them\n")
    );
    drop(lock);
    env.applied(&[]);
    assert_eq!(asked(&env, "SELECT count(*) AS papers FROM papers"), [json!({ "papers": 17 })]);
    assert!(left.iter().all(|path| !path.exists()));
}

#[test]
fn what_cannot_be_asked() {
    let env = project();
    let none = env.run(&["catalog", "SELECT 1"]);
    env.applied(&[]);
    let misspelt = env.run(&["catalog", "SELECT bibcod FROM papers"]);
    let writing = env.run(&["catalog", "DELETE FROM papers"]);
    fs::write(env.path("embeddings/catalog.duckdb"), "no database").unwrap();
    let damaged = env.run(&["catalog", "SELECT 1"]);
    for told in [&none, &misspelt, &writing, &damaged] {
        assert_eq!((told.code, told.out.as_str()), (Some(1), ""), "{}", told.err);
    }
    insta::assert_snapshot!([none.err, misspelt.err, writing.err, damaged.err].join(""), @r#"
    sciembed::catalog::none

      × failed to open embeddings/catalog.duckdb: there is no such catalog
      help: make it with `sciembed catalog rebuild --dir DIR`, where DIR is what a persist or merge node publishes into

    sciembed::catalog::query

      × failed to answer the query: Binder Error: Referenced column "bibcod" not found in FROM clause!
      │ Candidate bindings: "bibcode"
      │
      │ LINE 1: SELECT bibcod FROM papers
      │                ^
      help: `sciembed catalog` without a query lists tables and columns

    sciembed::catalog::query

      × failed to answer the query: the catalog only answers questions, such as SELECT and FROM
      help: `sciembed catalog` without a query lists tables and columns

    sciembed::catalog::open

      × failed to open embeddings/catalog.duckdb: IO Error: The file "$ENV/project/embeddings/catalog.duckdb" exists, but it is not a valid DuckDB database file!
      help: it can always be made anew: `sciembed catalog rebuild --dir DIR`
    "#);
}

/// The store was moved by itself: whoever knows where it is says so.
#[test]
fn a_store_that_was_moved() {
    let env = project();
    env.applied(&[]);
    fs::rename(env.path("store"), env.path("elsewhere")).unwrap();
    let told = env.run(&["catalog", "rebuild"]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(told.err, @"
    sciembed::lineage::store_missing

      × failed to trace minilm: there is no store at embeddings/../store
      help: it was moved or removed: name the place where it is now with `--store`
    ");
    assert_eq!(env.run(&["catalog", "rebuild", "--store", "elsewhere"]).code, Some(0));
    assert_eq!(asked(&env, "SELECT count(*) AS papers FROM papers"), [json!({ "papers": 13 })]);
}

/// `read_vectors` gives the vectors that `get` gives, of a merge, a part and a view, and says which datasets there are.
#[test]
fn vectors_are_read_where_they_lie() {
    let env = project();
    env.applied(&[]);
    for view in [false, true] {
        if view {
            env.edit("[merge.all]\n", "[merge.all]\nview = true\n");
            env.applied(&[]);
        }
        for (dataset, count) in [("minilm", 6), ("minilm_2010", 4)] {
            let rows = asked(&env, &format!("SELECT * FROM read_vectors('{dataset}') ORDER BY bibcode"));
            assert_eq!(rows.len(), count, "{dataset}");
            for row in rows {
                let answer = get(&env, dataset, row["bibcode"].as_str().unwrap());
                let vector = |it: &Value| -> Vec<f32> {
                    it["embedding"].as_array().unwrap().iter().map(|it| it.as_f64().unwrap() as f32).collect()
                };
                assert_eq!((&answer["row"], vector(&answer)), (&row["row"], vector(&row)), "{row}");
            }
        }
    }
    let near = asked(
        &env,
        "SELECT b.bibcode, array_inner_product(a.embedding, b.embedding) AS score \
         FROM read_vectors('minilm') AS a, read_vectors('minilm') AS b JOIN papers USING (bibcode) \
         WHERE a.bibcode = '2010Test..00000A' AND papers.dataset = 'minilm' ORDER BY score DESC",
    );
    assert_eq!((near.len(), &near[0]["bibcode"]), (6, &json!("2010Test..00000A")));
    for (sql, told) in [
        ("FROM read_vectors(NULL)", "not NULL"),
        ("COPY papers TO 'embeddings/run_minilm_2010.json'", "only answers questions"),
        ("SELECT 1; EXPORT DATABASE 'x'", "one statement at a time"),
    ] {
        let refused = env.run(&["catalog", sql]);
        assert!(refused.code == Some(1) && refused.err.contains(told), "{sql}: {}", refused.err);
    }
    let unknown = env.run(&["catalog", "FROM read_vectors('other')"]);
    assert!(unknown.code == Some(1) && unknown.err.contains("it holds minilm"), "{}", unknown.err);
}
