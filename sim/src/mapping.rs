//! What a middlebox knows of the connections that pass through it.

use core::time::Duration;

use ::smoltcp::phy::Medium;
use ::smoltcp::wire::{EthernetFrame, IpEndpoint};

use super::node::Turn;
use super::trace::Happening;
use super::wire::{Macs, Segment};
use super::{Frame, Port};
use crate::Instant;

/// How long a connection may be idle, by where it is in its life, before a middlebox forgets it.
///
/// Idle is the time since the last segment was passed on, in either direction; a keep-alive probe
/// is a segment as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the SYN until the handshake's third segment.
    pub opening: Duration,
    /// From then on.
    pub established: Duration,
    /// After a FIN or an RST of either side. A connection whose RST was not taken (RFC 5961 3.2)
    /// is established again with the next segment.
    pub closing: Duration,
}

impl Timeouts {
    /// The least that RFC 5382 (REQ-5) allows a NAT: "the 'established connection idle-timeout'
    /// MUST NOT be less than 2 hours 4 minutes", and the "transitory" one, of connections that are
    /// opening or closing, not less than 4 minutes. RFC 7857 2.2 has it wait 4 minutes after an
    /// RST too.
    pub const RFC5382: Self = Self {
        opening: Duration::from_secs(240),
        established: Duration::from_secs(7440),
        closing: Duration::from_secs(240),
    };

    /// 350 s: the fixed idle timeout of an AWS NAT gateway (*Amazon VPC User Guide*,
    /// "Troubleshoot NAT gateways"), and the default of a Network Load Balancer. One timeout is
    /// published, and stands here for all three.
    pub const AWS: Self = Self::all(Duration::from_secs(350));

    /// 4 minutes: the default of Azure's load balancer and NAT gateway (*Azure Load Balancer TCP
    /// Reset and Idle Timeout*). One timeout is published, and stands here for all three.
    pub const AZURE: Self = Self::all(Duration::from_secs(240));

    /// Sets one timeout for the whole life of a connection.
    #[must_use]
    pub const fn all(idle: Duration) -> Self {
        Self {
            opening: idle,
            established: idle,
            closing: idle,
        }
    }
}

/// What becomes of a segment whose connection is not, or no longer, known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It is dropped, and its sender left to find out.
    Silently,
    /// It is answered with RST, in the receiver's name (RFC 9293 3.10.7.1). Nothing is
    /// sent at the moment at which a mapping expires.
    WithReset,
}

/// What a middlebox remembers of connections, and for how long: its mappings.
///
/// ```
/// use core::time::Duration;
/// use tcp_keepalive_sim::{Expiry, Mappings, Timeouts};
///
/// let home_router = Mappings {
///     timeouts: Timeouts::all(Duration::from_secs(60)),
///     ..Mappings::RFC5382
/// };
/// assert_eq!(home_router.expiry, Expiry::Silently);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mappings {
    /// How long.
    pub timeouts: Timeouts,
    /// What comes after.
    pub expiry: Expiry,
    /// How many connections, at least one. If one more is opened, that which has been idle
    /// longest goes.
    pub limit: usize,
}

impl Mappings {
    /// How many connections the presets remember.
    pub const LIMIT: usize = 1024;

    /// As RFC 5382 wants it: [`Timeouts::RFC5382`], silently.
    pub const RFC5382: Self = Self::new(Timeouts::RFC5382, Expiry::Silently);

    /// [`Timeouts::AWS`]; then, as the same pages say, an RST to the side that goes on, and nothing
    /// before that.
    pub const AWS: Self = Self::new(Timeouts::AWS, Expiry::WithReset);

    /// [`Timeouts::AZURE`]; the load balancer's "default behavior is to silently drop flows when
    /// the idle timeout of a flow is reached". (It can be told to reset them, and the NAT gateway
    /// does: that is [`Expiry::WithReset`].)
    pub const AZURE: Self = Self::new(Timeouts::AZURE, Expiry::Silently);

    /// Makes rules for up to [`LIMIT`](Self::LIMIT) connections, for so long.
    #[must_use]
    pub const fn new(timeouts: Timeouts, expiry: Expiry) -> Self {
        Self {
            timeouts,
            expiry,
            limit: Self::LIMIT,
        }
    }
}

/// A side of a middlebox: its first port, or its second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Inside,
    Outside,
}

impl Side {
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Inside => 0,
            Self::Outside => 1,
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }

    fn port<'t>(self, turn: &'t mut Turn<'_>) -> Option<&'t mut Port> {
        turn.ports.get_mut(self.index())
    }

    /// Sends a frame there.
    pub(super) fn send(self, turn: &mut Turn<'_>, bytes: Vec<u8>) -> Result<(), &'static str> {
        let port = self.port(turn).ok_or("nothing is linked there")?;
        let was_room = port.send_frame(bytes);
        was_room.then_some(()).ok_or("no room to send it")
    }
}

