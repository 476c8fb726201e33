//! From the command line to the exit status.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "no run lasts until the end of time"
)]

mod client;
mod clock;
mod failure;
mod log;
mod options;
mod tap;

use std::process::ExitCode;

use tcp_keepalive::smoltcp::CloseReason;

use self::client::Client;
use self::log::print_line;
use self::options::{Arguments, HELP, Options};

// As `--help` has them.
const FAILURE: u8 = 1;
const WRONG_USAGE: u8 = 2;
const GIVEN_UP: u8 = 3;
const RESET: u8 = 4;

/// Does what the command line says.
pub(crate) fn run() -> ExitCode {
    let options = match Arguments::parse(lexopt::Parser::from_env()) {
        Ok(Some(given)) => Options::new(given),
        Ok(None) => {
            print_line(HELP.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(error) => Err(error),
    };
    let options = match options {
        Ok(options) => options,
        Err(error) => {
            eprintln!("linux_peer: {error}; see --help");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match Client::new(&options).and_then(|mut client| client.run(&options)) {
        Ok(reason) => ExitCode::from(match reason {
            CloseReason::Closed | CloseReason::LocalAbort => 0,
            CloseReason::KeepAlive(_) | CloseReason::UserTimeout(_) => GIVEN_UP,
            CloseReason::PeerReset { .. } => RESET,
            _ => FAILURE,
        }),
        Err(error) => {
            eprintln!("linux_peer: {error}");
            ExitCode::from(FAILURE)
        }
    }
}
