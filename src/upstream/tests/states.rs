//! Which origins may be picked: results of checks, backups, slow start.

use super::*;

#[tokio::test]
async fn checks_are_believed_after_so_many_and_a_role_at_once() {
    let mut work = Work::new();
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    let first = status(&pool, 0).id;
    let check = |verdict| pool.checked(first, verdict, THRESHOLD);
    let origin = || pool.origin(first).unwrap();
    check(Verdict::Fail("a".into()));
    check(Verdict::Pass);
    check(Verdict::Fail("b".into()));
    assert!(origin().is_up && origin().is_in_doubt);
    check(Verdict::Fail("c".into()));
    let down = Change::Down { why: "c".into() };
    assert_eq!(work.events(), [down]);
    assert_eq!([pick(&pool), pick(&pool)], [Ok(2), Ok(2)]);
    check(Verdict::Pass);
    assert!(!origin().is_up);
    check(Verdict::Pass);
    assert_eq!(work.events(), [Change::Up]);
    check(Verdict::ForceDown("standby".into()));
    assert!(!origin().is_up);
    check(Verdict::ForceUp);
    assert!(origin().is_up);
}

#[tokio::test]
async fn with_all_down_there_is_nobody_and_with_one_up_there_is() {
    let work = Work::new();
    let pool = work.apply(&upstream(vec![origin(1), origin(2)]));
    bring_down(&pool, 0);
    bring_down(&pool, 1);
    assert_eq!(pick(&pool), Err(PickError::NoOrigin));
    bring_up(&pool, 1);
    assert_eq!(pick(&pool), Ok(2));
}

#[tokio::test]
async fn backups_stand_in_for_those_that_are_down_and_for_those_just_tried() {
    let work = Work::new();
    let mut backup = origin(3);
    backup.backup = true;
    let pool = work.apply(&upstream(vec![backup, origin(1), origin(2)]));
    let picks: Vec<_> = (0..4).map(|_| pick(&pool).unwrap()).collect();
    assert_eq!(picks, [1, 2, 1, 2]);
    let mut ask = PickRequest::default();
    let mut seen = Vec::new();
    for _ in 0..4 {
        let picked = pool.pick(&ask).unwrap();
        ask.tried(picked.slot.origin_id());
        seen.push((number(&picked), picked.again));
    }
    assert_eq!(seen[..3], [(1, false), (2, false), (3, false)]);
    assert!(seen[3].1, "all have been tried");
    bring_down(&pool, 1);
    bring_down(&pool, 2);
    assert_eq!(pick(&pool), Ok(3));
}

#[tokio::test]
async fn an_origin_that_comes_up_gets_less_at_first() {
    let work = Work::new();
    let mut definition = upstream(vec![origin(1), origin(2)]);
    definition.slow_start = Some(Duration::from_secs(600));
    let pool = work.apply(&definition);
    let share = |pool: &Arc<Pool>| (0..110).filter(|_| pick(pool) == Ok(2)).count();
    assert_eq!(share(&pool), 55, "at the start all are new");
    bring_down(&pool, 1);
    bring_up(&pool, 1);
    let share = share(&pool);
    assert!((5..=15).contains(&share), "{share}");
}
