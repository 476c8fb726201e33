//! What each end of a connection holds for right, from what it sends.

use std::collections::BTreeMap;

use ::smoltcp::wire::IpEndpoint;

use super::invariant::Invariant;
use super::watch::{Probe, is_after};
use super::wire::Segment;

/// The sending end, and the other.
type Ends = (IpEndpoint, IpEndpoint);

/// The accounts of all hosts of a world.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// A late SYN may open a second connection between the same ends, before the first is over.
    sides: BTreeMap<Ends, Vec<Side>>,
}

/// What one end holds for right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The end of all that it has sent.
    pub snd_nxt: u32,
    /// The end of all that it has received, as far as it has said.
    pub rcv_nxt: u32,
}

/// What one end has said.
#[derive(Clone, Copy, Debug)]
struct Side {
    first: u32,
    snd_nxt: u32,
    rcv_nxt: Option<u32>,
}

impl Ledger {
    /// A host sends that.
    pub(super) fn note(&mut self, segment: &Segment) {
        let src = IpEndpoint::new(segment.src_addr, segment.src_port);
        let dst = IpEndpoint::new(segment.dst_addr, segment.dst_port);
        let (seq, end, ack) = (segment.seq, segment.end(), segment.ack);
        let sides = self.sides.entry((src, dst)).or_default();
        if segment.rst {
            return;
        }
        if segment.syn && sides.iter().all(|side| side.first != seq) {
            sides.push(Side {
                first: seq,
                snd_nxt: end,
                rcv_nxt: ack,
            });
        }
        let distance =
            |side: &&mut Side| end.wrapping_sub(side.snd_nxt).cast_signed().unsigned_abs();
        if let Some(side) = sides.iter_mut().min_by_key(distance) {
            side.snd_nxt = later(side.snd_nxt, end);
            side.rcv_nxt = match (side.rcv_nxt, ack) {
                (Some(old), Some(new)) => Some(later(old, new)),
                (old, new) => old.or(new),
            };
        }
    }

    /// What a host holds for right that has sent something to `other`, and heard from it. More than
    /// one, if there has been more than one connection between the two.
    pub(super) fn numbers(&self, of: IpEndpoint, other: IpEndpoint) -> Vec<Numbers> {
        let sides = self.sides.get(&(of, other)).into_iter().flatten();
        sides
            .filter_map(|side| {
                Some(Numbers {
                    snd_nxt: side.snd_nxt,
                    rcv_nxt: side.rcv_nxt?,
                })
            })
            .collect()
    }

    /// Whether a probe has the numbers that its receiver wants. RCV.NXT is between what the sender
    /// has acknowledged and what the receiver has sent.
    pub(super) fn check(&self, probe: &Probe, receiver: Numbers) -> Result<(), Invariant> {
        let senders = self.numbers(probe.local, probe.remote);
        let is_current = senders.is_empty()
            || senders
                .iter()
                .any(|sender| !is_after(sender.rcv_nxt, probe.ack));
        let is_ahead = is_after(probe.ack, receiver.snd_nxt);
        let seq = receiver.rcv_nxt.wrapping_sub(1);
        if probe.seq == seq && is_current && !is_ahead {
            return Ok(());
        }
        Err(Invariant::ProbeNumbers {
            found: (probe.seq, probe.ack),
            right: (seq, receiver.snd_nxt),
        })
    }
}

const fn later(a: u32, b: u32) -> u32 {
    if is_after(a, b) { a } else { b }
}

#[cfg(test)]
mod tests {
    use ::smoltcp::iface::SocketHandle;
    use ::smoltcp::wire::IpAddress;

    use super::*;

    const A: IpEndpoint = IpEndpoint::new(IpAddress::v4(192, 0, 2, 1), 49_152);
    const B: IpEndpoint = IpEndpoint::new(IpAddress::v4(192, 0, 2, 2), 7);

    fn segment(seq: u32, ack: Option<u32>, len: usize) -> Segment {
        Segment {
            src_addr: A.addr,
            dst_addr: B.addr,
            src_port: A.port,
            dst_port: B.port,
            seq,
            ack,
            window: 1024,
            syn: false,
            fin: false,
            rst: false,
            psh: false,
            payload: vec![0; len],
            timestamps: None,
            window_scale: None,
            hop_limit: 64,
            checksum_ok: true,
            ip_checksum_ok: true,
        }
    }

    fn syn(seq: u32) -> Segment {
        Segment {
            syn: true,
            ..segment(seq, None, 0)
        }
    }

