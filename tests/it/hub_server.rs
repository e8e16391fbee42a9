//! A small hub on this machine, shaped like the real one: the listing, `resolve` with a redirect to the storage of
//! large files, ETag, X-Repo-Commit, ranges. It does wrong what a test tells it to, and remembers what it was asked.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// The running server; it ends with the test's process.
#[derive(Clone)]
pub struct HubServer {
    address: String,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    repos: BTreeMap<String, Repo>,
    /// Bytes by SHA-256, as the storage has them.
    storage: BTreeMap<String, Vec<u8>>,
    storage_at: String,
    token: Option<String>,
    ranges: bool,
    blobs: bool,
    pause: Duration,
    faults: VecDeque<(String, Fault)>,
    requests: Vec<Request>,
}

#[derive(Default)]
struct Repo {
    refs: BTreeMap<String, String>,
    commits: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
}

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with one more header.
    Status(u16, &'static str, String),
    /// Nothing is answered.
    Silence(Duration),
    /// The connection is cut after so many bytes of the body.
    CutAfter(usize),
    /// Another body, with status 200.
    Body(Vec<u8>),
}

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Request {
    /// With its query.
    pub path: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    /// Bytes of the body that were sent.
    pub sent: usize,
}

impl HubServer {
    /// Starts an empty hub on a free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let state = State { ranges: true, blobs: true, storage_at: address.clone(), ..State::default() };
        let server = Self { address, state: Arc::new(Mutex::new(state)) };
        let answering = server.clone();
        thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let server = answering.clone();
                thread::spawn(move || server.answer(connection));
            }
        });
        server
    }

    /// The endpoint.
    pub fn address(&self) -> String {
        self.address.clone()
    }

    /// Makes `files` the newest commit of a repository; gives the commit.
    pub fn publish(&self, repo: &str, files: &[(&str, &[u8])]) -> String {
        let mut state = self.state();
        let files: BTreeMap<_, _> = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec())).collect();
        let commit = git_sha1(format!("{repo} {files:?}").as_bytes());
        for bytes in files.values() {
            state.storage.insert(sha256(bytes), bytes.clone());
        }
        let repo = state.repos.entry(repo.to_owned()).or_default();
        repo.refs.insert("main".to_owned(), commit.clone());
        repo.commits.insert(commit.clone(), files);
        commit
    }

    /// Names a commit.
    pub fn tag(&self, repo: &str, tag: &str, commit: &str) {
        self.state().repos.get_mut(repo).unwrap().refs.insert(tag.to_owned(), commit.to_owned());
    }

    /// From now on, whoever asks without this token gets 401.
    pub fn require(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    /// From now on, large files lie on another server, which gets to know them.
    pub fn store_at(&self, other: &Self) {
        let mut state = self.state();
        state.storage_at = other.address();
        other.state().storage.clone_from(&state.storage);
    }

    /// Whether a `Range` is answered by a range.
    pub fn know_ranges(&self, ranges: bool) {
        self.state().ranges = ranges;
    }

    /// Whether the listing tells sizes and digests.
    pub fn list_blobs(&self, blobs: bool) {
        self.state().blobs = blobs;
    }

    /// How long each body is held back.
    pub fn pause(&self, pause: Duration) {
        self.state().pause = pause;
    }

    /// The next request with `part` in its path goes wrong; faults of one kind of path happen in order.
    pub fn fail(&self, part: &str, fault: Fault) {
        self.state().faults.push_back((part.to_owned(), fault));
    }

    /// What was asked, in order.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Forgets what was asked.
    pub fn forget(&self) {
        self.state().requests.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn answer(&self, mut connection: TcpStream) {
        let Some(request) = read_request(&connection) else { return };
        let (fault, answer, number, pause) = {
            let mut state = self.state();
            let at = state.faults.iter().position(|(part, _)| request.path.contains(part.as_str()));
            let fault = at.and_then(|at| state.faults.remove(at)).map(|(_, fault)| fault);
            let answer = state.answer(&request);
            state.requests.push(request);
            (fault, answer, state.requests.len() - 1, state.pause)
        };
        let (mut answer, mut cut) = (answer, usize::MAX);
        match fault {
            Some(Fault::Status(status, name, value)) => {
                answer = Answer { status, headers: vec![(name, value)], body: b"an error page".to_vec() };
            }
            Some(Fault::Silence(time)) => thread::sleep(time),
            Some(Fault::CutAfter(bytes)) => cut = bytes,
            Some(Fault::Body(body)) => answer = Answer { status: 200, headers: Vec::new(), body },
            None => {}
        }
        let head = answer.head();
        let sent = answer.body.len().min(cut);
        let mut written = connection.write_all(head.as_bytes());
        thread::sleep(pause);
        written = written.and_then(|()| connection.write_all(&answer.body[..sent]));
        if let (Ok(()), Some(request)) = (written, self.state().requests.get_mut(number)) {
            request.sent = sent;
        }
    }
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn refused(status: u16, code: &str) -> Self {
        Self { status, headers: vec![("X-Error-Code", code.to_owned())], body: b"no".to_vec() }
    }

    fn head(&self) -> String {
        let headers: String = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let length = self.body.len();
        format!("HTTP/1.1 {} x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n", self.status)
    }
}

impl State {
    fn answer(&self, request: &Request) -> Answer {
        let path = decoded(request.path.split('?').next().unwrap_or_default());
        if let Some(sha256) = path.strip_prefix("/storage/") {
            return match self.storage.get(sha256) {
                Some(bytes) => self.bytes(request, bytes, vec![("ETag", "\"md5-of-the-storage\"".to_owned())]),
                None => Answer::refused(403, "Expired"),
            };
        }
        let sent = request.headers.get("authorization");
        if self.token.as_ref().is_some_and(|token| sent != Some(&format!("Bearer {token}"))) {
            return Answer::refused(401, "RepoNotFound");
        }
        if let Some((repo, revision)) = path.strip_prefix("/api/models/").and_then(|rest| rest.split_once("/revision/"))
        {
            return self.listing(repo, revision);
        }
        match path[1..].split_once("/resolve/").and_then(|(repo, rest)| Some((repo, rest.split_once('/')?))) {
            Some((repo, (revision, file))) => self.file(request, repo, revision, file),
            None => Answer::refused(404, ""),
        }
    }

    /// The commit and its files, or why there are none.
    fn commit(&self, repo: &str, revision: &str) -> Result<(&str, &BTreeMap<String, Vec<u8>>), Answer> {
        let repo = self.repos.get(repo).ok_or_else(|| Answer::refused(404, "RepoNotFound"))?;
        let commit = repo.refs.get(revision).map_or(revision, String::as_str);
        let found = repo.commits.get_key_value(commit).ok_or_else(|| Answer::refused(404, "RevisionNotFound"))?;
        Ok((found.0, found.1))
    }

    fn listing(&self, repo: &str, revision: &str) -> Answer {
        let (commit, files) = match self.commit(repo, revision) {
            Ok(found) => found,
            Err(refused) => return refused,
        };
        let sibling = |(path, bytes): (&String, &Vec<u8>)| {
            let mut sibling = json!({ "rfilename": path });
            if self.blobs {
                sibling["size"] = bytes.len().into();
                sibling["blobId"] = git_sha1(bytes).into();
            }
            if self.blobs && is_large(path) {
                sibling["lfs"] = json!({ "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 134 });
            }
            sibling
        };
        let siblings: Vec<Value> = files.iter().map(sibling).collect();
        let listing = json!({ "id": repo, "sha": commit, "private": false, "gated": false, "siblings": siblings });
        let headers = vec![("Content-Type", "application/json".to_owned())];
        Answer { status: 200, headers, body: listing.to_string().into_bytes() }
    }

    fn file(&self, request: &Request, repo: &str, revision: &str, path: &str) -> Answer {
        let (commit, files) = match self.commit(repo, revision) {
            Ok(found) => found,
            Err(refused) => return refused,
        };
        let Some(bytes) = files.get(path) else { return Answer::refused(404, "EntryNotFound") };
        let mut headers = vec![("X-Repo-Commit", commit.to_owned())];
        if !is_large(path) {
            headers.push(("ETag", format!("\"{}\"", git_sha1(bytes))));
            return self.bytes(request, bytes, headers);
        }
        let sha256 = sha256(bytes);
        headers.push(("Location", format!("{}/storage/{sha256}?signature=signed", self.storage_at)));
        headers.push(("X-Linked-Etag", format!("\"{sha256}\"")));
        headers.push(("X-Linked-Size", bytes.len().to_string()));
        headers.push(("ETag", "W/\"of-the-redirect\"".to_owned()));
        Answer { status: 302, headers, body: b"Found".to_vec() }
    }

    fn bytes(&self, request: &Request, bytes: &[u8], mut headers: Vec<(&'static str, String)>) -> Answer {
        let range = request.headers.get("range").filter(|_| self.ranges);
        let start = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match start {
            None => Answer { status: 200, headers, body: bytes.to_vec() },
            Some(start) if start >= bytes.len() => Answer::refused(416, ""),
            Some(start) => {
                headers.push(("Content-Range", format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len())));
                Answer { status: 206, headers, body: bytes[start..].to_vec() }
            }
        }
    }
}

/// Which files lie in the storage of large files.
fn is_large(path: &str) -> bool {
    [".onnx", ".safetensors", ".bin"].iter().any(|ending| path.ends_with(ending))
}

fn read_request(connection: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(connection).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        match line.ok()?.split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => return Some(Request { path, headers, sent: 0 }),
        };
    }
    None
}

fn decoded(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        bytes.push(u8::from_str_radix(&piece[..2], 16).unwrap());
        bytes.extend(&piece.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}

/// As `sha256sum` says.
pub fn sha256(bytes: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref())
}

/// As `git hash-object` says.
pub fn git_sha1(bytes: &[u8]) -> String {
    let blob = [format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat();
    hex(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &blob).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
