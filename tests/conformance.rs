//! `docs/conformance.md`, what the code cites and what the tests are called agree.
//!
//! The file is the register: which requirements and rules there are, where in the code each is
//! met, which tests would notice if it were not. [`check`] holds it against the sources, both ways,
//! and lists everything that does not agree.

mod conformance {
    pub(crate) mod check;
    pub(crate) mod register;
    pub(crate) mod source;
}

use std::fs;
use std::path::{Path, PathBuf};

use conformance::check::check;
use conformance::source::File;

/// Where there is Rust. What a package leaves out is not looked for there.
const FOLDERS: [&str; 6] = ["src", "tests", "examples", "benches", "fuzz", "sim"];

/// The checker's own files are full of examples of what must not be.
const OWN: &str = "tests/conformance";

/// Each requirement and each rule is cited where it is met and has its tests, or a reason why not;
/// and nothing is cited that the register does not know.
#[test]
fn register_code_and_tests_agree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let register =
        fs::read_to_string(root.join("docs/conformance.md")).expect("there is a register");
    let files = rust_files(root);
    assert!(files.len() > 40, "only {} files were found", files.len());

    let found = check(&register, &files);
    let list: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "they disagree:\n{}", list.join("\n"));
}

/// In the order of their paths, so that the list is the same everywhere.
fn rust_files(root: &Path) -> Vec<File> {
    let mut paths = Vec::new();
    for folder in FOLDERS {
        collect(&root.join(folder), &mut paths);
    }
    paths.sort();
    let files = paths.iter().map(|path| {
        let name = path.strip_prefix(root).expect("it was found below");
        File {
            path: name.to_string_lossy().replace('\\', "/"),
            text: fs::read_to_string(path).expect("it can be read"),
        }
    });
    files.filter(|file| !file.path.starts_with(OWN)).collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("it was listed").path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}
