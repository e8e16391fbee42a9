//! One file from the hub into the cache: resumed where it broke off, and found right before it gets its name.
//!
//! The digest is taken of the part as it lies on the disk, when all of it is there: so whatever wrote the first half of
//! it, and whether or not the file system knows locks, no wrong file gets a name.

use std::fs::{self, File};
use std::io::{Read, Write};

use ureq::http::Uri;

use super::cache::{Part, RepoCache};
use super::client::{Answer, Client, Failure, Subject};
use super::content::ContentId;
use super::listing::RemoteFile;
use super::{Commit, HubError, Progress};

/// Bytes that are read and written at once: the client's own buffer.
const PIECE_BYTES: usize = 128 << 10;
/// What a try must have brought so that earlier failures are forgotten. Less, and a server that gives a byte at a time
/// would never be given up.
const GAIN_BYTES: u64 = 1 << 20;

/// The download of one file.
pub(super) struct Download<'a> {
    pub client: &'a Client,
    pub cache: &'a RepoCache,
    pub commit: &'a Commit,
    pub path: &'a str,
    pub file: RemoteFile,
    pub address: Uri,
    pub subject: Subject,
    pub progress: &'a mut dyn FnMut(Progress),
}

impl Download<'_> {
    /// Downloads the file, unless somebody else did meanwhile.
    pub fn run(mut self) -> Result<(), HubError> {
        if self.file.content.is_none() {
            self.look_up()?;
        }
        let name = match &self.file.content {
            Some(content) => content.blob_name().to_owned(),
            // Whatever this is, it shares its name with no blob.
            None => crate::digest::Digest::of(format!("{}/{}", self.commit, self.path).as_bytes()).to_string(),
        };
        let (progress, path, total) = (&mut *self.progress, self.path, self.file.size);
        let mut waiting = |done| progress(Progress { file: path, done, total, note: Some(WAITING) });
        let part = self.cache.part(&name, &mut waiting)?;
        if self.file.content.is_some() && self.cache.is_in_place(self.commit, self.path, &self.file)? {
            return Ok(());
        }
        let content = self.fill_and_check(&part)?;
        self.cache.keep(&part, &content)?;
        self.cache.link(self.commit, self.path, &content)
    }

    /// Asks the hub what the file is, where its listing did not say.
    fn look_up(&mut self) -> Result<(), HubError> {
        let attempt = |download: &mut Self| download.client.get(&download.address, 0, &download.subject);
        let (client, subject) = (self.client, self.subject.clone());
        let answer =
            client.persevere(self, &subject, client.tries(), attempt, |download, note| download.tell(0, Some(note)))?;
        self.file.content = answer.announced.content;
        self.file.size = self.file.size.or(answer.announced.size);
        Ok(())
    }

    /// Fills the part until it is right. One that an earlier run began and that ends wrong is begun anew, once: a power
    /// cut may have left zeros in it, and that is not the hub's fault.
    fn fill_and_check(&mut self, part: &Part) -> Result<ContentId, HubError> {
        let mut begun_before = part.len() > 0;
        loop {
            let (client, subject) = (self.client, self.subject.clone());
            let attempt = |download: &mut Self| download.fill(part);
            let tell = |download: &mut Self, note: &str| download.tell(part.len(), Some(note));
            client.persevere(self, &subject, client.tries(), attempt, tell)?;
            match self.check(part)? {
                Ok(content) => return Ok(content),
                Err(wrong) => {
                    fs::remove_file(&part.path).map_err(|source| HubError::write(&part.path, source))?;
                    if !begun_before {
                        return Err(wrong);
                    }
                    begun_before = false;
                }
            }
        }
    }

    /// One try at the rest of the file.
    fn fill(&mut self, part: &Part) -> Result<(), Failure> {
        let write = |source| Failure::Final(HubError::write(&part.path, source));
        let mut file = File::options().create(true).append(true).open(&part.path).map_err(write)?;
        let mut have = part.len();
        // Bytes of a file without a digest may be of another one.
        if self.file.content.is_none() || self.file.size.is_some_and(|size| have > size) {
            file.set_len(0).map_err(write)?;
            have = 0;
        }
        if self.file.size == Some(have) {
            return Ok(());
        }
        let mut answer = self.client.get(&self.address, have, &self.subject)?;
        if answer.status == 200 && have > 0 {
            // A server that does not know ranges begins at the beginning.
            file.set_len(0).map_err(write)?;
            have = 0;
        }
        let begins = if answer.status == 206 { answer.start } else { Some(0) };
        if answer.status == 416 || begins != Some(have) {
            file.set_len(0).map_err(write)?;
            return Err(Failure::passing("the hub has no such rest of the file"));
        }
        self.copy(&mut answer, &mut file, have).map_err(|failure| match failure {
            Failure::Final(HubError::Write { source, .. }) => write(source),
            other => other,
        })
    }

    fn copy(&mut self, answer: &mut Answer, file: &mut File, have: u64) -> Result<(), Failure> {
        let mut done = have;
        let cut = |why: &dyn ToString, done: u64| Failure::Passing {
            why: why.to_string(),
            wait: None,
            gained: done - have >= GAIN_BYTES,
        };
        let end = self.file.size.or(answer.length.map(|length| have + length));
        // One byte more than announced is enough to see that there is more.
        let mut body = answer.body.as_reader().take(end.map_or(u64::MAX, |end| end.saturating_sub(have) + 1));
        let mut piece = vec![0; PIECE_BYTES];
        self.tell(done, None);
        loop {
            match body.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => {
                    let written = file.write_all(&piece[..read]);
                    written.map_err(|source| HubError::Write { path: self.path.into(), source })?;
                    done += read as u64;
                    self.tell(done, None);
                }
                Err(error) => return Err(cut(&error, done)),
            }
        }
        match end {
            Some(end) if done < end => Err(cut(&"the connection was cut", done)),
            _ => Ok(()),
        }
    }

    /// Whether the part is what the hub announced; the inner error says how it is not.
    fn check(&self, part: &Part) -> Result<Result<ContentId, HubError>, HubError> {
        let wrong = |expected: String, found: String| HubError::WrongContent {
            repo: self.subject.repo.clone(),
            file: self.path.to_owned(),
            expected,
            found,
        };
        let (expected, found) = (self.file.size, part.len());
        if let Some(expected) = expected.filter(|&expected| expected != found) {
            let found = if found > expected { "more".to_owned() } else { format!("{found} bytes") };
            return Ok(Err(wrong(format!("{expected} bytes"), found)));
        }
        let read = |source| HubError::read(&part.path, source);
        let Some(expected) = &self.file.content else { return ContentId::sha256_of(&part.path).map(Ok).map_err(read) };
        let found = expected.of_file(&part.path).map_err(read)?;
        Ok(if found == *expected { Ok(found) } else { Err(wrong(expected.to_string(), found.to_string())) })
    }

    fn tell(&mut self, done: u64, note: Option<&str>) {
        (self.progress)(Progress { file: self.path, done, total: self.file.size, note });
    }
}

const WAITING: &str = "another process downloads it";
