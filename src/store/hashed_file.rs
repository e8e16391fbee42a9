//! A file that is digested while it is written, and that the disk takes while it grows.
//!
//! What was written is synced meanwhile by a thread of its own, so that the sync at the end, without which a file may get
//! no name, finds little left to do.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::digest::Digest;

/// Bytes hashed and then written: long strides, and short enough that what was hashed is still in the processor's cache
/// when the kernel copies it. Tens of megabytes in one call were measured slower, and the two side by side on two cores
/// no faster: writing waits for memory.
const PIECE_BYTES: usize = 1 << 18;
/// Bytes after which a sync begins: few enough syncs to cost nothing, and little left at the end.
const SYNC_BYTES: usize = 1 << 26;

/// A file under way.
pub struct HashedFile {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
    unsynced: usize,
    syncer: Option<Syncer>,
}

impl HashedFile {
    /// Writes to this file, which is empty.
    pub fn new(file: File) -> Self {
        Self { file, hasher: blake3::Hasher::new(), bytes: 0, unsynced: 0, syncer: None }
    }

    /// The bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest of the bytes written so far.
    pub fn digest(&self) -> Digest {
        self.hasher.finalize().into()
    }

    /// Waits until all of it is on the disk.
    ///
    /// # Errors
    /// Whatever syncing gives, now or before: the kernel tells a failed write-back once.
    pub fn sync(&mut self) -> io::Result<()> {
        self.syncer.take().map_or(Ok(()), Syncer::end)?;
        self.file.sync_all()
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn piece(&mut self, piece: &[u8]) -> io::Result<()> {
        self.hasher.update(piece);
        self.file.write_all(piece)?;
        self.unsynced += piece.len();
        if self.unsynced >= SYNC_BYTES {
            self.unsynced = 0;
            self.begin_sync()?;
        }
        Ok(())
    }

    fn begin_sync(&mut self) -> io::Result<()> {
        let syncer = match self.syncer.take() {
            Some(syncer) => syncer,
            None => Syncer::start(self.file.try_clone()?),
        };
        self.syncer.insert(syncer).ask();
        Ok(())
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bytes.chunks(PIECE_BYTES).try_for_each(|piece| self.piece(piece))?;
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Syncs a file on a thread of its own whenever it is asked to.
struct Syncer {
    asked: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Syncer {
    fn start(file: File) -> Self {
        // One question waits while one is answered; more would ask for the same.
        let (asked, questions) = sync_channel(1);
        let thread = std::thread::spawn(move || questions.iter().try_for_each(|()| file.sync_data()));
        Self { asked, thread }
    }

    fn ask(&self) {
        // A full channel asks already; a closed one failed, which `end` tells.
        let _ = self.asked.try_send(());
    }

    fn end(self) -> io::Result<()> {
        drop(self.asked);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs panicked")))
    }
}
