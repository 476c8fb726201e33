//! What an image is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fs;

use addr2line::Loader;
use object::{
    Object, ObjectSection, ObjectSymbol, RelocationTarget, SectionFlags, SectionKind, SymbolKind,
    elf::SHF_ALLOC,
};

pub(crate) struct Image {
    lines: Loader,
    /// By address, without the bit that says Thumb.
    functions: BTreeMap<u64, Function>,
    pub(crate) references: Vec<Reference>,
    constants: Vec<Vec<u8>>,
}

pub(crate) struct Function {
    pub(crate) address: u64,
    pub(crate) len: u64,
    pub(crate) name: String,
}

/// Code at one place that names a function.
pub(crate) struct Reference {
    pub(crate) at: u64,
    /// The address of the function.
    pub(crate) to: u64,
}

/// One level of what was inlined at a place, the innermost first.
pub(crate) struct Frame {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
}

impl Image {
    pub(crate) fn read(path: &str) -> Result<Self, Box<dyn Error>> {
        let bytes = fs::read(path)?;
        let elf = object::File::parse(&*bytes)?;
        let functions = elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
            .map(|symbol| {
                let address = symbol.address() & !1;
                let name = symbol.name().unwrap_or_default();
                let function = Function {
                    address,
                    len: symbol.size(),
                    name: format!("{:#}", rustc_demangle::demangle(name)),
                };
                (address, function)
            })
            .collect();
        let mut references = Vec::new();
        let mut constants = Vec::new();
        for section in elf.sections() {
            if section.kind() == SectionKind::Text {
                for (at, relocation) in section.relocations() {
                    let RelocationTarget::Symbol(index) = relocation.target() else {
                        continue;
                    };
                    let symbol = elf.symbol_by_index(index)?;
                    if symbol.kind() == SymbolKind::Text {
                        let to = symbol.address() & !1;
                        references.push(Reference { at, to });
                    }
                }
            } else if let SectionFlags::Elf { sh_flags } = section.flags()
                && sh_flags & u64::from(SHF_ALLOC) != 0
            {
                constants.push(section.data()?.to_vec());
            }
        }
        if references.is_empty() {
            return Err("the image was linked without --emit-relocs".into());
        }
        Ok(Self {
            lines: Loader::new(path)?,
            functions,
            references,
            constants,
        })
    }

    /// The function that the code at `address` belongs to.
    pub(crate) fn function_at(&self, address: u64) -> Option<&Function> {
        let (_, function) = self.functions.range(..=address).next_back()?;
        (address < function.address + function.len).then_some(function)
    }

    pub(crate) fn function_named(&self, name: &str) -> Option<&Function> {
        self.functions
            .values()
            .find(|function| function.name == name)
    }

    pub(crate) fn frames_at(&self, address: u64) -> Result<Vec<Frame>, Box<dyn Error>> {
        let mut frames = self.lines.find_frames(address)?;
        let mut found = Vec::new();
        while let Some(frame) = frames.next()? {
            let location = frame.location;
            let function = match &frame.function {
                Some(name) => format!("{:#}", rustc_demangle::demangle(&name.raw_name()?)),
                None => String::new(),
            };
            found.push(Frame {
                function,
                file: location
                    .as_ref()
                    .and_then(|location| location.file)
                    .unwrap_or_default()
                    .to_owned(),
                line: location.and_then(|location| location.line).unwrap_or(0),
            });
        }
        Ok(found)
    }

    /// The files below `directory` that the program names, without it.
    pub(crate) fn constants_that_contain(&self, directory: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for constant in &self.constants {
            let text = String::from_utf8_lossy(constant);
            found.extend(text.split(directory).skip(1).map(|rest| {
                let end = rest.find(".rs").map_or(0, |end| end + 3);
                rest[..end].to_owned()
            }));
        }
        found
    }
}
