//! Makes the objects of a snapshot immortal.
//!
//! A sandbox begins with about ten thousand objects, and a call touches hundreds of them, if only to count a
//! reference. The kernel then copies each page with such a count. No object of the snapshot needs to be freed before
//! its sandbox is, so its objects get the count of immortal objects, which Python does not change ([PEP
//! 683](https://peps.python.org/pep-0683/)). Only these counts change, in place.

use std::ops::Range;

use wasmparser::{DataKind, Operator, Parser, Payload};

/// The count of an immortal object where counts have 32 bits (CPython 3.14, `Include/refcount.h`).
const IMMORTAL: [u8; 4] = (5_u32 << 28).to_le_bytes();
/// More references than this has nothing: what stands there is no count.
const MOST: u32 = 1 << 20;
/// An object begins with its count and the address of its type.
const WORD: usize = 4;

/// A part of the memory's first content: where it is in memory, and where in the component.
struct Piece {
    address: usize,
    bytes: Range<usize>,
}

/// Makes the objects of `list` immortal, which has the address of each and that of its type, and says how many
/// there are. What does not look like such an object stays as it is: the list may be wrong.
pub(super) fn immortalize(component: &mut [u8], list: &[u8]) -> Result<usize, wasmparser::Error> {
    let memory = memory(component)?;
    let mut done = 0;
    for entry in list.chunks_exact(2 * WORD) {
        let (address, ty) = entry.split_at(WORD);
        let Some(address) = word(address).and_then(|address| usize::try_from(address).ok()) else {
            continue;
        };
        let object = find(&memory, address).and_then(|at| component.get_mut(at)?.split_at_mut_checked(WORD));
        let Some((count, rest)) = object else {
            continue;
        };
        if rest == ty && word(count).is_some_and(|count| (1..MOST).contains(&count)) {
            count.copy_from_slice(&IMMORTAL);
            done += 1;
        }
    }
    Ok(done)
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// Where the first two words of an object at an address are in the component.
fn find(memory: &[Piece], address: usize) -> Option<Range<usize>> {
    let behind = memory.partition_point(|piece| piece.address <= address);
    let piece = memory.get(behind.checked_sub(1)?)?;
    let start = piece.bytes.start + (address - piece.address);
    let end = start + 2 * WORD;
    (end <= piece.bytes.end).then_some(start..end)
}

/// The first content of the memory: of the module that has the most of it.
fn memory(component: &[u8]) -> Result<Vec<Piece>, wasmparser::Error> {
    let mut largest = (0, Vec::new());
    for payload in Parser::new(0).parse_all(component) {
        let Payload::DataSection(data) = payload? else {
            continue;
        };
        let mut pieces = Vec::new();
        let mut size = 0;
        for data in data {
            let data = data?;
            let DataKind::Active { offset_expr, .. } = data.kind else {
                continue;
            };
            let Operator::I32Const { value } = offset_expr.get_operators_reader().read()? else {
                continue;
            };
            // An address of 32 bits: the sign is of no meaning.
            let Ok(address) = usize::try_from(value.cast_unsigned()) else {
                continue;
            };
            size += data.data.len();
            pieces.push(Piece {
                address,
                bytes: data.range.end - data.data.len()..data.range.end,
            });
        }
        if size > largest.0 {
            largest = (size, pieces);
        }
    }
    largest.1.sort_by_key(|piece| piece.address);
    Ok(largest.1)
}

#[cfg(test)]
#[path = "immortal_tests.rs"]
mod tests;
