//! HTTP calls its reuse of connections keep-alive, which is another thing.

use std::net::SocketAddr;

use smoltcp::socket::tcp;
use tcp_keepalive::Event;
use tcp_keepalive::smoltcp::CloseReason;

use crate::client::{Client, HOST_V4, wall_clock};
use crate::lab::{Namespace, is_ready};
use crate::program::{Program, Scratch};
use crate::wire::assert_near;
use crate::{PATIENCE, SECOND, ask, quick};

const PORT: u16 = 8080;
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: 192.0.2.1\r\n\r\n";
const ANSWER: &str = "all is well\n";

/// nginx ends a connection by a FIN when its `keepalive_timeout` of 3 s is over, although it
/// answered our probes; a request every 2 s keeps another open.
#[test]
fn nginx_closes_an_idle_connection_whatever_our_probes_say() {
    const KEEPALIVE_TIMEOUT: u32 = 3;
    if !is_ready(&["nginx"]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let scratch = Scratch::new(&host);
        let _nginx = start(&host, &scratch, KEEPALIVE_TIMEOUT);
        let [idle, asking] = [(); 2].map(|()| {
            let handle = client.add_socket(false);
            client.enable(handle, quick());
            client.dial(handle, SocketAddr::new(HOST_V4, PORT));
            handle
        });
        let request = |client: &mut Client, handle| {
            let answer = ask((client, handle), REQUEST, ANSWER, PATIENCE);
            let answer = answer.expect("nginx answers");
            assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        };
        request(&mut client, idle);
        let answered = wall_clock();
        request(&mut client, asking);

        client.run_for(2 * SECOND);
        request(&mut client, asking);
        client.run_until("a FIN", PATIENCE, |client| {
            client.state(idle) != tcp::State::Established
        });
        let waited = wall_clock().duration_since(answered).unwrap_or_default();
        assert_eq!(client.state(idle), tcp::State::CloseWait);
        println!("nginx closed the idle connection after {waited:.1?}");
        assert_near(waited, KEEPALIVE_TIMEOUT * SECOND, "the FIN");
        let stats = client.stats(idle);
        assert!(stats.probes_answered >= 2, "{stats:?}");
        assert_eq!(stats.verdicts, 0);

        client.socket(idle).close();
        client.run_for(SECOND);
        assert_eq!(client.close_reason(idle), Some(CloseReason::Closed));
        request(&mut client, asking);
        client.run_for(2 * SECOND);
        request(&mut client, asking);
        let events: Vec<_> = client.events().iter().map(|it| it.event).collect();
        assert_eq!(events, [Event::Closed]);
    });
}

fn start(host: &Namespace, scratch: &Scratch, keepalive_timeout: u32) -> Program {
    // Where nginx puts what it has no room for, asked for or not.
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|it| format!("{it}_temp_path {};\n", scratch.path(it)))
        .concat();
    let config = scratch.write(
        "nginx.conf",
        &format!(
            "daemon off;
            master_process off;
            pid {};
            error_log stderr;
            events {{ }}
            http {{
                access_log off;
                {temporary}
                keepalive_timeout {keepalive_timeout}s;
                server {{
                    listen {HOST_V4}:{PORT};
                    location / {{ return 200 \"{}\"; }}
                }}
            }}
            ",
            scratch.path("nginx.pid"),
            ANSWER.escape_debug(),
        ),
    );
    let at = (host, SocketAddr::new(HOST_V4, PORT));
    Program::serve(at, scratch, "nginx", &["-c", &config])
}
