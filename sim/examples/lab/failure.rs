//! What ends the program with another exit status than zero, in one line.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use tcp_keepalive::ConfigError;
use tcp_keepalive_sim::SimError;

/// Why the program ends so.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// There is no such keep-alive.
    Config(ConfigError),
    /// A file could not be written.
    Write { path: PathBuf, error: io::Error },
    /// The world could not be built so, or something in it broke that has to hold.
    Sim(SimError),
    /// A run ended otherwise than it has to.
    Broken(String),
}

impl Failure {
    /// 1 if something was broken, 2 if what was asked for cannot be done.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Sim(_) | Self::Broken(_) => 1,
            Self::Usage(_) | Self::Config(_) | Self::Write { .. } => 2,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => write!(f, "{message}; see `lab --help`"),
            Self::Config(error) => write!(f, "no such keep-alive: {error}; see `lab --help`"),
            Self::Write { path, error } => {
                write!(f, "`{}` cannot be written: {error}", path.display())
            }
            Self::Sim(error) => error.fmt(f),
            Self::Broken(message) => f.write_str(message),
        }
    }
}

impl From<lexopt::Error> for Failure {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

impl From<SimError> for Failure {
    fn from(error: SimError) -> Self {
        Self::Sim(error)
    }
}
