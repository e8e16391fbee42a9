//! Approximate indexes: built beside what is published, added to, never asked about another set, and as good as they say.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sciembed::ann::{Ann, Effort};
use sciembed::dataset::Dataset;
use sciembed::store::DigestCache;
use sciembed::words::Words;
use serde_json::Value;

use crate::env::{TestEnv, Told, papers, say, times};

const MERGE: &str = "
[merge.all]
from = \"yearly\"
across = [\"year\"]
dir = \"embeddings\"
";

/// Two years of papers, merged, the merge with this index.
fn project(papers_a_year: usize, index: &str) -> TestEnv {
    let env = TestEnv::empty();
    env.edit("model = \"fake://16\"", "model = \"fake://32\"");
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{MERGE}{index}\n"));
    for year in [2010, 2011] {
        env.write_year(year, &papers(year, papers_a_year));
    }
    env
}

fn described(env: &TestEnv) -> Value {
    serde_json::from_slice(&fs::read(env.path("embeddings/index_minilm.json")).unwrap()).unwrap()
}

fn similar(env: &TestEnv, arguments: &[&str]) -> Told {
    env.run(&[&["similar", "2010Test..00003A", "-k", "10", "--format", "bibcodes"], arguments].concat())
}

#[test]
fn an_index_is_built_told_and_asked() {
    let env = project(400, "[merge.all.index.ivf_sq8]\nnlist = 16\nnprobe = 16\n");
    let told = env.applied(&[]);
    assert!(told.out.contains("  index      minilm: IVF16,SQ8, 800 vectors, built anew in "), "{}", told.out);
    let index = described(&env);
    assert_eq!((&index["rows"], &index["nprobe"]), (&800.into(), &16.into()));
    assert!(index["recall_at_10"].as_f64().unwrap() > 0.99, "all lists are read: {index}");
    let bytes = fs::read(env.path("embeddings/index_minilm.faiss")).unwrap();
    assert_eq!(index["bytes"], bytes.len());
    let exact = similar(&env, &["--exact"]);
    assert_eq!((exact.code, exact.out.lines().count()), (Some(0), 10), "{}", exact.err);
    assert_eq!(similar(&env, &[]).out, exact.out);
    let few = similar(&env, &["--nprobe", "1"]);
    assert!(few.code == Some(0) && few.out != exact.out, "one list of sixteen does not hold them all");
    assert_eq!(env.plan(&[]).code, Some(0));
    // The same vectors give the same index.
    fs::remove_file(env.path("embeddings/index_minilm.json")).unwrap();
    assert_eq!(similar(&env, &[]).out, exact.out, "without an index every vector is looked at");
    let plan = env.plan(&[]);
    assert!(
        plan.code == Some(2) && plan.out.contains("the index of minilm is to be made: it has none"),
        "{}",
        plan.out
    );
    env.applied(&[]);
    assert!(fs::read(env.path("embeddings/index_minilm.faiss")).unwrap() == bytes);
}

/// What a set gains at its end is added; what changed before it is not, nor is another kind of index.
#[test]
fn an_index_grows_with_its_set() {
    let env = project(300, "[merge.all.index]\nfactory = \"IVF8,SQ8\"\n");
    env.applied(&[]);
    env.write_year(2011, &papers(2011, 400));
    let told = env.applied(&[]);
    assert!(told.out.contains("IVF8,SQ8, 700 vectors, 100 added to 600 in "), "{}", told.out);
    assert_eq!(described(&env)["added_to"], 600);
    let exact = similar(&env, &["--exact"]).out;
    assert_eq!(similar(&env, &["--nprobe", "8"]).out, exact);
    env.write_year(2010, &papers(2010, 350));
    let told = env.applied(&[]);
    assert!(told.out.contains("IVF8,SQ8, 750 vectors, built anew in "), "rows stand elsewhere now: {}", told.out);
    env.edit("IVF8,SQ8", "HNSW8,SQ8");
    let plan = env.plan(&[]);
    assert!(plan.out.contains("its index is IVF8,SQ8, and HNSW8,SQ8 is asked for"), "{}", plan.out);
    assert!(env.applied(&[]).out.contains("minilm: HNSW8,SQ8, 750 vectors, built anew"));
}

/// An index that is damaged or foreign gives no wrong answer: it is told, and every vector is looked at; where its
/// parameters were given that is an error.
#[test]
fn a_wrong_index_is_never_asked() {
    let env = project(400, "[merge.all.index.ivf_sq8]\nnlist = 16\n");
    env.applied(&[]);
    let exact = similar(&env, &["--exact"]).out;
    let file = env.path("embeddings/index_minilm.faiss");
    let whole = fs::read(&file).unwrap();
    let description = fs::read(env.path("embeddings/index_minilm.json")).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for (case, bytes) in [("flipped", &flipped[..]), ("cut", &whole[..whole.len() / 2]), ("empty", &[])] {
        fs::write(&file, bytes).unwrap();
        let told = similar(&env, &[]);
        assert!(told.code == Some(0) && told.out == exact, "{case}: {}{}", told.out, told.err);
        assert!(told.err.contains("every vector is looked at, since"), "{case}: {}", told.err);
        let told = similar(&env, &["--nprobe", "4"]);
        assert!(told.code == Some(1) && told.err.contains("--exact"), "{case}: {}", told.err);
        let plan = env.plan(&[]);
        assert!(
            plan.code == Some(2) && plan.out.contains("the file of its index is missing or damaged"),
            "{}",
            plan.out
        );
    }
    // A description that somebody changed is none.
    fs::write(&file, &whole).unwrap();
    let edited = String::from_utf8(description.clone()).unwrap().replace("\"candidates\": 2", "\"candidates\": 0");
    fs::write(env.path("embeddings/index_minilm.json"), edited).unwrap();
    assert!(env.plan(&[]).out.contains("the index of minilm is to be made: it has none"));
    env.applied(&[]);
    assert!(fs::read(&file).unwrap() == whole);
    assert_eq!(similar(&env, &["--nprobe", "16"]).out, exact);
    // An index of the set that was published before.
    env.write_year(2011, &papers(2011, 401));
    env.edit("[merge.all.index.ivf_sq8]\nnlist = 16\n", "");
    env.applied(&[]);
    fs::write(&file, &whole).unwrap();
    fs::write(env.path("embeddings/index_minilm.json"), &description).unwrap();
    let told = similar(&env, &[]);
    assert!(told.err.contains("it was built of another set than is published"), "{}", told.err);
    assert_eq!(told.out, similar(&env, &["--exact"]).out);
}

/// Few rows need no index, and what cannot be built takes nothing from what was published.
#[test]
fn an_index_is_never_in_the_way() {
    let env = project(10, "[merge.all.index.auto]\n");
    let told = env.applied(&[]);
    assert!(!told.out.contains("  index "), "{}", told.out);
    assert_eq!(env.plan(&[]).code, Some(0));
    env.edit("[merge.all.index.auto]\n", "[merge.all.index.ivf_pq]\nnlist = 64\nm = 8\n");
    let told = env.apply(&[]);
    assert_eq!(told.code, Some(3), "{}", told.out);
    assert!(told.err.contains("minilm is published; its index was not made:"), "{}", told.err);
    assert!(told.err.contains("it needs"), "{}", told.err);
    assert_eq!(similar(&env, &[]).code, Some(0), "what is published is searched all the same");
    env.edit("[merge.all.index.ivf_pq]\nnlist = 64\nm = 8\n", "[merge.all.index]\nfactory = \"IVF9,Nonsense\"\n");
    let check = env.run(&["check", "workflow.toml"]);
    assert!(check.code == Some(1) && check.err.contains("IVF9,Nonsense"), "{}", check.err);
}

/// Whoever searches while others publish gets the answer of one set, old or new, or is told that the index is of another: by
/// vectors and by words.
#[test]
fn searches_beside_many_publications() {
    let (versions, wanted) = (times("SCIEMBED_PUBLICATIONS", 6), times("SCIEMBED_OPENS", 60));
    let env = project(30, "words = true\n\n[merge.all.index.signs]\n");
    let publish = |version: usize| {
        let mut papers = papers(2010, 30);
        for (n, paper) in papers.iter_mut().enumerate() {
            paper["abstract"] = format!("Version {version} of what paper {n} found: word{version}x{n}.").into();
        }
        env.write_year(2010, &papers);
        env.applied(&[]);
    };
    publish(0);
    let dir = env.path("embeddings");
    let (done, answered, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let search = || {
        let mut digests = DigestCache::default();
        while !done.load(Ordering::Relaxed) {
            let dataset = Dataset::open(&dir, "minilm").unwrap();
            let vectors = dataset.vectors().unwrap();
            let queries = [dataset.get("2010Test..00007A").unwrap().unwrap().vector];
            match Ann::open(&dir, &dataset, &mut digests) {
                Ok(Some(mut ann)) => {
                    let found = ann.nearest(&vectors, &queries, 5, Effort::default()).unwrap();
                    assert_eq!(found, vectors.nearest(&queries, 5, None), "all rows are candidates");
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(None) | Err(_) => drop(refused.fetch_add(1, Ordering::Relaxed)),
            }
            if let Ok(words) = Words::open(&dir, &dataset, &mut digests) {
                let found = words.best("paper", 100, None).unwrap();
                assert_eq!(found.len(), 60, "every text has the word, and no text of another set is there");
                answered.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        let reader = scope.spawn(search);
        for version in 1..versions {
            publish(version);
            while answered.load(Ordering::Relaxed) < wanted * version / (versions - 1) && !reader.is_finished() {
                std::thread::yield_now();
            }
        }
        done.store(true, Ordering::Relaxed);
        reader.join().unwrap();
    });
    let (answered, refused) = (answered.into_inner(), refused.into_inner());
    assert!(answered >= wanted, "{answered}");
    say(format!(
        "{answered} answers of one set beside {versions} publications; {refused} times there was no index of the set"
    ));
}

/// Signs give candidates as other indexes do, and an index that the workflow no longer asks for goes with the next apply.
#[test]
fn an_index_that_nobody_asks_for_goes() {
    let env = project(400, "[merge.all.index.signs]\n");
    let told = env.applied(&[]);
    assert!(told.out.contains("  index      minilm: signs, 800 vectors, built anew in "), "{}", told.out);
    let exact = similar(&env, &["--exact"]);
    let more = similar(&env, &["--nprobe", "4"]);
    assert_eq!((similar(&env, &[]).out, &more.out), (exact.out.clone(), &exact.out));
    assert!(more.err.contains("the index of minilm is signs: --nprobe changes nothing"), "{}", more.err);
    assert!(described(&env)["recall_at_10"].as_f64().unwrap() > 0.99);
    env.edit("[merge.all.index.signs]\n", "[merge.all.index.ivf_sq8]\nnlist = 16\n");
    env.applied(&[]);
    assert!(env.path("embeddings/index_minilm.faiss").exists());
    env.edit("[merge.all.index.ivf_sq8]\nnlist = 16\n", "");
    let plan = env.plan(&[]);
    assert!(
        plan.code == Some(2)
            && plan.out.contains("all 9 steps are fresh\n")
            && plan.out.contains("the index of minilm is to be removed: the workflow asks for none"),
        "{}",
        plan.out
    );
    let told = env.applied(&[]);
    assert!(told.out.contains("  index      minilm: removed"), "{}", told.out);
    assert!(!["json", "faiss", "signs"].iter().any(|it| env.path(format!("embeddings/index_minilm.{it}")).exists()));
    assert_eq!((similar(&env, &[]).out, env.plan(&[]).code), (exact.out, Some(0)));
}
