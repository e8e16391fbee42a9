//! Looking papers up by bibcode: every format says the same, and what is not there is said.

use std::fs;

use serde_json::{Value, json};

use crate::env::{TestEnv, Told, paper, papers, titled};

fn published() -> TestEnv {
    let env = TestEnv::of(20);
    env.edit("model = \"fake://16\"", "model = \"fake://16\"\nstore_dtype = \"f32\"");
    env.edit("label = \"minilm\"\ndtype = \"f16\"", "label = \"minilm\"\ndtype = \"f32\"");
    env.applied(&[]);
    env
}

/// The vector in a JSON answer. Its numbers are widened from what is published, so they come back exactly.
fn vector(answer: &Value) -> Vec<f32> {
    answer["embedding"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32).collect()
}

fn answers(told: &Told) -> Vec<Value> {
    assert_eq!(told.code, Some(0), "{}", told.err);
    told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect()
}

/// json, npy and f32le agree with each other, and with the vectors table that they were published from.
#[test]
fn formats_agree_with_each_other_and_with_the_vectors_table() {
    let env = published();
    let (first, second) = ("2011Test..00003A", "2010Test..00007A");
    let json = answers(&env.run(&["get", first, second]));
    assert_eq!((&json[0]["bibcode"], &json[1]["bibcode"]), (&json!(first), &json!(second)));
    let vectors: Vec<f32> = json.iter().flat_map(vector).collect();
    assert_eq!(vectors.len(), 2 * 16);

    let bare = env.run(&["get", "--format", "f32le", first, second]);
    assert_eq!(floats(&bare.bytes), vectors);

    let npy = env.run(&["get", "--format", "npy", first, second]).bytes;
    assert!(npy.starts_with(b"\x93NUMPY\x01\x00"));
    let header = 10 + usize::from(u16::from_le_bytes([npy[8], npy[9]]));
    let told = String::from_utf8_lossy(&npy[10..header]);
    assert!(told.contains("'descr': '<f4', 'fortran_order': False, 'shape': (2, 16)"), "{told}");
    assert_eq!(floats(&npy[header..]), vectors);

    for (answer, step) in json.iter().zip(["embed.minilm[2011]", "embed.minilm[2010]"]) {
        let table = env.peek(step, "vectors");
        let row = &table[usize::try_from(answer["row"].as_u64().unwrap()).unwrap()];
        assert_eq!((&row["bibcode"], &row["row_key"]), (&answer["bibcode"], &answer["row_key"]));
        assert_eq!(vector(row), vector(answer));
    }
}

/// What is published in half precision is the vectors table rounded once.
#[test]
fn half_precision_is_rounded_once() {
    let env = TestEnv::of(5);
    env.edit("model = \"fake://16\"", "model = \"fake://16\"\nstore_dtype = \"f32\"");
    env.applied(&[]);
    let answer = &answers(&env.run(&["get", "2010Test..00002A"]))[0];
    let row = &env.peek("embed.minilm[2010]", "vectors")[2];
    let rounded: Vec<f32> = vector(row).iter().map(|&number| half::f16::from_f32(number).to_f32()).collect();
    assert_eq!(vector(answer), rounded);
    assert_ne!(vector(answer), vector(row));
}

/// Every answer says which paper, which dataset and which set it is from.
#[test]
fn an_answer_tells_its_origin() {
    let env = TestEnv::of(3);
    env.applied(&[]);
    let mut answer = answers(&env.run(&["get", "2010Test..00001A"])).remove(0);
    let answer = answer.as_object_mut().unwrap();
    assert_eq!(answer.remove("embedding").unwrap().as_array().unwrap().len(), 16);
    let manifest: Value =
        serde_json::from_slice(&fs::read(env.path("embeddings/manifest_minilm_2010.json")).unwrap()).unwrap();
    assert_eq!(answer["set"], manifest["set"]);
    let records = env.peek("load.records[2010]", "records");
    assert_eq!(answer["metadata_digest"], records[1]["_metadata_digest"]);
    let keys: Vec<&String> = answer.keys().collect();
    assert_eq!(keys, ["bibcode", "dataset", "dim", "dtype", "metadata_digest", "model", "row", "row_key", "set"]);
    assert_eq!(
        (&answer["dataset"], &answer["dtype"], &answer["row"]),
        (&json!("minilm_2010"), &json!("f16"), &json!(1))
    );
}

