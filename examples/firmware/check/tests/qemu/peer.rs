//! The host at the other end of the cable: a network namespace of this machine's kernel.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::PATIENCE;
use crate::lab::Namespace;

/// The name of the TAP device.
pub(crate) const TAP: &str = "fw0";
/// The addresses of the host and of the firmware, and their ports: as the firmware has them unless
/// it is told otherwise.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const HOST_PORT: u16 = 7000;
const FIRMWARE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 7);

const HELLO: &[u8] = b"hello from the firmware\n";
/// How often it is looked again for what may come.
const PERIOD: Duration = Duration::from_millis(20);

/// A host with a cable, which has no address yet.
pub(crate) fn unaddressed() -> Namespace {
    let host = Namespace::new();
    host.ip(&format!("tuntap add {TAP} mode tap"));
    host.ip(&format!("link set {TAP} up"));
    host
}

pub(crate) fn give_address(host: &Namespace) {
    host.ip(&format!("addr add {HOST}/24 dev {TAP}"));
}

/// What the firmware's client connects to. The test need not wait for it: it is in the backlog.
pub(crate) fn listen() -> TcpListener {
    let listener = TcpListener::bind((HOST, HOST_PORT)).expect("the address is the host's");
    listener
        .set_nonblocking(true)
        .expect("it is a socket like any other");
    listener
}

/// The firmware's client, which says hello.
pub(crate) fn accept(listener: &TcpListener, limit: Duration) -> Result<(TcpStream, u16), String> {
    let deadline = Instant::now() + limit;
    loop {
        match listener.accept() {
            Ok((stream, SocketAddr::V4(address))) => {
                let mut stream = patient(stream)?;
                let mut hello = [0; HELLO.len()];
                stream.read_exact(&mut hello).map_err(|it| it.to_string())?;
                return if hello == HELLO {
                    Ok((stream, address.port()))
                } else {
                    Err(format!("it says {}", hello.escape_ascii()))
                };
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < deadline => {
                thread::sleep(PERIOD);
            }
            Err(error) => return Err(error.to_string()),
            Ok((_, SocketAddr::V6(address))) => return Err(format!("{address} connects")),
        }
    }
}

/// A client of one of the firmware's servers.
pub(crate) fn connect() -> Result<TcpStream, String> {
    let stream = TcpStream::connect_timeout(&FIRMWARE.into(), PATIENCE);
    patient(stream.map_err(|error| error.to_string())?)
}

/// `Ok` if the firmware has no socket to spare.
pub(crate) fn is_refused() -> Result<(), String> {
    match TcpStream::connect_timeout(&FIRMWARE.into(), PATIENCE) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(_) => Err("it is accepted".into()),
    }
}

/// Has the server send something back.
pub(crate) fn exchange(stream: &mut TcpStream) -> Result<(), String> {
    let text = b"is there an echo?";
    let mut echo = [0; 17];
    stream
        .write_all(text)
        .and_then(|()| stream.read_exact(&mut echo))
        .map_err(|error| error.to_string())?;
    if &echo == text {
        Ok(())
    } else {
        Err(format!("it says {}", echo.escape_ascii()))
    }
}

/// `Ok` if the connection was reset by the firmware.
pub(crate) fn was_reset(stream: &mut TcpStream) -> Result<(), String> {
    match stream.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(error.to_string()),
        Ok(len) => Err(format!("{len} octets were read")),
    }
}

/// Cuts the network: from now on no segment of `host`'s leaves it. What arrives, arrives, so that it
/// can be seen.
pub(crate) fn cut(host: &Namespace) {
    host.nft(
        "table inet silence {
            chain output {
                type filter hook output priority filter
                meta l4proto tcp drop
            }
        }",
    );
}

pub(crate) fn mend(host: &Namespace) {
    host.nft("delete table inet silence");
}

fn patient(stream: TcpStream) -> Result<TcpStream, String> {
    stream
        .set_nonblocking(false)
        .and_then(|()| stream.set_read_timeout(Some(PATIENCE)))
        .map_err(|error| error.to_string())?;
    Ok(stream)
}
