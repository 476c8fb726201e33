//! The command line.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time;

use smoltcp::time::Duration;
use smoltcp::wire::{EthernetAddress, IpCidr};
use tcp_keepalive::{Config, ConfigError, ProbePayload};

use super::clock::any_port;

pub(crate) const HELP: &str = "\
A smoltcp client with keep-alive, talking to a TCP server over a TAP device.

Usage: linux_peer [options] <tap> <address> <port>

Keep-alive (a duration is a number and ms, s, m or h; without a unit, seconds):
  --idle <duration>          silence before the first probe [10s]
  --interval <duration>      time from one probe to the next, and to the verdict [2s]
  --count <number>           unanswered probes that decide, 2 to 255 [3]
  --user-timeout <duration>  how long data may stay unacknowledged [for ever]
  --garbage                  probes carry one garbage octet

Connection:
  --local <address>/<prefix> our own address [number 100 (IPv4: .100, IPv6: ::100)
                             of the /24 or /64 network of the gateway, if there
                             is one, or else of the peer]
  --gateway <address>        the router on the way to a peer in another network
  --source-port <port>       our port [any from 49152 on]
  --timestamps               offer TCP timestamps
  --send <text>              a line to send once connected
  --for <duration>           close the connection after this long [never]

The device is made once, by root; the user it is made for can then run this
without being root:

  sudo ip tuntap add tap0 mode tap user $USER
  sudo ip addr add 192.0.2.1/24 dev tap0
  sudo ip addr add 2001:db8::1/64 dev tap0 nodad
  sudo ip link set tap0 up

With a server on it, for instance `nc -l -p 7000`, run

  linux_peer tap0 192.0.2.1 7000

and while it runs

  the peer falls silent      sudo ip addr del 192.0.2.1/24 dev tap0
  it comes back              sudo ip addr add 192.0.2.1/24 dev tap0
  nothing can be sent        sudo ip link set tap0 down
  we sleep                   stop this with ^Z, and go on with `fg`

Exit status:
  0  the connection was closed by the peer, or after --for
  1  there is no device or no connection; stderr says why
  2  the command line is wrong; stderr says where
  3  a verdict: the peer was given up
  4  the peer reset the connection
";

/// The command line as it was given.
pub(crate) struct Arguments {
    idle: time::Duration,
    interval: time::Duration,
    count: u8,
    payload: ProbePayload,
    user_timeout: Option<time::Duration>,
    local: Option<IpCidr>,
    gateway: Option<IpAddr>,
    source_port: Option<u16>,
    has_timestamps: bool,
    send: Vec<u8>,
    run_for: Option<time::Duration>,
    positional: Vec<OsString>,
}

impl Arguments {
    /// `None` if it is help that is wanted.
    pub(crate) fn parse(mut parser: lexopt::Parser) -> Result<Option<Self>, lexopt::Error> {
        use lexopt::Arg::{Long, Short, Value};

        let mut given = Self {
            idle: time::Duration::from_secs(10),
            interval: time::Duration::from_secs(2),
            count: 3,
            payload: ProbePayload::Empty,
            user_timeout: None,
            local: None,
            gateway: None,
            source_port: None,
            has_timestamps: false,
            send: Vec::new(),
            run_for: None,
            positional: Vec::new(),
        };
        while let Some(argument) = parser.next()? {
            let option = match argument {
                Short('h') | Long("help") => return Ok(None),
                Value(value) => {
                    given.positional.push(value);
                    continue;
                }
                Long(option) => option.to_owned(),
                other @ Short(_) => return Err(other.unexpected()),
            };
            let mut value = || text(parser.value()?);
            match option.as_str() {
                "idle" => given.idle = duration("--idle", &value()?)?,
                "interval" => given.interval = duration("--interval", &value()?)?,
                "count" => given.count = parse("--count", "a number from 2 to 255", &value()?)?,
                "user-timeout" => {
                    given.user_timeout = Some(duration("--user-timeout", &value()?)?);
                }
                "garbage" => given.payload = ProbePayload::GarbageOctet,
                "local" => given.local = Some(cidr(&value()?)?),
                "gateway" => given.gateway = Some(parse("--gateway", "an IP address", &value()?)?),
                "source-port" => given.source_port = Some(port("--source-port", &value()?)?),
                "timestamps" => given.has_timestamps = true,
                "send" => given.send = [value()?.as_bytes(), b"\n"].concat(),
                "for" => given.run_for = Some(duration("--for", &value()?)?),
                _ => return Err(Long(&option).unexpected()),
            }
        }
        Ok(Some(given))
    }

    fn keep_alive(&self) -> Result<Config, ConfigError> {
        let config = Config::new(self.idle, self.interval, self.count)?;
        let config = config.with_payload(self.payload);
        match self.user_timeout {
            Some(user_timeout) => config.with_user_timeout(user_timeout),
            None => Ok(config),
        }
    }
}

/// What the command line says, once it is known to make sense.
pub(crate) struct Options {
    pub(crate) tap: String,
    pub(crate) peer: SocketAddr,
    pub(crate) local: IpCidr,
    pub(crate) gateway: Option<IpAddr>,
    pub(crate) source_port: u16,
    pub(crate) keep_alive: Config,
    pub(crate) has_timestamps: bool,
    pub(crate) send: Vec<u8>,
    pub(crate) run_for: Option<Duration>,
}

