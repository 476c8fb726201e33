//! Holding the register against the sources, both ways.

use std::fmt;

use super::register::{self, Row, Standing, Unreadable};
use super::source::{Citation, File};

/// The rules of the machine are K1 to K20.
const RULES: usize = 20;

/// One thing in which the register, the code and the tests do not agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Disagreement {
    Unreadable(Unreadable),
    NoSuchKindOfId {
        line: usize,
        id: String,
    },
    ListedTwice {
        line: usize,
        id: String,
    },
    MissingRule {
        id: String,
    },
    MetWithoutCode {
        line: usize,
        id: String,
    },
    MetWithoutTest {
        line: usize,
        id: String,
    },
    NoSuchFile {
        line: usize,
        id: String,
        file: String,
    },
    NoSuchItem {
        line: usize,
        id: String,
        file: String,
        item: String,
    },
    NotCitedThere {
        line: usize,
        id: String,
    },
    NoSuchTest {
        line: usize,
        id: String,
        test: String,
    },
    TestNotListed {
        path: String,
        test: String,
        id: String,
    },
    UnknownCitation {
        path: String,
        line: usize,
        id: String,
    },
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const REGISTER: &str = "docs/conformance.md";
        match self {
            Self::Unreadable(Unreadable { line, why }) => write!(f, "{REGISTER}:{line}: {why}"),
            Self::NoSuchKindOfId { line, id } => {
                write!(
                    f,
                    "{REGISTER}:{line}: {id} is no id that a source could cite"
                )
            }
            Self::ListedTwice { line, id } => {
                write!(f, "{REGISTER}:{line}: {id} has a row already")
            }
            Self::MissingRule { id } => write!(f, "{REGISTER}: {id} has no row"),
            Self::MetWithoutCode { line, id } => {
                write!(f, "{REGISTER}:{line}: {id} is met, and no code is named")
            }
            Self::MetWithoutTest { line, id } => write!(
                f,
                "{REGISTER}:{line}: {id} has no test, and no reason why it has none"
            ),
            Self::NoSuchFile { line, id, file } => {
                write!(f, "{REGISTER}:{line}: {id}: there is no {file}")
            }
            Self::NoSuchItem {
                line,
                id,
                file,
                item,
            } => write!(f, "{REGISTER}:{line}: {id}: {file} declares no {item}"),
            Self::NotCitedThere { line, id } => write!(
                f,
                "{REGISTER}:{line}: {id} is cited in none of the files that its row names"
            ),
            Self::NoSuchTest { line, id, test } => {
                write!(f, "{REGISTER}:{line}: {id}: there is no test {test}")
            }
            Self::TestNotListed { path, test, id } => {
                write!(f, "{path}: {test} is not in the row of {id}")
            }
            Self::UnknownCitation { path, line, id } => {
                write!(f, "{path}:{line}: {id} is cited, and has no row")
            }
        }
    }
}

/// A source file, and what it cites.
struct Source<'f> {
    file: &'f File,
    citations: Vec<Citation>,
}

/// Everything in which they do not agree: first what is wrong with the register, row by row, then
/// what the sources have that it has not.
pub(crate) fn check(register: &str, files: &[File]) -> Vec<Disagreement> {
    let (rows, unreadable) = register::parse(register);
    let mut found: Vec<_> = unreadable
        .into_iter()
        .map(Disagreement::Unreadable)
        .collect();
    let tests: Vec<&str> = files.iter().flat_map(File::tests).collect();
    let source = |file| Source {
        file,
        citations: File::citations(file),
    };
    let sources: Vec<Source<'_>> = files.iter().map(source).collect();
    for (index, row) in rows.iter().enumerate() {
        let is_repeated = rows.iter().take(index).any(|other| other.id == row.id);
        check_id(row, is_repeated, &mut found);
        check_code(row, &sources, &mut found);
        check_tests(row, &tests, &mut found);
    }
    for number in 1..=RULES {
        let id = format!("K{number}");
        if rows.iter().all(|row| row.id != id) {
            found.push(Disagreement::MissingRule { id });
        }
    }
    for source in &sources {
        check_names(source.file, &rows, &mut found);
        check_citations(source, &rows, &mut found);
    }
    found
}

fn check_id(row: &Row, is_repeated: bool, found: &mut Vec<Disagreement>) {
    let (line, id) = (row.line, row.id.clone());
    let citation = File {
        path: String::new(),
        text: format!("// {id}"),
    };
    if is_repeated {
        found.push(Disagreement::ListedTwice { line, id });
    } else if citation.citations().iter().all(|cited| cited.id != row.id) {
        found.push(Disagreement::NoSuchKindOfId { line, id });
    }
}

