//! A machine that runs the firmware: QEMU, and `defmt-print` for what it says.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::lab::Namespace;
use crate::peer::TAP;
use crate::{Files, PATIENCE};

/// How often it is tried again to reach a QEMU that has only just been started.
const RETRY: Duration = Duration::from_millis(20);

/// A line of the log, and when it was read.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) at: SystemTime,
    pub(crate) text: String,
}

pub(crate) struct Machine {
    qemu: Child,
    decoder: Child,
    control: Control,
    coming: Receiver<Line>,
    log: Vec<Line>,
}

/// Whether the cable is in when the machine is switched on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cable {
    In,
    Out,
}

impl Machine {
    /// Switches a machine on that is at the other end of `host`'s TAP device.
    pub(crate) fn boot(host: &Namespace, image: &Path, files: &Files, cable: Cable) -> Self {
        let socket = env::temp_dir().join(host.name()).with_extension("qmp");
        let mut qemu = host
            .command("qemu-system-arm", &["-M", "mps2-an385", "-display", "none"])
            .args(["-monitor", "none", "-serial", "stdio", "-S"])
            .arg("-kernel")
            .arg(image)
            .arg("-nic")
            .arg(format!(
                "tap,id=cable,ifname={TAP},script=no,downscript=no,model=lan9118"
            ))
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", socket.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("QEMU is installed, as that was checked");
        let serial = qemu.stdout.take().expect("it is a pipe");
        let mut decoder = Command::new(&files.defmt_print)
            .arg("-e")
            .arg(image)
            .stdin(serial)
            .stdout(Stdio::piped())
            .spawn()
            .expect("defmt-print is where it was said to be");
        let lines = BufReader::new(decoder.stdout.take().expect("it is a pipe")).lines();
        let (sender, coming) = mpsc::channel();
        thread::spawn(move || {
            for text in lines.map_while(Result::ok) {
                let at = SystemTime::now();
                if sender.send(Line { at, text }).is_err() {
                    return;
                }
            }
        });
        let mut machine = Self {
            qemu,
            decoder,
            control: Control::connect(socket),
            coming,
            log: Vec::new(),
        };
        machine.set_cable(cable);
        machine.control.command(r#"{"execute": "cont"}"#);
        machine
    }

    pub(crate) fn set_cable(&mut self, cable: Cable) {
        let up = cable == Cable::In;
        self.control.command(&format!(
            r#"{{"execute": "set_link", "arguments": {{"name": "cable", "up": {up}}}}}"#
        ));
    }

    /// The present end of the log.
    pub(crate) fn mark(&mut self) -> usize {
        self.log.extend(self.coming.try_iter());
        self.log.len()
    }

    /// The first line after `mark` that has all of `words`; waits for it until `limit` has passed.
    pub(crate) fn line(
        &mut self,
        mark: usize,
        words: &[&str],
        limit: Duration,
    ) -> Result<Line, String> {
        let found = self.line_and_mark(mark, words, limit);
        found.map(|(_, line)| line)
    }

    /// The same, and the mark behind that line.
    pub(crate) fn line_and_mark(
        &mut self,
        mark: usize,
        words: &[&str],
        limit: Duration,
    ) -> Result<(usize, Line), String> {
        let deadline = Instant::now() + limit;
        let mut next = mark;
        loop {
            let new = self.log.get(next..).unwrap_or_default();
            if let Some(index) = new.iter().position(|line| line.has(words)) {
                return Ok((next + index + 1, new[index].clone()));
            }
            next = self.log.len();
            let left = deadline.saturating_duration_since(Instant::now());
            match self.coming.recv_timeout(left) {
                Ok(line) => self.log.push(line),
                Err(_) => return Err(format!("no line with {words:?} within {limit:?}")),
            }
        }
    }

    /// How many lines after `mark` have all of `words`, so far.
    pub(crate) fn count(&mut self, mark: usize, words: &[&str]) -> usize {
        self.mark();
        let new = self.log.get(mark..).unwrap_or_default();
        new.iter().filter(|line| line.has(words)).count()
    }

    /// All of the log.
    pub(crate) fn log(&mut self) -> String {
        self.mark();
        let lines: Vec<_> = self.log.iter().map(|it| it.text.as_str()).collect();
        lines.join("\n")
    }
}

impl Line {
    fn has(&self, words: &[&str]) -> bool {
        words.iter().all(|it| self.text.contains(it))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        // It has read all there was.
        let _ = self.decoder.wait();
        let _ = fs::remove_file(&self.control.path);
    }
}

/// QEMU's own protocol: a line of JSON each way.
struct Control {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Control {
    fn connect(path: PathBuf) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(&path) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "QEMU does not start: {error}"),
            }
            thread::sleep(RETRY);
        };
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("the time is valid");
        let stream = BufReader::new(stream);
        let mut control = Self { path, stream };
        control.command(r#"{"execute": "qmp_capabilities"}"#);
        control
    }

    /// Has QEMU do something, and waits until it has.
    fn command(&mut self, command: &str) {
        let result = writeln!(self.stream.get_mut(), "{command}");
        result.expect("QEMU is running");
        // It may have something else to say before.
        loop {
            let mut line = String::new();
            let len = self.stream.read_line(&mut line).expect("QEMU answers");
            assert!(
                len != 0 && !line.contains(r#""error""#),
                "{command}: {line}"
            );
            if line.contains(r#""return""#) {
                return;
            }
        }
    }
}
