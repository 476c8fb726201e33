//! OpenSSH: an administrator checks whether a dead peer is noticed.
//!
//! The recipe is found in many an installation: `TCPKeepAlive yes`, and
//! `net.ipv4.tcp_keepalive_time`, `_intvl` and `_probes` at 20, 10 and 2. Here it runs ten times as
//! fast. Beside it stands the heartbeat of the application, `ServerAliveInterval` and
//! `ClientAliveInterval`.

use std::fs::DirBuilder;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime};

use smoltcp::iface::SocketHandle;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Cause, Config, Event};

use crate::capture::Capture;
use crate::client::{Client, HOST_V4, TAP, wall_clock};
use crate::lab::{Namespace, is_ready};
use crate::program::{Program, Scratch};
use crate::wire::{TOLERANCE, Wire, assert_near, timeline};
use crate::{PATIENCE, SECOND, ask, assert_alive};

const PORT: u16 = 22;
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const ADMIN: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
const TOOLS: [&str; 6] = ["nft", "dumpcap", "tshark", "sshd", "ssh", "ssh-keygen"];
/// OpenSSH keeps its times in whole seconds.
const OPENSSH_TOLERANCE: Duration = Duration::from_millis(1_200);
/// A heartbeat a second; two may go unanswered: OpenSSH decides when the third is due.
const HEARTBEAT: [&str; 2] = ["ServerAliveInterval=1", "ServerAliveCountMax=2"];
const HEARTBEAT_DETECTS: Duration = Duration::from_secs(3);

/// The recipe, ten times as fast.
fn recipe() -> Config {
    Config::new(2 * SECOND, SECOND, 2).expect("the configuration is valid")
}

/// When a packet filter drops the server's answers, `ssh -o TCPKeepAlive=yes` and we do the same at
/// the same times: two probes, a RST, and the application is told; `ServerAliveInterval` comes to
/// the same end by data of its own.
#[test]
fn ssh_with_tcp_keep_alive_has_our_timeline() {
    if !is_ready(&TOOLS) {
        return;
    }
    let site = Site::new();
    let host = &site.host;
    let (captured, ports, told) = host.enter(|| {
        let mut client = Client::new(host);
        let mut sshd = site.sshd(&[]);
        let capture = Capture::start(host, &[TAP, "lan"]);
        let mut by_probes = site.login(&mut sshd, &["TCPKeepAlive=yes"]);
        let mut by_data = site.login(&mut sshd, &[&["TCPKeepAlive=no"], &HEARTBEAT[..]].concat());
        let (ours, our_port) = greet(&mut client);

        // The last that all of them hear is an answer to a question of their own.
        client.run_for(5 * SECOND / 2);
        host.silence();
        let their_ends = thread::scope(|scope| {
            let watchers = [&mut by_probes, &mut by_data]
                .map(|session| scope.spawn(|| session.ssh.wait_for_end()));
            client.run_until("a verdict", 6 * SECOND, |client| {
                client.close_reason(ours).is_some()
            });
            watchers.map(|it| it.join().expect("it only watches"))
        });
        let Some(CloseReason::KeepAlive(verdict)) = client.close_reason(ours) else {
            panic!("{:?}", client.close_reason(ours));
        };
        assert_eq!(verdict.unanswered, recipe().count());
        let our_end = client
            .events()
            .iter()
            .find(|it| matches!(it.event, Event::TimedOut(v) if v.cause == Cause::KeepAlive))
            .expect("there was a verdict")
            .at;
        println!("by probes, ssh says: {}", by_probes.ssh.log().trim());
        println!("by data, ssh says:   {}", by_data.ssh.log().trim());
        assert!(by_data.ssh.log().contains("not responding"));
        let [probes_end, data_end] = their_ends;
        (
            capture.finish(),
            [by_probes.port, by_data.port, our_port],
            [probes_end, data_end, our_end],
        )
    });

    let [by_probes, by_data, ours] = ports.map(|port| Wire::new(&captured, port));
    let theirs = timeline(&by_probes, told[0]);
    let ours = timeline(&ours, told[2]);
    println!("\nidle 2 s, interval 1 s, count 2; seconds since the last segment heard\n");
    println!("{:<18} {:>9} {:>9}", "", "ssh", "smoltcp");
    for (theirs, ours) in theirs.iter().zip(&ours) {
        let [at, ours_at] = [theirs.at, ours.at].map(|it| it.as_secs_f64());
        println!("{:<18} {at:>9.3} {ours_at:>9.3}", theirs.what);
    }
    let nominal = [2, 3, 4, 4].map(|seconds| seconds * SECOND);
    let what = ["probe 1", "probe 2", "RST", "application told"];
    for moments in [&theirs, &ours] {
        let done: Vec<_> = moments.iter().map(|it| it.what.as_str()).collect();
        assert_eq!(done, what);
        for (moment, nominal) in moments.iter().zip(nominal) {
            assert_near(moment.at, nominal, &moment.what);
        }
    }

    let last_heard = by_data.last_heard();
    let after: Vec<_> = by_data.ours().filter(|it| it.at > last_heard).collect();
    let data = after.iter().filter(|it| it.len > 0).count();
    let took = since_the_epoch(told[1]) - last_heard;
    println!("\nServerAliveInterval: {data} segments of data, given up after {took:.1?}");
    assert!(
        data > 0 && after.iter().all(|it| !it.is_keep_alive),
        "{after:#?}"
    );
    assert!(
        took.abs_diff(HEARTBEAT_DETECTS) < OPENSSH_TOLERANCE,
        "{took:?}"
    );
}

