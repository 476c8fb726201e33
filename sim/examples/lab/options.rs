//! The command line.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use lexopt::{Arg, Error, Parser};
use tcp_keepalive::{Config, ConfigError};

use crate::failure::Failure;
use crate::scenario::{self, Scenario};
use crate::shard::Wish;

pub(crate) const HELP: &str = "\
Keep-alive in a network in simulated time: what happens to it, and what it does.

Usage: lab <scenario> [options]                    what a scenario shows, and whether it is so
       lab list                                    the scenarios
       lab sweep --seeds <A>..<B> [options]        random networks, a seed for each
       lab sweep --seed <N> [options]              one of them again

A scenario, or one seed of a sweep:
  --seed <N>             the random seed, 0 to 2^64-1 [1]
  --svg <file>           write a sequence chart there
  --no-arp               leave ARP and neighbour discovery out of the chart
  --pcap <file>          write a capture at the device there, for Wireshark (pcapng)
  --trace                print all that happened, not only what matters

A scenario's keep-alive; each has its own defaults, which it prints. A duration is a number and
ms, s, m or h, and seconds without one; it is more than zero and at most 100000h.
  --idle <duration>      silence before the first probe
  --interval <duration>  time from one probe to the next, and to the verdict
  --count <N>            probes without an answer that decide, 2 to 255

A sweep:
  --seeds <A>..<B>       from A up to, but not including, B
  --jobs <N>             how many at a time, at least 1 [as many as there are processors]
  --shard <I>/<N>        only part I of N, 0 <= I < N [what an array job of Slurm, LSF, SGE or AWS
                         Batch says, or else 0/1]
  --shard /<N>           the same, where I is the array job's number; PBS arrays, which do not say
                         how many they are, need that and have to begin at 0
  --plot <file>          write a chart of detection delay against loss there (SVG)

The same command gives the same octets, on every machine.

Exit status:
  0  what had to hold did
  1  something did not; the last line says what
  2  what was asked for cannot be done; stderr says why
";

/// The command to run.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    List,
    Play {
        scenario: &'static Scenario,
        config: Config,
        seed: u64,
        wanted: Wanted,
    },
    Sweep(SweepOptions),
    Replay {
        seed: u64,
        wanted: Wanted,
    },
}

/// The files to write, and how much to print.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) svg: Option<PathBuf>,
    pub(crate) pcap: Option<PathBuf>,
    pub(crate) trace: bool,
    /// The chart is without frames that look for neighbours.
    pub(crate) no_arp: bool,
}

/// A sweep, and how much of it.
#[derive(Clone, Debug)]
pub(crate) struct SweepOptions {
    pub(crate) seeds: Range<u64>,
    pub(crate) jobs: NonZeroUsize,
    /// The index, from zero, and of how many.
    pub(crate) shard: (u64, u64),
    pub(crate) plot: Option<PathBuf>,
}

/// The command line as it was given.
#[derive(Default)]
struct Arguments {
    command: Option<OsString>,
    seed: Option<u64>,
    svg: Option<PathBuf>,
    pcap: Option<PathBuf>,
    trace: bool,
    no_arp: bool,
    idle: Option<Duration>,
    interval: Option<Duration>,
    count: Option<u8>,
    seeds: Option<Range<u64>>,
    jobs: Option<NonZeroUsize>,
    shard: Wish,
    plot: Option<PathBuf>,
    /// All options, by their names.
    given: Vec<String>,
}

const READING: &[&str] = &["seed", "svg", "no-arp", "pcap", "trace"];
const PLAYING: &[&str] = &["idle", "interval", "count"];
const SWEEPING: &[&str] = &["seeds", "jobs", "shard", "plot"];

impl Command {
    /// What the command line says, in an environment with such variables.
    pub(crate) fn parse(
        parser: Parser,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let Some(mut given) = Arguments::parse(parser)? else {
            return Ok(Self::Help);
        };
        let Some(command) = given.command.take() else {
            return match given.given.first() {
                Some(option) => Err(Failure::Usage(format!("--{option} needs a scenario"))),
                None => Ok(Self::Help),
            };
        };
        match command.to_str() {
            Some("help") => Ok(Self::Help),
            Some("list") => {
                given.require_only("lab list", &[])?;
                Ok(Self::List)
            }
            Some("sweep") => given.sweep(variable),
            _ => given.play(&command),
        }
    }
}

impl Arguments {
    /// `None` if it is help that is wanted.
    fn parse(mut parser: Parser) -> Result<Option<Self>, Error> {
        let mut arguments = Self::default();
        while let Some(argument) = parser.next()? {
            let option = match argument {
                Arg::Short('h') | Arg::Long("help") => return Ok(None),
                Arg::Value(value) if arguments.command.is_none() => {
                    arguments.command = Some(value);
                    continue;
                }
                Arg::Long(option) => option.to_owned(),
                other => return Err(other.unexpected()),
            };
            arguments.take(&option, &mut parser)?;
            arguments.given.push(option);
        }
        Ok(Some(arguments))
    }

