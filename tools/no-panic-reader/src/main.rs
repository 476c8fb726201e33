//! Tells whose code in an image can panic.
//!
//! The image was linked with its relocations kept and with line tables, so every reference to a
//! function is known, and for each the chain of calls that were inlined around it. A reference to
//! a function that panics is charged to the innermost code in that chain that belongs to a crate;
//! what `core` and `heapless` do, their caller has asked for.
//!
//! Besides, a panic says where it is: no place in our sources may be among the constants of the
//! image. That holds even where the compiler has merged two calls, and lost whose they were.
//!
//! Arguments: the image, and the directory of our sources. Fails if anything is charged to us.

mod charge;
mod image;

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::process::ExitCode;

use charge::{Charge, Owner, charge};
use image::Image;

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(path), Some(ours)) = (arguments.next(), arguments.next()) else {
        return Err("usage: no-panic-reader <image> <directory of our sources>".into());
    };
    let image = Image::read(&path)?;
    let charges = charge(&image, &ours)?;

    let of = |owner| charges.iter().filter(move |charge| charge.owner == owner);
    println!(
        "{} references to panics, and {} functions of core that hand them on",
        charges.len(),
        charges.panicking_functions
    );
    println!(
        "{:6} in smoltcp's code; inlined into ours:",
        of(Owner::Foreign).count()
    );
    list(of(Owner::Foreign).filter(|charge| charge.is_inlined_into_ours));
    println!("{:6} in the probe's", of(Owner::Probe).count());
    println!("{:6} in ours", of(Owner::Ours).count());
    list(of(Owner::Ours));
    let places = image.constants_that_contain(&ours);
    println!("{:6} files of ours are named by panics", places.len());
    for place in &places {
        println!("         {place}");
    }
    let is_clean = of(Owner::Ours).count() == 0 && places.is_empty();
    Ok(if is_clean {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Each chain once, with how often it is there.
fn list<'a>(charges: impl Iterator<Item = &'a Charge>) {
    let mut chains = BTreeMap::new();
    for charge in charges {
        *chains.entry(charge.chain.as_str()).or_insert(0) += 1;
    }
    for (chain, count) in chains {
        println!("{count:10} x {chain}");
    }
}
