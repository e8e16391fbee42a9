//! Three runs that never were, from a clock and dice that are always the same.

use std::collections::BTreeMap;

use fastrand::Rng;
use sciembed_report::{
    Cost, Fact, IndexLine, Kind, Map, Note, Outcome, Pace, Point, Progress, Reject, Report, Reuse, State, Step,
    TokenHistogram, pca,
};

/// What papers are about, and words of which their titles are made.
const TOPICS: [(&str, &str, &str); 6] = [
    ("Chromospheric heating", "the quiet Sun", "realistic 3D simulations"),
    ("Mass assembly", "dark matter haloes", "the Millennium simulation"),
    ("Transit timing", "hot Jupiters", "Kepler photometry"),
    ("Phase structure", "dense quark matter in M_{⊙}-scale stars", "the <i>Nambu–Jona-Lasinio</i> model"),
    ("CO<sub>2</sub> & H<sub>2</sub>O bands", "transitional disks", "Herschel/PACS \"first light\" spectra"),
    ("Lorentz invariance", "γ-ray bursts", "the Fermi LAT"),
];
const DIM: usize = 64;

/// A run that is told step by step.
struct Telling {
    report: Report,
    random: Rng,
    /// Until when the one embedder is busy.
    embedder: f64,
    /// Until when those are busy that read and that publish.
    hands: [f64; 2],
    embedded: u64,
}

impl Telling {
    fn new(title: &str, run: &str) -> Self {
        let fact = |(name, value): (&str, &str)| Fact { name: name.to_owned(), value: value.to_owned() };
        let facts = [
            ("processor", "AMD EPYC 9R14, 2 cores, AVX-512"),
            ("memory", "23.4 GB"),
            ("system", "Debian GNU/Linux 12, Linux 6.1"),
            ("sciembed", "0.1.0 (7c70000)"),
            ("ONNX Runtime", "1.23.2"),
            ("model", "all-MiniLM-L6-v2, 384 dimensions, f32, digest 53aa5117"),
            ("DuckDB", "1.5.1"),
        ];
        let report = Report {
            title: title.to_owned(),
            run: run.to_owned(),
            version: "0.1.0".to_owned(),
            started: 1_772_627_696,
            facts: facts.map(fact).into(),
            throughput: vec![Progress { seconds: 0.4, rows: 0 }],
            ..Report::default()
        };
        Self { report, random: Rng::with_seed(2010), embedder: 0.4, hands: [0.0; 2], embedded: 0 }
    }

    fn step(&mut self, node: &str, kind: Kind, instance: &str, upstreams: Vec<usize>, rows: [u64; 2]) -> usize {
        let id = if instance.is_empty() { node.to_owned() } else { format!("{node}[{instance}]") };
        let [rows_in, rows] = rows.map(Some);
        let step = Step { id, kind, node: node.to_owned(), upstreams, rows_in, rows, ..Step::default() };
        self.report.steps.push(step);
        self.report.steps.len() - 1
    }

    /// Runs a step on what its kind runs on, after those that it reads from.
    fn run(&mut self, index: usize, seconds: f64, reason: &str) {
        let upstreams = self.report.steps[index].upstreams.clone();
        let ready = upstreams.iter().filter_map(|up| self.report.steps[*up].end).fold(0.0, f64::max);
        let free = match self.report.steps[index].kind {
            Kind::Embed => &mut self.embedder,
            Kind::Load | Kind::Prepare => &mut self.hands[0],
            Kind::Persist | Kind::Merge => &mut self.hands[1],
        };
        let begin = round(free.max(ready));
        *free = round(begin + seconds);
        let step = &mut self.report.steps[index];
        (step.begin, step.end, step.state, step.reason) = (Some(begin), Some(*free), State::Ran, reason.to_owned());
        self.report.seconds = self.report.seconds.max(*free + 0.08);
    }

    fn embed(&mut self, index: usize, rows: u64, pace: f64, reason: &str) {
        self.run(index, rows as f64 / pace, reason);
        let begin = self.report.steps[index].begin.unwrap_or(0.0);
        let (mut at, mut done) = (begin, 0);
        while done < rows {
            let batch = 32.min(rows - done);
            done += batch;
            at += batch as f64 / pace * (0.75 + 0.5 * self.random.f64());
            self.report.throughput.push(Progress { seconds: round(at.min(self.embedder)), rows: self.embedded + done });
        }
        self.embedded += rows;
        let pace = self.report.pace.get_or_insert_default();
        *pace = Pace { rows: pace.rows + rows, seconds: round(pace.seconds + self.embedder - begin) };
    }

