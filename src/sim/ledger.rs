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
