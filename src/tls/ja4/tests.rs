use super::*;
use crate::tls::hello_message::in_records;

/// The hello of the example in FoxIO's description, as numbers.
const SUITES: [u16; 15] = [
    0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c,
    0x009d, 0x002f, 0x0035,
];
const EXTENSIONS: [u16; 16] = [
    0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b,
    0xff01, 0x000b, 0x000a, 0x0015,
];
const ALGORITHMS: [u16; 8] = [
    0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601,
];

fn bytes(numbers: &[u16]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_be_bytes()).collect()
}

/// The same behind its length in two bytes.
fn counted(content: &[u8]) -> Vec<u8> {
    let mut out = u16::try_from(content.len()).unwrap().to_be_bytes().to_vec();
    out.extend(content);
    out
}

/// A ClientHello on the wire.
fn wire(version: u16, suites: &[u16], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = bytes(&[version]);
    body.extend([7; 32]);
    body.extend([2, 1, 1]);
    body.extend(counted(&bytes(suites)));
    body.extend([1, 0]);
    let all: Vec<u8> = extensions
        .iter()
        .flat_map(|(number, content)| [bytes(&[*number]), counted(content)].concat())
        .collect();
    body.extend(counted(&all));
    let mut message = vec![1, 0];
    message.extend(counted(&body));
    in_records(&message)
}

fn content(number: u16, algorithms: &[u16], protocol: &[u8]) -> Vec<u8> {
    match number {
        0x000d => counted(&bytes(algorithms)),
        0x0010 => {
            let mut name = vec![u8::try_from(protocol.len()).unwrap()];
            name.extend(protocol);
            counted(&name)
        }
        0x002b => vec![6, 0x0a, 0x0a, 3, 4, 3, 3],
        _ => Vec::new(),
    }
}

fn example(algorithms: &[u16], protocol: &[u8]) -> Vec<u8> {
    let extensions = EXTENSIONS.map(|number| (number, content(number, algorithms, protocol)));
    wire(0x0303, &SUITES, &extensions)
}

#[track_caller]
fn ja4(wire: &[u8]) -> String {
    Ja4::of(wire).unwrap().to_string()
}

#[test]
fn the_examples_of_the_description_have_its_fingerprints() {
    let whole = ja4(&example(&ALGORITHMS, b"h2"));
    assert_eq!(whole, "t13d1516h2_8daaf6152771_e5627efa2ab1");
    // Without signature algorithms the list ends without an underscore.
    let extensions = EXTENSIONS.map(|number| match number {
        0x000d => (number, Vec::new()),
        number => (number, content(number, &[], b"h2")),
    });
    assert_eq!(
        ja4(&wire(0x0303, &SUITES, &extensions)),
        "t13d1516h2_8daaf6152771_6d807ffa2a79"
    );
}

#[test]
fn grease_and_order_do_not_count() {
    let mut suites = SUITES.to_vec();
    suites.reverse();
    suites.insert(0, 0x2a2a);
    let mut extensions = EXTENSIONS.to_vec();
    extensions.rotate_left(5);
    extensions.insert(0, 0xfafa);
    extensions.push(0x0a0a);
    let mut algorithms = ALGORITHMS.to_vec();
    algorithms.insert(3, 0x1a1a);
    let extensions: Vec<_> = extensions
        .into_iter()
        .map(|number| (number, content(number, &algorithms, b"h2")))
        .collect();
    assert_eq!(
        ja4(&wire(0x0303, &suites, &extensions)),
        "t13d1516h2_8daaf6152771_e5627efa2ab1"
    );
    assert!(!is_grease(0x0a1a) && !is_grease(0x0b0b));
}

#[test]
fn protocols_that_are_not_text_are_shown_by_their_digits() {
    for (protocol, shown) in [
        (&b"h2"[..], "h2"),
        (b"http/1.1", "h1"),
        (b"h", "hh"),
        (b"", "00"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ] {
        let found = ja4(&example(&ALGORITHMS, protocol));
        assert_eq!(&found[8..10], shown, "{protocol:?}");
    }
}

#[test]
fn hellos_without_lists_or_names_have_zeros() {
    assert_eq!(
        ja4(&wire(0x0303, &[], &[])),
        "t12i000000_000000000000_000000000000"
    );
    let old = wire(0x0301, &[0x0a0a], &[(0, Vec::new()), (0x0010, Vec::new())]);
    assert_eq!(ja4(&old), "t10d000200_000000000000_000000000000");
    let many: Vec<u16> = (0..150).collect();
    let unknown = vec![(0x002b, vec![2, 9, 9])];
    assert!(ja4(&wire(0x0303, &many, &unknown)).starts_with("t00i990100_"));
}

#[test]
fn input_without_a_whole_hello_has_none_and_a_split_one_the_same() {
    let whole = example(&ALGORITHMS, b"h2");
    for len in 0..whole.len() {
        assert_eq!(Ja4::of(&whole[..len]), None);
    }
    // The same message in records of 100 bytes.
    let mut split = Vec::new();
    for fragment in whole[5..].chunks(100) {
        split.extend([22, 3, 1]);
        split.extend(counted(fragment));
    }
    split.extend(b"and what follows");
    assert_eq!(Ja4::of(&split), Ja4::of(&whole));
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"",
        &[22, 3, 1, 0, 4, 2, 0, 0, 0],
    ] {
        assert_eq!(Ja4::of(garbage), None);
    }
}
