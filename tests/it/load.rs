//! What stands in files, in every form that they come in: what is kept, what is set aside and why. Files that cannot be
//! used at all are in `bad_input.rs`.

use serde_json::{Value, json};

use crate::env::{TestEnv, gzip, json_lines, paper, papers, titled};

/// The bibcodes of the records, in order; rows in = rows out + rejects is checked on the way.
fn loaded(env: &TestEnv) -> Vec<String> {
    env.applied(&["--target", "load.records"]);
    assert_rows_add_up(env);
    let records = env.peek("load.records", "records");
    records.iter().map(|record| record["bibcode"].as_str().unwrap().to_owned()).collect()
}

/// Rows in = rows out + rejects, in every record that sets rows aside.
fn assert_rows_add_up(env: &TestEnv) {
    for record in env.records() {
        let count = |name: &str| record.counts.get(name).copied().unwrap_or(0);
        assert_eq!(count("rows_in"), count("rows") + count("rejected"), "{:?}", record.counts);
        let listed = record.outputs.get("rejects").map_or(0, |rejects| rejects.rows);
        assert_eq!(listed, count("rejected"), "every reject is listed");
    }
}

/// Source, line, offset and reason of each reject.
fn rejects(env: &TestEnv, step: &str) -> Vec<(u64, u64, u64, String)> {
    let place = |row: &Value| {
        let number = |name: &str| row[name].as_u64().unwrap_or(u64::MAX);
        (number("source"), number("line"), number("offset"), row["reason"].as_str().unwrap().to_owned())
    };
    env.peek(step, "rejects").iter().map(place).collect()
}

/// The same papers give the same records, plain or compressed in any way, under whatever name.
#[test]
fn codecs_are_told_by_content() {
    let text = json_lines(&papers(2010, 50));
    let half = text.len() / 2;
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let mut seen = Vec::new();
    for (name, bytes) in [
        ("papers.json", text.clone()),
        ("papers.json.gz", gzip(&text)),
        // Members and frames are cut in the middle of a line.
        ("members.json.gz", [gzip(&text[..half]), gzip(b""), gzip(&text[half..])].concat()),
        ("papers.json.zst", zstd(&text)),
        ("frames.json.zst", [zstd(&text[..half]), zstd(&text[half..])].concat()),
        ("wrong.gz", zstd(&text)),
        ("wrong.zst", text.clone()),
        ("none", gzip(&text)),
    ] {
        let env = TestEnv::over(&format!("data/{name}"));
        env.write(&format!("data/{name}"), bytes);
        assert_eq!(loaded(&env).len(), 50, "{name}");
        let record = env.records().remove(0);
        seen.push((name, record.outputs["records"].digest));
    }
    assert!(seen.iter().all(|(_, digest)| *digest == seen[0].1), "{seen:?}");
}

/// A glob's files are read in the order of their paths, and a reject names its file by place in that order.
#[test]
fn a_glob_over_several_files() {
    let env = TestEnv::over("data/part-*.json*");
    env.write("data/part-2.json", json_lines(&[paper(2010, 2)]));
    env.write("data/part-1.json.gz", gzip(&json_lines(&[paper(2010, 1)])));
    env.write("data/part-3.json", "{\"bibcode\": \"a\"}\nnonsense\n");
    env.write("data/other.json", "nonsense");
    assert_eq!(loaded(&env), ["2010Test..00001A", "2010Test..00002A", "a"]);
    assert_eq!(rejects(&env, "load.records"), [(2, 2, 17, "invalid_json".to_owned())]);
    let names: Vec<String> = env.records()[0].sources.iter().map(|source| source.name.clone()).collect();
    assert_eq!(names, ["data/part-1.json.gz", "data/part-2.json", "data/part-3.json"]);
}

