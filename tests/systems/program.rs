//! Programs that the tests run, each with a directory for its files.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::wall_clock;
use crate::lab::{Namespace, find_in_path};

/// The longest that a program may take to start or to say something.
const PATIENCE: Duration = Duration::from_secs(10);
const TICK: Duration = Duration::from_millis(10);

/// A directory that is gone when this is dropped, unless a test fails.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(host: &Namespace) -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-files-{number}", host.name());
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir(&directory).expect("the directory is cargo's for tests");
        Self(directory)
    }

    /// Where a file of this name is, or will be.
    pub(crate) fn path(&self, name: &str) -> String {
        let path = self.0.join(name);
        path.to_str().expect("the name is ASCII").to_owned()
    }

    /// Writes a file, and returns where it is.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("the directory is ours");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A program that runs, and what it starts. All of it is killed when this is dropped.
pub(crate) struct Program {
    child: Child,
    log: String,
}

impl Program {
    /// Runs `name` on `host`, in the foreground.
    pub(crate) fn start(
        host: &Namespace,
        scratch: &Scratch,
        name: &str,
        arguments: &[&str],
    ) -> Self {
        let file = find_in_path(name).expect("it is installed, as that was checked");
        let log = scratch.path(&format!("{name}.log"));
        let output = File::create(&log).expect("the directory is ours");
        let errors = output.try_clone().expect("it is a file like any other");
        let child = host
            .command(file.to_str().expect("the name is ASCII"), arguments)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn()
            .expect("`ip` is installed, as that was checked");
        Self { child, log }
    }

    /// The same, and waits until it listens at `address`.
    pub(crate) fn serve(
        (host, address): (&Namespace, SocketAddr),
        scratch: &Scratch,
        name: &str,
        arguments: &[&str],
    ) -> Self {
        // A host that is to talk to itself needs its loopback interface.
        host.ip("link set lo up");
        let mut program = Self::start(host, scratch, name, arguments);
        program.wait_until("it listens", |_| {
            host.enter(|| TcpStream::connect_timeout(&address, PATIENCE))
                .is_ok()
        });
        program
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has said `text` as many `times`.
    pub(crate) fn wait_for(&mut self, text: &str, times: usize) {
        self.wait_until(text, |program| program.log().matches(text).count() >= times);
    }

    /// Waits for its end, and returns when that was.
    pub(crate) fn wait_for_end(&mut self) -> SystemTime {
        let started = wall_clock();
        while self.is_running() {
            assert!(passed_since(started) < PATIENCE, "no end: {}", self.log());
            thread::sleep(TICK);
        }
        wall_clock()
    }

    fn wait_until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let started = wall_clock();
        while !is_so(self) {
            assert!(
                self.is_running() && passed_since(started) < PATIENCE,
                "not \"{what}\": {}",
                self.log()
            );
            thread::sleep(TICK);
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Freezes it and all that it has started, as a debugger does or a full disk. The kernel goes
    /// on serving its connections.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        for process in family(Pid::from_child(&self.child)) {
            // It may have ended meanwhile.
            let _ = kill_process(process, signal);
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// A process and all that descend from it.
fn family(eldest: Pid) -> Vec<Pid> {
    let processes: Vec<(Pid, Pid)> = fs::read_dir("/proc")
        .expect("there is a /proc")
        .filter_map(|entry| relation(&entry.ok()?.path()))
        .collect();
    let mut family = vec![eldest];
    let mut next = 0;
    while let Some(&parent) = family.get(next) {
        next += 1;
        let children = processes.iter().filter(|(_, its)| *its == parent);
        family.extend(children.map(|(child, _)| *child));
    }
    family
}

/// A process and its parent, by its directory in `/proc`.
fn relation(directory: &Path) -> Option<(Pid, Pid)> {
    let process = directory.file_name()?.to_str()?.parse().ok()?;
    let status = fs::read_to_string(directory.join("status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    Some((
        Pid::from_raw(process)?,
        Pid::from_raw(parent.trim().parse().ok()?)?,
    ))
}

fn passed_since(started: SystemTime) -> Duration {
    wall_clock().duration_since(started).unwrap_or_default()
}
