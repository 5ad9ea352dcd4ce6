//! An operator's changes to origins, without the control loop.

use super::*;
use crate::connection::table::ConnGuard;
use crate::control::fixtures::{self, Parts};

fn origins() -> (Origins, ConnGuard<ConnInfo>) {
    let Parts { origins, table, .. } = Parts::new();
    (origins, fixtures::connection(&table, 1))
}

#[tokio::test]
async fn disabling_an_origin_ends_its_connections_and_shows_in_its_gauge() {
    let (origins, connection) = origins();
    origins.update();
    assert_eq!(connection.conn().handle.command(), None);
    let gauge = "reseal_origin_usable_addresses{upstream=\"up\",origin=\"one\"}";
    assert!(origins.metrics.render().contains(&format!("{gauge} 1")));
    let changed = origins.change("up", "one", OriginAction::Disable).unwrap();
    assert_eq!(changed["origins"][0]["state"], "disabled");
    assert!(matches!(
        connection.conn().handle.command(),
        Some(Command::End {
            reason: Reason::Killed,
            ..
        })
    ));
    assert!(origins.metrics.render().contains(&format!("{gauge} 0")));
}

#[tokio::test]
async fn draining_an_origin_leaves_its_connections_alone() {
    let (origins, connection) = origins();
    let changed = origins.change("up", "one", OriginAction::Drain).unwrap();
    assert_eq!(changed["origins"][0]["state"], "drain");
    assert_eq!(connection.conn().handle.command(), None);
}

#[tokio::test]
async fn a_change_without_a_meaning_is_refused_with_its_reason() {
    let (origins, _connection) = origins();
    let kind = |upstream, origin, action| {
        let refused = origins.change(upstream, origin, action);
        refused.unwrap_err().kind
    };
    let weight = OriginAction::Weight;
    assert_eq!(kind("up", "two", weight(1)), RefusalKind::NotFound);
    assert_eq!(kind("down", "one", weight(1)), RefusalKind::NotFound);
    for out in [0, 257] {
        assert_eq!(kind("up", "one", weight(out)), RefusalKind::Invalid);
    }
    assert!(origins.change("up", "one", weight(256)).is_ok());
}
