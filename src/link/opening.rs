//! Connections that are being opened and have no place yet.

use super::connection::{Phase, Seen};
use super::frame::Tuple;

/// As many connections can be opened between two calls of [`Link::follow`](super::Link::follow) before a
/// probe of one of them needs the stack: see [`Link::needs_numbers`](super::Link::needs_numbers).
const OPENINGS: usize = 4;

/// What was seen of connections that were opened lately.
#[derive(Debug)]
pub(super) struct Openings<const W: usize> {
    noted: [Seen<W>; OPENINGS],
    /// Which of them was opened last.
    last: usize,
}

impl<const W: usize> Openings<W> {
    pub(super) const fn new() -> Self {
        Self {
            noted: [const { Seen::NONE }; OPENINGS],
            last: 0,
        }
    }

    #[inline(never)]
    pub(super) fn find(&mut self, tuple: &Tuple<W>) -> Option<&mut Seen<W>> {
        self.noted.iter_mut().find(|noted| noted.tuple == *tuple)
    }

    /// Forgets what was noted of a connection: it is not of a next one with the same ends.
    pub(super) fn forget(&mut self, tuple: &Tuple<W>) {
        if let Some(noted) = self.find(tuple) {
            noted.tuple = Tuple::NONE;
        }
    }

    /// Takes note of a connection that has no place: the oldest one goes.
    #[inline(never)]
    pub(super) fn note(&mut self, seen: &Seen<W>) -> Option<&mut Seen<W>> {
        self.forget(&seen.tuple);
        self.last = self.last.wrapping_add(1) % OPENINGS;
        let noted = self.noted.get_mut(self.last)?;
        *noted = *seen;
        Some(noted)
    }

    /// The connection that was opened last, if that is under way.
    pub(super) fn last(&self) -> Option<Tuple<W>> {
        let Seen { tuple, phase, .. } = self.noted.get(self.last)?;
        (*tuple != Tuple::NONE && *phase == Phase::Opening).then_some(*tuple)
    }

    pub(super) fn forget_last(&mut self) {
        if let Some(noted) = self.noted.get_mut(self.last) {
            noted.tuple = Tuple::NONE;
        }
    }
}