/// A frozen server is given up by `ServerAliveInterval`; `TCPKeepAlive` and we keep it, since its
/// kernel answers every probe.
#[test]
fn ssh_heartbeat_notices_a_frozen_server_and_no_probe_does() {
    if !is_ready(&TOOLS) {
        return;
    }
    let site = Site::new();
    let host = &site.host;
    let (captured, ports, frozen) = host.enter(|| {
        let mut client = Client::new(host);
        let mut sshd = site.sshd(&[]);
        let capture = Capture::start(host, &[TAP, "lan"]);
        let mut by_probes = site.login(&mut sshd, &["TCPKeepAlive=yes"]);
        let mut by_data = site.login(&mut sshd, &[&["TCPKeepAlive=no"], &HEARTBEAT[..]].concat());
        let (ours, our_port) = greet(&mut client);

        sshd.freeze();
        let frozen = wall_clock();
        let end = thread::scope(|scope| {
            let watcher = scope.spawn(|| by_data.ssh.wait_for_end());
            client.run_for(7 * SECOND);
            watcher.join().expect("it only watches")
        });
        let took = end.duration_since(frozen).unwrap_or_default();
        println!("ServerAliveInterval gave the frozen server up after {took:.1?}");
        assert!(by_data.ssh.log().contains("not responding"));
        assert!(
            took.abs_diff(HEARTBEAT_DETECTS) < OPENSSH_TOLERANCE,
            "{took:?}"
        );

        assert!(by_probes.ssh.is_running(), "{}", by_probes.ssh.log());
        assert_alive(&client, ours, 3);
        (capture.finish(), [by_probes.port, our_port], frozen)
    });

    for port in ports {
        let wire = Wire::new(&captured, port);
        let frozen = since_the_epoch(frozen);
        let probes: Vec<_> = wire.probes().filter(|it| it.at > frozen).collect();
        assert!(probes.len() >= 2, "{captured:#?}");
        for probe in probes {
            let answer = wire.after(probe);
            assert!(answer.is_keep_alive_ack, "{answer:?}");
            assert!(answer.at - probe.at < TOLERANCE, "{answer:?}");
        }
    }
}

/// A frozen client is given up by `ClientAliveInterval`, although its kernel acknowledged every
/// heartbeat: to TCP it was alive all the time.
#[test]
fn sshd_heartbeat_notices_a_frozen_client_that_acknowledges_all() {
    if !is_ready(&TOOLS) {
        return;
    }
    let site = Site::new();
    let host = &site.host;
    let (captured, port, frozen) = host.enter(|| {
        let mut sshd = site.sshd(&["ClientAliveInterval 1", "ClientAliveCountMax 2"]);
        let capture = Capture::start(host, &["lan"]);
        let session = site.login(&mut sshd, &["TCPKeepAlive=yes"]);

        session.ssh.freeze();
        let frozen = wall_clock();
        sshd.wait_for("Timeout, client not responding", 1);
        let took = wall_clock().duration_since(frozen).unwrap_or_default();
        println!("ClientAliveInterval gave the frozen client up after {took:.1?}");
        assert!(took > HEARTBEAT_DETECTS - OPENSSH_TOLERANCE, "{took:?}");
        // The heartbeats of this version's server are up to twice as far apart as it was told.
        assert!(took < 2 * HEARTBEAT_DETECTS + OPENSSH_TOLERANCE, "{took:?}");
        (capture.finish(), session.port, frozen)
    });

    let frozen = since_the_epoch(frozen);
    let wire = Wire::new(&captured, port);
    let heartbeats: Vec<_> = wire
        .theirs()
        .filter(|it| it.at > frozen && it.len > 0)
        .collect();
    assert!(heartbeats.len() >= 2, "{captured:#?}");
    for heartbeat in heartbeats {
        let acknowledgement = wire.answer(heartbeat);
        assert_eq!(acknowledgement.ack, heartbeat.end(), "{captured:#?}");
        assert_eq!(acknowledgement.len, 0, "a frozen process sends no data");
    }
}

