//! The README is short, its code compiles, and its links lead somewhere.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines of code in the first Rust block of `text`, without comments.
fn first_block(text: &str) -> Vec<&str> {
    let after = text.lines().skip_while(|line| !line.starts_with("```rust"));
    let block = after.skip(1).take_while(|line| !line.starts_with("```"));
    let code = block.map(str::trim);
    code.filter(|line| !line.is_empty() && !line.starts_with("//"))
        .collect()
}

/// The snippet is that of the module `smoltcp`, which is compiled with the documentation's tests: each
/// line of it stands there, in the same order.
#[test]
fn readme_snippet_is_compiled() {
    let (readme, module) = (read("README.md"), read("src/smoltcp/mod.rs"));
    let snippet = first_block(&readme);
    assert!(snippet.len() > 10, "{snippet:#?}");
    let docs = module.lines().map_while(|line| line.strip_prefix("//!"));
    let mut docs = docs.map(str::trim);
    for line in snippet {
        assert!(docs.any(|it| it == line), "`{line}` is not in the doctest");
    }
}

/// It has at most 120 lines, and its two commands are among the first 25.
#[test]
fn readme_is_short() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 120);
    let beginning: Vec<&str> = readme.lines().take(25).collect();
    for command in ["cargo run --example dead_peer", "cargo test"] {
        let is_there = beginning.iter().any(|line| line.starts_with(command));
        assert!(is_there, "{command}");
    }
}

/// What it links to in this repository is there.
#[test]
fn readme_links_lead_somewhere() {
    let readme = read("README.md");
    let targets = readme.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let local: Vec<&str> = targets.filter(|it| !it.starts_with("http")).collect();
    assert!(local.len() > 10, "{local:?}");
    for target in local {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(target);
        assert!(path.exists(), "{target}");
    }
}
