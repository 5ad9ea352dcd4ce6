//! Calls of the kernel.

use super::*;

#[test]
fn users_and_groups_are_found_by_name() {
    assert_eq!(user_id(c"root").unwrap(), Some(0));
    assert_eq!(group_id(c"root").unwrap(), Some(0));
    assert_eq!(user_id(c"no such user").unwrap(), None);
    assert_eq!(group_id(c"no such group").unwrap(), None);
}

#[test]
fn an_entry_that_is_larger_than_the_buffer_is_asked_for_again() {
    let mut lens = Vec::new();
    let found = look_up(|buffer| {
        lens.push(buffer.len());
        match buffer.len() {
            len if len < 60_000 => (libc::ERANGE, None),
            _ => (0, Some(7)),
        }
    });
    assert_eq!(found.unwrap(), Some(7));
    assert_eq!(lens, [4096, 16_384, 65_536]);
    let endless = look_up(|_| (libc::ERANGE, None::<u32>));
    assert_eq!(endless.unwrap_err().raw_os_error(), Some(libc::ERANGE));
}
