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
    sides: BTreeMap<Ends, Numbers>,
}

/// What one end holds for right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The end of all that it has sent.
    pub snd_nxt: u32,
    /// The end of all that it has received, as far as it has said.
    pub rcv_nxt: u32,
}

impl Ledger {
    /// A host sends that.
    pub(super) fn note(&mut self, segment: &Segment) {
        let src = IpEndpoint::new(segment.src_addr, segment.src_port);
        let dst = IpEndpoint::new(segment.dst_addr, segment.dst_port);
        let ends = (src, dst);
        if segment.rst {
            self.sides.remove(&ends);
            return;
        }
        let (end, ack) = (segment.end(), segment.ack);
        let side = self.sides.entry(ends).or_insert(Numbers {
            snd_nxt: end,
            rcv_nxt: ack.unwrap_or(0),
        });
        if segment.syn {
            side.snd_nxt = end;
            side.rcv_nxt = ack.unwrap_or(0);
        }
        side.snd_nxt = later(side.snd_nxt, end);
        side.rcv_nxt = ack.map_or(side.rcv_nxt, |ack| later(side.rcv_nxt, ack));
    }

    /// What a host holds for right that has sent something to `other`.
    pub(super) fn numbers(&self, of: IpEndpoint, other: IpEndpoint) -> Option<Numbers> {
        self.sides.get(&(of, other)).copied()
    }

    /// Whether a probe has the numbers that its receiver wants. RCV.NXT is between what the sender
    /// has acknowledged and what the receiver has sent.
    pub(super) fn check(&self, probe: &Probe, receiver: Numbers) -> Result<(), Invariant> {
        let sender = self.numbers(probe.local, probe.remote);
        let is_stale = sender.is_some_and(|sender| is_after(sender.rcv_nxt, probe.ack));
        let is_ahead = is_after(probe.ack, receiver.snd_nxt);
        let seq = receiver.rcv_nxt.wrapping_sub(1);
        if probe.seq == seq && !is_stale && !is_ahead {
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
