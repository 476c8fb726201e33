//! The other end of a recorded conversation: the kernel, and applications that it serves.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use smoltcp::time::Instant;

use crate::lab::Namespace;
use crate::recorded::{Scene, Theirs};
use crate::twins::Setup;
use crate::twins::station::{CONNECTIONS, DATAGRAMS, FIRST_PORT, SERVICE};

/// Small, so that the window can be closed with little: the least that the kernel takes.
const RECEIVE_BUFFER: usize = 2048;
const SECOND: Duration = Duration::from_secs(1);

/// Does what the scene says, and reads what arrives.
pub(crate) struct Peer {
    acts: VecDeque<(Instant, Theirs)>,
    setup: Setup,
    listener: Option<TcpListener>,
    streams: [Option<TcpStream>; CONNECTIONS],
    /// An echo service.
    datagrams: UdpSocket,
    /// Not of UDP, but it sends what it is given.
    pings: UdpSocket,
    reads: bool,
    /// What the wire loses on the way to the device, and from there, in percent.
    pub(crate) inbound_loss: u8,
    pub(crate) outbound_loss: u8,
}

impl Peer {
    /// To be called from within `host`, which has its addresses.
    pub(crate) fn new(scene: &Scene, host: &Namespace) -> Self {
        let mut acts: Vec<_> = scene
            .theirs
            .iter()
            .map(|(millis, act)| (Scene::at(*millis), *act))
            .collect();
        acts.sort_by_key(|(at, _)| *at);
        let setup = scene.setup;
        let own = IpAddr::from(setup.address(2));
        let listener = (!setup.passive).then(|| listen(SocketAddr::new(own, SERVICE)));
        let datagrams = UdpSocket::bind((own, DATAGRAMS)).expect("the address is the host's");
        datagrams
            .set_nonblocking(true)
            .expect("it is a socket like any other");
        host.sysctl("ipv4/ping_group_range", "0 0");
        let (family, protocol) = if setup.ipv6 {
            (AddressFamily::INET6, ipproto::ICMPV6)
        } else {
            (AddressFamily::INET, ipproto::ICMP)
        };
        let pings = net::socket(family, SocketType::DGRAM, Some(protocol));
        Self {
            acts: acts.into(),
            setup,
            listener,
            streams: [None, None],
            datagrams,
            pings: pings.expect("root may ping").into(),
            reads: true,
            inbound_loss: 0,
            outbound_loss: 0,
        }
    }

    /// When there is something to do next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.acts.front().map(|(at, _)| *at)
    }

    /// Does what is due by now.
    pub(crate) fn act(&mut self, now: Instant) {
        self.serve();
        while let Some((at, act)) = self.acts.front().copied()
            && at <= now
        {
            self.acts.pop_front();
            self.perform(act);
        }
    }

    fn perform(&mut self, act: Theirs) {
        match act {
            Theirs::Connect(index) => *self.slot(index) = Some(self.connect(index)),
            Theirs::Write { index, len } => {
                let data: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
                let written = self.stream(index).write(&data);
                assert_eq!(written.expect("it is connected"), data.len());
            }
            Theirs::Read(reads) => self.reads = reads,
            Theirs::KeepAlive(on) => {
                for stream in self.streams.iter().flatten() {
                    sockopt::set_tcp_keepidle(stream, SECOND)
                        .and_then(|()| sockopt::set_tcp_keepintvl(stream, SECOND))
                        .and_then(|()| sockopt::set_socket_keepalive(stream, on))
                        .expect("the times are valid");
                }
            }
            Theirs::Ping => self.ping(),
            Theirs::Datagram(len) => {
                let device = SocketAddr::new(self.setup.address(1).into(), DATAGRAMS);
                let sent = self.datagrams.send_to(&vec![0x33; len.into()], device);
                assert_eq!(sent.expect("the device is on the link"), usize::from(len));
            }
            Theirs::Close(index) => {
                let closed = self.stream(index).shutdown(Shutdown::Write);
                closed.expect("it is connected");
            }
            Theirs::Reset(index) => {
                let stream = self.slot(index).take().expect("it is connected");
                sockopt::set_socket_linger(&stream, Some(Duration::ZERO))
                    .expect("it is a socket like any other");
            }
            Theirs::Lose { inbound, outbound } => {
                (self.inbound_loss, self.outbound_loss) = (inbound, outbound);
            }
        }
    }

    fn slot(&mut self, index: u8) -> &mut Option<TcpStream> {
        let slot = self.streams.get_mut(usize::from(index));
        slot.expect("each end has two connections")
    }

    fn stream(&mut self, index: u8) -> &mut TcpStream {
        self.slot(index).as_mut().expect("it is connected")
    }

    /// Connects to the device, which answers only when this has returned.
    fn connect(&self, index: u8) -> TcpStream {
        let [own, device] = [2, 1].map(|last| IpAddr::from(self.setup.address(last)));
        let family = if self.setup.ipv6 {
            AddressFamily::INET6
        } else {
            AddressFamily::INET
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket: OwnedFd =
            net::socket_with(family, SocketType::STREAM, flags, None).expect("sockets can be made");
        sockopt::set_socket_recv_buffer_size(&socket, RECEIVE_BUFFER).expect("the size is valid");
        let port = FIRST_PORT + u16::from(index);
        net::bind(&socket, &SocketAddr::new(own, port)).expect("the port is free");
        let begun = net::connect(&socket, &SocketAddr::new(device, SERVICE));
        assert_eq!(begun, Err(Errno::INPROGRESS));
        socket.into()
    }

    fn ping(&self) {
        // The kernel adds the identifier and the checksum.
        let kind = if self.setup.ipv6 { 128 } else { 8 };
        let request = [kind, 0, 0, 0, 0, 0, 0, 1, b'p', b'i', b'n', b'g'];
        let device = SocketAddr::new(self.setup.address(1).into(), 0);
        let sent = self.pings.send_to(&request, device);
        assert_eq!(sent.expect("the device is on the link"), request.len());
    }

    /// Accepts what connects, reads what arrives, and echoes datagrams.
    fn serve(&mut self) {
        while let Some(listener) = &self.listener
            && let Ok((stream, device)) = listener.accept()
        {
            stream
                .set_nonblocking(true)
                .expect("it is a socket like any other");
            *self.slot(u8::from(device.port() != FIRST_PORT)) = Some(stream);
        }
        if self.reads {
            for stream in self.streams.iter_mut().flatten() {
                drain(stream);
            }
        }
        let mut datagram = [0; 2048];
        while let Ok((len, device)) = self.datagrams.recv_from(&mut datagram) {
            let received = datagram.get(..len).unwrap_or_default();
            let echoed = self.datagrams.send_to(received, device);
            assert_eq!(echoed.expect("the device is on the link"), len);
        }
    }
}

fn listen(address: SocketAddr) -> TcpListener {
    let listener = TcpListener::bind(address).expect("the address is the host's");
    listener
        .set_nonblocking(true)
        .expect("it is a socket like any other");
    sockopt::set_socket_recv_buffer_size(&listener, RECEIVE_BUFFER).expect("the size is valid");
    listener
}

/// Reads all there is.
fn drain(stream: &mut TcpStream) {
    let mut data = [0; 4096];
    loop {
        match stream.read(&mut data) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Nothing for now, or for ever.
            Err(_) => return,
        }
    }
}