/// Titles as ADS gives them: a list, a string, null or nothing at all. A list never shows its brackets.
#[test]
fn titles_of_every_shape() {
    let env = TestEnv::over("data/papers.json");
    let papers = [
        titled("list", json!(["One", "Two"])),
        titled("string", "One"),
        titled("null", Value::Null),
        titled("blank", json!([" ", ""])),
        titled("holes", json!([null, "One", null])),
        json!({ "bibcode": "missing" }),
        json!({ "bibcode": "abstract", "abstract": "Only that." }),
        titled("number", 7),
        titled("object", json!({ "en": "One" })),
        titled("nested", json!([["One"]])),
    ];
    env.write("data/papers.json", json_lines(&papers));
    env.applied(&["--target", "prepare.texts"]);
    assert_rows_add_up(&env);
    let texts = env.peek("prepare.texts", "texts");
    let texts: Vec<(&str, &str)> =
        texts.iter().map(|row| (row["bibcode"].as_str().unwrap(), row["text"].as_str().unwrap())).collect();
    let expected =
        [("list", "One; Two"), ("string", "One"), ("holes", "One"), ("abstract", "Only that."), ("number", "7")];
    assert_eq!(texts, expected);
    let unusable = |line, offset| (0, line, offset, "unusable_field".to_owned());
    let offset = |lines: usize| json_lines(&papers[..lines]).len() as u64;
    assert_eq!(rejects(&env, "load.records"), [unusable(9, offset(8)), unusable(10, offset(9))]);
    let no_text = |line| (0, line, u64::MAX, "no_text".to_owned());
    assert_eq!(rejects(&env, "prepare.texts"), [no_text(3), no_text(4), no_text(6)]);
}

/// A byte order mark, CRLF, blank lines and a last line without its end are no content and no faults.
#[test]
fn ends_of_lines_and_files() {
    let env = TestEnv::over("data/papers.json");
    let [a, b, c] = ["a", "b", "c"].map(|bibcode| titled(bibcode, "T").to_string());
    let text = format!("\u{feff}{a}\r\n\r\n   \n\n{b}\r\n{c}");
    env.write("data/papers.json", &text);
    assert_eq!(loaded(&env), ["a", "b", "c"]);
    let record = env.records().remove(0);
    assert_eq!((record.counts["rows_in"], record.counts["rejected"]), (3, 0));
    let lines: Vec<u64> =
        env.peek("load.records", "records").iter().map(|row| row["_line"].as_u64().unwrap()).collect();
    assert_eq!(lines, [1, 5, 6]);
}

