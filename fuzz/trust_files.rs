//! No part of a file of certificates, keys or CRLs is silently lost. Shared by the fuzz target and the test
//! of its corpus.

use reseal::internals::{Refusal, pem};

/// Counts the items of a file, or refuses it.
type Reader = fn(&[u8]) -> Result<usize, Refusal>;

/// All uses of a file; those that accept only what they count come first.
const STRICT: [Reader; 2] = [
    |bytes| pem::authorities(bytes).map(|found| found.len()),
    |bytes| pem::lists(bytes).map(|found| found.len()),
];
const LENIENT: [Reader; 2] = [
    |bytes| pem::chain(bytes).map(|found| found.len()),
    |bytes| pem::key(bytes).map(|_| 1),
];

/// Reads a file for every use, and returns whether one accepted it.
pub fn must_lose_nothing(bytes: &[u8]) -> bool {
    let mut is_taken = false;
    for read in STRICT {
        let Ok(found) = read(bytes) else { continue };
        is_taken = true;
        if !pem::is_der(bytes) {
            let begin = b"-----BEGIN ";
            let blocks = bytes.windows(begin.len()).filter(|w| w == begin).count();
            assert_eq!(found, blocks, "a block was lost");
            // Files joined as by `cat` are read in full or refused.
            let joined = read(&[bytes, bytes].concat());
            assert!(joined.is_err() || joined == Ok(2 * found), "{joined:?}");
        }
    }
    is_taken |= LENIENT.iter().any(|read| read(bytes).is_ok());
    let other_ends: Vec<u8> = bytes
        .iter()
        .map(|byte| if *byte == b'\n' { b'\r' } else { *byte })
        .collect();
    if !bytes.contains(&b'\r') && !pem::is_der(bytes) && !pem::is_der(&other_ends) {
        for read in STRICT.iter().chain(&LENIENT) {
            assert_eq!(read(bytes), read(&other_ends), "line ends matter");
        }
    }
    is_taken
}
