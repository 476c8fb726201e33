//! Colours.

use super::super::Label;
use super::super::trace::{Happening, Note};
use crate::Event;

pub(super) const PAPER: &str = "#ffffff";
pub(super) const INK: &str = "#24292f";
pub(super) const FAINT: &str = "#6e7781";
pub(super) const LANE: &str = "#b7bec7";
pub(super) const LOSS: &str = "#cf222e";

/// What all text looks like.
pub(super) const SHEET: &str = "\
text { font-family: Helvetica, Arial, 'DejaVu Sans', sans-serif; font-size: 12px; } \
.title { font-size: 15px; font-weight: bold; } \
.name { font-size: 14px; font-weight: bold; } \
.time { font-family: Menlo, Consolas, 'DejaVu Sans Mono', monospace; font-size: 11px; } \
.small { font-size: 11px; } \
.fold { font-size: 12px; font-style: italic; } \
.halo { paint-order: stroke; stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; }";

/// What an arrow is for, as far as its colour goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Probe,
    Answer,
    Data,
    Again,
    Handshake,
    Reset,
    Ack,
    Neighbor,
    Other,
}

impl Role {
    /// In the order of the legend.
    pub(super) const ALL: [Self; 9] = [
        Self::Probe,
        Self::Answer,
        Self::Data,
        Self::Again,
        Self::Handshake,
        Self::Reset,
        Self::Ack,
        Self::Neighbor,
        Self::Other,
    ];

    pub(super) const fn of(label: Label) -> Self {
        match label {
            Label::NeighborQuery | Label::NeighborReply => Self::Neighbor,
            Label::Syn | Label::SynAck | Label::Fin => Self::Handshake,
            Label::Data { .. } => Self::Data,
            Label::Retransmission { .. } => Self::Again,
            Label::Rst => Self::Reset,
            Label::Ack => Self::Ack,
            Label::Probe { .. } | Label::WindowProbe => Self::Probe,
            Label::Answer => Self::Answer,
            Label::Other => Self::Other,
        }
    }

    pub(super) const fn colour(self) -> &'static str {
        match self {
            Self::Probe => "#0969da",
            Self::Answer => "#1a7f37",
            Self::Data => "#24292f",
            Self::Again => "#bc4c00",
            Self::Handshake => "#8250df",
            Self::Reset => "#cf222e",
            Self::Ack => "#6e7781",
            Self::Neighbor => "#9a6700",
            Self::Other => "#8c959f",
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Answer => "answer",
            Self::Data => "data",
            Self::Again => "data again",
            Self::Handshake => "SYN, FIN",
            Self::Reset => "RST",
            Self::Ack => "ack",
            Self::Neighbor => "neighbour",
            Self::Other => "other",
        }
    }
}

/// A badge's colours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Badge {
    pub(super) fill: &'static str,
    pub(super) edge: &'static str,
    pub(super) text: &'static str,
}

impl Badge {
    const fn new(fill: &'static str, edge: &'static str, text: &'static str) -> Self {
        Self { fill, edge, text }
    }

    pub(super) const fn of(note: &Note) -> Self {
        match &note.what {
            Happening::KeepAlive { event, .. } => match event {
                Event::Suspect { .. } => Self::new("#fff1c2", "#d4a72c", "#7d4e00"),
                Event::Recovered { .. } => Self::new("#dafbe1", "#4ac26b", "#116329"),
                // A verdict.
                _ => Self::new("#cf222e", "#a40e26", "#ffffff"),
            },
            Happening::Crashed | Happening::Partitioned { .. } | Happening::Unplugged => {
                Self::new("#424a53", "#24292f", "#ffffff")
            }
            Happening::Sleeps { .. } | Happening::Held { .. } => {
                Self::new("#ddf4ff", "#54aeff", "#0550ae")
            }
            _ => Self::new("#f6f8fa", "#afb8c1", "#424a53"),
        }
    }
}

/// What a stretch of time is shaded with.
pub(super) const OFF: &str = "#424a53";
pub(super) const ASLEEP: &str = "#54aeff";
pub(super) const SHUT: &str = "#cf222e";
pub(super) const HELD: &str = "#d4a72c";