/// Every line that cannot be used is listed with file, line, offset and reason, and where it begins is that offset.
#[test]
fn rejects_name_their_place() {
    let env = TestEnv::over("data/papers.json.gz");
    let mut text = json_lines(&papers(2010, 3));
    for line in [
        &b"{\"bibcode\": \"cut\", \"title\""[..],
        b"[1, 2]",
        b"{\"bibcode\": \"latin\", \"title\": \"caf\xe9\"}",
        b"{\"title\": \"nameless\"}",
        b"{\"bibcode\": null}",
        b"{\"bibcode\": \"two\\nlines\"}",
    ] {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    env.write("data/papers.json.gz", gzip(&text));
    let told = env.applied(&["--target", "load.records"]);
    assert!(
        told.out
            .contains("rejected   6 in load.records; list them: sciembed peek workflow.toml 'load.records' rejects")
    );
    assert_eq!(loaded(&env).len(), 3);
    let rejects = rejects(&env, "load.records");
    let reasons: Vec<(u64, &str)> = rejects.iter().map(|(_, line, _, reason)| (*line, reason.as_str())).collect();
    assert_eq!(
        reasons,
        [
            (4, "invalid_json"),
            (5, "invalid_json"),
            (6, "invalid_utf8"),
            (7, "no_bibcode"),
            (8, "no_bibcode"),
            (9, "no_bibcode")
        ]
    );
    for (_, line, offset, _) in rejects {
        let before = &text[..usize::try_from(offset).unwrap()];
        assert_eq!(before.iter().filter(|&&byte| byte == b'\n').count() as u64, line - 1);
        assert!(before.ends_with(b"\n"));
    }
}

/// Of several lines with one bibcode the last one counts, within a file and across files; the others are listed.
#[test]
fn the_last_of_several_lines_wins() {
    let env = TestEnv::over("data/*.json");
    env.write("data/1.json", json_lines(&[titled("a", "1"), titled("b", "1"), titled("a", "2")]));
    env.write("data/2.json", json_lines(&[titled("c", "1"), titled("a", "3")]));
    assert_eq!(loaded(&env), ["b", "c", "a"]);
    let records = env.peek("load.records", "records");
    assert_eq!(records[2]["title"], json!(["3"]));
    let lost = |line| (0, line, u64::MAX, "superseded".to_owned());
    assert_eq!(rejects(&env, "load.records"), [lost(1), lost(3)]);
    let details = env.peek("load.records", "rejects");
    assert_eq!(details[1]["detail"], "line 2 of source 1 has the same bibcode and comes later");
    assert_eq!(details[1]["bibcode"], "a");
}

/// The key may be any field. It is called the bibcode from there on, and what was set aside for it is told by its own name.
#[test]
fn a_key_of_another_name() {
    let env = TestEnv::over("data/papers.jsonl");
    env.edit("fields = [\"title\", \"abstract\"]\n\n[prepare", "key = \"_id\"\nfields = [\"title\"]\n\n[prepare");
    env.edit("fields = [\"title\", \"abstract\"]", "fields = [\"title\"]");
    let lines = [
        json!({ "_id": "a", "title": "A" }),
        json!({ "_id": "b", "title": "B", "bibcode": "2010Test..00001A" }),
        json!({ "bibcode": "2010Test..00002A", "title": "C" }),
        json!({ "_id": 7, "title": "D" }),
        json!({ "_id": "a", "title": "E" }),
        json!({ "_id": "f" }),
    ];
    env.write("data/papers.jsonl", json_lines(&lines));
    assert_eq!(loaded(&env), ["b", "a", "f"]);
    let details: Vec<String> =
        env.peek("load.records", "rejects").iter().map(|row| row["detail"].to_string()).collect();
    let told =
        ["the `_id` is missing", "the `_id` is not a string", "line 5 of source 0 has the same `_id` and comes later"];
    assert_eq!(details, told.map(|detail| format!("{detail:?}")));

    env.applied(&[]);
    let told = env.run(&["get", "b"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert_eq!(serde_json::from_str::<Value>(&told.out).unwrap()["bibcode"], "b");
    assert_eq!(env.run(&["get", "2010Test..00001A"]).code, Some(1));
    let told = env.run(&["explain", "--json", "a"]);
    assert_eq!(told.code, Some(0), "{}", told.err);
    let trace: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!((&trace["source"]["line"], &trace["record"]["fields"]), (&json!(5), &json!([["title", ["E"]]])));
    let told = env.run(&["explain", "f"]);
    assert!(told.err.contains("f is not in minilm: prepare set line 6"), "{}", told.err);
}

/// Naming the default changes nothing; another name is a change, told as such.
#[test]
fn a_changed_key() {
    let env = TestEnv::over("data/papers.jsonl");
    let paper = |n| json!({ "bibcode": format!("b{n}"), "id": format!("i{n}"), "title": format!("T{n}") });
    env.write("data/papers.jsonl", json_lines(&[paper(1), paper(2)]));
    env.applied(&[]);
    env.edit("input = \"data/papers.jsonl\"\n", "input = \"data/papers.jsonl\"\nkey = \"bibcode\"\n");
    assert_eq!(env.plan(&[]).code, Some(0));
    env.edit("key = \"bibcode\"", "key = \"id\"");
    let told = env.plan(&[]);
    assert_eq!(told.code, Some(2));
    assert!(told.out.contains("load.records.key (none) -> \"id\""), "{}", told.out);
    let told = env.applied(&[]);
    assert_eq!(told.embedded_and_reused(), (0, 2), "the texts are what they were");
    assert_eq!(env.run(&["get", "i2"]).code, Some(0));
}

/// A file of another kind, such as a table, or an array that breaks off, is refused, and what was published stays.
#[test]
fn a_file_of_another_kind() {
    let env = TestEnv::of(3);
    env.applied(&[]);
    let before = env.keyed();
    env.write("data/2011.json.gz", "[\n{\"bibcode\": \"x\", \"title\": \"X\"},\n{\"bibcode\": \"y\"}\n");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(3), "{}", told.err);
    assert!(told.err.contains("it ends before its last bracket closes"), "{}", told.err);
    env.write("data/2011.json.gz", "id,title\nx,X\ny,Y\n");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(3), "{}", told.err);
    assert!(told.err.contains("it is a table with columns id, title: none is `bibcode`"), "{}", told.err);
    env.write("data/2011.json.gz", "one\ntwo\n");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(3), "{}", told.err);
    assert!(told.err.contains("2 of 2 were refused, line 1 as invalid_json: "), "{}", told.err);
    assert_eq!(env.keyed(), before, "what was published stays");
}

