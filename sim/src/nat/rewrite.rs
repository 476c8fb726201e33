//! Changing a packet in passing.

use ::smoltcp::wire::{Ipv4Address, Ipv4Packet, TcpPacket};

/// Which end of a connection a NAT renames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

/// Puts `address` and `port` in the place of one end's in an IPv4 packet that carries TCP, and
/// lets it live one hop less.
///
/// Checksums are changed by what changes, and not computed anew: one that was wrong stays wrong,
/// so that no damage is made good. `None` if the packet is none, or is at its last hop.
pub(super) fn rewrite(packet: &mut [u8], end: End, address: Ipv4Address, port: u16) -> Option<()> {
    let mut ip = Ipv4Packet::new_checked(packet).ok()?;
    let old_address = match end {
        End::Source => ip.src_addr(),
        End::Destination => ip.dst_addr(),
    };
    let addresses = Change {
        from: words(old_address),
        to: words(address),
    };
    let hop_limit = ip.hop_limit().checked_sub(1).filter(|left| *left > 0)?;
    let protocol = u8::from(ip.next_header());
    let hops = Change {
        from: [u16::from_be_bytes([ip.hop_limit(), protocol])],
        to: [u16::from_be_bytes([hop_limit, protocol])],
    };
    let mut tcp = TcpPacket::new_checked(ip.payload_mut()).ok()?;
    let old_port = match end {
        End::Source => tcp.src_port(),
        End::Destination => tcp.dst_port(),
    };
    let ports = Change {
        from: [old_port],
        to: [port],
    };
    // The addresses count in TCP's checksum too, by way of the pseudo-header.
    tcp.set_checksum(ports.amend(addresses.amend(tcp.checksum())));
    match end {
        End::Source => tcp.set_src_port(port),
        End::Destination => tcp.set_dst_port(port),
    }
    ip.set_checksum(hops.amend(addresses.amend(ip.checksum())));
    ip.set_hop_limit(hop_limit);
    match end {
        End::Source => ip.set_src_addr(address),
        End::Destination => ip.set_dst_addr(address),
    }
    Some(())
}

fn words(address: Ipv4Address) -> [u16; 2] {
    let [a, b, c, d] = address.octets();
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

/// Some 16-bit words of what a checksum is over.
struct Change<const N: usize> {
    from: [u16; N],
    to: [u16; N],
}

impl<const N: usize> Change<N> {
    /// The checksum after the change (RFC 1624 3, eqn. 3: "HC' = ~(~HC + ~m + m')", in one's
    /// complement).
    fn amend(&self, checksum: u16) -> u16 {
        let terms = self.from.iter().map(|word| !word).chain(self.to);
        let sum = terms.fold(!checksum, |sum, term| {
            let (sum, carry) = sum.overflowing_add(term);
            sum + u16::from(carry)
        });
        !sum
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "any part of a random number will do"
)]
mod tests {
    use ::smoltcp::phy::Medium;

    use super::super::super::wire::{Segment, parse};
    use super::super::super::{Peer, Rng};
    use super::*;

    fn any_segment(rng: &mut Rng) -> Segment {
        let any = |rng: &mut Rng| Ipv4Address::from_bits(rng.next_u64() as u32);
        let mut peer = Peer::ip(any(rng).into());
        let index = peer.connect(any(rng).into(), rng.next_u64() as u16, false);
        let mut segment = peer.next_segment(index).unwrap();
        segment.payload = vec![rng.next_u64() as u8; rng.below(9) as usize];
        segment.ack = Some(rng.next_u64() as u32);
        segment.psh = true;
        segment
    }

    fn rewritten(segment: &Segment, end: End, address: Ipv4Address, port: u16) -> Segment {
        let mut packet = segment.emit(None);
        rewrite(&mut packet, end, address, port).unwrap();
        parse(Medium::Ip, &packet).tcp().unwrap().clone()
    }

    /// Nothing changes but an address, its port, and the hop limit, and the checksums are those
    /// that the changed packet has.
    #[test]
    fn checksums_that_were_right_are_right() {
        let mut rng = Rng::new(1);
        for _ in 0..1000 {
            let segment = any_segment(&mut rng);
            let address = Ipv4Address::from_bits(rng.next_u64() as u32);
            let port = rng.next_u64() as u16;
            let source = Segment {
                src_addr: address.into(),
                src_port: port,
                hop_limit: 63,
                ..segment.clone()
            };
            assert_eq!(rewritten(&segment, End::Source, address, port), source);
            let destination = Segment {
                dst_addr: address.into(),
                dst_port: port,
                hop_limit: 63,
                ..segment.clone()
            };
            assert_eq!(
                rewritten(&segment, End::Destination, address, port),
                destination
            );
        }
    }

    /// A damaged segment is as damaged as before.
    #[test]
    fn checksums_that_were_wrong_are_wrong() {
        let mut rng = Rng::new(2);
        for _ in 0..1000 {
            let mut segment = any_segment(&mut rng);
            segment.checksum_ok = false;
            segment.ip_checksum_ok = false;
            let after = rewritten(&segment, End::Source, Ipv4Address::new(192, 0, 2, 1), 7);
            assert!(!after.checksum_ok && !after.ip_checksum_ok);
        }
    }

    /// What has one hop left goes nowhere.
    #[test]
    fn the_last_hop_is_not_taken() {
        let mut segment = any_segment(&mut Rng::new(3));
        for (hop_limit, goes) in [(0, false), (1, false), (2, true)] {
            segment.hop_limit = hop_limit;
            let mut packet = segment.emit(None);
            let done = rewrite(&mut packet, End::Source, Ipv4Address::LOCALHOST, 7);
            assert_eq!(done.is_some(), goes, "{hop_limit}");
        }
    }
}
