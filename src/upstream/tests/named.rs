//! Pools of clients' names: how many there are, whatever names are asked for.

use super::*;
use crate::hostname::HostTemplate;
use crate::upstream::NoPool;

fn template() -> Arc<UpstreamDefinition> {
    let template = HostTemplate::parse("{1}.internal").unwrap();
    let mut one = origin(1);
    one.address = Address::Made(template, 80);
    one.may_be_local = false;
    Arc::new(upstream(vec![one]))
}

fn work() -> (Work, Arc<UpstreamDefinition>) {
    let (work, definition) = (Work::new(), template());
    work.upstreams.apply([&definition].into_iter());
    (work, definition)
}

fn names(work: &Work) -> usize {
    work.upstreams.status().len()
}

#[tokio::test]
async fn each_name_has_one_pool_with_the_address_made_of_it() {
    let (mut work, definition) = work();
    let one = work.upstreams.pool_for("vault", "one").unwrap();
    assert!(Arc::ptr_eq(
        &one,
        &work.upstreams.pool_for("vault", "one").unwrap()
    ));
    let two = work.upstreams.pool_for("vault", "a.two").unwrap();
    assert!(!Arc::ptr_eq(&one, &two));
    let address = |pool: &Pool| status(pool, 0).address.to_string();
    assert_eq!(
        [address(&one), address(&two)],
        ["one.internal.:80", "a.two.internal.:80"]
    );
    assert_eq!(
        &*status(&one, 0).definition.name,
        "10.0.0.1:80",
        "the name of the file"
    );
    for labels in ["", "a_b", "a..b", "A"] {
        assert_eq!(
            work.upstreams.pool_for("vault", labels).unwrap_err(),
            NoPool::Unusable
        );
    }
    assert_eq!(
        work.upstreams.pool_for("other", "one").unwrap_err(),
        NoPool::Left
    );
    assert!(work.upstreams.pool("vault").is_none());
    assert_eq!(
        definition.made("one").unwrap().made_of.as_ref(),
        Some(&definition)
    );
    assert_eq!(
        work.events(),
        [],
        "nothing of clients' names is told to the log"
    );
}

#[tokio::test]
async fn names_without_an_address_are_few_and_those_in_use_stay() {
    let (work, _) = work();
    let held = work.upstreams.pool_for("vault", "held").unwrap();
    for n in 0..2000 {
        work.upstreams.pool_for("vault", &format!("n{n}")).unwrap();
        assert!(names(&work) <= 256);
    }
    assert!(Arc::ptr_eq(
        &held,
        &work.upstreams.pool_for("vault", "held").unwrap()
    ));
    // If all places are in use, there is none for another name, and one again when a client leaves.
    let all: Vec<_> = (0..255)
        .map(|n| work.upstreams.pool_for("vault", &format!("m{n}")).unwrap())
        .collect();
    assert_eq!(
        work.upstreams.pool_for("vault", "late").unwrap_err(),
        NoPool::Full
    );
    drop(all);
    work.upstreams.pool_for("vault", "late").unwrap();
}

#[tokio::test]
async fn a_reload_goes_on_with_names_in_use_and_drops_the_others() {
    let (work, definition) = work();
    let held = work.upstreams.pool_for("vault", "held").unwrap();
    work.upstreams.pool_for("vault", "idle").unwrap();
    work.upstreams.apply([&definition].into_iter());
    assert_eq!(names(&work), 2, "nothing has changed");
    let mut changed = UpstreamDefinition::clone(&definition);
    changed.balance = Balance::First;
    let changed = Arc::new(changed);
    work.upstreams.apply([&changed].into_iter());
    assert_eq!(names(&work), 1);
    assert!(Arc::ptr_eq(
        &held,
        &work.upstreams.pool_for("vault", "held").unwrap()
    ));
    work.upstreams.apply([].into_iter());
    assert_eq!(names(&work), 0);
    assert_eq!(
        held.pick(&PickRequest::default()).unwrap_err(),
        PickError::NoOrigin
    );
}
