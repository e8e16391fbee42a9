//! A converted model on disk: a folder that appears whole or not at all, and is checked before it is used again.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::builder::padding;
use super::weights::Weights;
use super::{ConvertError, GRAPH_FILE, Planned, WEIGHTS_FILE};
use crate::digest::{Digest, KeyHasher};
use crate::store::{HashedFile, durable, failpoint};

/// The file that says what the weights' digest is.
const DIGEST_FILE: &str = "model.onnx_data.b3";
/// The file that says what the graph's digest is. Folders that are older have none, and are made again when they are used.
const GRAPH_DIGEST_FILE: &str = "model.onnx.b3";

/// A weight file, and the digest that the plan knows it by.
pub type Known<'a> = (PathBuf, &'a Digest);

impl Planned {
    /// The converted model's folder below `graphs`, made if it is not there or not whole.
    ///
    /// `files` are all weight files, with the digests that the embedder's key names: they are read once more, so that
    /// what is converted is what was planned.
    ///
    /// # Errors
    /// Weights that changed or cannot be read, a folder that cannot be written.
    pub fn ensure(&self, graphs: &Path, files: &[Known]) -> Result<PathBuf, ConvertError> {
        let folder = graphs.join(self.name(files));
        if self.is_whole(&folder) {
            return Ok(folder);
        }
        for (file, digest) in files {
            let found =
                Digest::of_file(file).map_err(|source| ConvertError::Unreadable { file: file.clone(), source })?;
            if found != **digest {
                return Err(ConvertError::Changed { file: file.clone() });
            }
        }
        self.write(&folder)?;
        Ok(folder)
    }

    /// Makes `folder` hold graph and weights: it appears whole or not at all.
    ///
    /// # Errors
    /// Weights that cannot be read, a folder that cannot be made or written.
    pub fn write(&self, folder: &Path) -> Result<(), ConvertError> {
        let failed = |source| ConvertError::Write { folder: folder.into(), source };
        let beside = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::create_dir_all(beside).map_err(failed)?;
        sweep(beside);
        let temporary = beside.join(durable::unique_name());
        let written = self.write_into(&temporary, folder);
        failpoint::reached("convert: written beside");
        let placed = written
            .and_then(|()| self.place(&temporary, folder).and_then(|()| durable::sync_parent(folder)).map_err(failed));
        failpoint::reached("convert: placed");
        drop(fs::remove_dir_all(&temporary));
        placed
    }

    /// Gives `folder` what `temporary` holds, unless it is whole by now: somebody else may be at it, and to the same
    /// bytes. A damaged one is exchanged, not removed: who has found a whole one there must go on finding it.
    fn place(&self, temporary: &Path, folder: &Path) -> io::Result<()> {
        match fs::rename(temporary, folder) {
            Err(_) if self.is_whole(folder) => Ok(()),
            Err(_) if folder.is_dir() => durable::exchange(temporary, folder),
            // No folder at all: nothing of ours, where nobody else writes.
            Err(_) if folder.exists() => fs::remove_file(folder).and_then(|()| fs::rename(temporary, folder)),
            renamed => renamed,
        }
    }

