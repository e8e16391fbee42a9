//! A project in a folder of its own, and the program run in it as a person would, with nothing of this machine around.
//!
//! What the program prints comes back with paths, times and sizes made steady, so that it can stand in a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use sciembed::digest::{Digest, RowKey};
use sciembed::record::Record;
use sciembed::store::segment::Segment;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Two years, one file each, through every kind of node, with the deterministic embedder.
const WORKFLOW: &str = r#"version = 1
name = "tests"
store = "store"

[matrix]
year = [2010, 2011]

[load.records]
input = "data/{year}.json.gz"
fields = ["title", "abstract"]

[prepare.texts]
from = "records"
fields = ["title", "abstract"]
prefix = ""

[embed.minilm]
from = "texts"
model = "fake://16"

[persist.yearly]
from = "minilm"
dir = "embeddings"
label = "minilm"
dtype = "f16"
"#;

/// Rows of a terminal; more than any command here prints.
const SCREEN_ROWS: u16 = 250;
/// What a program prints that gives back the screen which it filled.
const LEAVES_SCREEN: &[u8] = b"\x1b[?1049l";

/// A project: `workflow.toml`, `data/`, and what runs make of them. It goes away with the test.
pub struct TestEnv {
    folder: TempDir,
    name: &'static str,
}

impl TestEnv {
    /// A workflow over 2010 and 2011, without their files.
    pub fn empty() -> Self {
        Self::empty_in(&std::env::temp_dir())
    }

    /// The same, in a folder of its own inside `folder`.
    pub fn empty_in(folder: &Path) -> Self {
        let env = Self { folder: tempfile::tempdir_in(folder).unwrap(), name: "project" };
        fs::create_dir_all(env.path("data")).unwrap();
        fs::write(env.path("workflow.toml"), WORKFLOW).unwrap();
        env
    }

    /// A workflow over 2010 and 2011, each with `papers` papers.
    pub fn of(papers: usize) -> Self {
        let env = Self::empty();
        for year in [2010, 2011] {
            env.write_year(year, &self::papers(year, papers));
        }
        env
    }

    /// A workflow without a matrix over this path or glob.
    pub fn over(input: &str) -> Self {
        let env = Self::empty();
        env.edit("[matrix]\nyear = [2010, 2011]\n", "");
        env.edit("data/{year}.json.gz", input);
        env
    }

