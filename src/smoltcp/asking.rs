//! Whose turn it is to ask for a neighbour's address.
//!
//! smoltcp lets one question leave in a second, for the whole interface. Whoever happens to try when
//! that second is over asks, and if its neighbour is dead it asks again a second later: somebody
//! else, whose neighbour is alive, may never be heard. So whoever has asked goes last the next time,
//! among our connections, and between those and what the stack itself has to send.

use crate::Instant;

/// How long smoltcp refuses further questions, and the time between two attempts of a socket that was
/// refused (`NeighborCache::SILENT_TIME`, `Meta::DISCOVERY_SILENT_TIME`).
const SILENCE_MICROS: u64 = 1_000_000;

/// Who has asked, and who was refused.
#[derive(Debug)]
pub(super) struct Asking {
    /// Which slot goes first.
    turn: usize,
    /// The slot whose probe is being sent: what is asked now is asked for it.
    on_behalf_of: Option<usize>,
    /// The stack has asked since we did: the next question is ours.
    is_our_turn: bool,
    /// The stack was refused since it asked last. Until then it is to have its chance.
    yields_until: Instant,
    /// No question leaves before: whoever tries then does no harm.
    silent_until: Instant,
}

impl Asking {
    pub(super) const fn new() -> Self {
        Self {
            turn: 0,
            on_behalf_of: None,
            is_our_turn: false,
            yields_until: Instant::ZERO,
            silent_until: Instant::ZERO,
        }
    }

    pub(super) const fn turn(&self) -> usize {
        self.turn
    }

    /// Whether we ask before the stack does.
    #[inline]
    pub(super) const fn is_our_turn(&self) -> bool {
        self.is_our_turn
    }

    /// We have nothing to ask.
    pub(super) const fn pass(&mut self) {
        self.is_our_turn = false;
    }

    /// Whether what has been refused already has to wait, because it might ask where it is the stack's
    /// turn to.
    pub(super) fn yields(&self, now: Instant) -> bool {
        let is_silent = now < self.silent_until;
        // No longer than that from now, should the clock have stepped back.
        let is_stacks_turn =
            now <= self.yields_until && self.yields_until <= now.plus_micros(SILENCE_MICROS);
        is_stacks_turn && !self.is_our_turn && !is_silent
    }

    pub(super) const fn set_on_behalf_of(&mut self, slot: Option<usize>) {
        self.on_behalf_of = slot;
    }

    /// A question has left.
    #[cold]
    pub(super) const fn handle_question(&mut self, now: Instant) {
        self.silent_until = now.plus_micros(SILENCE_MICROS);
        self.is_our_turn = self.on_behalf_of.is_none();
        if let Some(slot) = self.on_behalf_of {
            self.turn = slot.saturating_add(1);
        } else {
            self.yields_until = Instant::ZERO;
        }
    }

    /// Something could not leave, for want of an address or of a question.
    #[cold]
    pub(super) const fn handle_refusal(&mut self, now: Instant) {
        if self.on_behalf_of.is_none() {
            self.yields_until = now.plus_micros(SILENCE_MICROS);
        }
    }
}