    fn count(&mut self, index: usize, counts: &[(&str, u64)]) {
        self.report.steps[index].counts =
            counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<BTreeMap<_, _>>();
    }

    fn reject(&mut self, step: usize, reason: &str, rows: u64) {
        let step = self.report.steps[step].id.clone();
        self.report.rejects.push(Reject { step, reason: reason.to_owned(), rows });
    }

    fn year(&mut self, year: u32, rows: u64, pace: f64, reason: &str) -> usize {
        let name = year.to_string();
        let dropped = rows / 90;
        let kept = rows - dropped;
        let load = self.step("load.records", Kind::Load, &name, vec![], [rows, kept]);
        self.run(load, 0.05 + rows as f64 / 21_000.0, reason);
        self.reject(load, "no title and no abstract", dropped - dropped / 3);
        self.reject(load, "a second record of the same bibcode", dropped / 3);
        let prepare = self.step("prepare.texts", Kind::Prepare, &name, vec![load], [kept, kept]);
        self.run(prepare, 0.03 + rows as f64 / 30_000.0, reason);
        self.count(prepare, &[("truncated", rows / 40), ("cleaned", rows / 9)]);
        let embed = self.step("embed.minilm", Kind::Embed, &name, vec![prepare], [kept, kept]);
        self.embed(embed, kept, pace, reason);
        self.count(embed, &[("embedded", kept), ("truncated", kept * 2 / 5), ("tokens_dropped", kept * 40)]);
        let persist = self.step("persist.yearly", Kind::Persist, &name, vec![embed], [kept, kept]);
        self.run(persist, 0.04 + rows as f64 / 16_000.0, "never applied");
        persist
    }

    fn merge(&mut self, upstreams: Vec<usize>) -> usize {
        let rows = upstreams.iter().filter_map(|up| self.report.steps[*up].rows).sum();
        self.step("merge.all", Kind::Merge, "", upstreams, [rows, rows])
    }

    fn texts(&mut self, texts: u64, limit: u64) {
        let mut tokens = TokenHistogram { bin_width: 16, limit, counts: vec![0; 48], ..TokenHistogram::default() };
        for _ in 0..texts {
            let spread: f64 = (0..6).map(|_| self.random.f64()).sum::<f64>() - 3.0;
            let length = (225.0 * (spread * 0.55).exp()) as u64;
            tokens.counts[(length / 16).min(47) as usize] += 1;
            tokens.longer += u64::from(length > limit);
            tokens.dropped += length.saturating_sub(limit);
        }
        self.report.tokens = Some(tokens);
    }

    /// Papers around the middles of their topics, each year a little further on.
    fn map(&mut self, years: std::ops::Range<u32>, each: usize) {
        let normal = |random: &mut Rng| (0..6).map(|_| random.f32()).sum::<f32>() - 3.0;
        let middles: Vec<Vec<f32>> =
            TOPICS.iter().map(|_| (0..DIM).map(|_| normal(&mut self.random)).collect()).collect();
        let (mut vectors, mut points) = (Vec::new(), Vec::new());
        for (year, number) in years.clone().flat_map(|year| (0..each).map(move |number| (year, number))) {
            let topic = self.random.usize(0..TOPICS.len());
            let drift = (year - years.start) as f32 * 0.02;
            vectors.extend(middles[topic].iter().map(|at| at * (0.8 + drift) + normal(&mut self.random) * 0.75));
            let (what, of, with) = TOPICS[topic];
            let journal = ["arXiv", "A&A..", "ApJ..", "MNRAS"][self.random.usize(0..4)];
            points.push(Point {
                bibcode: format!(
                    "{year}{journal}{:04}.{number:04}{}",
                    1000 + topic,
                    char::from(b'A' + (number % 26) as u8)
                ),
                title: (number % 19 != 7).then(|| format!("{what} of {of} with {with} {number}")),
                group: year.to_string(),
                ..Point::default()
            });
        }
        let Some(plane) = pca::project(&vectors, DIM) else { return };
        for (point, [x, y]) in points.iter_mut().zip(plane.points) {
            (point.x, point.y) = ((x * 1e3).round() / 1e3, (y * 1e3).round() / 1e3);
        }
        self.report.map = Some(Map { points, explained: plane.explained.map(|share| (share * 1e4).round() / 1e4) });
    }

    fn note(&mut self, step: usize, note: &str) {
        let step = self.report.steps[step].id.clone();
        self.report.notes.push(Note { step, note: note.to_owned() });
    }
}