/// What the row says of the code is so, and the code says so too.
fn check_code(row: &Row, sources: &[Source<'_>], found: &mut Vec<Disagreement>) {
    let (line, id) = (row.line, row.id.clone());
    let mut is_cited = false;
    for (name, items) in &row.code {
        let path = register::path(name);
        let Some(source) = sources.iter().find(|source| source.file.path == path) else {
            found.push(Disagreement::NoSuchFile {
                line,
                id: id.clone(),
                file: path,
            });
            continue;
        };
        is_cited |= source.citations.iter().any(|cited| cited.id == id);
        let missing = items.iter().filter(|item| !source.file.declares(item));
        found.extend(missing.map(|item| Disagreement::NoSuchItem {
            line,
            id: id.clone(),
            file: path.clone(),
            item: item.clone(),
        }));
    }
    if row.code.is_empty() {
        if row.standing == Standing::Met {
            found.push(Disagreement::MetWithoutCode { line, id });
        }
    } else if !is_cited {
        found.push(Disagreement::NotCitedThere { line, id });
    }
}

/// The tests that the row names exist.
fn check_tests(row: &Row, tests: &[&str], found: &mut Vec<Disagreement>) {
    let (line, id) = (row.line, &row.id);
    if row.tests.is_empty() && row.standing == Standing::Met {
        found.push(Disagreement::MetWithoutTest {
            line,
            id: id.clone(),
        });
    }
    for pattern in &row.tests {
        if !tests.iter().any(|test| is_named(pattern, test)) {
            found.push(Disagreement::NoSuchTest {
                line,
                id: id.clone(),
                test: pattern.clone(),
            });
        }
    }
}

/// A test that is named after a rule is in the row of that rule.
fn check_names(file: &File, rows: &[Row], found: &mut Vec<Disagreement>) {
    for test in file.tests() {
        let Some(id) = rule_of(test) else {
            continue;
        };
        let is_listed = rows
            .iter()
            .filter(|row| row.id == id)
            .any(|row| row.tests.iter().any(|pattern| is_named(pattern, test)));
        if !is_listed {
            found.push(Disagreement::TestNotListed {
                path: file.path.clone(),
                test: test.to_owned(),
                id,
            });
        }
    }
}

/// What a source cites has a row: an RFC by itself, if any of its sections has one.
fn check_citations(source: &Source<'_>, rows: &[Row], found: &mut Vec<Disagreement>) {
    for cited in &source.citations {
        let is_known = rows.iter().any(|row| {
            let rest = row.id.strip_prefix(&cited.id);
            rest.is_some_and(|rest| {
                rest.is_empty() || is_whole_rfc(&cited.id) && rest.starts_with(' ')
            })
        });
        if !is_known {
            found.push(Disagreement::UnknownCitation {
                path: source.file.path.clone(),
                line: cited.line,
                id: cited.id.clone(),
            });
        }
    }
}

fn is_whole_rfc(id: &str) -> bool {
    id.starts_with("RFC ") && id.matches(' ').count() == 1
}

/// Whether a row that names `pattern` names `test`: itself, or by how it begins.
fn is_named(pattern: &str, test: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => test.starts_with(beginning),
        None => test == pattern,
    }
}

/// The rule that a test's name begins with: `K5` for `k5_every_count_is_honoured`.
fn rule_of(test: &str) -> Option<String> {
    let (number, _) = test.strip_prefix('k')?.split_once('_')?;
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| format!("K{number}"))
}

mod tests {
    use super::*;

    const HEADING: &str =
        "| id | what it says | code | tests | standing |\n|---|---|---|---|---|\n";

    /// A register in which everything is as it should be, K1 to K20 from the third line on, with
    /// `row` in place of the row of K1 and further rows below.
    fn register(first: &str, more: &str) -> String {
        let row = |number| format!("| K{number} | it | `a.rs`: `obey` | `obeyed` | met |\n");
        let rules = (2..=RULES).map(row).collect::<Vec<_>>().concat();
        format!(
            "{HEADING}{first}\n{rules}\
             | MUST-5 | it | `a.rs`: `obey` | `obeyed` | met |\n\
             | RFC 9293 3.8.4 | it | `a.rs`: `obey` | `obeyed` | met |\n{more}"
        )
    }

    fn sources(code: &str, tests: &str) -> Vec<File> {
        let file = |path: &str, text: String| File {
            path: path.to_owned(),
            text,
        };
        let rule = |number| format!(" K{number}");
        let rules = (1..=RULES).map(rule).collect::<Vec<_>>().concat();
        let obeys = format!("///{rules}, MUST-5 (RFC 9293 3.8.4).\npub fn obey() {{}}\n");
        vec![
            file("src/a.rs", format!("{obeys}{code}")),
            file("tests/b.rs", format!("#[test]\nfn obeyed() {{}}\n{tests}")),
        ]
    }

    const GOOD: &str = "| K1 | it | `a.rs`: `obey` | `obeyed`, `k1_*` | met |";
    const K1_TEST: &str = "#[test]\nfn k1_is_so() {}\n";

    /// What `check` says of a register whose first row is `first`, in plain words.
    fn of_row(first: &str) -> Vec<String> {
        let found = check(&register(first, ""), &sources("", K1_TEST));
        found.iter().map(ToString::to_string).collect()
    }

    /// Where everything agrees, nothing is said.
    #[test]
    fn agreement_is_silent() {
        assert_eq!(of_row(GOOD), [""; 0]);
    }

