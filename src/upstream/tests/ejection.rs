//! Outlier ejection.

use super::*;

fn with_outlier(members: Vec<OriginDefinition>, max_ejected: u32) -> UpstreamDefinition {
    UpstreamDefinition {
        outlier: Some(OutlierPolicy {
            failures: 2,
            within: Duration::from_secs(60),
            eject: Duration::from_secs(60),
            max_ejected,
        }),
        ..upstream(members)
    }
}

/// Fails so many connections to the origin with this number.
fn fail(pool: &Arc<Pool>, n: u8, times: usize) {
    let mut failed = 0;
    for _ in 0..100 {
        let Ok(picked) = pool.pick(&PickRequest::default()) else {
            return;
        };
        if number(&picked) == n && failed < times {
            picked.slot.failed();
            failed += 1;
        }
    }
}

#[tokio::test]
async fn an_origin_that_fails_connections_is_ejected_but_never_the_last() {
    let mut work = Work::new();
    let pool = work.apply(&with_outlier(vec![origin(1), origin(2)], 100));
    fail(&pool, 1, 2);
    assert_eq!(work.events(), [Change::Ejected(Duration::from_secs(60))]);
    assert_eq!([pick(&pool), pick(&pool)], [Ok(2), Ok(2)]);
    fail(&pool, 2, 50);
    assert_eq!(work.events(), []);
    assert_eq!(pick(&pool), Ok(2));
    // When the others go down, one that is ejected is better than nobody.
    bring_down(&pool, 1);
    assert_eq!(pick(&pool), Ok(1));
}

#[tokio::test]
async fn no_more_are_ejected_than_may_be() {
    let mut work = Work::new();
    let members = (1..=4).map(origin).collect();
    let pool = work.apply(&with_outlier(members, 50));
    for n in 1..=4 {
        fail(&pool, n, 2);
    }
    assert_eq!(work.events().len(), 2);
    let pool = work.apply(&with_outlier((5..=7).map(origin).collect(), 30));
    work.events();
    fail(&pool, 5, 9);
    assert_eq!(work.events(), [], "30% of three is nobody");
}

#[tokio::test]
async fn success_in_between_keeps_an_origin() {
    let mut work = Work::new();
    let pool = work.apply(&with_outlier(vec![origin(1), origin(2)], 100));
    for _ in 0..10 {
        fail(&pool, 1, 1);
        let mut picks = std::iter::repeat_with(|| pool.pick(&PickRequest::default()).unwrap());
        let pick = picks.find(|pick| number(pick) == 1).unwrap();
        pick.slot.succeeded(None);
    }
    assert_eq!(work.events(), []);
}