    fn take(&mut self, option: &str, parser: &mut Parser) -> Result<(), Error> {
        let mut text = || parser.value()?.into_string().map_err(Error::from);
        match option {
            "seed" => self.seed = Some(number(option, &text()?)?),
            "idle" => self.idle = Some(duration(option, &text()?)?),
            "interval" => self.interval = Some(duration(option, &text()?)?),
            "count" => self.count = Some(parse(option, "a number from 2 to 255", &text()?)?),
            "seeds" => self.seeds = Some(seeds(&text()?)?),
            "jobs" => self.jobs = Some(parse(option, "a number from 1 on", &text()?)?),
            "shard" => self.shard = Wish::parse(&text()?)?,
            "svg" => self.svg = Some(parser.value()?.into()),
            "pcap" => self.pcap = Some(parser.value()?.into()),
            "plot" => self.plot = Some(parser.value()?.into()),
            "trace" => self.trace = true,
            "no-arp" => self.no_arp = true,
            _ => return Err(Arg::Long(option).unexpected()),
        }
        Ok(())
    }

    fn play(self, name: &OsStr) -> Result<Command, Failure> {
        let name = name.to_string_lossy();
        let Some(scenario) = scenario::find(&name) else {
            let nearest = scenario::nearest(&name);
            return Err(Failure::Usage(format!(
                "there is no scenario `{name}`; did you mean `{nearest}`? `lab list` has all"
            )));
        };
        self.require_only("a scenario", &[READING, PLAYING])?;
        let config = self.override_times(scenario.config)?;
        if let Err(need) = (scenario.needs)(&config) {
            return Err(Failure::Usage(format!("{name} needs {need}")));
        }
        Ok(Command::Play {
            scenario,
            config,
            seed: self.seed.unwrap_or(1),
            wanted: self.wanted(),
        })
    }

    fn sweep(self, variable: impl Fn(&str) -> Option<String>) -> Result<Command, Failure> {
        if let Some(seed) = self.seed {
            self.require_only("one seed of a sweep", &[READING])?;
            let wanted = self.wanted();
            return Ok(Command::Replay { seed, wanted });
        }
        self.require_only("a sweep", &[SWEEPING])?;
        let Some(seeds) = self.seeds else {
            let message = "a sweep is of --seeds A..B, or of one --seed N";
            return Err(Failure::Usage(message.to_owned()));
        };
        let processors = || thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        Ok(Command::Sweep(SweepOptions {
            seeds,
            jobs: self.jobs.unwrap_or_else(processors),
            shard: self.shard.resolve(variable)?,
            plot: self.plot,
        }))
    }

    /// Every option that was given is one of these.
    fn require_only(&self, what: &str, allowed: &[&[&str]]) -> Result<(), Failure> {
        let allowed = allowed.concat();
        let mut given = self.given.iter();
        match given.find(|option| !allowed.contains(&option.as_str())) {
            Some(option) => Err(Failure::Usage(format!("--{option} is no option of {what}"))),
            None => Ok(()),
        }
    }

    fn wanted(self) -> Wanted {
        Wanted {
            svg: self.svg,
            pcap: self.pcap,
            trace: self.trace,
            no_arp: self.no_arp,
        }
    }

    /// The same keep-alive with the times and the count that were given.
    fn override_times(&self, config: Config) -> Result<Config, ConfigError> {
        let changed = Config::new(
            self.idle.unwrap_or(config.idle()),
            self.interval.unwrap_or(config.interval()),
            self.count.unwrap_or(config.count()),
        )?
        .with_payload(config.payload());
        match config.user_timeout() {
            Some(timeout) => changed.with_user_timeout(timeout),
            None => Ok(changed),
        }
    }
}

fn parse<T: FromStr>(option: &str, expected: &str, value: &str) -> Result<T, Error> {
    let parsed = value.parse();
    parsed.map_err(|_| format!("invalid --{option} `{value}`: expected {expected}").into())
}

fn number(option: &str, value: &str) -> Result<u64, Error> {
    parse(option, "a number", value)
}

fn seeds(value: &str) -> Result<Range<u64>, Error> {
    let (start, end) = value.split_once("..").unwrap_or((value, ""));
    match (start.parse(), end.parse()) {
        (Ok(start), Ok(end)) if start < end => Ok(start..end),
        _ => Err(format!("invalid --seeds `{value}`: expected A..B with A < B").into()),
    }
}

/// About eleven years.
const LONGEST: Duration = Duration::from_secs(100_000 * 3600);

