//! Frames that arrive damaged.

use std::rc::Rc;

use super::super::Rng;

/// The same octets with one bit the other way, somewhere after the first `header` of them; or the
/// same if there are none.
///
/// What a link's own header says, and all of an ARP packet, is guarded by the frame check sequence
/// of each hop; what gets damaged in fact is a packet in the memory of a router.
pub(super) fn flip_a_bit(bytes: &Rc<[u8]>, header: usize, rng: &mut Rng) -> Rc<[u8]> {
    let mut damaged = bytes.to_vec();
    let packet = damaged.get_mut(header..).unwrap_or_default();
    let bits = u64::try_from(packet.len())
        .unwrap_or(u64::MAX)
        .saturating_mul(8);
    let bit = rng.below(bits);
    let index = usize::try_from(bit / 8).unwrap_or(usize::MAX);
    if let Some(byte) = packet.get_mut(index) {
        *byte ^= 1 << (bit % 8);
    }
    damaged.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exactly one bit is flipped.
    #[test]
    fn one_bit_is_flipped() {
        let whole: Rc<[u8]> = Rc::from([0_u8; 60]);
        let mut rng = Rng::new(9);
        for _ in 0..100 {
            let damaged = flip_a_bit(&whole, 14, &mut rng);
            let flipped: u32 = damaged.iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(flipped, 1);
            assert_eq!(damaged[..14], [0; 14]);
        }
        assert_eq!(flip_a_bit(&Rc::from([]), 14, &mut rng).len(), 0);
    }
}