    /// Writes graph and weights into a new folder, which will be `target`.
    fn write_into(&self, folder: &Path, target: &Path) -> Result<(), ConvertError> {
        let failed = |source| ConvertError::Write { folder: target.into(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        failpoint::reached("convert: its folder is made beside");
        write_synced(&folder.join(GRAPH_FILE), &self.graph).map_err(failed)?;
        write_synced(&folder.join(GRAPH_DIGEST_FILE), note(&self.digest()).as_bytes()).map_err(failed)?;
        failpoint::reached("convert: the graph is written");
        let mut weights = HashedFile::new(File::create(folder.join(WEIGHTS_FILE)).map_err(failed)?);
        for (module, block) in &self.blocks {
            failpoint::reached("convert: a block of weights is next");
            let gap = padding(weights.bytes());
            weights.write_all(&vec![0; gap]).map_err(failed)?;
            block.write(&self.modules[*module], &mut |bytes| weights.write_all(bytes).map_err(failed))?;
        }
        failpoint::reached("convert: the weights are written");
        weights.sync().map_err(failed)?;
        failpoint::reached("convert: the weights are synced");
        write_synced(&folder.join(DIGEST_FILE), note(&weights.digest()).as_bytes()).map_err(failed)?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }

    /// The weights of each module, the encoder's first.
    pub fn modules(&self) -> &[Weights] {
        &self.modules
    }

    fn name(&self, files: &[Known]) -> String {
        folder_name(&self.digest(), files.iter().map(|(_, digest)| **digest))
    }

    /// Whether the folder holds the graph, and weights with the digest that they were written with.
    fn is_whole(&self, folder: &Path) -> bool {
        let Ok(noted) = fs::read_to_string(folder.join(DIGEST_FILE)) else { return false };
        fs::read(folder.join(GRAPH_FILE)).is_ok_and(|graph| graph == self.graph)
            && graph_note(folder).is_some_and(|noted| noted == note(&self.digest()))
            && Digest::of_file(&folder.join(WEIGHTS_FILE)).is_ok_and(|digest| digest.to_string() == noted.trim_end())
    }
}

/// The name of the folder that holds this graph over these weight files, in the order of their names.
pub fn folder_name(graph: &Digest, weights: impl ExactSizeIterator<Item = Digest>) -> String {
    let mut hasher = KeyHasher::new("sciembed 2026 converted model v1");
    hasher.bytes(graph.as_bytes()).count(weights.len() as u64);
    for digest in weights {
        hasher.bytes(digest.as_bytes());
    }
    hasher.node_key().to_string()
}

/// Checks the files of a converted model against the digests noted beside them, and says which of them is damaged, if
/// any. The graph of an older folder has no note, and is not checked.
///
/// # Errors
/// Whatever reading gives.
pub fn damaged_file(folder: &Path) -> io::Result<Option<&'static str>> {
    for (file, noted) in [(WEIGHTS_FILE, DIGEST_FILE), (GRAPH_FILE, GRAPH_DIGEST_FILE)] {
        if file == GRAPH_FILE && graph_note(folder).is_none() {
            continue;
        }
        let found = match Digest::of_file(&folder.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(file)),
            found => note(&found?),
        };
        // To the last bit: a damaged note is damage.
        match fs::read(folder.join(noted)) {
            Ok(noted) if noted == found.as_bytes() => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(Some(file)),
        }
    }
    Ok(None)
}

/// What the note beside the graph says; none if there is none.
fn graph_note(folder: &Path) -> Option<String> {
    let bytes = fs::read(folder.join(GRAPH_DIGEST_FILE)).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn note(digest: &Digest) -> String {
    format!("{digest}\n")
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Removes what killed conversions left behind.
fn sweep(graphs: &Path) {
    let Ok(entries) = fs::read_dir(graphs) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(durable::owner_is_dead) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each bit of graph, weights and both notes; and a folder of before graphs had a note.
    #[test]
    fn each_flipped_bit_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let files = [(GRAPH_FILE, GRAPH_DIGEST_FILE, "graph"), (WEIGHTS_FILE, DIGEST_FILE, "weights")];
        for (file, noted, bytes) in files {
            write_synced(&dir.path().join(file), bytes.as_bytes()).unwrap();
            write_synced(&dir.path().join(noted), note(&Digest::of(bytes.as_bytes())).as_bytes()).unwrap();
        }
        assert_eq!(damaged_file(dir.path()).unwrap(), None);
        for (file, noted, _) in files {
            for path in [dir.path().join(file), dir.path().join(noted)] {
                let whole = fs::read(&path).unwrap();
                for bit in 0..whole.len() * 8 {
                    let mut flipped = whole.clone();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    fs::write(&path, flipped).unwrap();
                    assert_eq!(damaged_file(dir.path()).unwrap(), Some(file), "bit {bit} of {}", path.display());
                }
                fs::write(&path, whole).unwrap();
            }
        }
        fs::remove_file(dir.path().join(GRAPH_DIGEST_FILE)).unwrap();
        assert_eq!(damaged_file(dir.path()).unwrap(), None);
        fs::remove_file(dir.path().join(WEIGHTS_FILE)).unwrap();
        assert_eq!(damaged_file(dir.path()).unwrap(), Some(WEIGHTS_FILE));
    }
}
