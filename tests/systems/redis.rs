//! Redis: a subscriber that is told things rarely, and must be told them.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::SystemTime;

use smoltcp::socket::tcp;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Config, FailedAt};

use crate::capture::Capture;
use crate::client::{Client, HOST_V4, TAP, wall_clock};
use crate::lab::{Namespace, is_ready};
use crate::nat::{FORGETS_AFTER, Nat, SERVER};
use crate::program::{Program, Scratch};
use crate::wire::{TOLERANCE, Wire, assert_near};
use crate::{PATIENCE, REQUEST_TIMEOUT, SECOND, ask, assert_alive, cut_off, hear, quick, repair};

const PORT: u16 = 6379;

/// Behind a NAT that forgets after 3 s, a subscriber with Redis' own configuration (2 s, three
/// probes) gets the message that comes after 7 s; one without keep-alive never gets it, and never
/// knows.
#[test]
fn redis_subscriber_is_told_across_a_nat_that_forgets() {
    let config = Config::redis(2 * SECOND).expect("two seconds are valid");
    if !is_ready(&["nft", "redis-server"]) {
        return;
    }
    assert!(config.idle() < FORGETS_AFTER);
    let nat = Nat::new();
    let _redis = Redis::start(&nat.server, SERVER, 0);
    nat.router.enter(|| {
        let mut client = Client::new(&nat.router);
        let [kept, left] = [(); 2].map(|()| client.add_socket(false));
        client.enable(kept, config);
        for handle in [kept, left] {
            client.dial(handle, SocketAddr::new(SERVER, PORT));
            let subscribed = ask(
                (&mut client, handle),
                "SUBSCRIBE news\r\n",
                ":1\r\n",
                PATIENCE,
            );
            assert!(subscribed.is_some());
        }

        client.run_for(7 * SECOND);
        assert_alive(&client, kept, 3);

        // Redis believes that it has told both.
        let mut publisher = Admin::connect(&nat.server, SERVER);
        assert_eq!(publisher.ask("PUBLISH news hello"), ":2");
        let told = hear((&mut client, kept), "hello\r\n", PATIENCE);
        assert!(told.is_some());
        assert_eq!(
            hear((&mut client, left), "hello\r\n", REQUEST_TIMEOUT),
            None
        );
        assert_eq!(client.state(left), tcp::State::Established);
    });
}

/// A Redis that probes us once a second (`tcp-keepalive 1`) is answered and keeps us, whether our
/// own keep-alive is on or off; when it hears us no more, it drops us after 4 s, as we would.
#[test]
fn redis_that_probes_us_is_answered_and_keeps_us() {
    if !is_ready(&["nft", "redis-server", "dumpcap", "tshark"]) {
        return;
    }
    let host = Namespace::new();
    let (captured, ports, cut) = host.enter(|| {
        let mut client = Client::new(&host);
        let capture = Capture::start(&host, &[TAP]);
        let _redis = Redis::start(&host, HOST_V4, 1);
        let mut admin = Admin::connect(&host, HOST_V4);
        let [with_ours, without_ours] = [(); 2].map(|()| client.add_socket(false));
        // Redis probes first.
        let config = Config::new(2 * SECOND, SECOND, 3).expect("the configuration is valid");
        client.enable(with_ours, config);
        let ports = [with_ours, without_ours].map(|handle| {
            let port = client.dial(handle, SocketAddr::new(HOST_V4, PORT));
            assert!(ask((&mut client, handle), "PING\r\n", "+PONG\r\n", PATIENCE).is_some());
            port
        });

        client.run_for(6 * SECOND);
        assert_eq!(client.stats(with_ours).probes_sent, 0);
        assert_eq!(admin.clients(), 2);
        for handle in [with_ours, without_ours] {
            assert!(ask((&mut client, handle), "PING\r\n", "+PONG\r\n", PATIENCE).is_some());
        }
        // Our acknowledgements are out: with data in flight Redis would wait for a quarter of an hour.
        client.run_for(SECOND / 10);

        cut_off(&host);
        let cut = wall_clock();
        // Nothing of ours ends the waiting when Redis drops us.
        let is_dropped = (0..6 * 20).any(|_| {
            client.run_for(SECOND / 20);
            admin.clients() == 0
        });
        assert!(is_dropped, "{} clients are left", admin.clients());
        let took = wall_clock().duration_since(cut).unwrap_or_default();
        println!("Redis dropped us {took:.1?} after it was cut off");
        assert_near(took, 4 * SECOND, "the end");
        let cut = cut
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("it is after 1970");
        (capture.finish(), ports, cut)
    });

    for port in ports {
        let wire = Wire::new(&captured, port);
        let probes = wire.theirs().filter(|it| it.is_keep_alive && it.at < cut);
        let probes: Vec<_> = probes.collect();
        assert!(probes.len() >= 4, "{captured:#?}");
        for probe in probes {
            let answer = wire.answer(probe);
            assert!(answer.is_keep_alive_ack && answer.len == 0, "{answer:?}");
            assert!(answer.at - probe.at < TOLERANCE, "{probe:?} {answer:?}");
        }
    }
}

