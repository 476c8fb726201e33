//! Network namespaces, and what has to be there to make them.

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::panic;
use std::path::PathBuf;
use std::process::{self, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::process::setpriority_process;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Set to `required`, it makes a missing prerequisite a failure: for machines, such as those of
/// the continuous integration, on which these tests must not quietly be skipped.
const SWITCH: &str = "TCP_KEEPALIVE_KERNEL_TESTS";

const HIGHEST_PRIORITY: i32 = -20;

/// Goes ahead if everything these tests need is there, `tools` included. Otherwise says what is
/// missing, and returns `false`: the test has to be skipped.
pub(crate) fn is_ready(tools: &[&str]) -> bool {
    let Err(reason) = check(tools) else {
        return true;
    };
    assert!(
        env::var_os(SWITCH).is_none_or(|value| value != "required"),
        "{SWITCH}=required, but {reason}"
    );
    let thread = thread::current();
    let test = thread.name().unwrap_or("a test");
    // Past the test harness, which shows what a test prints only if it fails.
    let _ = writeln!(io::stderr(), "skipped: {test}: {reason}");
    false
}

fn check(tools: &[&str]) -> Result<(), String> {
    for tool in ["ip"].iter().chain(tools) {
        if find_in_path(tool).is_none() {
            return Err(format!("`{tool}` is not installed"));
        }
    }
    if !rustix::process::geteuid().is_root() {
        return Err("network namespaces need root".into());
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/net/tun")
        .map_err(|error| format!("/dev/net/tun cannot be opened: {error}"))?;
    let host = Namespace::try_new()?;
    if tools.contains(&"nft") {
        run(&mut host.command("nft", &["list", "tables"]), "")?;
    }
    Ok(())
}

/// The file that `tool` is.
pub(crate) fn find_in_path(tool: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|directory| directory.join(tool))
        .find(|file| file.is_file())
}

/// A network namespace: a host of its own, as far as the network is concerned. It is gone when
/// this is dropped, also if a test fails.
pub(crate) struct Namespace {
    name: String,
}

impl Namespace {
    /// A host with nothing but a loopback interface.
    pub(crate) fn new() -> Self {
        Self::try_new().expect("namespaces can be made, as that was checked")
    }

    fn try_new() -> Result<Self, String> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("ka{}-{number}", process::id());
        run(Command::new("ip").args(["netns", "add", &name]), "")?;
        Ok(Self { name })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Runs `ip` on this host, with `arguments` separated by spaces.
    pub(crate) fn ip(&self, arguments: &str) {
        let mut command = Command::new("ip");
        command.args(["-n", &self.name]).args(arguments.split(' '));
        run(&mut command, "").expect("the interface can be configured");
    }

    /// Adds `rules` to the packet filter of this host.
    pub(crate) fn nft(&self, rules: &str) {
        run(&mut self.command("nft", &["-f", "-"]), rules).expect("the rules are valid");
    }

    /// Puts a cable between this host and `other`, with a device called `device` at both ends and
    /// an address at each, this host's first.
    pub(crate) fn cable(&self, other: &Namespace, device: &str, addresses: [IpAddr; 2]) {
        self.ip(&format!(
            "link add {device} type veth peer name {device} netns {}",
            other.name
        ));
        for (host, address) in [self, other].into_iter().zip(addresses) {
            host.ip(&format!("addr add {address}/24 dev {device}"));
            host.ip(&format!("link set {device} up"));
        }
    }

    /// From now on no segment leaves this host. What arrives, arrives, and the host can still
    /// talk to itself.
    pub(crate) fn silence(&self) {
        self.nft(
            "table inet silence {
                chain output {
                    type filter hook output priority filter
                    oifname != \"lo\" meta l4proto tcp drop
                }
            }",
        );
    }

    /// Sets a parameter below `/proc/sys/net`.
    pub(crate) fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/net/{key}");
        self.enter(|| fs::write(&path, value))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// A command that is run on this host.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name, program])
            .args(arguments);
        command
    }

    /// Does `work` on this host: in a thread of its own, since it is threads that live in
    /// namespaces. What sockets it opens stay there, wherever they are taken.
    pub(crate) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let enter_and_work = || {
            let namespace = File::open(format!("/run/netns/{}", self.name))
                .expect("the namespace exists as long as this does");
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may enter a namespace");
            // What these tests claim of times is about us, not about what else is running. If this
            // is not allowed, it has to do without.
            let _ = setpriority_process(None, HIGHEST_PRIORITY);
            work()
        };
        thread::scope(|scope| {
            scope
                .spawn(enter_and_work)
                .join()
                .unwrap_or_else(|failure| panic::resume_unwind(failure))
        })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(Command::new("ip").args(["netns", "delete", &self.name]), "");
    }
}

/// Runs `command` to its end, with `input` to read.
fn run(command: &mut Command, input: &str) -> Result<(), String> {
    let mut execute = || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    };
    let result: io::Result<process::Output> = execute();
    match result {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "{command:?} says: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("{command:?} cannot be run: {error}")),
    }
}
