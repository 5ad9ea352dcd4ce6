//! What stays of a private key in the memory of a process that serves with it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::{Origin, Proxy, pki};

/// The writable memory of a process. Parts that are gone meanwhile, or cannot be read, are left out.
fn memory(proxy: &Proxy) -> Vec<Vec<u8>> {
    let place = format!("/proc/{}", proxy.pid());
    let maps = fs::read_to_string(format!("{place}/maps")).unwrap();
    let mem = File::open(format!("{place}/mem")).unwrap();
    let parts = maps.lines().filter_map(|line| {
        let (range, rest) = line.split_once(' ')?;
        let (start, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let (start, end) = (number(start)?, number(end)?);
        let mut bytes = vec![0; usize::try_from(end - start).ok()?];
        let is_read = rest.starts_with("rw") && mem.read_exact_at(&mut bytes, start).is_ok();
        is_read.then_some(bytes)
    });
    parts.collect()
}

fn holds(memory: &[Vec<u8>], wanted: &[u8]) -> bool {
    let found = |bytes: &Vec<u8>| {
        let mut from = 0;
        while let Some(at) = bytes[from..].iter().position(|byte| *byte == wanted[0]) {
            if bytes[from + at..].starts_with(wanted) {
                return true;
            }
            from += at + 1;
        }
        false
    };
    memory.iter().any(found)
}

/// The second line of a file in PEM, and the bytes that all of its lines hold.
fn pieces(pem: &str) -> [Vec<u8>; 2] {
    let lines: Vec<_> = pem.lines().filter(|line| !line.starts_with("--")).collect();
    let bytes = STANDARD.decode(lines.concat()).unwrap();
    [lines[1].as_bytes().to_vec(), bytes]
}

#[test]
fn neither_the_text_nor_the_bytes_of_a_keys_file_stay_in_memory() {
    let origin = Origin::echo();
    let pairs = [pki().edge(&["a.test"]), pki().edge(&["a.test"])];
    let proxy = Proxy::builder()
        .top("process: { reload: { debounce: 50ms } }")
        .endpoint("edge", "tls")
        .route("terminate", "a.test", &origin)
        .identity(&pairs[0])
        .start();
    proxy.client("a.test").connect().must_echo(b"x");
    let renewed = proxy.reloads(|| {
        proxy.directory().write("identity-0.pem", &pairs[1].cert);
        proxy.directory().write("identity-0.key", &pairs[1].key);
    });
    assert!(
        renewed
            .join("\n")
            .contains("certificate edge/identity-0 changed"),
        "{renewed:?}"
    );
    proxy.client("a.test").connect().must_echo(b"x");
    let memory = memory(&proxy);
    // The certificate in use is there, as bytes: what is there is found.
    assert!(holds(&memory, &pieces(&pairs[1].cert)[1]));
    for pair in &pairs {
        for piece in pieces(&pair.key) {
            assert!(!holds(&memory, &piece));
        }
    }
}