fn round(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Three years of 300 papers that went well.
pub fn quickstart() -> Report {
    let mut run = Telling::new("quickstart", "20260304T123456Z-5f2c");
    let years: Vec<usize> = (2010..2013).map(|year| run.year(year, 300, 92.0, "never applied")).collect();
    let merge = run.merge(years);
    run.run(merge, 0.21, "never applied");
    run.texts(891, 256);
    run.map(2010..2013, 297);
    run.report.reuse = Reuse { embedded: run.embedded, ..Reuse::default() };
    run.report
}

/// Thirty years through an API, of which two failed; four were there already.
pub fn years() -> Report {
    let mut run = Telling::new("ADS abstracts 1991–2020 <all>", "20260304T123456Z-9be1");
    let mut persisted = Vec::new();
    for year in 1991..2021 {
        let rows = 1500 + u64::from(year - 1991) * 61;
        let reason = if year < 2000 { "prepare.texts.prefix \"\" -> \"astro-ph: \"" } else { "never applied" };
        let pace = 118.0 + run.random.f64() * 40.0;
        persisted.push(run.year(year, rows, pace, reason));
    }
    for step in &mut run.report.steps[..16] {
        *step = Step { state: State::Fresh, begin: None, end: None, reason: String::new(), ..step.clone() };
    }
    for (embed, error) in [
        (
            46,
            "api.example.org answered 429 Too Many Requests nine times in 10 min 02 s: rate limit reached for requests\nhelp: lower `requests_per_minute` of embed.minilm, and apply again",
        ),
        (
            90,
            "read store/segments/3f9a.seg: checksum of block 17 is 0x9c21, expected 0x9c20\nhelp: `sciembed verify --mend` puts it right from what else is there",
        ),
    ] {
        let failed = &mut run.report.steps[embed];
        (failed.state, failed.error, failed.rows) = (State::Failed, Some(error.to_owned()), None);
        let after = &mut run.report.steps[embed + 1];
        *after = Step {
            state: State::NotReached,
            begin: None,
            end: None,
            rows: None,
            rows_in: None,
            reason: String::new(),
            ..after.clone()
        };
    }
    let merge = run.merge(persisted);
    run.report.steps[merge].state = State::NotReached;
    (run.report.steps[merge].rows, run.report.steps[merge].rows_in) = (None, None);
    for year in [2, 9, 14, 15, 20, 22, 23, 29] {
        run.note(year * 4, "no record has the field `doctype`");
    }
    run.note(62, "4 texts have more than 8,191 tokens and were embedded in windows");
    let embedded = run.embedded;
    run.report.reuse = Reuse { embedded, reused: 6_318, removed: 412 };
    run.report.cost = Some(Cost { requests: 2_214, failed: 31, tokens: 17_904_221, micro_usd: 358_085 });
    let line = |dataset: &str, factory: &str, rows, bytes_each, recall, seconds| IndexLine {
        dataset: dataset.to_owned(),
        factory: factory.to_owned(),
        rows,
        bytes_each,
        recall_at_10: recall,
        seconds,
    };
    run.report.indexes = vec![
        line("minilm", "IVF256,SQ8", 70_512, 396.2, Some(0.9874), 21.4),
        line("minilm", "OPQ48,IVF256,PQ48x8", 70_512, 60.9, Some(0.912), 74.0),
        line("minilm-2020", "HNSW32,SQfp16", 3_231, 1036.0, None, 2.3),
    ];
    run.report.outcome = Outcome::Failed;
    run.report.overrides = vec![
        "prepare.texts.prefix=\"astro-ph: \"".to_owned(),
        "embed.minilm.model=openai:text-embedding-3-small".to_owned(),
    ];
    run.texts(52_000, 256);
    run.map(1991..2021, 60);
    run.report
}

/// A run that was stopped in its second year.
pub fn interrupted() -> Report {
    let mut run = Telling::new("nightly", "20260305T020000Z-11aa");
    let years: Vec<usize> = (2019..2021)
        .map(|year| run.year(year, 4_000, 104.0, "load.records: content of the source files changed"))
        .collect();
    run.merge(years);
    for index in [7, 8] {
        let step = &mut run.report.steps[index];
        *step = Step { state: State::NotReached, begin: None, end: None, rows: None, rows_in: None, ..step.clone() };
    }
    let embed = &mut run.report.steps[6];
    let stopped = round(embed.begin.unwrap_or(0.0) + 21.0);
    (embed.state, embed.end, embed.rows) = (State::Interrupted, None, None);
    run.report.throughput.retain(|at| at.seconds <= stopped);
    run.report.seconds = stopped;
    let embedded = run.report.throughput.last().map_or(0, |at| at.rows);
    run.report.pace = None;
    run.report.reuse = Reuse { embedded, reused: 120, removed: 0 };
    run.report.outcome = Outcome::Interrupted;
    run.report
}
