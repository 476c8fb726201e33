//! What Rust sources cite, declare and test, found line by line.

/// A source file. The path is relative to the root of the repository.
#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A requirement or rule named in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Citation {
    pub(crate) line: usize,
    pub(crate) id: String,
}

/// `MUST-26`, `SHLD-12`, `MAY-5`: the requirements of RFC 9293. `K5`: the rules of the machine.
const PREFIXES: [&str; 4] = ["MUST-", "SHLD-", "MAY-", "K"];

/// What may stand before the name of a declaration.
const KEYWORDS: [&str; 9] = [
    "fn",
    "struct",
    "enum",
    "const",
    "static",
    "type",
    "trait",
    "mod",
    "macro_rules!",
];

impl File {
    /// All that is cited, in comments and messages alike. An RFC is cited by its number, and by
    /// that of a section if one follows; both may stand on different lines of a comment.
    pub(crate) fn citations(&self) -> Vec<Citation> {
        let mut found = Vec::new();
        let mut words = Vec::new();
        for (line, text) in self.numbered_lines() {
            let text = uncommented(text);
            found.extend(ids(text).map(|id| Citation {
                line,
                id: id.to_owned(),
            }));
            words.extend(text.split_whitespace().map(|word| (line, word)));
        }
        found.extend(rfcs(&words));
        found
    }

    /// The names of the functions that are marked as tests.
    pub(crate) fn tests(&self) -> impl Iterator<Item = &str> {
        let mut is_marked = false;
        self.text.lines().filter_map(move |line| {
            let line = line.trim();
            is_marked |= line == "#[test]";
            let name = line.strip_prefix("fn ").map(leading_name)?;
            core::mem::take(&mut is_marked).then_some(name)
        })
    }

    /// Whether there is a declaration of each part of `item`, as in `Config::new`.
    pub(crate) fn declares(&self, item: &str) -> bool {
        item.split("::").all(|name| self.declares_name(name))
    }

    fn declares_name(&self, name: &str) -> bool {
        self.text.lines().any(|line| {
            let line = line.trim();
            let words = || line.split_whitespace();
            let is_it = |(keyword, word)| KEYWORDS.contains(&keyword) && leading_name(word) == name;
            !line.starts_with("//") && words().zip(words().skip(1)).any(is_it)
        })
    }

    fn numbered_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().zip(1..).map(|(text, line)| (line, text))
    }
}

/// A line without the mark of a comment.
fn uncommented(line: &str) -> &str {
    let line = line.trim();
    ["///", "//!", "//"]
        .iter()
        .find_map(|mark| line.strip_prefix(mark))
        .unwrap_or(line)
}

/// The name that a text begins with.
fn leading_name(text: &str) -> &str {
    let is_part = |symbol: char| symbol.is_alphanumeric() || symbol == '_';
    text.split(|symbol| !is_part(symbol))
        .next()
        .unwrap_or_default()
}

/// The requirements and rules named in a line.
fn ids(line: &str) -> impl Iterator<Item = &str> {
    let is_part = |symbol: char| symbol.is_alphanumeric() || symbol == '_' || symbol == '-';
    line.split(move |symbol| !is_part(symbol))
        .filter(|word| PREFIXES.iter().any(|prefix| is_number_of(word, prefix)))
}

fn is_number_of(word: &str, prefix: &str) -> bool {
    word.strip_prefix(prefix).is_some_and(is_number)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The RFCs named in a text: `RFC 5382`, or `RFC 9293 3.8.4`.
fn rfcs(words: &[(usize, &str)]) -> Vec<Citation> {
    let mut found = Vec::new();
    for window in words.windows(3).chain(words.windows(2).last()) {
        let [(line, first), (_, number), rest @ ..] = window else {
            continue;
        };
        let is_rfc = first.trim_start_matches(|symbol: char| !symbol.is_alphanumeric()) == "RFC";
        let digits = number.trim_end_matches(|symbol: char| !symbol.is_ascii_digit());
        if !is_rfc || !is_number(digits) {
            continue;
        }
        let section = rest
            .first()
            .filter(|_| digits == *number)
            .and_then(|(_, word)| section(word));
        found.push(Citation {
            line: *line,
            id: match section {
                Some(section) => format!("RFC {digits} {section}"),
                None => format!("RFC {digits}"),
            },
        });
    }
    found
}

/// The number of a section that a word begins with, and punctuation ends.
fn section(word: &str) -> Option<&str> {
    let section = word.trim_end_matches(|symbol: char| !symbol.is_alphanumeric());
    section.split('.').all(is_number).then_some(section)
}

mod tests {
    use super::*;

    fn file(text: &str) -> File {
        File {
            path: "src/a.rs".to_owned(),
            text: text.to_owned(),
        }
    }

    fn cited(text: &str) -> Vec<(usize, String)> {
        let citations = file(text).citations().into_iter();
        citations.map(|found| (found.line, found.id)).collect()
    }

    /// Each form of citation is found, whatever stands around it, with its line.
    #[test]
    fn citations_are_found() {
        for (text, line, id) in [
            ("// K5: the verdict", 1, "K5"),
            ("a();\n/// (MUST-26).", 2, "MUST-26"),
            ("//! what is recommended [SHLD-12]", 1, "SHLD-12"),
            ("assert!(x, \"MAY-6\");", 1, "MAY-6"),
            ("// (RFC 9293 3.8.4)", 1, "RFC 9293 3.8.4"),
            ("// names of RFC 9293 3.3.1.", 1, "RFC 9293 3.3.1"),
            (
                "/// as (RFC 9293\n/// 3.10.7.4) says",
                1,
                "RFC 9293 3.10.7.4",
            ),
            ("/// as RFC\n/// 5961 7 says", 1, "RFC 5961 7"),
            ("// RFC 5382, 350 s", 1, "RFC 5382"),
            ("// RFC 5482", 1, "RFC 5482"),
            ("// by RFC 5382 at least", 1, "RFC 5382"),
        ] {
            assert_eq!(cited(text), [(line, id.to_owned())], "{text}");
        }
    }

    /// What merely looks alike is no citation.
    #[test]
    fn other_words_are_no_citations() {
        for text in [
            "const RFC5382: u32 = 1;",
            "fn k5_verdict() {}",
            "// 64K5, K, MUST-, XMUST-1, MUST-1a, K5_X, BACK-K5",
            "// an RFC of its own",
        ] {
            assert_eq!(cited(text), [], "{text}");
        }
    }

    /// A test is a function that is marked as one, attributes in between or not.
    #[test]
    fn tests_are_found() {
        let text =
            "#[test]\nfn a() {}\nfn b() {}\n    #[test]\n    #[ignore]\n    fn c(x in 0..1) {}";
        let file = file(text);
        assert_eq!(file.tests().collect::<Vec<_>>(), ["a", "c"]);
    }

    /// A declaration is found by its name, and by its path if all of that is declared there.
    #[test]
    fn declarations_are_found() {
        let file = file(
            "pub struct Config<T> {\npub(crate) const fn new() {}\nconst LIMIT: u8 = 1;\n\
             macro_rules! debug {\n// fn remark()\nlet used = other();",
        );
        for item in ["Config", "Config::new", "new", "LIMIT", "debug"] {
            assert!(file.declares(item), "{item}");
        }
        for item in ["Other::new", "remark", "other", "used", "Conf"] {
            assert!(!file.declares(item), "{item}");
        }
    }
}
