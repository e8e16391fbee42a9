//! What the program says of input that it cannot use, word for word: the file, the place, the value, and what to do. With
//! it goes that nothing is half-written, and that the years which are in order are done.
//!
//! Faults inside a workflow's text are in `tests/manifests`; lines that are set aside are in `load.rs`.

use std::fs;
use std::path::PathBuf;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};

use crate::env::{TestEnv, Told, file_name, files, gzip, json_lines, papers, say, titled};
use crate::namespace::{self, Disk};

const SKIP_MISSING: (&str, &str) = (
    "fields = [\"title\", \"abstract\"]\n\n[prepare",
    "fields = [\"title\", \"abstract\"]\nmissing = \"skip\"\n\n[prepare",
);

/// What it says in the end of why it failed: the lines before tell how the steps went, in whatever order they did.
fn complaint(told: &Told) -> String {
    let lines: Vec<&str> = told.err.lines().collect();
    let start = lines.iter().position(|line| line.ends_with(" failed:")).unwrap_or(0);
    lines[start..].join("\n").trim().to_owned()
}

/// No unfinished file and no lock is left, and these years alone are published, whole.
fn assert_published(env: &TestEnv, years: &[u16]) {
    for folder in ["store/tmp", "store/locks"] {
        assert_eq!(files(&env.path(folder)), Vec::<PathBuf>::new(), "{folder}");
    }
    let links = files(&env.path("embeddings/.sciembed/links"));
    let expected: Vec<String> = years.iter().map(|year| format!("minilm_{year}")).collect();
    assert_eq!(links.iter().map(|link| file_name(link)).collect::<Vec<_>>(), expected);
    for year in years {
        let whole = sciembed::dataset::Dataset::open(&env.path("embeddings"), &format!("minilm_{year}")).unwrap();
        assert!(whole.description().rows > 0);
    }
}

/// Applies with such a file for 2011: 2010 is done, and of 2011 nothing is recorded or published.
fn with_bad_2011(bytes: impl AsRef<[u8]>) -> (TestEnv, String) {
    let env = TestEnv::of(50);
    env.write("data/2011.json.gz", bytes);
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(3), "{}{}", told.out, told.err);
    assert_eq!(env.records().len(), 4, "the steps of 2010");
    assert_published(&env, &[2010]);
    let complaint = complaint(&told);
    (env, complaint)
}

