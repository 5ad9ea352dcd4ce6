//! Scopes, ages and key rotation.

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn scope(name: &str) -> Scope {
    Scope::of([name.as_bytes()])
}

fn ticket(sessions: &Arc<ScopedSessions>) -> Vec<u8> {
    sessions.connection().encrypt(b"a session").unwrap()
}

#[test]
fn a_ticket_is_accepted_only_in_its_own_scope() {
    let sessions = Sessions::default();
    let a = sessions.scope(scope("a"), HOUR, &[]);
    let b = sessions.scope(scope("b"), HOUR, &[]);
    let issued = ticket(&a);
    assert_eq!(a.connection().decrypt(&issued).unwrap(), b"a session");
    assert_eq!(b.connection().decrypt(&issued), None);
}

#[test]
fn a_scope_that_a_reload_does_not_change_keeps_its_keys() {
    let sessions = Sessions::default();
    let before = sessions.scope(scope("a"), HOUR, &[]);
    let after = sessions.scope(scope("a"), HOUR, &[]);
    assert!(after.connection().decrypt(&ticket(&before)).is_some());
    drop((before, after));
    let _other = sessions.scope(scope("b"), HOUR, &[]);
    let scopes = sessions.scopes.lock().by_id.len();
    assert_eq!(scopes, 1, "unused scopes are dropped");
}

#[test]
fn scopes_of_very_many_reloads_are_not_kept() {
    let sessions = Sessions::default();
    let kept: Vec<_> = (0..100)
        .map(|n| sessions.scope(scope(&format!("kept {n}")), HOUR, &[]))
        .collect();
    for n in 0..1000 {
        sessions.scope(scope(&format!("dropped {n}")), HOUR, &[]);
        assert!(sessions.scopes.lock().by_id.len() <= 2 * kept.len());
    }
    let issued = ticket(&kept[99]);
    let again = sessions.scope(scope("kept 99"), HOUR, &[]);
    assert!(again.connection().decrypt(&issued).is_some());
}

#[test]
fn a_scope_takes_memory_for_sessions_only_when_one_is_stored() {
    let sessions = Sessions::default();
    let sessions = sessions.scope(scope("a"), HOUR, &[]);
    let connection = sessions.connection();
    let _ticket = ticket(&sessions);
    assert_eq!((connection.get(&[1]), connection.take(&[1])), (None, None));
    assert!(sessions.stored.get().is_none());
    assert!(connection.put(vec![1], b"stored".to_vec()));
    assert_eq!(connection.get(&[1]).unwrap(), b"stored");
}

#[test]
fn scopes_with_differently_split_parts_differ() {
    let joined = Scope::of([&b"ab"[..], b"c"]);
    assert_ne!(joined, Scope::of([&b"a"[..], b"bc"]));
    assert_ne!(joined, Scope::of([&b"abc"[..]]));
}

#[test]
fn instances_that_share_a_secret_resume_each_others_sessions() {
    let secret = |byte| TicketSecret::new(&[byte; 32]).unwrap();
    let (one, other) = (Sessions::default(), Sessions::default());
    let old = one.scope(scope("a"), HOUR, &[secret(1)]);
    let new = other.scope(scope("a"), HOUR, &[secret(2), secret(1)]);
    assert!(new.connection().decrypt(&ticket(&old)).is_some());
    // The old instance does not know the new secret yet.
    assert!(old.connection().decrypt(&ticket(&new)).is_none());
    let elsewhere = other.scope(scope("b"), HOUR, &[secret(1)]);
    assert!(elsewhere.connection().decrypt(&ticket(&old)).is_none());
}

#[test]
fn a_session_ends_at_its_age_however_often_it_was_renewed() {
    let sessions = Sessions::default();
    let sessions = sessions.scope(scope("a"), HOUR, &[]);
    let renewed = sessions.connection();
    // As if its full handshake was at second 0.
    let first = Key::encrypt(
        &sessions.encryption_key().unwrap(),
        &[&0u64.to_le_bytes()[..], b"a session"].concat(),
    );
    assert!(renewed.decrypt(&first.unwrap()).is_some());
    let second = renewed.encrypt(b"a session").unwrap();
    let key = sessions.encryption_key().unwrap();
    let plain = key.decrypt(&second[16..]).unwrap();
    assert_eq!(plain[..8], [0; 8], "the age is the first handshake's");
    assert!(sessions.is_fresh(0) && !sessions.is_fresh(CLOCK_SKEW + 1 + sessions.now()));
}

#[test]
fn a_closed_connection_resumes_nothing() {
    let sessions = Sessions::default();
    let sessions = sessions.scope(scope("a"), HOUR, &[]);
    let connection = sessions.connection();
    connection.put(vec![1], b"stored".to_vec());
    connection.close();
    assert_eq!(connection.decrypt(&ticket(&sessions)), None);
    assert_eq!(connection.get(&[1]), None);
    assert_eq!(sessions.connection().get(&[1]).unwrap(), b"stored");
}

#[test]
fn truncated_and_modified_tickets_are_refused() {
    let sessions = Sessions::default();
    let sessions = sessions.scope(scope("a"), HOUR, &[]);
    let issued = ticket(&sessions);
    for cut in 0..issued.len() {
        assert_eq!(sessions.connection().decrypt(&issued[..cut]), None);
        let mut bent = issued.clone();
        bent[cut] ^= 1;
        assert_eq!(sessions.connection().decrypt(&bent), None);
    }
}

#[test]
fn a_session_with_a_long_chain_is_neither_put_into_a_ticket_nor_stored() {
    let sessions = Sessions::default();
    let sessions = sessions.scope(scope("a"), HOUR, &[]);
    let long = vec![0; SESSION_MAX];
    assert_eq!(sessions.connection().encrypt(&long), None);
    assert!(!sessions.connection().put(vec![1], long));
    assert_eq!(sessions.connection().get(&[1]), None);
}

#[test]
fn a_full_handshake_does_not_inherit_the_age_of_a_session_that_was_not_resumed() {
    let sessions = Sessions::default();
    let sessions = sessions.scope(scope("a"), HOUR, &[]);
    let offered = [&0u64.to_le_bytes()[..], b"a session"].concat();
    let offered = sessions
        .encryption_key()
        .unwrap()
        .encrypt(&offered)
        .unwrap();
    let connection = sessions.connection();
    assert!(connection.decrypt(&offered).is_some());
    connection.begin();
    assert_eq!(connection.since.load(Ordering::Relaxed), NONE);
}

#[test]
fn a_key_is_dropped_when_all_its_tickets_have_expired() {
    let mut local = LocalKeys::default();
    let key = local.encryption_key(1).unwrap();
    let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds));
    local.current = ago(1).map(|since| (since, Arc::clone(&key)));
    assert!(local.decryption_key(&key.name, 1).is_some() && local.current.is_none());
    local.previous = ago(2).map(|since| (since, Arc::clone(&key)));
    assert!(local.decryption_key(&key.name, 1).is_none() && local.previous.is_none());
}

#[test]
fn a_secret_is_at_least_32_bytes() {
    assert!(TicketSecret::new(&[1; 31]).is_none());
    assert!(TicketSecret::new(&[1; 32]).is_some());
}
