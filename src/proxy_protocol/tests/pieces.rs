//! Headers that arrive in pieces.

use super::*;

/// Pseudo-random numbers, the same in every run.
struct Noise(u64);

impl Noise {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(bound).unwrap()).unwrap()
    }
}

/// Decodes growing prefixes of `bytes`, split at random, as a reader does, and returns the first final
/// result.
fn in_pieces<'a>(bytes: &'a [u8], noise: &mut Noise) -> Decoded<'a> {
    let mut have = 0;
    loop {
        let answer = decode(&bytes[..have]);
        if answer != Decoded::NeedMore || have == bytes.len() {
            return answer;
        }
        have = (have + 1 + noise.below(40)).min(bytes.len());
    }
}

/// The result is the same however the bytes are split: for valid headers, and for valid ones with a few
/// bytes changed, inserted or removed.
#[test]
fn the_result_does_not_depend_on_how_the_bytes_are_split() {
    let facts = Facts {
        alpn: Some(b"h2"),
        authority: Some("a.test"),
        unique_id: Some(b"0123456789abcdef"),
        checksum: true,
        ..Facts::default()
    };
    let flow = Flow::new(
        "[2001:db8::1]:1".parse().unwrap(),
        "192.0.2.2:2".parse().unwrap(),
    );
    let seeds = [
        encode_v2(&Parties::Ip(flow), &facts).unwrap(),
        encode_v2(&Parties::Unix(b"/run/x"), &facts).unwrap(),
        encode_v1(&Parties::Ip(flow)),
        with_tlvs(&[4, 0, 0, 1, 0, 2, b'h', b'2']),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
    ];
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut kinds = [0; 3];
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..noise.below(3) {
            let at = noise.below(bytes.len());
            let byte = u8::try_from(noise.below(256)).unwrap();
            match noise.below(3) {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes.extend(vec![0x16; noise.below(150)]);
        let whole = decode(&bytes);
        kinds[match whole {
            Decoded::NeedMore => 0,
            Decoded::Done { .. } => 1,
            Decoded::Invalid(_) => 2,
        }] += 1;
        assert_eq!(
            in_pieces(&bytes, &mut noise),
            whole,
            "{}",
            bytes.escape_ascii()
        );
    }
    assert!(kinds.iter().all(|count| *count > 100), "{kinds:?}");
}
