//! What can be asked for in vain, and what can go wrong.

use core::fmt;

use super::Violation;
use crate::Instant;

/// Why a world could not be built so, or not run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimError {
    /// This world has no node of that number, or it is of another type.
    NoSuchNode,
    /// This world has no link of that number.
    NoSuchLink,
    /// The node is not at either end of that link.
    NotOnLink {
        /// Its name.
        node: &'static str,
    },
    /// A node has no port left for another link.
    NoPortLeft {
        /// Its name.
        node: &'static str,
    },
    /// A node cannot be linked to itself.
    LinkToItself {
        /// Its name.
        node: &'static str,
    },
    /// The ends of a link speak Ethernet and IP.
    MediumMismatch {
        /// The names of both.
        nodes: [&'static str; 2],
    },
    /// A ratio above one, or of nothing.
    ImpossibleRatio {
        /// The numerator.
        part: u32,
        /// The denominator.
        whole: u32,
    },
    /// A range whose end is before its start, or that could be no time at all.
    EmptyRange,
    /// A rate of nothing per second.
    ZeroRate,
    /// There is no connection of that number.
    NoSuchConnection,
    /// More octets than fit into one segment.
    TooLong {
        /// So many.
        len: usize,
        /// So many would.
        longest: usize,
    },
    /// The moment is past.
    Past {
        /// The moment.
        moment: Instant,
        /// The world's time.
        now: Instant,
    },
    /// A plan runs the world that carries it out.
    Nested {
        /// The world's time.
        at: Instant,
    },
    /// A node has turn after turn at the same moment: it asks for them and moves no frame, or it and
    /// another answer each other, and the frames take no time.
    Spins {
        /// Its name.
        node: &'static str,
        /// The world's time.
        at: Instant,
    },
    /// Plan after plan is made for the same moment.
    EndlessPlans {
        /// The world's time.
        at: Instant,
    },
    /// Something that has to hold does not.
    Broken(Violation),
}

impl fmt::Display for SimError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchNode => f.write_str("there is no such node in this world"),
            Self::NoSuchLink => f.write_str("there is no such link in this world"),
            Self::NotOnLink { node } => write!(f, "{node} is at neither end of that link"),
            Self::NoPortLeft { node } => write!(f, "{node} has no port left for another link"),
            Self::LinkToItself { node } => write!(f, "{node} cannot be linked to itself"),
            Self::MediumMismatch { nodes: [a, b] } => {
                write!(
                    f,
                    "{a} and {b} cannot be linked: one speaks Ethernet, the other IP"
                )
            }
            Self::ImpossibleRatio { part, whole } => {
                write!(f, "{part}/{whole} is not a ratio between 0 and 1")
            }
            Self::EmptyRange => f.write_str("the range ends before it starts, or is too short"),
            Self::ZeroRate => f.write_str("a rate must be at least one per second"),
            Self::NoSuchConnection => f.write_str("there is no connection of that number"),
            Self::TooLong { len, longest } => {
                write!(f, "{len} octets do not fit into a segment, {longest} would")
            }
            Self::Past { moment, now } => write!(
                f,
                "{} µs is past: it is {} µs",
                moment.as_micros(),
                now.as_micros()
            ),
            Self::Nested { at } => write!(
                f,
                "a plan for {} µs runs the world that carries it out",
                at.as_micros()
            ),
            Self::Spins { node, at } => write!(
                f,
                "{node} spins at {} µs: it has turn after turn, and no time passes",
                at.as_micros()
            ),
            Self::EndlessPlans { at } => write!(
                f,
                "plan after plan is made for {} µs, and no time passes",
                at.as_micros()
            ),
            Self::Broken(violation) => violation.fmt(f),
        }
    }
}

impl core::error::Error for SimError {}