    /// A path inside the project.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(self.name).join(path)
    }

    /// Renames the project's folder.
    pub fn rename(&mut self, name: &'static str) {
        fs::rename(self.path(""), self.folder.path().join(name)).unwrap();
        self.name = name;
    }

    /// Replaces a part of the workflow, which must be there.
    pub fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path("workflow.toml")).unwrap();
        assert!(text.contains(from), "the workflow has no {from:?}");
        fs::write(self.path("workflow.toml"), text.replace(from, to)).unwrap();
    }

    /// Writes a year's papers as gzip JSON lines.
    pub fn write_year(&self, year: u16, papers: &[Value]) {
        self.write(&format!("data/{year}.json.gz"), gzip(&json_lines(papers)));
    }

    /// Writes any file.
    pub fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(path), bytes).unwrap();
    }

    /// Runs `sciembed` with these arguments in the project's folder.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Told {
        self.run_with(arguments, "", &[])
    }

    /// The same, with text on standard input and variables in the environment.
    #[must_use]
    pub fn run_with(&self, arguments: &[&str], input: &str, variables: &[(&str, &Path)]) -> Told {
        self.finish(self.command(arguments), input, variables)
    }

    /// The same, with so many megabytes of memory at most.
    #[must_use]
    pub fn run_within(&self, megabytes: usize, arguments: &[&str], input: &str, variables: &[(&str, &Path)]) -> Told {
        let kilobytes = (megabytes * 1024).to_string();
        let limited = ["-c", "ulimit -d $0 && exec \"$@\"", &kilobytes, env!("CARGO_BIN_EXE_sciembed")];
        self.finish(self.command_of("/bin/sh", &[&limited, arguments].concat()), input, variables)
    }

    fn finish(&self, mut command: Command, input: &str, variables: &[(&str, &Path)]) -> Told {
        command.envs(variables.iter().copied()).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // A program that needs no input may end before it is written.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        self.wait(child)
    }

    /// Starts `sciembed` and does not wait for it.
    pub fn start(&self, arguments: &[&str]) -> Child {
        self.start_with(arguments, &[])
    }

    /// The same, with variables in the environment.
    pub fn start_with(&self, arguments: &[&str], variables: &[(&str, &Path)]) -> Child {
        self.command(arguments).envs(variables.iter().copied()).stdin(Stdio::null()).spawn().unwrap()
    }

    /// Waits for a started program.
    #[must_use]
    pub fn wait(&self, child: Child) -> Told {
        let output = child.wait_with_output().unwrap();
        let steady = |bytes: &[u8]| self.steady(&String::from_utf8_lossy(bytes));
        Told {
            code: output.status.code(),
            out: steady(&output.stdout),
            err: steady(&output.stderr),
            bytes: output.stdout,
        }
    }

    /// What a terminal of so many columns shows once `sciembed` has ended, with these arguments and variables.
    #[must_use]
    pub fn screen(&self, columns: u16, arguments: &[&str], variables: &[(&str, &str)]) -> Screen {
        self.dialogue(columns, arguments, variables, &[])
    }

    /// The same, where these are typed, each once the cursor stands behind what ends so.
    #[must_use]
    pub fn dialogue(
        &self,
        columns: u16,
        arguments: &[&str],
        variables: &[(&str, &str)],
        typed: &[(&str, &str)],
    ) -> Screen {
        let arguments: Vec<String> = arguments.iter().map(|argument| format!("'{argument}'")).collect();
        let program = env!("CARGO_BIN_EXE_sciembed");
        let line = format!("stty cols {columns} rows {SCREEN_ROWS}; exec {program} {}", arguments.join(" "));
        let mut command = self.command_of("script", &["--quiet", "--command", &line, "/dev/null"]);
        // Its own PATH has nothing in it, and a terminal has colours.
        command
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm-256color")
            .env("SHELL", "/bin/sh")
            .env_remove("NO_COLOR");
        let mut child = command.envs(variables.iter().copied()).stdin(Stdio::piped()).spawn().unwrap();
        let (mut keyboard, mut screen) = (child.stdin.take(), child.stdout.take().unwrap());
        let (mut shown, mut piece, mut typed) = (Vec::new(), [0; 4096], typed.iter());
        let mut next = typed.next();
        loop {
            if next.is_none() {
                keyboard = None;
            }
            match screen.read(&mut piece).unwrap() {
                0 => break,
                bytes => shown.extend_from_slice(&piece[..bytes]),
            }
            if let Some((_, keys)) = next.filter(|(after, _)| String::from_utf8_lossy(&shown).ends_with(after)) {
                keyboard.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
                next = typed.next();
            }
        }
        child.wait().unwrap();
        // What filled the whole screen, before it went away.
        let end = shown.windows(LEAVES_SCREEN.len()).position(|bytes| bytes == LEAVES_SCREEN);
        let shown = &shown[..end.unwrap_or(shown.len())];
        let cells = |count: u16| NonZeroU16::new(count).unwrap();
        let mut terminal = vt100::Parser::new(cells(SCREEN_ROWS), cells(columns), 0);
        terminal.process(shown);
        Screen {
            text: self.steady(&terminal.screen().contents().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")),
            is_colored: String::from_utf8_lossy(shown).contains("\x1b[3"),
        }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(env!("CARGO_BIN_EXE_sciembed"), arguments)
    }

    fn command_of(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.path("")).env_clear();
        command.env("PATH", self.folder.path()).env("HOME", self.folder.path()).env("NO_COLOR", "1");
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Plans the workflow.
    #[must_use]
    pub fn plan(&self, arguments: &[&str]) -> Told {
        self.run(&[&["plan", "workflow.toml"], arguments].concat())
    }

    /// Applies the workflow.
    #[must_use]
    pub fn apply(&self, arguments: &[&str]) -> Told {
        self.run(&[&["apply", "workflow.toml"], arguments].concat())
    }

    /// Applies the workflow, which must end well.
    pub fn applied(&self, arguments: &[&str]) -> Told {
        let told = self.apply(arguments);
        assert_eq!(told.code, Some(0), "{}{}", told.out, told.err);
        told
    }

    /// The rows of a step's table.
    pub fn peek(&self, step: &str, table: &str) -> Vec<Value> {
        let told = self.run(&["peek", "workflow.toml", step, table]);
        assert_eq!(told.code, Some(0), "{}", told.err);
        told.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Every record of the store.
    pub fn records(&self) -> Vec<Record> {
        let files = files(&self.path("store/records"));
        files.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect()
    }

    /// The digest of every keyed file, taken anew: the outputs that records name, and what is published except
    /// provenance. Equal stores give equal maps.
    pub fn keyed(&self) -> BTreeMap<String, Digest> {
        let mut keyed = BTreeMap::new();
        let digest = |path: &Path| Digest::of_file(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        for record in self.records() {
            for (name, output) in &record.outputs {
                let digest = digest(&self.blob(&output.digest));
                keyed.insert(format!("{}/{name}", record.key), digest);
            }
        }
        let is_keyed = |path: &PathBuf| !["run_", "catalog.", "."].iter().any(|head| file_name(path).starts_with(head));
        for path in files(&self.path("embeddings")).into_iter().filter(is_keyed) {
            keyed.insert(file_name(&path), digest(&path));
        }
        assert!(!keyed.is_empty());
        keyed
    }

    /// Where a blob is.
    pub fn blob(&self, digest: &Digest) -> PathBuf {
        let digest = digest.to_string();
        self.path("store/blobs").join(&digest[..2]).join(&digest[2..])
    }

    /// Rows in the sealed segments of all embedders.
    pub fn sealed_rows(&self) -> usize {
        self.segments().iter().map(|path| Segment::open(path).unwrap().header().rows).sum()
    }

    /// The sealed segments of all embedders.
    pub fn segments(&self) -> Vec<PathBuf> {
        self.vector_files("seg")
    }

    /// The files of all embedders' folders whose names end so.
    pub fn vector_files(&self, extension: &str) -> Vec<PathBuf> {
        let folders = files(&self.path("store/vectors"));
        let paths = folders.iter().flat_map(|folder| files(folder));
        paths.filter(|path| path.extension().is_some_and(|found| found == extension)).collect()
    }

    /// The row keys in the sealed segments of all embedders.
    pub fn sealed_keys(&self) -> BTreeSet<RowKey> {
        let segments = self.segments();
        segments.iter().flat_map(|path| keys_of(path)).collect()
    }

    /// The row keys that the test embedder logged in this file of the project, in the order of its work.
    pub fn logged(&self, log: &str) -> Vec<RowKey> {
        let text = fs::read_to_string(self.path(log)).unwrap_or_default();
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    fn steady(&self, text: &str) -> String {
        let text = text.replace(&*self.folder.path().to_string_lossy(), "$ENV");
        text.split_inclusive('\n').map(steady_line).collect()
    }
}

/// The row keys of a sealed segment.
pub fn keys_of(path: &Path) -> Vec<RowKey> {
    let segment = Segment::open(path).unwrap();
    (0..segment.header().rows).map(|row| segment.key(row)).collect()
}

/// Seconds, rates, bytes per vector and the catalog's size become `#`, run ids `$RUN`.
fn steady_line(line: &str) -> String {
    let words: Vec<&str> = line.split(' ').collect();
    let steady = words.iter().enumerate().map(|(at, word)| {
        let unit = words.get(at + 1).is_some_and(|next| next.starts_with("s)") || ["s", "s\n", "s:"].contains(next));
        let rate = words.get(at + 1).is_some_and(|next| next.starts_with("papers/s") || next.starts_with("rows/s"));
        let size = words.get(at + 1..at + 3).is_some_and(|next| next[0] == "bytes" && next[1].starts_with("each"));
        let kilobytes = words.get(at + 1).is_some_and(|next| next.starts_with("KB"));
        let number = word.trim_start_matches('(');
        match number.parse::<f64>() {
            Ok(_) if unit || rate || size || kilobytes => word.replace(number, "#"),
            _ if is_run_id(word) => format!("$RUN{}", if word.ends_with('\n') { "\n" } else { "" }),
            _ if word.contains("/reports/") => {
                let (store, _) = word.split_once("/reports/").expect("it was just found");
                format!("{store}/reports/$RUN.html{}", if word.ends_with('\n') { "\n" } else { "" })
            }
            _ => (*word).to_owned(),
        }
    });
    steady.collect::<Vec<_>>().join(" ")
}

fn is_run_id(word: &str) -> bool {
    word.split_once("Z-").is_some_and(|(time, _)| time.len() == 19 && time.as_bytes()[8] == b'T')
}

/// What a terminal shows.
pub struct Screen {
    /// Its lines, steady.
    pub text: String,
    /// Whether any of it was printed in a colour.
    pub is_colored: bool,
}

/// What a run of the program said, and how it ended. Who gets one must look at it, unless the run was asserted to end
/// well: an exit code that nobody looks at hides a failure.
pub struct Told {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output, steady.
    pub out: String,
    /// Standard error, steady.
    pub err: String,
    /// Standard output as it came.
    pub bytes: Vec<u8>,
}

impl Told {
    /// The steps that an apply started, sorted.
    pub fn started(&self) -> Vec<String> {
        let steps = self.err.lines().filter_map(|line| line.split_once(": starts (")).map(|(step, _)| step.to_owned());
        let mut steps: Vec<String> = steps.collect();
        steps.sort();
        steps
    }

    /// How many vectors an apply computed, and how many it took from the store.
    pub fn embedded_and_reused(&self) -> (usize, usize) {
        let Some(line) = self.out.lines().find(|line| line.trim_start().starts_with("embedded ")) else {
            return (0, 0);
        };
        let numbers: Vec<usize> = line.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
        (numbers[0], numbers[1])
    }
}

/// Paper `n` of a year, in the shape of an ADS dump.
pub fn paper(year: u16, n: usize) -> Value {
    json!({
        "bibcode": format!("{year}Test..{n:05}A"),
        "title": [format!("Paper {n} of {year}")],
        "abstract": format!("What paper {n} of {year} found."),
        "citation_count": n,
    })
}

/// The first `count` papers of a year.
pub fn papers(year: u16, count: usize) -> Vec<Value> {
    (0..count).map(|n| paper(year, n)).collect()
}

/// A paper with a title of its own choice.
pub fn titled(bibcode: &str, title: impl Into<Value>) -> Value {
    json!({ "bibcode": bibcode, "title": title.into() })
}

/// One JSON object a line.
pub fn json_lines(papers: &[Value]) -> Vec<u8> {
    papers.iter().flat_map(|paper| format!("{paper}\n").into_bytes()).collect()
}

/// One gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// How often a test repeats what chance decides: a few times, unless a campaign of the justfile asks for more by this
/// variable of the environment.
pub fn times(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |times| times.parse().unwrap_or_else(|_| panic!("{variable}={times}")))
}

/// A number below `limit` that nobody chose.
pub fn any_below(limit: u64) -> u64 {
    std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), limit) % limit
}

/// Says something even where the test passes: not by `eprintln!`, which the test runner keeps to itself.
pub fn say(line: impl Display) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// What a directory holds, sorted; nothing if it is not there.
pub fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// The last part of a path.
pub fn file_name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

/// Overwrites a read-only file in place.
pub fn damage(path: &Path, bytes: &[u8]) {
    let mut permissions = fs::metadata(path).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(path, permissions).unwrap();
    File::options().write(true).open(path).unwrap().write_all(bytes).unwrap();
}
