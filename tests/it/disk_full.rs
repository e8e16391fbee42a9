//! A full disk: whichever write meets it, apply says where, shows nothing half-written, and goes on once there is room.
//!
//! By default a few sizes; `just disk-full` tries every one, so that each write of the program is the one that fails.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::fs::statvfs;
use sciembed::digest::Digest;

use crate::env::{TestEnv, Told, file_name, files, papers, say, times};
use crate::namespace::{self, Disk};

/// Sizes that are tried of each kind, unless `SCIEMBED_DISK_SIZES` says another number.
const SIZES: usize = 3;
const ROOMY: &str = "size=64m,nr_inodes=10000";
/// What a file system counts, in the words of tmpfs: pages of 4 kB, and files.
const KINDS: [&str; 2] = ["size", "nr_inodes"];

/// Two small years and their merge.
fn project(folder: &Path) -> TestEnv {
    let env = TestEnv::empty_in(folder);
    let merge = "\n[merge.all]\nfrom = \"yearly\"\nacross = [\"year\"]\ndir = \"embeddings\"\n";
    env.edit("dtype = \"f16\"\n", &format!("dtype = \"f16\"\n{merge}"));
    env.edit("fake://16", "fake://256");
    for year in [2010, 2011] {
        env.write_year(year, &papers(year, 30));
    }
    env
}

/// Pages and files in use, in the order of [`KINDS`].
fn used(disk: &Disk) -> [u64; 2] {
    let found = statvfs(disk.path()).unwrap();
    [(found.f_blocks - found.f_bfree) * found.f_frsize / 4096, found.f_files - found.f_ffree]
}

fn option(kind: usize, count: u64) -> String {
    if kind == 0 { format!("size={}k", 4 * count) } else { format!("{}={count}", KINDS[kind]) }
}

#[test]
fn a_full_disk() {
    namespace::run("disk_full::every_write_meets_a_full_disk");
}

#[test]
#[ignore = "mounts: a_full_disk runs it where it may"]
fn every_write_meets_a_full_disk() {
    let disk = Disk::mount(ROOMY);
    let lone = project(disk.path());
    let before = used(&disk);
    lone.applied(&[]);
    let whole = lone.keyed();
    for (kind, name) in KINDS.iter().enumerate() {
        // Unfinished files stand beside what they become, so a run needs more than it leaves.
        let most = (used(&disk)[kind] - before[kind]) * 5 / 4;
        let tried = spread(most, times("SCIEMBED_DISK_SIZES", SIZES) as u64);
        let failed = tried.iter().filter(|&&room| !fits(kind, room, &whole)).count();
        say(format!("{name}: {failed} of {} disks with 0 to {most} left were full", tried.len()));
        assert!(failed > 0 && failed < tried.len(), "from hardly anything to enough");
    }
}

/// Up to `count` numbers from 0 to `most`, both included.
fn spread(most: u64, count: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count).map(|n| n * most / (count - 1)).collect();
    numbers.dedup();
    numbers
}

/// Applies with so much room left; says whether it was enough. If not, nothing wrong is shown or recorded, and with more
/// room the next apply ends where a run that never met a full disk does.
fn fits(kind: usize, room: u64, whole: &BTreeMap<String, Digest>) -> bool {
    let disk = Disk::mount(ROOMY);
    let env = project(disk.path());
    disk.remount(&option(kind, used(&disk)[kind] + room));
    let told = env.apply(&[]);
    let fits = told.code == Some(0);
    if !fits {
        let case = format!("{} + {room}: {:?} {}{}", KINDS[kind], told.code, told.out, told.err);
        assert_told(&told, &case);
        assert_nothing_half_written(&env, whole, &case);
        disk.remount(ROOMY);
        let again = env.apply(&[]);
        assert_eq!(again.code, Some(0), "{case}\nand then {}{}", again.out, again.err);
    } else if told.err.contains("their catalog was not made") {
        let case = format!("{} + {room}: {}{}", KINDS[kind], told.out, told.err);
        assert_names_and_helps(&told, &case);
        disk.remount(ROOMY);
        env.applied(&[]);
    }
    let hidden = |path: &PathBuf| file_name(path).starts_with('.');
    assert_eq!(files(&env.path("embeddings/.sciembed")).iter().find(|path| hidden(path)), None);
    assert_eq!(env.run(&["catalog", "SELECT count(*) AS papers FROM papers"]).out, "papers\n120\n");
    assert_eq!(&env.keyed(), whole, "{} + {room}", KINDS[kind]);
    assert_eq!(files(&env.path("store/tmp")).len(), 0, "{} + {room}", KINDS[kind]);
    fits
}

/// The message names the path and says what to do.
fn assert_told(told: &Told, case: &str) {
    assert!(matches!(told.code, Some(1 | 3)), "{case}");
    assert_names_and_helps(told, case);
}

fn assert_names_and_helps(told: &Told, case: &str) {
    for part in ["$ENV/project/", "No space left on device", "sciembed::", "help: free space"] {
        assert!(told.err.contains(part), "it does not say {part:?}: {case}");
    }
    assert!(!told.err.contains("panicked"), "{case}");
}

/// What is recorded stands in the store whole; what is shown is what a lone run shows.
fn assert_nothing_half_written(env: &TestEnv, whole: &BTreeMap<String, Digest>, case: &str) {
    for record in env.records() {
        for output in record.outputs.values() {
            assert_eq!(Digest::of_file(&env.blob(&output.digest)).unwrap(), output.digest, "{case}");
        }
    }
    for path in files(&env.path("embeddings")) {
        if let Some(digest) = whole.get(&file_name(&path)) {
            assert_eq!(Digest::of_file(&path).unwrap(), *digest, "{}: {case}", path.display());
        }
    }
}
