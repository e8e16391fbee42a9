//! What an index must keep to: its bytes, its answers, and what happens to a file that is not whole.

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use fastrand::Rng;
use sciembed_faiss::{Builder, Error, Factory, Failure, Hit, Index, Parameters, sample};

const DIM: usize = 32;
/// Every kind, small enough to be trained on 3,000 rows but where product codes need 39 for each of 256 centroids.
const KINDS: [&str; 9] = [
    "Flat",
    "SQ8",
    "SQfp16",
    "HNSW8,SQ8",
    "HNSW8,Flat",
    "IVF16,Flat",
    "IVF16,SQ8",
    "IVF16,PQ8np",
    "OPQ8_24,IVF16,PQ8np",
];
const THOROUGH: Parameters = Parameters { nprobe: usize::MAX, ef: 400 };

/// Unit vectors around 40 centres.
fn vectors(rows: usize, seed: u64) -> Vec<f32> {
    let mut centres = Rng::with_seed(1);
    let centres: Vec<f32> = (0..40 * DIM).map(|_| centres.f32() - 0.5).collect();
    let mut random = Rng::with_seed(seed);
    let mut vectors = Vec::with_capacity(rows * DIM);
    for _ in 0..rows {
        let centre = random.usize(0..40) * DIM;
        let row: Vec<f32> = (0..DIM).map(|place| centres[centre + place] + 0.6 * (random.f32() - 0.5)).collect();
        let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
        vectors.extend(row.iter().map(|value| value / length));
    }
    vectors
}

fn built(kind: &str, threads: usize, portion: usize) -> Index {
    let rows = vectors(10_500, 2);
    let factory: Factory = kind.parse().unwrap();
    let wanted = (*factory.sample_rows().start()).max(3000);
    let drawn: Vec<f32> =
        sample(10_500, wanted, 3).into_iter().flat_map(|row| rows[row * DIM..][..DIM].iter().copied()).collect();
    let mut builder = Builder::train(factory, DIM, &drawn, threads).unwrap();
    let rows = if kind.starts_with("HNSW") { &rows[..2000 * DIM] } else { &rows };
    rows.chunks(portion * DIM).for_each(|portion| builder.add(portion).unwrap());
    assert_eq!(builder.len(), rows.len() / DIM);
    builder.finish().unwrap()
}

/// The file of a kind, built once for all tests.
fn file(kind: &str, folder: &Path) -> std::path::PathBuf {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let bytes = |kind: &&str| {
            let mut bytes = Vec::new();
            built(kind, 2, 4000).write_to(&mut bytes).unwrap();
            bytes
        };
        KINDS.iter().map(bytes).collect()
    });
    let path = folder.join("index");
    fs::write(&path, &files[KINDS.iter().position(|known| *known == kind).unwrap()]).unwrap();
    path
}

fn written(index: &Index, folder: &Path, name: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    index.write(&path).unwrap();
    path
}

/// The exact ten best of each query.
fn exact(rows: &[f32], queries: &[f32]) -> Vec<Vec<usize>> {
    let best = |query: &[f32]| {
        let mut scored: Vec<(f32, usize)> =
            rows.chunks_exact(DIM).map(|row| row.iter().zip(query).map(|(a, b)| a * b).sum()).zip(0..).collect();
        scored.sort_by(|a: &(f32, usize), b| b.0.total_cmp(&a.0));
        scored.into_iter().take(10).map(|(_, row)| row).collect()
    };
    queries.chunks_exact(DIM).map(best).collect()
}

#[test]
fn the_same_vectors_give_the_same_file_whatever_the_threads_and_portions() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let first = fs::read(written(&built(kind, 1, 10_500), folder.path(), "one")).unwrap();
        for (threads, portion) in [(5, 777), (1, 19)] {
            let again = fs::read(written(&built(kind, threads, portion), folder.path(), "again")).unwrap();
            assert!(first == again, "{kind} with {threads} threads, {portion} rows at once");
        }
    }
}

#[test]
fn a_mapped_file_answers_as_the_index_that_wrote_it_and_finds_what_is_near() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, queries) = (vectors(10_500, 2), vectors(50, 4));
    for kind in KINDS {
        let mut index = built(kind, 2, 4000);
        let path = written(&index, folder.path(), "index");
        let mut opened = Index::open(&path, 2).unwrap();
        assert_eq!((opened.kind(), opened.dim(), opened.len()), (index.kind(), DIM, index.len()), "{kind}");
        let hits = opened.search(&queries, 100, THOROUGH).unwrap();
        assert_eq!(hits, index.search(&queries, 100, THOROUGH).unwrap(), "{kind}");
        let mut loaded = Index::load(&path, 1).unwrap();
        assert_eq!(hits, loaded.search(&queries, 100, THOROUGH).unwrap(), "{kind}");
        assert!(loaded.memory_bytes() > opened.memory_bytes(), "{kind}");
        let exact = exact(&rows[..index.len() * DIM], &queries);
        let found = exact.iter().enumerate().map(|(query, exact)| {
            let hits: Vec<usize> = hits.of(query).map(|hit| hit.row).collect();
            exact.iter().filter(|row| hits.contains(row)).count()
        });
        let recall = found.sum::<usize>() as f64 / 500.0;
        // A rotation to 24 of 32 numbers leaves something out.
        let least = if kind.starts_with("OPQ") { 0.92 } else { 0.95 };
        assert!(recall > least, "{kind}: of the ten nearest {recall} are among 100 candidates");
    }
}

