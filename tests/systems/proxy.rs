//! A proxy is the peer of our TCP; the server behind it is not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use smoltcp::socket::tcp;

use crate::client::{Client, HOST_V4, wall_clock};
use crate::lab::{Namespace, is_ready};
use crate::program::{Program, Scratch};
use crate::redis::Redis;
use crate::wire::assert_near;
use crate::{PATIENCE, REQUEST_TIMEOUT, SECOND, ask, assert_alive, quick};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
const BACKEND: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
/// As HAProxy is often set up, and with health checks that end the sessions of a dead server.
const PLAIN: u16 = 7000;
const CHECKED: u16 = 7001;
/// As it is set up where connections are many.
const IMPATIENT: u16 = 7002;

/// HAProxy answers our probes for a backend that has lost its power: the keep-alive says alive, a
/// request says dead; and where HAProxy checks its backend, it tells us by closing the connection.
#[test]
fn haproxy_answers_probes_for_a_dead_backend() {
    if !is_ready(&["haproxy", "redis-server"]) {
        return;
    }
    let host = Namespace::new();
    let backend = Namespace::new();
    host.cable(&backend, "lan", [PROXY, BACKEND]);
    let _redis = Redis::start(&backend, BACKEND, 0);
    host.enter(|| {
        let mut client = Client::new(&host);
        let scratch = Scratch::new(&host);
        let _proxy = start(&host, &scratch);
        let [plain, checked] = [PLAIN, CHECKED].map(|port| {
            let handle = client.add_socket(false);
            client.enable(handle, quick());
            client.dial(handle, SocketAddr::new(HOST_V4, port));
            assert!(ask((&mut client, handle), "PING\r\n", "+PONG\r\n", PATIENCE).is_some());
            handle
        });

        // The plug is pulled: no FIN, no RST.
        backend.ip("link set lan down");
        let died = wall_clock();
        client.run_until("the proxy closes", 4 * SECOND, |client| {
            client.state(checked) != tcp::State::Established
        });
        let took = wall_clock().duration_since(died).unwrap_or_default();
        println!("health checks told us {took:.1?} after the backend died");

        client.run_for(quick().detection_time() + SECOND);
        assert_alive(&client, plain, 4);
        let answer = ask(
            (&mut client, plain),
            "PING\r\n",
            "+PONG\r\n",
            REQUEST_TIMEOUT,
        );
        assert_eq!(answer, None);
        // The proxy has it.
        assert_eq!(client.socket(plain).send_queue(), 0);
        assert_alive(&client, plain, 5);
    });
}

/// HAProxy counts data and no probes: its `timeout client` of 3 s ends a connection whose probes it
/// answered; a request every 2 s keeps another open.
#[test]
fn haproxy_timeout_is_not_put_off_by_probes() {
    if !is_ready(&["haproxy", "redis-server"]) {
        return;
    }
    let host = Namespace::new();
    let backend = Namespace::new();
    host.cable(&backend, "lan", [PROXY, BACKEND]);
    let _redis = Redis::start(&backend, BACKEND, 0);
    host.enter(|| {
        let mut client = Client::new(&host);
        let scratch = Scratch::new(&host);
        let _proxy = start(&host, &scratch);
        let [idle, asking] = [(); 2].map(|()| {
            let handle = client.add_socket(false);
            client.enable(handle, quick());
            client.dial(handle, SocketAddr::new(HOST_V4, IMPATIENT));
            handle
        });
        let request = |client: &mut Client, handle| {
            let answer = ask((client, handle), "PING\r\n", "+PONG\r\n", PATIENCE);
            assert!(answer.is_some());
        };
        request(&mut client, idle);
        let answered = wall_clock();
        request(&mut client, asking);

        client.run_for(2 * SECOND);
        request(&mut client, asking);
        client.run_until("the proxy closes", PATIENCE, |client| {
            client.state(idle) != tcp::State::Established
        });
        let waited = wall_clock().duration_since(answered).unwrap_or_default();
        assert_eq!(client.state(idle), tcp::State::CloseWait);
        println!("HAProxy closed the idle connection after {waited:.1?}");
        assert_near(waited, 3 * SECOND, "the FIN");
        assert!(client.stats(idle).probes_answered >= 2);
        assert_eq!(client.stats(idle).verdicts, 0);

        client.run_for(SECOND);
        request(&mut client, asking);
        assert_eq!(client.state(asking), tcp::State::Established);
    });
}

fn start(host: &Namespace, scratch: &Scratch) -> Program {
    let config = scratch.write(
        "haproxy.cfg",
        &format!(
            "defaults
                mode tcp
                timeout connect 1s
                timeout client 1h
                timeout server 1h
                timeout check 500ms
            listen plain
                bind {HOST_V4}:{PLAIN}
                server backend {BACKEND}:6379
            listen impatient
                timeout client 3s
                timeout server 3s
                bind {HOST_V4}:{IMPATIENT}
                server backend {BACKEND}:6379
            listen checked
                bind {HOST_V4}:{CHECKED}
                server backend {BACKEND}:6379 check inter 500ms fall 2 on-marked-down shutdown-sessions\n"
        ),
    );
    let at = (host, SocketAddr::new(HOST_V4, CHECKED));
    Program::serve(at, scratch, "haproxy", &["-db", "-f", &config])
}
