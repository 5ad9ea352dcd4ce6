//! State and waiting connections over a reload.

use super::*;

#[tokio::test]
async fn state_is_carried_over_by_address_and_events_tell_who_left() {
    let mut work = Work::new();
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    let held = pool.pick(&PickRequest::default()).unwrap();
    bring_down(&pool, 1);
    work.events();
    let pool = work.apply(&upstream(vec![origin(2), origin(1), origin(3)]));
    assert_eq!(work.events(), [Change::Joined]);
    assert!(!status(&pool, 0).is_up);
    assert_eq!(status(&pool, 1).connections, 1);
    let pool = work.apply(&upstream(vec![origin(2)]));
    assert_eq!(work.events(), [Change::Removed, Change::Removed]);
    // It is remembered as long as it has a connection.
    let again = work.apply(&upstream(vec![origin(1), origin(2)]));
    assert_eq!(status(&again, 0).connections, 1);
    drop((held, pool));
    assert_eq!(status(&again, 0).connections, 0);
}

#[tokio::test]
async fn orders_hold_over_reloads_until_their_line_changes() {
    let work = Work::new();
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    assert_eq!(pool.set_admin_state("10.0.0.1:80", AdminState::Draining), 1);
    assert_eq!(pool.set_admin_state("nobody", AdminState::Draining), 0);
    assert_eq!(pool.set_weight("10.0.0.2:80", Some(9)), 1);
    assert_eq!([pick(&pool), pick(&pool)], [Ok(2), Ok(2)]);
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    assert_eq!([pick(&pool), pick(&pool)], [Ok(2), Ok(2)]);
    let list = work.upstreams.status();
    assert_eq!((list[0].admin, list[1].weight), (AdminState::Draining, 9));
    let mut changed = origin(1);
    changed.weight = 2;
    let pool = work.apply(&upstream(vec![changed, origin(2)]));
    assert_eq!(status(&pool, 0).admin, AdminState::Enabled);
    assert_eq!(status(&pool, 1).weight, 9, "its line is the same");
    pool.set_admin_state("10.0.0.2:80", AdminState::Disabled);
    assert_eq!([pick(&pool), pick(&pool)], [Ok(1), Ok(1)]);
    pool.set_admin_state("10.0.0.2:80", AdminState::Enabled);
    let picks: Vec<_> = (0..11).map(|_| pick(&pool).unwrap()).collect();
    assert_eq!(picks.iter().filter(|n| **n == 2).count(), 9);
}

#[tokio::test]
async fn a_connection_waits_for_the_first_answer_over_a_reload() {
    let work = Work::new();
    let mut named = origin(1);
    named.address = Address::Host("localhost".into(), 80);
    let pool = work.apply(&upstream(vec![named.clone()]));
    assert_eq!(pick(&pool), Err(PickError::Unresolved));
    let request = PickRequest::default();
    let waits = std::cell::RefCell::new(Vec::new());
    let note = |wait| waits.borrow_mut().push(wait);
    let mut waiting = std::pin::pin!(pool.acquire(&request, note));
    tokio::select! {
        biased;
        _ = &mut waiting => panic!("there is no answer yet"),
        () = std::future::ready(()) => {}
    }
    named.weight = 2;
    work.apply(&upstream(vec![named]));
    let address = waiting.await.unwrap().address;
    assert!(matches!(address, Address::Ip(address) if address.ip().is_loopback()));
    assert_eq!(*waits.borrow(), [Waiting::Resolver]);
}

#[tokio::test]
async fn an_equal_definition_and_another_upstream_leave_the_turn_where_it_is() {
    let work = Work::new();
    let vault = Arc::new(upstream((1..=3).map(origin).collect()));
    work.upstreams.apply([&vault].into_iter());
    let pool = work.upstreams.pool("vault").unwrap();
    assert_eq!([pick(&pool), pick(&pool)], [Ok(1), Ok(2)]);
    let equal = Arc::new(UpstreamDefinition::clone(&vault));
    let mut other = UpstreamDefinition::clone(&vault);
    other.name = "other".into();
    work.upstreams.apply([&equal, &Arc::new(other)].into_iter());
    assert!(Arc::ptr_eq(&pool, &work.upstreams.pool("vault").unwrap()));
    assert_eq!([pick(&pool), pick(&pool)], [Ok(3), Ok(1)]);
    // A changed one keeps what round robin owes to those that stay.
    let mut more = UpstreamDefinition::clone(&vault);
    more.origins.push(Arc::new(origin(4)));
    work.apply(&more);
    let picks: Vec<_> = (0..3).map(|_| pick(&pool).unwrap()).collect();
    assert_eq!(picks.iter().filter(|n| **n == 1).count(), 0, "{picks:?}");
}

#[tokio::test]
async fn a_reload_that_raises_the_limit_serves_those_that_wait() {
    let work = Work::new();
    let pool = work.apply(&capped(1, 1));
    let _first = pool.pick(&PickRequest::default()).unwrap();
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.queue(PickRequest::default()).await.map(|p| number(&p)) }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    work.apply(&capped(1, 2));
    assert_eq!(waiting.await.unwrap(), Ok(1));
}

#[tokio::test]
async fn an_upstream_that_left_the_configuration_has_no_origin() {
    let mut work = Work::new();
    let pool = work.apply(&capped(1, 1));
    let held = pool.pick(&PickRequest::default()).unwrap();
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.queue(PickRequest::default()).await.map(|p| number(&p)) }
    });
    tokio::task::yield_now().await;
    work.upstreams.apply(std::iter::empty());
    assert_eq!(waiting.await.unwrap(), Err(PickError::NoOrigin));
    assert_eq!(work.events(), [Change::Removed]);
    assert!(work.upstreams.pool("vault").is_none());
    drop(held);
    assert_eq!(pick(&pool), Err(PickError::NoOrigin));
}