/// Half of the variance lies in two blocks of eight: without a rotation, the bytes of the others are spent on little.
#[test]
fn a_learned_rotation_is_worth_its_training() {
    let uneven = |seed| -> Vec<f32> {
        let skewed = vectors(10_500, seed).into_iter().enumerate();
        skewed.map(|(place, value)| value / (1.0 + (place % DIM) as f32)).collect()
    };
    let (rows, queries) = (uneven(2), uneven(4)[..50 * DIM].to_vec());
    let exact = exact(&rows, &queries);
    let recall = |kind: &str| {
        let mut builder = Builder::train(kind.parse().unwrap(), DIM, &rows, 2).unwrap();
        builder.add(&rows).unwrap();
        let hits = builder.finish().unwrap().search(&queries, 20, THOROUGH).unwrap();
        let found =
            |(query, exact): (usize, &Vec<usize>)| hits.of(query).filter(|hit| exact.contains(&hit.row)).count();
        exact.iter().enumerate().map(found).sum::<usize>() as f64 / 500.0
    };
    let (plain, rotated) = (recall("IVF16,PQ8np"), recall("OPQ8_32,IVF16,PQ8np"));
    assert!(rotated > plain + 0.02, "{plain} without, {rotated} with a rotation");
}

#[test]
fn a_file_is_as_long_as_was_foretold() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let path = file(kind, folder.path());
        let (index, bytes) = (Index::open(&path, 1).unwrap(), fs::metadata(&path).unwrap().len());
        let kind = index.kind();
        let foretold = (kind.row_bytes(DIM) * index.len() + kind.fixed_bytes(DIM)) as f64;
        assert!((bytes as f64 / foretold - 1.0).abs() < 0.02, "{kind}: {bytes} bytes, {foretold} foretold");
    }
}

#[test]
fn rows_can_be_added_to_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let more = vectors(30, 9);
    for kind in KINDS {
        let path = file(kind, folder.path());
        let mut builder = Builder::resume(&path, 2).unwrap();
        let before = builder.len();
        builder.add(&more).unwrap();
        let path = written(&builder.finish().unwrap(), folder.path(), "more");
        let mut index = Index::open(&path, 1).unwrap();
        let hits = index.search(&more, 100, THOROUGH).unwrap();
        for query in 0..30 {
            assert!(hits.of(query).any(|hit| hit.row == before + query), "{kind}: row {query} finds itself");
        }
    }
}

/// Searches what can be opened, and says whether it could be.
fn survives(path: &Path) -> bool {
    match Index::open(path, 2) {
        Ok(mut index) => {
            // Anything but the end of the program.
            let _ = index.search(&vec![0.1; 3 * index.dim()], 50, THOROUGH);
            true
        }
        Err(Error::Damaged { .. } | Error::Faiss { .. }) => false,
        Err(error) => panic!("a damaged file gives another error: {error}"),
    }
}

#[test]
fn a_cut_file_is_refused_wherever_it_is_cut() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let path = file(kind, folder.path());
        let bytes = fs::read(&path).unwrap();
        let cuts = (0..50).map(|part| bytes.len() * part / 50).chain(1..120).chain([bytes.len() - 1]);
        for cut in cuts {
            fs::write(&path, &bytes[..cut]).unwrap();
            assert!(matches!(Index::open(&path, 1), Err(Error::Damaged { .. })), "{kind} cut at {cut}");
            assert!(Builder::resume(&path, 1).is_err());
        }
        let mut longer = bytes;
        longer.push(0);
        fs::write(&path, &longer).unwrap();
        assert!(!survives(&path), "{kind} with a byte too many");
    }
}

/// `SCIEMBED_FAISS_FLIPS` says how many places to try, in each kind of file.
#[test]
fn flipped_bytes_never_end_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let mut random = Rng::with_seed(11);
    let flips = std::env::var("SCIEMBED_FAISS_FLIPS").map_or(200, |flips| flips.parse().unwrap());
    for kind in KINDS {
        let path = file(kind, folder.path());
        let bytes = fs::read(&path).unwrap();
        let mut opened = 0;
        // The frame stands at the head and between the parts; the rest is codes.
        for flip in 0..flips {
            let place = random.usize(0..if flip % 2 == 0 { 400 } else { bytes.len() });
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << random.u8(0..8);
            fs::write(&path, &damaged).unwrap();
            opened += usize::from(survives(&path));
        }
        assert!(opened > 0, "{kind}: what lies in codes goes unnoticed here");
    }
}

