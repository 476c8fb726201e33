//! The scripts say what they do, and refuse what they do not know, before they build anything.

#![cfg(unix)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// These hand on what they do not know to cargo's own tools.
const HANDING_ON: [&str; 2] = ["coverage", "mutants"];

/// The scripts; none outside the repository.
fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let files = entries.map(|entry| entry.expect("the folder can be read"));
    let scripts = files.filter(|file| {
        let metadata = file.metadata().expect("the file is there");
        metadata.is_file() && metadata.permissions().mode() & 0o100 != 0
    });
    scripts.map(|file| file.path()).collect()
}

fn run(script: &Path, argument: &str) -> Output {
    let output = Command::new(script).arg(argument).output();
    output.expect("the script can be run")
}

/// `--help` prints what a script does.
#[test]
fn each_script_has_help() {
    for script in scripts() {
        for argument in ["--help", "-h"] {
            let output = run(&script, argument);
            assert!(output.status.success(), "{}", script.display());
            assert!(output.stdout.len() > 100, "{}", script.display());
            assert!(output.stderr.is_empty(), "{}", script.display());
        }
    }
}

/// An argument that a script does not know is refused, with what was expected.
#[test]
fn each_script_refuses_what_it_does_not_know() {
    let hands_on = |script: &PathBuf| HANDING_ON.iter().any(|name| script.ends_with(name));
    for script in scripts().into_iter().filter(|script| !hands_on(script)) {
        let output = run(&script, "--no-such-option");
        assert_eq!(output.status.code(), Some(2), "{}", script.display());
        let said = String::from_utf8(output.stderr).expect("it is text");
        let name = script.file_name().expect("it has a name").to_string_lossy();
        let begins = format!("{name}: unknown argument `--no-such-option`: expected ");
        assert!(said.starts_with(&begins), "{said}");
    }
}
