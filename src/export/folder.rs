//! Files of an export: written part after part into a folder beside, which is exchanged for the one that people see when all
//! are there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::documents;
use super::lines::Lines;
use super::npy;
use super::parquet::Table;
use super::part::{RowWriter, failed, name};
use super::{Document, Done, ExportError, Job, Note};
use crate::dataset::Dataset;
use crate::digest::Digest;
use crate::lineage::Lineage;
use crate::manifest::config::{Export, FileExport, LinesExport};
use crate::store::{durable, failpoint};

/// Rows of a file, where nothing is said: some 150 MB of 384 floats.
const PART_ROWS: usize = 100_000;
/// The name of a vector in a document, where nothing is said.
const VECTOR: &str = "embedding";

/// The folder that people see.
pub fn place(base: &Path, dir: &str, dataset: &str) -> PathBuf {
    let place = base.join(dir).join(dataset);
    // Where a link leads is where the files are to be.
    place.canonicalize().unwrap_or(place)
}

/// The folder in which an export grows.
pub fn beside(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    folder.with_file_name(format!(".{name}.partial"))
}

/// The note in such a folder.
pub fn note_path(folder: &Path) -> PathBuf {
    folder.join("export.json")
}

/// Writes the files of an export, from where it got to, and shows them.
///
/// # Errors
/// [`ExportError`]; then the folder that people see is as it was.
pub fn export(job: &Job, folder: &Path, dataset: &Dataset, lineage: Option<&Lineage>) -> Result<Done, ExportError> {
    let home = folder.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(home).map_err(failed(home))?;
    // One export to a folder at a time.
    let _held = durable::lock(&lock_path(folder)).map_err(failed(home))?;
    refuse_foreign(folder)?;
    let growing = beside(folder);
    let mut note = resumed(job, &growing, dataset)?;
    let resumed = note.rows;
    write_parts(job, &growing, dataset, lineage, &mut note)?;
    note.complete = true;
    note.write(&note_path(&growing))?;
    failpoint::reached("export: all is written");
    show(&growing, folder).map_err(failed(folder))?;
    let bytes = note.files.iter().map(|part| part.bytes).sum();
    Ok(Done { rows: note.rows, resumed, bytes, seconds: 0.0 })
}

fn lock_path(folder: &Path) -> PathBuf {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    folder.with_file_name(format!(".{name}.lock"))
}

/// What no export wrote is nobody's to replace.
fn refuse_foreign(folder: &Path) -> Result<(), ExportError> {
    let is_file = (folder.exists() && !folder.is_dir()).then(|| folder.to_owned());
    match is_file.or_else(|| foreign(folder, true)).or_else(|| foreign(&beside(folder), false)) {
        Some(path) => Err(ExportError::Foreign { path }),
        None => Ok(()),
    }
}

/// The first thing in a folder that no export wrote. One that people see has a note; one that only began to grow may have none
/// yet, and names tell.
fn foreign(folder: &Path, has_note: bool) -> Option<PathBuf> {
    let note = Note::read(&note_path(folder));
    let is_noted = |name: &str| note.as_ref().is_some_and(|note| note.files.iter().any(|part| part.name == name));
    let is_ours = |name: &str| match name {
        "export.json" => note.is_some() || !has_note,
        _ if has_note => is_noted(name),
        "embeddings.npy" | "bibcodes.txt" => true,
        _ => name.starts_with("part-") || durable::is_unique_name(name.trim_start_matches('.')),
    };
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.find(|entry| !is_ours(&entry.file_name().to_string_lossy())).map(|entry| entry.path())
}

/// How far an interrupted export of the same rows got, with files that are as they were written; otherwise a new folder.
fn resumed(job: &Job, growing: &Path, dataset: &Dataset) -> Result<Note, ExportError> {
    let is_whole = |note: &Note| {
        note.files
            .iter()
            .all(|part| Digest::of_file(&growing.join(&part.name)).is_ok_and(|digest| digest == part.digest))
    };
    let note = Note::read(&note_path(growing)).filter(|note| note.is_of(dataset.description(), job.export));
    if let Some(note) = note.filter(is_whole) {
        return Ok(note);
    }
    match fs::remove_dir_all(growing) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(growing)(error)),
        _ => fs::create_dir(growing).map_err(failed(growing))?,
    }
    Ok(Note::new(dataset.description(), job.export))
}

/// Writes the parts that are missing, and notes each.
fn write_parts(
    job: &Job,
    growing: &Path,
    dataset: &Dataset,
    lineage: Option<&Lineage>,
    note: &mut Note,
) -> Result<(), ExportError> {
    let rows = part_rows(job.export, dataset);
    let mut writer: Option<Box<dyn RowWriter>> = None;
    let mut pending = 0;
    let close = |writer: Box<dyn RowWriter>, pending: &mut u64, note: &mut Note| {
        note.files.extend(writer.finish().map_err(failed(growing))?);
        note.rows += std::mem::take(pending);
        note.write(&note_path(growing))?;
        failpoint::reached("export: a part is written");
        Ok::<(), ExportError>(())
    };
    let skipped = note.rows;
    documents::each(dataset, lineage, job.export.fields(), skipped, &mut |document: &Document| {
        let open = match writer.as_mut() {
            Some(open) => open,
            None => writer.insert(open(job.export, growing, note.files.len(), dataset).map_err(failed(growing))?),
        };
        open.add(document).map_err(failed(growing))?;
        pending += 1;
        match writer.take_if(|_| pending as usize == rows) {
            Some(full) => close(full, &mut pending, note),
            None => Ok(()),
        }
    })?;
    // A dataset without rows has its files all the same.
    let last = match writer {
        None if note.files.is_empty() => Some(open(job.export, growing, 0, dataset).map_err(failed(growing))?),
        last => last,
    };
    last.map_or(Ok(()), |last| close(last, &mut pending, note))
}

fn part_rows(export: &Export, dataset: &Dataset) -> usize {
    match export {
        Export::Parquet(FileExport { rows, .. })
        | Export::Solr(LinesExport { rows, .. })
        | Export::Elasticsearch(LinesExport { rows, .. }) => rows.map_or(PART_ROWS, usize::from),
        // One array is one file.
        _ => dataset.description().rows,
    }
}

/// A new file, or the files of an array.
fn open(export: &Export, folder: &Path, number: usize, dataset: &Dataset) -> io::Result<Box<dyn RowWriter>> {
    let description = dataset.description();
    let path = folder.join(name(export, number));
    Ok(match export {
        Export::Npy(array) => Box::new(npy::Array::create(folder, description, array.dtype)?),
        Export::Parquet(table) => Box::new(Table::create(path, description.dim, &table.fields)?),
        Export::Elasticsearch(lines) => Box::new(Lines::create(path, lines.vector.as_deref().unwrap_or(VECTOR), true)?),
        Export::Solr(lines) => Box::new(Lines::create(path, lines.vector.as_deref().unwrap_or(VECTOR), false)?),
        Export::Qdrant(_) | Export::Weaviate(_) => unreachable!("a server has no folder"),
    })
}

/// Puts the new folder where people look, and removes the old one.
fn show(growing: &Path, folder: &Path) -> io::Result<()> {
    fs::File::open(growing)?.sync_all()?;
    if folder.exists() {
        durable::exchange(growing, folder)?;
    } else {
        fs::rename(growing, folder)?;
    }
    failpoint::reached("export: shown");
    durable::sync_parent(folder)?;
    match fs::remove_dir_all(growing) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