/// However records stand in a file, the same ones are loaded; each knows the line that it begins in.
#[test]
fn forms_are_told_by_content() {
    let all = papers(2010, 2_000);
    let lines = json_lines(&all);
    let pretty = |separator: &str| {
        let each: Vec<String> = all.iter().map(|paper| serde_json::to_string_pretty(paper).unwrap()).collect();
        each.join(separator)
    };
    let env = TestEnv::over("data/papers");
    let expected: Vec<Value> = all.iter().map(|paper| paper["bibcode"].clone()).collect();
    let solr = json!({ "responseHeader": { "docs": ["no"] }, "response": { "numFound": 2_000, "docs": all } });
    let array = json!(all).to_string();
    let concatenated = lines.iter().filter(|byte| **byte != b'\n').copied().collect();
    let forms: [Vec<u8>; 6] = [
        lines.clone(),
        array.into_bytes(),
        concatenated,
        pretty("\n").into_bytes(),
        format!("[\n{}\n]\n", pretty(",\n")).into_bytes(),
        gzip(pretty(" ").as_bytes()),
    ];
    for (n, form) in forms.into_iter().enumerate() {
        env.write("data/papers", form);
        assert_eq!(loaded(&env), expected.iter().map(|of| of.as_str().unwrap()).collect::<Vec<_>>(), "form {n}");
        let of_last = env.peek("load.records", "records")[1_999]["_line"].clone();
        let height = pretty("\n").lines().count() as u64 / 2_000;
        let line = [2_000, 1, 1, 1 + 1_999 * height, 2 + 1_999 * height, 1 + 1_999 * (height - 1)][n];
        assert_eq!(of_last, line, "form {n}");
    }
    let few = json!({ "response": { "docs": &all[..3] } }).to_string();
    env.write("data/papers", &few);
    let told = env.apply(&[]);
    assert!(told.err.contains("line 1 as no_bibcode: the bibcode is missing; objects with it are at `response.docs`"));
    env.write("data/papers", solr.to_string());
    env.edit("[load.records]\n", "[load.records]\nrecords = \"response.docs\"\n");
    assert_eq!(loaded(&env).len(), 2_000);
    env.edit("response.docs", "response.doc");
    let told = env.apply(&[]);
    let lists = "it has nothing at `records = \"response.doc\"`; it has lists of objects at `response.docs`";
    assert!(told.err.contains(lists), "{}", told.err);
    assert!(told.err.contains("correct `records` in that load node") && !told.err.contains("fetch it again"));

    // An error in the place of an answer is counted and listed.
    env.edit("response.doc", "response.docs");
    env.write("data/papers", format!("{few}{{\"error\":{{\"code\":503}}}}\n{few}\n"));
    assert_eq!(loaded(&env).len(), 3);
    assert_eq!(env.peek("load.records", "rejects")[0]["reason"], "outside_records");
}

/// Rows of CSV and Parquet are records too; a row with too many cells is set aside at its line.
#[test]
fn tables_are_records() {
    let env = TestEnv::over("data/papers");
    let csv = "bibcode,title,abstract\n2010Test..00001A,One,\"Two\nlines\"\n2010Test..00002A,,Three\nx,y,z,w\n";
    env.write("data/papers", gzip(csv.as_bytes()));
    assert_eq!(loaded(&env), ["2010Test..00001A", "2010Test..00002A"]);
    let records = env.peek("load.records", "records");
    assert_eq!((&records[0]["abstract"], &records[1]["title"]), (&json!(["Two\nlines"]), &Value::Null));
    assert_eq!((&records[0]["_line"], &records[1]["_line"]), (&json!(2), &json!(4)));
    let [reject] = &env.peek("load.records", "rejects")[..] else { panic!("one row is set aside") };
    assert_eq!((&reject["line"], &reject["reason"]), (&json!(5), &json!("invalid_row")));
    assert_eq!(reject["detail"], "the row has 4 cells, and the first line has 3");

    // The texts of a prepare step are such a table.
    env.applied(&[]);
    let texts = env.records().into_iter().find_map(|record| record.outputs.get("texts").copied()).unwrap();
    std::fs::copy(env.blob(&texts.digest), env.path("data/papers")).unwrap();
    env.edit("fields = [\"title\", \"abstract\"]\n\n[prepare", "fields = [\"text\", \"characters\"]\n\n[prepare");
    env.edit("fields = [\"title\", \"abstract\"]", "fields = [\"text\"]");
    assert_eq!(loaded(&env), ["2010Test..00001A", "2010Test..00002A"]);
    let records = env.peek("load.records", "records");
    assert_eq!((&records[1]["text"], &records[1]["characters"]), (&json!(["Three"]), &json!(["5"])));
    assert_eq!((&records[0]["_line"], &records[1]["_line"]), (&json!(1), &json!(2)));
}

