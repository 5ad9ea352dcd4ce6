//! CRC32C (RFC 9260 appendix A). It processes one byte at a time, because headers are short.

/// The polynomial, bit-reversed.
const POLYNOMIAL: u32 = 0x82f6_3b78;

static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < table.len() {
        let mut sum = n as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 {
                sum >> 1 ^ POLYNOMIAL
            } else {
                sum >> 1
            };
            bit += 1;
        }
        table[n] = sum;
        n += 1;
    }
    table
}

/// The checksum of `bytes`, with the four bytes at `hole`, which hold the checksum itself, taken as zero.
pub(super) fn with_zeroes_at(bytes: &[u8], hole: usize) -> u32 {
    let hole = hole..hole + 4;
    let sum = bytes.iter().enumerate().fold(u32::MAX, |sum, (at, byte)| {
        let byte = if hole.contains(&at) { 0 } else { *byte };
        let [index, ..] = (sum ^ u32::from(byte)).to_le_bytes();
        sum >> 8 ^ TABLE.get(usize::from(index)).copied().unwrap_or_default()
    });
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_have_their_checksums() {
        let beyond = usize::MAX - 4;
        assert_eq!(with_zeroes_at(b"123456789", beyond), 0xe306_9283);
        // RFC 3720 section B.4.
        assert_eq!(with_zeroes_at(&[0; 32], beyond), 0x8a91_36aa);
        assert_eq!(with_zeroes_at(&[0xff; 32], beyond), 0x62a8_ab43);
    }

    #[test]
    fn the_checksum_field_itself_does_not_count() {
        let (mut a, mut b) = ([7; 20], [7; 20]);
        a[5..9].copy_from_slice(&[1, 2, 3, 4]);
        b[5..9].copy_from_slice(&[0; 4]);
        assert_eq!(with_zeroes_at(&a, 5), with_zeroes_at(&b, 20));
    }
}