/// The kernel of a frozen Redis answers our probes, and acknowledges a request: the connection is
/// kept, and only the missing answer tells.
#[test]
fn frozen_redis_answers_probes_and_no_request() {
    if !is_ready(&["redis-server"]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let redis = Redis::start(&host, HOST_V4, 0);
        let handle = client.add_socket(false);
        client.enable(handle, quick());
        client.dial(handle, SocketAddr::new(HOST_V4, PORT));
        assert!(ask((&mut client, handle), "PING\r\n", "+PONG\r\n", PATIENCE).is_some());

        redis.program.freeze();
        client.run_for(quick().detection_time() + SECOND);
        assert_alive(&client, handle, 4);
        let answer = ask(
            (&mut client, handle),
            "PING\r\n",
            "+PONG\r\n",
            REQUEST_TIMEOUT,
        );
        assert_eq!(answer, None);
        assert_eq!(client.socket(handle).send_queue(), 0);
        assert_alive(&client, handle, 5);

        redis.program.thaw();
        assert!(hear((&mut client, handle), "+PONG\r\n", PATIENCE).is_some());
    });
}

/// A Redis that a packet filter cuts off is given up after idle and three intervals; Redis, which
/// does not probe here, still counts the dead client, and takes a new connection once it can.
#[test]
fn redis_that_is_cut_off_is_given_up_on_time() {
    if !is_ready(&["nft", "redis-server"]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let _redis = Redis::start(&host, HOST_V4, 0);
        let mut admin = Admin::connect(&host, HOST_V4);
        let [first, second] = [(); 2].map(|()| client.add_socket(false));
        client.enable(first, quick());
        client.dial(first, SocketAddr::new(HOST_V4, PORT));
        assert!(ask((&mut client, first), "PING\r\n", "+PONG\r\n", PATIENCE).is_some());
        cut_off(&host);

        client.run_until("a verdict", quick().detection_time() + SECOND, |client| {
            client.close_reason(first).is_some()
        });
        let Some(CloseReason::KeepAlive(verdict)) = client.close_reason(first) else {
            panic!("{:?}", client.close_reason(first));
        };
        println!("given up: {verdict}");
        assert_near(verdict.silent_for, quick().detection_time(), "the verdict");
        assert_eq!((verdict.unanswered, verdict.unsent), (3, 0));
        // The host still answers ARP: it is not the next hop that is gone.
        assert_eq!(verdict.failed_at, FailedAt::Peer);
        assert_eq!(client.state(first), tcp::State::Closed);
        assert_eq!(admin.clients(), 1);

        repair(&host);
        client.dial(second, SocketAddr::new(HOST_V4, PORT));
        assert!(ask((&mut client, second), "PING\r\n", "+PONG\r\n", PATIENCE).is_some());
    });
}

/// A Redis that keeps nothing.
pub(crate) struct Redis {
    pub(crate) program: Program,
    _scratch: Scratch,
}

impl Redis {
    /// Starts it on `host`, where it listens at every address, `address` among them.
    pub(crate) fn start(host: &Namespace, address: IpAddr, tcp_keepalive: u32) -> Self {
        let scratch = Scratch::new(host);
        let config = scratch.write(
            "redis.conf",
            &format!(
                "bind 0.0.0.0
                port {PORT}
                protected-mode no
                daemonize no
                save \"\"
                appendonly no
                dir {}
                tcp-keepalive {tcp_keepalive}
                ",
                scratch.path("")
            ),
        );
        let at = (host, SocketAddr::new(address, PORT));
        let program = Program::serve(at, &scratch, "redis-server", &[&config]);
        Self {
            program,
            _scratch: scratch,
        }
    }
}

/// An administrator at the console of Redis' host.
struct Admin(BufReader<TcpStream>);

impl Admin {
    fn connect(host: &Namespace, address: IpAddr) -> Self {
        let stream = host.enter(|| TcpStream::connect((address, PORT)));
        let stream = stream.expect("Redis listens");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("five seconds are a valid timeout");
        Self(BufReader::new(stream))
    }

    fn ask(&mut self, command: &str) -> String {
        let stream = self.0.get_mut();
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .expect("it is connected");
        self.line()
    }

    /// How many clients Redis believes it has, beside this one.
    fn clients(&mut self) -> usize {
        // A bulk string: its length, and its lines.
        let length = self.ask("CLIENT LIST");
        let mut left: usize = length
            .strip_prefix('$')
            .and_then(|it| it.parse().ok())
            .expect("it is the length of a list");
        let mut clients = 0_usize;
        while left > 0 {
            let line = self.line();
            left = left.saturating_sub(line.len() + 1);
            clients += 1;
        }
        assert_eq!(self.line(), "");
        clients.saturating_sub(1)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("Redis answers");
        line.trim_end().to_owned()
    }
}
