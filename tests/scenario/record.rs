//! The world's trace, by the scenario's clock and seen from the host under test.

use std::fmt;
use std::rc::Rc;

use tcp_keepalive::Event;
use tcp_keepalive_sim::trace::{Entry, Fate, Happening, Note};
use tcp_keepalive_sim::wire::{Kind, Segment};
use tcp_keepalive_sim::{NodeId, trace};

use super::acts::Scenario;
use super::time::Time;

/// How much of what happened is told when a claim fails.
const STORY: usize = 60;

/// One end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The host under test.
    Us,
    Peer,
}

/// A frame that was sent.
#[derive(Clone)]
pub struct Sent {
    pub at: Time,
    pub from: End,
    pub kind: Kind,
    pub fate: Fate,
    pub bytes: Rc<[u8]>,
}

impl Sent {
    /// The segment, if it is one.
    pub fn tcp(&self) -> Option<&Segment> {
        self.kind.tcp()
    }

    pub fn is_lost(&self) -> bool {
        matches!(self.fate, Fate::Lost { .. })
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = match self.from {
            End::Us => "us  >",
            End::Peer => "    < peer",
        };
        let (at, kind, len) = (self.at, &self.kind, self.bytes.len());
        write!(f, "{at:?}  {from:10} {kind:?} [{len} octets]")?;
        f.write_str(if self.is_lost() { " LOST" } else { "" })
    }
}

impl Scenario {
    /// Which end that node is.
    pub fn end(&self, node: NodeId) -> End {
        if node == NodeId::from(self.host) {
            End::Us
        } else {
            End::Peer
        }
    }

    /// Everything that was sent, by either end, since the world began.
    pub fn trace(&self) -> Vec<Sent> {
        let sent = self.world.trace().frames();
        sent.map(|sent| self.sent(sent)).collect()
    }

    pub(super) fn sent(&self, sent: &trace::Sent) -> Sent {
        Sent {
            at: self.moment(sent.at),
            from: self.end(sent.from),
            kind: sent.kind.clone(),
            fate: sent.fate,
            bytes: Rc::clone(&sent.bytes),
        }
    }

    /// All that was reported to the application of the host under test.
    pub fn events(&self) -> Vec<(Time, Event)> {
        self.events_in(self.world.trace().entries()).collect()
    }

    pub(super) fn events_in<'e>(
        &'e self,
        entries: &'e [Entry],
    ) -> impl Iterator<Item = (Time, Event)> + 'e {
        entries.iter().filter_map(|entry| match entry {
            Entry::Note(Note {
                at,
                node: Some(node),
                what: Happening::KeepAlive { event, .. },
                ..
            }) if *node == self.host.into() => Some((self.moment(*at), *event)),
            _ => None,
        })
    }

    /// All that has happened, to be read.
    pub fn story(&self) -> String {
        let entries = self.world.trace().entries();
        let latest = &entries[entries.len().saturating_sub(STORY)..];
        let lines: Vec<String> = latest
            .iter()
            .map(|entry| match entry {
                Entry::Sent(sent) => format!("{:?}", self.sent(sent)),
                Entry::Note(note) => format!("{:?}  {:?}", self.moment(note.at), note.what),
            })
            .collect();
        format!(
            "it is {:?}, the machine {:?}; what happened, last of all the latest:\n{}",
            self.time(),
            self.state(),
            lines.join("\n")
        )
    }
}
