//! What a probe is built from.

/// A TCP sequence number: a point on a circle of 2^32 (RFC 9293 3.4).
///
/// There is no order on a circle, so there is no `Ord`; [`SeqNumber::distance_from`] says how
/// far one number is ahead of another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct SeqNumber(pub u32);

impl SeqNumber {
    /// Returns the number `octets` further on, past zero if need be.
    #[must_use]
    pub const fn wrapping_add(self, octets: u32) -> Self {
        Self(self.0.wrapping_add(octets))
    }

    /// Returns the number `octets` back, past zero if need be.
    #[must_use]
    pub const fn wrapping_sub(self, octets: u32) -> Self {
        Self(self.0.wrapping_sub(octets))
    }

    /// Returns how many octets `self` is ahead of `other`: negative if it is behind, and meaningful
    /// while they are within 2^31 of one another.
    #[must_use]
    pub const fn distance_from(self, other: Self) -> i32 {
        self.0.wrapping_sub(other.0).cast_signed()
    }
}

/// A snapshot of one connection's transmission control block: all that the machine needs to
/// know of it, at the moment it is asked.
///
/// The names are those of RFC 9293 3.3.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Tcb {
    /// The oldest sequence number we sent that is not acknowledged.
    pub snd_una: SeqNumber,
    /// The next sequence number we will send. A FIN takes one, like an octet.
    pub snd_nxt: SeqNumber,
    /// The next sequence number we expect from the peer.
    pub rcv_nxt: SeqNumber,
    /// Our receive window as the header's window field carries it, scaled already.
    pub rcv_wnd: u16,
    /// `TSval` and `TSecr` for the next segment, if timestamps were negotiated (RFC 7323 3.2).
    pub timestamps: Option<(u32, u32)>,
    /// Data or a FIN is queued that has not been sent yet.
    pub unsent: bool,
}

impl Tcb {
    /// Returns whether nothing is outstanding or queued: the only state in which a keep-alive may
    /// be sent (RFC 9293 3.8.4, MUST-26).
    #[must_use]
    pub const fn is_quiet(&self) -> bool {
        self.snd_una.0 == self.snd_nxt.0 && !self.unsent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Tcb = Tcb {
        snd_una: SeqNumber(7),
        snd_nxt: SeqNumber(7),
        rcv_nxt: SeqNumber(9),
        rcv_wnd: 100,
        timestamps: None,
        unsent: false,
    };

    /// K3, MUST-26: quiet is nothing outstanding and nothing queued, and either one breaks it.
    #[test]
    fn k3_quiet_is_nothing_outstanding_and_nothing_queued() {
        assert!(QUIET.is_quiet());
        assert!(
            !Tcb {
                unsent: true,
                ..QUIET
            }
            .is_quiet()
        );
        assert!(
            !Tcb {
                snd_una: SeqNumber(6),
                ..QUIET
            }
            .is_quiet()
        );
    }

    /// K12: the circle has no seam at zero.
    #[test]
    fn k12_sequence_arithmetic_wraps() {
        let last = SeqNumber(u32::MAX);
        assert_eq!(last.wrapping_add(1), SeqNumber(0));
        assert_eq!(SeqNumber(0).wrapping_sub(1), last);
        assert_eq!(SeqNumber(3).distance_from(last), 4);
        assert_eq!(last.distance_from(SeqNumber(3)), -4);
    }
}