/// Many bibcodes on standard input are answered in their order; blanks around them and between them are no bibcodes.
#[test]
fn many_on_standard_input() {
    let env = published();
    let asked: Vec<String> = (0..20).rev().map(|n| paper(2011, n)["bibcode"].as_str().unwrap().to_owned()).collect();
    let input = format!("\n  {}\r\n\n", asked.join("\n"));
    let answers = answers(&env.run_with(&["get"], &input, &[]));
    let answered: Vec<&str> = answers.iter().map(|answer| answer["bibcode"].as_str().unwrap()).collect();
    assert_eq!(answered, asked);
    let nothing = env.run_with(&["get"], "", &[]);
    assert_eq!((nothing.code, nothing.out.as_str()), (Some(0), ""));
}

/// An unknown bibcode is said, with those that it may be a slip of; the known ones are answered all the same.
#[test]
fn an_unknown_one_is_said() {
    let env = TestEnv::of(3);
    env.applied(&[]);
    let told = env.run(&["get", "2010Test..00001A", "2010Tset..00001A", "nothing like it"]);
    assert_eq!(told.code, Some(1));
    assert_eq!(told.out.lines().count(), 1);
    insta::assert_snapshot!(told.err, @"
        2010Tset..00001A is unknown; near it: 2010Test..00001A
        nothing like it is unknown
        2 of 3 bibcodes are unknown
        ");
    for format in ["npy", "f32le"] {
        let told = env.run(&["get", "--format", format, "2010Test..00001B"]);
        assert_eq!(told.code, Some(1), "{format}");
    }
}

/// Bibcodes with every letter that they come with.
#[test]
fn bibcodes_of_every_kind() {
    let env = TestEnv::empty();
    let bibcodes =
        ["1998A&A...330..453B", "2001Sci/291/2529X", "with a space", "2018Wthr...73Q..35.", "Ünïcode…", "-dash"];
    let papers: Vec<Value> = bibcodes.iter().map(|bibcode| titled(bibcode, format!("On {bibcode}"))).collect();
    env.write_year(2010, &papers);
    env.write_year(2011, &crate::env::papers(2011, 1));
    env.applied(&[]);
    for (row, bibcode) in bibcodes.iter().enumerate() {
        let answer = &answers(&env.run(&["get", "--", bibcode]))[0];
        assert_eq!((&answer["bibcode"], &answer["row"]), (&json!(bibcode), &json!(row)));
    }
    let list = fs::read_to_string(env.path("embeddings/bibcodes_minilm_2010.txt")).unwrap();
    assert_eq!(list.lines().collect::<Vec<_>>(), bibcodes);
}

/// A paper in two datasets is not guessed: the datasets are named, and `--dataset` chooses one.
#[test]
fn a_paper_in_two_datasets() {
    let env = TestEnv::of(2);
    env.write_year(2011, &[papers(2011, 2), papers(2010, 1)].concat());
    env.applied(&[]);
    let told = env.run(&["get", "2010Test..00000A"]);
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
    insta::assert_snapshot!(told.err, @"2010Test..00000A is in several datasets: minilm_2010, minilm_2011; choose one with --dataset NAME");
    let answer = &answers(&env.run(&["get", "--dataset", "minilm_2011", "2010Test..00000A"]))[0];
    assert_eq!((&answer["dataset"], &answer["row"]), (&json!("minilm_2011"), &json!(2)));
    assert_eq!(env.run(&["get", "--dataset", "minilm_2010", "2011Test..00000A"]).code, Some(1));
}

/// A directory or a dataset that is not there is an error that says what is.
#[test]
fn no_such_directory_or_dataset() {
    let env = TestEnv::of(1);
    let told = env.run(&["get", "2010Test..00000A"]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("embeddings"), "{}", told.err);
    env.applied(&[]);
    let told = env.run(&["get", "--dir", "embeddings", "--dataset", "minilm_2012", "2010Test..00000A"]);
    assert_eq!(told.code, Some(1));
    assert!(told.err.contains("minilm_2010, minilm_2011"), "{}", told.err);
}
