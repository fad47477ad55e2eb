//! Turns one tar stream into a layer: members are kept, changed, replaced or dropped on the way.

use std::io::{BufReader, Read, Write};

use super::budget::Budget;
use super::compress::threads;
use super::limits::Limits;
use super::member::{Member, MemberKind};
use super::reader::TarReader;
use super::write::{LayerWriter, output};
use super::{Compression, LayerError, Written};

/// What becomes of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It is written, with what was changed in it, its content as it is.
    Keep,
    /// It is written with other content; it must be a file.
    Replace(Vec<u8>),
    Drop,
}

/// Reads an uncompressed tar stream (a whole root file system, as `mmdebstrap` makes one) and writes
/// what `edit` leaves of it as a layer, in the order of the stream, one time in whole seconds each.
///
/// Paths are not checked: what applies the layer does that. A hard link whose target was dropped stays
/// one. The budget ends it early, before a member and at every block.
pub fn rewrite(
    tar: impl Read,
    edit: &mut dyn FnMut(&mut Member) -> Edit,
    compression: Compression,
    out: impl Write,
    budget: &Budget,
) -> Result<Written, LayerError> {
    let mut reader = TarReader::new(BufReader::with_capacity(128 * 1024, tar), Limits::default());
    let mut layer = LayerWriter::new(compression, out, threads())?;
    layer.spending = budget.begin();
    let mut buffer = vec![0; 128 * 1024];
    while let Some(mut member) = reader.next_member()? {
        let size = member.size;
        let edit = edit(&mut member);
        member.nanos = 0;
        member.size = size;
        match edit {
            Edit::Drop => layer.spending.block()?,
            Edit::Keep => {
                layer.spending.member(size)?;
                layer.member(&member, &mut |out, spending| {
                    let mut copied = 0;
                    loop {
                        spending.block()?;
                        let count = reader.read_content(&mut buffer)?;
                        if count == 0 {
                            return Ok(copied);
                        }
                        out.write_all(&buffer[..count]).map_err(output)?;
                        copied += count as u64;
                    }
                })?;
            }
            Edit::Replace(bytes) => {
                if member.kind != MemberKind::File {
                    return Err(LayerError::entry(
                        &member.path,
                        "only a file's content can be replaced",
                    ));
                }
                member.size = bytes.len() as u64;
                layer.spending.member(member.size)?;
                layer.member(&member, &mut |out, _| {
                    out.write_all(&bytes).map_err(output)?;
                    Ok(bytes.len() as u64)
                })?;
            }
        }
    }
    reader.drain()?;
    layer.finish()
}