/// A file that is missing is told before anything is done, unless missing ones are to be skipped.
#[test]
fn a_missing_file() {
    let env = TestEnv::empty();
    env.write_year(2010, &papers(2010, 3));
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @r#"
        × failed to plan load.records[2011]
          ╰─▶ sciembed::source::missing

                × find $ENV/project/data/2011.json.gz: no such file
                help: correct `input`, or put `missing = "skip"` into that load node if years may be absent
        "#);
    assert!(!env.path("store").exists() && !env.path("embeddings").exists());
    env.edit(SKIP_MISSING.0, SKIP_MISSING.1);
    env.applied(&[]);
    assert_eq!(fs::read_to_string(env.path("embeddings/bibcodes_minilm_2010.txt")).unwrap().lines().count(), 3);
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// An empty file is no year: it is refused, so that a broken download never replaces a good set by an empty one.
/// Where years may be absent, it counts as empty.
#[test]
fn an_empty_file() {
    let (env, complaint) = with_bad_2011("");
    insta::assert_snapshot!(complaint, @r#"
        load.records[2011] failed:
        sciembed::source::empty

          × failed to read $ENV/project/data/2011.json.gz: it holds no records
          help: fetch the file again, or put `missing = "skip"` into that load node if years may be empty
        "#);
    env.edit(SKIP_MISSING.0, SKIP_MISSING.1);
    env.applied(&[]);
    assert_eq!(fs::read_to_string(env.path("embeddings/bibcodes_minilm_2011.txt")).unwrap(), "");
    assert_eq!(env.run(&["get", "2010Test..00001A"]).code, Some(0));
    assert_eq!(env.plan(&[]).code, Some(0));
}

/// A download that broke off never counts as a short year.
#[test]
fn a_file_cut_short() {
    let whole = gzip(&json_lines(&papers(2011, 50)));
    let (env, complaint) = with_bad_2011(&whole[..whole.len() - 10]);
    insta::assert_snapshot!(complaint, @"
        load.records[2011] failed:
        sciembed::source::read

          × failed to read $ENV/project/data/2011.json.gz after 0 bytes of text: incomplete deflate stream
          help: the file is cut short, damaged or not to be read by you: look at its permissions, or fetch it again; nothing of it was used
        ");
    env.write("data/2011.json.gz", whole);
    assert_eq!(env.applied(&[]).started().len(), 4);
}

/// The same of lines that were never compressed, or were when they had been cut already: the last one tells.
#[test]
fn lines_cut_short() {
    let whole = json_lines(&papers(2011, 50));
    let (env, complaint) = with_bad_2011(&whole[..whole.len() - 10]);
    insta::assert_snapshot!(complaint, @"
        load.records[2011] failed:
        sciembed::source::read

          × failed to read $ENV/project/data/2011.json.gz after 0 bytes of text: its last line, line 50, is no whole record and has no newline
          help: the file is cut short, damaged or not to be read by you: look at its permissions, or fetch it again; nothing of it was used
        ");
    env.write("data/2011.json.gz", &whole[..whole.len() - 1]);
    assert_eq!(env.applied(&[]).started().len(), 4);
}

/// A quote that nobody closes takes the rest of a table with it.
#[test]
fn a_table_with_an_open_quote() {
    let (_, complaint) = with_bad_2011("bibcode,title,abstract\r\na,One,\r\nb,\"Two,\r\nc,Three,\r\n");
    insta::assert_snapshot!(complaint, @"
        load.records[2011] failed:
        sciembed::source::unfit

          × failed to read $ENV/project/data/2011.json.gz: the quote that opens in line 3 does not close, in cell 2
          help: close that quote; inside a cell that stands in quotes, a quote is written twice
        ");
}

/// What an archive holds is not guessed at, and a page in the place of a file is called one.
#[test]
fn files_that_hold_no_records() {
    let (env, complaint) = with_bad_2011(gzip(b"<!DOCTYPE html>\n<html><title>Sign in</title></html>"));
    insta::assert_snapshot!(complaint, @"
        load.records[2011] failed:
        sciembed::source::unfit

          × failed to read $ENV/project/data/2011.json.gz: it is an HTML page
          help: fetch the file again: a server answers so where it asks for a login, or fails
        ");
    env.write("data/2011.json.gz", b"PK\x03\x04 and so on");
    assert!(env.apply(&[]).err.contains("it is a zip archive"));
}

/// A name says nothing of a file's content, so only what begins like gzip and goes on otherwise is damaged gzip.
#[test]
fn gzip_that_is_none() {
    let (_, complaint) = with_bad_2011([&[0x1f, 0x8b][..], b"what follows is no deflate stream at all"].concat());
    insta::assert_snapshot!(complaint, @"
        load.records[2011] failed:
        sciembed::source::read

          × failed to read $ENV/project/data/2011.json.gz after 0 bytes of text: invalid gzip header
          help: the file is cut short, damaged or not to be read by you: look at its permissions, or fetch it again; nothing of it was used
        ");
}

/// The same where the stream is damaged in the middle.
#[test]
fn gzip_with_a_damaged_middle() {
    let mut bytes = gzip(&json_lines(&papers(2011, 50)));
    let middle = bytes.len() / 2;
    bytes[middle..middle + 40].fill(0xff);
    let (_, complaint) = with_bad_2011(bytes);
    insta::assert_snapshot!(complaint, @"
        load.records[2011] failed:
        sciembed::source::read

          × failed to read $ENV/project/data/2011.json.gz after 0 bytes of text: corrupt gzip stream does not have a matching checksum
          help: the file is cut short, damaged or not to be read by you: look at its permissions, or fetch it again; nothing of it was used
        ");
}

#[test]
fn a_directory_as_input() {
    let env = TestEnv::of(3);
    fs::remove_file(env.path("data/2011.json.gz")).unwrap();
    fs::create_dir(env.path("data/2011.json.gz")).unwrap();
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @"
        × failed to plan load.records[2011]
          ╰─▶ sciembed::source::not_a_file

                × read $ENV/project/data/2011.json.gz: it is no regular file
                help: name a file, or a glob such as `data/*.json.gz`
        ");
    assert!(!env.path("store").exists() && !env.path("embeddings").exists());
}

/// Bytes that are no UTF-8 set their line aside, with its place; a file of nothing else is refused.
#[test]
fn lines_that_are_no_utf8() {
    let latin = b"{\"bibcode\": \"2011Test..00009A\", \"title\": \"caf\xe9\"}\n";
    let (env, complaint) = with_bad_2011(latin);
    insta::assert_snapshot!(complaint, @"
        load.records[2011] failed:
        sciembed::node::nothing_kept

          × failed to keep any line of data/2011.json.gz: 1 of 1 were refused, line 1 as invalid_utf8: byte 45 of the line
          help: each record must be a JSON object, or a row of a table, with a bibcode, or whichever field `key` names, which must be a string; `records` names where in an answer they are
        ");
    env.write("data/2011.json.gz", [&json_lines(&papers(2011, 2))[..], latin].concat());
    let told = env.applied(&[]);
    let rejected = told.out.lines().find(|line| line.contains("peek")).unwrap();
    insta::assert_snapshot!(rejected, @"  rejected   1 in load.records[2011]; list them: sciembed peek workflow.toml 'load.records[2011]' rejects");
    let [reject] = &env.peek("load.records[2011]", "rejects")[..] else { panic!("one line is set aside") };
    insta::assert_snapshot!(reject, @r#"{"detail":"byte 45 of the line","excerpt":"{\"bibcode\": \"2011Test..00009A\", \"title\": \"caf�\"}","file":"data/2011.json.gz","line":3,"offset":238,"reason":"invalid_utf8","source":0}"#);
    assert_published(&env, &[2010, 2011]);
}

/// A record that is longer than records may be is passed over and listed; where it may be so long, lines come whole: of
/// one that is no JSON the beginning is kept, and a long title is a title.
#[test]
fn lines_of_fifty_megabytes() {
    const LONG: usize = 50_000_000;
    let env = TestEnv::of(3);
    let long = titled("2011Test..99999A", "x".repeat(LONG));
    let no_json = [vec![b'x'; LONG], b"\n".to_vec()].concat();
    env.write("data/2011.json.gz", gzip(&[no_json, json_lines(&papers(2011, 3)), json_lines(&[long])].concat()));
    let told = env.apply(&["--target", "load.records[2011]"]);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    let rejects = env.peek("load.records[2011]", "rejects");
    let places: Vec<_> = rejects.iter().map(|row| (row["line"].clone(), row["reason"].clone())).collect();
    assert_eq!(places, [(json!(1), json!("too_long")), (json!(5), json!("too_long"))]);
    assert_eq!(rejects[0]["detail"], "it has more than 16777216 bytes (max_record_bytes)");

    env.edit("[load.records]\n", "[load.records]\nmax_record_bytes = 60_000_000\n");
    let child = env.start(&["apply", "workflow.toml"]);
    let most = Rlimit { current: Some(1 << 30), maximum: Some(1 << 30) };
    prlimit(Some(Pid::from_child(&child)), Resource::Data, most).unwrap();
    let told = env.wait(child);
    assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
    let [reject] = &env.peek("load.records[2011]", "rejects")[..] else { panic!("one line is set aside") };
    assert_eq!((&reject["line"], &reject["reason"]), (&json!(1), &json!("invalid_json")));
    assert_eq!(reject["excerpt"].as_str().unwrap(), "x".repeat(200));
    assert_eq!(env.peek("prepare.texts[2011]", "texts")[3]["characters"], LONG);
    assert_eq!(env.run(&["get", "2011Test..99999A"]).code, Some(0));
    assert_published(&env, &[2010, 2011]);
}

/// The bytes that are read must be those that were planned with. Here the digest that the plan remembers is false: load
/// finds it out, names the file, and records nothing.
#[test]
fn a_file_replaced_between_plan_and_load() {
    let env = TestEnv::over("data/papers.json");
    env.write("data/papers.json", json_lines(&[titled("a", "One")]));
    // Young files are not remembered.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let load = ["--target", "load.records"];
    env.applied(&load);
    assert_eq!(env.plan(&load).code, Some(0));
    let digest = env.records()[0].sources[0].digest.to_string();
    let remembered = fs::read_to_string(env.path("store/digests.json")).unwrap();
    // As older programs remembered: a map of files without a check, since a false one would be seen.
    let remembered: Value = serde_json::from_str(&remembered).unwrap();
    let files = remembered["files"].to_string();
    env.write("store/digests.json", files.replace(&digest, &"0".repeat(digest.len())));
    env.edit("fields = [\"title\", \"abstract\"]\n\n[prepare", "fields = [\"abstract\", \"title\"]\n\n[prepare");
    let told = env.apply(&load);
    assert_eq!(told.code, Some(3), "{}", told.err);
    insta::assert_snapshot!(complaint(&told), @"
        load.records failed:
        sciembed::source::changed

          × failed to read $ENV/project/data/papers.json: it changed while it was being read
          help: wait until whoever writes it is done, and apply again
        ");
    assert_eq!(env.records().len(), 1);
    assert_published(&env, &[]);
}

#[test]
fn a_missing_model() {
    let env = TestEnv::of(3);
    env.edit("fake://16", "models/none");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @"
        × failed to plan embed.minilm[2010]
          ╰─▶ sciembed::model::no_folder

                × open the model folder $ENV/project/models/none: it does not exist or is not a folder
                help: `model` is a path relative to the manifest; ./setup.sh brings all-MiniLM-L6-v2 to models/


        the same keeps embed.minilm[2011] from being planned
        ");
    assert!(!env.path("store").exists());
}

/// What stands for a model elsewhere is no folder here.
#[test]
fn a_model_of_the_hub_without_its_scheme() {
    let env = TestEnv::of(3);
    env.edit("fake://16", "sentence-transformers/all-MiniLM-L6-v2");
    let remedy =
        "did you mean `hf://sentence-transformers/all-MiniLM-L6-v2`? `model` is a path relative to the manifest";
    let told = env.plan(&[]);
    assert!(told.code == Some(1) && told.err.contains(remedy), "{}", told.err);
    fs::create_dir(env.path("sentence-transformers")).unwrap();
    let told = env.plan(&[]);
    assert!(told.code == Some(1) && !told.err.contains("did you mean"), "a folder was meant: {}", told.err);
}

#[test]
fn a_model_without_its_tokenizer() {
    let env = TestEnv::of(3);
    env.edit("fake://16\"", "models/half\"\npooling = \"mean\"\nnormalize = true\nmax_length = 64");
    fs::create_dir_all(env.path("models/half")).unwrap();
    env.write("models/half/model.onnx", "a graph");
    env.write("models/half/config.json", "{\"hidden_size\": 16}");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @"
        × failed to plan embed.minilm[2010]
          ╰─▶ sciembed::model::missing_file

                × find the tokenizer of the model in $ENV/project/models/half: looked for tokenizer.json
                help: copy tokenizer.json (the fast tokenizer; vocab.txt is not enough) into the folder


        the same keeps embed.minilm[2011] from being planned
        ");
    assert!(!env.path("store").exists());
}

#[test]
fn a_store_that_is_a_file() {
    let env = TestEnv::of(3);
    env.write("store", "mine");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @"
        sciembed::store::read

          × failed to read $ENV/project/store/VERSION: Not a directory (os error 20)
          help: check that the path exists and that this user may read it
        ");
    assert_eq!(fs::read(env.path("store")).unwrap(), b"mine");
    assert!(!env.path("embeddings").exists());
}

#[test]
fn a_store_whose_version_cannot_be_read() {
    let env = TestEnv::of(3);
    fs::create_dir_all(env.path("store/VERSION")).unwrap();
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @"
        sciembed::store::read

          × failed to read $ENV/project/store/VERSION: Is a directory (os error 21)
          help: check that the path exists and that this user may read it
        ");
    assert!(!env.path("embeddings").exists());
}

#[test]
fn a_store_without_permission() {
    if rustix::process::geteuid().is_root() {
        say("SKIPPED: bad_input::a_store_without_permission: root may read everything");
        return;
    }
    let env = TestEnv::of(3);
    fs::create_dir(env.path("store")).unwrap();
    let mode =
        |mode| fs::set_permissions(env.path("store"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    mode(0o000);
    let told = env.apply(&[]);
    mode(0o755);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("read $ENV/project/store/VERSION: Permission denied"), "{}", told.err);
    assert!(!env.path("embeddings").exists());
}

#[test]
fn a_disk_that_cannot_be_written_to() {
    namespace::run("bad_input::on_a_read_only_disk");
}

/// What stands can be planned with, applied with nothing to do, and read; what is to be written is refused with its path.
#[test]
#[ignore = "mounts: a_disk_that_cannot_be_written_to runs it where it may"]
fn on_a_read_only_disk() {
    let disk = Disk::mount("size=64m");
    let env = TestEnv::empty_in(disk.path());
    env.write_year(2010, &papers(2010, 3));
    env.edit("[2010, 2011]", "[2010]");
    disk.remount("ro");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @"
        sciembed::store::write

          × failed to write $ENV/project/store/blobs: Read-only file system (os error 30)
          help: free space or permissions on that file system; what was finished is kept, and the next apply goes on from it
        ");

    disk.remount("rw");
    env.applied(&[]);
    let before = env.keyed();
    disk.remount("ro");
    assert_eq!(env.plan(&[]).code, Some(0));
    env.applied(&[]);
    assert_eq!(env.run(&["get", "2010Test..00001A"]).code, Some(0));
    let told = env.apply(&["--set", "prepare.texts.prefix=x"]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("failed to write $ENV/project/store/runs/"), "{}", told.err);
    assert!(told.err.contains(": Read-only file system (os error 30)\n"), "{}", told.err);
    assert_eq!(env.keyed(), before);
}

#[test]
fn a_workflow_of_ten_megabytes() {
    let env = TestEnv::of(3);
    let text = fs::read_to_string(env.path("workflow.toml")).unwrap();
    env.write("workflow.toml", text + &"# and so on\n".repeat(10_000_000 / 12));
    for command in ["check", "plan", "apply"] {
        let told = env.run(&[command, "workflow.toml"]);
        assert_eq!(told.code, Some(1));
        insta::allow_duplicates! {
            insta::assert_snapshot!(complaint(&told), @"
                sciembed::cli::workflow

                  × failed to read workflow.toml: it has 10000358 bytes, and a workflow has at most 1048576
                  help: name a workflow file, such as workflows/quickstart.toml
                ");
        }
    }
    assert!(!env.path("store").exists());
}

/// Two axes that are short enough each, and together are not.
#[test]
fn a_matrix_of_a_hundred_thousand_cells() {
    let env = TestEnv::of(3);
    env.edit("year = [2010, 2011]", "year = \"1001..=2000\"\npart = \"1..=100\"");
    env.edit("{year}.json.gz", "{year}-{part}.json.gz");
    for command in ["check", "plan", "apply"] {
        let told = env.run(&[command, "workflow.toml"]);
        assert_eq!(told.code, Some(1));
        insta::allow_duplicates! {
            insta::assert_snapshot!(complaint(&told), @r#"
                sciembed::graph::too_many_steps

                  × `load.records` has 100,000 steps
                    ╭─[workflow.toml:9:7]
                  5 │ [matrix]
                  6 │ year = "1001..=2000"
                    ·        ──────┬──────
                    ·              ╰── 1,000 values
                  7 │ part = "1..=100"
                    ·        ────┬────
                    ·            ╰── 100 values
                  8 │ 
                  9 │ [load.records]
                    ·       ───┬───
                    ·          ╰── at most 10,000 are allowed
                 10 │ input = "data/{year}-{part}.json.gz"
                    ╰────
                  help: shorten the ranges, or split the workflow: several may share one store

                1 fault in the workflow
                "#);
        }
    }
    assert!(!env.path("store").exists());
}

/// Everything that stands in a folder, by its path in it.
fn tree(env: &TestEnv) -> Vec<String> {
    let outside = files(env.path("..").as_path());
    outside.iter().chain(&files(&env.path(""))).map(|path| file_name(path)).collect()
}

/// Names out of workflows and files become parts of file names, and never paths.
#[test]
fn names_never_become_paths() {
    let env = TestEnv::of(2);
    env.edit("label = \"minilm\"", "label = \"../../out\"");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @r#"
        sciembed::manifest::invalid_name

          × `../../out` cannot be the label of a dataset
            ╭─[workflow.toml:24:9]
         23 │ dir = "embeddings"
         24 │ label = "../../out"
            ·         ─────┬─────
            ·              ╰── cannot be part of a file name
         25 │ dtype = "f16"
            ╰────
          help: letters, digits, `_`, `.` and `-`, 100 at most; a letter or digit first, and no `..`

        1 fault in the workflow
        "#);
    env.edit("label = \"../../out\"\n", "");
    env.edit("fake://16", "models/..");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @r#"
        sciembed::manifest::invalid_name

          × `..` cannot be the label of a dataset
            ╭─[workflow.toml:21:10]
         20 │ 
         21 │ [persist.yearly]
            ·          ───┬──
            ·             ╰── labelled after the model, because it has no `label`
         22 │ from = "minilm"
            ╰────
          help: write `label = "..."`: letters, digits, `_`, `.` and `-`, 100 at most; a letter or digit first, and no `..`

        1 fault in the workflow
        "#);
    env.edit("dir = \"embeddings\"", "dir = \"embeddings\"\nlabel = \"minilm\"");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @"
        × failed to plan embed.minilm[2010]
          ╰─▶ sciembed::model::no_folder

                × open the model folder $ENV/project/models/..: it does not exist or is not a folder
                help: `model` is a path relative to the manifest; ./setup.sh brings all-MiniLM-L6-v2 to models/


        the same keeps embed.minilm[2011] from being planned
        ");
    assert_eq!(tree(&env), ["project", "data", "workflow.toml"]);
}

#[test]
fn bibcodes_never_become_paths() {
    let env = TestEnv::of(2);
    let bibcodes = ["../../../out", "/tmp/out", "..", "2011/../out", "2011A&A...1....1A"];
    let year: Vec<Value> = bibcodes.iter().map(|bibcode| titled(bibcode, format!("On {bibcode}"))).collect();
    env.write_year(2011, &year);
    env.applied(&[]);
    assert_published(&env, &[2010, 2011]);
    assert_eq!(env.run(&[&["get"], &bibcodes[..]].concat()).out.lines().count(), bibcodes.len());
    assert_eq!(tree(&env), ["project", "data", "embeddings", "store", "workflow.toml"]);
    let told = env.run(&["get", "--dataset", "../../../data", ".."]);
    assert_eq!(told.code, Some(1));
    insta::assert_snapshot!(complaint(&told), @"
        sciembed::dataset::unknown

          × failed to find dataset ../../../data in embeddings
          help: it holds minilm_2010, minilm_2011
        ");
}