/// Hands over all that has arrived, the inside's first, and has the trace know why a frame goes no
/// further.
pub(super) fn take_all(
    turn: &mut Turn<'_>,
    mut take: impl FnMut(Side, &Frame, &mut Turn<'_>) -> Result<(), &'static str>,
) {
    for side in [Side::Inside, Side::Outside] {
        while let Some(frame) = side.port(turn).and_then(Port::receive_frame) {
            if let Err(why) = take(side, &frame, turn) {
                turn.refuse(frame.id, why);
            }
        }
    }
}

/// Which connection, by what its ends call themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) inside: IpEndpoint,
    pub(super) outside: IpEndpoint,
}

impl Connection {
    /// That of a segment which came from there.
    pub(super) fn of(segment: &Segment, from: Side) -> Self {
        let src = IpEndpoint::new(segment.src_addr, segment.src_port);
        let dst = IpEndpoint::new(segment.dst_addr, segment.dst_port);
        let (inside, outside) = match from {
            Side::Inside => (src, dst),
            Side::Outside => (dst, src),
        };
        Self { inside, outside }
    }
}

/// It opens a connection, and can be believed.
pub(super) const fn is_opening(segment: &Segment) -> bool {
    is_intact(segment) && segment.syn && segment.ack.is_none() && !segment.rst && !segment.fin
}

/// Of a damaged segment nothing can be believed.
const fn is_intact(segment: &Segment) -> bool {
    segment.checksum_ok && segment.ip_checksum_ok
}

/// The connections that are known, in the order in which they were opened.
#[derive(Clone, Debug)]
pub(super) struct Table {
    rules: Mappings,
    entries: Vec<Mapping>,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    connection: Connection,
    /// The inside end's port, as the outside knows it.
    public_port: u16,
    phase: Phase,
    last_passed: Instant,
}

/// Where a connection is in its life, as far as can be seen in passing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening { by: Side, is_answered: bool },
    Established,
    Closing,
    Reset,
}

impl Phase {
    const fn begun(by: Side) -> Self {
        Self::Opening {
            by,
            is_answered: false,
        }
    }

    fn after(self, segment: &Segment, from: Side) -> Self {
        let has_ack = segment.ack.is_some();
        match self {
            _ if segment.rst => Self::Reset,
            Self::Closing | Self::Reset if is_opening(segment) => Self::begun(from),
            _ if segment.fin => Self::Closing,
            Self::Opening { by, .. } if segment.syn && has_ack && from != by => Self::Opening {
                by,
                is_answered: true,
            },
            Self::Opening {
                by,
                is_answered: true,
            } if !segment.syn && has_ack && from == by => Self::Established,
            // One side goes on: the RST was not taken, being a stranger's (RFC 5961 3.2).
            Self::Reset if !segment.syn => Self::Established,
            as_before => as_before,
        }
    }
}

impl Mapping {
    fn expires_at(&self, timeouts: &Timeouts) -> Instant {
        self.last_passed.saturating_add(match self.phase {
            Phase::Opening { .. } => timeouts.opening,
            Phase::Established => timeouts.established,
            Phase::Closing | Phase::Reset => timeouts.closing,
        })
    }
}

impl Table {
    pub(super) const fn new(rules: Mappings) -> Self {
        Self {
            rules,
            entries: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// When the next mapping expires, if it stays idle.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let timeouts = &self.rules.timeouts;
        let moments = self.entries.iter().map(|entry| entry.expires_at(timeouts));
        moments.min()
    }

    /// Forgets what has been idle too long.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        let timeouts = self.rules.timeouts;
        self.entries.retain(|entry| {
            let is_alive = entry.expires_at(&timeouts) > turn.now;
            if !is_alive {
                let Connection { inside, outside } = entry.connection;
                turn.note(Happening::MappingExpired { inside, outside });
            }
            is_alive
        });
    }

