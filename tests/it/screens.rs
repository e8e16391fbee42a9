//! What people see: each command on terminals of 80 and of 120 columns, and without one.
//!
//! A pseudo-terminal of that width runs the program (`script`, of util-linux), and an emulator reads what it wrote, so that
//! bars which were drawn and went away are gone here too. Nothing may be broken by the edge of the terminal but what is
//! longer than a line by itself.

use serde_json::json;

use crate::env::{TestEnv, papers, titled};

/// A snapshot of a command at both widths and without a terminal.
fn assert_screens(env: &TestEnv, name: &str, arguments: &[&str]) {
    for columns in [80, 120] {
        let shown = env.screen(columns, arguments, &[]).text;
        insta::with_settings!({ snapshot_suffix => columns.to_string() }, { insta::assert_snapshot!(name, shown) });
    }
    let told = env.run(arguments);
    let shown = format!("{}--- standard error, exit code {:?}\n{}", told.out, told.code, told.err);
    insta::with_settings!({ snapshot_suffix => "no_terminal" }, { insta::assert_snapshot!(name, shown) });
}

/// Asserts that what has run ids, times and machines in it, and so no snapshot, says the same on terminals, no word torn.
fn assert_words(env: &TestEnv, arguments: &[&str]) {
    let told = env.run(arguments);
    let text = told.out + &told.err;
    for columns in [80, 120] {
        let screen = env.screen(columns, arguments, &[]).text;
        assert_eq!(sorted_words(&screen), sorted_words(&text), "{columns} columns:\n{screen}");
    }
}

/// The words of a text, with one sign for each number: what is measured differs from run to run.
fn sorted_words(text: &str) -> Vec<String> {
    let numberless = |word: &str| word.split(|c: char| c.is_ascii_digit()).filter(|part| !part.is_empty()).collect();
    let mut words: Vec<String> = text.split_whitespace().map(numberless).collect();
    words.sort_unstable();
    words
}

/// Two years, of which one line cannot be read and one paper moved; a merge of them with an index of words.
fn project() -> TestEnv {
    let env = TestEnv::empty();
    env.write_year(2010, &papers(2010, 30));
    let mut later = papers(2011, 30);
    later.push(papers(2010, 1).remove(0));
    later.push(titled("2011Wrong", json!({ "not": "a title" })));
    env.write_year(2011, &later);
    let merge =
        "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\nlabel = \"all\"\nwords = true\n";
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{merge}"));
    env
}

#[test]
fn screens_of_plans() {
    let env = project();
    assert_screens(&env, "plan_at_first", &["plan", "workflow.toml"]);
    assert_screens(&env, "graph_at_first", &["graph", "workflow.toml"]);
    env.applied(&[]);
    assert_screens(&env, "plan_of_nothing", &["plan", "workflow.toml"]);
    assert_screens(&env, "apply_of_nothing", &["apply", "workflow.toml"]);
    env.edit("prefix = \"\"", "prefix = \"Represent this paper for finding papers like it: \"");
    assert_screens(&env, "plan_with_a_reason", &["plan", "workflow.toml"]);
    assert_screens(&env, "explain_a_step", &["explain", "workflow.toml", "prepare.texts[2010]"]);
    // Names that leave no room beside them at 80 columns.
    env.edit("[embed.minilm]", "[embed.sentence-transformers-all-minilm-l6-v2]");
    env.edit("from = \"minilm\"", "from = \"sentence-transformers-all-minilm-l6-v2\"");
    assert_screens(&env, "plan_of_long_names", &["plan", "workflow.toml", "--years", "2010"]);
}

/// One year, so that one step runs at a time, and its lines come in one order.
#[test]
fn screens_of_an_apply() {
    let assert_steady = |suffix: &str, shown: &str| {
        let filters = vec![(r"indexed in \d+ s", "indexed in # s")];
        insta::with_settings!({ snapshot_suffix => suffix, filters => filters }, { insta::assert_snapshot!("apply", shown) });
    };
    let env = project();
    env.edit("year = [2010, 2011]", "year = [2011]");
    for (columns, store) in [(80, "at80"), (120, "at120")] {
        let shown = env.screen(columns, &["apply", "workflow.toml", "--set", &format!("store={store}")], &[]).text;
        assert_steady(&columns.to_string(), &shown);
        std::fs::remove_dir_all(env.path("embeddings")).unwrap();
    }
    let told = env.applied(&[]);
    let shown = format!("{}--- standard error\n{}", told.out, told.err);
    assert_steady("no_terminal", &shown);
}