impl Options {
    pub(crate) fn new(given: Arguments) -> Result<Self, lexopt::Error> {
        let keep_alive = given
            .keep_alive()
            .map_err(|error| format!("no such keep-alive: {error}"))?;
        let Ok([tap, address, number]) = <[_; 3]>::try_from(given.positional) else {
            return Err("expected a device, an address and a port".into());
        };
        let tap = tap_name(text(tap)?)?;
        let address = parse("the address", "an IP address", &text(address)?)?;
        let number = port("the port", &text(number)?)?;
        Ok(Self {
            tap,
            peer: SocketAddr::new(address, number),
            local: local_address(given.local, address, given.gateway)?,
            gateway: given.gateway,
            source_port: given.source_port.unwrap_or_else(any_port),
            keep_alive,
            has_timestamps: given.has_timestamps,
            send: given.send,
            run_for: given.run_for.map(Duration::from),
        })
    }

    /// One of the addresses that anybody may use on a network of their own, made from the IP
    /// address so that several clients on one bridge differ.
    pub(crate) fn hardware_address(&self) -> EthernetAddress {
        let [a, b, c, d] = match IpAddr::from(self.local.address()) {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => {
                let [.., a, b, c, d] = address.octets();
                [a, b, c, d]
            }
        };
        EthernetAddress([2, 0, a, b, c, d])
    }
}

/// Our own address: the one that was asked for, if it can reach the peer, or one in the network
/// of the next hop.
fn local_address(
    asked_for: Option<IpCidr>,
    peer: IpAddr,
    gateway: Option<IpAddr>,
) -> Result<IpCidr, lexopt::Error> {
    let next_hop = gateway.unwrap_or(peer);
    let local = asked_for.unwrap_or_else(|| neighbor(peer, next_hop));
    let address = IpAddr::from(local.address());
    if peer.is_loopback() || peer.is_multicast() || peer.is_unspecified() {
        return Err(format!("{peer} is no address on a TAP device; see `ip addr`").into());
    }
    if [address, next_hop]
        .iter()
        .any(|it| it.is_ipv4() != peer.is_ipv4())
    {
        return Err("expected the peer, --local and --gateway to be all IPv4 or all IPv6".into());
    }
    if !local.contains_addr(&next_hop.into()) {
        let hint = match gateway {
            Some(_) => "another --local",
            None => "a --gateway",
        };
        return Err(format!("{next_hop} is not in our network, {local}; give {hint}").into());
    }
    if [peer, next_hop].contains(&address) {
        return Err(format!("{address} is taken; give another --local").into());
    }
    Ok(local)
}

/// Number 100 of the network that `next_hop` is in, or 101 if that is taken.
fn neighbor(peer: IpAddr, next_hop: IpAddr) -> IpCidr {
    let with_number = |number| match next_hop {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            IpAddr::from([a, b, c, number])
        }
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            // The number is written in hexadecimal there: ::100.
            let last = if number == 100 { 0x100 } else { 0x101 };
            IpAddr::from([a, b, c, d, 0, 0, 0, last])
        }
    };
    let first = with_number(100);
    let is_taken = [peer, next_hop].contains(&first);
    let address = if is_taken { with_number(101) } else { first };
    IpCidr::new(address.into(), if address.is_ipv4() { 24 } else { 64 })
}

fn text(value: OsString) -> Result<String, lexopt::Error> {
    value.into_string().map_err(lexopt::Error::NonUnicodeValue)
}

fn parse<T: FromStr>(option: &str, expected: &str, value: &str) -> Result<T, lexopt::Error> {
    value
        .parse()
        .map_err(|_| format!("invalid {option} `{value}`: expected {expected}").into())
}

fn cidr(value: &str) -> Result<IpCidr, lexopt::Error> {
    let cidr: IpCidr = parse("--local", "an address such as 192.0.2.100/24", value)?;
    if cidr.address().is_unicast() {
        Ok(cidr)
    } else {
        Err(format!("invalid --local `{value}`: expected the address of a host").into())
    }
}

fn port(option: &str, value: &str) -> Result<u16, lexopt::Error> {
    let port: NonZeroU16 = parse(option, "a number from 1 to 65535", value)?;
    Ok(port.get())
}

fn tap_name(name: String) -> Result<String, lexopt::Error> {
    // IFNAMSIZ, which counts a zero at the end.
    if (1..16).contains(&name.len()) && !name.contains('/') && !name.starts_with('.') {
        Ok(name)
    } else {
        Err(format!("`{name}` cannot be the name of a device").into())
    }
}

fn duration(option: &str, value: &str) -> Result<time::Duration, lexopt::Error> {
    let unit_at = value.find(|it: char| !it.is_ascii_digit());
    let (number, unit) = value.split_at(unit_at.unwrap_or(value.len()));
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let number: Option<u64> = number.parse().ok();
    number
        .and_then(|number| number.checked_mul(millis_per_unit))
        .filter(|millis| *millis > 0 && *millis < u64::from(u32::MAX) * 1_000)
        .map(time::Duration::from_millis)
        .ok_or_else(|| {
            let expected = "a duration such as 10s or 500ms";
            format!("invalid {option} `{value}`: expected {expected}").into()
        })
}
