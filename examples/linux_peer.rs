//! A smoltcp client with keep-alive, talking to a TCP server of Linux' over a TAP device.
//!
//! What is true in simulated time can be watched here in real time: the probes, their answers
//! and how long they took, and, once the line is cut, the suspicion and the verdict. The loop in
//! `linux_peer/client.rs` is what a client of your own would start from. The rest is options, a
//! device and words.
//!
//! `cargo run --example linux_peer -- --help` tells how to make a TAP device and what can be
//! tried with it.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
#[path = "linux_peer/program.rs"]
mod program;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    program::run()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("linux_peer: the TAP devices that this needs are Linux'");
    ExitCode::FAILURE
}
