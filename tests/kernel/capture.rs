//! What was on the wire, as Wireshark sees it.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::lab::Namespace;

/// `dumpcap` looks at what the kernel has caught four times a second.
const DUMPCAP_PERIOD: Duration = Duration::from_millis(250);

const FIELDS: [&str; 16] = [
    "frame.time_epoch",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.seq_raw",
    "tcp.ack_raw",
    "tcp.len",
    "tcp.window_size_value",
    "tcp.flags.syn",
    "tcp.flags.ack",
    "tcp.flags.fin",
    "tcp.flags.reset",
    "tcp.flags.push",
    "tcp.analysis.keep_alive",
    "tcp.analysis.keep_alive_ack",
    "tcp.options.timestamp.tsval",
    "tcp.options.timestamp.tsecr",
];

/// A capture under way.
pub(crate) struct Capture {
    dumpcap: Child,
    file: PathBuf,
}

/// One TCP segment of a capture.
#[derive(Clone, Debug)]
pub(crate) struct Captured {
    /// When, since the epoch, the kernel saw it.
    pub(crate) at: Duration,
    pub(crate) src_port: u16,
    pub(crate) dst_port: u16,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) len: u32,
    /// As it stands in the header.
    pub(crate) window: u32,
    pub(crate) flags: Flags,
    /// Wireshark calls it "TCP Keep-Alive".
    pub(crate) is_keep_alive: bool,
    /// Wireshark calls it "TCP Keep-Alive ACK".
    pub(crate) is_keep_alive_ack: bool,
    pub(crate) timestamps: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "so is a TCP header")]
pub(crate) struct Flags {
    pub(crate) syn: bool,
    pub(crate) ack: bool,
    pub(crate) fin: bool,
    pub(crate) rst: bool,
    pub(crate) psh: bool,
}

impl Captured {
    /// The sequence number after it.
    pub(crate) fn end(&self) -> u32 {
        self.seq
            .wrapping_add(self.len)
            .wrapping_add(u32::from(self.flags.syn))
            .wrapping_add(u32::from(self.flags.fin))
    }
}

impl Capture {
    /// Starts to capture what passes `interfaces` of `host`.
    pub(crate) fn start(host: &Namespace, interfaces: &[&str]) -> Self {
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(host.name())
            .with_extension("pcapng");
        // Told to open the file itself, it might not be allowed to: it gives up root's rights.
        let mut arguments = vec!["-q", "-w", "-"];
        for interface in interfaces {
            arguments.extend(["-i", interface, "-f", "tcp"]);
        }
        let mut dumpcap = host
            .command("dumpcap", &arguments)
            .stdin(Stdio::null())
            .stdout(File::create(&file).expect("the directory is cargo's for tests"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("dumpcap is installed, as that was checked");
        let stderr = dumpcap.stderr.take().expect("it is a pipe");
        let mut lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let says_ready = lines.any(|line| line.starts_with("File:"));
        // Its last words have to go somewhere.
        thread::spawn(move || lines.for_each(drop));
        let capture = Self { dumpcap, file };
        assert!(says_ready, "dumpcap cannot capture on {interfaces:?}");
        capture
    }

    /// Stops, and has `tshark` say what there is.
    pub(crate) fn finish(mut self) -> Vec<Captured> {
        thread::sleep(2 * DUMPCAP_PERIOD);
        kill_process(Pid::from_child(&self.dumpcap), Signal::INT).expect("it is running");
        let status = self.dumpcap.wait().expect("it is a child of ours");
        assert!(status.success(), "dumpcap: {status}");
        let mut tshark = Command::new("tshark");
        tshark
            .args(["-n", "-r", "-", "-T", "fields", "-E", "occurrence=f"])
            .args(["-o", "tcp.analyze_sequence_numbers:TRUE"])
            .args(FIELDS.iter().flat_map(|field| ["-e", field]))
            .stdin(File::open(&self.file).expect("dumpcap has written it"));
        let output = tshark
            .output()
            .expect("tshark is installed, as was checked");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "tshark: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        text.lines().map(parse).collect()
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        let _ = self.dumpcap.kill();
        let _ = self.dumpcap.wait();
        if !thread::panicking() {
            let _ = fs::remove_file(&self.file);
        }
    }
}

fn parse(line: &str) -> Captured {
    let fields: Vec<&str> = line.split('\t').collect();
    let [
        at,
        src_port,
        dst_port,
        seq,
        ack,
        len,
        window,
        syn,
        ack_flag,
        fin,
        rst,
        psh,
        is_keep_alive,
        is_keep_alive_ack,
        tsval,
        tsecr,
    ] = fields[..]
    else {
        panic!("tshark was asked for other fields: {line}");
    };
    Captured {
        at: Duration::try_from_secs_f64(at.parse().expect("a time is a number"))
            .expect("it is after 1970"),
        src_port: port(src_port),
        dst_port: port(dst_port),
        seq: number(seq),
        ack: number(ack),
        len: number(len),
        window: number(window),
        flags: Flags {
            syn: is_set(syn),
            ack: is_set(ack_flag),
            fin: is_set(fin),
            rst: is_set(rst),
            psh: is_set(psh),
        },
        is_keep_alive: !is_keep_alive.is_empty(),
        is_keep_alive_ack: !is_keep_alive_ack.is_empty(),
        timestamps: (!tsval.is_empty()).then(|| (number(tsval), number(tsecr))),
    }
}

fn number(field: &str) -> u32 {
    field.parse().expect("a field of tshark's is a number")
}

fn port(field: &str) -> u16 {
    field.parse().expect("a port has 16 bits")
}

/// Older versions of tshark say `1`, newer ones `True`.
fn is_set(field: &str) -> bool {
    matches!(field, "1" | "True")
}
