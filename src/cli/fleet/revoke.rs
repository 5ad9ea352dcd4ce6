//! `reseal fleet revoke`, `unrevoke` and `revocations`.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::place::{Place, who};
use crate::cli::exit::Exit;
use crate::cli::output::{eprint_line, print, table};
use crate::config::reader::read::Leaf;
use crate::config::reader::values;
use crate::fleet::{Action, EtcdError, REVOCATIONS_MAX, Revocation, RevokedBy};
use crate::observe::escape;
use crate::observe::format::{timestamp, unix_timestamp};

/// Whom a revocation is about.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Whom {
    /// Serial number of the certificate, in hexadecimal, as the access log has it
    #[arg(long, value_name = "HEX")]
    serial: Option<String>,
    /// SHA-256 of the certificate, in hexadecimal
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// A URI of the certificate, such as a SPIFFE id
    #[arg(long, value_name = "URI")]
    uri: Option<String>,
    /// The common name of the certificate
    #[arg(long, value_name = "NAME")]
    cn: Option<String>,
    /// An address or network of clients
    #[arg(long, value_name = "NETWORK")]
    source: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArgs {
    #[command(flatten)]
    whom: Whom,
    /// For how long: at most as long as the certificate lives
    #[arg(long = "for", value_name = "TIME", default_value = "24h", value_parser = duration)]
    time: Duration,
    /// Why, for those who ask later
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = <values::Duration as Leaf>::parse(text).map_err(|_| ());
    let time = read.map(|duration| duration.0).unwrap_or_default();
    match time.is_zero() {
        true => Err("it is no time such as `24h`".to_owned()),
        false => Ok(time),
    }
}

impl Whom {
    fn read(&self) -> Result<RevokedBy, Exit> {
        let given = [
            ("serial", &self.serial),
            ("sha256", &self.sha256),
            ("uri", &self.uri),
            ("cn", &self.cn),
            ("source", &self.source),
        ];
        let given = given
            .into_iter()
            .find_map(|(kind, value)| Some((kind, value.as_deref()?)));
        let (kind, value) = given.ok_or(Exit::Bad)?;
        RevokedBy::read(kind, value).ok_or_else(|| {
            eprint_line(&format!(
                "reseal: --{kind}: `{}` cannot be one",
                escape::text(value)
            ));
            Exit::Bad
        })
    }
}

/// Revokes a client everywhere, at once.
pub(super) fn revoke(place: &mut Place, args: &RevokeArgs) -> Result<Exit, Exit> {
    let revoked = args.whom.read()?;
    let now = SystemTime::now();
    let until = now + args.time;
    let until = until
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let revocation = Revocation {
        who: revoked,
        is_in_force: true,
        until: until.as_secs(),
        time: timestamp(now),
        by: who(),
        why: args.why.chars().take(1000).collect(),
    };
    let all = all(place)?;
    let over = all.iter().filter(|one| one.is_over(now));
    let over: Vec<_> = over.map(|one| one.who.key()).collect();
    if all.len() - over.len() >= REVOCATIONS_MAX {
        eprint_line(&format!(
            "reseal: there are {REVOCATIONS_MAX} revocations already"
        ));
        return Err(Exit::Bad);
    }
    write(place, &revocation, &over)?;
    let until = unix_timestamp(i64::try_from(revocation.until).unwrap_or(i64::MAX));
    Ok(print(&format!(
        "{}: revoked until {until}\n",
        revocation.who.text()
    )))
}

/// Takes a revocation back.
pub(super) fn unrevoke(place: &mut Place, whom: &Whom) -> Result<Exit, Exit> {
    let revoked = whom.read()?;
    let mut all = all(place)?.into_iter();
    let found = all.find(|one| one.who == revoked && one.is_in_force);
    let Some(found) = found else {
        eprint_line(&format!("reseal: {}: it is not revoked", revoked.text()));
        return Err(Exit::Bad);
    };
    let revocation = Revocation {
        is_in_force: false,
        time: timestamp(SystemTime::now()),
        by: who(),
        ..found
    };
    write(place, &revocation, &[])?;
    Ok(print(&format!(
        "{}: revoked no longer\n",
        revocation.who.text()
    )))
}

/// Lists the revocations, those that were taken back included, until they end.
pub(super) fn list(place: &mut Place, as_json: bool) -> Result<Exit, Exit> {
    let all = all(place)?;
    if as_json {
        let json: Value = all.iter().map(Revocation::json).collect();
        return Ok(print(&format!("{json:#}\n")));
    }
    let mut rows = vec![["REVOKED", "STATE", "UNTIL", "SINCE", "BY", "WHY"].map(str::to_owned)];
    rows.extend(all.iter().map(|one| {
        let state = match (one.is_over(SystemTime::now()), one.is_in_force) {
            (true, _) => "over",
            (false, true) => "in force",
            (false, false) => "taken back",
        };
        [
            escape::text(&one.who.text()),
            state.to_owned(),
            unix_timestamp(i64::try_from(one.until).unwrap_or(i64::MAX)),
            escape::text(&one.time),
            escape::text(&one.by),
            escape::text(&one.why),
        ]
    }));
    Ok(print(&table(&rows)))
}

fn all(place: &mut Place) -> Result<Vec<Revocation>, Exit> {
    place.ask(async |store| {
        let found = store.etcd.list(&store.keys.revoked(), false).await?;
        let entries = found.entries.iter();
        let opened =
            entries.filter_map(|entry| Revocation::open(&entry.key, &entry.value, store.seal));
        Ok::<_, EtcdError>(opened.collect())
    })
}

fn write(place: &mut Place, revocation: &Revocation, over: &[String]) -> Result<(), Exit> {
    place.ask(async |store| {
        let prefix = store.keys.revoked();
        let key = format!("{prefix}{}", revocation.who.key());
        let value = revocation.seal(&key, store.seal);
        let value = value.ok_or(EtcdError::Malformed("no sealed value"))?;
        let actions = [Action::Put(&key, &value, 0)];
        store.etcd.transact(&[], &actions).await?;
        for key in over.iter().filter(|over| **over != revocation.who.key()) {
            let key = format!("{prefix}{key}");
            store.etcd.transact(&[], &[Action::Delete(&key)]).await?;
        }
        Ok::<_, EtcdError>(())
    })
}