    /// The port under which the outside knows the inside end of a connection, if it is known.
    pub(super) fn public_port(&self, connection: &Connection) -> Option<u16> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.connection == *connection)?;
        Some(entry.public_port)
    }

    /// The connection that the outside end knows by that port.
    pub(super) fn behind(&self, public_port: u16, outside: IpEndpoint) -> Option<Connection> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| {
            entry.public_port == public_port && entry.connection.outside == outside
        })?;
        Some(entry.connection)
    }

    /// Whether the outside knows any connection by that port.
    pub(super) fn uses(&self, public_port: u16) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.public_port == public_port)
    }

    /// Remembers a new connection, which that side opens now.
    pub(super) fn open(
        &mut self,
        connection: Connection,
        public_port: u16,
        by: Side,
        turn: &mut Turn<'_>,
    ) {
        while self.entries.len() >= self.rules.limit.max(1) {
            let entries = self.entries.iter().enumerate();
            let Some((idlest, _)) = entries.min_by_key(|(_, entry)| entry.last_passed) else {
                break;
            };
            let Connection { inside, outside } = self.entries.remove(idlest).connection;
            turn.note(Happening::MappingEvicted { inside, outside });
        }
        self.entries.push(Mapping {
            connection,
            public_port,
            phase: Phase::begun(by),
            last_passed: turn.now,
        });
    }

    /// A segment of a connection has been passed on.
    pub(super) fn passed(
        &mut self,
        connection: &Connection,
        segment: &Segment,
        from: Side,
        now: Instant,
    ) {
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|entry| entry.connection == *connection);
        if let (Some(entry), true) = (entry, is_intact(segment)) {
            entry.phase = entry.phase.after(segment, from);
            entry.last_passed = now;
        }
    }

    /// Answers a segment of a connection that is not known, if that is the rule.
    pub(super) fn answer_stranger(
        &self,
        segment: &Segment,
        frame: &Frame,
        from: Side,
        turn: &mut Turn<'_>,
    ) {
        if self.rules.expiry == Expiry::Silently || !is_intact(segment) {
            return;
        }
        let medium = from.port(turn).map(|port| port.medium());
        let macs = if medium == Some(Medium::Ethernet) {
            let Ok(header) = EthernetFrame::new_checked(&*frame.bytes) else {
                return;
            };
            if !header.dst_addr().is_unicast() {
                // A group has no host that could answer.
                return;
            }
            Some(Macs {
                src: header.dst_addr(),
                dst: header.src_addr(),
            })
        } else {
            None
        };
        if let Some(refusal) = segment.refusal() {
            // Without room it is as if the answer were lost.
            let _ = from.send(turn, refusal.emit(macs));
        }
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "any part of a random number will do"
)]
pub(super) mod testing;

#[cfg(test)]
mod tests {
    use ::smoltcp::wire::IpAddress;

    use super::super::Peer;
    use super::*;

    /// A segment with only these flags.
    fn segment(flags: &str) -> Segment {
        let mut peer = Peer::ip(IpAddress::v4(192, 0, 2, 2));
        let index = peer.connect(IpAddress::v4(192, 0, 2, 1), 7, false);
        let mut segment = peer.next_segment(index).unwrap();
        segment.syn = flags.contains('S');
        segment.fin = flags.contains('F');
        segment.rst = flags.contains('R');
        segment.ack = segment.ack.filter(|_| flags.contains('A'));
        segment
    }

    /// What the inside ('>') and the outside ('<') say, one after the other.
    fn phase_after(history: &[&str]) -> Phase {
        history
            .iter()
            .fold(Phase::begun(Side::Inside), |phase, said| {
                let from = if said.starts_with('>') {
                    Side::Inside
                } else {
                    Side::Outside
                };
                phase.after(&segment(said), from)
            })
    }

    /// The third segment of the handshake establishes, and none before.
    #[test]
    fn established_with_the_third_segment() {
        assert_eq!(phase_after(&[">S"]), Phase::begun(Side::Inside));
        let answered = Phase::Opening {
            by: Side::Inside,
            is_answered: true,
        };
        assert_eq!(phase_after(&[">S", "<SA"]), answered);
        assert_eq!(phase_after(&[">S", "<SA", "<SA"]), answered);
        assert_eq!(phase_after(&[">S", "<SA", ">A"]), Phase::Established);
        // An acknowledgement of nothing is no third segment.
        assert_eq!(phase_after(&[">S", ">A"]), Phase::begun(Side::Inside));
    }

    /// A FIN of either side begins the end, and a new SYN a new life.
    #[test]
    fn closing_with_the_first_fin() {
        for fin in [">FA", "<FA"] {
            let history = [">S", "<SA", ">A", fin];
            assert_eq!(phase_after(&history), Phase::Closing);
            let history = [">S", "<SA", ">A", fin, "<A", ">A"];
            assert_eq!(phase_after(&history), Phase::Closing);
            let history = [">S", "<SA", ">A", fin, ">S"];
            assert_eq!(phase_after(&history), Phase::begun(Side::Inside));
        }
    }

    /// An RST ends a connection, unless one side goes on: then it was a stranger's.
    #[test]
    fn an_rst_counts_until_somebody_goes_on() {
        let history = [">S", "<SA", ">A", "<R"];
        assert_eq!(phase_after(&history), Phase::Reset);
        let history = [">S", "<SA", ">A", "<R", ">A"];
        assert_eq!(phase_after(&history), Phase::Established);
        assert_eq!(
            phase_after(&[">S", "<RA", ">S"]),
            Phase::begun(Side::Inside)
        );
    }

    /// The presets are what their sources say.
    #[test]
    fn presets_are_as_published() {
        let secs = |timeouts: Timeouts| {
            [timeouts.opening, timeouts.established, timeouts.closing].map(|it| it.as_secs())
        };
        assert_eq!(secs(Mappings::RFC5382.timeouts), [240, 7440, 240]);
        assert_eq!(secs(Mappings::AWS.timeouts), [350; 3]);
        assert_eq!(secs(Mappings::AZURE.timeouts), [240; 3]);
        assert_eq!(Mappings::AWS.expiry, Expiry::WithReset);
        assert_eq!(Mappings::AZURE.expiry, Expiry::Silently);
    }
}