/// Control characters outside escapes are refused; numbers stay as they are written, however large; and a file that is a
/// thousand times as large as it looks costs no memory.
#[test]
fn hostile_lines() {
    let env = TestEnv::over("data/papers");
    let lines = [
        "{\"bibcode\":\"a\",\"title\":1e999}",
        "{\"bibcode\":\"b\",\"title\":\"x\u{0}y\"}",
        "\u{0}\u{0}",
        "{\"bibcode\":\"c\",\"title\":\"\\u0000\",\"n\":1e99999}",
        "{\"bibcode\":\"d\",\"title\":\"\\ud800\"}",
    ];
    let bomb = format!("\n{{\"bibcode\":\"e\",\"title\":\"{}\"}}\n", "0".repeat(64 << 20));
    env.write("data/papers", gzip(format!("{}{bomb}", lines.join("\n")).as_bytes()));
    assert_eq!(loaded(&env), ["a", "c"]);
    let records = env.peek("load.records", "records");
    assert_eq!((&records[0]["title"], &records[1]["title"]), (&json!(["1e999"]), &json!(["\0"])));
    let reasons: Vec<_> =
        rejects(&env, "load.records").into_iter().map(|(_, line, _, reason)| (line, reason)).collect();
    let expected = [(2, "invalid_json"), (3, "invalid_json"), (5, "invalid_json"), (6, "too_long")];
    assert_eq!(reasons, expected.map(|(line, reason)| (line, reason.to_owned())));
}

/// A field may be inside another; missing, null and empty ones are counted apart, and those that stand twice.
#[test]
fn fields_inside_fields() {
    let env = TestEnv::over("data/papers.json");
    env.edit(
        "fields = [\"title\", \"abstract\"]\n\n[prepare",
        "fields = [\"title\", \"author.0\", \"pub.name\"]\n\n[prepare",
    );
    env.edit("fields = [\"title\", \"abstract\"]", "fields = [\"title\"]");
    let lines = [
        r#"{"bibcode": "a", "title": "A", "author": ["First", "Second"], "pub": {"name": "ApJ"}}"#,
        r#"{"bibcode": "b", "title": "", "author": [], "pub": {"name": null}}"#,
        r#"{"bibcode": "c", "title": "C", "title": null, "author": "Alone", "pub": "MNRAS"}"#,
    ];
    env.write("data/papers.json", lines.join("\n"));
    assert_eq!(loaded(&env), ["a", "b", "c"]);
    let records = env.peek("load.records", "records");
    assert_eq!((&records[0]["author.0"], &records[0]["pub.name"]), (&json!(["First"]), &json!(["ApJ"])));
    assert_eq!((&records[1]["author.0"], &records[2]["pub.name"]), (&Value::Null, &Value::Null));
    let [record] = &env.records()[..] else { panic!("load alone has run") };
    let counts: Vec<(&str, u64)> = record.counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    let fields = |name: &str| counts.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
    assert_eq!(
        ["field.title", "null.title", "missing.title", "empty.title"].map(fields),
        [Some(2), Some(1), None, Some(1)]
    );
    assert_eq!(["field.author.0", "missing.author.0"].map(fields), [Some(2), Some(1)], "a string is a list of one");
    assert_eq!(["field.pub.name", "null.pub.name", "missing.pub.name"].map(fields), [Some(1), Some(1), Some(1)]);
    assert_eq!(fields("duplicate_fields"), Some(1));
}

/// A field that no record has is told, and texts without any text are no dataset.
#[test]
fn a_misspelt_field() {
    let env = TestEnv::of(3);
    env.edit("fields = [\"title\", \"abstract\"]\n\n[prepare", "fields = [\"title\", \"abstrct\"]\n\n[prepare");
    env.edit("fields = [\"title\", \"abstract\"]", "fields = [\"abstrct\"]");
    let told = env.apply(&[]);
    assert!(told.err.contains("no record has a field `abstrct`"), "{}", told.err);
    let empty = env.run(&["peek", "workflow.toml", "load.records[2010]", "rejects"]);
    assert_eq!((empty.code, empty.out.as_str()), (Some(0), ""));
    assert_eq!(empty.err, "rejects of load.records[2010] has no rows; its tables are records, rejects\n");
    assert!(
        told.out.contains("\n  note       load.records[2010], load.records[2011]: no record has a field `abstrct`\n"),
        "{}",
        told.out
    );
    assert_eq!(told.code, Some(3), "{}", told.err);
    assert!(told.err.contains("none has text in abstrct"), "{}", told.err);
}