#[test]
fn screens_of_questions() {
    let env = project();
    env.applied(&[]);
    let question = ["search", "paper 7 of 2010 about galaxies", "-k", "3", "--dir", "embeddings", "--dataset", "all"];
    assert_screens(&env, "search", &question);
    assert_screens(&env, "search_by_words", &[&question[..], &["--mode", "bm25"]].concat());
    let known = papers(2010, 2)[1]["bibcode"].as_str().unwrap().to_owned();
    assert_screens(&env, "similar", &["similar", &known, "-k", "2", "--dir", "embeddings", "--dataset", "all"]);
    assert_screens(&env, "get", &["get", "--dir", "embeddings", &known]);
    assert_screens(&env, "get_unknown", &["get", "--dir", "embeddings", &known.replace('2', "3")]);
    assert_words(&env, &["explain", "--dir", "embeddings", &known]);
    assert_screens(
        &env,
        "catalog",
        &["catalog", "--dir", "embeddings", "SELECT dataset, \"rows\", label, cells, parts FROM datasets"],
    );
    let wide = ["catalog", "--dir", "embeddings", "SELECT * FROM papers LIMIT 3"];
    assert_eq!(env.screen(80, &wide, &[]).text.lines().count(), 4, "a header, and a line a paper");
    assert_screens(&env, "peek", &["peek", "workflow.toml", "load.records[2011]", "rejects"]);
    let export = ["export", "npy", "--to", "out", "--dir", "embeddings", "--dataset", "all"];
    assert_eq!(env.run(&export).code, Some(0));
    assert_screens(&env, "export_of_nothing", &export);
    assert_screens(&env, "report", &["report", "workflow.toml", "--to", "report.html"]);
    assert_screens(&env, "ingest", &["ingest", "--input", "data", "--model", "fake://8", "--out", "out2", "--emit"]);
    assert_words(&env, &["doctor", "workflow.toml"]);
    assert_words(&env, &["status", "workflow.toml"]);
    assert_words(&env, &["log", "workflow.toml"]);
    assert_words(&env, &["gc", "workflow.toml"]);
    assert_screens(&env, "verify", &["verify", "workflow.toml"]);
    let (of_model, _) = crate::model_faults::copy("xlmr-prompts");
    assert_screens(&of_model, "model_inspect", &["model", "inspect", "model", "--device", "cpu"]);
}

/// What `init` asks, and what it writes of the answers.
#[test]
fn screens_of_a_dialogue() {
    let env = project();
    for columns in [80, 120] {
        let to = format!("at{columns}.toml");
        let typed = [("]: ", "2011\n"), ("]: ", "\n"), ("]: ", "fake://8\n")];
        let screen = env.dialogue(columns, &["init", "--input", "data", "--to", &to], &[], &typed);
        insta::with_settings!({ snapshot_suffix => columns.to_string() }, { insta::assert_snapshot!("init", screen.text) });
        let written = std::fs::read_to_string(env.path(&to)).unwrap();
        assert!(written.contains("year = [2011]") && written.contains("model = \"fake://8\""), "{written}");
    }
    let told = env.run(&["init", "--input", "data", "--model", "fake://8", "--to", "of_nobody.toml"]);
    insta::with_settings!({ snapshot_suffix => "no_terminal" }, { insta::assert_snapshot!("init", told.err + &told.out) });
}

/// The whole screen of a watch, and its one frame where nobody watches.
#[test]
fn screens_of_a_watch() {
    let assert_steady = |suffix: &str, shown: &str| {
        let filters = vec![
            (r"\d{8}T\d{6}\.\d+Z-\d+", "$$RUN"),
            (r"\d\d:\d\d:\d\d", "##:##:##"),
            (r"   \d:\d\d   ", "   #:##   "),
            (r"(\d+ of )?(\d+) +\d+\n", "$1$2   #\n"),
            (r"\d+\.\d s", "# s"),
        ];
        insta::with_settings!({ snapshot_suffix => suffix, filters => filters }, { insta::assert_snapshot!("watch", shown) });
    };
    let env = project();
    env.edit("year = [2010, 2011]", "year = [2011]");
    env.applied(&[]);
    for columns in [80, 120] {
        let screen = env.dialogue(columns, &["watch", "workflow.toml"], &[], &[("", "q")]);
        assert_steady(&columns.to_string(), &screen.text);
        let frame = env.screen(columns, &["watch", "workflow.toml", "--once"], &[]).text;
        assert!(frame.lines().all(|line| line.chars().count() <= usize::from(columns)), "{frame}");
        let head = |text: &str| text.lines().skip(1).take(5).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(head(&frame), head(&screen.text));
    }
    assert_steady("no_terminal", &env.run(&["watch", "workflow.toml"]).out);
}

#[test]
fn screens_of_faults_and_help() {
    let env = project();
    env.edit("dtype = \"f16\"", "dtype = \"f15\"\nlable = \"x\"");
    env.edit("from = \"texts\"", "from = \"text\"");
    assert_screens(&env, "check_with_faults", &["check", "workflow.toml"]);
    assert_screens(&env, "no_workflow", &["plan", "workflows/that/does/not/exist/and/has/a/rather/long/name.toml"]);
    assert_screens(&env, "help", &["--help"]);
    assert_screens(&env, "help_of_a_command", &["help", "search"]);
    assert_screens(&env, "help_of_a_code", &["help", "sciembed::cli::log_filter"]);
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let env = project();
    let is_colored = |arguments: &[&str], variables: &[(&str, &str)]| {
        env.screen(80, &[&["plan", "workflow.toml"], arguments].concat(), variables).is_colored
    };
    assert!(is_colored(&[], &[]));
    assert!(!is_colored(&[], &[("NO_COLOR", "1")]) && !is_colored(&[], &[("CLICOLOR", "0")]));
    assert!(!is_colored(&["--color", "never"], &[]) && is_colored(&["--color", "always"], &[("NO_COLOR", "1")]));
    let colored = |told: &str| told.contains("\x1b[3");
    assert!(!colored(&env.plan(&[]).out) && colored(&env.plan(&["--color", "always"]).out));
    // Errors alike.
    let (plain, forced) = (env.run(&["plan", "none.toml"]), env.run(&["plan", "none.toml", "--color", "always"]));
    assert!(!colored(&plain.err) && colored(&forced.err), "{}", forced.err);
}