    /// What A holds for right after it has sent that.
    fn after(segments: &[Segment]) -> Vec<Numbers> {
        ledger(segments).numbers(A, B)
    }

    fn ledger(segments: &[Segment]) -> Ledger {
        let mut ledger = Ledger::default();
        for segment in segments {
            ledger.note(segment);
        }
        ledger
    }

    const fn numbers(snd_nxt: u32, rcv_nxt: u32) -> Numbers {
        Numbers { snd_nxt, rcv_nxt }
    }

    /// A side that has acknowledged nothing expects nothing yet.
    #[test]
    fn nothing_is_known_before_an_acknowledgement() {
        assert_eq!(after(&[syn(100)]), []);
    }

    /// All that was sent, SYN, data and FIN, moves SND.NXT; the latest acknowledgement is RCV.NXT.
    #[test]
    fn all_that_was_sent_counts() {
        let mut fin = segment(111, Some(520), 0);
        fin.fin = true;
        let sent = [syn(100), segment(101, Some(500), 10), fin];
        assert_eq!(after(&sent), [numbers(112, 520)]);
    }

    /// What is sent again, or was overtaken, takes nothing back.
    #[test]
    fn old_segments_take_nothing_back() {
        let old = segment(101, Some(500), 10);
        let sent = [syn(100), old.clone(), segment(111, Some(520), 5), old];
        assert_eq!(after(&sent), [numbers(116, 520)]);
    }

    /// The numbers wrap.
    #[test]
    fn numbers_wrap() {
        let last = u32::MAX;
        let sent = [
            syn(last),
            segment(0, Some(last), 10),
            segment(10, Some(5), 0),
        ];
        assert_eq!(after(&sent), [numbers(10, 5)]);
    }

    /// A reset tells nothing of what its sender holds for right.
    #[test]
    fn resets_do_not_count() {
        let mut reset = segment(999, Some(999), 0);
        reset.rst = true;
        let sent = [syn(100), segment(101, Some(500), 0), reset];
        assert_eq!(after(&sent), [numbers(101, 500)]);
    }

    /// Each connection between two ends has its numbers.
    #[test]
    fn connections_have_their_own_numbers() {
        let sent = [
            syn(100),
            segment(101, Some(500), 0),
            syn(70_000),
            segment(70_001, Some(900), 0),
            segment(101, Some(510), 4),
        ];
        assert_eq!(after(&sent), [numbers(105, 510), numbers(70_001, 900)]);
    }

    /// A SYN that is sent again is not another connection.
    #[test]
    fn repeated_syn_is_the_same_connection() {
        let mut answer = syn(100);
        answer.ack = Some(500);
        assert_eq!(after(&[answer.clone(), answer]), [numbers(101, 500)]);
    }

    /// What the world makes of a probe from A, which has acknowledged up to 500. B has sent all up
    /// to 520, and expects 111.
    fn check(seq: u32, ack: u32) -> Result<(), Invariant> {
        let ledger = ledger(&[syn(100), segment(101, Some(500), 10)]);
        let probe = Probe {
            handle: SocketHandle::default(),
            local: A,
            remote: B,
            seq,
            ack,
        };
        ledger.check(&probe, numbers(520, 111))
    }

    fn wrong(seq: u32, ack: u32) -> Result<(), Invariant> {
        Err(Invariant::ProbeNumbers {
            found: (seq, ack),
            right: (110, 520),
        })
    }

    /// A probe has the number before the one that its receiver expects, and no other.
    #[test]
    fn probe_has_the_number_before_the_one_expected() {
        assert_eq!(check(110, 500), Ok(()));
        assert_eq!(check(109, 500), wrong(109, 500));
        assert_eq!(check(111, 500), wrong(111, 500));
    }

    /// It acknowledges no less than its sender has before, and no more than its receiver has sent.
    #[test]
    fn probe_acknowledges_what_it_may() {
        assert_eq!(check(110, 499), wrong(110, 499));
        assert_eq!(check(110, 520), Ok(()));
        assert_eq!(check(110, 521), wrong(110, 521));
    }

    /// An unknown window is not held against a probe.
    #[test]
    fn probe_of_an_unknown_sender_is_held_against_its_receiver_alone() {
        let probe = Probe {
            handle: SocketHandle::default(),
            local: A,
            remote: B,
            seq: 110,
            ack: 1,
        };
        assert_eq!(Ledger::default().check(&probe, numbers(520, 111)), Ok(()));
    }
}