/// A host with an SSH server, and the host of its administrator.
struct Site {
    host: Namespace,
    admin: Namespace,
    scratch: Scratch,
}

impl Site {
    fn new() -> Self {
        let host = Namespace::new();
        let admin = Namespace::new();
        host.cable(&admin, "lan", [SERVER, ADMIN]);
        let config = recipe();
        for (name, value) in [
            ("time", config.idle().as_secs()),
            ("intvl", config.interval().as_secs()),
            ("probes", config.count().into()),
        ] {
            admin.sysctl(&format!("ipv4/tcp_keepalive_{name}"), &value.to_string());
        }
        let scratch = Scratch::new(&host);
        Self {
            host,
            admin,
            scratch,
        }
    }

    /// Starts an SSH server that lets the administrator in and sends no probes.
    fn sshd(&self, options: &[&str]) -> Program {
        for key in ["host_key", "admin_key"] {
            let mut command = Command::new("ssh-keygen");
            command.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
            let status = command.arg(self.scratch.path(key)).status();
            let status = status.expect("it is installed, as was checked");
            assert!(status.success(), "ssh-keygen: {status}");
        }
        // Debian's service makes it, and sshd insists on it.
        let _ = DirBuilder::new().mode(0o755).create("/run/sshd");
        let config = self.scratch.write(
            "sshd_config",
            &format!(
                "ListenAddress 0.0.0.0:{PORT}
                HostKey {}
                AuthorizedKeysFile {}
                PidFile none
                StrictModes no
                UsePAM no
                PermitRootLogin yes
                TCPKeepAlive no
                {}
                ",
                self.scratch.path("host_key"),
                self.scratch.path("admin_key.pub"),
                options.join("\n"),
            ),
        );
        let at = (&self.host, SocketAddr::new(SERVER, PORT));
        let arguments = ["-D", "-e", "-f", &config];
        Program::serve(at, &self.scratch, "sshd", &arguments)
    }

    /// Logs the administrator in, who then does nothing.
    fn login(&self, sshd: &mut Program, options: &[&str]) -> Session {
        const ACCEPTED: &str = "Accepted publickey for root from";
        let logins = sshd.log().matches(ACCEPTED).count();
        let scratch = Scratch::new(&self.admin);
        let key = self.scratch.path("admin_key");
        let server = SERVER.to_string();
        let mut arguments = vec!["-N", "-F", "none", "-l", "root", "-i", &key];
        let unattended = [
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "UpdateHostKeys=no",
        ];
        for option in unattended.iter().chain(options) {
            arguments.extend(["-o", option]);
        }
        arguments.push(&server);
        let ssh = Program::start(&self.admin, &scratch, "ssh", &arguments);
        sshd.wait_for(ACCEPTED, logins + 1);
        let log = sshd.log();
        let (_, accepted) = log.rsplit_once(ACCEPTED).expect("it was waited for");
        let port = accepted.split_whitespace().skip_while(|it| *it != "port");
        let port = port.skip(1).find_map(|it| it.parse().ok());
        // What follows a login is over.
        thread::sleep(SECOND / 2);
        Session {
            ssh,
            port: port.expect("sshd says from where"),
            _scratch: scratch,
        }
    }
}

/// An SSH client that has logged in.
struct Session {
    ssh: Program,
    port: u16,
    _scratch: Scratch,
}

/// Connects us to the server and exchanges greetings; then it waits for a key exchange from us,
/// for two minutes.
fn greet(client: &mut Client) -> (SocketHandle, u16) {
    let handle = client.add_socket(false);
    client.enable(handle, recipe());
    let port = client.dial(handle, SocketAddr::new(HOST_V4, PORT));
    let greeting = "SSH-2.0-smoltcp\r\n";
    let greeted = ask((client, handle), greeting, "SSH-2.0-OpenSSH", PATIENCE);
    assert!(greeted.is_some());
    (handle, port)
}

fn since_the_epoch(at: SystemTime) -> Duration {
    at.duration_since(SystemTime::UNIX_EPOCH)
        .expect("it is after 1970")
}
