//! Reading the register: the rows of the tables in `docs/conformance.md`.
//!
//! A table of the register has these columns; other tables are left alone:
//!
//! ```text
//! | id | what it says | code | tests | standing |
//! ```
//!
//! - `code` names files below `src/`, or of the simulator by their whole path, and, after each, what is
//!   declared there:
//!   `` `config.rs`: `Config::new`, `ConfigError`; `flow.rs`: `Flow` ``.
//! - `tests` names tests, or all that begin alike: `` `k5_*`, `linux_defaults` ``.
//! - `standing` is `met`, `deviation: ` and the reason, or `not ours: ` and the reason.

/// The heading by which a table of the register is known.
const COLUMNS: [&str; 5] = ["id", "what it says", "code", "tests", "standing"];

/// One requirement or rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) line: usize,
    pub(crate) id: String,
    /// A file as [`path`] reads it, and what of it.
    pub(crate) code: Vec<(String, Vec<String>)>,
    pub(crate) tests: Vec<String>,
    pub(crate) standing: Standing,
}

/// How far a requirement is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Met,
    /// Not to the letter, with the reason.
    Deviation(String),
    /// It binds another party: the stack, or the tools.
    NotOurs(String),
}

/// A line of a register's table that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) line: usize,
    pub(crate) why: &'static str,
}

/// The path of a file that a row names, relative to the root of the repository.
pub(crate) fn path(name: &str) -> String {
    if name.starts_with("sim/") {
        name.to_owned()
    } else {
        format!("src/{name}")
    }
}

/// The rows, in their order, and what could not be read.
pub(crate) fn parse(text: &str) -> (Vec<Row>, Vec<Unreadable>) {
    let mut rows = Vec::new();
    let mut unreadable = Vec::new();
    let mut is_register = false;
    for (index, text) in text.lines().enumerate() {
        let line = index.saturating_add(1);
        let Some(cells) = cells(text) else {
            is_register = false;
            continue;
        };
        if cells == COLUMNS {
            is_register = true;
        } else if is_register && !is_rule(&cells) {
            match row(line, &cells) {
                Ok(row) => rows.push(row),
                Err(why) => unreadable.push(Unreadable { line, why }),
            }
        }
    }
    (rows, unreadable)
}

/// The cells of a table's line. A bar within backticks parts none.
fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    let mut cells = vec![String::new()];
    let mut is_code = false;
    for symbol in inner.chars() {
        is_code ^= symbol == '`';
        if symbol == '|' && !is_code {
            cells.push(String::new());
        } else if let Some(cell) = cells.last_mut() {
            cell.push(symbol);
        }
    }
    Some(cells.iter().map(|cell| cell.trim().to_owned()).collect())
}

/// The line below a table's heading.
fn is_rule(cells: &[String]) -> bool {
    let is_dashes = |cell: &String| cell.chars().all(|symbol| symbol == '-' || symbol == ':');
    cells.iter().all(is_dashes)
}

fn row(line: usize, cells: &[String]) -> Result<Row, &'static str> {
    let [id, says, code, tests, standing] = cells else {
        return Err("it has not five cells");
    };
    if id.is_empty() || says.is_empty() {
        return Err("an id and what it says are needed");
    }
    Ok(Row {
        line,
        id: id.clone(),
        code: places(code)?,
        tests: quoted(tests),
        standing: parse_standing(standing)?,
    })
}

fn places(cell: &str) -> Result<Vec<(String, Vec<String>)>, &'static str> {
    let mut places: Vec<(String, Vec<String>)> = Vec::new();
    for name in quoted(cell) {
        if is_rust(&name) {
            places.push((name, Vec::new()));
        } else if let Some((_, items)) = places.last_mut() {
            items.push(name);
        } else {
            return Err("an item comes after its file");
        }
    }
    if places.iter().any(|(_, items)| items.is_empty()) {
        return Err("a file is named without an item");
    }
    Ok(places)
}

fn is_rust(name: &str) -> bool {
    name.strip_suffix(".rs").is_some()
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn parse_standing(cell: &str) -> Result<Standing, &'static str> {
    let reason = |text: &str| match text.trim() {
        "" => Err("a reason is needed"),
        reason => Ok(reason.to_owned()),
    };
    if cell == "met" {
        Ok(Standing::Met)
    } else if let Some(text) = cell.strip_prefix("deviation:") {
        reason(text).map(Standing::Deviation)
    } else if let Some(text) = cell.strip_prefix("not ours:") {
        reason(text).map(Standing::NotOurs)
    } else {
        Err("the standing is `met`, `deviation:` or `not ours:`")
    }
}

mod tests {
    use super::*;

    /// All that a row can hold is read from it.
    #[test]
    fn a_row_is_read() {
        let (rows, unreadable) = parse(
            "| id | what it says | code | tests | standing |\n\
             |---|---|---|---|---|\n\
             | K1 | a `|` b | `a.rs`: `A::b`, `c`; `d/e.rs`: `f` | `k1_*`, `g` | deviation: because |\n",
        );
        let place = |file: &str, items: &[&str]| {
            let items = items.iter().map(|item| (*item).to_owned()).collect();
            (file.to_owned(), items)
        };
        assert_eq!(unreadable, []);
        assert_eq!(
            rows,
            [Row {
                line: 3,
                id: "K1".to_owned(),
                code: vec![place("a.rs", &["A::b", "c"]), place("d/e.rs", &["f"])],
                tests: vec!["k1_*".to_owned(), "g".to_owned()],
                standing: Standing::Deviation("because".to_owned()),
            }]
        );
    }

    /// Tables with other columns, and text, are not the register's.
    #[test]
    fn other_tables_are_left_alone() {
        let text = "| what | why |\n|---|---|\n| K1 | because |\n\nK2 is met.\n";
        assert_eq!(parse(text), (vec![], vec![]));
    }

    /// What cannot be read is reported with its line, and the rest is read all the same.
    #[test]
    fn what_cannot_be_read_is_reported() {
        for (row, why) in [
            ("| K1 | it | | met |", "it has not five cells"),
            ("| | it | | | met |", "an id and what it says are needed"),
            ("| K1 | | | | met |", "an id and what it says are needed"),
            ("| K1 | it | `b` | | met |", "an item comes after its file"),
            (
                "| K1 | it | `a.rs` | | met |",
                "a file is named without an item",
            ),
            ("| K1 | it | | | deviation: |", "a reason is needed"),
            ("| K1 | it | | | not ours: |", "a reason is needed"),
            (
                "| K1 | it | | | nearly |",
                "the standing is `met`, `deviation:` or `not ours:`",
            ),
        ] {
            let text = format!(
                "| id | what it says | code | tests | standing |\n|---|---|---|---|---|\n\
                 {row}\n| K2 | it | | | met |\n"
            );
            let (rows, unreadable) = parse(&text);
            assert_eq!(unreadable, [Unreadable { line: 3, why }], "{row}");
            assert_eq!(rows.len(), 1, "{row}");
        }
    }
}
