//! Whose a reference to a panic is.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::ops::Deref;

use crate::image::{Frame, Image};

/// Where all panics end, in the probe.
const THE_END: &str = "it_panics";
/// The file that has it.
const HANDLER: &str = "/handler.rs";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    Ours,
    Probe,
    /// smoltcp's, or that of what smoltcp uses.
    Foreign,
}

/// A reference to something that panics.
pub(crate) struct Charge {
    pub(crate) owner: Owner,
    pub(crate) is_inlined_into_ours: bool,
    /// The calls that were inlined there, innermost first, and what they refer to.
    pub(crate) chain: String,
}

pub(crate) struct Charges {
    charges: Vec<Charge>,
    pub(crate) panicking_functions: usize,
}

impl Deref for Charges {
    type Target = [Charge];

    fn deref(&self) -> &[Charge] {
        &self.charges
    }
}

/// Whose code `frame` is; `None` for what does what its caller asks.
fn owner_of(frame: &Frame, ours: &str) -> Option<Owner> {
    let file = frame.file.as_str();
    let is_callers = file.is_empty()
        || file.contains("/library/")
        || file.contains("/heapless-")
        || file.contains("/compiler_builtins-")
        || file.ends_with(HANDLER);
    if is_callers {
        None
    } else if file.starts_with(ours) {
        Some(Owner::Ours)
    } else if file.contains("no-panic-probe") {
        Some(Owner::Probe)
    } else {
        Some(Owner::Foreign)
    }
}

/// Charges every reference to a function that panics to whose code it is in. A function of `core`
/// or `heapless` that refers to one panics itself.
pub(crate) fn charge(image: &Image, ours: &str) -> Result<Charges, Box<dyn Error>> {
    let end = image.function_named(THE_END).ok_or("no panic handler")?;
    let mut panicking = BTreeSet::from([end.address]);
    let mut charges = Vec::new();
    let mut done = BTreeSet::new();
    loop {
        let mut has_grown = false;
        for reference in &image.references {
            if !panicking.contains(&reference.to) || done.contains(&reference.at) {
                continue;
            }
            let Some(function) = image.function_at(reference.at) else {
                continue;
            };
            let mut frames = image.frames_at(reference.at)?;
            if frames.is_empty() {
                // A constant that lies behind the code that uses it.
                frames = image.frames_at(function.address)?;
            }
            let owner = frames.iter().find_map(|frame| owner_of(frame, ours));
            let Some(owner) = owner else {
                has_grown |= panicking.insert(function.address);
                continue;
            };
            done.insert(reference.at);
            charges.push(Charge {
                owner,
                is_inlined_into_ours: frames
                    .iter()
                    .any(|frame| owner_of(frame, ours) == Some(Owner::Ours)),
                chain: chain(image, reference.to, &frames, ours),
            });
        }
        if !has_grown {
            break;
        }
    }
    Ok(Charges {
        charges,
        panicking_functions: panicking.len(),
    })
}

/// What panics, whose code refers to it, by way of what of `core` and `heapless`, and where in our
/// code that was inlined.
fn chain(image: &Image, panics: u64, frames: &[Frame], ours: &str) -> String {
    let mut chain = image
        .function_at(panics)
        .map_or_else(String::new, |function| function.name.clone());
    let mut is_charged = false;
    for frame in frames {
        let owner = owner_of(frame, ours);
        let is_ours = owner == Some(Owner::Ours);
        if is_charged && !is_ours {
            continue;
        }
        is_charged |= owner.is_some();
        let file = match frame.file.strip_prefix(ours) {
            Some(file) => file,
            None => frame.file.rsplit('/').next().unwrap_or_default(),
        };
        let _ = write!(chain, " < {} ({file}:{})", frame.function, frame.line);
        if is_ours {
            break;
        }
    }
    chain
}
