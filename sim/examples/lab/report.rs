//! What is told of a run: to a person, and in files.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tcp_keepalive_sim::{NodeId, Trace};

use crate::events;
use crate::failure::Failure;
use crate::options::Wanted;
use crate::scenario::{ALL, Claim, Run, Scenario};

/// Writes to the standard output. A reader that closes it early has read enough.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::Write {
            path: PathBuf::from("the standard output"),
            error,
        }),
        _ => Ok(()),
    }
}

/// The scenarios, a line each.
pub(crate) fn list() -> String {
    let mut text = String::new();
    for scenario in ALL {
        let Scenario { name, summary, .. } = scenario;
        let _ = writeln!(text, "{name:<15} {summary}");
    }
    text
}

/// What a scenario shows, what happened, and whether it was as claimed.
pub(crate) fn story(scenario: &Scenario, run: &Run, has_trace: bool) -> String {
    let stage = &run.stage;
    let config = &stage.config;
    let mut text = format!("{}: {}\n\n", scenario.name, scenario.summary);
    for line in scenario.shows.lines() {
        let _ = writeln!(text, "  {line}");
    }
    let _ = write!(
        text,
        "\nidle {:?}, interval {:?}, count {}: dead after {:?}",
        config.idle(),
        config.interval(),
        config.count(),
        config.detection_time(),
    );
    if let Some(timeout) = config.user_timeout() {
        let _ = write!(text, "; user timeout {timeout:?}");
    }
    let _ = writeln!(text, "; seed {}\n", stage.world.seed());
    if has_trace {
        text.push_str(&stage.world.trace().text().to_string());
    } else if let Some(host) = stage.host() {
        text.push_str(&events::digest(stage.world.trace(), host, stage.beginning));
    }
    text.push('\n');
    for Claim { sentence, holds } in &stage.claims {
        let verdict = if *holds { "holds" } else { "DOES NOT HOLD" };
        let _ = writeln!(text, "{verdict}: {sentence}");
    }
    text
}

/// The files of a run. They are opened before anything is run, so that what
/// cannot be written is known at once.
pub(crate) struct Files {
    svg: Option<Output>,
    pcap: Option<Output>,
}

struct Output {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Files {
    pub(crate) fn create(wanted: &Wanted) -> Result<Self, Failure> {
        let create = |path: &Option<PathBuf>| path.as_deref().map(Output::create).transpose();
        Ok(Self {
            svg: create(&wanted.svg)?,
            pcap: create(&wanted.pcap)?,
        })
    }

    /// Writes a chart, and a capture at the devices of `vantage`.
    pub(crate) fn write(
        self,
        trace: &Trace,
        vantage: NodeId,
        title: &str,
        wanted: &Wanted,
    ) -> Result<(), Failure> {
        if let Some(svg) = self.svg {
            let mut chart = trace.chart().title(title);
            if wanted.no_arp {
                chart = chart.without_arp();
            }
            svg.fill(|out| chart.write(out))?;
        }
        if let Some(pcap) = self.pcap {
            pcap.fill(|out| trace.write_pcapng(vantage, out))?;
        }
        Ok(())
    }
}

/// Says which file was written; on stderr, because a report may be on its way elsewhere.
pub(crate) fn note_written(path: &Path) {
    // A note that cannot be written is no failure.
    let _ = writeln!(io::stderr(), "wrote {}", path.display());
}

impl Output {
    fn create(path: &Path) -> Result<Self, Failure> {
        let path = path.to_owned();
        match File::create(&path) {
            Ok(file) => Ok(Self {
                path,
                file: BufWriter::new(file),
            }),
            Err(error) => Err(Failure::Write { path, error }),
        }
    }

    fn fill(
        self,
        fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let Self { path, mut file } = self;
        let result = fill(&mut file).and_then(|()| file.flush());
        match result {
            Ok(()) => {
                note_written(&path);
                Ok(())
            }
            Err(error) => Err(Failure::Write { path, error }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    /// The same seed gives the same story, the same chart and the same capture.
    #[test]
    fn runs_are_reproducible() {
        for name in ["lossy", "pool", "blind"] {
            let scenario = scenario::find(name).unwrap();
            let [first, second] = [(), ()].map(|()| {
                let run = scenario.play(scenario.config, 7);
                let trace = run.stage.world.trace();
                let mut capture = Vec::new();
                let vantage = run.stage.host().unwrap();
                trace.write_pcapng(vantage, &mut capture).unwrap();
                let chart = trace.chart().to_string();
                (story(scenario, &run, true), chart, capture)
            });
            assert!(first == second, "{name}");
        }
    }

    /// A directory that is not there is one clear line.
    #[test]
    fn unwritable_file_is_one_line() {
        let wanted = Wanted {
            svg: Some(PathBuf::from("/no/such/directory/chart.svg")),
            ..Wanted::default()
        };
        let failure = Files::create(&wanted).err().unwrap().to_string();
        assert!(failure.starts_with("`/no/such/directory/chart.svg` cannot be written"));
        assert_eq!(failure.lines().count(), 1);
    }

    /// All scenarios can be told, each in no more than a screen or two.
    #[test]
    fn stories_are_short() {
        for scenario in ALL {
            let run = scenario.play(scenario.config, 1);
            let story = story(scenario, &run, false);
            let lines = story.lines().count();
            assert!(
                (10..60).contains(&lines),
                "{}: {lines} lines",
                scenario.name
            );
        }
    }
}
