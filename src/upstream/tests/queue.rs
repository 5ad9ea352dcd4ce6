//! Connections that wait for a slot or for the resolver.

use super::*;

#[tokio::test]
async fn the_queue_is_served_in_order_and_nobody_overtakes() {
    let work = Work::new();
    let pool = work.apply(&capped(1, 1));
    let first = pool.pick(&PickRequest::default()).unwrap();
    let wait = |pool: &Arc<Pool>| {
        let pool = Arc::clone(pool);
        tokio::spawn(async move {
            pool.queue(PickRequest::default())
                .await
                .map(|picked| number(&picked))
        })
    };
    let (second, third) = (wait(&pool), wait(&pool));
    tokio::task::yield_now().await;
    assert!(!second.is_finished());
    assert_eq!(pick(&pool), Err(PickError::Full));
    drop(first);
    assert_eq!(pick(&pool), Err(PickError::Full), "there is one who waits");
    // Each gives its place back at once.
    assert_eq!(second.await.unwrap(), Ok(1));
    assert_eq!(third.await.unwrap(), Ok(1));
    assert_eq!(pick(&pool), Ok(1));
}

#[tokio::test]
async fn who_waits_for_another_origin_holds_nobody_up() {
    let work = Work::new();
    let pool = work.apply(&capped(2, 1));
    let first = pool.pick(&PickRequest::default()).unwrap();
    let other = pool.pick(&PickRequest::default()).unwrap();
    let mut tried = PickRequest::default();
    tried.tried(first.slot.origin_id());
    let waiting = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.queue(tried).await.map(|picked| number(&picked)) }
    });
    tokio::task::yield_now().await;
    let (free, awaited) = (number(&first), number(&other));
    drop(first);
    assert_eq!(pick(&pool), Ok(free), "it suits nobody who waits");
    drop(other);
    assert_eq!(waiting.await.unwrap(), Ok(awaited));
}

#[tokio::test]
async fn the_queue_has_an_end_and_a_time() {
    let work = Work::new();
    let mut definition = capped(1, 1);
    definition.connect.queue = Some(1);
    definition.connect.queue_timeout = Duration::from_millis(50);
    let pool = work.apply(&definition);
    let first = pool.pick(&PickRequest::default()).unwrap();
    let (second, third) = tokio::join!(
        pool.queue(PickRequest::default()),
        pool.queue(PickRequest::default())
    );
    assert_eq!(second.unwrap_err(), PickError::QueueTimeout);
    assert_eq!(third.unwrap_err(), PickError::QueueFull);
    drop(first);
    // Who has given up takes no place.
    assert_eq!(pick(&pool), Ok(1));
    assert_eq!(status(&pool, 0).connections, 0);
}

#[tokio::test]
async fn who_waits_is_told_when_nobody_is_left() {
    let work = Work::new();
    let pool = work.apply(&capped(1, 1));
    let _first = pool.pick(&PickRequest::default()).unwrap();
    let waiting = Arc::clone(&pool);
    let waiting = tokio::spawn(async move { waiting.queue(PickRequest::default()).await });
    tokio::task::yield_now().await;
    bring_down(&pool, 0);
    assert_eq!(waiting.await.unwrap().unwrap_err(), PickError::NoOrigin);
}

#[tokio::test]
async fn full_origins_are_waited_for_and_not_replaced_by_backups() {
    let work = Work::new();
    let mut definition = capped(1, 1);
    let mut backup = origin(3);
    backup.backup = true;
    definition.origins.push(Arc::new(backup));
    let pool = work.apply(&definition);
    let _held = pool.pick(&PickRequest::default()).unwrap();
    assert_eq!(pick(&pool), Err(PickError::Full));
}