#[test]
fn a_foreign_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("foreign");
    let mut random = Rng::with_seed(12);
    for head in [&b""[..], b"ARROW1\0\0", b"IxFI", b"IwPQ", b"IHNs", b"IxPT", b"IxMp", b"ibIv"] {
        let mut bytes = head.to_vec();
        bytes.extend((0..4000).map(|_| random.u8(..)));
        fs::write(&path, &bytes).unwrap();
        assert!(!survives(&path), "{head:?}");
    }
    let told = Index::open(&path, 1).err().unwrap().to_string();
    assert!(told.contains("it is no index of a kind that is used here"), "{told}");
    assert!(matches!(Index::open(folder.path(), 1), Err(Error::Damaged { .. })), "a folder");
    assert!(matches!(Index::open(&folder.path().join("none"), 1), Err(Error::File { .. })));
}

#[test]
fn what_cannot_be_indexed_is_an_error() {
    let sample = vectors(3000, 2);
    let train = |kind: &str, vectors: &[f32]| Builder::train(kind.parse().unwrap(), DIM, vectors, 1);
    let told = train("IVF16,PQ8np", &sample).err().unwrap().to_string();
    assert_eq!(told, "train IVF16,PQ8np on 3000 vectors: it needs 9984");
    assert!(matches!(train("IVF16,PQ5np", &sample), Err(Error::Dim { .. })));
    assert!(matches!(train("SQ8", &sample[1..]), Err(Error::Shape { .. })));
    let mut odd = sample.clone();
    odd[5 * DIM + 1] = f32::NAN;
    assert!(matches!(train("SQ8", &odd), Err(Error::Range { row: 5 })));
    odd[5 * DIM + 1] = 1e30;
    let mut builder = train("SQ8", &sample).unwrap();
    assert!(matches!(builder.add(&odd), Err(Error::Range { row: 5 })));
    assert_eq!(builder.len(), 0, "nothing of it was added");
    let index = builder.finish().unwrap();
    assert!(matches!(index.write(Path::new("/nowhere/index")), Err(Error::File { .. })));
    let told = index.write(Path::new("/dev/full")).unwrap_err().to_string();
    assert!(told.contains("No space left"), "{told}");
}

/// A writer that takes so many bytes and no more.
struct Narrow(usize);

impl std::io::Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_writer_gets_the_bytes_of_the_file_and_its_failure_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let path = file(kind, folder.path());
        let (index, mut bytes) = (Index::load(&path, 1).unwrap(), Vec::new());
        index.write_to(&mut bytes).unwrap();
        assert!(bytes == fs::read(&path).unwrap(), "{kind} is written as it was read");
        for room in (0..20).map(|part| bytes.len() * part / 20).chain([bytes.len() - 1]) {
            let failure = index.write_to(&mut Narrow(room)).unwrap_err();
            assert!(matches!(&failure, Failure::Io(io) if io.kind() == std::io::ErrorKind::StorageFull), "{failure}");
        }
        index.write_to(&mut Narrow(bytes.len())).unwrap();
    }
}

#[test]
fn an_empty_index_is_an_index() {
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let factory: Factory = kind.parse().unwrap();
        let index = Builder::train(factory, DIM, &vectors(10_000, 2), 2).unwrap().finish().unwrap();
        let mut index = Index::open(&written(&index, folder.path(), "empty"), 2).unwrap();
        assert!(index.is_empty());
        let hits = index.search(&vectors(2, 3), 10, Parameters::default()).unwrap();
        assert!(hits.of(0).next().is_none() && hits.of(1).next().is_none(), "{kind}");
    }
}

#[test]
fn vectors_that_teach_nothing_are_no_reason_to_fall() {
    let same = vec![1e6; 10_000 * DIM];
    let mixed: Vec<f32> = vectors(10_000, 2).into_iter().map(|value| value * 9e5).collect();
    for vectors in [same, mixed] {
        for kind in KINDS {
            let mut builder = Builder::train(kind.parse().unwrap(), DIM, &vectors, 2).unwrap();
            builder.add(&vectors[..100 * DIM]).unwrap();
            builder.finish().unwrap().search(&vectors[..DIM], 10, THOROUGH).unwrap();
        }
    }
}

#[test]
fn a_search_of_few_lists_gives_fewer_hits_not_wrong_ones() {
    let mut index = built("IVF16,SQ8", 1, 10_500);
    let hits = index.search(&vectors(1, 6), 10_500, Parameters { nprobe: 1, ef: 1 }).unwrap();
    let hits: Vec<Hit> = hits.of(0).collect();
    assert!(!hits.is_empty() && hits.len() < 10_500);
    assert!(hits.is_sorted_by(|a, b| a.score >= b.score));
}