    /// An id without a test is found out, unless there is a reason for it.
    #[test]
    fn id_without_a_test() {
        assert_eq!(
            of_row("| K1 | it | `a.rs`: `obey` | | met |"),
            [
                "docs/conformance.md:3: K1 has no test, and no reason why it has none",
                "tests/b.rs: k1_is_so is not in the row of K1",
            ]
        );
        for reason in ["deviation: because", "not ours: because"] {
            let more = format!("| MAY-1 | it | | | {reason} |\n");
            let found = check(&register(GOOD, &more), &sources("", K1_TEST));
            assert_eq!(found, []);
        }
    }

    /// A test that does not exist is found out, by name or by how it begins.
    #[test]
    fn test_that_is_not_there() {
        assert_eq!(
            of_row("| K1 | it | `a.rs`: `obey` | `k1_*`, `obeye`, `k1_is_not*` | met |"),
            [
                "docs/conformance.md:3: K1: there is no test obeye",
                "docs/conformance.md:3: K1: there is no test k1_is_not*",
            ]
        );
    }

    /// A test that is named after a rule and is not in its row is found out, and so is one that is
    /// named after a rule that there is not.
    #[test]
    fn test_that_is_not_listed() {
        assert_eq!(
            of_row("| K1 | it | `a.rs`: `obey` | `obeyed` | met |"),
            ["tests/b.rs: k1_is_so is not in the row of K1"]
        );
        let tests = format!("{K1_TEST}#[test]\nfn k99_is_so() {{}}\n");
        assert_eq!(
            check(&register(GOOD, ""), &sources("", &tests)),
            [Disagreement::TestNotListed {
                path: "tests/b.rs".to_owned(),
                test: "k99_is_so".to_owned(),
                id: "K99".to_owned(),
            }]
        );
    }

    /// A citation of what has no row is found out, with its line, in sources and in tests.
    #[test]
    fn citation_of_what_has_no_row() {
        for (citation, id) in [
            ("K21", "K21"),
            ("MUST-999", "MUST-999"),
            ("MUST-55", "MUST-55"),
            ("SHLD-5", "SHLD-5"),
            ("MAY-5", "MAY-5"),
            ("RFC 9293 3.8", "RFC 9293 3.8"),
            ("RFC 9293 3.8.41", "RFC 9293 3.8.41"),
            ("RFC 929", "RFC 929"),
        ] {
            let text = format!("// {citation}\n");
            let tests = format!("{K1_TEST}{text}");
            let unknown = |path: &str, line| Disagreement::UnknownCitation {
                path: path.to_owned(),
                line,
                id: id.to_owned(),
            };
            assert_eq!(
                check(&register(GOOD, ""), &sources(&text, &tests)),
                [unknown("src/a.rs", 3), unknown("tests/b.rs", 5)],
                "{citation}"
            );
        }
        let whole = sources("// RFC 9293\n", K1_TEST);
        assert_eq!(check(&register(GOOD, ""), &whole), []);
    }

    /// A file or an item that is not there is found out.
    #[test]
    fn code_that_is_not_there() {
        assert_eq!(
            of_row("| K1 | it | `a.rs`: `obey`, `disobey`; `c.rs`: `obey` | `k1_*` | met |"),
            [
                "docs/conformance.md:3: K1: src/a.rs declares no disobey",
                "docs/conformance.md:3: K1: there is no src/c.rs",
            ]
        );
    }

    /// A rule that is met somewhere is met in a file.
    #[test]
    fn met_without_code() {
        assert_eq!(
            of_row("| K1 | it | | `k1_*` | met |"),
            ["docs/conformance.md:3: K1 is met, and no code is named"]
        );
    }

    /// An id that its files do not cite is found out: a reader of the code would not see it.
    #[test]
    fn code_that_does_not_cite() {
        let more = "| MUST-6 | it | `a.rs`: `obey` | `obeyed` | met |\n";
        let found = check(&register(GOOD, more), &sources("", K1_TEST));
        let line = 5 + RULES;
        let id = "MUST-6".to_owned();
        assert_eq!(found, [Disagreement::NotCitedThere { line, id }]);
    }

    /// A rule without a row is found out, and so is a row too many.
    #[test]
    fn rows_are_complete_and_unique() {
        let second = register(GOOD, GOOD);
        let line = 5 + RULES;
        let id = "K1".to_owned();
        assert_eq!(
            check(&second, &sources("", K1_TEST)),
            [Disagreement::ListedTwice { line, id }]
        );
        let missing = register(GOOD, "").replace("| K16 |", "| MAY-16 |");
        let files = sources("// MAY-16\n", K1_TEST);
        let found = check(&missing, &files);
        let id = "K16".to_owned();
        assert!(
            found.contains(&Disagreement::MissingRule { id }),
            "{found:?}"
        );
    }

    /// An id that no source can cite is found out, and so is a row that cannot be read.
    #[test]
    fn rows_that_say_nothing() {
        let more = "| text | it | | | deviation: because |\n| MAY-2 | it |\n";
        let found = check(&register(GOOD, more), &sources("", K1_TEST));
        let list: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            list,
            [
                "docs/conformance.md:26: it has not five cells",
                "docs/conformance.md:25: text is no id that a source could cite",
            ]
        );
    }
}
