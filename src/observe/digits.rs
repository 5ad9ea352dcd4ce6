//! Numbers and addresses as text. The formatter of the standard library takes ten times as long, and a record
//! has twenty of them.

use std::fmt::Write;
use std::net::SocketAddr;

/// Appends a number in decimal.
pub(super) fn push_decimal(out: &mut String, value: u64) {
    push_padded(out, value, 1);
}

/// Appends a number in decimal, with zeros before it up to `width` digits, at most 20.
pub(super) fn push_padded(out: &mut String, mut value: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while value > 0 {
        at -= 1;
        digits[at] += (value % 10) as u8;
        value /= 10;
    }
    let first = at.min(digits.len() - width);
    out.push_str(str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// Appends a number in hexadecimal, all 16 digits of it.
pub(super) fn push_hex(out: &mut String, value: u64) {
    let digit = |place: usize| b"0123456789abcdef"[(value >> (60 - 4 * place) & 0xf) as usize];
    let digits: [u8; 16] = std::array::from_fn(digit);
    out.push_str(str::from_utf8(&digits).unwrap_or_default());
}

/// Appends an address and its port.
pub(super) fn push_address(out: &mut String, address: SocketAddr) {
    match address {
        SocketAddr::V4(address) => {
            for (n, octet) in address.ip().octets().into_iter().enumerate() {
                if n > 0 {
                    out.push('.');
                }
                push_decimal(out, octet.into());
            }
            out.push(':');
            push_decimal(out, address.port().into());
        }
        SocketAddr::V6(address) => {
            let _ = write!(out, "{address}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_written_as_the_standard_library_writes_them() {
        let mut numbers: Vec<u64> = (0..20).map(|n| 10_u64.pow(n)).collect();
        numbers.extend((1..20).map(|n| 10_u64.pow(n) - 1));
        numbers.extend([0, 7, 255, u64::MAX]);
        for number in numbers {
            let mut out = String::new();
            push_decimal(&mut out, number);
            out.push(' ');
            push_padded(&mut out, number, 3);
            out.push(' ');
            push_hex(&mut out, number);
            assert_eq!(out, format!("{number} {number:03} {number:016x}"));
        }
        for address in [
            "0.0.0.0:0",
            "255.10.9.100:65535",
            "[::1]:80",
            "[fe80::1%7]:443",
        ] {
            let mut out = String::new();
            push_address(&mut out, address.parse().unwrap());
            assert_eq!(out, address);
        }
    }
}
