//! Which instructions of a program write a shared word, wait for one to be seen, or enter the kernel: x86-64 alone, looked up in the file.
//!
//! It reads prefixes and opcodes at addresses where an instruction is known to begin, which is all that is needed; it is no disassembler.

use std::fs;
use std::path::Path;

/// What an instruction is, where that is counted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Opcode {
    /// A read-modify-write that other CPUs see as one: `lock`, or an exchange with memory.
    Rmw,
    /// `mfence`, or what compilers put in its place: an `or` of nothing with the word on top of the own stack.
    Fence,
    /// `syscall`.
    SystemCall,
}

/// The code of one ELF file.
pub(crate) struct Image {
    bytes: Vec<u8>,
    /// Address, offset in the file, and length of each part that is loaded.
    parts: Vec<(u64, usize, usize)>,
}

/// The number of `SIZE` bytes at `at`, the least significant first.
fn number<const SIZE: usize>(bytes: &[u8], at: usize) -> Option<u64> {
    let digits = bytes.get(at..at + SIZE)?;
    Some(digits.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

const LOADED: u64 = 1;

impl Image {
    /// `None`: it is no 64-bit ELF file that can be read.
    pub(crate) fn read(path: &Path) -> Option<Image> {
        let bytes = fs::read(path).ok()?;
        if !bytes.starts_with(b"\x7fELF\x02\x01") {
            return None;
        }
        // The header's: where the table of parts begins, how long an entry is, how many there are.
        let table = number::<8>(&bytes, 0x20)? as usize;
        let (length, count) = (number::<2>(&bytes, 0x36)? as usize, number::<2>(&bytes, 0x38)? as usize);
        let part = |index: usize| {
            let at = table + index * length;
            let place =
                (number::<8>(&bytes, at + 0x10)?, number::<8>(&bytes, at + 8)?, number::<8>(&bytes, at + 0x20)?);
            Some((number::<4>(&bytes, at)? == LOADED, place))
        };
        let parts = (0..count).filter_map(part).filter(|(is_loaded, _)| *is_loaded);
        let parts = parts.map(|(_, (address, offset, size))| (address, offset as usize, size as usize)).collect();
        Some(Image { bytes, parts })
    }

    /// What is counted of the instruction that begins at `address`.
    pub(crate) fn opcode(&self, address: u64) -> Option<Opcode> {
        let &(begin, offset, _) =
            self.parts.iter().find(|&&(begin, _, size)| (begin..begin + size as u64).contains(&address))?;
        let at = offset + (address - begin) as usize;
        opcode(self.bytes.get(at..(at + 15).min(self.bytes.len()))?)
    }
}

fn opcode(code: &[u8]) -> Option<Opcode> {
    const LOCK: u8 = 0xf0;
    let is_prefix = |byte: u8| matches!(byte, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf2 | 0xf3 | LOCK);
    let prefixes = code.iter().take_while(|&&byte| is_prefix(byte)).count();
    let rest = &code[prefixes..];
    let rest = if rest.first().is_some_and(|byte| byte & 0xf0 == 0x40) { &rest[1..] } else { rest };
    let is_locked = code[..prefixes].contains(&LOCK);
    match *rest {
        [0x83, 0x0c | 0x4c, 0x24, ..] if is_locked => Some(Opcode::Fence),
        _ if is_locked => Some(Opcode::Rmw),
        // An exchange of two registers has both upper bits of this byte.
        [0x86 | 0x87, operands, ..] if operands & 0xc0 != 0xc0 => Some(Opcode::Rmw),
        [0x0f, 0xae, 0xf0, ..] => Some(Opcode::Fence),
        [0x0f, 0x05, ..] => Some(Opcode::SystemCall),
        _ => None,
    }
}

/// Whether this finds what the assembler makes of a few instructions; checked before anything is counted.
///
/// # Panics
///
/// It does not.
pub(crate) fn check() {
    let cases: [(&[u8], Option<Opcode>); 11] = [
        (&[0xf0, 0x48, 0x0f, 0xb1, 0x0f], Some(Opcode::Rmw)), // lock cmpxchg [rdi], rcx
        (&[0xf0, 0x48, 0xff, 0x07], Some(Opcode::Rmw)),       // lock inc qword [rdi]
        (&[0x48, 0x87, 0x07], Some(Opcode::Rmw)),             // xchg [rdi], rax
        (&[0x64, 0x87, 0x04, 0x25, 0, 0, 0, 0], Some(Opcode::Rmw)), // xchg fs:[0], eax
        (&[0x48, 0x87, 0xc7], None),                          // xchg rdi, rax
        (&[0x90], None),                                      // nop
        (&[0x0f, 0xae, 0xf0], Some(Opcode::Fence)),           // mfence
        (&[0xf0, 0x83, 0x4c, 0x24, 0xc0, 0], Some(Opcode::Fence)), // lock or dword [rsp - 64], 0
        (&[0xf0, 0x83, 0x0f, 0x40], Some(Opcode::Rmw)),       // lock or dword [rdi], 64
        (&[0x0f, 0xae, 0xe8], None),                          // lfence
        (&[0x0f, 0x05], Some(Opcode::SystemCall)),            // syscall
    ];
    for (code, expected) in cases {
        assert_eq!(opcode(code), expected, "{code:x?}");
    }
}