fn duration(option: &str, value: &str) -> Result<Duration, Error> {
    let unit_at = value.find(|it: char| !it.is_ascii_digit());
    let (number, unit) = value.split_at(unit_at.unwrap_or(value.len()));
    let millis_per_unit = match unit {
        "ms" => Some(1),
        "" | "s" => Some(1_000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .zip(millis_per_unit)
        .and_then(|(number, millis)| number.checked_mul(millis))
        .map(Duration::from_millis)
        .filter(|duration| *duration <= LONGEST)
        .ok_or_else(|| {
            let expected = "a duration such as 2h, 90s or 1500ms, and at most 100000h";
            format!("invalid --{option} `{value}`: expected {expected}").into()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Result<Command, String> {
        let parser = Parser::from_args(line.split_whitespace());
        let command = Command::parse(parser, |_| None);
        command.map_err(|failure| failure.to_string())
    }

    /// No more is refused in more than one line, and none is refused silently.
    #[test]
    fn nonsense_is_refused_in_one_line() {
        for (line, part) in [
            ("half-closed", "there is no scenario `half-closed`"),
            ("half-opn", "did you mean `half-open`?"),
            ("half-open --idle 0", "a duration is zero"),
            ("half-open --idle", "--idle"),
            ("half-open --idle soon", "`soon`"),
            ("half-open --idle 1d", "`1d`"),
            ("half-open --idle -5s", "`-5s`"),
            ("half-open --idle 99999999999999999999h", "at most 100000h"),
            ("half-open --interval 5124095576030431h", "at most 100000h"),
            ("half-open --count 1", "at least 2"),
            ("half-open --count 256", "2 to 255"),
            (
                "half-open --seed -1",
                "invalid --seed `-1`: expected a number",
            ),
            ("half-open --no-arp --trace --arp", "arp"),
            ("sweep --seeds 0..9 --no-arp", "no option of a sweep"),
            ("half-open --seeds 1..2", "no option of a scenario"),
            ("half-open again", "again"),
            ("arp-lost --idle 20s", "arp-lost needs"),
            ("list --trace", "no option of lab list"),
            ("--seed 1", "--seed needs a scenario"),
            ("sweep", "--seeds A..B"),
            ("sweep --seeds 5..5", "A < B"),
            ("sweep --seeds 5", "A < B"),
            ("sweep --seeds 0..9 --jobs 0", "from 1 on"),
            ("sweep --seeds 0..9 --shard 4/4", "0 <= I < N"),
            ("sweep --seeds 0..9 --shard /4", "array job"),
            ("sweep --seeds 0..9 --idle 5s", "no option of a sweep"),
            ("sweep --seed 3 --jobs 2", "no option of one seed"),
            ("sweep --fast", "fast"),
            ("-x", "-x"),
        ] {
            let error = command(line).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
            assert_eq!(error.lines().count(), 1, "{line}: {error}");
        }
    }

    /// Durations are what they look like.
    #[test]
    fn durations_are_what_they_look_like() {
        for (text, millis) in [
            ("2h", 7_200_000),
            ("10m", 600_000),
            ("90s", 90_000),
            ("1500ms", 1500),
            ("7", 7000),
            ("100000h", 360_000_000_000),
        ] {
            let parsed = duration("idle", text).unwrap();
            assert_eq!(parsed, Duration::from_millis(millis), "{text}");
        }
    }

    /// What is given replaces the scenario's own, and nothing else does.
    #[test]
    fn given_times_replace_the_scenarios() {
        let parsed = command("half-open --interval 30s --count 4 --seed 7").unwrap();
        let Command::Play { config, seed, .. } = parsed else {
            panic!("{parsed:?}");
        };
        let times = (config.idle(), config.interval(), config.count());
        let expected = (Duration::from_secs(7200), Duration::from_secs(30), 4);
        assert_eq!((times, seed), (expected, 7));
    }

    /// A sweep has seeds, jobs and a shard.
    #[test]
    fn sweep_is_what_was_given() {
        let parsed = command("sweep --seeds 10..20 --jobs 3 --shard 1/2 --plot delay.svg").unwrap();
        let Command::Sweep(options) = parsed else {
            panic!("{parsed:?}");
        };
        assert_eq!(options.seeds, 10..20);
        assert_eq!(options.jobs.get(), 3);
        assert_eq!(options.shard, (1, 2));
        assert_eq!(options.plot, Some(PathBuf::from("delay.svg")));
    }

    /// Nothing at all, and the wish for help, are answered with help.
    #[test]
    fn help_is_given() {
        for line in ["", "--help", "-h", "help", "half-open --help"] {
            assert!(matches!(command(line), Ok(Command::Help)), "{line}");
        }
    }
}
